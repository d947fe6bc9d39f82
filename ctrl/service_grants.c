/* Gateway.Grant, Renew, Revoke and Grants: sessions for those who get a ticket. Secrets are in the replies to Grant and Renew, and nowhere else. */
#include <stdio.h>

#include "ctrl/service_arrange.h"
#include "ctrl/service_arranged.h"
#include "ctrl/service_scistream.h"
#include "src/core/err.h"
#include "src/core/log.h"

#define LIFE_S (24ULL * 3600)
#define LOCATIONS 3

typedef Scistream__Gateway__V1__GrantRequest GrantRequest;
typedef Scistream__Gateway__V1__RenewRequest RenewRequest;
typedef Scistream__Gateway__V1__RevokeRequest RevokeRequest;
typedef Scistream__Gateway__V1__GrantsReply GrantsReply;

static char *unconst(const char *s) { return (char *)(uintptr_t)s; } /* protobuf-c's strings are not const */
static uint64_t wall_s(void) { return (uint64_t)time(NULL); }

/* ------------------------------------------------------------ whether it may be changed */

/* To those that change something: not while another program is taking over what there is. */
bool service_may_change(struct grpc_call *c)
{
    const struct service *s = grpc_server_user(c);
    if (s->grants->frozen)
        grpc_finish(c, GRPC_UNAVAILABLE, s->grants->frozen);
    return !s->grants->frozen;
}

/* ------------------------------------------------------------ where it is reached */

static void add_location(GrantReply *r, const char *host, uint16_t port)
{
    char back[ADDR_HOST_MAX + 1], why[160];
    char *text = mem_printf(strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
    uint16_t same;
    if (r->n_addresses < LOCATIONS && *host && addr_parse_hostport(text, 0, back, &same, why, sizeof(why)) == 0)
        r->addresses[r->n_addresses++] = text;
    else
        free(text);
}

static bool is_any(const char *host)
{
    union sockaddr_any a;
    if (!*host)
        return true;
    return addr_numeric(host, 0, &a) == 0 && (a.sa.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&a.in6.sin6_addr) : a.in.sin_addr.s_addr == 0);
}

/* What the configuration tells peers, then where it listens; its name where that is everywhere. */
static void add_locations(const struct service *s, GrantReply *r)
{
    char host[ADDR_HOST_MAX + 1], why[160];
    const char *advertise = s->conf->g.advertise;
    uint16_t port;
    r->addresses = mem_zalloc(LOCATIONS, sizeof(*r->addresses));
    if (addr_parse_hostport(s->conf->g.listen, ADDR_PORT_DEFAULT, host, &port, why, sizeof(why)) < 0)
        return;
    if (*advertise)
        add_location(r, advertise, port);
    if (!is_any(host) && !str_eq(host, advertise))
        add_location(r, host, port);
    if (is_any(host))
        add_location(r, s->name, port);
}

void service_reply_ticket(struct grpc_call *c, GrantReply *r)
{
    const struct service *s = grpc_server_user(c);
    char pin[TLS_PIN_TEXT], *pins[] = { pin };
    tls_ctx_pin(*s->tls, pin);
    r->pins = pins;
    r->n_pins = 1;
    add_locations(s, r);
    service_reply(c, &r->base);
    for (size_t i = 0; i < r->n_addresses; i++)
        free(r->addresses[i]);
    free(r->addresses);
}

/* ------------------------------------------------------------ Grant and Renew */

void service_reply_grant(struct grpc_call *c, const struct grant *g)
{
    GrantReply r = SCISTREAM__GATEWAY__V1__GRANT_REPLY__INIT;
    r.uid = unconst(g->uid);
    r.route = g->route->c->name;
    r.channels = MIN(g->channels, conf_route_channels(g->route->c));
    r.issued_s = g->issued_s;
    r.expires_s = g->expires_s;
    r.send_secret = (ProtobufCBinaryData){ g->secret[GRANT_SEND].len, g->secret[GRANT_SEND].data };
    r.recv_secret = (ProtobufCBinaryData){ g->secret[GRANT_RECV].len, g->secret[GRANT_RECV].data };
    service_reply_arranged(&r, g);
    service_reply_ticket(c, &r);
}

/* The roles that are asked for must be able to attach. NULL, or why not. */
static const char *check_roles(const GrantRequest *q, const struct grant_terms *t)
{
    for (size_t i = 0; i < q->n_roles; i++) {
        bool recv = q->roles[i] == SCISTREAM__GATEWAY__V1__ROLE__RECV;
        if (!recv && q->roles[i] != SCISTREAM__GATEWAY__V1__ROLE__SEND)
            return "a role is SEND or RECV";
        if (!t->role[recv ? GRANT_RECV : GRANT_SEND])
            return recv ? "receivers do not attach to this route: it goes on to another gateway"
                        : "senders do not attach to this route: it brings what comes from another gateway";
    }
    return NULL;
}

/* NULL, or why not. */
static const char *find_terms(const struct route *r, const GrantRequest *q, struct grant_terms *t)
{
    uint32_t most = conf_route_channels(r->c);
    if (!conf_route_attaches(r->c))
        return "nobody attaches to this route: it is between TCP peers";
    if (q->channels > most)
        return "the route has fewer channels than that (--channels; channels of the route)";
    if (q->lifetime_s > GRANT_LIFE_MAX_S)
        return "a session can be granted for 366 days at most";
    t->channels = q->channels ? q->channels : most;
    t->life_s = q->lifetime_s ? q->lifetime_s : LIFE_S;
    t->role[GRANT_SEND] = !r->connects || r->tcp || !r->c->dial;
    t->role[GRANT_RECV] = !r->connects || r->tcp || r->c->dial;
    return check_roles(q, t);
}

/* He administrates; his policy may bound what he grants all the same. */
static int judge_terms(const struct service *s, const struct caller *who, const struct grant_terms *t, char *why, size_t size)
{
    uint64_t window = t->route->c->window;
    const struct demand d = { .role = ROLE_ADMIN, .channels = t->channels, .window = window,
                              .ring_memory = scistream_ring_memory(s, who->principal) + t->channels * window, .lifetime_ns = t->life_s * NS_PER_S };
    return policy_judge(who_policy(s->who), who, &d, why, size);
}

static void make_grant(struct grpc_call *c, const struct caller *who, struct route *r, const GrantRequest *q)
{
    char by[SERVICE_NAME], why[POLICY_WHY] = "";
    const struct service *s = grpc_server_user(c);
    struct grant_terms t = { .route = r, .by = who->principal, .from = who->from };
    const char *problem = find_terms(r, q, &t);
    bool too_much = !problem && judge_terms(s, who, &t, why, sizeof(why)) < 0;
    struct grant *g = problem || too_much ? NULL : grants_add(s->grants, &t, wall_s());
    if (problem) {
        grpc_finish(c, GRPC_INVALID_ARGUMENT, problem);
    } else if (too_much) {
        who_audit(who, "", "Grant", r->c->name, why);
        grpc_finish(c, GRPC_RESOURCE_EXHAUSTED, why);
    } else if (!g) {
        grpc_finish(c, GRPC_RESOURCE_EXHAUSTED, "this gateway has as many granted sessions as it keeps: revoke one, or let one expire");
    } else {
        log_info("session %s granted on route %s: %u channel%s, %llu s, to %s", g->uid, r->c->name, g->channels, g->channels == 1 ? "" : "s",
                 (unsigned long long)t.life_s, service_name_of(who, by));
        service_reply_grant(c, g);
    }
}

static void run_grant(struct grpc_call *c, const struct caller *who, const uint8_t *data, size_t len)
{
    const struct service *s = grpc_server_user(c);
    GrantRequest *q = scistream__gateway__v1__grant_request__unpack(NULL, len, data);
    struct route *r = q ? route_find(s->routes, q->route) : NULL;
    if (!q)
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "GrantRequest cannot be read");
    else if (!r)
        grpc_finish(c, GRPC_NOT_FOUND, "no route of that name: scistreamctl info lists them");
    else if (service_may_change(c))
        make_grant(c, who, r, q);
    scistream__gateway__v1__grant_request__free_unpacked(q, NULL);
}

static void on_grant(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Grant", .subject = service_subject, .run = run_grant };
    service_allow(c, &what, data, len);
}

static struct grant *find(struct grpc_call *c, const char *uid)
{
    const struct service *s = grpc_server_user(c);
    struct grant *g = arranged_find(s->grants, uid); /* as long as somebody uses it */
    if (!g)
        g = grants_find(s->grants, uid, wall_s());
    if (!g)
        grpc_finish(c, GRPC_NOT_FOUND, "no granted session with that uid: it is unknown, has expired, or was revoked");
    return g;
}

static void renew_grant(struct grpc_call *c, const struct caller *who, struct grant *g, uint64_t life_s)
{
    char by[SERVICE_NAME];
    const struct service *s = grpc_server_user(c);
    if (g->arranged && g->arranged->revoked) {
        grpc_finish(c, GRPC_FAILED_PRECONDITION, "the session was revoked: what runs there ends with its last channel; arrange another one");
        return;
    }
    grants_renew(s->grants, g, life_s, wall_s());
    log_info("session %s renewed: %llu s from now, by %s", g->uid, (unsigned long long)life_s, service_name_of(who, by));
    service_reply_grant(c, g);
}

static void run_renew(struct grpc_call *c, const struct caller *who, const uint8_t *data, size_t len)
{
    RenewRequest *q = scistream__gateway__v1__renew_request__unpack(NULL, len, data);
    struct grant *g = NULL;
    if (!q || q->lifetime_s > GRANT_LIFE_MAX_S)
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "a readable RenewRequest is expected, with 366 days at most");
    else if (service_may_change(c) && !service_arranged_renew(c, who, q->uid, q->lifetime_s ? q->lifetime_s : LIFE_S) && (g = find(c, q->uid)))
        renew_grant(c, who, g, q->lifetime_s ? q->lifetime_s : LIFE_S);
    scistream__gateway__v1__renew_request__free_unpacked(q, NULL);
}

static void on_renew(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Renew", .extends = true, .audience = SERVICE_OWNERS, .subject = service_subject, .run = run_renew };
    service_allow(c, &what, data, len);
}

/* ------------------------------------------------------------ Revoke */

static void revoke_grant(struct grpc_call *c, const struct caller *who, struct grant *g, bool abort)
{
    char by[SERVICE_NAME];
    const struct service *s = grpc_server_user(c);
    Scistream__Gateway__V1__RevokeReply r = SCISTREAM__GATEWAY__V1__REVOKE_REPLY__INIT;
    char uid[GRANT_UID];
    str_copy(uid, sizeof(uid), g->uid);
    if (abort) {
        AUTO_FREE char *text = mem_printf("%s: the session was revoked", err_text(-SST_ERELEASED));
        int n = sessions_abort(s->sessions, uid, -1, -SST_ERELEASED, text);
        r.aborted = (uint32_t)MAX(n, 0);
        r.told_pid = s->admin->revoked(s->admin_user, uid);
    }
    grants_revoke(s->grants, g);
    r.running = sessions_open(s->sessions, uid);
    log_info("session %s revoked by %s: %u channel%s aborted, %u run%s on", uid, service_name_of(who, by), r.aborted, r.aborted == 1 ? "" : "s", r.running,
             r.running == 1 ? "s" : "");
    service_reply(c, &r.base);
}

static void run_revoke(struct grpc_call *c, const struct caller *who, const uint8_t *data, size_t len)
{
    RevokeRequest *q = scistream__gateway__v1__revoke_request__unpack(NULL, len, data);
    struct grant *g = NULL;
    if (!q)
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "RevokeRequest cannot be read");
    else if (service_may_change(c) && !service_arranged_revoke(c, who, q->uid, q->abort) && (g = find(c, q->uid)))
        revoke_grant(c, who, g, q->abort);
    scistream__gateway__v1__revoke_request__free_unpacked(q, NULL);
}

static void on_revoke(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Revoke", .audience = SERVICE_OWNERS, .subject = service_subject, .run = run_revoke };
    service_allow(c, &what, data, len);
}

/* ------------------------------------------------------------ Grants */

/* Built with malloc throughout, as protobuf-c's own free_unpacked expects. */
GrantState *service_grant_state(const struct service *s, const struct grant *g)
{
    GrantState *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__grant_state__init(m);
    m->uid = mem_strdup(g->uid);
    m->route = mem_strdup(g->route->c->name);
    m->channels = MIN(g->channels, conf_route_channels(g->route->c));
    m->issued_s = g->issued_s;
    m->expires_s = g->expires_s;
    m->roles = mem_zalloc(GRANT_ROLES, sizeof(*m->roles));
    if (g->secret[GRANT_SEND].len)
        m->roles[m->n_roles++] = SCISTREAM__GATEWAY__V1__ROLE__SEND;
    if (g->secret[GRANT_RECV].len)
        m->roles[m->n_roles++] = SCISTREAM__GATEWAY__V1__ROLE__RECV;
    m->open = sessions_open(s->sessions, g->uid);
    m->senders = g->attached[GRANT_SEND];
    m->receivers = g->attached[GRANT_RECV];
    m->by = mem_strdup(g->by);
    m->from = mem_strdup(g->from);
    service_show_arranged(m, g);
    return m;
}

static void run_grants(struct grpc_call *c, const struct caller *who UNUSED, const uint8_t *data, size_t len)
{
    const struct service *s = grpc_server_user(c);
    Scistream__Gateway__V1__GrantsRequest *q = scistream__gateway__v1__grants_request__unpack(NULL, len, data);
    GrantsReply *r = mem_zalloc(1, sizeof(*r));
    scistream__gateway__v1__grants_reply__init(r);
    r->grants = mem_zalloc(s->grants->n + requests_count(s->requests) + 1, sizeof(*r->grants));
    list_for_each(n, &s->grants->all)
        if (!requests_find(s->requests, list_entry(n, struct grant, node)->uid)) /* one that stands beside it is a part of it */
            r->grants[r->n_grants++] = service_grant_state(s, list_entry(n, struct grant, node));
    service_arranged_list(s, r);
    if (q)
        service_reply(c, &r->base);
    else
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "GrantsRequest cannot be read");
    scistream__gateway__v1__grants_reply__free_unpacked(r, NULL);
    scistream__gateway__v1__grants_request__free_unpacked(q, NULL);
}

static void on_grants(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Grants", .looks = true, .run = run_grants };
    service_allow(c, &what, data, len);
}

/* ------------------------------------------------------------ rows */

const struct grpc_handlers service_grant_handlers = { .message = on_grant, .closed = service_gone };
const struct grpc_handlers service_renew_handlers = { .message = on_renew, .closed = service_gone };
const struct grpc_handlers service_revoke_handlers = { .message = on_revoke, .closed = service_gone };
const struct grpc_handlers service_grants_handlers = { .message = on_grants, .closed = service_gone };
