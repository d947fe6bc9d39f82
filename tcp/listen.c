/* Listening sockets.
 *
 * Happy path: sock_listen -> listener_start -> accepted() for each connection -> listener_stop.
 * Failure: without free descriptors (or memory) accept would spin, so the listener leaves the loop, tries again every 100 ms, and
 * goes on when that succeeds. Peers wait in the kernel's queue meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "src/core/log.h"
#include "tcp/sock.h"

#define ACCEPTS_A_TURN 64
#define PAUSE_NS (100 * NS_PER_MS)

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

/* ------------------------------------------------------------ accepting */

static int join(struct listener *l) { return loop_add(l->loop, &l->io, l->fd, EPOLLIN | EPOLLEXCLUSIVE); }

static void pause_accepting(struct listener *l, int error)
{
    static struct log_gate gate = LOG_GATE;
    if (!l->paused)
        log_gated(&gate, LOG_LEVEL_WARN, "%s: %s: new connections wait until a descriptor is free", l->what, strerror(error));
    l->paused = true;
    loop_del(l->loop, &l->io);
    loop_timer(l->loop, &l->retry, PAUSE_NS);
}

static void resumed(struct listener *l)
{
    static struct log_gate gate = LOG_GATE;
    if (l->paused)
        log_gated(&gate, LOG_LEVEL_WARN, "%s: accepts connections again", l->what);
    l->paused = false;
}

static bool out_of_resources(int error) { return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS; }

/* False: nothing more to accept now. */
static bool accept_one(struct listener *l)
{
    union sockaddr_any peer = { 0 };
    socklen_t len = sizeof(peer);
    int fd = accept4(l->fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        resumed(l);
        l->accepted(l, fd, &peer);
        return true;
    }
    if (out_of_resources(errno))
        pause_accepting(l, errno);
    else if (errno == EAGAIN)
        resumed(l);
    return errno != EAGAIN && !l->paused; /* others concern that one connection: accept(2) */
}

static void on_ready(struct io *io, uint32_t events UNUSED)
{
    struct listener *l = container_of(io, struct listener, io);
    for (int i = 0; i < ACCEPTS_A_TURN && l->fd >= 0 && accept_one(l); i++)
        ;
}

static void on_retry(struct timer *t)
{
    struct listener *l = container_of(t, struct listener, retry);
    if (join(l) < 0)
        loop_timer(l->loop, &l->retry, PAUSE_NS);
    else
        on_ready(&l->io, EPOLLIN);
}

int listener_start(struct listener *l, struct loop *loop, int fd, const char *what,
                   void (*accepted)(struct listener *, int, const union sockaddr_any *))
{
    *l = (struct listener){
        .io = { .fd = -1, .ready = on_ready }, .fd = fd, .loop = loop, .retry.fire = on_retry, .what = what, .accepted = accepted
    };
    int rc = join(l);
    if (rc < 0)
        fd_close(&l->fd);
    return rc;
}

int listener_detach(struct listener *l)
{
    loop_timer_stop(l->loop, &l->retry);
    loop_del(l->loop, &l->io);
    return fd_take(&l->fd);
}

void listener_stop(struct listener *l)
{
    if (l->loop && l->fd >= 0)
        close(listener_detach(l));
}
