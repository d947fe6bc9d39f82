/* Load that iperf3 cannot make, through whatever forwards --to to --port: one process with a server thread and a client, so that both have one
 * clock and a window of time begins and ends for both at once. Without --to the client goes to the server itself.
 *
 *   tcpload rtt     --port P [--to ADDRESS:PORT] --size BYTES      a message there and back over one connection, the next one after it
 *   tcpload flow    …  --size BYTES [--rate BYTES_PER_S]           messages one way at a fixed rate (or as many as go), and how late they arrive
 *   tcpload many    …  --idle N --busy N                           connections that say nothing, and others that send all they can
 *   tcpload connect …  --at-once N                                 connect, one byte there and one back, close; N of it at a time
 *   tcpload sink    --port P                                       one connection with anything in it, thrown away until its end
 *
 * One JSON object on standard output; "many" says {"up":N} before. A message is due when the rate says, whether the one before it has
 * gone or not, and its delay counts from then: a sender that is held up does not make the relay look better.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "src/core/util.h"

#define PIECE (64U << 10)    /* of busy connections, per turn */
#define BUFFER (1U << 20)
#define EVENTS 512
#define SAMPLES (8U << 20)   /* more are not kept */
#define WARM_UP_NS (NS_PER_S / 2)
#define PATIENCE_S 170U

enum kind { KIND_ECHO, KIND_STAMPED, KIND_COUNTED, KIND_ONCE };

/* First on each connection; the server answers one byte, so what got it is whole from end to end. */
struct hello { uint32_t kind, id, size, unused; };

struct peer {
    int fd;
    struct hello hello;
    size_t got;              /* of the hello, then of the message under way */
    uint64_t stamp;          /* its first bytes */
    uint8_t *message;        /* ECHO */
    bool greeted;
};

static struct {
    const char *mode;
    struct sockaddr_in to;
    uint16_t port;
    uint32_t size, idle, busy, at_once;
    double seconds, rate;
} opt = { .size = 64, .seconds = 3, .at_once = 64 };

static uint8_t *buffer;                   /* of the server; what is in it is of no interest */
static _Atomic uint64_t *counts;          /* bytes that arrived, by the id of the connection */
static uint64_t *samples;                 /* [ns]: of the client in rtt and connect, of the server in flow */
static _Atomic size_t n_samples;
static _Atomic bool sampling;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "tcpload %s: %s: %s\n", opt.mode ? opt.mode : "", what, strerror(errno));
    exit(1);
}

static void sample(uint64_t ns)
{
    size_t n = atomic_load_explicit(&n_samples, memory_order_relaxed);
    if (!atomic_load_explicit(&sampling, memory_order_relaxed) || n == SAMPLES)
        return;
    samples[n] = ns;
    atomic_store_explicit(&n_samples, n + 1, memory_order_release);
}

/* ------------------------------------------------------------ the server */

static void peer_close(struct peer *p)
{
    close(p->fd);
    free(p->message);
    free(p);
}

static bool send_all(int fd, const void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = send(fd, (const uint8_t *)data + done, n - done, MSG_NOSIGNAL);
        if (r < 0)
            return false;
        done += (size_t)r;
    }
    return true;
}

static bool recv_all(int fd, void *data, size_t n)
{
    return n == 0 || recv(fd, data, n, MSG_WAITALL) == (ssize_t)n;
}

/* 1: greeted, 0: wait, -1: over */
static int greet(struct peer *p)
{
    ssize_t r = recv(p->fd, (uint8_t *)&p->hello + p->got, sizeof(p->hello) - p->got, MSG_DONTWAIT);
    if (r <= 0)
        return r < 0 && errno == EAGAIN ? 0 : -1;
    p->got += (size_t)r;
    if (p->got < sizeof(p->hello))
        return 0;
    p->got = 0;
    p->greeted = true;
    if (p->hello.kind == KIND_ECHO)
        p->message = mem_zalloc(1, p->hello.size);
    return send_all(p->fd, "k", 1) ? 1 : -1;
}

static int serve_echo(struct peer *p)
{
    ssize_t r = recv(p->fd, p->message + p->got, p->hello.size - p->got, MSG_DONTWAIT);
    if (r <= 0)
        return r < 0 && errno == EAGAIN ? 0 : -1;
    p->got += (size_t)r;
    if (p->got < p->hello.size)
        return 1;
    p->got = 0;
    return send_all(p->fd, p->message, p->hello.size) ? 1 : -1;
}

static void take_stamped(struct peer *p, const uint8_t *data, size_t n)
{
    uint64_t now = now_ns();
    while (n > 0) {
        size_t part = MIN(n, p->hello.size - p->got);
        if (p->got < sizeof(p->stamp))
            memcpy((uint8_t *)&p->stamp + p->got, data, MIN(part, sizeof(p->stamp) - p->got));
        p->got += part;
        data += part;
        n -= part;
        if (p->got == p->hello.size) {
            sample(now > p->stamp ? now - p->stamp : 0);
            p->got = 0;
        }
    }
}

static int serve_bytes(struct peer *p)
{
    ssize_t r = recv(p->fd, buffer, p->hello.kind == KIND_COUNTED ? PIECE : BUFFER, MSG_DONTWAIT);
    if (r <= 0)
        return r < 0 && errno == EAGAIN ? 0 : -1;
    if (p->hello.kind == KIND_STAMPED)
        take_stamped(p, buffer, (size_t)r);
    atomic_fetch_add_explicit(&counts[p->hello.id], (uint64_t)r, memory_order_relaxed);
    return 1;
}

static void serve(struct peer *p)
{
    int r = p->greeted ? 1 : greet(p);
    if (r > 0)
        r = p->hello.kind == KIND_ECHO ? serve_echo(p) : serve_bytes(p);
    if (r < 0)
        peer_close(p);
}

static void no_delay(int fd) { setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)); }

static void accept_all(int epoll, int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct peer *p = mem_zalloc(1, sizeof(*p));
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = p };
        p->fd = fd;
        no_delay(fd);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0)
            die("epoll");
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        die("accept");
}

static void *server(void *arg)
{
    int listener = *(int *)arg, epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = { .events = EPOLLIN }, got[EVENTS];
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e) < 0)
        die("epoll");
    for (;;) {
        int n = epoll_wait(epoll, got, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (got[i].data.ptr)
                serve(got[i].data.ptr);
            else
                accept_all(epoll, listener);
        }
    }
    return NULL;
}

static int listen_at(uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0 ||
        bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 65535) < 0)
        die("listen");
    return fd;
}

/* ------------------------------------------------------------ what the clients share */

static int dial(uint32_t kind, uint32_t id)
{
    struct hello h = { .kind = kind, .id = id, .size = opt.size };
    char ok;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&opt.to, sizeof(opt.to)) < 0)
        die("connect");
    no_delay(fd);
    if (!send_all(fd, &h, sizeof(h)) || !recv_all(fd, &ok, 1))
        die("hello");
    return fd;
}

static void wait_ns(uint64_t until)
{
    struct timespec t = { .tv_sec = (time_t)(until / NS_PER_S), .tv_nsec = (long)(until % NS_PER_S) };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static uint64_t for_seconds(void) { return (uint64_t)(opt.seconds * (double)NS_PER_S); }

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* "count", "p50_us" … of the samples, without braces */
static void print_samples(void)
{
    size_t n = atomic_load(&n_samples);
    if (n == 0)
        samples[n++] = 0;
    qsort(samples, n, sizeof(*samples), compare);
    printf("\"count\":%zu,\"min_us\":%.2f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"max_us\":%.2f", n, (double)samples[0] / 1e3,
           (double)samples[n / 2] / 1e3, (double)samples[n * 99 / 100] / 1e3, (double)samples[n - 1] / 1e3);
}

/* ------------------------------------------------------------ rtt */

static void run_rtt(void)
{
    uint8_t *message = mem_zalloc(1, opt.size);
    int fd = dial(KIND_ECHO, 0);
    uint64_t begin = now_ns(), sent = begin, end = begin + WARM_UP_NS + for_seconds();
    while (sent < end) {
        atomic_store(&sampling, sent > begin + WARM_UP_NS);
        if (!send_all(fd, message, opt.size) || !recv_all(fd, message, opt.size))
            die("echo");
        uint64_t now = now_ns();
        sample(now - sent);
        sent = now;
    }
    printf("{");
    print_samples();
    printf(",\"size\":%u}\n", opt.size);
    free(message);
}

/* ------------------------------------------------------------ flow */

static void send_until(int fd, uint8_t *message, uint64_t begin, uint64_t end)
{
    uint64_t i = 0, due = begin;
    while (due < end) {
        if (opt.rate > 0)
            wait_ns(due);
        memcpy(message, &due, sizeof(due));
        if (!send_all(fd, message, opt.size))
            die("send");
        i++;
        due = opt.rate > 0 ? begin + (uint64_t)((double)i * opt.size / opt.rate * (double)NS_PER_S) : now_ns();
    }
}

struct window { uint64_t begin, end, bytes, ns; };

/* Beside the client, who may be held up: what arrived within the window. */
static void *watch_window(void *arg)
{
    struct window *w = arg;
    wait_ns(w->begin);
    atomic_store(&sampling, true);
    uint64_t from = atomic_load(&counts[0]), since = now_ns();
    wait_ns(w->end);
    w->bytes = atomic_load(&counts[0]) - from;
    w->ns = now_ns() - since;
    return NULL;
}

static void run_flow(void)
{
    uint8_t *message = mem_zalloc(1, opt.size);
    int fd = dial(KIND_STAMPED, 0);
    uint64_t begin = now_ns();
    struct window w = { .begin = begin + WARM_UP_NS, .end = begin + WARM_UP_NS + for_seconds() };
    pthread_t watcher;
    if (pthread_create(&watcher, NULL, watch_window, &w) != 0)
        die("thread");
    send_until(fd, message, begin, w.end);
    pthread_join(watcher, NULL);
    shutdown(fd, SHUT_WR);
    if (recv(fd, message, 1, 0) != 0) /* the server has everything, and its last delay is noted */
        die("the end did not come back");
    printf("{");
    print_samples();
    printf(",\"size\":%u,\"gbit\":%.4f}\n", opt.size, (double)w.bytes * 8 / (double)w.ns);
    free(message);
}

/* ------------------------------------------------------------ many */

static void push(int epoll, uint64_t until)
{
    static uint8_t piece[PIECE];
    struct epoll_event got[EVENTS];
    while (now_ns() < until) {
        int n = epoll_wait(epoll, got, EVENTS, 10);
        for (int i = 0; i < n; i++)
            if (send(got[i].data.fd, piece, sizeof(piece), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
                die("send of a busy connection");
    }
}

static unsigned lost(const int *fd, unsigned n)
{
    unsigned gone = 0;
    char byte;
    for (unsigned i = 0; i < n; i++)
        gone += recv(fd[i], &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN;
    return gone;
}

static void print_shares(const uint64_t *before, uint64_t ns)
{
    double sum = 0, squares = 0, least = 0, most = 0;
    for (unsigned i = 0; i < opt.busy; i++) {
        double share = (double)(atomic_load(&counts[opt.idle + i]) - before[i]);
        sum += share;
        squares += share * share;
        least = i == 0 ? share : MIN(least, share);
        most = MAX(most, share);
    }
    printf("\"gbit\":%.4f,\"min_bytes\":%.0f,\"max_bytes\":%.0f,\"max_by_min\":%.3f,\"jain\":%.4f", sum * 8 / (double)ns, least, most,
           least > 0 ? most / least : 1e9, squares > 0 ? sum * sum / (opt.busy * squares) : 0.0);
}

static void run_many(void)
{
    unsigned n = opt.idle + opt.busy;
    int *fd = mem_zalloc(n, sizeof(*fd)), epoll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t *before = mem_zalloc(opt.busy, sizeof(*before)), begin = now_ns(), took, since;
    for (unsigned i = 0; i < n; i++) {
        struct epoll_event e = { .events = EPOLLOUT };
        e.data.fd = fd[i] = dial(KIND_COUNTED, i);
        if (i >= opt.idle && epoll_ctl(epoll, EPOLL_CTL_ADD, fd[i], &e) < 0)
            die("epoll");
    }
    took = now_ns() - begin;
    printf("{\"up\":%u}\n", n);
    fflush(stdout);
    push(epoll, now_ns() + WARM_UP_NS * 2);
    for (unsigned i = 0; i < opt.busy; i++)
        before[i] = atomic_load(&counts[opt.idle + i]);
    since = now_ns();
    push(epoll, since + for_seconds());
    printf("{");
    print_shares(before, now_ns() - since);
    printf(",\"idle_lost\":%u,\"up_seconds\":%.3f}\n", lost(fd, opt.idle), (double)took / 1e9);
    free(before);
    free(fd);
}

/* ------------------------------------------------------------ connect */

struct attempt { int fd; bool asked; uint64_t since; };

static uint64_t ok_count, error_count;

static void attempt_begin(int epoll, struct attempt *a)
{
    struct epoll_event e = { .events = EPOLLOUT, .data.ptr = a };
    a->since = now_ns();
    a->asked = false;
    a->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd < 0)
        die("socket");
    if (connect(a->fd, (const struct sockaddr *)&opt.to, sizeof(opt.to)) < 0 && errno != EINPROGRESS)
        die("connect");
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, a->fd, &e) < 0)
        die("epoll");
}

static void attempt_end(int epoll, struct attempt *a, bool ok)
{
    close(a->fd);
    if (ok)
        sample(now_ns() - a->since);
    if (atomic_load_explicit(&sampling, memory_order_relaxed))
        *(ok ? &ok_count : &error_count) += 1;
    attempt_begin(epoll, a);
}

static void attempt_go_on(int epoll, struct attempt *a)
{
    struct hello h = { .kind = KIND_ONCE };
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = a };
    char answer;
    if (a->asked) {
        attempt_end(epoll, a, recv(a->fd, &answer, 1, MSG_DONTWAIT) == 1);
        return;
    }
    a->asked = true;
    if (send(a->fd, &h, sizeof(h), MSG_NOSIGNAL) != sizeof(h))
        attempt_end(epoll, a, false);
    else if (epoll_ctl(epoll, EPOLL_CTL_MOD, a->fd, &e) < 0)
        die("epoll");
}

static void run_connect(void)
{
    struct attempt *all = mem_zalloc(opt.at_once, sizeof(*all));
    struct epoll_event got[EVENTS];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t begin = now_ns() + WARM_UP_NS, end = begin + for_seconds(), now;
    for (unsigned i = 0; i < opt.at_once; i++)
        attempt_begin(epoll, &all[i]);
    while ((now = now_ns()) < end) {
        atomic_store(&sampling, now >= begin);
        int n = epoll_wait(epoll, got, EVENTS, 10);
        for (int i = 0; i < n; i++)
            attempt_go_on(epoll, got[i].data.ptr);
    }
    printf("{\"per_s\":%.1f,\"errors\":%llu,", (double)ok_count / opt.seconds, (unsigned long long)error_count);
    print_samples();
    printf("}\n");
    free(all);
}

/* ------------------------------------------------------------ sink */

static void run_sink(void)
{
    int listener = listen_at(opt.port), fd;
    uint64_t bytes = 0, begin = 0;
    ssize_t n;
    struct pollfd p = { .fd = listener, .events = POLLIN };
    if (poll(&p, 1, -1) < 0 || (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
        die("accept");
    while ((n = recv(fd, buffer, BUFFER, 0)) > 0) {
        if (begin == 0)
            begin = now_ns();
        bytes += (uint64_t)n;
    }
    if (n < 0)
        die("recv");
    double seconds = (double)(now_ns() - begin) / 1e9;
    printf("{\"bytes\":%llu,\"seconds\":%.6f,\"gbit\":%.4f}\n", (unsigned long long)bytes, seconds, (double)bytes * 8 / 1e9 / seconds);
    close(fd);
    close(listener);
}

/* ------------------------------------------------------------ main */

static const struct mode { const char *name; void (*run)(void); bool serves; } modes[] = {
    { "rtt", run_rtt, true }, { "flow", run_flow, true }, { "many", run_many, true }, { "connect", run_connect, true }, { "sink", run_sink, false },
};

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: tcpload rtt|flow|many|connect|sink --port PORT [--to ADDRESS:PORT] [--size BYTES] [--seconds S] [--rate BYTES_PER_S]\n"
                    "                [--idle N] [--busy N] [--at-once N]\n");
    exit(64);
}

static void parse_to(char *text)
{
    char *colon = strrchr(text, ':');
    if (!colon)
        usage();
    *colon = 0;
    opt.to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1)) };
    if (inet_pton(AF_INET, text, &opt.to.sin_addr) != 1)
        usage();
}

static void parse(int argc, char **argv)
{
    static const struct option table[] = {
        { "port", 1, NULL, 'p' }, { "to", 1, NULL, 't' }, { "size", 1, NULL, 's' }, { "seconds", 1, NULL, 'S' }, { "rate", 1, NULL, 'r' },
        { "idle", 1, NULL, 'i' }, { "busy", 1, NULL, 'b' }, { "at-once", 1, NULL, 'a' }, { NULL, 0, NULL, 0 },
    };
    int c;
    while ((c = getopt_long(argc, argv, "", table, NULL)) >= 0) {
        switch (c) {
        case 'p': opt.port = (uint16_t)atoi(optarg); break;
        case 't': parse_to(optarg); break;
        case 's': opt.size = (uint32_t)atoi(optarg); break;
        case 'S': opt.seconds = atof(optarg); break;
        case 'r': opt.rate = atof(optarg); break;
        case 'i': opt.idle = (uint32_t)atoi(optarg); break;
        case 'b': opt.busy = (uint32_t)atoi(optarg); break;
        case 'a': opt.at_once = (uint32_t)atoi(optarg); break;
        default: usage();
        }
    }
    if (optind + 1 != argc || opt.port == 0 || opt.size < sizeof(uint64_t) || opt.size > BUFFER || opt.seconds <= 0)
        usage();
    opt.mode = argv[optind];
    if (opt.to.sin_port == 0)
        opt.to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(opt.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

int main(int argc, char **argv)
{
    const struct mode *m = NULL;
    struct rlimit files;
    pthread_t thread;
    int listener;
    parse(argc, argv);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        if (str_eq(modes[i].name, opt.mode))
            m = &modes[i];
    if (!m)
        usage();
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1UL);
    alarm((unsigned)opt.seconds + PATIENCE_S);
    buffer = mem_zalloc(1, BUFFER);
    counts = mem_zalloc(opt.idle + opt.busy + 1, sizeof(*counts));
    samples = mem_zalloc(SAMPLES, sizeof(*samples));
    if (m->serves) {
        listener = listen_at(opt.port);
        if (pthread_create(&thread, NULL, server, &listener) != 0)
            die("thread");
    }
    m->run();
    return fflush(stdout) == 0 ? 0 : 1;
}
