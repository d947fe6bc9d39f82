/* Two gateways' ucx transports in one process, over the loopback device; and a stranger who speaks raw UCX. */
#ifndef TESTS_UNIT_UCX_STAGE_H
#define TESTS_UNIT_UCX_STAGE_H

#include <ucp/api/ucp.h>

#include "src/core/err.h"
#include "tests/lib/unit.h"
#include "tests/lib/watch.h"

struct ucx_stage {
    struct rig rig;         /* env[0] listens, env[1] dials */
    uint16_t port;
    struct watch near, far; /* near dials */
    struct mem_plan source, sink;
    bool reverse;           /* who dials receives */
    uint32_t chunk;
    size_t near_ring, far_ring;
};

extern const uint8_t ucx_cookie[XPORT_COOKIE];

/* patience_ns 0: the default. */
void ucx_stage_open(struct ucx_stage *s, uint64_t patience_ns);
void ucx_stage_close(struct ucx_stage *s);
static inline enum channel_side ucx_near_side(const struct ucx_stage *s) { return s->reverse ? SIDE_SOURCE : SIDE_SINK; }
static inline enum channel_side ucx_far_side(const struct ucx_stage *s) { return s->reverse ? SIDE_SINK : SIDE_SOURCE; }
/* A channel that waits for a peer / dials; the other end is bytes in memory. */
void ucx_stage_accept(struct ucx_stage *s);
int ucx_stage_dial(struct ucx_stage *s, const uint8_t cookie[XPORT_COOKIE]);
/* Both. */
void ucx_stage_stream(struct ucx_stage *s, uint64_t bytes);
bool ucx_stage_over(void *stage);
bool ucx_stage_whole(const struct ucx_stage *s);
void ucx_stage_end_stream(struct ucx_stage *s);

/* A stranger: its own context, worker and endpoint to the listener. */
struct stranger { ucp_context_h ctx; ucp_worker_h worker; ucp_ep_h ep; ucs_status_t broken; bool heard; };

void stranger_open(struct stranger *x, const struct ucx_stage *s, uint64_t client_id);
/* The id that a cookie stands for. */
uint64_t stranger_id(const uint8_t cookie[XPORT_COOKIE]);
/* An active message with this header and payload, complete before it returns (turning the loop of s). */
void stranger_say(struct stranger *x, struct ucx_stage *s, const void *header, size_t n, const void *data, size_t len);
/* cookie + frame, as the transport says it. */
void stranger_frame(struct stranger *x, struct ucx_stage *s, const uint8_t cookie[XPORT_COOKIE], const struct frame *f, const void *data);
/* Turn until its connection is broken. */
void stranger_await_broken(struct stranger *x, struct ucx_stage *s);
void stranger_turn(struct stranger *x, struct ucx_stage *s, uint64_t ns);
void stranger_close(struct stranger *x, struct ucx_stage *s);

#endif
