/* Sides of a channel that are plain TCP peers: applications that know nothing of gateways. They cannot attach, nor confirm. */
#include <stdio.h>

#include "ctrl/session_priv.h"
#include "src/core/err.h"
#include "src/core/log.h"

bool side_is_up(const struct schannel *c, unsigned side)
{
    return c->plain[side].here ? c->plain[side].up : c->hop[side] && hop_is_up(&c->hop[side]->h);
}

const char *side_text(const struct schannel *c, unsigned side, char *out, size_t size)
{
    const struct hop_report *r = c->hop[side] ? &c->hop[side]->h.report : NULL;
    if (c->plain[side].here)
        snprintf(out, size, "%s by tcp", c->plain[side].peer);
    else if (r)
        snprintf(out, size, "%s by %s on %s (%s)%s%s", r->peer, r->transport, r->device, r->security, *r->passed_over ? "; passed over " : "",
                 r->passed_over);
    else
        snprintf(out, size, "discarded by probe");
    return out;
}

static void tell_hop(struct schannel *c, unsigned side, Scistream__Worker__TcpPeer *peer, uint64_t ticket)
{
    Scistream__Worker__Hop h = SCISTREAM__WORKER__HOP__INIT;
    char transport[] = "tcp";
    h.side = (Scistream__Worker__Side)side;
    h.how = SCISTREAM__WORKER__HOP__HOW__CONNECT;
    h.transport = transport;
    h.tcp = peer;
    h.ticket = ticket;
    pool_channel_hop(c->w, &c->pc, &h);
}

void splain_adopt(struct schannel *c, unsigned side)
{
    Scistream__Worker__TcpPeer peer = SCISTREAM__WORKER__TCP_PEER__INIT;
    peer.keep_ns = c->route->c->keepalive;
    tell_hop(c, side, &peer, c->plain[side].ticket);
    c->plain[side].ticket = 0;
}

void splain_dial(struct schannel *c, unsigned side)
{
    Scistream__Worker__TcpPeer peer;
    struct splain *p = &c->plain[side];
    const struct route_place *to = c->route->n_places ? &c->route->place[c->number % c->route->n_places] : NULL;
    p->here = p->dialed = true;
    snprintf(p->peer, sizeof(p->peer), "%s%s", to ? CONF_TCP : c->route->c->connect, to ? to->name : "");
    doors_peer(c->ss->c.doors, c->route, &peer);
    if (to) {
        peer.addresses = to->addresses;
        peer.n_addresses = strv_len(to->addresses);
        peer.port = to->port;
    }
    tell_hop(c, side, &peer, 0);
}

static void drop(struct pool_worker *w, uint64_t ticket)
{
    Scistream__Worker__Drop m = SCISTREAM__WORKER__DROP__INIT;
    ToWorker t = SCISTREAM__WORKER__TO_WORKER__INIT;
    m.ticket = ticket;
    t.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_DROP;
    t.drop = &m;
    (void)pool_send(w, &t, -1); /* a dead worker has dropped it */
}

void splain_forget(struct schannel *c)
{
    for (unsigned side = 0; side < HOP_SIDES; side++) {
        if (c->plain[side].ticket && c->w)
            drop(c->w, c->plain[side].ticket);
        c->plain[side].ticket = 0;
    }
}

static bool waits_at(const struct schannel *c, const struct pool_worker *w)
{
    return c->w == w && (c->plain[SOURCE_SIDE].ticket || c->plain[SINK_SIDE].ticket);
}

void sessions_worker_died(struct sessions *ss, const struct pool_worker *w)
{
    list_for_each_safe(n, &ss->sessions)
        list_for_each_safe(k, &list_entry(n, struct session, node)->channels) {
            struct schannel *c = list_entry(k, struct schannel, node);
            if (!waits_at(c, w))
                continue;
            c->plain[SOURCE_SIDE].ticket = c->plain[SINK_SIDE].ticket = 0;
            schannel_abort(c, -SST_EWORKER, "the worker that had accepted its TCP connection died");
        }
}

static void refuse(struct sessions *ss, struct pool_worker *w, const Scistream__Worker__Came *m, const char *why)
{
    static struct log_gate gate = LOG_GATE;
    const struct route *r = doors_route(ss->c.doors, m->door);
    log_gated(&gate, LOG_LEVEL_WARN, "%s: %s refused: %s", doors_name(ss->c.doors, m->door), m->peer, why);
    if (r)
        tally_route(ss->c.tally, r->c->name)->kept.refused++;
    drop(w, m->ticket);
}

void sessions_came(struct sessions *ss, struct pool_worker *w, const Scistream__Worker__Came *m)
{
    struct route *r = doors_route(ss->c.doors, m->door);
    unsigned side = r && r->c->dial ? SINK_SIDE : SOURCE_SIDE;
    struct schannel *c = r && !r->gone && !ss->draining ? session_place(ss, r, side) : NULL;
    if (!c) {
        refuse(ss, w, m, !r || r->gone ? "there is no such route any more" : ss->draining ? ss->draining : "all channels are taken: raise channels");
        return;
    }
    bool first = schannel_adopt(c, ss);
    c->w = w;
    c->plain[side].here = true;
    c->plain[side].ticket = m->ticket;
    str_copy(c->plain[side].peer, sizeof(c->plain[side].peer), m->peer);
    if (first)
        schannel_opened(c);
    if (side_here(c, !side) || r->connects)
        schannel_open(c);
    else
        schannel_wait_other(c, side, 0);
}

static bool waits_with(const struct schannel *c, const struct pool_worker *w, uint64_t ticket)
{
    return c->w == w && c->state == SC_WAITING && c->plain[SOURCE_SIDE].ticket == ticket;
}

void sessions_left(struct sessions *ss, const struct pool_worker *w, uint64_t ticket)
{
    list_for_each(n, &ss->sessions) {
        const struct session *s = list_entry(n, struct session, node);
        if (s->waiting == 0)
            continue;
        list_for_each(k, &s->channels)
            if (waits_with(list_entry(k, struct schannel, node), w, ticket)) {
                schannel_abort(list_entry(k, struct schannel, node), -SST_ERESET, "the TCP peer left while it waited");
                return;
            }
    }
}
