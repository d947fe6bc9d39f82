#include "tests/unit/h2_raw.h"

#include <errno.h>
#include <stdio.h>

#include "tests/lib/unit.h"

static struct raw_stream *of(struct h2_stream *s) { return container_of(s, struct raw_stream, s); }

/* ------------------------------------------------------------ events */

static struct raw_stream *add_stream(struct raw *r)
{
    CU_ASSERT_FATAL(r->n < ARRAY_LEN(r->streams));
    struct raw_stream *s = &r->streams[r->n++];
    s->r = r;
    return s;
}

static struct h2_stream *on_opened(void *user) { return &add_stream(user)->s; }

static void on_header(struct h2_stream *s, const char *name, const char *value)
{
    struct raw_stream *rs = of(s);
    size_t n = strlen(rs->headers);
    snprintf(rs->headers + n, sizeof(rs->headers) - n, "%s: %s\n", name, value);
}

static void on_headers_end(struct h2_stream *s)
{
    struct raw_stream *rs = of(s);
    if (rs->r->request)
        rs->r->request(rs->r, rs);
}

static void on_data(struct h2_stream *s, const uint8_t *data UNUSED, size_t n)
{
    of(s)->received += n;
    of(s)->unread += n;
}

static void on_ended(struct h2_stream *s) { of(s)->ended = true; }

static size_t on_body(struct h2_stream *s, uint8_t *to, size_t room, enum h2_more *more)
{
    struct raw_stream *rs = of(s);
    size_t n = MIN(room, rs->left);
    if (n) {
        memcpy(to, rs->body, n);
        rs->body += n;
        rs->left -= n;
    }
    *more = rs->left ? H2_MORE : rs->open_end ? H2_WAIT : H2_END;
    return n;
}

static void on_closed(struct h2_stream *s, uint32_t code)
{
    of(s)->closed = true;
    of(s)->code = code;
}

static void on_sent_end(struct h2_stream *s UNUSED) {}
static void on_pong(void *user UNUSED, uint64_t mark UNUSED) {}

static void on_up(void *user)
{
    struct raw *r = user;
    r->up = true;
}

static void on_goaway(void *user, uint32_t code, const char *text UNUSED)
{
    struct raw *r = user;
    r->goaway = 1 + code;
}

static const struct h2_events events = {
    .opened = on_opened, .header = on_header, .headers_end = on_headers_end, .data = on_data, .ended = on_ended, .body = on_body,
    .sent_end = on_sent_end, .closed = on_closed, .up = on_up, .pong = on_pong, .goaway = on_goaway,
};

/* ------------------------------------------------------------ bytes */

void raw_flush(struct raw *r)
{
    const uint8_t *data;
    ssize_t n;
    while (!r->gone && (n = h2_output(r->h2, &data)) > 0)
        grpc_buf_add(&r->out, data, (size_t)n);
    while (!r->gone && r->out.len) {
        struct iovec v = { .iov_base = r->out.mem + r->out.at, .iov_len = r->out.len };
        n = sock_sendv(&r->sock, &v, 1);
        if (n == -EAGAIN)
            return;
        if (n < 0)
            r->gone = true;
        else
            grpc_buf_eat(&r->out, (size_t)n);
    }
}

static void consume(struct raw *r)
{
    for (unsigned i = 0; i < r->n && !r->lazy; i++) {
        h2_consume(&r->streams[i].s, r->streams[i].unread);
        r->streams[i].unread = 0;
    }
}

static void on_event(struct sock *s)
{
    struct raw *r = container_of(s, struct raw, sock);
    uint8_t buf[16384];
    ssize_t n;
    if (sock_connected(s) < 0)
        return;
    while (!r->gone && (n = sock_recv(s, buf, sizeof(buf))) != -EAGAIN) {
        r->gone = n <= 0;
        if (n > 0)
            h2_feed(r->h2, buf, (size_t)n);
        consume(r);
    }
    raw_flush(r);
}

void raw_connect(struct raw *r, struct loop *l, uint16_t port)
{
    const struct h2_config conf = { .server = false };
    union sockaddr_any at;
    addr_numeric("127.0.0.1", port, &at);
    *r = (struct raw){ .h2 = h2_new(&conf, &events, r) };
    CU_ASSERT_EQUAL_FATAL(sock_connect(&r->sock, l, &at, on_event), 0);
}

void raw_accept(struct raw *r, struct loop *l, int fd)
{
    const struct h2_config conf = { .server = true, .streams = 8 };
    r->h2 = h2_new(&conf, &events, r);
    CU_ASSERT_EQUAL_FATAL(sock_attach(&r->sock, l, fd, on_event), 0);
}

struct raw_stream *raw_request(struct raw *r, const struct h2_header *hd, size_t n)
{
    struct raw_stream *s = add_stream(r);
    CU_ASSERT_EQUAL_FATAL(h2_request(r->h2, &s->s, hd, n), 0);
    return s;
}

void raw_body(struct raw_stream *s, const void *data, size_t n, bool open_end)
{
    s->body = data;
    s->left = n;
    s->open_end = open_end;
    h2_resume(&s->s);
}

void raw_close(struct raw *r)
{
    h2_free(r->h2);
    r->h2 = NULL;
    grpc_buf_free(&r->out);
    sock_close(&r->sock);
}
