/* Streams over queue pairs, and what bad luck does to them, on the RDMA devices of this machine; 77 where there are none. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/verbs_stage.h"

#define MANY 200
#define ROUNDS 20

static struct stage s, many[MANY];
static char *self; /* argv[0] */
static char program[4096];

static void run_whole(uint64_t bytes) { stage_run_whole(&s, bytes); }
static const struct verbs *near_end(void) { return verbs_of(s.near.c->end[stage_near_side(&s)]); }
static const struct verbs *far_end(void) { return verbs_of(s.far.c->end[stage_far_side(&s)]); }

/* The end that dials failed once, its other side did not, and says so. */
static void check_near_failed(int rc, const char *why)
{
    enum channel_side side = stage_near_side(&s);
    CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.near));
    CU_ASSERT(s.near.failed[side] == 1 && s.near.failed[!side] == 0);
    if (s.near.rc[side] != rc || !strstr(s.near.why[side], why))
        printf("\n  %d instead of %d, or '%s' is not in '%s'\n", s.near.rc[side], rc, why, s.near.why[side]);
    CU_ASSERT_EQUAL(s.near.rc[side], rc);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.near.why[side], why));
    CU_ASSERT_TRUE(watch_close(&s.near, rc));
}

/* ------------------------------------------------------------ whole streams */

static void test_boundary_sizes(void)
{
    for (int reverse = 0; reverse < 2; reverse++) {
        verbs_stage_open(&s, 0);
        s.reverse = reverse;
        stage_boundary_sizes(&s);
        stage_close(&s);
    }
}

static void test_moods(void)
{
    static const uint32_t chunks[] = { 1, 4096, 7000, 8193, 100000, 1 << 20 };
    for (unsigned i = 0; i < 2 * ARRAY_LEN(chunks); i++) {
        verbs_stage_open(&s, 0);
        s.reverse = i % 2;
        s.spec.chunk_max = chunks[i / 2];
        s.far_ring = i & 2 ? 300 << 10 : 1 << 20;
        s.source.part = i & 1 ? 30011 : 0;
        s.source.again = i & 2 ? 3 : 0;
        s.sink.part = i & 4 ? 10007 : 0;
        s.sink.again = i & 1 ? 4 : 0;
        s.sink.lag = i & 2;
        run_whole(MIN(2000000, 2000 * (uint64_t)s.spec.chunk_max));
        stage_close(&s);
    }
}

static void test_reports(void)
{
    char host[64];
    verbs_stage_open(&s, 0);
    stage_stream(&s, 1000000);
    CU_ASSERT_TRUE(rig_until(&s.rig, stage_over, &s));
    str_copy(host, sizeof(host), s.answer.address);
    CU_ASSERT_STRING_EQUAL(host, verbs_there());
    CU_ASSERT_PTR_NOT_NULL(strstr(s.near.c->end[SIDE_SINK]->device, ":1"));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.far.c->end[SIDE_SOURCE]->device, ":1"));
    CU_ASSERT_STRING_NOT_EQUAL(s.near.c->end[SIDE_SINK]->device, s.far.c->end[SIDE_SOURCE]->device);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.far.c->end[SIDE_SOURCE]->detail, "unencrypted"));
    CU_ASSERT(stats_get(&s.rig.env[0].stats->copied_bytes) == 0 && stats_get(&s.rig.env[1].stats->copied_bytes) == 0);
    stage_end_stream(&s);
    stage_close(&s);
}

static void test_close_at_once(void)
{
    static const uint64_t sizes[] = { 0, 1, 64 << 10, 3000000 };
    verbs_stage_open(&s, 0);
    for (size_t i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
        s.reverse = i % 2;
        stage_close_at_once(&s, sizes[i / 2]);
    }
    stage_close(&s);
}

static void test_low_latency(void)
{
    verbs_stage_open(&s, 0);
    s.spec.low_latency = true;
    s.source.part = 64;
    run_whole(100000);
    stage_close(&s);
}

static bool near_waits(void *arg UNUSED)
{
    return atomic_load(&s.near.c->stats->flow[0].waiting_for) == WAIT_CREDITS && s.far.c->flow[0].ring.put == s.far.c->flow[0].ring.cap;
}

static void test_stalled_sink(void)
{
    verbs_stage_open(&s, 0);
    s.sink.again = 1;
    stage_stream(&s, 100 << 20);
    s.sink.later_ns = 60 * NS_PER_S;
    CU_ASSERT_TRUE(rig_until(&s.rig, near_waits, NULL));
    rig_wait(&s.rig, 50 * NS_PER_MS);
    unsigned turns = 0;
    for (uint64_t until = now_ns() + 200 * NS_PER_MS; now_ns() < until; turns++)
        loop_turn(&s.rig.loop, 20 * NS_PER_MS);
    CU_ASSERT(turns < 50); /* nobody spins */
    CU_ASSERT_FALSE(stage_over(&s));
    stage_end_stream(&s);
    stage_close(&s);
}

/* ------------------------------------------------------------ one end goes */

static bool under_way(void *arg UNUSED) { return s.sink.moved > 300000 || stage_over(&s); }

static void test_abort(void)
{
    for (int i = 0; i < 4; i++) {
        verbs_stage_open(&s, 0);
        s.reverse = i % 2;
        stage_stream(&s, 500 << 20);
        CU_ASSERT_TRUE(rig_until(&s.rig, under_way, NULL));
        struct watch *quits = i / 2 ? &s.near : &s.far, *hears = i / 2 ? &s.far : &s.near;
        enum channel_side side = i / 2 ? stage_far_side(&s) : stage_near_side(&s);
        CU_ASSERT_TRUE(watch_close(quits, -SST_EINTERRUPTED));
        CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, hears));
        CU_ASSERT(hears->failed[side] == 1 && hears->failed[!side] == 0 && hears->rc[side] == -SST_EINTERRUPTED);
        CU_ASSERT_PTR_NOT_NULL(strstr(hears->why[side], "peer reset the flow: interrupted"));
        stage_end_stream(&s);
        stage_close(&s);
    }
}

static int wanted_state;

static bool near_is(void *arg UNUSED) { return stage_over(&s) || !s.near.c || (int)near_end()->state >= wanted_state; }
static bool far_is(void *arg UNUSED) { return stage_over(&s) || !s.far.c || (int)far_end()->state >= wanted_state; }

/* Closed in each state of either end, in either order, cleanly or with a reason; the next with the same cookie is not disturbed. */
static void test_abandoned(void)
{
    verbs_stage_open(&s, 0);
    for (unsigned i = 0; i < 8 * VERBS_STATES; i++) {
        bool near_first = i & 1, watch_far = i & 2;
        wanted_state = (int)(i / 8);
        s.reverse = i % 3 == 0;
        stage_stream(&s, 500000);
        CU_ASSERT_TRUE(rig_until(&s.rig, watch_far ? far_is : near_is, NULL));
        CU_ASSERT_FALSE(stage_over(&s));
        struct watch *first = near_first ? &s.near : &s.far, *second = near_first ? &s.far : &s.near;
        CU_ASSERT_TRUE(watch_close(first, i & 4 ? -SST_EINTERRUPTED : 0));
        if (i % 5 == 0) /* it hears of it, or waits on for a peer */
            rig_wait(&s.rig, 20 * NS_PER_MS);
        CU_ASSERT_TRUE(watch_close(second, 0));
        CU_ASSERT(first->closed == 1 && second->closed == 1 && s.sink.wrong == 0);
    }
    s.reverse = false;
    run_whole(500000);
    stage_close(&s);
}

static char **peer_args; /* "peer", port, role */

static void go_on_for_ever(void)
{
    s.source = s.back_source = (struct mem_plan){ .bytes = 1ULL << 50, .seed = 11 };
    s.sink = s.back_sink = (struct mem_plan){ .seed = 11 };
}

/* In the child: dial and go on for ever. */
static void be_peer(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    verbs_stage_open(&s, 0);
    s.spec.address = verbs_there();
    s.spec.port = (uint16_t)atoi(peer_args[1]);
    s.reverse = str_eq(peer_args[2], "recv");
    s.duplex = str_eq(peer_args[2], "both");
    go_on_for_ever();
    stage_dial(&s);
    loop_run(&s.rig.loop);
}

static bool far_moves(void *arg UNUSED)
{
    const struct flow *f = s.far.c->flow;
    return (f[FORWARD].ring.rel >= 3000000 && (!s.duplex || f[BACKWARD].ring.rel >= 3000000)) || watch_over(&s.far);
}

static pid_t start_peer(void)
{
    char port[16];
    pid_t pid;
    snprintf(port, sizeof(port), "%u", s.spec.port);
    char *argv[] = { self, "peer", port, s.duplex ? "both" : s.reverse ? "recv" : "send", NULL };
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    CU_ASSERT_EQUAL_FATAL(posix_spawn(&pid, program, &quiet, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&quiet);
    return pid;
}

static void test_peer_killed(void)
{
    for (int kind = 0; kind < 3; kind++) {
        verbs_stage_open(&s, 0);
        s.reverse = kind == 1;
        s.duplex = kind == 2;
        go_on_for_ever();
        stage_accept(&s);
        pid_t pid = start_peer();
        CU_ASSERT_TRUE(rig_until(&s.rig, far_moves, NULL));
        CU_ASSERT_FALSE(watch_over(&s.far));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.far));
        CU_ASSERT(s.far.failed[stage_far_side(&s)] == 1 && s.far.rc[stage_far_side(&s)] == -SST_ELOST);
        CU_ASSERT_TRUE(watch_close(&s.far, -SST_ELOST));
        CU_ASSERT(s.far.closed == 1 && s.sink.wrong == 0 && s.back_sink.wrong == 0);
        s.reverse = false;
        s.back_bytes = 1000000;
        run_whole(1000000); /* and the next peer is served */
        stage_close(&s);
    }
}

/* ------------------------------------------------------------ who does not get in, who gets no answer */

/* Our own dialler with another cookie hears why, and the end still waits for the true one. */
static void test_wrong_cookie(void)
{
    verbs_stage_open(&s, 0);
    s.source = (struct mem_plan){ .bytes = 100000, .seed = 11 };
    s.sink = (struct mem_plan){ .seed = 11 };
    stage_accept(&s);
    s.spec.cookie[15] ^= 1;
    CU_ASSERT_EQUAL(stage_dial(&s), 0);
    check_near_failed(-SST_ECOOKIE, "rejected");
    CU_ASSERT(s.far.up[SIDE_SOURCE] == 0 && !watch_failed(&s.far));
    s.spec.cookie[15] ^= 1;
    mem_forget();
    s.source = (struct mem_plan){ .bytes = 100000, .seed = 11 };
    CU_ASSERT_EQUAL(stage_dial(&s), 0);
    CU_ASSERT_TRUE(rig_until(&s.rig, stage_over, &s));
    CU_ASSERT_TRUE(stage_whole(&s));
    stage_end_stream(&s);
    stage_close(&s);
}

static void test_nobody_listens(void)
{
    verbs_stage_open(&s, 0);
    s.spec.address = verbs_there();
    s.spec.port = 1;
    CU_ASSERT_EQUAL(stage_dial(&s), 0);
    check_near_failed(-ECONNREFUSED, ":1");
    stage_close(&s);
}

static void test_mute_listener(void)
{
    struct mute_listener mute;
    verbs_stage_open(&s, 500 * NS_PER_MS);
    mute_listen(&mute);
    s.spec.address = verbs_there();
    s.spec.port = mute.port;
    CU_ASSERT_EQUAL(stage_dial(&s), 0);
    check_near_failed(-SST_ETIMEOUT, "no answer in time");
    mute_close(&mute);
    stage_close(&s);
}

static void test_mute_guest(void)
{
    struct mute_guest mute;
    verbs_stage_open(&s, NS_PER_S);
    s.sink = (struct mem_plan){ .seed = 11 };
    stage_accept(&s);
    mute_dial(&mute, &s);
    CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.far));
    CU_ASSERT(s.far.failed[SIDE_SOURCE] == 1 && s.far.up[SIDE_SOURCE] == 0 && s.far.rc[SIDE_SOURCE] == -SST_ETIMEOUT);
    if (!strstr(s.far.why[SIDE_SOURCE], "HELLO"))
        printf("\n  no word of a HELLO: '%s'\n", s.far.why[SIDE_SOURCE]);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.far.why[SIDE_SOURCE], "HELLO"));
    CU_ASSERT_TRUE(watch_close(&s.far, -SST_ETIMEOUT));
    mute_leave(&mute);
    stage_close(&s);
}

static void test_bad_address(void)
{
    verbs_stage_open(&s, 0);
    s.spec.address = "gateway.example.org";
    s.spec.port = 7000;
    CU_ASSERT_EQUAL(stage_dial(&s), -EINVAL);
    check_near_failed(-EINVAL, "'gateway.example.org' is no numeric address");
    s.spec.address = verbs_there();
    s.spec.chunk_max = 0;
    CU_ASSERT_EQUAL(stage_dial(&s), -SST_EPROTO);
    check_near_failed(-SST_EPROTO, "allows no bytes in a chunk");
    s.spec.chunk_max = 4096;
    s.spec.address = "127.0.0.1"; /* no RDMA device leads there */
    stage_dial(&s);
    check_near_failed(-SST_EDEVICE, "verbs to 127.0.0.1:7000");
    stage_close(&s);
}

static void check_listen(const char *setting, unsigned index, int rc, const char *want)
{
    char why[XPORT_WHY];
    int got = verbs_try_listen(setting, index, why);
    CU_ASSERT_EQUAL(got, rc);
    if (got != rc || !strstr(why, want))
        printf("\n  %s: %d instead of %d, or '%s' is not in '%s'\n", setting, got, rc, want, why);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, want));
}

static void test_listen_refused(void)
{
    char taken[64];
    check_listen("rdma.listen=", 0, -ENODEV, "");
    check_listen("rdma.listen=127.0.0.1", 0, -SST_EDEVICE, "rdma.listen = 127.0.0.1");
    check_listen("rdma.listen=192.0.2.1", 0, -SST_EDEVICE, "rdma.listen = 192.0.2.1");
    verbs_stage_open(&s, 0);
    s.sink = (struct mem_plan){ .seed = 11 };
    stage_accept(&s);
    snprintf(taken, sizeof(taken), "rdma.ports=%u", s.answer.port);
    check_listen(taken, 0, -EADDRINUSE, verbs_there());
    snprintf(taken, sizeof(taken), "rdma.ports=%u-%u", MIN(s.answer.port, 65526U), MIN(s.answer.port + 9U, 65535U)); /* of a range the next one */
    check_listen(taken, 0, 0, "");
    CU_ASSERT_TRUE(watch_close(&s.far, 0));
    stage_close(&s);
}

static void test_no_listener(void)
{
    const struct channel_spec c = { .id = 1, .window = 65536 };
    struct xport_answer a;
    verbs_stage_open(&s, 0);
    watch_open(&s.near, &s.rig, 1, &c); /* who only dials has none */
    CU_ASSERT_EQUAL(watch_end(&s.near, SIDE_SINK, &xport_verbs_ops, &s.spec, &a), -SST_ECONF);
    check_near_failed(-SST_ECONF, "rdma { listen");
    stage_close(&s);
}

/* ------------------------------------------------------------ duplex */

static void duplex_open(int reverse)
{
    verbs_stage_open(&s, 0);
    s.duplex = true;
    s.reverse = reverse;
}

static void test_duplex_sizes(void)
{
    duplex_open(1);
    stage_boundary_sizes(&s);
    stage_close(&s);
}

static bool both_up(void *arg UNUSED) { return stage_over(&s) || (s.near.up[stage_near_side(&s)] && s.far.up[stage_far_side(&s)]); }

/* Kinds: 1 the forward flow moves, 2 the other, 3 both. */
static bool are_full(void *kind)
{
    const struct ring *there = &s.far.c->flow[FORWARD].ring, *here = &s.near.c->flow[BACKWARD].ring;
    int k = *(int *)kind;
    return stage_over(&s) || ((!(k & 1) || there->put == there->cap) && (!(k & 2) || here->put == here->cap));
}

static void hold(bool sources, bool back_sources, bool sinks)
{
    s.source.held = sources;
    s.back_source.held = back_sources;
    s.sink.held = s.back_sink.held = sinks;
    if (!s.near.c)
        return;
    xport_kick(s.near.c->end[SIDE_SOURCE]);
    xport_kick(s.far.c->end[SIDE_SINK]);
}

/* Small pieces at once, and nobody consumes: nothing but the count of receives is to be told, by who has nothing else to say, or by both
 * when they have used up what they know of. */
static void test_duplex_receives(void)
{
    for (int kind = 1; kind < 4; kind++) {
        duplex_open(0);
        s.spec.low_latency = true;
        s.source.part = s.back_source.part = 64;
        s.back_bytes = 1 << 20;
        hold(true, true, true);
        stage_stream(&s, 1 << 20);
        CU_ASSERT_TRUE(rig_until(&s.rig, both_up, NULL));
        hold(!(kind & 1), !(kind & 2), true);
        CU_ASSERT_TRUE(rig_until(&s.rig, are_full, &kind));
        CU_ASSERT(!stage_over(&s) && (!(kind & 1) || near_end()->q.sent > VERBS_RECEIVES) && (!(kind & 2) || far_end()->q.sent > VERBS_RECEIVES));
        hold(false, false, false);
        CU_ASSERT_TRUE(rig_until(&s.rig, stage_over, &s));
        CU_ASSERT_TRUE(stage_whole(&s));
        stage_end_stream(&s);
        stage_close(&s);
    }
}

/* Chunks of every kind, and small pieces that go at once: receives run short on both sides. */
static void test_duplex_moods(void)
{
    static const uint32_t chunks[] = { 1, 4096, 8193, 1 << 20 };
    for (unsigned i = 0; i < 16; i++) {
        duplex_open((int)i % 2);
        s.spec.chunk_max = chunks[i / 4];
        s.spec.low_latency = i & 2;
        s.far_ring = i & 2 ? 300 << 10 : 1 << 20;
        s.source.part = i & 2 ? 611 : 0;
        s.back_source.part = i & 2 ? 509 : 0;
        s.back_source.again = i & 1 ? 3 : 0;
        s.back_sink.part = i & 4 ? 10007 : 0;
        s.sink.again = i & 1 ? 4 : 0;
        s.sink.lag = s.back_sink.lag = i & 8;
        s.back_bytes = MIN(700000, 1000 * (uint64_t)s.spec.chunk_max);
        run_whole(MIN(1000000, 2000 * (uint64_t)s.spec.chunk_max));
        stage_close(&s);
    }
}

static void test_duplex_close_at_once(void)
{
    static const uint64_t sizes[] = { 0, 1, 64 << 10, 3000000 };
    duplex_open(0);
    for (size_t i = 0; i < 2 * ARRAY_LEN(sizes) * ARRAY_LEN(sizes); i++) {
        s.reverse = i % 2;
        s.back_bytes = sizes[i / 2 / ARRAY_LEN(sizes)];
        stage_close_at_once(&s, sizes[i / 2 % ARRAY_LEN(sizes)]);
    }
    stage_close(&s);
}

static void test_half_close(void)
{
    for (int reverse = 0; reverse < 2; reverse++) {
        duplex_open(reverse);
        stage_half_close(&s);
        stage_close(&s);
    }
}

static void test_independent(void)
{
    duplex_open(0);
    stage_independent(&s, 100 << 20);
    stage_close(&s);
}

static void test_one_leaves(void)
{
    for (int reverse = 0; reverse < 2; reverse++) {
        duplex_open(reverse);
        stage_one_leaves(&s);
        stage_close(&s);
    }
}

static void test_duplex_abort(void)
{
    for (int reverse = 0; reverse < 2; reverse++) {
        duplex_open(reverse);
        stage_abort_duplex(&s);
        stage_close(&s);
    }
}

/* ------------------------------------------------------------ what a machine may refuse */

static const char *reason(const struct watch *w) { return w->failed[SIDE_SINK] ? w->why[SIDE_SINK] : w->why[SIDE_SOURCE]; }

/* Each call that sets up a connection fails once: both ends come to an end, the one it concerns says why. */
static void test_every_call_fails(void)
{
    unsigned n = 0;
    const char *call;
    for (bool fired = true; fired && n < 100; n++) {
        verbs_stage_open(&s, 5 * NS_PER_S);
        s.reverse = n % 2;
        s.source = (struct mem_plan){ .bytes = 200000, .seed = 11 };
        s.sink = (struct mem_plan){ .seed = 11 };
        fault_arm(n);
        stage_accept(&s);
        stage_dial(&s);
        CU_ASSERT_TRUE(rig_until(&s.rig, stage_over, &s));
        fired = fault_fired(&call);
        if (watch_failed(&s.near) || watch_failed(&s.far)) {
            const struct watch *first = watch_failed(&s.near) ? &s.near : &s.far;
            CU_ASSERT(fired && *reason(first) && s.near.finished == 0);
            printf("\n    %s fails: %s", call, reason(first));
        } else {
            CU_ASSERT_TRUE(stage_whole(&s)); /* it knew another way */
        }
        stage_end_stream(&s);
        stage_close(&s);
    }
    printf("\n  ");
    CU_ASSERT(n > 12 && n < 100);
}

/* In a child, before a device is open: the kernel takes no more writes to it from who changed his rights since. */
static void be_limited(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct caps[2];
    const struct rlimit small = { 128 << 10, 128 << 10 };
    CU_ASSERT_EQUAL_FATAL(syscall(SYS_capget, &head, caps), 0);
    caps[0].effective &= ~(1U << CAP_IPC_LOCK);
    CU_ASSERT_FATAL(syscall(SYS_capset, &head, caps) == 0 && setrlimit(RLIMIT_MEMLOCK, &small) == 0);
    for (int reverse = 0; reverse < 2; reverse++) {
        verbs_stage_open(&s, 0);
        s.reverse = reverse;
        stage_stream(&s, 1000000);
        CU_ASSERT_TRUE(rig_until(&s.rig, stage_over, &s));
        const struct watch *w = watch_failed(&s.near) ? &s.near : &s.far;
        if (!strstr(reason(w), "needs 1060864 bytes of locked memory in all, RLIMIT_MEMLOCK is 128K"))
            printf("\n  no word of what is needed: '%s'\n", reason(w));
        CU_ASSERT_PTR_NOT_NULL(strstr(reason(w), "needs 1060864 bytes of locked memory in all, RLIMIT_MEMLOCK is 128K"));
        stage_end_stream(&s);
        s.duplex = true; /* two rings */
        stage_stream(&s, 1000000);
        CU_ASSERT_TRUE(rig_until(&s.rig, stage_over, &s));
        CU_ASSERT_PTR_NOT_NULL(strstr(reason(watch_failed(&s.near) ? &s.near : &s.far), "needs 2109440 bytes of locked memory in all"));
        stage_end_stream(&s);
        s.duplex = false;
        s.near_ring = s.far_ring = 4096; /* what the limit allows is served */
        run_whole(100000);
        stage_close(&s);
    }
}

static void test_locked_memory(void)
{
    char *argv[] = { self, "limited", NULL };
    int status = -1;
    pid_t pid;
    CU_ASSERT_EQUAL_FATAL(posix_spawn(&pid, program, NULL, NULL, argv, environ), 0);
    CU_ASSERT(waitpid(pid, &status, 0) == pid && status == 0);
}

/* ------------------------------------------------------------ many */

static bool all_over(void *arg UNUSED)
{
    for (unsigned i = 0; i < MANY; i++)
        if (!stage_over(&many[i]))
            return false;
    return true;
}

static bool all_closed(void *arg UNUSED)
{
    for (unsigned i = 0; i < MANY; i++)
        if (many[i].near.c || many[i].far.c)
            return false;
    return true;
}

static void open_many(uint64_t bytes)
{
    mem_forget();
    for (unsigned i = 0; i < MANY; i++) {
        stage_further(&many[i], &s, 1 + i);
        many[i].reverse = i % 2;
        many[i].duplex = i % 8 > 5;
        many[i].back_bytes = bytes / 2;
        stage_stream(&many[i], bytes + 100 * i);
    }
}

static void close_many(void)
{
    unsigned whole = 0;
    CU_ASSERT_TRUE(rig_until(&s.rig, all_over, NULL));
    for (unsigned i = 0; i < MANY; i++) {
        whole += stage_whole(&many[i]);
        if (many[i].near.c)
            channel_close(many[i].near.c, 0);
        if (many[i].far.c)
            channel_close(many[i].far.c, 0);
    }
    CU_ASSERT_EQUAL(whole, MANY);
    CU_ASSERT_TRUE(rig_until(&s.rig, all_closed, NULL));
}

static void test_many_at_once(void)
{
    verbs_stage_open(&s, 60 * NS_PER_S);
    s.near_ring = s.far_ring = 64 << 10;
    open_many(100000);
    close_many();
    stage_close(&s);
}

/* Memory, queue pairs, regions and descriptors are back at the start, after rounds in which all is well and such in which nothing is. */
static void test_nothing_left(void)
{
    verbs_stage_open(&s, 60 * NS_PER_S);
    s.near_ring = s.far_ring = 64 << 10;
    open_many(1000);
    close_many();
    AUTO_FREE char *resources = verbs_resources();
    struct footprint before = footprint();
    for (int round = 0; round < ROUNDS; round++) {
        open_many(1000);
        close_many();
    }
    CU_ASSERT_TRUE(verbs_resources_same(&s, resources));
    CU_ASSERT_TRUE(footprint_same(&before));
    stage_close(&s);
}

static void test_footprint(void)
{
    test_abort();
    verbs_stage_open(&s, 0);
    AUTO_FREE char *resources = verbs_resources();
    stage_close(&s);
    struct footprint before = footprint();
    test_abort();
    test_abandoned();
    test_wrong_cookie();
    test_nobody_listens();
    test_mute_listener();
    test_every_call_fails();
    verbs_stage_open(&s, 0);
    CU_ASSERT_TRUE(verbs_resources_same(&s, resources));
    stage_close(&s);
    CU_ASSERT_TRUE(footprint_same(&before));
}

static const struct unit units[] = {
    UNIT(test_listen_refused), UNIT(test_no_listener), UNIT(test_bad_address), UNIT(test_nobody_listens), UNIT(test_boundary_sizes),
    UNIT(test_moods), UNIT(test_reports), UNIT(test_close_at_once), UNIT(test_low_latency), UNIT(test_stalled_sink), UNIT(test_abort),
    UNIT(test_abandoned), UNIT(test_peer_killed), UNIT(test_wrong_cookie), UNIT(test_mute_listener), UNIT(test_mute_guest),
    UNIT(test_every_call_fails), UNIT(test_locked_memory), UNIT(test_many_at_once), UNIT(test_nothing_left), UNIT(test_duplex_sizes),
    UNIT(test_duplex_receives),
    UNIT(test_duplex_moods), UNIT(test_duplex_close_at_once), UNIT(test_half_close), UNIT(test_independent), UNIT(test_one_leaves),
    UNIT(test_duplex_abort),
    UNIT(test_footprint),
};

/* "peer PORT ROLE": the child of test_peer_killed. Names of tests: only these. */
int main(int argc, char **argv)
{
    struct unit some[ARRAY_LEN(units)];
    size_t n = 0;
    if (!verbs_there()) {
        printf("skipped: no RDMA devices, RDMA_THERE is not set: run it by tests/vm/run\n");
        return 77;
    }
    self = argv[0];
    if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0) /* not the link itself: under valgrind that is valgrind */
        return 1;
    peer_args = argv + 1;
    if (argc == 4 && str_eq(argv[1], "peer"))
        return unit_run("verbs peer", &(struct unit)UNIT(be_peer), 1);
    if (argc == 2 && str_eq(argv[1], "limited"))
        return unit_run("verbs limited", &(struct unit)UNIT(be_limited), 1);
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (argc == 1 || strv_has(argv + 1, units[i].name))
            some[n++] = units[i];
    return unit_run("verbs", some, n);
}
