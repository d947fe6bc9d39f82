/* Gateway.Show; what Renew, Revoke and Grants do with sessions in ctrl/requests.h that have tickets, and how all of them are shown. */
#include <stdio.h>

#include "ctrl/arranged.h"
#include "ctrl/service_arrange.h"
#include "ctrl/service_scistream.h"
#include "src/core/log.h"

typedef Scistream__Gateway__V1__Session SessionMsg;

static char *unconst(const char *s) { return (char *)(uintptr_t)s; } /* protobuf-c's strings are not const */
static uint64_t wall_s(void) { return (uint64_t)time(NULL); }

struct grant *service_beside(const struct service *s, const char *uid)
{
    struct grant *g = arranged_find(s->grants, uid);
    return g && g->arranged->beside ? g : NULL;
}

/* ------------------------------------------------------------ the reply */

void service_reply_request(struct grpc_call *c, const struct request *r)
{
    const struct service *s = grpc_server_user(c);
    GrantReply m = SCISTREAM__GATEWAY__V1__GRANT_REPLY__INIT;
    AUTO_FREE uint32_t *ports = mem_zalloc(r->n, sizeof(*ports));
    for (unsigned i = 0; i < r->n; i++)
        ports[i] = doors_port(s->doors, r->number[i]);
    m.uid = r->uid;
    m.route = unconst(DOORS_SESSIONS);
    m.channels = r->n;
    m.issued_s = r->ticket->issued_s;
    m.expires_s = r->ticket->expires_s;
    m.ends_s = r->ticket->ends_s;
    m.class_ = unconst(capacity_class(r->ticket->provisioned));
    m.rate = r->ticket->rate;
    m.security = unconst(scistream_security(s, r));
    if (r->cons) {
        m.listeners = r->listeners;
        m.n_listeners = r->n;
    } else {
        m.wan_secret = (ProtobufCBinaryData){ REQUEST_KEY, r->ticket->key };
        m.ports = ports;
        m.n_ports = r->n;
    }
    service_reply_ticket(c, &m);
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

static struct demand demand_of_request(const struct request *r)
{
    return (struct demand){ .role = r->cons ? ROLE_CONS : ROLE_PROD, .provisioned = r->ticket->provisioned };
}

static struct demand demand_of_grant(const struct grant *g)
{
    return (struct demand){ .role = g->arranged->attach == GRANT_RECV ? ROLE_RECV : ROLE_SEND, .provisioned = g->arranged->provisioned };
}

enum grpc_status service_still_may(const struct service *s, const struct caller *c, const char *uid, char *why, size_t size)
{
    const struct request *r = requests_arranged(s->requests, uid);
    const struct grant *g = r ? NULL : arranged_find(s->grants, uid);
    const struct demand d = r ? demand_of_request(r) : demand_of_grant(g);
    return scistream_judge(s, c, &d, why, size);
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
    struct grant *beside = service_beside(s, uid);
    if (beside)
        grants_renew(s->grants, beside, ticket_s, wall_s());
    log_info("session %s renewed: %llu s from now, by %s", uid, (unsigned long long)ticket_s, service_name_of(who, by));
    service_reply_request(c, r);
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
    struct grant *beside = service_beside(s, uid);
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
    m->class_ = mem_strdup(capacity_class(r->ticket->provisioned));
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

/* The one of that uid, out of the reply. NULL: nobody uses it now. */
static SessionMsg *take_session(const struct service *s, const char *uid)
{
    SessionsReply *all = sessions_reply_new();
    sessions_list(s->sessions, uid, "", all);
    service_list_requests(s, uid, "", all);
    SessionMsg *m = all->n_sessions ? all->sessions[--all->n_sessions] : NULL;
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

static void on_show(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Show", .looks = true, .audience = SERVICE_OWNERS, .subject = service_subject, .run = run_show };
    service_allow(c, &what, data, len);
}

const struct grpc_handlers service_show_handlers = { .message = on_show, .closed = service_gone };
