/* Inside of gRPC: a connection, driven by grpc_conn.c; grpc_server.c and grpc_client.c are the two sides of it.
 *
 * No callback of a user runs inside nghttp2: what it tells is noted on the call, the call is queued in conn->ready, and delivered
 * when nghttp2 has returned. Connections and calls are freed when the last of their functions on the stack returns (enter, leave).
 */
#ifndef CTRL_GRPC_CONN_H
#define CTRL_GRPC_CONN_H

#include "ctrl/grpc.h"
#include "ctrl/grpc_buf.h"
#include "ctrl/h2.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "tcp/sock.h"

#define GRPC_TLS_BATCH (16U << 10) /* control messages are small: save memory */

enum conn_state {
    CONN_SILENT,   /* server: accepted, nothing came yet, nothing is allocated */
    CONN_DIALLING, /* client: resolving */
    CONN_CONNECT,  /* client */
    CONN_TLS,
    CONN_HTTP2,    /* until the peer's SETTINGS */
    CONN_UP,
    CONN_CLOSING,  /* all is said; waits for the peer's end so that the last bytes are not lost in a reset */
    CONN_OVER,
};

/* What differs between the two sides. */
struct grpc_side {
    bool server;
    void (*begin)(struct grpc_conn *c);                           /* SILENT, DIALLING, CONNECT: something happened */
    void (*up)(struct grpc_conn *c);
    void (*idle)(struct grpc_conn *c);                            /* the last call is gone */
    void (*late)(struct grpc_conn *c);                            /* the timer fired, and there is no call to watch over */
    void (*failed)(struct grpc_conn *c, int rc, const char *why); /* sets OVER, or tries something else */
    void (*over)(struct grpc_conn *c);                            /* nothing is on the stack any more: tell and free */
};

struct grpc_conn {
    struct sock sock;
    const struct grpc_side *side;
    enum conn_state state;
    int busy;            /* functions on the stack that use this */
    bool due;            /* the timer fired */
    bool graceful;       /* we want to end it; GOAWAY is queued */
    bool called;         /* there was a call */
    bool came_up;        /* side->up is due */
    unsigned n_calls;
    uint32_t streams;    /* server: at once */
    struct h2 *h2;
    struct timer timer;
    struct defer kick;
    struct list node;    /* server's */
    struct list calls, ready, grave; /* all; something is to be delivered; told and waiting to be freed */
    struct grpc_buf out;
    uint64_t silent_ns, heard_ns, ping_ns, rtt_ns; /* ping_ns: when the last one left */
    uint64_t step_ns;    /* client: for connect, TLS and HTTP/2 each */
    int64_t uid;
    char *peer;          /* NULL until the first bytes */
    union sockaddr_any *local;
    char *bye;           /* the peer's GOAWAY */
    struct tls_ctx *tls; /* NULL: plaintext */
    struct grpc_port *port;
    struct grpc_dial *dial;
};

struct grpc_conn *grpc_conn_new(struct loop *l, const struct grpc_side *side);
void grpc_conn_free(struct grpc_conn *c);
void grpc_conn_enter(struct grpc_conn *c);
void grpc_conn_leave(struct grpc_conn *c);
void grpc_conn_event(struct sock *s);       /* for sock_attach, sock_connect */
void grpc_conn_kick(struct grpc_conn *c);   /* run from the loop soon */
void grpc_conn_alarm(struct grpc_conn *c, uint64_t delay_ns);
void grpc_conn_name(struct grpc_conn *c);   /* fill peer, local, uid */
void grpc_conn_secure(struct grpc_conn *c); /* connected: TLS, or HTTP/2 at once */
void grpc_conn_calls(struct grpc_conn *c, int more); /* +1 or -1 */
void grpc_conn_fail(struct grpc_conn *c, int rc, const char *why);
void grpc_conn_drop(struct grpc_conn *c);   /* socket and session away; back to what it was before sock_connect */
void grpc_conn_end_calls(struct grpc_conn *c, enum grpc_status s, const char *text);
void grpc_conn_close(struct grpc_conn *c, enum grpc_status s, const char *text); /* tell the peer, end all calls now, OVER */
void grpc_conn_finish(struct grpc_conn *c); /* GOAWAY; closed when the peer has everything */
void grpc_conn_linger(struct grpc_conn *c); /* FIN, and wait a little for the peer's */

/* h2 events of the connection; user is the connection. */
void grpc_conn_up(void *user);
void grpc_conn_pong(void *user, uint64_t mark);
void grpc_conn_goaway(void *user, uint32_t code, const char *text);

#endif
