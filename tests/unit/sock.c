#include "tcp/sock.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "src/core/err.h"
#include "tcp/tls.h"
#include "tests/lib/unit.h"

/* A listener, what it accepted, and one client. */
struct pair {
    struct loop loop;
    struct listener l;
    union sockaddr_any at;
    int accepted[128];
    unsigned n;
    bool stop_inside;
    struct sock a, b;
    unsigned a_events, b_events;
};

static struct pair P;

/* cond is evaluated until it is true, and not once more. */
#define UNTIL(cond) \
    do { \
        bool came; \
        for (uint64_t end = now_ns() + 10 * NS_PER_S; !(came = (cond)) && now_ns() < end;) \
            loop_turn(&P.loop, 5 * NS_PER_MS); \
        CU_ASSERT_FATAL(came); \
    } while (0)

static void a_event(struct sock *s UNUSED) { P.a_events++; }
static void b_event(struct sock *s UNUSED) { P.b_events++; }

static void on_accepted(struct listener *l, int fd, const union sockaddr_any *peer UNUSED)
{
    CU_ASSERT_FATAL(P.n < ARRAY_LEN(P.accepted));
    P.accepted[P.n++] = fd;
    if (P.stop_inside)
        listener_stop(l);
}

static void pair_listen(const char *host)
{
    socklen_t len = sizeof(P.at);
    P = (struct pair){ .a.io.fd = -1, .b.io.fd = -1 };
    CU_ASSERT_EQUAL_FATAL(loop_init(&P.loop), 0);
    CU_ASSERT_EQUAL_FATAL(addr_numeric(host, 0, &P.at), 0);
    int fd = sock_listen(&P.at);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(getsockname(fd, &P.at.sa, &len), 0);
    CU_ASSERT_EQUAL_FATAL(listener_start(&P.l, &P.loop, fd, "test", on_accepted), 0);
}

static void pair_open(void)
{
    pair_listen("127.0.0.1");
    CU_ASSERT_EQUAL(sock_connect(&P.a, &P.loop, &P.at, a_event), 0);
    UNTIL(P.n == 1 && sock_connected(&P.a) == 0);
    CU_ASSERT_EQUAL(sock_attach(&P.b, &P.loop, P.accepted[0], b_event), 0);
    loop_turn(&P.loop, 0);
}

static void pair_close(void)
{
    sock_close(&P.a);
    sock_close(&P.a);
    sock_close(&P.b);
    listener_stop(&P.l);
    listener_stop(&P.l);
    loop_fini(&P.loop);
}

/* ------------------------------------------------------------ streams */

static int option(int fd, int level, int name)
{
    int v = -1;
    socklen_t len = sizeof(v);
    CU_ASSERT_EQUAL(getsockopt(fd, level, name, &v, &len), 0);
    return v;
}

static void test_options(void)
{
    union sockaddr_any x;
    pair_open();
    const int fds[] = { P.a.io.fd, P.b.io.fd };
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(option(fds[i], IPPROTO_TCP, TCP_NODELAY), 1);
        CU_ASSERT_EQUAL(option(fds[i], SOL_SOCKET, SO_KEEPALIVE), 1);
        CU_ASSERT_EQUAL(option(fds[i], IPPROTO_TCP, TCP_KEEPIDLE), 30);
        CU_ASSERT_EQUAL(option(fds[i], IPPROTO_TCP, TCP_KEEPINTVL), 10);
        CU_ASSERT_EQUAL(option(fds[i], IPPROTO_TCP, TCP_KEEPCNT), 3);
    }
    sock_peer(&P.a, &x);
    CU_ASSERT_EQUAL(addr_port(&x), addr_port(&P.at));
    sock_local(&P.b, &x);
    CU_ASSERT_EQUAL(addr_port(&x), addr_port(&P.at));
    pair_close();
}

static void test_bytes(void)
{
    char one[3] = "", two[10] = "";
    struct iovec out[] = { { (char[]){ "hel" }, 3 }, { (char[]){ "lo" }, 2 } }, in[] = { { one, 3 }, { two, 10 } };
    pair_open();
    CU_ASSERT_EQUAL(sock_recv(&P.b, one, 1), -EAGAIN);
    CU_ASSERT_FALSE(P.b.can_read);
    CU_ASSERT_EQUAL(sock_sendv(&P.a, out, 2), 5);
    CU_ASSERT_EQUAL(sock_flush(&P.a), 0);
    UNTIL(P.b.can_read);
    CU_ASSERT_EQUAL(sock_recvv(&P.b, in, 2), 5);
    CU_ASSERT(memcmp(one, "hel", 3) == 0 && memcmp(two, "lo", 2) == 0);
    CU_ASSERT_EQUAL(sock_shut(&P.a), 0);
    UNTIL(sock_recv(&P.b, one, 1) == 0);
    CU_ASSERT_EQUAL(sock_sendv(&P.b, out, 1), 3); /* the other direction lives */
    UNTIL(sock_recv(&P.a, one, 3) == 3);
    pair_close();
}

static void test_full(void)
{
    static char block[1 << 16];
    struct iovec v = { block, sizeof(block) };
    size_t sent = 0, got = 0;
    ssize_t n;
    pair_open();
    while ((n = sock_sendv(&P.a, &v, 1)) > 0)
        sent += (size_t)n;
    CU_ASSERT_EQUAL(n, -EAGAIN);
    CU_ASSERT_FALSE(P.a.can_write);
    while (got < sent) {
        UNTIL((n = sock_recv(&P.b, block, sizeof(block))) > 0);
        got += (size_t)n;
    }
    UNTIL(P.a.can_write);
    pair_close();
}

static unsigned b_events_of(const char *said)
{
    P.b_events = 0;
    CU_ASSERT(send(P.a.io.fd, said, strlen(said), 0) == (ssize_t)strlen(said));
    for (int i = 0; i < 20; i++)
        loop_turn(&P.loop, NS_PER_MS);
    return P.b_events;
}

/* Who does not want input is not woken by it, again and again; nothing of it is lost, and the end is told all the same. */
static void test_deaf(void)
{
    char got[10];
    pair_open();
    CU_ASSERT(b_events_of("x") > 0);
    sock_deafen(&P.b);
    loop_turn(&P.loop, 0); /* there is room to write, which is told anew */
    CU_ASSERT(b_events_of("y") == 0 && b_events_of("z") == 0);
    P.b.can_read = false;
    sock_hear(&P.b);
    UNTIL(P.b.can_read);
    CU_ASSERT(sock_recv(&P.b, got, sizeof(got)) == 3 && memcmp(got, "xyz", 3) == 0);
    sock_deafen(&P.b);
    sock_deafen(&P.b);
    sock_shut(&P.a);
    UNTIL(P.b.hup);
    sock_hear(&P.b);
    CU_ASSERT(!P.b.deaf && sock_recv(&P.b, got, sizeof(got)) == 0);
    pair_close();
}

static void test_deaf_reset(void)
{
    char byte;
    pair_open();
    sock_deafen(&P.b);
    sock_reset_on_close(&P.a, true);
    sock_close(&P.a);
    UNTIL(P.b.error);
    CU_ASSERT_EQUAL(sock_recv(&P.b, &byte, 1), -ECONNRESET);
    pair_close();
}

static void test_reset(void)
{
    char byte = 'x';
    struct iovec v = { &byte, 1 };
    ssize_t n;
    pair_open();
    sock_reset_on_close(&P.a, true);
    sock_close(&P.a);
    UNTIL((n = sock_recv(&P.b, &byte, 1)) != -EAGAIN);
    CU_ASSERT_EQUAL(n, -ECONNRESET);
    CU_ASSERT_EQUAL(sock_sendv(&P.b, &v, 1), -EPIPE); /* and no SIGPIPE */
    pair_close();
}

static void test_refused(void)
{
    int rc;
    pair_listen("127.0.0.1");
    listener_stop(&P.l);
    CU_ASSERT_EQUAL(sock_connect(&P.a, &P.loop, &P.at, a_event), 0);
    UNTIL((rc = sock_connected(&P.a)) != -EAGAIN);
    CU_ASSERT_EQUAL(rc, -ECONNREFUSED);
    pair_close();
}

static void test_tls(void)
{
    char why[200], pin[TLS_PIN_TEXT], buf[10];
    char *pins[] = { pin, NULL };
    struct iovec v[] = { { (char[]){ "se" }, 2 }, { NULL, 0 }, { (char[]){ "cret" }, 4 } }, in[] = { { buf, 10 }, { NULL, 0 } };
    ssize_t n;
    struct tls_ctx *sc = tls_ctx_self_signed("localhost", "test", why, sizeof(why));
    tls_ctx_pin(sc, pin);
    struct tls_ctx *cc = tls_ctx_client(NULL, pins, "test", why, sizeof(why));
    pair_open();
    sock_start_tls(&P.a, tls_new_client(cc, P.a.io.fd, NULL));
    sock_start_tls(&P.b, tls_new_server(sc, P.b.io.fd));
    int ra = -EAGAIN, rb = -EAGAIN;
    UNTIL((ra = sock_handshake(&P.a), rb = sock_handshake(&P.b), ra == 0 && rb == 0));
    CU_ASSERT_EQUAL(sock_sendv(&P.a, v, 3), 6);
    CU_ASSERT_EQUAL(sock_flush(&P.a), 0);
    UNTIL((n = sock_recvv(&P.b, in, 2)) != -EAGAIN);
    CU_ASSERT(n > 0 && n <= 6 && memcmp(buf, "secret", (size_t)n) == 0);
    while (n < 6) {
        ssize_t more;
        UNTIL((more = sock_recv(&P.b, buf + n, 10)) > 0);
        n += more;
    }
    CU_ASSERT_EQUAL(sock_shut(&P.a), 0);
    UNTIL((n = sock_recv(&P.b, buf, 10)) != -EAGAIN);
    CU_ASSERT_EQUAL(n, 0); /* close_notify */
    sock_reset_on_close(&P.b, false);
    sock_close(&P.b); /* without close_notify: a cut */
    UNTIL((n = sock_recv(&P.a, buf, 10)) != -EAGAIN);
    CU_ASSERT_EQUAL(n, -SST_ELOST);
    pair_close();
    tls_ctx_free(cc);
    tls_ctx_free(sc);
}

/* As long as the peer takes something, and not for ever. */
static void test_leave(void)
{
    struct sock_leave l;
    sock_leave_begin(&l, 60 * NS_PER_S);
    CU_ASSERT(sock_leave_waits(&l, 1000) && sock_leave_waits(&l, 1000));
    l.until_ns = now_ns(); /* as if nothing had moved all the time */
    CU_ASSERT_FALSE(sock_leave_waits(&l, 1000));
    CU_ASSERT(sock_leave_waits(&l, 999) && l.until_ns > now_ns() + SOCK_LEAVE_NS / 2);
    l.end_ns = now_ns();
    CU_ASSERT_FALSE(sock_leave_waits(&l, 1));
}

/* ------------------------------------------------------------ listening */

static int inode_of(int fd)
{
    struct stat st = { 0 };
    fstat(fd, &st);
    return (int)st.st_ino;
}

/* Those of another program are found by their addresses, whatever they were opened for, and only once. */
static void test_inherited(void)
{
    char path[64];
    union sockaddr_any at[2], other;
    int fd[3], inode[3], had;
    snprintf(path, sizeof(path), "/tmp/unit-sock.%d", (int)getpid());
    for (int i = 0; i < 2; i++) {
        socklen_t len = sizeof(at[i]);
        addr_numeric(i ? "::" : "127.0.0.1", 0, &at[i]);
        fd[i] = sock_listen(&at[i]);
        CU_ASSERT_FATAL(fd[i] >= 0 && getsockname(fd[i], &at[i].sa, &len) == 0);
    }
    fd[2] = sock_listen_unix(path, 0600);
    for (int i = 0; i < 3; i++) {
        inode[i] = inode_of(fd[i]);
        CU_ASSERT_EQUAL(sock_inherit(fd[i]), 0);
    }
    addr_numeric("127.0.0.2", addr_port(&at[0]), &other);
    CU_ASSERT((had = sock_listen(&other)) >= 0 && inode_of(had) != inode[0]);
    close(had);
    for (int i = 1; i >= 0; i--) {
        CU_ASSERT((had = sock_listen(&at[i])) >= 0 && inode_of(had) == inode[i]);
        CU_ASSERT_EQUAL(sock_listen(&at[i]), -EADDRINUSE);
        close(had);
    }
    CU_ASSERT((had = sock_listen_unix(path, 0600)) >= 0 && inode_of(had) == inode[2]);
    CU_ASSERT_EQUAL(sock_inherit_end(), 0);
    CU_ASSERT_EQUAL(sock_inherit(had), 0);
    CU_ASSERT_EQUAL(sock_inherit_end(), 1);
    CU_ASSERT_EQUAL(fcntl(had, F_GETFD), -1);
    unlink(path);
    int no = socket(AF_INET, SOCK_STREAM, 0);
    CU_ASSERT_EQUAL(sock_inherit(no), -EINVAL);
    CU_ASSERT_EQUAL(sock_inherit(open("/dev/null", O_RDONLY)), -EINVAL);
    CU_ASSERT_EQUAL(fcntl(no, F_GETFD), -1);
}

static void test_inherited_many(void)
{
    int rc = 0;
    unsigned n = 0;
    union sockaddr_any at;
    addr_numeric("127.0.0.1", 0, &at);
    while (n < 1000 && (rc = sock_inherit(sock_listen(&at))) == 0)
        n++;
    CU_ASSERT_EQUAL(rc, -ENFILE);
    CU_ASSERT_EQUAL(sock_inherit_end(), n);
}

static void test_any_takes_ipv4(void)
{
    union sockaddr_any v4;
    pair_listen("::");
    addr_numeric("127.0.0.1", addr_port(&P.at), &v4);
    CU_ASSERT_EQUAL(sock_connect(&P.a, &P.loop, &v4, a_event), 0);
    UNTIL(P.n == 1 && sock_connected(&P.a) == 0);
    union sockaddr_any again = P.at;
    CU_ASSERT_EQUAL(sock_listen(&again), -EADDRINUSE);
    close(P.accepted[0]);
    pair_close();
}

static void test_unix(void)
{
    char path[64], file[80];
    struct stat st;
    struct sock b;
    mode_t mask = umask(0177);
    snprintf(path, sizeof(path), "/tmp/unit-sock.%d", (int)getpid());
    snprintf(file, sizeof(file), "%s.file", path);
    pair_open();
    int fd = sock_listen_unix(path, 0660);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT(stat(path, &st) == 0 && (st.st_mode & 0777) == 0660);
    CU_ASSERT_EQUAL(sock_listen_unix(path, 0600), -EADDRINUSE);
    close(fd);
    fd = sock_listen_unix(path, 0600); /* stale: replaced */
    CU_ASSERT(fd >= 0 && stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    close(fd);
    unlink(path);
    close(open(file, O_CREAT | O_RDWR, 0600));
    CU_ASSERT_EQUAL(sock_listen_unix(file, 0600), -EEXIST);
    unlink(file);
    CU_ASSERT_EQUAL(sock_listen_unix("/nonexistent/x", 0600), -ENOENT);
    char deep[200];
    memset(deep, 'x', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = 0;
    CU_ASSERT_EQUAL(sock_listen_unix(deep, 0600), -ENAMETOOLONG);
    CU_ASSERT(sock_attach(&b, &P.loop, -1, b_event) < 0);
    umask(mask);
    pair_close();
}

static void connect_many(struct sock *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        CU_ASSERT_EQUAL(sock_connect(&s[i], &P.loop, &P.at, a_event), 0);
}

static void close_many(struct sock *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        sock_close(&s[i]);
    for (unsigned i = 0; i < P.n; i++)
        close(P.accepted[i]);
}

static void test_stop_inside(void)
{
    struct sock s[3];
    pair_listen("127.0.0.1");
    P.stop_inside = true;
    connect_many(s, 3);
    UNTIL(P.n > 0);
    loop_turn(&P.loop, 0);
    CU_ASSERT_EQUAL(P.n, 1);
    close_many(s, 3);
    pair_close();
}

static void test_detach(void)
{
    struct sock s;
    pair_listen("127.0.0.1");
    int fd = listener_detach(&P.l);
    CU_ASSERT(fd >= 0);
    connect_many(&s, 1);
    for (int i = 0; i < 5; i++)
        loop_turn(&P.loop, NS_PER_MS);
    CU_ASSERT_EQUAL(P.n, 0);
    CU_ASSERT_EQUAL(listener_start(&P.l, &P.loop, fd, "test", on_accepted), 0);
    UNTIL(P.n == 1);
    close_many(&s, 1);
    pair_close();
}

/* No descriptor left: it pauses instead of spinning, and goes on by itself. */
static void test_out_of_descriptors(void)
{
    struct sock s[4];
    struct rlimit usual, tight;
    unsigned turns = 0;
    const char *preload = getenv("LD_PRELOAD");
    if (preload && strstr(preload, "vgpreload"))
        return; /* valgrind accepts the connection first and then closes it */
    pair_listen("127.0.0.1");
    connect_many(s, 4);
    int next = dup(0); /* the lowest that is free */
    close(next);
    getrlimit(RLIMIT_NOFILE, &usual);
    tight = usual;
    tight.rlim_cur = (rlim_t)next + 1;
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &tight), 0);
    for (uint64_t end = now_ns() + 350 * NS_PER_MS; now_ns() < end; turns++)
        loop_turn(&P.loop, NS_PER_S);
    CU_ASSERT_EQUAL(P.n, 1);
    CU_ASSERT(P.l.paused);
    CU_ASSERT(turns < 40);
    setrlimit(RLIMIT_NOFILE, &usual);
    UNTIL(P.n == 4);
    UNTIL(!P.l.paused);
    close_many(s, 4);
    pair_close();
}

/* A queue of connections to be accepted that is full: what comes is dropped, and sent again after a second. */
static void test_retransmits(void)
{
    struct sock s[4];
    pair_listen("127.0.0.1");
    int fd = listener_detach(&P.l);
    CU_ASSERT_EQUAL(listen(fd, 0), 0);
    connect_many(s, 4);
    CU_ASSERT_EQUAL(sock_retransmits(&s[0]), 0);
    UNTIL(sock_retransmits(&s[3]) > 0);
    close_many(s, 4);
    CU_ASSERT_EQUAL(sock_retransmits(&s[3]), 0);
    CU_ASSERT_EQUAL(listener_start(&P.l, &P.loop, fd, "test", on_accepted), 0);
    pair_close();
}

UNIT_MAIN("sock", UNIT(test_options), UNIT(test_bytes), UNIT(test_full), UNIT(test_deaf), UNIT(test_deaf_reset), UNIT(test_reset), UNIT(test_refused), UNIT(test_tls),
          UNIT(test_leave), UNIT(test_any_takes_ipv4), UNIT(test_inherited), UNIT(test_inherited_many), UNIT(test_unix), UNIT(test_stop_inside), UNIT(test_detach), UNIT(test_out_of_descriptors),
          UNIT(test_retransmits))
