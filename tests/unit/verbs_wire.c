/* What the verbs carriage says: images as scistream-protocol(7) draws them, and what is refused. */
#include "rdma/verbs_wire.h"
#include "src/core/err.h"
#include "tests/lib/unit.h"

static const struct verbs_intro intro = { .mtu = 4, .receives = 128, .cookie = "sixteen bytes!!", .base = 0x1122334455667788ULL, .size = 0x100000,
                                          .rkey = 0xa1b2c3d4U, .chunk_max = 0x40000 };

static void test_image(void)
{
    uint8_t out[VERBS_PRIVATE];
    static const uint8_t head[] = { 'S', 'S', 'T', 'v', 1, 4, 0, 128, 's', 'i', 'x' };
    static const uint8_t tail[] = { 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0, 0, 0, 0, 0, 0x10, 0, 0, 0xa1, 0xb2, 0xc3, 0xd4, 0, 4, 0, 0 };
    verbs_intro_encode(&intro, out);
    CU_ASSERT_EQUAL(memcmp(out, head, sizeof(head)), 0);
    CU_ASSERT_EQUAL(memcmp(out + 24, tail, sizeof(tail)), 0);
}

static void test_round_trip(void)
{
    uint8_t out[VERBS_PRIVATE + 8] = { 0 };
    struct verbs_intro in;
    verbs_intro_encode(&intro, out);
    CU_ASSERT_EQUAL(verbs_intro_decode(out, sizeof(out), &in), 0); /* rdma_cm pads */
    CU_ASSERT(in.mtu == intro.mtu && in.receives == intro.receives && memcmp(in.cookie, intro.cookie, FRAME_COOKIE) == 0);
    CU_ASSERT(in.base == intro.base && in.size == intro.size && in.rkey == intro.rkey && in.chunk_max == intro.chunk_max);
}

static int decode_changed(size_t at, uint8_t to)
{
    uint8_t out[VERBS_PRIVATE];
    struct verbs_intro in;
    verbs_intro_encode(&intro, out);
    out[at] = to;
    return verbs_intro_decode(out, sizeof(out), &in);
}

static void test_refused(void)
{
    uint8_t out[VERBS_PRIVATE];
    struct verbs_intro in, wraps = intro;
    verbs_intro_encode(&intro, out);
    for (size_t n = 0; n < VERBS_PRIVATE; n++)
        CU_ASSERT_EQUAL(verbs_intro_decode(out, n, &in), -SST_EPROTO);
    CU_ASSERT_EQUAL(decode_changed(0, 'x'), -SST_EPROTO);
    CU_ASSERT_EQUAL(decode_changed(4, 2), -SST_EVERSION);
    for (uint8_t mtu = 0; mtu <= 5; mtu++)
        CU_ASSERT_EQUAL(decode_changed(5, mtu), 0);
    CU_ASSERT_EQUAL(decode_changed(5, 6), -SST_EPROTO); /* no such path MTU */
    CU_ASSERT_EQUAL(decode_changed(5, 0x80), -SST_EPROTO);
    CU_ASSERT_EQUAL(decode_changed(7, VERBS_RECEIVES_MIN - 1), -SST_EPROTO);
    wraps.base = UINT64_MAX - 5;
    verbs_intro_encode(&wraps, out);
    CU_ASSERT_EQUAL(verbs_intro_decode(out, sizeof(out), &in), -SST_EPROTO);
}

static void test_message(void)
{
    const struct frame f = { .type = FRAME_DATA, .len = 7, .a = 4096 };
    uint8_t out[VERBS_MESSAGE];
    struct frame in;
    uint64_t total = 0;
    verbs_message_encode(&f, 1ULL << 40, out);
    CU_ASSERT_EQUAL(verbs_message_decode(out, sizeof(out), &in, &total), 0);
    CU_ASSERT(total == 1ULL << 40 && in.type == FRAME_DATA && in.len == 7 && in.a == 4096);
    CU_ASSERT_EQUAL(verbs_message_decode(out, sizeof(out) - 1, &in, &total), -SST_EPROTO);
    out[0] = 99;
    CU_ASSERT_EQUAL(verbs_message_decode(out, sizeof(out), &in, &total), -SST_EPROTO);
}

UNIT_MAIN("verbs_wire", UNIT(test_image), UNIT(test_round_trip), UNIT(test_refused), UNIT(test_message))
