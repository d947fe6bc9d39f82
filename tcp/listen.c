/* Making listening sockets. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tcp/sock.h"

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
    int fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
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
    int rc = clear_stale(&un);
    if (rc < 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
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
