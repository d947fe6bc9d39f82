/* Life of a session, and what we submit to it. */
#include "config.h"

#include "ctrl/h2.h"

#include <errno.h>
#include <stdio.h>

#include "ctrl/h2_priv.h"
#include "src/core/err.h"

#define ACKS_MAX 500    /* of PING and SETTINGS that wait because the peer does not read */
#define QUEUE_MAX 4096  /* frames of a server that wait for the same reason */
#define SUBMIT_MAX 16   /* headers of ours */

/* ------------------------------------------------------------ life */

static int make_session(struct h2 *h)
{
    nghttp2_session_callbacks *cbs = NULL;
    nghttp2_option *opt = NULL;
    int rc = nghttp2_session_callbacks_new(&cbs);
    if (rc == 0)
        rc = nghttp2_option_new(&opt);
    if (rc == 0) {
        h2_set_callbacks(cbs);
        nghttp2_option_set_no_auto_window_update(opt, 1);
        nghttp2_option_set_no_closed_streams(opt, 1);
        nghttp2_option_set_max_outbound_ack(opt, ACKS_MAX);
#ifdef HAVE_NGHTTP2_RESET_LIMIT
        nghttp2_option_set_stream_reset_rate_limit(opt, UINT64_MAX / 2, 0); /* h2_guard.h counts them: it knows which are the peer's right */
#endif
        rc = (h->server ? nghttp2_session_server_new2 : nghttp2_session_client_new2)(&h->session, cbs, h, opt);
    }
    nghttp2_option_del(opt);
    nghttp2_session_callbacks_del(cbs);
    return rc;
}

static int announce(struct h2 *h, uint32_t streams)
{
    const nghttp2_settings_entry s[] = {
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEADER_BYTES },
        { h->server ? NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS : NGHTTP2_SETTINGS_ENABLE_PUSH, h->server ? streams : 0 },
    };
    int rc = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, s, ARRAY_LEN(s));
    return rc ? rc : nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_WINDOW);
}

struct h2 *h2_new(const struct h2_config *c, const struct h2_events *ev, void *user)
{
    struct h2 *h = mem_zalloc(1, sizeof(*h));
    h->ev = ev;
    h->user = user;
    h->server = c->server;
    if (make_session(h) == 0 && announce(h, c->streams) == 0)
        return h;
    h2_free(h);
    return NULL;
}

void h2_free(struct h2 *h)
{
    if (!h)
        return;
    nghttp2_session_del(h->session);
    free(h);
}

/* ------------------------------------------------------------ bytes */

static int feed_failure(struct h2 *h, ssize_t rc)
{
    if (rc == NGHTTP2_ERR_NOMEM)
        return -ENOMEM;
    if (rc == NGHTTP2_ERR_FLOODED)
        h2_flooded(h, "PING or SETTINGS frames");
    if (h->flooded)
        return -SST_ELIMIT;
    if (rc == NGHTTP2_ERR_BAD_CLIENT_MAGIC || !h->up)
        snprintf(h->why, sizeof(h->why), "peer does not speak HTTP/2");
    else
        snprintf(h->why, sizeof(h->why), "HTTP/2: %s", nghttp2_strerror((int)rc));
    return -SST_EPROTO;
}

/* A client's bytes, but for frames that nobody is to see. */
static ssize_t feed_pieces(struct h2 *h, const uint8_t *data, size_t n)
{
    struct h2_piece p;
    ssize_t rc = 0;
    while (rc >= 0 && h2_frames_next(&h->frames, &data, &n, &p)) {
        if (p.skipped)
            h2_guard_frame(h, H2_GUARD_RESET);
        if (p.n)
            rc = nghttp2_session_mem_recv(h->session, p.data, p.n);
    }
    return rc;
}

int h2_feed(struct h2 *h, const uint8_t *data, size_t n)
{
    h->now = now_ns();
    ssize_t rc = h->server ? feed_pieces(h, data, n) : nghttp2_session_mem_recv(h->session, data, n);
    if (h->server && nghttp2_session_get_outbound_queue_size(h->session) > QUEUE_MAX)
        h2_flooded(h, "it reads no answers");
    return rc < 0 || h->flooded ? feed_failure(h, rc) : 0;
}

ssize_t h2_output(struct h2 *h, const uint8_t **data)
{
    ssize_t n = nghttp2_session_mem_send(h->session, data);
    return n < 0 ? -ENOMEM : n;
}

bool h2_alive(const struct h2 *h) { return nghttp2_session_want_read(h->session) || nghttp2_session_want_write(h->session); }
const char *h2_why(const struct h2 *h) { return h->why[0] ? h->why : "the HTTP/2 session is over"; }

/* ------------------------------------------------------------ submitting */

static size_t name_values(nghttp2_nv nv[SUBMIT_MAX], const struct h2_header *hd, size_t n)
{
    for (size_t i = 0; i < n && i < SUBMIT_MAX; i++) {
        union { const char *c; uint8_t *u; } name = { .c = hd[i].name }, value = { .c = hd[i].value }; /* nghttp2 only copies */
        nv[i] = (nghttp2_nv){ name.u, value.u, strlen(hd[i].name), strlen(hd[i].value), NGHTTP2_NV_FLAG_NONE };
    }
    return MIN(n, SUBMIT_MAX);
}

int h2_request(struct h2 *h, struct h2_stream *s, const struct h2_header *hd, size_t n)
{
    const nghttp2_data_provider body = { .read_callback = h2_read_body };
    nghttp2_nv nv[SUBMIT_MAX];
    *s = (struct h2_stream){ .h2 = h };
    int32_t id = nghttp2_submit_request(h->session, NULL, nv, name_values(nv, hd, n), &body, s);
    if (id < 0)
        return id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -ENOBUFS;
    s->id = id;
    return 0;
}

int h2_respond(struct h2_stream *s, const struct h2_header *hd, size_t n, bool with_body)
{
    const nghttp2_data_provider body = { .read_callback = h2_read_body };
    nghttp2_nv nv[SUBMIT_MAX];
    int rc = nghttp2_submit_response(s->h2->session, s->id, nv, name_values(nv, hd, n), with_body ? &body : NULL);
    return rc ? -ENOMEM : 0;
}

int h2_trailers(struct h2_stream *s, const struct h2_header *hd, size_t n)
{
    nghttp2_nv nv[SUBMIT_MAX];
    return nghttp2_submit_trailer(s->h2->session, s->id, nv, name_values(nv, hd, n)) ? -ENOMEM : 0;
}

void h2_resume(struct h2_stream *s)
{
    if (s->id)
        nghttp2_session_resume_data(s->h2->session, s->id); /* refuses when it does not wait: fine */
}

void h2_consume(struct h2_stream *s, size_t n)
{
    if (s->id)
        nghttp2_session_consume(s->h2->session, s->id, n);
    else
        nghttp2_session_consume_connection(s->h2->session, n);
}

void h2_detach(struct h2_stream *s)
{
    if (s->id)
        nghttp2_session_set_stream_user_data(s->h2->session, s->id, NULL);
    s->id = 0;
}

void h2_reset(struct h2_stream *s, enum h2_code code)
{
    if (s->id)
        nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, code);
    h2_detach(s);
}

void h2_ping(struct h2 *h, uint64_t mark)
{
    uint8_t opaque[8];
    memcpy(opaque, &mark, sizeof(opaque));
    nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, opaque);
}

void h2_goaway(struct h2 *h, enum h2_code code, const char *text)
{
    union { const char *c; uint8_t *u; } t = { .c = text };
    int32_t last = nghttp2_session_get_last_proc_stream_id(h->session);
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, last, code, t.u, strlen(text));
}
