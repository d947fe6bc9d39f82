/* Gateway.Release, Drain, Reload and Upgrade: what administrators may do to a gateway. */
#include <stdio.h>

#include "ctrl/service_arranged.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/units.h"

#define REASON_MAX 200

typedef Scistream__Gateway__V1__ReleaseRequest ReleaseRequest;
typedef Scistream__Gateway__V1__ReleaseReply ReleaseReply;

/* ------------------------------------------------------------ Release */

/* Peers and logs show it: nothing in it may move a cursor. */
static bool reason_ok(const char *s)
{
    if (strlen(s) > REASON_MAX)
        return false;
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

/* One that was arranged and is attached to: also when nobody is. */
static void release_attached(struct grpc_call *c, const char *uid, const char *text, const char *by)
{
    const struct service *s = grpc_server_user(c);
    ReleaseReply r = SCISTREAM__GATEWAY__V1__RELEASE_REPLY__INIT;
    if (s->grants->frozen) {
        grpc_finish(c, GRPC_UNAVAILABLE, s->grants->frozen);
        return;
    }
    r.channels = service_arranged_end(s, uid, text);
    r.sessions = 1;
    log_info("session %s released by %s: %u channel%s", uid, by, r.channels, r.channels == 1 ? "" : "s");
    service_reply(c, &r.base);
}

static void release_session(struct grpc_call *c, const ReleaseRequest *q, const char *text, const char *by)
{
    const struct service *s = grpc_server_user(c);
    ReleaseReply r = SCISTREAM__GATEWAY__V1__RELEASE_REPLY__INIT;
    bool one = q->pick_case == SCISTREAM__GATEWAY__V1__RELEASE_REQUEST__PICK_CHANNEL;
    if (!one && arranged_find(s->grants, q->uid)) {
        release_attached(c, q->uid, text, by);
        return;
    }
    int n = sessions_abort(s->sessions, q->uid, one ? (int64_t)q->channel : -1, -SST_ERELEASED, text);
    if (n < 0 && !one && requests_end(s->requests, q->uid, text) == 0) {
        log_info("session %s released by %s", q->uid, grpc_conn_peer(grpc_call_conn(c)));
        r.sessions = 1;
        service_reply(c, &r.base);
    } else if (n < 0) {
        grpc_finish(c, GRPC_NOT_FOUND, "no session with that uid");
    } else if (n == 0) {
        grpc_finish(c, GRPC_NOT_FOUND, one ? "the session has no open channel of that number" : "the session has no open channel");
    } else {
        log_info("session %s: %d channel%s released by %s", q->uid, n, n == 1 ? "" : "s", by);
        r.channels = (uint32_t)n;
        service_reply(c, &r.base);
    }
}

static void release_connection(struct grpc_call *c, const ReleaseRequest *q, const char *text, const char *by)
{
    const struct connections cs = service_connections(grpc_server_user(c));
    ReleaseReply r = SCISTREAM__GATEWAY__V1__RELEASE_REPLY__INIT;
    if (!connections_release(&cs, q->connection, text)) {
        grpc_finish(c, GRPC_NOT_FOUND, "no open connection with that id");
        return;
    }
    log_info("connection %s released by %s", q->connection, by);
    r.connections = 1;
    service_reply(c, &r.base);
}

static void release_arranged(struct grpc_call *c, const char *text)
{
    const struct service *s = grpc_server_user(c);
    ReleaseReply r = SCISTREAM__GATEWAY__V1__RELEASE_REPLY__INIT;
    r.sessions = requests_end_all(s->requests, -SST_ERELEASED, text);
    log_info("%u session%s of scistream.Control released by %s", r.sessions, r.sessions == 1 ? "" : "s", grpc_conn_peer(grpc_call_conn(c)));
    if (r.sessions)
        service_reply(c, &r.base);
    else
        grpc_finish(c, GRPC_NOT_FOUND, "there is no session that SciStream's client arranged");
}

/* Its channels, and the connections that workers relay. */
static void release_route(struct grpc_call *c, const ReleaseRequest *q, const char *text, const char *by)
{
    const struct service *s = grpc_server_user(c);
    const struct connections cs = service_connections(s);
    ReleaseReply r = SCISTREAM__GATEWAY__V1__RELEASE_REPLY__INIT;
    if (str_eq(q->route, DOORS_SESSIONS)) {
        release_arranged(c, text);
        return;
    }
    if (!service_knows_route(s, q->route)) {
        grpc_finish(c, GRPC_NOT_FOUND, "no route of that name");
        return;
    }
    r.channels = sessions_abort_route(s->sessions, q->route, -SST_ERELEASED, text);
    r.connections = connections_release_route(&cs, q->route, text);
    if (r.channels == 0 && r.connections == 0) {
        grpc_finish(c, GRPC_NOT_FOUND, "the route has neither an open channel nor an open connection");
        return;
    }
    AUTO_FREE char *what = units_streams("", r.channels, r.connections);
    log_info("route %s: %s released by %s", q->route, what, by);
    service_reply(c, &r.base);
}

static void release(struct grpc_call *c, const ReleaseRequest *q, const struct caller *who)
{
    char by[SERVICE_NAME];
    const char *said = err_text(-SST_ERELEASED);
    AUTO_FREE char *text = *q->reason ? mem_printf("%s: %s", said, q->reason) : mem_strdup(said);
    (*q->uid ? release_session : *q->route ? release_route : release_connection)(c, q, text, service_name_of(who, by));
}

/* What is to be released is said in one way, and a channel only of a session. */
static bool asks_for_one(const ReleaseRequest *q)
{
    bool channel = q->pick_case != SCISTREAM__GATEWAY__V1__RELEASE_REQUEST__PICK__NOT_SET;
    return (*q->uid != 0) + (*q->connection != 0) + (*q->route != 0) == 1 && (*q->uid || !channel);
}

static void run_release(struct grpc_call *c, const struct caller *who, const uint8_t *data, size_t len)
{
    ReleaseRequest *q = scistream__gateway__v1__release_request__unpack(NULL, len, data);
    if (!q || !asks_for_one(q))
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "a readable ReleaseRequest with a uid, a connection or a route is expected");
    else if (!reason_ok(q->reason))
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "the reason must be printable text of at most 200 bytes");
    else
        release(c, q, who);
    scistream__gateway__v1__release_request__free_unpacked(q, NULL);
}

static void subject_of_release(const uint8_t *data, size_t len, char uid[SERVICE_UID])
{
    ReleaseRequest *q = scistream__gateway__v1__release_request__unpack(NULL, len, data);
    if (q)
        str_copy(uid, SERVICE_UID, *q->uid ? q->uid : *q->route ? q->route : q->connection);
    scistream__gateway__v1__release_request__free_unpacked(q, NULL);
}

static void on_release(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Release", .subject = subject_of_release, .run = run_release };
    service_allow(c, &what, data, len);
}

const struct grpc_handlers service_release_handlers = { .message = on_release, .closed = service_gone };

/* ------------------------------------------------------------ Drain */

static void drain(struct grpc_call *c, const DrainRequest *q)
{
    struct service *s = grpc_server_user(c);
    Scistream__Gateway__V1__DrainReply r = SCISTREAM__GATEWAY__V1__DRAIN_REPLY__INIT;
    struct service_drain d = { .stop = q->stop, .timeout_ns = s->conf->g.drain_timeout };
    if (q->limit_case == SCISTREAM__GATEWAY__V1__DRAIN_REQUEST__LIMIT_TIMEOUT_MS)
        d.timeout_ns = q->timeout_ms > TIME_FOREVER / NS_PER_MS ? TIME_FOREVER : q->timeout_ms * NS_PER_MS;
    const char *problem = q->resume ? s->admin->resume(s->admin_user) : s->admin->drain(s->admin_user, &d);
    if (problem) {
        grpc_finish(c, GRPC_FAILED_PRECONDITION, problem);
        return;
    }
    r.channels = (uint32_t)sessions_channels(s->sessions);
    r.connections = connections_open(s->pool);
    r.timeout_ms = d.timeout_ns == TIME_FOREVER ? UINT64_MAX : d.timeout_ns / NS_PER_MS;
    service_reply(c, &r.base);
}

static void run_drain(struct grpc_call *c, const struct caller *who UNUSED, const uint8_t *data, size_t len)
{
    DrainRequest *q = scistream__gateway__v1__drain_request__unpack(NULL, len, data);
    if (!q)
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "DrainRequest cannot be read");
    else if (q->resume && (q->stop || q->limit_case != SCISTREAM__GATEWAY__V1__DRAIN_REQUEST__LIMIT__NOT_SET))
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "resume goes with nothing else");
    else
        drain(c, q);
    scistream__gateway__v1__drain_request__free_unpacked(q, NULL);
}

static void on_drain(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Drain", .run = run_drain };
    service_allow(c, &what, data, len);
}

const struct grpc_handlers service_drain_handlers = { .message = on_drain, .closed = service_gone };

/* ------------------------------------------------------------ Reload */

static void run_reload(struct grpc_call *c, const struct caller *who UNUSED, const uint8_t *data, size_t len)
{
    Scistream__Gateway__V1__ReloadRequest *q = scistream__gateway__v1__reload_request__unpack(NULL, len, data);
    const struct service *s = grpc_server_user(c);
    if (!q) {
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "ReloadRequest cannot be read");
    } else {
        ReloadReply *r = s->admin->reload(s->admin_user);
        service_reply(c, &r->base);
        scistream__gateway__v1__reload_reply__free_unpacked(r, NULL);
    }
    scistream__gateway__v1__reload_request__free_unpacked(q, NULL);
}

static void on_reload(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Reload", .run = run_reload };
    service_allow(c, &what, data, len);
}

const struct grpc_handlers service_reload_handlers = { .message = on_reload, .closed = service_gone };

/* ------------------------------------------------------------ Upgrade */

struct asked { struct list node; struct grpc_call *call; };

static void run_upgrade(struct grpc_call *c, const struct caller *who UNUSED, const uint8_t *data, size_t len)
{
    Scistream__Gateway__V1__UpgradeRequest *q = scistream__gateway__v1__upgrade_request__unpack(NULL, len, data);
    struct service *s = grpc_server_user(c);
    const char *problem = NULL;
    if (!q || grpc_user(c)) {
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "one readable UpgradeRequest is expected");
    } else if ((problem = s->admin->upgrade(s->admin_user))) {
        grpc_finish(c, GRPC_FAILED_PRECONDITION, problem);
    } else {
        struct asked *a = mem_zalloc(1, sizeof(*a));
        a->call = c;
        list_add_tail(&s->upgrades, &a->node);
        grpc_set_user(c, a);
    }
    scistream__gateway__v1__upgrade_request__free_unpacked(q, NULL);
}

static void on_upgrade(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Upgrade", .run = run_upgrade };
    service_allow(c, &what, data, len);
}

static void on_upgrade_closed(struct grpc_call *c, enum grpc_status s, const char *text)
{
    struct asked *a = grpc_user(c);
    service_gone(c, s, text);
    if (!a)
        return;
    list_del(&a->node);
    free(a);
}

const struct grpc_handlers service_upgrade_handlers = { .message = on_upgrade, .closed = on_upgrade_closed };

void service_upgraded(struct service *s, const UpgradeReply *r)
{
    list_for_each_safe(n, &s->upgrades)
        service_reply(list_entry(n, struct asked, node)->call, &r->base);
}
