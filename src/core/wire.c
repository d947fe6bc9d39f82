#include "src/core/wire.h"

#include <endian.h>

uint8_t *wire_take(struct wire *w, size_t n)
{
    if (w->bad || n > wire_left(w)) {
        w->bad = true;
        return NULL;
    }
    uint8_t *at = w->p;
    w->p += n;
    return at;
}

void wire_bytes(struct wire *w, void *to, size_t n)
{
    const uint8_t *at = wire_take(w, n);
    if (n == 0)
        return;
    if (at)
        memcpy(to, at, n);
    else
        memset(to, 0, n);
}

void wire_put_bytes(struct wire *w, const void *from, size_t n)
{
    uint8_t *at = wire_take(w, n);
    if (at && n > 0)
        memcpy(at, from, n);
}

uint8_t wire_u8(struct wire *w)
{
    uint8_t v;
    wire_bytes(w, &v, sizeof(v));
    return v;
}

uint16_t wire_u16(struct wire *w)
{
    uint16_t v;
    wire_bytes(w, &v, sizeof(v));
    return be16toh(v);
}

uint32_t wire_u32(struct wire *w)
{
    uint32_t v;
    wire_bytes(w, &v, sizeof(v));
    return be32toh(v);
}

uint64_t wire_u64(struct wire *w)
{
    uint64_t v;
    wire_bytes(w, &v, sizeof(v));
    return be64toh(v);
}

void wire_put_u8(struct wire *w, uint8_t v)
{
    wire_put_bytes(w, &v, sizeof(v));
}

void wire_put_u16(struct wire *w, uint16_t v)
{
    v = htobe16(v);
    wire_put_bytes(w, &v, sizeof(v));
}

void wire_put_u32(struct wire *w, uint32_t v)
{
    v = htobe32(v);
    wire_put_bytes(w, &v, sizeof(v));
}

void wire_put_u64(struct wire *w, uint64_t v)
{
    v = htobe64(v);
    wire_put_bytes(w, &v, sizeof(v));
}
