/* The table of scistreamctl watch: what it shows of events, in terminals of any size. */
#include <stdio.h>

#include "src/ctl_table.h"
#include "tests/lib/unit.h"

typedef Scistream__Gateway__V1__Channel Channel;
typedef Scistream__Gateway__V1__HopState HopState;
typedef Scistream__Gateway__V1__Progress Progress;

static struct table t;

#define UID "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"

static char *unconst(const char *s) { return (char *)(uintptr_t)s; }

/* An event about a channel; what is nothing to the test is always the same. */
static void channel(const char *what, const char *uid, uint32_t number, const char *text)
{
    WatchEvent e = SCISTREAM__GATEWAY__V1__WATCH_EVENT__INIT;
    Channel c = SCISTREAM__GATEWAY__V1__CHANNEL__INIT;
    HopState source = SCISTREAM__GATEWAY__V1__HOP_STATE__INIT, sink = SCISTREAM__GATEWAY__V1__HOP_STATE__INIT;
    source.peer = unconst("10.0.0.7:40112");
    source.transport = unconst("ucx");
    sink.peer = unconst("192.0.2.1:5000");
    sink.transport = unconst("link");
    c.number = number;
    c.state = unconst("flowing");
    c.source = &source;
    c.sink = &sink;
    e.what = unconst(what);
    e.session = unconst(uid);
    e.route = unconst("detector");
    e.text = unconst(text);
    e.channel = &c;
    table_take(&t, &e);
}

static void progress(const char *uid, uint32_t number, uint64_t rate, uint64_t dropped)
{
    WatchEvent e = SCISTREAM__GATEWAY__V1__WATCH_EVENT__INIT;
    Progress p = SCISTREAM__GATEWAY__V1__PROGRESS__INIT;
    p.channel = number;
    p.rate = rate;
    p.bytes_out = 3 << 20;
    p.window = 4000;
    p.window_used = 1000;
    p.source_permille = 40;
    p.sink_permille = 822;
    e.what = unconst("progress");
    e.session = unconst(uid);
    e.progress = &p;
    e.dropped = dropped;
    table_take(&t, &e);
}

static void gateway(const char *what, const char *text)
{
    WatchEvent e = SCISTREAM__GATEWAY__V1__WATCH_EVENT__INIT;
    e.what = unconst(what);
    e.text = unconst(text);
    table_take(&t, &e);
}

#define SUM(bytes_, rate_, source_, sink_) \
    { PROTOBUF_C_MESSAGE_INIT(&scistream__gateway__v1__flow_sum__descriptor), .bytes = bytes_, .rate = rate_, .source_permille = source_, .sink_permille = sink_ }
#define FLOW(bytes_, rate_, waits_) \
    { PROTOBUF_C_MESSAGE_INIT(&scistream__gateway__v1__flow_state__descriptor), .bytes_out = bytes_, .rate = rate_, .waiting_for = waits_ }

/* Connections of two routes, and n of them one by one; what takes is slow in neither direction, back, or there. */
static WatchEvent *connections(unsigned n, unsigned slow, uint64_t more)
{
    static Scistream__Gateway__V1__FlowSum sums[] = { SUM(1000, 8000000, 970, 0), SUM(24, 1000, 1000, 0), SUM(1 << 20, 2000, 400, 100), SUM(1 << 20, 3000, 10, 450) };
    static Scistream__Gateway__V1__FlowState there = FLOW(2 << 20, 7000000, NULL), back = FLOW(1 << 20, 500000, NULL);
    static Scistream__Gateway__V1__RouteConnections route[2], *routes[2] = { &route[0], &route[1] };
    static Scistream__Gateway__V1__Connection one[200], *all[200];
    static Scistream__Gateway__V1__Connections c;
    static WatchEvent e;
    static char ids[200][24];
    scistream__gateway__v1__connections__init(&c);
    scistream__gateway__v1__watch_event__init(&e);
    there.waiting_for = unconst(slow == 2 ? "sink" : "source");
    back.waiting_for = unconst(slow == 1 ? "sink" : "");
    for (unsigned i = 0; i < 2; i++) {
        scistream__gateway__v1__route_connections__init(&route[i]);
        route[i].route = unconst(i ? "db" : "web");
        route[i].open = i ? 1 : 2000;
        route[i].opened = i ? 0 : 120;
        route[i].ended = 118;
        route[i].failed = 3;
        route[i].forward = &sums[2 * i];
        route[i].backward = &sums[2 * i + 1];
    }
    for (unsigned i = 0; i < n; i++) {
        scistream__gateway__v1__connection__init(&one[i]);
        snprintf(ids[i], sizeof(ids[i]), "r0.a%u", i);
        one[i].id = ids[i];
        one[i].route = unconst("web");
        one[i].peer = unconst("10.0.0.7:40112");
        one[i].backend = unconst(i ? "192.0.2.1:5432" : "");
        one[i].forward = &there;
        one[i].backward = &back;
        all[i] = &one[i];
    }
    c.routes = routes;
    c.n_routes = 2;
    c.fastest = all;
    c.n_fastest = n;
    c.more = more;
    e.what = unconst("connections");
    e.connections = &c;
    return &e;
}

static char *draw(unsigned lines, unsigned columns)
{
    char *text = table_draw(&t, lines, columns);
    unsigned n = 0;
    for (const char *s = text; *s; n++) {
        size_t len = strcspn(s, "\n");
        CU_ASSERT(len <= columns && s[len] == '\n');
        s += len + 1;
    }
    CU_ASSERT(n <= lines);
    return text;
}

static bool has(const char *text, const char *what)
{
    if (!strstr(text, what))
        printf("\n  '%s' is not in\n%s", what, text);
    return strstr(text, what);
}

static void test_row(void)
{
    table_init(&t);
    channel("opened", UID, 0, "");
    progress(UID, 0, 9870000000, 0);
    AUTO_FREE char *text = draw(24, 200);
    CU_ASSERT(has(text, "1 channel, 9.87 Gbit/s\n"));
    CU_ASSERT(has(text, "CHANNEL     ROUTE     FROM"));
    CU_ASSERT(has(text, "01234567/0  detector  10.0.0.7:40112  192.0.2.1:5000  ucx > link  flowing  9.87 Gbit/s"));
    CU_ASSERT(has(text, "3 MiB  25 %  sink 82 %\n"));
    table_fini(&t);
}

static void test_order(void)
{
    table_init(&t);
    for (uint32_t i = 0; i < 5; i++) {
        channel("opened", i < 3 ? UID : OTHER, i, "");
        progress(i < 3 ? UID : OTHER, i, 1000000 * (i == 1 ? 9 : i == 4 ? 8 : 1), 0);
    }
    AUTO_FREE char *text = draw(24, 200);
    const char *at = text, *const order[] = { "01234567/1", "fedcba98/4", "01234567/0", "01234567/2", "fedcba98/3" };
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        const char *found = strstr(at, order[i]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(found);
        at = found;
    }
    table_fini(&t);
}

static void test_ended(void)
{
    table_init(&t);
    channel("opened", UID, 0, "");
    channel("opened", UID, 1, "");
    channel("ended", UID, 0, "confirmed");
    AUTO_FREE char *text = draw(24, 200);
    CU_ASSERT(has(text, "1 channel,"));
    CU_ASSERT(has(text, "01234567/0 (detector) ended: confirmed"));
    CU_ASSERT(has(text, "\n01234567/1 "));
    channel("ended", UID, 7, "never heard of it");
    table_fini(&t);
}

/* Newest first, in as much room as the rows leave. */
static void test_notes(void)
{
    table_init(&t);
    for (int i = 0; i < 9; i++) {
        char text[20];
        snprintf(text, sizeof(text), "worker %d died", i);
        gateway("worker-died", text);
    }
    AUTO_FREE char *text = draw(24, 80);
    const char *last = strstr(text, "worker 8 died"), *before = strstr(text, "worker 7 died");
    CU_ASSERT(last && before && last < before);
    CU_ASSERT_PTR_NULL(strstr(text, "worker 4 died"));
    table_fini(&t);
}

static void test_small(void)
{
    table_init(&t);
    for (uint32_t i = 0; i < 40; i++) {
        channel("opened", UID, i, "");
        progress(UID, i, i, 0);
    }
    gateway("reloaded", "nothing changed");
    for (unsigned lines = 1; lines < 60; lines++)
        for (unsigned columns = 1; columns < 200; columns += 7)
            free(draw(lines, columns));
    AUTO_FREE char *text = draw(12, 80);
    CU_ASSERT(has(text, "and 32 more; make the window taller"));
    table_fini(&t);
}

static void test_dropped(void)
{
    table_init(&t);
    channel("opened", UID, 0, "");
    progress(UID, 0, 1, 17);
    CU_ASSERT_EQUAL(t.dropped, 17);
    AUTO_FREE char *text = draw(24, 120);
    CU_ASSERT(has(text, "reads too slowly"));
    table_fini(&t);
}

/* A row for each route, and for each of those that are told one by one; they are counted once. */
static void test_connections(void)
{
    table_init(&t);
    table_take(&t, connections(2, 0, 1998));
    AUTO_FREE char *text = draw(24, 200);
    CU_ASSERT(has(text, "2001 connections, 8.01 Mbit/s\n"));
    CU_ASSERT(has(text, "STATE           RATE        BACK  TOTAL  RING  WAITS FOR\n"));
    CU_ASSERT(has(text, "2000 open  web    -               -               tcp > tcp  +120 -118   8 Mbit/s    1 kbit/s  1 KiB     -  source 97 %\n"));
    CU_ASSERT(has(text, "1 open     db     -               -               tcp > tcp  +0 -118     2 kbit/s    3 kbit/s  2 MiB     -  sink back 45 %\n"));
    CU_ASSERT(has(text, "r0.a0      web    10.0.0.7:40112  -               tcp > tcp  connecting  7 Mbit/s  500 kbit/s  3 MiB     -  source\n"));
    CU_ASSERT(has(text, "r0.a1      web    10.0.0.7:40112  192.0.2.1:5432  tcp > tcp  open  "));
    CU_ASSERT(has(text, "and 1998 connections that are not faster (--limit)\n"));
    channel("opened", UID, 0, "");
    progress(UID, 0, 2000000, 0);
    table_take(&t, connections(0, 0, 0)); /* instead of those before */
    AUTO_FREE char *both = draw(24, 200);
    CU_ASSERT(has(both, "1 channel and 2001 connections, 10 Mbit/s\n"));
    CU_ASSERT(has(both, "sink 82 %\n") && !strstr(both, "r0.a0") && !strstr(both, "not faster"));
    CU_ASSERT_PTR_NULL(t.notes[0][0] ? t.notes : NULL); /* they are no news */
    table_fini(&t);
}

static void test_connections_who_is_slow(void)
{
    table_init(&t);
    table_take(&t, connections(1, 1, 0));
    AUTO_FREE char *back = draw(24, 200);
    CU_ASSERT(has(back, "-  sink back\n"));
    table_take(&t, connections(1, 2, 0));
    AUTO_FREE char *there = draw(24, 200);
    CU_ASSERT(has(there, "-  sink\n"));
    table_fini(&t);
}

static void test_connections_small(void)
{
    table_init(&t);
    table_take(&t, connections(200, 0, 5));
    for (unsigned lines = 1; lines < 60; lines++)
        for (unsigned columns = 1; columns < 200; columns += 7)
            free(draw(lines, columns));
    AUTO_FREE char *text = draw(12, 80); /* none is left out without a word */
    CU_ASSERT(has(text, "and 194 more; make the window taller") && has(text, "and 5 connections that are not faster (--limit)\n"));
    table_fini(&t);
}

static void test_connections_lines(void)
{
    WatchEvent *e = connections(2, 0, 7);
    AUTO_FREE char *text = table_connections(e);
    CU_ASSERT(has(text, "  web: 2000 open connections (+120 -118, 3 failed, 0 refused), 8 Mbit/s there, 1 kbit/s back, 1 KiB, waits for source 97 %\n"));
    CU_ASSERT(has(text, "  r0.a0 (web) 10.0.0.7:40112 -> -: 7 Mbit/s there, 500 kbit/s back, 3 MiB, waits for source\n"));
    CU_ASSERT(has(text, "  r0.a1 (web) 10.0.0.7:40112 -> 192.0.2.1:5432: 7 Mbit/s there"));
    CU_ASSERT(has(text, "  and 7 connections that are not faster (--limit)") && text[strlen(text) - 1] == ')');
    e->connections->routes[0]->route = unconst("a\033[2Jb\nc");
    AUTO_FREE char *cleaned = table_connections(e);
    CU_ASSERT(has(cleaned, "  a?[2Jb?c: 2000 open"));
    e->connections->routes[0]->forward = NULL;
    e->connections->fastest[0]->backward = NULL; /* a gateway that says less than it should */
    free(table_connections(e));
    table_init(&t);
    table_take(&t, e);
    table_fini(&t);
}

/* What peers say moves no cursor. */
static void test_control_characters(void)
{
    table_init(&t);
    channel("opened", UID, 0, "");
    channel("ended", UID, 0, "\033[2Jaway\r\n\xc2\x9b");
    AUTO_FREE char *text = draw(24, 120);
    CU_ASSERT(has(text, "?[2Jaway????\n"));
    CU_ASSERT_PTR_NULL(strchr(text, '\033'));
    table_fini(&t);
}

UNIT_MAIN("ctl_table", UNIT(test_row), UNIT(test_order), UNIT(test_ended), UNIT(test_notes), UNIT(test_small), UNIT(test_dropped),
          UNIT(test_connections), UNIT(test_connections_who_is_slow), UNIT(test_connections_small), UNIT(test_connections_lines),
          UNIT(test_control_characters))
