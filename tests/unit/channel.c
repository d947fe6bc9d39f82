/* A channel between byte ends: what is reported, once and from the loop, and how it ends. */
#include <stdio.h>

#include "src/core/err.h"
#include "tests/lib/unit.h"
#include "tests/lib/watch.h"

const struct xport_ops *const xport_list[] = { &xport_mem_ops, NULL };

#define WINDOW (64 << 10)

static struct rig rig;
static struct chain chain;
static struct watch *const w = &chain.near;

static void begin(uint64_t bytes)
{
    rig_open(&rig);
    rig.closed = true;
    chain = (struct chain){ .rig = &rig, .near_ring = WINDOW, .source = { .bytes = bytes, .seed = 9 }, .sink = { .seed = 9 } };
}

static void end(void)
{
    CU_ASSERT_TRUE(chain_close(&chain, 0));
    CU_ASSERT_EQUAL(w->reentered, 0);
    CU_ASSERT(chain.source.opens == chain.source.closes && chain.sink.opens == chain.sink.closes);
    rig_close(&rig);
}

/* ------------------------------------------------------------ whole streams */

static void test_sizes_and_moods(void)
{
    static const uint64_t sizes[] = { 0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 10 * WINDOW + 3 };
    for (size_t i = 0; i < 16 * ARRAY_LEN(sizes); i++) {
        begin(sizes[i / 16]);
        chain.source.part = i & 1 ? 1000 : 0;
        chain.sink.part = i & 2 ? 1234 : 0;
        chain.source.again = chain.sink.again = i & 4 ? 3 : 0;
        chain.sink.lag = i & 8;
        chain.source.up_later = chain.sink.close_later = i & 1;
        chain.sink.up_later = chain.source.close_later = i & 8;
        chain.source.later_ns = i & 8 ? 10 * NS_PER_US : 0;
        chain_open(&chain);
        CU_ASSERT_TRUE(chain_run(&chain));
        CU_ASSERT_TRUE(chain_whole(&chain));
        CU_ASSERT_STRING_EQUAL(w->c->end[SIDE_SINK]->device, "mem");
        end();
        CU_ASSERT(w->closed == 1 && chain.sink.close_rc == 0 && chain.source.close_rc == 0);
    }
}

static void test_sink_later(void)
{
    const struct channel_spec s = { .id = 5, .window = WINDOW, .digest = true };
    begin(3 * WINDOW);
    mem_forget();
    watch_open(w, &rig, 0, &s);
    watch_bytes(w, SIDE_SOURCE, "source", &chain.source);
    for (int i = 0; i < 20; i++)
        loop_turn(&rig.loop, 0);
    CU_ASSERT(w->up[SIDE_SOURCE] == 1 && w->up[SIDE_SINK] == 0 && w->c->flow[0].ring.put == WINDOW);
    CU_ASSERT_FALSE(w->c->task.active); /* it sleeps, full */
    watch_bytes(w, SIDE_SINK, "sink", &chain.sink);
    CU_ASSERT_TRUE(chain_run(&chain));
    CU_ASSERT_TRUE(chain_whole(&chain));
    end();
}

/* Ended is told with the last byte, long before the sink is done. */
static void test_ended_before_finished(void)
{
    begin(1000);
    chain.sink.lag = true;
    chain.sink.later_ns = 30 * NS_PER_MS;
    chain_open(&chain);
    for (int i = 0; i < 5; i++)
        loop_turn(&rig.loop, 0);
    CU_ASSERT(w->ended == 1 && w->finished == 0 && w->has_digest);
    CU_ASSERT_TRUE(chain_run(&chain));
    CU_ASSERT_TRUE(chain_whole(&chain));
    end();
}

static void test_paced(void)
{
    uint64_t began = now_ns();
    unsigned turns = 0;
    begin(100000);
    chain.rate = 8000000;
    chain_open(&chain);
    for (; !watch_over(w) && turns < 100000; turns++)
        loop_turn(&rig.loop, NS_PER_S);
    CU_ASSERT(now_ns() - began >= 75 * NS_PER_MS);
    CU_ASSERT(turns < 1000); /* it slept in between */
    CU_ASSERT_TRUE(chain_whole(&chain));
    end();
}

/* ------------------------------------------------------------ failures */

static void check_failure(enum channel_side side, int rc, const char *why)
{
    CU_ASSERT(w->failed[side] == 1 && w->failed[!side] == 0 && w->finished == 0);
    CU_ASSERT_EQUAL(w->rc[side], rc);
    CU_ASSERT_PTR_NOT_NULL(strstr(w->why[side], why));
}

/* The end fails at each of its calls in turn, within the call or between two. */
static void fail_everywhere(enum channel_side side, bool later)
{
    unsigned n = 1;
    for (bool failed = true; failed && n < 500; n++) {
        begin(WINDOW);
        struct mem_plan *p = side == SIDE_SOURCE ? &chain.source : &chain.sink;
        p->part = 5000;
        p->fail_at = n;
        p->fail_rc = -ENXIO;
        p->fail_later = later;
        chain.sink.lag = n % 2;
        chain_open(&chain);
        CU_ASSERT_TRUE(chain_run(&chain));
        failed = watch_failed(w);
        if (failed)
            check_failure(side, -ENXIO, "planned failure");
        CU_ASSERT(chain.sink.wrong == 0 && (failed || chain_whole(&chain)));
        CU_ASSERT_TRUE(watch_close(w, failed ? -ENXIO : 0));
        CU_ASSERT(w->closed == 1 && chain.sink.close_rc == (failed ? -ENXIO : 0) && chain.source.close_rc == chain.sink.close_rc);
        end();
    }
    CU_ASSERT(n > 10 && n < 500);
}

static void test_source_fails(void)
{
    fail_everywhere(SIDE_SOURCE, false);
    fail_everywhere(SIDE_SOURCE, true);
}

static void test_sink_fails(void)
{
    fail_everywhere(SIDE_SINK, false);
    fail_everywhere(SIDE_SINK, true);
}

static void test_closed_from_event(void)
{
    begin(10 * WINDOW);
    chain.source.part = 1000;
    chain.source.fail_at = 7;
    chain.source.fail_rc = -EIO;
    chain_open(&chain);
    w->close_on_failure = true;
    CU_ASSERT_TRUE(chain_run(&chain));
    check_failure(SIDE_SOURCE, -EIO, "planned failure of call 7 (fill)");
    CU_ASSERT_TRUE(watch_close(w, 0));
    CU_ASSERT_EQUAL(chain.sink.close_rc, -EIO);
    end();
}

/* Both fail in one turn: both are told, or one when that one closes the channel. */
static void test_both_fail(void)
{
    for (int closes = 0; closes < 2; closes++) {
        begin(10 * WINDOW);
        chain.source.fail_at = chain.sink.fail_at = 1;
        chain.source.fail_rc = -EIO;
        chain.sink.fail_rc = -EPIPE;
        chain.source.fail_later = chain.sink.fail_later = true;
        chain_open(&chain);
        xport_fail(w->c->end[SIDE_SOURCE], -EIO, "source");
        xport_fail(w->c->end[SIDE_SINK], -EPIPE, "sink");
        w->close_on_failure = closes;
        CU_ASSERT_TRUE(chain_run(&chain));
        CU_ASSERT_TRUE(watch_close(w, -EIO));
        CU_ASSERT(w->failed[SIDE_SOURCE] == 1 && w->failed[SIDE_SINK] == !closes && w->closed == 1);
        end();
    }
}

/* Who has brought everything may go, and nothing is reported after the flow is finished. */
static void test_harmless_failures(void)
{
    begin(1000);
    chain.sink.lag = true;
    chain.sink.later_ns = 10 * NS_PER_MS;
    chain_open(&chain);
    while (!w->ended)
        loop_turn(&rig.loop, 0);
    xport_fail(w->c->end[SIDE_SOURCE], -SST_ELOST, "gone after its last byte");
    CU_ASSERT_TRUE(chain_run(&chain));
    xport_fail(w->c->end[SIDE_SINK], -SST_ELOST, "gone after all was taken");
    for (int i = 0; i < 5; i++)
        loop_turn(&rig.loop, 0);
    CU_ASSERT_TRUE(chain_whole(&chain));
    end();
}

/* But a sink that fails with bytes outstanding is a failure, though the source has ended. */
static void test_sink_fails_after_end(void)
{
    begin(1000);
    chain.sink.lag = true;
    chain.sink.later_ns = 100 * NS_PER_S;
    chain_open(&chain);
    while (!w->ended)
        loop_turn(&rig.loop, 0);
    xport_fail(w->c->end[SIDE_SINK], -ENOSPC, "full");
    CU_ASSERT_TRUE(chain_run(&chain));
    check_failure(SIDE_SINK, -ENOSPC, "full");
    end();
}

static void test_stops_pumping(void)
{
    begin(100 * WINDOW);
    chain.source.part = 100;
    chain.sink.part = 100;
    chain.sink.fail_at = 5;
    chain.sink.fail_rc = -EIO;
    chain_open(&chain);
    CU_ASSERT_TRUE(chain_run(&chain));
    unsigned calls = chain.source.calls;
    xport_kick(w->c->end[SIDE_SOURCE]);
    for (int i = 0; i < 5; i++)
        loop_turn(&rig.loop, 0);
    CU_ASSERT(chain.source.calls == calls && !w->c->task.active);
    end();
}

/* ------------------------------------------------------------ duplex: two flows, one each way */

static void begin_duplex(uint64_t bytes, uint64_t back)
{
    begin(bytes);
    chain.duplex = true;
    chain.back_source = (struct mem_plan){ .bytes = back, .seed = 8 };
    chain.back_sink = (struct mem_plan){ .seed = 8 };
}

static void test_duplex_sizes_and_moods(void)
{
    static const uint64_t sizes[] = { 0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 10 * WINDOW + 3 };
    for (size_t i = 0; i < 8 * ARRAY_LEN(sizes) * ARRAY_LEN(sizes); i++) {
        begin_duplex(sizes[i / 8 % ARRAY_LEN(sizes)], sizes[i / 8 / ARRAY_LEN(sizes)]);
        chain.source.part = i & 1 ? 1000 : 0;
        chain.back_source.part = i & 2 ? 1234 : 0;
        chain.sink.part = i & 4 ? 999 : 0;
        chain.back_sink.again = chain.source.again = i & 1 ? 3 : 0;
        chain.sink.lag = i & 2;
        chain.back_sink.lag = i & 4;
        chain.source.close_later = i & 4;
        chain_open(&chain);
        CU_ASSERT_TRUE(chain_run(&chain));
        CU_ASSERT_TRUE(chain_whole(&chain));
        end();
    }
}

static bool is_shut(void *arg)
{
    const struct mem_plan *p = arg;
    return p->shut || watch_failed(w);
}

static void let_go(struct mem_plan *p)
{
    p->held = false;
    xport_kick(w->c->end[SIDE_SOURCE]);
    xport_kick(w->c->end[SIDE_SINK]);
}

/* One direction ends, long before the other, which is held by its source or its sink; nobody spins meanwhile. */
static void test_half_close(void)
{
    for (int i = 0; i < 8; i++) {
        bool back_first = i & 1;
        begin_duplex(back_first ? 5 * WINDOW : i & 4 ? 0 : 20 << 20, back_first ? (i & 4 ? 0 : 20 << 20) : 5 * WINDOW);
        struct mem_plan *held = back_first ? (i & 2 ? &chain.source : &chain.sink) : i & 2 ? &chain.back_source : &chain.back_sink;
        held->held = true;
        held->held_at = 100;
        chain_open(&chain);
        CU_ASSERT_TRUE(rig_until(&rig, is_shut, back_first ? &chain.back_sink : &chain.sink));
        for (int turns = 0; turns < 10; turns++)
            loop_turn(&rig.loop, 0);
        CU_ASSERT(!w->c->task.active && w->finished == 0 && !watch_failed(w) && held->moved == 100);
        CU_ASSERT(back_first ? w->ended_back == 1 : w->ended == 1);
        let_go(held);
        CU_ASSERT_TRUE(chain_run(&chain));
        CU_ASSERT_TRUE(chain_whole(&chain));
        end();
    }
}

/* Either end fails at each of its calls in turn, of either direction. */
static void duplex_fails_everywhere(enum channel_side side, bool back, bool later)
{
    unsigned n = 1;
    for (bool failed = true; failed && n < 500; n++) {
        begin_duplex(WINDOW, WINDOW + 1);
        struct mem_plan *const plans[][2] = { { &chain.source, &chain.back_sink }, { &chain.sink, &chain.back_source } };
        struct mem_plan *p = plans[side][back];
        chain.source.part = chain.sink.part = chain.back_source.part = chain.back_sink.part = 5000;
        p->fail_at = n;
        p->fail_rc = -ENXIO;
        p->fail_later = later;
        chain.sink.lag = chain.back_sink.lag = n % 2;
        chain_open(&chain);
        CU_ASSERT_TRUE(chain_run(&chain));
        failed = watch_failed(w);
        if (failed)
            check_failure(side, -ENXIO, "planned failure");
        CU_ASSERT(chain.sink.wrong == 0 && chain.back_sink.wrong == 0 && (failed || chain_whole(&chain)));
        CU_ASSERT_TRUE(watch_close(w, failed ? -ENXIO : 0));
        CU_ASSERT(w->closed == 1 && chain.sink.close_rc == (failed ? -ENXIO : 0) && chain.source.close_rc == chain.sink.close_rc);
        end();
    }
    CU_ASSERT(n > 10 && n < 500);
}

static void test_duplex_end_fails(void)
{
    for (int i = 0; i < 8; i++)
        duplex_fails_everywhere(i & 1 ? SIDE_SINK : SIDE_SOURCE, i & 2, i & 4);
}

/* An end that has brought and taken everything may go, though what it brought is not all taken yet. */
static void test_duplex_harmless(void)
{
    for (int i = 0; i < 2; i++) {
        begin_duplex(1000, 1000);
        struct mem_plan *held = i ? &chain.back_sink : &chain.sink, *taken = i ? &chain.sink : &chain.back_sink;
        held->held = true;
        chain_open(&chain);
        CU_ASSERT_TRUE(rig_until(&rig, is_shut, taken));
        for (int turns = 0; turns < 5; turns++)
            loop_turn(&rig.loop, 0);
        xport_fail(w->c->end[i ? SIDE_SINK : SIDE_SOURCE], -SST_ELOST, "gone with everything done");
        let_go(held);
        CU_ASSERT_TRUE(chain_run(&chain));
        CU_ASSERT_TRUE(chain_whole(&chain));
        end();
    }
}

/* But one direction alone is not enough. */
static void test_duplex_fails_half_closed(void)
{
    for (int i = 0; i < 4; i++) {
        bool back_first = i & 1;
        begin_duplex(1000, 1000);
        struct mem_plan *held = back_first ? &chain.source : &chain.back_source;
        held->held = true;
        chain_open(&chain);
        CU_ASSERT_TRUE(rig_until(&rig, is_shut, back_first ? &chain.back_sink : &chain.sink));
        xport_fail(w->c->end[i / 2], -SST_ELOST, "gone too early");
        CU_ASSERT_TRUE(chain_run(&chain));
        check_failure((enum channel_side)(i / 2), -SST_ELOST, "gone too early");
        end();
    }
}

static void test_duplex_slot(void)
{
    begin_duplex(1000, 500);
    chain_open(&chain);
    const struct stats_channel *slot = &rig.env[0].stats->ch[1];
    CU_ASSERT_TRUE(chain_run(&chain));
    CU_ASSERT(stats_get(&slot->flow[FORWARD].rel) == 1000 && stats_get(&slot->flow[BACKWARD].rel) == 500);
    CU_ASSERT_TRUE(watch_close(w, 0));
    CU_ASSERT(stats_get(&slot->id) == 0 && stats_get(&slot->flow[BACKWARD].put) == 0);
    end();
}

/* ------------------------------------------------------------ opening and closing */

static void test_end_twice(void)
{
    const struct xport_spec s = { .address = "source" };
    begin(10);
    chain_open(&chain);
    CU_ASSERT_EQUAL(channel_open_end(w->c, SIDE_SOURCE, &xport_mem_ops, &s, NULL), -EEXIST);
    CU_ASSERT_TRUE(chain_run(&chain));
    CU_ASSERT_TRUE(chain_whole(&chain));
    channel_close(w->c, 0);
    CU_ASSERT_EQUAL(channel_open_end(w->c, SIDE_SOURCE, &xport_mem_ops, &s, NULL), -EEXIST);
    channel_close(w->c, -EIO); /* the first close counts */
    end();
    CU_ASSERT_EQUAL(chain.sink.close_rc, 0);
}

static void test_end_refused(void)
{
    const struct channel_spec s = { .id = 3, .window = WINDOW };
    const struct xport_spec nobody = { .address = "nobody" };
    begin(10);
    mem_forget();
    watch_open(w, &rig, 0, &s);
    CU_ASSERT_EQUAL(watch_end(w, SIDE_SINK, &xport_mem_ops, &nobody, NULL), -SST_ERESOLVE);
    CU_ASSERT_TRUE(rig_until(&rig, watch_over, w));
    check_failure(SIDE_SINK, -SST_ERESOLVE, "'nobody' was not planned");
    end();
    CU_ASSERT_EQUAL(w->closed, 1);
}

static void test_close_early(void)
{
    const struct channel_spec s = { .id = 3, .window = WINDOW };
    begin(10);
    mem_forget();
    watch_open(w, &rig, 0, &s); /* no end at all */
    CU_ASSERT_TRUE(watch_close(w, -SST_EABORTED));
    CU_ASSERT(w->closed == 1 && !watch_failed(w));
    watch_open(w, &rig, 0, &s); /* one that never comes up */
    chain.sink.up_later = chain.sink.close_later = true;
    watch_bytes(w, SIDE_SINK, "sink", &chain.sink);
    CU_ASSERT_TRUE(watch_close(w, -SST_EABORTED));
    CU_ASSERT(w->closed == 1 && w->up[SIDE_SINK] == 0 && chain.sink.close_rc == -SST_EABORTED);
    end();
}

/* The ring lives until both ends let go of it. */
static void test_slow_close(void)
{
    begin(10 * WINDOW);
    chain.source.close_later = true;
    chain.source.later_ns = 20 * NS_PER_MS;
    chain_open(&chain);
    loop_turn(&rig.loop, 0);
    channel_close(w->c, -SST_EABORTED);
    for (int i = 0; i < 5; i++)
        loop_turn(&rig.loop, 0);
    CU_ASSERT(w->closed == 0 && w->c->flow[0].ring.base);
    CU_ASSERT_TRUE(watch_close(w, 0));
    CU_ASSERT(w->closed == 1 && w->finished == 0);
    end();
}

/* ------------------------------------------------------------ ends whose accept puts its answer off */

static struct mem_wire wire;

/* A channel whose source end accepts on the wire. Returns what channel_open_end did. */
static int accept_on_wire(struct mem_wire plan, struct xport_answer *a)
{
    const struct channel_spec s = { .id = 4, .window = WINDOW };
    const struct xport_spec at = { .address = "wire", .chunk_max = 1000, .fd = -1 };
    begin(10);
    wire = plan;
    mem_forget();
    mem_wire_add("wire", &wire);
    mem_plan_add("source", &chain.source);
    mem_plan_add("sink", &chain.sink);
    watch_open(w, &rig, 0, &s);
    return watch_end(w, SIDE_SOURCE, &xport_mem_ops, &at, a);
}

static void turn(void)
{
    for (int i = 0; i < 10; i++)
        loop_turn(&rig.loop, 0);
}

static bool was_prepared(void *arg UNUSED) { return w->prepared[SIDE_SOURCE]; }
static bool was_unusable(void *arg UNUSED) { return w->unusable[SIDE_SOURCE] || watch_failed(w); }

/* The channel is as good as new: a stream goes through it by other ends. */
static void stream_by_another(void)
{
    const struct xport_spec source = { .address = "source", .fd = -1 }, sink = { .address = "sink", .fd = -1 };
    CU_ASSERT(w->c->end[SIDE_SOURCE] == NULL && !w->c->failed);
    CU_ASSERT_EQUAL(watch_end(w, SIDE_SOURCE, &xport_mem_ops, &source, NULL), 0);
    CU_ASSERT_EQUAL(watch_end(w, SIDE_SINK, &xport_mem_ops, &sink, NULL), 0);
    CU_ASSERT_TRUE(chain_run(&chain));
    CU_ASSERT(w->finished == 1 && w->total == 10 && chain.sink.wrong == 0 && !watch_failed(w));
}

static void test_prepared_later(void)
{
    struct xport_answer a = { .chunk_max = 0 };
    CU_ASSERT_EQUAL(accept_on_wire((struct mem_wire){ .prepare_later = true, .delay_ns = NS_PER_MS }, &a), 1);
    CU_ASSERT_EQUAL(w->prepared[SIDE_SOURCE], 0);
    CU_ASSERT_TRUE(rig_until(&rig, was_prepared, NULL));
    turn();
    CU_ASSERT(w->prepared[SIDE_SOURCE] == 1 && w->prepared[SIDE_SINK] == 0 && w->unusable[SIDE_SOURCE] == 0 && !watch_failed(w));
    CU_ASSERT(w->answer.chunk_max == 1000 && str_eq(w->answer.address, "wire"));
    CU_ASSERT_EQUAL(w->up[SIDE_SOURCE], 0);
    end();
}

/* From the loop, or within accept: the end is gone when it is told, and another takes its place. */
static void test_unusable(void)
{
    for (int later = 0; later < 2; later++)
        for (int slow = 0; slow < 2; slow++) {
            struct xport_answer a = { .chunk_max = 0 };
            int rc = accept_on_wire((struct mem_wire){ .prepare_later = later, .close_later = slow, .delay_ns = slow ? NS_PER_MS : 0,
                                                       .accept_rc = -SST_ENOTRANSPORT }, &a);
            CU_ASSERT_EQUAL(rc, later ? 1 : -SST_ENOTRANSPORT);
            CU_ASSERT_EQUAL(w->unusable[SIDE_SOURCE], 0);
            CU_ASSERT_TRUE(rig_until(&rig, was_unusable, NULL));
            CU_ASSERT(w->unusable[SIDE_SOURCE] == 1 && w->unusable[SIDE_SINK] == 0 && w->prepared[SIDE_SOURCE] == 0 && !watch_failed(w));
            CU_ASSERT_STRING_EQUAL(w->why[SIDE_SOURCE], "mem: planned failure of accept");
            CU_ASSERT_EQUAL(wire.close_rc, 0);
            stream_by_another();
            CU_ASSERT_EQUAL(w->unusable[SIDE_SOURCE], 1);
            end();
        }
}

/* Only "not by this transport", and only before it is prepared, leaves the channel alive. */
static void test_unusable_or_failed(void)
{
    struct xport_answer a = { .chunk_max = 0 };
    accept_on_wire((struct mem_wire){ .prepare_later = true, .accept_rc = -SST_EDEVICE }, &a);
    CU_ASSERT_TRUE(rig_until(&rig, was_unusable, NULL));
    check_failure(SIDE_SOURCE, -SST_EDEVICE, "planned failure of accept");
    CU_ASSERT_EQUAL(w->unusable[SIDE_SOURCE], 0);
    end();
    accept_on_wire((struct mem_wire){ .prepare_later = true }, &a);
    CU_ASSERT_TRUE(rig_until(&rig, was_prepared, NULL));
    xport_fail(w->c->end[SIDE_SOURCE], -SST_ENOTRANSPORT, "too late");
    CU_ASSERT_TRUE(rig_until(&rig, was_unusable, NULL));
    check_failure(SIDE_SOURCE, -SST_ENOTRANSPORT, "too late");
    CU_ASSERT_EQUAL(w->unusable[SIDE_SOURCE], 0);
    end();
    const struct channel_spec s = { .id = 4, .window = WINDOW };
    const struct xport_spec nobody = { .address = "wire", .chunk_max = 1000 };
    begin(10);
    wire = (struct mem_wire){ .accept_rc = 0 };
    mem_forget();
    mem_wire_add("wire", &wire);
    watch_open(w, &rig, 0, &s); /* one that connects has no such choice */
    CU_ASSERT_EQUAL(watch_end(w, SIDE_SINK, &xport_mem_ops, &nobody, NULL), -ECONNREFUSED);
    turn();
    CU_ASSERT(w->failed[SIDE_SINK] == 1 && w->unusable[SIDE_SINK] == 0);
    end();
}

/* The channel is closed while that end is on its way out, before it was told, and from within the telling. */
static void test_closed_while_unusable(void)
{
    struct xport_answer a = { .chunk_max = 0 };
    const struct mem_wire plan = { .prepare_later = true, .accept_rc = -SST_ENOTRANSPORT, .close_later = true, .delay_ns = NS_PER_MS };
    for (int with_sink = 0; with_sink < 2; with_sink++) {
        accept_on_wire(plan, &a);
        if (with_sink) {
            const struct xport_spec sink = { .address = "sink", .fd = -1 };
            watch_end(w, SIDE_SINK, &xport_mem_ops, &sink, NULL);
        }
        while (w->c->end[SIDE_SOURCE]->state != XPORT_CLOSING)
            loop_turn(&rig.loop, NS_PER_S);
        CU_ASSERT_TRUE(watch_close(w, -SST_EABORTED));
        CU_ASSERT(w->closed == 1 && w->unusable[SIDE_SOURCE] == 0 && wire.close_rc == 0 && wire.closes == 1);
        end();
    }
    accept_on_wire(plan, &a); /* it has failed, and nobody has looked yet */
    xport_fail(w->c->end[SIDE_SOURCE], -SST_ENOTRANSPORT, "now");
    CU_ASSERT_TRUE(watch_close(w, -SST_EABORTED));
    CU_ASSERT(w->closed == 1 && w->unusable[SIDE_SOURCE] == 0 && wire.close_rc == -SST_EABORTED);
    end();
    accept_on_wire(plan, &a);
    w->close_on_unusable = true;
    CU_ASSERT_TRUE(rig_until(&rig, watch_over, w));
    CU_ASSERT(w->closed == 1 && w->unusable[SIDE_SOURCE] == 1);
    end();
    accept_on_wire(plan, &a); /* before it is prepared at all */
    CU_ASSERT_TRUE(watch_close(w, -SST_EABORTED));
    CU_ASSERT(w->closed == 1 && w->prepared[SIDE_SOURCE] == 0 && w->unusable[SIDE_SOURCE] == 0);
    end();
}

static void test_slot(void)
{
    begin(1000);
    chain_open(&chain);
    const struct stats_channel *slot = &rig.env[0].stats->ch[1];
    CU_ASSERT_EQUAL(stats_get(&slot->id), 1);
    CU_ASSERT_TRUE(chain_run(&chain));
    CU_ASSERT(stats_get(&slot->flow[0].put) == 1000 && stats_get(&slot->flow[0].rel) == 1000);
    CU_ASSERT_TRUE(watch_close(w, 0));
    CU_ASSERT(stats_get(&slot->id) == 0 && stats_get(&slot->flow[0].put) == 0);
    end();
}

static void test_window_refused(void)
{
    struct channel *c = NULL;
    rig_open(&rig);
    struct footprint before = footprint();
    const struct channel_spec s = { .id = 1, .window = 100, .digest = true, .stats = &rig.env[0].stats->ch[0] };
    CU_ASSERT_EQUAL(channel_new(&rig.env[0], &s, NULL, &c), -EINVAL);
    CU_ASSERT(c == NULL && footprint_same(&before));
    rig_close(&rig);
}

UNIT_MAIN("channel", UNIT(test_sizes_and_moods), UNIT(test_sink_later), UNIT(test_ended_before_finished), UNIT(test_paced),
          UNIT(test_source_fails), UNIT(test_sink_fails), UNIT(test_closed_from_event), UNIT(test_both_fail), UNIT(test_harmless_failures),
          UNIT(test_sink_fails_after_end), UNIT(test_stops_pumping), UNIT(test_duplex_sizes_and_moods), UNIT(test_half_close),
          UNIT(test_duplex_end_fails), UNIT(test_duplex_harmless), UNIT(test_duplex_fails_half_closed), UNIT(test_duplex_slot),
          UNIT(test_end_twice), UNIT(test_end_refused), UNIT(test_close_early),
          UNIT(test_slow_close), UNIT(test_prepared_later), UNIT(test_unusable), UNIT(test_unusable_or_failed), UNIT(test_closed_while_unusable),
          UNIT(test_slot), UNIT(test_window_refused))
