/* Is it worth looking for events a little longer before sleeping? On processors of our own, yes: a wake-up costs more than a short wait,
 * on a virtual machine several times more (measured: ucx on loopback 33 against 42 Gbit/s). On shared ones, no: spinning takes the
 * processor from the very process that one waits for. The kernel's account of how long this thread was runnable but did not run tells
 * which it is: below a tenth of the time with two processes on two processors, a third with four (measured).
 */
#ifndef SRC_CORE_SPIN_H
#define SRC_CORE_SPIN_H

#include "src/core/util.h"

#define SPIN_NS (30 * NS_PER_US) /* measured: from 10 us on it helps, beyond 100 us no more */

struct spin {
    int fd;                          /* schedstat of this thread; -1: never spin */
    bool short_wait, contended;
    uint64_t asked_ns, delayed_ns;   /* when last asked, and the delay by then */
};

/* For the thread that calls. Cannot fail: without the account nothing spins. */
void spin_init(struct spin *s);
void spin_fini(struct spin *s);
/* The last wait was short and nobody else wants this processor. */
bool spin_pays(struct spin *s, uint64_t now);
/* How long the wait that is over was. */
static inline void spin_waited(struct spin *s, uint64_t ns) { s->short_wait = ns < 2 * SPIN_NS; }

#endif
