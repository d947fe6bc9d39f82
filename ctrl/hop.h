/* A hop as control and utilities see it: one Attach conversation joined with one end of a channel in a worker.
 *
 * Server (somebody attached to us): hop_serve -> offer() -> hop_choose, hop_answer -> worker prepares -> ANSWER -> worker says Up
 *   -> READY, up(). When the worker finds that a transport does not reach the peer, the next common one is prepared, and the ANSWER says why.
 * Client (we attach somewhere): hop_dial -> connected() -> hop_offer -> OFFER -> ANSWER -> answered() -> hop_connect -> worker says Up, peer says READY -> up().
 * Then done() or confirm() as they come, and over() last, once. A data path that breaks is kept back for a moment: the peer's
 * ABORT or CONFIRM usually follows on the control connection and knows better.
 */
#ifndef CTRL_HOP_H
#define CTRL_HOP_H

#include "ctrl/attach.h"
#include "ctrl/auth.h"
#include "ctrl/pool.h"

#define HOP_TRANSPORTS 8
#define HOP_WINDOW_MIN (64U << 10) /* of any ring; what a peer tells is the grain in which it is told limits */
#define HOP_FEATURES "digest", "probe", "duplex"
#define HOP_PEER_ADDRESSES 8 /* of an OFFER that are looked at */

struct hop;

struct hop_events {
    void (*offer)(struct hop *h, const Offer *o);             /* server: judge it, then hop_answer or hop_abort */
    void (*connected)(struct hop *h);                         /* client: complete h->want if need be, then hop_offer */
    void (*waiting)(struct hop *h, const char *text);         /* client */
    void (*answered)(struct hop *h, const Answer *m);         /* client: open the channel if need be, then hop_connect */
    void (*up)(struct hop *h);
    void (*done)(struct hop *h, const struct attach_total *t);
    void (*confirm)(struct hop *h, const struct attach_total *t);
    void (*over)(struct hop *h, int rc, bool by_peer, const char *text);
};

/* What is reported and listed of a hop; strings are the hop's. */
struct hop_report {
    char transport[16], device[96], security[96], peer[ADDR_TEXT];
    char passed_over[440];   /* "ucx: not configured; …", or "" */
};

struct hop {
    struct attach at;
    const struct hop_events *ev;
    void *owner;
    struct loop *loop;
    const struct secret *secret;
    struct pool_worker *worker;       /* NULL until the channel is opened */
    struct pool_client *client;
    Scistream__Worker__Side side;
    bool preparing;                   /* server: the worker has not said yet whether the transport can be used */
    bool data_up, ready, told_up, broken;
    bool peer_lost;                   /* the peer has ended it, since it lost the data connection; broken_rc and _text are its words */
    struct timer step, grace;         /* one step of the attach; after the data path broke */
    uint64_t step_ns;
    int broken_rc;
    char broken_text[ATTACH_WHY];
    /* client: the offer, kept until connected */
    struct hop_offer {
        char *name;                   /* route or session uid */
        bool is_session, probe, digest, low_latency, duplex;
        Scistream__Gateway__V1__Role role;
        char **transports;
        uint64_t window, size_hint, wait_ms;
        char *software, *device;
        char *addresses;              /* of our RDMA ports, separated by spaces; NULL, "": none */
        int64_t channel;              /* -1: any */
    } want;
    /* server: what is chosen from, kept until prepared */
    Offer *offer;                     /* a copy, once it came */
    const char *ours[HOP_TRANSPORTS + 1], *chosen;
    /* server: the answer, kept until prepared */
    struct {
        char uid[40];
        uint32_t channel;
        bool plain;
        const char *cipher, *gateway;
        char advertise[64];           /* numeric, or "" */
        uint64_t peer_window;         /* of the OFFER */
        uint64_t window;              /* told instead of the ring, if smaller; 0: the ring */
        bool low_latency;
        bool simplex;                 /* in a duplex channel: this peer takes only, or brings only */
    } give;
    uint8_t cookie[16], nonce[AUTH_NONCE];
    struct hop_report report;
};

/* ------------------------------------------------------------ server */
/* h is zeroed but for step_ns. */
void hop_serve(struct hop *h, struct loop *l, struct grpc_call *c, const struct hop_events *ev, void *owner);
/* Versions, roles, features and the window of an offer: 0, or what to abort with and why (names the feature). */
int hop_check_offer(const Offer *o, char *why, size_t why_size);
/* First transport of `ours` (NULL-terminated, best first; the strings live as long as h) that the offer has too and that works on w; fills
 * report. NULL: none, why says what was looked at. */
const char *hop_choose(struct hop *h, char *const *ours, const struct pool_worker *w, char *why, size_t why_size);
/* The channel is open on w (client c): prepare its end by the transport that was chosen on w, or by the next that can be used, and answer.
 * give must be filled. */
void hop_answer(struct hop *h, struct pool_worker *w, struct pool_client *c, Scistream__Worker__Side side);
void hop_waiting(struct hop *h, const char *text);
/* Move a hop that was offered into other (zeroed) storage, with other events; from is empty afterwards. */
void hop_move(struct hop *to, struct hop *from, const struct hop_events *ev, void *owner);

/* ------------------------------------------------------------ client */
/* h is zeroed but for step_ns, secret and want (heap strings, taken). */
void hop_dial(struct hop *h, struct loop *l, struct resolver *r, const struct grpc_target *t, const struct hop_events *ev, void *owner);
void hop_offer(struct hop *h);
/* For want.addresses: those of the RDMA ports that w sees. Heap. */
char *hop_own_addresses(const struct pool_worker *w);
void hop_connect(struct hop *h, struct pool_worker *w, struct pool_client *c, Scistream__Worker__Side side, const Answer *m);

/* ------------------------------------------------------------ both */
/* The worker said something about this hop's side of the channel (Prepared, Up, Failed). */
void hop_heard(struct hop *h, const FromWorker *m);
void hop_done(struct hop *h, const struct attach_total *t);
void hop_confirm(struct hop *h, const struct attach_total *t);
void hop_finish(struct hop *h);
/* End it with a reason for the peer; no over() follows. */
void hop_abort(struct hop *h, int rc, const char *text);
/* Forget it; accepts zeroed memory. */
void hop_fini(struct hop *h);
/* May the peer be told totals now (READY has passed)? */
bool hop_is_up(const struct hop *h);

#endif
