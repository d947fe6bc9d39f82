/* Relayed connections as control sees them: read from pages that this test writes, listed, watched and released. */
#include <errno.h>
#include <stdio.h>

#include "ctrl/connections_priv.h"
#include "src/core/err.h"
#include "tests/lib/unit.h"

typedef Scistream__Worker__Close CloseMsg;

#define WORKERS 3
#define DOORS 4
#define SENT_MAX 8
#define SESSION_DOOR (BOARD_DOORS + BOARD_ROUTE_DOORS) /* the second one at the first place of sessions */

static struct pool_worker worker[WORKERS];
static struct route route[DOORS];
static struct conf_route settings[DOORS];
static char app[] = "app", data[] = "data", text[] = "released by an administrator: enough";
static struct board *board;
static const struct connections all = { .pool = NULL, .doors = NULL };

static struct { unsigned worker; uint64_t channel; uint32_t code, doors[BOARD_DOORS]; size_t n_doors; char text[80]; } sent[SENT_MAX];
static unsigned n_sent, places = BOARD_ROUTE_DOORS; /* places: of doors of sessions, too */

unsigned pool_size(const struct pool *p UNUSED) { return WORKERS; }
struct pool_worker *pool_at(struct pool *p UNUSED, unsigned i) { return &worker[i]; }
struct board *pool_board(struct pool *p UNUSED) { return board; }
size_t doors_count(const struct doors *ds UNUSED) { return DOORS; }
unsigned doors_places(const struct doors *ds UNUSED) { return places; }
const char *doors_uid(const struct doors *ds UNUSED, uint32_t number) { return number == SESSION_DOOR ? "u1" : ""; }
struct route *doors_route(const struct doors *ds UNUSED, unsigned number) { return number < DOORS ? &route[number] : NULL; }
const char *doors_route_name(const void *ds UNUSED, unsigned number) { return number >= BOARD_ROUTE_DOORS ? DOORS_SESSIONS : number < DOORS ? route[number].c->name : NULL; }
uint64_t doors_reserved(const struct doors *ds UNUSED, const char *name) { return str_eq(name, "app") ? 2000 : 0; }

static int on_sent(struct pool_worker *w, const ToWorker *m, int fd)
{
    CU_ASSERT_FATAL(n_sent < SENT_MAX && fd < 0 && m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_CLOSE);
    const CloseMsg *c = m->close;
    sent[n_sent].worker = w->index;
    sent[n_sent].channel = c->channel;
    sent[n_sent].code = c->code;
    sent[n_sent].n_doors = c->n_doors;
    for (size_t i = 0; i < c->n_doors; i++)
        sent[n_sent].doors[i] = c->doors[i];
    str_copy(sent[n_sent++].text, sizeof(sent[0].text), c->text);
    return 0;
}

/* Doors 0 and 2 are of route app, door 1 is of route data; what comes to door 3 are no relays. Worker 2 has not started. */
static void begin(void)
{
    n_sent = 0;
    board = board_create(NULL);
    for (unsigned i = 0; i < DOORS; i++) {
        settings[i] = (struct conf_route){ .name = i == 1 ? data : i == 3 ? text : app };
        route[i] = (struct route){ .c = &settings[i], .tcp = i != 3 };
    }
    for (unsigned i = 0; i < WORKERS; i++)
        worker[i] = (struct pool_worker){ .index = i, .send = on_sent, .starts = 1, .stats = i < 2 ? stats_create(NULL) : NULL };
}

static void end(void)
{
    for (unsigned i = 0; i < WORKERS; i++)
        stats_unmap(worker[i].stats);
    board_unmap(board);
}

static uint64_t id_at(unsigned slot, uint64_t serial) { return ALL_RELAYS | (serial * STATS_RELAYS + slot); }

/* A connection that opened at that time and has moved so many bytes there, and twice as many back. */
static struct stats_relay *put(unsigned w, unsigned slot, unsigned door, uint64_t born_ns, uint64_t bytes)
{
    struct stats_page *p = worker[w].stats;
    struct stats_relay *r = &p->relay[slot];
    CU_ASSERT_EQUAL_FATAL(addr_numeric("192.0.2.7", (uint16_t)(1000 + slot), &r->peer), 0);
    stats_set(&r->born_ns, born_ns);
    atomic_store(&r->door, door);
    for (unsigned f = 0; f < 2; f++) {
        stats_set(&r->c.flow[f].put, bytes * (f + 1));
        stats_set(&r->c.flow[f].rel, bytes * (f + 1));
        stats_set(&r->c.flow[f].since_ns, now_ns());
        atomic_store(&r->c.flow[f].waiting_for, f ? WAIT_SINK : WAIT_SOURCE);
    }
    stats_set(&r->c.id, id_at(slot, 77));
    stats_set(&p->relay_high, MAX(stats_get(&p->relay_high), slot + 1));
    stats_add(&p->door[door].accepted, 1);
    stats_add(&p->door[door].open, 1);
    return r;
}

static void move(struct stats_relay *r, uint64_t there, uint64_t back)
{
    const uint64_t by[2] = { there, back };
    for (unsigned f = 0; f < 2; f++) {
        stats_add(&r->c.flow[f].put, by[f]);
        stats_add(&r->c.flow[f].rel, by[f]);
    }
}

/* As the worker does it. */
static void finish(struct stats_relay *r, unsigned w)
{
    struct stats_door *d = &worker[w].stats->door[atomic_load(&r->door)];
    for (unsigned f = 0; f < 2; f++)
        stats_add(&d->bytes[f], stats_get(&r->c.flow[f].put));
    stats_add(&d->open, (uint64_t)-1);
    stats_set(&r->c.id, 0);
}

/* ------------------------------------------------------------ names */

static void test_ids(void)
{
    char out[CONNECTION_ID];
    unsigned w = 9;
    uint64_t id = 5;
    CU_ASSERT_STRING_EQUAL(connection_id(out, 0, ALL_RELAYS | 0x1f2e), "r0.1f2e");
    CU_ASSERT(connection_parse(out, &w, &id) && w == 0 && id == (ALL_RELAYS | 0x1f2e));
    connection_id(out, BOARD_WORKERS - 1, UINT64_MAX);
    CU_ASSERT(connection_parse(out, &w, &id) && w == BOARD_WORKERS - 1 && id == UINT64_MAX);
    static const char *const wrong[] = { "", "r", "r0", "r0.", "r.1", "0.1", "r0.0", "r256.1", "r0.8000000000000000", "r0.1 ", "r0.1.2", " r0.1", "r+0.1", "r-1.1",
                                         "r0.-1", "r0.0x1", "r0.G", "R0.1", "r0.1F", "ra.1", "r0.11111111111111111111111", "r99999999999999999999999.1" };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        CU_ASSERT_FALSE(connection_parse(wrong[i], &w, &id));
    CU_ASSERT(w == BOARD_WORKERS - 1 && id == UINT64_MAX);
}

/* ------------------------------------------------------------ the first of many */

static int by_order(const void *a, const void *b) { return connection_before(a, b) ? -1 : connection_before(b, a); }

static void test_top(void)
{
    struct connection_pick in[500];
    uint64_t random = 1;
    for (uint32_t max = 0; max < 520; max += max < 5 ? 1 : 103) {
        struct connection_top t;
        connection_top_init(&t, max);
        for (uint32_t i = 0; i < ARRAY_LEN(in); i++) {
            random = random * 6364136223846793005ULL + 1442695040888963407ULL;
            in[i] = (struct connection_pick){ .key = random >> 57, .worker = i % 3, .slot = i }; /* many are the same */
            connection_top_add(&t, &in[i]);
        }
        connection_top_sort(&t);
        qsort(in, ARRAY_LEN(in), sizeof(in[0]), by_order);
        CU_ASSERT(t.seen == ARRAY_LEN(in) && t.n == MIN(max, ARRAY_LEN(in)));
        CU_ASSERT(t.n == 0 || memcmp(t.pick, in, t.n * sizeof(in[0])) == 0);
        connection_top_fini(&t);
    }
}

/* ------------------------------------------------------------ lists */

static SessionsReply *list(const char *name, const char *after, bool busiest, uint32_t max)
{
    const struct connections_query q = { .route = name, .after = after, .busiest = busiest, .max = max };
    SessionsReply *r = mem_zalloc(1, sizeof(*r));
    scistream__gateway__v1__sessions_reply__init(r);
    CU_ASSERT_EQUAL_FATAL(connections_list(&all, &q, r), 0);
    return r;
}

static void drop(SessionsReply *r) { scistream__gateway__v1__sessions_reply__free_unpacked(r, NULL); }

static void test_sums(void)
{
    begin();
    put(0, 0, 0, 1, 100);
    put(0, 7, 1, 2, 1000);
    put(1, 0, 2, 3, 10);
    stats_set(&put(0, 8, 0, 4, 5)->c.id, 0);   /* nothing there */
    atomic_store(&put(0, 9, 0, 5, 5)->door, DOORS); /* of no door */
    SessionsReply *r = list("", "", false, 0);
    CU_ASSERT_EQUAL_FATAL(r->n_routes, 2);
    CU_ASSERT(r->routes[0]->reserved == 2000 && str_eq(r->routes[0]->route, "app") && r->routes[0]->open == 2 && r->routes[0]->forward->bytes == 110 && r->routes[0]->backward->bytes == 220);
    CU_ASSERT(r->routes[0]->forward->waiting_source == 2 && r->routes[0]->forward->waiting_sink == 0 && r->routes[0]->backward->waiting_sink == 2);
    CU_ASSERT(str_eq(r->routes[1]->route, "data") && r->routes[1]->open == 1 && r->routes[1]->forward->bytes == 1000);
    CU_ASSERT(r->n_connections == 0 && r->more == 0 && *r->next == 0); /* nobody asked */
    drop(r);
    r = list("data", "", false, 5);
    CU_ASSERT(r->n_routes == 1 && r->n_connections == 1 && str_eq(r->connections[0]->route, "data") && r->more == 0);
    drop(r);
    r = list("nobody", "", false, 5);
    CU_ASSERT(r->n_routes == 0 && r->n_connections == 0);
    drop(r);
    CU_ASSERT(connections_know(&all, "app") && connections_know(&all, "data") && !connections_know(&all, "nobody") && !connections_know(&all, ""));
    stats_set(&board->workers, WORKERS);
    stats_set(&board->row[0].relays, 4);
    stats_set(&board->row[2].relays, 3);
    CU_ASSERT_EQUAL(connections_open(NULL), 7);
    end();
}

static void test_one(void)
{
    begin();
    struct stats_relay *st = put(1, 3, 1, now_ns() - 5 * NS_PER_S, 100);
    stats_set(&st->c.flow[0].put, 150);
    stats_set(&st->c.flow[1].wait_ns[WAIT_SINK], 3 * NS_PER_S);
    stats_set(&st->c.flow[1].since_ns, now_ns() - 2 * NS_PER_S); /* that lasts */
    CU_ASSERT_EQUAL(addr_numeric("2001:db8::1", 5432, &st->backend), 0);
    SessionsReply *r = list("", "", false, 1);
    const Scistream__Gateway__V1__Connection *c = r->connections[0];
    unsigned w;
    uint64_t id;
    CU_ASSERT(connection_parse(c->id, &w, &id) && w == 1 && id == stats_get(&st->c.id));
    CU_ASSERT(str_eq(c->peer, "192.0.2.7:1003") && *c->backend == 0 && c->worker == 1 && c->age_ms >= 5000 && c->age_ms < 60000);
    CU_ASSERT(c->forward->bytes_in == 150 && c->forward->bytes_out == 100 && str_eq(c->forward->waiting_for, "source"));
    CU_ASSERT(c->backward->bytes_out == 200 && str_eq(c->backward->waiting_for, "sink") && c->backward->wait_sink_ms >= 5000);
    drop(r);
    atomic_store(&st->up, 1);
    atomic_store(&st->c.flow[0].waiting_for, WAIT_KINDS);
    r = list("", "", false, 1);
    CU_ASSERT(str_eq(r->connections[0]->backend, "[2001:db8::1]:5432") && *r->connections[0]->forward->waiting_for == 0);
    drop(r);
    const struct connection_pick ended = { .id = id + STATS_RELAYS, .worker = 1, .slot = 3 }; /* and another took its place */
    CU_ASSERT_PTR_NULL(connection_message(&all, &ended));
    end();
}

/* Page by page, each comes once, in order, and how many follow is told. */
static void pages(bool busiest, unsigned total, uint32_t max)
{
    AUTO_FREE char *after = mem_strdup("");
    uint64_t before = UINT64_MAX;
    unsigned seen = 0, turns = 0;
    do {
        SessionsReply *r = list("", after, busiest, max);
        CU_ASSERT_EQUAL(r->n_routes, seen ? 0 : 2);
        CU_ASSERT_FATAL(r->n_connections == MIN(max, total - seen) && turns++ <= total);
        for (size_t i = 0; i < r->n_connections; i++) {
            const Scistream__Gateway__V1__Connection *c = r->connections[i];
            uint64_t key = busiest ? c->forward->bytes_out : UINT64_MAX / 2 - c->age_ms;
            CU_ASSERT(key <= before);
            before = key;
        }
        seen += (unsigned)r->n_connections;
        CU_ASSERT(r->more == total - seen && (*r->next != 0) == (r->more > 0));
        free(after);
        after = mem_strdup(r->next);
        drop(r);
    } while (*after);
    CU_ASSERT_EQUAL(seen, total);
}

static void test_pages(void)
{
    begin();
    uint64_t now = now_ns();
    for (unsigned i = 0; i < 100; i++)
        put(i % 2, i, i % 3, now - (i * 37 % 50) * NS_PER_S, i * 31 % 40);
    for (uint32_t max = 1; max < 120; max += max < 4 ? 1 : 48) {
        pages(false, 100, max);
        pages(true, 100, max);
    }
    static const char *const wrong[] = { "x", "1", "1.1", "1.1.", "1.1.1.", "1.1.1 ", "1.100.1", "1.1.8000", "11111111111111111.1.1", ".1.1", "-1.1.1" };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        const struct connections_query q = { .route = "", .after = wrong[i], .max = 1 };
        SessionsReply r = SCISTREAM__GATEWAY__V1__SESSIONS_REPLY__INIT;
        CU_ASSERT_EQUAL(connections_list(&all, &q, &r), -EINVAL);
        CU_ASSERT(r.n_connections == 0 && !r.connections && !r.routes);
    }
    end();
}

/* The longest that there can be, more than are listed at once: a reply is below what a call may have unsent. */
/* Sessions are one group; a connection names its own, as long as its door is known. */
static void test_sessions(void)
{
    begin();
    places = BOARD_ROUTE_DOORS + 1;
    put(0, 0, 0, 1, 100);
    struct stats_relay *st = put(0, 1, BOARD_ROUTE_DOORS, 2, 1000), *late = put(1, 0, BOARD_ROUTE_DOORS, 3, 10);
    atomic_store(&st->door, SESSION_DOOR);
    atomic_store(&late->door, SESSION_DOOR + BOARD_DOORS);
    SessionsReply *r = list("", "", false, 5);
    CU_ASSERT_FATAL(r->n_routes == 2 && r->n_connections == 3);
    CU_ASSERT(str_eq(r->routes[1]->route, DOORS_SESSIONS) && r->routes[1]->open == 2 && r->routes[1]->forward->bytes == 1010);
    CU_ASSERT(str_eq(r->connections[1]->session, "u1") && str_eq(r->connections[1]->route, DOORS_SESSIONS)); /* newest first */
    CU_ASSERT(*r->connections[0]->session == 0 && *r->connections[2]->session == 0);
    drop(r);
    r = list(DOORS_SESSIONS, "", false, 5);
    CU_ASSERT(r->n_routes == 1 && r->n_connections == 2);
    drop(r);
    r = list("app", "", false, 5);
    CU_ASSERT(r->n_routes == 1 && r->n_connections == 1);
    drop(r);
    CU_ASSERT_TRUE(connections_know(&all, DOORS_SESSIONS));
    places = BOARD_ROUTE_DOORS;
    CU_ASSERT_FALSE(connections_know(&all, DOORS_SESSIONS));
    end();
}

static void test_cap(void)
{
    char longest[ADDR_ROUTE_MAX + 1];
    begin();
    memset(longest, 'x', ADDR_ROUTE_MAX);
    longest[ADDR_ROUTE_MAX] = 0;
    settings[1].name = longest;
    for (unsigned i = 0; i < CONNECTIONS_LISTED + 10; i++) {
        struct stats_relay *st = put(1, i, 1, 1, UINT64_MAX / 4);
        CU_ASSERT_FATAL(addr_numeric("fe80:1111:2222:3333:4444:5555:6666:7777", 65535, &st->peer) == 0);
        st->backend = st->peer;
        atomic_store(&st->up, 1);
        stats_set(&st->c.id, UINT64_MAX - i);
        for (unsigned f = 0; f < 2; f++)
            for (unsigned k = 0; k < WAIT_KINDS; k++)
                stats_set(&st->c.flow[f].wait_ns[k], UINT64_MAX / 2);
    }
    SessionsReply *r = list("", "", false, UINT32_MAX);
    CU_ASSERT(r->n_connections == CONNECTIONS_LISTED && r->more == 10);
    CU_ASSERT(protobuf_c_message_get_packed_size(&r->base) < 1 << 20);
    drop(r);
    end();
}

/* ------------------------------------------------------------ from look to look */

static Connections *look(struct connections_seen *s, uint32_t max)
{
    for (uint64_t was = now_ns(); now_ns() < was + NS_PER_MS;)
        ; /* an interval that is not nothing */
    return connections_look(&all, s, "", max);
}

static uint64_t moved(uint64_t rate, const Connections *m) { return (uint64_t)((double)rate * (double)m->interval_ms / 8e3); }

static void test_look(void)
{
    begin();
    struct connections_seen *s = connections_seen_new();
    CU_ASSERT_PTR_NULL(look(s, 0));
    CU_ASSERT_PTR_NULL(look(s, 0)); /* there is nothing */
    struct stats_relay *a = put(0, 0, 0, now_ns(), 100), *b = put(1, 0, 2, now_ns(), 100);
    Connections *m = look(s, 0);
    CU_ASSERT_FATAL(m && m->n_routes == 1 && m->n_fastest == 0 && m->more == 0);
    CU_ASSERT(m->routes[0]->open == 2 && m->routes[0]->opened == 2 && m->routes[0]->ended == 0 && m->interval_ms > 0);
    CU_ASSERT(m->routes[0]->forward->rate > 0 && m->routes[0]->backward->rate > m->routes[0]->forward->rate);
    CU_ASSERT(m->routes[0]->forward->source_permille <= 1000);
    connections_free(m);
    m = look(s, 0); /* that nothing moves is told once */
    CU_ASSERT_FATAL(m && m->routes[0]->forward->rate == 0 && m->routes[0]->opened == 0 && m->routes[0]->open == 2);
    connections_free(m);
    CU_ASSERT_PTR_NULL(look(s, 0));
    connections_untold(s);
    m = look(s, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    connections_free(m);
    CU_ASSERT_PTR_NULL(look(s, 0));
    move(a, 1 << 20, 0);
    finish(a, 0); /* what it moved is not lost */
    stats_add(&worker[0].stats->door[0].failed, 1);
    stats_add(&worker[0].stats->door[1].accepted, 3);
    stats_add(&worker[0].stats->door[1].refused, 3);
    m = look(s, 0);
    CU_ASSERT_FATAL(m && m->n_routes == 2);
    CU_ASSERT(m->routes[0]->open == 1 && m->routes[0]->ended == 1 && m->routes[0]->failed == 1 && m->routes[0]->backward->rate == 0);
    CU_ASSERT(moved(m->routes[0]->forward->rate, m) <= 1 << 20 && m->routes[0]->forward->rate > 0 && m->routes[0]->forward->bytes == 100);
    CU_ASSERT(m->routes[1]->refused == 3 && m->routes[1]->opened == 0 && m->routes[1]->open == 0);
    connections_free(m);
    finish(b, 1);
    m = look(s, 0); /* the last one's end is told, and then nothing more */
    CU_ASSERT_FATAL(m && m->n_routes == 1 && m->routes[0]->open == 0 && m->routes[0]->ended == 1);
    connections_free(m);
    m = look(s, 0);
    CU_ASSERT(m && m->n_routes == 0);
    connections_free(m);
    CU_ASSERT_PTR_NULL(look(s, 0));
    connections_seen_free(s);
    end();
}

/* Counters of a worker that died begin at 0 again: nothing is told of that interval. */
static void test_died(void)
{
    begin();
    struct connections_seen *s = connections_seen_new();
    put(0, 0, 0, now_ns(), 1000);
    put(1, 0, 0, now_ns(), 1000);
    CU_ASSERT_PTR_NULL(look(s, 5));
    connections_free(look(s, 5));
    memset(worker[0].stats, 0, sizeof(struct stats_page));
    worker[0].deaths[POOL_SIGNALLED]++;
    put(0, 0, 0, now_ns(), 10);
    CU_ASSERT_PTR_NULL(look(s, 5));
    Connections *m = look(s, 5);
    CU_ASSERT_FATAL(m && m->n_routes == 1);
    CU_ASSERT(m->routes[0]->open == 2 && m->routes[0]->forward->rate == 0 && m->routes[0]->opened == 0 && m->routes[0]->ended == 0 && m->n_fastest == 2);
    connections_free(m);
    connections_seen_free(s);
    end();
}

static void test_fastest(void)
{
    begin();
    struct connections_seen *s = connections_seen_new();
    struct stats_relay *r[300];
    for (unsigned i = 0; i < ARRAY_LEN(r); i++)
        r[i] = put(i % 2, i, i % 3, now_ns(), 1000 * i);
    CU_ASSERT_PTR_NULL(look(s, 3));
    move(r[100], 0, 500);
    move(r[7], 100, 1);
    stats_set(&r[8]->c.id, id_at(8, 78)); /* another one took its place: all that it moved is of this interval */
    Connections *m = look(s, 3);
    CU_ASSERT_FATAL(m && m->n_fastest == 3 && m->more == ARRAY_LEN(r) - 3);
    CU_ASSERT(str_eq(m->fastest[0]->peer, "192.0.2.7:1008") && m->fastest[0]->backward->rate > m->fastest[0]->forward->rate);
    CU_ASSERT(str_eq(m->fastest[1]->peer, "192.0.2.7:1100") && m->fastest[1]->forward->rate == 0 && m->fastest[1]->backward->rate > 0);
    CU_ASSERT(str_eq(m->fastest[2]->peer, "192.0.2.7:1007"));
    connections_free(m);
    move(r[0], 1, 1);
    m = look(s, UINT32_MAX);
    CU_ASSERT_FATAL(m && m->n_fastest == CONNECTIONS_WATCHED && m->more == ARRAY_LEN(r) - CONNECTIONS_WATCHED);
    CU_ASSERT(str_eq(m->fastest[0]->peer, "192.0.2.7:1000") && m->fastest[1]->forward->rate == 0);
    CU_ASSERT(protobuf_c_message_get_packed_size(&m->base) < 64 << 10);
    connections_free(m);
    m = connections_look(&all, s, "data", 3); /* of one route */
    CU_ASSERT_FATAL(m && m->n_routes == 1 && m->n_fastest == 3 && m->more == 97);
    connections_free(m);
    connections_seen_free(s);
    end();
}

/* ------------------------------------------------------------ releasing */

static void test_release(void)
{
    char id[CONNECTION_ID];
    begin();
    uint64_t is = stats_get(&put(1, 3, 1, 1, 0)->c.id);
    CU_ASSERT_TRUE(connections_release(&all, connection_id(id, 1, is), text));
    CU_ASSERT(n_sent == 1 && sent[0].worker == 1 && sent[0].channel == is && sent[0].n_doors == 0);
    CU_ASSERT(sent[0].code == err_to_wire(-SST_ERELEASED) && str_eq(sent[0].text, text));
    CU_ASSERT_FALSE(connections_release(&all, connection_id(id, 0, is), text)); /* another worker has no such one */
    CU_ASSERT_FALSE(connections_release(&all, connection_id(id, 2, is), text)); /* nor one that has not started */
    CU_ASSERT_FALSE(connections_release(&all, connection_id(id, WORKERS, is), text));
    CU_ASSERT_FALSE(connections_release(&all, connection_id(id, 1, is + STATS_RELAYS), text));
    CU_ASSERT_FALSE(connections_release(&all, "r1.0", text));
    CU_ASSERT_FALSE(connections_release(&all, "all", text));
    CU_ASSERT_EQUAL(n_sent, 1);
    end();
}

static void test_release_route(void)
{
    begin();
    put(0, 0, 0, 1, 0);
    put(0, 1, 1, 1, 0);
    put(1, 0, 2, 1, 0);
    CU_ASSERT(connections_release_route(&all, "nobody", text) == 0 && n_sent == 0); /* least of all: all */
    CU_ASSERT_EQUAL(connections_release_route(&all, "app", text), 2);
    CU_ASSERT_EQUAL(n_sent, WORKERS);
    for (unsigned i = 0; i < n_sent; i++) {
        CU_ASSERT(sent[i].worker == i && sent[i].channel == ALL_RELAYS && sent[i].code == err_to_wire(-SST_ERELEASED) && str_eq(sent[i].text, text));
        CU_ASSERT(sent[i].n_doors == 2 && sent[i].doors[0] == 0 && sent[i].doors[1] == 2);
    }
    end();
}

UNIT_MAIN("connections", UNIT(test_ids), UNIT(test_top), UNIT(test_sums), UNIT(test_one), UNIT(test_pages), UNIT(test_sessions), UNIT(test_cap), UNIT(test_look),
          UNIT(test_died), UNIT(test_fastest), UNIT(test_release), UNIT(test_release_route))
