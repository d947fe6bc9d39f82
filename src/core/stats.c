#include "src/core/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static struct stats_page *map(int fd, int prot, int flags)
{
    void *p = mmap(NULL, sizeof(struct stats_page), prot, flags, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Sealed, so that no holder can shrink it below a reader's feet (SIGBUS). An old kernel without seals is no reason to fail. */
static int make_memfd(void)
{
    int fd = memfd_create("scistream-stats", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)sizeof(struct stats_page)) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return fd;
}

struct stats_page *stats_create(int *fd_out)
{
    if (!fd_out)
        return map(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
    AUTO_FD int fd = make_memfd();
    struct stats_page *p = fd < 0 ? NULL : map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
    if (p)
        *fd_out = fd_take(&fd);
    return p;
}

struct stats_page *stats_map(int fd, bool writable)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return NULL;
    if (st.st_size < (off_t)sizeof(struct stats_page)) {
        errno = EINVAL;
        return NULL;
    }
    return map(fd, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED);
}

void stats_clear(int fd) { (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)sizeof(struct stats_page)); }

void stats_unmap(struct stats_page *p)
{
    if (p)
        munmap(p, sizeof(*p));
}
