/* gRPC over HTTP/2 (ctrl/h2), server and client, unary and streaming, driven by the loop.
 *
 * Happy path, server: connection -> start() of the method -> message() … half_closed() -> grpc_send … grpc_finish -> closed().
 * Client: grpc_dial -> ready() -> grpc_call -> grpc_send, grpc_half_close -> message() … -> closed(status).
 * What fails: the peer cancels or breaks HTTP/2, the deadline passes, the connection dies or falls silent: closed() with that
 * status, once.
 */
#ifndef CTRL_GRPC_H
#define CTRL_GRPC_H

#include "src/core/addr.h"
#include "src/core/loop.h"
#include "tcp/resolve.h"
#include "tcp/tls.h"

/* https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
enum grpc_status {
    GRPC_OK = 0, GRPC_CANCELLED = 1, GRPC_UNKNOWN = 2, GRPC_INVALID_ARGUMENT = 3, GRPC_DEADLINE_EXCEEDED = 4, GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6, GRPC_PERMISSION_DENIED = 7, GRPC_RESOURCE_EXHAUSTED = 8, GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10, GRPC_OUT_OF_RANGE = 11, GRPC_UNIMPLEMENTED = 12, GRPC_INTERNAL = 13, GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15, GRPC_UNAUTHENTICATED = 16,
};
const char *grpc_status_name(enum grpc_status s);

struct grpc_call;
struct grpc_conn;

/* All may call any function of this header, on the same call and connection too: grpc_cancel, grpc_hang_up, grpc_server_free. */
struct grpc_handlers {
    void (*message)(struct grpc_call *c, const uint8_t *data, size_t len); /* a whole one; data is gone afterwards; never NULL */
    void (*half_closed)(struct grpc_call *c);                              /* server: no more messages will come; may be NULL */
    /* Last thing heard of c, exactly once; c is freed afterwards. Server: GRPC_OK when the trailers of grpc_finish left, else why
     * the call ended before. */
    void (*closed)(struct grpc_call *c, enum grpc_status s, const char *text);
};

struct grpc_method {
    const char *path;    /* "/grpc.health.v1.Health/Check" */
    size_t message_max;  /* a larger message ends the call with RESOURCE_EXHAUSTED */
    const struct grpc_handlers *handlers;
    void (*start)(struct grpc_call *c); /* headers are here; grpc_set_user(c, …); may refuse by grpc_finish */
};

/* ------------------------------------------------------------ server */
struct grpc_limits {
    uint32_t connections;      /* at once; one more closes the oldest that has not yet spoken HTTP/2, else is closed itself */
    uint32_t streams;          /* per connection */
    uint64_t handshake_ns;     /* TLS and HTTP/2 preface must be through, and the first call be made, within this */
    uint64_t silent_ns;        /* a connection with calls whose peer is silent for this long (PINGs unanswered) is dead */
};

struct grpc_server;
/* methods and tls (NULL: plaintext, for the unix socket and h2c) must outlive it. user is handed on by grpc_server_user. */
struct grpc_server *grpc_server_new(struct loop *l, const struct grpc_method *methods, size_t n, const struct grpc_limits *limits,
                                    void *user);
/* Serve connections of a listening socket (takes fd). Several may be added: TLS on TCP, plain on unix. 0 or -errno. */
int grpc_server_listen(struct grpc_server *s, int fd, struct tls_ctx *tls, const char *what);
/* For connections from now on: this certificate on all ports that have one, and these limits. */
void grpc_server_renew(struct grpc_server *s, struct tls_ctx *tls, const struct grpc_limits *limits);
/* No new connections and no new calls (refused with UNAVAILABLE "shutting down"); calls under way go on. */
void grpc_server_drain(struct grpc_server *s);
/* No new connections: another program accepts them from now on. Those that there are go on. */
void grpc_server_deaf(struct grpc_server *s);
/* Each listening socket: it stays the server's. */
void grpc_server_each_port(const struct grpc_server *s, void (*each)(void *user, int fd), void *user);
size_t grpc_server_calls(const struct grpc_server *s); /* under way */
/* Ends what is left (closed() with UNAVAILABLE is called before this returns) and frees. Null-safe. */
void grpc_server_free(struct grpc_server *s);
void *grpc_server_user(const struct grpc_call *c);

/* ------------------------------------------------------------ client */
struct grpc_place { const char *host; union sockaddr_any at; };
struct grpc_target {
    const char *host;        /* name or number, or NULL for unix_path */
    uint16_t port;
    const struct grpc_place *places; /* looked up already: tried in turn, each with its host's name; no others are. NULL: host is looked up */
    size_t n_places;
    const char *unix_path;
    struct tls_ctx *tls;     /* NULL: plaintext; must outlive the connection */
    const char *tls_name;    /* SNI, certificate name and :authority; NULL: host, or that of the place */
    const char *authorization; /* metadata of that name, sent with each call; NULL: none */
    uint64_t connect_ns;     /* resolve + connect + TLS + HTTP/2 settings each within this */
    uint64_t silent_ns;      /* as in grpc_limits */
};
struct grpc_dialer {
    void (*ready)(struct grpc_conn *c, void *user);                             /* HTTP/2 is up */
    /* The connection never came up, or is gone; once; c is freed afterwards. Its calls got closed() before. step: "resolve",
     * "connect", "tls", "http2", or "" after ready(). why: "10.0.0.5:5000: Connection refused". */
    void (*lost)(struct grpc_conn *c, void *user, const char *step, int rc, const char *why);
};
/* Never NULL; failures come by lost(), from the loop. Strings are copied. */
struct grpc_conn *grpc_dial(struct loop *l, struct resolver *r, const struct grpc_target *t, const struct grpc_dialer *on,
                            void *user);
/* Close: lost() is not called, calls under way get closed(CANCELLED) before this returns. Null-safe. Not after lost(). */
void grpc_hang_up(struct grpc_conn *c);
/* Start a call. NULL: the connection is not ready, or not any more (lost() is on its way). deadline_ns: from now; 0 = none. */
struct grpc_call *grpc_call(struct grpc_conn *c, const char *path, const struct grpc_handlers *h, size_t message_max,
                            uint64_t deadline_ns, void *user);

/* ------------------------------------------------------------ both */
void grpc_set_user(struct grpc_call *c, void *user);
void *grpc_user(const struct grpc_call *c);
/* Queue one message (copied). 0, or -ENOBUFS when more than 1 MiB waits because the peer does not read: end the call then.
 * On a call that is over, or after grpc_finish, nothing is queued and 0 returned: closed() tells. A client that sends without
 * reading is held back: while half of that waits for it, the server is not given its further messages. */
int grpc_send(struct grpc_call *c, const void *data, size_t len);
size_t grpc_unsent(const struct grpc_call *c); /* bytes that wait because the peer does not read */
void grpc_half_close(struct grpc_call *c);                              /* client: no more messages from us */
/* Server: trailers behind what is queued; text (NULL: none) is percent-encoded here, and cut at 1 KiB. */
void grpc_finish(struct grpc_call *c, enum grpc_status s, const char *text);
void grpc_cancel(struct grpc_call *c);                                  /* RST_STREAM; closed(CANCELLED) follows from the loop */
/* Metadata (lower-case name; the last of that name) or NULL: the request's of a server call; of a client call the response's and
 * its trailers'. Requests with more than 64 headers or 16 KiB of them are refused. */
const char *grpc_metadata(const struct grpc_call *c, const char *name);
struct grpc_conn *grpc_call_conn(const struct grpc_call *c);

/* Round trip of the last PING [ns]; 0: none yet. */
uint64_t grpc_conn_rtt_ns(const struct grpc_conn *c);
/* Peer as text: "10.0.0.5:40112" or "unix (uid 1000)". */
const char *grpc_conn_peer(const struct grpc_conn *c);
const union sockaddr_any *grpc_conn_local(const struct grpc_conn *c);
struct tls *grpc_conn_tls(const struct grpc_conn *c); /* NULL: plaintext */
/* Unix socket: the peer's user id by SO_PEERCRED; else -1. */
int64_t grpc_conn_uid(const struct grpc_conn *c);

#endif
