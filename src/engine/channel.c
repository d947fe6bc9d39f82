/* Happy path: channel_new -> both ends opened, each up -> flows pumped until ended, then finished -> channel_close -> closed.
 * A failing end stops the pumping; the channel then waits for channel_close, which the owner always calls. After all flows are
 * finished a failing end is only the peer leaving first, and is not reported.
 * Whom a peer answers and then resets (a server that refuses an upload) is to read the answer: where the failing end has last words, they go to the
 * other end first, and the failure is reported behind them, or when that end takes nothing for LAST_WORDS_NS. */
#include "src/engine/channel.h"

/* A path that loses a packet and what was sent again stands still for a second or so; who does not read is not to keep a place for long. */
#define LAST_WORDS_NS (3 * NS_PER_S)

static void pump(struct channel *c) { loop_activate(c->env->loop, &c->task); }
static void report(struct channel *c) { loop_defer(c->env->loop, &c->report); }
static struct channel *channel_of(const struct xport *x) { return x->owner; }
static enum channel_side side_of(const struct channel *c, const struct xport *x) { return c->end[SIDE_SINK] == x ? SIDE_SINK : SIDE_SOURCE; }

/* ------------------------------------------------------------ what the ends say */

static void on_kick(struct xport *x) { pump(channel_of(x)); }

static void on_prepared(struct xport *x, const struct xport_answer *a)
{
    struct channel *c = channel_of(x);
    enum channel_side side = side_of(c, x);
    c->preparing[side] = false;
    c->prepared_due[side] = true;
    c->answer[side] = *a;
    report(c);
}

static void on_up(struct xport *x)
{
    struct channel *c = channel_of(x);
    c->up_due[side_of(c, x)] = true;
    report(c);
    pump(c);
}

/* The flow that an end brings, and the one that it takes; NULL: simplex, and not in this direction. */
static struct flow *backward(struct channel *c) { return c->n_flows > 1 ? &c->flow[BACKWARD] : NULL; }
static struct flow *brought_by(struct channel *c, enum channel_side side) { return side == SIDE_SOURCE ? &c->flow[FORWARD] : backward(c); }
static struct flow *taken_by(struct channel *c, enum channel_side side) { return side == SIDE_SINK ? &c->flow[FORWARD] : backward(c); }

/* An end that has brought everything and taken everything, or any after the end, may fail without harm; but not by breaking the protocol. */
static bool harmless(struct channel *c, enum channel_side side)
{
    const struct flow *in = brought_by(c, side), *out = taken_by(c, side);
    bool done = (!in || ring_ended(&in->ring)) && (!out || flow_finished(out));
    return c->finished || c->closing || (done && c->end[side]->rc != -SST_EPROTO);
}

static void stop_parting(struct channel *c)
{
    c->parting = false;
    loop_timer_stop(c->env->loop, &c->patience);
}

static void tell_failed(struct channel *c, enum channel_side side)
{
    stop_parting(c);
    c->fail_due[side] = true;
    report(c);
}

static void on_patience(struct timer *t)
{
    struct channel *c = container_of(t, struct channel, patience);
    tell_failed(c, c->lost);
}

static void part(struct channel *c, enum channel_side side)
{
    c->parting = true;
    c->lost = side;
    loop_timer(c->env->loop, &c->patience, LAST_WORDS_NS);
    pump(c);
}

static void on_failed(struct xport *x)
{
    struct channel *c = channel_of(x);
    enum channel_side side = side_of(c, x);
    if (harmless(c, side))
        return;
    if (c->preparing[side] && x->rc == -SST_ENOTRANSPORT) {
        c->unusable_due[side] = true;
        report(c);
        return;
    }
    c->failed = true;
    if (c->parting) /* nobody is left who could take them */
        tell_failed(c, c->lost);
    else if (x->last_words && brought_by(c, side) && xport_usable(c->end[!side]))
        part(c, side);
    else
        tell_failed(c, side);
}

static const struct xport_host host = { .kick = on_kick, .prepared = on_prepared, .up = on_up, .failed = on_failed };

static void on_end_unusable(struct xport *x);

static bool take(bool *due)
{
    bool was = *due;
    *due = false;
    return was;
}

static void on_report(struct defer *d)
{
    struct channel *c = container_of(d, struct channel, report);
    for (enum channel_side s = 0; s < SIDES; s++) {
        if (take(&c->prepared_due[s]) && !c->closing)
            c->events->prepared(c, s, &c->answer[s]);
        if (take(&c->unusable_due[s]) && !c->closing)
            xport_close(c->end[s], 0, on_end_unusable);
        if (take(&c->up_due[s]) && !c->closing)
            c->events->up(c, s);
    }
    for (unsigned i = 0; i < c->n_flows; i++)
        if (take(&c->ended_due[i]) && !c->closing)
            c->events->ended(c, i);
    if (take(&c->finished_due) && !c->closing)
        c->events->finished(c);
    for (enum channel_side s = 0; s < SIDES; s++)
        if (take(&c->fail_due[s]) && !c->closing)
            c->events->failed(c, s);
    if (take(&c->closed_due))
        c->events->closed(c); /* frees c */
}

/* ------------------------------------------------------------ the task */

static void note_progress(struct channel *c)
{
    bool finished = true;
    for (unsigned i = 0; i < c->n_flows; i++) {
        struct flow *f = &c->flow[i];
        if (!f->end_told && flow_ended(f)) {
            f->end_told = c->ended_due[i] = true;
            report(c);
        }
        finished &= flow_finished(f);
    }
    if (!c->finished && finished) {
        c->finished = c->finished_due = true;
        report(c);
    }
}

static bool all_said(struct channel *c)
{
    const struct flow *f = brought_by(c, c->lost);
    return ring_ended(&f->ring) ? flow_finished(f) : !c->end[c->lost]->last_words && ring_held(&f->ring) == 0;
}

/* Only what the lost end brought is pumped: nobody takes what the other brings. It may have been all, and then it is no failure. */
static int hand_on(struct channel *c)
{
    struct flow *f = brought_by(c, c->lost);
    uint64_t before = f->ring.rel;
    int worked = flow_pump(f);
    note_progress(c);
    if (c->finished)
        stop_parting(c);
    else if (c->parting && all_said(c))
        tell_failed(c, c->lost);
    else if (c->parting && f->ring.rel != before)
        loop_timer(c->env->loop, &c->patience, LAST_WORDS_NS);
    return worked;
}

static int channel_progress(struct task *t)
{
    struct channel *c = container_of(t, struct channel, task);
    int worked = 0;
    if (c->closing)
        return 0;
    for (unsigned i = 0; i < c->n_flows && !c->failed; i++)
        flow_ready(&c->flow[i]);
    for (enum channel_side s = 0; s < SIDES; s++)
        worked |= xport_progress(c->end[s]);
    if (c->failed)
        return c->parting ? hand_on(c) : 0;
    for (unsigned i = 0; i < c->n_flows && !c->failed; i++)
        worked |= flow_pump(&c->flow[i]);
    note_progress(c);
    return worked || c->parting; /* the last words are asked for before anybody sleeps */
}

/* Until one of the flows may go on that the clock holds; 0: it holds none. While the last words are handed on nobody pumps the other one. */
static uint64_t paced_wait(struct channel *c)
{
    uint64_t least = 0;
    for (unsigned i = 0; i < c->n_flows; i++) {
        const struct flow *f = &c->flow[i];
        uint64_t wait = !c->parting || f == brought_by(c, c->lost) ? flow_paced_wait(f) : 0;
        if (wait && (!least || wait < least))
            least = wait;
    }
    return least;
}

static int channel_arm(struct task *t)
{
    struct channel *c = container_of(t, struct channel, task);
    if (c->closing || (c->failed && !c->parting))
        return 0;
    for (enum channel_side s = 0; s < SIDES; s++)
        if (xport_arm(c->end[s]) == -EBUSY)
            return -EBUSY;
    uint64_t wait = paced_wait(c);
    if (wait)
        loop_timer(c->env->loop, &c->pace, wait);
    return 0;
}

static void on_pace(struct timer *t) { pump(container_of(t, struct channel, pace)); }

/* ------------------------------------------------------------ life */

static int make_flows(struct channel *c, const struct channel_spec *s)
{
    enum ring_pages pages = (enum ring_pages)c->env->conf->g.huge_pages;
    int rc = 0;
    for (unsigned i = 0; i < c->n_flows && rc == 0; i++)
        if (s->pool)
            flow_init_pooled(&c->flow[i], s->pool, &s->stats->flow[i]);
        else
            rc = flow_init(&c->flow[i], s->window, pages, s->digest, &s->stats->flow[i]);
    for (unsigned i = 0; i < c->n_flows && rc == 0 && s->pipes; i++)
        flow_use_pipes(&c->flow[i], s->pipes);
    return rc;
}

int channel_new(struct xport_env *env, const struct channel_spec *s, const struct channel_events *ev, struct channel **out)
{
    struct channel *c = mem_zalloc(1, sizeof(*c));
    c->id = s->id;
    c->env = env;
    c->events = ev;
    c->stats = s->stats;
    list_init(&c->node);
    task_init(&c->task, channel_progress, channel_arm);
    defer_init(&c->report, on_report);
    c->pace.fire = on_pace;
    c->patience.fire = on_patience;
    c->n_flows = s->duplex ? 2 : 1;
    int rc = make_flows(c, s);
    if (rc < 0) {
        channel_free(c);
        return rc;
    }
    flow_set_rate(&c->flow[FORWARD], s->rate);
    for (unsigned i = 0; i < c->n_flows; i++)
        flow_use_share(&c->flow[i], s->share, i);
    stats_set(&c->stats->id, c->id);
    *out = c;
    return 0;
}

void channel_free(struct channel *c)
{
    loop_sleep(c->env->loop, &c->task);
    loop_timer_stop(c->env->loop, &c->pace);
    loop_timer_stop(c->env->loop, &c->patience);
    defer_cancel(&c->report);
    list_del(&c->node);
    for (unsigned i = 0; i < c->n_flows; i++)
        flow_fini(&c->flow[i]);
    stats_set(&c->stats->id, 0);
    atomic_thread_fence(memory_order_release); /* nobody reads counters of nothing as those of this channel */
    memset(&c->stats->flow, 0, sizeof(c->stats->flow));
    free(c);
}

static void set_end(struct channel *c, enum channel_side side, struct xport *x)
{
    struct flow *in = brought_by(c, side), *out = taken_by(c, side);
    c->end[side] = x;
    if (in)
        in->source = x;
    if (out)
        out->sink = x;
}

/* A duplex channel with an end that is not: what it cannot bring is empty, what it cannot take is dropped. */
static void be_simplex(struct channel *c, enum channel_side side)
{
    struct flow *f = &c->flow[BACKWARD];
    if (side == SIDE_SINK)
        (void)ring_end(&f->ring, 0);
    f->discard |= side == SIDE_SOURCE;
    f->source = side == SIDE_SINK ? NULL : f->source;
    f->sink = side == SIDE_SINK ? f->sink : NULL;
}

static int add_rings(struct channel *c, enum channel_side side, bool simplex)
{
    struct xport *x = c->end[side];
    struct flow *in = brought_by(c, side), *out = taken_by(c, side);
    if (simplex && c->n_flows > 1) {
        be_simplex(c, side);
        *(side == SIDE_SINK ? &in : &out) = NULL;
    }
    int rc = in ? x->ops->mem_add(x, &in->ring, true) : 0;
    return rc == 0 && out ? x->ops->mem_add(x, &out->ring, false) : rc;
}

int channel_open_end(struct channel *c, enum channel_side side, const struct xport_ops *ops, const struct xport_spec *s,
                     struct xport_answer *answer)
{
    if (c->end[side] || c->closing)
        return -EEXIST;
    struct xport *x = ops->create(c->env);
    if (!x)
        return -ENOMEM;
    x->host = &host;
    x->owner = c;
    x->forward = side == SIDE_SINK;
    set_end(c, side, x);
    c->open_ends++;
    c->preparing[side] = answer != NULL;
    int rc = add_rings(c, side, s->simplex);
    if (rc == 0)
        rc = answer ? ops->accept(x, s, answer) : ops->connect(x, s);
    c->preparing[side] = rc == 1;
    if (rc >= 0 && x->state == XPORT_NEW)
        x->state = XPORT_OPENING;
    pump(c);
    return rc;
}

static void forget_end(struct channel *c, enum channel_side side)
{
    set_end(c, side, NULL);
    c->open_ends--;
}

/* While c closes, this was one of its ends like any other. */
static void on_end_unusable(struct xport *x)
{
    struct channel *c = channel_of(x);
    enum channel_side side = side_of(c, x);
    forget_end(c, side);
    c->preparing[side] = false;
    if (!c->closing) {
        c->events->unusable(c, side, x->why);
        return;
    }
    c->closed_due = c->open_ends == 0;
    report(c);
}

static void on_end_closed(struct xport *x)
{
    struct channel *c = channel_of(x);
    forget_end(c, side_of(c, x));
    if (c->open_ends == 0) {
        c->closed_due = true;
        report(c);
    }
}

void channel_close(struct channel *c, int rc)
{
    if (c->closing)
        return;
    c->closing = true;
    loop_sleep(c->env->loop, &c->task);
    loop_timer_stop(c->env->loop, &c->pace);
    loop_timer_stop(c->env->loop, &c->patience);
    if (c->open_ends == 0) {
        c->closed_due = true;
        report(c);
    }
    for (enum channel_side s = 0; s < SIDES; s++)
        if (c->end[s] && c->end[s]->state != XPORT_CLOSING) /* an unusable one may be on its way out */
            xport_close(c->end[s], rc, on_end_closed);
}
