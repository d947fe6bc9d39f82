/* The ucx transport: the flow protocol as active messages, one ucp_worker per channel, event-driven.
 *
 * Happy path, connect: a ucp_worker whose client_id is the head of the cookie -> endpoint to the listener -> HELLO out -> HELLO in -> up.
 * Accept: worker and handlers are made at once and wait in `pending`; the listener's callback finds them by client_id and accepts the
 * request on that worker; HELLO must then show the whole cookie.
 * Failures: an unknown client_id is rejected; who shows a right client_id and then a wrong cookie, nothing, or his back, loses his
 * endpoint and the hop waits again; a dead peer is told by UCX within a millisecond; a malformed packet on UCX's port makes libucx abort this process, which is why it is one of several.
 */
#include "config.h"

#include <stdio.h>

#include "rdma/ucx_ep.h"
#include "rdma/ucx_log.h"
#include "src/core/log.h"
#include "src/core/secret.h"
#include "src/core/wire.h"
#include "src/seam/xport.h"

#define CHUNK_MAX (256U << 10)       /* measured with 128K and 512K beside it */
#define CLOSE_IDLE_NS NS_PER_S       /* what a living peer gets to complete what is under way */
#define CLOSE_POLITE_NS (300 * NS_PER_MS)
#define CLOSE_FORCED_NS NS_PER_S     /* facts.md: never wait for a request without a bound */

struct ucx {
    struct xport x;
    struct framed f;
    struct ucx_ep u;
    struct io io;
    struct list pending;             /* acceptor: in shared.pending until a HELLO was right */
    struct timer patience;           /* connect, HELLO; later: closing */
    struct task closing;
    bool acceptor;
    char peer[ADDR_TEXT];
};

struct ucx_shared {
    struct loop *loop;
    ucp_context_h ctx;
    ucp_worker_h worker;             /* the listener's */
    ucp_listener_h listener;
    struct task task;
    struct io io;
    struct list pending;
    char address[XPORT_TEXT], devices[XPORT_TEXT];
    uint16_t port;
};

static struct ucx *ucx_of(struct xport *x) { return container_of(x, struct ucx, x); }
static struct ucx_shared *shared_of(const struct xport_env *env) { return env->shared[XPORT_UCX]; }

static uint64_t client_id_of(const uint8_t cookie[XPORT_COOKIE])
{
    struct wire w = wire_reader(cookie, 8);
    return wire_u64(&w) | 1; /* never 0, which would mean none */
}

/* ------------------------------------------------------------ one end */

static void on_efd(struct io *io, uint32_t events UNUSED)
{
    struct ucx *k = container_of(io, struct ucx, io);
    if (k->x.state == XPORT_CLOSING)
        loop_activate(k->x.env->loop, &k->closing);
    else
        xport_kick(&k->x);
}

static void drop_connection(struct ucx *k)
{
    loop_del(k->x.env->loop, &k->io);
    framed_disconnected(&k->f);
    ucx_ep_fini(&k->u);
}

static int open_worker(struct ucx *k, uint64_t client_id)
{
    int rc = ucx_ep_open(&k->u, shared_of(k->x.env)->ctx, &k->f, client_id);
    k->u.quiet = k->acceptor;
    if (rc == 0)
        rc = loop_add(k->x.env->loop, &k->io, k->u.efd, EPOLLIN);
    return rc < 0 ? xport_fail(&k->x, rc, "ucx: cannot make a worker on %s (limits on descriptors or memory?)",
                               shared_of(k->x.env)->devices) : 0;
}

/* The endpoint that showed a right client_id has no right to it: forget it and wait for the true one. */
static void wait_again(struct ucx *k, const char *why)
{
    static struct log_gate gate = LOG_GATE;
    log_gated(&gate, LOG_LEVEL_WARN, "ucx: connection from %s refused: %s", k->peer, why);
    drop_connection(k);
    loop_timer_stop(k->x.env->loop, &k->patience);
    struct framed old = k->f;
    framed_init(&k->f, old.cookie, old.chunk_max, old.peer_ring);
    k->f.eager = old.eager;
    framed_set_rings(&k->f, old.rx, old.tx, k->x.forward);
    if (open_worker(k, 0) == 0)
        list_add_tail(&shared_of(k->x.env)->pending, &k->pending);
}

static int check(struct ucx *k)
{
    bool stranger = k->acceptor && k->x.state == XPORT_OPENING && !k->f.hello_seen;
    if (stranger && (k->u.wrong_cookie || k->u.broken != UCS_OK)) {
        wait_again(k, k->u.wrong_cookie ? "wrong cookie" : ucs_status_string(k->u.broken));
        return -EAGAIN;
    }
    if (k->f.rc)
        return xport_fail(&k->x, k->f.rc, "ucx with %s: %s", k->peer, k->f.why);
    if (k->u.broken == UCS_OK || framed_whole(&k->f))
        return 0;
    if (k->u.broken == UCS_ERR_REJECTED)
        return xport_fail(&k->x, -SST_ECOOKIE, "ucx to %s: rejected by its listener", k->peer);
    if (k->x.state == XPORT_OPENING)
        return xport_fail(&k->x, -ECONNREFUSED, "ucx to %s: %s", k->peer, ucs_status_string(k->u.broken));
    return xport_fail(&k->x, -SST_ELOST, "ucx with %s: %s", k->peer, ucs_status_string(k->u.broken));
}

static void become_up(struct ucx *k)
{
    struct ucx_shared *sh = shared_of(k->x.env);
    list_del(&k->pending);
    loop_timer_stop(sh->loop, &k->patience);
    str_copy(k->x.device, sizeof(k->x.device), sh->devices);
    str_copy(k->x.detail, sizeof(k->x.detail), "unencrypted");
    xport_set_up(&k->x);
}

static int ucx_progress(struct xport *x)
{
    struct ucx *k = ucx_of(x);
    int worked = ucx_ep_progress(&k->u);
    if (check(k) < 0)
        return 1;
    if (x->state == XPORT_OPENING && k->f.hello_seen)
        become_up(k);
    worked |= ucx_ep_send(&k->u);
    if (k->u.copied) {
        stats_add(&x->env->stats->copied_bytes, k->u.copied);
        k->u.copied = 0;
    }
    return worked;
}

static int ucx_arm(struct xport *x) { return ucx_ep_arm(&ucx_of(x)->u); }

static int ucx_move(struct xport *x, struct ring *r UNUSED)
{
    struct ucx *k = ucx_of(x);
    int sent = ucx_ep_send(&k->u);
    int rc = check(k);
    return rc < 0 ? rc : sent ? 0 : -EAGAIN;
}

static int ucx_shut(struct xport *x, struct ring *r)
{
    int rc = ucx_move(x, r);
    return framed_shut_done(&ucx_of(x)->f) ? 0 : rc < 0 ? rc : -EAGAIN;
}

static enum stats_wait ucx_blocked(const struct xport *x)
{
    return framed_blocked(&container_of(x, const struct ucx, x)->f) ? WAIT_CREDITS : WAIT_SINK;
}

/* ------------------------------------------------------------ connect and accept */

static void on_patience(struct timer *t)
{
    struct ucx *k = container_of(t, struct ucx, patience);
    if (k->x.state == XPORT_CLOSING)
        loop_activate(k->x.env->loop, &k->closing);
    else if (!list_empty(&k->pending) || k->x.state != XPORT_OPENING)
        return;
    else if (k->acceptor)
        wait_again(k, "no HELLO in time");
    else
        xport_fail(&k->x, -SST_ETIMEOUT, "ucx to %s: no answer in time", k->peer);
}

static void begin(struct ucx *k, const struct xport_spec *s)
{
    k->x.state = XPORT_OPENING;
    framed_init(&k->f, s->cookie, s->chunk_max, s->peer_window);
    k->f.eager = s->low_latency;
    framed_set_rings(&k->f, k->x.in, k->x.out, k->x.forward);
}

static int ucx_connect(struct xport *x, const struct xport_spec *s)
{
    struct ucx *k = ucx_of(x);
    union sockaddr_any to;
    begin(k, s);
    if (!shared_of(x->env) || addr_numeric(s->address, s->port, &to) < 0)
        return xport_fail(x, -EINVAL, "ucx: '%s' is no numeric address, or ucx is not configured", s->address);
    addr_format(&to, k->peer);
    if (s->chunk_max == 0)
        return xport_fail(x, -SST_EPROTO, "ucx to %s: its answer allows no bytes in a chunk", k->peer);
    int rc = open_worker(k, client_id_of(s->cookie));
    if (rc < 0)
        return rc;
    ucx_log_forget();
    ucs_status_t st = ucx_ep_connect(&k->u, &to);
    if (st != UCS_OK)
        return xport_fail(x, -EHOSTUNREACH, "ucx to %s over %s: %s%s", k->peer, shared_of(x->env)->devices, ucs_status_string(st), ucx_log_last());
    loop_timer(x->env->loop, &k->patience, xport_patience(x, s->peer_window));
    return 0;
}

static int ucx_accept(struct xport *x, const struct xport_spec *s, struct xport_answer *a)
{
    struct ucx *k = ucx_of(x);
    struct ucx_shared *sh = shared_of(x->env);
    begin(k, s);
    k->acceptor = true;
    if (!sh || !sh->listener)
        return xport_fail(x, -SST_ECONF, "ucx is not configured: name its devices in ucx { devices = … }");
    str_copy(k->peer, sizeof(k->peer), "a peer not connected yet");
    k->f.chunk_send = k->f.chunk_max = a->chunk_max = s->chunk_max ? MIN(s->chunk_max, CHUNK_MAX) : CHUNK_MAX;
    str_copy(a->address, sizeof(a->address), sh->address);
    a->port = sh->port;
    int rc = open_worker(k, 0);
    if (rc == 0)
        list_add_tail(&sh->pending, &k->pending);
    return rc;
}

static struct ucx *find_pending(struct ucx_shared *sh, uint64_t client_id)
{
    list_for_each(n, &sh->pending)
        if (client_id_of(list_entry(n, struct ucx, pending)->f.cookie) == client_id)
            return list_entry(n, struct ucx, pending);
    return NULL;
}

static void on_request(ucp_conn_request_h request, void *arg)
{
    static struct log_gate gate = LOG_GATE;
    struct ucx_shared *sh = arg;
    union sockaddr_any peer;
    char text[ADDR_TEXT] = "an unknown address";
    ucp_conn_request_attr_t a = { .field_mask = UCP_CONN_REQUEST_ATTR_FIELD_CLIENT_ADDR | UCP_CONN_REQUEST_ATTR_FIELD_CLIENT_ID };
    struct ucx *k = NULL;
    if (ucp_conn_request_query(request, &a) == UCS_OK) {
        peer.ss = a.client_address;
        addr_format(&peer, text);
        k = find_pending(sh, a.client_id);
    }
    if (!k) {
        log_gated(&gate, LOG_LEVEL_WARN, "ucx listener: connection from %s rejected: its client_id belongs to no attach that waits here", text);
        ucp_listener_reject(sh->listener, request);
        return;
    }
    list_del(&k->pending);
    str_copy(k->peer, sizeof(k->peer), text);
    ucs_status_t st = ucx_ep_accept(&k->u, request);
    if (st != UCS_OK)
        k->u.broken = st;
    loop_timer(sh->loop, &k->patience, xport_patience(&k->x, k->f.peer_ring));
    xport_kick(&k->x);
}

/* ------------------------------------------------------------ the end of one end */

static void close_now(struct ucx *k, bool force)
{
    ucx_ep_close(&k->u, force);
    loop_timer(k->x.env->loop, &k->patience, force ? CLOSE_FORCED_NS : CLOSE_POLITE_NS);
}

static int closing_progress(struct task *t)
{
    struct ucx *k = container_of(t, struct ucx, closing);
    int worked = ucx_ep_progress(&k->u) | ucx_ep_send(&k->u);
    if (k->u.ep) {
        bool late = !timer_pending(&k->patience), broken = k->u.broken != UCS_OK;
        if (!ucx_ep_idle(&k->u) && !broken && !late)
            return worked;
        close_now(k, broken || late);
        return 1;
    }
    if (!ucx_ep_closed(&k->u) && timer_pending(&k->patience))
        return worked;
    loop_timer_stop(k->x.env->loop, &k->patience);
    loop_sleep(k->x.env->loop, &k->closing);
    drop_connection(k);
    xport_bye(&k->x);
    return 1;
}

static int closing_arm(struct task *t) { return ucx_ep_arm(&container_of(t, struct ucx, closing)->u); }

/* What is under way, the connection itself not least, comes to its end first, then the endpoint is closed, so that RESET and everything before it arrive. The peer does its
 * part by merely being alive; one that broke, or does not do it in time, is closed by force. */
static void ucx_close(struct xport *x, int rc)
{
    struct ucx *k = ucx_of(x);
    list_del(&k->pending);
    if (k->u.broken != UCS_OK || !k->u.ep) {
        close_now(k, true);
    } else {
        if (rc < 0)
            framed_reset(&k->f, rc);
        loop_timer(x->env->loop, &k->patience, CLOSE_IDLE_NS);
    }
    k->f.rc = k->f.rc ? k->f.rc : -SST_EABORTED; /* nothing more goes into the rings but what was claimed */
    loop_activate(x->env->loop, &k->closing);
}

static struct xport *ucx_create(struct xport_env *env)
{
    struct ucx *k = mem_zalloc(1, sizeof(*k));
    xport_init(&k->x, &xport_ucx_ops, env);
    list_init(&k->pending);
    k->io.fd = k->u.efd = -1;
    k->io.ready = on_efd;
    k->patience.fire = on_patience;
    task_init(&k->closing, closing_progress, closing_arm);
    return &k->x;
}

/* ------------------------------------------------------------ context and listener */

static int shared_progress(struct task *t)
{
    struct ucx_shared *sh = container_of(t, struct ucx_shared, task);
    int worked = 0;
    for (int i = 0; i < 16 && ucp_worker_progress(sh->worker); i++)
        worked = 1;
    return worked;
}

static int shared_arm(struct task *t)
{
    return ucp_worker_arm(container_of(t, struct ucx_shared, task)->worker) == UCS_ERR_BUSY ? -EBUSY : 0;
}

static void on_shared(struct io *io, uint32_t events UNUSED)
{
    struct ucx_shared *sh = container_of(io, struct ucx_shared, io);
    loop_activate(sh->loop, &sh->task);
}

static void join(char *out, size_t size, char *const *list)
{
    out[0] = 0;
    for (size_t n = 0; *list; list++)
        n += (size_t)snprintf(out + MIN(n, size - 1), size - MIN(n, size - 1), "%s%s", n ? "," : "", *list);
}

/* UCX takes most of its configuration from the environment only (ucp_config_modify knows nothing of UCX_TCP_*). */
static void set_environment(const struct conf_ucx *c, const char *devices)
{
    bool net = false, ib = false;
    for (char *const *d = c->devices; *d; d++)
        *(strchr(*d, ':') ? &ib : &net) = true;
    setenv("UCX_NET_DEVICES", devices, 1);
    setenv("UCX_TLS", !str_eq(c->transports, "auto") ? c->transports : ib && net ? "rc,tcp" : ib ? "rc" : "tcp", 1);
    setenv("UCX_TCP_CM_REUSEADDR", "y", 1);
    setenv("UCX_IB_RX_QUEUE_LEN", "256", 0); /* a worker, one a channel, registers that many receives of 8K; at the default, 4095, 34 MB */
    setenv("UCX_TCP_RX_SEG_SIZE", "16K", 0); /* what a read brings beyond the header of a chunk is copied: at the default, 64K of each 256K */
    if (!str_eq(c->port_range, "0"))
        setenv("UCX_TCP_PORT_RANGE", c->port_range, 1);
}

static int make_context(struct ucx_shared *sh, const struct conf_ucx *c, char *why, size_t size)
{
    ucp_params_t p = { .field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP };
    set_environment(c, sh->devices);
    ucx_log_take_over();
    ucx_log_forget();
    ucs_status_t st = ucp_init(&p, NULL, &sh->ctx);
    if (st == UCS_OK)
        return 0;
    sh->ctx = NULL;
    snprintf(why, size, "ucx devices %s, transports %s: %s%s; 'ucx_info -d' lists what this machine has", sh->devices, getenv("UCX_TLS"),
             ucs_status_string(st), ucx_log_last());
    return -SST_EDEVICE;
}

/* Where the listener binds: what the configuration says, else the first address of the first device that is a network interface. */
static int listen_address(const struct conf_ucx *c, union sockaddr_any *at, char *why, size_t size)
{
    if (*c->listen ? addr_numeric(c->listen, 0, at) == 0 : addr_of_device(c->devices[0], 0, at) == 0)
        return 0;
    snprintf(why, size, "ucx: device %s has no address to listen on: set ucx { listen = ADDRESS }", c->devices[0]);
    return -SST_EDEVICE;
}

/* A port that another worker or program has is left out: while it still has streams, the one before an upgrade keeps its own. */
static ucs_status_t bind_listener(struct ucx_shared *sh, const struct xport_env *env, union sockaddr_any *at)
{
    ucp_listener_params_t lp = { .field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER,
                                 .sockaddr = { &at->sa, addr_len(at) }, .conn_handler = { on_request, sh } };
    ucs_status_t st = UCS_ERR_BUSY;
    uint16_t port;
    for (unsigned n = 0; st == UCS_ERR_BUSY && addr_ports_try(env->conf->ucx.ports, env->index, n, &port); n++) {
        addr_set_port(at, port);
        st = ucp_listener_create(sh->worker, &lp, &sh->listener);
    }
    return st;
}

static int make_listener(struct ucx_shared *sh, const struct xport_env *env, char *why, size_t size)
{
    ucp_worker_params_t wp = { .field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE, .thread_mode = UCS_THREAD_MODE_SINGLE };
    union sockaddr_any at;
    char text[ADDR_TEXT];
    int rc = listen_address(&env->conf->ucx, &at, why, size);
    if (rc < 0)
        return rc;
    ucp_listener_attr_t attr = { .field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR };
    ucs_status_t st = ucp_worker_create(sh->ctx, &wp, &sh->worker);
    int efd = -1;
    if (st == UCS_OK && (st = ucp_worker_get_efd(sh->worker, &efd)) == UCS_OK &&
        (st = bind_listener(sh, env, &at)) == UCS_OK && (st = ucp_listener_query(sh->listener, &attr)) == UCS_OK) {
        at.ss = attr.sockaddr;
        sh->port = addr_port(&at);
        if (*env->conf->ucx.advertise)
            str_copy(sh->address, sizeof(sh->address), env->conf->ucx.advertise);
        else
            str_copy(sh->address, sizeof(sh->address), addr_format_host(&at, text));
        loop_activate(sh->loop, &sh->task);
        return loop_add(sh->loop, &sh->io, efd, EPOLLIN);
    }
    if (st == UCS_ERR_BUSY) {
        snprintf(why, size, "ucx.ports = %s: no port of it is free on %s: give it one for each worker, and for an upgrade as many again",
                 env->conf->ucx.ports, addr_format_host(&at, text));
        return -EADDRINUSE;
    }
    snprintf(why, size, "ucx listener on %s, devices %s: %s%s", addr_format(&at, text), sh->devices, ucs_status_string(st), ucx_log_last());
    return -SST_EDEVICE;
}

static void ucx_unlisten(struct xport_env *env)
{
    struct ucx_shared *sh = shared_of(env);
    if (!sh)
        return;
    loop_del(sh->loop, &sh->io);
    loop_sleep(sh->loop, &sh->task);
    if (sh->listener)
        ucp_listener_destroy(sh->listener);
    if (sh->worker)
        ucp_worker_destroy(sh->worker);
    if (sh->ctx)
        ucp_cleanup(sh->ctx);
    free(sh);
    env->shared[XPORT_UCX] = NULL;
}

static int ucx_listen(struct xport_env *env, char *why, size_t why_size)
{
    const struct conf_ucx *c = &env->conf->ucx;
    if (!c->devices[0])
        return -ENODEV;
    struct ucx_shared *sh = mem_zalloc(1, sizeof(*sh));
    env->shared[XPORT_UCX] = sh;
    sh->loop = env->loop;
    sh->io.fd = -1;
    sh->io.ready = on_shared;
    list_init(&sh->pending);
    task_init(&sh->task, shared_progress, shared_arm);
    join(sh->devices, sizeof(sh->devices), c->devices);
    int rc = make_context(sh, c, why, why_size);
    if (rc == 0 && env->accepts)
        rc = make_listener(sh, env, why, why_size);
    if (rc < 0)
        ucx_unlisten(env);
    return rc;
}

const struct xport_ops xport_ucx_ops = {
    .name = "ucx", .kind = XPORT_UCX, .listen = ucx_listen, .unlisten = ucx_unlisten, .create = ucx_create,
    .connect = ucx_connect, .accept = ucx_accept, .mem_add = xport_take_ring, .fill = ucx_move, .drain = ucx_move,
    .shut = ucx_shut, .progress = ucx_progress, .arm = ucx_arm, .close = ucx_close, .blocked = ucx_blocked,
};
