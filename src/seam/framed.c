#include "src/seam/framed.h"

#include <stdarg.h>
#include <stdio.h>

#include "src/core/err.h"
#include "src/core/secret.h"

#define LIMIT_PART 8 /* a limit is told when it grew by this part of the window (design.md section 6) */

static int fail(struct framed *f, int rc, const char *fmt, ...) PRINTF(3, 4);

static int fail(struct framed *f, int rc, const char *fmt, ...)
{
    if (f->rc)
        return f->rc;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->why, sizeof(f->why), fmt, ap);
    va_end(ap);
    return f->rc = rc;
}

void framed_init(struct framed *f, const uint8_t cookie[FRAME_COOKIE], uint32_t chunk_max, uint64_t peer_ring)
{
    *f = (struct framed){ .chunk_max = chunk_max, .chunk_send = chunk_max, .peer_ring = peer_ring, .hello_due = true, .rx_flow = 1 };
    memcpy(f->cookie, cookie, FRAME_COOKIE);
}

void framed_set_rings(struct framed *f, struct ring *rx, struct ring *tx, bool forward)
{
    f->rx = rx;
    f->tx = tx;
    f->tx_flow = forward ? 0 : 1;
    f->rx_flow = forward ? 1 : 0;
}

/* ------------------------------------------------------------ what to send */

/* The peer is, or soon may be, unable to send: it used up its limit, or its own ring is full of bytes that it does not know to be consumed. */
static bool peer_blocked(const struct framed *f)
{
    const struct ring *r = f->rx;
    if (r->put >= f->told_limit)
        return true;
    return f->peer_ring ? r->put - f->told_consumed >= f->peer_ring : r->put == r->rel;
}

static bool limit_due(const struct framed *f)
{
    const struct ring *r = f->rx;
    if (!r || !f->hello_seen)
        return false;
    if (ring_ended(r))
        return ring_all_released(r) && f->told_consumed < r->rel;
    uint64_t growth = r->rel + r->cap - f->told_limit;
    uint64_t window = f->peer_ring ? MIN(f->peer_ring, r->cap) : r->cap;
    return growth > 0 && (growth >= window / LIMIT_PART || f->urge || peer_blocked(f)); /* a ring that the peer made up may be tiny */
}

bool framed_lazy(const struct framed *f)
{
    return f->rx && f->hello_seen && !ring_ended(f->rx) && f->rx->rel > f->told_consumed && !limit_due(f);
}

static bool eos_due(const struct framed *f) { return f->tx && !f->eos_sent && f->hello_seen && ring_all_submitted(f->tx); }

/* What may gather meanwhile to a whole chunk: bytes, while others are under way; a limit, while the peer has a chunk to consume, which will
 * raise it without us. */
static bool worth_waiting(const struct framed *f, uint64_t n, uint64_t whole)
{
    const struct ring *r = f->tx;
    if (f->eager || n >= whole || (ring_ended(r) && n == ring_waiting(r)))
        return false;
    return f->hold || (f->edge && n < ring_waiting(r) && r->sub - f->acked >= whole);
}

/* With edges, up to the next multiple of a chunk: one short chunk would else put the edge into another one in every lap of the ring. */
static uint64_t whole_chunk(const struct framed *f)
{
    uint64_t at = f->tx->sub % f->tx->cap;
    return f->edge ? MIN(f->chunk_send - at % f->chunk_send, f->tx->cap - at) : f->chunk_send;
}

static uint64_t sendable(const struct framed *f)
{
    if (!f->tx || f->limit <= f->tx->sub)
        return 0;
    uint64_t whole = whole_chunk(f);
    size_t in_pipe = ring_waiting_piped(f->tx); /* a message is of one of both places */
    uint64_t n = MIN(MIN(in_pipe ? in_pipe : ring_waiting(f->tx), f->limit - f->tx->sub), whole);
    return worth_waiting(f, n, whole) ? 0 : n;
}

bool framed_control_due(const struct framed *f)
{
    return !f->reset_sent && (f->hello_due || f->reset_due || limit_due(f) || eos_due(f));
}

static struct frame next_limit(struct framed *f)
{
    f->told_limit = MAX(f->told_limit, f->rx->rel + f->rx->cap);
    f->told_consumed = f->rx->rel;
    f->urge = false;
    return (struct frame){ .type = FRAME_LIMIT, .flow = f->rx_flow, .a = f->told_limit, .b = f->told_consumed };
}

static struct frame next_control(struct framed *f)
{
    if (f->hello_due) {
        f->hello_due = false;
        return frame_hello(f->cookie);
    }
    if (f->reset_due) {
        f->reset_due = false;
        f->reset_sent = true;
        return (struct frame){ .type = FRAME_RESET, .flow = f->tx ? f->tx_flow : f->rx_flow, .a = f->reset_code };
    }
    if (limit_due(f))
        return next_limit(f);
    f->eos_sent = true;
    return (struct frame){ .type = FRAME_EOS, .flow = f->tx_flow, .a = f->tx->total };
}

bool framed_next(struct framed *f, struct frame *out)
{
    if (framed_control_due(f)) {
        *out = next_control(f);
        return true;
    }
    uint64_t n = f->reset_sent ? 0 : sendable(f);
    if (n == 0)
        return false;
    *out = (struct frame){ .type = FRAME_DATA, .flow = f->tx_flow, .len = (uint32_t)n, .a = f->tx->sub };
    ring_submit(f->tx, n);
    return true;
}

bool framed_again(struct framed *f, struct frame *out)
{
    if (!f->rx || !f->hello_seen || f->reset_sent)
        return false;
    *out = next_limit(f);
    return true;
}

/* ------------------------------------------------------------ what the peer says */

static int on_hello(struct framed *f, const struct frame *in)
{
    uint8_t cookie[FRAME_COOKIE];
    frame_cookie(in, cookie);
    if (f->hello_seen)
        return fail(f, -SST_EPROTO, "second HELLO on one connection");
    if (in->a >> 32 != FRAME_VERSION)
        return fail(f, -SST_EVERSION, "peer speaks version %u of the flow protocol, this side %d", (unsigned)(in->a >> 32), FRAME_VERSION);
    if (!secret_equal(cookie, f->cookie, sizeof(cookie)))
        return fail(f, -SST_ECOOKIE, "wrong cookie in HELLO");
    f->hello_seen = true;
    return 0;
}

static int on_data(struct framed *f, const struct frame *in)
{
    const struct ring *r = f->rx;
    unsigned long long off = in->a, told = f->told_limit;
    if (in->len > f->chunk_max)
        return fail(f, -SST_EPROTO, "DATA of %u bytes, at most %u were agreed", in->len, f->chunk_max);
    if (off > told || in->len > told - off)
        return fail(f, -SST_EPROTO, "DATA [%llu, +%u) goes beyond the limit %llu", off, in->len, told);
    if (r->total != RING_NO_TOTAL && off + in->len > r->total)
        return fail(f, -SST_EPROTO, "DATA [%llu, +%u) after EOS at %llu", off, in->len, (unsigned long long)r->total);
    int rc = ring_claim(f->rx, off, in->len, f);
    if (rc == -ENOSPC)
        return fail(f, -SST_EPROTO, "more than %d ranges out of order", RING_EXTENTS_MAX);
    return rc == 0 ? 0 : fail(f, -SST_EPROTO, "DATA [%llu, +%u) overlaps what was sent before (complete up to %llu)", off, in->len,
                              (unsigned long long)r->put);
}

static int on_limit(struct framed *f, const struct frame *in)
{
    unsigned long long limit = in->a, consumed = in->b, sub = f->tx->sub;
    if (limit < f->limit || consumed < f->acked)
        return fail(f, -SST_EPROTO, "LIMIT shrinks: %llu, %llu after %llu, %llu", limit, consumed, (unsigned long long)f->limit,
                    (unsigned long long)f->acked);
    if (consumed > sub || consumed > limit)
        return fail(f, -SST_EPROTO, "LIMIT says %llu consumed, %llu were sent", consumed, sub);
    f->limit = limit;
    f->acked = consumed;
    if (f->keep) /* but what went through a pipe cannot be kept */
        ring_release_to(f->tx, MAX(f->tx->rel, consumed));
    return 0;
}

static int on_eos(struct framed *f, const struct frame *in)
{
    unsigned long long total = in->a, put = f->rx->put;
    if (f->rx->total != RING_NO_TOTAL)
        return fail(f, -SST_EPROTO, "second EOS");
    if (total > f->told_limit || ring_end(f->rx, total) < 0)
        return fail(f, -SST_EPROTO, "EOS at %llu, but %llu bytes are here and the limit is %llu", total, put, (unsigned long long)f->told_limit);
    return 0;
}

static int on_reset(struct framed *f, const struct frame *in)
{
    int rc = err_from_wire((uint32_t)MIN(in->a, UINT32_MAX));
    return fail(f, rc, "peer reset the flow: %s", err_text(rc));
}

/* One row per message: which flow it may be about (rx: the peer sends on it, tx: we do, any), and what to do. */
static const struct {
    bool about_rx, about_tx;
    int (*take)(struct framed *f, const struct frame *in);
} rules[] = {
    [FRAME_HELLO] = { true, true, on_hello }, [FRAME_DATA] = { true, false, on_data },  [FRAME_LIMIT] = { false, true, on_limit },
    [FRAME_EOS] = { true, false, on_eos },    [FRAME_RESET] = { true, true, on_reset },
};

int framed_input(struct framed *f, const struct frame *in)
{
    char text[80];
    if (f->rc)
        return f->rc;
    if (!f->hello_seen && in->type != FRAME_HELLO)
        return fail(f, -SST_EPROTO, "%s before HELLO", frame_text(in, text));
    bool rx_ok = rules[in->type].about_rx && in->flow == f->rx_flow && (f->rx || in->type == FRAME_HELLO);
    bool tx_ok = rules[in->type].about_tx && in->flow == f->tx_flow && (f->tx || in->type == FRAME_HELLO);
    if (!rx_ok && !tx_ok)
        return fail(f, -SST_EPROTO, "%s about flow %u, which does not exist in that direction", frame_text(in, text), in->flow);
    return rules[in->type].take(f, in);
}

int framed_filled(struct framed *f, uint64_t off, size_t n)
{
    if (ring_fill(f->rx, off, n, f) < 0)
        return fail(f, -SST_EINTERNAL, "payload [%llu, +%zu) that was not claimed", (unsigned long long)off, n);
    return 0;
}

int framed_garbage(struct framed *f, const uint8_t head[FRAME_SIZE])
{
    char hex[2 * 16 + 1];
    secret_hex(hex, head, 16);
    return fail(f, -SST_EPROTO, "no frame of the flow protocol: %s...", hex);
}

/* ------------------------------------------------------------ the end */

void framed_disconnected(struct framed *f)
{
    if (f->rx && f->rx->base)
        ring_unclaim(f->rx, f);
}

bool framed_shut_done(const struct framed *f)
{
    return f->eos_sent && ring_all_released(f->tx) && (!f->keep || f->acked == f->tx->total);
}

bool framed_whole(const struct framed *f)
{
    return f->hello_seen && (!f->tx || framed_shut_done(f)) && (!f->rx || ring_ended(f->rx));
}

bool framed_finished(const struct framed *f) { return framed_whole(f) && (!f->rx || f->told_consumed == f->rx->total); }

bool framed_blocked(const struct framed *f) { return f->tx && ring_waiting(f->tx) && f->limit <= f->tx->sub; }

bool framed_needs_word(const struct framed *f)
{
    return f->tx && (framed_blocked(f) || ring_room(f->tx) == 0 || (f->eos_sent && !framed_shut_done(f)));
}

void framed_reset(struct framed *f, int rc)
{
    f->reset_due = true;
    f->reset_code = err_to_wire(rc);
}
