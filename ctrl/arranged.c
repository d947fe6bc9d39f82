#include "ctrl/arranged.h"

#include <errno.h>
#include <stdio.h>

#include "ctrl/hop.h"
#include "src/core/conf_diff.h"
#include "src/core/err.h"
#include "src/core/ticket.h"

#define UID_BYTES ((GRANT_UID - 1) / 2)

/* ------------------------------------------------------------ its route */

static void set_text(char **field, char *text)
{
    free(*field);
    *field = text;
}

static void set_words(char ***field, char **words)
{
    strv_free(*field);
    *field = words;
}

/* Those that this gateway has, best first. */
static char **own_transports(const struct conf *c)
{
    char **out = mem_zalloc(4, sizeof(*out)), **next = out;
    if (*c->rdma.listen)
        *next++ = mem_strdup("verbs");
    if (c->ucx.devices[0])
        *next++ = mem_strdup("ucx");
    *next = mem_strdup("link");
    return out;
}

static void set_options(struct conf_route *c, const struct conf *conf, const struct arranged_terms *t)
{
    set_words(&c->accept, own_transports(conf));
    set_words(&c->deliver, own_transports(conf));
    c->channels = t->channels;
    c->connect_timeout = conf->scistream.connect_timeout;
    c->keepalive = conf->scistream.keepalive;
    if (t->window)
        c->window = MAX(MIN(c->window, t->window), HOP_WINDOW_MIN);
}

static void add_places(struct route *r, const struct arranged_place *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        route_add_place(r, p[i].name, p[i].at, p[i].n);
    r->connects = true;
}

static void lead_to_targets(struct route *r, const struct arranged_terms *t)
{
    add_places(r, t->target, t->n_targets);
    r->tcp = true;
    set_text(&r->c->connect, mem_printf(CONF_TCP "%s", r->place[0].name));
}

static int lead_to_gateway(struct route *r, const struct arranged_dial *d, const char *uid, char *why, size_t size)
{
    struct conf_route *c = r->c;
    add_places(r, d->gateway, d->n);
    set_text(&c->connect, mem_printf("gateway://%s/%s", r->place[0].name, uid));
    set_text(&c->connect_tls_name, mem_strdup(d->tls_name));
    set_words(&c->connect_pin, d->pins ? strv_copy(d->pins) : mem_zalloc(1, sizeof(char *)));
    c->dial = d->recv;
    r->next = (struct addr){ .kind = ADDR_GATEWAY, .port = r->place[0].port };
    str_copy(r->next.host, sizeof(r->next.host), r->place[0].host);
    str_copy(r->next.route, sizeof(r->next.route), uid);
    r->next_secret = (struct secret){ mem_zalloc(1, GRANT_KEY), GRANT_KEY };
    memcpy(r->next_secret.data, d->secret, GRANT_KEY);
    r->next_tls = tls_ctx_client("", c->connect_pin, "h2", why, size);
    return r->next_tls ? 0 : -EINVAL;
}

static struct route *make_route(const struct conf *conf, const struct arranged_terms *t, const char *uid, char *why, size_t size)
{
    struct route *r = route_make(ARRANGED_ROUTE);
    set_options(r->c, conf, t);
    r->accept = strv_copy(r->c->accept);
    if (t->n_targets)
        lead_to_targets(r, t);
    if (!t->dial || lead_to_gateway(r, t->dial, uid, why, size) == 0)
        return r;
    route_drop(r);
    return NULL;
}

/* ------------------------------------------------------------ what can be arranged */

static bool places_ok(const struct arranged_place *p, size_t n, size_t most)
{
    for (size_t i = 0; i < n; i++)
        if (p[i].n == 0)
            return false;
    return n <= most;
}

static bool pins_ok(char *const *pins)
{
    uint8_t key[TICKET_KEY];
    for (char *const *p = pins; p && *p; p++)
        if (!str_starts(*p, "sha256:") || !secret_unhex(key, sizeof(key), *p + strlen("sha256:")))
            return false;
    return strv_len(pins) <= TICKET_PINS;
}

static bool dial_ok(const struct arranged_terms *t)
{
    const struct arranged_dial *d = t->dial;
    return d->n && t->n_targets == 0 && t->role[GRANT_RECV] == d->recv && t->role[GRANT_SEND] == !d->recv;
}

/* NULL, or a sentence. */
static const char *problem_of(const struct grants *gs, const struct arranged_terms *t)
{
    if (!gs->conf)
        return "this gateway arranges nothing";
    if (t->channels < 1 || t->channels > TICKET_CHANNELS)
        return "channels: must be 1 to 65536";
    if (!t->role[GRANT_SEND] && !t->role[GRANT_RECV])
        return "nobody could attach";
    if (!places_ok(t->target, t->n_targets, ARRANGED_TARGETS))
        return "targets: too many, or without an address";
    if (!t->dial)
        return NULL;
    if (!places_ok(t->dial->gateway, t->dial->n, ARRANGED_GATEWAYS))
        return "dial.addresses: too many, or without an address";
    if (!dial_ok(t))
        return "dial: a gateway that dials another one attaches there in the role that the application has here";
    return pins_ok(t->dial->pins) ? NULL : "dial.pins: at most two, each sha256: and 64 hex digits";
}

int arranged_fill(const struct grants *gs, struct grant *g, const struct arranged_terms *t, char *why, size_t why_size)
{
    const char *problem = problem_of(gs, t);
    if (problem)
        snprintf(why, why_size, "%s", problem);
    g->route = problem ? NULL : make_route(gs->conf, t, g->uid, why, why_size);
    if (!g->route)
        return -EINVAL;
    g->channels = t->channels;
    g->arranged = mem_zalloc(1, sizeof(*g->arranged));
    g->arranged->beside = t->beside;
    g->arranged->attach = t->attach;
    g->arranged->ends_s = t->ends_s;
    g->arranged->rate = t->rate;
    g->arranged->provisioned = t->provisioned;
    return 0;
}

/* ------------------------------------------------------------ making one */

static int set_uid(const struct grants *gs, struct grant *g, const char *uid, char *why, size_t size)
{
    uint8_t bytes[UID_BYTES];
    if (!uid)
        secret_random(bytes, sizeof(bytes));
    else if (!secret_unhex(bytes, sizeof(bytes), uid)) {
        snprintf(why, size, "uid: is that of no session of a gateway, which has %d hex digits", GRANT_UID - 1);
        return -EINVAL;
    }
    secret_hex(g->uid, bytes, sizeof(bytes));
    list_for_each(n, &gs->all)
        if (str_eq(list_entry(n, struct grant, node)->uid, g->uid)) {
            snprintf(why, size, "uid: this gateway has session %s already: either its ticket was used here before, or both sides of a stream are to be at one gateway", g->uid);
            return -EEXIST;
        }
    return 0;
}

static void set_terms(struct grant *g, const struct arranged_terms *t, uint64_t now_s)
{
    g->issued_s = now_s;
    g->expires_s = now_s + t->ticket_s;
    str_copy(g->by, sizeof(g->by), t->by);
    str_copy(g->from, sizeof(g->from), t->from);
    for (unsigned role = 0; role < GRANT_ROLES; role++)
        if (t->role[role])
            grant_set_key(g, role, t->secret);
    arranged_renewed(g);
}

int arranged_add(struct grants *gs, const struct arranged_terms *t, uint64_t now_s, struct arranged_made *out)
{
    if (gs->n >= GRANTS_MAX) {
        snprintf(out->why, sizeof(out->why), "this gateway has as many granted sessions as it keeps: revoke one, or let one expire");
        return -SST_ELIMIT;
    }
    struct grant *g = mem_zalloc(1, sizeof(*g));
    g->users = 1;
    int rc = set_uid(gs, g, t->uid, out->why, sizeof(out->why));
    if (rc == 0)
        rc = arranged_fill(gs, g, t, out->why, sizeof(out->why));
    if (rc < 0) {
        grant_drop(g);
        return rc;
    }
    set_terms(g, t, now_s);
    grants_put(gs, g, now_s);
    out->g = g;
    return 0;
}

void arranged_free(struct arranged *a) { free(a); }

/* ------------------------------------------------------------ finding */

struct grant *arranged_find(const struct grants *gs, const char *uid)
{
    list_for_each(n, &gs->all) {
        struct grant *g = list_entry(n, struct grant, node);
        if (g->arranged && str_eq(g->uid, uid))
            return g;
    }
    return NULL;
}

size_t arranged_count(const struct grants *gs, const char *by)
{
    size_t count = 0;
    list_for_each(n, &gs->all) {
        const struct grant *g = list_entry(n, struct grant, node);
        count += g->arranged && !g->arranged->beside && (!by || str_eq(g->by, by));
    }
    return count;
}

/* ------------------------------------------------------------ its time */

static bool has_end(const struct arranged *a) { return a->ends_s && !a->beside; }

bool arranged_is_over(const struct grant *g, uint64_t now_s)
{
    const struct arranged *a = g->arranged;
    return a->revoked || (a->ends_s && now_s >= a->ends_s);
}

uint64_t arranged_due(const struct grant *g)
{
    const struct arranged *a = g->arranged;
    uint64_t due = a->closed ? UINT64_MAX : g->expires_s, end = a->warned || a->ends_s < ARRANGED_SOON_S ? a->ends_s : a->ends_s - ARRANGED_SOON_S;
    return has_end(a) ? MIN(due, end) : due;
}

/* A ticket is not good for longer than the session. */
void arranged_renewed(struct grant *g)
{
    struct arranged *a = g->arranged;
    if (a->ends_s)
        g->expires_s = MIN(g->expires_s, a->ends_s);
    a->closed = a->closed && a->revoked;
}

static void close_it(struct grants *gs, struct grant *g)
{
    g->arranged->closed = true;
    if (gs->ev)
        gs->ev->over(gs->user, g, g->arranged->revoked ? "was revoked" : "has expired");
}

void arranged_look(struct grants *gs, struct grant *g, uint64_t now_s)
{
    struct arranged *a = g->arranged;
    if (has_end(a) && now_s >= a->ends_s) {
        grants_end(gs, g, "is over", "its time is over");
        return;
    }
    if (has_end(a) && !a->warned && now_s + ARRANGED_SOON_S >= a->ends_s) {
        a->warned = true;
        if (gs->ev)
            gs->ev->soon(gs->user, g);
    }
    if (!a->closed && (a->revoked || now_s >= g->expires_s))
        close_it(gs, g);
    if (a->closed && !(gs->ev && gs->ev->busy(gs->user, g)))
        grants_end(gs, g, "", NULL);
}

void arranged_revoke(struct grants *gs, struct grant *g)
{
    g->arranged->revoked = true;
    arranged_look(gs, g, 0);
}
