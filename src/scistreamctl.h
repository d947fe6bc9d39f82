/* The parts of scistreamctl: one function per command. */
#ifndef SRC_SCISTREAMCTL_H
#define SRC_SCISTREAMCTL_H

#include "ctrl/gateway.pb-c.h"
#include "src/endpoint.h"

struct ctl_opts {
    struct endpoint_opts e;
    char *socket, *reason, *timeout, *route, *gateway, *token_file, *cert, *key, *send_file, *recv_file, *output, **address;
    char **to, **from, **listen; /* words of lists */
    uint64_t interval, lifetime, ticket_for, rate;
    int64_t limit, channels;
    int order, attach, dial, class_;
    bool socket_given, json, stop, resume, connections, abort, class_given, for_given;
};

/* One unary call on the local socket, or to --gateway; done gets the reply (data NULL: failed, and it was said). Exit code. */
typedef int ctl_reply(const struct ctl_opts *o, const uint8_t *data, size_t len);
int ctl_call(const struct ctl_opts *o, const char *path, const ProtobufCMessage *request, ctl_reply *reply);
/* The same with another time for the answer. */
int ctl_call_within(const struct ctl_opts *o, const char *path, const ProtobufCMessage *request, ctl_reply *reply, uint64_t ns);

/* The same for who has to know what became of it, and says himself why it failed. SIGINT, SIGTERM and SIGHUP end it, also those that came since the last. */
#define CTL_WHY 700
struct ctl_asked {
    ctl_reply *reply;
    bool sent, decided;      /* the gateway may have heard of it; it has answered */
    enum grpc_status status; /* when it was sent */
    char why[CTL_WHY];       /* "": nothing was wrong, or it was said */
};
int ctl_ask(const struct ctl_opts *o, const char *path, const ProtobufCMessage *request, struct ctl_asked *a);

/* A call with many replies, until the gateway or SIGINT, SIGTERM ends it. Exit code. */
struct ctl_stream {
    struct loop *loop;                                                             /* for timers and signals of the caller's */
    void (*begun)(struct ctl_stream *s);
    void (*message)(struct ctl_stream *s, const uint8_t *data, size_t len);
    void (*ended)(struct ctl_stream *s);                                           /* before anything is said about it; also twice */
};
int ctl_stream(const struct ctl_opts *o, const char *path, const ProtobufCMessage *request, struct ctl_stream *s);

/* "name":"value" and "name":["value", …] on standard output. */
void ctl_json_text(const char *name, const char *value, const char *after);
void ctl_json_list(const char *name, char *const *v, size_t n);

void ctl_session_json(const Scistream__Gateway__V1__Session *s);
void ctl_session_text(const Scistream__Gateway__V1__Session *s);
void ctl_channel_json(const Scistream__Gateway__V1__Channel *c);
/* ,"name":{…} */
void ctl_flow_json(const char *name, const Scistream__Gateway__V1__FlowState *f, bool rate);
/* "routes":[…] and {…}; rates: with what a watcher is told */
void ctl_routes_json(Scistream__Gateway__V1__RouteConnections *const *r, size_t n, bool rates);
void ctl_connection_json(const Scistream__Gateway__V1__Connection *c, bool rates);
/* A line for each route; a table. */
void ctl_routes_text(Scistream__Gateway__V1__RouteConnections *const *r, size_t n);
void ctl_connections_text(Scistream__Gateway__V1__Connection *const *c, size_t n);
/* --route and --connections are not for one session: says so, and true. */
bool ctl_is_wrong_for_uid(const struct ctl_opts *o, int argc);

int ctl_info(struct ctl_opts *o, int argc, char **argv);
int ctl_sessions(struct ctl_opts *o, int argc, char **argv);
int ctl_devices(struct ctl_opts *o, int argc, char **argv);
int ctl_watch(struct ctl_opts *o, int argc, char **argv);
int ctl_release(struct ctl_opts *o, int argc, char **argv);
int ctl_drain(struct ctl_opts *o, int argc, char **argv);
int ctl_upgrade(struct ctl_opts *o, int argc, char **argv);
int ctl_reload(struct ctl_opts *o, int argc, char **argv);
int ctl_ticket(struct ctl_opts *o, int argc, char **argv);
int ctl_grant(struct ctl_opts *o, int argc, char **argv);
int ctl_renew(struct ctl_opts *o, int argc, char **argv);
int ctl_revoke(struct ctl_opts *o, int argc, char **argv);
int ctl_grants(struct ctl_opts *o, int argc, char **argv);
int ctl_probe(struct ctl_opts *o, int argc, char **argv);
int ctl_token(struct ctl_opts *o, int argc, char **argv);
int ctl_inbound(struct ctl_opts *o, int argc, char **argv);
int ctl_outbound(struct ctl_opts *o, int argc, char **argv);
int ctl_both(struct ctl_opts *o, int argc, char **argv);
/* A command about one session at both gateways of --from and --to. False: these were not given. */
bool ctl_at_both(const struct ctl_opts *o, int (*run)(struct ctl_opts *o, int argc, char **argv), char *uid, int *code);
int ctl_show(struct ctl_opts *o, int argc, char **argv);
int ctl_login(struct ctl_opts *o, int argc, char **argv);
int ctl_firewall(struct ctl_opts *o, int argc, char **argv);

/* The token in a file; NULL: none, and it was said. Heap, the caller's to wipe. */
char *ctl_token_read(const char *path);
/* The ticket that an operand or option names (a file, "-", or, with a warning, itself, which is wiped), else SCISTREAM_TICKET_FILE. 0, or exit code, and it
 * was said. */
int ctl_ticket_read(char *from, struct ticket *out);

#endif
