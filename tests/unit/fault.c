/* The n-th call into a transport fails, for every n: a run ends whole or with a report, never in a hang, and gives everything back. */
#include <stdio.h>

#include "src/core/err.h"
#include "tests/lib/unit.h"
#include "tests/lib/watch.h"

const struct xport_ops *const xport_list[] = { &xport_mem_ops, NULL };

#define RING (64 << 10)
#define CALLS_MAX 5000

static struct rig rig;
static struct mem_wire wire;
static struct chain chain;

/* The codes that may be seen: the fault itself, or on the other side of a wire what that side hears of it. */
static bool expected(const struct watch *watch, enum channel_side side, int rc)
{
    int seen = watch->rc[side];
    return !watch->failed[side] || (watch->failed[side] == 1 && (seen == rc || seen == -ENOMEM || seen == -SST_ELOST ||
                                                                 seen == err_from_wire(err_to_wire(rc)) || seen == -ECONNREFUSED));
}

static void check_outcome(int rc)
{
    bool failed = watch_failed(&chain.near) || (chain.wire && watch_failed(&chain.far));
    if (!failed)
        CU_ASSERT_TRUE(chain_whole(&chain));
    for (enum channel_side s = 0; s < SIDES; s++)
        CU_ASSERT(expected(&chain.near, s, rc) && (!chain.wire || expected(&chain.far, s, rc)));
    CU_ASSERT(chain.sink.wrong == 0 && chain.back_sink.wrong == 0 && chain.near.reentered == 0 && chain.far.reentered == 0);
    if (failed && (chain.near.finished && (!chain.wire || chain.far.finished)))
        CU_FAIL("failed and finished");
}

/* Control's part: what fails is closed with its reason, and then the other. */
static void close_all(void)
{
    int rc = chain.near.rc[0] ? chain.near.rc[0] : chain.near.rc[1] ? chain.near.rc[1] : chain.far.rc[0] ? chain.far.rc[0] : chain.far.rc[1];
    CU_ASSERT_TRUE(chain_close(&chain, rc));
    CU_ASSERT(chain.near.closed == 1 && (!chain.wire || chain.far.closed == 1));
    CU_ASSERT(chain.source.opens == chain.source.closes && chain.sink.opens == chain.sink.closes);
    CU_ASSERT(!wire.end[0] && !wire.end[1]);
}

static bool run(const struct chain *plan, const struct mem_wire *wire_plan, unsigned n)
{
    const char *entry;
    wire = wire_plan ? *wire_plan : (struct mem_wire){ 0 };
    chain = *plan;
    chain.rig = &rig;
    chain.wire = wire_plan ? &wire : NULL;
    rig_open(&rig);
    rig.closed = true;
    mem_fault_arm(n, -EPROTONOSUPPORT);
    chain_open(&chain);
    chain.far.close_on_finish = true; /* the far side may have lost its connection without harm: that ends the near one's wait */
    chain.near.close_on_finish = chain.duplex;
    CU_ASSERT_TRUE(chain_run(&chain));
    bool fired = mem_fault_fired(&entry);
    unsigned failures = CU_get_number_of_failures();
    check_outcome(-EPROTONOSUPPORT);
    close_all();
    if (CU_get_number_of_failures() > failures)
        printf("\n  fault %u, in %s\n", n, entry);
    rig_close(&rig);
    return fired;
}

static void every_call(const struct chain *plan, const struct mem_wire *w)
{
    run(plan, w, UINT32_MAX); /* what is made once and kept, is made */
    struct footprint before = footprint();
    unsigned n = 0, failures = CU_get_number_of_failures();
    while (n < CALLS_MAX && CU_get_number_of_failures() == failures && run(plan, w, n)) {
        CU_ASSERT_TRUE(footprint_same(&before));
        n++;
    }
    CU_ASSERT(n > 10 && n < CALLS_MAX);
    printf("%u calls ", n);
}

static const struct chain plain = { .near_ring = RING, .far_ring = RING, .chunk = 20000, .source = { .bytes = 200000, .seed = 1 },
                                    .sink = { .seed = 1 } };

static void test_bytes(void) { every_call(&plain, NULL); }

static void test_bytes_in_parts(void)
{
    struct chain c = plain;
    c.source = (struct mem_plan){ .bytes = 100000, .seed = 1, .part = 3000, .again = 3, .up_later = true, .close_later = true };
    c.sink = (struct mem_plan){ .seed = 1, .part = 2500, .again = 4, .lag = true, .up_later = true, .close_later = true };
    every_call(&c, NULL);
}

static void test_wire_keep(void) { every_call(&plain, &(struct mem_wire){ .keep = true }); }
static void test_wire_release(void) { every_call(&plain, &(struct mem_wire){ .depth = 2 }); }

static void test_wire_with_moods(void)
{
    struct chain c = plain;
    c.chunk = 4096;
    c.source.part = 5000;
    c.sink.lag = true;
    every_call(&c, &(struct mem_wire){ .keep = true, .shuffle = 4, .part = 1500, .again = 3, .seed = 5 });
}

static void test_nothing_to_send(void)
{
    struct chain c = plain;
    c.source.bytes = 0;
    every_call(&c, &(struct mem_wire){ .keep = true });
}

static struct chain both_ways(uint64_t back)
{
    struct chain c = plain;
    c.duplex = true;
    c.back_source = (struct mem_plan){ .bytes = back, .seed = 2 };
    c.back_sink.seed = 2;
    return c;
}

static void test_duplex(void)
{
    const struct chain c = both_ways(100000), nothing = both_ways(0);
    every_call(&c, NULL);
    every_call(&c, &(struct mem_wire){ .keep = true });
    every_call(&c, &(struct mem_wire){ .depth = 2 });
    every_call(&nothing, &(struct mem_wire){ .keep = true });
}

static void test_duplex_with_moods(void)
{
    struct chain c = both_ways(70000);
    c.chunk = 4096;
    c.source.part = 5000;
    c.source.bytes = 100000;
    c.sink.lag = c.back_sink.lag = true;
    every_call(&c, &(struct mem_wire){ .keep = true, .shuffle = 4, .part = 1500, .again = 3, .seed = 5 });
}

UNIT_MAIN("fault", UNIT(test_bytes), UNIT(test_bytes_in_parts), UNIT(test_wire_keep), UNIT(test_wire_release), UNIT(test_wire_with_moods),
          UNIT(test_nothing_to_send), UNIT(test_duplex), UNIT(test_duplex_with_moods))
