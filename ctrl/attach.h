/* The Attach conversation of one hop, at either end: order of messages, packing, and how it is lost.
 *
 * Happy path, client: attach_dial -> connected() -> attach_offer -> waiting()* -> answer() -> ready() -> done / confirm -> over(0).
 * Server: attach_serve (from the method's start) -> offer() -> attach_answer -> attach_ready -> done / confirm -> attach_finish -> over(0).
 * The sender says DONE, the receiver CONFIRM. Anything out of order, an ABORT, a lost connection: over(rc, text), once, the last event.
 */
#ifndef CTRL_ATTACH_H
#define CTRL_ATTACH_H

#include "ctrl/gateway.pb-c.h"
#include "ctrl/grpc.h"
#include "src/core/digest.h"

#define ATTACH_VERSION 1
#define ATTACH_MESSAGE_MAX (64U << 10)
#define ATTACH_PATH "/scistream.gateway.v1.Gateway/Attach"
#define ATTACH_WHY 512

typedef Scistream__Gateway__V1__AttachMessage AttachMessage;
typedef Scistream__Gateway__V1__Offer Offer;
typedef Scistream__Gateway__V1__Answer Answer;

enum attach_state { ATTACH_NEW, ATTACH_OFFERED, ATTACH_ANSWERED, ATTACH_READY, ATTACH_DONE, ATTACH_CONFIRMED, ATTACH_OVER };

struct attach_total { uint64_t total; bool has_digest, handed_over; uint8_t digest[DIGEST_SIZE]; };

struct attach;

struct attach_events {
    void (*connected)(struct attach *a);                       /* client: now offer */
    void (*offer)(struct attach *a, const Offer *o);           /* server */
    void (*waiting)(struct attach *a, const char *text);       /* client */
    void (*answer)(struct attach *a, const Answer *m);         /* client */
    void (*ready)(struct attach *a);                           /* client */
    void (*done)(struct attach *a, const struct attach_total *t);
    void (*confirm)(struct attach *a, const struct attach_total *t);
    /* rc 0: it ended after the confirmation. by_peer: the peer's ABORT said so (text is the peer's), not this side or the network. */
    void (*over)(struct attach *a, int rc, bool by_peer, const char *text);
};

struct attach {
    const struct attach_events *ev;
    void *user;
    struct loop *loop;
    struct grpc_conn *conn;    /* client: ours to hang up; server: the connection the call is on, until over */
    struct grpc_call *call;
    bool server, sender;       /* sender: this side sends the bytes */
    enum attach_state state;
    char peer[ADDR_TEXT];
    struct defer end;          /* over() goes out from the loop */
    int end_rc;
    bool end_by_peer, ended;
    char end_text[ATTACH_WHY];
};

/* Zeroed or finished storage of the caller. */
void attach_dial(struct attach *a, struct loop *l, struct resolver *r, const struct grpc_target *t, const struct attach_events *ev, void *user);
/* Take over a new server call. */
void attach_serve(struct attach *a, struct loop *l, struct grpc_call *c, const struct attach_events *ev, void *user);
extern const struct grpc_handlers attach_call_handlers; /* for the server's method table */

void attach_offer(struct attach *a, const Offer *o);
void attach_waiting(struct attach *a, const char *text);
void attach_answer(struct attach *a, const Answer *m);
void attach_ready(struct attach *a);
void attach_done(struct attach *a, const struct attach_total *t);
void attach_confirm(struct attach *a, const struct attach_total *t);
/* After the confirmation went either way: end the call cleanly; over(0) follows when the peer has seen it. */
void attach_finish(struct attach *a);
/* Tell the peer that the flow is over and why; over() is not called for an abort of our own. The conversation ends behind it. */
void attach_abort(struct attach *a, int rc, const char *text);
/* The storage was copied to a, before anything ended: hear the call there. */
void attach_moved(struct attach *a, void *user);
/* Forget it without a word; no event follows. Accepts zeroed storage; must be called before the storage goes. */
void attach_fini(struct attach *a);

const char *attach_state_name(enum attach_state s);
/* The numeric host of the peer, for an ANSWER without address. */
void attach_peer_host(const struct attach *a, char out[ADDR_TEXT]);
/* gRPC status for a failure, for those who look at trailers only. */
enum grpc_status attach_status(int rc);

#endif
