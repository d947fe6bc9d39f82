#include "tests/rdma/raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "src/core/units.h"
#include "src/core/wire.h"

#define SLOT 64
#define SCRATCH (RAW_RECEIVES * SLOT)
#define RECEIVE_BIT (1ULL << 32)

static const char *said(const char *what)
{
    static char text[160];
    snprintf(text, sizeof(text), "%s: %s", what, strerror(errno));
    return text;
}

/* ------------------------------------------------------------ connections */

static bool next_event(struct raw *r, int wait_ms, struct rdma_cm_event **e)
{
    struct pollfd p = { .fd = r->events->fd, .events = POLLIN };
    return poll(&p, 1, wait_ms) == 1 && rdma_get_cm_event(r->events, e) == 0;
}

/* "" when the next event is the one expected, else its name with what was told. */
static const char *expect(struct raw *r, enum rdma_cm_event_type type)
{
    static char text[160];
    struct rdma_cm_event *e;
    if (!next_event(r, RAW_WAIT_MS, &e))
        return "no event";
    enum rdma_cm_event_type came = e->event;
    r->n_told = e->param.conn.private_data ? e->param.conn.private_data_len : 0;
    if (r->n_told)
        memcpy(r->told, e->param.conn.private_data, r->n_told);
    struct wire w = wire_reader(r->told, r->n_told);
    snprintf(text, sizeof(text), "%s, status %d, told %u", rdma_event_str(came), e->status, wire_u32(&w));
    if (came == RDMA_CM_EVENT_CONNECT_REQUEST)
        r->id = e->id;
    rdma_ack_cm_event(e);
    return came == type ? "" : text;
}

const char *raw_prepare(struct raw *r)
{
    struct ibv_qp_init_attr a = { .qp_type = IBV_QPT_RC, .cap = { .max_send_wr = RAW_SENDS, .max_recv_wr = RAW_RECEIVES, .max_send_sge = 1,
                                                                  .max_recv_sge = 1 } };
    r->mem = mmap(NULL, RAW_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    r->pd = ibv_alloc_pd(r->id->verbs);
    r->cq = ibv_create_cq(r->id->verbs, (int)(RAW_SENDS + RAW_RECEIVES), NULL, NULL, 0);
    r->mr = r->pd ? ibv_reg_mr(r->pd, r->mem, RAW_MEMORY, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE) : NULL;
    a.send_cq = a.recv_cq = r->cq;
    if (!r->cq || !r->mr || rdma_create_qp(r->id, r->pd, &a) < 0)
        return said("no queue pair");
    for (unsigned i = 0; i < RAW_RECEIVES; i++) {
        struct ibv_sge sge = { .addr = (uintptr_t)r->mem + i * SLOT, .length = SLOT, .lkey = r->mr->lkey };
        struct ibv_recv_wr wr = { .wr_id = RECEIVE_BIT | i, .sg_list = &sge, .num_sge = 1 }, *bad;
        if (ibv_post_recv(r->id->qp, &wr, &bad) != 0)
            return "no receives";
    }
    return "";
}

static struct sockaddr_in address_of(const char *host, uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    inet_pton(AF_INET, host, &at.sin_addr);
    return at;
}

const char *raw_resolve(struct raw *r, const char *host, uint16_t port)
{
    struct sockaddr_in at = address_of(host, port);
    const char *why;
    r->events = rdma_create_event_channel();
    if (!r->events || rdma_create_id(r->events, &r->id, NULL, RDMA_PS_TCP) < 0)
        return said("rdma_create_id");
    if (rdma_resolve_addr(r->id, NULL, (struct sockaddr *)&at, RAW_WAIT_MS) < 0)
        return said("rdma_resolve_addr");
    if (*(why = expect(r, RDMA_CM_EVENT_ADDR_RESOLVED)))
        return why;
    if (rdma_resolve_route(r->id, RAW_WAIT_MS) < 0)
        return said("rdma_resolve_route");
    return *(why = expect(r, RDMA_CM_EVENT_ROUTE_RESOLVED)) ? why : raw_prepare(r);
}

static struct rdma_conn_param parameters(const uint8_t *private, size_t n)
{
    return (struct rdma_conn_param){ .private_data = private, .private_data_len = (uint8_t)n, .responder_resources = 1, .initiator_depth = 1,
                                     .retry_count = 7, .rnr_retry_count = 7 };
}

const char *raw_request(struct raw *r, const uint8_t *private, size_t n)
{
    struct rdma_conn_param p = parameters(private, n);
    return rdma_connect(r->id, &p) < 0 ? said("rdma_connect") : "";
}

const char *raw_connect(struct raw *r, const uint8_t *private, size_t n)
{
    const char *why = raw_request(r, private, n);
    return *why ? why : expect(r, RDMA_CM_EVENT_ESTABLISHED);
}

uint16_t raw_listen(struct raw *r, const char *host)
{
    struct sockaddr_in at = address_of(host, 0);
    r->events = rdma_create_event_channel();
    if (!r->events || rdma_create_id(r->events, &r->listener, NULL, RDMA_PS_TCP) < 0 ||
        rdma_bind_addr(r->listener, (struct sockaddr *)&at) < 0 || rdma_listen(r->listener, 1) < 0)
        return 0;
    return ntohs(rdma_get_src_port(r->listener));
}

const char *raw_await(struct raw *r) { return expect(r, RDMA_CM_EVENT_CONNECT_REQUEST); }

const char *raw_accept(struct raw *r, const uint8_t *private, size_t n)
{
    struct rdma_conn_param p = parameters(private, n);
    return rdma_accept(r->id, &p) < 0 ? said("rdma_accept") : expect(r, RDMA_CM_EVENT_ESTABLISHED);
}

void raw_reject(struct raw *r, const uint8_t *private, size_t n) { rdma_reject(r->id, private, (uint8_t)n); }

/* ------------------------------------------------------------ work requests */

/* False: nothing happened. */
static bool look(struct raw *r)
{
    struct ibv_wc wc;
    struct rdma_cm_event *e;
    bool did = false;
    while (ibv_poll_cq(r->cq, 1, &wc) == 1) {
        did = true;
        bool receive = wc.wr_id & RECEIVE_BIT;
        if (!receive)
            r->sending--;
        if (wc.status != IBV_WC_SUCCESS && !r->bad)
            r->bad = (int)wc.status;
        if (receive && wc.status == IBV_WC_SUCCESS)
            r->inbox[r->next++ % ARRAY_LEN(r->inbox)] = (wc.wr_id & ~RECEIVE_BIT) << 32 | wc.byte_len;
    }
    if (!next_event(r, 0, &e))
        return did;
    r->over |= e->event == RDMA_CM_EVENT_DISCONNECTED || e->event == RDMA_CM_EVENT_DEVICE_REMOVAL;
    rdma_ack_cm_event(e);
    return true;
}

static int post(struct raw *r, struct ibv_send_wr *wr)
{
    struct ibv_send_wr *bad;
    wr->send_flags = IBV_SEND_SIGNALED;
    int err = ibv_post_send(r->id->qp, wr, &bad);
    r->sending += err == 0;
    return err;
}

int raw_wait(struct raw *r)
{
    uint64_t end = now_ns() + RAW_WAIT_MS * NS_PER_MS;
    while (r->sending && !r->bad && (look(r) || now_ns() < end))
        poll(NULL, 0, 1);
    return r->sending && !r->bad ? -1 : r->bad;
}

int raw_post(struct raw *r, const void *bytes, size_t n)
{
    struct ibv_sge sge = { .addr = (uintptr_t)r->mem + SCRATCH + r->sending * SLOT, .length = (uint32_t)n, .lkey = r->mr->lkey };
    struct ibv_send_wr wr = { .sg_list = &sge, .num_sge = 1, .opcode = IBV_WR_SEND };
    memcpy((uint8_t *)(uintptr_t)sge.addr, bytes, n);
    return post(r, &wr);
}

int raw_send(struct raw *r, const void *bytes, size_t n) { return raw_post(r, bytes, n) == 0 ? raw_wait(r) : -1; }

int raw_rdma(struct raw *r, enum ibv_wr_opcode opcode, const struct verbs_intro *ring, uint64_t at, uint32_t n)
{
    struct ibv_sge sge = { .addr = (uintptr_t)r->mem + RAW_MEMORY / 2, .length = n, .lkey = r->mr->lkey };
    struct ibv_send_wr wr = { .sg_list = &sge, .num_sge = 1, .opcode = opcode, .wr.rdma = { .remote_addr = ring->base + at, .rkey = ring->rkey } };
    memset(r->mem + RAW_MEMORY / 2, 'X', n);
    int err = post(r, &wr);
    return err ? err : raw_wait(r);
}

bool raw_take(struct raw *r, struct frame *f, int wait_ms)
{
    uint64_t rq_total;
    uint64_t end = now_ns() + (uint64_t)wait_ms * NS_PER_MS;
    while (r->first == r->next && (look(r) || (!r->over && now_ns() < end)))
        poll(NULL, 0, 1);
    if (r->first == r->next)
        return false;
    uint64_t got = r->inbox[r->first++ % ARRAY_LEN(r->inbox)];
    return verbs_message_decode(r->mem + (got >> 32) * SLOT, got & UINT32_MAX, f, &rq_total) == 0;
}

void raw_ring(const struct raw *r, struct verbs_intro *out)
{
    out->base = (uintptr_t)r->mem + RAW_MEMORY / 2;
    out->size = RAW_MEMORY / 2;
    out->rkey = r->mr->rkey;
}

void raw_close(struct raw *r)
{
    if (r->id && r->id->qp)
        rdma_destroy_qp(r->id);
    if (r->mr)
        ibv_dereg_mr(r->mr);
    if (r->cq)
        ibv_destroy_cq(r->cq);
    if (r->pd)
        ibv_dealloc_pd(r->pd);
    if (r->id)
        rdma_destroy_id(r->id);
    if (r->events)
        rdma_destroy_event_channel(r->events);
    if (r->mem)
        munmap(r->mem, RAW_MEMORY);
}
