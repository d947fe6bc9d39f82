/* Who comes to the link port and is not who he should be: refused with one line, and the hop waits on for its true peer. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/lib/capture.h"
#include "tests/unit/link_stage.h"

static struct stage s;
static char said[8192];

/* A hop that waits, as SOURCE. */
static void begin(bool plain, uint64_t patience_ns)
{
    stage_open_with(&s, patience_ns, 0);
    s.spec.plain = plain;
    mem_forget();
    s.sink = (struct mem_plan){ .seed = 11 };
    stage_accept(&s);
}

/* The true peer still gets in, and its stream is whole. */
static void end(void)
{
    CU_ASSERT(s.far.up[SIDE_SOURCE] == 0 && !watch_failed(&s.far));
    s.source = (struct mem_plan){ .bytes = 300000, .seed = 11 };
    CU_ASSERT_EQUAL(stage_dial(&s), 0);
    CU_ASSERT_TRUE(rig_until(&s.rig, stage_over, &s));
    CU_ASSERT_TRUE(stage_whole(&s));
    stage_end_stream(&s);
    stage_close(&s);
}

static struct capture capture;

static void listen_to_log(void) { capture = capture_begin(STDERR_FILENO); }

/* One line, with this in it. */
static void check_log(const char *what)
{
    capture_end(&capture, said, sizeof(said));
    const char *line = strstr(said, "link port: connection from 127.0.0.1:");
    CU_ASSERT_PTR_NOT_NULL_FATAL(line);
    if (!strstr(line, what))
        printf("\n  '%s' is not in '%s'\n", what, line);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, what));
    CU_ASSERT_PTR_NULL(strstr(line + 10, "link port: "));
}

/* A guest that sends this and is sent away. */
static void guest(bool plain, const void *bytes, size_t n, const char *why)
{
    begin(plain, 0);
    int fd = raw_dial(&s);
    listen_to_log();
    raw_send(fd, bytes, n);
    raw_await_close(&s, fd);
    check_log(why);
    close(fd);
    end();
}

static void guest_frame(bool plain, const struct frame *f, const char *why)
{
    uint8_t raw[FRAME_SIZE];
    frame_encode(f, raw);
    guest(plain, raw, sizeof(raw), why);
}

/* ------------------------------------------------------------ what they say (ten lines in ten seconds are logged, no more) */

static void test_garbage(void)
{
    guest(true, "GET / HTTP/1.1\r\nHost: gateway.example.org\r\n\r\n", 45, "does not speak the flow protocol");
    guest(false, "\x16\x03\x01\x00\x10garbage that is no ClientHello", 35, "refused: ");
}

static void test_wrong_cookie(void)
{
    uint8_t cookie[XPORT_COOKIE];
    memcpy(cookie, stage_cookie, sizeof(cookie));
    cookie[15] ^= 1;
    const struct frame hello = frame_hello(cookie);
    guest_frame(true, &hello, "its cookie belongs to no attach that waits here");
}

static void test_not_hello_first(void)
{
    const struct frame eos = { .type = FRAME_EOS };
    guest_frame(true, &eos, "its first frame is no HELLO");
}

static void test_plain_instead_of_tls(void)
{
    const struct frame hello = frame_hello(stage_cookie);
    guest_frame(false, &hello, "plaintext where TLS was agreed");
}

static void test_half_hello(void)
{
    const struct frame hello = frame_hello(stage_cookie);
    uint8_t raw[FRAME_SIZE];
    frame_encode(&hello, raw);
    begin(true, 0);
    int fd = raw_dial(&s);
    listen_to_log();
    raw_send(fd, raw, 20);
    rig_wait(&s.rig, 20 * NS_PER_MS);
    shutdown(fd, SHUT_WR);
    raw_await_close(&s, fd);
    check_log("it closed before its HELLO");
    close(fd);
    end();
}

static void test_says_nothing(void)
{
    begin(true, 100 * NS_PER_MS);
    int fd = raw_dial(&s);
    uint64_t began = now_ns();
    listen_to_log();
    raw_await_close(&s, fd);
    check_log("it said nothing");
    CU_ASSERT(now_ns() - began >= 99 * NS_PER_MS);
    close(fd);
    end();
}

static void test_half_hello_and_silence(void)
{
    begin(true, 100 * NS_PER_MS);
    int fd = raw_dial(&s);
    listen_to_log();
    raw_send(fd, "\1\0\0\0", 4);
    raw_await_close(&s, fd);
    check_log("it did not complete its HELLO in time");
    close(fd);
    end();
}

static void test_half_handshake_and_silence(void)
{
    begin(false, 100 * NS_PER_MS);
    int fd = raw_dial(&s);
    listen_to_log();
    raw_send(fd, "\x16\x03\x01\x01\x00", 5);
    raw_await_close(&s, fd);
    check_log("it did not complete its HELLO in time");
    close(fd);
    end();
}

/* Its HELLO came in time, and it is the hop's; that its patience ends before it is freed as a guest is nothing to talk about. */
static void test_in_time(void)
{
    struct frame f;
    begin(true, 200 * NS_PER_MS);
    int fd = raw_dial(&s);
    for (int i = 0; i < 3; i++)
        loop_turn(&s.rig.loop, 0); /* accepted */
    raw_hello(fd);
    loop_turn(&s.rig.loop, 20 * NS_PER_MS);
    usleep(250000);
    listen_to_log();
    CU_ASSERT(raw_read_frame(&s, fd, &f) && f.type == FRAME_HELLO);
    capture_end(&capture, said, sizeof(said));
    CU_ASSERT_STRING_EQUAL(said, "");
    CU_ASSERT_TRUE(watch_close(&s.far, 0));
    close(fd);
    stage_close(&s);
}

/* ------------------------------------------------------------ without a look at the log */

/* HELLO byte by byte is as good as in one. */
static void test_slow_hello(void)
{
    const struct frame hello = frame_hello(stage_cookie);
    uint8_t raw[FRAME_SIZE];
    struct frame f;
    frame_encode(&hello, raw);
    begin(true, 0);
    int fd = raw_dial(&s);
    for (size_t i = 0; i < sizeof(raw); i++) {
        raw_send(fd, raw + i, 1);
        loop_turn(&s.rig.loop, 20 * NS_PER_MS);
    }
    CU_ASSERT(raw_read_frame(&s, fd, &f) && f.type == FRAME_HELLO);
    CU_ASSERT(raw_read_frame(&s, fd, &f) && f.type == FRAME_LIMIT);
    CU_ASSERT_TRUE(watch_close(&s.far, 0));
    raw_await_close(&s, fd);
    close(fd);
    stage_close(&s);
}

/* A cookie is good for one connection, while its hop waits. */
static void test_cookie_used_twice(void)
{
    begin(true, 0);
    int first = raw_dial(&s), second = raw_dial(&s), third = raw_dial(&s);
    CU_ASSERT_TRUE(raw_greet(&s, first));
    CU_ASSERT_FALSE(raw_greet(&s, second));
    CU_ASSERT_TRUE(watch_close(&s.far, 0));
    CU_ASSERT_FALSE(raw_greet(&s, third));
    close(first);
    close(second);
    close(third);
    stage_close(&s);
}

static void test_nobody_waits(void)
{
    stage_open(&s);
    int fd = raw_dial(&s);
    CU_ASSERT_FALSE(raw_greet(&s, fd));
    close(fd);
    stage_close(&s);
}

/* The hop goes away while its guest is half way in. */
static void test_hop_leaves_first(void)
{
    begin(false, 0);
    s.source = (struct mem_plan){ .bytes = 1000, .seed = 11 };
    CU_ASSERT_EQUAL(stage_dial(&s), 0);
    loop_turn(&s.rig.loop, 0);
    loop_turn(&s.rig.loop, 0);
    CU_ASSERT_TRUE(watch_close(&s.far, 0));
    CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.near));
    CU_ASSERT_EQUAL(s.near.failed[SIDE_SINK], 1);
    CU_ASSERT_TRUE(watch_close(&s.near, 0));
    stage_close(&s);
}

/* ------------------------------------------------------------ many */

#define CROWD 1100

static unsigned open_fds(void) { return footprint().fds; }

static void test_crowd(void)
{
    static int fd[CROWD];
    struct rlimit old, more;
    getrlimit(RLIMIT_NOFILE, &old);
    more = (struct rlimit){ MIN(old.rlim_max, (rlim_t)4096), old.rlim_max };
    if (more.rlim_cur < 2 * CROWD + 100)
        return; /* not here */
    setrlimit(RLIMIT_NOFILE, &more);
    begin(true, 0);
    unsigned before = open_fds();
    for (int i = 0; i < CROWD; i++) {
        fd[i] = raw_dial(&s);
        if (i % 50 == 0)
            loop_turn(&s.rig.loop, 0);
    }
    for (int i = 0; i < 50; i++)
        loop_turn(&s.rig.loop, 0);
    CU_ASSERT_EQUAL(open_fds(), before + CROWD + 1024); /* the oldest had to go, the latest may speak yet */
    raw_await_close(&s, fd[0]);
    raw_await_close(&s, fd[CROWD - 1024 - 1]);
    CU_ASSERT_EQUAL(recv(fd[CROWD - 1024], said, 1, MSG_DONTWAIT), -1);
    end();
    for (int i = 0; i < CROWD; i++)
        close(fd[i]);
    setrlimit(RLIMIT_NOFILE, &old);
}

static unsigned wanted;
static bool has_fds(void *arg UNUSED) { return open_fds() == wanted; }

/* All of them are gone when their time is over, and nothing is left of them. */
static void test_patience_ends(void)
{
    int fd[100];
    begin(true, 500 * NS_PER_MS);
    for (int i = 0; i < 100; i++)
        fd[i] = raw_dial(&s);
    wanted = open_fds() + 100;
    CU_ASSERT_TRUE(rig_until(&s.rig, has_fds, NULL)); /* accepted */
    wanted -= 100;
    CU_ASSERT_TRUE(rig_until(&s.rig, has_fds, NULL)); /* and sent away */
    end();
    for (int i = 0; i < 100; i++)
        close(fd[i]);
}

static void test_footprint(void)
{
    test_patience_ends();
    test_crowd();
    struct footprint before = footprint();
    test_patience_ends();
    test_crowd();
    test_cookie_used_twice();
    test_hop_leaves_first();
    CU_ASSERT_TRUE(footprint_same(&before));
}

UNIT_MAIN("link_guests", UNIT(test_garbage), UNIT(test_wrong_cookie), UNIT(test_not_hello_first), UNIT(test_plain_instead_of_tls),
          UNIT(test_half_hello), UNIT(test_says_nothing), UNIT(test_half_hello_and_silence), UNIT(test_half_handshake_and_silence),
          UNIT(test_in_time),
          UNIT(test_slow_hello), UNIT(test_cookie_used_twice), UNIT(test_nobody_waits), UNIT(test_hop_leaves_first), UNIT(test_crowd),
          UNIT(test_patience_ends), UNIT(test_footprint))
