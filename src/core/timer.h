/* Timers: a binary heap ordered by due time. */
#ifndef SRC_CORE_TIMER_H
#define SRC_CORE_TIMER_H

#include "src/core/util.h"

struct timer {
    uint64_t due_ns;
    size_t place;                  /* in the heap + 1; 0: not set */
    void (*fire)(struct timer *t); /* may set or stop any timer, itself too */
};

struct timer_heap {
    struct timer **t;
    size_t n, room;
    uint64_t floor_ns; /* while timers fire: what is set now is due at this at the earliest, so in the next run */
};

static inline bool timer_pending(const struct timer *t) { return t->place != 0; }
/* Set or move t to due_ns. */
void timer_heap_set(struct timer_heap *h, struct timer *t, uint64_t due_ns);
void timer_heap_stop(struct timer_heap *h, struct timer *t); /* also when it is not set */
/* Fire what is due at now_ns, each at most once; returns how many fired. */
unsigned timer_heap_run(struct timer_heap *h, uint64_t now_ns);
/* Due time of the first, or UINT64_MAX. */
uint64_t timer_heap_next(const struct timer_heap *h);
void timer_heap_fini(struct timer_heap *h);

#endif
