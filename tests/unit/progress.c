/* What a watcher is told of a channel between two looks at its counters. */
#include "ctrl/watch.h"
#include "tests/lib/unit.h"

static struct stats_channel st;
static struct watch_look before, now;

/* A second in which bytes moved and some of the time was waited. */
static Progress told(uint64_t moved, uint64_t source_ms, uint64_t sink_ms, uint32_t waits)
{
    Progress m = SCISTREAM__GATEWAY__V1__PROGRESS__INIT;
    memset(&st, 0, sizeof(st));
    stats_set(&st.flow[0].put, 5000);
    stats_set(&st.flow[0].rel, 4000);
    stats_set(&st.flow[1].rel, 100);
    watch_take(&before, &st, 7 * NS_PER_S);
    stats_add(&st.flow[0].put, moved);
    stats_add(&st.flow[0].rel, moved);
    stats_add(&st.flow[0].wait_ns[WAIT_SOURCE], source_ms * NS_PER_MS);
    stats_add(&st.flow[0].wait_ns[WAIT_SINK], sink_ms * NS_PER_MS);
    atomic_store(&st.flow[0].waiting_for, waits);
    watch_take(&now, &st, 8 * NS_PER_S);
    watch_compare(&m, &before, &now, &st, 4000);
    return m;
}

static void test_rate(void)
{
    Progress m = told(1000000, 0, 0, WAIT_KINDS);
    CU_ASSERT_EQUAL(m.interval_ms, 1000);
    CU_ASSERT_EQUAL(m.rate, 8000000);
    CU_ASSERT_EQUAL(m.bytes_in, 1005000);
    CU_ASSERT_EQUAL(m.bytes_out, 1004000);
    CU_ASSERT_EQUAL(m.window, 4000);
    CU_ASSERT_EQUAL(m.window_used, 1000);
    CU_ASSERT_EQUAL(m.rate_back, 0);
    CU_ASSERT_EQUAL(m.bytes_back, 100);
    CU_ASSERT_STRING_EQUAL(m.waiting_for, "");
    CU_ASSERT_STRING_EQUAL(m.waiting_for_back, ""); /* no flow */
}

/* The flow back, where there is one. */
static void test_back(void)
{
    Progress m = SCISTREAM__GATEWAY__V1__PROGRESS__INIT;
    told(10, 0, 0, WAIT_KINDS);
    stats_add(&st.flow[1].rel, 500000);
    stats_set(&st.flow[1].since_ns, 1);
    atomic_store(&st.flow[1].waiting_for, WAIT_SINK);
    watch_take(&now, &st, 8 * NS_PER_S);
    watch_compare(&m, &before, &now, &st, 4000);
    CU_ASSERT(m.rate == 80 && m.rate_back == 4000000 && m.bytes_back == 500100);
    CU_ASSERT_STRING_EQUAL(m.waiting_for_back, "sink");
    CU_ASSERT(watch_rate(1000, 1000) == 8000000000 && watch_rate(5, 0) > 0 && watch_rate(0, 7) == 0);
}

static void test_shares(void)
{
    Progress m = told(10, 300, 250, WAIT_SINK);
    CU_ASSERT_EQUAL(m.source_permille, 300);
    CU_ASSERT_EQUAL(m.credits_permille, 0);
    CU_ASSERT_EQUAL(m.sink_permille, 250);
    CU_ASSERT_STRING_EQUAL(m.waiting_for, "sink");
}

/* A wait is counted when it ends: it may be longer than the interval, or not be there yet. */
static void test_long_waits(void)
{
    Progress m = told(10, 5000, 100, WAIT_KINDS);
    CU_ASSERT_EQUAL(m.source_permille, 1000);
    CU_ASSERT_EQUAL(m.sink_permille, 0);
    m = told(0, 0, 0, WAIT_CREDITS);
    CU_ASSERT_EQUAL(m.credits_permille, 1000);
    CU_ASSERT_STRING_EQUAL(m.waiting_for, "credits");
    m = told(0, 200, 0, WAIT_SINK);
    CU_ASSERT_EQUAL(m.source_permille, 200);
    CU_ASSERT_EQUAL(m.sink_permille, 800);
    m = told(0, 0, 0, WAIT_KINDS); /* neither: nothing is claimed */
    CU_ASSERT_EQUAL(m.source_permille + m.credits_permille + m.sink_permille + m.clock_permille, 0);
}

UNIT_MAIN("progress", UNIT(test_rate), UNIT(test_back), UNIT(test_shares), UNIT(test_long_waits))
