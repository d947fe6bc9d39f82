/* The tcp transport: a plain TCP socket at one end of a channel, for applications that know nothing of us. Bytes come and go in order; the kernel's
 * socket buffers are the back-pressure.
 *
 * Happy path: connect adopts a socket that somebody accepted (spec.fd), or dials the addresses of spec one after the other; then a PROXY header, if
 * wanted -> up. fill receives until end of file ends the ring; drain sends and releases; shut half-closes (FIN) and, with spec.settle, is
 * through when the peer's kernel has everything. Duplex, each direction ends for itself.
 * Simplex, as a sink: what the peer says is read and dropped, lest it be reset for unread bytes. As a source, the peer gets its FIN at the end.
 * Failures: refused, unreachable, no answer within connect_ns, reset, time-out of keepalive. The socket is set to reset when it is closed, from
 * the start until a clean end: an abort, or the death of this process, is never an end of file.
 * With spec.psk it is an end of another kind: tcp_tls.c, which uses what is here for all but the bytes.
 * What a peer said before its reset waits in the socket, and is read when the failure is known already (last_words). Our own reset would take away
 * from the other peer what its kernel has not got yet: where it passes on a reset, or a cut, it waits for that, while there is progress (sock_leave).
 */
#include <stdio.h>

#include "tcp/tcp_priv.h"
#include "tcp/tls.h"

#define DROP_MAX (64U << 10)
#define SETTLE_NS (20 * NS_PER_MS) /* between two looks whether the peer's kernel has everything */
#define LEAVE_MAX_NS (30 * NS_PER_S) /* for one that takes a little now and then: nothing else ends a closing one */
#define LEAVE_LOOK_NS NS_PER_MS     /* the first look; others are further apart */

/* A reset, or a host that is gone, has a number that says so on the way to the other end; what went wrong with dialing keeps its own.
 * The kernel says EPIPE of a reset behind an end of file, and tells an error once: a read behind it says end of file in any case. */
int tcp_broken(struct tcp *t, int rc)
{
    bool reset = rc == -ECONNRESET || rc == -EPIPE || rc == -ENOTCONN, first = t->x.state == XPORT_UP;
    t->fin_first = first ? rc == -EPIPE || rc == -ENOTCONN : t->fin_first;
    t->x.last_words = first && t->x.in && !t->s.tls && rc != -ENOMEM && rc != -ENOBUFS; /* after these the socket lives, and would say more and more */
    return xport_fail(&t->x, reset ? -SST_ERESET : rc, "tcp with %s: %s", t->peer,
                      reset ? "reset by the peer" : t->s.tls ? tls_why(t->s.tls) : err_text(rc));
}

/* ------------------------------------------------------------ events */

static void leave(struct tcp *t);

static void on_event(struct sock *s)
{
    struct tcp *t = container_of(s, struct tcp, s);
    if (t->x.state == XPORT_CLOSING) {
        leave(t);
        return;
    }
    if (t->x.in && s->can_read && ring_clogged(t->x.in))
        sock_deafen(s);
    xport_kick(&t->x);
}

void tcp_become_up(struct tcp *t, const char *detail)
{
    loop_timer_stop(t->x.env->loop, &t->patience);
    str_copy(t->x.device, sizeof(t->x.device), "tcp");
    str_copy(t->x.detail, sizeof(t->x.detail), detail);
    sock_spread(&t->s, t->spread);
    xport_set_up(&t->x);
}

/* ------------------------------------------------------------ connect */

static int dial(struct tcp *t);

static int dial_next(struct tcp *t, int rc)
{
    sock_close(&t->s);
    if (++t->at < t->n_to)
        return dial(t);
    loop_timer_stop(t->x.env->loop, &t->patience);
    return xport_fail(&t->x, rc, "tcp to %s: %s", t->peer, rc == -SST_ETIMEOUT ? "no answer in time" : err_text(rc));
}

static void on_patience(struct timer *timer)
{
    struct tcp *t = container_of(timer, struct tcp, patience);
    if (t->x.state == XPORT_OPENING && t->s.tls)
        tcp_tls_late(t);
    else if (t->x.state == XPORT_OPENING)
        dial_next(t, -SST_ETIMEOUT);
    else if (t->x.state == XPORT_CLOSING)
        leave(t);
    else
        xport_kick(&t->x);
}

static int dial(struct tcp *t)
{
    t->head_at = 0;
    t->x.peer = t->to[t->at];
    addr_format(&t->x.peer, t->peer);
    const struct sock_peer_spec p = { .from = t->source.sa.sa_family ? &t->source : NULL, .to = &t->to[t->at], .keep_ns = t->keep_ns };
    int rc = sock_connect_peer(&t->s, t->x.env->loop, &p, on_event);
    if (rc < 0)
        return dial_next(t, rc);
    loop_timer(t->x.env->loop, &t->patience, t->connect_ns);
    return 0;
}

static int adopt(struct tcp *t, const struct xport_spec *s)
{
    int rc = (s->tuned ? sock_adopt : sock_attach)(&t->s, t->x.env->loop, s->fd, on_event);
    if (rc < 0)
        return xport_fail(&t->x, rc, "tcp: a connection that was accepted: %s", err_text(rc));
    if (!s->tuned)
        sock_tune_peer(s->fd, t->keep_ns);
    if (s->from)
        t->x.peer = *s->from;
    else
        sock_peer(&t->s, &t->x.peer);
    addr_format(&t->x.peer, t->peer);
    if (t->psk)
        loop_timer(t->x.env->loop, &t->patience, t->connect_ns);
    else
        tcp_become_up(t, "plaintext");
    return 0;
}

static int take_addresses(struct tcp *t, const struct xport_spec *s)
{
    if (s->source && *s->source && addr_numeric(s->source, 0, &t->source) < 0)
        return xport_fail(&t->x, -EINVAL, "tcp: source '%s' is no numeric address", s->source);
    while (s->addresses && s->addresses[t->n_to])
        t->n_to++;
    t->to = mem_zalloc(t->n_to + 1, sizeof(*t->to));
    for (size_t i = 0; i < t->n_to; i++)
        if (addr_numeric(s->addresses[i], s->port, &t->to[i]) < 0)
            return xport_fail(&t->x, -EINVAL, "tcp: '%s' is no numeric address", s->addresses[i]);
    return t->n_to ? 0 : xport_fail(&t->x, -SST_ERESOLVE, "tcp: there is no address to connect to yet");
}

static int tcp_connect(struct xport *x, const struct xport_spec *s)
{
    struct tcp *t = tcp_of(x);
    x->state = XPORT_OPENING;
    t->keep_ns = s->keep_ns;
    t->settle = s->settle;
    t->spread = s->spread;
    t->connect_ns = s->connect_ns ? s->connect_ns : x->env->conf->g.attach_timeout;
    if (s->psk)
        tcp_tls_prepare(t, s->psk);
    if (s->fd >= 0)
        return adopt(t, s);
    int rc = take_addresses(t, s);
    if (rc == 0 && s->proxy)
        t->head_len = proxy_header(s->proxy_from, s->proxy_to, t->head);
    return rc < 0 ? rc : dial(t);
}

static int tcp_accept(struct xport *x, const struct xport_spec *s UNUSED, struct xport_answer *a UNUSED)
{
    return xport_fail(x, -EINVAL, "tcp: peers are accepted by a door, not by an end of a channel");
}

/* It fits into an empty socket buffer, but nothing promises that. */
static int send_head(struct tcp *t)
{
    struct iovec iov = { t->head + t->head_at, t->head_len - t->head_at };
    ssize_t n = iov.iov_len ? sock_sendv(&t->s, &iov, 1) : 0;
    if (n > 0)
        t->head_at += (size_t)n;
    return n < 0 ? (int)n : t->head_at == t->head_len ? 0 : -EAGAIN;
}

int tcp_open_step(struct tcp *t)
{
    int rc = t->s.connecting ? sock_connected(&t->s) : 0;
    if (rc < 0 && rc != -EAGAIN)
        return dial_next(t, rc);
    if (rc == 0)
        rc = send_head(t);
    if (rc < 0 && rc != -EAGAIN)
        return tcp_broken(t, rc);
    if (rc == 0 && !t->psk)
        tcp_become_up(t, "plaintext");
    return rc;
}

/* ------------------------------------------------------------ bytes */

/* A short read empties a stream socket (epoll(7)), but for urgent data, in front of which a read stops. */
static ssize_t receive(struct tcp *t, void *to, size_t n)
{
    ssize_t got = sock_recv(&t->s, to, n);
    if (got > 0 && (size_t)got < n && !t->s.hup && !t->s.urgent)
        t->s.can_read = false;
    if (got == 0)
        t->s.can_read = false;
    return got;
}

/* -EAGAIN is said of an empty socket and of a full pipe. */
static ssize_t receive_piped(struct tcp *t, const struct ring *r, size_t n)
{
    ssize_t got = sock_splice_in(&t->s, r->pipe[1], n);
    t->stuffed = got == -EAGAIN && r->pipe_held > 0;
    if (got == -EAGAIN && !t->stuffed)
        t->s.can_read = false;
    return got;
}

/* In front of urgent data a splice says for ever that there is nothing, or after a FIN that this is the end; a recv skips it. */
static bool is_end(struct tcp *t)
{
    uint8_t byte;
    return recv(t->s.io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

/* Into memory from now on, which the flow borrows, where there is none, once the pipe is empty and was given back: 0 is another look. */
static int leave_pipe(struct tcp *t, const struct ring *r)
{
    t->s.urgent = true;
    t->x.splices = t->x.bulk = false;
    return r->base || r->pipe_held == 0 ? 0 : -EAGAIN;
}

/* Into the pipe, as long as no byte waits behind it in memory. */
static bool takes_pipe(const struct tcp *t, struct ring *r) { return t->x.splices && ring_pipe_open(r); }

static int bring(struct xport *x, struct ring *r)
{
    struct tcp *t = tcp_of(x);
    size_t room = ring_room(r);
    if ((!t->s.can_read && !x->last_words) || room == 0 || ring_clogged(r))
        return -EAGAIN;
    if (t->s.urgent && t->x.splices)
        (void)leave_pipe(t, r);
    bool piped = takes_pipe(t, r);
    if (!piped && !r->base)
        return leave_pipe(t, r);
    ssize_t n = piped ? receive_piped(t, r, room) : receive(t, ring_at(r, r->put), room);
    if (n < 0)
        return n == -EAGAIN || n == -EINTR ? -EAGAIN : tcp_broken(t, (int)n);
    if (n == 0 && piped && !is_end(t))
        return leave_pipe(t, r);
    if (n == 0 && x->last_words && !t->fin_first)
        return tcp_broken(t, -ECONNRESET);
    xport_brought(x, (size_t)n);
    if (n == 0)
        ring_end(r, r->put);
    else
        ring_commit(r, (size_t)n);
    if (piped)
        ring_piped_in(r, (size_t)n);
    return 0;
}

static int tcp_fill(struct xport *x, struct ring *r)
{
    struct tcp *t = tcp_of(x);
    int rc = bring(x, r);
    if (r->piped)
        loop_patient(x->env->loop);
    if (t->s.deaf && !t->s.can_read)
        sock_hear(&t->s);
    return rc;
}

static ssize_t send_ring(struct tcp *t, const struct ring *r, size_t n)
{
    struct iovec iov = { ring_at(r, r->sub), n };
    ssize_t sent = sock_sendv(&t->s, &iov, 1);
    if (sent >= 0 && (size_t)sent < n)
        t->s.can_write = false;
    return sent;
}

static int tcp_drain(struct xport *x, struct ring *r)
{
    struct tcp *t = tcp_of(x);
    size_t waiting = ring_waiting(r);
    if (!t->s.can_write)
        return -EAGAIN;
    size_t in_pipe = ring_waiting_piped(r);
    ssize_t n = in_pipe ? sock_splice_out(&t->s, r->pipe[0], in_pipe) : send_ring(t, r, waiting);
    if (n < 0)
        return n == -EAGAIN || n == -EINTR ? -EAGAIN : tcp_broken(t, (int)n);
    if (in_pipe)
        ring_piped_out(r, (size_t)n);
    ring_submit(r, (size_t)n);
    ring_release_to(r, r->sub);
    return 0;
}

int tcp_settle(struct tcp *t)
{
    if (!t->settle || sock_unsent(&t->s) == 0)
        return 0;
    if (!timer_pending(&t->patience))
        loop_timer(t->x.env->loop, &t->patience, SETTLE_NS);
    return -EAGAIN;
}

static int tcp_shut(struct xport *x, struct ring *r UNUSED)
{
    struct tcp *t = tcp_of(x);
    if (!t->fin_sent) {
        int rc = sock_shut(&t->s);
        if (rc < 0)
            return tcp_broken(t, rc);
        t->fin_sent = true;
    }
    return tcp_settle(t);
}

/* As a sink only: nobody takes what the peer says. */
static int drop_input(struct tcp *t)
{
    static uint8_t scratch[DROP_MAX]; /* of the one thread that a worker has */
    if (t->x.in || t->fin_seen || !t->s.can_read)
        return 0;
    ssize_t n = receive(t, scratch, sizeof(scratch));
    t->fin_seen = n == 0;
    if (n < 0 && n != -EAGAIN)
        tcp_broken(t, (int)n);
    return n > 0;
}

/* Who reads meets an error behind the bytes that came before it. But behind the end, and while the ring is full, nobody does. */
static bool nobody_reads(const struct tcp *t)
{
    const struct ring *r = t->x.in;
    return !r ? t->fin_seen : ring_ended(r) || ring_room(r) == 0 || ring_clogged(r) || (r->piped && t->stuffed);
}

bool tcp_failed_unread(struct tcp *t)
{
    if (!t->s.error || !nobody_reads(t))
        return false;
    int error = sock_error(&t->s);
    t->s.error = false;
    return error && tcp_broken(t, error) != 0;
}

static int tcp_progress(struct xport *x)
{
    struct tcp *t = tcp_of(x);
    if (x->state == XPORT_OPENING && tcp_open_step(t) < 0)
        return 0;
    return tcp_failed_unread(t) || drop_input(t);
}

/* Whoever could move something has moved it in this turn, or waits for room or for the socket. */
static int tcp_arm(struct xport *x UNUSED) { return 0; }
enum stats_wait tcp_blocked(const struct xport *x UNUSED) { return WAIT_SINK; }

/* ------------------------------------------------------------ life */

static void count_retransmits(struct tcp *t)
{
    if (t->x.env->stats)
        stats_add(&t->x.env->stats->tcp_retransmits, sock_retransmits(&t->s));
}

static void bye(struct tcp *t)
{
    loop_timer_stop(t->x.env->loop, &t->patience);
    count_retransmits(t);
    sock_close(&t->s);
    tcp_tls_forget(t);
    free(t->to);
    t->to = NULL;
    xport_bye(&t->x);
}

/* Until the peer's kernel has what ours was given for it, or takes no more. */
static void leave(struct tcp *t)
{
    (void)sock_flush(&t->s);
    uint64_t left = sock_unsent(&t->s);
    if (left == 0 || t->s.error || t->x.env->ending || !sock_leave_waits(&t->leaving, left)) {
        bye(t);
        return;
    }
    loop_timer(t->x.env->loop, &t->patience, t->look_ns);
    t->look_ns = MIN(2 * t->look_ns, SETTLE_NS);
}

void tcp_close(struct xport *x, int rc)
{
    struct tcp *t = tcp_of(x);
    bool open = t->s.io.fd >= 0 && !t->s.connecting;
    if (rc == 0 && t->s.io.fd >= 0)
        sock_reset_on_close(&t->s, false);
    if ((rc != -SST_ERESET && rc != -SST_ELOST) || x->rc || !open) {
        bye(t);
        return;
    }
    sock_leave_begin(&t->leaving, LEAVE_MAX_NS);
    t->look_ns = LEAVE_LOOK_NS;
    leave(t);
}

static struct xport *tcp_create(struct xport_env *env)
{
    struct tcp *t = mem_zalloc(1, sizeof(*t));
    xport_init(&t->x, &xport_tcp_ops, env);
    t->x.splices = true;
    t->s.io.fd = -1;
    t->patience.fire = on_patience;
    return &t->x;
}

static int tcp_listen(struct xport_env *env UNUSED, char *why UNUSED, size_t n UNUSED) { return 0; }

const struct xport_ops xport_tcp_ops = {
    .name = "tcp", .kind = XPORT_TCP, .listen = tcp_listen, .unlisten = tcp_tls_unlisten, .create = tcp_create,
    .connect = tcp_connect, .accept = tcp_accept, .mem_add = xport_take_ring, .fill = tcp_fill, .drain = tcp_drain,
    .shut = tcp_shut, .progress = tcp_progress, .arm = tcp_arm, .close = tcp_close, .blocked = tcp_blocked,
};
