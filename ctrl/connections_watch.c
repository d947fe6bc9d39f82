/* What a watcher is told of relayed connections: the sums of two looks compared, route by route, and the fastest of the connections. */
#include "ctrl/connections_priv.h"
#include "ctrl/watch.h"

/* A route at a look; counters never go back. */
struct past {
    char route[ADDR_ROUTE_MAX + 1];
    uint64_t opened, ended, failed, refused, open;
    struct stats_sum all;
};

struct last { uint64_t id, out[2]; };

struct connections_seen {
    uint64_t at_ns, lives;            /* 0: no look yet; starts and deaths of workers: with them counters go back */
    bool quiet;                       /* it was told that nothing moves, or there is nothing */
    unsigned n;
    struct past at[CONNECTION_GROUPS];
    struct { struct last *slot; uint32_t n; } worker[BOARD_WORKERS];
};

struct connections_seen *connections_seen_new(void)
{
    struct connections_seen *s = mem_zalloc(1, sizeof(*s));
    s->quiet = true;
    return s;
}

void connections_seen_free(struct connections_seen *s)
{
    for (unsigned i = 0; s && i < BOARD_WORKERS; i++)
        free(s->worker[i].slot);
    free(s);
}

void connections_untold(struct connections_seen *s) { s->quiet = false; }
void connections_free(Connections *m) { scistream__gateway__v1__connections__free_unpacked(m, NULL); }

/* ------------------------------------------------------------ one by one */

struct looking { struct connections_seen *s; struct connection_top top; };

static struct last *last_of(struct connections_seen *s, const struct connection *c)
{
    uint32_t n = s->worker[c->worker].n;
    if (c->slot >= n) {
        struct last *more = mem_zalloc(2 * (c->slot + 64), sizeof(*more));
        if (n)
            memcpy(more, s->worker[c->worker].slot, n * sizeof(*more));
        free(s->worker[c->worker].slot);
        s->worker[c->worker].slot = more;
        s->worker[c->worker].n = 2 * (c->slot + 64);
    }
    return &s->worker[c->worker].slot[c->slot];
}

static void on_looked(void *user, const struct connection *c)
{
    struct looking *l = user;
    struct last *was = last_of(l->s, c);
    struct connection_pick p = { .id = c->id, .worker = c->worker, .slot = c->slot };
    for (unsigned f = 0; f < 2; f++) {
        p.moved[f] = c->out[f] - (was->id == c->id ? MIN(was->out[f], c->out[f]) : 0);
        p.key += p.moved[f];
        was->out[f] = c->out[f];
    }
    was->id = c->id;
    connection_top_add(&l->top, &p);
}

static void add_fastest(Connections *m, const struct connections *cs, struct connection_top *t, uint64_t ns)
{
    connection_top_sort(t);
    m->fastest = mem_zalloc(t->n + 1U, sizeof(*m->fastest));
    for (uint32_t i = 0; i < t->n; i++) {
        ConnectionMsg *c = connection_message(cs, &t->pick[i]);
        if (!c)
            continue;
        c->forward->rate = watch_rate(t->pick[i].moved[0], ns);
        c->backward->rate = watch_rate(t->pick[i].moved[1], ns);
        m->fastest[m->n_fastest++] = c;
    }
    m->more = t->seen - t->n;
}

/* ------------------------------------------------------------ by route */

static struct past *past_of(struct connections_seen *s, const char *route)
{
    for (unsigned i = 0; i < s->n; i++)
        if (str_eq(s->at[i].route, route))
            return &s->at[i];
    return NULL;
}

/* What is counted late by one worker and early by another does not matter: the sums come right. */
static struct past now_of(const struct connection_group *g, struct past *before)
{
    uint64_t accepted = g->accepted - MIN(g->refused, g->accepted), over = accepted - MIN(g->open, accepted);
    struct past p = { .failed = g->failed, .refused = g->refused, .open = g->open, .all = g->live };
    str_copy(p.route, sizeof(p.route), g->route);
    stats_sum_add(&p.all, &g->ended);
    p.opened = before ? MAX(accepted, before->opened) : accepted;
    p.ended = before ? MAX(over, before->ended) : over;
    if (before)
        stats_sum_never_back(&p.all, &before->all);
    return p;
}

static bool same(const struct past *a, const struct past *b)
{
    return a->opened == b->opened && a->ended == b->ended && a->failed == b->failed && a->refused == b->refused && a->open == b->open &&
           a->all.bytes[0] == b->all.bytes[0] && a->all.bytes[1] == b->all.bytes[1];
}

/* Parts of a thousand of the time of all of them. They came and went meanwhile, so that time is not known: it is that of the mean number of them,
 * and at least what they have waited. */
static void shares(FlowSumMsg *m, const uint64_t before[WAIT_KINDS], const uint64_t now[WAIT_KINDS], double ns)
{
    double waited[WAIT_KINDS], sum = 0;
    for (unsigned w = 0; w < WAIT_KINDS; w++)
        sum += waited[w] = (double)(now[w] - before[w]);
    ns = MAX(MAX(ns, sum), 1);
    m->source_permille = (uint32_t)(waited[WAIT_SOURCE] * 1000 / ns);
    m->sink_permille = (uint32_t)(waited[WAIT_SINK] * 1000 / ns);
}

static void compare(RouteMsg *m, const struct past *a, const struct past *b, uint64_t ns)
{
    FlowSumMsg *const sum[2] = { m->forward, m->backward };
    for (unsigned f = 0; f < 2; f++) {
        sum[f]->rate = watch_rate(b->all.bytes[f] - a->all.bytes[f], ns);
        shares(sum[f], a->all.wait_ns[f], b->all.wait_ns[f], (double)ns * (double)(a->open + b->open) / 2);
    }
    m->opened = b->opened - a->opened;
    m->ended = b->ended - a->ended;
    m->failed = b->failed - MIN(a->failed, b->failed);
    m->refused = b->refused - MIN(a->refused, b->refused);
}

/* True: something has changed since the look before. What was there then, and no more, is told by its end. */
static bool add_routes(Connections *m, const struct connection_groups *g, struct connections_seen *s, uint64_t ns)
{
    struct past now[CONNECTION_GROUPS];
    bool changed = false;
    unsigned n = 0;
    m->routes = mem_zalloc(g->n + 1, sizeof(*m->routes));
    for (unsigned i = 0; i < g->n; i++) {
        struct past *before = past_of(s, g->at[i].route);
        if (!g->at[i].relays && g->at[i].open == 0)
            continue;
        struct past was = before ? *before : now_of(&g->at[i], NULL);
        now[n] = now_of(&g->at[i], before);
        bool other = !same(&was, &now[n]);
        if (other || g->at[i].open > 0) {
            m->routes[m->n_routes] = connection_group_message(&g->at[i]);
            compare(m->routes[m->n_routes++], &was, &now[n], ns);
        }
        changed |= other;
        n++;
    }
    memcpy(s->at, now, n * sizeof(now[0]));
    s->n = n;
    return changed;
}

/* ------------------------------------------------------------ a look */

static uint64_t lives_of(struct pool *p)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < pool_size(p); i++) {
        const struct pool_worker *w = pool_at(p, i);
        n += w->starts;
        for (unsigned d = 0; d < POOL_DEATHS; d++)
            n += w->deaths[d];
    }
    return n;
}

static Connections *look(const struct connections *cs, struct connections_seen *s, const struct connection_groups *g, struct connection_top *t)
{
    uint64_t now = now_ns(), lives = lives_of(cs->pool), ns = now - s->at_ns;
    Connections *m = mem_zalloc(1, sizeof(*m));
    bool first = !s->at_ns || s->lives != lives, was_quiet = s->quiet;
    scistream__gateway__v1__connections__init(m);
    if (first)
        s->n = 0;
    bool changed = add_routes(m, g, s, ns);
    s->at_ns = now;
    s->lives = lives;
    s->quiet = first ? m->n_routes == 0 && was_quiet : !changed;
    if (first || (!changed && was_quiet)) {
        connections_free(m);
        return NULL;
    }
    m->interval_ms = ns / NS_PER_MS;
    if (t->max)
        add_fastest(m, cs, t, ns);
    return m;
}

Connections *connections_look(const struct connections *cs, struct connections_seen *s, const char *route, uint32_t max)
{
    struct looking l = { .s = s };
    struct connection_groups *g = mem_zalloc(1, sizeof(*g));
    connection_top_init(&l.top, MIN(max, CONNECTIONS_WATCHED));
    connection_groups_read(g, cs, route, l.top.max ? on_looked : NULL, &l);
    Connections *m = look(cs, s, g, &l.top);
    connection_top_fini(&l.top);
    free(g);
    return m;
}
