#include "src/engine/flow.h"

#include "src/core/err.h"

#define TURN_ROUNDS 4             /* fill + drain rounds before other channels get their turn */
#define TURN_BYTES (1U << 20)     /* and bytes, where a pipe takes that much at once */
#define FILLS 4                   /* before a drain by the chunk */
#define PACE_SLICE_NS (2 * NS_PER_MS)
#define SHARE_AHEAD (256U << 10)  /* taken and not used yet: a chunk of most transports */

int flow_init(struct flow *f, size_t window, enum ring_pages pages, bool digest, struct stats_flow *stats)
{
    int rc = ring_init(&f->ring, window, pages);
    if (rc < 0)
        return rc;
    f->digest = digest ? digest_new() : NULL;
    f->stats = stats;
    f->since_ns = now_ns();
    return 0;
}

void flow_init_pooled(struct flow *f, struct ring_pool *pool, struct stats_flow *stats)
{
    ring_init_bare(&f->ring, pool->cap);
    f->pool = pool;
    f->stats = stats;
    f->since_ns = now_ns();
}

void flow_use_pipes(struct flow *f, struct ring_pool *pool) { f->pipes = f->digest ? NULL : pool; }

void flow_fini(struct flow *f)
{
    if (f->pipes)
        ring_pool_take_pipe(f->pipes, &f->ring);
    if (f->pool)
        ring_pool_take(f->pool, &f->ring);
    else if (f->ring.base)
        ring_fini(&f->ring);
    digest_free(f->digest);
    f->digest = NULL;
}

/* ------------------------------------------------------------ pacing: the ring's gate moves with the clock */

void flow_set_rate(struct flow *f, uint64_t bits_per_s)
{
    f->rate_bytes = bits_per_s / 8;
    f->ring.gate = f->rate_bytes ? 0 : UINT64_MAX;
}

/* What a turn may catch up when it comes late: 10 slices, not more. */
static uint64_t pace_burst(const struct flow *f) { return MAX(f->rate_bytes * 10 * PACE_SLICE_NS / NS_PER_S, 1500); }

/* In slices: a gate that moved with every turn would send crumbs and never sleep. */
static void move_gate(struct flow *f, uint64_t now)
{
    if (f->paced_ns == 0)
        f->paced_ns = now - PACE_SLICE_NS;
    if (now - f->paced_ns < PACE_SLICE_NS)
        return;
    uint64_t grown = (uint64_t)((double)(now - f->paced_ns) * (double)f->rate_bytes / (double)NS_PER_S);
    if (grown == 0)
        return;
    f->paced_ns = now;
    f->ring.gate = MIN(f->ring.gate + grown, f->ring.sub + pace_burst(f));
}

void flow_use_share(struct flow *f, struct share *s, unsigned way)
{
    f->taker = (struct share_taker){ .share = s, .way = way };
}

/* For bytes that are here, and only as many ahead as go at once: what one does not use, others of the session could. */
static void ask_share(struct flow *f, uint64_t now)
{
    struct ring *r = &f->ring;
    if (share_rate(f->taker.share) == 0) {
        r->gate = UINT64_MAX;
        return;
    }
    if (r->gate == UINT64_MAX)
        r->gate = r->sub;
    if (r->put > r->gate && r->gate - r->sub < SHARE_AHEAD)
        r->gate += share_take(&f->taker, r->put - r->gate, now);
}

uint64_t flow_paced_wait(const struct flow *f)
{
    uint64_t now, until = f->taker.share ? f->taker.again_ns : f->paced_ns + PACE_SLICE_NS;
    if ((!f->rate_bytes && !f->taker.share) || f->ring.put <= f->ring.sub || f->ring.gate > f->ring.sub)
        return 0;
    now = now_ns();
    return until > now ? until - now : 1;
}

/* ------------------------------------------------------------ pumping */

static void hash_new_bytes(struct flow *f)
{
    struct ring *r = &f->ring;
    if (f->digest && f->hashed < r->put) {
        digest_add(f->digest, ring_at(r, f->hashed), r->put - f->hashed);
        f->hashed = r->put;
    }
}

static enum stats_wait waiting_for(const struct flow *f)
{
    const struct ring *r = &f->ring;
    if (r->put > r->sub && !ring_waiting(r))
        return WAIT_RATE;
    /* Bytes that are not taken; or taken and not released, with less room left than a source that reads in quarters of its ring can use. */
    if (r->put > r->sub || (r->put > r->rel && (ring_ended(r) || ring_room(r) < r->cap / 4)))
        return f->sink ? f->sink->ops->blocked(f->sink) : WAIT_SINK;
    return WAIT_SOURCE;
}

static void account(struct flow *f, uint64_t now, bool moved)
{
    struct stats_flow *s = f->stats;
    uint32_t was = atomic_load_explicit(&s->waiting_for, memory_order_relaxed);
    if (was < WAIT_KINDS)
        stats_add(&s->wait_ns[was], now - f->since_ns);
    f->since_ns = now;
    stats_set(&s->since_ns, now);
    atomic_store_explicit(&s->waiting_for, moved || flow_finished(f) ? WAIT_KINDS : waiting_for(f), memory_order_relaxed);
    stats_set(&s->put, f->ring.put);
    stats_set(&s->sub, f->ring.sub);
    stats_set(&s->rel, f->ring.rel);
}

static bool fill(struct flow *f)
{
    int n = 0, most = f->sink && f->sink->ops->by_chunk ? FILLS : 1;
    while (n < most && f->source && xport_fill(f->source, &f->ring) == 0)
        n++;
    return n > 0;
}

static bool discard(struct ring *r)
{
    size_t n = ring_waiting(r);
    ring_submit(r, n);
    ring_release_to(r, r->sub);
    return n > 0;
}

/* One look at both ends. True: a counter moved (*moved, too), or an end did something else (opened its next file, or served the other
 * direction) and wants another look. */
static bool pump_once(struct flow *f, uint64_t now, bool *moved)
{
    struct ring *r = &f->ring;
    uint64_t before = r->put + r->sub + r->rel;
    bool did = fill(f);
    hash_new_bytes(f);
    if (f->taker.share)
        ask_share(f, now);
    did |= f->discard ? discard(r) : f->sink && xport_drain(f->sink, r) == 0;
    if ((f->sink || f->discard) && !f->shut && ring_all_submitted(r))
        f->shut = f->discard || xport_shut(f->sink, r) == 0;
    bool counted = r->put + r->sub + r->rel != before;
    *moved |= counted;
    return did || counted;
}

static bool wants_pipe(const struct flow *f) { return f->source && f->source->bulk && f->sink && f->sink->splices; }

void flow_ready(struct flow *f)
{
    if (f->pipes && wants_pipe(f) && f->ring.sub == f->ring.put)
        ring_pool_lend_pipe(f->pipes, &f->ring);
}

/* False: there is no memory, and the source has failed for it. */
static bool borrow(struct flow *f)
{
    int rc = f->pool && f->source && !ring_ended(&f->ring) ? ring_pool_lend(f->pool, &f->ring, wants_pipe(f)) : 0;
    if (rc < 0)
        xport_fail(f->source, rc, "ring of %zu bytes: %s (memory, or vm.max_map_count mappings, used up)", f->ring.cap, err_text(rc));
    return rc == 0;
}

static void give_back(struct flow *f)
{
    if (f->pipes && f->ring.pipe_held == 0)
        ring_pool_take_pipe(f->pipes, &f->ring);
    if (f->pool && ring_held(&f->ring) == 0)
        ring_pool_take(f->pool, &f->ring);
}

int flow_pump(struct flow *f)
{
    uint64_t now = now_ns();
    bool did = false, moved = false;
    if (!borrow(f))
        return 0;
    if (f->rate_bytes)
        move_gate(f, now);
    uint64_t from = f->ring.put;
    bool much = f->pool || f->pipes;
    for (int i = 0; i < TURN_ROUNDS && (!much || f->ring.put - from < TURN_BYTES) && pump_once(f, now, &moved); i++)
        did = true;
    give_back(f);
    account(f, now, moved);
    return did;
}

bool flow_ended(const struct flow *f) { return ring_ended(&f->ring) && (!f->digest || f->hashed == f->ring.put); }

bool flow_finished(const struct flow *f) { return f->shut && ring_all_released(&f->ring); }
