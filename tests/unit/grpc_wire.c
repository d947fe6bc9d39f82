#include "ctrl/grpc_wire.h"

#include <errno.h>

#include "ctrl/grpc_buf.h"
#include "ctrl/h2.h"
#include "tests/lib/unit.h"

static void test_frames(void)
{
    static const struct { const char *bytes; size_t n, max; enum grpc_frame_kind kind; uint32_t len; } rows[] = {
        { "", 0, 10, GRPC_FRAME_PART, 0 },
        { "\0\0\0\0", 4, 10, GRPC_FRAME_PART, 0 },
        { "\0\0\0\0\0", 5, 10, GRPC_FRAME_WHOLE, 0 },
        { "\0\0\0\0\2x", 6, 10, GRPC_FRAME_PART, 2 },
        { "\0\0\0\0\2xyz", 8, 10, GRPC_FRAME_WHOLE, 2 },
        { "\0\0\0\0\12", 5, 10, GRPC_FRAME_PART, 10 },
        { "\0\0\0\0\13", 5, 10, GRPC_FRAME_TOO_BIG, 11 },
        { "\0\377\377\377\377", 5, SIZE_MAX, GRPC_FRAME_PART, UINT32_MAX },
        { "\1", 1, 10, GRPC_FRAME_COMPRESSED, 0 },
        { "\2", 1, 10, GRPC_FRAME_BAD, 0 },
        { "\377\0\0\0\0", 5, 10, GRPC_FRAME_BAD, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct grpc_frame f;
        const uint8_t *p = (const uint8_t *)rows[i].bytes;
        CU_ASSERT_EQUAL(grpc_frame_parse(p, rows[i].n, rows[i].max, &f), rows[i].kind);
        CU_ASSERT_EQUAL(f.len, rows[i].len);
        CU_ASSERT_PTR_EQUAL(f.data, rows[i].kind == GRPC_FRAME_WHOLE ? p + GRPC_PREFIX : NULL);
    }
    uint8_t prefix[GRPC_PREFIX];
    grpc_frame_prefix(prefix, 0x01020304);
    CU_ASSERT_EQUAL(memcmp(prefix, "\0\1\2\3\4", 5), 0);
}

static void test_texts(void)
{
    static const struct { const char *plain, *encoded, *decoded; } rows[] = {
        { "", "", "" },
        { "no such route ~", "no such route ~", NULL },
        { "100 %", "100 %25", NULL },
        { "\303\274", "%C3%BC", NULL },
        { "a\nb\177", "a%0Ab%7F", "a?b?" },
    };
    char out[GRPC_TEXT_ENCODED], back[GRPC_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        grpc_text_encode(out, rows[i].plain);
        CU_ASSERT_STRING_EQUAL(out, rows[i].encoded);
        grpc_text_decode(back, sizeof(back), out);
        CU_ASSERT_STRING_EQUAL(back, rows[i].decoded ? rows[i].decoded : rows[i].plain);
    }
    static const struct { const char *wild, *decoded; } wild[] = {
        { "%", "%" },     { "%4", "%4" },   { "%zz", "%zz" },   { "%4g1", "%4g1" },
        { "%%41", "%A" }, { "%00x", "?x" }, { "%e4", "\344" }, { "%0a", "?" },
    };
    for (size_t i = 0; i < ARRAY_LEN(wild); i++) {
        grpc_text_decode(back, sizeof(back), wild[i].wild);
        CU_ASSERT_STRING_EQUAL(back, wild[i].decoded);
    }
    grpc_text_decode(back, 3, "abcdef");
    CU_ASSERT_STRING_EQUAL(back, "ab");
    char big[GRPC_TEXT_MAX + 100];
    memset(big, '\n', sizeof(big) - 1);
    big[sizeof(big) - 1] = 0;
    grpc_text_encode(out, big);
    CU_ASSERT_EQUAL(strlen(out), 3 * GRPC_TEXT_MAX);
}

static void test_timeouts(void)
{
    static const struct { const char *text; uint64_t ns; } good[] = {
        { "1n", 1 }, { "5u", 5000 }, { "100m", 100 * NS_PER_MS }, { "10S", 10 * NS_PER_S }, { "2M", 120 * NS_PER_S },
        { "3H", 10800 * NS_PER_S },
        { "00000001S", NS_PER_S }, { "0S", 0 }, { "99999999S", 99999999 * NS_PER_S }, { "99999999H", UINT64_MAX },
    };
    static const char *const bad[] = { "", "1", "S", "-1S", "1s", "1 S", "1Sx", "123456789S", "1.5S", "0x1S", "000000001S" };
    uint64_t ns = 7;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        CU_ASSERT_EQUAL(grpc_timeout_parse(good[i].text, &ns), 0);
        CU_ASSERT_EQUAL(ns, good[i].ns);
    }
    ns = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_EQUAL(grpc_timeout_parse(bad[i], &ns), -EINVAL);
    CU_ASSERT_EQUAL(ns, 7);
    static const uint64_t times[] = { 1,          99999999, 100000001, NS_PER_S, 10 * NS_PER_S, 3600 * NS_PER_S, 999999 * NS_PER_S,
                                      UINT64_MAX };
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        char text[GRPC_TIMEOUT_TEXT];
        grpc_timeout_format(text, times[i]);
        CU_ASSERT_EQUAL(grpc_timeout_parse(text, &ns), 0);
        CU_ASSERT(ns >= times[i] && ns - times[i] <= times[i] / 50000);
    }
}

static void test_statuses(void)
{
    CU_ASSERT_STRING_EQUAL(grpc_status_name(GRPC_OK), "OK");
    CU_ASSERT_STRING_EQUAL(grpc_status_name(GRPC_UNAUTHENTICATED), "UNAUTHENTICATED");
    CU_ASSERT_STRING_EQUAL(grpc_status_name((enum grpc_status)17), "UNKNOWN");
    CU_ASSERT_EQUAL(grpc_status_parse("0"), GRPC_OK);
    CU_ASSERT_EQUAL(grpc_status_parse("16"), GRPC_UNAUTHENTICATED);
    static const char *const bad[] = { "", "17", "-1", "1x", "1111111111111111111111", " 1" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_EQUAL(grpc_status_parse(bad[i]), GRPC_UNKNOWN);
    static const struct { int http; enum grpc_status s; } https[] = {
        { 400, GRPC_INTERNAL }, { 401, GRPC_UNAUTHENTICATED }, { 403, GRPC_PERMISSION_DENIED }, { 404, GRPC_UNIMPLEMENTED },
        { 429, GRPC_UNAVAILABLE }, { 502, GRPC_UNAVAILABLE }, { 503, GRPC_UNAVAILABLE }, { 504, GRPC_UNAVAILABLE },
        { 200, GRPC_UNKNOWN }, { 500, GRPC_UNKNOWN }, { 0, GRPC_UNKNOWN },
    };
    for (size_t i = 0; i < ARRAY_LEN(https); i++)
        CU_ASSERT_EQUAL(grpc_status_of_http(https[i].http), https[i].s);
    static const struct { uint32_t code; enum grpc_status s; } resets[] = {
        { H2_NO_ERROR, GRPC_INTERNAL }, { H2_PROTOCOL_ERROR, GRPC_INTERNAL }, { H2_CONNECT_ERROR, GRPC_INTERNAL },
        { H2_STREAM_CLOSED, GRPC_UNKNOWN }, { H2_REFUSED_STREAM, GRPC_UNAVAILABLE }, { H2_CANCEL, GRPC_CANCELLED },
        { H2_ENHANCE_YOUR_CALM, GRPC_RESOURCE_EXHAUSTED }, { H2_INADEQUATE_SECURITY, GRPC_PERMISSION_DENIED }, { 99, GRPC_UNKNOWN },
    };
    for (size_t i = 0; i < ARRAY_LEN(resets); i++)
        CU_ASSERT_EQUAL(grpc_status_of_reset(resets[i].code), resets[i].s);
    CU_ASSERT(grpc_content_ok("application/grpc") && grpc_content_ok("application/grpc+proto"));
    CU_ASSERT(grpc_content_ok("application/grpc;x"));
    CU_ASSERT_FALSE(grpc_content_ok("application/grpcweb") || grpc_content_ok("") || grpc_content_ok("text/plain"));
}

static void test_buf(void)
{
    struct grpc_buf b = { 0 };
    uint8_t next_in = 0, next_out = 0;
    bool right = true;
    for (unsigned round = 0; round < 2000; round++) {
        size_t in = round * 7919 % 300, out = round * 104729 % 310;
        uint8_t *to = grpc_buf_room(&b, in);
        for (size_t i = 0; i < in; i++)
            to[i] = next_in++;
        b.len += in;
        out = MIN(out, b.len);
        for (size_t i = 0; i < out; i++)
            right &= grpc_buf_data(&b)[i] == next_out++;
        if (out)
            grpc_buf_eat(&b, out);
    }
    CU_ASSERT(right);
    CU_ASSERT(b.room <= 1U << 16);
    CU_ASSERT_EQUAL(grpc_buf_add(&b, "x", 0), 0);
    grpc_buf_free(&b);
    grpc_buf_free(&b);
    AUTO_FREE uint8_t *big = mem_zalloc(1, 100000);
    CU_ASSERT_EQUAL(grpc_buf_add(&b, big, 100000), 0);
    grpc_buf_eat(&b, 100000);
    CU_ASSERT_EQUAL(b.room, 0); /* given back */
}

static bool is_zero(const uint8_t *p, size_t n)
{
    while (n > 0 && p[n - 1] == 0)
        n--;
    return n == 0;
}

/* Secrets pass through it. */
static void test_buf_is_wiped(void)
{
    struct grpc_buf b = { 0 };
    uint8_t secret[200];
    memset(secret, 's', sizeof(secret));
    CU_ASSERT_EQUAL_FATAL(grpc_buf_add(&b, secret, sizeof(secret)), 0);
    grpc_buf_eat(&b, 150);
    CU_ASSERT(b.at == 150 && is_zero(b.mem, 150));
    CU_ASSERT_PTR_EQUAL(grpc_buf_room(&b, 100), b.mem + 50); /* to the front */
    CU_ASSERT(b.len == 50 && is_zero(b.mem + 50, 150));
    grpc_buf_eat(&b, 50);
    CU_ASSERT_TRUE(is_zero(b.mem, 200));
    grpc_buf_free(&b);
}

UNIT_MAIN("grpc_wire", UNIT(test_frames), UNIT(test_texts), UNIT(test_timeouts), UNIT(test_statuses), UNIT(test_buf), UNIT(test_buf_is_wiped))
