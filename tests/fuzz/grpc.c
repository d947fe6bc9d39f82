/* The small formats of gRPC. The first byte chooses one, the rest is its input. */
#include "ctrl/grpc_wire.h"
#include "tests/fuzz/fuzz.h"

static void frames(const uint8_t *p, size_t n)
{
    struct grpc_frame f;
    for (const size_t max = 1000; n > 0;) {
        enum grpc_frame_kind k = grpc_frame_parse(p, n, max, &f);
        FUZZ_CHECK((f.data != NULL) == (k == GRPC_FRAME_WHOLE));
        FUZZ_CHECK(k != GRPC_FRAME_TOO_BIG || f.len > max);
        if (k != GRPC_FRAME_WHOLE)
            return;
        uint8_t prefix[GRPC_PREFIX];
        grpc_frame_prefix(prefix, f.len);
        FUZZ_CHECK(f.len <= max && f.data == p + GRPC_PREFIX && GRPC_PREFIX + (size_t)f.len <= n);
        FUZZ_CHECK(memcmp(prefix, p, GRPC_PREFIX) == 0);
        p += GRPC_PREFIX + f.len;
        n -= GRPC_PREFIX + f.len;
    }
}

static void texts(const char *text)
{
    char plain[GRPC_TEXT_MAX + 1], coded[GRPC_TEXT_ENCODED], again[GRPC_TEXT_MAX + 1];
    grpc_text_decode(plain, sizeof(plain), text);
    for (const char *c = plain; *c; c++)
        FUZZ_CHECK((uint8_t)*c >= ' ' && *c != 0x7f);
    grpc_text_encode(coded, plain);
    for (const char *c = coded; *c; c++)
        FUZZ_CHECK(*c >= ' ' && *c <= '~');
    grpc_text_decode(again, sizeof(again), coded);
    FUZZ_CHECK(str_eq(again, plain));
    grpc_text_encode(coded, text); /* any bytes */
}

static void timeouts(const char *text)
{
    char out[GRPC_TIMEOUT_TEXT];
    uint64_t ns = 0, again = 0;
    if (grpc_timeout_parse(text, &ns) < 0)
        return;
    grpc_timeout_format(out, ns);
    FUZZ_CHECK(grpc_timeout_parse(out, &again) == 0 && again >= ns);
}

static void words(const char *text)
{
    enum grpc_status s = grpc_status_parse(text);
    FUZZ_CHECK(s >= GRPC_OK && s <= GRPC_UNAUTHENTICATED && !str_eq(grpc_status_name(s), ""));
    FUZZ_CHECK(!grpc_content_ok(text) || str_starts(text, "application/grpc"));
    grpc_status_of_http(atoi(text));
    grpc_status_of_reset((uint32_t)atoi(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    AUTO_FREE char *text = fuzz_text(data + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
        frames(data + 1, size - 1);
        break;
    case 1:
        texts(text);
        break;
    case 2:
        timeouts(text);
        break;
    default:
        words(text);
        break;
    }
    return 0;
}
