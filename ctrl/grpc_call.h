/* Inside of gRPC: a call of either side. */
#ifndef CTRL_GRPC_CALL_H
#define CTRL_GRPC_CALL_H

#include "ctrl/grpc_conn.h"
#include "ctrl/grpc_wire.h"

struct grpc_call {
    struct h2_stream stream;
    struct grpc_conn *conn;
    const struct grpc_method *method;     /* server */
    const struct grpc_handlers *handlers; /* NULL: its user has not heard of it */
    void *user;
    size_t message_max;
    struct list node, ready;
    struct timer deadline;
    struct grpc_buf in, out, meta;
    size_t unread;           /* received and not yet given back as window */
    bool headers_here, started, in_ended, half_told;
    bool no_more;            /* we send no more messages: grpc_half_close, grpc_finish */
    bool responded;          /* server: headers are submitted */
    bool over, told;         /* closed() is due; was called */
    enum grpc_status status; /* of grpc_finish, then of closed() */
    char *text;
};

/* grpc_call.c */
extern const struct h2_events grpc_h2_events; /* user is the connection */
struct grpc_call *grpc_call_new(struct grpc_conn *c);
void grpc_call_free(struct grpc_call *c);
void grpc_call_ready(struct grpc_call *c);
void grpc_call_deliver(struct grpc_call *c);
void grpc_call_end(struct grpc_call *c, enum grpc_status s, const char *text);   /* closed() is due */
void grpc_call_abort(struct grpc_call *c, enum grpc_status s, const char *text); /* the same, and tell the peer */
void grpc_call_deadline(struct grpc_call *c, uint64_t ns);

/* grpc_send.c */
size_t grpc_call_body(struct h2_stream *s, uint8_t *to, size_t room, enum h2_more *more);
void grpc_call_refuse_http(struct grpc_call *c, const char *status);
void grpc_call_tell_status(struct grpc_call *c, enum grpc_status s, const char *text); /* instead of what is queued */
int grpc_call_request(struct grpc_call *c, const char *path, uint64_t deadline_ns);
bool grpc_call_congested(const struct grpc_call *c); /* its client reads so slowly that we read no more of it */

/* grpc_server.c */
extern uint64_t grpc_idle_ns;                 /* a connection without calls is closed after this; a variable for the tests */
void grpc_server_start(struct grpc_call *c);  /* headers are here */
void grpc_server_told(struct grpc_call *c);   /* one less */

/* grpc_client.c */
void grpc_client_status(struct grpc_call *c); /* the response is complete: from its trailers to closed() */
const char *grpc_dial_authority(const struct grpc_conn *c);
const char *grpc_dial_authorization(const struct grpc_conn *c); /* NULL: none */

#endif
