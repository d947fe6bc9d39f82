/* The verbs transport, inside: one end of a channel, and what all of a worker share. verbs.c is the seam, verbs_cm.c the connection. */
#ifndef RDMA_VERBS_H
#define RDMA_VERBS_H

#include "rdma/verbs_qp.h"
#include "src/core/addr.h"
#include "src/seam/xport.h"

/* How far a connection is. The order is that of a happy life. */
enum verbs_state { VERBS_NEW, VERBS_ADDRESS, VERBS_ROUTE, VERBS_MEMORY, VERBS_CONNECT, VERBS_OPEN, VERBS_STATES };

struct verbs {
    struct xport x;
    struct framed f;
    struct verbs_qp q;
    struct rdma_cm_id *id;
    enum verbs_state state;
    struct io io;                 /* the completion channel */
    struct list pending;          /* acceptor: in shared.pending until its cookie came */
    struct list node;             /* in shared.ends while it has a connection */
    struct timer patience;        /* each step until HELLO; later: closing */
    struct task closing;
    struct job job;               /* registers, or releases */
    bool acceptor, lost, releasing;
    struct verbs_intro peer;
    char to[ADDR_TEXT];           /* the peer */
};

struct verbs_shared {
    struct loop *loop;
    struct rdma_event_channel *events;
    struct io io;
    struct rdma_cm_id *listener;
    struct list pending;          /* struct verbs */
    struct list ends;             /* struct verbs */
    struct list devices;          /* struct verbs_device */
    char address[XPORT_TEXT];
    uint16_t port;
    const struct conf_rdma *conf;
    uint64_t patience_ns;
};

static inline struct verbs *verbs_of(struct xport *x) { return container_of(x, struct verbs, x); }
static inline struct verbs_shared *verbs_shared_of(const struct xport_env *env) { return env->shared[XPORT_VERBS]; }

/* Begin to connect k to its address. 0, or xport_fail was called. */
int verbs_cm_connect(struct verbs *k, const union sockaddr_any *to);
/* Give up the connection: no event of it comes any more, no memory is touched. */
void verbs_cm_drop(struct verbs *k);
/* After the job that registered the rings. */
void verbs_cm_registered(struct verbs *k);
/* The first failure of the queue pair or of the protocol becomes that of k->x. 0, or x->rc. */
int verbs_check(struct verbs *k);

int verbs_cm_listen(struct verbs_shared *sh, const struct xport_env *env, char *why, size_t size);
void verbs_cm_unlisten(struct verbs_shared *sh);

#endif
