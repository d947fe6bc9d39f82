#include "src/core/wire.h"
#include "tests/lib/unit.h"

static void test_numbers(void)
{
    static const uint8_t expect[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f };
    uint8_t buf[15];
    struct wire w = wire_writer(buf, sizeof(buf));
    wire_put_u8(&w, 0x01);
    wire_put_u16(&w, 0x0203);
    wire_put_u32(&w, 0x04050607);
    wire_put_u64(&w, 0x08090a0b0c0d0e0f);
    CU_ASSERT_FALSE(w.bad);
    CU_ASSERT_EQUAL(wire_left(&w), 0);
    CU_ASSERT_EQUAL(memcmp(buf, expect, sizeof(buf)), 0);

    struct wire r = wire_reader(buf, sizeof(buf));
    CU_ASSERT_EQUAL(wire_u8(&r), 0x01);
    CU_ASSERT_EQUAL(wire_u16(&r), 0x0203);
    CU_ASSERT_EQUAL(wire_u32(&r), 0x04050607);
    CU_ASSERT_EQUAL(wire_u64(&r), 0x08090a0b0c0d0e0f);
    CU_ASSERT_FALSE(r.bad);
}

static void test_extremes(void)
{
    uint8_t buf[15];
    struct wire w = wire_writer(buf, sizeof(buf)), r = wire_reader(buf, sizeof(buf));
    wire_put_u8(&w, UINT8_MAX);
    wire_put_u16(&w, UINT16_MAX);
    wire_put_u32(&w, UINT32_MAX);
    wire_put_u64(&w, UINT64_MAX);
    CU_ASSERT_EQUAL(wire_u8(&r), UINT8_MAX);
    CU_ASSERT_EQUAL(wire_u16(&r), UINT16_MAX);
    CU_ASSERT_EQUAL(wire_u32(&r), UINT32_MAX);
    CU_ASSERT_EQUAL(wire_u64(&r), UINT64_MAX);
}

static void test_bytes(void)
{
    uint8_t buf[6];
    char out[4] = "xyz";
    struct wire w = wire_writer(buf, sizeof(buf));
    wire_put_bytes(&w, "abc", 3);
    wire_put_bytes(&w, NULL, 0);
    wire_put_bytes(&w, "def", 3);
    struct wire r = wire_reader(buf, sizeof(buf));
    wire_bytes(&r, out, 3);
    CU_ASSERT_STRING_EQUAL(out, "abc");
    CU_ASSERT_PTR_EQUAL(wire_take(&r, 2), buf + 3);
    CU_ASSERT_EQUAL(wire_left(&r), 1);
    CU_ASSERT_EQUAL(wire_u8(&r), 'f');
    CU_ASSERT_FALSE(w.bad || r.bad);
}

/* One too many: zeros from then on, and nothing is consumed although a smaller read would fit. */
static void test_sticky_reader(void)
{
    static const uint8_t data[3] = { 0xff, 0xff, 0xff };
    char out[2] = { 'x', 'y' };
    struct wire r = wire_reader(data, sizeof(data));
    CU_ASSERT_EQUAL(wire_u32(&r), 0);
    CU_ASSERT_TRUE(r.bad);
    CU_ASSERT_EQUAL(wire_u8(&r), 0);
    CU_ASSERT_EQUAL(wire_u16(&r), 0);
    CU_ASSERT_EQUAL(wire_u64(&r), 0);
    wire_bytes(&r, out, 2);
    CU_ASSERT(out[0] == 0 && out[1] == 0);
    CU_ASSERT_PTR_NULL(wire_take(&r, 0));
    CU_ASSERT_EQUAL(wire_left(&r), 3);
}

static void test_sticky_writer(void)
{
    uint8_t buf[3] = { 7, 7, 7 };
    struct wire w = wire_writer(buf, sizeof(buf));
    wire_put_u16(&w, 0x0102);
    wire_put_u16(&w, 0x0304);
    wire_put_u8(&w, 5);
    CU_ASSERT_TRUE(w.bad);
    CU_ASSERT(buf[0] == 1 && buf[1] == 2 && buf[2] == 7);
}

static void test_huge_length(void)
{
    uint8_t buf[8] = { 0 };
    struct wire r = wire_reader(buf, sizeof(buf));
    wire_u32(&r);
    CU_ASSERT_PTR_NULL(wire_take(&r, SIZE_MAX));
    CU_ASSERT_TRUE(r.bad);
}

static void test_empty(void)
{
    struct wire r = wire_reader(NULL, 0);
    CU_ASSERT_EQUAL(wire_left(&r), 0);
    CU_ASSERT_EQUAL(wire_u8(&r), 0);
    CU_ASSERT_TRUE(r.bad);
}

UNIT_MAIN("wire", UNIT(test_numbers), UNIT(test_extremes), UNIT(test_bytes), UNIT(test_sticky_reader), UNIT(test_sticky_writer),
          UNIT(test_huge_length), UNIT(test_empty))
