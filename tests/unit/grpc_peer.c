/* Our server and client against peers that do not keep to gRPC, or to anything. */
#include <stdio.h>

#include "ctrl/grpc_wire.h"
#include "tests/unit/grpc_fixture.h"
#include "tests/unit/h2_raw.h"

/* ------------------------------------------------------------ our server */

static const char *const usual[][2] = {
    { ":method", "POST" }, { ":scheme", "http" }, { ":path", "/test.Echo/Unary" }, { ":authority", "x" },
    { "te", "trailers" }, { "content-type", "application/grpc" },
};

/* The usual request with one header changed (or, when it is not among them, added). */
static struct raw_stream *request(struct raw *r, const char *name, const char *value)
{
    struct h2_header hd[ARRAY_LEN(usual) + 1];
    size_t n = ARRAY_LEN(usual), i = 0;
    for (size_t k = 0; k < n; k++)
        hd[k] = (struct h2_header){ usual[k][0], usual[k][1] };
    while (i < n && !str_eq(hd[i].name, name))
        i++;
    hd[i] = (struct h2_header){ name, value };
    return raw_request(r, hd, MAX(n, i + 1));
}

struct expectation { const char *name, *value, *body; size_t len; const char *answer; };

static const struct expectation table[] = {
    { "te", "trailers", "\0\0\0\0\1x", 6,
      ":status: 200\ncontent-type: application/grpc\ngrpc-accept-encoding: identity\ngrpc-status: 0\n" },
    { "content-type", "application/grpc+proto", "\0\0\0\0\0", 5, "grpc-status: 0\n" },
    { ":method", "GET", "", 0, ":status: 405\n" },
    { "content-type", "text/plain", "", 0, ":status: 415\n" },
    { "content-type", "application/grpcx", "", 0, ":status: 415\n" },
    { ":path", "/nothing", "", 0, "grpc-status: 12\ngrpc-message: unknown method /nothing\n" },
    { "grpc-timeout", "soon", "", 0, "grpc-status: 13\ngrpc-message: malformed grpc-timeout\n" },
    { "grpc-timeout", "0n", "", 0, "grpc-status: 4\n" },
    { ":path", "/test.Echo/Unary", "\0\0\0\0\2x", 6, "grpc-status: 13\ngrpc-message: the request ends within a message\n" },
    { ":path", "/test.Echo/Unary", "\0\0\0", 3, "grpc-status: 13\ngrpc-message: the request ends within a message\n" },
    { "grpc-encoding", "gzip", "\1\0\0\0\1x", 6,
      "grpc-accept-encoding: identity\ngrpc-status: 12\ngrpc-message: compressed messages are not supported\n" },
    { "x-test", "bad flag", "\2\0\0\0\1x", 6, "grpc-status: 13\ngrpc-message: broken message prefix\n" },
    { ":path", "/test.Echo/Small", "\0\377\377\377\377", 5,
      "grpc-status: 8\ngrpc-message: message of 4294967295 bytes is larger than 1000\n" },
    { ":path", "/test.Echo/Meta", "\0\0\0\0\0", 5, "grpc-status: 0\n" },
};

static void test_requests(void)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct fixture f;
        struct raw r;
        fixture_open(&f, OVER_TCP, NULL);
        raw_connect(&r, &f.loop, f.port);
        struct raw_stream *s = request(&r, table[i].name, table[i].value);
        raw_body(s, table[i].body, table[i].len, false);
        UNTIL(&f, s->closed);
        CU_ASSERT_PTR_NOT_NULL(strstr(s->headers, table[i].answer));
        if (!strstr(s->headers, table[i].answer))
            printf("row %zu: got\n%s", i, s->headers);
        CU_ASSERT(s->ended && s->code == H2_NO_ERROR);
        CU_ASSERT_EQUAL(grpc_server_calls(f.server), 0);
        raw_close(&r);
        fixture_close(&f);
    }
}

/* The status does not wait for the client's end: the upload is stopped by RST_STREAM(NO_ERROR). */
static void test_refusals_stop_the_upload(void)
{
    struct fixture f;
    struct raw r;
    fixture_open(&f, OVER_TCP, NULL);
    raw_connect(&r, &f.loop, f.port);
    struct raw_stream *a = request(&r, ":path", "/nothing"), *b = request(&r, "content-type", "text/html");
    struct raw_stream *c = request(&r, ":path", "/test.Echo/Early");
    raw_body(a, "", 0, true);
    raw_body(b, "", 0, true);
    raw_body(c, "\0\0\0\0\0\0\0\0", 8, true); /* one message and a half */
    UNTIL(&f, a->closed && b->closed && c->closed);
    CU_ASSERT(a->ended && b->ended && c->ended);
    CU_ASSERT_EQUAL(a->code, H2_NO_ERROR);
    CU_ASSERT_EQUAL(b->code, H2_NO_ERROR);
    CU_ASSERT_EQUAL(c->code, H2_NO_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(c->headers, "grpc-message: early"));
    raw_close(&r);
    fixture_close(&f);
}

static void test_too_many_headers(void)
{
    struct fixture f;
    struct raw r;
    static char big[17000];
    memset(big, 'x', sizeof(big) - 1);
    fixture_open(&f, OVER_TCP, NULL);
    raw_connect(&r, &f.loop, f.port);
    struct raw_stream *s = request(&r, "x-test", big);
    raw_body(s, "", 0, false);
    UNTIL(&f, s->closed);
    CU_ASSERT_PTR_NOT_NULL(strstr(s->headers, "grpc-status: 8"));
    raw_close(&r);
    fixture_close(&f);
}

/* A deadline with bytes still queued: they are given up, the status goes ahead of them. */
static void test_deadline_with_queue(void)
{
    struct fixture f;
    struct raw r;
    struct h2_header hd[] = { { ":method", "POST" }, { ":scheme", "http" }, { ":path", "/test.Echo/Burst" }, { ":authority", "x" },
                              { "content-type", "application/grpc" }, { "grpc-timeout", "100m" } };
    fixture_open(&f, OVER_TCP, NULL);
    raw_connect(&r, &f.loop, f.port);
    r.lazy = true;
    struct raw_stream *s = raw_request(&r, hd, ARRAY_LEN(hd));
    raw_body(s, "\0\0\0\0\4\0\0\7\377", 9, true); /* 2047 of 1 KiB: does not fit */
    UNTIL(&f, s->closed && f.log.closed);
    CU_ASSERT_EQUAL(f.log.sent, -ENOBUFS);
    CU_ASSERT_EQUAL(f.log.status, GRPC_DEADLINE_EXCEEDED);
    CU_ASSERT_PTR_NOT_NULL(strstr(s->headers, "grpc-status: 4\ngrpc-message: deadline exceeded\n"));
    raw_close(&r);
    fixture_close(&f);
}

/* Until nothing more comes; under valgrind and beside other load that takes its time. */
static void settle(struct fixture *f)
{
    unsigned before, rounds = 0;
    do {
        before = f->log.messages;
        fixture_run(f, 300 * NS_PER_MS);
    } while ((f->log.messages != before || before == 0) && ++rounds < 100);
}

/* A client that sends and does not read: it is held back, and the handler never meets a full queue. */
static void test_held_back(void)
{
    struct fixture f;
    struct raw r;
    const size_t total = 4U << 20;
    AUTO_FREE uint8_t *body = mem_zalloc(1, total);
    for (size_t i = 0; i < total; i += 1024)
        grpc_frame_prefix(body + i, 1024 - GRPC_PREFIX);
    fixture_open(&f, OVER_TCP, NULL);
    raw_connect(&r, &f.loop, f.port);
    r.lazy = true;
    struct raw_stream *s = request(&r, ":path", "/test.Echo/Stream");
    raw_body(s, body, total, false);
    settle(&f);
    unsigned held_at = f.log.messages;
    CU_ASSERT(held_at > 512 && held_at < 3000); /* its window, and half of the queue */
    CU_ASSERT(s->left > 0);
    fixture_run(&f, 50 * NS_PER_MS);
    CU_ASSERT_EQUAL(f.log.messages, held_at);
    r.lazy = false;
    h2_consume(&s->s, s->unread); /* it reads again */
    s->unread = 0;
    raw_flush(&r);
    UNTIL(&f, s->closed);
    CU_ASSERT_EQUAL(f.log.messages, total / 1024);
    CU_ASSERT_EQUAL(s->received, total);
    CU_ASSERT_EQUAL(f.log.sent, 0);
    raw_close(&r);
    fixture_close(&f);
}

static void test_reset_by_client(void)
{
    struct fixture f;
    struct raw r;
    fixture_open(&f, OVER_TCP, NULL);
    raw_connect(&r, &f.loop, f.port);
    struct raw_stream *s = request(&r, ":path", "/test.Echo/Never");
    raw_body(s, "\0\0\0\0\0", 5, true);
    UNTIL(&f, f.log.messages == 1);
    h2_reset(&s->s, H2_INTERNAL_ERROR);
    raw_flush(&r);
    UNTIL(&f, f.log.closed);
    CU_ASSERT_EQUAL(f.log.status, GRPC_INTERNAL);
    raw_close(&r);
    fixture_close(&f);
}

/* ------------------------------------------------------------ our client */

struct weird { struct fixture f; struct listener l; struct raw r; };

static void on_accepted(struct listener *l, int fd, const union sockaddr_any *peer UNUSED)
{
    struct weird *w = container_of(l, struct weird, l);
    raw_accept(&w->r, &w->f.loop, fd);
}

static void weird_open(struct weird *w, void (*respond)(struct raw *, struct raw_stream *))
{
    union sockaddr_any at;
    socklen_t len = sizeof(at);
    memset(w, 0, sizeof(*w));
    fixture_open(&w->f, OVER_TCP, NULL);
    addr_numeric("127.0.0.1", 0, &at);
    int fd = sock_listen(&at);
    getsockname(fd, &at.sa, &len);
    w->f.port = addr_port(&at);
    w->r.sock.io.fd = -1;
    w->r.request = respond;
    listener_start(&w->l, &w->f.loop, fd, "weird", on_accepted);
    fixture_connect(&w->f);
}

static void weird_close(struct weird *w)
{
    raw_close(&w->r);
    listener_stop(&w->l);
    fixture_close(&w->f);
}

static void respond_404(struct raw *r UNUSED, struct raw_stream *s)
{
    const struct h2_header hd[] = { { ":status", "404" }, { "content-type", "text/html" } };
    h2_respond(&s->s, hd, 2, false);
}

static void respond_503(struct raw *r UNUSED, struct raw_stream *s)
{
    const struct h2_header hd[] = { { ":status", "503" } };
    h2_respond(&s->s, hd, 1, false);
}

static void respond_no_status(struct raw *r UNUSED, struct raw_stream *s)
{
    const struct h2_header hd[] = { { ":status", "200" }, { "content-type", "application/grpc" } };
    h2_respond(&s->s, hd, 2, true);
    raw_body(s, "\0\0\0\0\1x", 6, false);
}

static void respond_half(struct raw *r UNUSED, struct raw_stream *s)
{
    const struct h2_header hd[] = { { ":status", "200" }, { "content-type", "application/grpc" } };
    h2_respond(&s->s, hd, 2, true);
    raw_body(s, "\0\0\0\0\2x", 6, false);
}

static void respond_compressed(struct raw *r UNUSED, struct raw_stream *s)
{
    const struct h2_header hd[] = { { ":status", "200" }, { "content-type", "application/grpc" } };
    h2_respond(&s->s, hd, 2, true);
    raw_body(s, "\1\0\0\0\1x", 6, false);
}

static void respond_trailers_only(struct raw *r UNUSED, struct raw_stream *s)
{
    const struct h2_header hd[] = { { ":status", "200" }, { "content-type", "application/grpc" }, { "grpc-status", "7" },
                                    { "grpc-message", "no%20way%0a%zz%" } };
    h2_respond(&s->s, hd, 4, false);
}

static void respond_nonsense(struct raw *r UNUSED, struct raw_stream *s)
{
    const struct h2_header hd[] = { { ":status", "200" }, { "content-type", "application/grpc" }, { "grpc-status", "99" } };
    h2_respond(&s->s, hd, 3, false);
}

static void refuse_stream(struct raw *r UNUSED, struct raw_stream *s) { h2_reset(&s->s, H2_REFUSED_STREAM); }
static void calm_stream(struct raw *r UNUSED, struct raw_stream *s) { h2_reset(&s->s, H2_ENHANCE_YOUR_CALM); }
static void go_away(struct raw *r, struct raw_stream *s UNUSED) { h2_goaway(r->h2, H2_INTERNAL_ERROR, "fell over"); }

static void test_responses(void)
{
    static const struct {
        void (*respond)(struct raw *, struct raw_stream *);
        enum grpc_status status;
        const char *text;
    } rows[] = {
        { respond_404, GRPC_UNIMPLEMENTED, "no gRPC response: HTTP status 404, text/html" },
        { respond_503, GRPC_UNAVAILABLE, "no gRPC response: HTTP status 503, no content-type" },
        { respond_no_status, GRPC_UNKNOWN, "no gRPC response: HTTP status 200, application/grpc" },
        { respond_half, GRPC_INTERNAL, "the response ends within a message" },
        { respond_compressed, GRPC_UNIMPLEMENTED, "compressed messages are not supported" },
        { respond_trailers_only, GRPC_PERMISSION_DENIED, "no way?%zz%" },
        { respond_nonsense, GRPC_UNKNOWN, "" },
        { refuse_stream, GRPC_UNAVAILABLE, "stream reset by HTTP/2 error 7" },
        { calm_stream, GRPC_RESOURCE_EXHAUSTED, "stream reset by HTTP/2 error 11" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct weird w;
        struct answer a = { 0 };
        weird_open(&w, rows[i].respond);
        answer_start(&w.f, &a, "/x", 0); /* and never half-closes */
        grpc_send(a.call, "x", 1);
        UNTIL(&w.f, a.closed);
        CU_ASSERT_EQUAL(a.status, rows[i].status);
        CU_ASSERT_STRING_EQUAL(a.text, rows[i].text);
        CU_ASSERT_EQUAL(a.messages, rows[i].respond == respond_no_status);
        UNTIL(&w.f, w.r.streams[0].closed || w.r.streams[0].s.id == 0);
        answer_free(&a);
        weird_close(&w);
    }
}

/* GOAWAY names no stream of ours as processed (here: all up to ours), the connection goes with its last call. */
static void test_goaway(void)
{
    struct weird w;
    struct answer a = { 0 };
    weird_open(&w, go_away);
    answer_start(&w.f, &a, "/x", 0);
    UNTIL(&w.f, w.r.n == 1);
    fixture_run(&w.f, 20 * NS_PER_MS);
    CU_ASSERT_EQUAL(a.closed, 0);
    grpc_cancel(a.call);
    UNTIL(&w.f, w.f.c.lost);
    CU_ASSERT_EQUAL(a.status, GRPC_CANCELLED);
    CU_ASSERT_EQUAL(w.f.c.rc, -SST_ELOST);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.f.c.why, "ended by the peer (HTTP/2 error 2: fell over)"));
    weird_close(&w);
}

/* Our 1xx and headers limits hold for servers as well. */
static void respond_big(struct raw *r UNUSED, struct raw_stream *s)
{
    static char big[17000];
    memset(big, 'x', sizeof(big) - 1);
    const struct h2_header hd[] = { { ":status", "200" }, { "content-type", "application/grpc" }, { "x-test", big },
                                    { "grpc-status", "0" } };
    h2_respond(&s->s, hd, 4, false);
}

static void test_big_response(void)
{
    struct weird w;
    struct answer a = { 0 };
    weird_open(&w, respond_big);
    answer_start(&w.f, &a, "/x", 0);
    UNTIL(&w.f, a.closed);
    CU_ASSERT_EQUAL(a.status, GRPC_RESOURCE_EXHAUSTED);
    weird_close(&w);
}

UNIT_MAIN("grpc_peer", UNIT(test_requests), UNIT(test_refusals_stop_the_upload), UNIT(test_too_many_headers),
          UNIT(test_deadline_with_queue), UNIT(test_held_back), UNIT(test_reset_by_client), UNIT(test_responses), UNIT(test_goaway),
          UNIT(test_big_response))
