/* A TCP end with TLS on it: the WAN leg of a transparent channel, towards another gateway or SciStream's stunnel (tls_wan.c has the keys). What is not
 * about bytes is tcp.c's: dialing, adopting, closing.
 *
 * Happy path: connected, or adopted -> handshake within connect_ns, as the client or the server -> up. fill decrypts into the ring, drain encrypts out of it,
 * records gather in TLS and leave by few sends. shut sends close_notify, and no FIN: the other direction goes on, and a peer that looks at the socket rather
 * than at the records (stunnel) shall see no end there before it has one. The FIN comes with the close.
 * A close_notify ends the ring. An end of file without one is a stream that was cut: it fails with -SST_ELOST, and the other side of the channel, which
 * gets what came before, is reset.
 * A reset of the plain side becomes one here, without close_notify, and the other way round. An end of this kind has no last words, and no pipe.
 * Failures before that: wrong key or identity, no common suite, no TLS at all: the alert goes out, and the connection is closed, not reset.
 *
 * stunnel 5.68 does the same but for this: after one direction has ended it waits for TIMEOUTclose (60 s) of silence and closes without close_notify, which
 * is a cut here (0 is no half-close at all); it takes a FIN without close_notify for a clean end; a reset of its own plain
 * side it tells by close_notify, as if that had ended well, and of one of ours it makes a clean end for its own peer (both seen). */
#include <stdio.h>

#include "src/core/log.h"
#include "tcp/tcp_priv.h"
#include "tcp/tls.h"

#define BATCH (64U << 10)  /* of records, for one system call */
#define RECORDS 8          /* that one fill takes */
#define DROP_MAX (16U << 10)

static const struct xport_ops tcp_tls_ops;

/* Contexts by what they speak; made when first needed. */
struct shared { struct tls_ctx *ctx[2][2][2][2]; };

/* ------------------------------------------------------------ handshake */

static struct tls_ctx *context(struct xport_env *env, bool server, const struct psk *p)
{
    struct shared *sh = env->shared[XPORT_TCP];
    if (!sh)
        sh = env->shared[XPORT_TCP] = mem_zalloc(1, sizeof(*sh));
    struct tls_ctx **c = &sh->ctx[server][p->legacy][p->null_ciphers][*p->identity != 0];
    if (!*c)
        *c = tls_ctx_wan(server, p);
    return *c;
}

void tcp_tls_unlisten(struct xport_env *env)
{
    struct shared *sh = env->shared[XPORT_TCP];
    struct tls_ctx **c = sh ? &sh->ctx[0][0][0][0] : NULL;
    for (size_t i = 0; sh && i < sizeof(sh->ctx) / sizeof(*c); i++)
        tls_ctx_free(c[i]);
    free(sh);
    env->shared[XPORT_TCP] = NULL;
}

void tcp_tls_prepare(struct tcp *t, const struct psk *p)
{
    t->x.ops = &tcp_tls_ops;
    t->x.splices = false;
    t->psk = mem_zalloc(1, sizeof(*t->psk));
    *t->psk = *p;
}

void tcp_tls_forget(struct tcp *t)
{
    if (t->psk)
        secret_wipe(t->psk, sizeof(*t->psk));
    free(t->psk);
    t->psk = NULL;
}

/* No stream has begun that a close could seem to end, and the peer may read the alert. */
static int refuse(struct tcp *t, int rc, const char *why)
{
    sock_reset_on_close(&t->s, false);
    return xport_fail(&t->x, rc, "tcp with %s: TLS handshake: %s", t->peer, why);
}

void tcp_tls_late(struct tcp *t)
{
    refuse(t, -SST_ETIMEOUT, "the peer did not complete it in time");
}

static void put_on(struct tcp *t)
{
    bool server = !t->to;
    struct tls *tls = tls_new_wan(context(t->x.env, server, t->psk), t->s.io.fd, t->psk);
    tls_set_batch(tls, BATCH);
    sock_start_tls(&t->s, tls);
}

static void warn_null(const struct tcp *t)
{
    static struct log_gate gate = LOG_GATE;
    log_gated(&gate, LOG_LEVEL_WARN, "tcp with %s: %s does NOT ENCRYPT: everybody on the path can read this connection; let the peer offer other ciphers, and set "
              "legacy_null_ciphers = no", t->peer, tls_describe(t->s.tls));
}

static void shaken(struct tcp *t)
{
    char detail[XPORT_TEXT];
    bool null = tls_is_null(t->s.tls);
    snprintf(detail, sizeof(detail), "%s, psk%s%s", tls_describe(t->s.tls), tls_by_uid(t->s.tls) ? " " PSK_UID_IDENTITY : "",
             null ? ", not encrypted" : "");
    if (null)
        warn_null(t);
    tcp_tls_forget(t);
    tcp_become_up(t, detail);
}

/* 0: up; else nothing more to do now. */
static int open_tls(struct tcp *t)
{
    int rc = tcp_open_step(t);
    if (rc < 0)
        return rc;
    if (!t->s.tls)
        put_on(t);
    rc = sock_handshake(&t->s);
    if (rc == 0)
        shaken(t);
    else if (rc != -EAGAIN)
        refuse(t, rc == -ECONNRESET || rc == -EPIPE ? -SST_ERESET : rc, tls_why(t->s.tls));
    return rc;
}

/* ------------------------------------------------------------ bytes */

static int tls_fill(struct xport *x, struct ring *r)
{
    struct tcp *t = tcp_of(x);
    uint64_t before = r->put;
    ssize_t n = -EAGAIN;
    if (t->tls_rc)
        return ring_held(r) ? -EAGAIN : tcp_broken(t, t->tls_rc);
    if (!t->s.can_read)
        return -EAGAIN;
    for (int i = 0; i < RECORDS && ring_room(r) > 0; i++) {
        n = sock_recv(&t->s, ring_at(r, r->put), ring_room(r));
        if (n <= 0)
            break;
        ring_commit(r, (size_t)n);
    }
    if (n == 0)
        ring_end(r, r->put);
    else if (n < 0 && n != -EAGAIN)
        t->tls_rc = (int)n;
    return n == 0 || r->put > before || (t->tls_rc && !ring_held(r)) ? 0 : -EAGAIN;
}

static int tls_drain(struct xport *x, struct ring *r)
{
    struct tcp *t = tcp_of(x);
    if (!t->s.can_write)
        return -EAGAIN;
    const struct iovec iov = { ring_at(r, r->sub), ring_waiting(r) };
    ssize_t n = sock_sendv(&t->s, &iov, 1);
    if (n > 0) {
        ring_submit(r, (size_t)n);
        ring_release_to(r, r->sub);
    }
    int rc = n < 0 ? (int)n : sock_flush(&t->s);
    if (rc < 0 && rc != -EAGAIN)
        return tcp_broken(t, rc);
    return n > 0 ? 0 : -EAGAIN;
}

static int tls_finish(struct xport *x, struct ring *r UNUSED)
{
    struct tcp *t = tcp_of(x);
    int rc = tls_shut(t->s.tls);
    t->s.can_write = t->s.can_write && rc != -EAGAIN;
    if (rc == -EAGAIN)
        return rc;
    return rc < 0 ? tcp_broken(t, rc) : tcp_settle(t);
}

/* As a sink only. */
static int drop_input(struct tcp *t)
{
    static uint8_t scratch[DROP_MAX]; /* of the one thread that a worker has */
    if (t->x.in || t->fin_seen || !t->s.can_read)
        return 0;
    ssize_t n = sock_recv(&t->s, scratch, sizeof(scratch));
    t->fin_seen = n == 0;
    if (n < 0 && n != -EAGAIN)
        tcp_broken(t, (int)n);
    return n > 0;
}

/* Records that found no room in the kernel, and what reading made TLS answer (key updates). */
static int flush(struct tcp *t)
{
    if (!t->s.can_write || !tls_unsent(t->s.tls))
        return 0;
    int rc = sock_flush(&t->s);
    if (rc < 0 && rc != -EAGAIN)
        tcp_broken(t, rc);
    return rc == 0;
}

static int tls_progress(struct xport *x)
{
    struct tcp *t = tcp_of(x);
    if (x->state == XPORT_OPENING && open_tls(t) < 0)
        return 0;
    return tcp_failed_unread(t) || flush(t) || drop_input(t);
}

static int tls_arm(struct xport *x)
{
    struct tcp *t = tcp_of(x);
    if (x->state != XPORT_UP)
        return 0;
    if (t->s.can_write && tls_unsent(t->s.tls))
        return -EBUSY;
    tls_trim(t->s.tls);
    return 0;
}

/* create, connect and the rest are of the plain kind, which becomes this one. */
static const struct xport_ops tcp_tls_ops = {
    .name = "tcp", .kind = XPORT_TCP, .mem_add = xport_take_ring, .fill = tls_fill, .drain = tls_drain, .shut = tls_finish,
    .progress = tls_progress, .arm = tls_arm, .close = tcp_close, .blocked = tcp_blocked,
};
