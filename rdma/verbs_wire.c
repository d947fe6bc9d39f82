#include "rdma/verbs_wire.h"

#include "src/core/err.h"
#include "src/core/wire.h"

#define MAGIC 0x53535476U /* "SSTv" */
#define MTU_MAX 5         /* IBV_MTU_4096 */

void verbs_intro_encode(const struct verbs_intro *in, uint8_t out[VERBS_PRIVATE])
{
    struct wire w = wire_writer(out, VERBS_PRIVATE);
    wire_put_u32(&w, MAGIC);
    wire_put_u8(&w, VERBS_VERSION);
    wire_put_u8(&w, in->mtu);
    wire_put_u16(&w, in->receives);
    wire_put_bytes(&w, in->cookie, FRAME_COOKIE);
    wire_put_u64(&w, in->base);
    wire_put_u64(&w, in->size);
    wire_put_u32(&w, in->rkey);
    wire_put_u32(&w, in->chunk_max);
}

int verbs_intro_decode(const uint8_t *in, size_t n, struct verbs_intro *out)
{
    struct wire w = wire_reader(in, n);
    bool ours = wire_u32(&w) == MAGIC;
    uint8_t version = wire_u8(&w);
    out->mtu = wire_u8(&w);
    out->receives = wire_u16(&w);
    wire_bytes(&w, out->cookie, FRAME_COOKIE);
    out->base = wire_u64(&w);
    out->size = wire_u64(&w);
    out->rkey = wire_u32(&w);
    out->chunk_max = wire_u32(&w);
    if (w.bad || !ours)
        return -SST_EPROTO;
    if (version != VERBS_VERSION)
        return -SST_EVERSION;
    return out->mtu > MTU_MAX || out->receives < VERBS_RECEIVES_MIN || out->base + out->size < out->base ? -SST_EPROTO : 0;
}

void verbs_message_encode(const struct frame *f, uint64_t rq_total, uint8_t out[VERBS_MESSAGE])
{
    struct wire w = wire_writer(out + FRAME_SIZE, VERBS_MESSAGE - FRAME_SIZE);
    frame_encode(f, out);
    wire_put_u64(&w, rq_total);
}

int verbs_message_decode(const uint8_t *in, size_t n, struct frame *f, uint64_t *rq_total)
{
    if (n != VERBS_MESSAGE)
        return -SST_EPROTO;
    struct wire w = wire_reader(in + FRAME_SIZE, VERBS_MESSAGE - FRAME_SIZE);
    *rq_total = wire_u64(&w);
    return frame_decode(in, f);
}
