/* What becomes of arranged sessions that are attached to: for their channels, the log and those who watch; and how they are shown. */
#include "ctrl/service_arranged.h"

#include <stdio.h>

#include "ctrl/service_scistream.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/ticket.h"

typedef Scistream__Gateway__V1__GrantReply GrantReply;
typedef Scistream__Gateway__V1__GrantState GrantState;

/* ------------------------------------------------------------ what becomes of them */

static void on_over(void *user, const struct grant *g, const char *why)
{
    struct service *s = user;
    log_info("session %s (%s) %s", g->uid, g->route->c->name, why);
    sessions_grant_over(s->sessions, g->uid, why);
    if (g->arranged)
        service_note_arranged(s, g->uid, why);
}

static bool on_busy(void *user, const struct grant *g)
{
    const struct service *s = user;
    bool before = s->admin->before && s->admin->before(s->admin_user); /* whose streams may be in it */
    return before || sessions_open(s->sessions, g->uid) > 0 || requests_find(s->requests, g->uid);
}

static void on_soon(void *user, const struct grant *g)
{
    char when[TICKET_TIME];
    uint64_t ends_s = g->arranged->ends_s, now_s = (uint64_t)time(NULL), minutes = ends_s > now_s ? (ends_s - now_s + 59) / 60 : 0;
    AUTO_FREE char *text = mem_printf("ends in %llu minute%s, at %s", (unsigned long long)minutes, minutes == 1 ? "" : "s", ticket_time(when, ends_s));
    log_info("session %s %s", g->uid, text);
    service_note_arranged(user, g->uid, text);
}

static void on_gone(void *user, const struct grant *g, const char *abort)
{
    struct service *s = user;
    AUTO_FREE char *text = abort ? mem_printf("session %s: %s", g->uid, abort) : NULL;
    int n = text ? sessions_abort(s->sessions, g->uid, -1, -SST_ERELEASED, text) : 0;
    if (n > 0)
        log_info("session %s: %s: %d channel%s aborted", g->uid, abort, n, n == 1 ? "" : "s");
    if (!g->arranged->beside)
        service_give_back(s, g->uid);
    service_note_arranged(s, g->uid, abort ? abort : "ended: nobody uses it, and nobody can come");
}

const struct grants_events service_grants_events = { .over = on_over, .busy = on_busy, .soon = on_soon, .gone = on_gone };

unsigned service_arranged_end(const struct service *s, const char *uid, const char *text)
{
    int n = sessions_abort(s->sessions, uid, -1, -SST_ERELEASED, text);
    if (s->admin->released)
        s->admin->released(s->admin_user, uid);
    (void)requests_end(s->requests, uid, text);
    struct grant *g = arranged_find(s->grants, uid); /* what stood beside it may have taken it along */
    if (g)
        grants_end(s->grants, g, "was released", NULL);
    return (unsigned)MAX(n, 0);
}

void service_arranged_alone(const struct service *s)
{
    list_for_each_safe(n, &s->grants->all) {
        struct grant *g = list_entry(n, struct grant, node);
        if (g->arranged && g->arranged->beside && !requests_find(s->requests, g->uid))
            grants_end(s->grants, g, "is over", "it has ended at the program before this one");
    }
}

bool service_allows_data(void *user, const struct grant *g, const union sockaddr_any *to)
{
    const struct demand d = { .role = g->arranged->attach == GRANT_RECV ? ROLE_RECV : ROLE_SEND, .targets = to, .n_targets = 1 };
    const struct caller c = scistream_caller(g->by);
    char why[POLICY_WHY];
    enum grpc_status s = scistream_judge(user, &c, &d, why, sizeof(why));
    if (s != GRPC_OK)
        who_audit(&c, g->from, "Attach", g->uid, why);
    return s == GRPC_OK;
}

/* ------------------------------------------------------------ how they are shown */

static Scistream__Gateway__V1__Role role_of(int role)
{
    return role == GRANT_SEND ? SCISTREAM__GATEWAY__V1__ROLE__SEND : role == GRANT_RECV ? SCISTREAM__GATEWAY__V1__ROLE__RECV : SCISTREAM__GATEWAY__V1__ROLE__ROLE_UNSPECIFIED;
}

/* The application's secret goes to it alone, the other one to the other gateway. */
static void set_secrets(GrantReply *m, const struct grant *g)
{
    const struct arranged *a = g->arranged;
    int wan = a->attach == GRANT_SEND ? GRANT_RECV : GRANT_SEND;
    const ProtobufCBinaryData none = { 0, NULL };
    if (a->attach != GRANT_SEND)
        m->send_secret = none;
    if (a->attach != GRANT_RECV)
        m->recv_secret = none;
    if (arranged_dials(g))
        return;
    m->wan_secret = (ProtobufCBinaryData){ g->secret[wan].len, g->secret[wan].data };
    m->wan_role = role_of(a->attach >= 0 ? wan : -1);
}

void service_reply_arranged(GrantReply *m, const struct grant *g)
{
    static char security[] = "TLS, keyed by ticket";
    if (!g->arranged)
        return;
    set_secrets(m, g);
    m->ends_s = g->arranged->ends_s;
    m->class_ = (char *)(uintptr_t)capacity_class(g->arranged->provisioned);
    m->rate = g->arranged->rate;
    m->security = security;
}

/* Built with malloc throughout, as protobuf-c's own free_unpacked expects. */
void service_show_arranged(GrantState *m, const struct grant *g)
{
    if (!g->arranged)
        return;
    m->arranged = true;
    m->ends_s = g->arranged->ends_s;
    m->class_ = mem_strdup(capacity_class(g->arranged->provisioned));
    m->rate = g->arranged->rate;
    m->attach = role_of(g->arranged->attach);
    m->dials = arranged_dials(g);
    m->closed = g->arranged->closed;
    m->targets = mem_zalloc(g->route->n_places + 1, sizeof(*m->targets));
    for (size_t i = 0; i < g->route->n_places; i++)
        m->targets[m->n_targets++] = mem_strdup(g->route->place[i].name);
}
