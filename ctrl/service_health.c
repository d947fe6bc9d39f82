/* grpc.health.v1.Health: serving unless draining. */
#include "ctrl/health.pb-c.h"
#include "ctrl/service.h"

typedef Grpc__Health__V1__HealthCheckResponse Response;

struct watcher { struct list node; struct grpc_call *call; char *service; };

static bool known(const char *name) { return !*name || str_eq(name, "scistream.gateway.v1.Gateway") || str_eq(name, "scistream.Control") || str_eq(name, "grpc.health.v1.Health"); }

static Response state_of(const struct service *s, const char *name)
{
    Response r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    r.status = !known(name)                      ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN
               : sessions_draining(s->sessions) ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
                                                 : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    return r;
}

static void on_check(struct grpc_call *c, const uint8_t *data, size_t len)
{
    Grpc__Health__V1__HealthCheckRequest *q = grpc__health__v1__health_check_request__unpack(NULL, len, data);
    Response r = state_of(grpc_server_user(c), q ? q->service : "");
    if (!q)
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "HealthCheckRequest cannot be read");
    else if (!known(q->service))
        grpc_finish(c, GRPC_NOT_FOUND, "unknown service");
    else
        service_reply(c, &r.base);
    grpc__health__v1__health_check_request__free_unpacked(q, NULL);
}

static void ignore_closed(struct grpc_call *c UNUSED, enum grpc_status s UNUSED, const char *text UNUSED) {}

const struct grpc_handlers service_health_check_handlers = { .message = on_check, .closed = ignore_closed };

static void on_watch(struct grpc_call *c, const uint8_t *data, size_t len)
{
    struct service *s = grpc_server_user(c);
    Grpc__Health__V1__HealthCheckRequest *q = grpc__health__v1__health_check_request__unpack(NULL, len, data);
    if (!q || grpc_user(c)) {
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "one readable HealthCheckRequest is expected");
    } else {
        struct watcher *w = mem_zalloc(1, sizeof(*w));
        Response r = state_of(s, q->service);
        w->call = c;
        w->service = mem_strdup(q->service);
        list_add_tail(&s->health_watchers, &w->node);
        grpc_set_user(c, w);
        service_send(c, &r.base);
    }
    grpc__health__v1__health_check_request__free_unpacked(q, NULL);
}

static void on_watch_closed(struct grpc_call *c, enum grpc_status s UNUSED, const char *text UNUSED)
{
    struct watcher *w = grpc_user(c);
    if (!w)
        return;
    list_del(&w->node);
    free(w->service);
    free(w);
}

const struct grpc_handlers service_health_watch_handlers = { .message = on_watch, .closed = on_watch_closed };

void service_health_changed(struct service *s)
{
    list_for_each_safe(n, &s->health_watchers) {
        struct watcher *w = list_entry(n, struct watcher, node);
        Response r = state_of(s, w->service);
        service_send(w->call, &r.base);
    }
}
