/* Plain TCP peers at the ends of a channel, over real sockets on loopback: bytes both ways, half-closes, resets, dialing, and every way out. */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <linux/sockios.h>

#include "src/core/err.h"
#include "tcp/proxy.h"
#include "tcp/tcp_priv.h"
#include "tests/lib/unit.h"
#include "tests/lib/watch.h"
#include "tests/unit/tcp_stage.h"

const struct xport_ops *const xport_list[] = { &xport_tcp_ops, &xport_mem_ops, NULL };

#define RING (256U << 10)
#define LOCAL "127.0.0.1"

static struct rig rig;
static struct ring_pool pool;
static struct watch w;
static struct app client, backend;
static int listener; /* the backend's */
static union sockaddr_any at;
static struct footprint before;

static void play(void)
{
    if (backend.fd < 0 && listener >= 0 && !app_over(&backend))
        backend.fd = stage_accept(listener);
    app_play(&client);
    app_play(&backend);
}

#define UNTIL(cond) STAGE_UNTIL(&rig.loop, play(), cond)

static void turn_once(void)
{
    play();
    loop_turn(&rig.loop, NS_PER_MS);
}

static void turn(void)
{
    for (int i = 0; i < 20; i++)
        turn_once();
}

static void begin_at(const char *host)
{
    signal(SIGPIPE, SIG_IGN); /* as every program of ours does: splice(2) cannot be told to send none */
    rig_open(&rig);
    mem_forget();
    pool = (struct ring_pool){ .cap = RING };
    before = footprint();
    client = (struct app){ .fd = -1, .seed = 1, .peer_seed = 2 };
    backend = (struct app){ .fd = -1, .seed = 2, .peer_seed = 1 };
    listener = stage_listen(host, 0, 8, &at);
    CU_ASSERT_FATAL(listener >= 0);
}

static void begin(void) { begin_at(LOCAL); }

static void end(void)
{
    CU_ASSERT_TRUE(watch_close(&w, 0));
    CU_ASSERT(w.reentered == 0 && pool.n_lent == 0);
    app_close(&client);
    app_close(&backend);
    fd_close(&listener);
    ring_pool_fini(&pool);
    CU_ASSERT_TRUE(footprint_same(&before));
    rig_close(&rig);
}

static void open_channel(void)
{
    const struct channel_spec s = { .id = 1, .pool = &pool, .duplex = true };
    watch_open(&w, &rig, 0, &s);
}

/* The client's connection, as a door would hand it over. */
static int accepted(void)
{
    union sockaddr_any door_at;
    AUTO_FD int door = stage_listen(LOCAL, 0, 1, &door_at);
    client.fd = stage_connect(&door_at);
    int fd = stage_accept(door);
    CU_ASSERT_FATAL(client.fd >= 0 && fd >= 0);
    return fd;
}

static void open_source(void)
{
    const struct xport_spec s = { .fd = accepted(), .keep_ns = NS_PER_S };
    CU_ASSERT_EQUAL(watch_end(&w, SIDE_SOURCE, &xport_tcp_ops, &s, NULL), 0);
}

static int dial(const struct xport_spec *with, char *const *addresses)
{
    struct xport_spec s = *with;
    s.fd = -1;
    s.addresses = addresses;
    s.port = addr_port(&at);
    return watch_end(&w, SIDE_SINK, &xport_tcp_ops, &s, NULL);
}

static void open_sink(void)
{
    char host[ADDR_TEXT], *addresses[] = { host, NULL };
    const struct xport_spec s = { .keep_ns = NS_PER_S };
    addr_format_host(&at, host);
    CU_ASSERT_EQUAL(dial(&s, addresses), 0);
}

static void open_relay(void)
{
    open_channel();
    open_source();
    open_sink();
    UNTIL(w.up[SIDE_SOURCE] && w.up[SIDE_SINK] && backend.fd >= 0);
}

static void expect_whole(void)
{
    CU_ASSERT(w.ended == 1 && w.ended_back == 1 && w.finished == 1 && !watch_failed(&w) && w.up[SIDE_SOURCE] == 1 && w.up[SIDE_SINK] == 1);
    CU_ASSERT(backend.got == client.to_send && backend.wrong == 0 && client.got == backend.to_send && client.wrong == 0);
}

static void expect_failure(enum channel_side side, int rc, const char *why)
{
    UNTIL(w.failed[side]);
    CU_ASSERT_EQUAL(w.rc[side], rc);
    if (!strstr(w.why[side], why))
        printf("\n  '%s' is not in '%s'\n", why, w.why[side]);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.why[side], why));
    CU_ASSERT(w.failed[side] == 1 && !w.failed[!side] && !w.finished);
}

/* ------------------------------------------------------------ bytes */

static void relay(const char *host, uint64_t there, uint64_t back)
{
    begin_at(host);
    client.to_send = there;
    backend.to_send = back;
    client.fin = backend.fin = true;
    open_relay();
    UNTIL(w.finished && client.eof && backend.eof);
    expect_whole();
    CU_ASSERT(w.c->stats->flow[FORWARD].rel == there && w.c->stats->flow[BACKWARD].rel == back);
    end();
}

static void test_sizes(void)
{
    const uint64_t sizes[] = { 0, 1, RING - 1, RING, RING + 1, 10000000 };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        relay(LOCAL, sizes[i], 0);
        relay(LOCAL, 0, sizes[i]);
        relay(LOCAL, sizes[i], sizes[i]);
    }
}

static void test_v6(void)
{
    union sockaddr_any any;
    AUTO_FD int fd = stage_listen("::1", 0, 1, &any);
    if (fd >= 0)
        relay("::1", 1000, 1000);
    else
        printf("no IPv6 here ");
}

/* Until for 20 turns nothing has gone anywhere: the kernel's buffers, which grow, are full. */
static void stand_still(void)
{
    uint64_t moved = UINT64_MAX;
    for (int quiet = 0, i = 0; quiet < 20 && i < 10000; i++) {
        uint64_t now = client.sent + backend.sent + w.c->stats->flow[FORWARD].rel + w.c->stats->flow[BACKWARD].rel;
        quiet = now == moved ? quiet + 1 : 0;
        moved = now;
        turn_once();
    }
}

/* Nobody reads: both rings hold bytes, and each is given back when it is empty again. */
static void test_nobody_reads(void)
{
    begin();
    client.to_send = backend.to_send = 60000000; /* kernels of today take 20 MB into their buffers */
    client.lazy = backend.lazy = client.fin = backend.fin = true;
    open_relay();
    UNTIL(pool.n_lent == 2);
    stand_still();
    CU_ASSERT(pool.n_lent == 2 && !w.ended && client.sent < client.to_send && backend.sent < backend.to_send);
    client.lazy = false;
    UNTIL(client.eof);
    CU_ASSERT(pool.n_lent == 1 && w.ended_back == 1 && !w.ended);
    backend.lazy = false;
    UNTIL(w.finished && backend.eof);
    expect_whole();
    CU_ASSERT_EQUAL(pool.n_lent, 0);
    end();
}

/* ------------------------------------------------------------ the end of one direction */

static void half_close(struct app *first, struct app *second)
{
    begin();
    open_relay();
    first->to_send = 1000;
    first->fin = true;
    UNTIL(second->eof);
    CU_ASSERT(second->got == 1000 && !app_over(first) && !w.finished);
    second->to_send = 3 * RING;
    UNTIL(first->got == 3 * RING);
    turn();
    CU_ASSERT(!app_over(first) && !w.finished && !watch_failed(&w));
    second->fin = true;
    UNTIL(w.finished && first->eof);
    expect_whole();
    end();
}

static void test_half_close(void)
{
    half_close(&client, &backend);
    half_close(&backend, &client);
}

/* The FIN is in the kernel before the other end is dialed. */
static void test_end_before_dialed(void)
{
    begin();
    client.to_send = 1000;
    client.fin = backend.fin = true;
    open_channel();
    open_source();
    UNTIL(w.ended);
    open_sink();
    UNTIL(w.finished && client.eof && backend.eof);
    expect_whole();
    end();
}

/* ------------------------------------------------------------ resets */

/* None of these turns sleeps: where nothing is left to be said, nothing waits for it. */
static void expect_told_at_once(enum channel_side side)
{
    for (int i = 0; i < 100000 && !w.failed[side]; i++)
        loop_turn(&rig.loop, 0);
    CU_ASSERT_TRUE(w.failed[side]);
    UNTIL(w.closed);
}

static void reset(struct app *by, struct app *other, enum channel_side side)
{
    begin();
    open_relay();
    w.close_on_failure = true;
    app_reset(by);
    expect_told_at_once(side);
    UNTIL(app_over(other));
    CU_ASSERT(other->error == ECONNRESET && !other->eof);
    expect_failure(side, -SST_ERESET, ": reset by the peer");
    end();
}

static void test_reset(void)
{
    reset(&client, &backend, SIDE_SOURCE);
    reset(&backend, &client, SIDE_SINK);
}

static void test_bytes_before_reset(void)
{
    begin();
    open_relay();
    w.close_on_failure = true;
    client.to_send = 30000;
    app_play(&client);
    CU_ASSERT_EQUAL(client.sent, 30000);
    app_reset(&client);
    UNTIL(app_over(&backend) && w.closed);
    CU_ASSERT(backend.got == 30000 && backend.wrong == 0 && backend.error == ECONNRESET);
    expect_failure(SIDE_SOURCE, -SST_ERESET, "tcp with 127.0.0.1:");
    end();
}

static void test_both_reset(void)
{
    begin();
    open_relay();
    w.close_on_failure = true;
    app_reset(&client);
    app_reset(&backend);
    backend.error = 1; /* it is not accepted again */
    UNTIL(w.closed);
    CU_ASSERT(w.failed[SIDE_SOURCE] + w.failed[SIDE_SINK] == 1 && !w.finished);
    end();
}

/* Nobody reads from it any more, and nothing is to be written: only the event tells. */
static void reset_after_end(struct app *by, struct app *other, enum channel_side side)
{
    begin();
    open_relay();
    w.close_on_failure = true;
    by->fin = true;
    UNTIL(other->eof);
    other->eof = false; /* read on: there is an error behind the end */
    other->lazy = true;
    app_reset(by);
    expect_told_at_once(side);
    expect_failure(side, -SST_ERESET, "reset by the peer");
    other->to_send = 1;
    UNTIL(other->error);
    end();
}

static void test_reset_after_end(void)
{
    reset_after_end(&client, &backend, SIDE_SOURCE);
    reset_after_end(&backend, &client, SIDE_SINK);
}

/* The other side takes nothing, so the ring is full, be it of memory or a pipe, and nobody reads up to the error. */
static void test_reset_behind_full_ring(void)
{
    for (int piped = 0; piped < 2; piped++) {
        begin();
        pool.no_pipes_ns = piped ? 0 : now_ns();
        backend.lazy = true;
        client.to_send = 100 << 20;
        open_relay();
        w.close_on_failure = true;
        for (uint64_t last = 1; last != client.sent;) {
            last = client.sent;
            turn();
            turn();
        }
        CU_ASSERT(ring_held(&w.c->flow[FORWARD].ring) > 0 && w.c->flow[FORWARD].ring.piped <= piped);
        app_reset(&client);
        client.error = ECONNRESET;
        expect_failure(SIDE_SOURCE, -SST_ERESET, "reset by the peer");
        UNTIL(w.closed);
        backend.lazy = false;
        UNTIL(backend.error);
        end();
    }
}

/* While so much waits in the pipe, what comes stays in the socket, and wakes nobody. */
static void test_no_crumbs(void)
{
    begin();
    backend.lazy = true;
    open_relay();
    const struct ring *r = &w.c->flow[FORWARD].ring;
    for (int i = 0; i < 1000 && !ring_clogged(r); i++) {
        client.to_send += 128 << 10;
        turn();
    }
    uint64_t put = r->put;
    bool piped = r->piped;
    if (!piped)
        printf("no pipes of that size here ");
    for (int i = 0; i < 20 && piped; i++) {
        client.to_send += 100;
        turn();
        turn_once();
    }
    CU_ASSERT(!piped || (client.sent > put && r->put == put && ring_room(r) > 0 && tcp_of(w.c->end[SIDE_SOURCE])->s.deaf));
    backend.lazy = false;
    UNTIL(backend.got == client.to_send);
    turn();
    client.to_send += 1000; /* and then it is told of again */
    UNTIL(backend.got == client.to_send);
    end();
}

/* A pipe has places as well as bytes, and small pieces use them up long before it holds what it could. */
static void test_reset_behind_small_pieces(void)
{
    begin();
    backend.lazy = true;
    open_relay();
    w.close_on_failure = true;
    const struct ring *r = &w.c->flow[FORWARD].ring;
    for (int i = 0; i < 1000 && ring_held(r) == 0; i++) { /* until the sockets behind it take no more, and little of the pipe is used */
        client.to_send += 128 << 10;
        turn();
    }
    if (r->piped)
        for (int i = 0; i < 1000; i++) {
            CU_ASSERT(send(client.fd, "x", 1, MSG_NOSIGNAL) == 1);
            turn_once();
        }
    else
        printf("no pipes of that size here ");
    CU_ASSERT(!r->piped || ring_room(r) > 0);
    app_reset(&client);
    client.error = ECONNRESET;
    if (r->piped)
        expect_failure(SIDE_SOURCE, -SST_ERESET, "reset by the peer");
    end();
}

/* Both directions are through: who leaves now, and how, is nobody's concern. */
static void test_reset_after_both_ends(void)
{
    begin();
    client.fin = backend.fin = true;
    open_relay();
    UNTIL(w.finished && client.eof && backend.eof);
    app_reset(&client);
    app_reset(&backend);
    turn();
    CU_ASSERT_FALSE(watch_failed(&w));
    end();
}

/* ------------------------------------------------------------ what was said before a reset */

static int unsent(int fd)
{
    int n = 0;
    return ioctl(fd, SIOCOUTQ, &n) < 0 ? -1 : n;
}

/* Nothing moves any more. */
static void fill_up(void)
{
    for (uint64_t last = 1; last != client.sent + backend.sent;) {
        last = client.sent + backend.sent;
        turn();
        turn();
    }
}

/* The client reads nothing, and the ring has some of the answer; what is behind it can be in our kernel, too. */
static void answer_into_ring(const struct ring *back)
{
    for (int i = 0; i < 1000 && ring_held(back) == 0; i++) {
        backend.to_send += 100000;
        turn();
    }
    backend.to_send += 100000;
    turn();
}

/* The backend answers much, takes nothing of a long upload, and resets; the client does not read before that. Returns how much of the answer has
 * reached us for certain (the last ones may be here and not acknowledged yet): in the client's socket, in the ring, and in the backend's. */
static uint64_t refuse_upload(bool piped, bool fin)
{
    begin();
    pool.no_pipes_ns = piped ? 0 : now_ns();
    client.lazy = backend.lazy = true;
    client.to_send = 200 << 20;
    backend.to_send = fin ? 0 : 200 << 20;
    open_relay();
    w.close_on_failure = true;
    const struct ring *back = &w.c->flow[BACKWARD].ring;
    fill_up();
    if (fin)
        answer_into_ring(back);
    backend.fin = fin;
    UNTIL(!fin || (backend.fin_sent && unsent(backend.fd) == 0));
    CU_ASSERT(ring_held(back) > 0 && ring_held(&w.c->flow[FORWARD].ring) > 0 && back->piped <= piped);
    uint64_t said = backend.sent - (uint64_t)unsent(backend.fd);
    client.to_send = client.sent;
    app_reset(&backend);
    backend.error = ECONNRESET; /* it is not accepted again */
    return said;
}

static void expect_answer_then_reset(uint64_t said)
{
    UNTIL(client.error && w.closed);
    CU_ASSERT(client.got >= said && client.wrong == 0 && client.error == ECONNRESET && !client.eof);
    expect_failure(SIDE_SINK, -SST_ERESET, "reset by the peer");
}

static void test_answer_before_reset(void)
{
    for (int piped = 0; piped < 2; piped++) {
        uint64_t said = refuse_upload(piped, false);
        turn();
        CU_ASSERT(w.c && !watch_failed(&w)); /* it is not told before the answer is through */
        client.lazy = false;
        expect_answer_then_reset(said);
        end();
    }
}

/* The end of file that came before the reset is handed on, too. */
static void test_answer_and_end_before_reset(void)
{
    for (int piped = 0; piped < 2; piped++) {
        refuse_upload(piped, true);
        turn();
        CU_ASSERT(w.c && !watch_failed(&w));
        client.lazy = false;
        UNTIL(client.eof && w.closed);
        CU_ASSERT(client.got == backend.sent && client.wrong == 0 && w.ended_back == 1);
        expect_failure(SIDE_SINK, -SST_ERESET, "reset by the peer");
        client.to_send++; /* there is an error behind the end */
        UNTIL(client.error);
        end();
    }
}

/* It is our own sending that meets the reset first, with the answer still unread. */
static void test_answer_before_failed_send(void)
{
    begin();
    open_relay();
    w.close_on_failure = true;
    backend.lazy = true;
    backend.to_send = client.to_send = 1000;
    UNTIL(client.got == 1000 && client.sent == 1000);
    turn();
    backend.to_send += 5000;
    app_play(&backend);
    client.to_send += 1000;
    app_play(&client);
    app_reset(&backend);
    backend.error = ECONNRESET;
    expect_answer_then_reset(6000);
    end();
}

/* Nobody can take it any more: the one who was reset first is the one who is told. */
static void test_both_reset_one_after_the_other(void)
{
    refuse_upload(false, false);
    turn();
    CU_ASSERT(w.c && !watch_failed(&w));
    app_reset(&client);
    client.error = ECONNRESET;
    UNTIL(w.closed);
    expect_failure(SIDE_SINK, -SST_ERESET, "reset by the peer");
    end();
}

/* A client that never reads holds the place for a while only, and is then reset. */
static void test_answer_that_nobody_reads(void)
{
    uint64_t said = refuse_upload(true, false);
    UNTIL(w.closed);
    expect_failure(SIDE_SINK, -SST_ERESET, "reset by the peer");
    client.lazy = false;
    UNTIL(client.error);
    CU_ASSERT(client.error == ECONNRESET && client.got < said && client.wrong == 0);
    end();
}

static int open_sources_copy(void)
{
    struct xport_spec s = { .fd = accepted() };
    int copy = fcntl(s.fd, F_DUPFD_CLOEXEC, 0);
    CU_ASSERT_EQUAL(watch_end(&w, SIDE_SOURCE, &xport_tcp_ops, &s, NULL), 0);
    return copy;
}

static bool resets(int fd)
{
    struct linger l = { .l_onoff = 0 };
    socklen_t len = sizeof(l);
    return getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len) == 0 && l.l_onoff && l.l_linger == 0;
}

static void test_linger(void)
{
    for (int rc = 0; rc >= -1; rc--) {
        begin();
        open_channel();
        AUTO_FD int copy = open_sources_copy();
        CU_ASSERT_TRUE(resets(copy));
        CU_ASSERT_TRUE(watch_close(&w, rc ? -SST_EABORTED : 0));
        CU_ASSERT(resets(copy) == (rc != 0));
        fd_close(&copy);
        UNTIL(app_over(&client));
        CU_ASSERT(rc ? client.error == ECONNRESET : client.eof);
        end();
    }
}

static void be_gateway(int fd)
{
    const struct xport_spec s = { .fd = fd };
    rig_open(&rig);
    open_channel();
    watch_end(&w, SIDE_SOURCE, &xport_tcp_ops, &s, NULL);
    open_sink();
    for (;;)
        loop_turn(&rig.loop, NS_PER_S);
}

/* The death of the process is a reset at both ends, never an end of file. */
static void test_death(void)
{
    begin();
    int fd = accepted();
    client.to_send = 1000;
    pid_t pid = fork();
    if (pid == 0)
        be_gateway(fd);
    close(fd);
    UNTIL(backend.got == 1000);
    kill(pid, SIGKILL);
    CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
    UNTIL(app_over(&client) && app_over(&backend));
    CU_ASSERT(client.error == ECONNRESET && backend.error == ECONNRESET);
    end();
}

/* ------------------------------------------------------------ dialing */

/* What becomes of a client whose backend cannot be reached. */
static void unreachable(const struct xport_spec *s, char *const *addresses, int rc, const char *why)
{
    open_channel();
    open_source();
    w.close_on_failure = true;
    dial(s, addresses);
    expect_failure(SIDE_SINK, rc, why);
    UNTIL(w.closed && app_over(&client));
    CU_ASSERT_EQUAL(client.error, ECONNRESET);
}

static void test_refused(void)
{
    const struct xport_spec s = { .connect_ns = 10 * NS_PER_S };
    char *one[] = { LOCAL, NULL }, *none[] = { NULL }, *name[] = { LOCAL, "localhost", NULL };
    begin();
    fd_close(&listener);
    unreachable(&s, one, -ECONNREFUSED, "tcp to 127.0.0.1:");
    end();
    begin();
    unreachable(&s, none, -SST_ERESOLVE, "no address");
    end();
    begin();
    unreachable(&s, NULL, -SST_ERESOLVE, "no address");
    end();
    begin();
    unreachable(&s, name, -EINVAL, "'localhost' is no numeric address");
    end();
}

static void reached(const struct xport_spec *s, char *const *addresses)
{
    client.to_send = 100;
    client.fin = backend.fin = true;
    open_channel();
    open_source();
    CU_ASSERT_EQUAL(dial(s, addresses), 0);
    UNTIL(w.finished && client.eof && backend.eof);
    expect_whole();
}

static void test_second_address(void)
{
    const struct xport_spec s = { .connect_ns = 300 * NS_PER_MS };
    char *refuses[] = { "127.0.0.2", "127.0.0.3", LOCAL, NULL }, *black[] = { "127.0.0.4", LOCAL, NULL };
    int fillers[8];
    unsigned n;
    begin();
    reached(&s, refuses);
    end();
    begin();
    int hole = stage_black_hole("127.0.0.4", addr_port(&at), fillers, &n);
    CU_ASSERT_FATAL(hole >= 0);
    uint64_t began = now_ns();
    reached(&s, black);
    CU_ASSERT(now_ns() - began >= s.connect_ns);
    for (unsigned i = 0; i < n; i++)
        close(fillers[i]);
    close(hole);
    end();
}

static void test_no_answer(void)
{
    const struct xport_spec s = { .connect_ns = 200 * NS_PER_MS };
    char *black[] = { "127.0.0.4", "127.0.0.4", NULL }; /* each has its time */
    int fillers[8];
    unsigned n;
    begin();
    int hole = stage_black_hole("127.0.0.4", addr_port(&at), fillers, &n);
    CU_ASSERT_FATAL(hole >= 0);
    uint64_t began = now_ns();
    unreachable(&s, black, -SST_ETIMEOUT, ": no answer in time");
    CU_ASSERT(now_ns() - began >= 2 * s.connect_ns);
    for (unsigned i = 0; i < n; i++)
        close(fillers[i]);
    close(hole);
    end();
}

static void test_source_address(void)
{
    struct xport_spec s = { .source = "127.0.0.9" };
    char *one[] = { LOCAL, NULL };
    union sockaddr_any from = { 0 };
    socklen_t len = sizeof(from);
    char text[ADDR_TEXT];
    begin();
    open_channel();
    CU_ASSERT_EQUAL(dial(&s, one), 0);
    UNTIL(backend.fd >= 0);
    CU_ASSERT_EQUAL(getpeername(backend.fd, &from.sa, &len), 0);
    CU_ASSERT_STRING_EQUAL(addr_format_host(&from, text), "127.0.0.9");
    end();
    begin();
    s.source = "192.0.2.1"; /* not of this machine */
    unreachable(&s, one, -EADDRNOTAVAIL, "tcp to 127.0.0.1:");
    end();
    begin();
    s.source = "a name";
    unreachable(&s, one, -EINVAL, "source 'a name' is no numeric address");
    end();
    begin();
    s.source = "::1"; /* of the other family */
    open_channel();
    open_source();
    CU_ASSERT(dial(&s, one) < 0);
    UNTIL(w.failed[SIDE_SINK]);
    end();
}

static void test_no_descriptor(void)
{
    const struct xport_spec s = { .fd = -1 };
    struct rlimit was, now;
    char *one[] = { LOCAL, NULL };
    begin();
    open_channel();
    open_source();
    w.close_on_failure = true;
    CU_ASSERT_EQUAL(getrlimit(RLIMIT_NOFILE, &was), 0);
    int next = dup(STDERR_FILENO);
    close(next);
    now = (struct rlimit){ (rlim_t)next, was.rlim_max };
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &now), 0);
    int rc = dial(&s, one);
    setrlimit(RLIMIT_NOFILE, &was);
    CU_ASSERT_EQUAL(rc, -EMFILE);
    expect_failure(SIDE_SINK, -EMFILE, "tcp to 127.0.0.1:");
    UNTIL(app_over(&client));
    CU_ASSERT_EQUAL(client.error, ECONNRESET);
    end();
}

static void test_no_socket(void)
{
    const struct xport_spec file = { .fd = open("/dev/null", O_RDWR | O_CLOEXEC) }, any = { .fd = -1 };
    struct xport_answer a;
    begin();
    before.fds--; /* that file, which is taken */
    open_channel();
    CU_ASSERT_EQUAL(watch_end(&w, SIDE_SOURCE, &xport_tcp_ops, &file, NULL), -ENOTSOCK);
    CU_ASSERT_EQUAL(watch_end(&w, SIDE_SINK, &xport_tcp_ops, &any, &a), -EINVAL);
    UNTIL(w.failed[SIDE_SOURCE] && w.failed[SIDE_SINK]);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.why[SIDE_SINK], "by a door"));
    end();
}

/* ------------------------------------------------------------ the PROXY header */

static void expect_header(const char *from, uint16_t from_port, const char *to, const char *want, size_t n)
{
    static const char first[] = "\r\n\r\n\0\r\nQUIT\n\x21";
    uint8_t out[PROXY_MAX];
    union sockaddr_any a = { 0 }, b = { 0 };
    if (from && addr_numeric(from, from_port, &a) < 0)
        CU_FAIL("no address");
    if (addr_numeric(to, 443, &b) < 0)
        CU_FAIL("no address");
    CU_ASSERT_EQUAL_FATAL(proxy_header(&a, &b, out), 13 + n);
    CU_ASSERT(memcmp(out, first, 13) == 0 && memcmp(out + 13, want, n) == 0);
}

#define HEADER(from, port, to, want) expect_header(from, port, to, want, sizeof(want) - 1)
#define FFFF(ip) "\0\0\0\0\0\0\0\0\0\0\xff\xff" ip

static void test_proxy_header(void)
{
    HEADER("192.0.2.7", 40112, "10.0.0.1", "\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x9c\xb0\x01\xbb");
    HEADER("::ffff:192.0.2.7", 40112, "10.0.0.1", "\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x9c\xb0\x01\xbb");
    HEADER("::ffff:192.0.2.7", 1, "::ffff:10.0.0.1", "\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\0\x01\x01\xbb");
    HEADER("2001:db8::7", 256, "2001:db8::1",
           "\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\0\x01\xbb");
    HEADER("2001:db8::7", 256, "::ffff:10.0.0.1",
           "\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07" FFFF("\x0a\0\0\x01") "\x01\0\x01\xbb");
    HEADER("192.0.2.7", 1, "2001:db8::1", "\0\0\0"); /* UNSPEC: the receiver takes the addresses of the connection */
    HEADER("2001:db8::7", 1, "10.0.0.1", "\0\0\0");
    HEADER(NULL, 0, "10.0.0.1", "\0\0\0");
    uint8_t out[PROXY_MAX];
    CU_ASSERT_EQUAL(proxy_header(NULL, NULL, out), 16); /* LOCAL: nobody came, an attached sender has no TCP connection to be named */
    CU_ASSERT(memcmp(out + 12, "\x20\0\0\0", 4) == 0);
}

static void test_proxy(void)
{
    union sockaddr_any from, to;
    struct xport_spec s = { .proxy = true, .proxy_from = &from, .proxy_to = &to };
    char *addresses[] = { "127.0.0.2", LOCAL, NULL }; /* whole, too, for the second one */
    uint8_t want[PROXY_MAX];
    begin();
    addr_numeric("2001:db8::7", 7, &from);
    addr_numeric("2001:db8::1", 1, &to);
    size_t n = proxy_header(&from, &to, want);
    client.to_send = 10;
    open_channel();
    open_source();
    CU_ASSERT_EQUAL(dial(&s, addresses), 0);
    UNTIL(backend.got == n + 10);
    CU_ASSERT_EQUAL(memcmp(backend.text, want, n), 0);
    for (uint64_t i = 0; i < 10; i++)
        CU_ASSERT_EQUAL((uint8_t)backend.text[n + i], mem_byte(1, i));
    CU_ASSERT_EQUAL(w.c->stats->flow[FORWARD].rel, 10); /* it is none of the client's bytes */
    end();
}

/* ------------------------------------------------------------ urgent data: dropped, and nothing waits for it */

static void send_urgent(const char *front, const char *rear)
{
    ssize_t n = send(client.fd, front, strlen(front), MSG_NOSIGNAL) + send(client.fd, "!", 1, MSG_OOB | MSG_NOSIGNAL);
    n += send(client.fd, rear, strlen(rear), MSG_NOSIGNAL);
    CU_ASSERT_EQUAL(n, (ssize_t)(strlen(front) + 1 + strlen(rear)));
}

/* The same in the middle of so much that it goes through a pipe, and with an end of file behind it. */
static void test_urgent_in_bulk(void)
{
    for (int fin = 0; fin < 2; fin++) {
        begin();
        open_relay();
        client.to_send = 1000000;
        app_play(&client);
        UNTIL(backend.got == 1000000);
        CU_ASSERT_TRUE(w.c->end[SIDE_SOURCE]->bulk);
        client.to_send = 1200000;
        app_play(&client);
        CU_ASSERT(client.sent == 1200000 && send(client.fd, "!", 1, MSG_OOB | MSG_NOSIGNAL) == 1);
        client.to_send = 1300000;
        client.fin = backend.fin = fin;
        UNTIL(backend.got == 1300000);
        CU_ASSERT_EQUAL(backend.wrong, 0);
        if (fin)
            UNTIL(w.finished && backend.eof && client.eof);
        CU_ASSERT_FALSE(watch_failed(&w));
        end();
    }
}

static void test_urgent(void)
{
    begin();
    open_relay();
    for (unsigned i = 1; i <= 30; i++) {
        send_urgent("abc", "def");
        if (i == 1)
            UNTIL(backend.got == 6);
        UNTIL(backend.got == 6 * i);
    }
    CU_ASSERT_EQUAL(memcmp(backend.text, "abcdefabcdefabcdef", 18), 0);
    send_urgent("", "end");
    UNTIL(backend.got == 183);
    send(client.fd, "?", 1, MSG_OOB | MSG_NOSIGNAL);
    client.fin = backend.fin = true;
    UNTIL(w.finished && backend.eof && client.eof);
    CU_ASSERT(backend.got == 183 && !watch_failed(&w));
    end();
}

/* ------------------------------------------------------------ ends that are not duplex */

static struct mem_plan plan;

static void open_mem(enum channel_side side, bool simplex)
{
    const struct xport_spec s = { .address = "mem", .fd = -1, .simplex = simplex };
    mem_plan_add("mem", &plan);
    CU_ASSERT_EQUAL(watch_end(&w, side, &xport_mem_ops, &s, NULL), 0);
}

/* A source in memory, a TCP peer that takes, in a channel that is not duplex. */
static void open_simplex(uint64_t bytes, bool settle)
{
    const struct channel_spec cs = { .id = 1, .window = 64 << 10 };
    const struct xport_spec s = { .settle = settle };
    char *one[] = { LOCAL, NULL };
    plan = (struct mem_plan){ .bytes = bytes, .seed = 1 };
    if (bytes == 0) /* it never has any */
        plan = (struct mem_plan){ .bytes = 1, .again = 1, .later_ns = 50 * NS_PER_MS };
    watch_open(&w, &rig, 0, &cs);
    open_mem(SIDE_SOURCE, false);
    CU_ASSERT_EQUAL(dial(&s, one), 0);
    UNTIL(w.up[SIDE_SINK] && backend.fd >= 0);
}

static void test_sink_drops(void)
{
    begin();
    backend.to_send = 3000000;
    backend.fin = true;
    open_simplex(1000000, true);
    UNTIL(backend.sent == 3000000 && w.finished && backend.eof);
    CU_ASSERT(backend.got == 1000000 && backend.wrong == 0 && w.total == 1000000 && !watch_failed(&w));
    end();
}

static void test_sink_notices_reset(void)
{
    for (int fin = 0; fin < 2; fin++) {
        begin();
        open_simplex(0, false);
        w.close_on_failure = true;
        backend.fin = fin;
        turn();
        app_reset(&backend);
        expect_failure(SIDE_SINK, -SST_ERESET, "reset by the peer");
        backend.error = 1; /* it is not accepted again */
        UNTIL(w.closed);
        end();
    }
}

/* With settle it is done when the peer's kernel has everything, and that has a small buffer. */
static void test_settle(void)
{
    const int small = 4096;
    for (int settle = 0; settle < 2; settle++) {
        begin();
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        backend.lazy = true;
        open_simplex(14000, settle);
        UNTIL(w.c->stats->flow[FORWARD].rel == 14000);
        if (settle)
            rig_wait(&rig, 200 * NS_PER_MS);
        else
            UNTIL(w.finished);
        CU_ASSERT_EQUAL(w.finished, !settle);
        backend.lazy = false;
        UNTIL(w.finished && backend.eof);
        CU_ASSERT(backend.got == 14000 && backend.wrong == 0 && !watch_failed(&w));
        end();
    }
}

/* A peer that never takes the last bytes, and is reset: no endless wait for them. */
static void test_settle_lost(void)
{
    const int small = 4096;
    begin();
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    backend.lazy = true;
    open_simplex(14000, true);
    w.close_on_failure = true;
    UNTIL(w.c->stats->flow[FORWARD].rel == 14000);
    app_reset(&backend);
    backend.error = 1;
    expect_failure(SIDE_SINK, -SST_ERESET, "reset by the peer");
    UNTIL(w.closed);
    end();
}

/* A TCP peer that sends, in a channel that is not duplex; at the clean end it reads its end of file. */
static void test_simplex_source(void)
{
    const struct channel_spec cs = { .id = 1, .window = 64 << 10 };
    begin();
    plan = (struct mem_plan){ .seed = 1 };
    client.to_send = 1000000;
    client.fin = true;
    watch_open(&w, &rig, 0, &cs);
    open_source();
    open_mem(SIDE_SINK, false);
    UNTIL(w.finished);
    CU_ASSERT(plan.moved == 1000000 && plan.wrong == 0 && !app_over(&client));
    CU_ASSERT_TRUE(watch_close(&w, 0));
    UNTIL(client.eof);
    end();
}

/* Duplex for the TCP peer; the other end only takes: the peer reads its end at once, and goes on. */
static void test_other_takes_only(void)
{
    for (int first = 0; first < 2; first++) {
        begin();
        plan = (struct mem_plan){ .seed = 1 };
        client.to_send = 600000;
        open_channel();
        if (first)
            open_mem(SIDE_SINK, true);
        open_source();
        if (!first)
            open_mem(SIDE_SINK, true);
        UNTIL(client.eof && plan.moved == 600000);
        CU_ASSERT(w.ended_back == 1 && !w.finished);
        client.fin = true;
        UNTIL(w.finished);
        CU_ASSERT(plan.wrong == 0 && plan.shut && !watch_failed(&w));
        end();
    }
}

/* The other end only brings: what the TCP peer says is read and dropped, to its end. */
static void test_other_brings_only(void)
{
    for (int first = 0; first < 2; first++) {
        begin();
        plan = (struct mem_plan){ .bytes = 600000, .seed = 1 };
        backend.to_send = 700000;
        open_channel();
        if (first)
            open_mem(SIDE_SOURCE, true);
        open_sink();
        if (!first)
            open_mem(SIDE_SOURCE, true);
        UNTIL(backend.eof && w.c->stats->flow[BACKWARD].rel == 700000);
        CU_ASSERT(backend.got == 600000 && backend.wrong == 0 && w.ended == 1 && !w.finished);
        backend.fin = true;
        UNTIL(w.finished);
        CU_ASSERT(w.ended_back == 1 && !watch_failed(&w));
        end();
    }
}

/* Neither end is duplex, though the channel is. */
static void test_nobody_is_duplex(void)
{
    for (int first = 0; first < 2; first++) {
        struct mem_plan sink = { .seed = 1 };
        const struct xport_spec s = { .address = "sink", .fd = -1, .simplex = true };
        begin();
        plan = (struct mem_plan){ .bytes = 100000, .seed = 1 };
        mem_plan_add("sink", &sink);
        open_channel();
        if (first)
            open_mem(SIDE_SOURCE, true);
        CU_ASSERT_EQUAL(watch_end(&w, SIDE_SINK, &xport_mem_ops, &s, NULL), 0);
        if (!first)
            open_mem(SIDE_SOURCE, true);
        UNTIL(w.finished);
        CU_ASSERT(w.ended == 1 && w.ended_back == 1 && sink.moved == 100000 && sink.wrong == 0);
        end();
    }
}

#define HELD 500000U /* more than a peer that does not read takes, and less than any kernel keeps for it */

/* What our kernel has and the peer's has not, when the other gateway says that its peer was reset; no other reason waits for that,
 * nor a process that ends. */
static void close_with_unsent(int rc, bool ending)
{
    bool waits = rc == -SST_ERESET && !ending;
    struct mem_plan back = { .bytes = 200 << 20, .seed = 2, .held = true, .held_at = HELD };
    int there = 0;
    begin();
    client.lazy = true;
    plan = (struct mem_plan){ .seed = 1, .back = &back };
    open_channel();
    open_mem(SIDE_SINK, false);
    open_source();
    UNTIL(w.c->stats->flow[BACKWARD].rel == HELD);
    CU_ASSERT(ioctl(client.fd, FIONREAD, &there) == 0 && (unsigned)there < HELD);
    rig.env[0].ending = ending;
    channel_close(w.c, rc);
    turn();
    CU_ASSERT_EQUAL(w.closed, !waits);
    client.lazy = false;
    UNTIL(client.error && w.closed);
    CU_ASSERT(client.error == ECONNRESET && client.wrong == 0 && (client.got == HELD) == waits);
    end();
}

static void test_close_with_unsent(void)
{
    close_with_unsent(-SST_ERESET, false);
    close_with_unsent(-SST_EABORTED, false);
    close_with_unsent(-SST_ERESET, true);
}

/* ------------------------------------------------------------ closed in every state */

static void build_nothing(void) { open_channel(); }

static void build_source(void)
{
    open_channel();
    open_source();
}

static void build_sink(void)
{
    open_channel();
    open_sink();
}

static void build_both(void)
{
    build_source();
    open_sink();
}

static void build_up(void) { open_relay(); }

static void build_busy(void)
{
    client.to_send = backend.to_send = 20000000;
    client.lazy = backend.lazy = true;
    open_relay();
    UNTIL(pool.n_lent == 2);
}

static void build_half(void)
{
    client.fin = true;
    open_relay();
    UNTIL(backend.eof);
}

static void build_ended(void)
{
    client.fin = backend.fin = true;
    open_relay();
    UNTIL(w.finished);
}

static void build_failed(void)
{
    open_relay();
    app_reset(&client);
    UNTIL(w.failed[SIDE_SOURCE]);
}

static void build_refused(void)
{
    fd_close(&listener);
    build_source();
    char *one[] = { LOCAL, NULL };
    const struct xport_spec s = { .fd = -1 };
    dial(&s, one);
}

static void test_close_everywhere(void)
{
    static void (*const states[])(void) = { build_nothing, build_source, build_sink, build_both, build_up, build_busy, build_half, build_ended,
                                            build_failed, build_refused };
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        for (int rc = 0; rc >= -1; rc--) {
            begin();
            states[i]();
            CU_ASSERT_TRUE(watch_close(&w, rc ? -SST_EABORTED : 0));
            end();
        }
}

UNIT_MAIN("tcp", UNIT(test_sizes), UNIT(test_v6), UNIT(test_nobody_reads), UNIT(test_half_close), UNIT(test_end_before_dialed),
          UNIT(test_reset), UNIT(test_bytes_before_reset), UNIT(test_both_reset), UNIT(test_reset_after_end), UNIT(test_reset_behind_full_ring), UNIT(test_no_crumbs), UNIT(test_reset_behind_small_pieces), UNIT(test_reset_after_both_ends), UNIT(test_answer_before_reset),
          UNIT(test_answer_and_end_before_reset), UNIT(test_answer_before_failed_send), UNIT(test_both_reset_one_after_the_other),
          UNIT(test_answer_that_nobody_reads), UNIT(test_close_with_unsent),
          UNIT(test_linger), UNIT(test_death), UNIT(test_refused), UNIT(test_second_address), UNIT(test_no_answer), UNIT(test_source_address),
          UNIT(test_no_descriptor), UNIT(test_no_socket), UNIT(test_proxy_header), UNIT(test_proxy), UNIT(test_urgent), UNIT(test_urgent_in_bulk),
          UNIT(test_sink_drops),
          UNIT(test_sink_notices_reset), UNIT(test_settle), UNIT(test_settle_lost), UNIT(test_simplex_source), UNIT(test_other_takes_only),
          UNIT(test_other_brings_only), UNIT(test_nobody_is_duplex), UNIT(test_close_everywhere))
