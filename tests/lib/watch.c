#include "tests/lib/watch.h"

#include <stdio.h>

/* ------------------------------------------------------------ one channel */

static struct watch *event(const struct channel *c)
{
    struct watch *w = c->owner;
    w->reentered += w->busy;
    return w;
}

static void on_prepared(struct channel *c, enum channel_side side, const struct xport_answer *a)
{
    struct watch *w = event(c);
    w->prepared[side]++;
    w->answer = *a;
}

static void on_up(struct channel *c, enum channel_side side) { event(c)->up[side]++; }

static void on_ended(struct channel *c, unsigned flow)
{
    struct watch *w = event(c);
    (*(flow == BACKWARD ? &w->ended_back : &w->ended))++;
    w->has_digest = c->flow[flow].digest != NULL;
    if (w->has_digest)
        digest_get(c->flow[flow].digest, flow == BACKWARD ? w->digest_back : w->digest);
}

static void close_now(struct watch *w, int rc)
{
    w->busy = true;
    channel_close(w->c, rc);
    w->busy = false;
}

static void on_finished(struct channel *c)
{
    struct watch *w = event(c);
    w->finished++;
    w->total = c->flow[FORWARD].ring.total;
    w->total_back = c->n_flows > 1 ? c->flow[BACKWARD].ring.total : 0;
    if (w->close_on_finish)
        close_now(w, 0);
}

static void on_failed(struct channel *c, enum channel_side side)
{
    struct watch *w = event(c);
    w->failed[side]++;
    w->rc[side] = c->end[side]->rc;
    str_copy(w->why[side], XPORT_WHY, c->end[side]->why);
    if (w->close_on_failure)
        close_now(w, w->rc[side]);
}

static void on_unusable(struct channel *c, enum channel_side side, const char *why)
{
    struct watch *w = event(c);
    w->unusable[side]++;
    str_copy(w->why[side], XPORT_WHY, why);
    w->reentered += c->end[side] != NULL; /* it must be gone: another may be opened from here */
    if (w->close_on_unusable)
        close_now(w, -SST_ENOTRANSPORT);
}

static void on_closed(struct channel *c)
{
    struct watch *w = event(c);
    w->closed++;
    w->c = NULL;
    channel_free(c);
}

static const struct channel_events events = {
    .prepared = on_prepared, .up = on_up, .ended = on_ended, .finished = on_finished, .failed = on_failed, .unusable = on_unusable,
    .closed = on_closed,
};

void watch_open(struct watch *w, struct rig *r, unsigned e, const struct channel_spec *s)
{
    struct channel_spec spec = *s;
    *w = (struct watch){ .rig = r };
    spec.stats = &r->env[e].stats->ch[spec.id % STATS_CHANNELS];
    if (channel_new(&r->env[e], &spec, &events, &w->c) < 0)
        abort(); /* memory */
    w->c->owner = w;
}

int watch_end(struct watch *w, enum channel_side side, const struct xport_ops *ops, const struct xport_spec *s, struct xport_answer *a)
{
    w->busy = true;
    int rc = channel_open_end(w->c, side, ops, s, a);
    w->busy = false;
    if (rc < 0 && !w->c->end[side]) {
        w->failed[side]++;
        w->rc[side] = rc;
    }
    return rc;
}

int watch_bytes(struct watch *w, enum channel_side side, const char *name, struct mem_plan *p)
{
    const struct xport_spec s = { .address = name, .fd = -1 };
    mem_plan_add(name, p);
    return watch_end(w, side, &xport_mem_ops, &s, NULL);
}

static bool is_closed(void *arg) { return ((struct watch *)arg)->c == NULL; }

bool watch_close(struct watch *w, int rc)
{
    if (w->c)
        close_now(w, rc);
    return rig_until(w->rig, is_closed, w);
}

bool watch_over(void *arg)
{
    const struct watch *w = arg;
    return w->finished || watch_failed(w) || !w->c;
}

/* ------------------------------------------------------------ chains */

static void join(struct chain *c)
{
    static const uint8_t cookie[XPORT_COOKIE] = "between channels";
    struct xport_spec s = { .address = "wire", .chunk_max = c->chunk, .fd = -1 };
    struct xport_answer a = { .chunk_max = 0 };
    memcpy(s.cookie, cookie, sizeof(cookie));
    mem_wire_add("wire", c->wire);
    s.peer_window = c->blind ? 0 : c->near.c->flow[FORWARD].ring.cap;
    if (watch_end(&c->far, SIDE_SOURCE, &xport_mem_ops, &s, &a) < 0)
        return;
    s.chunk_max = a.chunk_max;
    s.peer_window = c->blind ? 0 : c->far.c->flow[FORWARD].ring.cap;
    watch_end(&c->near, SIDE_SINK, &xport_mem_ops, &s, NULL);
}

void chain_open(struct chain *c)
{
    const struct channel_spec near = { .id = 1, .window = c->near_ring, .digest = true, .rate = c->rate, .duplex = c->duplex },
                              far = { .id = 2, .window = c->far_ring, .digest = true, .duplex = c->duplex };
    mem_forget();
    c->source.back = c->duplex ? &c->back_sink : NULL;
    c->sink.back = c->duplex ? &c->back_source : NULL;
    watch_open(&c->near, c->rig, 0, &near);
    if (c->wire) {
        watch_open(&c->far, c->rig, 1, &far);
        join(c);
    }
    watch_bytes(&c->near, SIDE_SOURCE, "source", &c->source);
    watch_bytes(c->wire ? &c->far : &c->near, SIDE_SINK, "sink", &c->sink);
}

bool pair_over(const struct watch *near, const struct watch *far)
{
    if (watch_failed(near) || (far && watch_failed(far)))
        return true;
    return near->finished && (!far || far->finished);
}

static bool whole(const struct watch *w, uint64_t total, const struct mem_plan *back)
{
    bool back_whole = w->ended_back == (back ? 1 : 0) && w->total_back == (back ? back->bytes : 0);
    return w->up[SIDE_SOURCE] == 1 && w->up[SIDE_SINK] == 1 && w->ended == 1 && w->finished == 1 && !watch_failed(w) && w->total == total &&
           back_whole && w->reentered == 0;
}

static bool all_came(const struct mem_plan *source, const struct mem_plan *sink)
{
    return sink->moved == source->bytes && sink->wrong == 0 && sink->shut;
}

static bool same_digests(const struct watch *a, const struct watch *b)
{
    return memcmp(a->digest, b->digest, DIGEST_SIZE) == 0 && memcmp(a->digest_back, b->digest_back, DIGEST_SIZE) == 0;
}

static void show(const char *name, const struct watch *w)
{
    printf("\n  %s: up %u %u ended %u %u finished %u failed '%s' '%s'; ", name, w->up[0], w->up[1], w->ended, w->ended_back, w->finished, w->why[0],
           w->why[1]);
}

static void show_bytes(const struct mem_plan *source, const struct mem_plan *sink)
{
    printf("%llu of %llu bytes, %llu wrong\n", (unsigned long long)sink->moved, (unsigned long long)source->bytes, (unsigned long long)sink->wrong);
}

bool pair_whole(const struct watch *near, const struct watch *far, const struct mem_plan *source, const struct mem_plan *sink)
{
    const struct mem_plan *back = sink->back;
    bool far_whole = !far || (whole(far, source->bytes, back) && same_digests(near, far));
    if (whole(near, source->bytes, back) && far_whole && all_came(source, sink) && (!back || all_came(back, source->back)))
        return true;
    show("near", near);
    if (far)
        show("far", far);
    show_bytes(source, sink);
    if (back)
        show_bytes(back, source->back);
    return false;
}

bool pair_close(struct watch *near, struct watch *far, int rc)
{
    bool near_closed = watch_close(near, rc);
    return (!far || watch_close(far, rc)) && near_closed;
}

/* ------------------------------------------------------------ a chain is such a pair */

static const struct watch *far_of(const struct chain *c) { return c->wire ? &c->far : NULL; }

static bool chain_over(void *arg)
{
    const struct chain *c = arg;
    return pair_over(&c->near, far_of(c));
}

bool chain_run(struct chain *c) { return rig_until(c->rig, chain_over, c); }
bool chain_whole(const struct chain *c) { return pair_whole(&c->near, far_of(c), &c->source, &c->sink); }
bool chain_close(struct chain *c, int rc) { return pair_close(&c->near, c->wire ? &c->far : NULL, rc); }
