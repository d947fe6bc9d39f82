#include "tests/unit/grpc_fixture.h"

#include <stdio.h>

#include "tcp/sock.h"

const struct grpc_limits fixture_limits = {
    .connections = 100, .streams = 100, .handshake_ns = 10 * NS_PER_S, .silent_ns = 10 * NS_PER_S,
};

/* ------------------------------------------------------------ answers */

static void on_message(struct grpc_call *c, const uint8_t *data, size_t len)
{
    struct answer *a = grpc_user(c);
    a->messages++;
    a->bytes += len;
    free(a->last);
    a->last = mem_zalloc(1, len + 1);
    memcpy(a->last, data, len);
    a->last_len = len;
    if (a->then)
        a->then(a, c);
}

static void on_closed(struct grpc_call *c, enum grpc_status s, const char *text)
{
    struct answer *a = grpc_user(c);
    a->closed++;
    a->status = s;
    a->call = NULL;
    str_copy(a->text, sizeof(a->text), text);
}

const struct grpc_handlers answer_handlers = { .message = on_message, .closed = on_closed };

void answer_start(struct fixture *f, struct answer *a, const char *path, uint64_t deadline_ns)
{
    a->f = f;
    a->call = grpc_call(f->c.conn, path, &answer_handlers, ECHO_MESSAGE_MAX, deadline_ns, a);
    CU_ASSERT_PTR_NOT_NULL_FATAL(a->call);
}

void answer_ask(struct fixture *f, struct answer *a, const char *path, const void *data, size_t len)
{
    answer_start(f, a, path, 0);
    CU_ASSERT_EQUAL(grpc_send(a->call, data, len), 0);
    grpc_half_close(a->call);
}

void answer_free(struct answer *a)
{
    free(a->last);
    *a = (struct answer){ 0 };
}

/* ------------------------------------------------------------ connections */

static void on_ready(struct grpc_conn *c UNUSED, void *user)
{
    struct peer *p = user;
    p->ready = true;
}

static void on_lost(struct grpc_conn *c UNUSED, void *user, const char *step, int rc, const char *why)
{
    struct peer *p = user;
    p->lost++;
    p->rc = rc;
    p->conn = NULL;
    str_copy(p->step, sizeof(p->step), step);
    str_copy(p->why, sizeof(p->why), why);
}

struct grpc_target fixture_target(struct fixture *f)
{
    struct grpc_target t = { .connect_ns = 10 * NS_PER_S, .silent_ns = 10 * NS_PER_S };
    if (f->over == OVER_UNIX) {
        t.unix_path = f->path;
    } else {
        t.host = "127.0.0.1";
        t.port = f->port;
        t.tls = f->client_tls;
    }
    return t;
}

void fixture_dial(struct fixture *f, struct peer *p, const struct grpc_target *t)
{
    static const struct grpc_dialer dialer = { on_ready, on_lost };
    *p = (struct peer){ 0 };
    p->conn = grpc_dial(&f->loop, f->resolver, t, &dialer, p);
}

void fixture_connect(struct fixture *f)
{
    struct grpc_target t = fixture_target(f);
    fixture_dial(f, &f->c, &t);
    UNTIL(f, f->c.ready || f->c.lost);
    CU_ASSERT_FATAL(f->c.ready);
}

/* ------------------------------------------------------------ life */

static void make_tls(struct fixture *f)
{
    char why[200];
    char *pins[] = { f->pin, NULL };
    f->server_tls = tls_ctx_self_signed("localhost", "h2", why, sizeof(why));
    CU_ASSERT_PTR_NOT_NULL_FATAL(f->server_tls);
    tls_ctx_pin(f->server_tls, f->pin);
    f->client_tls = tls_ctx_client(NULL, pins, "h2", why, sizeof(why));
    CU_ASSERT_PTR_NOT_NULL_FATAL(f->client_tls);
}

void fixture_open(struct fixture *f, enum over over, const struct grpc_limits *limits)
{
    static unsigned serial;
    union sockaddr_any at;
    socklen_t len = sizeof(at);
    *f = (struct fixture){ .over = over };
    CU_ASSERT_EQUAL_FATAL(loop_init(&f->loop), 0);
    f->resolver = resolver_new(&f->loop);
    f->server = f->log.server = grpc_server_new(&f->loop, echo_methods, echo_n_methods, limits ? limits : &fixture_limits, &f->log);
    if (over == OVER_TLS)
        make_tls(f);
    snprintf(f->path, sizeof(f->path), "/tmp/unit-grpc.%d.%u", (int)getpid(), serial++);
    addr_numeric("127.0.0.1", 0, &at);
    int fd = over == OVER_UNIX ? sock_listen_unix(f->path, 0600) : sock_listen(&at);
    CU_ASSERT_FATAL(fd >= 0);
    if (over != OVER_UNIX && getsockname(fd, &at.sa, &len) == 0)
        f->port = addr_port(&at);
    CU_ASSERT_EQUAL_FATAL(grpc_server_listen(f->server, fd, f->server_tls, "test"), 0);
}

void fixture_close(struct fixture *f)
{
    grpc_hang_up(f->c.conn);
    grpc_server_free(f->log.server);
    resolver_free(f->resolver);
    loop_fini(&f->loop);
    tls_ctx_free(f->server_tls);
    tls_ctx_free(f->client_tls);
    unlink(f->path);
}

int fixture_plain_connect(struct fixture *f)
{
    union sockaddr_any at;
    addr_numeric("127.0.0.1", f->port, &at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(connect(fd, &at.sa, addr_len(&at)), 0);
    return fd;
}

void fixture_run(struct fixture *f, uint64_t ns)
{
    uint64_t end = now_ns() + ns;
    while (now_ns() < end)
        loop_turn(&f->loop, 5 * NS_PER_MS);
}
