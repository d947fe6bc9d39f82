/* Two channels joined by the flow protocol in memory: whatever the rings, chunks and moods of the connection, all bytes arrive and
 * nobody waits for ever. */
#include <stdio.h>

#include "src/core/err.h"
#include "tests/lib/unit.h"
#include "tests/lib/watch.h"

const struct xport_ops *const xport_list[] = { &xport_mem_ops, NULL };

static uint64_t state;

static uint64_t below(uint64_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
}

static uint64_t maybe(uint64_t n) { return below(3) ? 0 : 1 + below(n); }

static struct rig rig;
static struct mem_wire wire;
static struct chain chain;

static void begin(size_t near_ring, size_t far_ring, uint64_t bytes)
{
    rig_open(&rig);
    rig.closed = true;
    wire = (struct mem_wire){ .keep = true, .seed = 7 };
    chain = (struct chain){ .rig = &rig, .wire = &wire, .near_ring = near_ring, .far_ring = far_ring, .chunk = 32 << 10,
                            .source = { .bytes = bytes, .seed = 42 }, .sink = { .seed = 42 } };
}

static void both_ways(uint64_t back)
{
    chain.duplex = true;
    chain.back_source = (struct mem_plan){ .bytes = back, .seed = 43 };
    chain.back_sink.seed = 43;
}

static void end(void)
{
    CU_ASSERT_TRUE(chain_close(&chain, 0));
    rig_close(&rig);
}

static void run_whole(void)
{
    chain_open(&chain);
    CU_ASSERT_TRUE(chain_run(&chain));
    CU_ASSERT_TRUE(chain_whole(&chain));
    end();
}

/* ------------------------------------------------------------ sizes */

static void test_boundary_sizes(void)
{
    static const size_t rings[][2] = { { 64 << 10, 64 << 10 }, { 64 << 10, 256 << 10 }, { 256 << 10, 64 << 10 } };
    for (size_t i = 0; i < ARRAY_LEN(rings); i++) {
        const uint64_t a = rings[i][0], b = rings[i][1];
        const uint64_t sizes[] = { 0, 1, a - 1, a, a + 1, b - 1, b, b + 1, a + b - 1, a + b, a + b + 1 };
        for (size_t j = 0; j < 2 * ARRAY_LEN(sizes); j++) {
            begin(a, b, sizes[j / 2]);
            wire.keep = j % 2;
            run_whole();
        }
    }
}

/* ------------------------------------------------------------ moods */

static void random_moods(struct mem_plan *p)
{
    p->part = maybe(100000);
    p->again = (unsigned)maybe(5);
    p->again += p->again == 1; /* never to do anything would be a hang of our own making */
    p->lag = below(2);
    p->quarter = below(2);
    p->up_later = below(2);
    p->close_later = below(2);
}

static void random_run(bool duplex)
{
    size_t near = (64 << 10) + below(15 * 64) * 1024, far = (64 << 10) + below(15 * 64) * 1024;
    begin(near, far, below(2) ? below(3 * (near + far)) : below(1000));
    chain.chunk = (uint32_t)(below(2) ? 4096 + below(60000) : 4096 + below(4 << 20));
    chain.blind = !below(4);
    random_moods(&chain.source);
    random_moods(&chain.sink);
    if (duplex) {
        both_ways(below(2) ? below(3 * (near + far)) : below(1000));
        random_moods(&chain.back_source);
        random_moods(&chain.back_sink);
    }
    wire = (struct mem_wire){ .seed = below(1u << 30), .keep = below(2), .depth = (unsigned)maybe(30), .shuffle = (unsigned)maybe(8),
                              .part = maybe(40000), .again = (unsigned)maybe(6) };
    wire.again += wire.again == 1;
    run_whole();
}

static void run_random(bool duplex)
{
    uint64_t overtook = 0, delivered = 0;
    for (unsigned seed = 1; seed <= (duplex ? 200U : 400U) && !CU_get_number_of_failures(); seed++) {
        state = seed * 0x9e3779b97f4a7c15ULL;
        random_run(duplex);
        overtook += wire.overtook;
        delivered += wire.delivered;
        if (CU_get_number_of_failures())
            printf("\n  seed %u: rings %zu %zu chunk %u keep %d depth %u shuffle %u part %zu again %u\n", seed, chain.near_ring, chain.far_ring,
                   chain.chunk, wire.keep, wire.depth, wire.shuffle, wire.part, wire.again);
    }
    CU_ASSERT(overtook > 500 && delivered > 10000); /* the moods were real */
}

static void test_random(void) { run_random(false); }
static void test_duplex_random(void) { run_random(true); }

/* Messages take a while: what is under way is bounded by the window, and timers wake both sides. */
static void test_delay(void)
{
    for (int keep = 0; keep < 2; keep++) {
        begin(128 << 10, 64 << 10, 1 << 20);
        wire.keep = keep;
        wire.delay_ns = 2 * NS_PER_MS;
        chain.source.later_ns = chain.sink.later_ns = NS_PER_MS;
        chain.source.again = chain.sink.again = 3;
        chain.sink.lag = true;
        run_whole();
    }
}

/* One message at a time: nothing may depend on a second one being under way. */
static void test_one_at_a_time(void)
{
    for (int keep = 0; keep < 2; keep++) {
        begin(64 << 10, 1 << 20, 3 << 20);
        wire.keep = keep;
        wire.depth = 1;
        chain.chunk = 4096;
        run_whole();
        CU_ASSERT_EQUAL(wire.most, 1);
    }
}

/* The acceptor's word on the size of chunks counts. */
static void test_chunk(void)
{
    begin(256 << 10, 256 << 10, 256 << 10);
    wire.chunk_max = 4096;
    wire.depth = 1000;
    run_whole();
    CU_ASSERT(wire.delivered >= 64 && wire.delivered < 90);
}

/* Limits are told by eighths: a long stream in small chunks must not cost one LIMIT a chunk. */
static void test_few_limits(void)
{
    begin(64 << 10, 64 << 10, 4 << 20);
    chain.chunk = 4096;
    run_whole();
    CU_ASSERT(wire.delivered <= 1024 + (4 << 20) / (8 << 10) + 8);
}

/* ------------------------------------------------------------ the end */

/* Each side closes from within its own "finished": what it owed the other was sent before. */
static void test_close_at_once(void)
{
    static const uint64_t sizes[] = { 0, 1, 64 << 10, (128 << 10) + 1, 1 << 20 };
    for (size_t i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
        begin(64 << 10, 64 << 10, sizes[i / 2]);
        wire.keep = i % 2;
        chain_open(&chain);
        chain.near.close_on_finish = chain.far.close_on_finish = true;
        CU_ASSERT_TRUE(chain_run(&chain));
        CU_ASSERT_TRUE(chain_whole(&chain));
        end();
    }
}

static bool half_way(void *arg UNUSED) { return chain.sink.moved > 100000; }

/* An abort on one side is told to the other with its reason. */
static void test_abort(void)
{
    for (int side = 0; side < 4; side++) {
        begin(64 << 10, 64 << 10, 10 << 20);
        wire.keep = side / 2;
        chain_open(&chain);
        CU_ASSERT_TRUE(rig_until(&rig, half_way, NULL));
        struct watch *quits = side % 2 ? &chain.near : &chain.far, *hears = side % 2 ? &chain.far : &chain.near;
        enum channel_side at = side % 2 ? SIDE_SOURCE : SIDE_SINK;
        CU_ASSERT_TRUE(watch_close(quits, -SST_EINTERRUPTED));
        CU_ASSERT_TRUE(rig_until(&rig, watch_over, hears));
        CU_ASSERT(hears->failed[at] == 1 && hears->failed[!at] == 0 && hears->finished == 0);
        CU_ASSERT_EQUAL(hears->rc[at], -SST_EINTERRUPTED);
        CU_ASSERT_STRING_EQUAL(hears->why[at], "mem: peer reset the flow: interrupted");
        end();
    }
}

/* The connection breaks at every message in turn: both sides report it once, or were finished. */
static void test_drop_anywhere(void)
{
    unsigned broke = 0;
    for (uint64_t n = 1; n < 400; n++) {
        begin(64 << 10, 64 << 10, 300000);
        wire.keep = n % 2;
        wire.shuffle = n % 3 ? 4 : 0;
        wire.drop_at = n;
        chain.chunk = 4096;
        chain_open(&chain);
        CU_ASSERT_TRUE(chain_run(&chain));
        bool failed = watch_failed(&chain.near) || watch_failed(&chain.far);
        if (failed) {
            CU_ASSERT(chain.near.failed[SIDE_SINK] + chain.far.failed[SIDE_SOURCE] >= 1);
            CU_ASSERT(chain.near.failed[SIDE_SINK] <= 1 && chain.far.failed[SIDE_SOURCE] <= 1);
            CU_ASSERT(chain.near.failed[SIDE_SOURCE] == 0 && chain.far.failed[SIDE_SINK] == 0);
            CU_ASSERT(!chain.near.failed[SIDE_SINK] || chain.near.rc[SIDE_SINK] == -SST_ELOST);
            CU_ASSERT(!chain.far.failed[SIDE_SOURCE] || chain.far.rc[SIDE_SOURCE] == -SST_ELOST);
        } else {
            CU_ASSERT_TRUE(chain_whole(&chain));
        }
        CU_ASSERT_EQUAL(chain.sink.wrong, 0);
        broke += failed;
        end();
        if (!failed && n > wire.delivered)
            break;
    }
    CU_ASSERT(broke > 20 && broke < 399);
}

/* ------------------------------------------------------------ duplex */

static void test_duplex_sizes(void)
{
    static const size_t rings[][2] = { { 64 << 10, 64 << 10 }, { 64 << 10, 256 << 10 }, { 256 << 10, 64 << 10 } };
    for (size_t i = 0; i < ARRAY_LEN(rings); i++) {
        const uint64_t a = rings[i][0], b = rings[i][1];
        const uint64_t sizes[] = { 0, 1, a, b + 1, a + b + 1 };
        for (size_t j = 0; j < 2 * ARRAY_LEN(sizes) * ARRAY_LEN(sizes); j++) {
            begin(a, b, sizes[j / 2 % ARRAY_LEN(sizes)]);
            both_ways(sizes[j / 2 / ARRAY_LEN(sizes)]);
            wire.keep = j % 2;
            run_whole();
        }
    }
}

/* One message at a time, whichever direction it is of. */
static void test_duplex_one_at_a_time(void)
{
    for (int keep = 0; keep < 2; keep++) {
        begin(64 << 10, 1 << 20, 3 << 20);
        both_ways(3 << 20);
        wire.keep = keep;
        wire.depth = 1;
        chain.chunk = 4096;
        run_whole();
    }
}

static void test_duplex_close_at_once(void)
{
    static const uint64_t sizes[] = { 0, 1, 64 << 10, (128 << 10) + 1, 1 << 20 };
    for (size_t i = 0; i < 4 * ARRAY_LEN(sizes) * ARRAY_LEN(sizes); i++) {
        begin(64 << 10, 64 << 10, sizes[i / 4 % ARRAY_LEN(sizes)]);
        both_ways(sizes[i / 4 / ARRAY_LEN(sizes)]);
        wire.keep = i % 2;
        wire.depth = i & 2 ? 1 : 0;
        chain_open(&chain);
        chain.near.close_on_finish = chain.far.close_on_finish = true;
        CU_ASSERT_TRUE(chain_run(&chain));
        CU_ASSERT_TRUE(chain_whole(&chain));
        end();
    }
}

static bool is_shut(void *arg)
{
    const struct mem_plan *p = arg;
    return p->shut || watch_failed(&chain.near) || watch_failed(&chain.far);
}

/* One direction stands for ever, at its source or its sink, whatever is in its rings; the other carries many times those, and ends. */
static void test_duplex_independent(void)
{
    for (int i = 0; i < 8; i++) {
        bool back_stands = i & 1;
        begin(64 << 10, 128 << 10, back_stands ? 20 << 20 : 1 << 20);
        both_ways(back_stands ? 1 << 20 : 20 << 20);
        wire.keep = i & 4;
        wire.depth = 1;
        struct mem_plan *held = back_stands ? (i & 2 ? &chain.back_source : &chain.back_sink) : i & 2 ? &chain.source : &chain.sink;
        held->held = true;
        held->held_at = 1000;
        chain_open(&chain);
        CU_ASSERT_TRUE(rig_until(&rig, is_shut, back_stands ? &chain.sink : &chain.back_sink));
        CU_ASSERT(!watch_failed(&chain.near) && !watch_failed(&chain.far) && !chain.near.finished && !chain.far.finished && held->moved == 1000);
        held->held = false;
        for (enum channel_side side = 0; side < SIDES; side++) {
            xport_kick(chain.near.c->end[side]);
            xport_kick(chain.far.c->end[side]);
        }
        CU_ASSERT_TRUE(chain_run(&chain));
        CU_ASSERT_TRUE(chain_whole(&chain));
        end();
    }
}

static bool near_closed(void *arg UNUSED) { return chain.near.closed || watch_failed(&chain.near) || watch_failed(&chain.far); }

/* One side is done and leaves in that moment; the other, which has all bytes and has sent all, is still busy with them. */
static void test_duplex_one_leaves(void)
{
    for (int i = 0; i < 6; i++) {
        begin(64 << 10, 64 << 10, i % 3 * 1000);
        both_ways(i % 2 ? 200000 : 10);
        wire.keep = false;
        chain.sink.held = true;
        chain_open(&chain);
        chain.near.close_on_finish = true;
        CU_ASSERT_TRUE(rig_until(&rig, near_closed, NULL));
        CU_ASSERT(chain.near.finished == 1 && !watch_failed(&chain.far) && !chain.far.finished && chain.far.ended == 1);
        chain.sink.held = false;
        xport_kick(chain.far.c->end[SIDE_SINK]);
        CU_ASSERT_TRUE(chain_run(&chain));
        CU_ASSERT_TRUE(chain_whole(&chain));
        end();
    }
}

static void test_duplex_abort(void)
{
    for (int side = 0; side < 4; side++) {
        begin(64 << 10, 64 << 10, 10 << 20);
        both_ways(10 << 20);
        wire.keep = side / 2;
        chain_open(&chain);
        CU_ASSERT_TRUE(rig_until(&rig, half_way, NULL));
        struct watch *quits = side % 2 ? &chain.near : &chain.far, *hears = side % 2 ? &chain.far : &chain.near;
        enum channel_side at = side % 2 ? SIDE_SOURCE : SIDE_SINK;
        CU_ASSERT_TRUE(watch_close(quits, -SST_EINTERRUPTED));
        CU_ASSERT_TRUE(rig_until(&rig, watch_over, hears));
        CU_ASSERT(hears->failed[at] == 1 && hears->failed[!at] == 0 && hears->finished == 0 && hears->rc[at] == -SST_EINTERRUPTED);
        CU_ASSERT_STRING_EQUAL(hears->why[at], "mem: peer reset the flow: interrupted");
        end();
    }
}

/* The connection breaks at every message in turn: whoever is not whole fails, once; nobody hangs. A side that is whole finishes, and closes. */
static void test_duplex_drop_anywhere(void)
{
    unsigned broke = 0;
    for (uint64_t n = 1; n < 600; n++) {
        begin(64 << 10, 64 << 10, 200000);
        both_ways(100000);
        wire.keep = n % 2;
        wire.shuffle = n % 3 ? 4 : 0;
        wire.drop_at = n;
        chain.chunk = 4096;
        chain_open(&chain);
        CU_ASSERT_TRUE(chain_run(&chain));
        const struct watch *a = &chain.near, *b = &chain.far;
        bool failed = watch_failed(a) || watch_failed(b);
        CU_ASSERT(a->failed[SIDE_SOURCE] == 0 && b->failed[SIDE_SINK] == 0 && a->failed[SIDE_SINK] <= 1 && b->failed[SIDE_SOURCE] <= 1);
        CU_ASSERT(!a->failed[SIDE_SINK] || a->rc[SIDE_SINK] == -SST_ELOST);
        CU_ASSERT(!b->failed[SIDE_SOURCE] || b->rc[SIDE_SOURCE] == -SST_ELOST);
        CU_ASSERT(chain.sink.wrong == 0 && chain.back_sink.wrong == 0 && (failed || chain_whole(&chain)));
        broke += failed;
        end();
        if (!failed && n > wire.delivered)
            break;
    }
    CU_ASSERT(broke > 20 && broke < 599);
}

UNIT_MAIN("pair", UNIT(test_boundary_sizes), UNIT(test_random), UNIT(test_delay), UNIT(test_one_at_a_time), UNIT(test_chunk),
          UNIT(test_few_limits), UNIT(test_close_at_once), UNIT(test_abort), UNIT(test_drop_anywhere), UNIT(test_duplex_sizes),
          UNIT(test_duplex_random),
          UNIT(test_duplex_one_at_a_time), UNIT(test_duplex_close_at_once), UNIT(test_duplex_independent), UNIT(test_duplex_one_leaves),
          UNIT(test_duplex_abort),
          UNIT(test_duplex_drop_anywhere))
