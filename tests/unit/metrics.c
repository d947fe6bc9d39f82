/* The metrics' HTTP server in a loop, against what comes to such a port: visitors in a hurry, slow ones, too many, garbage. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "ctrl/metrics.h"
#include "tcp/sock.h"
#include "tests/lib/unit.h"

static struct loop loop = { .epfd = -1, .sigfd = -1 };
static struct tally tally;
static struct conf *conf;
static struct metrics_sources sources;
static struct metrics *metrics;
static union sockaddr_any at;
static char why[400], text[1 << 16];

static void begin(void)
{
    char setting[] = "route.detector.accept=link,tcp://127.0.0.1:7000";
    socklen_t len = sizeof(at);
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
    conf = conf_new();
    CU_ASSERT_EQUAL_FATAL(conf_set(conf, setting, why, sizeof(why)), 0);
    tally_init(&tally);
    sources = (struct metrics_sources){ .conf = conf, .tally = &tally, .started_s = 1234567890 };
    addr_numeric("127.0.0.1", 0, &at);
    int fd = sock_listen(&at);
    CU_ASSERT_FATAL(fd >= 0 && getsockname(fd, &at.sa, &len) == 0);
    metrics = metrics_open(&loop, fd, &sources, why, sizeof(why));
    CU_ASSERT_PTR_NOT_NULL_FATAL(metrics);
}

static void end(void)
{
    metrics_close(metrics);
    metrics_close(NULL);
    tally_fini(&tally);
    conf_free(conf);
    loop_fini(&loop);
    loop = (struct loop){ .epfd = -1, .sigfd = -1 };
}

static int visit(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, &at.sa, addr_len(&at)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* Read until the server closes; the number of bytes, or -1 when it does not within 5 s. */
static ssize_t read_all(int fd)
{
    size_t n = 0;
    for (uint64_t until = now_ns() + 5 * NS_PER_S; now_ns() < until;) {
        loop_turn(&loop, NS_PER_MS);
        ssize_t k = recv(fd, text + n, sizeof(text) - 1 - n, 0);
        if (k > 0)
            n += (size_t)k;
        else if (k == 0 || errno != EAGAIN)
            return text[n] = 0, (ssize_t)n;
    }
    text[n] = 0;
    return -1;
}

static const char *ask(const char *request)
{
    int fd = visit();
    CU_ASSERT(send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request));
    CU_ASSERT(read_all(fd) >= 0);
    close(fd);
    return text;
}

static bool says(const char *what) { return strstr(text, what) != NULL; }

static void test_answers(void)
{
    begin();
    ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    CU_ASSERT(str_starts(text, "HTTP/1.1 200 ") && says("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n") && says("Connection: close\r\n"));
    CU_ASSERT(says("\n# TYPE scistream_build_info gauge\nscistream_build_info{version=\"") && says("\nprocess_start_time_seconds 1234567890\n"));
    CU_ASSERT(says("\nscistream_stream_bytes_total{route=\"detector\",direction=\"backward\"} 0\n"));
    CU_ASSERT(says("\nscistream_attach_refusals_total{reason=\"EAUTH\"} 0\n"));
    CU_ASSERT(str_starts(ask("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 ") && !says("scistream_build_info"));
    CU_ASSERT(str_starts(ask("GET / HTTP/1.0\r\n\r\n"), "HTTP/1.") && says(" 200 ") && says("href=\"/metrics\""));
    CU_ASSERT(str_starts(ask("GET /etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 404 "));
    CU_ASSERT(str_starts(ask("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"), "HTTP/1.1 405 ") && says("Allow: GET, HEAD"));
    CU_ASSERT(str_starts(ask("DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 405 "));
    end();
}

static void test_grows(void)
{
    struct stats_sum moved = { .bytes = { 77 } };
    begin();
    tally_ended(&tally, "detector", TALLY_ABORTED, -ECONNRESET, &moved);
    tally.kept.tcp_retransmits = 5;
    tally.kept.link_retransmits = 6;
    ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    CU_ASSERT(says("{route=\"detector\",direction=\"forward\"} 77\n") && says("scistream_channels_ended_total{route=\"detector\",outcome=\"aborted\"} 1\n"));
    CU_ASSERT(says("scistream_channels_aborted_total{route=\"detector\",reason=\"ELOST\"} 1\n"));
    CU_ASSERT(says("_segments_total{transport=\"tcp\"} 5\n") && says("_segments_total{transport=\"link\"} 6\n"));
    tally_route(&tally, "detector")->kept.moved.bytes[0] = 5; /* whatever goes wrong, a counter does not go back */
    ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    CU_ASSERT(says("{route=\"detector\",direction=\"forward\"} 77\n"));
    end();
}

/* What one end of TLS, gRPC or nothing sensible sends; what is cut; what does not fit: the next one is served. */
static void test_garbage(void)
{
    static char huge[100000];
    static const char *const inputs[] = { "\x16\x03\x01\x02", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\r\n\r\n\r\n", "GET\r\n\r\n", "GET /metrics", "\xff\xfe\xfd" };
    int bad[ARRAY_LEN(inputs)];
    begin();
    for (size_t i = 0; i < ARRAY_LEN(inputs); i++) {
        bad[i] = visit();
        CU_ASSERT(send(bad[i], inputs[i], strlen(inputs[i]), MSG_NOSIGNAL) > 0);
        shutdown(bad[i], SHUT_WR);
        loop_turn(&loop, NS_PER_MS);
    }
    CU_ASSERT(str_starts(ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 "));
    for (size_t i = 0; i < ARRAY_LEN(inputs); i++) {
        ssize_t n = recv(bad[i], text, sizeof(text) - 1, 0);
        text[MAX(n, 0)] = 0;
        CU_ASSERT(n <= 0 || !says("scistream_build_info"));
        close(bad[i]);
    }
    memset(huge, 'a', sizeof(huge) - 1);
    memcpy(huge, "GET /", 5);
    int fd = visit();
    (void)!send(fd, huge, sizeof(huge) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    CU_ASSERT(read_all(fd) >= 0 && !says("scistream_build_info"));
    close(fd);
    CU_ASSERT(str_starts(ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 "));
    end();
}

/* 200 who come and say nothing: the oldest have to go, and who asks is served. */
static void test_crowd(void)
{
    int fd[200];
    begin();
    for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
        fd[i] = visit();
        loop_turn(&loop, NS_PER_MS);
    }
    CU_ASSERT(str_starts(ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 "));
    CU_ASSERT(recv(fd[0], text, 1, 0) == 0);                      /* sent away */
    CU_ASSERT(recv(fd[199], text, 1, 0) < 0 && errno == EAGAIN); /* still there */
    for (size_t i = 0; i < ARRAY_LEN(fd); i++)
        close(fd[i]);
    for (int i = 0; i < 20; i++)
        loop_turn(&loop, NS_PER_MS);
    CU_ASSERT(str_starts(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 "));
    end();
}

/* The end comes while some are there. */
static void test_closed_under_visitors(void)
{
    begin();
    int a = visit(), b = visit();
    CU_ASSERT(send(b, "GET /met", 8, MSG_NOSIGNAL) == 8);
    for (int i = 0; i < 5; i++)
        loop_turn(&loop, NS_PER_MS);
    end();
    CU_ASSERT(recv(a, text, 1, 0) == 0 || errno == ECONNRESET);
    close(a);
    close(b);
}

UNIT_MAIN("metrics", UNIT(test_answers), UNIT(test_grows), UNIT(test_garbage), UNIT(test_crowd), UNIT(test_closed_under_visitors))
