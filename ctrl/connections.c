#include "ctrl/connections_priv.h"

#include <errno.h>
#include <stdio.h>

#include "src/core/err.h"

typedef Scistream__Gateway__V1__FlowState FlowMsg;

/* ------------------------------------------------------------ names */

const char *connection_id(char out[CONNECTION_ID], unsigned worker, uint64_t relay)
{
    snprintf(out, CONNECTION_ID, "r%u.%llx", worker, (unsigned long long)(relay & ~ALL_RELAYS));
    return out;
}

/* Digits in lower case and the character behind them, as we print them: no sign, no space, nothing too large. */
static bool number(const char **p, unsigned base, uint64_t max, char end, uint64_t *out)
{
    static const char digits[] = "0123456789abcdef";
    const char *begin = *p, *d;
    uint64_t n = 0;
    for (; **p && (d = strchr(digits, **p)) && d < digits + base; ++*p) {
        uint64_t digit = (uint64_t)(d - digits);
        if (n > (max - digit) / base)
            return false;
        n = n * base + digit;
    }
    *out = n;
    return *p > begin && **p == end && (!end || *++*p);
}

bool connection_parse(const char *text, unsigned *worker, uint64_t *relay)
{
    uint64_t w, id;
    if (*text++ != 'r' || !number(&text, 10, BOARD_WORKERS - 1, '.', &w) || !number(&text, 16, ALL_RELAYS - 1, 0, &id) || id == 0)
        return false; /* 0 would be all of them */
    *worker = (unsigned)w;
    *relay = id | ALL_RELAYS;
    return true;
}

static char *cursor(const struct connection_pick *p)
{
    return mem_printf("%llx.%x.%x", (unsigned long long)p->key, p->worker, p->slot);
}

static bool parse_cursor(const char *text, struct connection_pick *out)
{
    uint64_t worker, slot;
    *out = (struct connection_pick){ .key = UINT64_MAX };
    if (!*text)
        return true;
    if (!number(&text, 16, UINT64_MAX, '.', &out->key) || !number(&text, 16, BOARD_WORKERS - 1, '.', &worker) ||
        !number(&text, 16, STATS_RELAYS - 1, 0, &slot))
        return false;
    out->worker = (uint32_t)worker;
    out->slot = (uint32_t)slot;
    return true;
}

/* ------------------------------------------------------------ reading */

static uint32_t waiting_of(const struct stats_flow *f)
{
    uint32_t w = atomic_load_explicit(&f->waiting_for, memory_order_relaxed);
    return w < WAIT_KINDS && stats_get(&f->since_ns) ? w : WAIT_KINDS;
}

/* False: nothing is there, or it became another one while we read. */
static bool read_one(const struct stats_relay *st, struct connection *out, uint64_t now)
{
    out->id = stats_get(&st->c.id);
    if (!out->id)
        return false;
    atomic_thread_fence(memory_order_acquire);
    out->born_ns = stats_get(&st->born_ns);
    out->door = atomic_load_explicit(&st->door, memory_order_relaxed);
    out->moved = (struct stats_sum){ .bytes = { 0 } };
    stats_sum_channel(&out->moved, &st->c, now);
    for (unsigned f = 0; f < 2; f++) {
        out->out[f] = stats_get(&st->c.flow[f].rel);
        out->waiting_for[f] = waiting_of(&st->c.flow[f]);
    }
    atomic_thread_fence(memory_order_acquire);
    return stats_get(&st->c.id) == out->id;
}

static struct connection_group *group_named(struct connection_groups *g, const char *name)
{
    for (unsigned i = 0; i < g->n; i++)
        if (str_eq(g->at[i].route, name))
            return &g->at[i];
    struct connection_group *added = &g->at[g->n++];
    str_copy(added->route, sizeof(added->route), name);
    return added;
}

static void make_groups(struct connection_groups *g, const struct connections *cs, const char *route)
{
    *g = (struct connection_groups){ .n = 0 };
    for (unsigned i = 0; i < MIN(doors_count(cs->doors), BOARD_ROUTE_DOORS); i++) {
        const struct route *r = doors_route(cs->doors, i);
        if (*route && !str_eq(route, r->c->name))
            continue;
        g->of_door[i] = group_named(g, r->c->name);
        g->of_door[i]->relays |= r->tcp;
        g->of_door[i]->reserved = doors_reserved(cs->doors, r->c->name);
    }
    if (doors_places(cs->doors) == BOARD_ROUTE_DOORS || (*route && !str_eq(route, DOORS_SESSIONS)))
        return;
    g->of_sessions = group_named(g, DOORS_SESSIONS);
    g->of_sessions->relays = true;
}

static struct connection_group *group_of(const struct connection_groups *g, uint32_t door)
{
    return door < BOARD_ROUTE_DOORS ? g->of_door[door] : board_number_ok(door) ? g->of_sessions : NULL;
}

static void read_doors(struct connection_groups *g, const struct stats_page *p, unsigned places)
{
    for (unsigned i = 0; i < places; i++) {
        struct connection_group *to = group_of(g, i);
        if (!to)
            continue;
        to->accepted += stats_get(&p->door[i].accepted);
        to->refused += stats_get(&p->door[i].refused);
        to->failed += stats_get(&p->door[i].failed);
        stats_sum_door(&to->ended, &p->door[i]);
    }
}

static void count(struct connection_group *g, const struct connection *c)
{
    g->open++;
    stats_sum_add(&g->live, &c->moved);
    for (unsigned f = 0; f < 2; f++)
        if (c->waiting_for[f] < WAIT_KINDS)
            g->waiting[f][c->waiting_for[f]]++;
}

void connection_groups_read(struct connection_groups *g, const struct connections *cs, const char *route, connection_visit *visit, void *user)
{
    make_groups(g, cs, route);
    for (unsigned k = 0; k < pool_size(cs->pool); k++) {
        const struct stats_page *p = pool_at(cs->pool, k)->stats;
        if (!p)
            continue;
        read_doors(g, p, doors_places(cs->doors));
        atomic_thread_fence(memory_order_acquire); /* count_end of engine/relay.c */
        struct connection c = { .worker = k };
        uint64_t now = now_ns(), high = MIN(stats_get(&p->relay_high), STATS_RELAYS);
        for (c.slot = 0; c.slot < high; c.slot++) {
            struct connection_group *of = read_one(&p->relay[c.slot], &c, now) ? group_of(g, c.door) : NULL;
            if (!of)
                continue;
            count(of, &c);
            if (visit)
                visit(user, &c);
        }
    }
}

uint64_t connections_open(struct pool *p)
{
    const struct board *b = pool_board(p);
    uint64_t n = 0;
    for (unsigned i = 0; i < pool_size(p); i++)
        n += stats_get(&b->row[i].relays);
    return n;
}

bool connections_know(const struct connections *cs, const char *route)
{
    for (unsigned i = 0; i < doors_count(cs->doors); i++)
        if (str_eq(doors_route_name(cs->doors, i), route))
            return true;
    return str_eq(route, DOORS_SESSIONS) && doors_places(cs->doors) > BOARD_ROUTE_DOORS;
}

/* ------------------------------------------------------------ the first of many */

bool connection_before(const struct connection_pick *a, const struct connection_pick *b)
{
    if (a->key != b->key)
        return a->key > b->key;
    return a->worker != b->worker ? a->worker < b->worker : a->slot < b->slot;
}

void connection_top_init(struct connection_top *t, uint32_t max)
{
    *t = (struct connection_top){ .max = max };
    t->pick = max ? mem_zalloc(max, sizeof(*t->pick)) : NULL;
}

void connection_top_fini(struct connection_top *t) { free(t->pick); }

static void swap(struct connection_pick *a, struct connection_pick *b)
{
    struct connection_pick was = *a;
    *a = *b;
    *b = was;
}

static void sift_up(struct connection_pick *p, uint32_t i)
{
    for (; i > 0 && connection_before(&p[(i - 1) / 2], &p[i]); i = (i - 1) / 2)
        swap(&p[(i - 1) / 2], &p[i]);
}

static void sift_down(struct connection_pick *p, uint32_t n)
{
    for (uint32_t i = 0, last; (last = 2 * i + 1) < n; i = last) {
        if (last + 1 < n && connection_before(&p[last], &p[last + 1]))
            last++;
        if (!connection_before(&p[i], &p[last]))
            return;
        swap(&p[i], &p[last]);
    }
}

void connection_top_add(struct connection_top *t, const struct connection_pick *p)
{
    t->seen++;
    if (t->n < t->max) {
        t->pick[t->n++] = *p;
        sift_up(t->pick, t->n - 1);
    } else if (t->n && connection_before(p, &t->pick[0])) {
        t->pick[0] = *p;
        sift_down(t->pick, t->n);
    }
}

void connection_top_sort(struct connection_top *t)
{
    for (uint32_t n = t->n; n > 1; n--) {
        swap(&t->pick[0], &t->pick[n - 1]);
        sift_down(t->pick, n - 1);
    }
}

/* ------------------------------------------------------------ words; all on the heap, as protobuf-c's own free_unpacked expects */

static FlowMsg *flow_message(const struct connection *c, unsigned f)
{
    FlowMsg *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__flow_state__init(m);
    m->bytes_in = c->moved.bytes[f];
    m->bytes_out = c->out[f];
    m->wait_source_ms = c->moved.wait_ns[f][WAIT_SOURCE] / NS_PER_MS;
    m->wait_credits_ms = c->moved.wait_ns[f][WAIT_CREDITS] / NS_PER_MS;
    m->wait_sink_ms = c->moved.wait_ns[f][WAIT_SINK] / NS_PER_MS;
    m->waiting_for = mem_strdup(stats_wait_name(c->waiting_for[f]));
    return m;
}

struct peers { char peer[ADDR_TEXT], backend[ADDR_TEXT], security[2][STATS_SECURITY]; };

/* Who came, and whom the worker dialed; false: it became another one while we read. */
static bool read_peers(const struct stats_relay *st, uint64_t id, struct peers *p)
{
    union sockaddr_any a = st->peer, b = { 0 };
    *p = (struct peers){ .peer = "" };
    if (atomic_load_explicit(&st->up, memory_order_acquire)) {
        b = st->backend;
        memcpy(p->security, st->security, sizeof(p->security));
    }
    atomic_thread_fence(memory_order_acquire);
    if (stats_get(&st->c.id) != id)
        return false;
    addr_format(&a, p->peer);
    if (b.sa.sa_family != AF_UNSPEC)
        addr_format(&b, p->backend);
    return true;
}

ConnectionMsg *connection_message(const struct connections *cs, const struct connection_pick *p)
{
    const struct stats_relay *st = &pool_at(cs->pool, p->worker)->stats->relay[p->slot];
    struct connection c = { .worker = p->worker };
    struct peers peers;
    char id[CONNECTION_ID];
    uint64_t now = now_ns();
    if (!read_one(st, &c, now) || c.id != p->id || !read_peers(st, c.id, &peers))
        return NULL;
    ConnectionMsg *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__connection__init(m);
    m->id = mem_strdup(connection_id(id, c.worker, c.id));
    m->route = mem_strdup(doors_route_name(cs->doors, c.door));
    m->session = mem_strdup(doors_uid(cs->doors, c.door));
    m->peer = mem_strdup(peers.peer);
    m->backend = mem_strdup(peers.backend);
    m->peer_security = mem_strdup(peers.security[0]);
    m->backend_security = mem_strdup(peers.security[1]);
    m->worker = c.worker;
    m->age_ms = (now - MIN(c.born_ns, now)) / NS_PER_MS;
    m->forward = flow_message(&c, 0);
    m->backward = flow_message(&c, 1);
    return m;
}

static FlowSumMsg *sum_message(const struct connection_group *g, unsigned f)
{
    FlowSumMsg *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__flow_sum__init(m);
    m->bytes = g->live.bytes[f];
    m->waiting_source = g->waiting[f][WAIT_SOURCE];
    m->waiting_sink = g->waiting[f][WAIT_SINK];
    return m;
}

RouteMsg *connection_group_message(const struct connection_group *g)
{
    RouteMsg *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__route_connections__init(m);
    m->route = mem_strdup(g->route);
    m->open = g->open;
    m->reserved = g->reserved;
    m->forward = sum_message(g, 0);
    m->backward = sum_message(g, 1);
    return m;
}

/* ------------------------------------------------------------ a list */

struct listing { const struct connections_query *q; struct connection_pick after; struct connection_top top; };

static void on_listed(void *user, const struct connection *c)
{
    struct listing *l = user;
    const struct connection_pick p = { .key = l->q->busiest ? c->out[0] + c->out[1] : c->born_ns, .id = c->id, .worker = c->worker, .slot = c->slot };
    if (!*l->q->after || connection_before(&l->after, &p))
        connection_top_add(&l->top, &p);
}

static void add_routes(SessionsReply *r, const struct connection_groups *g)
{
    r->routes = mem_zalloc(g->n + 1, sizeof(*r->routes));
    for (unsigned i = 0; i < g->n; i++)
        if (g->at[i].open > 0)
            r->routes[r->n_routes++] = connection_group_message(&g->at[i]);
}

static void add_listed(SessionsReply *r, const struct connections *cs, struct connection_top *t)
{
    connection_top_sort(t);
    r->connections = mem_zalloc(t->n + 1U, sizeof(*r->connections));
    for (uint32_t i = 0; i < t->n; i++) {
        ConnectionMsg *m = connection_message(cs, &t->pick[i]);
        if (m)
            r->connections[r->n_connections++] = m;
    }
    r->more = t->seen - t->n;
    if (r->more)
        r->next = cursor(&t->pick[t->n - 1]);
}

int connections_list(const struct connections *cs, const struct connections_query *q, SessionsReply *r)
{
    struct listing l = { .q = q };
    if (!parse_cursor(q->after, &l.after))
        return -EINVAL;
    struct connection_groups *g = mem_zalloc(1, sizeof(*g));
    connection_top_init(&l.top, MIN(q->max, CONNECTIONS_LISTED));
    connection_groups_read(g, cs, q->route, l.top.max ? on_listed : NULL, &l);
    if (!*q->after)
        add_routes(r, g);
    if (l.top.max)
        add_listed(r, cs, &l.top);
    connection_top_fini(&l.top);
    free(g);
    return 0;
}

/* ------------------------------------------------------------ releasing */

static int tell_close(struct pool_worker *w, Scistream__Worker__Close *m, const char *text)
{
    ToWorker t = SCISTREAM__WORKER__TO_WORKER__INIT;
    t.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_CLOSE;
    t.close = m;
    m->code = err_to_wire(-SST_ERELEASED);
    m->text = (char *)(uintptr_t)text;
    return pool_send(w, &t, -1);
}

bool connections_release(const struct connections *cs, const char *id, const char *text)
{
    Scistream__Worker__Close m = SCISTREAM__WORKER__CLOSE__INIT;
    unsigned worker;
    if (!connection_parse(id, &worker, &m.channel) || worker >= pool_size(cs->pool))
        return false;
    struct pool_worker *w = pool_at(cs->pool, worker);
    return w->stats && stats_get(&w->stats->relay[m.channel % STATS_RELAYS].c.id) == m.channel && tell_close(w, &m, text) == 0;
}

uint64_t connections_release_route(const struct connections *cs, const char *route, const char *text)
{
    Scistream__Worker__Close m = SCISTREAM__WORKER__CLOSE__INIT;
    uint32_t doors[BOARD_ROUTE_DOORS];
    uint64_t n = 0;
    m.channel = ALL_RELAYS;
    m.doors = doors;
    for (unsigned i = 0; i < MIN(doors_count(cs->doors), BOARD_ROUTE_DOORS); i++)
        if (str_eq(doors_route_name(cs->doors, i), route))
            doors[m.n_doors++] = i;
    for (unsigned k = 0; m.n_doors && k < pool_size(cs->pool); k++) { /* without doors it would be all of them */
        struct pool_worker *w = pool_at(cs->pool, k);
        for (size_t i = 0; w->stats && i < m.n_doors; i++)
            n += stats_get(&w->stats->door[doors[i]].open);
        (void)tell_close(w, &m, text); /* a dead worker has none */
    }
    return n;
}
