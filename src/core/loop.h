/* The event loop: epoll, timers, signals, deferred calls, and an active list of things that must be progressed by calling them.
 *
 * A turn: progress all active; run timers and deferred calls; if nothing was done, arm all active: those that arm leave the list
 * and sleep until something activates them; if one says -EBUSY, go round; else epoll_wait. (Sleeping without that second
 * look loses wake-ups.) One thread; everything here must be called from it.
 */
#ifndef SRC_CORE_LOOP_H
#define SRC_CORE_LOOP_H

#include <signal.h>
#include <sys/epoll.h>

#include "src/core/list.h"
#include "src/core/spin.h"
#include "src/core/timer.h"

#define LOOP_SIGNALS 8

struct io {
    int fd;                                           /* -1: not in the loop */
    void (*ready)(struct io *io, uint32_t events);    /* may remove any io, itself too */
};

struct task {
    struct list node;
    int (*progress)(struct task *t); /* > 0: did something */
    int (*arm)(struct task *t);      /* 0: may sleep; -EBUSY: progress again */
    bool active;
};

struct defer { struct list node; void (*call)(struct defer *d); };
struct loop;
struct loop_signal { int signo; void (*call)(struct loop *l, int signo); };

struct loop {
    int epfd, sigfd;
    struct io sig_io;
    sigset_t sigs;
    struct loop_signal signals[LOOP_SIGNALS];
    struct list active, deferred;
    struct timer_heap timers;
    struct epoll_event *batch; /* being dispatched */
    int batch_n;
    bool stopping, patient;
    struct spin spin;
    void *user;                /* the program's */
};

/* 0 or -errno. Caller's storage. */
int loop_init(struct loop *l);
void loop_fini(struct loop *l); /* accepts zeroed memory with epfd = sigfd = -1, or what loop_init left on failure */

/* events as for epoll_ctl, EPOLLET included when wanted. 0 or -errno (-EPERM: a regular file, always ready). */
int loop_add(struct loop *l, struct io *io, int fd, uint32_t events);
int loop_change(struct loop *l, struct io *io, uint32_t events);
/* Takes it out; does not close the descriptor. Call it before the descriptor is closed. Nothing is delivered afterwards. */
void loop_del(struct loop *l, struct io *io);

static inline void loop_timer(struct loop *l, struct timer *t, uint64_t delay_ns)
{
    uint64_t now = now_ns();
    timer_heap_set(&l->timers, t, delay_ns > UINT64_MAX - now ? UINT64_MAX : now + delay_ns);
}
static inline void loop_timer_stop(struct loop *l, struct timer *t) { timer_heap_stop(&l->timers, t); }

void task_init(struct task *t, int (*progress)(struct task *), int (*arm)(struct task *));
void loop_activate(struct loop *l, struct task *t); /* idempotent */
void loop_sleep(struct loop *l, struct task *t);    /* take it off the list, from anywhere */

static inline void defer_init(struct defer *d, void (*call)(struct defer *)) { list_init(&d->node); d->call = call; }
/* Call once, after the callbacks that run now have returned; idempotent until then. The way to free an object from its own callback. */
void loop_defer(struct loop *l, struct defer *d);
static inline void defer_cancel(struct defer *d) { list_del(&d->node); }

/* Block signo and deliver it through the loop. 0 or -errno. */
int loop_on_signal(struct loop *l, int signo, void (*call)(struct loop *l, int signo));

/* Who did something in this turn moves so much at once that a look before sleeping pays nothing. */
static inline void loop_patient(struct loop *l) { l->patient = true; }

/* One turn, waiting at most max_wait_ns. */
void loop_turn(struct loop *l, uint64_t max_wait_ns);
/* Turn until loop_stop. */
void loop_run(struct loop *l);
static inline void loop_stop(struct loop *l) { l->stopping = true; }

#endif
