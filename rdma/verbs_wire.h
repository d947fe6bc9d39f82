/* What the verbs carriage says outside the flow protocol: the private data of rdma_connect and rdma_accept, and the message of a SEND.
 *
 *   private data, 48 of the 56 bytes that InfiniBand leaves beside rdma_cm's own (big endian):
 *     0 magic "SSTv"   4 version   5 flags   6 receives D   8 cookie   24 ring base   32 ring size   40 rkey   44 chunk_max
 *     flags: the path MTU, 0 to 5 for none, 256, 512, 1024, 2048, 4096: the largest its sender wants; in the answer: what both use
 *     (base, size and rkey are of the ring that a side receives into, 0 from one that only sends; chunk_max then is what it may send)
 *   message, 40 bytes: a frame of the flow protocol, then rq_total, the count of receives its sender has posted since the beginning
 */
#ifndef RDMA_VERBS_WIRE_H
#define RDMA_VERBS_WIRE_H

#include "src/seam/frame.h"

#define VERBS_VERSION 1
#define VERBS_PRIVATE 48
#define VERBS_RECEIVES_MIN 64 /* that either side posts at least */
#define VERBS_MESSAGE (FRAME_SIZE + 8)

struct verbs_intro {
    uint8_t mtu;       /* enum ibv_mtu, or 0 */
    uint16_t receives;
    uint8_t cookie[FRAME_COOKIE];
    uint64_t base, size;
    uint32_t rkey, chunk_max;
};

void verbs_intro_encode(const struct verbs_intro *in, uint8_t out[VERBS_PRIVATE]);
/* n may be larger: rdma_cm pads. 0; -SST_EPROTO: something else; -SST_EVERSION. */
int verbs_intro_decode(const uint8_t *in, size_t n, struct verbs_intro *out);

void verbs_message_encode(const struct frame *f, uint64_t rq_total, uint8_t out[VERBS_MESSAGE]);
/* 0, or -SST_EPROTO. */
int verbs_message_decode(const uint8_t *in, size_t n, struct frame *f, uint64_t *rq_total);

#endif
