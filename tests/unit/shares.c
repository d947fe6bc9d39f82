/* Shares as control sets them: how what is left is divided, who has which number, and what becomes of rates as sessions come, use them and go. */
#include "ctrl/shares.h"

#include <stdio.h>

#include "tests/lib/unit.h"

#define GBIT 1000000000ULL
#define WAN (1U << SEGMENT_WAN)
#define RDMA (1U << SEGMENT_RDMA)

static struct conf *conf;
static struct capacity capacity;
static struct board *board;
static struct loop loop;
static struct shares *shares;
static unsigned looks;

static void on_looked(void *user UNUSED) { looks++; }

static void set(const char *assignment)
{
    char why[400];
    if (conf_set(conf, assignment, why, sizeof(why)) < 0)
        CU_FAIL("conf_set");
}

static void begin(const char *wan)
{
    AUTO_FREE char *a = mem_printf("capacity.wan=%s", wan);
    conf = conf_new();
    set(a);
    looks = 0;
    capacity_init(&capacity, conf);
    CU_ASSERT_FATAL(loop_init(&loop) == 0 && (board = board_create(NULL)));
    shares = shares_new(&(struct shares_config){ .loop = &loop, .board = board, .capacity = &capacity, .looked = on_looked });
}

static void end(void)
{
    shares_free(shares);
    capacity_fini(&capacity);
    board_unmap(board);
    loop_fini(&loop);
    conf_free(conf);
}

static void reserve(const char *uid, uint64_t rate)
{
    const struct capacity_terms t = { .uid = uid, .principal = "alice", .rate = rate, .segments = WAN };
    capacity_keep(&capacity, &t);
    shares_changed(shares);
}

static uint64_t rate_of(uint32_t number) { return 8 * share_rate(board_share(board, number)); }

/* As flows do, and then the next look. */
static void use(uint32_t number, uint64_t bits_per_s, bool more)
{
    struct share *s = board_share(board, number);
    atomic_fetch_add(&s->taken[1], bits_per_s / 8 * SHARES_LOOK_NS / NS_PER_S);
    atomic_fetch_add(&s->held_back, more);
}
static void next_look(void)
{
    unsigned before = looks;
    while (looks == before)
        loop_turn(&loop, NS_PER_S);
}

static bool about(uint64_t a, uint64_t b) { return a > b - b / 8 && a < b + b / 8; }

/* ------------------------------------------------------------ dividing */

static uint64_t gets(const struct shares_part *p, size_t n, unsigned who)
{
    for (size_t i = 0; i < n; i++)
        if (p[i].who == who)
            return p[i].gets;
    return 0;
}

static void test_divide(void)
{
    struct shares_part p[] = { { UINT64_MAX, 0, 0 }, { 10, 0, 1 }, { UINT64_MAX, 0, 2 }, { 30, 0, 3 } };
    shares_divide(100, p, 4);
    CU_ASSERT(gets(p, 4, 1) == 10 && gets(p, 4, 3) == 30 && gets(p, 4, 0) == 30 && gets(p, 4, 2) == 30);
    struct shares_part q[] = { { UINT64_MAX, 0, 0 }, { 50, 0, 1 }, { 20, 0, 2 } };
    shares_divide(90, q, 3); /* nobody is below his equal part who asks for it */
    CU_ASSERT(gets(q, 3, 2) == 20 && gets(q, 3, 1) == 35 && gets(q, 3, 0) == 35);
    struct shares_part r[] = { { 10, 0, 0 }, { 20, 0, 1 } };
    shares_divide(100, r, 2); /* what nobody asks for is for both */
    CU_ASSERT(gets(r, 2, 0) == 45 && gets(r, 2, 1) == 55);
    shares_divide(100, NULL, 0);
}

/* ------------------------------------------------------------ owners */

static void test_numbers(void)
{
    begin("0");
    uint32_t a = shares_hold(shares, "a", WAN), b = shares_hold(shares, "b", WAN);
    CU_ASSERT(a && b && a != b && shares_hold(shares, "a", RDMA) == a);
    CU_ASSERT(shares_route(shares, "a", WAN) != a && shares_route(shares, "a", WAN) == shares_route(shares, "a", WAN));
    shares_drop(shares, a);
    CU_ASSERT_EQUAL(shares_hold(shares, "a", WAN), a);
    shares_drop(shares, a);
    shares_drop(shares, a);
    CU_ASSERT_NOT_EQUAL(shares_hold(shares, "a", WAN), a); /* it is another one of that name, and late ones find nobody's */
    shares_drop(shares, 0);
    CU_ASSERT(shares_hold(NULL, "a", WAN) == 0 && !shares_steady(NULL, 7));
    CU_ASSERT(rate_of(b) == 0 && timer_heap_next(&loop.timers) == UINT64_MAX); /* and no clock runs */
    end();
}

/* All numbers but one were used before the first of them comes again. */
static void test_many(void)
{
    char name[20];
    begin("0");
    uint32_t last = 0;
    for (unsigned i = 0; i < 3 * BOARD_SHARES; i++) {
        snprintf(name, sizeof(name), "s%u", i);
        uint32_t n = shares_hold(shares, name, WAN);
        CU_ASSERT_FATAL(n != 0 && n != last && n < BOARD_SHARES);
        shares_drop(shares, last = n);
    }
    for (unsigned i = 1; i < BOARD_SHARES; i++) {
        snprintf(name, sizeof(name), "t%u", i);
        CU_ASSERT_FATAL(shares_hold(shares, name, WAN) != 0);
    }
    CU_ASSERT_EQUAL(shares_hold(shares, "one more", WAN), 0);
    end();
}

/* ------------------------------------------------------------ rates */

static void test_steady(void)
{
    uint64_t rate;
    begin("10Gbit");
    reserve("a", 2 * GBIT);
    uint32_t a = shares_hold(shares, "a", WAN), b = shares_hold(shares, "b", WAN);
    CU_ASSERT(rate_of(a) == 2 * GBIT && shares_steady(shares, a) && !shares_steady(shares, b)); /* at once */
    CU_ASSERT(str_eq(shares_class(shares, a, &rate), "provisioned") && rate == 2 * GBIT);
    CU_ASSERT(str_eq(shares_class(shares, b, &rate), "best effort") && rate == 0);
    next_look();
    CU_ASSERT_EQUAL(rate_of(b), 8 * GBIT);
    reserve("a", 3 * GBIT);
    CU_ASSERT(rate_of(a) == 3 * GBIT && rate_of(b) == 7 * GBIT);
    capacity_give_back(&capacity, "a");
    shares_changed(shares);
    CU_ASSERT(!shares_steady(shares, a) && rate_of(a) + rate_of(b) <= 10 * GBIT && rate_of(a) >= 4 * GBIT);
    end();
}

static void test_unused_goes_on(void)
{
    begin("8Gbit");
    uint32_t n[3];
    for (unsigned i = 0; i < 3; i++)
        n[i] = shares_hold(shares, i == 0 ? "a" : i == 1 ? "b" : "c", WAN);
    next_look();
    next_look();
    use(n[0], GBIT, false);
    use(n[1], 3 * GBIT, true);
    next_look(); /* c takes nothing */
    CU_ASSERT(about(rate_of(n[0]), 1500000000 + 8 * GBIT / 48) && rate_of(n[1]) > 5 * GBIT && rate_of(n[2]) > 0 && rate_of(n[2]) < GBIT);
    CU_ASSERT(rate_of(n[0]) + rate_of(n[1]) + rate_of(n[2]) <= 8 * GBIT);
    for (unsigned i = 0; i < 3; i++)
        use(n[i], GBIT, true);
    next_look();
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT(about(rate_of(n[i]), 8 * GBIT / 3));
    end();
}

static void test_segments(void)
{
    begin("8Gbit");
    set("capacity.rdma=2Gbit");
    uint32_t both = shares_hold(shares, "both", WAN | RDMA), wan = shares_hold(shares, "wan", WAN), none = shares_hold(shares, "none", 0);
    next_look();
    use(both, GBIT, true);
    use(wan, GBIT, true);
    next_look();
    CU_ASSERT(rate_of(both) == 2 * GBIT && rate_of(wan) == 4 * GBIT && rate_of(none) == 0);
    end();
}

static void test_configured_meanwhile(void)
{
    begin("0");
    uint32_t a = shares_hold(shares, "a", WAN);
    shares_changed(shares);
    CU_ASSERT_EQUAL(rate_of(a), 0);
    set("capacity.wan=1Gbit");
    set("route.daq.deliver=ucx");
    set("route.daq.accept=ucx");
    uint32_t r = shares_route(shares, "daq", WAN);
    shares_changed(shares);
    CU_ASSERT(rate_of(a) == GBIT && rate_of(r) == 0); /* the route has no side there */
    set("capacity.wan=0");
    shares_changed(shares);
    CU_ASSERT_EQUAL(rate_of(a), 0);
    end();
}

UNIT_MAIN("shares", UNIT(test_divide), UNIT(test_numbers), UNIT(test_many), UNIT(test_steady), UNIT(test_unused_goes_on), UNIT(test_segments),
          UNIT(test_configured_meanwhile))
