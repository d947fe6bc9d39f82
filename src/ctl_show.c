/* scistreamctl grants and show: sessions that were granted or arranged, without their secrets. */
#include <stdio.h>

#include "src/core/ticket.h"
#include "src/scistreamctl.h"

#define GATEWAY "/scistream.gateway.v1.Gateway/"
#define SEND SCISTREAM__GATEWAY__V1__ROLE__SEND
#define RECV SCISTREAM__GATEWAY__V1__ROLE__RECV

typedef Scistream__Gateway__V1__GrantState GrantState;
typedef Scistream__Gateway__V1__GrantsReply GrantsReply;
typedef Scistream__Gateway__V1__ShowReply ShowReply;

/* ------------------------------------------------------------ one of them */

static bool has_role(const GrantState *s, Scistream__Gateway__V1__Role role)
{
    for (size_t i = 0; i < s->n_roles; i++)
        if (s->roles[i] == role)
            return true;
    return false;
}

/* Of a session that was arranged: what the application does. */
static const char *application(const GrantState *s)
{
    if (s->attach)
        return s->attach == SEND ? "sends, by scistream-send" : "receives, by scistream-recv";
    return s->n_listeners && s->dials ? "connects to listeners" : "listens";
}

static void arranged_json(const GrantState *s)
{
    char when[TICKET_TIME];
    ctl_json_text("application", s->attach ? s->attach == SEND ? "send" : "recv" : s->dials ? "connects" : "listens", ",");
    printf("\"dials\":%s,\"closed\":%s,\"ends_s\":%llu,", s->dials ? "true" : "false", s->closed ? "true" : "false", (unsigned long long)s->ends_s);
    ctl_json_text("ends", s->ends_s ? ticket_time(when, s->ends_s) : "", ",");
    ctl_json_text("class", s->class_, ",");
    printf("\"rate_bit_s\":%llu,", (unsigned long long)s->rate);
    ctl_json_list("targets", s->targets, s->n_targets);
    printf(",");
    ctl_json_list("listeners", s->listeners, s->n_listeners);
    printf(",");
}

static void state_json(const GrantState *s)
{
    char when[TICKET_TIME];
    printf("{");
    ctl_json_text("session", s->uid, ",");
    ctl_json_text("route", s->route, ",");
    printf("\"channels\":%u,\"issued_s\":%llu,\"expires_s\":%llu,", s->channels, (unsigned long long)s->issued_s, (unsigned long long)s->expires_s);
    ctl_json_text("expires", ticket_time(when, s->expires_s), ",");
    printf("\"send\":%s,\"recv\":%s,\"open\":%u,\"senders\":%llu,\"receivers\":%llu,\"arranged\":%s,", has_role(s, SEND) ? "true" : "false",
           has_role(s, RECV) ? "true" : "false", s->open, (unsigned long long)s->senders, (unsigned long long)s->receivers, s->arranged ? "true" : "false");
    if (s->arranged)
        arranged_json(s);
    ctl_json_text("by", s->by, ",");
    ctl_json_text("from", s->from, "}");
}

static void words(const char *head, char *const *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%s%s", i ? ", " : head, w[i]);
    if (n)
        printf("\n");
}

static void arranged_text(const GrantState *s)
{
    char rate[UNITS_TEXT], when[TICKET_TIME];
    printf("session %s  arranged, %u channel%s, %s", s->uid, s->channels, s->channels == 1 ? "" : "s", *s->class_ ? s->class_ : "best effort");
    if (s->rate)
        printf(", %s", units_human_rate(rate, (double)s->rate));
    printf("\n  the application here %s; this gateway %s the other one\n", application(s), s->dials ? "dials" : "is dialed by");
    words(s->dials ? "  dials     " : "  targets   ", s->targets, s->n_targets);
    words("  listeners ", s->listeners, s->n_listeners);
    if (s->ends_s)
        printf("  ends      %s, whatever runs\n", ticket_time(when, s->ends_s));
}

static void granted_text(const GrantState *s)
{
    printf("session %s  route %s, %u channel%s, %s\n", s->uid, s->route, s->channels, s->channels == 1 ? "" : "s",
           !has_role(s, RECV) ? "senders only" : !has_role(s, SEND) ? "receivers only" : "senders and receivers");
}

static void state_text(const GrantState *s)
{
    char left[UNITS_TEXT], when[TICKET_TIME];
    uint64_t now_s = (uint64_t)time(NULL);
    bool expired = now_s >= s->expires_s;
    bool connections = s->arranged && !s->attach; /* is what is open there */
    AUTO_FREE char *open = units_streams("", connections ? 0 : s->open, connections ? s->open : 0);
    (s->arranged ? arranged_text : granted_text)(s);
    printf(expired ? "  expired %s" : "  expires %s, in ", ticket_time(when, s->expires_s));
    if (!expired)
        printf("%s", units_human_time(left, (s->expires_s - now_s) * NS_PER_S));
    printf("; %s by %s, %s\n", s->arranged ? "arranged" : "granted", s->by, s->from);
    if (s->closed)
        printf("  closed: nobody comes to it any more, what runs goes on\n");
    if (connections && s->senders + s->receivers == 0)
        printf("  used by %s now\n", s->open ? open : "nobody");
    else
        printf("  used by %llu sender%s and %llu receiver%s, %s now\n", (unsigned long long)s->senders, s->senders == 1 ? "" : "s",
               (unsigned long long)s->receivers, s->receivers == 1 ? "" : "s", open);
}

/* ------------------------------------------------------------ grants */

static int print_grants(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    GrantsReply *r = scistream__gateway__v1__grants_reply__unpack(NULL, len, data);
    if (!r)
        return 76;
    if (o->json)
        printf("{\"grants\":[");
    else if (r->n_grants == 0)
        printf("no sessions with tickets\n");
    for (size_t i = 0; i < r->n_grants; i++)
        if (o->json) {
            printf("%s", i ? "," : "");
            state_json(r->grants[i]);
        } else {
            state_text(r->grants[i]);
        }
    if (o->json)
        printf("]}\n");
    scistream__gateway__v1__grants_reply__free_unpacked(r, NULL);
    return 0;
}

int ctl_grants(struct ctl_opts *o, int argc UNUSED, char **argv UNUSED)
{
    Scistream__Gateway__V1__GrantsRequest q = SCISTREAM__GATEWAY__V1__GRANTS_REQUEST__INIT;
    return ctl_call(o, GATEWAY "Grants", &q.base, print_grants);
}

/* ------------------------------------------------------------ show */

static void show_json(const ShowReply *r)
{
    printf("{\"grant\":");
    if (r->grant)
        state_json(r->grant);
    else
        printf("null");
    printf(",\"session\":");
    if (r->session)
        ctl_session_json(r->session);
    else
        printf("null");
    printf("}\n");
}

static void show_text(const ShowReply *r)
{
    if (r->grant)
        state_text(r->grant);
    if (r->session)
        ctl_session_text(r->session);
    else
        printf("nobody uses it now\n");
}

static int print_show(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    ShowReply *r = scistream__gateway__v1__show_reply__unpack(NULL, len, data);
    if (r)
        (o->json ? show_json : show_text)(r);
    scistream__gateway__v1__show_reply__free_unpacked(r, NULL);
    return r ? 0 : 76;
}

int ctl_show(struct ctl_opts *o, int argc UNUSED, char **argv)
{
    Scistream__Gateway__V1__ShowRequest q = SCISTREAM__GATEWAY__V1__SHOW_REQUEST__INIT;
    int code;
    if (ctl_at_both(o, ctl_show, argv[0], &code))
        return code;
    q.uid = argv[0];
    return ctl_call(o, GATEWAY "Show", &q.base, print_show);
}
