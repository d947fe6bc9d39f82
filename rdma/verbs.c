/* The verbs transport: the flow protocol over reliable queue pairs, straight into the peer's registered ring (scistream-protocol(7)).
 *
 * Happy path: connection (verbs_cm.c) -> HELLO out by who connected, HELLO back -> up -> WRITEs and SENDs (verbs_qp.c) -> EOS -> closed.
 * Failures: a peer that dies is told by the connection manager or by a failed completion; one that breaks the protocol meets framed.c; one
 * that writes where it may not breaks its own queue pair only, since every channel has a protection domain of its own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "rdma/verbs.h"
#include "rdma/verbs_dev.h"
#include "src/core/log.h"

#define CHUNK_MAX (1U << 20)
#define CLOSE_IDLE_NS NS_PER_S /* what a living peer gets to complete what is under way */

/* ------------------------------------------------------------ one end */

/* Every byte is here or there, and the peer's adapter has our EOS: a connection that ends now is no failure. */
static bool whole(const struct verbs *k) { return framed_whole(&k->f) && verbs_qp_delivered(&k->q); }

int verbs_check(struct verbs *k)
{
    if (k->job.queued) /* the helper's */
        return 0;
    if (k->f.rc)
        return xport_fail(&k->x, k->f.rc, "verbs with %s: %s", k->to, k->f.why);
    if (whole(k))
        return 0;
    if (k->q.rc)
        return xport_fail(&k->x, k->q.rc, "verbs with %s: %s", k->to, k->q.why);
    return k->lost ? xport_fail(&k->x, -SST_ELOST, "verbs with %s: closed by the peer before the end", k->to) : 0;
}

static const char *link_layer(const struct verbs *k)
{
    struct ibv_port_attr port;
    struct ibv_gid_entry gid;
    if (k->q.iwarp)
        return "iWARP";
    if (ibv_query_port(k->q.verbs, k->id->port_num, &port) != 0)
        return "unknown link layer";
    if (port.link_layer != IBV_LINK_LAYER_ETHERNET)
        return "InfiniBand";
    if (k->q.gid_index < 0 || ibv_query_gid_ex(k->q.verbs, k->id->port_num, (uint32_t)k->q.gid_index, &gid, 0) != 0)
        return "RoCE";
    return gid.gid_type == IBV_GID_TYPE_ROCE_V2 ? "RoCE v2" : "RoCE v1";
}

/* "unencrypted, RoCE v2, GID 1, MTU 4096, 2M pages" */
static void describe(struct verbs *k)
{
    char gid[12] = "", mtu[12] = "", node[18] = "";
    const struct ring *r = k->x.in ? k->x.in : k->x.out;
    snprintf(k->x.device, sizeof(k->x.device), "%s:%u", verbs_device_name(k->q.verbs), k->id->port_num);
    if (k->q.gid_index >= 0)
        snprintf(gid, sizeof(gid), ", GID %hu", (unsigned short)k->q.gid_index);
    if (k->q.mtu)
        snprintf(mtu, sizeof(mtu), ", MTU %hu", (unsigned short)(128U << k->q.mtu));
    const struct xport_device *d = verbs_dev_find(k->x.env, k->id);
    if (d && d->numa_node >= 0)
        snprintf(node, sizeof(node), ", NUMA node %hu", (unsigned short)d->numa_node);
    snprintf(k->x.detail, sizeof(k->x.detail), "unencrypted, %s%s%s%s%s", link_layer(k), gid, mtu, node, r->huge ? ", 2M pages" : "");
}

static void become_up(struct verbs *k)
{
    loop_timer_stop(k->x.env->loop, &k->patience);
    k->state = VERBS_OPEN;
    describe(k);
    xport_set_up(&k->x);
}

/* The connecting side speaks first: iWARP takes what comes right behind the acceptor's answer for a part of that answer, and gives up. */
static bool may_send(const struct verbs *k) { return k->acceptor ? k->q.heard : k->state == VERBS_OPEN; }

/* What is under way completes when the peer's adapter has it: the retries of a queue pair, or else this timer, tell that the path is gone. */
static int send_due(struct verbs *k)
{
    if (!may_send(k) || k->lost)
        return 0;
    int did = verbs_qp_send(&k->q);
    if (k->x.state == XPORT_UP && !verbs_qp_idle(&k->q) && !timer_pending(&k->patience)) {
        k->seen = k->q.first;
        loop_timer(k->x.env->loop, &k->patience, k->x.env->conf->g.peer_timeout);
    }
    return did;
}

static void check_progress(struct verbs *k)
{
    uint64_t ns = k->x.env->conf->g.peer_timeout;
    if (verbs_qp_poll(&k->q)) /* it may be this program that stood still */
        xport_kick(&k->x);
    if (verbs_qp_idle(&k->q) || verbs_check(k) < 0)
        return;
    if (k->q.first == k->seen) {
        xport_fail(&k->x, -SST_ETIMEOUT, "verbs with %s: nothing that was sent has arrived for %.0f s: the path to it is gone", k->to, (double)ns / 1e9);
        return;
    }
    k->seen = k->q.first;
    loop_timer(k->x.env->loop, &k->patience, ns);
}

static void on_completions(struct io *io, uint32_t events)
{
    struct verbs *k = container_of(io, struct verbs, io);
    verbs_qp_event(&k->q);
    if (events & (EPOLLERR | EPOLLHUP)) { /* and it would stay readable for ever */
        loop_del(k->x.env->loop, io);
        xport_fail(&k->x, -SST_EDEVICE, "verbs with %s: its device was removed", k->to);
    }
    if (k->x.state == XPORT_CLOSING)
        loop_activate(k->x.env->loop, &k->closing);
    else
        xport_kick(&k->x);
}

static int verbs_progress(struct xport *x)
{
    struct verbs *k = verbs_of(x);
    int did = k->state >= VERBS_CONNECT ? verbs_qp_poll(&k->q) : 0;
    if (verbs_check(k) < 0)
        return 1;
    if (x->state == XPORT_OPENING && k->f.hello_seen)
        become_up(k);
    did |= send_due(k);
    verbs_check(k);
    return did;
}

static int verbs_arm(struct xport *x)
{
    struct verbs *k = verbs_of(x);
    return k->state >= VERBS_CONNECT ? verbs_qp_arm(&k->q) : 0;
}

static int verbs_move(struct xport *x, struct ring *r UNUSED)
{
    struct verbs *k = verbs_of(x);
    int sent = send_due(k);
    int rc = verbs_check(k);
    return rc < 0 ? rc : sent ? 0 : -EAGAIN;
}

static int verbs_shut(struct xport *x, struct ring *r)
{
    int rc = verbs_move(x, r);
    const struct verbs *k = verbs_of(x);
    bool done = framed_shut_done(&k->f) && verbs_qp_delivered(&k->q); /* an EOS that was only posted may be lost */
    return done ? 0 : rc < 0 ? rc : -EAGAIN;
}

static enum stats_wait verbs_blocked(const struct xport *x)
{
    const struct verbs *k = container_of(x, const struct verbs, x);
    return framed_blocked(&k->f) ? WAIT_CREDITS : WAIT_SINK;
}

/* ------------------------------------------------------------ connect and accept */

static void on_patience(struct timer *t)
{
    struct verbs *k = container_of(t, struct verbs, patience);
    static const char *const steps[VERBS_STATES] = {
        [VERBS_ADDRESS] = "looking for an RDMA device", [VERBS_ROUTE] = "looking for a route", [VERBS_MEMORY] = "registering memory",
        [VERBS_CONNECT] = "connecting", [VERBS_OPEN] = "waiting for its HELLO",
    };
    if (k->x.state == XPORT_CLOSING)
        loop_activate(k->x.env->loop, &k->closing);
    else if (k->x.state == XPORT_UP)
        check_progress(k);
    else if (k->state == VERBS_LOOK)
        verbs_cm_unreached(k, "no answer in time");
    else if (k->x.state == XPORT_OPENING && k->id)
        xport_fail(&k->x, -SST_ETIMEOUT, "verbs with %s: no answer in time, %s", k->to, steps[k->state] ? steps[k->state] : "");
}

static void begin(struct verbs *k, const struct xport_spec *s)
{
    k->x.state = XPORT_OPENING;
    framed_init(&k->f, s->cookie, s->chunk_max, s->peer_window);
    k->f.eager = s->low_latency;
    k->f.chunk_max = UINT32_MAX; /* no buffer bounds a DATA, whose bytes are in the ring when it comes; the limit does */
    k->f.edge = true;
    framed_set_rings(&k->f, k->x.in, k->x.out, k->x.forward);
    k->q.conf = &k->x.env->conf->rdma;
    k->q.stats = k->x.env->stats;
    k->q.comp_vector = k->x.env->index;
    k->q.chunk_max = s->chunk_max ? MIN(s->chunk_max, CHUNK_MAX) : CHUNK_MAX;
}

static int verbs_connect(struct xport *x, const struct xport_spec *s)
{
    struct verbs *k = verbs_of(x);
    union sockaddr_any to;
    begin(k, s);
    if (!verbs_shared_of(x->env) || addr_numeric(s->address, s->port, &to) < 0)
        return xport_fail(x, -EINVAL, "verbs: '%s' is no numeric address, or verbs is not configured", s->address);
    addr_format(&to, k->to);
    if (s->chunk_max == 0)
        return xport_fail(x, -SST_EPROTO, "verbs to %s: its answer allows no bytes in a chunk", k->to);
    return verbs_cm_connect(k, &to);
}

void verbs_answer(const struct verbs *k, struct xport_answer *a)
{
    const struct verbs_shared *sh = verbs_shared_of(k->x.env);
    a->chunk_max = k->q.chunk_max;
    str_copy(a->address, sizeof(a->address), sh->address);
    a->port = sh->port;
}

static int verbs_accept(struct xport *x, const struct xport_spec *s, struct xport_answer *a)
{
    struct verbs *k = verbs_of(x);
    struct verbs_shared *sh = verbs_shared_of(x->env);
    begin(k, s);
    k->acceptor = true;
    if (!sh || !sh->listener)
        return xport_fail(x, -SST_ECONF, "verbs has no listener: set rdma { listen = ADDRESS }");
    str_copy(k->to, sizeof(k->to), "a peer not connected yet");
    if (s->peer_addresses)
        return verbs_cm_look(k, s->peer_addresses);
    k->state = VERBS_WAIT;
    list_add_tail(&sh->pending, &k->pending);
    verbs_answer(k, a);
    return 0;
}

/* ------------------------------------------------------------ the helper thread's part: pinning and unpinning */

static void job_run(struct job *j)
{
    struct verbs *k = container_of(j, struct verbs, job);
    if (k->releasing)
        verbs_qp_release(&k->q);
    else
        verbs_qp_register(&k->q);
}

static void job_done(struct job *j)
{
    struct verbs *k = container_of(j, struct verbs, job);
    if (k->releasing) {
        if (k->id)
            rdma_destroy_id(k->id);
        k->id = NULL;
        xport_bye(&k->x);
    } else if (k->x.state == XPORT_CLOSING) {
        loop_activate(k->x.env->loop, &k->closing);
    } else if (k->x.state == XPORT_OPENING) { /* else it has failed meanwhile */
        verbs_cm_registered(k);
        xport_kick(&k->x);
    }
}

/* ------------------------------------------------------------ the end of one end */

static void release(struct verbs *k)
{
    loop_timer_stop(k->x.env->loop, &k->patience);
    loop_sleep(k->x.env->loop, &k->closing);
    verbs_cm_drop(k);
    k->releasing = true;
    if (offload_submit(k->x.env->offload, &k->job) < 0) { /* no thread to be had: then here */
        job_run(&k->job);
        job_done(&k->job);
    }
}

/* Until everything of ours has arrived, or cannot any more. */
static int closing_progress(struct task *t)
{
    struct verbs *k = container_of(t, struct verbs, closing);
    if (k->job.queued)
        return 0;
    int did = verbs_qp_poll(&k->q);
    if (may_send(k))
        did |= verbs_qp_send(&k->q);
    bool useless = !k->q.qp || k->q.rc || k->lost || !may_send(k) || !timer_pending(&k->patience);
    if (!useless && (!verbs_qp_idle(&k->q) || framed_control_due(&k->f)))
        return did;
    if (k->q.qp && !k->lost)
        verbs_qp_disconnect(&k->q);
    release(k);
    return 1;
}

static int closing_arm(struct task *t)
{
    struct verbs *k = container_of(t, struct verbs, closing);
    return k->job.queued ? 0 : verbs_qp_arm(&k->q);
}

static void verbs_close(struct xport *x, int rc)
{
    struct verbs *k = verbs_of(x);
    list_del(&k->pending);
    if (rc < 0)
        framed_reset(&k->f, rc);
    k->f.rc = k->f.rc ? k->f.rc : -SST_EABORTED; /* nothing more goes into the rings but what was claimed */
    loop_timer(x->env->loop, &k->patience, CLOSE_IDLE_NS);
    loop_activate(x->env->loop, &k->closing);
}

static struct xport *verbs_create(struct xport_env *env)
{
    struct verbs *k = mem_zalloc(1, sizeof(*k));
    xport_init(&k->x, &xport_verbs_ops, env);
    list_init(&k->pending);
    list_init(&k->node);
    k->io.fd = -1;
    k->io.ready = on_completions;
    k->patience.fire = on_patience;
    k->job.run = job_run;
    k->job.done = job_done;
    task_init(&k->closing, closing_progress, closing_arm);
    return &k->x;
}

/* ------------------------------------------------------------ devices and listener */

static void verbs_unlisten(struct xport_env *env)
{
    struct verbs_shared *sh = verbs_shared_of(env);
    if (!sh)
        return;
    verbs_listen_stop(sh);
    free(sh);
    env->shared[XPORT_VERBS] = NULL;
}

static bool dials_by_verbs(const struct conf *c)
{
    for (size_t i = 0; i < c->n_routes; i++)
        if (*c->routes[i]->connect && strv_has(c->routes[i]->connect_transports, "verbs"))
            return true;
    return false;
}

static int verbs_listen(struct xport_env *env, char *why, size_t size)
{
    bool listens = env->accepts && *env->conf->rdma.listen;
    setenv("RDMAV_ALLOW_DISASSOC_DESTROY", "1", 0); /* libibverbs: what belonged to a removed device can be freed all the same */
    verbs_dev_scan(env, NULL);
    if (env->accepts && !listens && !dials_by_verbs(env->conf))
        return -ENODEV;
    int rc = verbs_dev_check(env, why, size);
    if (rc < 0 && !listens) /* a listener has its own address, and its port may come */
        return rc;
    *why = 0;
    struct verbs_shared *sh = mem_zalloc(1, sizeof(*sh));
    env->shared[XPORT_VERBS] = sh;
    sh->env = env;
    sh->loop = env->loop;
    sh->conf = &env->conf->rdma;
    rc = verbs_listen_start(sh, why, size);
    if (rc < 0 && !timer_pending(&sh->again))
        verbs_unlisten(env);
    return rc;
}

const struct xport_ops xport_verbs_ops = {
    .name = "verbs", .kind = XPORT_VERBS, .listen = verbs_listen, .unlisten = verbs_unlisten, .create = verbs_create,
    .connect = verbs_connect, .accept = verbs_accept, .mem_add = xport_take_ring, .fill = verbs_move, .drain = verbs_move,
    .shut = verbs_shut, .progress = verbs_progress, .arm = verbs_arm, .close = verbs_close, .by_chunk = true,
    .blocked = verbs_blocked,
};
