#include "ctrl/session_priv.h"

#include <stdio.h>

#include "src/core/err.h"
#include "src/core/log.h"

/* ------------------------------------------------------------ hops */

void shop_gone(struct defer *d)
{
    struct shop *sh = container_of(d, struct shop, gone);
    list_del(&sh->node);
    hop_fini(&sh->h);
    route_drop(sh->route);
    grant_drop(sh->grant);
    free(sh);
}

/* Take it out of its channel and free it from the loop: we may be inside one of its callbacks. */
void shop_release(struct shop *sh)
{
    if (sh->c)
        sh->c->hop[sh->side] = NULL;
    sh->c = NULL;
    loop_defer(sh->ss->c.loop, &sh->gone);
}

void shop_refuse(struct shop *sh, int rc, const char *text)
{
    static struct log_gate gate = LOG_GATE;
    AUTO_FREE char *full = mem_printf("gateway %s: %s", sh->ss->c.name, text);
    tally_attach(sh->ss->c.tally, rc);
    hop_abort(&sh->h, rc, rc == -SST_EAUTH ? text : full);
    if (rc != -SST_EAUTH) /* that one was logged, by its true reason */
        log_gated(&gate, LOG_LEVEL_WARN, "attach from %s refused: %s", sh->h.at.peer, text);
    shop_release(sh);
}

struct shop *shop_new(struct sessions *ss)
{
    struct shop *sh = mem_zalloc(1, sizeof(*sh));
    sh->ss = ss;
    list_init(&sh->node);
    defer_init(&sh->gone, shop_gone);
    return sh;
}

void sessions_attach(struct sessions *ss, struct grpc_call *call)
{
    struct shop *sh = shop_new(ss);
    list_add_tail(&ss->guests, &sh->node);
    sh->h.step_ns = ss->c.conf->g.attach_timeout;
    hop_serve(&sh->h, ss->c.loop, call, session_hop_events(), sh);
}

/* ------------------------------------------------------------ all of them */

const char *session_place_name(const struct session *s, char out[SESSION_PLACE])
{
    snprintf(out, SESSION_PLACE, "%s %s", s->route->made ? "session" : "route", s->route->made ? s->uid : s->route->c->name);
    return out;
}

static void session_free(struct session *s, struct shares *shares)
{
    shares_drop(shares, s->share);
    route_drop(s->route);
    grant_drop(s->grant);
    free(s->at);
    free(s);
}

void session_release(struct sessions *ss, struct session *s)
{
    if (!list_empty(&s->channels))
        return;
    list_del(&s->node);
    session_free(s, ss->c.shares);
}

static void tell_idle(struct defer *d)
{
    struct sessions *ss = container_of(d, struct sessions, told_idle);
    if (ss->idle && ss->n_channels == 0)
        ss->idle(ss->idle_user);
}

struct sessions *sessions_new(const struct sessions_config *c)
{
    struct sessions *ss = mem_zalloc(1, sizeof(*ss));
    ss->c = *c;
    admission_init(&ss->memory, c->conf, pool_board(c->pool));
    list_init(&ss->sessions);
    list_init(&ss->guests);
    defer_init(&ss->told_idle, tell_idle);
    return ss;
}

void sessions_drain(struct sessions *ss, int rc, const char *text, void (*idle)(void *user), void *user)
{
    ss->draining = text;
    ss->drain_rc = rc;
    ss->idle = idle;
    ss->idle_user = user;
    list_for_each_safe(n, &ss->sessions)
        list_for_each_safe(k, &list_entry(n, struct session, node)->channels)
            if (list_entry(k, struct schannel, node)->state == SC_WAITING) /* nothing can come of these */
                schannel_abort(list_entry(k, struct schannel, node), rc, text);
    if (ss->n_channels == 0)
        loop_defer(ss->c.loop, &ss->told_idle);
}

void sessions_resume(struct sessions *ss)
{
    ss->draining = NULL;
    ss->idle = NULL;
    defer_cancel(&ss->told_idle);
}

bool sessions_draining(const struct sessions *ss) { return ss->draining; }
size_t sessions_channels(const struct sessions *ss) { return ss->n_channels; }
const struct admission *sessions_memory(const struct sessions *ss) { return &ss->memory; }
void sessions_keep_memory(struct sessions *ss, uint64_t bytes) { admission_keep(&ss->memory, bytes); }

/* Who holds a ticket has a share of his own, unless it is for a route that has reserved one for all who come by it. */
bool session_is_own(const struct session *s) { return s->grant && s->route->c->class != CONF_PROVISIONED; }

void sessions_abort_all(struct sessions *ss, int rc, const char *text)
{
    list_for_each_safe(n, &ss->sessions)
        list_for_each_safe(k, &list_entry(n, struct session, node)->channels)
            schannel_abort(list_entry(k, struct schannel, node), rc, text);
}

static int abort_channels(struct session *s, int64_t channel, int rc, const char *text)
{
    int n = 0;
    list_for_each_safe(k, &s->channels) {
        struct schannel *c = list_entry(k, struct schannel, node);
        if (!schannel_holds_place(c) || (channel >= 0 && (int64_t)c->number != channel))
            continue;
        schannel_abort(c, rc, text);
        n++;
    }
    return n;
}

int sessions_abort(struct sessions *ss, const char *uid, int64_t channel, int rc, const char *text)
{
    int n = -ENOENT;
    list_for_each_safe(i, &ss->sessions)
        if (str_eq(list_entry(i, struct session, node)->uid, uid))
            n = abort_channels(list_entry(i, struct session, node), channel, rc, text);
    return n;
}

unsigned sessions_abort_route(struct sessions *ss, const char *route, int rc, const char *text)
{
    unsigned n = 0;
    list_for_each_safe(i, &ss->sessions)
        if (str_eq(list_entry(i, struct session, node)->route->c->name, route))
            n += (unsigned)abort_channels(list_entry(i, struct session, node), -1, rc, text);
    return n;
}

void sessions_grant_over(struct sessions *ss, const char *uid, const char *why)
{
    AUTO_FREE char *text = mem_printf("session %s %s: nobody can come to it any more", uid, why);
    list_for_each_safe(n, &ss->sessions) {
        struct session *s = list_entry(n, struct session, node);
        if (!str_eq(s->uid, uid))
            continue;
        list_for_each_safe(k, &s->channels)
            if (list_entry(k, struct schannel, node)->state == SC_WAITING)
                schannel_abort(list_entry(k, struct schannel, node), -SST_EDENIED, text);
    }
}

unsigned sessions_open(const struct sessions *ss, const char *uid)
{
    list_for_each(n, &ss->sessions)
        if (str_eq(list_entry(n, struct session, node)->uid, uid))
            return list_entry(n, struct session, node)->held;
    return 0;
}

/* ------------------------------------------------------------ other routes */

/* It has not begun: it goes by what its route is now, if that can still bring it a partner. */
static void follow(struct schannel *c, struct route *now)
{
    char text[160];
    if (!now) {
        snprintf(text, sizeof(text), "route %s was removed from its configuration", c->route->c->name);
        schannel_abort(c, -SST_EDENIED, text);
    } else if (now->connects != c->route->connects) {
        snprintf(text, sizeof(text), "route %s leads elsewhere by now: attach again", c->route->c->name);
        schannel_abort(c, -SST_ERENDEZVOUS, text);
    } else {
        schannel_follow(c, now);
    }
}

void sessions_reloaded(struct sessions *ss)
{
    admission_set_limit(&ss->memory, ss->c.conf);
    list_for_each_safe(n, &ss->sessions) {
        struct session *s = list_entry(n, struct session, node);
        struct route *now = s->route->made ? s->route : route_find(ss->c.routes, s->route->c->name);
        if (now) {
            route_hold(now);
            route_drop(s->route);
            s->route = now;
        }
        list_for_each_safe(k, &s->channels)
            if (list_entry(k, struct schannel, node)->state == SC_WAITING)
                follow(list_entry(k, struct schannel, node), now);
    }
}

/* ------------------------------------------------------------ the end */

void sessions_free(struct sessions *ss)
{
    if (!ss)
        return;
    list_for_each_safe(g, &ss->guests)
        shop_gone(&list_entry(g, struct shop, node)->gone);
    list_for_each_safe(n, &ss->sessions) {
        struct session *s = list_entry(n, struct session, node);
        list_for_each_safe(k, &s->channels)
            schannel_forget(list_entry(k, struct schannel, node));
        session_free(s, ss->c.shares);
    }
    defer_cancel(&ss->told_idle);
    free(ss);
}
