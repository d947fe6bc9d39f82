/* What nghttp2 tells us, passed on as h2_events. */
#include <stdio.h>

#include "ctrl/h2_priv.h"

#define ABSURD 4 /* times the limits: no answer that explains any more */
#define GIVEN_UP_NS NS_PER_S /* age of a stream from which on resetting it is no flood */

struct h2_stream *h2_stream_of(struct h2 *h, int32_t id) { return nghttp2_session_get_stream_user_data(h->session, id); }

void h2_flooded(struct h2 *h, const char *what)
{
    if (h->flooded)
        return;
    h->flooded = true;
    snprintf(h->why, sizeof(h->why), "peer floods us: %s", what);
    nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

void h2_guard_frame(struct h2 *h, enum h2_guard_kind k)
{
    if (!h2_guard_take(&h->guard, k, h->now))
        h2_flooded(h, h2_guard_name(k));
}

/* ------------------------------------------------------------ what comes in */

/* A thousand calls whose deadline is the same are given up at once: of those that have lived for a while there are not many. */
static bool may_end(const struct h2 *h, const struct h2_stream *s) { return s && h->now - s->born_ns >= GIVEN_UP_NS; }

static int on_begin_frame(nghttp2_session *session UNUSED, const nghttp2_frame_hd *hd, void *user)
{
    struct h2 *h = user;
    enum h2_guard_kind k = h2_guard_classify(hd->type, hd->flags, hd->length);
    if (k != H2_GUARD_RESET || !may_end(h, h2_stream_of(h, hd->stream_id)))
        h2_guard_frame(h, k);
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    struct h2_stream *s = h2_stream_of(h, frame->hd.stream_id);
    if (h->server && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        s = h->ev->opened(h->user);
        *s = (struct h2_stream){ .h2 = h, .id = frame->hd.stream_id, .born_ns = h->now };
        nghttp2_session_set_stream_user_data(session, s->id, s);
    }
    if (s) {
        s->headers = 0;
        s->header_bytes = 0;
    }
    return 0;
}

static int on_header(nghttp2_session *session UNUSED, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags UNUSED, void *user)
{
    struct h2 *h = user;
    struct h2_stream *s = h2_stream_of(h, frame->hd.stream_id);
    if (!s)
        return 0;
    s->header_bytes += name_len + value_len + 32;
    if (++s->headers > ABSURD * H2_HEADERS_MAX || s->header_bytes > ABSURD * H2_HEADER_BYTES)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* RST_STREAM: a few bytes of HPACK can name megabytes */
    s->too_big |= s->headers > H2_HEADERS_MAX || s->header_bytes > H2_HEADER_BYTES;
    if (!s->too_big)
        h->ev->header(s, (const char *)name, (const char *)value); /* nghttp2 terminates both and lets no NUL through */
    return 0;
}

static void on_settings(struct h2 *h, const nghttp2_frame *f)
{
    if (f->hd.flags & NGHTTP2_FLAG_ACK || h->up)
        return;
    h->up = true;
    h->ev->up(h->user);
}

static void on_ping(struct h2 *h, const nghttp2_frame *f)
{
    uint64_t mark;
    memcpy(&mark, f->ping.opaque_data, sizeof(mark));
    if (f->hd.flags & NGHTTP2_FLAG_ACK)
        h->ev->pong(h->user, mark);
}

static void on_goaway(struct h2 *h, const nghttp2_frame *f)
{
    char text[100];
    size_t n = MIN(f->goaway.opaque_data_len, sizeof(text) - 1);
    for (size_t i = 0; i < n; i++)
        text[i] = f->goaway.opaque_data[i] >= ' ' && f->goaway.opaque_data[i] < 0x7f ? (char)f->goaway.opaque_data[i] : '?';
    text[n] = 0;
    h->ev->goaway(h->user, f->goaway.error_code, text);
}

static int on_frame(nghttp2_session *session UNUSED, const nghttp2_frame *f, void *user)
{
    struct h2 *h = user;
    struct h2_stream *s = f->hd.stream_id ? h2_stream_of(h, f->hd.stream_id) : NULL;
    if (f->hd.type == NGHTTP2_SETTINGS)
        on_settings(h, f);
    else if (f->hd.type == NGHTTP2_PING)
        on_ping(h, f);
    else if (f->hd.type == NGHTTP2_GOAWAY)
        on_goaway(h, f);
    if (s && f->hd.type == NGHTTP2_HEADERS)
        h->ev->headers_end(s);
    if (s && s->id && (f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA) && f->hd.flags & NGHTTP2_FLAG_END_STREAM)
        h->ev->ended(s);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags UNUSED, int32_t id, const uint8_t *data, size_t n, void *user)
{
    struct h2 *h = user;
    struct h2_stream *s = h2_stream_of(h, id);
    if (s)
        h->ev->data(s, data, n);
    else
        nghttp2_session_consume(session, id, n);
    return 0;
}

static int on_stream_close(nghttp2_session *session UNUSED, int32_t id, uint32_t code, void *user)
{
    struct h2 *h = user;
    struct h2_stream *s = h2_stream_of(h, id);
    if (s) {
        s->id = 0;
        h->ev->closed(s, code);
    }
    return 0;
}

static int on_error(nghttp2_session *session UNUSED, int code UNUSED, const char *text, size_t n, void *user)
{
    struct h2 *h = user;
    if (!h->flooded)
        snprintf(h->why, sizeof(h->why), "HTTP/2: %.*s", (int)MIN(n, sizeof(h->why)), text);
    return 0;
}

/* ------------------------------------------------------------ what goes out */

ssize_t h2_read_body(nghttp2_session *session UNUSED, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                     nghttp2_data_source *src UNUSED, void *user)
{
    struct h2 *h = user;
    struct h2_stream *s = h2_stream_of(h, id);
    enum h2_more more = H2_MORE;
    if (!s)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* detached: whatever ends it is queued */
    size_t n = h->ev->body(s, to, room, &more);
    if (more == H2_WAIT && n == 0)
        return NGHTTP2_ERR_DEFERRED;
    if (more == H2_END || more == H2_END_TRAILERS)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (more == H2_END_TRAILERS)
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return (ssize_t)n;
}

/* A server that has said everything tells the peer not to go on sending (RFC 9113 8.1). */
static void end_left(struct h2 *h, int32_t id)
{
    struct h2_stream *s = h2_stream_of(h, id);
    if (h->server && nghttp2_session_get_stream_remote_close(h->session, id) == 0)
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
    if (s)
        h->ev->sent_end(s);
}

static int on_frame_sent(nghttp2_session *session UNUSED, const nghttp2_frame *f, void *user)
{
    struct h2 *h = user;
    bool headers = f->hd.type == NGHTTP2_HEADERS, data = f->hd.type == NGHTTP2_DATA, reset = f->hd.type == NGHTTP2_RST_STREAM;
    if (headers || data)
        h2_guard_credit(&h->guard, H2_GUARD_JUNK, 2); /* a WINDOW_UPDATE for the stream and one for the connection */
    if (data)
        h2_guard_credit(&h->guard, H2_GUARD_PING, 1); /* some measure by PING how fast they read */
    if (headers && f->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        h2_guard_credit(&h->guard, H2_GUARD_RESET, 1); /* who was still sending may end like this */
        end_left(h, f->hd.stream_id);
    }
    if (reset && f->rst_stream.error_code != NGHTTP2_NO_ERROR && f->rst_stream.error_code != NGHTTP2_CANCEL)
        h2_guard_frame(h, H2_GUARD_FAULT);
    return 0;
}

void h2_set_callbacks(nghttp2_session_callbacks *cbs)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(cbs, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cbs, on_frame_sent);
    nghttp2_session_callbacks_set_error_callback2(cbs, on_error);
}
