/* scistream.Control: req, hello, update, release, as SciStream's own client calls them.
 *
 * Happy path: headers -> who is it? (who.h) -> message -> requests.h -> answer, maybe much later: a req waits for its hello.
 * What fails: the service is not enabled, nobody knows the caller, the message cannot be read: the call ends before any session is looked at. A
 * caller that goes away is told to requests.h.
 */
#include "ctrl/service_scistream.h"

#include "ctrl/scistream.pb-c.h"
#include "ctrl/service_arranged.h"
#include "ctrl/strings.h"
#include "src/core/log.h"

struct scall;
typedef void server(struct scall *s);

struct scall {
    struct grpc_call *call;
    struct service *of;
    struct who_asking *asking;
    char *principal;         /* NULL: not known yet */
    server *serve;           /* NULL: no message yet */
    uint8_t *data;
    size_t len;
    bool waits, hello;       /* waits: requests.h has it */
};

/* ------------------------------------------------------------ the end of a call */

static void refuse(struct scall *s, enum grpc_status status, const char *text)
{
    static struct log_gate gate = LOG_GATE;
    log_gated(&gate, LOG_LEVEL_WARN, "scistream: call from %s refused: %s: %s", grpc_conn_peer(grpc_call_conn(s->call)), grpc_status_name(status), text);
    grpc_finish(s->call, status, text);
}

static void on_closed(struct grpc_call *c, enum grpc_status status UNUSED, const char *text UNUSED)
{
    struct scall *s = grpc_user(c);
    if (!s)
        return;
    who_cancel(s->asking);
    if (s->waits)
        requests_gone(s->of->requests, s);
    free(s->principal);
    free(s->data);
    free(s);
}

static void reply(struct grpc_call *c, bool hello, const struct request_answer *a)
{
    Scistream__Response r = SCISTREAM__RESPONSE__INIT;
    Scistream__AppResponse app = SCISTREAM__APP_RESPONSE__INIT;
    static char sending[] = "Sending response..."; /* as SciStream's server says */
    r.listeners = (char **)(uintptr_t)a->listeners;
    r.n_listeners = strv_len(a->listeners);
    r.prod_listeners = (char **)(uintptr_t)a->prod;
    r.n_prod_listeners = strv_len(a->prod);
    app.message = sending;
    app.listeners = r.listeners;
    app.n_listeners = r.n_listeners;
    service_reply(c, hello ? &app.base : &r.base);
}

void scistream_call_answer(void *call, const struct request_answer *a)
{
    struct scall *s = call;
    s->waits = false;
    if (a->status == GRPC_OK)
        reply(s->call, s->hello, a);
    else
        grpc_finish(s->call, a->status, a->text);
}

/* ------------------------------------------------------------ messages */

const char *scistream_address(const struct service *of, const struct grpc_conn *conn, char out[ADDR_TEXT])
{
    const union sockaddr_any *local = grpc_conn_local(conn);
    if (*of->conf->scistream.data_advertise)
        return of->conf->scistream.data_advertise;
    if (local && (local->sa.sa_family == AF_INET || local->sa.sa_family == AF_INET6))
        return addr_format_host(local, out);
    return *of->conf->scistream.data_address ? of->conf->scistream.data_address : "127.0.0.1"; /* by the socket of this machine */
}

/* go is called with what is the same in all calls. NULL: a message that cannot be read. */
typedef void go(struct requests *rq, const struct request_ask *a);
static void ask(struct scall *s, struct request_ask *a, go *call)
{
    char address[ADDR_TEXT];
    const struct grpc_conn *conn = grpc_call_conn(s->call);
    a->call = s;
    a->principal = s->principal;
    a->from = grpc_conn_peer(conn);
    a->address = scistream_address(s->of, conn, address);
    s->waits = true;
    call(s->of->requests, a);
}

static void unreadable(struct scall *s) { refuse(s, GRPC_INVALID_ARGUMENT, "the message cannot be read, or a string in it has a NUL"); }

static void serve_req(struct scall *s)
{
    Scistream__Request *m = scistream__request__unpack(NULL, s->len, s->data);
    if (m)
        ask(s, &(struct request_ask){ .uid = m->uid, .role = m->role, .num_conn = m->num_conn }, requests_req);
    else
        unreadable(s);
    scistream__request__free_unpacked(m, NULL);
}

static void serve_hello(struct scall *s)
{
    Scistream__Hello *m = scistream__hello__unpack(NULL, s->len, s->data);
    s->hello = true;
    if (m)
        ask(s, &(struct request_ask){ .uid = m->uid, .role = m->role, .listeners = m->prod_listeners, .n_listeners = m->n_prod_listeners }, requests_hello);
    else
        unreadable(s);
    scistream__hello__free_unpacked(m, NULL);
}

static void serve_update(struct scall *s)
{
    Scistream__UpdateTargets *m = scistream__update_targets__unpack(NULL, s->len, s->data);
    if (m)
        ask(s, &(struct request_ask){ .uid = m->uid, .role = m->role, .listeners = m->remote_listeners, .n_listeners = m->n_remote_listeners },
            requests_update);
    else
        unreadable(s);
    scistream__update_targets__free_unpacked(m, NULL);
}

/* One that was arranged and is attached to, not listed with those of requests.h. False: there is none of that uid. */
static bool release_attached(struct scall *s, const char *uid)
{
    const char *from = grpc_conn_peer(grpc_call_conn(s->call));
    const struct grant *g = requests_find(s->of->requests, uid) ? NULL : arranged_find(s->of->grants, uid);
    if (!g)
        return false;
    if (!str_eq(g->by, s->principal)) {
        refuse(s, GRPC_PERMISSION_DENIED, "uid: the session is somebody else's");
    } else if (s->of->grants->frozen) {
        refuse(s, GRPC_UNAVAILABLE, s->of->grants->frozen);
    } else {
        log_info("scistream: release of %s by %s from %s: allowed: released", uid, s->principal, from);
        service_arranged_end(s->of, uid, "released by its owner");
        reply(s->call, false, &(struct request_answer){ .status = GRPC_OK });
    }
    return true;
}

static void serve_release(struct scall *s)
{
    Scistream__Release *m = scistream__release__unpack(NULL, s->len, s->data);
    if (m && !release_attached(s, m->uid))
        ask(s, &(struct request_ask){ .uid = m->uid }, requests_release);
    else if (!m)
        unreadable(s);
    scistream__release__free_unpacked(m, NULL);
}

/* When the message is here and the caller known, whichever is last. */
static void maybe_serve(struct scall *s)
{
    if (!s->serve || !s->principal)
        return;
    if (strings_whole(s->data, s->len))
        s->serve(s);
    else
        unreadable(s);
}

static void take(struct grpc_call *c, const uint8_t *data, size_t len, server *serve)
{
    struct scall *s = grpc_user(c);
    if (!s)
        return; /* it was refused at its headers */
    if (s->serve) {
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "one message is expected");
        return;
    }
    s->serve = serve;
    s->len = len;
    s->data = mem_zalloc(len + 1, 1);
    if (len)
        memcpy(s->data, data, len);
    maybe_serve(s);
}

static void on_req(struct grpc_call *c, const uint8_t *data, size_t len) { take(c, data, len, serve_req); }
static void on_hello(struct grpc_call *c, const uint8_t *data, size_t len) { take(c, data, len, serve_hello); }
static void on_update(struct grpc_call *c, const uint8_t *data, size_t len) { take(c, data, len, serve_update); }
static void on_release(struct grpc_call *c, const uint8_t *data, size_t len) { take(c, data, len, serve_release); }

const struct grpc_handlers service_scistream_req_handlers = { .message = on_req, .closed = on_closed };
const struct grpc_handlers service_scistream_hello_handlers = { .message = on_hello, .closed = on_closed };
const struct grpc_handlers service_scistream_update_handlers = { .message = on_update, .closed = on_closed };
const struct grpc_handlers service_scistream_release_handlers = { .message = on_release, .closed = on_closed };

/* ------------------------------------------------------------ the beginning of a call */

static void on_known(void *user, const struct caller *c, enum grpc_status refused, const char *text)
{
    struct scall *s = user;
    s->asking = NULL;
    if (!c) {
        refuse(s, refused, text);
        return;
    }
    s->principal = mem_strdup(c->principal);
    maybe_serve(s);
}

void service_scistream_start(struct grpc_call *c)
{
    struct service *of = grpc_server_user(c);
    grpc_set_user(c, NULL);
    if (!of->conf->scistream.enable) {
        grpc_finish(c, GRPC_UNIMPLEMENTED, "scistream.Control is not enabled here (scistream { enable = yes } in scistreamd.conf)");
        return;
    }
    struct scall *s = mem_zalloc(1, sizeof(*s));
    s->call = c;
    s->of = of;
    grpc_set_user(c, s);
    const struct caller anybody = { .principal = "anonymous" };
    if (of->conf->scistream.auth == CONF_AUTH_NONE) {
        on_known(s, &anybody, GRPC_OK, "");
        return;
    }
    struct who_asking *asking = who_ask(of->who, c, on_known, s);
    if (asking) /* else s may be gone */
        s->asking = asking;
}
