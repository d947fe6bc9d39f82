/* The gRPC services of a gateway, one file each: rows for the server's method table. */
#ifndef CTRL_SERVICE_H
#define CTRL_SERVICE_H

#include <protobuf-c/protobuf-c.h>

#include "ctrl/requests.h"
#include "ctrl/session.h"
#include "ctrl/who.h"

typedef Scistream__Gateway__V1__DrainRequest DrainRequest;
typedef Scistream__Gateway__V1__ReloadReply ReloadReply;
typedef Scistream__Gateway__V1__UpgradeReply UpgradeReply;

/* What the program around does for administrators. */
struct service_drain { bool stop; uint64_t timeout_ns; };
struct service_admin {
    const char *(*drain)(void *user, const struct service_drain *d); /* NULL, or why not */
    const char *(*resume)(void *user);
    ReloadReply *(*reload)(void *user);                              /* heap */
    void (*released)(void *user, const char *uid);                   /* a session of scistream.Control has ended; may be NULL */
    uint32_t (*revoked)(void *user, const char *uid);                /* with its channels: the pid of another program that was told, or 0 */
    bool (*before)(void *user);                                      /* the program before this one still has streams; may be NULL */
    const char *(*upgrade)(void *user);                              /* NULL: service_upgraded will be called; or why not */
};

/* What the services act on: the user pointer of the grpc_server. */
struct service {
    struct loop *loop;
    const struct conf *conf;
    const char *name;              /* of this gateway */
    struct sessions *sessions;
    struct pool *pool;
    struct doors *doors;
    struct requests *requests;     /* sessions of scistream.Control */
    struct grants *grants;
    struct capacity *capacity;
    struct shares *shares;
    const struct routes *routes;
    struct tls_ctx *const *tls;    /* of the control endpoint: the one in use */
    struct resolver *resolver;
    uint64_t started_ns;
    const struct service_admin *admin;
    void *admin_user;
    struct who *who;
    struct list health_watchers, watchers, upgrades, asking, arranging; /* init by service_init */
    uint32_t predecessor_pid;      /* 0: there is none that still runs */
    uint64_t predecessor_channels;
};

void service_init(struct service *s);
/* The serving state changed (drain): tell those who watch. */
void service_health_changed(struct service *s);
/* Something happened to the gateway (see WatchEvent.what): tell those who watch. worker: only of worker-*, else 0. */
void service_note(struct service *s, const char *what, const char *text, unsigned worker);
/* The same about a session of scistream.Control, or one that was arranged. */
void service_note_session(struct service *s, const char *uid, const char *text);
void service_note_arranged(struct service *s, const char *uid, const char *text);
/* The answer to all who asked for an upgrade. */
void service_upgraded(struct service *s, const UpgradeReply *r);
extern const struct sessions_events service_session_events; /* user: the service */
extern const struct grants_events service_grants_events;    /* user: the service */
bool service_allows_data(void *user, const struct grant *g, const union sockaddr_any *to); /* for sessions_config; user: the service */

extern const struct grpc_method service_methods[];
extern const size_t service_methods_n;
/* What is served without TLS, where that is wanted (scistream.plaintext_listen). */
extern const struct grpc_method service_plain_methods[];
extern const size_t service_plain_methods_n;
extern const struct requests_ops service_requests_ops; /* user: the service */

/* For the files of the services: a reply and the end of a unary call. */
void service_reply(struct grpc_call *c, const ProtobufCMessage *m);
void service_send(struct grpc_call *c, const ProtobufCMessage *m);
/* The connections that its workers relay. */
struct connections service_connections(const struct service *s);
/* Has the configuration such a route, or is there something that came by it? */
bool service_knows_route(const struct service *s, const char *route);

/* A call that is for administrators; for them and who arranged the session that is its subject; or for whom its run() finds to be allowed. */
#define SERVICE_UID 65
enum service_audience { SERVICE_ADMINS, SERVICE_OWNERS, SERVICE_ANYBODY };
struct service_admin_call {
    const char *name;                                                        /* in the audit */
    bool looks;                                                              /* and changes nothing */
    bool extends;                                                            /* what is his, which he must still be allowed to have */
    enum service_audience audience;
    void (*subject)(const uint8_t *data, size_t len, char uid[SERVICE_UID]); /* the session that is asked for; may be NULL */
    void (*run)(struct grpc_call *c, const struct caller *who, const uint8_t *data, size_t len);
};
/* The subject in a message whose first field names it: a session's uid, or a route. */
void service_subject(const uint8_t *data, size_t len, char uid[SERVICE_UID]);
/* A message of it came: run, at once or later, when the caller may; else the call is ended. */
void service_allow(struct grpc_call *c, const struct service_admin_call *what, const uint8_t *data, size_t len);
/* closed() of such a call, or a part of it. */
void service_gone(struct grpc_call *c, enum grpc_status status, const char *text);
/* "unix (uid 0)", "alice@example.org at 192.0.2.7:40112" */
#define SERVICE_NAME (CALLER_NAME + ADDR_TEXT + 8)
const char *service_name_of(const struct caller *c, char out[SERVICE_NAME]);

extern const struct grpc_handlers service_info_handlers, service_sessions_handlers, service_devices_handlers, service_health_check_handlers,
    service_health_watch_handlers, service_watch_handlers, service_release_handlers, service_drain_handlers, service_reload_handlers,
    service_upgrade_handlers, service_scistream_req_handlers, service_scistream_hello_handlers, service_scistream_update_handlers,
    service_scistream_release_handlers;
extern const struct grpc_handlers service_grant_handlers, service_renew_handlers, service_revoke_handlers, service_grants_handlers, service_arrange_handlers,
    service_show_handlers, service_whoami_handlers;
/* The part of Info that is for local administrators, built on the heap. */
void service_add_workers(Scistream__Gateway__V1__InfoReply *r, struct pool *p);
void service_free_workers(Scistream__Gateway__V1__InfoReply *r);
/* And what can be reserved. */
void service_add_segments(Scistream__Gateway__V1__InfoReply *r, const struct service *s);
void service_free_segments(Scistream__Gateway__V1__InfoReply *r);
/* For a session of class provisioned: its rate, and rings for its channels (t->memory) or for a connection to each of its doors. OK;
 * RESOURCE_EXHAUSTED: not now; FAILED_PRECONDITION: never, as this gateway is configured; and why. */
enum grpc_status service_reserve(const struct service *s, const struct capacity_terms *t, unsigned doors, char *why, size_t size);
/* It had that by the program before, or has other terms. */
void service_reserve_again(const struct service *s, const struct capacity_terms *t);
/* Such a session has ended; also for others. */
void service_give_back(const struct service *s, const char *uid);
void service_attach_start(struct grpc_call *c);
void service_unary_start(struct grpc_call *c);
void service_scistream_start(struct grpc_call *c);
/* One of them, for Gateway.Sessions and for another program; heap, scistream__gateway__v1__session__free_unpacked. */
Scistream__Gateway__V1__Session *service_request_message(const struct service *s, const struct request *r, const struct stats_sum *live);
/* Add them to a reply, all or the one of that uid. */
void service_list_requests(const struct service *s, const char *uid, const char *route, SessionsReply *r);

#endif
