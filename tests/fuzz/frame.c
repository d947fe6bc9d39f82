/* Frames of a peer, one after the other, on real rings; in between our side consumes and sends. What the protocol promises holds
 * whatever the peer says.
 *
 * The first byte: which directions there are. Then records: a byte of whims, 32 bytes of a frame. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/side.h"

static struct side s;

static void take(const uint8_t *raw, uint8_t whim)
{
    struct frame in;
    if (frame_decode(raw, &in) < 0)
        framed_garbage(&s.f, raw);
    else
        side_take(&s, &in, whim & 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    side_begin(&s, data[0]);
    for (size_t at = 1; at + 1 + FRAME_SIZE <= size && s.f.rc == 0; at += 1 + FRAME_SIZE) {
        take(data + at + 1, data[at]);
        side_consume(&s, data[at] & 7);
        side_send(&s, data[at] == 0xff);
    }
    side_end(&s);
    return 0;
}
