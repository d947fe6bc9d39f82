/* What a call sends: request and response headers, messages, half close, trailers.
 *
 * Messages wait in call->out; nghttp2 takes them from there (grpc_call_body) as the peer's windows allow. A server's headers
 * leave with its first message, or together with the status when there is none ("trailers only").
 */
#include "config.h"

#include <stdio.h>

#include "ctrl/grpc_call.h"

#define OUT_MAX (1U << 20)
#define OUT_CONGESTED (OUT_MAX / 2)

#define TYPE { "content-type", "application/grpc" }
#define IDENTITY { "grpc-accept-encoding", "identity" }

/* ------------------------------------------------------------ status */

struct status_text { char code[12], text[GRPC_TEXT_ENCODED]; };

/* Fills two headers at most; returns how many. */
static size_t status_headers(struct status_text *t, struct h2_header hd[2], enum grpc_status s, const char *text)
{
    snprintf(t->code, sizeof(t->code), "%d", (int)s);
    grpc_text_encode(t->text, text);
    hd[0] = (struct h2_header){ "grpc-status", t->code };
    hd[1] = (struct h2_header){ "grpc-message", t->text };
    return t->text[0] ? 2 : 1;
}

static int respond_trailers_only(struct grpc_call *c, enum grpc_status s, const char *text)
{
    struct status_text t;
    struct h2_header hd[5] = { { ":status", "200" }, TYPE, IDENTITY };
    size_t n = 3 + status_headers(&t, hd + 3, s, text);
    c->responded = true;
    return h2_respond(&c->stream, hd, n, false);
}

static int send_trailers(struct grpc_call *c, enum grpc_status s, const char *text)
{
    struct status_text t;
    struct h2_header hd[2];
    return h2_trailers(&c->stream, hd, status_headers(&t, hd, s, text));
}

void grpc_call_tell_status(struct grpc_call *c, enum grpc_status s, const char *text)
{
    int rc = c->responded ? send_trailers(c, s, text) : respond_trailers_only(c, s, text);
    if (rc < 0)
        h2_reset(&c->stream, H2_INTERNAL_ERROR);
    grpc_conn_kick(c->conn);
}

void grpc_call_refuse_http(struct grpc_call *c, const char *status)
{
    const struct h2_header hd[] = { { ":status", status } };
    if (h2_respond(&c->stream, hd, ARRAY_LEN(hd), false) < 0)
        h2_reset(&c->stream, H2_INTERNAL_ERROR);
    grpc_call_end(c, GRPC_UNKNOWN, "not a gRPC request");
}

/* ------------------------------------------------------------ body */

/* Never a client: if both sides held back what they receive until they are rid of what they send, neither would move. */
bool grpc_call_congested(const struct grpc_call *c)
{
    return c->conn->side->server && c->stream.id && !c->over && c->out.len > OUT_CONGESTED;
}

static enum h2_more what_follows(struct grpc_call *c)
{
    if (c->out.len)
        return H2_MORE;
    if (!c->no_more)
        return H2_WAIT;
    if (!c->conn->side->server)
        return H2_END;
    return send_trailers(c, c->status, c->text) < 0 ? H2_END : H2_END_TRAILERS;
}

size_t grpc_call_body(struct h2_stream *s, uint8_t *to, size_t room, enum h2_more *more)
{
    struct grpc_call *c = container_of(s, struct grpc_call, stream);
    size_t n = MIN(room, c->out.len);
    bool was_congested = grpc_call_congested(c);
    if (n) {
        memcpy(to, grpc_buf_data(&c->out), n);
        grpc_buf_eat(&c->out, n);
    }
    *more = what_follows(c);
    if (was_congested && !grpc_call_congested(c))
        grpc_call_ready(c);
    return n;
}

/* ------------------------------------------------------------ what a user asks of a call */

static int enqueue(struct grpc_call *c, const void *data, size_t len)
{
    uint8_t prefix[GRPC_PREFIX];
    size_t whole = GRPC_PREFIX + len;
    if (len > UINT32_MAX || (c->out.len && c->out.len + whole > OUT_MAX) || !grpc_buf_room(&c->out, whole))
        return -ENOBUFS;
    grpc_frame_prefix(prefix, (uint32_t)len);
    grpc_buf_add(&c->out, prefix, sizeof(prefix));
    grpc_buf_add(&c->out, data, len);
    return 0;
}

int grpc_send(struct grpc_call *c, const void *data, size_t len)
{
    const struct h2_header hd[] = { { ":status", "200" }, TYPE, IDENTITY };
    if (c->over || c->no_more)
        return 0;
    int rc = enqueue(c, data, len);
    if (rc < 0)
        return rc;
    if (c->conn->side->server && !c->responded) {
        c->responded = true;
        rc = h2_respond(&c->stream, hd, ARRAY_LEN(hd), true);
    }
    h2_resume(&c->stream);
    grpc_conn_kick(c->conn);
    return rc < 0 ? -ENOBUFS : 0;
}

size_t grpc_unsent(const struct grpc_call *c) { return c->out.len; }

void grpc_half_close(struct grpc_call *c)
{
    if (c->over || c->conn->side->server)
        return;
    c->no_more = true;
    h2_resume(&c->stream);
    grpc_conn_kick(c->conn);
}

void grpc_finish(struct grpc_call *c, enum grpc_status s, const char *text)
{
    if (c->over || c->no_more || !c->conn->side->server)
        return;
    c->no_more = true;
    c->status = s;
    c->text = mem_printf("%.*s", GRPC_TEXT_MAX, text ? text : "");
    if (!c->responded && respond_trailers_only(c, s, c->text) < 0) {
        h2_reset(&c->stream, H2_INTERNAL_ERROR);
        grpc_call_end(c, GRPC_INTERNAL, "out of memory");
        return;
    }
    h2_consume(&c->stream, c->unread);
    c->unread = 0;
    h2_resume(&c->stream);
    grpc_conn_kick(c->conn);
}

/* ------------------------------------------------------------ client */

int grpc_call_request(struct grpc_call *c, const char *path, uint64_t deadline_ns)
{
    char timeout[GRPC_TIMEOUT_TEXT] = "";
    struct h2_header hd[] = {
        { ":method", "POST" }, { ":scheme", c->conn->tls ? "https" : "http" }, { ":path", path },
        { ":authority", grpc_dial_authority(c->conn) }, { "te", "trailers" }, TYPE,
        { "user-agent", PACKAGE_NAME "/" PACKAGE_VERSION }, IDENTITY, { NULL, NULL }, { NULL, NULL },
    };
    size_t n = ARRAY_LEN(hd) - 2;
    if (deadline_ns) {
        grpc_timeout_format(timeout, deadline_ns);
        hd[n++] = (struct h2_header){ "grpc-timeout", timeout };
    }
    if (grpc_dial_authorization(c->conn))
        hd[n++] = (struct h2_header){ "authorization", grpc_dial_authorization(c->conn) };
    grpc_conn_kick(c->conn);
    return h2_request(c->conn->h2, &c->stream, hd, n);
}
