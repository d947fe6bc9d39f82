/* Unary calls of scistreamctl, and what is printed of the replies. */
#include <stdio.h>

#include "ctrl/gateway.pb-c.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/scistreamctl.h"

#define CALL_NS (10 * NS_PER_S)
#define REPLY_MAX (64U << 20)

typedef Scistream__Gateway__V1__InfoReply InfoReply;
typedef Scistream__Gateway__V1__SessionsReply SessionsReply;
typedef Scistream__Gateway__V1__Channel Channel;
typedef Scistream__Gateway__V1__HopState HopState;

struct call {
    struct loop loop;
    const struct ctl_opts *o;
    const char *path;
    uint8_t *request;
    size_t request_len;
    ctl_reply *reply;
    int code;
    bool answered, lost;
};

/* ------------------------------------------------------------ one call */

static void on_message(struct grpc_call *c, const uint8_t *data, size_t len)
{
    struct call *k = grpc_user(c);
    k->answered = true;
    k->code = k->reply(k->o, data, len);
}

static void on_closed(struct grpc_call *c, enum grpc_status s, const char *text)
{
    struct call *k = grpc_user(c);
    if (!k->answered) {
        fprintf(stderr, "scistreamctl: %s (%s)\n", *text ? text : "no answer", grpc_status_name(s));
        k->code = s == GRPC_PERMISSION_DENIED || s == GRPC_UNAUTHENTICATED ? 67 : s == GRPC_UNAVAILABLE ? 69 : s == GRPC_NOT_FOUND ? 64 : 76;
    }
    loop_stop(&k->loop);
}

static const struct grpc_handlers handlers = { .message = on_message, .closed = on_closed };

static void on_ready(struct grpc_conn *conn, void *user)
{
    struct call *k = user;
    struct grpc_call *c = grpc_call(conn, k->path, &handlers, REPLY_MAX, CALL_NS, k);
    grpc_send(c, k->request, k->request_len);
    grpc_half_close(c);
}

static void on_lost(struct grpc_conn *conn UNUSED, void *user, const char *step, int rc, const char *why)
{
    struct call *k = user;
    k->lost = true;
    fprintf(stderr, "scistreamctl: %s: %s: %s; is scistreamd running, and as this user? (--socket names another)\n", k->o->socket, step, why);
    k->code = rc == -ENOENT ? 69 : rc == -EACCES || rc == -EPERM ? 67 : err_exit(rc); /* of a socket's path: nobody there, not for us */
    loop_stop(&k->loop);
}

int ctl_call(const struct ctl_opts *o, const char *path, const ProtobufCMessage *request, ctl_reply *reply)
{
    static const struct grpc_dialer dialer = { .ready = on_ready, .lost = on_lost };
    struct call k = { .o = o, .path = path, .reply = reply, .code = 69 };
    struct grpc_target t = { .unix_path = o->socket, .connect_ns = CALL_NS, .silent_ns = CALL_NS };
    log_setup("scistreamctl", o->e.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, LOG_TARGET_STDERR, LOG_FORMAT_TEXT);
    if (loop_init(&k.loop) < 0)
        return 71;
    k.request_len = protobuf_c_message_get_packed_size(request);
    k.request = mem_zalloc(1, k.request_len + 1);
    protobuf_c_message_pack(request, k.request);
    struct resolver *r = resolver_new(&k.loop);
    struct grpc_conn *conn = grpc_dial(&k.loop, r, &t, &dialer, &k);
    loop_run(&k.loop);
    if (!k.lost)
        grpc_hang_up(conn);
    resolver_free(r);
    loop_fini(&k.loop);
    free(k.request);
    return k.code;
}

/* ------------------------------------------------------------ JSON */

void ctl_json_text(const char *name, const char *value, const char *after)
{
    char escaped[1024];
    log_json_escape(escaped, sizeof(escaped), value ? value : "");
    printf("\"%s\":\"%s\"%s", name, escaped, after);
}

void ctl_json_list(const char *name, char *const *v, size_t n)
{
    char escaped[256];
    printf("\"%s\":[", name);
    for (size_t i = 0; i < n; i++) {
        log_json_escape(escaped, sizeof(escaped), v[i]);
        printf("%s\"%s\"", i ? "," : "", escaped);
    }
    printf("]");
}

/* ------------------------------------------------------------ info */

static void worker_json(const Scistream__Gateway__V1__WorkerState *w, const char *before)
{
    printf("%s{\"index\":%u,\"channels\":%llu,\"turns\":%llu,\"copied_bytes\":%llu,\"work_requests\":%llu,\"posts\":%llu,"
           "\"completions\":%llu,\"completion_events\":%llu}",
           before, w->index, (unsigned long long)w->channels, (unsigned long long)w->turns, (unsigned long long)w->copied_bytes,
           (unsigned long long)w->work_requests, (unsigned long long)w->posts, (unsigned long long)w->completions,
           (unsigned long long)w->completion_events);
}

static void info_json(const InfoReply *r)
{
    printf("{");
    ctl_json_text("name", r->name, ",");
    ctl_json_text("version", r->version, ",");
    printf("\"protocol_min\":%u,\"protocol_max\":%u,\"workers\":%u,\"uptime_s\":%llu,\"draining\":%s,", r->version_min, r->version_max,
           r->workers, (unsigned long long)r->uptime_s, r->draining ? "true" : "false");
    ctl_json_list("features", r->features, r->n_features);
    printf(",");
    ctl_json_list("transports", r->transports, r->n_transports);
    printf(",");
    ctl_json_list("routes", r->routes, r->n_routes);
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

static void info_text(const InfoReply *r)
{
    char up[UNITS_TEXT];
    printf("gateway    %s, version %s, protocol %u\n", r->name, r->version, r->version_max);
    printf("state      %s, up %s, %u worker%s\n", r->draining ? "draining" : "serving", units_human_time(up, MAX(r->uptime_s, 1) * NS_PER_S), r->workers,
           r->workers == 1 ? "" : "s");
    printf("transports");
    for (size_t i = 0; i < r->n_transport_states; i++)
        printf(" %s%s%s%s", r->transport_states[i]->name, *r->transport_states[i]->problem ? " (" : "", r->transport_states[i]->problem,
               *r->transport_states[i]->problem ? ")" : "");
    printf("\nroutes    ");
    for (size_t i = 0; i < r->n_routes; i++)
        printf(" %s", r->routes[i]);
    printf("\n");
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

/* ------------------------------------------------------------ sessions */

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

static void channel_json(const Channel *c)
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
            channel_json(s->channels[k]);
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
