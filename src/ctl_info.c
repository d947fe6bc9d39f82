/* scistreamctl info: what a gateway is and how its workers do. */
#include <stdio.h>

#include "src/scistreamctl.h"

typedef Scistream__Gateway__V1__InfoReply InfoReply;

static void worker_json(const Scistream__Gateway__V1__WorkerState *w, const char *before)
{
    printf("%s{\"index\":%u,\"channels\":%llu,\"turns\":%llu,\"copied_bytes\":%llu,\"work_requests\":%llu,\"posts\":%llu,"
           "\"completions\":%llu,\"completion_events\":%llu}",
           before, w->index, (unsigned long long)w->channels, (unsigned long long)w->turns, (unsigned long long)w->copied_bytes,
           (unsigned long long)w->work_requests, (unsigned long long)w->posts, (unsigned long long)w->completions,
           (unsigned long long)w->completion_events);
}

static void segments_json(const InfoReply *r)
{
    printf(",\"capacity\":{");
    for (size_t i = 0; i < r->n_segments; i++) {
        const Scistream__Gateway__V1__SegmentState *s = r->segments[i];
        printf("%s\"%s\":{\"capacity\":%llu,\"reservable\":%llu,\"reserved\":%llu,\"best_effort\":%llu,\"sessions\":%u}", i ? "," : "", s->name,
               (unsigned long long)s->capacity, (unsigned long long)s->reservable, (unsigned long long)s->reserved, (unsigned long long)s->best_effort,
               s->sessions);
    }
    printf("}");
}

static void info_json(const InfoReply *r)
{
    printf("{");
    ctl_json_text("name", r->name, ",");
    ctl_json_text("version", r->version, ",");
    printf("\"protocol_min\":%u,\"protocol_max\":%u,\"workers\":%u,\"uptime_s\":%llu,\"draining\":%s,", r->version_min, r->version_max,
           r->workers, (unsigned long long)r->uptime_s, r->draining ? "true" : "false");
    printf("\"pid\":%u,\"predecessor_pid\":%u,\"predecessor_channels\":%llu,", r->pid, r->predecessor ? r->predecessor->pid : 0,
           r->predecessor ? (unsigned long long)r->predecessor->channels : 0ULL);
    ctl_json_text("pin", r->pin, ",");
    ctl_json_text("link_ports", r->link_ports, ",");
    ctl_json_text("data_ports", r->data_ports, ",");
    ctl_json_list("features", r->features, r->n_features);
    printf(",");
    ctl_json_list("transports", r->transports, r->n_transports);
    printf(",");
    ctl_json_list("routes", r->routes, r->n_routes);
    segments_json(r);
    printf(",\"worker_states\":[");
    for (size_t i = 0; i < r->n_worker_states; i++)
        worker_json(r->worker_states[i], i ? "," : "");
    printf("]}\n");
}

static void worker_text(const Scistream__Gateway__V1__WorkerState *w)
{
    char copied[UNITS_TEXT];
    printf("worker %-3u %llu channel%s, %s copied; verbs: %llu work requests in %llu posts, %llu completions, %llu wake-ups\n", w->index,
           (unsigned long long)w->channels, w->channels == 1 ? "" : "s", units_human_size(copied, w->copied_bytes),
           (unsigned long long)w->work_requests, (unsigned long long)w->posts, (unsigned long long)w->completions,
           (unsigned long long)w->completion_events);
}

static void segment_text(const Scistream__Gateway__V1__SegmentState *s)
{
    char of[UNITS_TEXT], reserved[UNITS_TEXT], free_now[UNITS_TEXT], rest[UNITS_TEXT];
    printf("capacity   %s %s: %s reserved by %u session%s, %s can be, %s for best effort\n", s->name, units_rate(of, s->capacity), units_rate(reserved, s->reserved),
           s->sessions, s->sessions == 1 ? "" : "s", units_rate(free_now, s->reservable - MIN(s->reservable, s->reserved)), units_rate(rest, s->best_effort));
}

static void info_text(const InfoReply *r)
{
    char up[UNITS_TEXT];
    const Scistream__Gateway__V1__Predecessor *before = r->predecessor;
    printf("gateway    %s, version %s, protocol %u", r->name, r->version, r->version_max);
    if (r->pid)
        printf(", pid %u", r->pid);
    printf("\n");
    if (*r->pin)
        printf("pin        %s\n", r->pin);
    printf("state      %s, up %s, %u worker%s\n", r->draining ? "draining" : "serving", units_human_time(up, MAX(r->uptime_s, 1) * NS_PER_S), r->workers,
           r->workers == 1 ? "" : "s");
    if (before)
        printf("upgraded   pid %u, which it took over from, still serves %llu channel%s\n", before->pid, (unsigned long long)before->channels,
               before->channels == 1 ? "" : "s");
    printf("transports");
    for (size_t i = 0; i < r->n_transport_states; i++)
        printf(" %s%s%s%s", r->transport_states[i]->name, *r->transport_states[i]->problem ? " (" : "", r->transport_states[i]->problem,
               *r->transport_states[i]->problem ? ")" : "");
    for (size_t i = 0; r->n_transport_states == 0 && i < r->n_transports; i++) /* all that is told over the network */
        printf(" %s", r->transports[i]);
    if (*r->link_ports)
        printf("\nports      %s for links, %s for sessions of users", r->link_ports, r->data_ports);
    printf("\n%s", r->n_transport_states ? "routes    " : "");
    for (size_t i = 0; i < r->n_routes; i++)
        printf(" %s", r->routes[i]);
    printf("%s", r->n_transport_states ? "\n" : "");
    for (size_t i = 0; i < r->n_segments; i++)
        segment_text(r->segments[i]);
    for (size_t i = 0; i < r->n_worker_states; i++)
        worker_text(r->worker_states[i]);
}

static int print_info(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    InfoReply *r = scistream__gateway__v1__info_reply__unpack(NULL, len, data);
    if (r)
        (o->json ? info_json : info_text)(r);
    scistream__gateway__v1__info_reply__free_unpacked(r, NULL);
    return r ? 0 : 76;
}

int ctl_info(struct ctl_opts *o, int argc UNUSED, char **argv UNUSED)
{
    Scistream__Gateway__V1__InfoRequest q = SCISTREAM__GATEWAY__V1__INFO_REQUEST__INIT;
    return ctl_call(o, "/scistream.gateway.v1.Gateway/Info", &q.base, print_info);
}
