/* Two sessions wired to each other in memory, and the flood guard. */
#include "ctrl/h2.h"

#include <stdio.h>

#include "ctrl/h2_frames.h"
#include "ctrl/h2_guard.h"
#include "src/core/err.h"
#include "tests/lib/unit.h"

/* ------------------------------------------------------------ guard */

static void test_guard_kinds(void)
{
    static const struct { uint8_t type, flags; size_t len; enum h2_guard_kind kind; } rows[] = {
        { 0, 0, 0, H2_GUARD_JUNK },     { 0, 1, 0, H2_GUARD_NONE },   { 0, 0, 1, H2_GUARD_NONE },
        { 0, 8, 256, H2_GUARD_JUNK },   { 0, 8, 257, H2_GUARD_NONE }, { 1, 0, 10, H2_GUARD_NONE },
        { 2, 0, 5, H2_GUARD_JUNK },     { 3, 0, 4, H2_GUARD_RESET },  { 4, 0, 0, H2_GUARD_SETTINGS },
        { 4, 1, 0, H2_GUARD_NONE },     { 6, 0, 8, H2_GUARD_PING },   { 6, 1, 8, H2_GUARD_JUNK },
        { 8, 0, 4, H2_GUARD_JUNK },     { 9, 0, 1, H2_GUARD_JUNK },   { 250, 0, 0, H2_GUARD_JUNK },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        CU_ASSERT_EQUAL(h2_guard_classify(rows[i].type, rows[i].flags, rows[i].len), rows[i].kind);
    CU_ASSERT_STRING_EQUAL(h2_guard_name(H2_GUARD_PING), "PING frames");
}

static unsigned taken(struct h2_guard *g, enum h2_guard_kind k, uint64_t now)
{
    unsigned n = 0;
    while (n < 100000 && h2_guard_take(g, k, now))
        n++;
    return n;
}

static void test_guard_rates(void)
{
    struct h2_guard g = { 0 };
    const uint64_t start = 1000 * NS_PER_S;
    CU_ASSERT_EQUAL(taken(&g, H2_GUARD_PING, start), 200);
    CU_ASSERT_EQUAL(taken(&g, H2_GUARD_RESET, start), 10000); /* each for itself */
    CU_ASSERT_EQUAL(taken(&g, H2_GUARD_JUNK, start), 1000);
    CU_ASSERT_EQUAL(taken(&g, H2_GUARD_NONE, start), 100000);
    CU_ASSERT_EQUAL(taken(&g, H2_GUARD_PING, start + NS_PER_S / 2), 100);
    CU_ASSERT_EQUAL(taken(&g, H2_GUARD_RESET, start + NS_PER_S / 2), 100);
    CU_ASSERT_EQUAL(taken(&g, H2_GUARD_PING, start + 100 * NS_PER_S), 200);
    CU_ASSERT_EQUAL(taken(&g, H2_GUARD_RESET, start + 100 * NS_PER_S), 10000);
    struct h2_guard credited = { .at_ns = start };
    CU_ASSERT_EQUAL(taken(&credited, H2_GUARD_JUNK, start), 1000);
    h2_guard_credit(&credited, H2_GUARD_JUNK, 50);
    CU_ASSERT_EQUAL(taken(&credited, H2_GUARD_JUNK, start), 50);
    struct h2_guard before = { .at_ns = start }; /* answers all left before the first frame that they entitle to came */
    h2_guard_credit(&before, H2_GUARD_JUNK, 5000);
    CU_ASSERT_EQUAL(taken(&before, H2_GUARD_JUNK, start), 6000);
    h2_guard_credit(&before, H2_GUARD_JUNK, 1000000);
    CU_ASSERT_EQUAL(taken(&before, H2_GUARD_JUNK, start), 60000);
    unsigned ok = 0;
    struct h2_guard steady = { 0 };
    for (unsigned i = 0; i < 2000; i++) /* 190 a second for ten seconds */
        ok += h2_guard_take(&steady, H2_GUARD_PING, start + i * (NS_PER_S / 190));
    CU_ASSERT_EQUAL(ok, 2000);
}

/* ------------------------------------------------------------ frames */

/* What is passed on of all, given in parts of that size; *skipped counts frames. */
static size_t passed(const uint8_t *all, size_t n, size_t part, uint8_t *out, unsigned *skipped)
{
    struct h2_frames f = { 0 };
    size_t got = 0;
    *skipped = 0;
    for (size_t i = 0; i < n; i += part) {
        const uint8_t *data = all + i;
        size_t left = MIN(part, n - i);
        for (struct h2_piece p; h2_frames_next(&f, &data, &left, &p); got += p.n) {
            memcpy(out + got, p.data, p.n);
            *skipped += p.skipped;
        }
    }
    return got;
}

/* RST_STREAM of a stream that nobody opened is left out, wherever the bytes are cut; everything else is as it came. */
static void test_frames(void)
{
    static const uint8_t skip[] = { 0, 0, 4, 3, 0, 0, 0, 0, 7, 0, 0, 0, 8 };
    static const uint8_t before[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" "\0\0\0\4\0\0\0\0\0" "\0\0\2\1\4\0\0\0\5xy" "\0\0\4\3\0\0\0\0\5\0\0\0\x8";
    static const uint8_t behind[] = "\0\0\3\0\0\0\0\0\5\3\3\3" "\0\0\4\3\0\0\0\0\3\0\0\0\x8" "\0\0\4\3\0\0\0\0\x8\0\0\0\x8" "\0\0\1\3\0\0\0\0\x9\0";
    const size_t a = sizeof(before) - 1, b = sizeof(behind) - 1, n = a + 2 * sizeof(skip) + b;
    uint8_t all[200], out[200];
    unsigned skipped;
    memcpy(all, before, a);
    memcpy(all + a, skip, sizeof(skip));
    memcpy(all + a + sizeof(skip), behind, b);
    memcpy(all + a + sizeof(skip) + b, skip, sizeof(skip));
    for (size_t part = 1; part <= n; part++) {
        CU_ASSERT_EQUAL(passed(all, n, part, out, &skipped), a + b);
        CU_ASSERT(skipped == 2 && memcmp(out, before, a) == 0 && memcmp(out + a, behind, b) == 0);
    }
}

/* ------------------------------------------------------------ sessions */

struct side {
    struct h2 *h2;
    struct h2_stream streams[40];
    unsigned n, up, ended, sent_end, closed, trailers;
    size_t received, to_send, headers;
    uint32_t code, goaway;
    uint64_t pong;
    char text[64], last[300];
    bool too_big;
};

static struct side C, S;
static struct side *side_of(const struct h2_stream *s) { return s >= C.streams && s < C.streams + ARRAY_LEN(C.streams) ? &C : &S; }

static struct h2_stream *on_opened(void *user)
{
    struct side *x = user;
    return &x->streams[x->n++];
}

static void on_header(struct h2_stream *s, const char *name, const char *value)
{
    side_of(s)->headers++;
    snprintf(side_of(s)->last, sizeof(side_of(s)->last), "%s=%s", name, value);
}

static void on_headers_end(struct h2_stream *s)
{
    const struct h2_header hd[] = { { ":status", "200" } };
    side_of(s)->too_big |= s->too_big;
    if (side_of(s) == &S)
        CU_ASSERT_EQUAL(h2_respond(s, hd, 1, true), 0);
}

static void on_data(struct h2_stream *s, const uint8_t *data UNUSED, size_t n)
{
    side_of(s)->received += n;
    h2_consume(s, n);
}

static void on_ended(struct h2_stream *s)
{
    side_of(s)->ended++;
    h2_resume(s);
}
static void on_sent_end(struct h2_stream *s) { side_of(s)->sent_end++; }

static size_t on_body(struct h2_stream *s, uint8_t *to, size_t room, enum h2_more *more)
{
    const struct h2_header trailer = { "x-end", "1" };
    struct side *x = side_of(s);
    if (x == &S && x->ended == 0) {
        *more = H2_WAIT;
        return 0;
    }
    size_t n = MIN(room, x->to_send);
    memset(to, 'x', n);
    x->to_send -= n;
    if (x->to_send)
        return n;
    *more = x == &C ? H2_END : H2_END_TRAILERS;
    if (x == &S)
        CU_ASSERT_EQUAL(h2_trailers(s, &trailer, 1), 0);
    return n;
}

static void on_closed(struct h2_stream *s, uint32_t code)
{
    side_of(s)->closed++;
    side_of(s)->code = code;
    CU_ASSERT_EQUAL(s->id, 0);
}

static void on_up(void *user) { ((struct side *)user)->up++; }
static void on_pong(void *user, uint64_t mark) { ((struct side *)user)->pong = mark; }

static void on_goaway(void *user, uint32_t code, const char *text)
{
    struct side *x = user;
    x->goaway = code + 1;
    str_copy(x->text, sizeof(x->text), text);
}

static const struct h2_events events = {
    on_opened, on_header, on_headers_end, on_data, on_ended, on_body, on_sent_end, on_closed, on_up, on_pong, on_goaway,
};

static bool move(struct side *from, struct side *to)
{
    const uint8_t *data;
    bool any = false;
    ssize_t n;
    while ((n = h2_output(from->h2, &data)) > 0) {
        any = true;
        h2_feed(to->h2, data, (size_t)n);
    }
    return any;
}

static void settle(void)
{
    bool any = true;
    while (any) {
        any = move(&C, &S);
        any |= move(&S, &C);
    }
}

static void sides_open(uint32_t streams)
{
    const struct h2_config client = { .server = false }, server = { .server = true, .streams = streams };
    memset(&C, 0, sizeof(C));
    memset(&S, 0, sizeof(S));
    C.h2 = h2_new(&client, &events, &C);
    S.h2 = h2_new(&server, &events, &S);
    settle();
    CU_ASSERT(C.up == 1 && S.up == 1);
}

static void sides_close(void)
{
    h2_free(C.h2);
    h2_free(S.h2);
    h2_free(NULL);
}

static const struct h2_header get[] = { { ":method", "GET" }, { ":scheme", "http" }, { ":path", "/" }, { ":authority", "x" } };

static void test_exchange(void)
{
    sides_open(10);
    C.to_send = 5U << 20; /* more than all windows */
    S.to_send = 3U << 20;
    h2_request(C.h2, &C.streams[0], get, 4);
    settle();
    CU_ASSERT(S.received == 5U << 20 && C.received == 3U << 20);
    CU_ASSERT(S.ended == 1 && C.ended == 1 && S.closed == 1 && C.closed == 1 && S.sent_end == 1);
    CU_ASSERT_STRING_EQUAL(C.last, "x-end=1");
    h2_ping(C.h2, 0x123456789ULL);
    settle();
    CU_ASSERT_EQUAL(C.pong, 0x123456789ULL);
    sides_close();
}

static void test_stream_limit(void)
{
    sides_open(5);
    C.to_send = SIZE_MAX;
    for (unsigned i = 0; i < 20; i++)
        h2_request(C.h2, &C.streams[i], get, 4);
    C.to_send = 1;
    settle();
    CU_ASSERT_EQUAL(S.n, 20); /* in turns, none refused */
    CU_ASSERT(C.closed == 20 && C.code == H2_NO_ERROR);
    sides_close();
}

static void test_detached(void)
{
    sides_open(10);
    C.to_send = 1000;
    h2_request(C.h2, &C.streams[0], get, 4);
    h2_reset(&C.streams[0], H2_CANCEL); /* before it left */
    h2_request(C.h2, &C.streams[1], get, 4);
    settle();
    CU_ASSERT(S.n == 1 && S.closed == 1 && C.closed == 1);
    C.to_send = S.to_send = SIZE_MAX / 2; /* never ends */
    h2_request(C.h2, &C.streams[2], get, 4);
    move(&C, &S);
    h2_reset(&C.streams[2], H2_CANCEL);
    settle();
    CU_ASSERT(S.closed == 2 && S.code == H2_CANCEL);
    CU_ASSERT_EQUAL(C.closed, 1); /* it is not told what it did itself */
    h2_consume(&C.streams[2], 0);
    h2_resume(&C.streams[2]);
    sides_close();
}

static void test_goaway(void)
{
    sides_open(10);
    h2_goaway(S.h2, H2_NO_ERROR, "bye\n");
    settle();
    CU_ASSERT_EQUAL(C.goaway, 1);
    CU_ASSERT_STRING_EQUAL(C.text, "bye?");
    CU_ASSERT_FALSE(h2_alive(C.h2));
    CU_ASSERT_FALSE(h2_alive(S.h2));
    h2_request(C.h2, &C.streams[0], get, 4);
    settle();
    CU_ASSERT(C.closed == 1 && C.code == H2_REFUSED_STREAM);
    sides_close();
}

static void test_too_big(void)
{
    char value[300];
    struct h2_header hd[16] = { get[0], get[1], get[2], get[3] };
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = 0;
    sides_open(10);
    h2_request(C.h2, &C.streams[0], hd, 4);
    settle();
    CU_ASSERT_FALSE(S.too_big);
    static char huge[17000];
    memset(huge, 'v', sizeof(huge) - 1);
    hd[4] = (struct h2_header){ "x", huge };
    h2_request(C.h2, &C.streams[1], hd, 5);
    settle();
    CU_ASSERT(S.too_big);
    CU_ASSERT(C.closed == 2 && h2_alive(C.h2)); /* only the stream suffers, and by its owner's choice */
    sides_close();
}

static void test_not_http2(void)
{
    sides_open(1);
    h2_free(S.h2);
    const struct h2_config server = { .server = true, .streams = 1 };
    S.h2 = h2_new(&server, &events, &S);
    CU_ASSERT_EQUAL(h2_feed(S.h2, (const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18), -SST_EPROTO);
    CU_ASSERT_STRING_EQUAL(h2_why(S.h2), "peer does not speak HTTP/2");
    sides_close();
}

/* A frame longer than we allow: GOAWAY, then nothing more. */
static void test_protocol_error(void)
{
    static const uint8_t frame[9] = { 0xff, 0xff, 0xff, 0 };
    sides_open(1);
    h2_feed(S.h2, frame, sizeof(frame));
    settle();
    CU_ASSERT_EQUAL(C.goaway, 1 + H2_FRAME_SIZE_ERROR);
    CU_ASSERT_FALSE(h2_alive(S.h2));
    sides_close();
}

/* Each of these (no :path) makes us send a RST_STREAM: the peer pays for it. */
static void test_faults_are_counted(void)
{
    const uint8_t *data;
    int rc = 0;
    unsigned n = 0;
    sides_open(1000);
    for (ssize_t len; rc == 0 && n < 300; n++) {
        memset(&C.streams[0], 0, sizeof(C.streams[0]));
        S.n = 0;
        h2_request(C.h2, &C.streams[0], get, 2);
        while (rc == 0 && (len = h2_output(C.h2, &data)) > 0)
            rc = h2_feed(S.h2, data, (size_t)len);
        while (h2_output(S.h2, &data) > 0)
            ;
    }
    CU_ASSERT(n > 200 && n < 220);
    CU_ASSERT_EQUAL(rc, -SST_ELIMIT);
    CU_ASSERT_STRING_EQUAL(h2_why(S.h2), "peer floods us: invalid frames");
    sides_close();
}

UNIT_MAIN("h2", UNIT(test_guard_kinds), UNIT(test_guard_rates), UNIT(test_frames), UNIT(test_exchange), UNIT(test_stream_limit), UNIT(test_detached),
          UNIT(test_goaway), UNIT(test_too_big), UNIT(test_not_http2), UNIT(test_protocol_error), UNIT(test_faults_are_counted))
