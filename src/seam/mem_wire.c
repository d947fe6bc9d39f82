/* Framed ends over a wire.
 *
 *   connector  framed_next -> message ---- in the acceptor's inbox ----> framed_input, payload copied from ring to ring, framed_filled
 *                                |__ also in the sender's `sent`, which is freed (and, unless keep, released) in order from its front
 *
 * A message carries no payload: that is fetched from the sender's ring when it is delivered, so a sender that released or overwrote
 * bytes too early is seen as wrong bytes at the far end.
 */
#include "src/seam/mem_priv.h"

#define DEPTH_DEFAULT 16

struct message {
    struct list inbox, sent; /* the receiver's, the sender's; a message whose sender left is only in the first */
    struct frame frame;
    uint64_t due_ns;
    size_t done;
    bool claimed, delivered;
};

/* ------------------------------------------------------------ sending */

static struct mem *peer_of(const struct mem *m) { return m->wire->end[!m->side]; }
static unsigned depth_of(const struct mem *m) { return m->wire->depth ? m->wire->depth : DEPTH_DEFAULT; }

static void wake(struct mem *m)
{
    if (!m || m->x.state == XPORT_CLOSING || m->x.state == XPORT_FAILED)
        return;
    if (m->wire->delay_ns)
        mem_later(m, m->wire->delay_ns);
    else
        xport_kick(&m->x);
}

static void push(struct mem *m, struct mem *to, const struct frame *f)
{
    struct message *g = mem_zalloc(1, sizeof(*g));
    g->frame = *f;
    g->due_ns = m->wire->delay_ns ? now_ns() + m->wire->delay_ns : 0;
    list_add_tail(&to->inbox, &g->inbox);
    list_add_tail(&m->sent, &g->sent);
    m->under_way++;
    m->wire->most = MAX(m->wire->most, m->under_way);
}

/* > 0: sent something. */
int mem_wire_send(struct mem *m)
{
    struct mem *to = m->lost ? NULL : peer_of(m);
    struct frame out;
    int sent = 0;
    while (to && m->under_way < depth_of(m) && framed_next(&m->f, &out)) {
        push(m, to, &out);
        sent = 1;
    }
    if (sent)
        wake(to);
    return sent;
}

/* Free what was delivered, in the order it was sent. */
static void collect(struct mem *m)
{
    while (!list_empty(&m->sent)) {
        struct message *g = list_entry(m->sent.next, struct message, sent);
        if (!g->delivered)
            break;
        if (g->frame.type == FRAME_DATA && !m->wire->keep)
            ring_release_to(m->f.tx, g->frame.a + g->frame.len);
        list_del(&g->sent);
        free(g);
        m->under_way--;
    }
}

/* ------------------------------------------------------------ delivery */

/* xorshift: the same whims for the same seed. */
static uint64_t whim(struct mem_wire *w, uint64_t n)
{
    w->seed = w->seed ? w->seed : 1;
    w->seed ^= w->seed << 13;
    w->seed ^= w->seed >> 7;
    w->seed ^= w->seed << 17;
    return w->seed % n;
}

static bool may_overtake(const struct message *g) { return g->frame.type == FRAME_DATA || g->frame.type == FRAME_EOS; }

/* The message that is delivered next, or NULL: nothing is due. */
static struct message *choose(struct mem *m)
{
    uint64_t now = now_ns(), skip = m->wire->shuffle ? whim(m->wire, m->wire->shuffle + 1) : 0;
    struct message *first = NULL;
    list_for_each(n, &m->inbox) {
        struct message *g = list_entry(n, struct message, inbox);
        if (g->due_ns > now)
            break;
        first = first ? first : g;
        if (first->frame.type == FRAME_HELLO || skip == 0)
            return may_overtake(g) ? g : first;
        skip--;
    }
    return first;
}

static void delivered(struct mem *m, struct message *g)
{
    struct mem *from = peer_of(m);
    m->wire->overtook += m->inbox.next != &g->inbox;
    list_del(&g->inbox);
    g->delivered = true;
    if (list_empty(&g->sent)) {
        free(g);
    } else if (from) {
        collect(from);
        wake(from);
    }
    if (++m->wire->delivered == m->wire->drop_at)
        for (int i = 0; i < 2; i++)
            if (m->wire->end[i]) {
                m->wire->end[i]->lost = true;
                wake(m->wire->end[i]);
            }
}

static void bring_payload(struct mem *m, struct message *g)
{
    size_t missing = g->frame.len - g->done, n = m->wire->part ? MIN(missing, m->wire->part) : missing;
    const struct mem *from = peer_of(m);
    memcpy(ring_at(m->f.rx, g->frame.a + g->done), ring_at(from->f.tx, g->frame.a + g->done), n);
    framed_filled(&m->f, g->frame.a, n);
    g->done += n;
}

/* False: nothing is due. */
static bool deliver_one(struct mem *m)
{
    struct message *g = m->f.rc || m->deaf ? NULL : choose(m);
    if (!g)
        return false;
    if (!g->claimed && framed_input(&m->f, &g->frame) < 0)
        return true;
    g->claimed = true;
    if (g->frame.type == FRAME_DATA)
        bring_payload(m, g);
    if (g->done == g->frame.len)
        delivered(m, g);
    return true;
}

static bool cut(const struct mem *m)
{
    return m->lost && (list_empty(&m->inbox) || (m->wire->drop_at && m->wire->delivered >= m->wire->drop_at));
}

int mem_wire_progress(struct mem *m)
{
    int worked = 0;
    if (!m->wire || m->deaf)
        return 0;
    if (m->wire->again && ++m->looks % m->wire->again == 0) {
        mem_hiccup(m);
        return 0;
    }
    for (unsigned i = 0; i < depth_of(m) && !cut(m) && deliver_one(m); i++)
        worked = 1;
    if (m->f.rc)
        return xport_fail(&m->x, m->f.rc, "mem: %s", m->f.why) < 0;
    if (cut(m) && !framed_whole(&m->f))
        return xport_fail(&m->x, -SST_ELOST, "mem: connection dropped") < 0;
    if (m->x.state == XPORT_OPENING && m->f.hello_seen)
        xport_set_up(&m->x);
    return mem_wire_send(m) | worked;
}

static bool can_send(const struct mem *m)
{
    if (m->lost || !peer_of(m) || m->under_way >= depth_of(m))
        return false;
    return framed_control_due(&m->f) || (m->f.tx && ring_waiting(m->f.tx) && !framed_blocked(&m->f));
}

int mem_wire_arm(struct mem *m)
{
    if (!m->wire || m->deaf || m->f.rc)
        return 0;
    if (can_send(m))
        return -EBUSY;
    if (list_empty(&m->inbox))
        return 0;
    const struct message *g = list_entry(m->inbox.next, struct message, inbox);
    uint64_t now = now_ns();
    if (g->due_ns <= now)
        return -EBUSY;
    mem_later(m, g->due_ns - now);
    return 0;
}

/* ------------------------------------------------------------ life */

static void wire_open(struct mem *m, const struct xport_spec *s, uint32_t chunk, int side)
{
    m->side = side;
    m->x.state = XPORT_OPENING;
    m->wire->end[side] = m;
    framed_init(&m->f, s->cookie, chunk, s->peer_window);
    framed_set_rings(&m->f, m->x.in, m->x.out, m->x.forward);
    m->f.keep = m->wire->keep;
}

int mem_wire_connect(struct mem *m, const struct xport_spec *s)
{
    if (!m->wire->end[0] || m->wire->end[1])
        return xport_fail(&m->x, -ECONNREFUSED, "mem: nobody accepts on '%s'", s->address);
    if (s->chunk_max == 0)
        return xport_fail(&m->x, -SST_EPROTO, "mem: no bytes in a chunk");
    wire_open(m, s, s->chunk_max, 1);
    xport_kick(&m->x);
    xport_kick(&m->wire->end[0]->x);
    return 0;
}

/* What we sent and was not delivered: control messages still arrive, payload does not. */
static void leave_wire(struct mem *m)
{
    struct mem *peer = peer_of(m);
    struct list *n;
    while ((n = list_pop(&m->sent))) {
        struct message *g = list_entry(n, struct message, sent);
        if (g->delivered || !peer || g->frame.type == FRAME_DATA) {
            list_del(&g->inbox);
            free(g);
        }
    }
    while ((n = list_pop(&m->inbox))) {
        struct message *g = list_entry(n, struct message, inbox);
        if (list_empty(&g->sent))
            free(g);
    }
    framed_disconnected(&m->f);
    m->wire->end[m->side] = NULL;
    if (peer) {
        peer->lost = true;
        wake(peer);
    }
}

int mem_wire_accept(struct mem *m, const struct xport_spec *s, struct xport_answer *a)
{
    const struct mem_wire *w = m->wire;
    if (w->end[0])
        return xport_fail(&m->x, -EADDRINUSE, "mem: '%s' has its acceptor already", s->address);
    a->chunk_max = w->chunk_max && (!s->chunk_max || w->chunk_max < s->chunk_max) ? w->chunk_max : s->chunk_max;
    str_copy(a->address, sizeof(a->address), s->address);
    wire_open(m, s, a->chunk_max, 0);
    m->answer = *a;
    m->answer_due = true;
    if (!w->prepare_later)
        return mem_wire_answer(m);
    mem_later(m, w->delay_ns);
    return 1;
}

int mem_wire_answer(struct mem *m)
{
    m->answer_due = false;
    if (m->wire->accept_rc)
        return xport_fail(&m->x, m->wire->accept_rc, "mem: planned failure of accept");
    if (m->wire->prepare_later)
        m->x.host->prepared(&m->x, &m->answer);
    return 0;
}

void mem_wire_close(struct mem *m, int rc)
{
    m->wire->close_rc = rc;
    if (m->f.hello_seen && rc < 0)
        framed_reset(&m->f, rc);
    for (struct frame out; m->f.hello_seen && !m->lost && peer_of(m) && framed_control_due(&m->f) && framed_next(&m->f, &out);)
        push(m, peer_of(m), &out); /* however much is under way: it is the last */
    leave_wire(m);
}
