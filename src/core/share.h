/* What the flows of one session may hand on together, whichever workers they are on: a bucket that the clock fills at a rate which control sets, in memory
 * that all workers have (board.h), so nothing has to be divided among them. Each way has a bucket of its own, at the same rate.
 *
 *   ---- paid_ns ------ now ---->      [paid_ns, now) is what may still be taken, at most SHARE_BURST_NS of it
 *
 * A flow takes for bytes that are there, in pieces, and who has nothing to send takes from nobody. Where several want more than there is, each takes a part of
 * it and lets the others have theirs before it comes again: so it does not matter which of them a worker has, and how many. They are counted anew in every
 * epoch of the clock, so that a worker that dies is not counted for ever.
 */
#ifndef SRC_CORE_SHARE_H
#define SRC_CORE_SHARE_H

#include <stdatomic.h>

#include "src/core/util.h"

#define SHARE_SLICE_NS (2 * NS_PER_MS)   /* who finds it empty comes back after so long: a bucket that was looked at all the time would give crumbs */
#define SHARE_BURST_NS (40 * NS_PER_MS)  /* who comes late may catch up: so much that no second has 5 % too many */
#define SHARE_WAIT_NS (100 * NS_PER_MS)  /* nobody waits for longer: control may have set another rate */
#define SHARE_PIECE (64U << 10)
#define SHARE_LEAST 1500                 /* bytes: at a low rate, too, it is not taken in smaller pieces */
#define SHARE_EPOCH_BITS 27              /* of now_ns: 134 ms, within which all who wait have come back */

struct share {
    _Atomic uint64_t rate;               /* bytes per second, each way; 0: no limit, and nothing is counted */
    _Atomic uint64_t steady;             /* 1: the rate is the session's own and stays */
    _Atomic uint64_t paid_ns[2];         /* forward, backward */
    _Atomic uint64_t taken[2];           /* bytes since the slot was used first */
    _Atomic uint64_t held_back;          /* how often there was not enough */
    _Atomic uint64_t wanting[2][2];      /* of each way, in this epoch and the one before: its number, and in the lower half how many wanted more */
} __attribute__((aligned(64)));

/* Somebody who takes of one way. */
struct share_taker {
    struct share *share;                 /* NULL: nobody asks */
    unsigned way;
    uint32_t epoch;                      /* in which he was counted last */
    uint64_t again_ns;                   /* he gets nothing before that */
};

/* Take at most want (not 0). How many; 0: none now, t->again_ns says when to come again. */
uint64_t share_take(struct share_taker *t, uint64_t want, uint64_t now);
/* The limit, 0: none. */
static inline uint64_t share_rate(const struct share *s) { return atomic_load_explicit(&s->rate, memory_order_relaxed); }
void share_set_rate(struct share *s, uint64_t rate, bool steady);
/* What a socket of a session with a rate of its own may be told to send at, bytes per second, 0: nothing. Above the rate: buckets keep that, the kernel
 * only spreads what they let through at once. */
uint64_t share_spread(const struct share *s);

#endif
