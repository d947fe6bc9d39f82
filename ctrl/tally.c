#include "ctrl/tally.h"

#include "src/core/err.h"

#define DOOR "tcp://"

const char *tally_outcome_name(enum tally_outcome o)
{
    static const char *const names[TALLY_OUTCOMES] = {
        [TALLY_CONFIRMED] = "confirmed", [TALLY_HANDED_OVER] = "handed_over", [TALLY_PROBED] = "probed", [TALLY_ABORTED] = "aborted",
    };
    return names[o];
}

void tally_init(struct tally *t)
{
    *t = (struct tally){ .attached = 0 };
    list_init(&t->routes);
}

void tally_fini(struct tally *t)
{
    while (t->routes.next && !list_empty(&t->routes)) {
        struct tally_route *r = list_entry(list_pop(&t->routes), struct tally_route, node);
        free(r->name);
        free(r);
    }
}

struct tally_route *tally_route(struct tally *t, const char *name)
{
    list_for_each(n, &t->routes)
        if (str_eq(list_entry(n, struct tally_route, node)->name, name))
            return list_entry(n, struct tally_route, node);
    struct tally_route *r = mem_zalloc(1, sizeof(*r));
    r->name = mem_strdup(name);
    list_add_tail(&t->routes, &r->node);
    return r;
}

/* ------------------------------------------------------------ what happens */

static unsigned reason_of(int rc) { return MIN(err_to_wire(rc), TALLY_REASONS - 1); }

void tally_ended(struct tally *t, const char *route, enum tally_outcome o, int rc, const struct stats_sum *moved)
{
    struct tally_route *r = tally_route(t, route);
    r->ended[o]++;
    if (o == TALLY_ABORTED)
        r->aborted[reason_of(rc ? rc : -SST_EABORTED)]++;
    stats_sum_add(&r->kept.moved, moved);
}

void tally_attach(struct tally *t, int rc)
{
    if (rc)
        t->refused[reason_of(rc)]++;
    else
        t->attached++;
}

/* ------------------------------------------------------------ pages of workers */

static void add_totals(struct tally_totals *to, const struct stats_page *p)
{
#define X(field) to->field += stats_get(&p->field);
    TALLY_TOTALS(X)
#undef X
}

static void add_door(struct tally_sums *to, const struct stats_door *d)
{
    to->accepted += stats_get(&d->accepted);
    to->refused += stats_get(&d->refused);
    to->failed += stats_get(&d->failed);
    stats_sum_door(&to->moved, d);
}

void tally_use_doors(struct tally *t, const char *(*route_of_door)(const void *doors, unsigned number), const void *doors)
{
    t->route_of_door = route_of_door;
    t->doors = doors;
}

/* What is counted by whom: doors of routes, and all of sessions together, which are at the places from STATS_ROUTE_DOORS to below `places`. */
struct owners { struct tally_route *of[STATS_ROUTE_DOORS], *sessions; unsigned n, places; };

/* At the start doors are numbered over the whole configuration. */
static void find_doors(struct tally *t, const struct conf *c, struct owners *o)
{
    *o = (struct owners){ .places = STATS_ROUTE_DOORS };
    for (const char *r; t->route_of_door && o->n < STATS_ROUTE_DOORS && (r = t->route_of_door(t->doors, o->n)); o->n++)
        o->of[o->n] = tally_route(t, r);
    for (const char *r; t->route_of_door && o->places < STATS_DOORS && (r = t->route_of_door(t->doors, o->places)); o->places++)
        if (!o->sessions)
            o->sessions = tally_route(t, r);
    for (size_t i = 0; !t->route_of_door && i < c->n_routes; i++)
        for (char *const *a = c->routes[i]->accept; *a; a++)
            if (str_starts(*a, DOOR) && o->n < STATS_ROUTE_DOORS)
                o->of[o->n++] = tally_route(t, c->routes[i]->name);
}

/* NULL: nobody. */
static struct tally_route *owner(const struct owners *o, uint32_t door)
{
    unsigned place = door % STATS_DOORS;
    if (place >= STATS_ROUTE_DOORS)
        return place < o->places ? o->sessions : NULL;
    return door < o->n ? o->of[door] : NULL;
}

static void add_flows(struct tally_sums *to, const struct stats_channel *c, uint64_t now)
{
    stats_sum_channel(&to->moved, c, now);
    for (unsigned f = 0; f < 2; f++) {
        uint32_t waiting = atomic_load_explicit(&c->flow[f].waiting_for, memory_order_relaxed);
        if (waiting < WAIT_KINDS && stats_get(&c->flow[f].since_ns))
            to->waiting[waiting]++;
    }
}

void tally_channel(struct tally_route *r, const struct stats_channel *c, uint64_t now) { add_flows(&r->now, c, now); }

/* After the doors: a relay that ends in between is missing once, and was not counted twice (count_end of engine/relay.c); stats_sum_never_back sees
 * to the rest. */
static void add_relays(const struct stats_page *p, const struct owners *o, bool dead)
{
    atomic_thread_fence(memory_order_acquire);
    uint64_t now = now_ns(), high = MIN(stats_get(&p->relay_high), STATS_RELAYS);
    for (uint64_t i = 0; i < high; i++) {
        const struct stats_relay *r = &p->relay[i];
        struct tally_route *of = owner(o, atomic_load_explicit(&r->door, memory_order_relaxed));
        if (!stats_get(&r->c.id) || !of)
            continue;
        if (dead)
            stats_sum_channel(&of->kept.moved, &r->c, now);
        else
            add_flows(&of->now, &r->c, now);
    }
}

/* The relays of a dead worker have failed, too, and it cannot tell. */
void tally_keep(struct tally *t, const struct conf *c, const struct stats_page *p)
{
    struct owners o;
    find_doors(t, c, &o);
    add_totals(&t->kept, p);
    for (unsigned i = 0; i < o.places; i++) {
        struct tally_route *of = owner(&o, i);
        if (!of)
            continue;
        add_door(&of->kept, &p->door[i]);
        of->kept.failed += stats_get(&p->door[i].open);
    }
    add_relays(p, &o, true);
}

void tally_begin(struct tally *t, const struct conf *c)
{
    for (size_t i = 0; i < c->n_routes; i++)
        tally_route(t, c->routes[i]->name);
    t->now = t->kept;
    list_for_each(n, &t->routes) {
        struct tally_route *r = list_entry(n, struct tally_route, node);
        r->now = r->kept;
    }
}

void tally_page(struct tally *t, const struct conf *c, const struct stats_page *p)
{
    struct owners o;
    find_doors(t, c, &o);
    add_totals(&t->now, p);
    for (unsigned i = 0; i < o.places; i++) {
        struct tally_route *of = owner(&o, i);
        if (!of)
            continue;
        add_door(&of->now, &p->door[i]);
        of->now.open += stats_get(&p->door[i].open);
    }
    add_relays(p, &o, false);
}
