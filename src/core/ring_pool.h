/* Memory for rings that hold bytes only now and then: a flow between two sockets needs a ring while bytes wait in it, mostly for one turn. So
 * the flows of a worker share few, and the one used last, which the cache still holds, is the next. */
#ifndef SRC_CORE_RING_POOL_H
#define SRC_CORE_RING_POOL_H

#include "src/core/ring.h"

#define RING_POOL_KEEP 16 /* that nobody uses are kept, others unmapped */

struct ring_pool {
    size_t cap;
    struct ring idle[RING_POOL_KEEP];
    unsigned n_idle, n_lent;
};

/* A ring without memory: counters count, nothing may be put in before it borrows. */
void ring_init_bare(struct ring *r, size_t cap);
/* Give r memory, if it has none. 0; as ring_init. */
int ring_pool_lend(struct ring_pool *p, struct ring *r);
/* Take it back from a ring that holds no byte; does nothing to one without memory. */
void ring_pool_take(struct ring_pool *p, struct ring *r);
/* None may be lent out. Accepts zeroed memory. */
void ring_pool_fini(struct ring_pool *p);

#endif
