#include "src/core/base64url.h"

#include <errno.h>

void base64url_encode(char *out, const void *data, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *p = data;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | p[i];
        for (have += 8; have >= 6; have -= 6)
            *out++ = digits[bits >> (have - 6) & 63];
    }
    if (have > 0)
        *out++ = digits[bits << (6 - have) & 63];
    *out = 0;
}

static int digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

ssize_t base64url_decode(void *out, size_t size, const char *text, size_t n)
{
    uint8_t *to = out;
    uint32_t bits = 0;
    unsigned have = 0;
    if (n % 4 == 1 || BASE64URL_BYTES(n) > size)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        int v = digit_value(text[i]);
        if (v < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        *to++ = (uint8_t)(bits >> have);
        bits &= (1U << have) - 1;
    }
    return bits ? -EINVAL : (ssize_t)BASE64URL_BYTES(n);
}
