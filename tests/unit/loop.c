#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "src/core/loop.h"
#include "tests/lib/unit.h"

static struct loop loop;

static void open_loop(void)
{
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
}

/* ------------------------------------------------------------ descriptors */

struct event {
    struct io io;
    int fd, calls;
    uint32_t seen;
    struct event *victim; /* is taken out and closed when this one is called */
};

static void event_close(struct event *e)
{
    loop_del(&loop, &e->io);
    fd_close(&e->fd);
}

static void on_event(struct io *io, uint32_t events)
{
    struct event *e = container_of(io, struct event, io);
    e->calls++;
    e->seen = events;
    if (e->victim)
        event_close(e->victim);
}

/* An eventfd, readable from the start. */
static void event_open(struct event *e)
{
    *e = (struct event){ .io = { .fd = -1, .ready = on_event }, .fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK) };
    CU_ASSERT_EQUAL(loop_add(&loop, &e->io, e->fd, EPOLLIN), 0);
}

static void test_events(void)
{
    struct event e;
    open_loop();
    event_open(&e);
    loop_turn(&loop, UINT64_MAX);
    CU_ASSERT(e.calls == 1 && e.seen == EPOLLIN);
    CU_ASSERT_EQUAL(loop_change(&loop, &e.io, EPOLLOUT), 0);
    loop_turn(&loop, UINT64_MAX);
    CU_ASSERT(e.calls == 2 && e.seen == EPOLLOUT);
    CU_ASSERT_EQUAL(loop_change(&loop, &e.io, 0), 0);
    loop_turn(&loop, 0);
    CU_ASSERT_EQUAL(e.calls, 2);
    CU_ASSERT_EQUAL(loop_change(&loop, &e.io, EPOLLIN), 0);
    loop_del(&loop, &e.io);
    CU_ASSERT_EQUAL(e.io.fd, -1);
    loop_turn(&loop, 0);
    CU_ASSERT_EQUAL(e.calls, 2);
    event_close(&e);
    loop_fini(&loop);
}

static void test_add_refused(void)
{
    struct io io = { .fd = -1, .ready = on_event };
    AUTO_FD int file = memfd_create("regular", MFD_CLOEXEC);
    open_loop();
    CU_ASSERT_EQUAL(loop_add(&loop, &io, file, EPOLLIN), -EPERM);
    CU_ASSERT_EQUAL(loop_add(&loop, &io, -1, EPOLLIN), -EBADF);
    CU_ASSERT_EQUAL(io.fd, -1);
    CU_ASSERT_EQUAL(loop_change(&loop, &io, EPOLLIN), -EBADF);
    loop_del(&loop, &io);
    loop_fini(&loop);
}

/* Both are ready in one batch, each would take the other out: exactly one is called, once. */
static void test_delete_other(void)
{
    struct event a, b;
    open_loop();
    event_open(&a);
    event_open(&b);
    a.victim = &b;
    b.victim = &a;
    loop_turn(&loop, UINT64_MAX);
    CU_ASSERT_EQUAL(a.calls + b.calls, 1);
    CU_ASSERT_EQUAL(a.fd < 0, b.calls == 1);
    event_close(&a);
    event_close(&b);
    loop_fini(&loop);
}

static void test_delete_self(void)
{
    struct event e;
    open_loop();
    event_open(&e);
    e.victim = &e;
    loop_turn(&loop, UINT64_MAX);
    loop_turn(&loop, 0);
    CU_ASSERT(e.calls == 1 && e.fd == -1);
    loop_fini(&loop);
}

/* More than one batch is ready: all are served, in as many turns as it takes. */
static void test_many(void)
{
    enum { N = 200 };
    struct event *all = mem_zalloc(N, sizeof(*all));
    int missing = N;
    open_loop();
    for (int i = 0; i < N; i++)
        event_open(&all[i]);
    for (int turn = 0; turn < N && missing > 0; turn++) {
        loop_turn(&loop, 0);
        missing = 0;
        for (int i = 0; i < N; i++)
            missing += all[i].calls == 0;
    }
    CU_ASSERT_EQUAL(missing, 0);
    for (int i = 0; i < N; i++)
        event_close(&all[i]);
    free(all);
    loop_fini(&loop);
}

/* ------------------------------------------------------------ deferred calls */

struct later { struct defer d; int calls, again; bool stop; };

static void on_later(struct defer *d)
{
    struct later *l = container_of(d, struct later, d);
    l->calls++;
    if (l->again-- > 0)
        loop_defer(&loop, d);
    if (l->stop)
        loop_stop(&loop);
}

static void later_init(struct later *l)
{
    *l = (struct later){ .calls = 0 };
    defer_init(&l->d, on_later);
}

static void test_defer(void)
{
    struct later l, cancelled;
    open_loop();
    later_init(&l);
    later_init(&cancelled);
    loop_defer(&loop, &l.d);
    loop_defer(&loop, &l.d);
    loop_defer(&loop, &cancelled.d);
    defer_cancel(&cancelled.d);
    defer_cancel(&cancelled.d);
    CU_ASSERT_EQUAL(l.calls, 0);
    loop_turn(&loop, UINT64_MAX); /* does not wait: there was something to do */
    loop_turn(&loop, 0);
    CU_ASSERT(l.calls == 1 && cancelled.calls == 0);
    l.again = 1;
    loop_defer(&loop, &l.d);
    loop_turn(&loop, UINT64_MAX);
    CU_ASSERT_EQUAL(l.calls, 2); /* again: in the next turn, which does not wait either */
    loop_turn(&loop, UINT64_MAX);
    CU_ASSERT_EQUAL(l.calls, 3);
    loop_fini(&loop);
}

/* Deferring what is deferred already neither calls it twice nor loses another. */
static void test_defer_twice(void)
{
    struct later a, b;
    open_loop();
    later_init(&a);
    later_init(&b);
    loop_defer(&loop, &a.d);
    loop_defer(&loop, &b.d);
    loop_defer(&loop, &a.d);
    loop_turn(&loop, 0);
    loop_turn(&loop, 0);
    CU_ASSERT(a.calls == 1 && b.calls == 1);
    loop_fini(&loop);
}

static struct later *to_free;

static void on_stop_and_defer(struct io *io, uint32_t events UNUSED)
{
    loop_del(&loop, io);
    loop_defer(&loop, &to_free->d);
    loop_stop(&loop);
}

/* What was put off by the callback that stopped the loop is done before loop_run returns. */
static void test_defer_at_stop(void)
{
    struct event e;
    struct later l;
    open_loop();
    event_open(&e);
    later_init(&l);
    to_free = &l;
    e.io.ready = on_stop_and_defer;
    loop_run(&loop);
    CU_ASSERT_EQUAL(l.calls, 1);
    event_close(&e);
    loop_fini(&loop);
}

/* ------------------------------------------------------------ tasks */

struct work {
    struct task t;
    int todo, progressed, armed, busy; /* busy: how often arming is refused */
    struct work *victim;               /* sent to sleep when this one progresses */
    bool sleep_in_arm;
    struct later *defer_in_arm;
};

static int on_progress(struct task *t)
{
    struct work *w = container_of(t, struct work, t);
    w->progressed++;
    if (w->victim)
        loop_sleep(&loop, &w->victim->t);
    return w->todo > 0 ? w->todo-- : 0;
}

static int on_arm(struct task *t)
{
    struct work *w = container_of(t, struct work, t);
    w->armed++;
    if (w->sleep_in_arm)
        loop_sleep(&loop, t);
    if (w->defer_in_arm)
        loop_defer(&loop, &w->defer_in_arm->d);
    return w->busy-- > 0 ? -EBUSY : 0;
}

static void work_init(struct work *w, int todo, int busy)
{
    *w = (struct work){ .todo = todo, .busy = busy };
    task_init(&w->t, on_progress, on_arm);
    loop_activate(&loop, &w->t);
    loop_activate(&loop, &w->t);
}

static void test_task(void)
{
    struct work w;
    open_loop();
    work_init(&w, 2, 0);
    loop_turn(&loop, UINT64_MAX);
    loop_turn(&loop, UINT64_MAX);
    CU_ASSERT(w.progressed == 2 && w.armed == 0 && w.t.active); /* as long as there is work it is not armed */
    loop_turn(&loop, 0);
    CU_ASSERT(w.progressed == 3 && w.armed == 1 && !w.t.active);
    loop_turn(&loop, 0);
    CU_ASSERT_EQUAL(w.progressed, 3); /* sleeps */
    loop_activate(&loop, &w.t);
    loop_turn(&loop, 0);
    CU_ASSERT(w.progressed == 4 && w.armed == 2);
    loop_fini(&loop);
}

static void test_activate_twice(void)
{
    struct work a, b;
    open_loop();
    work_init(&a, 1, 0);
    work_init(&b, 1, 0);
    loop_activate(&loop, &a.t);
    loop_turn(&loop, UINT64_MAX);
    CU_ASSERT(a.progressed == 1 && b.progressed == 1);
    loop_fini(&loop);
}

/* What arming put off is not slept over. */
static void test_defer_in_arm(void)
{
    struct work w;
    struct later l;
    open_loop();
    later_init(&l);
    work_init(&w, 0, 0);
    w.defer_in_arm = &l;
    loop_turn(&loop, UINT64_MAX);
    loop_turn(&loop, 0);
    CU_ASSERT(w.armed == 1 && l.calls == 1);
    loop_fini(&loop);
}

/* Arming says busy: the loop goes round instead of waiting, without the others that could sleep. */
static void test_task_busy(void)
{
    struct work w, quiet;
    open_loop();
    work_init(&w, 0, 2);
    work_init(&quiet, 0, 0);
    loop_turn(&loop, UINT64_MAX);
    CU_ASSERT(w.t.active && !quiet.t.active);
    loop_turn(&loop, UINT64_MAX);
    CU_ASSERT(w.progressed == 2 && w.armed == 2 && w.t.active && quiet.progressed == 1);
    loop_turn(&loop, 0);
    CU_ASSERT(w.progressed == 3 && w.armed == 3 && !w.t.active);
    loop_fini(&loop);
}

static void test_task_sleep(void)
{
    struct work a, b;
    open_loop();
    work_init(&a, 1, 0);
    work_init(&b, 1, 0);
    a.victim = &b;
    loop_turn(&loop, UINT64_MAX);
    CU_ASSERT(a.progressed == 1 && b.progressed == 0 && !b.t.active);
    a.victim = &a;
    loop_turn(&loop, 0);
    CU_ASSERT(a.progressed == 2 && a.armed == 0 && !a.t.active);
    loop_sleep(&loop, &a.t);
    loop_activate(&loop, &a.t);
    CU_ASSERT_TRUE(a.t.active);
    loop_fini(&loop);
}

/* Leaving the list from within arm, with either answer, leaves it sound. */
static void test_task_sleep_in_arm(void)
{
    for (int busy = 0; busy <= 1; busy++) {
        struct work w, other;
        open_loop();
        work_init(&w, 0, busy);
        work_init(&other, 0, 1);
        w.sleep_in_arm = true;
        loop_turn(&loop, UINT64_MAX);
        CU_ASSERT(!w.t.active && other.t.active && list_empty(&w.t.node));
        loop_activate(&loop, &w.t);
        loop_turn(&loop, 0);
        CU_ASSERT(w.progressed == 2 && other.progressed == 2);
        loop_fini(&loop);
    }
}

/* ------------------------------------------------------------ timers */

struct alarm { struct timer t; int calls; };

static void on_alarm(struct timer *t)
{
    container_of(t, struct alarm, t)->calls++;
    loop_stop(&loop);
}

static void test_timer(void)
{
    struct alarm soon = { .t.fire = on_alarm }, never = { .t.fire = on_alarm }, stopped = { .t.fire = on_alarm };
    open_loop();
    uint64_t start = now_ns();
    loop_timer(&loop, &soon.t, 3 * NS_PER_MS);
    loop_timer(&loop, &never.t, UINT64_MAX);
    loop_timer(&loop, &stopped.t, NS_PER_MS);
    loop_timer_stop(&loop, &stopped.t);
    CU_ASSERT(never.t.due_ns == UINT64_MAX && timer_pending(&never.t));
    loop_run(&loop);
    CU_ASSERT(soon.calls == 1 && never.calls == 0 && stopped.calls == 0);
    CU_ASSERT(now_ns() - start >= 3 * NS_PER_MS);
    loop_fini(&loop);
    CU_ASSERT_FALSE(timer_pending(&never.t));
}

/* The wait is rounded up to epoll's milliseconds: no spinning through the last one. */
static void test_no_spinning(void)
{
    struct alarm soon = { .t.fire = on_alarm };
    int turns = 0;
    open_loop();
    loop_timer(&loop, &soon.t, 2 * NS_PER_MS + NS_PER_MS / 2);
    for (; soon.calls == 0; turns++)
        loop_turn(&loop, UINT64_MAX);
    CU_ASSERT(turns <= 3);
    loop_fini(&loop);
}

static void test_max_wait(void)
{
    open_loop();
    uint64_t start = now_ns();
    loop_turn(&loop, 2 * NS_PER_MS);
    CU_ASSERT(now_ns() - start >= NS_PER_MS);
    loop_fini(&loop);
}

/* ------------------------------------------------------------ signals */

static int signals_seen[65];

static void on_signal(struct loop *l, int signo)
{
    CU_ASSERT_PTR_EQUAL(l, &loop);
    signals_seen[signo]++;
}

static void on_signal_stop(struct loop *l, int signo)
{
    signals_seen[signo] += 10;
    loop_stop(l);
}

static void test_signals(void)
{
    open_loop();
    CU_ASSERT_EQUAL(loop_on_signal(&loop, SIGUSR1, on_signal), 0);
    CU_ASSERT_EQUAL(loop_on_signal(&loop, SIGUSR2, on_signal), 0);
    raise(SIGUSR1);
    raise(SIGUSR2);
    CU_ASSERT(signals_seen[SIGUSR1] == 0 && signals_seen[SIGUSR2] == 0);
    loop_turn(&loop, UINT64_MAX);
    CU_ASSERT(signals_seen[SIGUSR1] == 1 && signals_seen[SIGUSR2] == 1);
    CU_ASSERT_EQUAL(loop_on_signal(&loop, SIGUSR1, on_signal_stop), 0); /* takes the place of the other */
    raise(SIGUSR1);
    loop_run(&loop);
    CU_ASSERT_EQUAL(signals_seen[SIGUSR1], 11);
    loop_fini(&loop);
}

static void test_too_many_signals(void)
{
    open_loop();
    for (int i = 0; i < LOOP_SIGNALS; i++)
        CU_ASSERT_EQUAL(loop_on_signal(&loop, SIGRTMIN + i, on_signal), 0);
    CU_ASSERT_EQUAL(loop_on_signal(&loop, SIGRTMIN + LOOP_SIGNALS, on_signal), -ENOSPC);
    raise(SIGRTMIN + LOOP_SIGNALS - 1);
    loop_turn(&loop, UINT64_MAX);
    CU_ASSERT_EQUAL(signals_seen[SIGRTMIN + LOOP_SIGNALS - 1], 1);
    loop_fini(&loop);
}

static void test_fini(void)
{
    struct loop zeroed = { .epfd = -1, .sigfd = -1 };
    loop_fini(&zeroed);
    open_loop();
    loop_fini(&loop);
    loop_fini(&loop);
    CU_ASSERT(loop.epfd == -1 && loop.sigfd == -1);
}

/* Short waits on a processor of our own may spin; long ones, and a thread that others keep waiting, do not. */
static void test_spin(void)
{
    struct spin p;
    spin_init(&p);
    if (p.fd < 0)
        return; /* a kernel without the account: never */
    CU_ASSERT_FALSE(spin_pays(&p, now_ns()));
    spin_waited(&p, 10);
    int pipe_fd[2];
    CU_ASSERT_EQUAL_FATAL(pipe(pipe_fd), 0);
    close(p.fd);
    p.fd = pipe_fd[0]; /* cannot be read at an offset: as good as no account */
    CU_ASSERT_FALSE(spin_pays(&p, now_ns() + NS_PER_S));
    close(pipe_fd[1]);
    spin_fini(&p);
    int fd = memfd_create("schedstat", MFD_CLOEXEC);
    p = (struct spin){ .fd = fd, .contended = true };
    spin_waited(&p, 10);
    CU_ASSERT_EQUAL(pwrite(fd, "5 1000000 7\n", 12, 0), 12);
    CU_ASSERT_TRUE(spin_pays(&p, 100 * NS_PER_MS)); /* 1 ms of 100 */
    CU_ASSERT_EQUAL(pwrite(fd, "5 51000000 7\n", 13, 0), 13);
    CU_ASSERT_TRUE(spin_pays(&p, 101 * NS_PER_MS)); /* not asked again so soon */
    CU_ASSERT_FALSE(spin_pays(&p, 200 * NS_PER_MS)); /* 50 ms of 100 */
    CU_ASSERT_TRUE(spin_pays(&p, 300 * NS_PER_MS));
    spin_waited(&p, NS_PER_MS);
    CU_ASSERT_FALSE(spin_pays(&p, 301 * NS_PER_MS));
    spin_fini(&p);
}

UNIT_MAIN("loop", UNIT(test_spin), UNIT(test_events), UNIT(test_add_refused), UNIT(test_delete_other), UNIT(test_delete_self), UNIT(test_many),
          UNIT(test_defer), UNIT(test_defer_twice), UNIT(test_defer_at_stop), UNIT(test_task), UNIT(test_activate_twice),
          UNIT(test_defer_in_arm), UNIT(test_task_busy), UNIT(test_task_sleep), UNIT(test_task_sleep_in_arm), UNIT(test_timer),
          UNIT(test_no_spinning), UNIT(test_max_wait), UNIT(test_signals), UNIT(test_too_many_signals), UNIT(test_fini))
