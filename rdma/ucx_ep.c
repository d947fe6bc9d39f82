#include "rdma/ucx_ep.h"

#include "src/core/err.h"
#include "src/core/secret.h"

#define AM_ID 1
#define PROGRESS_MAX 16 /* calls of ucp_worker_progress a turn */

/* ------------------------------------------------------------ sending */

static unsigned under_way(const struct ucx_ep *u) { return u->next - u->first; }

/* Release in order what has completed in any order. */
static void release_done(struct ucx_ep *u)
{
    while (u->first != u->next && u->slots[u->first % UCX_SLOTS].done) {
        const struct ucx_slot *s = &u->slots[u->first % UCX_SLOTS];
        if (s->end)
            ring_release_to(u->f->tx, s->end);
        u->first++;
    }
}

static void on_sent(void *request, ucs_status_t status, void *arg)
{
    struct ucx_slot *s = arg;
    if (status == UCS_OK)
        s->done = true;
    else if (s->u->broken == UCS_OK)
        s->u->broken = status;
    ucp_request_free(request);
}

static void send_frame(struct ucx_ep *u, const struct frame *out)
{
    struct ucx_slot *s = &u->slots[u->next++ % UCX_SLOTS];
    bool data = out->type == FRAME_DATA;
    ucp_request_param_t p = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS,
        .flags = data && out->len > UCX_EAGER_MAX ? UCP_AM_SEND_FLAG_RNDV : UCP_AM_SEND_FLAG_EAGER,
        .cb.send = on_sent,
        .user_data = s,
    };
    s->u = u;
    s->end = data ? out->a + out->len : 0;
    s->done = false;
    memcpy(s->head, u->f->cookie, FRAME_COOKIE);
    frame_encode(out, s->head + FRAME_COOKIE);
    void *r = ucp_am_send_nbx(u->ep, AM_ID, s->head, UCX_HEAD, data ? ring_at(u->f->tx, out->a) : NULL, out->len, &p);
    if (r == NULL)
        s->done = true;
    else if (UCS_PTR_IS_ERR(r) && u->broken == UCS_OK)
        u->broken = UCS_PTR_STATUS(r);
}

static bool data_under_way(const struct ucx_ep *u)
{
    for (unsigned i = u->first; i != u->next; i++)
        if (u->slots[i % UCX_SLOTS].end && !u->slots[i % UCX_SLOTS].done)
            return true;
    return false;
}

/* A rendezvous costs three messages and two wake-ups, whatever its size: hence the hold. Bytes leave some slots to what controls the other
 * direction. */
static bool next_frame(struct ucx_ep *u, struct frame *out)
{
    unsigned left = UCX_SLOTS - under_way(u), kept = u->f->rx && !framed_control_due(u->f) ? UCX_CONTROL : 0;
    u->f->hold = data_under_way(u);
    return left > kept && framed_next(u->f, out);
}

int ucx_ep_send(struct ucx_ep *u)
{
    struct frame out;
    int sent = 0;
    if (!u->ep || u->broken != UCS_OK || (u->quiet && !u->heard))
        return 0;
    while (next_frame(u, &out)) {
        send_frame(u, &out);
        sent = 1;
    }
    release_done(u);
    return sent;
}

/* ------------------------------------------------------------ receiving */

static void received(struct ucx_receive *r, ucs_status_t status)
{
    r->busy = false;
    if (status == UCS_OK)
        framed_filled(r->u->f, r->off, r->len);
    else if (r->u->broken == UCS_OK)
        r->u->broken = status;
}

static void on_received(void *request, ucs_status_t status, size_t len UNUSED, void *arg)
{
    received(arg, status);
    ucp_request_free(request);
}

static struct ucx_receive *free_receive(struct ucx_ep *u)
{
    for (unsigned i = 0; i < UCX_RECEIVES; i++)
        if (!u->receives[i].busy)
            return &u->receives[i];
    return NULL;
}

/* The payload is still with the peer: let it come straight to its place in the ring. */
static ucs_status_t take_rendezvous(struct ucx_ep *u, const struct frame *in, void *desc)
{
    struct ucx_receive *r = free_receive(u);
    if (!r) {
        u->broken = UCS_ERR_EXCEEDS_LIMIT;
        return UCS_OK;
    }
    *r = (struct ucx_receive){ .u = u, .off = in->a, .len = in->len, .busy = true };
    ucp_request_param_t p = { .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA, .cb.recv_am = on_received,
                              .user_data = r };
    void *q = ucp_am_recv_data_nbx(u->worker, desc, ring_at(u->f->rx, in->a), in->len, &p);
    if (q == NULL)
        received(r, UCS_OK);
    else if (UCS_PTR_IS_ERR(q))
        received(r, UCS_PTR_STATUS(q));
    return UCS_INPROGRESS;
}

static void take_eager(struct ucx_ep *u, const struct frame *in, const void *data)
{
    memcpy(ring_at(u->f->rx, in->a), data, in->len);
    u->copied += in->len;
    framed_filled(u->f, in->a, in->len);
}

static ucs_status_t on_message(void *arg, const void *header, size_t header_len, void *data, size_t len, const ucp_am_recv_param_t *p)
{
    struct ucx_ep *u = arg;
    struct frame in;
    if (header_len != UCX_HEAD || !secret_equal(header, u->f->cookie, FRAME_COOKIE)) {
        u->wrong_cookie |= u->ep != NULL; /* before there is one it cannot be the peer's */
        return UCS_OK;
    }
    u->heard |= u->ep != NULL;
    if (!u->ep || u->f->rc)
        return UCS_OK;
    if (frame_decode((const uint8_t *)header + FRAME_COOKIE, &in) < 0 || in.len != len) {
        framed_garbage(u->f, (const uint8_t *)header + FRAME_COOKIE);
        return UCS_OK;
    }
    if (framed_input(u->f, &in) < 0 || in.type != FRAME_DATA)
        return UCS_OK;
    if (p->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV)
        return take_rendezvous(u, &in, data);
    take_eager(u, &in, data);
    return UCS_OK;
}

/* ------------------------------------------------------------ connection */

static void on_error(void *arg, ucp_ep_h ep UNUSED, ucs_status_t status)
{
    struct ucx_ep *u = arg;
    if (u->broken == UCS_OK)
        u->broken = status;
}

int ucx_ep_open(struct ucx_ep *u, ucp_context_h ctx, struct framed *f, uint64_t client_id)
{
    *u = (struct ucx_ep){ .ctx = ctx, .f = f, .efd = -1 };
    ucp_worker_params_t wp = { .field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE | (client_id ? UCP_WORKER_PARAM_FIELD_CLIENT_ID : 0),
                               .thread_mode = UCS_THREAD_MODE_SINGLE, .client_id = client_id };
    ucp_am_handler_param_t am = { .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                                                UCP_AM_HANDLER_PARAM_FIELD_ARG | UCP_AM_HANDLER_PARAM_FIELD_FLAGS,
                                  .id = AM_ID, .cb = on_message, .arg = u, .flags = UCP_AM_FLAG_WHOLE_MSG };
    if (ucp_worker_create(ctx, &wp, &u->worker) != UCS_OK) {
        u->worker = NULL;
        return -SST_EDEVICE;
    }
    if (ucp_worker_get_efd(u->worker, &u->efd) == UCS_OK && ucp_worker_set_am_recv_handler(u->worker, &am) == UCS_OK)
        return 0;
    ucx_ep_fini(u);
    return -SST_EDEVICE;
}

ucs_status_t ucx_ep_connect(struct ucx_ep *u, const union sockaddr_any *to)
{
    ucp_ep_params_t p = { .field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                                        UCP_EP_PARAM_FIELD_ERR_HANDLER,
                          .flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER | UCP_EP_PARAMS_FLAGS_SEND_CLIENT_ID,
                          .sockaddr = { &to->sa, addr_len(to) }, .err_mode = UCP_ERR_HANDLING_MODE_PEER, .err_handler = { on_error, u } };
    return ucp_ep_create(u->worker, &p, &u->ep);
}

ucs_status_t ucx_ep_accept(struct ucx_ep *u, ucp_conn_request_h request)
{
    ucp_ep_params_t p = { .field_mask = UCP_EP_PARAM_FIELD_CONN_REQUEST | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                                        UCP_EP_PARAM_FIELD_ERR_HANDLER,
                          .conn_request = request, .err_mode = UCP_ERR_HANDLING_MODE_PEER, .err_handler = { on_error, u } };
    return ucp_ep_create(u->worker, &p, &u->ep);
}

int ucx_ep_progress(struct ucx_ep *u)
{
    int worked = 0;
    if (!u->worker)
        return 0;
    for (int i = 0; i < PROGRESS_MAX && ucp_worker_progress(u->worker); i++)
        worked = 1;
    release_done(u);
    return worked;
}

/* libucx does not look again after it has armed a completion queue. Some devices (Soft-RoCE) then raise no event for what came just before. */
int ucx_ep_arm(struct ucx_ep *u)
{
    if (!u->worker)
        return 0;
    return ucp_worker_arm(u->worker) == UCS_ERR_BUSY || ucx_ep_progress(u) ? -EBUSY : 0;
}

/* ------------------------------------------------------------ the end */

bool ucx_ep_idle(const struct ucx_ep *u)
{
    for (unsigned i = 0; i < UCX_RECEIVES; i++)
        if (u->receives[i].busy)
            return false;
    return under_way(u) == 0 && u->heard;
}

void ucx_ep_close(struct ucx_ep *u, bool force)
{
    ucp_request_param_t p = { .op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS, .flags = force ? UCP_EP_CLOSE_FLAG_FORCE : 0 };
    if (!u->ep)
        return;
    u->closing = ucp_ep_close_nbx(u->ep, &p);
    u->ep = NULL;
    if (UCS_PTR_IS_ERR(u->closing))
        u->closing = NULL;
}

bool ucx_ep_closed(struct ucx_ep *u)
{
    if (!u->closing)
        return !u->ep;
    if (ucp_request_check_status(u->closing) == UCS_INPROGRESS)
        return false;
    ucp_request_free(u->closing);
    u->closing = NULL;
    return true;
}

void ucx_ep_fini(struct ucx_ep *u)
{
    if (u->closing)
        ucp_request_free(u->closing);
    u->closing = NULL;
    if (u->worker)
        ucp_worker_destroy(u->worker);
    u->worker = NULL;
    u->ep = NULL;
    u->efd = -1;
}
