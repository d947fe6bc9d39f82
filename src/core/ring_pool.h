/* Memory for rings that hold bytes only now and then: a flow between two sockets needs a ring while bytes wait in it, mostly for one turn. So
 * the flows of a worker share few, and the one used last, which the cache still holds, is the next.
 *
 * Instead of memory a ring may borrow a pipe, through which the kernel moves pages from one socket to the other without copying them (splice(2)).
 * That halves what a byte costs where many come at once, and costs more where few do: so the source asks for it by `bulk`, and it is
 * heard when the ring is empty and borrows again. A ring with memory of its own may borrow one, too, in front of it. Where there is no pipe of a
 * useful size (fs.pipe-user-pages-soft), or none fits into memory_limit beside what is promised on the board, it is memory again. */
#ifndef SRC_CORE_RING_POOL_H
#define SRC_CORE_RING_POOL_H

#include "src/core/board.h"
#include "src/core/ring.h"

#define RING_POOL_KEEP 16        /* that nobody uses are kept, others given back */
#define RING_POOL_PIPE (1 << 20) /* bytes of a pipe, and what of them is still worth it */
#define RING_POOL_PIPE_MIN (256 << 10)

struct ring_pool {
    size_t cap;
    struct ring idle[RING_POOL_KEEP];
    int pipes[RING_POOL_KEEP][2];
    unsigned n_idle, n_pipes, n_lent;
    const struct board *board; /* of all workers; NULL: pipes count nowhere */
    struct board_row *row;     /* ours, where pipes are counted from when they are made until they are closed */
    uint64_t no_pipes_ns; /* when the kernel gave none of a useful size, or none fitted: it is asked again after a while; 0: never */
};

/* A ring without memory: counters count, nothing may be put in before it borrows. */
void ring_init_bare(struct ring *r, size_t cap);
static inline bool ring_has_place(const struct ring *r) { return r->base || r->piped; }
/* Give r memory, or when bulk, and there is one, a pipe, if it has neither. 0; as ring_init. */
int ring_pool_lend(struct ring_pool *p, struct ring *r, bool bulk);
/* Take it back from a ring that holds no byte; does nothing to one without. The pipe of a ring that still holds bytes is closed. */
void ring_pool_take(struct ring_pool *p, struct ring *r);
/* A pipe for a ring that has memory, in which no byte waits to be submitted; it goes on without when there is none. */
void ring_pool_lend_pipe(struct ring_pool *p, struct ring *r);
/* Take it back; one that still holds bytes is closed. */
void ring_pool_take_pipe(struct ring_pool *p, struct ring *r);
/* None may be lent out. Accepts zeroed memory. */
void ring_pool_fini(struct ring_pool *p);

#endif
