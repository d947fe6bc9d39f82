#include "rdma/verbs_qp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "rdma/verbs_dev.h"
#include "src/core/err.h"
#include "src/core/units.h"

#define POOL_SIZE ((VERBS_RECEIVES + VERBS_SENDS) * VERBS_SLOT)
#define CHUNK_MIN 4096U
#define NUMA_NODES 1024
#define UCM_BUG_BITS 0xe00000 /* that rdma_ucm sets in the mask and InfiniBand ports refuse; librdmacm's cma.c clears them too */

int verbs_qp_fail(struct verbs_qp *q, int rc, const char *fmt, ...)
{
    if (q->rc)
        return q->rc;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(q->why, sizeof(q->why), fmt, ap);
    va_end(ap);
    return q->rc = rc;
}

static const char *device(const struct verbs_qp *q) { return ibv_get_device_name(q->verbs->device); }

/* ------------------------------------------------------------ what a connection has */

int verbs_qp_open(struct verbs_qp *q, struct rdma_cm_id *id, struct framed *f)
{
    q->verbs = id->verbs;
    q->id = id;
    q->f = f;
    q->gid_index = -1;
    q->iwarp = id->verbs->device->transport_type == IBV_TRANSPORT_IWARP;
    q->pd = ibv_alloc_pd(id->verbs);
    q->channel = ibv_create_comp_channel(id->verbs);
    if (q->channel && fcntl(q->channel->fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(q->channel->fd, F_SETFD, FD_CLOEXEC) == 0)
        q->cq = ibv_create_cq(id->verbs, (int)(VERBS_RECEIVES + VERBS_SENDS + VERBS_WRITES), NULL, q->channel,
                              (int)(q->comp_vector % (unsigned)MAX(id->verbs->num_comp_vectors, 1)));
    if (!q->pd || !q->cq)
        return verbs_qp_fail(q, -SST_EDEVICE, "%s: no protection domain or completion queue: %s", device(q), strerror(errno));
    if (posix_memalign((void **)&q->pool, 4096, POOL_SIZE) != 0)
        return verbs_qp_fail(q, -ENOMEM, "%s: no memory for messages", device(q));
    memset(q->pool, 0, POOL_SIZE);
    return 0;
}

static size_t ring_size(const struct verbs_qp *q) { return q->f->rx ? q->f->rx->cap : q->f->tx->cap; }
static size_t whole_pages(size_t n) { return (n + 4095) / 4096 * 4096; }

/* What the kernel counts against RLIMIT_MEMLOCK for this process now. */
static size_t pinned_now(void)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "VmPin: %llu kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return (size_t)kib << 10;
}

static size_t ring_pages(const struct ring *r) { return r ? whole_pages(r->cap) : 0; }

/* What is registered, and what is to be. */
static size_t pinned_in_all(const struct verbs_qp *q)
{
    size_t rings = (q->rx_mr ? 0 : ring_pages(q->f->rx)) + (q->tx_mr ? 0 : ring_pages(q->f->tx));
    return pinned_now() + rings + (q->pool_mr ? 0 : whole_pages(POOL_SIZE));
}

static int register_memory(struct verbs_qp *q, void *base, size_t size, int access, struct ibv_mr **out)
{
    struct rlimit lock;
    char what[UNITS_TEXT], have[UNITS_TEXT];
    *out = ibv_reg_mr(q->pd, base, size, access);
    if (*out)
        return 0;
    int err = errno;
    size_t need = pinned_in_all(q);
    if (err == ENOMEM && getrlimit(RLIMIT_MEMLOCK, &lock) == 0 && lock.rlim_cur < need)
        return verbs_qp_fail(q, -SST_ECONF, "ring of %s needs %zu bytes of locked memory in all, RLIMIT_MEMLOCK is %s: raise LimitMEMLOCK in the unit "
                             "(ulimit -l) or lower window", units_size(what, base == q->pool ? ring_size(q) : size), need,
                             units_size(have, lock.rlim_cur));
    return verbs_qp_fail(q, -SST_EDEVICE, "cannot register %s on %s: %s", units_size(what, size), device(q), strerror(err));
}

/* A wish: where there is one node only, or none of its memory is left, others do. */
static void prefer_node(const struct ring *r, int node)
{
    unsigned long mask[NUMA_NODES / (8 * sizeof(long))] = { 0 };
    if (!r || node < 0 || node >= NUMA_NODES)
        return;
    mask[(size_t)node / (8 * sizeof(long))] = 1UL << (size_t)node % (8 * sizeof(long));
    syscall(SYS_mbind, r->base, r->cap, MPOL_PREFERRED, mask, (unsigned long)NUMA_NODES, MPOL_MF_MOVE);
}

/* Of a ring one view: both would pin it twice. The rings first, since their message says what to do about a limit. */
int verbs_qp_register(struct verbs_qp *q)
{
    const struct ring *rx = q->f->rx, *tx = q->f->tx;
    int node = q->conf->numa_node >= 0 ? (int)q->conf->numa_node : verbs_dev_numa(q->verbs->device);
    prefer_node(rx, node);
    prefer_node(tx, node);
    int rc = rx ? register_memory(q, rx->base, rx->cap, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE, &q->rx_mr) : 0;
    if (rc == 0 && tx)
        rc = register_memory(q, tx->base, tx->cap, 0, &q->tx_mr);
    return rc < 0 ? rc : register_memory(q, q->pool, POOL_SIZE, IBV_ACCESS_LOCAL_WRITE, &q->pool_mr);
}

/* ------------------------------------------------------------ the queue pair */

static int step(struct verbs_qp *q, struct ibv_qp_attr *a, int mask, const char *name)
{
    if (mask & IBV_QP_AV && !a->ah_attr.is_global)
        mask &= ~UCM_BUG_BITS;
    int err = ibv_modify_qp(q->qp, a, mask);
    return err ? verbs_qp_fail(q, -SST_EDEVICE, "%s: the queue pair cannot become %s: %s", device(q), name, strerror(abs(err))) : 0;
}

static int attributes(struct verbs_qp *q, enum ibv_qp_state state, struct ibv_qp_attr *a, int *mask)
{
    *a = (struct ibv_qp_attr){ .qp_state = state };
    return rdma_init_qp_attr(q->id, a, mask) < 0
        ? verbs_qp_fail(q, -SST_EDEVICE, "%s: the connection manager has no attributes for the queue pair: %s", device(q), strerror(errno)) : 0;
}

static int make_qp(struct verbs_qp *q)
{
    struct ibv_qp_init_attr init = { .send_cq = q->cq, .recv_cq = q->cq, .qp_type = IBV_QPT_RC,
                                     .cap = { .max_send_wr = VERBS_SENDS + VERBS_WRITES, .max_recv_wr = VERBS_RECEIVES, .max_send_sge = 1,
                                              .max_recv_sge = 1, .max_inline_data = VERBS_SLOT } };
    q->qp = ibv_create_qp(q->pd, &init);
    if (!q->qp) { /* a device without so much inline data: from the pool then */
        init.cap.max_inline_data = 0;
        q->qp = ibv_create_qp(q->pd, &init);
    }
    if (!q->qp)
        return verbs_qp_fail(q, -SST_EDEVICE, "%s: cannot make a queue pair: %s", device(q), strerror(errno));
    q->inlined = init.cap.max_inline_data >= VERBS_MESSAGE; /* soft-iWARP takes the wish and reports 0 */
    return 0;
}

/* The queue pair is ours and not the rdma_cm_id's, since path MTU, retries and rights are ours to say. */
int verbs_qp_create(struct verbs_qp *q)
{
    struct ibv_qp_attr a;
    unsigned slots[VERBS_RECEIVES];
    int mask;
    if (make_qp(q) < 0 || attributes(q, IBV_QPS_INIT, &a, &mask) < 0)
        return q->rc;
    if (mask & IBV_QP_ACCESS_FLAGS)
        a.qp_access_flags = q->f->rx ? IBV_ACCESS_REMOTE_WRITE : 0;
    if (step(q, &a, mask, "initialised") < 0)
        return q->rc;
    for (unsigned i = 0; i < VERBS_RECEIVES; i++)
        slots[i] = i;
    if (verbs_qp_post_receives(q, slots, VERBS_RECEIVES) < 0)
        return q->rc;
    q->rq_told = q->rq_total;
    return 0;
}

static enum ibv_mtu smaller(enum ibv_mtu mtu, unsigned limit) { return limit && limit < mtu ? (enum ibv_mtu)limit : mtu; }

/* What the configuration and our own port allow: the path's, as the connection manager has it, is that of the side that connects. */
static unsigned mtu_wanted(const struct verbs_qp *q)
{
    struct ibv_port_attr port;
    unsigned active = !q->iwarp && ibv_query_port(q->verbs, q->id->port_num, &port) == 0 ? port.active_mtu : 0, limit = (unsigned)q->conf->path_mtu;
    return limit && (limit < active || !active) ? limit : active;
}

int verbs_qp_ready(struct verbs_qp *q)
{
    struct ibv_qp_attr a;
    int mask;
    if (q->iwarp) /* in the kernel, when the TCP connection is there */
        return 0;
    if (attributes(q, IBV_QPS_RTR, &a, &mask) < 0)
        return q->rc;
    a.path_mtu = smaller(smaller(a.path_mtu, mtu_wanted(q)), q->peer.mtu);
    if (q->conf->traffic_class && a.ah_attr.is_global)
        a.ah_attr.grh.traffic_class = (uint8_t)q->conf->traffic_class;
    q->mtu = a.path_mtu;
    q->gid_index = a.ah_attr.is_global ? a.ah_attr.grh.sgid_index : -1;
    if (step(q, &a, mask, "ready to receive") < 0 || attributes(q, IBV_QPS_RTS, &a, &mask) < 0)
        return q->rc;
    if (q->conf->ack_timeout)
        a.timeout = (uint8_t)q->conf->ack_timeout;
    a.retry_cnt = (uint8_t)q->conf->retry_count;
    a.rnr_retry = 0; /* receives are counted: a peer without one lies, and what it asked for does not matter */
    return step(q, &a, mask, "ready to send");
}

/* ------------------------------------------------------------ what both sides tell */

void verbs_qp_intro(const struct verbs_qp *q, struct verbs_intro *out)
{
    *out = (struct verbs_intro){ .receives = VERBS_RECEIVES, .chunk_max = q->chunk_max,
                                 .mtu = (uint8_t)(q->mtu ? q->mtu : mtu_wanted(q)) };
    memcpy(out->cookie, q->f->cookie, FRAME_COOKIE);
    if (q->rx_mr) {
        out->base = (uintptr_t)q->f->rx->base;
        out->size = q->f->rx->cap;
        out->rkey = q->rx_mr->rkey;
    }
}

/* Several chunks have to fit into both rings, or neither end could work while the other does. */
int verbs_qp_peer(struct verbs_qp *q, const struct verbs_intro *peer)
{
    struct framed *f = q->f;
    q->peer = *peer;
    q->peer_rq_total = peer->receives;
    if (!f->tx)
        return 0;
    if (peer->size < CHUNK_MIN || peer->chunk_max == 0)
        return verbs_qp_fail(q, -SST_EPROTO, "the peer told no ring to write to");
    q->chunk_max = MIN(q->chunk_max, peer->chunk_max);
    f->chunk_send = MIN(q->chunk_max, MAX((uint32_t)MIN(MIN(f->tx->cap, peer->size) / 4, UINT32_MAX), CHUNK_MIN));
    return 0;
}

/* ------------------------------------------------------------ the end */

/* An iWARP queue pair drains before its TCP connection closes; with InfiniBand's, closing waited for the completions. */
void verbs_qp_disconnect(struct verbs_qp *q)
{
    struct ibv_qp_attr a = { .qp_state = q->iwarp ? IBV_QPS_SQD : IBV_QPS_ERR };
    if (q->qp)
        ibv_modify_qp(q->qp, &a, IBV_QP_STATE);
    q->closed = true;
    rdma_disconnect(q->id);
}

void verbs_qp_destroy(struct verbs_qp *q)
{
    if (q->qp)
        ibv_destroy_qp(q->qp);
    q->qp = NULL;
    q->closed = true;
}

void verbs_qp_release(struct verbs_qp *q)
{
    struct ibv_mr **mr[] = { &q->rx_mr, &q->tx_mr, &q->pool_mr };
    for (size_t i = 0; i < ARRAY_LEN(mr); i++) {
        if (*mr[i])
            ibv_dereg_mr(*mr[i]);
        *mr[i] = NULL;
    }
    if (q->events)
        ibv_ack_cq_events(q->cq, q->events);
    if (q->cq)
        ibv_destroy_cq(q->cq);
    if (q->channel)
        ibv_destroy_comp_channel(q->channel);
    if (q->pd)
        ibv_dealloc_pd(q->pd);
    free(q->pool);
    *q = (struct verbs_qp){ .closed = true };
}
