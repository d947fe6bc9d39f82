/* Judging an OFFER and finding its channel: versions and features, proof, role, transports, a free place. */
#include <stdio.h>

#include "ctrl/session_priv.h"
#include "src/core/err.h"
#include "src/core/log.h"

static unsigned side_of(const Offer *o) { return o->role == SCISTREAM__GATEWAY__V1__ROLE__SEND ? SOURCE_SIDE : SINK_SIDE; }
static const char *role_word(unsigned side) { return side == SOURCE_SIDE ? "sender" : "receiver"; }

/* ------------------------------------------------------------ who and what */

/* What an offer names: a route, and a grant if it is by the uid of one. secret NULL: there is no such thing, or not for that role. */
struct named { struct route *route; struct grant *grant; const struct secret *secret; };

static struct route *common_session(const struct sessions *ss, const char *uid)
{
    list_for_each(n, &ss->sessions) {
        const struct session *s = list_entry(n, struct session, node);
        if (!s->grant && str_eq(s->uid, uid))
            return s->route->gone ? NULL : s->route;
    }
    return NULL;
}

/* A granted session is for those with a ticket alone: who has the secret of the route is not let in by it. */
static struct named find_named(const struct sessions *ss, const Offer *o)
{
    struct named n = { .grant = *o->session ? grants_find(ss->c.grants, o->session, (uint64_t)time(NULL)) : NULL };
    if (n.grant) {
        n.route = n.grant->route;
        n.secret = &n.grant->secret[side_of(o) == SOURCE_SIDE ? GRANT_SEND : GRANT_RECV];
        return n;
    }
    n.route = *o->session ? common_session(ss, o->session) : route_find(ss->c.routes, o->route);
    n.secret = n.route ? &n.route->secret : NULL;
    return n;
}

/* The route the offer names, directly or by a session; NULL: none, or the proof is wrong. The same answer and the same work for both. */
static struct route *authenticate(struct shop *sh, const Offer *o)
{
    static struct log_gate gate = LOG_GATE;
    bool by_uid = *o->session != 0;
    const char *name = by_uid ? o->session : o->route;
    struct named n = find_named(sh->ss, o);
    if (auth_check(n.secret, o, name, sh->h.at.conn)) {
        sh->principal = !grpc_conn_tls(sh->h.at.conn) ? "local" : n.grant ? "ticket" : "secret";
        sh->grant = n.grant ? grant_hold(n.grant) : NULL;
        return n.route;
    }
    log_gated(&gate, LOG_LEVEL_WARN, "attach from %s refused: %s '%.64s'", sh->h.at.peer,
              n.route ? "wrong secret for" : by_uid ? "no such session" : "no such route", name);
    return NULL;
}

/* A TCP peer takes and brings, so either may attach to a route that connects to one. */
static int check_role(const struct route *r, unsigned side, char *why, size_t size)
{
    bool from_there = r->c->dial;
    if (!r->connects || r->tcp || from_there == (side == SINK_SIDE))
        return 0;
    if (from_there)
        snprintf(why, size, "route %s brings what comes from %s: senders attach there, not here", r->c->name, r->c->connect);
    else
        snprintf(why, size, "route %s sends on to %s: receivers attach there, not here", r->c->name, r->c->connect);
    return -SST_EDENIED;
}

static int check_transports(struct shop *sh, const struct route *r, char *why, size_t size)
{
    const struct pool_worker *w = pool_pick(sh->ss->c.pool);
    if (!w) {
        snprintf(why, size, "no worker of this gateway is running; one is being started");
        return -SST_EWORKER;
    }
    return hop_choose(&sh->h, route_transports(r, sh->side == SOURCE_SIDE), w, why, size) ? 0 : -SST_ENOTRANSPORT;
}

/* ------------------------------------------------------------ a place */

/* The one of the grant, NULL: that of all others of the route. */
static struct session *session_of(struct sessions *ss, struct route *r, struct grant *g)
{
    uint8_t random[16];
    list_for_each(n, &ss->sessions) {
        struct session *s = list_entry(n, struct session, node);
        if (s->grant == g && (g || route_is(s->route, r)))
            return s;
    }
    struct session *s = mem_zalloc(1, sizeof(*s));
    secret_random(random, sizeof(random));
    secret_hex(s->uid, random, sizeof(random));
    if (g)
        str_copy(s->uid, sizeof(s->uid), g->uid);
    s->grant = g ? grant_hold(g) : NULL;
    s->route = route_hold(r);
    s->born_ns = now_ns();
    list_init(&s->channels);
    list_add_tail(&ss->sessions, &s->node);
    unsigned segments = conf_route_segments(r->c);
    s->share = session_is_own(s) ? shares_hold(ss->c.shares, s->uid, segments) : shares_route(ss->c.shares, r->c->name, segments);
    return s;
}

static struct schannel *channel_at(const struct session *s, uint32_t number) { return number < s->n_at ? s->at[number] : NULL; }

static bool lacks(const struct schannel *c, unsigned side) { return c->state == SC_WAITING && !c->probe && !side_here(c, side); }

static struct schannel *waiting_channel(struct session *s, unsigned side, bool probe)
{
    if (probe || s->waiting == 0)
        return NULL;
    list_for_each(n, &s->channels)
        if (lacks(list_entry(n, struct schannel, node), side))
            return list_entry(n, struct schannel, node);
    return NULL;
}

static uint32_t channels_of(const struct session *s)
{
    uint32_t n = conf_route_channels(s->route->c);
    return s->grant ? MIN(n, s->grant->channels) : n;
}

/* All sessions of a route share the places that it has. */
static bool is_full(const struct sessions *ss, const struct route *r)
{
    uint32_t held = 0;
    list_for_each(n, &ss->sessions)
        if (route_is(list_entry(n, struct session, node)->route, r))
            held += list_entry(n, struct session, node)->held;
    return held >= conf_route_channels(r->c);
}

/* The lowest that nobody has. False: there is none. */
static bool free_number(struct sessions *ss, struct session *s, uint32_t *out)
{
    while (channel_at(s, s->lowest))
        s->lowest++;
    *out = s->lowest;
    return s->lowest < channels_of(s) && !is_full(ss, s->route);
}

/* The channel that an offer for any channel gets: one that waits for this side, else a new one with the lowest free number. */
static struct schannel *any_channel(struct sessions *ss, struct session *s, unsigned side, bool probe)
{
    uint32_t number;
    struct schannel *c = waiting_channel(s, side, probe);
    return c ? c : free_number(ss, s, &number) ? schannel_new(s, number) : NULL;
}

static bool has_place(struct sessions *ss, struct session *s, unsigned side, bool probe)
{
    uint32_t number;
    return waiting_channel(s, side, probe) || free_number(ss, s, &number);
}

static struct schannel *this_channel(const struct shop *sh, struct session *s, uint32_t number, bool probe)
{
    struct schannel *c = channel_at(s, number);
    if (c)
        return !probe && lacks(c, sh->side) ? c : NULL;
    return number < channels_of(s) && !is_full(sh->ss, s->route) ? schannel_new(s, number) : NULL;
}

static int say_busy(struct session *s, const struct shop *sh, const Offer *o, char *why, size_t size)
{
    bool fixed = o->pick_case == SCISTREAM__GATEWAY__V1__OFFER__PICK_CHANNEL;
    const struct schannel *c = channel_at(s, fixed ? o->channel : 0);
    unsigned side = sh->side;
    const char *kind = s->grant ? "session" : "route", *name = s->grant ? s->uid : s->route->c->name;
    uint32_t n = channels_of(s);
    if (fixed && o->channel >= n) {
        snprintf(why, size, "%s %s has channels 0 to %u, not %u", kind, name, n - 1, o->channel);
        return -SST_EUSAGE;
    }
    if (s->held < n && !(fixed && c)) {
        snprintf(why, size, "all channels of route %s (%u) are held, some of them in other sessions", s->route->c->name,
                 conf_route_channels(s->route->c));
        return -SST_EBUSY;
    }
    const struct shop *holder = c ? c->hop[side] ? c->hop[side] : c->hop[!side] : NULL;
    const char *peer = holder ? holder->h.at.peer : c && c->plain[side].here ? c->plain[side].peer : "a peer that is leaving";
    char age[UNITS_TEXT];
    units_human_time(age, c ? now_ns() - c->born_ns : 0);
    if (fixed && has_place(sh->ss, s, side, o->probe)) {
        snprintf(why, size, "channel %u of %s %s is held by %s since %s; without --channel the next free one is taken", o->channel, kind,
                 name, peer, age);
        return -SST_EBUSY;
    }
    snprintf(why, size, "%s %s has %u channel%s and no place for another %s; channel %u is held by %s since %s", kind, name, n,
             n == 1 ? "" : "s", role_word(side), c ? c->number : 0, peer, age);
    return -SST_EBUSY;
}

struct schannel *session_place(struct sessions *ss, struct route *r, unsigned side)
{
    struct session *s = session_of(ss, r, NULL);
    struct schannel *c = any_channel(ss, s, side, false);
    if (!c)
        session_release(ss, s);
    return c;
}

void schannel_wait_other(struct schannel *c, unsigned side, uint64_t wait_ms)
{
    char why[ATTACH_WHY], place[SESSION_PLACE];
    uint64_t wait = c->ss->c.conf->g.rendezvous_timeout;
    if (wait_ms && wait_ms < wait / NS_PER_MS)
        wait = wait_ms * NS_PER_MS;
    snprintf(why, sizeof(why), "waiting for a %s on %s", role_word(!side), session_place_name(c->s, place));
    if (c->hop[side])
        hop_waiting(&c->hop[side]->h, why);
    schannel_wait(c, wait);
}

static void place(struct shop *sh, struct route *r, const Offer *o)
{
    char why[ATTACH_WHY];
    struct session *s = session_of(sh->ss, r, sh->grant);
    bool fixed = o->pick_case == SCISTREAM__GATEWAY__V1__OFFER__PICK_CHANNEL;
    struct schannel *c = fixed ? this_channel(sh, s, o->channel, o->probe) : any_channel(sh->ss, s, sh->side, o->probe);
    if (!c) {
        shop_refuse(sh, say_busy(s, sh, o, why, sizeof(why)), why);
        session_release(sh->ss, s);
        return;
    }
    c->probe = o->probe;
    schannel_join(c, sh, sh->side);
    tally_attach(sh->ss->c.tally, 0);
    if (sh->grant)
        sh->grant->attached[sh->side == SOURCE_SIDE ? GRANT_SEND : GRANT_RECV]++;
    if (side_here(c, !sh->side) || r->connects || c->probe)
        schannel_open(c);
    else
        schannel_wait_other(c, sh->side, o->wait_ms);
}

void session_offer(struct shop *sh, const Offer *o)
{
    char why[ATTACH_WHY];
    int rc = hop_check_offer(o, why, sizeof(why));
    if (rc < 0) {
        shop_refuse(sh, rc, why);
        return;
    }
    struct route *r = authenticate(sh, o);
    sh->side = side_of(o);
    log_debug("attach from %s: %.60s, route %.64s", sh->h.at.peer, o->software, o->route);
    if (!r) {
        shop_refuse(sh, -SST_EAUTH, err_text(-SST_EAUTH));
        return;
    }
    sh->route = route_hold(r);
    if (sh->ss->draining)
        rc = sh->ss->drain_rc;
    else if (o->probe && sh->side != SOURCE_SIDE)
        rc = -SST_EFEATURE;
    if (rc < 0)
        snprintf(why, sizeof(why), "%s", rc == -SST_EFEATURE ? "a probe sends, it cannot receive" : sh->ss->draining);
    if (rc == 0)
        rc = check_role(r, sh->side, why, sizeof(why));
    if (rc == 0)
        rc = check_transports(sh, r, why, sizeof(why));
    if (rc < 0)
        shop_refuse(sh, rc, why);
    else
        place(sh, r, o);
}
