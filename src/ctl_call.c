/* Calls of scistreamctl on the local socket of a gateway, or by its control endpoint, one reply or many, and JSON. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "src/core/err.h"
#include "src/core/log.h"
#include "src/ctl_login.h"
#include "src/scistreamctl.h"

#define CALL_NS (10 * NS_PER_S)
#define REPLY_MAX (64U << 20)

struct call {
    struct loop loop;
    const struct ctl_opts *o;
    const char *path;
    uint8_t *request;
    size_t request_len;
    ctl_reply *reply;          /* NULL: many, to stream */
    struct ctl_stream *stream;
    struct ctl_asked *asked;   /* who wants to know more of one; or NULL */
    uint64_t ns;               /* for the answer; 0: any time */
    int code;
    bool answered, lost, interrupted, pinned, showed; /* pinned: pins decide whom it asks; showed: it says who asks */
};

/* Why it failed, with the gateway in front: to who wants to know, else to the user. */
static void tell(struct call *k, const char *fmt, ...) PRINTF(2, 3);
static void tell(struct call *k, const char *fmt, ...)
{
    char text[CTL_WHY];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (k->asked)
        str_copy(k->asked->why, sizeof(k->asked->why), text);
    else
        fprintf(stderr, "scistreamctl: %s%s%s\n", k->o->gateway, *k->o->gateway ? ": " : "", text);
}

/* ------------------------------------------------------------ the call */

static void on_message(struct grpc_call *c, const uint8_t *data, size_t len)
{
    struct call *k = grpc_user(c);
    k->answered = true;
    if (k->stream)
        k->stream->message(k->stream, data, len);
    else
        k->code = k->reply(k->o, data, len);
}

#define LOG_IN "; say who you are by --token-file or --cert, or once for all by scistreamctl login"

static int code_of(enum grpc_status s)
{
    switch (s) {
    case GRPC_PERMISSION_DENIED:
    case GRPC_UNAUTHENTICATED: return 67;
    case GRPC_DEADLINE_EXCEEDED:
    case GRPC_UNAVAILABLE: return 69;
    case GRPC_RESOURCE_EXHAUSTED: return 75;
    case GRPC_NOT_FOUND:
    case GRPC_ALREADY_EXISTS:
    case GRPC_INVALID_ARGUMENT: return 64;
    default: return 76;
    }
}

static void on_closed(struct grpc_call *c, enum grpc_status s, const char *text)
{
    struct call *k = grpc_user(c);
    bool well = k->stream ? s == GRPC_OK : k->answered;
    if (well && k->stream)
        k->code = 0;
    if (!well && !k->interrupted) {
        if (k->stream)
            k->stream->ended(k->stream);
        tell(k, "%s (%s)%s", *text ? text : "no answer", grpc_status_name(s), s == GRPC_UNAUTHENTICATED && !k->showed ? LOG_IN : "");
        k->code = code_of(s);
    }
    if (k->asked) {
        k->asked->status = s;
        k->asked->decided = grpc_metadata(c, "grpc-status") != NULL;
    }
    loop_stop(&k->loop);
}

static const struct grpc_handlers handlers = { .message = on_message, .closed = on_closed };

static void on_ready(struct grpc_conn *conn, void *user)
{
    struct call *k = user;
    struct grpc_call *c = grpc_call(conn, k->path, &handlers, REPLY_MAX, k->ns, k);
    if (k->asked)
        k->asked->sent = true;
    grpc_send(c, k->request, k->request_len);
    grpc_half_close(c);
}

static void on_lost(struct grpc_conn *conn UNUSED, void *user, const char *step, int rc, const char *why)
{
    struct call *k = user;
    k->lost = true;
    if (*step && *k->o->gateway)
        tell(k, "%s: %s%s", step, why, rc == -SST_ECERT && !k->pinned ? "; a gateway with a certificate of its own needs --pin, one behind a port forward --tls-name" : "");
    else if (*step)
        tell(k, "%s: %s: %s; is scistreamd running, and as this user? (--socket names another)", k->o->socket, step, why);
    if (*step || !k->answered)
        k->code = rc == -ENOENT ? 69 : rc == -EACCES || rc == -EPERM ? 67 : err_exit(rc); /* of a socket's path: nobody there, not for us */
    loop_stop(&k->loop);
}

/* Whom it asks, and as whom. */
struct peer { char host[ADDR_HOST_MAX + 1], *token; struct tls_ctx *tls; struct ctl_login login; };

static int make_tls(struct peer *p)
{
    char why[400];
    const struct ctl_login *l = &p->login;
    p->tls = tls_ctx_client(l->ca, l->pins, "h2", why, sizeof(why));
    if (!p->tls || (*l->cert && tls_ctx_show(p->tls, l->cert, *l->key ? l->key : l->cert, why, sizeof(why)) < 0)) {
        fprintf(stderr, "scistreamctl: %s\n", why);
        return 78;
    }
    return 0;
}

/* The gateway that was named, or the local socket. Exit code, and it was said. */
static int find_peer(struct peer *p, const struct ctl_opts *o, struct grpc_target *t)
{
    char why[400];
    *t = (struct grpc_target){ .unix_path = o->socket, .connect_ns = CALL_NS, .silent_ns = CALL_NS };
    if (!*o->gateway)
        return 0;
    if (addr_parse_hostport(o->gateway, ADDR_PORT_DEFAULT, p->host, &t->port, why, sizeof(why)) < 0) {
        fprintf(stderr, "scistreamctl: --gateway: %s\n", why);
        return 64;
    }
    int code = ctl_login_find(o, &p->login);
    if (code == 0 && *p->login.token_file && !(p->token = ctl_token_read(p->login.token_file)))
        code = 78;
    if (code == 0)
        code = make_tls(p);
    t->host = p->host;
    t->tls = p->tls;
    t->tls_name = code == 0 && *p->login.tls_name ? p->login.tls_name : NULL;
    t->authorization = p->token;
    return code;
}

static void forget_peer(struct peer *p)
{
    tls_ctx_free(p->tls);
    if (p->token)
        secret_wipe(p->token, strlen(p->token));
    free(p->token);
    ctl_login_free(&p->login);
}

static void ask(struct call *k, const struct grpc_target *t, const ProtobufCMessage *request)
{
    static const struct grpc_dialer dialer = { .ready = on_ready, .lost = on_lost };
    k->request_len = protobuf_c_message_get_packed_size(request);
    k->request = mem_zalloc(1, k->request_len + 1);
    protobuf_c_message_pack(request, k->request);
    struct resolver *r = resolver_new(&k->loop);
    struct grpc_conn *conn = grpc_dial(&k->loop, r, t, &dialer, k);
    loop_run(&k->loop);
    if (!k->lost)
        grpc_hang_up(conn);
    resolver_free(r);
    secret_wipe(k->request, k->request_len); /* a ticket's secret may be in it */
    free(k->request);
}

static void run(struct call *k, const ProtobufCMessage *request)
{
    struct peer p = { .token = NULL };
    struct grpc_target t;
    int code = find_peer(&p, k->o, &t);
    k->pinned = p.login.pins && p.login.pins[0];
    k->showed = p.token || (p.login.cert && *p.login.cert);
    if (code)
        k->code = code;
    else
        ask(k, &t, request);
    forget_peer(&p);
}

static void set_log(const struct ctl_opts *o)
{
    log_setup("scistreamctl", o->e.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, LOG_TARGET_STDERR, LOG_FORMAT_TEXT);
}

static void on_interrupt(struct loop *l, int signo UNUSED)
{
    struct call *k = container_of(l, struct call, loop);
    k->interrupted = true;
    k->code = k->stream ? 0 : err_exit(-SST_EINTERRUPTED);
    loop_stop(l);
}

/* From then on they end the call, and between calls wait for the next: nothing is left undone by them. */
static int catch_interrupts(struct loop *l)
{
    return loop_on_signal(l, SIGINT, on_interrupt) < 0 || loop_on_signal(l, SIGTERM, on_interrupt) < 0 ? -1 : 0;
}

int ctl_call(const struct ctl_opts *o, const char *path, const ProtobufCMessage *request, ctl_reply *reply)
{
    return ctl_call_within(o, path, request, reply, CALL_NS);
}

int ctl_call_within(const struct ctl_opts *o, const char *path, const ProtobufCMessage *request, ctl_reply *reply, uint64_t ns)
{
    struct call k = { .o = o, .path = path, .reply = reply, .code = 69, .ns = ns };
    set_log(o);
    if (loop_init(&k.loop) < 0)
        return 71;
    run(&k, request);
    loop_fini(&k.loop);
    return k.code;
}

int ctl_ask(const struct ctl_opts *o, const char *path, const ProtobufCMessage *request, struct ctl_asked *a)
{
    struct call k = { .o = o, .path = path, .reply = a->reply, .asked = a, .code = 69, .ns = CALL_NS };
    a->sent = a->decided = false;
    str_copy(a->why, sizeof(a->why), "");
    set_log(o);
    if (loop_init(&k.loop) < 0)
        return 71;
    if (catch_interrupts(&k.loop) < 0 || loop_on_signal(&k.loop, SIGHUP, on_interrupt) < 0)
        k.code = 71;
    else
        run(&k, request);
    loop_fini(&k.loop);
    if (k.interrupted)
        str_copy(a->why, sizeof(a->why), "interrupted");
    return k.code;
}

/* ------------------------------------------------------------ many replies */

int ctl_stream(const struct ctl_opts *o, const char *path, const ProtobufCMessage *request, struct ctl_stream *s)
{
    struct call k = { .o = o, .path = path, .stream = s, .code = 69 };
    set_log(o);
    if (loop_init(&k.loop) < 0 || catch_interrupts(&k.loop) < 0)
        return 71;
    s->loop = &k.loop;
    s->begun(s);
    run(&k, request);
    s->ended(s);
    loop_fini(&k.loop);
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
