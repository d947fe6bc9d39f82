/* The verbs transport, inside: one end of a channel, and what all of a worker share. verbs.c is the seam, verbs_cm.c connections,
 * verbs_listen.c the listener and what devices report. */
#ifndef RDMA_VERBS_XPORT_H /* RDMA_VERBS_H is the guard of librdmacm's rdma_verbs.h */
#define RDMA_VERBS_XPORT_H

#include "rdma/verbs_qp.h"
#include "src/core/addr.h"
#include "src/seam/xport.h"

/* How far a connection is. The order is that of a happy life: an acceptor looks whether it reaches the peer, then waits. */
enum verbs_state { VERBS_NEW, VERBS_LOOK, VERBS_WAIT, VERBS_ADDRESS, VERBS_ROUTE, VERBS_MEMORY, VERBS_CONNECT, VERBS_OPEN, VERBS_STATES };

/* Addresses of the peer that an acceptor tries to reach, one after the other. */
struct verbs_look { union sockaddr_any at[8]; unsigned n, next; char tried[XPORT_TEXT]; };

struct verbs {
    struct xport x;
    struct framed f;
    struct verbs_qp q;
    struct rdma_cm_id *id;
    enum verbs_state state;
    struct io io;                 /* the completion channel */
    struct list pending;          /* acceptor: in shared.pending until its cookie came */
    struct list node;             /* in shared.ends while it has a connection */
    struct verbs_look *look;
    struct timer patience;        /* each step until HELLO; up: what is under way must complete; later: closing */
    unsigned seen;                /* q.first when patience was set */
    struct task closing;
    struct job job;               /* registers, or releases */
    bool acceptor, lost, releasing;
    struct verbs_intro peer;
    char to[ADDR_TEXT];           /* the peer */
};

struct verbs_shared {
    struct xport_env *env;
    struct loop *loop;
    struct rdma_event_channel *events;
    struct io io;
    struct rdma_cm_id *listener;  /* NULL: none, or its device is gone */
    bool stale;                   /* a device was removed: librdmacm keeps it open until it looks at the list again */
    union sockaddr_any at;        /* where it is bound */
    struct timer again;           /* until it can be bound; and when ports have changed */
    struct list pending;          /* struct verbs */
    struct list ends;             /* struct verbs */
    struct list devices;          /* struct verbs_device */
    char address[XPORT_TEXT];
    uint16_t port;
    const struct conf_rdma *conf;
};

static inline struct verbs *verbs_of(struct xport *x) { return container_of(x, struct verbs, x); }
static inline struct verbs_shared *verbs_shared_of(const struct xport_env *env) { return env->shared[XPORT_VERBS]; }
static inline const char *verbs_device_name(const struct ibv_context *verbs) { return ibv_get_device_name(verbs->device); }

/* verbs.c */
/* The first failure of the queue pair or of the protocol becomes that of k->x. 0, or x->rc. */
int verbs_check(struct verbs *k);
/* What the ANSWER says of an acceptor that waits. */
void verbs_answer(const struct verbs *k, struct xport_answer *a);

/* verbs_cm.c */
/* Begin to connect k to its address. 0, or xport_fail was called. */
int verbs_cm_connect(struct verbs *k, const union sockaddr_any *to);
/* Begin to find out whether one of these addresses is reached: prepared(), or failed() with -SST_ENOTRANSPORT. */
int verbs_cm_look(struct verbs *k, char *const *addresses);
/* The look came to nothing in time. */
void verbs_cm_unreached(struct verbs *k, const char *why);
/* Give up the connection: no event of it comes any more, no memory is touched. */
void verbs_cm_drop(struct verbs *k);
/* Does rdma.device allow the port that id is bound to? */
bool verbs_device_allowed(const struct conf_rdma *c, const struct rdma_cm_id *id);
/* After the job that registered the rings. */
void verbs_cm_registered(struct verbs *k);
void verbs_cm_event(struct io *io, uint32_t events);

/* verbs_listen.c */
int verbs_listen_start(struct verbs_shared *sh, char *why, size_t size);
void verbs_listen_stop(struct verbs_shared *sh);
/* The address of the listener went to another port, as a bond's does: it is bound again, and what is connected stays. */
void verbs_listen_moved(struct verbs_shared *sh);
/* A device was removed: let it go, or some drivers wait for ever. */
void verbs_device_gone(struct verbs_shared *sh, const struct ibv_context *verbs);
/* The listener's device is gone: bind again when it is back. */
void verbs_listen_lost(struct verbs_shared *sh, const char *why);
/* Hear what the device reports unasked, from now on / no more. */
void verbs_watch(struct verbs_shared *sh, struct ibv_context *verbs);
void verbs_unwatch(struct verbs_shared *sh, const struct ibv_context *verbs);

#endif
