#include "src/seam/frame.h"

#include <stdio.h>

#include "src/core/err.h"
#include "src/core/wire.h"

void frame_encode(const struct frame *f, uint8_t out[FRAME_SIZE])
{
    struct wire w = wire_writer(out, FRAME_SIZE);
    wire_put_u8(&w, f->type);
    wire_put_u8(&w, f->flow);
    wire_put_u16(&w, 0);
    wire_put_u32(&w, f->len);
    wire_put_u64(&w, f->a);
    wire_put_u64(&w, f->b);
    wire_put_u64(&w, f->c);
}

/* Which of len, b and c a type uses: the others must be 0, so that they can mean something one day. */
static const struct { bool known, len, b, c; } uses[] = {
    [FRAME_HELLO] = { true, false, true, true },   [FRAME_DATA] = { true, true, false, false },
    [FRAME_LIMIT] = { true, false, true, false },  [FRAME_EOS] = { true, false, false, false },
    [FRAME_RESET] = { true, false, false, false },
};

int frame_decode(const uint8_t in[FRAME_SIZE], struct frame *f)
{
    struct wire w = wire_reader(in, FRAME_SIZE);
    f->type = wire_u8(&w);
    f->flow = wire_u8(&w);
    uint16_t flags = wire_u16(&w);
    f->len = wire_u32(&w);
    f->a = wire_u64(&w);
    f->b = wire_u64(&w);
    f->c = wire_u64(&w);
    if (f->type >= ARRAY_LEN(uses) || !uses[f->type].known || f->flow > 1 || flags)
        return -SST_EPROTO;
    if (uses[f->type].len != (f->len != 0) || (!uses[f->type].b && f->b) || (!uses[f->type].c && f->c))
        return -SST_EPROTO;
    return 0;
}

struct frame frame_hello(const uint8_t cookie[FRAME_COOKIE])
{
    struct wire w = wire_reader(cookie, FRAME_COOKIE);
    uint64_t b = wire_u64(&w), c = wire_u64(&w);
    return (struct frame){ .type = FRAME_HELLO, .a = (uint64_t)FRAME_VERSION << 32, .b = b, .c = c };
}

void frame_cookie(const struct frame *f, uint8_t out[FRAME_COOKIE])
{
    struct wire w = wire_writer(out, FRAME_COOKIE);
    wire_put_u64(&w, f->b);
    wire_put_u64(&w, f->c);
}

const char *frame_text(const struct frame *f, char out[80])
{
    switch (f->type) {
    case FRAME_HELLO: snprintf(out, 80, "HELLO version %u", (unsigned)(f->a >> 32)); break;
    case FRAME_DATA: snprintf(out, 80, "DATA [%llu, +%u)", (unsigned long long)f->a, f->len); break;
    case FRAME_LIMIT: snprintf(out, 80, "LIMIT %llu, consumed %llu", (unsigned long long)f->a, (unsigned long long)f->b); break;
    case FRAME_EOS: snprintf(out, 80, "EOS %llu", (unsigned long long)f->a); break;
    case FRAME_RESET: snprintf(out, 80, "RESET %llu", (unsigned long long)f->a); break;
    default: snprintf(out, 80, "unknown type %u", f->type); break;
    }
    return out;
}
