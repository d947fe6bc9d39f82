/* What is done for the sessions of scistream.Control: their doors, events for those who watch, and how Gateway.Sessions shows them. */
#include <stdio.h>

#include "ctrl/arranged.h"
#include "ctrl/service_arrange.h"
#include "ctrl/service_scistream.h"
#include "src/core/board.h"
#include "src/core/err.h"
#include "src/core/log.h"

typedef Scistream__Gateway__V1__Session SessionMsg;
typedef Scistream__Gateway__V1__Arranged ArrangedMsg;

/* ------------------------------------------------------------ doors */

/* Names that only we give say how it is known; who comes by the local socket as another user than ours or root is judged like everybody. */
struct caller scistream_caller(const char *principal)
{
    struct caller c = { .how = str_eq(principal, "anonymous") ? CALLER_ANONYMOUS : str_starts(principal, "local:") ? CALLER_LOCAL : CALLER_TOKEN };
    str_copy(c.principal, sizeof(c.principal), principal);
    long long uid = c.how == CALLER_LOCAL ? strtoll(principal + strlen("local:"), NULL, 10) : -1;
    c.admin = c.how == CALLER_LOCAL && (uid == 0 || uid == (long long)geteuid());
    return c;
}

enum grpc_status scistream_judge(const struct service *s, const struct caller *c, const struct demand *d, char *why, size_t size)
{
    int rc = s->conf->scistream.auth == CONF_AUTH_POLICY ? policy_judge(who_policy(s->who), c, d, why, size) : 0;
    return rc == 0 ? GRPC_OK : rc == -SST_ELIMIT ? GRPC_RESOURCE_EXHAUSTED : GRPC_PERMISSION_DENIED;
}

enum grpc_status scistream_room(const struct service *s, char *why, size_t size)
{
    return requests_room(s->requests, arranged_count(s->grants, NULL), why, size);
}

uint64_t scistream_ring_memory(const struct service *s, const char *principal)
{
    uint64_t sum = requests_sums(s->requests, principal).listeners * 2 * BOARD_RELAY_RING;
    list_for_each(n, &s->grants->all) {
        const struct grant *g = list_entry(n, struct grant, node);
        bool beside = g->arranged && g->arranged->beside; /* a session with listeners, which are counted */
        sum += !beside && str_eq(g->by, principal) ? g->channels * g->route->c->window : 0;
    }
    return sum;
}

static enum grpc_status allows(void *user, const struct request_ask *a, uint64_t *lifetime_ns, char *why, size_t size)
{
    const struct service *s = user;
    const struct caller c = scistream_caller(a->principal);
    bool limited = s->conf->scistream.auth == CONF_AUTH_POLICY; /* else there is no limit of his to be counted for */
    const struct demand d = { .role = str_eq(a->role, "CONS") ? ROLE_CONS : ROLE_PROD, .channels = (uint64_t)a->num_conn, .window = BOARD_RELAY_RING,
                              .sessions = limited ? requests_sums(s->requests, a->principal).sessions + arranged_count(s->grants, a->principal) + 1 : 0,
                              .ring_memory = limited ? scistream_ring_memory(s, a->principal) + (uint64_t)a->num_conn * 2 * BOARD_RELAY_RING : 0 };
    const struct policy_row *row = s->conf->scistream.auth == CONF_AUTH_POLICY ? policy_row(who_policy(s->who), &c, d.role) : NULL;
    *lifetime_ns = row ? row->lifetime_ns : TIME_FOREVER;
    enum grpc_status status = scistream_judge(s, &c, &d, why, size);
    if (status != GRPC_OK)
        return status;
    if (!arranged_find(s->grants, a->uid))
        return scistream_room(s, why, size);
    snprintf(why, size, "uid: there is a session with it");
    return GRPC_ALREADY_EXISTS;
}

static enum grpc_status allows_target(void *user, const struct request *r, const struct request_target *t, char *why, size_t size)
{
    const struct caller c = scistream_caller(r->principal);
    const struct demand d = { .role = r->cons ? ROLE_CONS : ROLE_PROD, .targets = t->where, .n_targets = t->n };
    return scistream_judge(user, &c, &d, why, size);
}

static int reserve(void *user, struct request *r, uint16_t *ports, char *why, size_t size)
{
    const struct service *s = user;
    const struct doors_borrower b = { r->uid, r->principal, r->cons, r->ticket ? r->ticket->key : NULL, *ports ? ports : NULL };
    int rc = doors_lend(s->doors, &b, r->number, r->n, why, size);
    for (unsigned i = 0; rc == 0 && i < r->n; i++)
        ports[i] = doors_port(s->doors, r->number[i]);
    if (rc == 0 && !r->ticket && s->conf->scistream.wan == CONF_WAN_PSK)
        log_info("scistream: session %s is keyed by its uid: whoever knows or guesses that can be its other side", r->uid);
    return rc;
}

static void aim(void *user, struct request *r, unsigned listener, const struct request_target *to)
{
    const struct service *s = user;
    doors_aim(s->doors, r->number[listener], &(struct doors_target){ .addresses = to->addresses, .n = to->n, .port = to->port });
}

void scistream_sum_up(const struct service *s, const struct request *r, const struct stats_sum *live, struct doors_sum *sum)
{
    *sum = (struct doors_sum){ .open = 0 };
    for (unsigned i = 0; i < r->n; i++) {
        doors_add_sum(s->doors, r->number[i], sum);
        if (live)
            stats_sum_add(&sum->moved, &live[board_place(r->number[i])]);
    }
}

static void shut(void *user, const struct request *r, bool shut_them)
{
    const struct service *s = user;
    doors_shut(s->doors, r->number, r->n, shut_them);
}

/* What the program before still has of it nobody here can tell. */
static bool busy(void *user, const struct request *r)
{
    const struct service *s = user;
    struct doors_sum sum;
    scistream_sum_up(s, r, NULL, &sum);
    return sum.open > 0 || sessions_open(s->sessions, r->uid) > 0 || (s->admin->before && s->admin->before(s->admin_user));
}

static char *give_back(void *user, struct request *r, int rc, const char *text)
{
    const struct service *s = user;
    char there[UNITS_TEXT], back[UNITS_TEXT];
    struct doors_sum sum;
    scistream_sum_up(s, r, NULL, &sum);
    if (sum.open) {
        struct stats_sum *live = doors_live(s->doors);
        scistream_sum_up(s, r, live, &sum);
        free(live);
    }
    doors_take_back(s->doors, r->number, r->n, rc, text);
    service_arranged_over(s, r, text);
    if (s->admin->released)
        s->admin->released(s->admin_user, r->uid);
    return mem_printf("%u port%s given back; connections: %llu came, %llu refused, %llu open and reset, %s there, %s back", r->n, r->n == 1 ? "" : "s",
                      (unsigned long long)sum.accepted, (unsigned long long)sum.refused, (unsigned long long)sum.open, units_human_size(there, sum.moved.bytes[0]),
                      units_human_size(back, sum.moved.bytes[1]));
}

static void answer(void *user UNUSED, void *call, const struct request_answer *a) { scistream_call_answer(call, a); }

static void changed(void *user, const struct request *r, const char *what, const char *text)
{
    AUTO_FREE char *all = mem_printf("%s%s%s", what, *text ? ": " : "", text);
    service_note_session(user, r->uid, all);
}

const struct requests_ops service_requests_ops = { .allows = allows, .allows_target = allows_target, .reserve = reserve, .aim = aim, .give_back = give_back, .shut = shut, .busy = busy, .answer = answer,
                                                   .changed = changed };

/* ------------------------------------------------------------ Sessions */

static char **words(char *const *w, size_t *n)
{
    *n = strv_len(w);
    return strv_copy(w);
}

const char *scistream_security(const struct service *s, const struct request *r)
{
    return r->ticket ? "TLS, keyed by ticket" : s->conf->scistream.wan == CONF_WAN_PSK ? "TLS, keyed by uid" : "plaintext";
}

static ArrangedMsg *arranged_message(const struct service *s, const struct request *r, const struct doors_sum *sum)
{
    ArrangedMsg *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__arranged__init(m);
    m->role = mem_strdup(r->cons ? "CONS" : "PROD");
    m->state = mem_strdup(request_state_name(r->state));
    m->waiting_for = mem_strdup(request_waits_for(r));
    m->state_ms = (now_ns() - r->since_ns) / NS_PER_MS;
    m->principal = mem_strdup(r->principal);
    m->security = mem_strdup(scistream_security(s, r));
    m->expires_s = r->ticket ? r->ticket->expires_s : 0;
    m->ends_s = r->ticket ? r->ticket->ends_s : 0;
    m->listeners = words(r->listeners, &m->n_listeners);
    m->targets = words(r->targets, &m->n_targets);
    m->application = words(r->prod, &m->n_application);
    m->open = sum->open;
    m->accepted = sum->accepted;
    m->refused = sum->refused;
    m->failed = sum->failed;
    m->bytes_forward = sum->moved.bytes[0];
    m->bytes_backward = sum->moved.bytes[1];
    return m;
}

struct listing { const struct service *s; const char *uid; struct stats_sum *live; SessionsReply *r; size_t n_attached; /* in r before */ };

SessionMsg *service_request_message(const struct service *s, const struct request *r, const struct stats_sum *live)
{
    struct doors_sum sum;
    SessionMsg *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__session__init(m);
    scistream_sum_up(s, r, live, &sum);
    m->uid = mem_strdup(r->uid);
    m->route = mem_strdup(DOORS_SESSIONS);
    m->class_ = mem_strdup(shares_class(s->shares, doors_share(s->doors, r->number[0]), &m->rate));
    m->age_ms = (now_ns() - r->born_ns) / NS_PER_MS;
    m->arranged = arranged_message(s, r, &sum);
    return m;
}

/* The other gateway attaches to it, too: that stands there by now. */
static SessionMsg *find_attached(const struct listing *l, const char *uid)
{
    for (size_t i = 0; i < l->n_attached; i++)
        if (str_eq(l->r->sessions[i]->uid, uid))
            return service_beside(l->s, uid) ? l->r->sessions[i] : NULL;
    return NULL;
}

static void add(void *user, const struct request *r)
{
    struct listing *l = user;
    if (*l->uid && !str_eq(l->uid, r->uid))
        return;
    SessionMsg *m = service_request_message(l->s, r, l->live), *attached = find_attached(l, r->uid);
    if (attached) {
        attached->arranged = m->arranged;
        m->arranged = NULL;
        scistream__gateway__v1__session__free_unpacked(m, NULL);
    } else {
        l->r->sessions[l->r->n_sessions++] = m;
    }
}

void service_list_requests(const struct service *s, const char *uid, const char *route, SessionsReply *r)
{
    if (!requests_count(s->requests) || (*route && !str_eq(route, DOORS_SESSIONS)))
        return;
    struct listing l = { .s = s, .uid = uid, .live = doors_live(s->doors), .r = r, .n_attached = r->n_sessions };
    SessionMsg **more = mem_zalloc(r->n_sessions + requests_count(s->requests) + 1, sizeof(SessionMsg *));
    if (r->n_sessions)
        memcpy(more, r->sessions, r->n_sessions * sizeof(SessionMsg *));
    free(r->sessions);
    r->sessions = more;
    requests_each(s->requests, add, &l);
    free(l.live);
}
