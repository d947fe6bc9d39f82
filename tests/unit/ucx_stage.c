#include "tests/unit/ucx_stage.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "src/core/wire.h"

const struct xport_ops *const xport_list[] = { &xport_ucx_ops, &xport_mem_ops, NULL };

void ucx_stage_open(struct stage *s, uint64_t patience_ns)
{
    char why[XPORT_WHY] = "";
    stage_init(s, &xport_ucx_ops, patience_ns);
    CU_ASSERT_EQUAL(conf_set(s->rig.conf, "ucx.devices=lo", why, sizeof(why)), 0);
    stage_listen(s);
}

/* ------------------------------------------------------------ a stranger */

uint64_t stranger_id(const uint8_t cookie[XPORT_COOKIE])
{
    struct wire w = wire_reader(cookie, 8);
    return wire_u64(&w) | 1;
}

static void on_error(void *arg, ucp_ep_h ep UNUSED, ucs_status_t status) { ((struct stranger *)arg)->broken = status; }

static ucs_status_t on_message(void *arg, const void *h UNUSED, size_t hn UNUSED, void *d UNUSED, size_t n UNUSED, const ucp_am_recv_param_t *p UNUSED)
{
    ((struct stranger *)arg)->heard = true;
    return UCS_OK;
}

void stranger_open(struct stranger *x, const struct stage *s, uint64_t client_id)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(s->spec.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    ucp_params_t p = { .field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP };
    ucp_worker_params_t wp = { .field_mask = UCP_WORKER_PARAM_FIELD_CLIENT_ID, .client_id = client_id };
    ucp_ep_params_t ep = { .field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                                         UCP_EP_PARAM_FIELD_ERR_HANDLER,
                           .flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER | (client_id ? UCP_EP_PARAMS_FLAGS_SEND_CLIENT_ID : 0),
                           .sockaddr = { (struct sockaddr *)&at, sizeof(at) }, .err_mode = UCP_ERR_HANDLING_MODE_PEER,
                           .err_handler = { on_error, x } };
    ucp_am_handler_param_t am = { .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG,
                                  .id = 1, .cb = on_message, .arg = x };
    *x = (struct stranger){ .broken = UCS_OK };
    CU_ASSERT_FATAL(ucp_init(&p, NULL, &x->ctx) == UCS_OK && ucp_worker_create(x->ctx, &wp, &x->worker) == UCS_OK);
    CU_ASSERT(ucp_worker_set_am_recv_handler(x->worker, &am) == UCS_OK && ucp_ep_create(x->worker, &ep, &x->ep) == UCS_OK);
}

static void step(struct stranger *x, struct stage *s)
{
    while (ucp_worker_progress(x->worker))
        ;
    loop_turn(&s->rig.loop, NS_PER_MS);
}

void stranger_turn(struct stranger *x, struct stage *s, uint64_t ns)
{
    for (uint64_t until = now_ns() + ns; now_ns() < until;)
        step(x, s);
}

void stranger_say(struct stranger *x, struct stage *s, const void *header, size_t n, const void *data, size_t len)
{
    ucp_request_param_t p = { .op_attr_mask = 0 };
    void *r = ucp_am_send_nbx(x->ep, 1, header, n, data, len, &p);
    if (!r || UCS_PTR_IS_ERR(r))
        return;
    while (ucp_request_check_status(r) == UCS_INPROGRESS)
        step(x, s);
    ucp_request_free(r);
}

void stranger_frame(struct stranger *x, struct stage *s, const uint8_t cookie[XPORT_COOKIE], const struct frame *f, const void *data)
{
    uint8_t head[XPORT_COOKIE + FRAME_SIZE];
    memcpy(head, cookie, XPORT_COOKIE);
    frame_encode(f, head + XPORT_COOKIE);
    stranger_say(x, s, head, sizeof(head), data, data ? f->len : 0);
}

void stranger_await_broken(struct stranger *x, struct stage *s)
{
    uint64_t until = now_ns() + 60 * NS_PER_S;
    while (x->broken == UCS_OK && now_ns() < until)
        step(x, s);
    CU_ASSERT_NOT_EQUAL(x->broken, UCS_OK);
}

void stranger_close(struct stranger *x, struct stage *s)
{
    ucp_request_param_t p = { .op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS, .flags = UCP_EP_CLOSE_FLAG_FORCE };
    void *r = ucp_ep_close_nbx(x->ep, &p);
    if (UCS_PTR_IS_PTR(r)) {
        while (ucp_request_check_status(r) == UCS_INPROGRESS)
            step(x, s);
        ucp_request_free(r);
    }
    ucp_worker_destroy(x->worker);
    ucp_cleanup(x->ctx);
}
