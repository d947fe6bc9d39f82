/* The listener of a worker, and what its devices report unasked.
 *
 * Happy path: bind to the address of rdma.listen -> listen -> requests come to verbs_cm.c. Failures: no device has the address (yet), or
 * the device is removed: the transport says so as its problem, and binding is tried again until it works. A queue pair, a port or a
 * device that fails ends the channels that it concerns.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "rdma/verbs.h"
#include "rdma/verbs_dev.h"
#include "src/core/err.h"
#include "src/core/log.h"

#define BACKLOG 128
#define AGAIN_NS (1 * NS_PER_S)

struct verbs_device {
    struct list node;
    struct ibv_context *verbs;
    struct io io;
    struct verbs_shared *shared;
};

/* ------------------------------------------------------------ what devices report */

static void fail_end(struct verbs *k, int rc, const char *device, const char *what)
{
    xport_fail(&k->x, rc, "verbs with %s: %s: %s", k->to, device, what);
    xport_kick(&k->x);
}

static bool of_queue_pair(enum ibv_event_type type)
{
    return type == IBV_EVENT_QP_FATAL || type == IBV_EVENT_QP_REQ_ERR || type == IBV_EVENT_QP_ACCESS_ERR || type == IBV_EVENT_COMM_EST;
}

static bool of_port(enum ibv_event_type type)
{
    return type == IBV_EVENT_PORT_ERR || type == IBV_EVENT_PORT_ACTIVE || type == IBV_EVENT_GID_CHANGE || type == IBV_EVENT_LID_CHANGE;
}

/* What concerns a queue pair, a completion queue (object), a port or the whole device ends those ends that it concerns. */
static void fail_ends(struct verbs_device *d, enum ibv_event_type type, const void *object, int port)
{
    const char *what = type == IBV_EVENT_DEVICE_FATAL ? "the device failed or was removed"
                       : type == IBV_EVENT_PORT_ERR   ? "its port went down"
                                                      : ibv_event_type_str(type);
    log_warn("%s: %s", verbs_device_name(d->verbs), what);
    list_for_each_safe(n, &d->shared->ends) {
        struct verbs *k = list_entry(n, struct verbs, node);
        bool concerned = object ? k->q.qp == object || k->q.cq == object : type == IBV_EVENT_DEVICE_FATAL || (k->id && k->id->port_num == port);
        if (k->q.verbs == d->verbs && concerned)
            fail_end(k, type == IBV_EVENT_PORT_ERR ? -ENETDOWN : -SST_EDEVICE, verbs_device_name(d->verbs), what);
    }
}

/* The first bytes of the peer came before the connection manager heard of its last word, which may be lost: it is told. */
static void connection_works(struct verbs_device *d, const struct ibv_qp *qp)
{
    list_for_each_safe(n, &d->shared->ends) {
        struct verbs *k = list_entry(n, struct verbs, node);
        if (k->q.qp == qp && k->id)
            rdma_notify(k->id, IBV_EVENT_COMM_EST);
    }
}

static void act_on(struct verbs_device *d, enum ibv_event_type type, const void *object, int port)
{
    struct verbs_shared *sh = d->shared;
    const struct ibv_context *verbs = d->verbs;
    log_debug("%s: %s", verbs_device_name(verbs), ibv_event_type_str(type));
    if (type == IBV_EVENT_COMM_EST)
        connection_works(d, object);
    else if (object || type == IBV_EVENT_PORT_ERR || type == IBV_EVENT_DEVICE_FATAL)
        fail_ends(d, type, object, port);
    if (of_port(type))
        loop_timer(sh->loop, &sh->again, NS_PER_MS);
    if (type == IBV_EVENT_DEVICE_FATAL) {
        if (sh->listener && sh->listener->verbs == verbs)
            verbs_listen_lost(sh, "its device failed or was removed"); /* d may be gone */
        verbs_device_gone(sh, verbs);
    }
}

static void on_async(struct io *io, uint32_t events)
{
    struct verbs_device *d = container_of(io, struct verbs_device, io);
    struct ibv_async_event e;
    while (io->fd >= 0 && ibv_get_async_event(d->verbs, &e) == 0) {
        enum ibv_event_type type = e.event_type;
        const void *object = of_queue_pair(type) ? (void *)e.element.qp : type == IBV_EVENT_CQ_ERR ? e.element.cq : NULL;
        int port = of_port(type) ? e.element.port_num : 0;
        ibv_ack_async_event(&e); /* or its queue pair cannot be destroyed */
        act_on(d, type, object, port);
        if (type == IBV_EVENT_DEVICE_FATAL)
            return; /* d is freed */
    }
    if (events & (EPOLLERR | EPOLLHUP))
        act_on(d, IBV_EVENT_DEVICE_FATAL, NULL, 0);
}

void verbs_watch(struct verbs_shared *sh, struct ibv_context *verbs)
{
    list_for_each(n, &sh->devices)
        if (list_entry(n, struct verbs_device, node)->verbs == verbs)
            return;
    struct verbs_device *d = mem_zalloc(1, sizeof(*d));
    d->verbs = verbs;
    d->shared = sh;
    d->io.fd = -1;
    d->io.ready = on_async;
    if (fcntl(verbs->async_fd, F_SETFL, fcntl(verbs->async_fd, F_GETFL) | O_NONBLOCK) < 0 || loop_add(sh->loop, &d->io, verbs->async_fd, EPOLLIN) < 0)
        log_warn("%s: what it reports cannot be heard: %s", verbs_device_name(verbs), strerror(errno));
    list_add_tail(&sh->devices, &d->node);
}

static void free_device(struct verbs_device *d)
{
    loop_del(d->shared->loop, &d->io);
    list_del(&d->node);
    free(d);
}

void verbs_unwatch(struct verbs_shared *sh, const struct ibv_context *verbs)
{
    list_for_each_safe(n, &sh->devices)
        if (list_entry(n, struct verbs_device, node)->verbs == verbs)
            free_device(list_entry(n, struct verbs_device, node));
}

/* ------------------------------------------------------------ the listener */

static void drop_listener(struct verbs_shared *sh)
{
    if (sh->listener)
        rdma_destroy_id(sh->listener);
    sh->listener = NULL;
}

static int bind_it(struct verbs_shared *sh, char *why, size_t size)
{
    const struct conf_rdma *c = sh->conf;
    if (rdma_create_id(sh->events, &sh->listener, sh, RDMA_PS_TCP) < 0) {
        sh->listener = NULL;
        snprintf(why, size, "rdma.listen = %s: %s", c->listen, strerror(errno));
        return -SST_EDEVICE;
    }
    if (rdma_bind_addr(sh->listener, &sh->at.sa) < 0 && errno == EADDRINUSE) {
        snprintf(why, size, "rdma.ports = %s: no port of it is free on rdma.listen = %s: give it one for each worker, and for an upgrade as many again",
                 c->ports, c->listen);
        return -EADDRINUSE;
    }
    if (!sh->listener->verbs) {
        snprintf(why, size, "rdma.listen = %s: no RDMA device has this address, or it is that of all devices; 'scistreamctl devices' lists "
                 "what this machine has", c->listen);
        return -SST_EDEVICE;
    }
    if (!verbs_device_allowed(c, sh->listener)) {
        snprintf(why, size, "rdma.listen = %s is the address of %s:%u, not of rdma.device = %s", c->listen,
                 verbs_device_name(sh->listener->verbs), sh->listener->port_num, c->device);
        return -SST_ECONF;
    }
    if (rdma_listen(sh->listener, BACKLOG) < 0) {
        int rc = -errno;
        snprintf(why, size, "rdma.listen = %s: %s", c->listen, strerror(-rc));
        return rc;
    }
    return 0;
}

/* A port that another worker or program has is left out: while it still has streams, the one before an upgrade keeps its own. */
static int bind_first_free(struct verbs_shared *sh, char *why, size_t size)
{
    int rc = -EADDRINUSE;
    uint16_t port;
    for (unsigned n = 0; rc == -EADDRINUSE && addr_ports_try(sh->conf->ports, sh->env->index, n, &port); n++) {
        addr_set_port(&sh->at, port);
        rc = bind_it(sh, why, size);
        if (rc < 0)
            drop_listener(sh);
    }
    return rc;
}

static int bind_listener(struct verbs_shared *sh, char *why, size_t size)
{
    if (addr_numeric(sh->conf->listen, 0, &sh->at) < 0) {
        snprintf(why, size, "rdma.listen = %s is no numeric address", sh->conf->listen);
        return -SST_ECONF;
    }
    int rc = bind_first_free(sh, why, size);
    if (rc < 0)
        return rc;
    sh->port = ntohs(rdma_get_src_port(sh->listener));
    str_copy(sh->address, sizeof(sh->address), *sh->conf->advertise ? sh->conf->advertise : sh->conf->listen);
    verbs_watch(sh, sh->listener->verbs);
    struct xport_device *row = verbs_dev_find(sh->env, sh->listener);
    if (row)
        row->listens = true;
    return 0;
}

static bool wants_listener(const struct verbs_shared *sh) { return sh->env->accepts && *sh->conf->listen; }

static void tell_changed(struct verbs_shared *sh, const char *why)
{
    if (sh->env->changed)
        sh->env->changed(sh->env, XPORT_VERBS, why);
}

static int open_events(struct verbs_shared *sh, char *why, size_t size)
{
    if (sh->events)
        return 0;
    sh->events = rdma_create_event_channel();
    if (sh->events && fcntl(sh->events->fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(sh->events->fd, F_SETFD, FD_CLOEXEC) == 0 &&
        loop_add(sh->loop, &sh->io, sh->events->fd, EPOLLIN) == 0)
        return 0;
    snprintf(why, size, "no channel for events of RDMA connections (%s): is there an RDMA device, and the module rdma_ucm?", strerror(errno));
    if (sh->events)
        rdma_destroy_event_channel(sh->events);
    sh->events = NULL;
    return -SST_EDEVICE;
}

static int open_listener(struct verbs_shared *sh, char *why, size_t size)
{
    int rc = open_events(sh, why, size);
    if (rc == 0 && wants_listener(sh) && !sh->listener)
        rc = bind_listener(sh, why, size);
    if ((rc == -SST_EDEVICE || rc == -EADDRINUSE) && wants_listener(sh)) /* the device may come: at boot, after a repair; the port may be freed */
        loop_timer(sh->loop, &sh->again, AGAIN_NS);
    return rc;
}

static void forget_devices(struct verbs_shared *sh)
{
    struct ibv_context **all = rdma_get_devices(NULL);
    if (all)
        rdma_free_devices(all);
    sh->stale = false;
}

void verbs_device_gone(struct verbs_shared *sh, const struct ibv_context *verbs)
{
    verbs_unwatch(sh, verbs);
    sh->stale = true;
    loop_timer(sh->loop, &sh->again, AGAIN_NS);
}

static void on_again(struct timer *t)
{
    struct verbs_shared *sh = container_of(t, struct verbs_shared, again);
    if (sh->stale)
        forget_devices(sh);
    char why[XPORT_WHY] = "";
    bool had = sh->listener;
    int rc = open_listener(sh, why, sizeof(why));
    if (sh->listener && !had)
        log_info("verbs listens on %s, port %u, by %s:%u", sh->address, sh->port, verbs_device_name(sh->listener->verbs), sh->listener->port_num);
    verbs_dev_scan(sh->env, sh->listener);
    if (rc == 0 && !sh->listener)
        verbs_dev_check(sh->env, why, sizeof(why));
    tell_changed(sh, why);
}

void verbs_listen_lost(struct verbs_shared *sh, const char *why)
{
    char text[XPORT_WHY];
    snprintf(text, sizeof(text), "rdma.listen = %s: %s", sh->conf->listen, why);
    log_error("verbs listener is gone: %s; it is bound again when the device is back", text);
    list_for_each_safe(n, &sh->pending) {
        struct verbs *k = list_entry(n, struct verbs, pending);
        fail_end(k, -SST_EDEVICE, sh->address, why);
    }
    verbs_device_gone(sh, sh->listener->verbs);
    drop_listener(sh);
    tell_changed(sh, text);
}

void verbs_listen_moved(struct verbs_shared *sh)
{
    log_warn("rdma.listen = %s: its address has another port now: the listener is bound again", sh->conf->listen);
    drop_listener(sh);
    loop_timer(sh->loop, &sh->again, NS_PER_MS);
}

int verbs_listen_start(struct verbs_shared *sh, char *why, size_t size)
{
    sh->io.fd = -1;
    sh->io.ready = verbs_cm_event;
    sh->again.fire = on_again;
    list_init(&sh->pending);
    list_init(&sh->ends);
    list_init(&sh->devices);
    return open_listener(sh, why, size);
}

void verbs_listen_stop(struct verbs_shared *sh)
{
    list_for_each_safe(n, &sh->devices)
        free_device(list_entry(n, struct verbs_device, node));
    loop_timer_stop(sh->loop, &sh->again);
    drop_listener(sh);
    loop_del(sh->loop, &sh->io);
    if (sh->events)
        rdma_destroy_event_channel(sh->events);
}
