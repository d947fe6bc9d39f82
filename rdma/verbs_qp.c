#include "rdma/verbs_qp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "src/core/err.h"
#include "src/core/units.h"

#define SLOT 64                  /* bytes of the pool a message gets */
#define PIECES 3                 /* WRITEs of one chunk: either view may end in it */
#define POLL_BATCH 16
#define POLL_MAX 64              /* completions a call takes: others want their turn too */
#define EVENTS_MAX 64            /* acknowledged together: ibv_ack_cq_events takes a lock */
#define RECEIVE_BIT (1ULL << 32) /* in wr_id */

static int fail(struct verbs_qp *q, int rc, const char *fmt, ...) PRINTF(3, 4);
static int fail(struct verbs_qp *q, int rc, const char *fmt, ...)
{
    if (q->rc)
        return q->rc;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(q->why, sizeof(q->why), fmt, ap);
    va_end(ap);
    return q->rc = rc;
}

static uint8_t *receive_slot(const struct verbs_qp *q, uint64_t i) { return q->pool + i % VERBS_RECEIVES * SLOT; }
static uint8_t *send_slot(const struct verbs_qp *q, uint64_t i) { return q->pool + (VERBS_RECEIVES + i % VERBS_SENDS) * SLOT; }

/* ------------------------------------------------------------ what a connection has */

int verbs_qp_open(struct verbs_qp *q, struct rdma_cm_id *id, struct framed *f)
{
    *q = (struct verbs_qp){ .verbs = id->verbs, .id = id, .f = f };
    const char *device = ibv_get_device_name(id->verbs->device);
    q->pd = ibv_alloc_pd(id->verbs);
    q->channel = ibv_create_comp_channel(id->verbs);
    if (q->channel && fcntl(q->channel->fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(q->channel->fd, F_SETFD, FD_CLOEXEC) == 0)
        q->cq = ibv_create_cq(id->verbs, (int)(VERBS_RECEIVES + VERBS_SENDS * (PIECES + 1)), NULL, q->channel, 0);
    if (!q->pd || !q->cq)
        return fail(q, -SST_EDEVICE, "%s: no protection domain or completion queue: %s", device, strerror(errno));
    if (posix_memalign((void **)&q->pool, 4096, (VERBS_RECEIVES + VERBS_SENDS) * SLOT) != 0)
        return fail(q, -ENOMEM, "%s: no memory for messages", device);
    q->pool_mr = ibv_reg_mr(q->pd, q->pool, (VERBS_RECEIVES + VERBS_SENDS) * SLOT, IBV_ACCESS_LOCAL_WRITE);
    return q->pool_mr ? 0 : fail(q, -SST_EDEVICE, "%s: cannot register the messages of a channel: %s", device, strerror(errno));
}

static int register_ring(struct verbs_qp *q, struct ring *r, int access, struct ibv_mr **out)
{
    struct rlimit lock;
    char ring[UNITS_TEXT], have[UNITS_TEXT];
    if (!r)
        return 0;
    *out = ibv_reg_mr(q->pd, r->base, r->cap, access); /* one view: both would pin it twice */
    if (*out)
        return 0;
    int err = errno;
    if (err == ENOMEM && getrlimit(RLIMIT_MEMLOCK, &lock) == 0 && lock.rlim_cur != RLIM_INFINITY)
        return fail(q, -ENOMEM, "ring of %s needs %zu bytes of locked memory, RLIMIT_MEMLOCK is %s: raise LimitMEMLOCK in the unit "
                    "(ulimit -l) or lower window", units_size(ring, r->cap), r->cap, units_size(have, lock.rlim_cur));
    return fail(q, -SST_EDEVICE, "cannot register a ring of %s on %s: %s", units_size(ring, r->cap), ibv_get_device_name(q->verbs->device),
                strerror(err));
}

int verbs_qp_register(struct verbs_qp *q)
{
    int rc = register_ring(q, q->f->rx, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE, &q->rx_mr);
    return rc < 0 ? rc : register_ring(q, q->f->tx, 0, &q->tx_mr);
}

static int post_receive(struct verbs_qp *q, uint64_t slot)
{
    struct ibv_sge sge = { .addr = (uintptr_t)receive_slot(q, slot), .length = SLOT, .lkey = q->pool_mr->lkey };
    struct ibv_recv_wr wr = { .wr_id = RECEIVE_BIT | slot % VERBS_RECEIVES, .sg_list = &sge, .num_sge = 1 }, *bad;
    int err = ibv_post_recv(q->qp, &wr, &bad);
    if (err)
        return fail(q, -SST_EDEVICE, "cannot post a receive: %s", strerror(abs(err)));
    q->rq_total++;
    return 0;
}

int verbs_qp_create(struct verbs_qp *q)
{
    struct ibv_qp_init_attr a = { .send_cq = q->cq, .recv_cq = q->cq, .qp_type = IBV_QPT_RC,
                                  .cap = { .max_send_wr = VERBS_SENDS * (PIECES + 1), .max_recv_wr = VERBS_RECEIVES, .max_send_sge = 1,
                                           .max_recv_sge = 1, .max_inline_data = SLOT } };
    int rc = rdma_create_qp(q->id, q->pd, &a);
    if (rc < 0) { /* a device without so much inline data: from the pool then (soft-iWARP reports 0) */
        a.cap.max_inline_data = 0;
        rc = rdma_create_qp(q->id, q->pd, &a);
    }
    if (rc < 0)
        return fail(q, -SST_EDEVICE, "%s: cannot make a queue pair: %s", ibv_get_device_name(q->verbs->device), strerror(errno));
    q->qp = q->id->qp;
    q->inlined = a.cap.max_inline_data >= VERBS_MESSAGE;
    for (uint64_t i = 0; i < VERBS_RECEIVES && rc == 0; i++)
        rc = post_receive(q, i);
    q->rq_told = q->rq_total;
    return rc;
}

void verbs_qp_intro(const struct verbs_qp *q, struct verbs_intro *out)
{
    *out = (struct verbs_intro){ .receives = VERBS_RECEIVES, .chunk_max = q->f->chunk_max };
    memcpy(out->cookie, q->f->cookie, FRAME_COOKIE);
    if (q->rx_mr) {
        out->base = (uintptr_t)q->f->rx->base;
        out->size = q->f->rx->cap;
        out->rkey = q->rx_mr->rkey;
    }
}

int verbs_qp_peer(struct verbs_qp *q, const struct verbs_intro *peer)
{
    q->peer = *peer;
    q->peer_rq_total = peer->receives;
    if (q->f->tx && (peer->size == 0 || peer->chunk_max == 0))
        return fail(q, -SST_EPROTO, "the peer told no ring to write to");
    if (q->f->tx)
        q->f->chunk_send = MIN(q->f->chunk_send, peer->chunk_max);
    return 0;
}

/* ------------------------------------------------------------ sending */

static bool announce_due(const struct verbs_qp *q) { return q->rq_total - q->rq_told >= VERBS_RECEIVES / 2; }

/* The last receive of the peer is kept for a limit that tells it of receives of ours: else both might wait for each other. */
static bool next_message(struct verbs_qp *q, struct frame *out)
{
    uint64_t left = q->peer_rq_total - q->sent;
    if (q->next - q->first >= VERBS_SENDS || left == 0)
        return false;
    if (left > 1 && framed_next(q->f, out))
        return true;
    return announce_due(q) && framed_again(q->f, out);
}

/* WRITEs of the chunk [off, off + len): a piece ends where our registered view or the peer's does. */
static unsigned chunk_pieces(const struct verbs_qp *q, uint64_t off, uint64_t len, struct ibv_send_wr *wr, struct ibv_sge *sge)
{
    const struct ring *r = q->f->tx;
    unsigned n = 0;
    while (len > 0) {
        uint64_t here = off % r->cap, there = off % q->peer.size;
        uint64_t k = MIN(len, MIN(r->cap - here, q->peer.size - there));
        sge[n] = (struct ibv_sge){ .addr = (uintptr_t)r->base + here, .length = (uint32_t)k, .lkey = q->tx_mr->lkey };
        wr[n] = (struct ibv_send_wr){ .sg_list = &sge[n], .num_sge = 1, .opcode = IBV_WR_RDMA_WRITE,
                                      .wr.rdma = { .remote_addr = q->peer.base + there, .rkey = q->peer.rkey } };
        off += k;
        len -= k;
        n++;
    }
    return n;
}

static void post(struct verbs_qp *q, const struct frame *m)
{
    struct ibv_send_wr wr[PIECES + 1], *bad;
    struct ibv_sge sge[PIECES + 1];
    unsigned n = m->type == FRAME_DATA ? chunk_pieces(q, m->a, m->len, wr, sge) : 0, slot = q->next % VERBS_SENDS;
    verbs_message_encode(m, q->rq_total, send_slot(q, slot));
    sge[n] = (struct ibv_sge){ .addr = (uintptr_t)send_slot(q, slot), .length = VERBS_MESSAGE, .lkey = q->pool_mr->lkey };
    wr[n] = (struct ibv_send_wr){ .wr_id = q->next, .sg_list = &sge[n], .num_sge = 1, .opcode = IBV_WR_SEND,
                                  .send_flags = IBV_SEND_SIGNALED | (q->inlined ? IBV_SEND_INLINE : 0) };
    for (unsigned i = 0; i < n; i++)
        wr[i].next = &wr[i + 1];
    q->ends[slot] = m->type == FRAME_DATA ? m->a + m->len : 0;
    q->next++;
    q->sent++;
    q->rq_told = q->rq_total;
    int err = ibv_post_send(q->qp, wr, &bad);
    if (err)
        fail(q, -SST_EDEVICE, "cannot post to the send queue: %s", strerror(abs(err))); /* abs: soft-iWARP returns it negative */
}

static bool data_under_way(const struct verbs_qp *q)
{
    for (unsigned i = q->first; i != q->next; i++)
        if (q->ends[i % VERBS_SENDS])
            return true;
    return false;
}

int verbs_qp_send(struct verbs_qp *q)
{
    struct frame m;
    int did = 0;
    if (!q->qp || q->closed)
        return 0;
    for (q->f->hold = data_under_way(q); q->rc == 0 && next_message(q, &m); q->f->hold = data_under_way(q)) {
        post(q, &m);
        did = 1;
    }
    return did;
}

/* ------------------------------------------------------------ completions */

static void take(struct verbs_qp *q, uint64_t slot, size_t n)
{
    struct frame in;
    uint64_t rq_total = 0;
    uint8_t *bytes = receive_slot(q, slot);
    int bad = verbs_message_decode(bytes, n, &in, &rq_total);
    if (bad) {
        framed_garbage(q->f, bytes);
        return;
    }
    if (rq_total < q->peer_rq_total || rq_total - q->sent > UINT16_MAX) {
        fail(q, -SST_EPROTO, "its count of receives goes from %llu to %llu", (unsigned long long)q->peer_rq_total, (unsigned long long)rq_total);
        return;
    }
    q->peer_rq_total = rq_total;
    if (post_receive(q, slot) < 0 || framed_input(q->f, &in) < 0 || in.type != FRAME_DATA)
        return;
    framed_filled(q->f, in.a, in.len); /* the WRITE before it has brought them */
}

static void complete(struct verbs_qp *q, const struct ibv_wc *wc)
{
    bool receive = wc->wr_id & RECEIVE_BIT;
    if (wc->status != IBV_WC_SUCCESS) {
        if (wc->status != IBV_WC_WR_FLUSH_ERR && !q->closed)
            fail(q, -SST_ELOST, "%s (%s, vendor error %#x)", ibv_wc_status_str(wc->status), receive ? "receive" : "send", wc->vendor_err);
        if (!receive)
            q->first = q->next; /* nothing of them will complete any more */
        return;
    }
    if (receive) {
        if (q->f->rc == 0 && q->rc == 0)
            take(q, wc->wr_id & ~RECEIVE_BIT, wc->byte_len);
        return;
    }
    unsigned upto = (unsigned)wc->wr_id + 1;
    for (; q->first != upto && q->first != q->next; q->first++)
        if (q->ends[q->first % VERBS_SENDS])
            ring_release_to(q->f->tx, q->ends[q->first % VERBS_SENDS]);
}

int verbs_qp_poll(struct verbs_qp *q)
{
    struct ibv_wc wc[POLL_BATCH];
    int did = 0, n = POLL_BATCH;
    for (int taken = 0; q->cq && n == POLL_BATCH && taken < POLL_MAX; taken += n) {
        n = ibv_poll_cq(q->cq, POLL_BATCH, wc);
        if (n < 0) {
            fail(q, -SST_EDEVICE, "the completion queue cannot be polled");
            return 1;
        }
        for (int i = 0; i < n; i++)
            complete(q, &wc[i]);
        did |= n > 0;
    }
    return did;
}

void verbs_qp_event(struct verbs_qp *q)
{
    struct ibv_cq *cq;
    void *context;
    while (q->channel && ibv_get_cq_event(q->channel, &cq, &context) == 0) {
        q->events++;
        q->armed = false;
    }
    if (q->events >= EVENTS_MAX) {
        ibv_ack_cq_events(q->cq, q->events);
        q->events = 0;
    }
}

int verbs_qp_arm(struct verbs_qp *q)
{
    if (!q->cq || q->armed)
        return 0;
    if (ibv_req_notify_cq(q->cq, 0) != 0)
        fail(q, -SST_EDEVICE, "the completion queue cannot be armed");
    q->armed = true;
    return verbs_qp_poll(q) || q->rc ? -EBUSY : 0; /* what came before it was armed raises no event */
}

/* ------------------------------------------------------------ the end */

void verbs_qp_destroy(struct verbs_qp *q)
{
    if (q->qp)
        rdma_destroy_qp(q->id);
    q->qp = NULL;
    q->closed = true;
}

void verbs_qp_release(struct verbs_qp *q)
{
    struct ibv_mr **mr[] = { &q->rx_mr, &q->tx_mr, &q->pool_mr };
    for (size_t i = 0; i < ARRAY_LEN(mr); i++) {
        if (*mr[i])
            ibv_dereg_mr(*mr[i]);
        *mr[i] = NULL;
    }
    if (q->events)
        ibv_ack_cq_events(q->cq, q->events);
    if (q->cq)
        ibv_destroy_cq(q->cq);
    if (q->channel)
        ibv_destroy_comp_channel(q->channel);
    if (q->pd)
        ibv_dealloc_pd(q->pd);
    free(q->pool);
    *q = (struct verbs_qp){ .closed = true };
}
