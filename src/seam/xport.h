/* THE SEAM: how bytes enter or leave a channel. The engine knows nothing of a transport but this table.
 *
 *   source xport --fill--> ring --drain--> sink xport          (a duplex channel has a second ring the other way)
 *
 * A transport embeds struct xport first in its own struct. It learns of its events by descriptors, timers or progress() and then
 * calls xport_kick(); the engine answers by progress(), fill() and drain() in its own turn. Nothing here blocks.
 */
#ifndef SRC_SEAM_XPORT_H
#define SRC_SEAM_XPORT_H

#include "src/core/err.h"
#include "src/core/ring.h"
#include "src/seam/xport_spec.h"

struct xport;

/* The engine's side of the seam. */
struct xport_host {
    void (*kick)(struct xport *x);   /* there is something to do: progress and pump soon */
    void (*prepared)(struct xport *x, const struct xport_answer *a); /* what accept put off: peers may come now; once */
    void (*up)(struct xport *x);     /* connected and the peer is who it should be; once */
    void (*failed)(struct xport *x); /* x->rc, x->why and x->last_words tell; once; x must still be closed */
};

enum xport_state { XPORT_NEW, XPORT_OPENING, XPORT_UP, XPORT_FAILED, XPORT_CLOSING };

struct xport_ops {
    const char *name;
    enum xport_kind kind;
    /* Make what the channels of a worker share (devices, listeners). 0; -ENODEV: not configured, no complaint; else why says what to do. */
    int (*listen)(struct xport_env *env, char *why, size_t why_size);
    void (*unlisten)(struct xport_env *env);
    /* A new end in state NEW, heap. NULL: no memory. */
    struct xport *(*create)(struct xport_env *env);
    /* Towards a peer that expects us. 0: under way, up() or failed() follows; -errno / -SST_E*: could not start, xport_fail was called. */
    int (*connect)(struct xport *x, const struct xport_spec *s);
    /* Expect a peer that shows the cookie; *a tells where. Returns as connect; or 1: prepared() or failed() follows, *a is not set. A
     * failure with -SST_ENOTRANSPORT before that means "not by this transport": the channel closes this end only, another may be tried. */
    int (*accept)(struct xport *x, const struct xport_spec *s, struct xport_answer *a);
    /* The ring x fills (in) or drains; before connect or accept; one of each when duplex. 0 or -errno with xport_fail called (memory limits). */
    int (*mem_add)(struct xport *x, struct ring *r, bool in);
    /* Bring bytes into r, or let the peer bring more since r has room. 0: did something; -EAGAIN: nothing now; else x has failed. Of an end that
     * has failed it is asked only while last_words is set, and clears that with anything but 0 and -EAGAIN. */
    int (*fill)(struct xport *x, struct ring *r);
    /* Hand waiting bytes of r to the peer. Same returns. */
    int (*drain)(struct xport *x, struct ring *r);
    /* r is drained to its total: tell the peer, while the other direction goes on. 0: the peer has everything and r is all released; -EAGAIN:
     * not yet; else x has failed. */
    int (*shut)(struct xport *x, struct ring *r);
    /* Handle what happened. > 0: did something. */
    int (*progress)(struct xport *x);
    /* 0: x may sleep, an event will kick; -EBUSY: progress again first. */
    int (*arm)(struct xport *x);
    /* End it: rc 0 cleanly, else as an abort with that reason (a peer that can hear it is told). done(x) is called from the loop, not
     * from here, when no memory of the rings will be touched any more; x is freed after done returned. In any state, half-built too. */
    void (*close)(struct xport *x, int rc);
    bool by_chunk; /* a drain of few bytes costs what one of many does: the source shall bring first what it has */
    /* What x waits for when it has bytes to drain and drains none: WAIT_CREDITS or WAIT_SINK. */
    enum stats_wait (*blocked)(const struct xport *x);
};

struct xport {
    const struct xport_ops *ops;
    struct xport_env *env;
    const struct xport_host *host;
    void *owner;                     /* the engine's */
    enum xport_state state;
    struct ring *in, *out;           /* filled by us / drained by us; NULL: not in this direction; both: duplex */
    bool splices;                    /* it knows rings that have a pipe */
    bool bulk;                       /* it brings much at once (xport_brought): between two that splice the ring may have a pipe */
    unsigned calm;                   /* times in a row that it brought little */
    bool last_words;                 /* it has failed, and what it brought counts all the same: hand that on; fill may bring the rest of it */
    bool forward;                    /* what we drain is the flow from SEND to RECV; set before mem_add */
    int rc;
    char why[XPORT_WHY];
    union sockaddr_any peer;         /* tcp: once up; else AF_UNSPEC */
    char device[XPORT_TEXT];         /* "lo", "mlx5_0:1": for reports, once up */
    char detail[XPORT_TEXT];         /* "TLSv1.3 TLS_AES_256_GCM_SHA384": for reports, once up */
    void (*closed)(struct xport *x);
    struct defer bye;
};

extern const struct xport_ops xport_file_ops, xport_tcp_ops, xport_link_ops, xport_ucx_ops, xport_verbs_ops;

/* The transports of this program, NULL-terminated (src/transports.c, or a test's own). */
extern const struct xport_ops *const xport_list[];
const struct xport_ops *xport_find(const char *name);

/* The first code that knows why calls this; later calls change nothing. Logs nothing: the owner does. Returns rc. */
int xport_fail(struct xport *x, int rc, const char *fmt, ...) PRINTF(3, 4);
void xport_set_up(struct xport *x);
/* It has brought n bytes at once: sets bulk, which some much sets, and a while of little clears. */
void xport_brought(struct xport *x, size_t n);
static inline void xport_kick(struct xport *x) { x->host->kick(x); }
static inline bool xport_usable(const struct xport *x) { return x && x->state == XPORT_UP; }

static inline int xport_fill(struct xport *x, struct ring *r)
{ return (xport_usable(x) || (x && x->last_words)) && !ring_ended(r) ? x->ops->fill(x, r) : -EAGAIN; }
static inline int xport_drain(struct xport *x, struct ring *r)
{ return xport_usable(x) && ring_waiting(r) ? x->ops->drain(x, r) : -EAGAIN; }
static inline int xport_shut(struct xport *x, struct ring *r)
{ return xport_usable(x) ? x->ops->shut(x, r) : -EAGAIN; }
static inline int xport_progress(struct xport *x)
{ return x && (x->state == XPORT_OPENING || x->state == XPORT_UP) ? x->ops->progress(x) : 0; }
static inline int xport_arm(struct xport *x)
{ return x && (x->state == XPORT_OPENING || x->state == XPORT_UP) ? x->ops->arm(x) : 0; }
void xport_close(struct xport *x, int rc, void (*done)(struct xport *x));

/* The environment of a worker's channels: nothing listens, no devices; offload, stats and the rest are the caller's to set. fini frees the
 * devices; every transport must have unlistened. */
void xport_env_init(struct xport_env *env, struct loop *loop, const struct conf *conf);
void xport_env_fini(struct xport_env *env);

/* For the transports: the common beginning of create, and the end of close (calls closed, then frees the memory at x, from the loop). */
void xport_init(struct xport *x, const struct xport_ops *ops, struct xport_env *env);
void xport_bye(struct xport *x);
/* Nanoseconds that a step of connecting may take where both sides register their rings within it. */
uint64_t xport_patience(const struct xport *x, uint64_t peer_window);
/* mem_add of those that need nothing done with the ring's memory yet. */
int xport_take_ring(struct xport *x, struct ring *r, bool in);

#endif
