/* Happy path: listener_start -> accepted() for each connection -> listener_stop.
 * Failure: without free descriptors (or memory) accept would spin, so the listener leaves the loop, tries again every 100 ms, and
 * goes on when that succeeds. Peers wait in the kernel's queue meanwhile. When somebody who has the socket, too, shuts it down, nobody will come any more:
 * it leaves the loop for good, and is stopped when its owner hears of that.
 */
#include "src/core/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "src/core/log.h"

#define ACCEPTS_A_TURN 64
#define PAUSE_NS (100 * NS_PER_MS)
#define SAID_GATE { .period_ns = 60 * NS_PER_S, .burst = 1 } /* it comes and goes with each connection that ends */

static int join(struct listener *l) { return loop_add(l->loop, &l->io, l->fd, EPOLLIN | EPOLLEXCLUSIVE); }

static void pause_accepting(struct listener *l, int error)
{
    if (!l->paused)
        log_gated(&l->said_pause, LOG_LEVEL_WARN, "%s: out of descriptors (%s): new connections wait until some are free", l->what, strerror(error));
    l->paused = true;
    loop_del(l->loop, &l->io);
    loop_timer(l->loop, &l->retry, PAUSE_NS);
}

static void resumed(struct listener *l)
{
    if (l->paused)
        log_gated(&l->said_on, LOG_LEVEL_WARN, "%s: accepts connections again", l->what);
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
        if (fd >= l->fd_limit)
            pause_accepting(l, EMFILE);
        else
            resumed(l);
        l->accepted(l, fd, &peer);
        return !l->paused;
    }
    if (out_of_resources(errno))
        pause_accepting(l, errno);
    else if (errno == EAGAIN)
        resumed(l);
    else if (errno == EINVAL)
        loop_del(l->loop, &l->io);
    return errno != EAGAIN && errno != EINVAL && !l->paused; /* others concern that one connection: accept(2) */
}

static void on_ready(struct io *io, uint32_t events UNUSED)
{
    struct listener *l = container_of(io, struct listener, io);
    for (int i = 0; i < ACCEPTS_A_TURN && l->fd >= 0 && accept_one(l); i++)
        ;
}

static bool few_left(const struct listener *l)
{
    AUTO_FD int probe = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
    return probe < 0 || probe >= l->fd_limit;
}

static void on_retry(struct timer *t)
{
    struct listener *l = container_of(t, struct listener, retry);
    if (few_left(l) || join(l) < 0)
        loop_timer(l->loop, &l->retry, PAUSE_NS);
    else
        on_ready(&l->io, EPOLLIN);
}

int listener_start(struct listener *l, struct loop *loop, int fd, const char *what,
                   void (*accepted)(struct listener *, int, const union sockaddr_any *))
{
    *l = (struct listener){
        .io = { .fd = -1, .ready = on_ready }, .fd = fd, .loop = loop, .retry.fire = on_retry, .what = what, .accepted = accepted,
        .fd_limit = fd_scarce_from(LISTENER_SPARE), .said_pause = SAID_GATE, .said_on = SAID_GATE
    };
    int rc = join(l);
    if (rc < 0)
        fd_close(&l->fd);
    return rc;
}

void listener_rest(struct listener *l)
{
    if (!l->loop)
        return;
    loop_timer_stop(l->loop, &l->retry);
    loop_del(l->loop, &l->io);
}

int listener_wake(struct listener *l) { return l->loop && l->fd >= 0 && l->io.fd < 0 ? join(l) : 0; }

int listener_detach(struct listener *l)
{
    listener_rest(l);
    return fd_take(&l->fd);
}

void listener_stop(struct listener *l)
{
    if (l->loop && l->fd >= 0)
        close(listener_detach(l));
}
