/* Floods and garbage: the sender goes, others stay. */
#include "tests/unit/grpc_fixture.h"
#include "tests/unit/h2_raw.h"

static const struct h2_header never[] = {
    { ":method", "POST" }, { ":scheme", "http" }, { ":path", "/test.Echo/Never" }, { ":authority", "x" },
    { "content-type", "application/grpc" },
};

static void ping_flood(struct raw *r)
{
    for (unsigned i = 0; i < 300; i++)
        h2_ping(r->h2, i);
}

static void settings_of_nothing(struct raw *r)
{
    static const uint8_t frame[9] = { 0, 0, 0, 4 };
    raw_flush(r);
    for (unsigned i = 0; i < 300; i++)
        grpc_buf_add(&r->out, frame, sizeof(frame));
}

static void empty_data(struct raw *r)
{
    static const uint8_t frame[9] = { 0, 0, 0, 0, 0, 0, 0, 0, 1 };
    raw_body(raw_request(r, never, ARRAY_LEN(never)), "", 0, true);
    raw_flush(r);
    for (unsigned i = 0; i < 1500; i++)
        grpc_buf_add(&r->out, frame, sizeof(frame));
}

static void window_updates(struct raw *r)
{
    static const uint8_t frame[13] = { 0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1 };
    raw_flush(r);
    for (unsigned i = 0; i < 1500; i++)
        grpc_buf_add(&r->out, frame, sizeof(frame));
}

static void resets_of_nothing(struct raw *r)
{
    uint8_t frame[13] = { 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 0, 8 };
    raw_flush(r);
    for (unsigned i = 1; i < 24000; i += 2) {
        frame[7] = (uint8_t)(i >> 8);
        frame[8] = (uint8_t)i;
        grpc_buf_add(&r->out, frame, sizeof(frame));
    }
}

static void rapid_resets(struct raw *r)
{
    for (unsigned i = 0; i < 12000; i++) {
        struct raw_stream s = { .r = r, .open_end = true };
        h2_request(r->h2, &s.s, never, ARRAY_LEN(never));
        raw_flush(r);
        h2_reset(&s.s, H2_CANCEL);
        raw_flush(r);
    }
}

static void test_floods(void)
{
    void (*const floods[])(struct raw *) = { ping_flood, settings_of_nothing, empty_data, window_updates, rapid_resets, resets_of_nothing };
    struct fixture f;
    struct answer a = { 0 };
    fixture_open(&f, OVER_TCP, NULL);
    fixture_connect(&f);
    answer_start(&f, &a, "/test.Echo/Stream", 0);
    for (unsigned i = 0; i < ARRAY_LEN(floods); i++) {
        struct raw r;
        raw_connect(&r, &f.loop, f.port);
        UNTIL(&f, r.up);
        floods[i](&r);
        raw_flush(&r);
        UNTIL(&f, r.goaway && r.gone);
        CU_ASSERT_EQUAL(r.goaway, 1 + H2_ENHANCE_YOUR_CALM);
        raw_close(&r);
    }
    CU_ASSERT_EQUAL(a.closed, 0); /* others go on */
    grpc_half_close(a.call);
    UNTIL(&f, a.closed);
    CU_ASSERT_EQUAL(a.status, GRPC_OK);
    CU_ASSERT_EQUAL(grpc_server_calls(f.server), 0);
    fixture_close(&f);
}

static void test_garbage(void)
{
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\0", "\026\003\001\002", "x",
    };
    for (enum over o = OVER_TCP; o <= OVER_TLS; o += OVER_TLS) {
        struct fixture f;
        fixture_open(&f, o, NULL);
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
            int fd = fixture_plain_connect(&f);
            CU_ASSERT(write(fd, texts[i], strlen(texts[i])) > 0);
            shutdown(fd, SHUT_WR);
            char buf[1000];
            ssize_t n;
            UNTIL(&f, (n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) == 0 || (n < 0 && errno == ECONNRESET));
            close(fd);
        }
        fixture_connect(&f);
        fixture_close(&f);
    }
}

UNIT_MAIN("grpc_flood", UNIT(test_floods), UNIT(test_garbage))
