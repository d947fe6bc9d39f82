/* Connections of the verbs transport by librdmacm: one event channel a worker.
 *
 * Happy path, connect: address -> route -> memory (registered by the helper thread) -> connect with our intro -> the peer's, and our queue
 * pair is made ready for it -> open. Accept: look (does the peer's device answer from ours?) -> wait -> a request whose intro has the
 * cookie of a waiting end -> memory -> ready, accept with our intro -> open.
 * Failures: an event that does not belong to the state ends the connection with the event's name; a request with a wrong cookie or version
 * is rejected with the reason, and the end goes on waiting; a peer that is not reached ends the look with "no transport", so that another
 * one may be tried.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "rdma/verbs.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/secret.h"
#include "src/core/wire.h"

#define RESOLVE_MS(k) ((int)((k)->x.env->conf->g.attach_timeout / NS_PER_MS))
#define EVENTS_MAX 64    /* of a turn: others want theirs, too */
#define LOOK_MS 1500     /* for each address of the peer, when they are few */
#define LAST_POLLS 8     /* more than all receives hold */
#define REJ_NOBODY 8     /* InfiniBand's reject reasons (IBA 12.6.7.2): invalid service id */
#define REJ_CONSUMER 28  /* the listener said no, its reason in the private data */
#define NOBODY "nobody listens there"

/* ------------------------------------------------------------ events of connections */

struct cm_event {
    enum rdma_cm_event_type type;
    int status;
    struct rdma_cm_id *id;
    uint8_t data[256];
    size_t n;
};

/* What the network says may be another thing the next time. */
static int code_of(int err)
{
    bool network = err == ECONNREFUSED || err == ETIMEDOUT || err == EHOSTUNREACH || err == ENETUNREACH || err == ECONNRESET;
    return network ? -err : -SST_EDEVICE;
}

/* iWARP's connection manager returns at once what TCP says. */
static int fail_step(struct verbs *k, const char *step)
{
    int err = errno;
    return xport_fail(&k->x, code_of(err), "verbs to %s: %s: %s", k->to, step, err == ECONNREFUSED ? NOBODY : strerror(err));
}

static struct verbs_shared *shared(const struct verbs *k) { return verbs_shared_of(k->x.env); }

/* rdma.device: "mlx5_0:1", or "mlx5_0" for any port of it. */
bool verbs_device_allowed(const struct conf_rdma *c, const struct rdma_cm_id *id)
{
    char port[XPORT_TEXT];
    const char *name = verbs_device_name(id->verbs);
    snprintf(port, sizeof(port), "%s:%u", name, id->port_num);
    return !*c->device || str_eq(c->device, name) || str_eq(c->device, port);
}

static int on_address(struct verbs *k, const struct cm_event *e UNUSED)
{
    k->state = VERBS_ROUTE;
    if (!verbs_device_allowed(shared(k)->conf, k->id))
        return xport_fail(&k->x, -SST_EDEVICE, "verbs to %s: the way there leaves by %s:%u, not by %s as rdma.device says", k->to,
                          verbs_device_name(k->id->verbs), k->id->port_num, shared(k)->conf->device);
    return rdma_resolve_route(k->id, RESOLVE_MS(k)) < 0 ? fail_step(k, "looking for a route") : 0;
}

/* The device is known: make everything on it. The rings are pinned by the helper thread, and verbs_cm_registered goes on. */
static int begin_memory(struct verbs *k)
{
    struct verbs_shared *sh = shared(k);
    k->state = VERBS_MEMORY;
    verbs_watch(sh, k->id->verbs);
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
                                     .retry_count = (uint8_t)shared(k)->conf->retry_count, .rnr_retry_count = 0, .qp_num = k->q.qp->qp_num };
}

void verbs_cm_registered(struct verbs *k)
{
    uint8_t private[VERBS_PRIVATE];
    struct verbs_intro intro;
    bool ok = k->q.rc == 0 && verbs_qp_create(&k->q) == 0;
    if (ok && k->acceptor)
        ok = verbs_qp_peer(&k->q, &k->peer) == 0 && verbs_qp_ready(&k->q) == 0;
    if (!ok) {
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

/* The acceptor's answer. InfiniBand's connection manager waits for our last word then, iWARP's has made the connection already. */
static int on_answer(struct verbs *k, const struct cm_event *e)
{
    int rc = verbs_intro_decode(e->data, e->n, &k->peer);
    if (rc == 0 && !secret_equal(k->peer.cookie, k->f.cookie, FRAME_COOKIE))
        rc = -SST_ECOOKIE;
    if (rc < 0)
        return xport_fail(&k->x, rc, "verbs with %s: its answer is not ours: %s", k->to, err_text(rc));
    if (verbs_qp_peer(&k->q, &k->peer) < 0 || verbs_qp_ready(&k->q) < 0)
        return verbs_check(k);
    if (e->type == RDMA_CM_EVENT_CONNECT_RESPONSE && rdma_establish(k->id) < 0)
        return fail_step(k, "finishing the connection");
    k->state = VERBS_OPEN;
    return 0;
}

/* An acceptor may have seen the peer's HELLO before. */
static int on_established(struct verbs *k, const struct cm_event *e)
{
    if (!k->acceptor && k->state == VERBS_CONNECT)
        return on_answer(k, e);
    k->state = VERBS_OPEN;
    return 0;
}

static int on_disconnected(struct verbs *k, const struct cm_event *e UNUSED)
{
    for (int i = 0; i < LAST_POLLS && verbs_qp_poll(&k->q); i++) /* what arrived before it counts: an EOS, or the reason of a RESET */
        ;
    k->lost = true;
    return verbs_check(k);
}

static int on_failure(struct verbs *k, const struct cm_event *e)
{
    const char *device = k->id->verbs ? verbs_device_name(k->id->verbs) : "no device";
    struct wire w = wire_reader(e->data, e->n);
    uint32_t told = wire_u32(&w); /* 0 when there is none */
    switch (e->type) {
    case RDMA_CM_EVENT_ADDR_ERROR:
        return xport_fail(&k->x, code_of(abs(e->status)), "verbs to %s: no RDMA device of this machine reaches it: %s", k->to,
                          strerror(abs(e->status)));
    case RDMA_CM_EVENT_ROUTE_ERROR:
        return xport_fail(&k->x, -EHOSTUNREACH, "verbs to %s over %s: no route: %s", k->to, device, strerror(abs(e->status)));
    case RDMA_CM_EVENT_UNREACHABLE:
        return xport_fail(&k->x, -SST_ETIMEOUT, "verbs to %s over %s: no answer", k->to, device);
    case RDMA_CM_EVENT_REJECTED:
        if (e->status == REJ_CONSUMER || (told && err_from_wire(told) != -SST_EABORTED))
            return xport_fail(&k->x, err_from_wire(told), "verbs to %s: rejected: %s", k->to, err_text(err_from_wire(told)));
        return xport_fail(&k->x, -ECONNREFUSED, "verbs to %s over %s: %s", k->to, device,
                          e->status == REJ_NOBODY || e->status == -ECONNREFUSED ? NOBODY : "rejected");
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
        verbs_device_gone(shared(k), k->id->verbs);
        return xport_fail(&k->x, -SST_EDEVICE, "verbs with %s: device %s was removed", k->to, device);
    default:
        return xport_fail(&k->x, -SST_ELOST, "verbs with %s over %s: %s (%s)", k->to, device, rdma_event_str(e->type),
                          e->status ? strerror(abs(e->status)) : "no reason told");
    }
}

/* ------------------------------------------------------------ is the peer reached? */

static void drop_id(struct verbs *k)
{
    if (k->id)
        rdma_destroy_id(k->id);
    k->id = NULL;
}

void verbs_cm_unreached(struct verbs *k, const char *why)
{
    struct verbs_shared *sh = shared(k);
    drop_id(k);
    xport_fail(&k->x, -SST_ENOTRANSPORT, "from %s no RDMA address of the peer is reached (%s): %s", sh->address,
               k->look->n ? k->look->tried : "none of its kind was told", why);
    xport_kick(&k->x);
}

/* All together half of the time that the step of the attach has: another transport shall be tried within it. */
static int look_ms(const struct verbs *k)
{
    return (int)MIN((uint64_t)LOOK_MS, k->x.env->conf->g.attach_timeout / NS_PER_MS / 2 / MAX(k->look->n, 1U));
}

static void look_at_next(struct verbs *k, const char *why)
{
    struct verbs_shared *sh = shared(k);
    struct verbs_look *l = k->look;
    char text[ADDR_TEXT], *end = strchr(l->tried, 0);
    drop_id(k);
    if (l->next == l->n || !sh->listener) {
        verbs_cm_unreached(k, sh->listener ? why : "its own device is gone");
        return;
    }
    union sockaddr_any *to = &l->at[l->next++];
    snprintf(end, sizeof(l->tried) - (size_t)(end - l->tried), "%s%s", *l->tried ? ", " : "", addr_format_host(to, text));
    union sockaddr_any from;
    addr_numeric(shared(k)->conf->listen, 0, &from); /* the listener's address, and any port */
    if (rdma_create_id(sh->events, &k->id, k, RDMA_PS_TCP) < 0)
        k->id = NULL;
    if (!k->id || rdma_resolve_addr(k->id, &from.sa, &to->sa, look_ms(k)) < 0)
        look_at_next(k, strerror(errno));
}

static int on_look_failed(struct verbs *k, const struct cm_event *e)
{
    look_at_next(k, e->status ? strerror(abs(e->status)) : "no route");
    return 0;
}

static int on_look_address(struct verbs *k, const struct cm_event *e UNUSED)
{
    if (rdma_resolve_route(k->id, look_ms(k)) < 0)
        look_at_next(k, strerror(errno));
    return 0;
}

static int on_look_route(struct verbs *k, const struct cm_event *e UNUSED)
{
    struct xport_answer a = { .chunk_max = 0 };
    drop_id(k);
    k->state = VERBS_WAIT;
    loop_timer_stop(k->x.env->loop, &k->patience);
    list_add_tail(&shared(k)->pending, &k->pending);
    verbs_answer(k, &a);
    k->x.host->prepared(&k->x, &a);
    return 0;
}

int verbs_cm_look(struct verbs *k, char *const *addresses)
{
    struct verbs_shared *sh = shared(k);
    struct verbs_look *l = k->look = mem_zalloc(1, sizeof(*l));
    for (; *addresses && l->n < ARRAY_LEN(l->at); addresses++)
        if (addr_numeric(*addresses, 0, &l->at[l->n]) == 0 && l->at[l->n].sa.sa_family == sh->at.sa.sa_family)
            l->n++;
    k->state = VERBS_LOOK;
    loop_timer(sh->loop, &k->patience, k->x.env->conf->g.attach_timeout / 2);
    look_at_next(k, "it has an address of another family");
    return 1;
}

/* ------------------------------------------------------------ the table */

#define IN(state) (1U << VERBS_##state)
static const struct { enum rdma_cm_event_type type; unsigned states; int (*act)(struct verbs *k, const struct cm_event *e); } rules[] = {
    { RDMA_CM_EVENT_ADDR_RESOLVED, IN(LOOK), on_look_address },
    { RDMA_CM_EVENT_ROUTE_RESOLVED, IN(LOOK), on_look_route },
    { RDMA_CM_EVENT_ADDR_ERROR, IN(LOOK), on_look_failed },
    { RDMA_CM_EVENT_ROUTE_ERROR, IN(LOOK), on_look_failed },
    { RDMA_CM_EVENT_ADDR_RESOLVED, IN(ADDRESS), on_address },
    { RDMA_CM_EVENT_ROUTE_RESOLVED, IN(ROUTE), on_route },
    { RDMA_CM_EVENT_CONNECT_RESPONSE, IN(CONNECT), on_answer },
    { RDMA_CM_EVENT_ESTABLISHED, IN(CONNECT) | IN(OPEN), on_established },
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
    if (k->x.state == XPORT_FAILED) { /* the engine closes it soon */
        k->lost |= e->type == RDMA_CM_EVENT_DISCONNECTED;
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
        if (!secret_equal(intro.cookie, k->f.cookie, FRAME_COOKIE) || k->x.state != XPORT_OPENING)
            continue;
        union sockaddr_any peer = { .ss = e->id->route.addr.dst_storage };
        list_del(&k->pending);
        addr_format(&peer, k->to);
        k->peer = intro;
        k->id = e->id;
        k->id->context = k;
        loop_timer(sh->loop, &k->patience, xport_patience(&k->x, k->f.peer_ring));
        begin_memory(k);
        xport_kick(&k->x);
        return;
    }
    reject(e->id, -SST_ECOOKIE);
}

void verbs_cm_event(struct io *io, uint32_t events UNUSED)
{
    struct verbs_shared *sh = container_of(io, struct verbs_shared, io);
    struct rdma_cm_event *e;
    for (int i = 0; i < EVENTS_MAX && rdma_get_cm_event(sh->events, &e) == 0; i++) {
        struct cm_event copy = { .type = e->event, .status = e->status, .id = e->id };
        copy.n = e->param.conn.private_data ? e->param.conn.private_data_len : 0; /* at most 255 */
        if (copy.n)
            memcpy(copy.data, e->param.conn.private_data, copy.n);
        rdma_ack_cm_event(e); /* before acting: an id cannot be destroyed while an event of it is not acknowledged */
        if (copy.type == RDMA_CM_EVENT_CONNECT_REQUEST)
            on_request(sh, &copy);
        else if (copy.id == sh->listener && copy.type == RDMA_CM_EVENT_ADDR_CHANGE)
            verbs_listen_moved(sh);
        else if (copy.id == sh->listener)
            verbs_listen_lost(sh, rdma_event_str(copy.type));
        else if (copy.id->context)
            act(copy.id->context, &copy);
    }
}

/* ------------------------------------------------------------ beginning and end */

/* The address of the port that rdma.device names, as far as a scan has seen one; false: none of the peer's family. */
static bool source_address(const struct verbs *k, sa_family_t family, union sockaddr_any *out)
{
    const char *want = shared(k)->conf->device;
    size_t n = strlen(want);
    if (!n)
        return false;
    list_for_each(i, &k->x.env->devices) {
        const struct xport_device *d = list_entry(i, struct xport_device, node);
        bool named = strncmp(d->name, want, n) == 0 && (d->name[n] == 0 || d->name[n] == ':');
        AUTO_FREE char *text = mem_strdup(d->addresses);
        char *rest = text;
        for (const char *word; named && (word = strsep(&rest, " "));)
            if (addr_numeric(word, 0, out) == 0 && out->sa.sa_family == family)
                return true;
    }
    return false;
}

int verbs_cm_connect(struct verbs *k, const union sockaddr_any *to)
{
    struct verbs_shared *sh = shared(k);
    union sockaddr_any at = *to, from;
    uint8_t tos = (uint8_t)sh->conf->traffic_class;
    if (rdma_create_id(sh->events, &k->id, k, RDMA_PS_TCP) < 0) {
        k->id = NULL;
        return fail_step(k, "making a connection");
    }
    k->state = VERBS_ADDRESS;
    loop_timer(sh->loop, &k->patience, xport_patience(&k->x, k->f.peer_ring));
    if (tos && rdma_set_option(k->id, RDMA_OPTION_ID, RDMA_OPTION_ID_TOS, &tos, sizeof(tos)) < 0)
        return fail_step(k, "setting the traffic class");
    bool bound = source_address(k, at.sa.sa_family, &from);
    return rdma_resolve_addr(k->id, bound ? &from.sa : NULL, &at.sa, RESOLVE_MS(k)) < 0 ? fail_step(k, "looking for an RDMA device") : 0;
}

void verbs_cm_drop(struct verbs *k)
{
    loop_del(k->x.env->loop, &k->io);
    list_del(&k->node);
    list_del(&k->pending);
    if (k->id)
        k->id->context = NULL; /* its late events concern nobody */
    free(k->look);
    k->look = NULL;
    verbs_qp_destroy(&k->q);
    framed_disconnected(&k->f);
}
