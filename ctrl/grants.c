#include "ctrl/arranged.h"

#include <inttypes.h>
#include <stdio.h>

#define LOOK_NS (60 * NS_PER_S) /* at least that often: the wall clock may be set */

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
    arranged_free(g->arranged);
    secret_wipe(g, sizeof(*g));
    free(g);
}

void grant_set_key(struct grant *g, enum grant_role role, const uint8_t *key)
{
    if (key)
        memcpy(g->key[role], key, GRANT_KEY);
    else
        secret_random(g->key[role], GRANT_KEY);
    g->secret[role] = (struct secret){ g->key[role], GRANT_KEY };
}

static void look_within(struct grants *gs, uint64_t ns)
{
    if (gs->loop && (!timer_pending(&gs->look) || gs->look.due_ns > now_ns() + ns))
        loop_timer(gs->loop, &gs->look, ns);
}

static void look_soon(struct grants *gs, const struct grant *g, uint64_t now_s)
{
    uint64_t due_s = g->arranged ? arranged_due(g) : g->expires_s, left = due_s > now_s ? due_s - now_s : 0;
    look_within(gs, MIN(left, LOOK_NS / NS_PER_S) * NS_PER_S);
}

void grants_left(struct grants *gs) { look_within(gs, 0); }

void grants_put(struct grants *gs, struct grant *g, uint64_t now_s)
{
    list_add_tail(&gs->all, &g->node);
    gs->n++;
    look_soon(gs, g, now_s);
}

/* Who attached by it may still have it. */
void grants_end(struct grants *gs, struct grant *g, const char *why, const char *abort)
{
    bool told = g->arranged && g->arranged->closed;
    g->over = true;
    list_del(&g->node);
    gs->n--;
    if (gs->ev && !told)
        gs->ev->over(gs->user, g, why);
    if (gs->ev && g->arranged)
        gs->ev->gone(gs->user, g, abort);
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

void grants_start(struct grants *gs, struct loop *l, const struct grants_events *ev, void *user)
{
    gs->loop = l;
    gs->ev = ev;
    gs->user = user;
    on_look(&gs->look);
}

void grants_fini(struct grants *gs)
{
    if (!gs->all.next)
        return;
    if (gs->loop)
        loop_timer_stop(gs->loop, &gs->look);
    gs->ev = NULL;
    list_for_each_safe(n, &gs->all)
        grants_end(gs, list_entry(n, struct grant, node), "", NULL);
}

struct grant *grants_add(struct grants *gs, const struct grant_terms *t, uint64_t now_s)
{
    uint8_t random[(GRANT_UID - 1) / 2];
    if (gs->n >= GRANTS_MAX)
        return NULL;
    struct grant *g = mem_zalloc(1, sizeof(*g));
    g->users = 1;
    secret_random(random, sizeof(random));
    secret_hex(g->uid, random, sizeof(random));
    g->route = route_hold(t->route);
    g->channels = t->channels;
    g->issued_s = now_s;
    g->expires_s = now_s + t->life_s;
    str_copy(g->by, sizeof(g->by), t->by);
    str_copy(g->from, sizeof(g->from), t->from);
    for (unsigned role = 0; role < GRANT_ROLES; role++)
        if (t->role[role])
            grant_set_key(g, role, NULL);
    grants_put(gs, g, now_s);
    return g;
}

struct grant *grants_find(const struct grants *gs, const char *uid, uint64_t now_s)
{
    list_for_each(n, &gs->all) {
        struct grant *g = list_entry(n, struct grant, node);
        if (str_eq(g->uid, uid))
            return now_s < g->expires_s && !(g->arranged && arranged_is_over(g, now_s)) ? g : NULL;
    }
    return NULL;
}

void grants_renew(struct grants *gs, struct grant *g, uint64_t life_s, uint64_t now_s)
{
    g->expires_s = now_s + life_s;
    if (g->arranged)
        arranged_renewed(g);
    look_soon(gs, g, now_s);
}

void grants_revoke(struct grants *gs, struct grant *g)
{
    if (g->arranged)
        arranged_revoke(gs, g);
    else
        grants_end(gs, g, "was revoked", NULL);
}

void grants_expire(struct grants *gs, uint64_t now_s)
{
    list_for_each_safe(n, &gs->all) {
        struct grant *g = list_entry(n, struct grant, node);
        if (g->arranged)
            arranged_look(gs, g, now_s);
        else if (g->expires_s <= now_s)
            grants_end(gs, g, "has expired", NULL);
    }
}

static bool attaches(const struct route *r) { return r && conf_route_attaches(r->c); }

void grants_follow(struct grants *gs, const struct routes *rs)
{
    list_for_each_safe(n, &gs->all) {
        struct grant *g = list_entry(n, struct grant, node);
        struct route *now = g->arranged ? g->route : route_find(rs, g->route->c->name);
        if (!attaches(now)) {
            grants_end(gs, g, "is over, its route was removed from the configuration", NULL);
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
static char *line_of(const struct grant *g)
{
    char key[GRANT_ROLES][2 * GRANT_KEY + 1];
    for (unsigned role = 0; role < GRANT_ROLES; role++)
        key_text(key[role], &g->secret[role]);
    char *line = mem_printf("%s %s %u %" PRIu64 " %" PRIu64 " %s %s %s\t%s\n", g->uid, g->route->c->name, g->channels, g->issued_s, g->expires_s,
                            key[GRANT_SEND], key[GRANT_RECV], g->by, g->from);
    secret_wipe(key, sizeof(key));
    return line;
}

static char *joined(char *const *lines)
{
    size_t size = 1, at = 0;
    for (char *const *l = lines; *l; l++)
        size += strlen(*l);
    char *out = mem_zalloc(1, size);
    for (char *const *l = lines; *l; at += strlen(*l), l++)
        memcpy(out + at, *l, strlen(*l));
    return out;
}

char *grants_export(const struct grants *gs)
{
    char **lines = mem_zalloc(gs->n + 1, sizeof(*lines));
    size_t k = 0;
    list_for_each(n, &gs->all) {
        const struct grant *g = list_entry(n, struct grant, node);
        lines[k++] = g->arranged ? arranged_line(g) : line_of(g);
    }
    char *out = joined(lines);
    for (char **l = lines; *l; l++)
        secret_wipe(*l, strlen(*l));
    strv_free(lines);
    return out;
}

/* "-", or a key. False: neither. */
static bool take_key(struct grant *g, enum grant_role role, const char *text)
{
    if (str_eq(text, "-"))
        return true;
    uint8_t key[GRANT_KEY];
    bool ok = secret_unhex(key, GRANT_KEY, text);
    if (ok)
        grant_set_key(g, role, key);
    secret_wipe(key, sizeof(key));
    return ok;
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

static bool take_line(struct grants *gs, const char *line, const struct routes *rs, uint64_t now_s)
{
    struct grant *g = mem_zalloc(1, sizeof(*g));
    g->users = 1;
    bool ok = str_starts(line, ARRANGED_LINE) ? arranged_take_line(gs, g, line, now_s) : take_fields(g, line, rs, now_s);
    ok = ok && !grants_find(gs, g->uid, now_s) && !arranged_find(gs, g->uid);
    if (ok)
        grants_put(gs, g, now_s);
    else
        grant_drop(g);
    return ok;
}

unsigned grants_import(struct grants *gs, const char *lines, const struct routes *rs, uint64_t now_s)
{
    unsigned taken = 0;
    for (const char *end_of_line; (end_of_line = strchr(lines, '\n')) && gs->n < GRANTS_MAX; lines = end_of_line + 1) {
        size_t n = (size_t)(end_of_line - lines);
        char *line = mem_zalloc(1, n + 1);
        memcpy(line, lines, n);
        taken += take_line(gs, line, rs, now_s);
        secret_wipe(line, n);
        free(line);
    }
    return taken;
}
