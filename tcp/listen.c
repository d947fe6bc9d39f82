/* Making listening sockets. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tcp/sock.h"

/* ------------------------------------------------------------ from another program */

#define INHERITED_MAX 128

static struct { int fd; union sockaddr_any at; } inherited[INHERITED_MAX];
static unsigned n_inherited;

int sock_inherit(int fd)
{
    int listens = 0;
    union sockaddr_any at = { 0 };
    socklen_t len = sizeof(listens), at_len = sizeof(at);
    int rc = n_inherited == INHERITED_MAX                                                         ? -ENFILE
             : getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || !listens          ? -EINVAL
             : getsockname(fd, &at.sa, &at_len) < 0                                               ? -EINVAL
                                                                                                  : 0;
    if (rc < 0) {
        close(fd);
        return rc;
    }
    inherited[n_inherited].fd = fd;
    inherited[n_inherited++].at = at;
    return 0;
}

unsigned sock_inherit_end(void)
{
    unsigned n = n_inherited;
    while (n_inherited)
        close(inherited[--n_inherited].fd);
    return n;
}

static int take(unsigned i)
{
    int fd = inherited[i].fd;
    inherited[i] = inherited[--n_inherited];
    return fd;
}

static int take_inherited(const union sockaddr_any *at)
{
    char want[ADDR_TEXT], have[ADDR_TEXT];
    addr_format(at, want);
    for (unsigned i = 0; i < n_inherited; i++)
        if (inherited[i].at.sa.sa_family == at->sa.sa_family && str_eq(addr_format(&inherited[i].at, have), want))
            return take(i);
    return -1;
}

static int take_inherited_unix(const char *path)
{
    struct sockaddr_un un;
    for (unsigned i = 0; i < n_inherited; i++) {
        memcpy(&un, &inherited[i].at, sizeof(un));
        if (un.sun_family == AF_UNIX && str_eq(un.sun_path, path))
            return take(i);
    }
    return -1;
}

/* ------------------------------------------------------------ made here */

static int bound(int fd, const union sockaddr_any *at, socklen_t len)
{
    if (bind(fd, &at->sa, len) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int rc = -errno;
    close(fd);
    return rc;
}

int sock_listen(const union sockaddr_any *at)
{
    const int on = 1, off = 0;
    const union sockaddr_any any4 = { .in = { .sin_family = AF_INET, .sin_port = at->in6.sin6_port } };
    int fd = take_inherited(at);
    if (fd >= 0)
        return fd;
    fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 && errno == EAFNOSUPPORT && at->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&at->in6.sin6_addr))
        return sock_listen(&any4);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (at->sa.sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    return bound(fd, at, addr_len(at));
}

/* A socket file that nobody serves any more is removed; anything else stays. */
static int clear_stale(const struct sockaddr_un *at)
{
    struct stat st;
    if (lstat(at->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    AUTO_FD int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return -errno;
    if (connect(probe, (const struct sockaddr *)at, sizeof(*at)) == 0 || errno != ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(at->sun_path) < 0 ? -errno : 0;
}

int sock_listen_unix(const char *path, mode_t mode)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    union sockaddr_any at = { 0 };
    if (!str_copy(un.sun_path, sizeof(un.sun_path), path))
        return -ENAMETOOLONG;
    int fd = take_inherited_unix(path);
    if (fd >= 0)
        return fd;
    int rc = clear_stale(&un);
    if (rc < 0)
        return rc;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    memcpy(&at, &un, sizeof(un));
    (void)fchmod(fd, mode); /* the file is made with mode & ~umask: never wider than asked, not even for a moment */
    fd = bound(fd, &at, sizeof(un));
    if (fd >= 0 && chmod(path, mode) < 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}
