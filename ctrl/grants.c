#include "ctrl/grants.h"

#include <inttypes.h>
#include <stdio.h>

#define LOOK_NS (60 * NS_PER_S) /* at least that often: the wall clock may be set */
#define LINE_MAX 1024

/* ------------------------------------------------------------ one */

struct grant *grant_hold(struct grant *g)
{
    g->users++;
    return g;
}

void grant_drop(struct grant *g)
{
    if (!g || --g->users)
        return;
    route_drop(g->route);
    secret_wipe(g, sizeof(*g));
    free(g);
}

static void set_key(struct grant *g, enum grant_role role) { g->secret[role] = (struct secret){ g->key[role], GRANT_KEY }; }

static void look_soon(struct grants *gs, const struct grant *g, uint64_t now_s)
{
    uint64_t left = g->expires_s > now_s ? g->expires_s - now_s : 0, ns = MIN(left, LOOK_NS / NS_PER_S) * NS_PER_S;
    if (gs->loop && (!timer_pending(&gs->look) || gs->look.due_ns > now_ns() + ns))
        loop_timer(gs->loop, &gs->look, ns);
}

static void add(struct grants *gs, struct grant *g, uint64_t now_s)
{
    g->users = 1;
    list_add_tail(&gs->all, &g->node);
    gs->n++;
    look_soon(gs, g, now_s);
}

/* Out of the table; who attached by it may still have it. */
static void end(struct grants *gs, struct grant *g, const char *why)
{
    g->over = true;
    list_del(&g->node);
    gs->n--;
    if (gs->over)
        gs->over(gs->user, g, why);
    grant_drop(g);
}

/* ------------------------------------------------------------ all */

static void on_look(struct timer *t)
{
    struct grants *gs = container_of(t, struct grants, look);
    uint64_t now_s = (uint64_t)time(NULL);
    grants_expire(gs, now_s);
    list_for_each(n, &gs->all)
        look_soon(gs, list_entry(n, struct grant, node), now_s);
}

void grants_init(struct grants *gs)
{
    *gs = (struct grants){ .look.fire = on_look };
    list_init(&gs->all);
}

void grants_start(struct grants *gs, struct loop *l, void (*over)(void *user, const struct grant *g, const char *why), void *user)
{
    gs->loop = l;
    gs->over = over;
    gs->user = user;
    on_look(&gs->look);
}

void grants_fini(struct grants *gs)
{
    if (!gs->all.next)
        return;
    if (gs->loop)
        loop_timer_stop(gs->loop, &gs->look);
    gs->over = NULL;
    list_for_each_safe(n, &gs->all)
        end(gs, list_entry(n, struct grant, node), "");
}

struct grant *grants_add(struct grants *gs, const struct grant_terms *t, uint64_t now_s)
{
    uint8_t random[(GRANT_UID - 1) / 2];
    if (gs->n >= GRANTS_MAX)
        return NULL;
    struct grant *g = mem_zalloc(1, sizeof(*g));
    secret_random(random, sizeof(random));
    secret_hex(g->uid, random, sizeof(random));
    g->route = route_hold(t->route);
    g->channels = t->channels;
    g->issued_s = now_s;
    g->expires_s = now_s + t->life_s;
    str_copy(g->by, sizeof(g->by), t->by);
    str_copy(g->from, sizeof(g->from), t->from);
    for (unsigned role = 0; role < GRANT_ROLES; role++) {
        if (!t->role[role])
            continue;
        secret_random(g->key[role], GRANT_KEY);
        set_key(g, role);
    }
    add(gs, g, now_s);
    return g;
}

struct grant *grants_find(const struct grants *gs, const char *uid, uint64_t now_s)
{
    list_for_each(n, &gs->all) {
        struct grant *g = list_entry(n, struct grant, node);
        if (str_eq(g->uid, uid))
            return now_s < g->expires_s ? g : NULL;
    }
    return NULL;
}

void grants_renew(struct grants *gs, struct grant *g, uint64_t life_s, uint64_t now_s)
{
    g->expires_s = now_s + life_s;
    look_soon(gs, g, now_s);
}

void grants_revoke(struct grants *gs, struct grant *g) { end(gs, g, "was revoked"); }

void grants_expire(struct grants *gs, uint64_t now_s)
{
    list_for_each_safe(n, &gs->all)
        if (list_entry(n, struct grant, node)->expires_s <= now_s)
            end(gs, list_entry(n, struct grant, node), "has expired");
}

static bool attaches(const struct route *r) { return r && conf_route_attaches(r->c); }

void grants_follow(struct grants *gs, const struct routes *rs)
{
    list_for_each_safe(n, &gs->all) {
        struct grant *g = list_entry(n, struct grant, node);
        struct route *now = route_find(rs, g->route->c->name);
        if (!attaches(now)) {
            end(gs, g, "is over, its route was removed from the configuration");
            continue;
        }
        route_hold(now);
        route_drop(g->route);
        g->route = now;
    }
}

/* ------------------------------------------------------------ from one program to the next */

static void key_text(char out[2 * GRANT_KEY + 1], const struct secret *s)
{
    if (s->len)
        secret_hex(out, s->data, s->len);
    else
        str_copy(out, 2, "-");
}

/* uid route channels issued expires send recv by, a tab, from; these two may have spaces */
static size_t put_line(char *to, size_t size, const struct grant *g)
{
    char key[GRANT_ROLES][2 * GRANT_KEY + 1];
    for (unsigned role = 0; role < GRANT_ROLES; role++)
        key_text(key[role], &g->secret[role]);
    int n = snprintf(to, size, "%s %s %u %" PRIu64 " %" PRIu64 " %s %s %s\t%s\n", g->uid, g->route->c->name, g->channels, g->issued_s, g->expires_s,
                     key[GRANT_SEND], key[GRANT_RECV], g->by, g->from);
    secret_wipe(key, sizeof(key));
    return MIN((size_t)n, size - 1);
}

char *grants_export(const struct grants *gs)
{
    size_t size = gs->n * LINE_MAX + 1, at = 0;
    char *out = mem_zalloc(1, size);
    list_for_each(n, &gs->all)
        at += put_line(out + at, size - at, list_entry(n, struct grant, node));
    return out;
}

/* "-", or a key. False: neither. */
static bool take_key(struct grant *g, enum grant_role role, const char *text)
{
    if (str_eq(text, "-"))
        return true;
    if (!secret_unhex(g->key[role], GRANT_KEY, text))
        return false;
    set_key(g, role);
    return true;
}

static bool take_fields(struct grant *g, const char *line, const struct routes *rs, uint64_t now_s)
{
    char name[ADDR_ROUTE_MAX + 1], key[GRANT_ROLES][2 * GRANT_KEY + 1];
    _Static_assert(GRANT_UID == 33 && ADDR_ROUTE_MAX == 64 && GRANT_KEY == 32 && sizeof(g->by) == 257 && sizeof(g->from) == 320, "the widths below");
    int n = sscanf(line, "%32s %64s %" SCNu32 " %" SCNu64 " %" SCNu64 " %64s %64s %256[^\t]%*1[\t]%319[^\n]", g->uid, name, &g->channels, &g->issued_s,
                   &g->expires_s, key[GRANT_SEND], key[GRANT_RECV], g->by, g->from);
    struct route *r = n == 9 ? route_find(rs, name) : NULL;
    bool ok = attaches(r) && strlen(g->uid) == GRANT_UID - 1 && g->channels > 0 && g->expires_s > now_s && take_key(g, GRANT_SEND, key[GRANT_SEND]) &&
              take_key(g, GRANT_RECV, key[GRANT_RECV]);
    if (ok)
        g->route = route_hold(r);
    secret_wipe(key, sizeof(key));
    return ok;
}

/* The first of them. */
static bool take_line(struct grant *g, const char *lines, const struct routes *rs, uint64_t now_s)
{
    char line[LINE_MAX];
    size_t n = strcspn(lines, "\n");
    if (n >= sizeof(line))
        return false;
    memcpy(line, lines, n);
    line[n] = 0;
    bool ok = take_fields(g, line, rs, now_s);
    secret_wipe(line, sizeof(line));
    return ok;
}

unsigned grants_import(struct grants *gs, const char *lines, const struct routes *rs, uint64_t now_s)
{
    unsigned taken = 0;
    for (const char *end_of_line; (end_of_line = strchr(lines, '\n')) && gs->n < GRANTS_MAX; lines = end_of_line + 1) {
        struct grant *g = mem_zalloc(1, sizeof(*g));
        g->users = 1;
        if (take_line(g, lines, rs, now_s) && !grants_find(gs, g->uid, now_s)) {
            add(gs, g, now_s);
            taken++;
        } else {
            grant_drop(g);
        }
    }
    return taken;
}
