/* The input is a program: its first half says what to read, its second half is what is read. */
#include "src/core/wire.h"
#include "tests/fuzz/fuzz.h"

struct trial { struct wire r, w; const uint8_t *p, *end; bool bad; };

/* The model's own reading of n bytes: 0 once anything was missing. */
static uint64_t model(struct trial *t, size_t n)
{
    uint64_t v = 0;
    if (t->bad || n > (size_t)(t->end - t->p)) {
        t->bad = true;
        return 0;
    }
    for (size_t i = 0; i < n; i++)
        v = v << 8 | *t->p++;
    return v;
}

static void number(struct trial *t, unsigned size)
{
    uint64_t v;
    switch (size) {
    case 1:
        wire_put_u8(&t->w, (uint8_t)(v = wire_u8(&t->r)));
        break;
    case 2:
        wire_put_u16(&t->w, (uint16_t)(v = wire_u16(&t->r)));
        break;
    case 4:
        wire_put_u32(&t->w, (uint32_t)(v = wire_u32(&t->r)));
        break;
    default:
        wire_put_u64(&t->w, v = wire_u64(&t->r));
        break;
    }
    FUZZ_CHECK(v == model(t, size));
}

static void bytes(struct trial *t, size_t n)
{
    uint8_t copy[64];
    memset(copy, 0xaa, sizeof(copy));
    wire_bytes(&t->r, copy, n);
    for (size_t i = 0; i < n && t->r.bad; i++)
        FUZZ_CHECK(copy[i] == 0);
    FUZZ_CHECK(copy[n] == 0xaa);
    wire_put_bytes(&t->w, copy, n);
    bool fits = !t->bad && n <= (size_t)(t->end - t->p);
    t->bad = !fits;
    t->p += fits ? n : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n = size / 2, left = size - n;
    const uint8_t *content = data + n;
    AUTO_FREE uint8_t *copy = mem_zalloc(left + 1, 1);
    struct trial t = { wire_reader(content, left), wire_writer(copy, left), content, content + left, false };
    for (size_t i = 0; i < n; i++) {
        if (data[i] & 0xc0)
            bytes(&t, data[i] & 0x3f);
        else
            number(&t, 1u << (data[i] & 3));
        FUZZ_CHECK(t.r.bad == t.bad && wire_left(&t.r) == (size_t)(t.end - t.p));
    }
    /* what was read well was written the same */
    FUZZ_CHECK(memcmp(copy, content, left - wire_left(&t.r)) == 0 && copy[left] == 0);
    return 0;
}
