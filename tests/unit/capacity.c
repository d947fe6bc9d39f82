/* Reservations: what fits, what a refusal says, when there may be room, and what is left for best effort. */
#include "ctrl/capacity.h"

#include "src/core/err.h"
#include "tests/lib/unit.h"

#define GBIT 1000000000ULL
#define WAN (1U << SEGMENT_WAN)
#define RDMA (1U << SEGMENT_RDMA)
#define AT 1800000000ULL /* 2027-01-15T08:00:00Z */

static struct conf *conf;
static struct capacity capacity;
static char why[CAPACITY_WHY];

static void set(const char *assignment)
{
    if (conf_set(conf, assignment, why, sizeof(why)) < 0)
        CU_FAIL("conf_set");
}

static void begin(const char *wan, const char *rdma)
{
    AUTO_FREE char *a = mem_printf("capacity.wan=%s", wan), *b = mem_printf("capacity.rdma=%s", rdma);
    conf = conf_new();
    set(a);
    set(b);
    set("capacity.best_effort_percent=10");
    capacity_init(&capacity, conf);
}

static void end(void)
{
    capacity_fini(&capacity);
    conf_free(conf);
}

static int admit(const char *uid, uint64_t rate, unsigned segments, uint64_t ends_s)
{
    const struct capacity_terms t = { .uid = uid, .principal = "alice", .rate = rate, .segments = segments, .ends_s = ends_s, .memory = 1000 };
    why[0] = 0;
    return capacity_admit(&capacity, &t, why, sizeof(why));
}

static void test_fits(void)
{
    begin("10Gbit", "100Gbit");
    CU_ASSERT(capacity_limits(&capacity) && capacity_left(&capacity, SEGMENT_WAN) == 10 * GBIT);
    CU_ASSERT_EQUAL(admit("a", 4 * GBIT, WAN | RDMA, 0), 0);
    CU_ASSERT_EQUAL(admit("b", 5 * GBIT, WAN, 0), 0);
    CU_ASSERT(capacity_reserved(&capacity, SEGMENT_WAN) == 9 * GBIT && capacity_reserved(&capacity, SEGMENT_RDMA) == 4 * GBIT);
    CU_ASSERT(capacity_sessions(&capacity, SEGMENT_WAN) == 2 && capacity_sessions(&capacity, SEGMENT_RDMA) == 1);
    CU_ASSERT(capacity_left(&capacity, SEGMENT_WAN) == GBIT && capacity_left(&capacity, SEGMENT_RDMA) == 96 * GBIT);
    CU_ASSERT_EQUAL(admit("c", 1, WAN, 0), -SST_ELIMIT);
    CU_ASSERT_EQUAL(admit("c", GBIT, RDMA, 0), 0); /* the other segment has room */
    CU_ASSERT(capacity_of_principal(&capacity, "alice") == 10 * GBIT && capacity_of_principal(&capacity, "bob") == 0);
    CU_ASSERT(capacity_find(&capacity, "a", false) != NULL && !capacity_find(&capacity, "a", true) && !capacity_find(&capacity, "d", false));
    capacity_give_back(&capacity, "a");
    capacity_give_back(&capacity, "nobody");
    CU_ASSERT_EQUAL(admit("d", 4 * GBIT, WAN | RDMA, 0), 0);
    end();
}

static void test_all_or_nothing(void)
{
    begin("10Gbit", "1Gbit");
    CU_ASSERT_EQUAL(admit("a", 2 * GBIT, WAN | RDMA, 0), -SST_EFEATURE);
    CU_ASSERT_STRING_EQUAL(why, "2Gbit cannot be reserved: the rdma segment has 1Gbit, of which 900Mbit can be");
    CU_ASSERT(capacity_reserved(&capacity, SEGMENT_WAN) == 0 && list_empty(&capacity.all));
    end();
    begin("0", "1Gbit");
    CU_ASSERT_EQUAL(admit("a", 1, WAN, 0), -SST_EFEATURE);
    CU_ASSERT_STRING_EQUAL(why, "nothing can be reserved at this gateway: it has no capacity.wan in its configuration");
    end();
}

static void test_when(void)
{
    begin("10Gbit", "0");
    CU_ASSERT(admit("a", 2 * GBIT, WAN, AT + 60) == 0 && admit("b", 3 * GBIT, WAN, AT) == 0 && admit("c", 2 * GBIT, WAN, 0) == 0);
    CU_ASSERT_EQUAL(admit("d", 6 * GBIT, WAN, 0), -SST_ELIMIT);
    CU_ASSERT_STRING_EQUAL(why, "6Gbit cannot be reserved now: of 10Gbit wan, 9Gbit can be, and 7Gbit are reserved by 3 sessions; 4Gbit are missing; the first to "
                                "end does so at 2027-01-15T08:00:00Z, and at 2027-01-15T08:01:00Z it fits");
    CU_ASSERT_EQUAL(admit("d", 3 * GBIT, WAN, 0), -SST_ELIMIT);
    CU_ASSERT_STRING_EQUAL(why, "3Gbit cannot be reserved now: of 10Gbit wan, 9Gbit can be, and 7Gbit are reserved by 3 sessions; 1Gbit are missing; the first to "
                                "end does so at 2027-01-15T08:00:00Z, then it fits");
    CU_ASSERT_EQUAL(admit("d", 9 * GBIT, WAN, 0), -SST_ELIMIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "when there is enough is not known"));
    capacity_give_back(&capacity, "b");
    CU_ASSERT(admit("b", 3 * GBIT, WAN, 0) == 0);
    CU_ASSERT_EQUAL(admit("d", 3 * GBIT, WAN, 0), -SST_ELIMIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "at 2027-01-15T08:01:00Z, then it fits"));
    capacity_give_back(&capacity, "a");
    CU_ASSERT_EQUAL(admit("d", 6 * GBIT, WAN, 0), -SST_ELIMIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "when one of them ends is not known"));
    end();
}

/* They end at the same time: each counts, once. */
static void test_same_end(void)
{
    begin("10Gbit", "0");
    CU_ASSERT(admit("a", GBIT, WAN, AT) == 0 && admit("b", GBIT, WAN, AT) == 0 && admit("c", GBIT, WAN, AT) == 0 && admit("d", 6 * GBIT, WAN, AT + 1) == 0);
    CU_ASSERT_EQUAL(admit("e", 3 * GBIT, WAN, 0), -SST_ELIMIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "at 2027-01-15T08:00:00Z, then it fits"));
    CU_ASSERT_EQUAL(admit("e", 4 * GBIT, WAN, 0), -SST_ELIMIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "and at 2027-01-15T08:00:01Z it fits"));
    end();
}

static void test_routes(void)
{
    begin("10Gbit", "10Gbit");
    set("route.daq.class=provisioned");
    set("route.daq.rate=2Gbit");
    set("route.daq.accept=ucx");
    set("route.daq.deliver=link");
    set("route.daq.window=1M");
    set("route.daq.channels=3");
    set("route.other.deliver=link");
    capacity_follow(&capacity);
    const struct reservation *r = capacity_find(&capacity, "daq", true);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    CU_ASSERT(r->rate == 2 * GBIT && r->segments == (WAN | RDMA) && r->memory == 3 << 20 && capacity_sessions(&capacity, SEGMENT_WAN) == 1);
    CU_ASSERT(capacity_take_memory(&capacity, "daq", true, 1 << 20));
    set("route.daq.rate=3Gbit");
    capacity_follow(&capacity);
    CU_ASSERT(r->rate == 3 * GBIT && r->memory_used == 1 << 20); /* it is the same */
    capacity_give_back(&capacity, "daq"); /* only the configuration can */
    CU_ASSERT_EQUAL(capacity_reserved(&capacity, SEGMENT_RDMA), 3 * GBIT);
    set("route.daq.class=best_effort");
    capacity_follow(&capacity);
    CU_ASSERT(list_empty(&capacity.all));
    end();
}

/* More is reserved than there is by now: all keep it, and best effort has what the configuration keeps for it. */
static void test_less(void)
{
    begin("10Gbit", "0");
    CU_ASSERT(admit("a", 4 * GBIT, WAN, 0) == 0 && admit("b", 4 * GBIT, WAN, 0) == 0);
    set("capacity.wan=5Gbit");
    capacity_follow(&capacity);
    CU_ASSERT(capacity_reserved(&capacity, SEGMENT_WAN) == 8 * GBIT && capacity_left(&capacity, SEGMENT_WAN) == GBIT / 2);
    CU_ASSERT_EQUAL(admit("c", GBIT, WAN, 0), -SST_ELIMIT);
    set("capacity.wan=0");
    CU_ASSERT(!capacity_limits(&capacity) && capacity_left(&capacity, SEGMENT_WAN) == 0);
    const struct capacity_terms t = { .uid = "d", .principal = "bob", .rate = GBIT, .segments = WAN };
    capacity_keep(&capacity, &t); /* the program before had it */
    CU_ASSERT_EQUAL(capacity_of_principal(&capacity, "bob"), GBIT);
    end();
}

static void test_memory(void)
{
    begin("10Gbit", "0");
    CU_ASSERT(!capacity_take_memory(&capacity, "a", false, 1) && admit("a", GBIT, WAN, 0) == 0);
    CU_ASSERT_EQUAL(capacity_kept_memory(&capacity), 1000);
    CU_ASSERT(!capacity_take_memory(&capacity, "a", true, 1) && !capacity_take_memory(&capacity, "a", false, 1001));
    CU_ASSERT(capacity_take_memory(&capacity, "a", false, 600) && !capacity_take_memory(&capacity, "a", false, 600));
    CU_ASSERT_EQUAL(capacity_kept_memory(&capacity), 1000); /* who has it counts it nowhere else */
    const struct capacity_terms less = { .uid = "a", .principal = "alice", .rate = GBIT, .segments = WAN, .memory = 100 };
    capacity_keep(&capacity, &less);
    CU_ASSERT(capacity_kept_memory(&capacity) == 600 && !capacity_take_memory(&capacity, "a", false, 1));
    capacity_give_memory(&capacity, "a", false, 600);
    capacity_give_memory(&capacity, "b", false, 600);
    CU_ASSERT_EQUAL(capacity_kept_memory(&capacity), 100);
    end();
}

UNIT_MAIN("capacity", UNIT(test_fits), UNIT(test_all_or_nothing), UNIT(test_when), UNIT(test_same_end), UNIT(test_routes), UNIT(test_less), UNIT(test_memory))
