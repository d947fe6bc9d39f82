/* Sending and completing on a queue pair that is connected. */
#include <errno.h>
#include <stdlib.h>

#include "rdma/verbs_qp.h"
#include "src/core/err.h"

#define PIECES 2                 /* WRITEs of one chunk: it ends where our view does, the peer's may end within */
#define POLL_BATCH 16U
#define POLL_MAX 64U             /* completions a call takes: others want their turn too */
#define EVENTS_MAX 64U           /* acknowledged together: ibv_ack_cq_events takes a lock */
#define SILENT_SENDS (VERBS_SENDS / 4)
#define SILENT_BYTES 4096U
#define RECEIVE_BIT (1ULL << 32) /* in wr_id */
#define NOTICE_PART 4            /* of the smaller ring: more in one notice would let both ends wait for each other */
#define CONTROL_SENDS 8U         /* SENDs, and receives of the peer, not for DATA, when the peer sends, too */

static uint8_t *receive_slot(const struct verbs_qp *q, unsigned i) { return q->pool + (size_t)i * VERBS_SLOT; }
static uint8_t *send_slot(const struct verbs_qp *q, unsigned i) { return q->pool + (size_t)(VERBS_RECEIVES + i % VERBS_SENDS) * VERBS_SLOT; }

/* ------------------------------------------------------------ receives */

int verbs_qp_post_receives(struct verbs_qp *q, const unsigned *slots, unsigned n)
{
    struct ibv_sge sge[VERBS_RECEIVES];
    struct ibv_recv_wr wr[VERBS_RECEIVES], *bad;
    if (n == 0)
        return 0;
    for (unsigned i = 0; i < n; i++) {
        sge[i] = (struct ibv_sge){ .addr = (uintptr_t)receive_slot(q, slots[i]), .length = VERBS_SLOT, .lkey = q->pool_mr->lkey };
        wr[i] = (struct ibv_recv_wr){ .wr_id = RECEIVE_BIT | slots[i], .sg_list = &sge[i], .num_sge = 1, .next = i + 1 < n ? &wr[i + 1] : NULL };
    }
    int err = ibv_post_recv(q->qp, wr, &bad);
    if (err)
        return verbs_qp_fail(q, -SST_EDEVICE, "cannot post a receive: %s", strerror(abs(err)));
    q->rq_total += n;
    return 0;
}

/* ------------------------------------------------------------ a batch: WRITEs and SENDs for one ibv_post_send */

static struct ibv_send_wr *add_request(struct verbs_qp *q, enum ibv_wr_opcode opcode, struct ibv_sge sge)
{
    struct ibv_send_wr *wr = &q->wr[q->n_wr];
    q->sge[q->n_wr] = sge;
    *wr = (struct ibv_send_wr){ .wr_id = q->next, .sg_list = &q->sge[q->n_wr], .num_sge = 1, .opcode = opcode };
    if (q->n_wr++)
        wr[-1].next = wr;
    return wr;
}

static void signal_it(struct verbs_qp *q, struct ibv_send_wr *wr)
{
    wr->send_flags |= IBV_SEND_SIGNALED;
    q->awaited = q->next;
    q->untold = false;
}

/* Nobody waits for the completion of most limits; nor, with low latency, which gathers nothing, for that of a few bytes: fewer than an
 * eighth of any window, or a link that brings them would wait for room. On iWARP nothing else tells that the path is gone. */
static bool unawaited(const struct verbs_qp *q, const struct frame *m)
{
    if (m->type == FRAME_DATA)
        return q->f->eager && !q->iwarp && q->f->tx->sub - q->f->tx->rel < SILENT_BYTES;
    return m->type == FRAME_LIMIT && !ring_ended(q->f->rx);
}

/* The completion of a SEND tells those of all before it, so few are asked for: of what somebody waits for, at the end of a batch (post),
 * and now and then of the others, since they hold slots. */
static void add_send(struct verbs_qp *q, const struct frame *m)
{
    unsigned slot = q->next % VERBS_SENDS;
    verbs_message_encode(m, q->rq_total, send_slot(q, slot));
    struct ibv_send_wr *wr = add_request(q, IBV_WR_SEND, (struct ibv_sge){ .addr = (uintptr_t)send_slot(q, slot), .length = VERBS_MESSAGE,
                                                                           .lkey = q->pool_mr->lkey });
    wr->send_flags = q->inlined ? IBV_SEND_INLINE : 0;
    q->sends[slot].end = m->type == FRAME_DATA ? m->a + m->len : 0;
    q->sends[slot].writes = q->n_wr_writes;
    q->n_wr_writes = 0;
    q->next++;
    q->owed = m->type == FRAME_DATA || m->type == FRAME_EOS ? q->next : q->owed;
    q->sent++;
    q->rq_told = q->rq_total;
    q->untold |= !unawaited(q, m);
    if (q->next - q->awaited >= SILENT_SENDS || q->writes >= VERBS_WRITES / 2)
        signal_it(q, wr);
}

static void add_notice(struct verbs_qp *q)
{
    if (q->notice.len == 0)
        return;
    add_send(q, &q->notice);
    q->notice.len = 0;
}

/* WRITEs of the chunk [off, off + len): a piece ends where our registered view or the peer's does. */
static void add_writes(struct verbs_qp *q, uint64_t off, uint64_t len)
{
    const struct ring *r = q->f->tx;
    while (len > 0) {
        uint64_t here = off % r->cap, there = off % q->peer.size;
        uint64_t k = MIN(len, MIN(r->cap - here, q->peer.size - there));
        struct ibv_send_wr *wr = add_request(q, IBV_WR_RDMA_WRITE, (struct ibv_sge){ .addr = (uintptr_t)r->base + here, .length = (uint32_t)k,
                                                                                     .lkey = q->tx_mr->lkey });
        wr->wr.rdma.remote_addr = q->peer.base + there;
        wr->wr.rdma.rkey = q->peer.rkey;
        q->writes++;
        q->n_wr_writes++;
        off += k;
        len -= k;
    }
}

static void add_data(struct verbs_qp *q, const struct frame *m)
{
    if (q->notice.len && q->notice.len + (uint64_t)m->len > MIN(q->f->tx->cap, q->peer.size) / NOTICE_PART)
        add_notice(q);
    if (q->notice.len)
        q->notice.len += m->len;
    else
        q->notice = *m;
    add_writes(q, m->a, m->len);
}

static void post(struct verbs_qp *q)
{
    struct ibv_send_wr *bad;
    add_notice(q);
    if (q->n_wr == 0)
        return;
    if (q->untold)
        signal_it(q, &q->wr[q->n_wr - 1]);
    int err = ibv_post_send(q->qp, q->wr, &bad);
    stats_add(&q->stats->posts, 1);
    stats_add(&q->stats->work_requests, q->n_wr);
    q->n_wr = 0;
    if (err) /* abs: soft-iWARP returns it negative */
        verbs_qp_fail(q, -SST_EDEVICE, "cannot post to the send queue: %s", strerror(abs(err)));
}

/* ------------------------------------------------------------ sending */

static bool announce_due(const struct verbs_qp *q) { return q->rq_total - q->rq_told >= VERBS_RECEIVES / 2; } /* all that were posted at first */

/* The last receive of the peer is kept for a limit that tells it of receives of ours: else both might wait for each other. Some more, and
 * some of our SENDs, are kept for what controls the other direction. A notice not yet told needs one of each. */
static bool next_message(struct verbs_qp *q, struct frame *out)
{
    unsigned notice = q->notice.len ? 1 : 0, room = VERBS_SENDS - (q->next - q->first) - notice;
    uint64_t left = q->peer_rq_total - q->sent - notice;
    bool control = framed_control_due(q->f), data = !control && q->writes + PIECES <= VERBS_WRITES;
    unsigned kept = q->f->rx && !control ? CONTROL_SENDS : 0;
    if (left == 0 || room == 0)
        return false;
    if ((control || data) && room > kept && (left > 1 + kept || q->f->reset_due) && framed_next(q->f, out)) /* nothing follows a RESET */
        return true;
    return announce_due(q) && framed_again(q->f, out);
}

static bool data_under_way(const struct verbs_qp *q)
{
    for (unsigned i = q->first; i != q->next; i++)
        if (q->sends[i % VERBS_SENDS].end)
            return true;
    return q->notice.len > 0;
}

int verbs_qp_send(struct verbs_qp *q)
{
    struct frame m;
    int did = 0;
    if (!q->qp || q->closed)
        return 0;
    for (q->f->hold = data_under_way(q); q->rc == 0 && next_message(q, &m); q->f->hold = data_under_way(q)) {
        if (m.type == FRAME_DATA) {
            add_data(q, &m);
        } else { /* an EOS must not come before the bytes it counts */
            add_notice(q);
            add_send(q, &m);
        }
        if (q->n_wr + PIECES + 2 > VERBS_BATCH)
            post(q);
        did = 1;
    }
    if (q->rc == 0)
        post(q);
    return did;
}

/* ------------------------------------------------------------ completions */

/* True: the receive may be posted again. */
static bool take(struct verbs_qp *q, unsigned slot, size_t n)
{
    struct frame in;
    uint64_t rq_total = 0;
    uint8_t *bytes = receive_slot(q, slot);
    q->heard = true;
    if (q->rc)
        return false;
    if (verbs_message_decode(bytes, n, &in, &rq_total) < 0) {
        framed_garbage(q->f, bytes);
        return false;
    }
    if (rq_total < q->peer_rq_total || rq_total - q->sent > UINT16_MAX) {
        verbs_qp_fail(q, -SST_EPROTO, "its count of receives goes from %llu to %llu", (unsigned long long)q->peer_rq_total,
                      (unsigned long long)rq_total);
        return false;
    }
    q->peer_rq_total = rq_total;
    if (q->f->rc) /* over, but a RESET may still need room at the peer */
        return true;
    if (framed_input(q->f, &in) == 0 && in.type == FRAME_DATA)
        framed_filled(q->f, in.a, in.len); /* the WRITEs before it have brought them */
    return true;
}

static void sends_done(struct verbs_qp *q, unsigned upto)
{
    for (; q->first != upto && q->first != q->next; q->first++) {
        unsigned slot = q->first % VERBS_SENDS;
        if (q->sends[slot].end)
            ring_release_to(q->f->tx, q->sends[slot].end);
        q->writes -= q->sends[slot].writes;
    }
}

static void failed(struct verbs_qp *q, const struct ibv_wc *wc)
{
    bool receive = wc->wr_id & RECEIVE_BIT;
    q->undelivered |= !receive && !verbs_qp_delivered(q);
    if (wc->status != IBV_WC_WR_FLUSH_ERR && !q->closed)
        verbs_qp_fail(q, -SST_ELOST, "%s (%s, vendor error %#x)", ibv_wc_status_str(wc->status), receive ? "receive" : "send", wc->vendor_err);
    if (!receive)
        q->first = q->awaited = q->owed = q->next; /* nothing of them will complete any more */
}

/* Slots of receives to be posted again go to again[*n]. */
static void complete(struct verbs_qp *q, const struct ibv_wc *wc, unsigned *again, unsigned *n)
{
    unsigned slot = (unsigned)(wc->wr_id & ~RECEIVE_BIT);
    if (wc->status != IBV_WC_SUCCESS)
        failed(q, wc);
    else if (!(wc->wr_id & RECEIVE_BIT))
        sends_done(q, slot + 1);
    else if (wc->opcode != IBV_WC_RECV) /* a WRITE with immediate data takes a receive, too, and leaves nothing in it */
        verbs_qp_fail(q, -SST_EPROTO, "a receive was used by something else than a SEND (%d)", (int)wc->opcode);
    else if (take(q, slot, wc->byte_len))
        again[(*n)++] = slot;
}

int verbs_qp_poll(struct verbs_qp *q)
{
    struct ibv_wc wc[POLL_BATCH];
    unsigned again[POLL_BATCH], n_again;
    int n = POLL_BATCH, taken = 0;
    while (q->cq && n == (int)POLL_BATCH && taken < (int)POLL_MAX) {
        n = ibv_poll_cq(q->cq, POLL_BATCH, wc);
        if (n < 0) {
            verbs_qp_fail(q, -SST_EDEVICE, "the completion queue cannot be polled");
            return 1;
        }
        n_again = 0;
        for (int i = 0; i < n; i++)
            complete(q, &wc[i], again, &n_again);
        if (q->qp && !q->closed)
            verbs_qp_post_receives(q, again, n_again);
        taken += n;
    }
    if (taken)
        stats_add(&q->stats->completions, (uint64_t)taken);
    return taken > 0;
}

void verbs_qp_event(struct verbs_qp *q)
{
    struct ibv_cq *cq;
    void *context;
    if (q->channel && ibv_get_cq_event(q->channel, &cq, &context) == 0) { /* armed once, so one at the most */
        q->events++;
        q->armed = false;
        stats_add(&q->stats->completion_events, 1);
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
        verbs_qp_fail(q, -SST_EDEVICE, "the completion queue cannot be armed");
    q->armed = true;
    return verbs_qp_poll(q) || q->rc ? -EBUSY : 0; /* what came before it was armed raises no event */
}
