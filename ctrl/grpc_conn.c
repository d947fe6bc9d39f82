/* A connection of either side: TLS, bytes to and from HTTP/2, delivery to calls, liveness, closing.
 *
 * Happy path: (side->begin) -> grpc_conn_secure -> TLS handshake -> HTTP/2 up -> read, deliver, write at each event -> GOAWAY, FIN,
 * the peer's FIN. Everything runs in run(), from a socket event, the timer or the kick; what users call only notes and kicks.
 * Failures go to side->failed, once: end of file, errno, TLS, HTTP/2 broken or flooded, silence. With calls open a peer that sent
 * nothing for a third of silent_ns gets a PING; when nothing comes for the other two thirds it is dead, whatever its kernel says.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "ctrl/grpc_call.h"
#include "src/core/units.h"

#define READS_A_TURN 16
#define READ_SIZE (16U << 10)
#define WRITE_BATCH (64U << 10)
#define CLOSING_NS NS_PER_S

/* ------------------------------------------------------------ life */

void grpc_conn_enter(struct grpc_conn *c) { c->busy++; }

static void bury(struct grpc_conn *c)
{
    struct list *n;
    while ((n = list_pop(&c->grave)))
        grpc_call_free(list_entry(n, struct grpc_call, node));
}

void grpc_conn_leave(struct grpc_conn *c)
{
    if (--c->busy > 0)
        return;
    bury(c);
    if (c->state == CONN_OVER)
        c->side->over(c);
}

void grpc_conn_kick(struct grpc_conn *c)
{
    if (c->state != CONN_OVER)
        loop_defer(c->sock.loop, &c->kick);
}

void grpc_conn_alarm(struct grpc_conn *c, uint64_t delay_ns) { loop_timer(c->sock.loop, &c->timer, delay_ns); }

void grpc_conn_drop(struct grpc_conn *c)
{
    loop_timer_stop(c->sock.loop, &c->timer);
    sock_close(&c->sock);
    h2_free(c->h2);
    c->h2 = NULL;
    grpc_buf_free(&c->out);
    free(c->peer);
    free(c->local);
    free(c->bye);
    c->peer = c->bye = NULL;
    c->local = NULL;
    c->came_up = false;
}

void grpc_conn_free(struct grpc_conn *c)
{
    grpc_conn_drop(c);
    defer_cancel(&c->kick);
    bury(c);
    free(c);
}

void grpc_conn_fail(struct grpc_conn *c, int rc, const char *why)
{
    if (c->state != CONN_OVER)
        c->side->failed(c, rc, why);
}

void grpc_conn_end_calls(struct grpc_conn *c, enum grpc_status s, const char *text)
{
    while (!list_empty(&c->calls)) {
        struct grpc_call *call = list_entry(c->calls.next, struct grpc_call, node);
        grpc_call_end(call, s, text);
        grpc_call_deliver(call); /* takes it off the list */
    }
}

void grpc_conn_name(struct grpc_conn *c)
{
    union sockaddr_any a;
    struct ucred cred;
    socklen_t len = sizeof(cred);
    char text[ADDR_TEXT];
    if (c->peer)
        return;
    c->local = mem_zalloc(1, sizeof(*c->local));
    sock_local(&c->sock, c->local);
    sock_peer(&c->sock, &a);
    if (c->local->sa.sa_family != AF_UNIX) {
        c->peer = mem_strdup(addr_format(&a, text));
        return;
    }
    if (getsockopt(c->sock.io.fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0)
        c->uid = (int64_t)cred.uid;
    c->peer = mem_printf("unix (uid %lld)", (long long)c->uid);
}

/* ------------------------------------------------------------ bytes */

static ssize_t gather(struct grpc_conn *c)
{
    const uint8_t *data;
    ssize_t n = 1;
    while (c->out.len < WRITE_BATCH && (n = h2_output(c->h2, &data)) > 0)
        if (grpc_buf_add(&c->out, data, (size_t)n) < 0)
            return -ENOMEM;
    return n < 0 ? n : (ssize_t)c->out.len;
}

/* 0: all is in the kernel, or it takes no more; else why not. */
static int write_all(struct grpc_conn *c)
{
    ssize_t n = 0;
    while (c->sock.can_write && (n = gather(c)) > 0) {
        struct iovec v = { .iov_base = c->out.mem + c->out.at, .iov_len = c->out.len };
        n = sock_sendv(&c->sock, &v, 1);
        if (n < 0)
            return n == -EAGAIN ? 0 : (int)n;
        grpc_buf_eat(&c->out, (size_t)n);
    }
    if (n < 0)
        return (int)n;
    int rc = sock_flush(&c->sock);
    return rc == -EAGAIN ? 0 : rc;
}

/* What nghttp2 noted, now that it has returned. */
static void deliver(struct grpc_conn *c)
{
    struct list *n;
    if (c->came_up) {
        c->came_up = false;
        c->side->up(c);
    }
    while ((n = list_pop(&c->ready)))
        grpc_call_deliver(list_entry(n, struct grpc_call, ready));
}

static void feed(struct grpc_conn *c, const uint8_t *data, size_t n)
{
    c->heard_ns = now_ns();
    int rc = h2_feed(c->h2, data, n);
    deliver(c);
    if (rc < 0 && c->state != CONN_OVER) {
        (void)write_all(c); /* GOAWAY */
        grpc_conn_fail(c, rc, h2_why(c->h2));
    }
}

/* False: nothing more to read now. */
static bool read_some(struct grpc_conn *c)
{
    uint8_t buf[READ_SIZE];
    ssize_t n = sock_recv(&c->sock, buf, sizeof(buf));
    if (n > 0)
        feed(c, buf, (size_t)n);
    else if (n == 0)
        grpc_conn_fail(c, -SST_ELOST, c->bye ? c->bye : "connection closed by the peer");
    else if (n != -EAGAIN)
        grpc_conn_fail(c, (int)n, c->sock.tls ? tls_why(c->sock.tls) : err_text((int)n));
    return n > 0;
}

static bool open_for_bytes(const struct grpc_conn *c) { return c->state == CONN_HTTP2 || c->state == CONN_UP; }

static void read_all(struct grpc_conn *c)
{
    if (!c->due && !c->sock.can_read && !sock_buffered(&c->sock))
        return;
    for (int i = 0; open_for_bytes(c) && i < READS_A_TURN; i++)
        if (!read_some(c))
            return;
    grpc_conn_kick(c); /* edge-triggered: nobody else reminds us of the rest */
}

/* ------------------------------------------------------------ liveness */

static void dead(struct grpc_conn *c)
{
    char time[UNITS_TEXT], why[64];
    snprintf(why, sizeof(why), "peer is silent for %s", units_human_time(time, c->silent_ns));
    grpc_conn_fail(c, -SST_EPEERDEAD, why);
}

static void ping(struct grpc_conn *c)
{
    c->ping_ns = now_ns();
    h2_ping(c->h2, c->ping_ns);
}

/* What has come was read just before, so that our own pause is not taken for the peer's silence. */
static void watch(struct grpc_conn *c)
{
    uint64_t now = now_ns(), third = c->silent_ns / 3;
    bool asked = c->ping_ns > c->heard_ns;
    uint64_t due = asked ? c->ping_ns + 2 * third : c->heard_ns + third;
    if (now >= due && asked) {
        dead(c);
        return;
    }
    if (now >= due) {
        ping(c);
        due = now + 2 * third;
    }
    grpc_conn_alarm(c, due - now);
}

void grpc_conn_calls(struct grpc_conn *c, int more)
{
    c->n_calls += (unsigned)more;
    if (c->state != CONN_UP)
        return;
    if (more > 0 && c->n_calls == 1) {
        c->called = true;
        c->heard_ns = now_ns(); /* silence before a call does not count */
        if (c->silent_ns)
            watch(c);
        else
            loop_timer_stop(c->sock.loop, &c->timer);
    } else if (c->n_calls == 0) {
        c->side->idle(c);
    }
}

void grpc_conn_pong(void *conn, uint64_t mark)
{
    struct grpc_conn *c = conn;
    if (mark == c->ping_ns && mark)
        c->rtt_ns = MAX(now_ns() - mark, 1U);
}

void grpc_conn_up(void *conn)
{
    struct grpc_conn *c = conn;
    c->state = CONN_UP;
    c->came_up = true;
    ping(c);
}

void grpc_conn_goaway(void *conn, uint32_t code, const char *text)
{
    struct grpc_conn *c = conn;
    free(c->bye);
    c->bye = mem_printf("ended by the peer (HTTP/2 error %u%s%s)", code, *text ? ": " : "", text);
}

/* ------------------------------------------------------------ closing */

void grpc_conn_finish(struct grpc_conn *c)
{
    if (c->graceful)
        return;
    c->graceful = true;
    h2_goaway(c->h2, H2_NO_ERROR, "");
    grpc_conn_alarm(c, CLOSING_NS);
    grpc_conn_kick(c);
}

void grpc_conn_close(struct grpc_conn *c, enum grpc_status s, const char *text)
{
    if (c->state == CONN_OVER)
        return;
    grpc_conn_enter(c);
    list_for_each(n, &c->calls)
        grpc_call_abort(list_entry(n, struct grpc_call, node), s, text);
    if (open_for_bytes(c)) {
        h2_goaway(c->h2, H2_NO_ERROR, "");
        (void)write_all(c);
        (void)sock_shut(&c->sock);
    }
    c->state = CONN_OVER;
    grpc_conn_end_calls(c, s, text);
    grpc_conn_leave(c);
}

void grpc_conn_linger(struct grpc_conn *c)
{
    (void)sock_shut(&c->sock);
    c->state = CONN_CLOSING;
    grpc_conn_alarm(c, CLOSING_NS);
}

static void discard(struct grpc_conn *c)
{
    uint8_t buf[READ_SIZE];
    ssize_t n = 1;
    for (int i = 0; n > 0 && i < READS_A_TURN; i++)
        n = sock_recv(&c->sock, buf, sizeof(buf));
    if (c->due || (n <= 0 && n != -EAGAIN))
        c->state = CONN_OVER;
    else if (n > 0)
        grpc_conn_kick(c);
}

/* ------------------------------------------------------------ the one place where it runs */

static void start_h2(struct grpc_conn *c)
{
    const struct h2_config conf = { .server = c->side->server, .streams = c->streams };
    if (c->step_ns)
        grpc_conn_alarm(c, c->step_ns);
    c->h2 = h2_new(&conf, &grpc_h2_events, c);
    if (c->h2)
        c->state = CONN_HTTP2;
    else
        grpc_conn_fail(c, -ENOMEM, "out of memory");
}

static void handshake(struct grpc_conn *c)
{
    int rc = sock_handshake(&c->sock);
    if (rc == 0)
        start_h2(c);
    else if (rc != -EAGAIN)
        grpc_conn_fail(c, rc, tls_why(c->sock.tls));
}

void grpc_conn_secure(struct grpc_conn *c)
{
    c->state = CONN_TLS;
    if (c->step_ns)
        grpc_conn_alarm(c, c->step_ns);
    handshake(c);
}

static void on_due(struct grpc_conn *c)
{
    if (c->n_calls && c->silent_ns)
        watch(c);
    else
        c->side->late(c);
}

/* HTTP/2 has nothing more to say or to hear. */
static void session_over(struct grpc_conn *c)
{
    if (!c->graceful)
        grpc_conn_fail(c, c->bye ? -SST_ELOST : -SST_EPROTO, c->bye ? c->bye : h2_why(c->h2));
    else if (c->out.len == 0 && sock_flush(&c->sock) == 0)
        grpc_conn_linger(c);
}

static void exchange(struct grpc_conn *c)
{
    read_all(c);
    if (c->due && open_for_bytes(c))
        on_due(c);
    deliver(c);
    int rc = open_for_bytes(c) ? write_all(c) : 0;
    if (rc < 0)
        grpc_conn_fail(c, rc, err_text(rc));
    else if (open_for_bytes(c) && !h2_alive(c->h2))
        session_over(c);
    if (!list_empty(&c->ready))
        grpc_conn_kick(c);
}

static void run(struct grpc_conn *c)
{
    grpc_conn_enter(c);
    if (c->state < CONN_TLS)
        c->side->begin(c);
    else if (c->state == CONN_TLS)
        handshake(c);
    if (c->state == CONN_TLS && c->due)
        c->side->late(c);
    if (open_for_bytes(c))
        exchange(c);
    else if (c->state == CONN_CLOSING)
        discard(c);
    c->due = false;
    grpc_conn_leave(c);
}

static void on_timer(struct timer *t)
{
    struct grpc_conn *c = container_of(t, struct grpc_conn, timer);
    c->due = true;
    run(c);
}

static void on_kick(struct defer *d) { run(container_of(d, struct grpc_conn, kick)); }
void grpc_conn_event(struct sock *s) { run(container_of(s, struct grpc_conn, sock)); }

struct grpc_conn *grpc_conn_new(struct loop *l, const struct grpc_side *side)
{
    struct grpc_conn *c = mem_zalloc(1, sizeof(*c));
    c->sock = (struct sock){ .io.fd = -1, .loop = l };
    c->side = side;
    c->uid = -1;
    c->timer.fire = on_timer;
    defer_init(&c->kick, on_kick);
    list_init(&c->node);
    list_init(&c->calls);
    list_init(&c->ready);
    list_init(&c->grave);
    return c;
}

/* ------------------------------------------------------------ what users ask of a connection */

uint64_t grpc_conn_rtt_ns(const struct grpc_conn *c) { return c->rtt_ns; }
const char *grpc_conn_peer(const struct grpc_conn *c) { return c->peer ? c->peer : ""; }
struct tls *grpc_conn_tls(const struct grpc_conn *c) { return c->sock.tls; }
int64_t grpc_conn_uid(const struct grpc_conn *c) { return c->uid; }
const union sockaddr_any *grpc_conn_local(const struct grpc_conn *c) { return c->local; }
