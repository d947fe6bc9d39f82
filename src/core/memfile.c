#include "src/core/memfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void *map(int fd, size_t size, int prot, int flags)
{
    void *p = mmap(NULL, size, prot, flags, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Sealed, so that no holder can shrink it below a reader's feet (SIGBUS). An old kernel without seals is no reason to fail. */
static int make_memfd(const char *name, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)size) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return fd;
}

void *memfile_create(const char *name, size_t size, int *fd_out)
{
    if (!fd_out)
        return map(-1, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
    AUTO_FD int fd = make_memfd(name, size);
    void *p = fd < 0 ? NULL : map(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED);
    if (p)
        *fd_out = fd_take(&fd);
    return p;
}

void *memfile_map(int fd, size_t size, bool writable)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return NULL;
    if (st.st_size < (off_t)size) {
        errno = EINVAL;
        return NULL;
    }
    return map(fd, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED);
}

void memfile_unmap(void *p, size_t size)
{
    if (p)
        munmap(p, size);
}
