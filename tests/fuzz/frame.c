/* Frames of a peer, one after the other, on real rings; in between our side consumes and sends. What the protocol promises holds
 * whatever the peer says.
 *
 * The first byte: which directions there are. Then records: a byte of whims, 32 bytes of a frame. */
#include "src/core/err.h"
#include "src/seam/framed.h"
#include "tests/fuzz/fuzz.h"

#define CAP 65536
#define CHUNK 16384

static struct ring rx, tx;
static struct framed f;
static const uint8_t cookie[FRAME_COOKIE] = "0123456789abcdef";

static void reset_ring(struct ring *r)
{
    if (!r->base)
        FUZZ_CHECK(ring_init(r, CAP, RING_PAGES_AUTO) == 0);
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

static void fill_claim(const struct frame *in, bool in_parts)
{
    uint32_t first = in_parts ? in->len / 2 : in->len;
    memset(ring_at(&rx, in->a), 1, in->len);
    FUZZ_CHECK(framed_filled(&f, in->a, first) == 0);
    check_ring(&rx);
    if (first < in->len)
        FUZZ_CHECK(framed_filled(&f, in->a, in->len - first) == 0);
}

static void consume(uint8_t whim)
{
    size_t n = ring_waiting(&rx) * (whim & 7) / 7;
    ring_submit(&rx, n);
    ring_release_to(&rx, rx.sub);
}

/* What is due may be sent, and keeps to what the peer allowed. */
static void send_some(uint8_t whim)
{
    struct frame out;
    if (f.tx && tx.total == RING_NO_TOTAL)
        ring_commit(&tx, ring_room(&tx) / 2);
    if (f.tx && whim == 0xff)
        ring_end(&tx, tx.put);
    for (int i = 0; i < 4 && framed_next(&f, &out); i++) {
        uint8_t raw[FRAME_SIZE];
        struct frame back;
        frame_encode(&out, raw);
        FUZZ_CHECK(frame_decode(raw, &back) == 0);
        FUZZ_CHECK(out.type != FRAME_DATA || (out.len <= CHUNK && out.a + out.len <= f.limit && f.hello_seen));
        FUZZ_CHECK(out.type != FRAME_LIMIT || (out.a == out.b + CAP && out.b == rx.rel));
        FUZZ_CHECK(out.type != FRAME_EOS || out.a == tx.sub);
    }
}

static void take(const uint8_t *raw, uint8_t whim)
{
    struct frame in;
    char text[80];
    uint64_t limit = f.limit, acked = f.acked;
    if (frame_decode(raw, &in) < 0) {
        framed_garbage(&f, raw);
        return;
    }
    FUZZ_CHECK(strlen(frame_text(&in, text)) < sizeof(text) - 1);
    int rc = framed_input(&f, &in);
    FUZZ_CHECK(rc == f.rc && (rc == 0 || (rc < 0 && *f.why)));
    FUZZ_CHECK(f.limit >= limit && f.acked >= acked && (!f.tx || f.acked <= tx.sub));
    if (rc == 0 && in.type == FRAME_DATA)
        fill_claim(&in, whim & 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    reset_ring(&rx);
    reset_ring(&tx);
    framed_init(&f, cookie, CHUNK, data[0] & 4 ? CAP : data[0] & 8 ? 4096 : 0);
    framed_set_rings(&f, data[0] & 1 ? &rx : NULL, data[0] & 2 ? &tx : NULL, data[0] & 16);
    f.keep = data[0] & 32;
    for (size_t at = 1; at + 1 + FRAME_SIZE <= size && f.rc == 0; at += 1 + FRAME_SIZE) {
        take(data + at + 1, data[at]);
        consume(data[at]);
        send_some(data[at]);
        check_ring(&rx);
        check_ring(&tx);
    }
    framed_disconnected(&f);
    FUZZ_CHECK(f.rc || !f.hello_seen || !framed_finished(&f) || (!f.rx || ring_ended(&rx)));
    return 0;
}
