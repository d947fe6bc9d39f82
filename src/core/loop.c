#include "src/core/loop.h"

#include <errno.h>
#include <sys/signalfd.h>

#define LOOP_BATCH 64

int loop_add(struct loop *l, struct io *io, int fd, uint32_t events)
{
    struct epoll_event e = { .events = events, .data.ptr = io };
    if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &e) < 0)
        return -errno;
    io->fd = fd;
    return 0;
}

int loop_change(struct loop *l, struct io *io, uint32_t events)
{
    struct epoll_event e = { .events = events, .data.ptr = io };
    return epoll_ctl(l->epfd, EPOLL_CTL_MOD, io->fd, &e) < 0 ? -errno : 0;
}

void loop_del(struct loop *l, struct io *io)
{
    if (io->fd < 0)
        return;
    epoll_ctl(l->epfd, EPOLL_CTL_DEL, io->fd, NULL);
    for (int i = 0; i < l->batch_n; i++)
        if (l->batch[i].data.ptr == io)
            l->batch[i].data.ptr = NULL;
    io->fd = -1;
}

void task_init(struct task *t, int (*progress)(struct task *), int (*arm)(struct task *))
{
    list_init(&t->node);
    t->progress = progress;
    t->arm = arm;
    t->active = false;
}

void loop_activate(struct loop *l, struct task *t)
{
    if (t->active)
        return;
    t->active = true;
    list_add_tail(&l->active, &t->node);
}

void loop_sleep(struct loop *l UNUSED, struct task *t)
{
    list_del(&t->node);
    t->active = false;
}

void loop_defer(struct loop *l, struct defer *d)
{
    if (list_empty(&d->node))
        list_add_tail(&l->deferred, &d->node);
}

/* Every active task once. A task may leave, or any other may leave or join, while this runs: hence the turn list. */
static bool progress_active(struct loop *l)
{
    struct list turn, *n;
    bool worked = false;
    list_init(&turn);
    list_splice_tail(&turn, &l->active);
    while ((n = list_pop(&turn))) {
        struct task *t = list_entry(n, struct task, node);
        list_add_tail(&l->active, n);
        worked |= t->progress(t) > 0;
    }
    return worked;
}

/* True: something is not ready to sleep. */
static bool arm_active(struct loop *l)
{
    struct list turn, *n;
    bool busy = false;
    list_init(&turn);
    list_splice_tail(&turn, &l->active);
    while ((n = list_pop(&turn))) {
        struct task *t = list_entry(n, struct task, node);
        list_add_tail(&l->active, n);
        if (t->arm(t) == 0)
            loop_sleep(l, t);
        else
            busy = true;
    }
    return busy;
}

static bool run_deferred(struct loop *l)
{
    struct list turn, *n;
    bool any = !list_empty(&l->deferred);
    list_init(&turn);
    list_splice_tail(&turn, &l->deferred);
    while ((n = list_pop(&turn))) {
        struct defer *d = list_entry(n, struct defer, node);
        d->call(d);
    }
    return any;
}

/* epoll's milliseconds, rounded up so that a timer is due when it wakes us. */
static int wait_ms(const struct loop *l, uint64_t max_wait_ns)
{
    uint64_t due = timer_heap_next(&l->timers), now = now_ns();
    uint64_t ns = due == UINT64_MAX ? max_wait_ns : MIN(max_wait_ns, due > now ? due - now : 0);
    if (ns / NS_PER_MS >= 3600 * 1000)
        return ns == UINT64_MAX ? -1 : 3600 * 1000;
    return (int)((ns + NS_PER_MS - 1) / NS_PER_MS);
}

/* To sleep and to be woken costs more than a short wait: while the waits are short, look again for a moment before sleeping. */
static int wait_events(struct loop *l, struct epoll_event *batch, int timeout_ms)
{
    uint64_t begin = now_ns();
    int n = 0;
    if (!l->patient && spin_pays(&l->spin, begin))
        do
            n = epoll_wait(l->epfd, batch, LOOP_BATCH, 0);
        while (n == 0 && now_ns() - begin < SPIN_NS);
    if (n == 0)
        n = epoll_wait(l->epfd, batch, LOOP_BATCH, timeout_ms);
    l->patient = false;
    spin_waited(&l->spin, now_ns() - begin);
    return n;
}

static void dispatch(struct loop *l, int timeout_ms)
{
    struct epoll_event batch[LOOP_BATCH];
    int n = timeout_ms ? wait_events(l, batch, timeout_ms) : epoll_wait(l->epfd, batch, LOOP_BATCH, 0);
    l->batch = batch;
    l->batch_n = MAX(n, 0);
    for (int i = 0; i < n; i++) {
        struct io *io = batch[i].data.ptr;
        if (io)
            io->ready(io, batch[i].events);
    }
    l->batch = NULL;
    l->batch_n = 0;
}

void loop_turn(struct loop *l, uint64_t max_wait_ns)
{
    bool worked = progress_active(l);
    worked |= timer_heap_run(&l->timers, now_ns()) > 0;
    worked |= run_deferred(l);
    if (l->stopping)
        return;
    bool busy = worked || arm_active(l) || !list_empty(&l->deferred);
    dispatch(l, busy ? 0 : wait_ms(l, max_wait_ns));
}

void loop_run(struct loop *l)
{
    l->stopping = false;
    while (!l->stopping)
        loop_turn(l, UINT64_MAX);
    run_deferred(l); /* what the last callbacks put off, often a free */
}

static void on_signalfd(struct io *io, uint32_t events UNUSED)
{
    struct loop *l = container_of(io, struct loop, sig_io);
    struct signalfd_siginfo si;
    while (read(l->sigfd, &si, sizeof(si)) == (ssize_t)sizeof(si))
        for (unsigned i = 0; i < LOOP_SIGNALS; i++)
            if (l->signals[i].call && l->signals[i].signo == (int)si.ssi_signo)
                l->signals[i].call(l, (int)si.ssi_signo);
}

int loop_on_signal(struct loop *l, int signo, void (*call)(struct loop *, int))
{
    unsigned i = 0;
    while (i < LOOP_SIGNALS && l->signals[i].call && l->signals[i].signo != signo)
        i++;
    if (i == LOOP_SIGNALS)
        return -ENOSPC;
    sigaddset(&l->sigs, signo);
    if (sigprocmask(SIG_BLOCK, &l->sigs, NULL) < 0)
        return -errno;
    int fd = signalfd(l->sigfd, &l->sigs, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    l->signals[i] = (struct loop_signal){ signo, call };
    if (l->sigfd >= 0)
        return 0;
    l->sigfd = fd;
    l->sig_io.ready = on_signalfd;
    return loop_add(l, &l->sig_io, fd, EPOLLIN);
}

int loop_init(struct loop *l)
{
    *l = (struct loop){ .epfd = -1, .sigfd = -1, .sig_io.fd = -1 };
    list_init(&l->active);
    list_init(&l->deferred);
    sigemptyset(&l->sigs);
    l->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epfd < 0)
        return -errno;
    spin_init(&l->spin);
    return 0;
}

void loop_fini(struct loop *l)
{
    if (l->epfd < 0)
        return;
    loop_del(l, &l->sig_io);
    fd_close(&l->sigfd);
    fd_close(&l->epfd);
    spin_fini(&l->spin);
    timer_heap_fini(&l->timers);
}
