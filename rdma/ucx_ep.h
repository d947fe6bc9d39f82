/* One UCX connection: a ucp_worker of its own (so that it can be destroyed without asking others), its endpoint, and the frames on it
 * as active messages. Every message carries the cookie: UCX delivers strangers' messages too (facts: a worker takes them from anyone). */
#ifndef RDMA_UCX_EP_H
#define RDMA_UCX_EP_H

#include <ucp/api/ucp.h>

#include "src/core/addr.h"
#include "src/core/loop.h"
#include "src/seam/framed.h"

#define UCX_SLOTS 16             /* messages under way from us */
#define UCX_CONTROL 4            /* of them not for DATA, when the peer sends, too */
#define UCX_RECEIVES 64          /* rendezvous receives under way: more than any honest peer starts */
#define UCX_EAGER_MAX (8U << 10) /* payload that UCX may deliver through a copy */
#define UCX_HEAD (FRAME_COOKIE + FRAME_SIZE)

struct ucx_ep;

struct ucx_slot {
    struct ucx_ep *u;
    uint8_t head[UCX_HEAD];
    uint64_t end;  /* DATA: release tx up to here; 0: control */
    bool done;
};

struct ucx_receive {
    struct ucx_ep *u;
    uint64_t off;
    size_t len;
    bool busy;
};

struct ucx_ep {
    ucp_context_h ctx;
    ucp_worker_h worker;
    ucp_ep_h ep;
    int efd;
    struct framed *f;
    struct ucx_slot slots[UCX_SLOTS];          /* a ring: [first, next) are under way, released in order */
    unsigned first, next;
    struct ucx_receive receives[UCX_RECEIVES];
    ucs_status_t broken;                       /* what the error callback said */
    bool wrong_cookie;                         /* a message with another cookie came */
    bool heard;                                /* one with the right cookie */
    bool quiet;                                /* acceptor: send nothing, it would carry the cookie, before the peer showed it */
    uint64_t copied;                           /* bytes copied from eager messages since last asked */
    void *closing;                             /* close request */
};

/* Make the worker. 0; -ENOMEM, -SST_EDEVICE. client_id: what a listener will see, 0 for an acceptor. */
int ucx_ep_open(struct ucx_ep *u, ucp_context_h ctx, struct framed *f, uint64_t client_id);
/* Connect; failures show as u->broken later. */
ucs_status_t ucx_ep_connect(struct ucx_ep *u, const union sockaddr_any *to);
ucs_status_t ucx_ep_accept(struct ucx_ep *u, ucp_conn_request_h request);
/* Progress the library and send what is due. > 0 did something; 0 nothing. u->broken and u->f->rc tell of failures. */
int ucx_ep_progress(struct ucx_ep *u);
int ucx_ep_send(struct ucx_ep *u);
/* 0 armed, -EBUSY. */
int ucx_ep_arm(struct ucx_ep *u);
/* Connected, and nothing of ours, and no receive, is under way. */
bool ucx_ep_idle(const struct ucx_ep *u);
/* Start closing the endpoint; then progress until ucx_ep_closed. Without force only an idle one. By force only one whose peer is dead:
 * libucx asserts on what a living peer still answers to operations that were dropped. */
void ucx_ep_close(struct ucx_ep *u, bool force);
bool ucx_ep_closed(struct ucx_ep *u);
/* Destroy the worker: afterwards no memory of the rings is touched. Accepts zeroed memory. */
void ucx_ep_fini(struct ucx_ep *u);

#endif
