/* Streams over a link: sizes, rings, ciphers, both directions of dialling, and how each end learns of the other's end. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "src/core/addr.h"
#include "tests/unit/link_stage.h"

static struct stage s;

static void run_whole(uint64_t bytes) { stage_run_whole(&s, bytes); }

/* ------------------------------------------------------------ whole streams */

static void test_boundary_sizes(void)
{
    for (int kind = 0; kind < 4; kind++) {
        stage_open(&s);
        s.spec.plain = kind % 2;
        s.reverse = kind / 2;
        stage_boundary_sizes(&s);
        stage_close(&s);
    }
}

static void test_moods(void)
{
    static const uint32_t chunks[] = { 4096, 5000, 65536, 4 << 20 };
    for (unsigned i = 0; i < 16; i++) {
        stage_open(&s);
        s.spec.plain = i % 2;
        s.reverse = i & 2;
        s.spec.chunk_max = chunks[i / 4];
        s.near_ring = i & 4 ? 64 << 10 : 300 << 10;
        s.source.part = i & 1 ? 30011 : 0;
        s.source.again = i & 2 ? 3 : 0;
        s.sink.part = i & 4 ? 10007 : 0;
        s.sink.again = i & 8 ? 4 : 0;
        s.sink.lag = i & 1;
        run_whole(1500000);
        stage_close(&s);
    }
}

static void test_close_at_once(void)
{
    static const uint64_t sizes[] = { 0, 1, 64 << 10, 3000000 };
    for (size_t i = 0; i < 4 * ARRAY_LEN(sizes); i++) {
        stage_open(&s);
        s.spec.plain = i % 2;
        s.reverse = i & 2;
        stage_close_at_once(&s, sizes[i / 4]);
        stage_close(&s);
    }
}

/* Closed before it began, in several states of the connection; the next with the same cookie is not disturbed. */
static void test_abandoned(void)
{
    stage_open(&s);
    for (int turns = 0; turns < 8; turns++) {
        stage_stream(&s, 500000);
        for (int i = 0; i < turns; i++)
            loop_turn(&s.rig.loop, 0);
        stage_end_stream(&s);
    }
    run_whole(500000);
    stage_close(&s);
}

/* ------------------------------------------------------------ TLS or not */

static void test_ciphers(void)
{
    static const char *const shown[] = { "TLSv1.3 TLS_AES_256_GCM_SHA384", "TLSv1.3 TLS_AES_128_GCM_SHA256",
                                         "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256" };
    for (int i = 0; i < 4; i++) {
        stage_open_with(&s, 0, i % 3);
        s.spec.plain = i == 3;
        stage_stream(&s, 100000);
        CU_ASSERT_TRUE(rig_until(&s.rig, stage_over, &s));
        CU_ASSERT_TRUE(stage_whole(&s) && s.answer.address[0] == 0); /* where the peer reached us */
        for (int side = 0; side < 2; side++) {
            const struct xport *x = side ? s.near.c->end[stage_near_side(&s)] : s.far.c->end[stage_far_side(&s)];
            CU_ASSERT_STRING_EQUAL(x->device, "tcp");
            CU_ASSERT_STRING_EQUAL(x->detail, i == 3 ? "plaintext" : shown[i]);
        }
        stage_end_stream(&s);
        stage_close(&s);
    }
}

static void check_near_failed(int rc, const char *why)
{
    CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.near));
    CU_ASSERT(s.near.failed[stage_near_side(&s)] == 1 && s.near.failed[!stage_near_side(&s)] == 0);
    CU_ASSERT_EQUAL(s.near.rc[stage_near_side(&s)], rc);
    if (!strstr(s.near.why[stage_near_side(&s)], why))
        printf("\n  '%s' is not in '%s'\n", why, s.near.why[stage_near_side(&s)]);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.near.why[stage_near_side(&s)], why));
    CU_ASSERT_TRUE(watch_close(&s.near, rc));
}

/* The acceptor has its cipher, and a dialler with another gets nowhere; the hop still waits for one that knows. */
static void test_other_cipher(void)
{
    stage_open_with(&s, 0, 1);
    s.spec.cipher = "aes-256-gcm";
    stage_stream(&s, 1000);
    check_near_failed(-SST_ETLS, "TLS: ");
    CU_ASSERT_FALSE(watch_failed(&s.far));
    CU_ASSERT_TRUE(watch_close(&s.far, 0));
    s.spec.cipher = "rot13";
    CU_ASSERT_EQUAL(stage_dial(&s), -SST_EFEATURE);
    check_near_failed(-SST_EFEATURE, "cipher 'rot13' is not known here");
    stage_close(&s);
}

/* A plain dialler where TLS was agreed, and the reverse: refused, and the true peer gets in. */
static void test_plain_and_tls(void)
{
    for (int plain = 0; plain < 2; plain++) {
        stage_open(&s);
        s.spec.plain = plain;
        s.sink = (struct mem_plan){ .seed = 11 };
        stage_accept(&s);
        s.spec.plain = !plain;
        s.source = (struct mem_plan){ .bytes = 1000, .seed = 11 };
        CU_ASSERT_EQUAL(stage_dial(&s), 0);
        check_near_failed(plain ? -SST_ETLS : -SST_ELOST, plain ? "TLS: " : "closed by the peer before the end");
        CU_ASSERT(s.far.up[SIDE_SOURCE] == 0 && !watch_failed(&s.far));
        s.spec.plain = plain;
        mem_forget();
        s.source = (struct mem_plan){ .bytes = 1000, .seed = 11 };
        CU_ASSERT_EQUAL(stage_dial(&s), 0);
        CU_ASSERT_TRUE(rig_until(&s.rig, stage_over, &s));
        CU_ASSERT_TRUE(stage_whole(&s));
        stage_end_stream(&s);
        stage_close(&s);
    }
}

/* ------------------------------------------------------------ what cannot be */

static void test_refused(void)
{
    stage_open(&s);
    s.spec.port = 1;
    CU_ASSERT_EQUAL(stage_dial(&s), 0);
    check_near_failed(-ECONNREFUSED, "link to 127.0.0.1:1: ");
    stage_close(&s);
}

static void test_bad_answer(void)
{
    const struct channel_spec c = { .id = 1, .window = 65536 };
    struct xport_spec spec = { .address = "gateway.example.org", .port = 5010, .plain = true };
    stage_open(&s);
    watch_open(&s.near, &s.rig, 1, &c);
    CU_ASSERT_EQUAL(watch_end(&s.near, SIDE_SINK, &xport_link_ops, &spec, NULL), -EINVAL);
    check_near_failed(-EINVAL, "'gateway.example.org' is no numeric address");
    spec.address = "127.0.0.1";
    watch_open(&s.near, &s.rig, 1, &c);
    CU_ASSERT_EQUAL(watch_end(&s.near, SIDE_SINK, &xport_link_ops, &spec, NULL), -SST_EPROTO);
    check_near_failed(-SST_EPROTO, "allows no bytes in a chunk"); /* else it would try to send nothing, for ever */
    stage_close(&s);
}

static void test_no_link_port(void)
{
    const struct channel_spec c = { .id = 1, .window = 65536 };
    const struct xport_spec spec = { .chunk_max = 4096 };
    struct xport_answer a;
    stage_open(&s);
    watch_open(&s.near, &s.rig, 1, &c);
    CU_ASSERT_EQUAL(watch_end(&s.near, SIDE_SINK, &xport_link_ops, &spec, &a), -SST_ECONF);
    check_near_failed(-SST_ECONF, "no link port");
    stage_close(&s);
}

/* Out of descriptors the listener pauses; a hop may be prepared all the same. */
static void test_paused_listener(void)
{
    struct rlimit old, full;
    stage_open(&s);
    s.spec.plain = true;
    int guest = raw_dial(&s);
    getrlimit(RLIMIT_NOFILE, &old);
    full = (struct rlimit){ (rlim_t)guest + 1, old.rlim_max };
    setrlimit(RLIMIT_NOFILE, &full);
    for (int i = 0; i < 3; i++)
        loop_turn(&s.rig.loop, 0);
    setrlimit(RLIMIT_NOFILE, &old);
    run_whole(100000);
    close(guest);
    stage_close(&s);
}

/* ------------------------------------------------------------ back-pressure */

static bool near_waits(void *arg UNUSED)
{
    return atomic_load(&s.near.c->stats->flow[0].waiting_for) == WAIT_CREDITS && s.near.c->flow[0].ring.put >= s.far.c->flow[0].ring.cap;
}

static bool both_full(void *arg UNUSED)
{
    return s.far.c->flow[0].ring.put >= s.far_ring && s.near.c->flow[0].ring.put >= s.near_ring;
}

/* A sink that takes nothing stops the source after both rings are full; nobody spins meanwhile. */
static void test_stalled_sink(void)
{
    for (int plain = 0; plain < 2; plain++) {
        stage_open(&s);
        s.spec.plain = plain;
        s.sink.again = 1;
        stage_stream(&s, 100 << 20);
        s.sink.later_ns = 10 * NS_PER_S;
        CU_ASSERT_TRUE(rig_until(&s.rig, near_waits, NULL));
        CU_ASSERT_TRUE(rig_until(&s.rig, both_full, NULL));
        CU_ASSERT(s.far.c->flow[0].ring.put == s.far_ring && s.near.c->flow[0].ring.put <= s.near_ring + s.far_ring);
        unsigned turns = 0;
        for (uint64_t until = now_ns() + 200 * NS_PER_MS; now_ns() < until; turns++)
            loop_turn(&s.rig.loop, 20 * NS_PER_MS);
        CU_ASSERT(turns < 50);
        CU_ASSERT_FALSE(stage_over(&s));
        stage_end_stream(&s);
        stage_close(&s);
        s.sink.again = 0;
    }
}

static bool near_empty(void *arg UNUSED)
{
    const struct ring *r = &s.near.c->flow[0].ring;
    return r->put == 3000 && r->rel == r->put;
}

/* A sender that pauses gets its ring back even if what was consumed is too little for a limit of its own: another sender, with a smaller
 * ring, may wait for that room behind it. */
static void test_pause(void)
{
    for (int plain = 0; plain < 2; plain++) {
        stage_open(&s);
        s.spec.plain = plain;
        s.source.again = 4;
        s.source.part = 1000;
        stage_stream(&s, 1 << 20);
        s.source.later_ns = 3600 * NS_PER_S; /* the fourth call waits that long */
        CU_ASSERT_TRUE(rig_until(&s.rig, near_empty, NULL));
        stage_end_stream(&s);
        stage_close(&s);
    }
}

/* ------------------------------------------------------------ aborts */

static bool under_way(void *arg UNUSED) { return s.sink.moved > 1000000 || stage_over(&s); }

/* Whoever aborts: the other hears of it at once, with the reason when no chunk was cut in two. */
static void test_abort(void)
{
    for (int i = 0; i < 8; i++) {
        stage_open(&s);
        s.spec.plain = i % 2;
        s.reverse = i & 2;
        stage_stream(&s, 100 << 20);
        CU_ASSERT_TRUE(rig_until(&s.rig, under_way, NULL));
        struct watch *quits = i & 4 ? &s.near : &s.far, *hears = i & 4 ? &s.far : &s.near;
        enum channel_side side = i & 4 ? stage_far_side(&s) : stage_near_side(&s);
        bool receiver_quits = side == SIDE_SINK;
        CU_ASSERT_TRUE(watch_close(quits, -SST_EINTERRUPTED));
        CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, hears));
        CU_ASSERT(hears->failed[side] == 1 && hears->failed[!side] == 0 && hears->finished == 0);
        int rc = hears->rc[side];
        CU_ASSERT(rc == -SST_EINTERRUPTED || (!receiver_quits && (rc == -SST_ELOST || rc == -ECONNRESET)));
        if (receiver_quits)
            CU_ASSERT_PTR_NOT_NULL(strstr(hears->why[side], "peer reset the flow: interrupted"));
        stage_end_stream(&s);
        stage_close(&s);
    }
}

/* ------------------------------------------------------------ duplex */

static void duplex_open(int kind)
{
    stage_open(&s);
    s.duplex = true;
    s.spec.plain = kind % 2;
    s.reverse = kind / 2;
}

static void test_duplex_sizes(void)
{
    for (int kind = 0; kind < 4; kind++) {
        duplex_open(kind);
        stage_boundary_sizes(&s);
        stage_close(&s);
    }
}

static void test_duplex_moods(void)
{
    for (unsigned i = 0; i < 16; i++) {
        duplex_open((int)i % 4);
        s.spec.chunk_max = i & 4 ? 5000 : 4 << 20;
        s.spec.low_latency = i & 8;
        s.near_ring = i & 4 ? 64 << 10 : 300 << 10;
        s.source.part = i & 1 ? 30011 : 0;
        s.back_source.part = i & 2 ? 20011 : 0;
        s.back_source.again = i & 2 ? 3 : 0;
        s.sink.part = i & 4 ? 10007 : 0;
        s.back_sink.again = i & 8 ? 4 : 0;
        s.sink.lag = s.back_sink.lag = i & 1;
        s.back_bytes = 700000;
        run_whole(1500000);
        stage_close(&s);
    }
}

static void test_duplex_close_at_once(void)
{
    static const uint64_t sizes[] = { 0, 1, 64 << 10, 3000000 };
    for (size_t i = 0; i < 4 * ARRAY_LEN(sizes) * ARRAY_LEN(sizes); i++) {
        duplex_open((int)i % 4);
        s.back_bytes = sizes[i / 4 / ARRAY_LEN(sizes)];
        stage_close_at_once(&s, sizes[i / 4 % ARRAY_LEN(sizes)]);
        stage_close(&s);
    }
}

static void test_half_close(void)
{
    for (int kind = 0; kind < 4; kind++) {
        duplex_open(kind);
        stage_half_close(&s);
        stage_close(&s);
    }
}

static void test_independent(void)
{
    for (int kind = 0; kind < 2; kind++) {
        duplex_open(kind);
        stage_independent(&s, 100 << 20);
        stage_close(&s);
    }
}

/* Where the socket holds less than the rings, the chunk under way is cut in two. */
static void test_duplex_abort(void)
{
    for (int kind = 0; kind < 6; kind++) {
        duplex_open(kind % 4);
        if (kind >= 4) {
            s.near_ring = s.far_ring = 16 << 20;
            s.spec.chunk_max = 256 << 10;
        }
        stage_abort_duplex(&s);
        stage_close(&s);
    }
}

/* The socket of the lane that was dialled. */
static int dialled_fd(void)
{
    for (int fd = 0; fd < 1000; fd++) {
        union sockaddr_any peer;
        socklen_t len = sizeof(peer);
        if (getpeername(fd, &peer.sa, &len) == 0 && peer.sa.sa_family == AF_INET && addr_port(&peer) == s.spec.port)
            return fd;
    }
    return -1;
}

static bool lost(int rc) { return rc == -SST_ELOST || rc == -ECONNRESET || rc == -EPIPE; }

static bool both_moved(void *arg UNUSED) { return (s.sink.moved > 300000 && s.back_sink.moved > 300000) || stage_over(&s); }

/* The connection is cut under both directions, or under the one that is left: both ends say so. */
static void test_duplex_cut(void)
{
    for (int kind = 0; kind < 4; kind++) {
        duplex_open(kind);
        s.back_bytes = kind & 1 ? 300001 : 500 << 20;
        stage_stream(&s, 500 << 20);
        CU_ASSERT_TRUE(rig_until(&s.rig, both_moved, NULL));
        CU_ASSERT_FALSE(stage_over(&s));
        CU_ASSERT_EQUAL(shutdown(dialled_fd(), SHUT_RDWR), 0);
        CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.near));
        CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.far));
        CU_ASSERT(s.near.failed[stage_near_side(&s)] == 1 && s.far.failed[stage_far_side(&s)] == 1 && !s.near.finished && !s.far.finished);
        CU_ASSERT(lost(s.near.rc[stage_near_side(&s)]) && lost(s.far.rc[stage_far_side(&s)]));
        CU_ASSERT(s.sink.wrong == 0 && s.back_sink.wrong == 0);
        stage_end_stream(&s);
        stage_close(&s);
    }
}

static void test_footprint(void)
{
    test_abort();
    struct footprint before = footprint();
    test_abort();
    test_other_cipher();
    test_plain_and_tls();
    test_refused();
    test_paused_listener();
    test_duplex_cut();
    CU_ASSERT_TRUE(footprint_same(&before));
}

UNIT_MAIN("link", UNIT(test_boundary_sizes), UNIT(test_moods), UNIT(test_close_at_once), UNIT(test_abandoned), UNIT(test_ciphers),
          UNIT(test_other_cipher), UNIT(test_plain_and_tls), UNIT(test_refused), UNIT(test_bad_answer), UNIT(test_no_link_port),
          UNIT(test_paused_listener), UNIT(test_stalled_sink), UNIT(test_pause), UNIT(test_abort), UNIT(test_duplex_sizes),
          UNIT(test_duplex_moods), UNIT(test_duplex_close_at_once), UNIT(test_half_close), UNIT(test_independent), UNIT(test_duplex_abort),
          UNIT(test_duplex_cut), UNIT(test_footprint))
