#include "src/core/err.h"
#include "src/seam/frame.h"
#include "tests/lib/unit.h"

static const uint8_t cookie[FRAME_COOKIE] = "0123456789abcdef";

static int decode_changed(const struct frame *f, size_t at, uint8_t value)
{
    uint8_t raw[FRAME_SIZE];
    struct frame back;
    frame_encode(f, raw);
    raw[at] = value;
    return frame_decode(raw, &back);
}

/* The image on the wire is what scistream-protocol(7) draws. */
static void test_image(void)
{
    static const uint8_t want[FRAME_SIZE] = { 2, 1, 0, 0, 0, 1, 2, 3, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18 };
    const struct frame f = { .type = FRAME_DATA, .flow = 1, .len = 0x010203, .a = 0x1112131415161718 };
    uint8_t raw[FRAME_SIZE];
    frame_encode(&f, raw);
    CU_ASSERT_EQUAL(memcmp(raw, want, FRAME_SIZE), 0);
    const struct frame limit = { .type = FRAME_LIMIT, .a = 1, .b = 2 };
    frame_encode(&limit, raw);
    CU_ASSERT(raw[0] == 3 && raw[15] == 1 && raw[23] == 2 && raw[31] == 0);
}

static void test_round_trip(void)
{
    const struct frame all[] = {
        frame_hello(cookie),
        { .type = FRAME_DATA, .flow = 1, .len = UINT32_MAX, .a = UINT64_MAX },
        { .type = FRAME_DATA, .len = 1 },
        { .type = FRAME_LIMIT, .flow = 1, .a = UINT64_MAX, .b = UINT64_MAX - 1 },
        { .type = FRAME_EOS, .a = 1ULL << 63 },
        { .type = FRAME_RESET, .flow = 1, .a = 27 },
    };
    uint8_t raw[FRAME_SIZE];
    struct frame back;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        frame_encode(&all[i], raw);
        CU_ASSERT_EQUAL(frame_decode(raw, &back), 0);
        CU_ASSERT(back.type == all[i].type && back.flow == all[i].flow && back.len == all[i].len);
        CU_ASSERT(back.a == all[i].a && back.b == all[i].b && back.c == all[i].c);
    }
}

static void test_hello(void)
{
    struct frame f = frame_hello(cookie);
    uint8_t out[FRAME_COOKIE], raw[FRAME_SIZE];
    CU_ASSERT(f.type == FRAME_HELLO && f.flow == 0 && f.len == 0);
    CU_ASSERT_EQUAL(f.a, (uint64_t)FRAME_VERSION << 32);
    frame_cookie(&f, out);
    CU_ASSERT_EQUAL(memcmp(out, cookie, FRAME_COOKIE), 0);
    frame_encode(&f, raw);
    CU_ASSERT_EQUAL(memcmp(raw + 16, cookie, FRAME_COOKIE), 0);
    CU_ASSERT_EQUAL(memcmp(raw, "\1\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0", 16), 0);
}

static void test_types_refused(void)
{
    const struct frame f = { .type = FRAME_EOS, .a = 5 };
    for (unsigned type = 0; type < 256; type++)
        CU_ASSERT_EQUAL(decode_changed(&f, 0, (uint8_t)type) == 0,
                        type == FRAME_HELLO || type == FRAME_LIMIT || type == FRAME_EOS || type == FRAME_RESET);
}

static void test_header_refused(void)
{
    const struct frame f = { .type = FRAME_EOS, .a = 5 };
    CU_ASSERT_EQUAL(decode_changed(&f, 1, 1), 0);
    for (unsigned flow = 2; flow < 256; flow++)
        CU_ASSERT_EQUAL(decode_changed(&f, 1, (uint8_t)flow), -SST_EPROTO);
    for (unsigned bit = 0; bit < 8; bit++) {
        CU_ASSERT_EQUAL(decode_changed(&f, 2, (uint8_t)(1u << bit)), -SST_EPROTO);
        CU_ASSERT_EQUAL(decode_changed(&f, 3, (uint8_t)(1u << bit)), -SST_EPROTO);
    }
}

/* What a type does not use must be 0. */
static void test_unused_refused(void)
{
    const struct frame hello = frame_hello(cookie), data = { .type = FRAME_DATA, .len = 9 }, limit = { .type = FRAME_LIMIT },
                       eos = { .type = FRAME_EOS }, reset = { .type = FRAME_RESET };
    const struct frame *const no_len[] = { &hello, &limit, &eos, &reset }, *const no_b[] = { &data, &eos, &reset },
                              *const no_c[] = { &data, &limit, &eos, &reset };
    for (size_t at = 4; at < 8; at++)
        for (size_t i = 0; i < ARRAY_LEN(no_len); i++)
            CU_ASSERT_EQUAL(decode_changed(no_len[i], at, 1), -SST_EPROTO);
    for (size_t at = 16; at < 24; at++)
        for (size_t i = 0; i < ARRAY_LEN(no_b); i++)
            CU_ASSERT_EQUAL(decode_changed(no_b[i], at, 1), -SST_EPROTO);
    for (size_t at = 24; at < 32; at++)
        for (size_t i = 0; i < ARRAY_LEN(no_c); i++)
            CU_ASSERT_EQUAL(decode_changed(no_c[i], at, 1), -SST_EPROTO);
    CU_ASSERT_EQUAL(decode_changed(&data, 7, 0), -SST_EPROTO); /* an empty DATA */
    CU_ASSERT_EQUAL(decode_changed(&limit, 20, 7), 0);
    CU_ASSERT_EQUAL(decode_changed(&hello, 24, 7), 0);
}

static void test_text(void)
{
    char text[80];
    const struct frame hello = frame_hello(cookie), data = { .type = FRAME_DATA, .a = 4096, .len = 65536 },
                       limit = { .type = FRAME_LIMIT, .a = UINT64_MAX, .b = UINT64_MAX }, eos = { .type = FRAME_EOS, .a = 7 },
                       reset = { .type = FRAME_RESET, .a = 2 }, other = { .type = 99 };
    CU_ASSERT_STRING_EQUAL(frame_text(&hello, text), "HELLO version 1");
    CU_ASSERT_STRING_EQUAL(frame_text(&data, text), "DATA [4096, +65536)");
    CU_ASSERT_STRING_EQUAL(frame_text(&limit, text), "LIMIT 18446744073709551615, consumed 18446744073709551615");
    CU_ASSERT_STRING_EQUAL(frame_text(&eos, text), "EOS 7");
    CU_ASSERT_STRING_EQUAL(frame_text(&reset, text), "RESET 2");
    CU_ASSERT_STRING_EQUAL(frame_text(&other, text), "unknown type 99");
}

UNIT_MAIN("frame", UNIT(test_image), UNIT(test_round_trip), UNIT(test_hello), UNIT(test_types_refused), UNIT(test_header_refused),
          UNIT(test_unused_refused), UNIT(test_text))
