/* The server's side: ports, connections and their limits, methods.
 *
 * Happy path: accepted (a small struct, nothing else) -> first bytes: TLS object, name -> HTTP/2 -> calls, each to its method ->
 * idle for five minutes, or drained: GOAWAY.
 * Failures: a connection that breaks or is dead ends its calls with UNAVAILABLE; one gated log line where the peer is to blame.
 * Connections that have not spoken yet are the first to go when there are too many; none stays longer than handshake_ns without a
 * call.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "ctrl/grpc_call.h"
#include "src/core/units.h"

#define LOOK_AT_MOST 16 /* for one to close */

uint64_t grpc_idle_ns = 300 * NS_PER_S;

struct grpc_port { struct listener l; struct list node; struct grpc_server *server; struct tls_ctx *tls; char *what; };

struct grpc_server {
    struct loop *loop;
    const struct grpc_method *methods;
    size_t n_methods;
    struct grpc_limits limits;
    void *user;
    struct list ports;
    struct list fresh, conns; /* not yet up, oldest first; the others */
    uint32_t n_conns;
    size_t n_calls;
    bool draining, resting, freed;
};

static struct grpc_server *server_of(const struct grpc_conn *c) { return c->port->server; }

/* ------------------------------------------------------------ life of a connection */

static void complain(struct grpc_conn *c, int rc, const char *why)
{
    static struct log_gate gate = LOG_GATE;
    bool in_tls = c->sock.tls && !c->h2, blame = rc == -SST_EPROTO || rc == -SST_ELIMIT || rc == -SST_EPEERDEAD || rc == -ENOMEM;
    if (blame || (in_tls && (rc == -SST_ETLS || rc == -SST_ECERT)))
        log_gated(&gate, LOG_LEVEL_WARN, "%s: %s: %s%s", c->port->l.what, grpc_conn_peer(c), in_tls ? "TLS: " : "", why);
    else
        log_debug("%s: %s: %s", c->port->l.what, grpc_conn_peer(c), why);
}

static void server_failed(struct grpc_conn *c, int rc, const char *why)
{
    complain(c, rc, why);
    c->state = CONN_OVER;
    grpc_conn_end_calls(c, GRPC_UNAVAILABLE, why);
    if (c->h2 && (rc == -SST_EPROTO || rc == -SST_ELIMIT) && !server_of(c)->freed)
        grpc_conn_linger(c); /* so that it can read why */
}

/* First bytes, or the end: only now a connection costs more than its struct. */
static void server_begin(struct grpc_conn *c)
{
    char byte;
    if (c->due) {
        c->state = CONN_OVER;
        return;
    }
    if (!c->sock.can_read)
        return;
    ssize_t n = recv(c->sock.io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        c->state = CONN_OVER;
        return;
    }
    grpc_conn_name(c);
    c->tls = c->port->tls;
    if (c->tls) {
        sock_start_tls(&c->sock, tls_new_server(c->tls, c->sock.io.fd));
        tls_set_batch(c->sock.tls, GRPC_TLS_BATCH);
    }
    grpc_conn_secure(c);
}

static void server_up(struct grpc_conn *c)
{
    list_del(&c->node);
    list_add_tail(&server_of(c)->conns, &c->node);
}

static void server_idle(struct grpc_conn *c)
{
    if (server_of(c)->draining)
        grpc_conn_finish(c);
    else
        grpc_conn_alarm(c, grpc_idle_ns);
}

static void server_late(struct grpc_conn *c)
{
    if (c->state == CONN_UP && c->called && !c->graceful)
        grpc_conn_finish(c);
    else
        grpc_conn_fail(c, -ETIMEDOUT, "no call was made in time");
}

static void server_maybe_free(struct grpc_server *s)
{
    struct list *n;
    if (!s->freed || s->n_conns)
        return;
    while ((n = list_pop(&s->ports))) {
        struct grpc_port *p = list_entry(n, struct grpc_port, node);
        free(p->what);
        free(p);
    }
    free(s);
}

static void server_over(struct grpc_conn *c)
{
    struct grpc_server *s = server_of(c);
    list_del(&c->node);
    s->n_conns--;
    grpc_conn_free(c);
    server_maybe_free(s);
}

static const struct grpc_side server_side = {
    .server = true, .begin = server_begin, .up = server_up, .idle = server_idle, .late = server_late, .failed = server_failed,
    .over = server_over,
};

/* ------------------------------------------------------------ accepting */

static bool has_spoken(const struct grpc_conn *c)
{
    char byte;
    return c->state != CONN_SILENT || recv(c->sock.io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* The oldest of those that have not said a word; where the first few have, the oldest that is not up. */
static struct grpc_conn *least_deserving(const struct grpc_server *s)
{
    unsigned looked_at = 0;
    list_for_each(n, &s->fresh) {
        struct grpc_conn *c = list_entry(n, struct grpc_conn, node);
        if (!has_spoken(c))
            return c;
        if (++looked_at == LOOK_AT_MOST)
            break;
    }
    return list_empty(&s->fresh) ? NULL : list_entry(s->fresh.next, struct grpc_conn, node);
}

/* Room for one more? */
static bool make_room(struct grpc_port *p)
{
    static struct log_gate gate = LOG_GATE;
    struct grpc_server *s = p->server;
    if (s->n_conns < s->limits.connections)
        return true;
    log_gated(&gate, LOG_LEVEL_WARN, "%s: limit of %u connections is reached (max_connections)", p->l.what, s->limits.connections);
    struct grpc_conn *c = least_deserving(s);
    if (c)
        grpc_conn_close(c, GRPC_UNAVAILABLE, "");
    return c;
}

static void on_accepted(struct listener *l, int fd, const union sockaddr_any *peer UNUSED)
{
    struct grpc_port *p = container_of(l, struct grpc_port, l);
    struct grpc_server *s = p->server;
    if (!make_room(p)) {
        close(fd);
        return;
    }
    struct grpc_conn *c = grpc_conn_new(s->loop, &server_side);
    c->port = p;
    c->streams = s->limits.streams;
    c->silent_ns = s->limits.silent_ns;
    if (sock_attach(&c->sock, s->loop, fd, grpc_conn_event) < 0) {
        grpc_conn_free(c);
        return;
    }
    s->n_conns++;
    list_add_tail(&s->fresh, &c->node);
    grpc_conn_alarm(c, s->limits.handshake_ns);
}

/* ------------------------------------------------------------ calls */

static const struct grpc_method *find_method(const struct grpc_server *s, const char *path)
{
    for (size_t i = 0; i < s->n_methods; i++)
        if (str_eq(s->methods[i].path, path))
            return &s->methods[i];
    return NULL;
}

static const char *header(const struct grpc_call *c, const char *name)
{
    const char *v = grpc_metadata(c, name);
    return v ? v : "";
}

/* True: it is a request that some method of ours may hear of. */
static bool acceptable(struct grpc_call *c)
{
    struct grpc_server *s = server_of(c->conn);
    char text[200];
    if (c->stream.too_big) {
        grpc_call_abort(c, GRPC_RESOURCE_EXHAUSTED, "too many or too large headers");
    } else if (!str_eq(header(c, ":method"), "POST")) {
        grpc_call_refuse_http(c, "405");
    } else if (!grpc_content_ok(header(c, "content-type"))) {
        grpc_call_refuse_http(c, "415");
    } else if (s->draining) {
        grpc_call_abort(c, GRPC_UNAVAILABLE, "shutting down");
    } else if (!(c->method = find_method(s, header(c, ":path")))) {
        snprintf(text, sizeof(text), "unknown method %.150s", header(c, ":path"));
        grpc_call_abort(c, GRPC_UNIMPLEMENTED, text);
    }
    return !c->over;
}

void grpc_server_start(struct grpc_call *c)
{
    const char *timeout = grpc_metadata(c, "grpc-timeout");
    uint64_t ns = 0;
    if (!acceptable(c))
        return;
    if (timeout && grpc_timeout_parse(timeout, &ns) < 0)
        grpc_call_abort(c, GRPC_INTERNAL, "malformed grpc-timeout");
    else if (timeout && ns == 0)
        grpc_call_abort(c, GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
    if (c->over)
        return;
    grpc_call_deadline(c, ns);
    c->message_max = c->method->message_max;
    c->handlers = c->method->handlers;
    server_of(c->conn)->n_calls++;
    c->method->start(c);
}

void grpc_server_told(struct grpc_call *c)
{
    if (c->handlers)
        server_of(c->conn)->n_calls--;
}

void *grpc_server_user(const struct grpc_call *c) { return server_of(c->conn)->user; }
size_t grpc_server_calls(const struct grpc_server *s) { return s->n_calls; }

/* ------------------------------------------------------------ the server */

struct grpc_server *grpc_server_new(struct loop *l, const struct grpc_method *methods, size_t n, const struct grpc_limits *limits,
                                    void *user)
{
    struct grpc_server *s = mem_zalloc(1, sizeof(*s));
    s->loop = l;
    s->methods = methods;
    s->n_methods = n;
    s->limits = *limits;
    s->user = user;
    list_init(&s->ports);
    list_init(&s->fresh);
    list_init(&s->conns);
    return s;
}

int grpc_server_listen(struct grpc_server *s, int fd, struct tls_ctx *tls, const char *what)
{
    struct grpc_port *p = mem_zalloc(1, sizeof(*p));
    list_init(&p->node);
    p->server = s;
    p->tls = tls;
    p->what = mem_strdup(what);
    int rc = listener_start(&p->l, s->loop, fd, p->what, on_accepted);
    list_add_tail(&s->ports, &p->node);
    return rc;
}

void grpc_server_renew(struct grpc_server *s, struct tls_ctx *tls, const struct grpc_limits *limits)
{
    s->limits = *limits;
    list_for_each(n, &s->ports) {
        struct grpc_port *p = list_entry(n, struct grpc_port, node);
        if (p->tls)
            p->tls = tls;
    }
}

void grpc_server_each_port(const struct grpc_server *s, void (*each)(void *user, int fd), void *user)
{
    list_for_each(n, &s->ports)
        each(user, list_entry(n, struct grpc_port, node)->l.fd);
}

void grpc_server_deaf(struct grpc_server *s)
{
    list_for_each(n, &s->ports)
        listener_stop(&list_entry(n, struct grpc_port, node)->l);
}

void grpc_server_rest(struct grpc_server *s)
{
    s->resting = true;
    list_for_each(n, &s->ports)
        listener_rest(&list_entry(n, struct grpc_port, node)->l);
}

int grpc_server_wake(struct grpc_server *s)
{
    int rc = 0;
    s->resting = s->draining = false;
    list_for_each(n, &s->ports) {
        int woken = listener_wake(&list_entry(n, struct grpc_port, node)->l);
        rc = rc ? rc : woken;
    }
    return rc;
}

void grpc_server_drain(struct grpc_server *s)
{
    s->draining = true;
    if (!s->resting)
        grpc_server_deaf(s);
    list_for_each_safe(n, &s->fresh)
        grpc_conn_close(list_entry(n, struct grpc_conn, node), GRPC_UNAVAILABLE, "");
    list_for_each_safe(n, &s->conns) {
        struct grpc_conn *c = list_entry(n, struct grpc_conn, node);
        if (c->state == CONN_UP && c->n_calls == 0)
            grpc_conn_finish(c);
    }
}

/* A connection with a callback on the stack goes when that returns, and the server with the last of them. */
static void close_all(struct list *conns)
{
    struct list *n;
    while ((n = list_pop(conns)))
        grpc_conn_close(list_entry(n, struct grpc_conn, node), GRPC_UNAVAILABLE, "shutting down");
}

void grpc_server_free(struct grpc_server *s)
{
    if (!s || s->freed)
        return;
    s->n_conns++;
    s->freed = true;
    grpc_server_drain(s);
    close_all(&s->conns);
    s->n_conns--;
    server_maybe_free(s);
}
