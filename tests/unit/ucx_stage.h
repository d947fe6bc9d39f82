/* Two gateways' ucx transports in one process, over the loopback device; and a stranger who speaks raw UCX. */
#ifndef TESTS_UNIT_UCX_STAGE_H
#define TESTS_UNIT_UCX_STAGE_H

#include <ucp/api/ucp.h>

#include "tests/unit/stage.h"

/* Open and listen on the loopback device. patience_ns 0: the default. */
void ucx_stage_open(struct stage *s, uint64_t patience_ns);

/* A stranger: its own context, worker and endpoint to the listener. */
struct stranger { ucp_context_h ctx; ucp_worker_h worker; ucp_ep_h ep; ucs_status_t broken; bool heard; };

void stranger_open(struct stranger *x, const struct stage *s, uint64_t client_id);
/* The id that a cookie stands for. */
uint64_t stranger_id(const uint8_t cookie[XPORT_COOKIE]);
/* An active message with this header and payload, complete before it returns (turning the loop of s). */
void stranger_say(struct stranger *x, struct stage *s, const void *header, size_t n, const void *data, size_t len);
/* cookie + frame, as the transport says it. */
void stranger_frame(struct stranger *x, struct stage *s, const uint8_t cookie[XPORT_COOKIE], const struct frame *f, const void *data);
/* Turn until its connection is broken. */
void stranger_await_broken(struct stranger *x, struct stage *s);
void stranger_turn(struct stranger *x, struct stage *s, uint64_t ns);
void stranger_close(struct stranger *x, struct stage *s);

#endif
