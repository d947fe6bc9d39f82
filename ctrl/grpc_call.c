/* Calls: what HTTP/2 brings for them is noted first (h2 events) and handed to their user later (deliver).
 *
 * Happy path: headers_end -> start() -> data -> message() … -> ended -> half_closed() (server) or closed() (client).
 * A call ends once, by grpc_call_end: peer's trailers, RST_STREAM, connection gone, deadline, cancel, a message we refuse. Then
 * closed() is delivered and the memory goes to the connection's grave, since a callback of that very call may be on the stack.
 * A client that sends but does not read is held back: its messages stay in `in`, and its window is not opened
 * (grpc_call_congested).
 */
#include <stdio.h>

#include "ctrl/grpc_call.h"

#define META_MAX (2U * H2_HEADER_BYTES) /* a response has headers and trailers */

static struct grpc_call *call_of(struct h2_stream *s) { return container_of(s, struct grpc_call, stream); }

/* ------------------------------------------------------------ life */

static void on_deadline(struct timer *t)
{
    struct grpc_call *c = container_of(t, struct grpc_call, deadline);
    grpc_call_abort(c, GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
}

void grpc_call_deadline(struct grpc_call *c, uint64_t ns)
{
    if (ns)
        loop_timer(c->conn->sock.loop, &c->deadline, ns);
}

struct grpc_call *grpc_call_new(struct grpc_conn *conn)
{
    struct grpc_call *c = mem_zalloc(1, sizeof(*c));
    c->conn = conn;
    c->deadline.fire = on_deadline;
    list_init(&c->node);
    list_init(&c->ready);
    list_add_tail(&conn->calls, &c->node);
    grpc_conn_calls(conn, 1);
    return c;
}

void grpc_call_free(struct grpc_call *c)
{
    grpc_buf_free(&c->in);
    grpc_buf_free(&c->out);
    grpc_buf_free(&c->meta);
    free(c->text);
    free(c);
}

void grpc_call_ready(struct grpc_call *c)
{
    list_del(&c->ready);
    list_add_tail(&c->conn->ready, &c->ready);
    grpc_conn_kick(c->conn);
}

void grpc_call_end(struct grpc_call *c, enum grpc_status s, const char *text)
{
    if (c->over)
        return;
    c->over = true;
    c->status = s;
    free(c->text);
    c->text = mem_printf("%.*s", GRPC_TEXT_MAX, text);
    loop_timer_stop(c->conn->sock.loop, &c->deadline);
    h2_consume(&c->stream, c->unread);
    c->unread = 0;
    h2_detach(&c->stream);
    grpc_call_ready(c);
}

void grpc_call_abort(struct grpc_call *c, enum grpc_status s, const char *text)
{
    if (c->over)
        return;
    if (c->conn->side->server && c->stream.id)
        grpc_call_tell_status(c, s, text);
    else
        h2_reset(&c->stream, H2_CANCEL);
    c->in_ended = false; /* what is left of the input is of no interest */
    grpc_call_end(c, s, text);
}

/* ------------------------------------------------------------ metadata: "name\0value\0" … */

const char *grpc_metadata(const struct grpc_call *c, const char *name)
{
    const char *found = NULL, *p = (const char *)c->meta.mem;
    for (size_t left = c->meta.len; left > 0;) {
        const char *value = p + strlen(p) + 1;
        if (str_eq(p, name))
            found = value; /* the last: trailers come behind headers */
        const char *next = value + strlen(value) + 1;
        left -= (size_t)(next - p);
        p = next;
    }
    return found;
}

/* ------------------------------------------------------------ events of HTTP/2 */

static struct h2_stream *on_opened(void *user) { return &grpc_call_new(user)->stream; }

static void on_header(struct h2_stream *s, const char *name, const char *value)
{
    struct grpc_call *c = call_of(s);
    size_t n = strlen(name) + 1, v = strlen(value) + 1;
    if (c->meta.len + n + v > META_MAX || (c->conn->side->server && c->headers_here))
        return;
    if (grpc_buf_room(&c->meta, n + v)) {
        grpc_buf_add(&c->meta, name, n);
        grpc_buf_add(&c->meta, value, v);
    }
}

static void on_headers_end(struct h2_stream *s)
{
    struct grpc_call *c = call_of(s);
    c->headers_here = true;
    grpc_call_ready(c);
}

static void on_data(struct h2_stream *s, const uint8_t *data, size_t n)
{
    struct grpc_call *c = call_of(s);
    bool wanted = !(c->conn->side->server && c->no_more);
    if (wanted && grpc_buf_add(&c->in, data, n) == 0) {
        c->unread += n;
        grpc_call_ready(c);
        return;
    }
    h2_consume(s, n);
    if (wanted)
        grpc_call_abort(c, GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

static void on_ended(struct h2_stream *s)
{
    struct grpc_call *c = call_of(s);
    c->in_ended = true;
    grpc_call_ready(c);
}

static void on_sent_end(struct h2_stream *s)
{
    struct grpc_call *c = call_of(s);
    if (c->conn->side->server)
        grpc_call_end(c, GRPC_OK, "");
}

static void on_closed(struct h2_stream *s, uint32_t code)
{
    struct grpc_call *c = call_of(s);
    char text[64];
    if (c->in_ended && !c->conn->side->server)
        return; /* the response is complete: grpc_client_status is due */
    if (c->conn->side->server && (code == H2_NO_ERROR || code == H2_CANCEL)) {
        grpc_call_end(c, GRPC_CANCELLED, "cancelled by the peer");
        return;
    }
    snprintf(text, sizeof(text), "stream reset by HTTP/2 error %u", code);
    grpc_call_end(c, grpc_status_of_reset(code), text);
}

const struct h2_events grpc_h2_events = {
    .opened = on_opened, .header = on_header, .headers_end = on_headers_end, .data = on_data, .ended = on_ended,
    .body = grpc_call_body, .sent_end = on_sent_end, .closed = on_closed, .up = grpc_conn_up, .pong = grpc_conn_pong,
    .goaway = grpc_conn_goaway,
};

/* ------------------------------------------------------------ delivery */

/* What cannot be a message ends the call. */
static void refuse_message(struct grpc_call *c, enum grpc_frame_kind k, uint32_t len)
{
    char text[100];
    snprintf(text, sizeof(text), "message of %u bytes is larger than %zu", len, c->message_max);
    if (k == GRPC_FRAME_TOO_BIG)
        grpc_call_abort(c, GRPC_RESOURCE_EXHAUSTED, text);
    else if (k == GRPC_FRAME_COMPRESSED)
        grpc_call_abort(c, GRPC_UNIMPLEMENTED, "compressed messages are not supported");
    else
        grpc_call_abort(c, GRPC_INTERNAL, "broken message prefix");
}

static bool may_deliver(const struct grpc_call *c)
{
    if (c->over || !c->handlers || (c->conn->side->server && c->no_more))
        return false;
    return !grpc_call_congested(c);
}

static void deliver_messages(struct grpc_call *c)
{
    struct grpc_frame f;
    while (c->in.len && may_deliver(c)) {
        enum grpc_frame_kind k = grpc_frame_parse(grpc_buf_data(&c->in), c->in.len, c->message_max, &f);
        if (k == GRPC_FRAME_PART)
            break;
        if (k != GRPC_FRAME_WHOLE) {
            refuse_message(c, k, f.len);
            return;
        }
        c->handlers->message(c, f.data, f.len);
        grpc_buf_eat(&c->in, GRPC_PREFIX + (size_t)f.len);
    }
    if (c->unread && !grpc_call_congested(c)) {
        h2_consume(&c->stream, c->unread);
        c->unread = 0;
        grpc_conn_kick(c->conn);
    }
}

static void deliver_end_of_input(struct grpc_call *c)
{
    bool rest = c->in.len > 0;
    if (!c->conn->side->server) {
        if (rest)
            grpc_call_abort(c, GRPC_INTERNAL, "the response ends within a message");
        else
            grpc_client_status(c);
    } else if (c->started && !c->no_more && !c->half_told && !(rest && grpc_call_congested(c))) {
        c->half_told = true;
        if (rest)
            grpc_call_abort(c, GRPC_INTERNAL, "the request ends within a message");
        else if (c->handlers && c->handlers->half_closed)
            c->handlers->half_closed(c);
    }
}

static void tell(struct grpc_call *c)
{
    if (c->told)
        return;
    c->told = true;
    list_del(&c->ready);
    list_del(&c->node);
    list_add_tail(&c->conn->grave, &c->node);
    grpc_conn_calls(c->conn, -1);
    if (c->conn->side->server)
        grpc_server_told(c);
    if (c->handlers)
        c->handlers->closed(c, c->status, c->text);
}

void grpc_call_deliver(struct grpc_call *c)
{
    if (c->conn->side->server && c->headers_here && !c->started && !c->over) {
        c->started = true;
        grpc_server_start(c);
    }
    deliver_messages(c);
    if (c->in_ended && !c->over)
        deliver_end_of_input(c);
    if (c->over)
        tell(c);
}

/* ------------------------------------------------------------ what a user asks of a call */

void grpc_set_user(struct grpc_call *c, void *user) { c->user = user; }
void *grpc_user(const struct grpc_call *c) { return c->user; }
struct grpc_conn *grpc_call_conn(const struct grpc_call *c) { return c->conn; }

void grpc_cancel(struct grpc_call *c)
{
    if (c->over)
        return;
    h2_reset(&c->stream, H2_CANCEL);
    c->in_ended = false;
    grpc_call_end(c, GRPC_CANCELLED, "cancelled");
}
