/* scistream.gateway.v1.Gateway: Attach, Info, Sessions; Devices is in service_devices.c. */
#include "config.h"

#include "ctrl/service.h"

static char *unconst(const char *s) { return (char *)(uintptr_t)s; } /* protobuf-c's strings are not const */

void service_attach_start(struct grpc_call *c)
{
    struct service *s = grpc_server_user(c);
    sessions_attach(s->sessions, c);
}

static void ignore_closed(struct grpc_call *c UNUSED, enum grpc_status s UNUSED, const char *text UNUSED) {}

/* ------------------------------------------------------------ Info: what it is, to anyone; how it does, to local administrators */

static char *const features[] = { HOP_FEATURES };

static void reply_info(struct grpc_call *c, const struct service *s)
{
    Scistream__Gateway__V1__InfoReply r = SCISTREAM__GATEWAY__V1__INFO_REPLY__INIT;
    Scistream__Gateway__V1__TransportState t[POOL_TRANSPORTS], *tp[POOL_TRANSPORTS];
    Scistream__Gateway__V1__Predecessor before = SCISTREAM__GATEWAY__V1__PREDECESSOR__INIT;
    char *usable[POOL_TRANSPORTS], pin[TLS_PIN_TEXT];
    const struct pool_worker *w = pool_pick(s->pool);
    AUTO_FREE char **routes = mem_zalloc(s->conf->n_routes + 1, sizeof(*routes));
    bool local = auth_is_local_admin(grpc_call_conn(c));
    r.name = unconst(s->name);
    r.version = unconst(PACKAGE_VERSION);
    r.version_min = r.version_max = ATTACH_VERSION;
    r.features = (char **)(uintptr_t)features;
    r.n_features = ARRAY_LEN(features);
    r.workers = pool_size(s->pool);
    r.uptime_s = (now_ns() - s->started_ns) / NS_PER_S;
    r.draining = sessions_draining(s->sessions);
    tls_ctx_pin(*s->tls, pin);
    r.pin = pin;
    r.link_ports = s->conf->g.link_ports;
    r.data_ports = s->conf->scistream.data_ports;
    r.transports = usable;
    r.transport_states = tp;
    for (size_t i = 0; w && i < w->n_transports; i++) {
        if (str_eq(w->transports[i].name, "file") || str_eq(w->transports[i].name, "tcp")) /* nobody attaches by these */
            continue;
        scistream__gateway__v1__transport_state__init(&t[i]);
        t[i].name = w->transports[i].name;
        if (w->transports[i].problem)
            t[i].problem = w->transports[i].problem;
        else
            usable[r.n_transports++] = w->transports[i].name;
        if (local)
            tp[r.n_transport_states++] = &t[i];
    }
    for (size_t i = 0; local && i < s->conf->n_routes; i++)
        routes[r.n_routes++] = s->conf->routes[i]->name;
    r.routes = routes;
    before.pid = s->predecessor_pid;
    before.channels = s->predecessor_channels;
    if (local) {
        r.pid = (uint32_t)getpid();
        r.predecessor = before.pid ? &before : NULL;
        service_add_workers(&r, s->pool);
        service_add_segments(&r, s);
    }
    service_reply(c, &r.base);
    service_free_workers(&r);
    service_free_segments(&r);
}

static void on_info(struct grpc_call *c, const uint8_t *data, size_t len)
{
    Scistream__Gateway__V1__InfoRequest *q = scistream__gateway__v1__info_request__unpack(NULL, len, data);
    if (q)
        reply_info(c, grpc_server_user(c));
    else
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "InfoRequest cannot be read");
    scistream__gateway__v1__info_request__free_unpacked(q, NULL);
}

const struct grpc_handlers service_info_handlers = { .message = on_info, .closed = ignore_closed };

/* ------------------------------------------------------------ Sessions: to administrators */

typedef Scistream__Gateway__V1__SessionsRequest SessionsRequest;

static int add_connections(const struct service *s, const SessionsRequest *q, SessionsReply *r)
{
    const struct connections cs = service_connections(s);
    const struct connections_query cq = { .route = q->route, .after = q->after, .max = q->connections,
                                          .busiest = q->order == SCISTREAM__GATEWAY__V1__SESSIONS_REQUEST__ORDER__BUSIEST };
    return *q->uid ? 0 : connections_list(&cs, &cq, r);
}

static void reply_sessions(struct grpc_call *c, const SessionsRequest *q)
{
    const struct service *s = grpc_server_user(c);
    SessionsReply *r = sessions_reply_new();
    if (!*q->after) {
        sessions_list(s->sessions, q->uid, q->route, r);
        service_list_requests(s, q->uid, q->route, r);
    }
    if (*q->uid && r->n_sessions == 0)
        grpc_finish(c, GRPC_NOT_FOUND, "no session with that uid");
    else if (*q->route && !service_knows_route(s, q->route))
        grpc_finish(c, GRPC_NOT_FOUND, "no route of that name");
    else if (add_connections(s, q, r) < 0)
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "after must be what a reply before had as next");
    else
        service_reply(c, &r->base);
    sessions_reply_free(r);
}

static void run_sessions(struct grpc_call *c, const struct caller *who UNUSED, const uint8_t *data, size_t len)
{
    SessionsRequest *q = scistream__gateway__v1__sessions_request__unpack(NULL, len, data);
    if (!q)
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "SessionsRequest cannot be read");
    else
        reply_sessions(c, q);
    scistream__gateway__v1__sessions_request__free_unpacked(q, NULL);
}

static void on_sessions(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Sessions", .looks = true, .subject = service_subject, .run = run_sessions };
    service_allow(c, &what, data, len);
}

const struct grpc_handlers service_sessions_handlers = { .message = on_sessions, .closed = service_gone };
