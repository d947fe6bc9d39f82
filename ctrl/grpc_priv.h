/* Inside of gRPC: grpc_conn.c drives a connection, grpc_call.c its calls; grpc_server.c and grpc_client.c are the two sides of it.
 *
 * No callback of a user runs inside nghttp2: what it tells is noted on the call, the call is queued in conn->ready, and delivered when
 * nghttp2 has returned. Connections and calls are freed when the last of their functions on the stack returns (enter, leave).
 */
#ifndef CTRL_GRPC_PRIV_H
#define CTRL_GRPC_PRIV_H

#include "ctrl/grpc.h"
#include "ctrl/grpc_buf.h"
#include "ctrl/grpc_wire.h"
#include "ctrl/h2.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "tcp/sock.h"

#define GRPC_WHY 400

enum conn_state {
    CONN_SILENT,  /* server: accepted, nothing came yet, nothing is allocated */
    CONN_DIALLING, /* client: resolving */
    CONN_CONNECT, /* client */
    CONN_TLS,
    CONN_HTTP2,   /* until the peer's SETTINGS */
    CONN_UP,
    CONN_CLOSING, /* all is said; waits for the peer's end so that the last bytes are not lost in a reset */
    CONN_OVER,
};

/* What differs between the two sides. */
struct grpc_side {
    bool server;
    void (*begin)(struct grpc_conn *c);                           /* SILENT, DIALLING, CONNECT: something happened */
    void (*up)(struct grpc_conn *c);
    void (*idle)(struct grpc_conn *c);                            /* the last call is gone */
    void (*late)(struct grpc_conn *c);                            /* the timer fired before there was a call to watch */
    void (*failed)(struct grpc_conn *c, int rc, const char *why); /* sets OVER, or tries something else */
    void (*over)(struct grpc_conn *c);                            /* nothing is on the stack any more: tell and free */
};

struct grpc_conn {
    struct sock sock;
    const struct grpc_side *side;
    enum conn_state state;
    int busy;           /* functions on the stack that use this */
    bool due;           /* the timer fired */
    bool graceful;      /* we want to end it; GOAWAY is queued */
    bool called;        /* there was a call */
    bool came_up;       /* side->up is due */
    uint32_t streams;   /* server: at once */
    unsigned n_calls;
    struct h2 *h2;
    struct timer timer;
    struct defer kick;
    struct list node;   /* server's */
    struct list calls, ready, grave;
    struct grpc_buf out;
    uint64_t silent_ns, heard_ns, ping_ns, rtt_ns; /* ping_ns: when the last one left */
    int64_t uid;
    char *peer;         /* NULL until the first bytes */
    union sockaddr_any *local;
    char *bye;          /* the peer's GOAWAY */
    struct tls_ctx *tls; /* NULL: plaintext */
    struct grpc_port *port;
    struct grpc_dial *dial;
};

struct grpc_call {
    struct h2_stream stream; /* first */
    struct grpc_conn *conn;
    const struct grpc_method *method;     /* server */
    const struct grpc_handlers *handlers; /* NULL: its user has not heard of it */
    void *user;
    size_t message_max;
    struct list node, ready;
    struct timer deadline;
    struct grpc_buf in, out, meta;
    size_t unread;       /* received and not yet given back as window */
    bool headers_here, started, in_ended, half_told;
    bool no_more;        /* we send no more messages: grpc_half_close, grpc_finish */
    bool responded;      /* server: headers are submitted */
    bool over, told;     /* closed() is due; was called */
    enum grpc_status status; /* of grpc_finish, then of closed() */
    char *text;
};

/* grpc_conn.c */
struct grpc_conn *grpc_conn_new(struct loop *l, const struct grpc_side *side);
void grpc_conn_free(struct grpc_conn *c);
void grpc_conn_event(struct sock *s);
void grpc_conn_enter(struct grpc_conn *c);
void grpc_conn_leave(struct grpc_conn *c);
void grpc_conn_kick(struct grpc_conn *c); /* run from the loop soon */
void grpc_conn_name(struct grpc_conn *c); /* fill peer, local, uid */
void grpc_conn_secure(struct grpc_conn *c); /* connected: TLS, or HTTP/2 at once */
void grpc_conn_fail(struct grpc_conn *c, int rc, const char *why);
void grpc_conn_drop(struct grpc_conn *c); /* socket and session away; back to what it was before sock_connect */
void grpc_conn_end_calls(struct grpc_conn *c, enum grpc_status s, const char *text);
void grpc_conn_close(struct grpc_conn *c, enum grpc_status s, const char *text); /* tell the peer, end all calls now, OVER */
void grpc_conn_linger(struct grpc_conn *c); /* FIN, and wait a little for the peer's */
void grpc_conn_finish(struct grpc_conn *c); /* GOAWAY, then closed when the peer has everything */
void grpc_conn_alarm(struct grpc_conn *c, uint64_t delay_ns);
void grpc_conn_calls(struct grpc_conn *c, int more); /* +1 or -1 */

/* grpc_call.c */
extern const struct h2_events grpc_h2_events; /* user is the connection */
struct grpc_call *grpc_call_new(struct grpc_conn *c);
void grpc_call_free(struct grpc_call *c);
void grpc_call_ready(struct grpc_call *c);
void grpc_call_deliver(struct grpc_call *c);
void grpc_call_end(struct grpc_call *c, enum grpc_status s, const char *text); /* closed() is due */
void grpc_call_abort(struct grpc_call *c, enum grpc_status s, const char *text); /* the same, and tell the peer */
void grpc_call_deadline(struct grpc_call *c, uint64_t ns);

/* grpc_send.c */
size_t grpc_call_body(struct h2_stream *s, uint8_t *to, size_t room, enum h2_more *more);
void grpc_call_refuse_http(struct grpc_call *c, const char *status);
void grpc_call_tell_status(struct grpc_call *c, enum grpc_status s, const char *text); /* instead of what is queued */
int grpc_call_request(struct grpc_call *c, const char *path, uint64_t deadline_ns);
bool grpc_call_congested(const struct grpc_call *c); /* the peer reads so slowly that we read no more of it */

/* grpc_server.c */
extern uint64_t grpc_idle_ns; /* a connection without calls is closed after this; a variable for the tests */
void grpc_server_start(struct grpc_call *c); /* headers are here */
void grpc_server_told(struct grpc_call *c);
void grpc_conn_pong(void *conn, uint64_t mark);
void grpc_conn_up(void *conn);
void grpc_conn_goaway(void *conn, uint32_t code, const char *text);

/* grpc_client.c */
void grpc_client_status(struct grpc_call *c); /* the response is complete: from its trailers to closed() */
const char *grpc_dial_authority(const struct grpc_conn *c);

#endif
