#include "ctrl/strings.h"

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static bool varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
        uint8_t byte = *(*p)++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

/* How many bytes stand behind a tag of that type. */
static bool length(const uint8_t **p, const uint8_t *end, unsigned type, uint64_t *out)
{
    *out = type == FIXED64 ? 8 : 4;
    if (type == FIXED64 || type == FIXED32)
        return true;
    if ((type != VARINT && type != BYTES) || !varint(p, end, out))
        return false;
    if (type == VARINT)
        *out = 0;
    return true;
}

bool strings_whole(const uint8_t *data, size_t len)
{
    const uint8_t *p = data, *end = data + len;
    uint64_t tag, n;
    for (; p < end; p += n) {
        if (!varint(&p, end, &tag) || !length(&p, end, tag & 7, &n) || n > (uint64_t)(end - p))
            return false;
        if ((tag & 7) == BYTES && memchr(p, 0, n))
            return false;
    }
    return true;
}
