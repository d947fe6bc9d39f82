/* Load on the control endpoint that Python's gRPC, which needs a millisecond for a call, cannot make: sessions of scistream.Control, arranged in the order
 * of SciStream's own client without its sleeps. One process, one loop; each client has a connection of its own and one session after the other.
 *
 *   ctlload calls --gateway PORT:CA_FILE --sessions N [--clients N] [--ports N] [--target HOST:PORT] [--hold]
 *       req and hello at once, then update, then release
 *   ctlload pair  --gateway PORT:CA_FILE --gateway PORT:CA_FILE --sessions N [--ports N] --target 127.0.0.1:PORT [--hold]
 *       one client: inbound at the first gateway, outbound at the second; then a byte through both to the target, which this program is; release at both
 *
 * One JSON object on standard output: how long each call took, and the whole. With --hold nothing is released (and by pair nothing sent): {"up":N} with
 * the last listener, and the end when standard input ends. A call that fails ends the program with status 1 and says why.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/socket.h>

#include "ctrl/grpc.h"
#include "ctrl/scistream.pb-c.h"

#define MESSAGE_MAX 16384
#define ANSWER_MAX (64U << 10)
#define PATIENCE_NS (60 * NS_PER_S)
#define GATEWAYS 2

enum call { REQ, HELLO, UPDATE, RELEASE, CALLS };
static const char *const paths[CALLS] = { "/scistream.Control/req", "/scistream.Control/hello", "/scistream.Control/update", "/scistream.Control/release" };

/* What is measured: the calls, then these. */
enum { WHOLE = CALLS, READY, FIRST_BYTE, SERIES };
static struct series { const char *name; uint64_t *ns; size_t n, room; } series[SERIES] = {
    { .name = "req" }, { .name = "hello" }, { .name = "update" }, { .name = "release" }, { .name = "all" }, { .name = "ready" }, { .name = "first_byte" },
};

struct leg;
struct ask { struct leg *leg; enum call what; uint64_t since; };

/* A session at one gateway, from req to update, then its release. */
struct leg {
    struct grpc_conn *conn;
    const char *role;
    char uid[37];
    char *const *to;           /* of its update */
    char **listeners;          /* heap */
    struct ask ask[CALLS];
    unsigned waits;            /* calls that are not answered yet */
    void (*next)(struct leg *); /* they are */
    struct client *client;
};

struct client { struct leg leg[GATEWAYS]; uint64_t since; unsigned up; };

static struct {
    const char *mode, *ca[GATEWAYS];
    uint16_t port[GATEWAYS], app_port;
    unsigned n_gateways, sessions, clients, ports;
    char *target[2];
    bool hold;
} opt = { .sessions = 100, .clients = 1, .ports = 5 };

static struct loop loop;
static unsigned n_ready, n_begun, n_done;
static int app = -1;               /* the application's listening socket */
static char last_listener[ADDR_TEXT];

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "ctlload: %s: %s\n", what, why);
    exit(1);
}

/* ------------------------------------------------------------ samples */

static void sample(unsigned which, uint64_t since)
{
    struct series *s = &series[which];
    if (s->n == s->room) {
        s->room = s->room ? 2 * s->room : 1024;
        s->ns = realloc(s->ns, s->room * sizeof(*s->ns));
        if (!s->ns)
            die("samples", "out of memory");
    }
    s->ns[s->n++] = now_ns() - since;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void print_series(struct series *s)
{
    double sum = 0;
    if (s->n == 0)
        return;
    qsort(s->ns, s->n, sizeof(*s->ns), compare);
    for (size_t i = 0; i < s->n; i++)
        sum += (double)s->ns[i];
    printf("\"%s\":{\"count\":%zu,\"mean_us\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f},", s->name, s->n, sum / (double)s->n / 1e3,
           (double)s->ns[s->n / 2] / 1e3, (double)s->ns[s->n * 99 / 100] / 1e3, (double)s->ns[s->n - 1] / 1e3);
}

/* ------------------------------------------------------------ calls */

static void send_call(struct leg *l, enum call what, const ProtobufCMessage *m);

static void update(struct leg *l)
{
    Scistream__UpdateTargets m = SCISTREAM__UPDATE_TARGETS__INIT;
    m.uid = l->uid;
    m.role = (char *)(uintptr_t)l->role;
    m.remote_listeners = (char **)(uintptr_t)l->to;
    m.n_remote_listeners = strv_len(l->to);
    send_call(l, UPDATE, &m.base);
}

static void on_message(struct grpc_call *c, const uint8_t *data, size_t len)
{
    const struct ask *a = grpc_user(c);
    Scistream__Response *r = a->what == REQ ? scistream__response__unpack(NULL, len, data) : NULL;
    if (!r)
        return;
    strv_free(a->leg->listeners);
    a->leg->listeners = mem_zalloc(r->n_listeners + 1, sizeof(char *));
    for (size_t i = 0; i < r->n_listeners; i++)
        a->leg->listeners[i] = mem_strdup(r->listeners[i]);
    scistream__response__free_unpacked(r, NULL);
}

static void on_closed(struct grpc_call *c, enum grpc_status s, const char *text)
{
    const struct ask *a = grpc_user(c);
    struct leg *l = a->leg;
    if (s != GRPC_OK) {
        fprintf(stderr, "%s: ", grpc_status_name(s));
        die(paths[a->what], text);
    }
    sample(a->what, a->since);
    if (--l->waits > 0)
        return;
    if (a->what == REQ || a->what == HELLO)
        update(l);
    else
        l->next(l);
}

static void send_call(struct leg *l, enum call what, const ProtobufCMessage *m)
{
    static const struct grpc_handlers handlers = { .message = on_message, .closed = on_closed };
    uint8_t data[MESSAGE_MAX];
    size_t len = protobuf_c_message_get_packed_size(m);
    l->ask[what] = (struct ask){ .leg = l, .what = what, .since = now_ns() };
    struct grpc_call *c = len <= sizeof(data) ? grpc_call(l->conn, paths[what], &handlers, ANSWER_MAX, PATIENCE_NS, &l->ask[what]) : NULL;
    if (!c || grpc_send(c, data, protobuf_c_message_pack(m, data)) < 0)
        die(paths[what], "the call cannot be made");
    l->waits++;
    grpc_half_close(c);
}

/* uid: NULL: a new one */
static void leg_open(struct leg *l, const char *uid, char *const *to, void (*next)(struct leg *))
{
    static unsigned serial;
    Scistream__Request q = SCISTREAM__REQUEST__INIT;
    Scistream__Hello h = SCISTREAM__HELLO__INIT;
    if (uid)
        str_copy(l->uid, sizeof(l->uid), uid);
    else
        snprintf(l->uid, sizeof(l->uid), "%08x-0000-1000-8000-%012x", (unsigned)getpid(), ++serial);
    l->to = to;
    l->next = next;
    q.uid = h.uid = l->uid;
    q.role = (char *)(uintptr_t)l->role;
    q.num_conn = (int32_t)opt.ports;
    q.rate = 10000;
    send_call(l, REQ, &q.base);
    static char prod[] = "PROD";
    h.role = prod;
    h.prod_listeners = opt.target;
    h.n_prod_listeners = 1;
    send_call(l, HELLO, &h.base);
}

static void leg_release(struct leg *l, void (*next)(struct leg *))
{
    Scistream__Release m = SCISTREAM__RELEASE__INIT;
    l->next = next;
    m.uid = l->uid;
    strv_free(l->listeners);
    l->listeners = NULL;
    send_call(l, RELEASE, &m.base);
}

/* ------------------------------------------------------------ sessions, one after the other */

static void begin(struct client *c);

static void done(struct client *c)
{
    n_done++;
    if (n_done == opt.sessions)
        loop_stop(&loop);
    begin(c);
}

static void stay(struct leg *l)
{
    str_copy(last_listener, sizeof(last_listener), l->listeners[0]);
    done(l->client);
}

static void on_released(struct leg *l)
{
    if (--l->client->up > 0)
        return;
    sample(WHOLE, l->client->since);
    done(l->client);
}

static void on_up(struct leg *l)
{
    l->client->up = 1;
    if (opt.hold)
        stay(l);
    else
        leg_release(l, on_released);
}

/* ------------------------------------------------------------ two gateways */

static struct sockaddr_in here(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int new_socket(void)
{
    const struct timeval patience = { .tv_sec = 10 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
        die("socket", strerror(errno));
    return fd;
}

static void listen_as_application(void)
{
    const struct sockaddr_in at = here(opt.app_port);
    app = new_socket();
    if (bind(app, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(app, 16) < 0)
        die("the application's port", strerror(errno));
}

/* A connection to the local listener of the outbound side reaches the application, and a byte by it. */
static void send_a_byte(const char *listener)
{
    const struct sockaddr_in to = here((uint16_t)atoi(strrchr(listener, ':') + 1));
    AUTO_FD int from = new_socket();
    char byte = 'x';
    if (connect(from, (const struct sockaddr *)&to, sizeof(to)) < 0 || send(from, &byte, 1, MSG_NOSIGNAL) != 1)
        die(listener, strerror(errno));
    AUTO_FD int at = accept4(app, NULL, NULL, SOCK_CLOEXEC);
    if (at < 0 || recv(at, &byte, 1, 0) != 1)
        die("no byte came through", strerror(errno));
}

static void on_both(struct leg *outbound)
{
    struct client *c = outbound->client;
    sample(READY, c->since);
    if (opt.hold) {
        stay(outbound);
        return;
    }
    send_a_byte(outbound->listeners[0]);
    sample(FIRST_BYTE, c->since);
    c->up = 2;
    leg_release(&c->leg[1], on_released);
    leg_release(&c->leg[0], on_released);
}

static void on_inbound(struct leg *inbound)
{
    struct client *c = inbound->client;
    leg_open(&c->leg[1], inbound->uid, inbound->listeners, on_both);
}

/* ------------------------------------------------------------ clients */

static void begin(struct client *c)
{
    if (n_begun == opt.sessions)
        return;
    n_begun++;
    c->since = now_ns();
    leg_open(&c->leg[0], NULL, opt.target, opt.n_gateways > 1 ? on_inbound : on_up);
}

static void on_ready(struct grpc_conn *conn UNUSED, void *user UNUSED)
{
    if (++n_ready == opt.clients * opt.n_gateways)
        loop_stop(&loop);
}

static void on_lost(struct grpc_conn *conn UNUSED, void *user UNUSED, const char *step, int rc UNUSED, const char *why)
{
    die(*step ? step : "connection", why);
}

static void dial(struct client *c, struct resolver *r, struct tls_ctx *const *tls)
{
    static const struct grpc_dialer dialer = { on_ready, on_lost };
    for (unsigned i = 0; i < opt.n_gateways; i++) {
        const struct grpc_target t = { .host = "127.0.0.1", .port = opt.port[i], .tls = tls[i], .tls_name = "localhost", .connect_ns = PATIENCE_NS,
                                       .silent_ns = PATIENCE_NS };
        c->leg[i].client = c;
        c->leg[i].role = i ? "CONS" : "PROD";
        c->leg[i].conn = grpc_dial(&loop, r, &t, &dialer, c);
    }
}

static void hang_up(struct client *c)
{
    for (unsigned i = 0; i < opt.n_gateways; i++) {
        grpc_hang_up(c->leg[i].conn);
        strv_free(c->leg[i].listeners);
    }
}

/* ------------------------------------------------------------ the whole */

static void report(double seconds)
{
    if (opt.hold) {
        char byte;
        printf("{\"up\":%u,\"listener\":\"%s\"}\n", n_done, last_listener);
        fflush(stdout);
        while (read(STDIN_FILENO, &byte, 1) > 0)
            ;
        return;
    }
    printf("{");
    for (unsigned i = 0; i < SERIES; i++)
        print_series(&series[i]);
    printf("\"sessions\":%u,\"seconds\":%.4f,\"per_s\":%.1f}\n", n_done, seconds, n_done / seconds);
}

static bool parse_gateway(char *text)
{
    char *colon = strchr(text, ':');
    if (!colon || opt.n_gateways == GATEWAYS)
        return false;
    opt.port[opt.n_gateways] = (uint16_t)atoi(text);
    opt.ca[opt.n_gateways++] = colon + 1;
    return true;
}

static bool parse_target(char *text)
{
    const char *colon = strrchr(text, ':');
    opt.target[0] = text;
    opt.app_port = colon ? (uint16_t)atoi(colon + 1) : 0;
    return opt.app_port != 0;
}

static bool parse(int argc, char **argv)
{
    static const struct option rows[] = {
        { "gateway", 1, NULL, 'g' }, { "sessions", 1, NULL, 's' }, { "clients", 1, NULL, 'c' }, { "ports", 1, NULL, 'p' },
        { "target", 1, NULL, 't' },  { "hold", 0, NULL, 'h' },     { NULL, 0, NULL, 0 },
    };
    static char nobody[] = "127.0.0.1:9";
    bool ok = parse_target(nobody);
    for (int o; ok && (o = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        switch (o) {
        case 'g': ok = parse_gateway(optarg); break;
        case 's': opt.sessions = (unsigned)atoi(optarg); break;
        case 'c': opt.clients = (unsigned)atoi(optarg); break;
        case 'p': opt.ports = (unsigned)atoi(optarg); break;
        case 't': ok = parse_target(optarg); break;
        case 'h': opt.hold = true; break;
        default: ok = false;
        }
    }
    opt.mode = ok && optind + 1 == argc ? argv[optind] : "";
    unsigned gateways = str_eq(opt.mode, "calls") ? 1 : str_eq(opt.mode, "pair") ? 2 : 0;
    return gateways && opt.n_gateways == gateways && opt.sessions && opt.clients && (gateways == 1 || opt.clients == 1);
}

int main(int argc, char **argv)
{
    char why[200] = "";
    struct tls_ctx *tls[GATEWAYS] = { NULL };
    if (!parse(argc, argv) || loop_init(&loop) < 0) {
        fprintf(stderr, "ctlload: see the head of tests/bench/ctlload.c\n");
        return 64;
    }
    struct client *all = mem_zalloc(opt.clients, sizeof(*all));
    struct resolver *r = resolver_new(&loop);
    for (unsigned i = 0; i < opt.n_gateways; i++)
        if (!(tls[i] = tls_ctx_client(opt.ca[i], NULL, "h2", why, sizeof(why))))
            die(opt.ca[i], why);
    if (opt.n_gateways > 1 && !opt.hold)
        listen_as_application();
    for (unsigned i = 0; i < opt.clients; i++)
        dial(&all[i], r, tls);
    loop_run(&loop);
    uint64_t since = now_ns();
    for (unsigned i = 0; i < opt.clients; i++)
        begin(&all[i]);
    loop_run(&loop);
    report((double)(now_ns() - since) / 1e9);
    for (unsigned i = 0; i < opt.clients; i++)
        hang_up(&all[i]);
    for (unsigned i = 0; i < opt.n_gateways; i++)
        tls_ctx_free(tls[i]);
    for (unsigned i = 0; i < SERIES; i++)
        free(series[i].ns);
    resolver_free(r);
    loop_fini(&loop);
    fd_close(&app);
    free(all);
    return 0;
}
