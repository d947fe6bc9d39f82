/* A flow: one direction of a channel, source xport -> ring -> sink xport. */
#ifndef SRC_ENGINE_FLOW_H
#define SRC_ENGINE_FLOW_H

#include "src/core/digest.h"
#include "src/core/ring_pool.h"
#include "src/core/share.h"
#include "src/seam/xport.h"

struct flow {
    struct xport *source, *sink; /* NULL until its hop was opened: the source may fill the ring meanwhile */
    struct ring ring;
    struct ring_pool *pool;      /* the ring has memory of it while bytes are in it; NULL: memory of its own */
    struct ring_pool *pipes;     /* with memory of its own: from where it may have a pipe in front of that; NULL: never */
    struct digest *digest;       /* NULL: not wanted */
    uint64_t hashed;
    bool discard;                /* nobody takes the bytes: they count as taken when they are here */
    bool end_told, shut;         /* the end was reported / the sink confirmed its own */
    struct stats_flow *stats;    /* never NULL */
    uint64_t since_ns;           /* of the wait that stats shows */
    /* pacing */
    uint64_t rate_bytes;         /* bytes per second; 0: none */
    uint64_t paced_ns;           /* when the gate was last moved */
    struct share_taker taker;    /* of what the session has, instead */
};

/* Caller's zeroed storage. 0 or -errno of ring_init. */
int flow_init(struct flow *f, size_t window, enum ring_pages pages, bool digest, struct stats_flow *stats);
/* The same with a ring that borrows; pool must outlive it. Only for ends that use the memory within fill and drain: byte transports that copy. */
void flow_init_pooled(struct flow *f, struct ring_pool *pool, struct stats_flow *stats);
/* A flow with memory of its own may borrow pipes of pool, which must outlive it; does nothing to one that hashes. */
void flow_use_pipes(struct flow *f, struct ring_pool *pool);
void flow_fini(struct flow *f); /* accepts zeroed memory */
/* Limit what the sink is given to bits_per_s. */
void flow_set_rate(struct flow *f, uint64_t bits_per_s);
/* Or to what s, which must outlive it, has for that way. */
void flow_use_share(struct flow *f, struct share *s, unsigned way);
/* Before the ends progress, for those that bring bytes then. */
void flow_ready(struct flow *f);
/* Move bytes, at most the share of one turn. > 0: moved some; 0: nothing to do. Failures are the xports' own to tell. */
int flow_pump(struct flow *f);
/* Nanoseconds after which pacing lets more through; 0: not waiting for that. */
uint64_t flow_paced_wait(const struct flow *f);
/* Every byte has arrived (and is hashed). */
bool flow_ended(const struct flow *f);
/* Every byte was taken by the sink, and it has said so. */
bool flow_finished(const struct flow *f);

#endif
