/* scistreamctl sessions: sessions and their channels, and the TCP connections that workers relay. These come in as many replies as they need, and all is
 * printed when the last is here. */
#include <stdio.h>

#include "src/core/ticket.h"
#include "src/scistreamctl.h"

typedef Scistream__Gateway__V1__Session Session;
typedef Scistream__Gateway__V1__SessionsReply SessionsReply;
typedef Scistream__Gateway__V1__Channel Channel;
typedef Scistream__Gateway__V1__HopState HopState;
typedef Scistream__Gateway__V1__Arranged Arranged;

static void hop_json(const char *name, const HopState *h)
{
    printf(",\"%s\":", name);
    if (!h) {
        printf("null");
        return;
    }
    printf("{");
    ctl_json_text("peer", h->peer, ",");
    ctl_json_text("transport", h->transport, ",");
    ctl_json_text("device", h->device, ",");
    ctl_json_text("security", h->security, ",");
    ctl_json_text("state", h->state, ",");
    ctl_json_text("passed_over", h->n_passed_over ? h->passed_over[0]->reason : "", ",");
    printf("\"dialed\":%s}", h->dialed ? "true" : "false");
}

void ctl_channel_json(const Channel *c)
{
    printf("{\"number\":%u,", c->number);
    ctl_json_text("state", c->state, ",");
    ctl_json_text("waiting_for", c->waiting_for, ",");
    printf("\"worker\":%u,\"age_ms\":%llu,\"window\":%llu,\"bytes_in\":%llu,\"bytes_out\":%llu,\"wait_source_ms\":%llu,"
           "\"wait_credits_ms\":%llu,\"wait_sink_ms\":%llu",
           c->worker, (unsigned long long)c->age_ms, (unsigned long long)c->window, (unsigned long long)c->bytes_in,
           (unsigned long long)c->bytes_out, (unsigned long long)c->wait_source_ms, (unsigned long long)c->wait_credits_ms,
           (unsigned long long)c->wait_sink_ms);
    hop_json("source", c->source);
    hop_json("sink", c->sink);
    ctl_flow_json("back", c->back, false);
    printf("}");
}

static void arranged_json(const Arranged *a)
{
    printf(",\"arranged\":{");
    ctl_json_text("role", a->role, ",");
    ctl_json_text("state", a->state, ",");
    ctl_json_text("waiting_for", a->waiting_for, ",");
    ctl_json_text("principal", a->principal, ",");
    ctl_json_text("security", a->security, ",");
    ctl_json_list("listeners", a->listeners, a->n_listeners);
    printf(",");
    ctl_json_list("targets", a->targets, a->n_targets);
    printf(",\"state_ms\":%llu,\"open\":%llu,\"accepted\":%llu,\"refused\":%llu,\"failed\":%llu,\"bytes_forward\":%llu,\"bytes_backward\":%llu,"
           "\"expires_s\":%llu,\"ends_s\":%llu}",
           (unsigned long long)a->state_ms, (unsigned long long)a->open, (unsigned long long)a->accepted, (unsigned long long)a->refused,
           (unsigned long long)a->failed, (unsigned long long)a->bytes_forward, (unsigned long long)a->bytes_backward,
           (unsigned long long)a->expires_s, (unsigned long long)a->ends_s);
}

void ctl_session_json(const Session *s)
{
    printf("{");
    ctl_json_text("uid", s->uid, ",");
    ctl_json_text("route", s->route, ",");
    ctl_json_text("class", s->class_, ",");
    printf("\"rate\":%llu,\"age_ms\":%llu,\"channels\":[", (unsigned long long)s->rate, (unsigned long long)s->age_ms);
    for (size_t i = 0; i < s->n_channels; i++) {
        printf("%s", i ? "," : "");
        ctl_channel_json(s->channels[i]);
    }
    printf("]");
    if (s->arranged)
        arranged_json(s->arranged);
    printf("}");
}

static void sessions_json(const SessionsReply *r)
{
    printf("\"sessions\":[");
    for (size_t i = 0; i < r->n_sessions; i++) {
        printf("%s", i ? "," : "");
        ctl_session_json(r->sessions[i]);
    }
    printf("]");
}

static void hop_text(const char *name, const HopState *h)
{
    if (!h)
        printf("    %-6s  -\n", name);
    else
        printf("    %-6s  %s%s by %s on %s, %s, %s%s%s\n", name, h->dialed ? "dialed " : "", h->peer, *h->transport ? h->transport : "?",
               *h->device ? h->device : "?", *h->security ? h->security : "?", h->state, h->n_passed_over ? "; passed over " : "",
               h->n_passed_over ? h->passed_over[0]->reason : "");
}

static void channel_text(const Channel *c)
{
    char size[UNITS_TEXT], age[UNITS_TEXT], rate[UNITS_TEXT], window[UNITS_TEXT];
    printf("  channel %u  %s, %s, %s, mean %s, ring %s%s%s\n", c->number, c->state, units_human_time(age, c->age_ms * NS_PER_MS),
           units_human_size(size, c->bytes_out), units_human_rate(rate, c->age_ms ? (double)c->bytes_out * 8e3 / (double)c->age_ms : 0),
           units_size(window, c->window), *c->waiting_for ? ", waits for " : "", c->waiting_for);
    hop_text("source", c->source);
    hop_text("sink", c->sink);
    if (c->back)
        printf("    back    %s, mean %s%s%s\n", units_human_size(size, c->back->bytes_out),
               units_human_rate(rate, c->age_ms ? (double)c->back->bytes_out * 8e3 / (double)c->age_ms : 0), *c->back->waiting_for ? ", waits for " : "",
               c->back->waiting_for);
}

static void words_text(const char *head, char *const *w, size_t n)
{
    printf("  %-9s ", head);
    for (size_t i = 0; i < n; i++)
        printf(" %s", w[i]);
    printf(n ? "\n" : " -\n");
}

static void times_text(const Arranged *a)
{
    char expires[TICKET_TIME], ends[TICKET_TIME];
    if (a->expires_s)
        printf("  ticket     until %s%s%s\n", ticket_time(expires, a->expires_s), a->ends_s ? ", the session ends " : "",
               a->ends_s ? ticket_time(ends, a->ends_s) : "");
}

static void arranged_text(const Arranged *a)
{
    char since[UNITS_TEXT], there[UNITS_TEXT], back[UNITS_TEXT];
    printf("  %s %s, %s since %s, by %s, WAN %s\n", a->role, a->state, a->waiting_for, units_human_time(since, a->state_ms * NS_PER_MS), a->principal,
           a->security);
    words_text("listeners", a->listeners, a->n_listeners);
    words_text("targets", a->targets, a->n_targets);
    times_text(a);
    printf("  connections %llu open, %llu came, %llu refused, %llu failed, %s there, %s back\n", (unsigned long long)a->open,
           (unsigned long long)a->accepted, (unsigned long long)a->refused, (unsigned long long)a->failed, units_human_size(there, a->bytes_forward),
           units_human_size(back, a->bytes_backward));
}

void ctl_session_text(const Session *s)
{
    char age[UNITS_TEXT], rate[UNITS_TEXT];
    printf("session %s  route %s, %s%s%s, %s\n", s->uid, s->route, s->class_, s->rate ? " " : "", s->rate ? units_rate(rate, s->rate) : "",
           units_human_time(age, s->age_ms * NS_PER_MS));
    for (size_t i = 0; i < s->n_channels; i++)
        channel_text(s->channels[i]);
    if (s->arranged)
        arranged_text(s->arranged);
}

static void sessions_text(const SessionsReply *r)
{
    if (r->n_sessions == 0)
        printf("no sessions\n");
    for (size_t i = 0; i < r->n_sessions; i++)
        ctl_session_text(r->sessions[i]);
}

/* ------------------------------------------------------------ connections, reply by reply */

static struct listing {
    SessionsReply **reply;
    size_t n;
    uint64_t listed;
} listing;

static const SessionsReply *last(void) { return listing.reply[listing.n - 1]; }

static void connections_json(void)
{
    const char *comma = "";
    printf(",\"connections\":[");
    for (size_t i = 0; i < listing.n; i++)
        for (size_t k = 0; k < listing.reply[i]->n_connections; k++, comma = ",") {
            printf("%s", comma);
            ctl_connection_json(listing.reply[i]->connections[k], false);
        }
    printf("],\"more\":%llu", (unsigned long long)last()->more);
}

static void connections_text(void)
{
    Scistream__Gateway__V1__Connection **all = mem_zalloc(listing.listed + 1, sizeof(*all));
    size_t n = 0;
    for (size_t i = 0; i < listing.n; i++)
        for (size_t k = 0; k < listing.reply[i]->n_connections; k++)
            all[n++] = listing.reply[i]->connections[k];
    if (n)
        ctl_connections_text(all, n);
    else
        printf("no connections\n");
    if (last()->more)
        printf("and %llu more (--limit)\n", (unsigned long long)last()->more);
    free(all);
}

static void print_all(const struct ctl_opts *o)
{
    const SessionsReply *first = listing.reply[0];
    if (o->json) {
        printf("{");
        sessions_json(first);
        printf(",");
        ctl_routes_json(first->routes, first->n_routes, false);
        if (o->connections)
            connections_json();
        printf("}\n");
        return;
    }
    sessions_text(first);
    ctl_routes_text(first->routes, first->n_routes);
    if (o->connections)
        connections_text();
}

static int keep_reply(const struct ctl_opts *o UNUSED, const uint8_t *data, size_t len)
{
    SessionsReply *r = scistream__gateway__v1__sessions_reply__unpack(NULL, len, data), **more;
    if (!r)
        return 76;
    more = mem_zalloc(listing.n + 1, sizeof(*more));
    if (listing.n)
        memcpy(more, listing.reply, listing.n * sizeof(*more));
    free(listing.reply);
    listing.reply = more;
    listing.reply[listing.n++] = r;
    listing.listed += r->n_connections;
    return 0;
}

static void forget_replies(void)
{
    for (size_t i = 0; i < listing.n; i++)
        scistream__gateway__v1__sessions_reply__free_unpacked(listing.reply[i], NULL);
    free(listing.reply);
    listing = (struct listing){ .n = 0 };
}

/* There is another reply to ask for; one that brings nothing is the last. */
static bool next(Scistream__Gateway__V1__SessionsRequest *q, uint64_t limit)
{
    if (!*last()->next || last()->n_connections == 0 || listing.listed >= limit)
        return false;
    q->after = last()->next;
    q->connections = (uint32_t)(limit - listing.listed);
    return true;
}

bool ctl_is_wrong_for_uid(const struct ctl_opts *o, int argc)
{
    bool wrong = argc && (o->connections || *o->route);
    if (wrong)
        fprintf(stderr, "scistreamctl: --connections and --route are not for one session: leave UID out\n");
    return wrong;
}

int ctl_sessions(struct ctl_opts *o, int argc, char **argv)
{
    Scistream__Gateway__V1__SessionsRequest q = SCISTREAM__GATEWAY__V1__SESSIONS_REQUEST__INIT;
    if (ctl_is_wrong_for_uid(o, argc))
        return 64;
    if (argc)
        q.uid = argv[0];
    q.route = o->route;
    q.connections = o->connections ? (uint32_t)o->limit : 0;
    q.order = (Scistream__Gateway__V1__SessionsRequest__Order)o->order;
    int code;
    do
        code = ctl_call(o, "/scistream.gateway.v1.Gateway/Sessions", &q.base, keep_reply);
    while (code == 0 && listing.n && next(&q, (uint64_t)o->limit));
    if (code == 0 && listing.n)
        print_all(o);
    forget_replies();
    return code;
}
