/* The link transport: the flow protocol over TCP, TLS 1.3 with an external PSK unless the route says plaintext.
 *
 * Happy path, connect: TCP -> TLS -> our HELLO out -> the acceptor's HELLO in -> up.
 * Accept: the hop waits in `pending`; a guest (a connection nobody knows yet) shows its PSK identity and then its HELLO; its cookie
 * names the hop, which takes the lane over, answers HELLO and is up.
 * Failures: a guest that is slow, wrong or garbage is closed with one log line and disturbs nothing; the hop goes on waiting.
 * A lane that breaks before the bytes of both directions are whole fails its channel. Who aborts finishes the chunk that he has begun, so
 * that the peer understands the RESET behind it, for LEAVE_MAX_NS at most.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "src/core/log.h"
#include "src/core/secret.h"
#include "src/seam/framed.h"
#include "src/seam/xport.h"
#include "tcp/lane.h"
#include "tcp/tls.h"

#define GUESTS_MAX 1024
#define LANE_BATCH (256U << 10)
#define ALPN "scistream-link/1"
#define URGE_NS NS_PER_MS /* what the peer waits at most to hear that its bytes were consumed */
#define COUNT_NS (10 * NS_PER_S) /* how often what was sent again is counted */
#define IDENTITY_BYTES 8 /* of the cookie, in hex: the PSK identity */
#define LEAVE_MAX_NS (10 * NS_PER_S) /* however slowly the peer takes what is before the RESET */
#define LEAVE_LOOK_NS NS_PER_MS

struct link {
    struct xport x;
    struct framed f;
    struct lane *lane;
    struct list pending;      /* acceptor: in shared.pending until its lane came */
    struct timer patience;    /* connect: TCP, TLS and HELLO; closing: until the RESET is with the peer */
    struct timer urge;        /* closing: until the next look */
    struct timer count;
    uint32_t retransmits;     /* counted so far */
    uint64_t spread;
    bool acceptor, plain;
    bool over;                /* the connection has ended and nothing was missing */
    struct sock_leave leaving;
    uint8_t key[XPORT_KEY];
    enum tls_cipher cipher;
    char peer[ADDR_TEXT];
};

struct link_shared {
    struct listener listener;
    struct loop *loop;
    struct tls_ctx *server, *client[3];
    struct list pending;      /* struct link */
    struct list guests;       /* struct guest, oldest first */
    unsigned n_guests;
    const struct conf *conf;  /* some of it may change while we run */
};

struct guest {
    struct list node;
    struct lane *lane;
    struct link_shared *shared;
    struct timer patience;
    struct defer gone;
    bool spoke;               /* the first byte was seen */
    char peer[ADDR_TEXT];
};

static struct link *link_of(struct xport *x) { return container_of(x, struct link, x); }
static struct link_shared *shared_of(const struct xport_env *env) { return env->shared[XPORT_LINK]; }

/* ------------------------------------------------------------ a lane that belongs to a channel */

static int broken(struct link *k, int rc)
{
    struct lane *l = k->lane;
    if (k->f.rc)
        return xport_fail(&k->x, k->f.rc, "link with %s: %s", k->peer, k->f.why);
    if (framed_whole(&k->f)) { /* the peer may close first */
        k->over = true;
        return -EAGAIN;
    }
    if (l->s.tls && rc == -SST_ETLS)
        return xport_fail(&k->x, rc, "link with %s: TLS: %s", k->peer, tls_why(l->s.tls));
    return xport_fail(&k->x, rc, "link with %s: %s", k->peer, rc == -SST_ELOST ? "closed by the peer before the end" : err_text(rc));
}

/* A peer that resets the flow, or has all, closes at once, and our next send may meet that first: what it said before is still to be read. */
static int broken_send(struct link *k, int rc)
{
    k->lane->s.can_read = true; /* no event may have told yet */
    while (!k->f.rc && lane_recv(k->lane) > 0)
        ;
    return broken(k, rc);
}

static void leave(struct link *k);

static void on_lane(struct sock *s)
{
    struct lane *l = container_of(s, struct lane, s);
    struct link *k = l->owner;
    if (k->x.state == XPORT_UP && s->can_read && lane_stuffed(l))
        sock_deafen(s);
    if (k->x.state == XPORT_CLOSING)
        leave(k);
    else
        xport_kick(&k->x);
}

static int step_handshake(struct link *k)
{
    struct sock *s = &k->lane->s;
    int rc = s->connecting ? sock_connected(s) : 0;
    if (rc == -EAGAIN)
        return rc;
    if (rc < 0)
        return xport_fail(&k->x, rc, "link to %s: %s", k->peer, err_text(rc));
    rc = sock_handshake(s);
    if (rc < 0 && rc != -EAGAIN)
        return xport_fail(&k->x, rc, "link to %s: TLS: %s", k->peer, s->tls ? tls_why(s->tls) : err_text(rc));
    return rc;
}

static void count_retransmits(struct link *k)
{
    uint32_t now = k->lane ? sock_retransmits(&k->lane->s) : 0;
    if (k->x.env->stats && now > k->retransmits) {
        stats_add(&k->x.env->stats->link_retransmits, now - k->retransmits);
        k->retransmits = now;
    }
}

static void on_count(struct timer *t)
{
    struct link *k = container_of(t, struct link, count);
    count_retransmits(k);
    loop_timer(k->x.env->loop, t, COUNT_NS);
}

static void become_up(struct link *k)
{
    loop_timer(k->x.env->loop, &k->count, COUNT_NS);
    loop_timer_stop(k->x.env->loop, &k->patience);
    snprintf(k->x.device, sizeof(k->x.device), "tcp");
    snprintf(k->x.detail, sizeof(k->x.detail), "%s", k->lane->s.tls ? tls_describe(k->lane->s.tls) : "plaintext");
    sock_spread(&k->lane->s, k->spread);
    xport_set_up(&k->x);
}

static void on_urge(struct timer *t)
{
    struct link *k = container_of(t, struct link, urge);
    if (k->x.state == XPORT_CLOSING) {
        leave(k);
        return;
    }
    k->f.urge = framed_lazy(&k->f);
    xport_kick(&k->x);
}

static int send_due(struct link *k)
{
    int rc = k->over ? 0 : lane_send(k->lane);
    if (framed_lazy(&k->f) && !timer_pending(&k->urge))
        loop_timer(k->x.env->loop, &k->urge, URGE_NS);
    return rc;
}

static int link_progress(struct xport *x)
{
    struct link *k = link_of(x);
    if (!k->lane || k->over || (x->state == XPORT_OPENING && step_handshake(k) < 0))
        return 0;
    int got = lane_recv(k->lane);
    if (k->lane->rx_most)
        xport_brought(x, k->lane->rx_most);
    k->lane->rx_most = 0;
    if (x->state == XPORT_OPENING && k->f.hello_seen)
        become_up(k); /* even if that was all: an empty flow may be over with one read */
    if (got < 0)
        return broken(k, got) == -EAGAIN ? 0 : 1;
    int put = send_due(k);
    if (put < 0)
        return broken_send(k, put) == -EAGAIN ? 0 : 1;
    return got || put;
}

static int link_arm(struct xport *x)
{
    struct link *k = link_of(x);
    if (!k->lane || k->over)
        return 0;
    if (framed_finished(&k->f)) /* what may still come is the end of the connection */
        return k->lane->tx_busy && k->lane->s.can_write ? -EBUSY : 0;
    if (x->state == XPORT_OPENING && !k->f.hello_seen && !k->lane->s.can_read)
        return 0;
    return lane_busy(k->lane) ? -EBUSY : 0;
}

static int link_send(struct xport *x, struct ring *r UNUSED)
{
    struct link *k = link_of(x);
    int rc = send_due(k);
    if (rc < 0)
        return broken_send(k, rc);
    return rc > 0 ? 0 : -EAGAIN;
}

static int link_shut(struct xport *x, struct ring *r)
{
    struct link *k = link_of(x);
    int rc = link_send(x, r);
    return framed_shut_done(&k->f) ? 0 : rc < 0 ? rc : -EAGAIN;
}

static enum stats_wait link_blocked(const struct xport *x)
{
    const struct link *k = container_of(x, const struct link, x);
    /* everything is in the socket or beyond: only the peer can release more */
    bool all_out = k->x.out && k->x.out->sub == k->x.out->put && !k->lane->tx_left;
    return framed_blocked(&k->f) || all_out ? WAIT_CREDITS : WAIT_SINK;
}

/* ------------------------------------------------------------ connect */

static void on_patience(struct timer *t)
{
    struct link *k = container_of(t, struct link, patience);
    const char *step = !k->lane || k->lane->s.connecting ? "connect" : k->f.hello_seen ? "start" : "answer";
    xport_fail(&k->x, -SST_ETIMEOUT, "link to %s: no %s in time", k->peer, step);
}

static void begin(struct link *k, const struct xport_spec *s)
{
    k->x.state = XPORT_OPENING;
    framed_init(&k->f, s->cookie, s->chunk_max, s->peer_window);
    k->f.eager = s->low_latency;
    k->f.keep = true;
    k->x.splices = s->plain;
    framed_set_rings(&k->f, k->x.in, k->x.out, k->x.forward);
    memcpy(k->key, s->key, sizeof(k->key));
    k->plain = s->plain;
    k->spread = s->spread;
}

static const char *const cipher_names[] = { "aes-256-gcm", "aes-128-gcm", "chacha20-poly1305" };

static bool find_cipher(const char *name, enum tls_cipher *out)
{
    for (unsigned i = 0; i < ARRAY_LEN(cipher_names); i++)
        if (str_eq(cipher_names[i], name)) {
            *out = (enum tls_cipher)i;
            return true;
        }
    return false;
}

static void identity_of(const uint8_t cookie[XPORT_COOKIE], char out[2 * IDENTITY_BYTES + 1])
{
    secret_hex(out, cookie, IDENTITY_BYTES);
}

static void start_tls(struct link *k, const struct xport_spec *s)
{
    struct link_shared *sh = shared_of(k->x.env);
    char identity[2 * IDENTITY_BYTES + 1];
    struct tls_ctx **ctx = &sh->client[k->cipher];
    if (!*ctx)
        *ctx = tls_ctx_psk_client(ALPN, k->cipher);
    identity_of(s->cookie, identity);
    struct tls *t = tls_new_psk_client(*ctx, k->lane->s.io.fd, identity, k->key);
    tls_set_batch(t, LANE_BATCH);
    sock_start_tls(&k->lane->s, t);
}

static int link_connect(struct xport *x, const struct xport_spec *s)
{
    struct link *k = link_of(x);
    union sockaddr_any to;
    begin(k, s);
    k->f.chunk_send = MIN(s->chunk_max, (uint32_t)x->env->conf->link.chunk);
    if (addr_numeric(s->address, s->port, &to) < 0)
        return xport_fail(x, -EINVAL, "link: '%s' is no numeric address", s->address);
    addr_format(&to, k->peer);
    if (s->chunk_max == 0)
        return xport_fail(x, -SST_EPROTO, "link to %s: its answer allows no bytes in a chunk", k->peer);
    if (!k->plain && !find_cipher(s->cipher, &k->cipher))
        return xport_fail(x, -SST_EFEATURE, "link to %s: cipher '%s' is not known here", k->peer, s->cipher);
    k->lane = lane_new(k);
    k->lane->f = &k->f;
    int rc = sock_connect(&k->lane->s, x->env->loop, &to, on_lane);
    if (rc < 0)
        return xport_fail(x, rc, "link to %s: %s", k->peer, err_text(rc));
    if (!k->plain)
        start_tls(k, s);
    loop_timer(x->env->loop, &k->patience, x->env->conf->g.attach_timeout);
    return 0;
}

/* ------------------------------------------------------------ accept: guests */

static struct link *find_pending(struct link_shared *sh, const uint8_t cookie[XPORT_COOKIE])
{
    struct link *found = NULL;
    list_for_each(n, &sh->pending) {
        struct link *k = list_entry(n, struct link, pending);
        if (secret_equal(k->f.cookie, cookie, XPORT_COOKIE))
            found = k;
    }
    return found;
}

static bool find_key(void *user, const char *identity, uint8_t key[TLS_KEY_SIZE])
{
    struct link_shared *sh = user;
    char mine[2 * IDENTITY_BYTES + 1];
    list_for_each(n, &sh->pending) {
        struct link *k = list_entry(n, struct link, pending);
        identity_of(k->f.cookie, mine);
        if (!k->plain && str_eq(mine, identity)) {
            memcpy(key, k->key, TLS_KEY_SIZE);
            return true;
        }
    }
    return false;
}

static void guest_free(struct guest *g)
{
    list_del(&g->node);
    defer_cancel(&g->gone);
    loop_timer_stop(g->shared->loop, &g->patience);
    g->shared->n_guests--;
    lane_free(g->lane);
    free(g);
}

static void guest_gone(struct defer *d) { guest_free(container_of(d, struct guest, gone)); }

/* It was judged, well or badly: its patience must not judge it again before it is freed. */
static void free_later(struct guest *g)
{
    loop_timer_stop(g->shared->loop, &g->patience);
    loop_defer(g->shared->loop, &g->gone);
}

static void send_away(struct guest *g, const char *why)
{
    static struct log_gate gate = LOG_GATE;
    log_gated(&gate, LOG_LEVEL_WARN, "link port: connection from %s refused: %s", g->peer, why);
    free_later(g);
}

static void on_guest_late(struct timer *t)
{
    struct guest *g = container_of(t, struct guest, patience);
    send_away(g, g->spoke ? "it did not complete its HELLO in time" : "it said nothing");
}

static void hand_over(struct guest *g, struct link *k, const struct frame *hello)
{
    struct lane *l = g->lane;
    g->lane = NULL;
    free_later(g);
    list_del(&k->pending);
    l->owner = k;
    l->f = &k->f;
    l->s.event = on_lane;
    k->lane = l;
    str_copy(k->peer, sizeof(k->peer), g->peer);
    if (framed_input(&k->f, hello) < 0)
        broken(k, k->f.rc);
    else
        xport_kick(&k->x);
}

static void on_hello(struct guest *g, const struct frame *hello)
{
    uint8_t cookie[XPORT_COOKIE];
    frame_cookie(hello, cookie);
    struct link *k = hello->type == FRAME_HELLO ? find_pending(g->shared, cookie) : NULL;
    if (hello->type != FRAME_HELLO)
        send_away(g, "its first frame is no HELLO");
    else if (!k)
        send_away(g, "its cookie belongs to no attach that waits here");
    else if (!k->plain != (g->lane->s.tls != NULL))
        send_away(g, k->plain ? "TLS where plaintext was agreed" : "plaintext where TLS was agreed");
    else
        hand_over(g, k, hello);
}

/* 0: the first byte is here and TLS was put on if it is a TLS record (20 to 23: RFC 8446 5.1); -EAGAIN. */
static int first_byte(struct guest *g)
{
    uint8_t first;
    struct sock *s = &g->lane->s;
    ssize_t n = recv(s->io.fd, &first, 1, MSG_PEEK);
    if (n <= 0)
        return n < 0 && errno == EAGAIN ? -EAGAIN : -SST_ELOST;
    g->spoke = true;
    if (first >= 20 && first <= 23) {
        struct tls *t = tls_new_server(g->shared->server, s->io.fd);
        tls_set_batch(t, LANE_BATCH);
        sock_start_tls(s, t);
    }
    return 0;
}

static void on_guest(struct sock *s)
{
    struct lane *l = container_of(s, struct lane, s);
    struct guest *g = l->owner;
    struct frame hello;
    int rc = g->spoke ? 0 : first_byte(g);
    if (!list_empty(&g->gone.node) || rc == -EAGAIN)
        return;
    if (rc == 0)
        rc = sock_handshake(s);
    if (rc == 0)
        rc = lane_recv_head(l, &hello);
    if (rc == 0)
        on_hello(g, &hello);
    else if (rc == -SST_ETLS && s->tls)
        send_away(g, tls_why(s->tls));
    else if (rc != -EAGAIN)
        send_away(g, rc == -SST_EPROTO ? "it does not speak the flow protocol" : "it closed before its HELLO");
}

/* At once, not deferred: a turn accepts many. */
static void evict_oldest(struct link_shared *sh)
{
    struct guest *g = list_entry(sh->guests.next, struct guest, node);
    send_away(g, "too many connections that have not said who they are");
    guest_free(g);
}

static void on_accept(struct listener *li, int fd, const union sockaddr_any *peer)
{
    struct link_shared *sh = container_of(li, struct link_shared, listener);
    if (sh->n_guests >= GUESTS_MAX)
        evict_oldest(sh);
    struct guest *g = mem_zalloc(1, sizeof(*g));
    g->shared = sh;
    g->lane = lane_new(g);
    defer_init(&g->gone, guest_gone);
    g->patience.fire = on_guest_late;
    addr_format(peer, g->peer);
    list_add_tail(&sh->guests, &g->node);
    sh->n_guests++;
    loop_timer(sh->loop, &g->patience, sh->conf->g.attach_timeout);
    if (sock_attach(&g->lane->s, sh->loop, fd, on_guest) < 0)
        free_later(g);
}

static int link_accept(struct xport *x, const struct xport_spec *s, struct xport_answer *a)
{
    struct link *k = link_of(x);
    struct link_shared *sh = shared_of(x->env);
    union sockaddr_any at;
    socklen_t len = sizeof(at);
    begin(k, s);
    k->acceptor = true;
    if (sh->listener.fd < 0 || getsockname(sh->listener.fd, &at.sa, &len) < 0)
        return xport_fail(x, -SST_ECONF, "this worker has no link port: see link_ports");
    uint32_t chunk = (uint32_t)sh->conf->link.chunk;
    k->f.chunk_send = k->f.chunk_max = a->chunk_max = s->chunk_max ? MIN(s->chunk_max, chunk) : chunk;
    a->address[0] = 0;
    a->port = addr_port(&at);
    list_add_tail(&sh->pending, &k->pending);
    return 0;
}

/* ------------------------------------------------------------ life */

static void bye(struct link *k)
{
    loop_timer_stop(k->x.env->loop, &k->patience);
    loop_timer_stop(k->x.env->loop, &k->urge);
    if (k->lane && !k->lane->s.connecting)
        sock_shut(&k->lane->s);
    framed_disconnected(&k->f);
    lane_free(k->lane);
    k->lane = NULL;
    secret_wipe(k->key, sizeof(k->key));
    xport_bye(&k->x);
}

/* Until the peer's machine has the RESET, or cannot have it any more: a peer that still takes what came before it is waited for. */
static void leave(struct link *k)
{
    uint64_t left = 0;
    if (lane_leave(k->lane, &left) || !sock_leave_waits(&k->leaving, left))
        bye(k);
    else if (!timer_pending(&k->urge))
        loop_timer(k->x.env->loop, &k->urge, LEAVE_LOOK_NS);
}

static void link_close(struct xport *x, int rc)
{
    struct link *k = link_of(x);
    loop_timer_stop(x->env->loop, &k->patience);
    loop_timer_stop(x->env->loop, &k->urge);
    loop_timer_stop(x->env->loop, &k->count);
    count_retransmits(k);
    list_del(&k->pending);
    if (!k->lane || k->lane->s.connecting || !k->f.hello_seen || k->over) {
        bye(k);
    } else if (rc < 0) {
        framed_reset(&k->f, rc);
        sock_leave_begin(&k->leaving, LEAVE_MAX_NS);
        leave(k);
    } else {
        lane_send(k->lane); /* also the last LIMIT, which the peer waits for */
        bye(k);
    }
}

static struct xport *link_create(struct xport_env *env)
{
    struct link *k = mem_zalloc(1, sizeof(*k));
    xport_init(&k->x, &xport_link_ops, env);
    list_init(&k->pending);
    k->patience.fire = on_patience;
    k->urge.fire = on_urge;
    k->count.fire = on_count;
    return &k->x;
}

static int link_listen(struct xport_env *env, char *why, size_t why_size)
{
    struct link_shared *sh = mem_zalloc(1, sizeof(*sh));
    enum tls_cipher cipher = (enum tls_cipher)env->conf->link.cipher;
    env->shared[XPORT_LINK] = sh;
    sh->loop = env->loop;
    sh->listener.fd = sh->listener.io.fd = -1;
    sh->conf = env->conf;
    list_init(&sh->pending);
    list_init(&sh->guests);
    if (env->link_fd < 0)
        return 0; /* a utility that only dials */
    sh->server = tls_ctx_psk_server(find_key, sh, ALPN, cipher);
    int rc = listener_start(&sh->listener, env->loop, fd_take(&env->link_fd), "link port", on_accept);
    if (rc < 0)
        snprintf(why, why_size, "link port: %s", err_text(rc));
    return rc;
}

static void link_unlisten(struct xport_env *env)
{
    struct link_shared *sh = shared_of(env);
    if (!sh)
        return;
    list_for_each_safe(n, &sh->guests)
        guest_free(list_entry(n, struct guest, node));
    listener_stop(&sh->listener);
    tls_ctx_free(sh->server);
    for (unsigned i = 0; i < ARRAY_LEN(sh->client); i++)
        tls_ctx_free(sh->client[i]);
    free(sh);
    env->shared[XPORT_LINK] = NULL;
}

const struct xport_ops xport_link_ops = {
    .name = "link", .kind = XPORT_LINK, .listen = link_listen, .unlisten = link_unlisten, .create = link_create,
    .connect = link_connect, .accept = link_accept, .mem_add = xport_take_ring, .fill = link_send, .drain = link_send,
    .shut = link_shut, .progress = link_progress, .arm = link_arm, .close = link_close, .blocked = link_blocked,
};
