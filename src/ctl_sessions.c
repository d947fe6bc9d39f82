/* scistreamctl sessions: sessions and their channels. */
#include <stdio.h>

#include "src/scistreamctl.h"

typedef Scistream__Gateway__V1__SessionsReply SessionsReply;
typedef Scistream__Gateway__V1__Channel Channel;
typedef Scistream__Gateway__V1__HopState HopState;

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
    printf("}");
}

static void sessions_json(const SessionsReply *r)
{
    printf("{\"sessions\":[");
    for (size_t i = 0; i < r->n_sessions; i++) {
        const Scistream__Gateway__V1__Session *s = r->sessions[i];
        printf("%s{", i ? "," : "");
        ctl_json_text("uid", s->uid, ",");
        ctl_json_text("route", s->route, ",");
        ctl_json_text("class", s->class_, ",");
        printf("\"age_ms\":%llu,\"channels\":[", (unsigned long long)s->age_ms);
        for (size_t k = 0; k < s->n_channels; k++) {
            printf("%s", k ? "," : "");
            ctl_channel_json(s->channels[k]);
        }
        printf("]}");
    }
    printf("]}\n");
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
}

static void sessions_text(const SessionsReply *r)
{
    char age[UNITS_TEXT];
    if (r->n_sessions == 0)
        printf("no sessions\n");
    for (size_t i = 0; i < r->n_sessions; i++) {
        const Scistream__Gateway__V1__Session *s = r->sessions[i];
        printf("session %s  route %s, %s, %s\n", s->uid, s->route, s->class_, units_human_time(age, s->age_ms * NS_PER_MS));
        for (size_t k = 0; k < s->n_channels; k++)
            channel_text(s->channels[k]);
    }
}

static int print_sessions(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    SessionsReply *r = scistream__gateway__v1__sessions_reply__unpack(NULL, len, data);
    if (r)
        (o->json ? sessions_json : sessions_text)(r);
    scistream__gateway__v1__sessions_reply__free_unpacked(r, NULL);
    return r ? 0 : 76;
}

int ctl_sessions(struct ctl_opts *o, int argc, char **argv)
{
    Scistream__Gateway__V1__SessionsRequest q = SCISTREAM__GATEWAY__V1__SESSIONS_REQUEST__INIT;
    if (argc)
        q.uid = argv[0];
    return ctl_call(o, "/scistream.gateway.v1.Gateway/Sessions", &q.base, print_sessions);
}
