/* One RC queue pair with what belongs to it: protection domain, completion queue, the registered ring(s), the small messages.
 *
 * DATA is RDMA WRITEs from our ring into the peer's, each up to chunk_max and split where either view ends, and behind them, in the same
 * ibv_post_send, one SEND whose DATA frame covers them all; the receive of that SEND says that the bytes are there (InfiniBand, RoCE and
 * iWARP alike). All other messages are SENDs. A SEND needs a receive posted at the peer: both sides count them (rq_total), so that "receiver
 * not ready" cannot happen. Two directions share SENDs and receives, and neither can use up what the other needs for its limits. verbs_qp.c
 * makes and destroys, verbs_post.c sends and completes.
 */
#ifndef RDMA_VERBS_QP_H
#define RDMA_VERBS_QP_H

#include <rdma/rdma_cma.h>

#include "rdma/verbs_wire.h"
#include "src/core/conf.h"
#include "src/core/stats.h"
#include "src/seam/framed.h"

#define VERBS_RECEIVES 128U
#define VERBS_SENDS 32U   /* SENDs under way */
#define VERBS_WRITES 128U /* WRITEs under way */
#define VERBS_BATCH 32U   /* work requests of one ibv_post_send */
#define VERBS_SLOT 64     /* bytes of the pool a message gets */
#define VERBS_WHY 160

struct verbs_qp {
    struct ibv_context *verbs;
    struct ibv_pd *pd;
    struct ibv_comp_channel *channel;
    struct ibv_cq *cq;
    struct ibv_qp *qp;                /* NULL before verbs_qp_create and after verbs_qp_destroy */
    struct rdma_cm_id *id;
    struct ibv_mr *rx_mr, *tx_mr, *pool_mr;
    uint8_t *pool;                    /* VERBS_RECEIVES receives, then VERBS_SENDS sends */
    struct framed *f;
    const struct conf_rdma *conf;
    struct stats_page *stats;
    struct verbs_intro peer;          /* where its ring is */
    uint32_t chunk_max;               /* of a WRITE */
    uint64_t rq_total, rq_told;       /* receives posted, and what the peer knows of it */
    uint64_t peer_rq_total, sent;     /* receives of the peer, and SENDs of ours */
    unsigned first, next;             /* SENDs under way: [first, next) */
    unsigned awaited;                 /* those before this one will be told by a completion */
    unsigned owed;                    /* those before this one have our bytes and their end */
    unsigned writes;                  /* WRITEs under way */
    struct { uint64_t end; unsigned writes; } sends[VERBS_SENDS]; /* DATA: release tx up to end; 0: control */
    /* what the next ibv_post_send takes */
    struct ibv_send_wr wr[VERBS_BATCH];
    struct ibv_sge sge[VERBS_BATCH];
    unsigned n_wr, n_wr_writes;
    struct frame notice;              /* DATA of the WRITEs in it that no SEND tells yet; len 0: none */
    bool untold;                      /* somebody waits for a SEND that is not signalled: the batch must end with one that is */
    unsigned events;                  /* to be acknowledged */
    unsigned mtu;                     /* enum ibv_mtu in use; 0: not known (iWARP) */
    int gid_index;                    /* -1: none */
    unsigned comp_vector;             /* of the device's interrupts, modulo their number */
    bool armed, inlined, iwarp;
    bool undelivered;                 /* bytes of ours, or their end, may not have arrived */
    bool heard;                       /* something came from the peer */
    bool closed;                      /* the connection is over, errors mean nothing any more */
    int rc;                           /* first failure, with its sentence */
    char why[VERBS_WHY];
};

/* Sets q->rc and q->why unless there is a failure already; returns q->rc. */
int verbs_qp_fail(struct verbs_qp *q, int rc, const char *fmt, ...) PRINTF(3, 4);

/* Protection domain, completion queue and message pool on the device of id. f, conf and stats must outlive q. 0, or q->rc with q->why. */
int verbs_qp_open(struct verbs_qp *q, struct rdma_cm_id *id, struct framed *f);
/* Register the rings of f: pins memory, so for the helper thread. 0, or q->rc with q->why, which knows of RLIMIT_MEMLOCK. */
int verbs_qp_register(struct verbs_qp *q);
/* The queue pair, with all receives posted. 0, or q->rc. */
int verbs_qp_create(struct verbs_qp *q);
/* What this side tells in its private data. */
void verbs_qp_intro(const struct verbs_qp *q, struct verbs_intro *out);
/* What the peer told. 0, or q->rc: it has no ring for what we send, or one of no use. */
int verbs_qp_peer(struct verbs_qp *q, const struct verbs_intro *peer);
/* Ready to send, once the connection manager knows the peer's queue pair: the acceptor before it accepts, else after the answer. 0, or q->rc. */
int verbs_qp_ready(struct verbs_qp *q);

/* Take completions / send what is due and the peer can receive. > 0 did something, 0 nothing; q->rc and f->rc tell of failures. */
int verbs_qp_poll(struct verbs_qp *q);
int verbs_qp_send(struct verbs_qp *q);
int verbs_qp_post_receives(struct verbs_qp *q, const unsigned *slots, unsigned n);
/* Ask for an event. 0, or -EBUSY: completions came meanwhile. */
int verbs_qp_arm(struct verbs_qp *q);
/* The completion channel is readable. */
void verbs_qp_event(struct verbs_qp *q);
/* Nothing is under way whose completion will be told. */
static inline bool verbs_qp_idle(const struct verbs_qp *q) { return (int)(q->awaited - q->first) <= 0; }
/* The peer's adapter has all that was sent of our bytes and their end; what controls the other direction may be under way. */
static inline bool verbs_qp_delivered(const struct verbs_qp *q) { return (int)(q->owed - q->first) <= 0 && !q->undelivered; }

/* The peer shall know that it is over: what it still sends is not received. */
void verbs_qp_disconnect(struct verbs_qp *q);
/* Destroy the queue pair: from here on no memory of the rings is touched. */
void verbs_qp_destroy(struct verbs_qp *q);
/* Give memory back: unpins, so for the helper thread. Accepts zeroed memory. */
void verbs_qp_release(struct verbs_qp *q);

#endif
