#include "ctrl/shares.h"

#define BUCKETS 256
#define IDLE_PART 16 /* of an equal part, that one which takes nothing keeps, to begin with when it does */

struct owner {
    struct list node;      /* in a bucket */
    char *name;
    bool route;
    unsigned users, segments;
    uint32_t number;
    uint64_t taken[2], held_back; /* as they were at the last look */
    uint64_t reserved;     /* bit/s; 0: best effort */
    uint64_t used, gets;   /* bytes per second: the busier way; what best effort may have, UINT64_MAX: anything */
    bool wants_more;
};

struct shares {
    struct shares_config c;
    struct list bucket[BUCKETS];
    struct owner *at[BOARD_SHARES];
    uint32_t n, unused;    /* owners; no number from there on was ever used */
    uint32_t free[BOARD_SHARES]; /* a queue: a number rests as long as others are free */
    uint32_t free_at, n_free;
    struct timer look;
    uint64_t looked_ns;
};

static struct share *share_of(const struct shares *sh, const struct owner *o) { return &sh->c.board->share[o->number]; }

static void set_rate(struct shares *sh, struct owner *o)
{
    bool free = o->gets == UINT64_MAX;
    share_set_rate(share_of(sh, o), o->reserved ? MAX(o->reserved / 8, 1) : free ? 0 : MAX(o->gets, 1), o->reserved);
}

/* ------------------------------------------------------------ owners */

static struct list *bucket(struct shares *sh, const char *name)
{
    uint32_t h = 2166136261U; /* FNV-1a */
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619U;
    return &sh->bucket[h % BUCKETS];
}

static struct owner *find(struct shares *sh, const char *name, bool route)
{
    list_for_each(n, bucket(sh, name)) {
        struct owner *o = list_entry(n, struct owner, node);
        if (o->route == route && str_eq(o->name, name))
            return o;
    }
    return NULL;
}

/* 0: all have owners. */
static uint32_t take_number(struct shares *sh)
{
    if (sh->unused < BOARD_SHARES)
        return sh->unused++;
    if (sh->n_free == 0)
        return 0;
    uint32_t number = sh->free[sh->free_at];
    sh->free_at = (sh->free_at + 1) % BOARD_SHARES;
    sh->n_free--;
    return number;
}

/* Whoever had it before may have taken something of it meanwhile. */
static void look_first(struct shares *sh, struct owner *o)
{
    const struct share *s = share_of(sh, o);
    for (unsigned way = 0; way < 2; way++)
        o->taken[way] = atomic_load_explicit(&s->taken[way], memory_order_relaxed);
    o->held_back = atomic_load_explicit(&s->held_back, memory_order_relaxed);
}

static struct owner *add(struct shares *sh, const char *name, bool route)
{
    uint32_t number = take_number(sh);
    if (number == 0)
        return NULL;
    struct owner *o = sh->at[number] = mem_zalloc(1, sizeof(*o));
    o->name = mem_strdup(name);
    o->route = route;
    o->number = number;
    list_add_tail(bucket(sh, name), &o->node);
    look_first(sh, o);
    sh->n++;
    const struct reservation *r = capacity_find(sh->c.capacity, name, route);
    o->reserved = r ? r->rate : 0;
    o->gets = UINT64_MAX;
    set_rate(sh, o);
    return o;
}

static uint32_t hold(struct shares *sh, const char *name, bool route, unsigned segments)
{
    struct owner *o = sh ? find(sh, name, route) : NULL;
    if (!sh || (!o && !(o = add(sh, name, route))))
        return 0;
    bool other = (o->segments & segments) != segments;
    o->users++;
    o->segments |= segments;
    if (other && capacity_limits(sh->c.capacity))
        loop_timer(sh->c.loop, &sh->look, 0); /* before any flow of it moves */
    return o->number;
}

uint32_t shares_hold(struct shares *sh, const char *uid, unsigned segments) { return hold(sh, uid, false, segments); }
uint32_t shares_route(struct shares *sh, const char *route, unsigned segments) { return hold(sh, route, true, segments); }

static void forget(struct shares *sh, struct owner *o)
{
    sh->at[o->number] = NULL;
    sh->free[(sh->free_at + sh->n_free++) % BOARD_SHARES] = o->number;
    sh->n--;
    list_del(&o->node);
    free(o->name);
    free(o);
}

static struct owner *at(const struct shares *sh, uint32_t number) { return sh && number < BOARD_SHARES ? sh->at[number] : NULL; }

void shares_drop(struct shares *sh, uint32_t number)
{
    struct owner *o = at(sh, number);
    if (o && !o->route && --o->users == 0)
        forget(sh, o);
}

bool shares_steady(const struct shares *sh, uint32_t number) { return at(sh, number) && at(sh, number)->reserved; }

uint64_t shares_route_rate(struct shares *sh, const char *route)
{
    const struct owner *o = sh ? find(sh, route, true) : NULL;
    return o ? o->reserved : 0;
}

const char *shares_class(const struct shares *sh, uint32_t number, uint64_t *rate)
{
    *rate = at(sh, number) ? at(sh, number)->reserved : 0;
    return capacity_class(*rate);
}

/* ------------------------------------------------------------ dividing */

static int by_asks(const void *a, const void *b)
{
    const struct shares_part *x = a, *y = b;
    return x->asks < y->asks ? -1 : x->asks > y->asks;
}

void shares_divide(uint64_t left, struct shares_part *p, size_t n)
{
    if (n)
        qsort(p, n, sizeof(*p), by_asks);
    for (size_t i = 0; i < n; i++) {
        p[i].gets = MIN(p[i].asks, left / (n - i));
        left -= p[i].gets;
    }
    for (size_t i = 0; i < n; i++)
        p[i].gets += left / n;
}

/* ------------------------------------------------------------ looking */

/* What became of it since the last look, ns ago. */
static void note_use(struct shares *sh, struct owner *o, uint64_t ns)
{
    const struct share *s = share_of(sh, o);
    uint64_t most = 0, held_back = atomic_load_explicit(&s->held_back, memory_order_relaxed);
    for (unsigned way = 0; way < 2; way++) {
        uint64_t taken = atomic_load_explicit(&s->taken[way], memory_order_relaxed);
        most = MAX(most, taken - o->taken[way]);
        o->taken[way] = taken;
    }
    o->used = (uint64_t)((double)most * (double)NS_PER_S / (double)ns);
    o->wants_more = held_back != o->held_back;
    o->held_back = held_back;
}

static void divide_segment(struct shares *sh, enum segment s, struct shares_part *p)
{
    uint64_t left = capacity_left(sh->c.capacity, s) / 8;
    size_t n = 0;
    for (uint32_t i = 1; i < sh->unused; i++)
        if (sh->at[i] && sh->at[i]->segments & 1U << s && !sh->at[i]->reserved)
            p[n++] = (struct shares_part){ .who = i };
    for (size_t i = 0; i < n; i++) {
        const struct owner *o = sh->at[p[i].who];
        p[i].asks = o->wants_more ? UINT64_MAX : o->used + o->used / 2 + left / n / IDLE_PART;
    }
    shares_divide(left, p, n);
    for (size_t i = 0; i < n; i++)
        sh->at[p[i].who]->gets = MIN(sh->at[p[i].who]->gets, p[i].gets);
}

static void see_reserved(struct shares *sh)
{
    for (uint32_t i = 1; i < sh->unused; i++)
        if (sh->at[i])
            sh->at[i]->reserved = 0;
    list_for_each(n, &sh->c.capacity->all) {
        const struct reservation *r = list_entry(n, struct reservation, node);
        struct owner *o = find(sh, r->uid, r->route);
        if (o)
            o->reserved = r->rate;
    }
}

static void look(struct shares *sh)
{
    uint64_t now = now_ns(), ns = now - sh->looked_ns;
    bool long_enough = ns >= SHARES_LOOK_NS / 2; /* else it says nothing of how much somebody uses */
    AUTO_FREE struct shares_part *p = mem_zalloc(sh->n + 1, sizeof(*p));
    see_reserved(sh);
    for (uint32_t i = 1; i < sh->unused; i++) {
        if (!sh->at[i])
            continue;
        sh->at[i]->gets = UINT64_MAX;
        if (long_enough)
            note_use(sh, sh->at[i], ns);
    }
    for (enum segment s = 0; s < SEGMENTS; s++)
        if (conf_capacity(sh->c.capacity->conf, s))
            divide_segment(sh, s, p);
    for (uint32_t i = 1; i < sh->unused; i++)
        if (sh->at[i])
            set_rate(sh, sh->at[i]);
    sh->looked_ns = long_enough ? now : sh->looked_ns;
    if (capacity_limits(sh->c.capacity))
        loop_timer(sh->c.loop, &sh->look, SHARES_LOOK_NS);
    if (sh->c.looked)
        sh->c.looked(sh->c.user);
}

static void on_look(struct timer *t) { look(container_of(t, struct shares, look)); }

void shares_changed(struct shares *sh)
{
    for (uint32_t i = 1; sh && i < sh->unused; i++) {
        const struct conf_route *r = sh->at[i] && sh->at[i]->route ? conf_route(sh->c.capacity->conf, sh->at[i]->name) : NULL;
        if (r)
            sh->at[i]->segments = conf_route_segments(r);
    }
    if (sh)
        look(sh);
}

/* ------------------------------------------------------------ life */

struct shares *shares_new(const struct shares_config *c)
{
    struct shares *sh = mem_zalloc(1, sizeof(*sh));
    sh->c = *c;
    sh->unused = 1;
    sh->look.fire = on_look;
    for (unsigned i = 0; i < BUCKETS; i++)
        list_init(&sh->bucket[i]);
    return sh;
}

void shares_free(struct shares *sh)
{
    for (uint32_t i = 1; sh && i < sh->unused; i++)
        if (sh->at[i])
            forget(sh, sh->at[i]);
    if (sh)
        loop_timer_stop(sh->c.loop, &sh->look);
    free(sh);
}
