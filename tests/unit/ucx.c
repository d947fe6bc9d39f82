/* Streams over UCX on the loopback device, and what strangers and bad luck get. */
#include "config.h"

#ifndef WITH_UCX
int main(void) { return 77; }
#else

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/unit/ucx_stage.h"

static struct stage s;
static char *self; /* argv[0] */
static char program[4096];

static void run_whole(uint64_t bytes) { stage_run_whole(&s, bytes); }

/* ------------------------------------------------------------ whole streams */

static void test_boundary_sizes(void)
{
    for (int reverse = 0; reverse < 2; reverse++) {
        ucx_stage_open(&s, 0);
        s.reverse = reverse;
        stage_boundary_sizes(&s);
        stage_close(&s);
    }
}

static void test_moods(void)
{
    static const uint32_t chunks[] = { 4096, 8192, 8193, 100000, 256 << 10 };
    for (unsigned i = 0; i < 10; i++) {
        ucx_stage_open(&s, 0);
        s.reverse = i % 2;
        s.spec.chunk_max = chunks[i / 2];
        s.far_ring = i & 2 ? 300 << 10 : 1 << 20;
        s.source.part = i & 1 ? 30011 : 0;
        s.source.again = i & 2 ? 3 : 0;
        s.sink.part = i & 4 ? 10007 : 0;
        s.sink.again = i & 1 ? 4 : 0;
        s.sink.lag = i & 2;
        run_whole(5000000);
        stage_close(&s);
    }
}

static void test_reports(void)
{
    ucx_stage_open(&s, 0);
    s.spec.chunk_max = 4096; /* eager: those bytes are copied, and counted */
    stage_stream(&s, 100000);
    CU_ASSERT_TRUE(rig_until(&s.rig, stage_over, &s));
    CU_ASSERT_STRING_EQUAL(s.answer.address, "127.0.0.1");
    CU_ASSERT_STRING_EQUAL(s.near.c->end[SIDE_SINK]->device, "lo");
    CU_ASSERT_STRING_EQUAL(s.far.c->end[SIDE_SOURCE]->detail, "unencrypted");
    CU_ASSERT_EQUAL(stats_get(&s.rig.env[0].stats->copied_bytes), 100000);
    stage_end_stream(&s);
    stage_close(&s);
}

static void test_close_at_once(void)
{
    static const uint64_t sizes[] = { 0, 1, 64 << 10, 5000000 };
    ucx_stage_open(&s, 0);
    for (size_t i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
        s.reverse = i % 2;
        stage_close_at_once(&s, sizes[i / 2]);
    }
    stage_close(&s);
}

static bool near_waits(void *arg UNUSED)
{
    return atomic_load(&s.near.c->stats->flow[0].waiting_for) == WAIT_CREDITS && s.far.c->flow[0].ring.put == s.far.c->flow[0].ring.cap;
}

static void test_stalled_sink(void)
{
    ucx_stage_open(&s, 0);
    s.sink.again = 1;
    stage_stream(&s, 100 << 20);
    s.sink.later_ns = 10 * NS_PER_S;
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

static bool under_way(void *arg UNUSED) { return s.sink.moved > 1000000 || stage_over(&s); }

static void test_abort(void)
{
    for (int i = 0; i < 4; i++) {
        ucx_stage_open(&s, 0);
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

/* Closed before it began, in several states of the connection. */
static void test_abandoned(void)
{
    ucx_stage_open(&s, 0);
    for (int turns = 0; turns < 40; turns += 5) {
        stage_stream(&s, 500000);
        for (int i = 0; i < turns; i++)
            loop_turn(&s.rig.loop, NS_PER_MS);
        stage_end_stream(&s);
    }
    run_whole(500000);
    stage_close(&s);
}

/* ------------------------------------------------------------ strangers: the hop waits on for its true peer */

static struct stranger stranger;

static void begin_waiting(uint64_t patience_ns)
{
    ucx_stage_open(&s, patience_ns);
    s.source = (struct mem_plan){ .bytes = 1000000, .seed = 11 };
    s.sink = (struct mem_plan){ .seed = 11 };
    stage_accept(&s);
}

static void end_waiting(void)
{
    CU_ASSERT(s.far.up[SIDE_SOURCE] == 0 && !watch_failed(&s.far));
    CU_ASSERT_EQUAL(stage_dial(&s), 0);
    CU_ASSERT_TRUE(rig_until(&s.rig, stage_over, &s));
    CU_ASSERT_TRUE(stage_whole(&s));
    stage_end_stream(&s);
    stage_close(&s);
}

static void test_unknown_client_id(void)
{
    static const uint64_t ids[] = { 0, 42 };
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        begin_waiting(0);
        stranger_open(&stranger, &s, ids[i]);
        stranger_await_broken(&stranger, &s);
        CU_ASSERT_EQUAL(stranger.broken, UCS_ERR_REJECTED);
        stranger_close(&stranger, &s);
        end_waiting();
    }
}

/* Our own dialler with another cookie hears why. */
static void test_rejected(void)
{
    begin_waiting(0);
    s.spec.cookie[0] ^= 1;
    CU_ASSERT_EQUAL(stage_dial(&s), 0);
    s.spec.cookie[0] ^= 1;
    CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.near));
    CU_ASSERT(s.near.failed[SIDE_SINK] == 1 && s.near.rc[SIDE_SINK] == -SST_ECOOKIE);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.near.why[SIDE_SINK], "rejected by its listener"));
    CU_ASSERT_TRUE(watch_close(&s.near, 0));
    mem_forget();
    s.source = (struct mem_plan){ .bytes = 1000000, .seed = 11 };
    end_waiting();
}

/* Who guessed the first half of the cookie still needs the second. */
static void test_wrong_cookie(void)
{
    for (int i = 0; i < 3; i++) {
        uint8_t half[XPORT_COOKIE];
        memcpy(half, s.spec.cookie, sizeof(half));
        half[15] ^= 1;
        const struct frame hello = frame_hello(half);
        begin_waiting(0);
        stranger_open(&stranger, &s, stranger_id(half));
        if (i == 0)
            stranger_frame(&stranger, &s, half, &hello, NULL);
        else
            stranger_say(&stranger, &s, s.spec.cookie, i == 1 ? 0 : 8, "x", 1); /* no header, or half of one */
        stranger_await_broken(&stranger, &s);
        stranger_close(&stranger, &s);
        end_waiting();
    }
}

static void test_silent_stranger(void)
{
    begin_waiting(200 * NS_PER_MS);
    stranger_open(&stranger, &s, stranger_id(s.spec.cookie));
    stranger_await_broken(&stranger, &s); /* its patience over, the hop drops him */
    CU_ASSERT_FALSE(stranger.heard);      /* and he was told nothing: every message has the cookie */
    stranger_close(&stranger, &s);
    end_waiting();
}

/* He leaves before he said anything: no reason for the hop to fail. */
static void test_stranger_leaves(void)
{
    begin_waiting(0);
    stranger_open(&stranger, &s, stranger_id(s.spec.cookie));
    stranger_turn(&stranger, &s, 50 * NS_PER_MS);
    stranger_close(&stranger, &s);
    rig_wait(&s.rig, 50 * NS_PER_MS);
    end_waiting();
}

/* While a connection is served its client_id is no key for a second one. */
static void test_second_connection(void)
{
    ucx_stage_open(&s, 0);
    stage_stream(&s, 500 << 20);
    CU_ASSERT_TRUE(rig_until(&s.rig, under_way, NULL));
    stranger_open(&stranger, &s, stranger_id(s.spec.cookie));
    stranger_await_broken(&stranger, &s);
    CU_ASSERT_EQUAL(stranger.broken, UCS_ERR_REJECTED);
    stranger_close(&stranger, &s);
    CU_ASSERT_FALSE(stage_over(&s));
    stage_end_stream(&s);
    stage_close(&s);
}

/* ------------------------------------------------------------ a peer with the right cookie that breaks the rules */

static const struct { struct frame said[2]; const char *why; } broken[] = {
    { { { .type = FRAME_DATA, .len = 300000 } }, "DATA of 300000 bytes, at most 262144 were agreed" },
    { { { .type = FRAME_DATA, .a = (1 << 20) - 10, .len = 100 } }, "goes beyond the limit 1048576" },
    { { { .type = FRAME_DATA, .len = 100 }, { .type = FRAME_DATA, .a = 50, .len = 100 } }, "overlaps" },
    { { { .type = FRAME_EOS, .a = 10 }, { .type = FRAME_DATA, .a = 5, .len = 100 } }, "after EOS at 10" },
    { { { .type = FRAME_EOS, .a = 10 }, { .type = FRAME_EOS, .a = 10 } }, "second EOS" },
    { { { .type = FRAME_LIMIT, .a = 10 } }, "which does not exist in that direction" },
    { { { .type = 77 } }, "no frame of the flow protocol: 4d00" },
    { { { .type = FRAME_RESET, .a = 25 } }, "peer reset the flow: interrupted" },
};

static void await_failure(void)
{
    for (uint64_t until = now_ns() + 60 * NS_PER_S; !watch_over(&s.far) && now_ns() < until;)
        stranger_turn(&stranger, &s, NS_PER_MS);
}

static void test_broken_rules(void)
{
    AUTO_FREE uint8_t *payload = mem_zalloc(300000, 1);
    const struct frame hello = frame_hello(s.spec.cookie);
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        begin_waiting(0);
        s.sink.lag = true;
        s.sink.later_ns = 3600 * NS_PER_S;
        stranger_open(&stranger, &s, stranger_id(s.spec.cookie));
        stranger_frame(&stranger, &s, s.spec.cookie, &hello, NULL);
        for (size_t k = 0; k < 2 && broken[i].said[k].type; k++)
            stranger_frame(&stranger, &s, s.spec.cookie, &broken[i].said[k], broken[i].said[k].len ? payload : NULL);
        await_failure();
        CU_ASSERT(s.far.failed[SIDE_SOURCE] == 1 && s.far.up[SIDE_SOURCE] <= 1 && stranger.heard);
        if (!strstr(s.far.why[SIDE_SOURCE], broken[i].why))
            printf("\n  '%s' is not in '%s'\n", broken[i].why, s.far.why[SIDE_SOURCE]);
        CU_ASSERT_PTR_NOT_NULL(strstr(s.far.why[SIDE_SOURCE], broken[i].why));
        channel_close(s.far.c, s.far.rc[SIDE_SOURCE]);
        stranger_turn(&stranger, &s, 10 * NS_PER_MS);
        stranger_close(&stranger, &s);
        CU_ASSERT_TRUE(watch_close(&s.far, 0));
        stage_close(&s);
    }
}

/* A payload whose length is not what its frame says. */
static void test_lying_length(void)
{
    uint8_t head[XPORT_COOKIE + FRAME_SIZE], payload[100] = { 0 };
    const struct frame hello = frame_hello(s.spec.cookie), data = { .type = FRAME_DATA, .len = 200 };
    begin_waiting(0);
    memcpy(head, s.spec.cookie, XPORT_COOKIE);
    frame_encode(&data, head + XPORT_COOKIE);
    stranger_open(&stranger, &s, stranger_id(s.spec.cookie));
    stranger_frame(&stranger, &s, s.spec.cookie, &hello, NULL);
    stranger_say(&stranger, &s, head, sizeof(head), payload, sizeof(payload));
    await_failure();
    CU_ASSERT(s.far.failed[SIDE_SOURCE] == 1 && strstr(s.far.why[SIDE_SOURCE], "no frame of the flow protocol: 0200"));
    stranger_close(&stranger, &s);
    CU_ASSERT_TRUE(watch_close(&s.far, 0));
    stage_close(&s);
}

/* ------------------------------------------------------------ a peer that dies */

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
    ucx_stage_open(&s, 0);
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
    return (f[FORWARD].ring.rel >= 10000000 && (!s.duplex || f[BACKWARD].ring.rel >= 10000000)) || watch_over(&s.far);
}

static void test_peer_killed(void)
{
    for (int kind = 0; kind < 3; kind++) {
        char port[16];
        pid_t pid;
        ucx_stage_open(&s, 0);
        s.reverse = kind == 1;
        s.duplex = kind == 2;
        go_on_for_ever();
        stage_accept(&s);
        snprintf(port, sizeof(port), "%u", s.spec.port);
        char *argv[] = { self, "peer", port, s.duplex ? "both" : s.reverse ? "recv" : "send", NULL };
        posix_spawn_file_actions_t quiet;
        posix_spawn_file_actions_init(&quiet);
        posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        CU_ASSERT_EQUAL_FATAL(posix_spawn(&pid, program, &quiet, NULL, argv, environ), 0);
        posix_spawn_file_actions_destroy(&quiet);
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

/* ------------------------------------------------------------ what cannot be */

static void check_listen(const char *setting, unsigned index, int rc, const char *want)
{
    char why[XPORT_WHY] = "";
    struct rig rig;
    rig_open(&rig);
    if (setting && conf_set(rig.conf, "ucx.devices=lo", why, sizeof(why)) == 0)
        CU_ASSERT_EQUAL(conf_set(rig.conf, setting, why, sizeof(why)), 0);
    rig.env[0].accepts = true;
    rig.env[0].index = index;
    CU_ASSERT_EQUAL(xport_ucx_ops.listen(&rig.env[0], why, sizeof(why)), rc);
    if (!strstr(why, want))
        printf("\n  '%s' is not in '%s'\n", want, why);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, want));
    xport_ucx_ops.unlisten(&rig.env[0]);
    xport_ucx_ops.unlisten(&rig.env[0]);
    rig_close(&rig);
}

static int take_port(uint16_t *port)
{
    union sockaddr_any at;
    socklen_t len = sizeof(at);
    addr_numeric("127.0.0.1", 0, &at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(fd >= 0 && bind(fd, &at.sa, addr_len(&at)) == 0 && listen(fd, 1) == 0 && getsockname(fd, &at.sa, &len) == 0);
    *port = addr_port(&at);
    return fd;
}

/* Of a range whose first port somebody else has, the next one. */
static void test_next_port(void)
{
    char setting[64];
    uint16_t port;
    AUTO_FD int fd = take_port(&port);
    unsigned last = MIN(port + 9U, 65535U);
    CU_ASSERT(fd >= 0);
    snprintf(setting, sizeof(setting), "ucx.ports=%u", port);
    check_listen(setting, 0, -EADDRINUSE, "no port of it is free on 127.0.0.1: give it one for each worker, and for an upgrade as many again");
    snprintf(setting, sizeof(setting), "ucx.ports=%u-%u", MIN(port, 65526U), last);
    check_listen(setting, 0, 0, "");
    check_listen(setting, 11, 0, "");
}

static void test_listen_refused(void)
{
    check_listen(NULL, 0, -ENODEV, "");
    check_listen("ucx.devices=nosuch0", 0, -SST_EDEVICE, "nosuch0");
    check_listen("ucx.transports=nosuch", 0, -SST_EDEVICE, "transports nosuch");
}

static void test_not_configured(void)
{
    const struct channel_spec c = { .id = 1, .window = 65536 };
    const struct xport_spec spec = { .address = "127.0.0.1", .port = 9, .chunk_max = 4096 };
    struct xport_answer a;
    rig_open(&s.rig);
    watch_open(&s.near, &s.rig, 1, &c);
    CU_ASSERT_EQUAL(watch_end(&s.near, SIDE_SINK, &xport_ucx_ops, &spec, NULL), -EINVAL);
    CU_ASSERT_EQUAL(watch_end(&s.near, SIDE_SOURCE, &xport_ucx_ops, &spec, &a), -SST_ECONF);
    CU_ASSERT_TRUE(watch_close(&s.near, 0));
    rig_close(&s.rig);
    const struct xport_spec nothing = { .address = "127.0.0.1", .port = 9 };
    ucx_stage_open(&s, 0);
    watch_open(&s.near, &s.rig, 1, &c);
    CU_ASSERT_EQUAL(watch_end(&s.near, SIDE_SINK, &xport_ucx_ops, &nothing, NULL), -SST_EPROTO);
    CU_ASSERT_TRUE(watch_close(&s.near, 0)); /* who only dials has no listener */
    watch_open(&s.near, &s.rig, 1, &c);
    CU_ASSERT_EQUAL(watch_end(&s.near, SIDE_SOURCE, &xport_ucx_ops, &spec, &a), -SST_ECONF);
    CU_ASSERT_TRUE(watch_close(&s.near, 0));
    stage_close(&s);
}

static void test_nobody_listens(void)
{
    ucx_stage_open(&s, 0);
    s.spec.port = 1;
    s.source = (struct mem_plan){ .bytes = 10 };
    int rc = stage_dial(&s);
    CU_ASSERT(rc == 0 || rc == -EHOSTUNREACH);
    CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.near));
    CU_ASSERT(s.near.failed[SIDE_SINK] == 1 && (s.near.rc[SIDE_SINK] == -ECONNREFUSED || s.near.rc[SIDE_SINK] == -EHOSTUNREACH));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.near.why[SIDE_SINK], "ucx to 127.0.0.1:1"));
    CU_ASSERT_TRUE(watch_close(&s.near, 0));
    stage_close(&s);
}

/* ------------------------------------------------------------ duplex */

static void duplex_open(int reverse)
{
    ucx_stage_open(&s, 0);
    s.duplex = true;
    s.reverse = reverse;
}

static void test_duplex_sizes(void)
{
    for (int reverse = 0; reverse < 2; reverse++) {
        duplex_open(reverse);
        stage_boundary_sizes(&s);
        stage_close(&s);
    }
}

/* Chunks small and large: eager and rendezvous, in both directions at once. */
static void test_duplex_moods(void)
{
    static const uint32_t chunks[] = { 4096, 8193, 100000, 256 << 10 };
    for (unsigned i = 0; i < 16; i++) {
        duplex_open((int)i % 2);
        s.spec.chunk_max = chunks[i / 4];
        s.spec.low_latency = i & 2;
        s.far_ring = i & 2 ? 300 << 10 : 1 << 20;
        s.source.part = i & 1 ? 30011 : 0;
        s.back_source.again = i & 2 ? 3 : 0;
        s.back_sink.part = i & 4 ? 10007 : 0;
        s.sink.again = i & 1 ? 4 : 0;
        s.sink.lag = s.back_sink.lag = i & 8;
        s.back_bytes = 4000000;
        run_whole(5000000);
        stage_close(&s);
    }
}

static void test_duplex_close_at_once(void)
{
    static const uint64_t sizes[] = { 0, 1, 64 << 10, 5000000 };
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

/* What UCX keeps for the process is made by the first round. */
static void test_footprint(void)
{
    test_abort();
    test_wrong_cookie();
    struct footprint before = footprint();
    test_abort();
    test_abandoned();
    test_wrong_cookie();
    test_nobody_listens();
    struct footprint now = footprint();
    CU_ASSERT(now.fds == before.fds && now.maps == before.maps);
}

/* libucx 1.13 asserts now and then when the machine is busy and both ends of its connections live in one process, as only here: its thread
 * delivers an event of a closed descriptor to the connection that got the number again. Nothing of ours aborts. */
#define ATTEMPTS 3
static int in_child(const struct unit *units, size_t n)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        exit(unit_run("ucx", units, n));
    return pid > 0 && waitpid(pid, &status, 0) == pid ? status : 1 << 8;
}

int main(int argc, char **argv)
{
    static const struct unit units[] = {
        UNIT(test_listen_refused), UNIT(test_next_port), UNIT(test_not_configured), UNIT(test_nobody_listens), UNIT(test_boundary_sizes), UNIT(test_moods),
        UNIT(test_reports), UNIT(test_close_at_once), UNIT(test_stalled_sink), UNIT(test_abort), UNIT(test_abandoned),
        UNIT(test_unknown_client_id), UNIT(test_rejected), UNIT(test_wrong_cookie), UNIT(test_silent_stranger), UNIT(test_stranger_leaves),
        UNIT(test_second_connection), UNIT(test_broken_rules), UNIT(test_lying_length), UNIT(test_peer_killed), UNIT(test_duplex_sizes),
        UNIT(test_duplex_moods), UNIT(test_duplex_close_at_once), UNIT(test_half_close), UNIT(test_independent), UNIT(test_one_leaves),
        UNIT(test_duplex_abort), UNIT(test_footprint),
    };
    self = argv[0];
    if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0) /* not the link itself: under valgrind that is valgrind */
        return 1;
    peer_args = argv + 1;
    if (argc == 4 && str_eq(argv[1], "peer"))
        return unit_run("ucx peer", &(struct unit)UNIT(be_peer), 1);
    for (int attempt = 1;; attempt++) {
        int status = in_child(units, ARRAY_LEN(units));
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || attempt == ATTEMPTS)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        printf("libucx aborted by an assertion of its own, attempt %d of %d\n", attempt, ATTEMPTS);
    }
}

#endif
