#include "ctrl/capacity.h"

#include <stdio.h>

#include "src/core/err.h"

#define EACH 32 /* of the reservations of a segment that are looked at in the order of their ends */

/* ------------------------------------------------------------ life */

static struct reservation *find(const struct capacity *c, const char *uid, bool route)
{
    list_for_each(n, &c->all) {
        struct reservation *r = list_entry(n, struct reservation, node);
        if (r->route == route && str_eq(r->uid, uid))
            return r;
    }
    return NULL;
}

const struct reservation *capacity_find(const struct capacity *c, const char *uid, bool route) { return find(c, uid, route); }

static void drop(struct reservation *r)
{
    if (!r)
        return;
    list_del(&r->node);
    free(r->uid);
    free(r->principal);
    free(r);
}

/* New, or with other terms: what it uses of its memory stays. */
static void keep(struct capacity *c, const struct capacity_terms *t, bool route)
{
    struct reservation *r = find(c, t->uid, route);
    if (!r) {
        r = mem_zalloc(1, sizeof(*r));
        r->uid = mem_strdup(t->uid);
        r->principal = mem_strdup(t->principal);
        r->route = route;
        list_add_tail(&c->all, &r->node);
    }
    r->rate = t->rate;
    r->segments = t->segments;
    r->ends_s = t->ends_s;
    r->memory = t->memory;
}

static bool is_provisioned(const struct conf *c, const char *route)
{
    const struct conf_route *r = conf_route(c, route);
    return r && r->class == CONF_PROVISIONED;
}

void capacity_follow(struct capacity *c)
{
    list_for_each_safe(n, &c->all) {
        struct reservation *r = list_entry(n, struct reservation, node);
        if (r->route && !is_provisioned(c->conf, r->uid))
            drop(r);
    }
    for (size_t i = 0; i < c->conf->n_routes; i++) {
        const struct conf_route *r = c->conf->routes[i];
        bool channels = conf_route_attaches(r); /* else doors keep the rings of its connections */
        const struct capacity_terms t = { .uid = r->name, .principal = "", .rate = r->rate, .segments = conf_route_segments(r),
                                          .memory = channels ? r->window * conf_route_promised(r) * (conf_route_has_tcp(r) ? 2 : 1) : 0 };
        if (r->class == CONF_PROVISIONED)
            keep(c, &t, true);
    }
}

void capacity_init(struct capacity *c, const struct conf *conf)
{
    *c = (struct capacity){ .conf = conf };
    list_init(&c->all);
    capacity_follow(c);
}

void capacity_fini(struct capacity *c)
{
    while (c->conf && !list_empty(&c->all))
        drop(list_entry(c->all.next, struct reservation, node));
}

/* ------------------------------------------------------------ sums */

static bool uses(const struct reservation *r, enum segment s) { return r->segments & 1U << s; }

uint64_t capacity_reserved(const struct capacity *c, enum segment s)
{
    uint64_t sum = 0;
    list_for_each(n, &c->all)
        sum += uses(list_entry(n, struct reservation, node), s) ? list_entry(n, struct reservation, node)->rate : 0;
    return sum;
}

unsigned capacity_sessions(const struct capacity *c, enum segment s)
{
    unsigned count = 0;
    list_for_each(n, &c->all)
        count += uses(list_entry(n, struct reservation, node), s);
    return count;
}

uint64_t capacity_left(const struct capacity *c, enum segment s)
{
    uint64_t of = conf_capacity(c->conf, s), reserved = capacity_reserved(c, s);
    return MAX(of - MIN(of, reserved), of - conf_reservable(c->conf, s));
}

bool capacity_limits(const struct capacity *c) { return c->conf->capacity.wan || c->conf->capacity.rdma; }

uint64_t capacity_of_principal(const struct capacity *c, const char *principal)
{
    uint64_t sum = 0;
    list_for_each(n, &c->all) {
        const struct reservation *r = list_entry(n, struct reservation, node);
        sum += !r->route && str_eq(r->principal, principal) ? r->rate : 0;
    }
    return sum;
}

/* ------------------------------------------------------------ rings */

bool capacity_take_memory(struct capacity *c, const char *uid, bool route, uint64_t bytes)
{
    struct reservation *r = find(c, uid, route);
    if (!r || r->memory_used > r->memory || bytes > r->memory - r->memory_used)
        return false;
    r->memory_used += bytes;
    return true;
}

void capacity_give_memory(struct capacity *c, const char *uid, bool route, uint64_t bytes)
{
    struct reservation *r = find(c, uid, route);
    if (r)
        r->memory_used -= MIN(bytes, r->memory_used);
}

uint64_t capacity_kept_memory(const struct capacity *c)
{
    uint64_t sum = 0;
    list_for_each(n, &c->all) {
        const struct reservation *r = list_entry(n, struct reservation, node);
        sum += MAX(r->memory, r->memory_used); /* less may be kept by now than it has taken */
    }
    return sum;
}

/* ------------------------------------------------------------ admitting */

/* The next one of s that ends after who, which is NULL at first; with the same end in their own order. NULL: none has an end. */
static const struct reservation *next_to_end(const struct capacity *c, enum segment s, const struct reservation *who)
{
    const struct reservation *best = NULL;
    bool behind = false; /* who, in the list */
    list_for_each(n, &c->all) {
        const struct reservation *r = list_entry(n, struct reservation, node);
        bool later = !who || r->ends_s > who->ends_s || (r->ends_s == who->ends_s && behind);
        behind |= r == who;
        if (uses(r, s) && r->ends_s && r != who && later && (!best || r->ends_s < best->ends_s))
            best = r;
    }
    return best;
}

/* " until T at the latest", or what is known of their ends; and when enough of them has ended. */
static char *when_text(const struct capacity *c, enum segment s, uint64_t missing)
{
    char first[UNITS_TEXT], enough[UNITS_TEXT];
    const struct reservation *r = next_to_end(c, s, NULL);
    uint64_t freed = r ? r->rate : 0, first_s = r ? r->ends_s : 0;
    if (!r)
        return mem_strdup("when one of them ends is not known");
    units_date(first, (int64_t)first_s);
    for (unsigned i = 0; freed < missing && i < EACH; i++) {
        const struct reservation *next = next_to_end(c, s, r);
        if (!next)
            return mem_printf("the first to end does so at %s, when there is enough is not known", first);
        r = next;
        freed += r->rate;
    }
    if (freed < missing)
        return mem_printf("the first to end does so at %s", first);
    if (r->ends_s == first_s)
        return mem_printf("the first to end does so at %s, then it fits", first);
    return mem_printf("the first to end does so at %s, and at %s it fits", first, units_date(enough, (int64_t)r->ends_s));
}

static int too_much(const struct capacity *c, enum segment s, const struct capacity_terms *t, char *why, size_t size)
{
    char rate[UNITS_TEXT], of[UNITS_TEXT], most[UNITS_TEXT], taken[UNITS_TEXT], missing[UNITS_TEXT];
    uint64_t can = conf_reservable(c->conf, s), reserved = capacity_reserved(c, s), lacks = reserved + t->rate - can;
    unsigned n = capacity_sessions(c, s);
    units_rate(rate, t->rate);
    units_rate(of, conf_capacity(c->conf, s));
    units_rate(most, can);
    if (t->rate > can) {
        snprintf(why, size, "%s cannot be reserved: the %s segment has %s, of which %s can be", rate, conf_segment_name(s), of, most);
        return -SST_EFEATURE;
    }
    AUTO_FREE char *when = when_text(c, s, lacks);
    snprintf(why, size, "%s cannot be reserved now: of %s %s, %s can be, and %s are reserved by %u session%s; %s are missing; %s", rate, of, conf_segment_name(s), most,
             units_rate(taken, reserved), n, n == 1 ? "" : "s", units_rate(missing, lacks), when);
    return -SST_ELIMIT;
}

int capacity_admit(struct capacity *c, const struct capacity_terms *t, char *why, size_t size)
{
    for (enum segment s = 0; s < SEGMENTS; s++) {
        if (!(t->segments & 1U << s))
            continue;
        if (!conf_capacity(c->conf, s)) {
            snprintf(why, size, "nothing can be reserved at this gateway: it has no capacity.%s in its configuration", conf_segment_name(s));
            return -SST_EFEATURE;
        }
        if (t->rate > conf_reservable(c->conf, s) || capacity_reserved(c, s) > conf_reservable(c->conf, s) - t->rate)
            return too_much(c, s, t, why, size);
    }
    capacity_keep(c, t);
    return 0;
}

void capacity_keep(struct capacity *c, const struct capacity_terms *t) { keep(c, t, false); }

void capacity_give_back(struct capacity *c, const char *uid) { drop(find(c, uid, false)); }
