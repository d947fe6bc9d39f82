#include "ctrl/arranged.h"
#include "ctrl/service.h"

#define UNARY_MAX (64U << 10)
#define ADMIN_MAX (4U << 10) /* kept while it is found out who asks */

#define SCISTREAM_METHODS \
    { "/scistream.Control/req", UNARY_MAX, &service_scistream_req_handlers, service_scistream_start }, \
    { "/scistream.Control/hello", UNARY_MAX, &service_scistream_hello_handlers, service_scistream_start }, \
    { "/scistream.Control/update", UNARY_MAX, &service_scistream_update_handlers, service_scistream_start }, \
    { "/scistream.Control/release", UNARY_MAX, &service_scistream_release_handlers, service_scistream_start }
#define HEALTH_METHODS \
    { "/grpc.health.v1.Health/Check", UNARY_MAX, &service_health_check_handlers, service_unary_start }, \
    { "/grpc.health.v1.Health/Watch", UNARY_MAX, &service_health_watch_handlers, service_unary_start }

const struct grpc_method service_methods[] = {
    { ATTACH_PATH, ATTACH_MESSAGE_MAX, &attach_call_handlers, service_attach_start },
    { "/scistream.gateway.v1.Gateway/Info", UNARY_MAX, &service_info_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Sessions", ADMIN_MAX, &service_sessions_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Devices", ADMIN_MAX, &service_devices_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Watch", ADMIN_MAX, &service_watch_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Release", ADMIN_MAX, &service_release_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Drain", ADMIN_MAX, &service_drain_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Upgrade", ADMIN_MAX, &service_upgrade_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Reload", ADMIN_MAX, &service_reload_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Grant", ADMIN_MAX, &service_grant_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Renew", ADMIN_MAX, &service_renew_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Revoke", ADMIN_MAX, &service_revoke_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Grants", ADMIN_MAX, &service_grants_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Whoami", ADMIN_MAX, &service_whoami_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Arrange", UNARY_MAX, &service_arrange_handlers, service_unary_start },
    { "/scistream.gateway.v1.Gateway/Show", ADMIN_MAX, &service_show_handlers, service_unary_start },
    SCISTREAM_METHODS,
    HEALTH_METHODS,
};
const size_t service_methods_n = ARRAY_LEN(service_methods);
const struct grpc_method service_plain_methods[] = { SCISTREAM_METHODS, HEALTH_METHODS };
const size_t service_plain_methods_n = ARRAY_LEN(service_plain_methods);

void service_init(struct service *s)
{
    s->started_ns = now_ns();
    list_init(&s->health_watchers);
    list_init(&s->watchers);
    list_init(&s->upgrades);
    list_init(&s->asking);
    list_init(&s->arranging);
}

struct connections service_connections(const struct service *s) { return (struct connections){ .pool = s->pool, .doors = s->doors }; }

static bool in_conf(const struct service *s, const char *route)
{
    for (size_t i = 0; i < s->conf->n_routes; i++)
        if (str_eq(s->conf->routes[i]->name, route))
            return true;
    return false;
}

bool service_knows_route(const struct service *s, const char *route)
{
    const struct connections cs = service_connections(s);
    bool arranged = str_eq(route, ARRANGED_ROUTE) && arranged_count(s->grants, NULL) > 0;
    return arranged || in_conf(s, route) || connections_know(&cs, route) || sessions_know(s->sessions, route);
}

/* The request comes as the first message: nothing to do at the headers. */
void service_unary_start(struct grpc_call *c) { grpc_set_user(c, NULL); }

void service_send(struct grpc_call *c, const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    AUTO_FREE uint8_t *data = mem_zalloc(1, n + 1);
    protobuf_c_message_pack(m, data);
    int rc = grpc_send(c, data, n);
    secret_wipe(data, n); /* of a ticket */
    if (rc < 0)
        grpc_finish(c, GRPC_RESOURCE_EXHAUSTED, "the answer is too large, or you do not read");
    secret_wipe(data, n); /* of a ticket, perhaps */
}

void service_reply(struct grpc_call *c, const ProtobufCMessage *m)
{
    service_send(c, m);
    grpc_finish(c, GRPC_OK, "");
}
