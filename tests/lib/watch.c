#include "tests/lib/watch.h"

#include <stdio.h>

/* ------------------------------------------------------------ one channel */

static struct watch *event(const struct channel *c)
{
    struct watch *w = c->owner;
    w->reentered += w->busy;
    return w;
}

static void on_up(struct channel *c, enum channel_side side) { event(c)->up[side]++; }

static void on_ended(struct channel *c)
{
    struct watch *w = event(c);
    w->ended++;
    w->has_digest = c->flow.digest != NULL;
    if (w->has_digest)
        digest_get(c->flow.digest, w->digest);
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
    w->total = c->flow.ring.total;
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

static void on_closed(struct channel *c)
{
    struct watch *w = event(c);
    w->closed++;
    w->c = NULL;
    channel_free(c);
}

static const struct channel_events events = {
    .up = on_up, .ended = on_ended, .finished = on_finished, .failed = on_failed, .closed = on_closed,
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
    s.peer_window = c->blind ? 0 : c->near.c->flow.ring.cap;
    if (watch_end(&c->far, SIDE_SOURCE, &xport_mem_ops, &s, &a) < 0)
        return;
    s.chunk_max = a.chunk_max;
    s.peer_window = c->blind ? 0 : c->far.c->flow.ring.cap;
    watch_end(&c->near, SIDE_SINK, &xport_mem_ops, &s, NULL);
}

void chain_open(struct chain *c)
{
    const struct channel_spec near = { .id = 1, .window = c->near_ring, .digest = true, .rate = c->rate },
                              far = { .id = 2, .window = c->far_ring, .digest = true };
    mem_forget();
    watch_open(&c->near, c->rig, 0, &near);
    if (c->wire) {
        watch_open(&c->far, c->rig, 1, &far);
        join(c);
    }
    watch_bytes(&c->near, SIDE_SOURCE, "source", &c->source);
    watch_bytes(c->wire ? &c->far : &c->near, SIDE_SINK, "sink", &c->sink);
}

static bool chain_over(void *arg)
{
    struct chain *c = arg;
    if (watch_failed(&c->near) || (c->wire && watch_failed(&c->far)))
        return true;
    return watch_over(&c->near) && (!c->wire || watch_over(&c->far));
}

bool chain_run(struct chain *c) { return rig_until(c->rig, chain_over, c); }

static bool watch_whole(const struct watch *w, uint64_t total)
{
    return w->up[SIDE_SOURCE] == 1 && w->up[SIDE_SINK] == 1 && w->ended == 1 && w->finished == 1 && !watch_failed(w) && w->total == total &&
           w->reentered == 0;
}

bool chain_whole(const struct chain *c)
{
    bool far = !c->wire || (watch_whole(&c->far, c->source.bytes) && memcmp(c->near.digest, c->far.digest, DIGEST_SIZE) == 0);
    bool ok = watch_whole(&c->near, c->source.bytes) && far && c->sink.moved == c->source.bytes && c->sink.wrong == 0 && c->sink.shut;
    if (!ok)
        printf("\n  near: up %u %u ended %u finished %u failed '%s' '%s'; far: up %u %u ended %u finished %u failed '%s' '%s'; "
               "%llu of %llu bytes, %llu wrong\n", c->near.up[0], c->near.up[1], c->near.ended, c->near.finished, c->near.why[0], c->near.why[1],
               c->far.up[0], c->far.up[1], c->far.ended, c->far.finished, c->far.why[0], c->far.why[1],
               (unsigned long long)c->sink.moved, (unsigned long long)c->source.bytes, (unsigned long long)c->sink.wrong);
    return ok;
}

bool chain_close(struct chain *c, int rc)
{
    bool near = watch_close(&c->near, rc);
    return (!c->wire || watch_close(&c->far, rc)) && near;
}
