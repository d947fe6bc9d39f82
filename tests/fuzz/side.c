#include "tests/fuzz/side.h"

#include "src/core/err.h"
#include "tests/fuzz/fuzz.h"

const uint8_t side_cookie[FRAME_COOKIE] = "0123456789abcdef";

static void reset_ring(struct ring *r)
{
    if (!r->base)
        FUZZ_CHECK(ring_init(r, SIDE_CAP, RING_PAGES_AUTO) == 0);
    r->put = r->sub = r->rel = 0;
    r->total = RING_NO_TOTAL;
    r->gate = UINT64_MAX;
    r->n_ext = 0;
}

static void check_ring(const struct ring *r)
{
    FUZZ_CHECK(r->rel <= r->sub && r->sub <= r->put && r->put <= r->rel + r->cap && r->put <= r->total);
    FUZZ_CHECK(r->n_ext <= RING_EXTENTS_MAX);
}

void side_begin(struct side *s, uint8_t whims)
{
    reset_ring(&s->rx);
    reset_ring(&s->tx);
    framed_init(&s->f, side_cookie, SIDE_CHUNK, whims & 4 ? SIDE_CAP : whims & 8 ? 4096 : 0);
    framed_set_rings(&s->f, whims & 1 ? &s->rx : NULL, whims & 2 ? &s->tx : NULL, whims & 16);
    s->f.keep = whims & 32;
}

static void fill_claim(struct side *s, const struct frame *in, bool in_parts)
{
    uint32_t first = in_parts ? in->len / 2 : in->len;
    memset(ring_at(&s->rx, in->a), 1, in->len);
    FUZZ_CHECK(framed_filled(&s->f, in->a, first) == 0);
    check_ring(&s->rx);
    if (first < in->len)
        FUZZ_CHECK(framed_filled(&s->f, in->a, in->len - first) == 0);
}

int side_take(struct side *s, const struct frame *in, bool in_parts)
{
    struct framed *f = &s->f;
    char text[80];
    uint64_t limit = f->limit, acked = f->acked;
    FUZZ_CHECK(strlen(frame_text(in, text)) < sizeof(text) - 1);
    int rc = framed_input(f, in);
    FUZZ_CHECK(rc == f->rc && (rc == 0 || (rc < 0 && *f->why)));
    FUZZ_CHECK(f->limit >= limit && f->acked >= acked && (!f->tx || f->acked <= s->tx.sub));
    if (rc == 0 && in->type == FRAME_DATA)
        fill_claim(s, in, in_parts);
    check_ring(&s->rx);
    check_ring(&s->tx);
    return rc;
}

void side_consume(struct side *s, unsigned sevenths)
{
    ring_submit(&s->rx, ring_waiting(&s->rx) * sevenths / 7);
    ring_release_to(&s->rx, s->rx.sub);
}

/* What is due may be sent, and keeps to what the peer allowed. */
void side_send(struct side *s, bool ends)
{
    struct frame out;
    if (s->f.tx && s->tx.total == RING_NO_TOTAL)
        ring_commit(&s->tx, ring_room(&s->tx) / 2);
    if (s->f.tx && ends)
        ring_end(&s->tx, s->tx.put);
    for (int i = 0; i < 4 && framed_next(&s->f, &out); i++) {
        uint8_t raw[FRAME_SIZE];
        struct frame back;
        frame_encode(&out, raw);
        FUZZ_CHECK(frame_decode(raw, &back) == 0);
        FUZZ_CHECK(out.type != FRAME_DATA || (out.len <= SIDE_CHUNK && out.a + out.len <= s->f.limit && s->f.hello_seen));
        FUZZ_CHECK(out.type != FRAME_LIMIT || (out.a == out.b + SIDE_CAP && out.b == s->rx.rel));
        FUZZ_CHECK(out.type != FRAME_EOS || out.a == s->tx.sub);
    }
    check_ring(&s->rx);
    check_ring(&s->tx);
}

void side_end(struct side *s)
{
    framed_disconnected(&s->f);
    FUZZ_CHECK(s->f.rc || !s->f.hello_seen || !framed_finished(&s->f) || !s->f.rx || ring_ended(&s->rx));
}
