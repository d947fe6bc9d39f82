/* Sessions as the API shows them. */
#include "ctrl/arranged.h"
#include "ctrl/session_priv.h"
#include "ctrl/watch.h"

typedef Scistream__Gateway__V1__Session SessionMsg;
typedef Scistream__Gateway__V1__Channel ChannelMsg;
typedef Scistream__Gateway__V1__HopState HopMsg;
typedef Scistream__Gateway__V1__PassedOver PassedMsg;
typedef Scistream__Gateway__V1__FlowState FlowMsg;

static uint64_t age_ms(uint64_t born_ns) { return (now_ns() - born_ns) / NS_PER_MS; }

/* The reply is built with malloc throughout, as protobuf-c's own free_unpacked expects. */
static HopMsg *hop_message(const struct shop *sh)
{
    const struct hop_report *r = &sh->h.report;
    HopMsg *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__hop_state__init(m);
    m->peer = mem_strdup(r->peer);
    m->transport = mem_strdup(r->transport);
    m->device = mem_strdup(r->device);
    m->security = mem_strdup(r->security);
    m->state = mem_strdup(attach_state_name(sh->h.at.state));
    m->dialed = !sh->h.at.server;
    if (!*r->passed_over)
        return m;
    PassedMsg *p = mem_zalloc(1, sizeof(*p));
    scistream__gateway__v1__passed_over__init(p);
    p->transport = mem_strdup("");
    p->reason = mem_strdup(r->passed_over);
    m->passed_over = mem_zalloc(1, sizeof(PassedMsg *));
    m->passed_over[m->n_passed_over++] = p;
    return m;
}

static HopMsg *plain_message(const struct splain *p)
{
    HopMsg *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__hop_state__init(m);
    m->peer = mem_strdup(p->peer);
    m->transport = mem_strdup("tcp");
    m->device = mem_strdup("tcp");
    m->security = mem_strdup("plaintext");
    m->state = mem_strdup(p->up ? "up" : p->dialed ? "connecting" : "waiting");
    m->dialed = p->dialed;
    return m;
}

static HopMsg *side_message(const struct schannel *c, unsigned side)
{
    return c->hop[side] ? hop_message(c->hop[side]) : c->plain[side].here ? plain_message(&c->plain[side]) : NULL;
}

/* Fields that ChannelMsg and FlowMsg share. */
#define SET_COUNTERS(m, f) \
    do { \
        (m)->bytes_in = stats_get(&(f)->put); \
        (m)->bytes_out = stats_get(&(f)->rel); \
        (m)->wait_source_ms = stats_get(&(f)->wait_ns[WAIT_SOURCE]) / NS_PER_MS; \
        (m)->wait_credits_ms = stats_get(&(f)->wait_ns[WAIT_CREDITS]) / NS_PER_MS; \
        (m)->wait_sink_ms = stats_get(&(f)->wait_ns[WAIT_SINK]) / NS_PER_MS; \
        (m)->waiting_for = mem_strdup(watch_waiting_for(f)); \
    } while (0)

static FlowMsg *flow_message(const struct stats_flow *f)
{
    FlowMsg *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__flow_state__init(m);
    SET_COUNTERS(m, f);
    return m;
}

ChannelMsg *schannel_message(const struct schannel *c)
{
    ChannelMsg *m = mem_zalloc(1, sizeof(*m));
    const struct stats_channel *st = c->w ? pool_channel_stats(c->w, &c->pc) : NULL;
    scistream__gateway__v1__channel__init(m);
    m->number = c->number;
    m->state = mem_strdup(sc_state_name(c->state));
    m->worker = c->w ? c->w->index : 0;
    m->age_ms = age_ms(c->born_ns);
    m->window = c->window;
    if (st)
        SET_COUNTERS(m, &st->flow[0]);
    if (st && c->duplex)
        m->back = flow_message(&st->flow[1]);
    m->source = side_message(c, SOURCE_SIDE);
    m->sink = side_message(c, SINK_SIDE);
    return m;
}

static size_t list_length(const struct list *l)
{
    size_t n = 0;
    list_for_each(i, l)
        n++;
    return n;
}

static SessionMsg *session_message(const struct sessions *ss, const struct session *s)
{
    SessionMsg *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__session__init(m);
    m->uid = mem_strdup(s->uid);
    m->route = mem_strdup(s->route->c->name);
    m->class_ = mem_strdup(shares_class(ss->c.shares, s->share, &m->rate));
    m->age_ms = age_ms(s->born_ns);
    m->channels = mem_zalloc(list_length(&s->channels) + 1, sizeof(*m->channels));
    list_for_each(n, &s->channels)
        m->channels[m->n_channels++] = schannel_message(list_entry(n, struct schannel, node));
    return m;
}

static bool is_of(const struct session *s, const char *route) { return !*route || str_eq(s->route->c->name, route); }

SessionsReply *sessions_reply_new(void)
{
    SessionsReply *r = mem_zalloc(1, sizeof(*r));
    scistream__gateway__v1__sessions_reply__init(r);
    return r;
}

void sessions_list(struct sessions *ss, const char *uid, const char *route, SessionsReply *r)
{
    r->sessions = mem_zalloc(list_length(&ss->sessions) + 1, sizeof(*r->sessions));
    list_for_each(n, &ss->sessions) {
        const struct session *s = list_entry(n, struct session, node);
        if ((!*uid || str_eq(uid, s->uid)) && is_of(s, route))
            r->sessions[r->n_sessions++] = session_message(ss, s);
    }
}

/* A channel whose end is counted is in the sums of what is over. */
void sessions_tally(const struct sessions *ss)
{
    _Static_assert(SC_CLOSING + 1 == TALLY_STATES, "the states of a channel");
    uint64_t now = now_ns();
    list_for_each(n, &ss->sessions) {
        const struct session *s = list_entry(n, struct session, node);
        struct tally_route *r = tally_route(ss->c.tally, s->route->c->name);
        list_for_each(k, &s->channels) {
            const struct schannel *c = list_entry(k, struct schannel, node);
            const struct stats_channel *st = c->w && !c->counted ? pool_channel_stats(c->w, &c->pc) : NULL;
            r->now.channels[c->state]++;
            if (st)
                tally_channel(r, st, now);
        }
    }
}

bool sessions_know(const struct sessions *ss, const char *route)
{
    list_for_each(n, &ss->sessions)
        if (is_of(list_entry(n, struct session, node), route))
            return true;
    return false;
}

void sessions_reply_free(SessionsReply *r) { scistream__gateway__v1__sessions_reply__free_unpacked(r, NULL); }
