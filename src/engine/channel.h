/* A channel: two ends (xports) and the flows between them, one or, duplex, two, as one task of the loop. */
#ifndef SRC_ENGINE_CHANNEL_H
#define SRC_ENGINE_CHANNEL_H

#include "src/engine/flow.h"

enum channel_side { SIDE_SOURCE, SIDE_SINK, SIDES }; /* the ends of the forward flow */
enum { FORWARD, BACKWARD };

struct channel;

/* What the worker wants to hear; each at most once per channel, or per end. None is called from within a function of this header. */
struct channel_events {
    void (*prepared)(struct channel *c, enum channel_side side, const struct xport_answer *a); /* channel_open_end had returned 1 */
    void (*up)(struct channel *c, enum channel_side side);
    void (*ended)(struct channel *c, unsigned flow); /* every byte of it has arrived */
    void (*finished)(struct channel *c);             /* every byte of all flows was taken */
    void (*failed)(struct channel *c, enum channel_side side); /* why: c->end[side]; pumping has stopped */
    void (*unusable)(struct channel *c, enum channel_side side, const char *why); /* not by this transport: that end is gone, another may be opened */
    void (*closed)(struct channel *c);                         /* free it */
};

struct channel {
    struct task task;
    struct list node;                /* the worker's */
    uint64_t id;
    struct xport_env *env;
    const struct channel_events *events;
    void *owner;
    struct xport *end[SIDES];
    struct flow flow[2];             /* FORWARD: from the source to the sink; BACKWARD, when duplex: the other way */
    unsigned n_flows;
    struct timer pace;
    struct stats_channel *stats;
    struct defer report;             /* events go out from the loop, not from inside an xport's call */
    bool prepared_due[SIDES], up_due[SIDES], fail_due[SIDES], ended_due[2], finished_due, closed_due;
    struct xport_answer answer[SIDES]; /* of those whose accept put it off */
    bool preparing[SIDES], unusable_due[SIDES];
    bool finished, failed, closing;
    bool parting;                    /* end[lost] has failed, its last words are on their way to the other; then failed() */
    enum channel_side lost;
    struct timer patience;           /* of parting */
    unsigned open_ends;
};

/* rate paces the forward flow, share all that it is given; digest is of each. */
struct channel_spec {
    uint64_t id;
    size_t window;
    struct ring_pool *pool; /* rings borrow their memory there, window is not looked at; NULL: memory of their own */
    struct ring_pool *pipes; /* with memory of their own: where they may borrow pipes; NULL: nowhere */
    bool duplex, digest;
    uint64_t rate;
    struct share *share;    /* NULL: none */
    struct stats_channel *stats;
};

/* Heap. 0 and *out; -errno of the ring. */
int channel_new(struct xport_env *env, const struct channel_spec *s, const struct channel_events *ev, struct channel **out);
/* Open one end by connecting, or (answer not NULL) by accepting. 0: up or failed will follow. 1: prepared, unusable or failed first.
 * < 0: c->end[side] holds why when it is there; unusable or failed will follow then. */
int channel_open_end(struct channel *c, enum channel_side side, const struct xport_ops *ops, const struct xport_spec *s,
                     struct xport_answer *answer);
/* Close both ends, rc as for xport_close; closed() follows. */
void channel_close(struct channel *c, int rc);
void channel_free(struct channel *c); /* after closed() */

#endif
