#include "tests/unit/stage.h"

#include <stdio.h>

const uint8_t stage_cookie[XPORT_COOKIE] = "a cookie of 16..";

void stage_init(struct stage *s, const struct xport_ops *ops, uint64_t patience_ns)
{
    *s = (struct stage){ .on = &s->rig, .ops = ops, .near_ring = 1 << 20, .far_ring = 1 << 20, .names = { "source", "sink" },
                         .spec = { .address = "127.0.0.1", .chunk_max = 256 << 10, .fd = -1 } };
    memcpy(s->spec.cookie, stage_cookie, XPORT_COOKIE);
    rig_open(&s->rig);
    mem_forget();
    if (patience_ns)
        s->rig.conf->g.attach_timeout = patience_ns;
    s->rig.env[0].accepts = true;
}

void stage_listen(struct stage *s)
{
    char why[XPORT_WHY] = "";
    for (int e = 0; e < 2; e++)
        if (s->ops->listen(&s->rig.env[e], why, sizeof(why)) < 0) {
            printf("\n  %s\n", why);
            CU_FAIL_FATAL("this transport cannot be used on this machine");
        }
}

void stage_close(struct stage *s)
{
    for (int e = 0; e < 2; e++)
        s->ops->unlisten(&s->rig.env[e]);
    rig_close(&s->rig);
}

void stage_further(struct stage *out, struct stage *s, unsigned number)
{
    *out = (struct stage){ .on = s->on, .ops = s->ops, .spec = s->spec, .near_ring = s->near_ring, .far_ring = s->far_ring,
                           .reverse = s->reverse, .duplex = s->duplex, .back_bytes = s->back_bytes, .number = number };
    memcpy(out->spec.cookie + XPORT_COOKIE - sizeof(number), &number, sizeof(number));
    snprintf(out->names[0], sizeof(out->names[0]), "source %u", number);
    snprintf(out->names[1], sizeof(out->names[1]), "sink %u", number);
}

/* ------------------------------------------------------------ channels */

static void add_bytes(struct stage *s, struct watch *w, enum channel_side xport_side)
{
    s->source.back = s->duplex ? &s->back_sink : NULL;
    s->sink.back = s->duplex ? &s->back_source : NULL;
    if (xport_side == SIDE_SINK)
        watch_bytes(w, SIDE_SOURCE, s->names[0], &s->source);
    else
        watch_bytes(w, SIDE_SINK, s->names[1], &s->sink);
}

void stage_accept(struct stage *s)
{
    const struct channel_spec c = { .id = 1 + s->number, .window = s->far_ring, .digest = true, .duplex = s->duplex };
    s->spec.peer_window = s->near_ring;
    watch_open(&s->far, s->on, 0, &c);
    CU_ASSERT_EQUAL_FATAL(watch_end(&s->far, stage_far_side(s), s->ops, &s->spec, &s->answer), 0);
    CU_ASSERT(s->answer.port != 0 && s->answer.chunk_max > 0 && s->answer.chunk_max <= s->spec.chunk_max);
    s->spec.port = s->answer.port;
    if (*s->answer.address)
        s->spec.address = s->answer.address;
    add_bytes(s, &s->far, stage_far_side(s));
}

int stage_dial(struct stage *s)
{
    const struct channel_spec c = { .id = 1 + s->number, .window = s->near_ring, .digest = true, .duplex = s->duplex };
    s->spec.peer_window = s->far_ring;
    watch_open(&s->near, s->on, 1, &c);
    int rc = watch_end(&s->near, stage_near_side(s), s->ops, &s->spec, NULL);
    add_bytes(s, &s->near, stage_near_side(s));
    return rc;
}

static struct mem_plan source_plan(const struct mem_plan *moods, uint64_t bytes, uint64_t seed)
{
    return (struct mem_plan){ .bytes = bytes, .seed = seed, .part = moods->part, .again = moods->again, .held = moods->held,
                              .held_at = moods->held_at };
}

static struct mem_plan sink_plan(const struct mem_plan *moods, uint64_t seed)
{
    return (struct mem_plan){ .seed = seed, .part = moods->part, .again = moods->again, .lag = moods->lag, .held = moods->held,
                              .held_at = moods->held_at };
}

void stage_stream(struct stage *s, uint64_t bytes)
{
    if (s->number == 0)
        mem_forget();
    s->source = source_plan(&s->source, bytes, 11);
    s->sink = sink_plan(&s->sink, 11);
    s->back_source = source_plan(&s->back_source, s->back_bytes, 12);
    s->back_sink = sink_plan(&s->back_sink, 12);
    stage_accept(s);
    CU_ASSERT_EQUAL(stage_dial(s), 0);
}

bool stage_over(void *arg)
{
    const struct stage *s = arg;
    return pair_over(&s->near, &s->far);
}

bool stage_whole(const struct stage *s) { return pair_whole(&s->near, &s->far, &s->source, &s->sink); }

void stage_end_stream(struct stage *s)
{
    CU_ASSERT_TRUE(pair_close(&s->near, &s->far, 0));
    CU_ASSERT(s->near.reentered == 0 && s->far.reentered == 0);
}

void stage_run_whole(struct stage *s, uint64_t bytes)
{
    stage_stream(s, bytes);
    CU_ASSERT_TRUE(rig_until(s->on, stage_over, s));
    CU_ASSERT_TRUE(stage_whole(s));
    stage_end_stream(s);
}

void stage_boundary_sizes(struct stage *s)
{
    static const size_t rings[][2] = { { 64 << 10, 64 << 10 }, { 64 << 10, 1 << 20 }, { 1 << 20, 64 << 10 } };
    for (size_t i = 0; i < ARRAY_LEN(rings); i++) {
        const uint64_t a = s->near_ring = rings[i][0], b = s->far_ring = rings[i][1];
        const uint64_t sizes[] = { 0, 1, a - 1, a, a + 1, b - 1, b, b + 1, a + b + 1 };
        for (size_t j = 0; j < ARRAY_LEN(sizes); j++)
            for (size_t back = j % 3; back < (s->duplex ? ARRAY_LEN(sizes) : j % 3 + 1); back += 3) {
                s->back_bytes = sizes[back];
                stage_run_whole(s, sizes[j]);
            }
    }
}

void stage_close_at_once(struct stage *s, uint64_t bytes)
{
    stage_stream(s, bytes);
    s->near.close_on_finish = s->far.close_on_finish = true;
    CU_ASSERT_TRUE(rig_until(s->on, stage_over, s));
    CU_ASSERT_TRUE(stage_whole(s));
    stage_end_stream(s);
}

/* ------------------------------------------------------------ duplex */

/* The plans of a direction. */
static struct mem_plan *source_of(struct stage *s, unsigned flow) { return flow == FORWARD ? &s->source : &s->back_source; }
static struct mem_plan *sink_of(struct stage *s, unsigned flow) { return flow == FORWARD ? &s->sink : &s->back_sink; }

/* The channel whose byte end brings the forward flow, and the other. */
static struct watch *first_of(struct stage *s) { return s->reverse ? &s->far : &s->near; }
static struct watch *last_of(struct stage *s) { return s->reverse ? &s->near : &s->far; }

static void let_go(struct stage *s, unsigned flow)
{
    source_of(s, flow)->held = sink_of(s, flow)->held = false;
    xport_kick(first_of(s)->c->end[SIDE_SOURCE]);
    xport_kick(last_of(s)->c->end[SIDE_SINK]);
}

struct waiting { struct stage *s; unsigned flow; uint64_t upto; };

static bool failed(const struct stage *s) { return watch_failed(&s->near) || watch_failed(&s->far); }

static bool shut(void *arg)
{
    const struct waiting *w = arg;
    return failed(w->s) || (sink_of(w->s, w->flow)->shut && flow_finished(&first_of(w->s)->c->flow[w->flow]) &&
                            flow_finished(&last_of(w->s)->c->flow[w->flow]));
}

/* Its source has brought what it will, or what fits at least. */
static bool stands(void *arg)
{
    const struct waiting *w = arg;
    return failed(w->s) || source_of(w->s, w->flow)->moved >= w->upto;
}

static void check_half_close(struct stage *s, unsigned early, uint64_t bytes)
{
    struct mem_plan *late = source_of(s, !early);
    *late = (struct mem_plan){ .held = true, .held_at = 100000 };
    s->back_bytes = early == FORWARD ? 3000000 : bytes;
    stage_stream(s, early == FORWARD ? bytes : 3000000);
    struct waiting over = { .s = s, .flow = early };
    CU_ASSERT_TRUE(rig_until(s->on, shut, &over));
    rig_wait(s->on, 20 * NS_PER_MS);
    CU_ASSERT(!failed(s) && !s->near.finished && !s->far.finished && late->moved == 100000);
    let_go(s, !early);
    CU_ASSERT_TRUE(rig_until(s->on, stage_over, s));
    CU_ASSERT_TRUE(stage_whole(s));
    stage_end_stream(s);
    *late = (struct mem_plan){ 0 };
}

void stage_half_close(struct stage *s)
{
    s->duplex = true;
    for (unsigned early = 0; early < 2; early++) {
        check_half_close(s, early, 0);
        check_half_close(s, early, 500000);
    }
}

static unsigned turns_of(struct stage *s, uint64_t ns)
{
    unsigned turns = 0;
    for (uint64_t until = now_ns() + ns; now_ns() < until; turns++)
        loop_turn(&s->on->loop, 20 * NS_PER_MS);
    return turns;
}

static void check_independent(struct stage *s, unsigned still, bool by_source, uint64_t bytes)
{
    struct mem_plan *p = by_source ? source_of(s, still) : sink_of(s, still);
    const uint64_t most = 2 * (s->near_ring + s->far_ring), full = MIN(s->near_ring, s->far_ring);
    *p = (struct mem_plan){ .held = true, .held_at = by_source ? 1000 : 0 };
    s->back_bytes = still == FORWARD ? bytes : most;
    stage_stream(s, still == FORWARD ? most : bytes);
    struct waiting stuck = { .s = s, .flow = still, .upto = by_source ? 1000 : full }, over = { .s = s, .flow = !still };
    CU_ASSERT_TRUE(rig_until(s->on, stands, &stuck));
    CU_ASSERT_TRUE(rig_until(s->on, shut, &over));
    CU_ASSERT(!failed(s) && !s->near.finished && !s->far.finished && sink_of(s, still)->moved <= 1000);
    CU_ASSERT(turns_of(s, 100 * NS_PER_MS) < 50); /* nobody spins */
    let_go(s, still);
    CU_ASSERT_TRUE(rig_until(s->on, stage_over, s));
    CU_ASSERT_TRUE(stage_whole(s));
    stage_end_stream(s);
    *p = (struct mem_plan){ 0 };
}

void stage_independent(struct stage *s, uint64_t bytes)
{
    s->duplex = true;
    for (unsigned i = 0; i < 4; i++)
        check_independent(s, i % 2, i / 2, i < 2 ? bytes : bytes / 10);
}

static bool first_closed(void *arg)
{
    struct stage *s = arg;
    return first_of(s)->closed || failed(s);
}

void stage_one_leaves(struct stage *s)
{
    s->duplex = true;
    for (unsigned i = 0; i < 4; i++) {
        s->sink.held = true;
        s->back_bytes = i % 2 ? 3000000 : 10;
        stage_stream(s, i / 2 * 100000);
        first_of(s)->close_on_finish = true;
        CU_ASSERT_TRUE(rig_until(s->on, first_closed, s));
        rig_wait(s->on, 20 * NS_PER_MS);
        CU_ASSERT(first_of(s)->finished == 1 && !failed(s) && !last_of(s)->finished && last_of(s)->ended == 1);
        s->sink.held = false;
        xport_kick(last_of(s)->c->end[SIDE_SINK]);
        CU_ASSERT_TRUE(rig_until(s->on, stage_over, s));
        CU_ASSERT_TRUE(stage_whole(s));
        stage_end_stream(s);
    }
}

static bool both_move(void *arg)
{
    const struct stage *s = arg;
    return failed(s) || (s->sink.moved > 300000 && s->back_sink.moved > 300000);
}

void stage_abort_duplex(struct stage *s)
{
    s->duplex = true;
    for (int i = 0; i < 2; i++) {
        s->back_bytes = 500 << 20;
        stage_stream(s, 500 << 20);
        CU_ASSERT_TRUE(rig_until(s->on, both_move, s));
        CU_ASSERT_FALSE(failed(s));
        struct watch *quits = i ? &s->near : &s->far, *hears = i ? &s->far : &s->near;
        enum channel_side side = i ? stage_far_side(s) : stage_near_side(s);
        CU_ASSERT_TRUE(watch_close(quits, -SST_EINTERRUPTED));
        CU_ASSERT_TRUE(rig_until(s->on, watch_over, hears));
        CU_ASSERT(hears->failed[side] == 1 && hears->failed[!side] == 0 && hears->finished == 0);
        CU_ASSERT_EQUAL(hears->rc[side], -SST_EINTERRUPTED);
        CU_ASSERT_PTR_NOT_NULL(strstr(hears->why[side], "peer reset the flow: interrupted"));
        CU_ASSERT(s->sink.wrong == 0 && s->back_sink.wrong == 0);
        stage_end_stream(s);
    }
}
