/* Connections of the verbs transport by librdmacm: one event channel a worker, one listener where peers attach.
 *
 * Happy path, connect: address -> route -> memory (registered by the helper thread) -> connect with our intro -> established, with the
 * peer's. Accept: a request whose intro has the cookie of a waiting end -> memory -> accept with ours -> established.
 * Failures: an event that does not belong to the state ends the connection with the event's name; a request with a wrong cookie or version
 * is rejected with the reason, and the end goes on waiting.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "rdma/verbs.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/secret.h"
#include "src/core/wire.h"

#define RESOLVE_MS(k) ((int)(verbs_shared_of((k)->x.env)->patience_ns / NS_PER_MS))
#define BACKLOG 128
#define REJ_NOBODY 8     /* InfiniBand's reject reasons (IBA 12.6.7.2): invalid service id */
#define REJ_CONSUMER 28  /* the listener said no, its reason in the private data */

/* ------------------------------------------------------------ devices: what they report unasked */

struct verbs_device {
    struct list node;
    struct ibv_context *verbs;
    struct io io;
    struct verbs_shared *shared;
};

static const char *device_name(const struct ibv_context *verbs) { return ibv_get_device_name(verbs->device); }

static void fail_end(struct verbs *k, int rc, const char *device, const char *what)
{
    xport_fail(&k->x, rc, "verbs with %s: %s: %s", k->to, device, what);
    xport_kick(&k->x);
}

/* What concerns a queue pair, a port or the whole device ends those ends that it concerns. */
static void on_async_event(struct verbs_device *d, enum ibv_event_type type, const struct ibv_qp *qp, int port)
{
    const char *what = ibv_event_type_str(type);
    bool port_event = type == IBV_EVENT_PORT_ERR, fatal = type == IBV_EVENT_DEVICE_FATAL;
    if (!port_event && !fatal && !qp) {
        log_debug("%s: %s", device_name(d->verbs), what);
        return;
    }
    log_warn("%s: %s", device_name(d->verbs), what);
    list_for_each_safe(n, &d->shared->ends) {
        struct verbs *k = list_entry(n, struct verbs, node);
        if (k->id && k->id->verbs == d->verbs && (fatal || (port_event && k->id->port_num == port) || (qp && k->q.qp == qp)))
            fail_end(k, -SST_EDEVICE, device_name(d->verbs), what);
    }
}

static void on_async(struct io *io, uint32_t events UNUSED)
{
    struct verbs_device *d = container_of(io, struct verbs_device, io);
    struct ibv_async_event e;
    while (ibv_get_async_event(d->verbs, &e) == 0) {
        bool of_qp = e.event_type == IBV_EVENT_QP_FATAL || e.event_type == IBV_EVENT_QP_REQ_ERR || e.event_type == IBV_EVENT_QP_ACCESS_ERR;
        bool of_port = e.event_type == IBV_EVENT_PORT_ERR;
        enum ibv_event_type type = e.event_type;
        const struct ibv_qp *qp = of_qp ? e.element.qp : NULL;
        int port = of_port ? e.element.port_num : 0;
        ibv_ack_async_event(&e); /* or its queue pair cannot be destroyed */
        on_async_event(d, type, qp, port);
    }
}

static void watch_device(struct verbs_shared *sh, struct ibv_context *verbs)
{
    list_for_each(n, &sh->devices)
        if (list_entry(n, struct verbs_device, node)->verbs == verbs)
            return;
    struct verbs_device *d = mem_zalloc(1, sizeof(*d));
    d->verbs = verbs;
    d->shared = sh;
    d->io.fd = -1;
    d->io.ready = on_async;
    if (fcntl(verbs->async_fd, F_SETFL, fcntl(verbs->async_fd, F_GETFL) | O_NONBLOCK) == 0)
        loop_add(sh->loop, &d->io, verbs->async_fd, EPOLLIN);
    list_add_tail(&sh->devices, &d->node);
}

/* ------------------------------------------------------------ events of connections */

struct cm_event {
    enum rdma_cm_event_type type;
    int status;
    struct rdma_cm_id *id;
    uint8_t data[256];
    size_t n;
};

static int fail_step(struct verbs *k, const char *step)
{
    return xport_fail(&k->x, -SST_EDEVICE, "verbs to %s: %s: %s", k->to, step, strerror(errno));
}

static int on_address(struct verbs *k, const struct cm_event *e UNUSED)
{
    k->state = VERBS_ROUTE;
    return rdma_resolve_route(k->id, RESOLVE_MS(k)) < 0 ? fail_step(k, "looking for a route") : 0;
}

/* The device is known: make everything on it. The rings are pinned by the helper thread, and verbs_cm_registered goes on. */
static int begin_memory(struct verbs *k)
{
    struct verbs_shared *sh = verbs_shared_of(k->x.env);
    k->state = VERBS_MEMORY;
    watch_device(sh, k->id->verbs);
    list_add_tail(&sh->ends, &k->node);
    if (verbs_qp_open(&k->q, k->id, &k->f) < 0)
        return verbs_check(k);
    if (loop_add(sh->loop, &k->io, k->q.channel->fd, EPOLLIN) < 0)
        return fail_step(k, "watching its completions");
    return offload_submit(k->x.env->offload, &k->job) < 0
        ? xport_fail(&k->x, -EAGAIN, "cannot start a thread to register memory: raise the limit on tasks (ulimit -u)") : 0;
}

static int on_route(struct verbs *k, const struct cm_event *e UNUSED) { return begin_memory(k); }

static struct rdma_conn_param parameters(const struct verbs *k, const uint8_t private[VERBS_PRIVATE])
{
    return (struct rdma_conn_param){ .private_data = private, .private_data_len = VERBS_PRIVATE, .responder_resources = 1, .initiator_depth = 1,
                                     .retry_count = (uint8_t)verbs_shared_of(k->x.env)->conf->retry_count, .rnr_retry_count = 0 };
}

void verbs_cm_registered(struct verbs *k)
{
    uint8_t private[VERBS_PRIVATE];
    struct verbs_intro intro;
    if (k->q.rc < 0 || verbs_qp_create(&k->q) < 0 || (k->acceptor && verbs_qp_peer(&k->q, &k->peer) < 0)) {
        verbs_check(k);
        return;
    }
    verbs_qp_intro(&k->q, &intro);
    verbs_intro_encode(&intro, private);
    struct rdma_conn_param p = parameters(k, private);
    k->state = VERBS_CONNECT;
    if ((k->acceptor ? rdma_accept(k->id, &p) : rdma_connect(k->id, &p)) < 0)
        fail_step(k, k->acceptor ? "accepting" : "connecting");
}

static int on_established(struct verbs *k, const struct cm_event *e)
{
    k->state = VERBS_OPEN;
    if (k->acceptor)
        return 0;
    int rc = verbs_intro_decode(e->data, e->n, &k->peer);
    if (rc == 0 && !secret_equal(k->peer.cookie, k->f.cookie, FRAME_COOKIE))
        rc = -SST_ECOOKIE;
    if (rc < 0)
        return xport_fail(&k->x, rc, "verbs with %s: its answer is not ours: %s", k->to, err_text(rc));
    verbs_qp_peer(&k->q, &k->peer);
    return verbs_check(k);
}

static int on_disconnected(struct verbs *k, const struct cm_event *e UNUSED)
{
    verbs_qp_poll(&k->q); /* what arrived before it counts: an EOS, or the reason of a RESET */
    k->lost = true;
    return verbs_check(k);
}

static int on_failure(struct verbs *k, const struct cm_event *e)
{
    const char *device = k->id->verbs ? device_name(k->id->verbs) : "no device";
    struct wire w = wire_reader(e->data, e->n);
    uint32_t told = wire_u32(&w); /* 0 when there is none */
    switch (e->type) {
    case RDMA_CM_EVENT_ADDR_ERROR:
        return xport_fail(&k->x, -SST_EDEVICE, "verbs to %s: no RDMA device of this machine reaches it: %s", k->to, strerror(abs(e->status)));
    case RDMA_CM_EVENT_ROUTE_ERROR:
        return xport_fail(&k->x, -EHOSTUNREACH, "verbs to %s over %s: no route: %s", k->to, device, strerror(abs(e->status)));
    case RDMA_CM_EVENT_UNREACHABLE:
        return xport_fail(&k->x, -SST_ETIMEOUT, "verbs to %s over %s: no answer", k->to, device);
    case RDMA_CM_EVENT_REJECTED:
        if (e->status == REJ_CONSUMER || (told && err_from_wire(told) != -SST_EABORTED))
            return xport_fail(&k->x, err_from_wire(told), "verbs to %s: rejected: %s", k->to, err_text(err_from_wire(told)));
        return xport_fail(&k->x, -ECONNREFUSED, "verbs to %s over %s: %s", k->to, device,
                          e->status == REJ_NOBODY || e->status == -ECONNREFUSED ? "nobody listens there" : "rejected");
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
        return xport_fail(&k->x, -SST_EDEVICE, "verbs with %s: device %s was removed", k->to, device);
    default:
        return xport_fail(&k->x, -SST_ELOST, "verbs with %s over %s: %s (%s)", k->to, device, rdma_event_str(e->type),
                          e->status ? strerror(abs(e->status)) : "no reason told");
    }
}

#define IN(state) (1U << VERBS_##state)
static const struct { enum rdma_cm_event_type type; unsigned states; int (*act)(struct verbs *k, const struct cm_event *e); } rules[] = {
    { RDMA_CM_EVENT_ADDR_RESOLVED, IN(ADDRESS), on_address },
    { RDMA_CM_EVENT_ROUTE_RESOLVED, IN(ROUTE), on_route },
    { RDMA_CM_EVENT_ESTABLISHED, IN(CONNECT), on_established },
    { RDMA_CM_EVENT_DISCONNECTED, IN(CONNECT) | IN(OPEN), on_disconnected },
    { RDMA_CM_EVENT_TIMEWAIT_EXIT, ~0U, NULL },
    { RDMA_CM_EVENT_ADDR_CHANGE, ~0U, NULL },
};
#undef IN

static void act(struct verbs *k, const struct cm_event *e)
{
    if (k->x.state == XPORT_CLOSING) {
        k->lost |= e->type == RDMA_CM_EVENT_DISCONNECTED;
        loop_activate(k->x.env->loop, &k->closing);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i].type == e->type && (rules[i].states & 1U << k->state)) {
            if (rules[i].act)
                rules[i].act(k, e);
            xport_kick(&k->x);
            return;
        }
    on_failure(k, e);
}

/* ------------------------------------------------------------ the listener */

static void reject(struct rdma_cm_id *id, int rc)
{
    static struct log_gate gate = LOG_GATE;
    uint8_t why[4];
    struct wire w = wire_writer(why, sizeof(why));
    union sockaddr_any peer = { .ss = id->route.addr.dst_storage };
    char text[ADDR_TEXT];
    log_gated(&gate, LOG_LEVEL_WARN, "verbs listener: connection from %s rejected: %s", addr_format(&peer, text), err_text(rc));
    wire_put_u32(&w, err_to_wire(rc));
    rdma_reject(id, why, sizeof(why));
    rdma_destroy_id(id);
}

static void on_request(struct verbs_shared *sh, const struct cm_event *e)
{
    struct verbs_intro intro;
    int rc = verbs_intro_decode(e->data, e->n, &intro);
    e->id->context = NULL;
    if (rc < 0) {
        reject(e->id, rc);
        return;
    }
    list_for_each(n, &sh->pending) {
        struct verbs *k = list_entry(n, struct verbs, pending);
        if (!secret_equal(intro.cookie, k->f.cookie, FRAME_COOKIE))
            continue;
        union sockaddr_any peer = { .ss = e->id->route.addr.dst_storage };
        list_del(&k->pending);
        addr_format(&peer, k->to);
        k->peer = intro;
        k->id = e->id;
        k->id->context = k;
        loop_timer(sh->loop, &k->patience, sh->patience_ns);
        begin_memory(k);
        xport_kick(&k->x);
        return;
    }
    reject(e->id, -SST_ECOOKIE);
}

static void on_cm(struct io *io, uint32_t events UNUSED)
{
    struct verbs_shared *sh = container_of(io, struct verbs_shared, io);
    struct rdma_cm_event *e;
    while (rdma_get_cm_event(sh->events, &e) == 0) {
        struct cm_event copy = { .type = e->event, .status = e->status, .id = e->id };
        copy.n = e->param.conn.private_data ? e->param.conn.private_data_len : 0; /* at most 255 */
        if (copy.n)
            memcpy(copy.data, e->param.conn.private_data, copy.n);
        rdma_ack_cm_event(e); /* before acting: an id cannot be destroyed while an event of it is not acknowledged */
        if (copy.type == RDMA_CM_EVENT_CONNECT_REQUEST)
            on_request(sh, &copy);
        else if (copy.id == sh->listener)
            log_error("verbs listener on %s: %s", sh->address, rdma_event_str(copy.type));
        else if (copy.id->context)
            act(copy.id->context, &copy);
    }
}

/* ------------------------------------------------------------ beginning and end */

static int set_options(struct verbs *k)
{
    const struct conf_rdma *c = verbs_shared_of(k->x.env)->conf;
    uint8_t tos = (uint8_t)c->traffic_class, timeout = (uint8_t)c->ack_timeout;
    if (tos && rdma_set_option(k->id, RDMA_OPTION_ID, RDMA_OPTION_ID_TOS, &tos, sizeof(tos)) < 0)
        return fail_step(k, "setting the traffic class");
    if (timeout && rdma_set_option(k->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &timeout, sizeof(timeout)) < 0)
        return fail_step(k, "setting the acknowledgement timeout");
    return 0;
}

int verbs_cm_connect(struct verbs *k, const union sockaddr_any *to)
{
    struct verbs_shared *sh = verbs_shared_of(k->x.env);
    union sockaddr_any at = *to;
    if (rdma_create_id(sh->events, &k->id, k, RDMA_PS_TCP) < 0) {
        k->id = NULL;
        return fail_step(k, "making a connection");
    }
    k->state = VERBS_ADDRESS;
    loop_timer(sh->loop, &k->patience, sh->patience_ns);
    if (set_options(k) < 0)
        return k->x.rc;
    return rdma_resolve_addr(k->id, NULL, &at.sa, RESOLVE_MS(k)) < 0 ? fail_step(k, "looking for an RDMA device") : 0;
}

void verbs_cm_drop(struct verbs *k)
{
    loop_del(k->x.env->loop, &k->io);
    list_del(&k->node);
    list_del(&k->pending);
    if (k->id)
        k->id->context = NULL; /* its late events concern nobody */
    verbs_qp_destroy(&k->q);
    framed_disconnected(&k->f);
}

static int bind_listener(struct verbs_shared *sh, const struct xport_env *env, char *why, size_t size)
{
    const struct conf_rdma *c = &env->conf->rdma;
    union sockaddr_any at;
    uint16_t first = 0, last = 0;
    if (!str_eq(c->ports, "0"))
        addr_parse_ports(c->ports, &first, &last);
    if (first && env->index > (unsigned)(last - first)) {
        snprintf(why, size, "rdma.ports %s has no port for worker %u", c->ports, env->index);
        return -SST_ECONF;
    }
    uint16_t port = (uint16_t)(first ? first + env->index : 0);
    if (addr_numeric(c->listen, port, &at) < 0 || rdma_create_id(sh->events, &sh->listener, sh, RDMA_PS_TCP) < 0) {
        snprintf(why, size, "rdma.listen %s: %s", c->listen, strerror(errno));
        return -SST_EDEVICE;
    }
    if (rdma_bind_addr(sh->listener, &at.sa) < 0 && errno == EADDRINUSE) {
        snprintf(why, size, "rdma.listen = %s, rdma.ports = %s: port %u is taken", c->listen, c->ports, port);
        return -EADDRINUSE;
    }
    if (!sh->listener->verbs) {
        snprintf(why, size, "rdma.listen = %s: no RDMA device has this address, or it is that of all devices; 'rdma link' and 'ibv_devices' list "
                 "what this machine has", c->listen);
        return -SST_EDEVICE;
    }
    if (rdma_listen(sh->listener, BACKLOG) < 0) {
        snprintf(why, size, "rdma.listen = %s: %s", c->listen, strerror(errno));
        return -errno;
    }
    sh->port = ntohs(rdma_get_src_port(sh->listener));
    str_copy(sh->address, sizeof(sh->address), *c->advertise ? c->advertise : c->listen);
    return 0;
}

int verbs_cm_listen(struct verbs_shared *sh, const struct xport_env *env, char *why, size_t size)
{
    sh->io.fd = -1;
    sh->io.ready = on_cm;
    list_init(&sh->pending);
    list_init(&sh->ends);
    list_init(&sh->devices);
    sh->events = rdma_create_event_channel();
    if (!sh->events || fcntl(sh->events->fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(sh->events->fd, F_SETFD, FD_CLOEXEC) < 0 ||
        loop_add(sh->loop, &sh->io, sh->events->fd, EPOLLIN) < 0) {
        snprintf(why, size, "no channel for events of RDMA connections (%s): is the module rdma_ucm loaded?", strerror(errno));
        return -SST_EDEVICE;
    }
    int rc = env->accepts && *env->conf->rdma.listen ? bind_listener(sh, env, why, size) : 0;
    if (rc == 0 && sh->listener)
        watch_device(sh, sh->listener->verbs);
    return rc;
}

void verbs_cm_unlisten(struct verbs_shared *sh)
{
    list_for_each_safe(n, &sh->devices) {
        struct verbs_device *d = list_entry(n, struct verbs_device, node);
        loop_del(sh->loop, &d->io);
        list_del(&d->node);
        free(d);
    }
    if (sh->listener)
        rdma_destroy_id(sh->listener);
    loop_del(sh->loop, &sh->io);
    if (sh->events)
        rdma_destroy_event_channel(sh->events);
}
