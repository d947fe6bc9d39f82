/* Gateway.Arrange and Show: sessions that users arrange between two gateways.
 *
 * Happy path: who is it (service_allow.c) -> what does he ask for (arrange.h) -> names are looked up -> may he (policy.c), with these addresses -> it is
 * made, in ctrl/requests.h or ctrl/arranged.h -> the reply has what goes into the tickets.
 * What fails: each of these ends the call, with a line of the audit that says why; nothing is left then. A caller that goes away while names are looked up
 * is forgotten.
 */
#include "ctrl/service_arrange.h"

#include <errno.h>
#include <stdio.h>

#include "ctrl/arrange.h"
#include "ctrl/service_arranged.h"
#include "ctrl/service_scistream.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/ticket.h"

typedef Scistream__Gateway__V1__Session SessionMsg;

/* A call. */
struct arranging {
    struct grpc_call *call;
    struct service *s;
    struct caller who;
    ArrangeRequest *q;
    struct arrange a;
    struct lookups *lookups; /* NULL: it does not wait for them */
};

static char *unconst(const char *s) { return (char *)(uintptr_t)s; } /* protobuf-c's strings are not const */
static uint64_t wall_s(void) { return (uint64_t)time(NULL); }

/* ------------------------------------------------------------ the end of a call */

static void arranging_free(struct arranging *x)
{
    if (!x)
        return;
    lookups_drop(x->lookups);
    if (x->q && x->q->dial && x->q->dial->secret.len)
        secret_wipe(x->q->dial->secret.data, x->q->dial->secret.len);
    scistream__gateway__v1__arrange_request__free_unpacked(x->q, NULL);
    strv_free(x->a.names);
    free(x);
}

static void on_arrange_closed(struct grpc_call *c, enum grpc_status status, const char *text)
{
    service_gone(c, status, text);
    arranging_free(grpc_user(c));
}

static void refuse(const struct arranging *x, const struct request_refusal *no)
{
    who_audit(&x->who, "", "Arrange", x->q ? x->q->uid : "", no->why);
    grpc_finish(x->call, no->status, no->why);
}

/* ------------------------------------------------------------ where it leads */

/* n_where: all addresses, with their ports. */
struct goals { struct request_target *t; char **texts, **addresses; union sockaddr_any *where; size_t n, n_where; };

static void goals_free(struct goals *g)
{
    strv_free(g->texts);
    strv_free(g->addresses);
    free(g->where);
    free(g->t);
}

static size_t count_addresses(const struct request_target *t, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += t[i].n;
    return count;
}

/* As they were named. */
static void take_targets(const struct request_target *t, size_t n, struct goals *g)
{
    g->t = mem_zalloc(n + 1, sizeof(*g->t));
    g->where = mem_zalloc(count_addresses(t, n) + 1, sizeof(*g->where));
    for (size_t i = 0; i < n; i++) {
        if (t[i].n == 0)
            continue;
        g->t[g->n++] = t[i];
        memcpy(&g->where[g->n_where], t[i].where, t[i].n * sizeof(*g->where));
        g->n_where += t[i].n;
    }
}

static void set_port(union sockaddr_any *a, uint16_t port)
{
    *(a->sa.sa_family == AF_INET6 ? &a->in6.sin6_port : &a->in.sin_port) = htons(port);
}

/* Each port of the other gateway, at any of its addresses. */
static void take_dial_ports(const struct arrange *a, const struct request_target *t, size_t n, struct goals *g)
{
    char host[ADDR_HOST_MAX + 1], why[200];
    size_t count = count_addresses(t, n), k = 0;
    g->t = mem_zalloc(a->n_dial_ports, sizeof(*g->t));
    g->texts = mem_zalloc(a->n_dial_ports + 1, sizeof(*g->texts));
    g->addresses = mem_zalloc(count + 1, sizeof(*g->addresses));
    g->where = mem_zalloc(a->n_dial_ports * count + 1, sizeof(*g->where));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < t[i].n; j++)
            g->addresses[k++] = mem_strdup(t[i].addresses[j]);
    addr_parse_hostport(a->names[0], 0, host, &(uint16_t){ 0 }, why, sizeof(why));
    for (; g->n < a->n_dial_ports; g->n++) {
        union sockaddr_any *here = &g->where[g->n_where];
        g->texts[g->n] = mem_printf(strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, a->dial_ports[g->n]);
        g->t[g->n] = (struct request_target){ .text = g->texts[g->n], .addresses = g->addresses, .n = count, .port = a->dial_ports[g->n], .where = here };
        for (size_t i = 0; i < n; here += t[i++].n) {
            memcpy(here, t[i].where, t[i].n * sizeof(*here));
            for (size_t j = 0; j < t[i].n; j++)
                set_port(&here[j], a->dial_ports[g->n]);
        }
        g->n_where += count;
    }
}

/* Every target must be there; of the other gateway's addresses one. */
static bool all_found(const struct arranging *x, const struct request_target *t, size_t n, struct request_refusal *no)
{
    for (size_t i = 0; i < n; i++) {
        if (t[i].n > 0 || (x->a.cell != ARRANGE_INBOUND && count_addresses(t, n) > 0))
            continue;
        no->status = GRPC_INVALID_ARGUMENT;
        snprintf(no->why, sizeof(no->why), "%s: %s", x->a.cell == ARRANGE_INBOUND ? "targets" : "dial.addresses", t[i].why);
        return false;
    }
    return true;
}

/* ------------------------------------------------------------ may he */

static uint64_t rates_of(const struct grants *gs, const char *by)
{
    uint64_t sum = 0;
    list_for_each(n, &gs->all) {
        const struct grant *g = list_entry(n, struct grant, node);
        sum += g->arranged && !g->arranged->beside && str_eq(g->by, by) ? g->arranged->rate : 0;
    }
    return sum;
}

static struct demand demand_of(const struct arranging *x, const struct goals *g)
{
    const struct request_sums own = requests_sums(x->s->requests, x->who.principal);
    return (struct demand){ .role = x->a.role, .targets = g->where, .n_targets = g->n_where, .provisioned = x->a.provisioned, .channels = x->a.channels,
                            .sessions = own.sessions + arranged_count(x->s->grants, x->who.principal) + 1,
                            .rate = x->a.provisioned ? own.rate + rates_of(x->s->grants, x->who.principal) + x->a.rate : 0,
                            .lifetime_ns = x->a.life_s * NS_PER_S };
}

/* Since 1970; 0: never. Who did not say how long gets as long as he may have. */
static uint64_t ends_s(const struct arranging *x, uint64_t now_s)
{
    const struct service *s = x->s;
    const struct policy_row *row = s->conf->scistream.auth == CONF_AUTH_POLICY && !x->who.admin ? policy_row(who_policy(s->who), &x->who, x->a.role) : NULL;
    uint64_t most = row && row->lifetime_ns != TIME_FOREVER ? row->lifetime_ns / NS_PER_S : 0, life_s = x->a.life_s ? x->a.life_s : most;
    return life_s ? now_s + life_s : 0;
}

/* The one place where a session that may be had is let in, or there is no room for it. */
static bool admit(const struct arranging *x, struct request_refusal *no)
{
    const struct service *s = x->s;
    uint64_t n = requests_count(s->requests) + arranged_count(s->grants, NULL);
    if (n < (uint64_t)s->conf->scistream.sessions)
        return true;
    no->status = GRPC_RESOURCE_EXHAUSTED;
    snprintf(no->why, sizeof(no->why), "the gateway has its %lld sessions: try again later", (long long)s->conf->scistream.sessions);
    return false;
}

/* The one place where such a session ends. */
void service_arranged_over(const struct service *s, const struct request *r, const char *text)
{
    struct grant *g = r->ticket ? arranged_find(s->grants, r->uid) : NULL;
    if (g && g->arranged->beside)
        grants_end(s->grants, g, "is over", text);
}

/* ------------------------------------------------------------ the reply */

static void reply_arranged(struct grpc_call *c, const struct request *r)
{
    const struct service *s = grpc_server_user(c);
    GrantReply m = SCISTREAM__GATEWAY__V1__GRANT_REPLY__INIT;
    char pin[TLS_PIN_TEXT], *pins[] = { pin };
    AUTO_FREE uint32_t *ports = mem_zalloc(r->n, sizeof(*ports));
    for (unsigned i = 0; i < r->n; i++)
        ports[i] = doors_port(s->doors, r->number[i]);
    tls_ctx_pin(*s->tls, pin);
    m.uid = r->uid;
    m.route = unconst(DOORS_SESSIONS);
    m.channels = r->n;
    m.issued_s = r->ticket->issued_s;
    m.expires_s = r->ticket->expires_s;
    m.ends_s = r->ticket->ends_s;
    m.pins = pins;
    m.n_pins = 1;
    m.class_ = unconst(r->ticket->provisioned ? "provisioned" : "best effort");
    m.rate = r->ticket->rate;
    m.security = unconst(scistream_security(s, r));
    service_add_locations(s, &m);
    if (r->cons) {
        m.listeners = r->listeners;
        m.n_listeners = r->n;
    } else {
        m.wan_secret = (ProtobufCBinaryData){ REQUEST_KEY, r->ticket->key };
        m.ports = ports;
        m.n_ports = r->n;
    }
    service_reply(c, &m.base);
    for (size_t i = 0; i < m.n_addresses; i++)
        free(m.addresses[i]);
    free(m.addresses);
}

/* ------------------------------------------------------------ making it */

static void fill_ticket(const struct arranging *x, struct request_ticket *t)
{
    uint64_t now_s = wall_s();
    *t = (struct request_ticket){ .issued_s = now_s, .expires_s = now_s + x->a.ticket_s, .ends_s = ends_s(x, now_s), .rate = x->a.rate,
                                  .provisioned = x->a.provisioned };
    if (x->a.cell == ARRANGE_OUTBOUND)
        memcpy(t->key, x->q->dial->secret.data, REQUEST_KEY);
    else
        secret_random(t->key, REQUEST_KEY);
}

static struct arranged_place *places_of(const struct goals *g)
{
    struct arranged_place *p = mem_zalloc(g->n + 1, sizeof(*p));
    for (size_t i = 0; i < g->n; i++)
        p[i] = (struct arranged_place){ g->t[i].text, g->t[i].where, g->t[i].n };
    return p;
}

static struct arranged_terms terms_of(const struct arranging *x, int attach)
{
    return (struct arranged_terms){ .channels = x->a.channels, .attach = attach, .ticket_s = x->a.ticket_s, .ends_s = ends_s(x, wall_s()), .by = x->who.principal,
                                    .from = x->who.from, .class_ = x->a.provisioned ? "provisioned" : "best effort", .rate = x->a.rate };
}

static struct grant *add_attached(const struct arranging *x, const struct arranged_terms *t, struct request_refusal *no)
{
    struct arranged_made made = { .g = NULL };
    int rc = arranged_add(x->s->grants, t, wall_s(), &made);
    if (rc == 0)
        return made.g;
    no->status = rc == -EEXIST ? GRPC_ALREADY_EXISTS : rc == -EINVAL ? GRPC_INVALID_ARGUMENT : GRPC_RESOURCE_EXHAUSTED;
    snprintf(no->why, sizeof(no->why), "%s", made.why);
    return NULL;
}

/* By which the other gateway attaches, when its application does, instead of coming to the ports. */
static bool add_beside(const struct arranging *x, const struct request *r, const struct goals *g, struct request_refusal *no)
{
    AUTO_FREE struct arranged_place *places = places_of(g);
    struct arranged_terms t = terms_of(x, -1);
    t.uid = r->uid;
    t.role[GRANT_SEND] = t.role[GRANT_RECV] = t.beside = true;
    t.secret = r->ticket->key;
    t.target = places;
    t.n_targets = g->n;
    return add_attached(x, &t, no);
}

static const struct request *add_transparent(const struct arranging *x, const struct goals *g, struct request_refusal *no)
{
    uint8_t random[(GRANT_UID - 1) / 2];
    char uid[ADDR_ROUTE_MAX + 1], address[ADDR_TEXT];
    struct request_ticket ticket;
    bool outbound = x->a.cell == ARRANGE_OUTBOUND;
    secret_random(random, sizeof(random));
    secret_hex(uid, random, sizeof(random));
    if (*x->q->uid)
        str_copy(uid, sizeof(uid), x->q->uid);
    fill_ticket(x, &ticket);
    const struct request_terms t = { .uid = uid, .principal = x->who.principal, .from = x->who.from, .cons = outbound, .n = x->a.channels,
                                     .address = scistream_address(x->s, grpc_call_conn(x->call), address), .ports = x->a.n_ports ? x->a.ports : NULL,
                                     .targets = g->t, .n_targets = g->n, .ticket = &ticket };
    const struct request *r = requests_arrange(x->s->requests, &t, no);
    secret_wipe(&ticket, sizeof(ticket));
    return r;
}

/* Nothing is left of it where it is refused. */
static const struct request *make_transparent(const struct arranging *x, const struct goals *g, struct request_refusal *no)
{
    const struct request *r = add_transparent(x, g, no);
    if (!r || x->a.cell == ARRANGE_OUTBOUND || add_beside(x, r, g, no))
        return r;
    (void)requests_end(x->s->requests, r->uid, no->why);
    return NULL;
}

static struct grant *make_attached(const struct arranging *x, const struct goals *g, struct request_refusal *no)
{
    bool recv = x->q->attach == SCISTREAM__GATEWAY__V1__ROLE__RECV, dials = x->a.cell == ARRANGE_ATTACHING;
    AUTO_FREE struct arranged_place *places = places_of(g);
    AUTO_FREE char **pins = mem_zalloc(TICKET_PINS + 1, sizeof(*pins));
    struct arranged_terms t = terms_of(x, recv ? GRANT_RECV : GRANT_SEND);
    struct arranged_dial dial = { .gateway = places, .n = g->n, .pins = pins, .recv = recv };
    t.role[GRANT_SEND] = !dials || !recv;
    t.role[GRANT_RECV] = !dials || recv;
    t.uid = *x->q->uid ? x->q->uid : NULL;
    if (dials) {
        memcpy(pins, x->q->dial->pins, x->q->dial->n_pins * sizeof(*pins));
        dial.tls_name = x->q->dial->tls_name;
        dial.secret = x->q->dial->secret.data;
        t.dial = &dial;
    }
    struct grant *made = requests_find(x->s->requests, x->q->uid) ? NULL : add_attached(x, &t, no);
    if (made)
        log_info("session %s arranged for %s from %s: %s, %u channel%s%s%s", made->uid, x->who.principal, x->who.from, recv ? "RECV" : "SEND", t.channels,
                 t.channels == 1 ? "" : "s", dials ? ", attaches at " : "", dials ? places[0].name : "");
    return made;
}

static void make(const struct arranging *x, const struct goals *g)
{
    struct request_refusal no = { .status = GRPC_ALREADY_EXISTS, .why = REQUEST_IN_USE };
    bool transparent = x->a.cell <= ARRANGE_OUTBOUND;
    const struct request *r = transparent ? make_transparent(x, g, &no) : NULL;
    const struct grant *made = transparent ? NULL : make_attached(x, g, &no);
    if (!r && !made) {
        refuse(x, &no);
        return;
    }
    who_audit(&x->who, "", "Arrange", r ? r->uid : made->uid, NULL);
    if (r)
        reply_arranged(x->call, r);
    else
        service_reply_grant(x->call, made);
}

static void decide(struct arranging *x, const struct request_target *t, size_t n)
{
    struct request_refusal no;
    struct goals g = { .n = 0 };
    if (!all_found(x, t, n, &no))
        return refuse(x, &no);
    if (x->a.cell == ARRANGE_OUTBOUND)
        take_dial_ports(&x->a, t, n, &g);
    else
        take_targets(t, n, &g);
    const struct demand d = demand_of(x, &g);
    no.status = scistream_judge(x->s, &x->who, &d, no.why, sizeof(no.why));
    if (no.status == GRPC_OK && admit(x, &no))
        make(x, &g);
    else
        refuse(x, &no);
    goals_free(&g);
}

static void on_known(void *user, const struct request_target *t, size_t n) { decide(user, t, n); }

/* ------------------------------------------------------------ the beginning of a call */

/* Where nobody is asked who he is, everybody is the same, as in scistream.Control. */
static void take_caller(struct arranging *x, const struct caller *who)
{
    x->who = *who;
    if (x->s->conf->scistream.auth == CONF_AUTH_NONE) {
        str_copy(x->who.principal, sizeof(x->who.principal), "anonymous");
        x->who.how = CALLER_ANONYMOUS;
    }
}

static void run_arrange(struct grpc_call *c, const struct caller *who, const uint8_t *data, size_t len)
{
    struct request_refusal no;
    if (!service_may_change(c))
        return;
    struct arranging *x = mem_zalloc(1, sizeof(*x));
    x->call = c;
    x->s = grpc_server_user(c);
    take_caller(x, who);
    x->q = scistream__gateway__v1__arrange_request__unpack(NULL, len, data);
    grpc_set_user(c, x);
    if (!x->q)
        refuse(x, &(struct request_refusal){ GRPC_INVALID_ARGUMENT, "ArrangeRequest cannot be read" });
    else if (!arrange_read(x->q, wall_s(), &x->a, &no))
        refuse(x, &no);
    else if (x->a.names)
        x->lookups = lookups_start(x->s->resolver, x->a.names, on_known, x);
    else
        decide(x, NULL, 0);
}

static void on_arrange(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Arrange", .audience = SERVICE_ANYBODY, .run = run_arrange };
    const struct service *s = grpc_server_user(c);
    if (!s->conf->scistream.enable)
        grpc_finish(c, GRPC_UNIMPLEMENTED, "sessions are not arranged here (scistream { enable = yes } in scistreamd.conf)");
    else if (grpc_user(c))
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "one message is expected");
    else
        service_allow(c, &what, data, len);
}

/* ------------------------------------------------------------ Renew, Revoke, Grants */

enum service_owner service_owner(const struct service *s, const struct caller *c, const char *uid)
{
    const struct request *r = requests_arranged(s->requests, uid);
    const struct grant *g = r ? NULL : arranged_find(s->grants, uid);
    const char *principal = r ? r->principal : g ? g->by : NULL;
    bool nobody_asked = s->conf->scistream.auth == CONF_AUTH_NONE && principal && str_eq(principal, "anonymous");
    return !principal ? SERVICE_NOBODYS : nobody_asked || str_eq(principal, c->principal) ? SERVICE_HIS : SERVICE_OTHERS;
}

bool service_arranged_renew(struct grpc_call *c, const struct caller *who, const char *uid, uint64_t ticket_s)
{
    char by[SERVICE_NAME];
    const struct service *s = grpc_server_user(c);
    const struct request *r = requests_arranged(s->requests, uid);
    if (!r)
        return false;
    if (!requests_renew(s->requests, uid, ticket_s)) {
        grpc_finish(c, GRPC_FAILED_PRECONDITION, "the session was revoked: arrange another");
        return true;
    }
    struct grant *beside = arranged_find(s->grants, uid);
    if (beside)
        grants_renew(s->grants, beside, ticket_s, wall_s());
    log_info("session %s renewed: %llu s from now, by %s", uid, (unsigned long long)ticket_s, service_name_of(who, by));
    reply_arranged(c, r);
    return true;
}

bool service_arranged_revoke(struct grpc_call *c, const struct caller *who, const char *uid, bool abort)
{
    char by[SERVICE_NAME];
    const struct service *s = grpc_server_user(c);
    const struct request *r = requests_arranged(s->requests, uid);
    Scistream__Gateway__V1__RevokeReply m = SCISTREAM__GATEWAY__V1__REVOKE_REPLY__INIT;
    struct doors_sum sum;
    if (!r)
        return false;
    scistream_sum_up(s, r, NULL, &sum);
    *(abort ? &m.aborted : &m.running) = (uint32_t)sum.open + sessions_open(s->sessions, uid);
    log_info("session %s revoked by %s: %u stream%s aborted, %u run%s on", uid, service_name_of(who, by), m.aborted, m.aborted == 1 ? "" : "s", m.running,
             m.running == 1 ? "s" : "");
    struct grant *beside = arranged_find(s->grants, uid);
    if (beside)
        grants_revoke(s->grants, beside);
    if (abort)
        (void)requests_end(s->requests, uid, "the session was revoked");
    else
        requests_revoke(s->requests, uid);
    service_reply(c, &m.base);
    return true;
}

/* Built with malloc throughout, as protobuf-c's own free_unpacked expects. */
static GrantState *state_of(const struct service *s, const struct request *r)
{
    struct doors_sum sum;
    GrantState *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__grant_state__init(m);
    scistream_sum_up(s, r, NULL, &sum);
    m->uid = mem_strdup(r->uid);
    m->route = mem_strdup(DOORS_SESSIONS);
    m->channels = r->n;
    m->issued_s = r->ticket->issued_s;
    m->expires_s = r->ticket->expires_s;
    m->open = (uint32_t)sum.open + sessions_open(s->sessions, r->uid);
    m->closed = r->state == REQUEST_CLOSING;
    m->by = mem_strdup(r->principal);
    m->from = mem_strdup(r->from);
    m->arranged = true;
    m->ends_s = r->ticket->ends_s;
    m->class_ = mem_strdup(r->ticket->provisioned ? "provisioned" : "best effort");
    m->rate = r->ticket->rate;
    m->targets = strv_copy(r->targets);
    m->n_targets = strv_len(r->targets);
    m->listeners = strv_copy(r->listeners);
    m->n_listeners = r->n;
    m->dials = r->cons;
    return m;
}

struct listing { const struct service *s; Scistream__Gateway__V1__GrantsReply *r; };

static void add(void *user, const struct request *r)
{
    struct listing *l = user;
    if (r->ticket)
        l->r->grants[l->r->n_grants++] = state_of(l->s, r);
}

void service_arranged_list(const struct service *s, Scistream__Gateway__V1__GrantsReply *r)
{
    struct listing l = { s, r };
    requests_each(s->requests, add, &l);
}

/* ------------------------------------------------------------ Show */

/* Out of the reply. Of one that has listeners and is attached to there are two: all channels to the last one. NULL: nobody uses it now. */
static SessionMsg *take_session(const struct service *s, const char *uid)
{
    SessionsReply *all = sessions_reply_new();
    sessions_list(s->sessions, uid, "", all);
    service_list_requests(s, uid, "", all);
    SessionMsg *m = all->n_sessions ? all->sessions[--all->n_sessions] : NULL;
    if (all->n_sessions && !m->n_channels) {
        m->channels = all->sessions[0]->channels;
        m->n_channels = all->sessions[0]->n_channels;
        all->sessions[0]->channels = NULL;
        all->sessions[0]->n_channels = 0;
    }
    sessions_reply_free(all);
    return m;
}

static void show(struct grpc_call *c, const char *uid)
{
    const struct service *s = grpc_server_user(c);
    const struct request *r = requests_arranged(s->requests, uid);
    const struct grant *g = arranged_find(s->grants, uid);
    if (!g)
        g = grants_find(s->grants, uid, wall_s());
    if (!r && !g) {
        grpc_finish(c, GRPC_NOT_FOUND, "no session with that uid that has a ticket: it is unknown, has ended, or was revoked");
        return;
    }
    Scistream__Gateway__V1__ShowReply *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__show_reply__init(m);
    m->grant = r ? state_of(s, r) : service_grant_state(s, g);
    m->session = take_session(s, uid);
    service_reply(c, &m->base);
    scistream__gateway__v1__show_reply__free_unpacked(m, NULL);
}

static void run_show(struct grpc_call *c, const struct caller *who UNUSED, const uint8_t *data, size_t len)
{
    Scistream__Gateway__V1__ShowRequest *q = scistream__gateway__v1__show_request__unpack(NULL, len, data);
    if (q)
        show(c, q->uid);
    else
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "ShowRequest cannot be read");
    scistream__gateway__v1__show_request__free_unpacked(q, NULL);
}

static void subject_of_show(const uint8_t *data, size_t len, char uid[SERVICE_UID])
{
    Scistream__Gateway__V1__ShowRequest *q = scistream__gateway__v1__show_request__unpack(NULL, len, data);
    if (q)
        str_copy(uid, SERVICE_UID, q->uid);
    scistream__gateway__v1__show_request__free_unpacked(q, NULL);
}

static void on_show(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Show", .looks = true, .audience = SERVICE_OWNERS, .subject = subject_of_show, .run = run_show };
    service_allow(c, &what, data, len);
}

const struct grpc_handlers service_arrange_handlers = { .message = on_arrange, .closed = on_arrange_closed };
const struct grpc_handlers service_show_handlers = { .message = on_show, .closed = service_gone };
