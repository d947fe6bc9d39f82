/* The client's side: resolve, then connect, TLS and HTTP/2 with each address in turn until one is up.
 *
 * Happy path: grpc_dial -> (from the loop) resolve -> sock_connect -> TLS -> HTTP/2 -> ready() -> grpc_call …
 * Failures: each step has connect_ns; a step that fails is noted with its address and the next address is tried. When none is
 * left, or after ready() at the first failure, lost() tells the last note, once, and the connection is freed.
 */
#include <stdio.h>
#include <sys/un.h>

#include "ctrl/grpc_call.h"
#include "src/core/units.h"

#define WHY 400

struct grpc_dial {
    struct resolver *resolver;
    struct resolve *question;
    char *host, *unix_path, *tls_name, *authority, *authorization;
    uint16_t port;
    struct grpc_dialer on;
    void *user;
    struct dial_place { char *host; union sockaddr_any at; } *place; /* heap */
    size_t n, at;     /* of them, the one being tried */
    bool hung_up;
    const char *step; /* what failed last */
    int rc;
    char why[WHY];
};

/* ------------------------------------------------------------ failures */

static const char *step_name(enum conn_state s)
{
    switch (s) {
    case CONN_DIALLING: return "resolve";
    case CONN_CONNECT: return "connect";
    case CONN_TLS: return "tls";
    case CONN_HTTP2: return "http2";
    default: return "";
    }
}

static const char *address_text(const struct grpc_dial *d, char text[ADDR_TEXT])
{
    if (d->unix_path)
        snprintf(text, ADDR_TEXT, "%s", d->unix_path);
    else
        addr_format(&d->place[d->at].at, text);
    return text;
}

static void note(struct grpc_conn *c, int rc, const char *why)
{
    struct grpc_dial *d = c->dial;
    char text[ADDR_TEXT];
    d->step = step_name(c->state);
    d->rc = rc;
    if (c->state == CONN_DIALLING)
        snprintf(d->why, sizeof(d->why), "%s", why);
    else
        snprintf(d->why, sizeof(d->why), "%s: %s", address_text(d, text), why);
}

static void lost(struct grpc_conn *c, const char *why)
{
    c->state = CONN_OVER;
    grpc_conn_end_calls(c, GRPC_UNAVAILABLE, why);
}

/* ------------------------------------------------------------ steps */

/* Connect to the address at d->at, or to the next that takes a connect at all. */
static void try_address(struct grpc_conn *c)
{
    struct grpc_dial *d = c->dial;
    for (; d->at < d->n; d->at++) {
        c->state = CONN_CONNECT;
        grpc_conn_alarm(c, c->step_ns);
        int rc = sock_connect(&c->sock, c->sock.loop, &d->place[d->at].at, grpc_conn_event);
        if (rc == 0)
            return;
        note(c, rc, err_text(rc));
    }
    lost(c, d->why);
}

static void client_failed(struct grpc_conn *c, int rc, const char *why)
{
    note(c, rc, why);
    if (c->state == CONN_UP || c->state == CONN_DIALLING) {
        lost(c, why);
        return;
    }
    grpc_conn_drop(c);
    c->dial->at++;
    try_address(c);
}

static void client_late(struct grpc_conn *c)
{
    char time[UNITS_TEXT], why[80];
    snprintf(why, sizeof(why), "no answer within %s", units_human_time(time, c->step_ns));
    grpc_conn_fail(c, -SST_ETIMEOUT, why);
}

static void use_addresses(struct grpc_dial *d, const union sockaddr_any *at, size_t n)
{
    d->n = n;
    d->place = mem_zalloc(n, sizeof(*d->place));
    for (size_t i = 0; i < n; i++)
        d->place[i] = (struct dial_place){ .host = d->host ? mem_strdup(d->host) : NULL, .at = at[i] };
}

static void use_places(struct grpc_dial *d, const struct grpc_target *t)
{
    d->n = t->n_places;
    d->place = mem_zalloc(d->n, sizeof(*d->place));
    for (size_t i = 0; i < d->n; i++)
        d->place[i] = (struct dial_place){ .host = mem_strdup(t->places[i].host), .at = t->places[i].at };
}

static void on_resolved(void *user, int rc, const union sockaddr_any *addrs, size_t n, const char *why)
{
    struct grpc_conn *c = user;
    struct grpc_dial *d = c->dial;
    grpc_conn_enter(c);
    d->question = NULL;
    if (rc < 0) {
        grpc_conn_fail(c, rc, why);
    } else {
        use_addresses(d, addrs, n);
        try_address(c);
    }
    grpc_conn_leave(c);
}

static void use_unix_path(struct grpc_conn *c)
{
    struct grpc_dial *d = c->dial;
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    union sockaddr_any at = { 0 };
    c->state = CONN_CONNECT;
    if (!str_copy(un.sun_path, sizeof(un.sun_path), d->unix_path)) {
        note(c, -ENAMETOOLONG, err_text(-ENAMETOOLONG));
        lost(c, d->why);
        return;
    }
    memcpy(&at, &un, sizeof(un));
    use_addresses(d, &at, 1);
    try_address(c);
}

static void start_dialling(struct grpc_conn *c)
{
    struct grpc_dial *d = c->dial;
    if (d->unix_path) {
        use_unix_path(c);
    } else if (d->n) {
        try_address(c);
    } else if (!d->question) {
        grpc_conn_alarm(c, c->step_ns);
        d->question = resolve_start(d->resolver, d->host, d->port, on_resolved, c);
    }
}

static void secure(struct grpc_conn *c)
{
    struct grpc_dial *d = c->dial;
    grpc_conn_name(c);
    if (c->tls) {
        sock_start_tls(&c->sock, tls_new_client(c->tls, c->sock.io.fd, d->tls_name ? d->tls_name : d->place[d->at].host));
        tls_set_batch(c->sock.tls, GRPC_TLS_BATCH);
    }
    grpc_conn_secure(c);
}

static void client_begin(struct grpc_conn *c)
{
    if (c->due) {
        client_late(c);
    } else if (c->state == CONN_DIALLING) {
        start_dialling(c);
    } else {
        int rc = sock_connected(&c->sock);
        if (rc == 0)
            secure(c);
        else if (rc != -EAGAIN)
            grpc_conn_fail(c, rc, err_text(rc));
    }
}

static void client_up(struct grpc_conn *c)
{
    loop_timer_stop(c->sock.loop, &c->timer);
    if (c->dial->on.ready)
        c->dial->on.ready(c, c->dial->user);
}

static void client_idle(struct grpc_conn *c) { loop_timer_stop(c->sock.loop, &c->timer); }

static void dial_free(struct grpc_dial *d)
{
    resolve_cancel(d->question);
    for (size_t i = 0; i < d->n; i++)
        free(d->place[i].host);
    free(d->place);
    free(d->host);
    free(d->unix_path);
    free(d->tls_name);
    free(d->authority);
    if (d->authorization)
        secret_wipe(d->authorization, strlen(d->authorization));
    free(d->authorization);
    free(d);
}

static void client_over(struct grpc_conn *c)
{
    struct grpc_dial *d = c->dial;
    c->busy++; /* lost() may hang up */
    if (!d->hung_up && d->on.lost) {
        d->hung_up = true;
        d->on.lost(c, d->user, d->step, d->rc, d->why);
    }
    dial_free(d);
    grpc_conn_free(c);
}

static const struct grpc_side client_side = {
    .begin = client_begin, .up = client_up, .idle = client_idle, .late = client_late, .failed = client_failed, .over = client_over,
};

/* ------------------------------------------------------------ responses */

/* grpc-status where there is one, else what HTTP says (http-grpc-status-mapping.md). */
void grpc_client_status(struct grpc_call *c)
{
    const char *status = grpc_metadata(c, "grpc-status"), *message = grpc_metadata(c, "grpc-message");
    const char *http = grpc_metadata(c, ":status"), *type = grpc_metadata(c, "content-type");
    char text[GRPC_TEXT_MAX];
    h2_reset(&c->stream, H2_NO_ERROR); /* we may still be sending */
    if (c->stream.too_big) {
        grpc_call_end(c, GRPC_RESOURCE_EXHAUSTED, "too many or too large headers in the response");
    } else if (status) {
        grpc_text_decode(text, sizeof(text), message ? message : "");
        grpc_call_end(c, grpc_status_parse(status), text);
    } else {
        snprintf(text, sizeof(text), "no gRPC response: HTTP status %.10s, %.100s", http ? http : "none",
                 type ? type : "no content-type");
        grpc_call_end(c, grpc_status_of_http(http ? atoi(http) : 0), text);
    }
}

/* ------------------------------------------------------------ what users ask */

const char *grpc_dial_authority(const struct grpc_conn *c) { return c->dial->authority; }
const char *grpc_dial_authorization(const struct grpc_conn *c) { return c->dial->authorization; }

static char *authority_of(const struct grpc_target *t)
{
    if (t->tls_name)
        return mem_strdup(t->tls_name);
    if (!t->host)
        return mem_strdup("localhost");
    return mem_printf(strchr(t->host, ':') ? "[%s]:%u" : "%s:%u", t->host, t->port);
}

static char *copy(const char *s) { return s ? mem_strdup(s) : NULL; }

struct grpc_conn *grpc_dial(struct loop *l, struct resolver *r, const struct grpc_target *t, const struct grpc_dialer *on,
                            void *user)
{
    struct grpc_conn *c = grpc_conn_new(l, &client_side);
    struct grpc_dial *d = mem_zalloc(1, sizeof(*d));
    c->dial = d;
    c->state = CONN_DIALLING;
    c->tls = t->tls;
    c->silent_ns = t->silent_ns;
    c->step_ns = t->connect_ns;
    d->resolver = r;
    d->host = copy(t->host);
    d->port = t->port;
    d->unix_path = t->host ? NULL : copy(t->unix_path ? t->unix_path : "");
    d->tls_name = copy(t->tls_name);
    d->authority = authority_of(t);
    d->authorization = copy(t->authorization);
    d->on = *on;
    d->user = user;
    d->step = "";
    if (t->places)
        use_places(d, t);
    grpc_conn_kick(c);
    return c;
}

void grpc_hang_up(struct grpc_conn *c)
{
    if (!c)
        return;
    if (c->dial)
        c->dial->hung_up = true;
    grpc_conn_close(c, GRPC_CANCELLED, "hung up");
}

struct grpc_call *grpc_call(struct grpc_conn *conn, const char *path, const struct grpc_handlers *h, size_t message_max,
                            uint64_t deadline_ns, void *user)
{
    if (conn->state != CONN_UP || conn->side->server)
        return NULL;
    struct grpc_call *c = grpc_call_new(conn);
    c->handlers = h;
    c->message_max = message_max;
    c->user = user;
    grpc_call_deadline(c, deadline_ns);
    int rc = grpc_call_request(c, path, deadline_ns);
    if (rc < 0)
        grpc_call_end(c, GRPC_UNAVAILABLE, "the connection takes no more calls");
    return c;
}
