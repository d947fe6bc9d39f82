/* Two gateways' transports of one kind in one process, and a channel over them: bytes in memory at both outer ends. link_stage, ucx_stage
 * and verbs_stage set up theirs, and have the peers that say what they like. */
#ifndef TESTS_UNIT_STAGE_H
#define TESTS_UNIT_STAGE_H

#include "src/core/err.h"
#include "tests/lib/unit.h"
#include "tests/lib/watch.h"

struct stage {
    struct rig rig, *on;     /* env[0] listens, env[1] dials; on: the one that this stage uses */
    const struct xport_ops *ops;
    struct xport_spec spec;  /* of both ends */
    struct xport_answer answer;
    struct watch near, far;  /* near dials */
    struct mem_plan source, sink;
    bool duplex;
    uint64_t back_bytes;     /* duplex: that the sink's end sends */
    struct mem_plan back_source, back_sink;
    bool reverse;            /* who dials receives */
    size_t near_ring, far_ring;
    unsigned number;         /* 0, or that of a further channel */
    char names[2][24];
};

extern const uint8_t stage_cookie[XPORT_COOKIE];

/* patience_ns 0: the default. Then set the configuration, and listen. */
void stage_init(struct stage *s, const struct xport_ops *ops, uint64_t patience_ns);
void stage_listen(struct stage *s);
void stage_close(struct stage *s);
/* A further channel on the rig of s, with a cookie of its own. */
void stage_further(struct stage *out, struct stage *s, unsigned number);

/* The ends that are the transport's. */
static inline enum channel_side stage_near_side(const struct stage *s) { return s->reverse ? SIDE_SOURCE : SIDE_SINK; }
static inline enum channel_side stage_far_side(const struct stage *s) { return s->reverse ? SIDE_SINK : SIDE_SOURCE; }

/* A channel of env[0] that waits for a peer, and one of env[1] that dials what was answered; returns as channel_open_end. */
void stage_accept(struct stage *s);
int stage_dial(struct stage *s);
/* Both, with so many bytes to send; moods of sources and sinks stay. */
void stage_stream(struct stage *s, uint64_t bytes);
bool stage_over(void *stage); /* both finished, or one failed */
bool stage_whole(const struct stage *s);
/* Close both. */
void stage_end_stream(struct stage *s);
/* A stream from its beginning to its end. */
void stage_run_whole(struct stage *s, uint64_t bytes);
/* Whole streams of sizes around those of the rings; s must be open. Duplex: each against several the other way. */
void stage_boundary_sizes(struct stage *s);
/* Each side closes in the moment it is finished: what it owed the other was sent. */
void stage_close_at_once(struct stage *s, uint64_t bytes);

/* What any duplex transport does; s must be open. One side's bytes end long before the other's. */
void stage_half_close(struct stage *s);
/* One direction stands still for ever while the other carries so many bytes (by its sink; a tenth, by its source); then it goes on to its end. */
void stage_independent(struct stage *s, uint64_t bytes);
/* Not over a link, whose bytes stay until they are consumed: one side is done and leaves at once, the other still has bytes to hand on. */
void stage_one_leaves(struct stage *s);
/* Each side aborts in the middle of both directions, and the other hears why. */
void stage_abort_duplex(struct stage *s);

#endif
