/* Sums for the metrics: of what is over and what lives, of workers that died, of doors and relays; never back. And their text. */
#include "ctrl/prom.h"
#include "ctrl/tally.h"
#include "src/core/err.h"
#include "tests/lib/unit.h"

static char why[400];

static struct conf *make_conf(void)
{
    static const char *const settings[] = { "route.plain.accept=link", "route.doors.accept=tcp://127.0.0.1:7000,link,tcp://[::1]:7000",
                                            "route.last.accept=tcp://127.0.0.1:7001" };
    struct conf *c = conf_new();
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        CU_ASSERT_EQUAL_FATAL(conf_set(c, settings[i], why, sizeof(why)), 0);
    return c;
}

static void set_flow(struct stats_flow *f, uint64_t put, uint64_t sink_ns)
{
    stats_set(&f->put, put);
    stats_set(&f->wait_ns[WAIT_SINK], sink_ns);
    atomic_store(&f->waiting_for, WAIT_KINDS);
    stats_set(&f->since_ns, 1);
}

static void test_channel_sum(void)
{
    struct stats_channel c = { .id = 7 };
    struct stats_sum s = { .bytes = { 5 } };
    set_flow(&c.flow[0], 1000, 30);
    set_flow(&c.flow[1], 2000, 40);
    stats_sum_channel(&s, &c, 100);
    CU_ASSERT(s.bytes[0] == 1005 && s.bytes[1] == 2000 && s.wait_ns[0][WAIT_SINK] == 30 && s.wait_ns[1][WAIT_SINK] == 40);
    CU_ASSERT(s.wait_ns[0][WAIT_SOURCE] == 0);
    /* a wait that lasts counts until now; one that was never looked at does not */
    struct stats_sum open = { .bytes = { 0 } };
    atomic_store(&c.flow[0].waiting_for, WAIT_CREDITS);
    stats_set(&c.flow[0].since_ns, 60);
    atomic_store(&c.flow[1].waiting_for, WAIT_SOURCE);
    stats_set(&c.flow[1].since_ns, 0);
    stats_sum_channel(&open, &c, 100);
    CU_ASSERT(open.wait_ns[0][WAIT_CREDITS] == 40 && open.wait_ns[0][WAIT_SINK] == 30 && open.wait_ns[1][WAIT_SOURCE] == 0);
}

static void test_never_back(void)
{
    struct stats_sum shown = { .bytes = { 10, 20 } }, s = { .bytes = { 9, 21 } };
    shown.wait_ns[1][WAIT_RATE] = 5;
    stats_sum_never_back(&s, &shown);
    CU_ASSERT(s.bytes[0] == 10 && s.bytes[1] == 21 && s.wait_ns[1][WAIT_RATE] == 5 && shown.bytes[1] == 21);
}

static void test_ended(void)
{
    struct tally t;
    struct conf *c = make_conf();
    struct stats_sum moved = { .bytes = { 100, 1 } };
    tally_init(&t);
    tally_ended(&t, "plain", TALLY_CONFIRMED, 0, &moved);
    tally_ended(&t, "plain", TALLY_ABORTED, -SST_ELOST, &moved);
    tally_ended(&t, "plain", TALLY_ABORTED, -ECONNRESET, &moved); /* the nearest of the table */
    tally_ended(&t, "gone", TALLY_ABORTED, 0, &moved);           /* of a configuration that was replaced */
    tally_attach(&t, 0);
    tally_attach(&t, -SST_EAUTH);
    tally_begin(&t, c);
    const struct tally_route *r = tally_route(&t, "plain");
    CU_ASSERT(r->ended[TALLY_CONFIRMED] == 1 && r->ended[TALLY_ABORTED] == 2 && r->aborted[4] == 2);
    CU_ASSERT(r->now.moved.bytes[0] == 300 && r->now.moved.bytes[1] == 3);
    CU_ASSERT(tally_route(&t, "gone")->now.moved.bytes[0] == 100);
    CU_ASSERT(t.attached == 1 && t.refused[5] == 1);
    struct stats_channel live = { .id = 1 };
    set_flow(&live.flow[0], 50, 0);
    tally_channel(tally_route(&t, "plain"), &live, 2);
    CU_ASSERT(r->now.moved.bytes[0] == 350 && r->kept.moved.bytes[0] == 300);
    tally_fini(&t);
    conf_free(c);
}

static void set_page(struct stats_page *p)
{
    stats_set(&p->copied_bytes, 11);
    stats_set(&p->tcp_retransmits, 3);
    stats_set(&p->link_retransmits, 4);
    for (unsigned d = 0; d < 3; d++) { /* doors 0 and 1: route doors; 2: last */
        stats_set(&p->door[d].accepted, 10 + d);
        stats_set(&p->door[d].refused, 1);
        stats_set(&p->door[d].open, 2);
        stats_set(&p->door[d].bytes[1], 1000);
        stats_set(&p->door[d].wait_ns[0][WAIT_CREDITS], 7);
    }
    stats_set(&p->relay_high, 2);
    stats_set(&p->relay[1].c.id, 5);
    atomic_store(&p->relay[1].door, 2);
    set_flow(&p->relay[1].c.flow[0], 400, 0);
    atomic_store(&p->relay[1].c.flow[1].waiting_for, WAIT_SINK);
    stats_set(&p->relay[1].c.flow[1].since_ns, now_ns());
}

static void test_pages(void)
{
    struct tally t;
    struct conf *c = make_conf();
    struct stats_page *p = stats_create(NULL);
    tally_init(&t);
    set_page(p);
    tally_begin(&t, c);
    tally_page(&t, c, p);
    const struct tally_route *doors = tally_route(&t, "doors"), *last = tally_route(&t, "last");
    CU_ASSERT(doors->now.accepted == 21 && doors->now.refused == 2 && doors->now.open == 4 && doors->now.moved.bytes[1] == 2000);
    CU_ASSERT(doors->now.moved.wait_ns[0][WAIT_CREDITS] == 14);
    CU_ASSERT(last->now.accepted == 12 && last->now.moved.bytes[0] == 400 && last->now.waiting[WAIT_SINK] == 1 && last->now.waiting[WAIT_SOURCE] == 0);
    CU_ASSERT(t.now.copied_bytes == 11 && t.now.tcp_retransmits == 3 && t.now.link_retransmits == 4 && t.kept.copied_bytes == 0);
    CU_ASSERT_EQUAL(tally_route(&t, "plain")->now.accepted, 0);
    /* the worker dies: what it counted stays, what was open has failed */
    tally_keep(&t, c, p);
    memset(p, 0, sizeof(*p));
    tally_begin(&t, c);
    tally_page(&t, c, p);
    CU_ASSERT(last->now.accepted == 12 && last->now.open == 0 && last->now.failed == 2 && last->now.moved.bytes[0] == 400);
    CU_ASSERT(t.now.copied_bytes == 11 && t.now.tcp_retransmits == 3 && t.now.link_retransmits == 4);
    tally_fini(&t);
    conf_free(c);
    stats_unmap(p);
}

static const char *session_doors(const void *doors UNUSED, unsigned number)
{
    return number < 1 ? "doors" : number >= STATS_ROUTE_DOORS && number < STATS_ROUTE_DOORS + 2 ? "sessions" : NULL;
}

/* All sessions are one, whatever the numbers of their doors. */
static void test_sessions(void)
{
    struct tally t;
    struct conf *c = make_conf();
    struct stats_page *p = stats_create(NULL);
    tally_init(&t);
    tally_use_doors(&t, session_doors, NULL);
    set_page(p);
    for (unsigned i = 0; i < 3; i++) { /* the third place was never used */
        stats_set(&p->door[STATS_ROUTE_DOORS + i].accepted, 100);
        stats_set(&p->door[STATS_ROUTE_DOORS + i].open, 1);
        stats_set(&p->door[STATS_ROUTE_DOORS + i].bytes[0], 5);
    }
    atomic_store(&p->relay[1].door, 7 * STATS_DOORS + STATS_ROUTE_DOORS + 1);
    tally_begin(&t, c);
    tally_page(&t, c, p);
    const struct tally_route *sessions = tally_route(&t, "sessions");
    CU_ASSERT(sessions->now.accepted == 200 && sessions->now.open == 2 && sessions->now.moved.bytes[0] == 410);
    CU_ASSERT_EQUAL(tally_route(&t, "doors")->now.accepted, 10);
    tally_keep(&t, c, p);
    memset(p, 0, sizeof(*p));
    tally_begin(&t, c);
    tally_page(&t, c, p);
    CU_ASSERT(sessions->now.accepted == 200 && sessions->now.open == 0 && sessions->now.failed == 2 && sessions->now.moved.bytes[0] == 410);
    tally_fini(&t);
    conf_free(c);
    stats_unmap(p);
}

static void test_doors_bounded(void)
{
    struct tally t;
    struct conf *c = conf_new();
    struct stats_page *p = stats_create(NULL);
    char setting[64];
    for (unsigned i = 0; i < STATS_ROUTE_DOORS + 3; i++) {
        snprintf(setting, sizeof(setting), "route.r%u.accept=tcp://127.0.0.1:%u", i, 7000 + i);
        CU_ASSERT_EQUAL_FATAL(conf_set(c, setting, why, sizeof(why)), 0);
    }
    stats_set(&p->relay_high, UINT64_MAX); /* a page is written by a worker, whose memory may be anybody's */
    stats_set(&p->relay[STATS_RELAYS - 1].c.id, 1);
    atomic_store(&p->relay[STATS_RELAYS - 1].door, STATS_ROUTE_DOORS);
    stats_set(&p->door[STATS_ROUTE_DOORS - 1].accepted, 4);
    tally_init(&t);
    tally_begin(&t, c);
    tally_page(&t, c, p);
    CU_ASSERT_EQUAL(tally_route(&t, "r63")->now.accepted, 4);
    CU_ASSERT_EQUAL(tally_route(&t, "r66")->now.accepted, 0);
    tally_fini(&t);
    conf_free(c);
    stats_unmap(p);
}

static void test_text(void)
{
    struct prom p;
    size_t len;
    CU_ASSERT_FATAL(prom_begin(&p));
    prom_family(&p, "a_total", "counter", "What\\ever\nit \"is\".");
    prom_number(&p, 5, NULL);
    prom_number(&p, UINT64_MAX, "route", "a\"b\\c\nd", "other", "", NULL);
    prom_family(&p, "b_seconds_total", "counter", "Time.");
    prom_seconds(&p, 3 * NS_PER_S + 7, "for", "sink", NULL);
    char *text = prom_end(&p, &len);
    CU_ASSERT_STRING_EQUAL(text, "# HELP a_total What\\\\ever\\nit \"is\".\n# TYPE a_total counter\na_total 5\n"
                                 "a_total{route=\"a\\\"b\\\\c\\nd\",other=\"\"} 18446744073709551615\n"
                                 "# HELP b_seconds_total Time.\n# TYPE b_seconds_total counter\nb_seconds_total{for=\"sink\"} 3.000000007\n");
    CU_ASSERT_EQUAL(len, strlen(text));
    free(text);
}

UNIT_MAIN("tally", UNIT(test_channel_sum), UNIT(test_never_back), UNIT(test_ended), UNIT(test_pages), UNIT(test_sessions), UNIT(test_doors_bounded), UNIT(test_text))
