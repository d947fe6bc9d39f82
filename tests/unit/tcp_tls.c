/* TCP ends with TLS on them, as the server and as the client, over real sockets on loopback: bytes both ways, half-closes, resets, cuts, and everybody
 * who is not let in. The applications speak TLS by tcp/tls.h, too; tests/func/tcp_psk.sh has those of others. */
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>

#include "src/core/err.h"
#include "src/core/log.h"
#include "tcp/tcp_priv.h"
#include "tcp/tls_priv.h"
#include "tests/lib/tls_pair.h"
#include "tests/lib/unit.h"
#include "tests/lib/watch.h"
#include "tests/unit/tcp_stage.h"

const struct xport_ops *const xport_list[] = { &xport_tcp_ops, &xport_mem_ops, NULL };

#define RING (256U << 10)
#define LOCAL "127.0.0.1"

static const struct psk ours = { .identity = "session 7", .key = "thirty-two bytes of a secret key" };
static const struct psk uid = { .legacy = true, .uid_key = "sixteen bytes .." };
static const struct psk both = { .identity = "session 7", .key = "thirty-two bytes of a secret key", .legacy = true, .uid_key = "sixteen bytes .." };

enum { AT_SOURCE = 1, AT_SINK = 2 }; /* where there is TLS */

static struct rig rig;
static struct ring_pool pool;
static struct watch w;
static struct app client, backend;
static int listener, tls_at;
static union sockaddr_any at;
static const struct psk *app_psk = &ours, *our_psk = &ours;
static bool small;
static struct footprint before;

/* A record goes out in parts. (A small window would do so, too, but makes TCP itself crawl over loopback.) */
static void small_buffers(int fd)
{
    int size = 1;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static void come_backend(void)
{
    backend.fd = stage_accept(listener);
    if (backend.fd >= 0 && small)
        small_buffers(backend.fd);
    if (backend.fd >= 0 && tls_at & AT_SINK)
        app_tls(&backend, true, app_psk);
}

static void play(void)
{
    if (backend.fd < 0 && listener >= 0 && !app_over(&backend))
        come_backend();
    app_play(&client);
    app_play(&backend);
}

#define UNTIL(cond) STAGE_UNTIL(&rig.loop, play(), cond)
#define WHILE_MOVING(cond) STAGE_WHILE_MOVING(&rig.loop, play(), client.got + backend.got, cond)

static void turn(void)
{
    for (int i = 0; i < 20; i++) {
        play();
        loop_turn(&rig.loop, NS_PER_MS);
    }
}

/* What OpenSSL keeps for ever once it was used is no leak. */
static void warm_up(void)
{
    static bool warm;
    struct tls_pair p;
    const struct psk *kinds[] = { &ours, &uid };
    for (int i = 0; i < 2 && !warm; i++) {
        tls_pair_open_wan(&p, kinds[i], &both);
        CU_ASSERT_TRUE(tls_pair_shake(&p));
        tls_pair_close(&p);
    }
    warm = true;
}

static void begin(int where)
{
    signal(SIGPIPE, SIG_IGN);
    log_threshold = LOG_LEVEL_ERROR;
    warm_up();
    rig_open(&rig);
    mem_forget();
    pool = (struct ring_pool){ .cap = RING };
    before = footprint();
    client = (struct app){ .fd = -1, .seed = 1, .peer_seed = 2 };
    backend = (struct app){ .fd = -1, .seed = 2, .peer_seed = 1 };
    listener = stage_listen(LOCAL, 0, 8, &at);
    CU_ASSERT_FATAL(listener >= 0);
    tls_at = where;
}

static void end(void)
{
    CU_ASSERT_TRUE(watch_close(&w, 0));
    CU_ASSERT(w.reentered == 0 && pool.n_lent == 0);
    app_close(&client);
    app_close(&backend);
    fd_close(&listener);
    ring_pool_fini(&pool);
    xport_tcp_ops.unlisten(&rig.env[0]);
    CU_ASSERT_TRUE(footprint_same(&before));
    rig_close(&rig);
}

static void open_channel(void)
{
    const struct channel_spec s = { .id = 1, .pool = &pool, .duplex = true };
    watch_open(&w, &rig, 0, &s);
}

static void open_source_within(uint64_t ns)
{
    union sockaddr_any door_at;
    AUTO_FD int door = stage_listen(LOCAL, 0, 1, &door_at);
    client.fd = stage_connect(&door_at);
    const struct xport_spec s = { .fd = stage_accept(door), .connect_ns = ns, .psk = tls_at & AT_SOURCE ? our_psk : NULL };
    CU_ASSERT_FATAL(client.fd >= 0 && s.fd >= 0);
    if (small)
        small_buffers(client.fd);
    if (small)
        small_buffers(s.fd);
    CU_ASSERT_EQUAL(watch_end(&w, SIDE_SOURCE, &xport_tcp_ops, &s, NULL), 0);
}

static void open_source(void)
{
    open_source_within(20 * NS_PER_S);
    if (tls_at & AT_SOURCE)
        app_tls(&client, false, app_psk);
}

static void open_sink_within(uint64_t ns)
{
    char host[] = LOCAL, *addresses[] = { host, NULL };
    const struct xport_spec s = { .fd = -1, .addresses = addresses, .port = addr_port(&at), .connect_ns = ns, .psk = tls_at & AT_SINK ? our_psk : NULL };
    CU_ASSERT_EQUAL(watch_end(&w, SIDE_SINK, &xport_tcp_ops, &s, NULL), 0);
}

static void open_relay(void)
{
    open_channel();
    open_source();
    open_sink_within(20 * NS_PER_S);
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

static struct tcp *end_of(enum channel_side side) { return (struct tcp *)w.c->end[side]; }

/* ------------------------------------------------------------ bytes */

static void relay(int where, uint64_t there, uint64_t back)
{
    begin(where);
    client.to_send = there;
    backend.to_send = back;
    client.fin = backend.fin = true;
    open_relay();
    CU_ASSERT_STRING_EQUAL(w.c->end[SIDE_SOURCE]->device, "tcp");
    WHILE_MOVING(w.finished && client.eof && backend.eof);
    expect_whole();
    CU_ASSERT(w.c->stats->flow[FORWARD].rel == there && w.c->stats->flow[BACKWARD].rel == back);
    end();
}

static void test_sizes(void)
{
    const uint64_t sizes[] = { 0, 1, 16384, RING - 1, RING, RING + 1, 3000000 };
    for (int where = AT_SOURCE; where <= (AT_SOURCE | AT_SINK); where++)
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            relay(where, sizes[i], 0);
            relay(where, 0, sizes[i]);
            relay(where, sizes[i], sizes[i]);
        }
}

static void test_small_buffers(void)
{
    small = true;
    for (int where = AT_SOURCE; where <= (AT_SOURCE | AT_SINK); where++)
        relay(where, 500000, 500000);
    small = false;
}

static void expect_detail(const struct psk *app, const struct psk *us, const char *detail)
{
    app_psk = app;
    our_psk = us;
    for (int where = AT_SOURCE; where <= AT_SINK; where++) {
        begin(where);
        open_relay();
        CU_ASSERT_STRING_EQUAL(w.c->end[where == AT_SINK]->detail, detail);
        CU_ASSERT_STRING_EQUAL(w.c->end[where != AT_SINK]->detail, "plaintext");
        CU_ASSERT_PTR_NULL(end_of(where == AT_SINK)->psk); /* the keys are wiped with it */
        client.to_send = backend.to_send = 100000;
        client.fin = backend.fin = true;
        UNTIL(w.finished && client.eof && backend.eof);
        expect_whole();
        end();
    }
    app_psk = our_psk = &ours;
}

static void test_kinds(void)
{
    expect_detail(&ours, &ours, "TLSv1.3 TLS_AES_256_GCM_SHA384, psk");
    expect_detail(&both, &both, "TLSv1.3 TLS_AES_256_GCM_SHA384, psk");
    expect_detail(&uid, &uid, "TLSv1.3 TLS_AES_128_GCM_SHA256, psk client1");
}

/* One that is held to TLS 1.2 and to suites that do not encrypt, as SciStream's is. */
static void test_null(void)
{
    struct psk null = uid;
    null.null_ciphers = true;
    app_psk = our_psk = &null;
    begin(AT_SOURCE);
    open_channel();
    open_source();
    SSL_set_max_proto_version(client.tls->ssl, TLS1_2_VERSION);
    SSL_set_cipher_list(client.tls->ssl, "eNULL:@SECLEVEL=0");
    open_sink_within(20 * NS_PER_S);
    client.to_send = backend.to_send = 100000;
    client.fin = backend.fin = true;
    UNTIL(w.up[SIDE_SOURCE]);
    CU_ASSERT_STRING_EQUAL(w.c->end[SIDE_SOURCE]->detail, "TLSv1.2 ECDHE-PSK-NULL-SHA384, psk client1, not encrypted");
    UNTIL(w.finished && client.eof && backend.eof);
    expect_whole();
    end();
    app_psk = our_psk = &ours;
}

/* Until nothing goes anywhere. */
static void stand_still(void)
{
    for (uint64_t last = UINT64_MAX, now = 0; last != now;) {
        last = now;
        turn();
        turn();
        now = client.sent + backend.sent + w.c->stats->flow[FORWARD].rel + w.c->stats->flow[BACKWARD].rel;
    }
}

/* Nobody reads: rings fill up and empty again, and no pipe is borrowed where one end is TLS. */
static void test_nobody_reads(void)
{
    for (int where = AT_SOURCE; where <= (AT_SOURCE | AT_SINK); where++) {
        begin(where);
        client.to_send = backend.to_send = 60000000;
        client.lazy = backend.lazy = client.fin = backend.fin = true;
        open_relay();
        stand_still();
        CU_ASSERT(pool.n_lent == 2 && !w.c->flow[FORWARD].ring.piped && !w.c->flow[BACKWARD].ring.piped && !w.ended);
        CU_ASSERT(client.sent < client.to_send && backend.sent < backend.to_send);
        client.to_send = client.sent; /* so much is under way */
        backend.to_send = backend.sent;
        client.lazy = false;
        WHILE_MOVING(client.eof);
        CU_ASSERT(w.ended_back == 1 && !w.ended);
        backend.lazy = false;
        WHILE_MOVING(w.finished && backend.eof);
        expect_whole();
        end();
    }
}

/* A connection that rests keeps no memory for records. */
static void test_rests(void)
{
    begin(AT_SOURCE | AT_SINK);
    client.to_send = backend.to_send = 100000;
    open_relay();
    UNTIL(client.got == 100000 && backend.got == 100000);
    turn();
    CU_ASSERT(end_of(SIDE_SOURCE)->s.tls->out == NULL && end_of(SIDE_SINK)->s.tls->out == NULL && pool.n_lent == 0);
    client.to_send = backend.to_send = 200000;
    client.fin = backend.fin = true;
    UNTIL(w.finished && client.eof && backend.eof);
    expect_whole();
    end();
}

static unsigned updates;

static void on_message(int sent, int version UNUSED, int type, const void *data, size_t n, SSL *ssl UNUSED, void *arg UNUSED)
{
    updates += !sent && type == SSL3_RT_HANDSHAKE && n > 0 && *(const uint8_t *)data == SSL3_MT_KEY_UPDATE;
}

/* A peer may ask for new keys in both directions. */
static void test_key_update_asked_for(void)
{
    begin(AT_SOURCE);
    open_relay();
    updates = 0;
    SSL_set_msg_callback(client.tls->ssl, on_message);
    CU_ASSERT_EQUAL(SSL_key_update(client.tls->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    client.to_send = backend.to_send = 100000;
    client.fin = backend.fin = true;
    UNTIL(w.finished && client.eof && backend.eof);
    expect_whole();
    CU_ASSERT_EQUAL(updates, 1);
    end();
}

/* ------------------------------------------------------------ the end of one direction */

static void half_close(int where, struct app *first, struct app *second)
{
    begin(where);
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
    for (int where = AT_SOURCE; where <= (AT_SOURCE | AT_SINK); where++) {
        half_close(where, &client, &backend);
        half_close(where, &backend, &client);
    }
}

static bool sees_fin(int fd)
{
    uint8_t byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* close_notify alone ends a direction; the FIN comes when both have ended. */
static void test_no_fin_before_the_end(void)
{
    begin(AT_SINK);
    open_relay();
    client.fin = true;
    UNTIL(backend.eof);
    turn();
    CU_ASSERT_FALSE(sees_fin(backend.fd));
    backend.fin = true;
    UNTIL(w.finished);
    CU_ASSERT_TRUE(watch_close(&w, 0));
    UNTIL(sees_fin(backend.fd));
    end();
}

static void test_end_before_dialed(void)
{
    begin(AT_SOURCE);
    client.to_send = 1000;
    client.fin = backend.fin = true;
    open_channel();
    open_source();
    UNTIL(w.ended);
    open_sink_within(20 * NS_PER_S);
    UNTIL(w.finished && client.eof && backend.eof);
    expect_whole();
    end();
}

/* What nobody takes is dropped, and the channel ends when what it is for has ended. */
static void test_simplex(void)
{
    static struct mem_plan plan;
    begin(AT_SINK);
    plan = (struct mem_plan){ .seed = 1, .bytes = 300000 };
    mem_plan_add("source", &plan);
    const struct channel_spec cs = { .id = 1, .window = RING };
    char host[] = LOCAL, *addresses[] = { host, NULL };
    const struct xport_spec s = { .fd = -1, .addresses = addresses, .port = addr_port(&at), .settle = true, .psk = &ours };
    watch_open(&w, &rig, 0, &cs);
    backend.to_send = 5000000;
    CU_ASSERT_EQUAL(watch_end(&w, SIDE_SINK, &xport_tcp_ops, &s, NULL), 0);
    UNTIL(w.up[SIDE_SINK] && backend.sent == 5000000);
    CU_ASSERT_EQUAL(watch_bytes(&w, SIDE_SOURCE, "source", &plan), 0);
    UNTIL(w.finished && backend.eof);
    CU_ASSERT(backend.got == 300000 && backend.wrong == 0);
    end();
}

/* ------------------------------------------------------------ resets and cuts */

static void reset(int where, struct app *by, struct app *other, enum channel_side side)
{
    begin(where);
    open_relay();
    w.close_on_failure = true;
    by->to_send = 100;
    UNTIL(other->got == 100);
    app_reset(by);
    by->error = 1; /* it is not accepted again */
    UNTIL(app_over(other) && w.closed);
    CU_ASSERT(other->error == ECONNRESET && !other->eof && other->got == 100);
    expect_failure(side, -SST_ERESET, ": reset by the peer");
    end();
}

static void test_reset(void)
{
    for (int where = AT_SOURCE; where <= (AT_SOURCE | AT_SINK); where++) {
        reset(where, &client, &backend, SIDE_SOURCE);
        reset(where, &backend, &client, SIDE_SINK);
    }
}

/* The end is known by its record already; that the connection is gone is told all the same. */
static void test_reset_after_end(void)
{
    begin(AT_SOURCE);
    open_relay();
    w.close_on_failure = true;
    client.fin = true;
    UNTIL(backend.eof);
    app_reset(&client);
    expect_failure(SIDE_SOURCE, -SST_ERESET, "reset by the peer");
    UNTIL(w.closed);
    end();
}

/* The last words of a plain peer reach one by TLS, and then its reset. */
static void test_answer_before_reset(void)
{
    begin(AT_SOURCE);
    backend.lazy = true;
    client.to_send = 1000;
    open_relay();
    w.close_on_failure = true;
    UNTIL(client.sent == 1000);
    turn();
    backend.to_send = 5000;
    app_play(&backend);
    CU_ASSERT_EQUAL(backend.sent, 5000);
    app_reset(&backend);
    backend.error = ECONNRESET;
    UNTIL(client.error && w.closed);
    CU_ASSERT(client.got == 5000 && client.wrong == 0 && client.error == ECONNRESET && !client.eof);
    expect_failure(SIDE_SINK, -SST_ERESET, "reset by the peer");
    end();
}

/* The reader takes its time, so that some of it is still in the ring. */
static void send_into_ring(struct app *by, struct app *other, const struct ring *r)
{
    other->lazy = true;
    for (int i = 0; i < 1000 && ring_held(r) == 0; i++) {
        by->to_send += 500000;
        turn();
    }
    CU_ASSERT(ring_held(r) > 0);
}

/* All that came, and then a reset. */
static void cut(int where, struct app *by, struct app *other, enum channel_side side)
{
    for (int slow = 0; slow < 2; slow++) {
        begin(where);
        open_relay();
        w.close_on_failure = true;
        by->to_send = 100000;
        if (slow)
            send_into_ring(by, other, &w.c->flow[side == SIDE_SOURCE ? FORWARD : BACKWARD].ring);
        UNTIL(by->sent == by->to_send && tls_unsent(by->tls) == 0);
        shutdown(by->fd, SHUT_WR);
        turn();
        CU_ASSERT_EQUAL(watch_failed(&w), !slow);
        other->lazy = false;
        UNTIL(app_over(other) && w.closed);
        CU_ASSERT(other->error == ECONNRESET && !other->eof && other->got == by->sent && other->wrong == 0);
        expect_failure(side, -SST_ELOST, ": connection cut without close_notify");
        end();
    }
}

static void test_cut(void)
{
    cut(AT_SOURCE, &client, &backend, SIDE_SOURCE);
    cut(AT_SINK, &backend, &client, SIDE_SINK);
}

static void test_tampered(void)
{
    static const uint8_t record[] = { 0x17, 3, 3, 0, 40, [44] = 1 };
    begin(AT_SOURCE);
    open_relay();
    w.close_on_failure = true;
    CU_ASSERT_EQUAL(send(client.fd, record, sizeof(record), 0), sizeof(record));
    expect_failure(SIDE_SOURCE, -SST_ETLS, "bad record mac");
    UNTIL(app_over(&backend));
    CU_ASSERT(backend.error == ECONNRESET && backend.got == 0);
    end();
}

/* Ended by us as an abort: a reset at both. */
static void test_abort(void)
{
    begin(AT_SOURCE | AT_SINK);
    open_relay();
    CU_ASSERT_TRUE(watch_close(&w, -SST_ERELEASED));
    UNTIL(app_over(&client) && app_over(&backend));
    CU_ASSERT(client.error == ECONNRESET && backend.error == ECONNRESET);
    end();
}

/* ------------------------------------------------------------ who is not let in */

/* The peer may read an alert, and then an end; the stream has not begun, and none is reset. */
static void expect_not_let_in(int where, int rc, const char *why)
{
    enum channel_side side = where == AT_SINK ? SIDE_SINK : SIDE_SOURCE;
    w.close_on_failure = true;
    expect_failure(side, rc, why);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.why[side], "TLS handshake: "));
    UNTIL(w.closed);
    CU_ASSERT(!w.up[side] && !w.ended && !w.ended_back);
}

static void wrong(const struct psk *app, const struct psk *us)
{
    app_psk = app;
    our_psk = us;
    begin(AT_SOURCE);
    open_channel();
    open_source();
    expect_not_let_in(AT_SOURCE, -SST_ETLS, "tcp with 127.0.0.1:");
    UNTIL(app_over(&client));
    CU_ASSERT(client.error == SST_ETLS && client.got == 0);
    end();
    begin(AT_SINK);
    client.to_send = 1000;
    open_channel();
    open_source();
    open_sink_within(20 * NS_PER_S);
    expect_not_let_in(AT_SINK, -SST_ETLS, "tcp with 127.0.0.1:");
    UNTIL(app_over(&client));
    CU_ASSERT(client.error == ECONNRESET && backend.got == 0);
    end();
    app_psk = our_psk = &ours;
}

static void test_wrong(void)
{
    struct psk key = ours, identity = ours, uid_key = uid;
    key.key[0] ^= 1;
    identity.identity[0] ^= 1;
    uid_key.uid_key[15] ^= 1;
    wrong(&key, &ours);
    wrong(&identity, &ours);
    wrong(&uid_key, &uid);
    wrong(&ours, &uid);
    wrong(&uid, &ours);
}

static void say(const void *data, size_t n, bool fin, int rc)
{
    begin(AT_SOURCE);
    open_channel();
    open_source_within(20 * NS_PER_S);
    CU_ASSERT_EQUAL(send(client.fd, data, n, 0), (ssize_t)n);
    if (fin)
        shutdown(client.fd, SHUT_WR);
    client.lazy = true;
    expect_not_let_in(AT_SOURCE, rc, "");
    end();
}

static void test_no_tls(void)
{
    uint8_t noise[3000];
    secret_random(noise, sizeof(noise));
    noise[0] = 'x';
    say("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, false, -SST_ETLS);
    say(noise, sizeof(noise), false, -SST_ETLS);
    say("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 10, false, -SST_ETLS);
    say("\x16\x03\x01\x02", 4, true, -SST_ELOST);
    say("", 0, true, -SST_ELOST); /* a port scanner */
}

static void test_reset_in_handshake(void)
{
    begin(AT_SOURCE);
    open_channel();
    open_source_within(20 * NS_PER_S);
    CU_ASSERT_EQUAL(send(client.fd, "\x16\x03\x01\x02", 4, 0), 4);
    turn();
    app_reset(&client);
    expect_not_let_in(AT_SOURCE, -SST_ERESET, "");
    end();
}

static void test_peer_is_plain(void)
{
    begin(AT_SINK);
    open_channel();
    open_source();
    open_sink_within(20 * NS_PER_S);
    tls_at = 0; /* the backend, which is accepted later */
    backend.to_send = 100;
    expect_not_let_in(AT_SINK, -SST_ETLS, "wrong version number");
    end();
}

/* The time for it is the time for connecting, however much of it the peer has said. */
static void test_late(void)
{
    for (int half = 0; half < 2; half++) {
        begin(AT_SOURCE);
        open_channel();
        open_source_within(100 * NS_PER_MS);
        if (half)
            CU_ASSERT_EQUAL(send(client.fd, "\x16\x03\x01\x02", 4, 0), 4);
        client.lazy = true;
        expect_not_let_in(AT_SOURCE, -SST_ETIMEOUT, "did not complete it in time");
        end();
    }
    begin(AT_SINK);
    open_channel();
    open_source();
    open_sink_within(100 * NS_PER_MS);
    tls_at = 0; /* the backend is accepted and silent */
    backend.lazy = true;
    expect_not_let_in(AT_SINK, -SST_ETIMEOUT, "did not complete it in time");
    end();
}

/* It may be ended in each moment of it. */
static void test_closed_in_handshake(void)
{
    for (int turns = 0; turns < 6; turns++)
        for (int rc = 0; rc >= -SST_EABORTED; rc -= SST_EABORTED) {
            begin(AT_SOURCE | AT_SINK);
            open_channel();
            open_source();
            open_sink_within(20 * NS_PER_S);
            for (int i = 0; i < turns; i++) {
                play();
                loop_turn(&rig.loop, NS_PER_MS);
            }
            CU_ASSERT_TRUE(watch_close(&w, rc));
            end();
        }
}

UNIT_MAIN("tcp_tls", UNIT(test_sizes), UNIT(test_small_buffers), UNIT(test_kinds), UNIT(test_null), UNIT(test_nobody_reads), UNIT(test_rests),
          UNIT(test_key_update_asked_for), UNIT(test_half_close), UNIT(test_no_fin_before_the_end), UNIT(test_end_before_dialed), UNIT(test_simplex),
          UNIT(test_reset), UNIT(test_reset_after_end), UNIT(test_answer_before_reset), UNIT(test_cut), UNIT(test_tampered), UNIT(test_abort),
          UNIT(test_wrong), UNIT(test_no_tls), UNIT(test_reset_in_handshake), UNIT(test_peer_is_plain), UNIT(test_late),
          UNIT(test_closed_in_handshake))
