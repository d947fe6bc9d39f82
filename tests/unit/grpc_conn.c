/* Connections: how dialling fails, limits, silence, death, draining. */
#include "config.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "ctrl/grpc_call.h"
#include "tests/unit/grpc_fixture.h"

/* ------------------------------------------------------------ dialling */

#define ASSERT_LOST(p, at, code, text) \
    do { \
        CU_ASSERT_EQUAL((p)->lost, 1); \
        CU_ASSERT_STRING_EQUAL((p)->step, at); \
        CU_ASSERT_EQUAL((p)->rc, code); \
        CU_ASSERT_PTR_NOT_NULL(strstr((p)->why, text)); \
        if (!strstr((p)->why, text)) \
            printf("%s: %s: %s\n", (p)->step, err_name((p)->rc), (p)->why); \
    } while (0)

static void dial_and_lose(struct fixture *f, struct peer *p, const struct grpc_target *t)
{
    fixture_dial(f, p, t);
    CU_ASSERT_EQUAL(p->lost, 0); /* from the loop */
    UNTIL(f, p->lost);
    CU_ASSERT_FALSE(p->ready);
}

static void test_refused(void)
{
    struct fixture f;
    struct peer p;
    char want[64];
    fixture_open(&f, OVER_TCP, NULL);
    struct grpc_target t = fixture_target(&f);
    grpc_server_drain(f.server); /* nobody listens any more */
    dial_and_lose(&f, &p, &t);
    snprintf(want, sizeof(want), "127.0.0.1:%u: %s", f.port, err_text(-ECONNREFUSED));
    ASSERT_LOST(&p, "connect", -ECONNREFUSED, want);
    t = (struct grpc_target){ .unix_path = "/nonexistent/socket", .connect_ns = NS_PER_S };
    dial_and_lose(&f, &p, &t);
    ASSERT_LOST(&p, "connect", -ENOENT, "/nonexistent/socket: ");
    char long_path[200] = "/tmp/";
    memset(long_path + 5, 'x', sizeof(long_path) - 6);
    t.unix_path = long_path;
    dial_and_lose(&f, &p, &t);
    ASSERT_LOST(&p, "connect", -ENAMETOOLONG, "");
    fixture_close(&f);
}

/* Looked up by somebody else: each is tried, no name is asked for, and what the last one said is told when none answers. */
static void test_places(void)
{
    struct fixture f;
    struct peer p;
    char want[64];
    fixture_open(&f, OVER_TLS, NULL);
    struct grpc_target t = fixture_target(&f);
    struct grpc_place places[3] = { { .host = "nobody.invalid" }, { .host = "nobody.invalid" }, { .host = "gateway.invalid" } };
    addr_numeric("127.0.0.1", 1, &places[0].at);
    addr_numeric("127.0.0.2", 1, &places[1].at);
    addr_numeric("127.0.0.1", f.port, &places[2].at);
    t.host = "no-such-host.invalid";
    t.places = places;
    t.n_places = 2;
    dial_and_lose(&f, &p, &t);
    snprintf(want, sizeof(want), "127.0.0.2:1: %s", err_text(-ECONNREFUSED));
    ASSERT_LOST(&p, "connect", -ECONNREFUSED, want);
    t.n_places = 3;
    fixture_dial(&f, &p, &t);
    UNTIL(&f, p.ready || p.lost);
    CU_ASSERT(p.ready && !p.lost);
    grpc_hang_up(p.conn);
    fixture_close(&f);
}

static void test_unresolvable(void)
{
    struct fixture f;
    struct peer p;
    fixture_open(&f, OVER_TCP, NULL);
    struct grpc_target t = { .host = "no-such-host.invalid", .port = 1, .connect_ns = 200 * NS_PER_MS };
    dial_and_lose(&f, &p, &t);
    CU_ASSERT_STRING_EQUAL(p.step, "resolve");
    CU_ASSERT(p.rc == -SST_ERESOLVE || p.rc == -SST_ETIMEOUT); /* whether a name server is near */
    fixture_dial(&f, &p, &t);
    loop_turn(&f.loop, 0);
    grpc_hang_up(p.conn); /* while it resolves */
    fixture_run(&f, 20 * NS_PER_MS);
    CU_ASSERT_EQUAL(p.lost, 0);
    fixture_close(&f);
}

/* A listener that answers each connection with a text, or with nothing. */
struct odd { struct listener l; const char *says; int fds[8]; unsigned n; };

static void odd_accepted(struct listener *l, int fd, const union sockaddr_any *peer UNUSED)
{
    struct odd *o = container_of(l, struct odd, l);
    if (o->says && write(fd, o->says, strlen(o->says)) < 0)
        CU_FAIL("write");
    if (o->n < ARRAY_LEN(o->fds))
        o->fds[o->n++] = fd;
}

static uint16_t odd_open(struct odd *o, struct loop *l, const char *says)
{
    union sockaddr_any at;
    socklen_t len = sizeof(at);
    *o = (struct odd){ .says = says };
    addr_numeric("127.0.0.1", 0, &at);
    int fd = sock_listen(&at);
    getsockname(fd, &at.sa, &len);
    CU_ASSERT_EQUAL(listener_start(&o->l, l, fd, "odd", odd_accepted), 0);
    o->says = says;
    return addr_port(&at);
}

static void odd_close(struct odd *o)
{
    listener_stop(&o->l);
    for (unsigned i = 0; i < o->n; i++)
        close(o->fds[i]);
}

static void test_not_http2(void)
{
    struct fixture f;
    struct peer p;
    struct odd o;
    fixture_open(&f, OVER_TLS, NULL);
    struct grpc_target t = fixture_target(&f);
    t.port = odd_open(&o, &f.loop, "HTTP/1.1 400 Bad Request\r\n\r\n");
    dial_and_lose(&f, &p, &t);
    ASSERT_LOST(&p, "tls", -SST_ETLS, "127.0.0.1:");
    t.tls = NULL;
    dial_and_lose(&f, &p, &t);
    ASSERT_LOST(&p, "http2", -SST_EPROTO, "127.0.0.1:");
    o.says = NULL;
    t.connect_ns = 100 * NS_PER_MS;
    dial_and_lose(&f, &p, &t);
    ASSERT_LOST(&p, "http2", -SST_ETIMEOUT, "no answer within 100 ms");
    t.tls = f.client_tls;
    dial_and_lose(&f, &p, &t);
    ASSERT_LOST(&p, "tls", -SST_ETIMEOUT, "no answer within 100 ms");
    odd_close(&o);
    fixture_close(&f);
}

static void test_tls_mismatch(void)
{
    struct fixture f;
    struct peer p;
    char why[200];
    char zeros[TLS_PIN_TEXT] = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    char *pins[] = { zeros, NULL };
    fixture_open(&f, OVER_TLS, NULL);
    struct tls_ctx *stranger = tls_ctx_client(NULL, pins, "h2", why, sizeof(why));
    struct grpc_target t = fixture_target(&f);
    t.tls = stranger;
    dial_and_lose(&f, &p, &t);
    ASSERT_LOST(&p, "tls", -SST_ECERT, "pin");
    t.tls = NULL; /* plaintext to the TLS port */
    dial_and_lose(&f, &p, &t);
    CU_ASSERT_STRING_EQUAL(p.step, "http2");
    fixture_connect(&f); /* no harm done */
    tls_ctx_free(stranger);
    fixture_close(&f);
}

static void test_call_when_not_ready(void)
{
    struct fixture f;
    fixture_open(&f, OVER_TCP, NULL);
    struct grpc_target t = fixture_target(&f);
    fixture_dial(&f, &f.c, &t);
    CU_ASSERT_PTR_NULL(grpc_call(f.c.conn, "/test.Echo/Unary", &answer_handlers, 10, 0, NULL));
    UNTIL(&f, f.c.ready);
    CU_ASSERT_EQUAL(grpc_conn_uid(f.c.conn), -1);
    CU_ASSERT_PTR_NULL(grpc_conn_tls(f.c.conn));
    CU_ASSERT_EQUAL(strncmp(grpc_conn_peer(f.c.conn), "127.0.0.1:", 10), 0);
    fixture_close(&f);
    fixture_open(&f, OVER_UNIX, NULL);
    fixture_connect(&f);
    CU_ASSERT_EQUAL(grpc_conn_uid(f.c.conn), (int64_t)getuid());
    CU_ASSERT_EQUAL(strncmp(grpc_conn_peer(f.c.conn), "unix (uid ", 10), 0);
    fixture_close(&f);
}

/* ------------------------------------------------------------ silence and death */

/* A child that serves the echo service on f's path until it is killed. */
static pid_t fork_server(struct fixture *f)
{
    int ready[2];
    char byte;
    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct fixture mine;
        fixture_open(&mine, OVER_UNIX, NULL);
        rename(mine.path, f->path);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            loop_turn(&mine.loop, NS_PER_S);
    }
    close(ready[1]);
    CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void connect_to_child(struct fixture *f, uint64_t silent_ns)
{
    struct grpc_target t = { .unix_path = f->path, .connect_ns = 10 * NS_PER_S, .silent_ns = silent_ns };
    fixture_dial(f, &f->c, &t);
    UNTIL(f, f->c.ready);
}

static void test_stopped_server(void)
{
    struct fixture f;
    struct answer a = { 0 };
    fixture_open(&f, OVER_TCP, NULL);
    pid_t pid = fork_server(&f);
    connect_to_child(&f, 300 * NS_PER_MS);
    answer_start(&f, &a, "/test.Echo/Never", 0);
    fixture_run(&f, 700 * NS_PER_MS); /* quiet but alive: PINGs are answered */
    CU_ASSERT_EQUAL(a.closed, 0);
    kill(pid, SIGSTOP);
    uint64_t since = now_ns();
    UNTIL(&f, f.c.lost);
    uint64_t took = now_ns() - since;
    CU_ASSERT(took > 100 * NS_PER_MS && took < 3 * NS_PER_S);
    CU_ASSERT_EQUAL(a.status, GRPC_UNAVAILABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(a.text, "peer is silent for 300 ms"));
    ASSERT_LOST(&f.c, "", -SST_EPEERDEAD, "peer is silent for 300 ms");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    fixture_close(&f);
}

static void test_killed_server(void)
{
    struct fixture f;
    struct answer a = { 0 };
    fixture_open(&f, OVER_TCP, NULL);
    pid_t pid = fork_server(&f);
    connect_to_child(&f, 10 * NS_PER_S);
    answer_start(&f, &a, "/test.Echo/Never", 0);
    fixture_run(&f, 20 * NS_PER_MS);
    kill(pid, SIGKILL);
    UNTIL(&f, f.c.lost);
    CU_ASSERT_EQUAL(a.closed, 1);
    CU_ASSERT_EQUAL(a.status, GRPC_UNAVAILABLE);
    CU_ASSERT(f.c.rc == -SST_ELOST || f.c.rc == -ECONNRESET);
    waitpid(pid, NULL, 0);
    fixture_close(&f);
}

/* The server's view: a client that stops, and one that dies. */
static void test_clients_that_fail(void)
{
    const struct grpc_limits limits = {
        .connections = 10, .streams = 10, .handshake_ns = 10 * NS_PER_S, .silent_ns = 300 * NS_PER_MS,
    };
    const int signals[] = { SIGSTOP, SIGKILL };
    for (unsigned i = 0; i < ARRAY_LEN(signals); i++) {
        struct fixture f;
        fixture_open(&f, OVER_UNIX, &limits);
        pid_t pid = fork();
        if (pid == 0) {
            struct fixture mine = f;
            struct answer a = { 0 };
            loop_init(&mine.loop);
            fixture_connect(&mine);
            answer_start(&mine, &a, "/test.Echo/Never", 0);
            for (;;)
                loop_turn(&mine.loop, NS_PER_S);
        }
        UNTIL(&f, f.log.started == 1);
        kill(pid, signals[i]);
        UNTIL(&f, f.log.closed == 1);
        CU_ASSERT_EQUAL(f.log.status, GRPC_UNAVAILABLE);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        fixture_close(&f);
    }
}

/* ------------------------------------------------------------ limits */

/* 0: the server closed it; -1: still open. */
static ssize_t closed_by_server(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
    return n < 0 && errno == ECONNRESET ? 0 : n;
}

static void test_connection_limit(void)
{
    const struct grpc_limits limits = { .connections = 3, .streams = 10, .handshake_ns = 30 * NS_PER_S, .silent_ns = 30 * NS_PER_S };
    struct fixture f;
    struct peer good[3], more;
    int silent[3];
    fixture_open(&f, OVER_TCP, &limits);
    for (int i = 0; i < 3; i++) {
        silent[i] = fixture_plain_connect(&f);
        fixture_run(&f, 10 * NS_PER_MS);
    }
    struct grpc_target t = fixture_target(&f);
    for (int i = 0; i < 3; i++) { /* each takes the place of the oldest that is silent */
        CU_ASSERT_EQUAL(closed_by_server(silent[i]), -1);
        fixture_dial(&f, &good[i], &t);
        UNTIL(&f, good[i].ready);
        CU_ASSERT_EQUAL(closed_by_server(silent[i]), 0);
        close(silent[i]);
    }
    fixture_dial(&f, &more, &t); /* nobody to take a place from */
    UNTIL(&f, more.lost);
    CU_ASSERT_FALSE(more.ready);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL_FATAL(good[i].lost, 0);
        grpc_hang_up(good[i].conn);
    }
    fixture_run(&f, 20 * NS_PER_MS);
    fixture_connect(&f);
    fixture_close(&f);
}

/* Neither silence nor a handshake without a call keeps a place. */
static void test_handshake_time(void)
{
    const struct grpc_limits limits = {
        .connections = 10, .streams = 10, .handshake_ns = 600 * NS_PER_MS, .silent_ns = 10 * NS_PER_S,
    };
    struct fixture f;
    struct answer a = { 0 };
    fixture_open(&f, OVER_TLS, &limits);
    int silent = fixture_plain_connect(&f), slow = fixture_plain_connect(&f);
    CU_ASSERT_EQUAL(write(slow, "\026\003\001", 3), 3); /* begins a ClientHello */
    fixture_connect(&f);
    UNTIL(&f, f.c.lost);
    ASSERT_LOST(&f.c, "", -SST_ELOST, "");
    UNTIL(&f, closed_by_server(silent) == 0 && closed_by_server(slow) == 0);
    fixture_connect(&f);
    answer_ask(&f, &a, "/test.Echo/Unary", "x", 1); /* who makes one stays */
    fixture_run(&f, 900 * NS_PER_MS);
    CU_ASSERT(a.closed && !f.c.lost);
    close(silent);
    close(slow);
    answer_free(&a);
    fixture_close(&f);
}

static void test_idle(void)
{
    struct fixture f;
    struct answer a = { 0 };
    uint64_t usual = grpc_idle_ns;
    grpc_idle_ns = 100 * NS_PER_MS;
    fixture_open(&f, OVER_TLS, NULL);
    fixture_connect(&f);
    answer_ask(&f, &a, "/test.Echo/Unary", "x", 1);
    UNTIL(&f, f.c.lost);
    CU_ASSERT_EQUAL(a.status, GRPC_OK);
    ASSERT_LOST(&f.c, "", -SST_ELOST, "ended by the peer (HTTP/2 error 0)");
    grpc_idle_ns = usual;
    answer_free(&a);
    fixture_close(&f);
}

#ifndef WITH_SANITIZER
static void test_silent_connections_are_small(void)
{
    const struct grpc_limits limits = { .connections = 600, .streams = 10, .handshake_ns = 30 * NS_PER_S, .silent_ns = NS_PER_S };
    struct fixture f;
    int fds[500];
    fixture_open(&f, OVER_TLS, &limits);
    size_t before = mallinfo2().uordblks;
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = fixture_plain_connect(&f);
        loop_turn(&f.loop, 0);
    }
    fixture_run(&f, 50 * NS_PER_MS);
    CU_ASSERT((mallinfo2().uordblks - before) / ARRAY_LEN(fds) < 1024);
    CU_ASSERT(sizeof(struct grpc_conn) < 600);
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    fixture_connect(&f);
    fixture_close(&f);
}
#endif

/* ------------------------------------------------------------ draining */

static void test_drain(void)
{
    struct fixture f;
    struct answer a = { 0 }, late = { 0 };
    struct peer idle, more;
    fixture_open(&f, OVER_TLS, NULL);
    fixture_connect(&f);
    struct grpc_target t = fixture_target(&f);
    fixture_dial(&f, &idle, &t);
    int silent = fixture_plain_connect(&f);
    UNTIL(&f, idle.ready);
    answer_start(&f, &a, "/test.Echo/Stream", 0);
    grpc_send(a.call, "one", 3);
    UNTIL(&f, a.messages == 1);
    grpc_server_drain(f.server);
    CU_ASSERT_EQUAL(grpc_server_calls(f.server), 1);
    UNTIL(&f, idle.lost && closed_by_server(silent) == 0);
    close(silent);
    answer_ask(&f, &late, "/test.Echo/Unary", "x", 1);
    UNTIL(&f, late.closed);
    CU_ASSERT_EQUAL(late.status, GRPC_UNAVAILABLE);
    CU_ASSERT_STRING_EQUAL(late.text, "shutting down");
    fixture_dial(&f, &more, &t);
    UNTIL(&f, more.lost);
    CU_ASSERT_EQUAL(more.rc, -ECONNREFUSED);
    grpc_send(a.call, "two", 3);
    grpc_half_close(a.call);
    UNTIL(&f, a.closed && f.c.lost);
    CU_ASSERT_EQUAL(a.status, GRPC_OK);
    CU_ASSERT_EQUAL(a.messages, 2);
    CU_ASSERT_EQUAL(grpc_server_calls(f.server), 0);
    answer_free(&a);
    fixture_close(&f);
}

/* Drained while it rests: who comes waits in the kernel's queue, and is served when it wakes. */
static void test_rest(void)
{
    struct fixture f;
    struct answer a = { 0 };
    struct peer more;
    fixture_open(&f, OVER_TLS, NULL);
    fixture_connect(&f);
    struct grpc_target t = fixture_target(&f);
    grpc_server_rest(f.server);
    grpc_server_drain(f.server);
    UNTIL(&f, f.c.lost);
    fixture_dial(&f, &more, &t);
    for (int i = 0; i < 20; i++)
        loop_turn(&f.loop, NS_PER_MS);
    CU_ASSERT(!more.ready && !more.lost);
    CU_ASSERT_EQUAL(grpc_server_wake(f.server), 0);
    UNTIL(&f, more.ready);
    fixture_connect(&f);
    answer_ask(&f, &a, "/test.Echo/Unary", "x", 1);
    UNTIL(&f, a.closed);
    CU_ASSERT_EQUAL(a.status, GRPC_OK);
    answer_free(&a);
    grpc_hang_up(more.conn);
    fixture_close(&f);
}

static void test_server_freed(void)
{
    struct fixture f;
    struct answer a = { 0 };
    fixture_open(&f, OVER_TLS, NULL);
    fixture_connect(&f);
    answer_start(&f, &a, "/test.Echo/Stream", 0);
    grpc_send(a.call, "one", 3);
    UNTIL(&f, a.messages == 1);
    grpc_server_free(f.server);
    f.log.server = NULL;
    CU_ASSERT_EQUAL(f.log.closed, 1);
    CU_ASSERT_EQUAL(f.log.status, GRPC_UNAVAILABLE);
    UNTIL(&f, a.closed && f.c.lost);
    CU_ASSERT_EQUAL(a.status, GRPC_UNAVAILABLE);
    CU_ASSERT_STRING_EQUAL(a.text, "shutting down");
    answer_free(&a);
    fixture_close(&f);
}

UNIT_MAIN("grpc_conn", UNIT(test_refused), UNIT(test_places), UNIT(test_unresolvable), UNIT(test_not_http2), UNIT(test_tls_mismatch),
          UNIT(test_call_when_not_ready), UNIT(test_stopped_server), UNIT(test_killed_server), UNIT(test_clients_that_fail),
          UNIT(test_connection_limit), UNIT(test_handshake_time), UNIT(test_idle),
#ifndef WITH_SANITIZER
          UNIT(test_silent_connections_are_small),
#endif
          UNIT(test_drain), UNIT(test_rest), UNIT(test_server_freed))
