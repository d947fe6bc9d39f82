/* One RC queue pair with what belongs to it: protection domain, completion queue, the registered ring(s), the small messages.
 *
 * DATA is an RDMA WRITE from our ring into the peer's, split where either view ends, and one SEND with the DATA frame behind it in the same
 * ibv_post_send; the receive of that SEND says that the bytes are there (InfiniBand, RoCE and iWARP alike). All other messages are SENDs.
 * A SEND needs a receive posted at the peer: both sides count them (rq_total), so that "receiver not ready" cannot happen.
 */
#ifndef RDMA_VERBS_QP_H
#define RDMA_VERBS_QP_H

#include <rdma/rdma_cma.h>

#include "rdma/verbs_wire.h"
#include "src/seam/framed.h"

#define VERBS_RECEIVES 128U
#define VERBS_SENDS 32U
#define VERBS_WHY 160

struct verbs_qp {
    struct ibv_context *verbs;
    struct ibv_pd *pd;
    struct ibv_comp_channel *channel;
    struct ibv_cq *cq;
    struct ibv_qp *qp;                /* the rdma_cm_id's; NULL before verbs_qp_create */
    struct rdma_cm_id *id;
    struct ibv_mr *rx_mr, *tx_mr, *pool_mr;
    uint8_t *pool;                    /* VERBS_RECEIVES receives, then VERBS_SENDS sends */
    struct framed *f;
    struct verbs_intro peer;          /* where its ring is */
    uint64_t rq_total, rq_told;       /* receives posted, and what the peer knows of it */
    uint64_t peer_rq_total, sent;     /* receives of the peer, and SENDs of ours */
    unsigned first, next;             /* SENDs under way: [first, next) */
    uint64_t ends[VERBS_SENDS];       /* DATA: release tx up to here; 0: control */
    unsigned events;                  /* to be acknowledged */
    bool armed, inlined, closed;      /* closed: the connection is over, errors mean nothing any more */
    int rc;                           /* first failure, with its sentence */
    char why[VERBS_WHY];
};

/* Protection domain, completion queue and message pool on the device of id. Fast; the loop's thread. 0, or q->rc with q->why. */
int verbs_qp_open(struct verbs_qp *q, struct rdma_cm_id *id, struct framed *f);
/* Register the rings of f: pins memory, so for the helper thread. 0, or q->rc with q->why, which knows of RLIMIT_MEMLOCK. */
int verbs_qp_register(struct verbs_qp *q);
/* The queue pair, with all receives posted. 0, or q->rc. */
int verbs_qp_create(struct verbs_qp *q);
/* What this side tells in its private data. */
void verbs_qp_intro(const struct verbs_qp *q, struct verbs_intro *out);
/* What the peer told. 0, or q->rc: it has no ring for what we send, or one of no use. */
int verbs_qp_peer(struct verbs_qp *q, const struct verbs_intro *peer);

/* Take completions / send what is due and the peer can receive. > 0 did something, 0 nothing; q->rc and f->rc tell of failures. */
int verbs_qp_poll(struct verbs_qp *q);
int verbs_qp_send(struct verbs_qp *q);
/* Ask for an event. 0, or -EBUSY: completions came meanwhile. */
int verbs_qp_arm(struct verbs_qp *q);
/* The completion channel is readable. */
void verbs_qp_event(struct verbs_qp *q);
static inline bool verbs_qp_idle(const struct verbs_qp *q) { return q->first == q->next; }

/* Destroy the queue pair: from here on no memory of the rings is touched. */
void verbs_qp_destroy(struct verbs_qp *q);
/* Give memory back: unpins, so for the helper thread. Accepts zeroed memory. */
void verbs_qp_release(struct verbs_qp *q);

#endif
