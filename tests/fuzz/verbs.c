/* What a peer says over verbs: the private data of its connection, then messages, each of which ends a receive of ours; taken as
 * rdma/verbs_qp.c takes them, on real rings.
 *
 * The first byte: which directions there are. The second: how many bytes the private data has. Then records: a byte of whims, a byte with
 * the length of the message, the message. */
#include "rdma/verbs_wire.h"
#include "src/core/err.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/side.h"

static struct side s;
static uint64_t rq_total; /* that the peer told */

/* What is taken says again what was told; nothing is read beyond the end: the copy is of that size. */
static bool take_intro(const uint8_t *data, size_t n)
{
    AUTO_FREE uint8_t *private = mem_zalloc(MAX(n, (size_t)1), 1);
    uint8_t again[VERBS_PRIVATE];
    struct verbs_intro in;
    memcpy(private, data, n);
    int rc = verbs_intro_decode(private, n, &in);
    FUZZ_CHECK(rc == 0 || rc == -SST_EPROTO || rc == -SST_EVERSION);
    if (rc < 0)
        return false;
    FUZZ_CHECK(n >= VERBS_PRIVATE && in.receives >= VERBS_RECEIVES_MIN && in.base + in.size >= in.base);
    verbs_intro_encode(&in, again);
    FUZZ_CHECK(memcmp(again, private, sizeof(again)) == 0);
    rq_total = in.receives;
    return true;
}

/* False: the connection is of no use any more. */
static bool take_message(const uint8_t *data, size_t n, uint8_t whim)
{
    AUTO_FREE uint8_t *slot = mem_zalloc(MAX(n, (size_t)VERBS_MESSAGE), 1); /* a receive has room for a whole one */
    uint8_t again[VERBS_MESSAGE];
    struct frame in;
    uint64_t total = 0;
    memcpy(slot, data, n);
    int rc = verbs_message_decode(slot, n, &in, &total);
    FUZZ_CHECK(rc == 0 || rc == -SST_EPROTO);
    if (rc < 0) {
        framed_garbage(&s.f, slot);
        return false;
    }
    verbs_message_encode(&in, total, again);
    FUZZ_CHECK(n == VERBS_MESSAGE && memcmp(again, slot, n) == 0);
    if (total < rq_total)
        return false;
    rq_total = total;
    return side_take(&s, &in, whim & 8) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size - 2 < data[1])
        return 0;
    side_begin(&s, data[0]);
    size_t at = 2 + (size_t)data[1];
    if (!take_intro(data + 2, data[1]))
        return 0;
    while (at + 2 <= size && size - at - 2 >= data[at + 1]) {
        uint8_t whim = data[at], n = data[at + 1];
        if (!take_message(data + at + 2, n, whim))
            break;
        side_consume(&s, whim & 7);
        side_send(&s, whim == 0xff);
        at += 2 + (size_t)n;
    }
    side_end(&s);
    return 0;
}
