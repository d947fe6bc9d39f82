#include <errno.h>

#include "src/core/base64url.h"
#include "tests/lib/unit.h"

/* RFC 4648 10, and the two characters that differ from base64. */
static void test_known(void)
{
    static const struct { const char *bytes, *text; } known[] = {
        { "", "" }, { "f", "Zg" }, { "fo", "Zm8" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg" }, { "fooba", "Zm9vYmE" }, { "foobar", "Zm9vYmFy" },
        { "\xfb\xff\xbf", "-_-_" },
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        char text[12];
        uint8_t back[8];
        size_t n = strlen(known[i].bytes), chars = strlen(known[i].text);
        base64url_encode(text, known[i].bytes, n);
        CU_ASSERT_STRING_EQUAL(text, known[i].text);
        CU_ASSERT_EQUAL(BASE64URL_CHARS(n), chars);
        CU_ASSERT_EQUAL(BASE64URL_BYTES(chars), n);
        CU_ASSERT_EQUAL(base64url_decode(back, sizeof(back), known[i].text, chars), (ssize_t)n);
        CU_ASSERT_EQUAL(memcmp(back, known[i].bytes, n), 0);
    }
}

static void test_round_trip(void)
{
    uint8_t bytes[256], back[256];
    char text[BASE64URL_CHARS(256) + 1];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 167);
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        memset(text, 'x', sizeof(text));
        base64url_encode(text, bytes, n);
        CU_ASSERT_EQUAL(strlen(text), BASE64URL_CHARS(n));
        CU_ASSERT_EQUAL(base64url_decode(back, n, text, strlen(text)), (ssize_t)n);
        CU_ASSERT_EQUAL(memcmp(back, bytes, n), 0);
    }
}

static void test_refused(void)
{
    /* padding, base64's own characters, impossible lengths, bits behind the last byte */
    static const char *const bad[] = { "Zg==", "Zm8=", "++++", "////", "Z", "Zm9vY", "Zh", "Zm9", "Zm9vY!", "Zm 9", "Zm9\n", "Zm\x80v" };
    uint8_t out[8];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_EQUAL(base64url_decode(out, sizeof(out), bad[i], strlen(bad[i])), -EINVAL);
    CU_ASSERT_EQUAL(base64url_decode(out, 4, "Zm9vYmE", 7), -EINVAL); /* 5 bytes */
    CU_ASSERT_EQUAL(base64url_decode(out, 5, "Zm9vYmE", 7), 5);
    CU_ASSERT_EQUAL(base64url_decode(out, 1, "Zg\0v", 4), -EINVAL);
}

UNIT_MAIN("base64url", UNIT(test_known), UNIT(test_round_trip), UNIT(test_refused))
