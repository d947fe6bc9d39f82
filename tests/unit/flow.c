/* One direction, pumped by hand between byte ends: counters, digest, the end, pacing, and what it says it waits for. */
#include <stdio.h>

#include "src/core/err.h"
#include "src/engine/flow.h"
#include "src/seam/mem.h"
#include "tests/lib/rig.h"
#include "tests/lib/unit.h"

const struct xport_ops *const xport_list[] = { &xport_mem_ops, NULL };

#define WINDOW (64 << 10)

static struct rig rig;
static struct flow flow;
static struct stats_flow stats;
static struct mem_plan source, sink;
static unsigned kicks, failures, closes;

static void on_kick(struct xport *x UNUSED) { kicks++; }
static void on_up(struct xport *x UNUSED) {}
static void on_failed(struct xport *x UNUSED) { failures++; }
static const struct xport_host host = { .kick = on_kick, .up = on_up, .failed = on_failed };

static struct xport *open_end(const char *name, struct mem_plan *p, bool in)
{
    const struct xport_spec s = { .address = name };
    struct xport *x = xport_mem_ops.create(&rig.env[0]);
    x->host = &host;
    mem_plan_add(name, p);
    CU_ASSERT_EQUAL(x->ops->mem_add(x, &flow.ring, in), 0);
    CU_ASSERT_EQUAL(x->ops->connect(x, &s), 0);
    return x;
}

static void begin(uint64_t bytes, bool digest)
{
    rig_open(&rig);
    mem_forget();
    kicks = failures = closes = 0;
    memset(&flow, 0, sizeof(flow));
    memset(&stats, 0, sizeof(stats));
    source = (struct mem_plan){ .bytes = bytes, .seed = 3 };
    sink = (struct mem_plan){ .seed = 3 };
    CU_ASSERT_EQUAL_FATAL(flow_init(&flow, WINDOW, RING_PAGES_AUTO, digest, &stats), 0);
}

static void begin_both(uint64_t bytes, bool digest)
{
    begin(bytes, digest);
    flow.source = open_end("source", &source, true);
    flow.sink = open_end("sink", &sink, false);
}

static void on_closed(struct xport *x UNUSED) { closes++; }

static void end(void)
{
    unsigned open = (flow.source != NULL) + (flow.sink != NULL);
    if (flow.source)
        xport_close(flow.source, 0, on_closed);
    if (flow.sink)
        xport_close(flow.sink, 0, on_closed);
    for (int i = 0; i < 3; i++)
        loop_turn(&rig.loop, 0);
    CU_ASSERT_EQUAL(closes, open);
    flow_fini(&flow);
    flow_fini(&flow);
    rig_close(&rig);
}

static void pump_all(void)
{
    for (int i = 0; i < 10000 && !flow_finished(&flow); i++) {
        flow_pump(&flow);
        loop_turn(&rig.loop, 0);
    }
}

/* ------------------------------------------------------------ bytes and counters */

static void test_digest(void)
{
    static const uint64_t sizes[] = { 0, 1, WINDOW, WINDOW + 1, 5 * WINDOW - 7 };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint8_t got[DIGEST_SIZE], want[DIGEST_SIZE], *all = mem_zalloc(sizes[i] + 1, 1);
        struct digest *d = digest_new();
        for (uint64_t at = 0; at < sizes[i]; at++)
            all[at] = mem_byte(3, at);
        digest_add(d, all, sizes[i]);
        digest_get(d, want);
        begin_both(sizes[i], true);
        source.part = 1000;
        sink.part = 777;
        pump_all();
        CU_ASSERT(flow_ended(&flow) && flow_finished(&flow) && sink.wrong == 0 && sink.moved == sizes[i]);
        digest_get(flow.digest, got);
        CU_ASSERT_EQUAL(memcmp(got, want, DIGEST_SIZE), 0);
        end();
        digest_free(d);
        free(all);
    }
}

static void test_counters(void)
{
    begin_both(1000, false);
    sink.lag = true;
    CU_ASSERT_PTR_NULL(flow.digest);
    CU_ASSERT_TRUE(flow_pump(&flow));
    CU_ASSERT(stats_get(&stats.put) == 1000 && stats_get(&stats.sub) == 1000 && stats_get(&stats.rel) == 0);
    CU_ASSERT(flow_ended(&flow) && !flow_finished(&flow) && !sink.shut); /* handed over is not taken */
    CU_ASSERT_FALSE(flow_pump(&flow));
    loop_turn(&rig.loop, 0);
    flow_pump(&flow);
    CU_ASSERT(flow_finished(&flow) && sink.shut && stats_get(&stats.rel) == 1000);
    unsigned calls = sink.calls;
    flow_pump(&flow);
    CU_ASSERT_EQUAL(sink.calls, calls); /* shut is not called again once it said yes */
    end();
}

/* A turn takes its share and no more, so that other channels get theirs. */
static void test_turn_is_bounded(void)
{
    begin_both(1 << 20, false);
    source.part = sink.part = 100;
    CU_ASSERT_TRUE(flow_pump(&flow));
    CU_ASSERT(flow.ring.put == 400 && flow.ring.sub == 400);
    end();
}

static void test_one_end(void)
{
    begin(3 * WINDOW, true);
    CU_ASSERT_FALSE(flow_pump(&flow));
    flow.source = open_end("source", &source, true);
    CU_ASSERT_TRUE(flow_pump(&flow)); /* the sink may come later */
    CU_ASSERT(flow.ring.put == WINDOW && !flow_pump(&flow) && flow.hashed == WINDOW);
    flow.sink = open_end("sink", &sink, false);
    pump_all();
    CU_ASSERT(flow_finished(&flow) && sink.wrong == 0 && sink.moved == 3 * WINDOW);
    end();
}

static void test_failures_are_not_hidden(void)
{
    begin_both(1 << 20, false);
    source.part = 100;
    source.fail_at = 3;
    source.fail_rc = -EIO;
    pump_all();
    CU_ASSERT(failures == 1 && flow.source->rc == -EIO && flow.source->state == XPORT_FAILED);
    CU_ASSERT(!flow_ended(&flow) && !flow_finished(&flow) && flow.ring.put == 200 && sink.moved == 200);
    end();
}

static void test_ring_refused(void)
{
    memset(&flow, 0, sizeof(flow));
    CU_ASSERT_EQUAL(flow_init(&flow, 1, RING_PAGES_AUTO, true, &stats), -EINVAL);
    CU_ASSERT_PTR_NULL(flow.digest);
    flow_fini(&flow);
}

/* ------------------------------------------------------------ what it waits for */

static uint32_t waits(void) { return atomic_load(&stats.waiting_for); }

/* Pump, let time pass, pump: the time must be booked on `kind` alone. */
static void check_wait(enum stats_wait kind)
{
    uint64_t before[WAIT_KINDS];
    while (flow_pump(&flow))
        ;
    CU_ASSERT_EQUAL(waits(), kind);
    for (int i = 0; i < WAIT_KINDS; i++)
        before[i] = stats_get(&stats.wait_ns[i]);
    usleep(20000);
    flow_pump(&flow);
    for (int i = 0; i < WAIT_KINDS; i++) {
        uint64_t more = stats_get(&stats.wait_ns[i]) - before[i];
        CU_ASSERT((uint32_t)i == kind ? more >= 19 * NS_PER_MS : more == 0);
    }
}

static void test_waits(void)
{
    begin(1 << 20, false);
    check_wait(WAIT_SOURCE); /* nobody brings anything */
    flow.source = open_end("source", &source, true);
    source.part = 1000;
    source.fail_at = 0;
    flow_pump(&flow);
    CU_ASSERT_EQUAL(waits(), WAIT_KINDS); /* it moves */
    check_wait(WAIT_SINK);                /* the ring is full and nobody takes */
    flow.sink = open_end("sink", &sink, false);
    sink.again = 1;
    check_wait(WAIT_SINK);                /* the sink takes nothing */
    end();
}

/* Everything was handed over, the sink has not released it: that is the sink's time, too. */
static void test_wait_for_release(void)
{
    begin_both(10 * WINDOW, false);
    sink.lag = true;
    check_wait(WAIT_SINK);
    CU_ASSERT(flow.ring.sub == WINDOW && flow.ring.rel == 0);
    end();
}

/* The same with a last quarter of the ring free, which a source of whole quarters cannot use, and after the end. */
static void test_wait_for_release_of_a_part(void)
{
    begin_both(10 * WINDOW, false);
    sink.lag = true;
    source.part = WINDOW - 1000;
    source.quarter = true;
    check_wait(WAIT_SINK);
    CU_ASSERT(flow.ring.sub == flow.ring.put && ring_room(&flow.ring) > 0);
    end();
    begin_both(1000, false);
    sink.lag = true;
    check_wait(WAIT_SINK);
    CU_ASSERT(flow_ended(&flow) && flow.ring.sub == 1000 && flow.ring.rel == 0);
    end();
}

/* A sink by the chunk is handed what several fills brought, any other one what each brought. */
static void test_fills_before_a_drain(void)
{
    struct xport_ops by_chunk = xport_mem_ops;
    by_chunk.by_chunk = true;
    for (int i = 0; i < 2; i++) {
        begin_both(10 * WINDOW, false);
        source.part = 1000;
        if (i)
            flow.sink->ops = &by_chunk;
        CU_ASSERT_TRUE(flow_pump(&flow));
        CU_ASSERT(sink.calls > 0 && sink.moved == sink.calls * (i ? 4000U : 1000U));
        end();
    }
}

static void on_far_closed(struct xport *x UNUSED) {}

static void test_wait_for_credits(void)
{
    struct mem_wire wire = { .keep = true };
    const struct xport_spec s = { .address = "wire", .chunk_max = 4096 };
    struct xport_answer a;
    struct ring other;
    begin(1 << 20, false);
    mem_wire_add("wire", &wire);
    CU_ASSERT_EQUAL(ring_init(&other, 4096, RING_PAGES_AUTO), 0);
    struct xport *far = xport_mem_ops.create(&rig.env[1]), *near = xport_mem_ops.create(&rig.env[0]);
    far->host = near->host = &host;
    far->ops->mem_add(far, &other, true);
    near->forward = true;
    near->ops->mem_add(near, &flow.ring, false);
    CU_ASSERT(far->ops->accept(far, &s, &a) == 0 && near->ops->connect(near, &s) == 0);
    flow.source = open_end("source", &source, true);
    flow.sink = near;
    for (int i = 0; i < 10; i++) {
        xport_progress(near);
        xport_progress(far);
        flow_pump(&flow);
    }
    CU_ASSERT_EQUAL(other.put, 4096); /* the far ring is full and nobody consumes */
    check_wait(WAIT_CREDITS);
    xport_close(far, 0, on_far_closed);
    end();
    ring_fini(&other);
}

static int busy_drain(struct xport *x UNUSED, struct ring *r UNUSED) { return 0; }

/* An end that says it did something, as one does that served the other direction: this one waits all the same. */
static void test_wait_while_the_other_moves(void)
{
    struct xport_ops busy = xport_mem_ops;
    busy.drain = busy_drain;
    begin_both(1 << 20, false);
    flow.sink->ops = &busy;
    CU_ASSERT_TRUE(flow_pump(&flow)); /* it fills */
    for (int i = 0; i < 10; i++) {
        CU_ASSERT_TRUE(flow_pump(&flow)); /* and wants another look, each time */
        CU_ASSERT_EQUAL(waits(), WAIT_SINK);
    }
    usleep(20000);
    flow_pump(&flow);
    CU_ASSERT(stats_get(&stats.wait_ns[WAIT_SINK]) >= 19 * NS_PER_MS);
    flow.sink->ops = &xport_mem_ops;
    end();
}

/* Pacing holds the bytes back, and nobody else is to blame. */
static void test_wait_for_rate(void)
{
    begin_both(1 << 20, false);
    flow_set_rate(&flow, 8);
    check_wait(WAIT_RATE);
    end();
}

static void test_end_waits_for_nothing(void)
{
    begin_both(100, false);
    pump_all();
    CU_ASSERT_EQUAL(waits(), WAIT_KINDS);
    usleep(5000);
    flow_pump(&flow);
    for (int i = 0; i < WAIT_KINDS; i++)
        CU_ASSERT(stats_get(&stats.wait_ns[i]) < 5 * NS_PER_MS);
    end();
}

/* ------------------------------------------------------------ pacing */

#define RATE_BYTES 1000000ULL
#define BURST (RATE_BYTES / 50) /* ten slices of 2 ms */

static void test_rate(void)
{
    uint64_t bytes = 200000, began = now_ns();
    begin_both(bytes, false);
    flow_set_rate(&flow, 8 * RATE_BYTES);
    while (!flow_finished(&flow)) {
        flow_pump(&flow);
        uint64_t elapsed = now_ns() - began, wait = flow_paced_wait(&flow);
        CU_ASSERT(flow.ring.sub <= BURST + RATE_BYTES * (elapsed + 2 * NS_PER_MS) / NS_PER_S);
        CU_ASSERT(wait <= 2 * NS_PER_MS && (!wait || ring_waiting(&flow.ring) == 0));
        if (flow_finished(&flow))
            break;
        CU_ASSERT(wait > 0);
        usleep((useconds_t)(wait / NS_PER_US) + 1);
    }
    CU_ASSERT(now_ns() - began >= NS_PER_S * (bytes - BURST) / RATE_BYTES);
    CU_ASSERT(sink.wrong == 0 && sink.moved == bytes);
    end();
}

/* After a pause no more than the burst may be caught up. */
static void test_no_catching_up(void)
{
    begin_both(1 << 20, false);
    flow_set_rate(&flow, 8 * RATE_BYTES);
    flow_pump(&flow);
    uint64_t before = flow.ring.sub;
    usleep(100000);
    flow_pump(&flow);
    CU_ASSERT(flow.ring.sub - before > 0 && flow.ring.sub - before <= BURST);
    end();
}

/* The gate does not run away while the sink takes nothing. */
static void test_slow_sink_paced(void)
{
    begin_both(1 << 20, false);
    flow_set_rate(&flow, 8 * RATE_BYTES);
    sink.again = 1;
    for (int i = 0; i < 10; i++) {
        usleep(10000);
        flow_pump(&flow);
    }
    CU_ASSERT(flow.ring.sub == 0 && flow.ring.gate <= BURST && flow_paced_wait(&flow) == 0);
    end();
}

static void test_no_rate(void)
{
    begin_both(WINDOW, false);
    flow_set_rate(&flow, 8 * RATE_BYTES);
    CU_ASSERT_EQUAL(flow.ring.gate, 0);
    flow_set_rate(&flow, 0);
    flow_pump(&flow);
    CU_ASSERT(flow.ring.sub == WINDOW && flow_paced_wait(&flow) == 0);
    end();
}

/* One byte a second is a rate, too: at least one frame's worth, then the wait is not 0. */
static void test_slowest_rate(void)
{
    begin_both(WINDOW, false);
    flow_set_rate(&flow, 8);
    flow_pump(&flow);
    CU_ASSERT(flow.ring.sub == 0 && flow_paced_wait(&flow) > 0);
    end();
}

/* ------------------------------------------------------------ a share of the session's */

static struct share share;

static void begin_shared(uint64_t bytes, uint64_t bytes_per_s)
{
    begin_both(bytes, false);
    memset(&share, 0, sizeof(share));
    share_set_rate(&share, bytes_per_s, false);
    flow_use_share(&flow, &share, 1);
}

static void test_share(void)
{
    uint64_t bytes = RATE_BYTES / 10, began = now_ns(), burst = RATE_BYTES * SHARE_BURST_NS / NS_PER_S;
    begin_shared(bytes, RATE_BYTES);
    while (!flow_finished(&flow)) {
        int moved = flow_pump(&flow);
        uint64_t wait = flow_paced_wait(&flow);
        CU_ASSERT(flow.ring.sub <= burst + RATE_BYTES * (now_ns() - began) / NS_PER_S);
        CU_ASSERT(wait <= SHARE_SLICE_NS && (moved || flow_finished(&flow) || wait > 0));
        if (wait && !moved)
            usleep((useconds_t)(wait / NS_PER_US) + 1);
    }
    CU_ASSERT(now_ns() - began >= NS_PER_S * (bytes - burst) / RATE_BYTES);
    CU_ASSERT(sink.wrong == 0 && sink.moved == bytes && atomic_load(&share.taken[1]) == bytes && atomic_load(&share.taken[0]) == 0);
    end();
}

static void pump_until_held(void)
{
    while (flow_pump(&flow))
        ;
}

/* Nothing is taken for bytes that are not here; and what says that it waits for the clock does. */
static void test_share_of_others(void)
{
    begin_shared(1 << 20, RATE_BYTES);
    source.part = 100;
    flow_pump(&flow);
    CU_ASSERT(flow.ring.sub == 400 && atomic_load(&share.taken[1]) == 400);
    source.part = 0;
    atomic_store(&share.paid_ns[1], now_ns()); /* somebody else has had the rest */
    share_set_rate(&share, 1, false);
    pump_until_held();
    CU_ASSERT(flow.ring.sub == 400 && flow.ring.put > 400 && atomic_load(&stats.waiting_for) == WAIT_RATE);
    CU_ASSERT(flow_paced_wait(&flow) > 0 && flow_paced_wait(&flow) <= SHARE_WAIT_NS);
    end();
}

static void test_share_slow_sink(void)
{
    begin_shared(1 << 20, 100ULL << 30);
    sink.again = 1;
    for (int i = 0; i < 10; i++)
        flow_pump(&flow);
    CU_ASSERT(flow.ring.sub == 0 && flow.ring.gate <= WINDOW && flow_paced_wait(&flow) == 0);
    end();
}

/* Control may set a limit, another one, or none, while it runs. */
static void test_share_comes_and_goes(void)
{
    begin_shared(3 * WINDOW, 0);
    source.part = WINDOW / 4;
    flow_pump(&flow);
    CU_ASSERT(flow.ring.sub == WINDOW && atomic_load(&share.taken[1]) == 0 && flow_paced_wait(&flow) == 0);
    atomic_store(&share.paid_ns[1], now_ns() + NS_PER_S);
    share_set_rate(&share, 1000, false);
    pump_until_held();
    CU_ASSERT(flow.ring.sub == WINDOW && flow_paced_wait(&flow) > 0);
    share_set_rate(&share, 0, false);
    pump_all();
    CU_ASSERT(flow_finished(&flow) && sink.wrong == 0 && sink.moved == 3 * WINDOW);
    end();
}

/* ------------------------------------------------------------ memory that is borrowed */

static struct ring_pool pool;

/* The same stage with a ring of the pool. */
static void borrow_ring(size_t cap)
{
    flow_fini(&flow);
    memset(&flow, 0, sizeof(flow));
    pool = (struct ring_pool){ .cap = cap };
    flow_init_pooled(&flow, &pool, &stats);
}

static void end_pooled(void)
{
    end();
    CU_ASSERT_EQUAL(pool.n_lent, 0);
    ring_pool_fini(&pool);
}

static void begin_pooled(uint64_t bytes)
{
    begin(bytes, false);
    borrow_ring(WINDOW);
    flow.source = open_end("source", &source, true);
    flow.sink = open_end("sink", &sink, false);
}

static void test_pooled(void)
{
    begin_pooled(5 * WINDOW + 3);
    CU_ASSERT_PTR_NULL(flow.ring.base);
    source.part = 1000;
    for (int i = 0; i < 10000 && !flow_finished(&flow); i++) {
        flow_pump(&flow);
        CU_ASSERT(!flow.ring.base && pool.n_lent == 0 && ring_held(&flow.ring) == 0); /* what came went in the same turn */
        loop_turn(&rig.loop, 0);
    }
    CU_ASSERT(flow_finished(&flow) && sink.moved == source.bytes && sink.wrong == 0 && stats_get(&stats.rel) == source.bytes);
    CU_ASSERT_EQUAL(pool.n_idle, 1);
    end_pooled();
}

/* Bytes that wait keep the memory, also those of a flow that is never finished. */
static void test_pooled_holds(void)
{
    begin_pooled(3 * WINDOW);
    sink.part = 1000;
    sink.again = 2;
    flow_pump(&flow);
    CU_ASSERT(flow.ring.base && pool.n_lent == 1);
    pump_all();
    CU_ASSERT(flow_finished(&flow) && sink.wrong == 0 && sink.moved == 3 * WINDOW && pool.n_lent == 0);
    end_pooled();
    begin_pooled(3 * WINDOW);
    sink.again = 1;
    flow_pump(&flow);
    CU_ASSERT(flow.ring.put == WINDOW && pool.n_lent == 1);
    end_pooled();
}

/* An empty flow, and one whose source has not come, need none. */
static void test_pooled_needs_none(void)
{
    begin_pooled(0);
    pump_all();
    CU_ASSERT(flow_finished(&flow) && sink.shut && pool.n_lent == 0);
    unsigned made = pool.n_idle;
    flow_pump(&flow);
    CU_ASSERT_EQUAL(pool.n_idle, made);
    end_pooled();
    begin(0, false);
    borrow_ring(WINDOW);
    flow.sink = open_end("sink", &sink, false);
    CU_ASSERT_FALSE(flow_pump(&flow));
    CU_ASSERT(pool.n_lent == 0 && pool.n_idle == 0);
    end_pooled();
}

static void test_pooled_no_memory(void)
{
    begin_pooled(WINDOW);
    pool.cap = 1; /* no ring is that small */
    CU_ASSERT_FALSE(flow_pump(&flow));
    CU_ASSERT(failures == 1 && flow.source->rc == -EINVAL && flow.source->state == XPORT_FAILED && pool.n_lent == 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(flow.source->why, "ring of 65536 bytes: "));
    CU_ASSERT(!flow_pump(&flow) && failures == 1);
    end_pooled();
}

/* ------------------------------------------------------------ bytes that nobody takes */

static void test_discard(void)
{
    for (int pooled = 0; pooled < 2; pooled++) {
        begin(5 * WINDOW + 1, false);
        if (pooled)
            borrow_ring(WINDOW);
        flow.discard = true;
        CU_ASSERT(!flow_pump(&flow) && !flow_finished(&flow)); /* there may be something to come */
        flow.source = open_end("source", &source, true);
        pump_all();
        CU_ASSERT(flow_ended(&flow) && flow_finished(&flow) && stats_get(&stats.rel) == 5 * WINDOW + 1);
        CU_ASSERT_EQUAL(flow.ring.base == NULL, pooled);
        end_pooled();
    }
}

static void test_discard_digest(void)
{
    uint8_t got[DIGEST_SIZE], want[DIGEST_SIZE], data[1000];
    struct digest *d = digest_new();
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = mem_byte(3, i);
    digest_add(d, data, sizeof(data));
    digest_get(d, want);
    digest_free(d);
    begin(sizeof(data), true);
    flow.discard = true;
    flow.source = open_end("source", &source, true);
    source.part = 300;
    pump_all();
    digest_get(flow.digest, got);
    CU_ASSERT(flow_finished(&flow) && memcmp(got, want, DIGEST_SIZE) == 0);
    end();
}

#define TURN (1U << 20) /* bytes that a flow that borrows may move before others have their turn */

/* Ends that move as much at once as a pipe takes: rounds alone would be four times that. */
static void test_pooled_turn_is_bounded(void)
{
    begin(64 * TURN, false);
    borrow_ring(TURN);
    flow.source = open_end("source", &source, true);
    flow.sink = open_end("sink", &sink, false);
    for (unsigned i = 1; i <= 3; i++) {
        CU_ASSERT_TRUE(flow_pump(&flow));
        CU_ASSERT(flow.ring.put == i * TURN && sink.moved == i * TURN);
    }
    source.part = TURN - 1; /* a byte is missing: one more round, as much as it brings */
    CU_ASSERT_TRUE(flow_pump(&flow));
    CU_ASSERT_EQUAL(flow.ring.put, 3 * TURN + 2 * (TURN - 1));
    end_pooled();
}

UNIT_MAIN("flow", UNIT(test_digest), UNIT(test_counters), UNIT(test_turn_is_bounded), UNIT(test_one_end),
          UNIT(test_failures_are_not_hidden), UNIT(test_ring_refused), UNIT(test_waits), UNIT(test_wait_for_release),
          UNIT(test_wait_for_release_of_a_part), UNIT(test_fills_before_a_drain), UNIT(test_wait_for_credits),
          UNIT(test_wait_while_the_other_moves),
          UNIT(test_wait_for_rate), UNIT(test_end_waits_for_nothing), UNIT(test_rate), UNIT(test_no_catching_up),
          UNIT(test_slow_sink_paced), UNIT(test_no_rate), UNIT(test_slowest_rate),
          UNIT(test_share), UNIT(test_share_of_others), UNIT(test_share_slow_sink), UNIT(test_share_comes_and_goes),
          UNIT(test_pooled), UNIT(test_pooled_holds), UNIT(test_pooled_needs_none), UNIT(test_pooled_no_memory), UNIT(test_pooled_turn_is_bounded), UNIT(test_discard),
          UNIT(test_discard_digest))
