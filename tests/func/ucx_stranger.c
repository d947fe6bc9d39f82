/* A UCX client that belongs to no attach: connects to a gateway's listener again and again, with client ids that nobody was given and
 * with none, and says what it was told. Usage: ucx_stranger HOST PORT TIMES */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <ucp/api/ucp.h>

#define PATIENCE_S 10

static void on_error(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    (void)ep;
    *(ucs_status_t *)arg = status;
}

static void close_ep(ucp_worker_h worker, ucp_ep_h ep)
{
    ucp_request_param_t p = { .op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS, .flags = UCP_EP_CLOSE_FLAG_FORCE };
    void *closing = ucp_ep_close_nbx(ep, &p);
    time_t until = time(NULL) + PATIENCE_S;
    while (UCS_PTR_IS_PTR(closing) && ucp_request_check_status(closing) == UCS_INPROGRESS && time(NULL) < until)
        ucp_worker_progress(worker);
    if (UCS_PTR_IS_PTR(closing))
        ucp_request_free(closing);
}

/* One connection, and some bytes sent although nobody has agreed to them; how it ended. */
static ucs_status_t try_once(ucp_context_h ctx, const struct sockaddr_in *to, uint64_t client_id)
{
    ucp_worker_params_t wp = { .field_mask = UCP_WORKER_PARAM_FIELD_CLIENT_ID, .client_id = client_id };
    ucs_status_t ended = UCS_OK;
    ucp_worker_h worker;
    ucp_ep_h ep;
    ucp_ep_params_t p = { .field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                                        UCP_EP_PARAM_FIELD_ERR_HANDLER,
                          .flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER | (client_id ? UCP_EP_PARAMS_FLAGS_SEND_CLIENT_ID : 0),
                          .sockaddr = { (const struct sockaddr *)to, sizeof(*to) }, .err_mode = UCP_ERR_HANDLING_MODE_PEER,
                          .err_handler = { on_error, &ended } };
    char junk[5000] = { 1, 2, 3 };
    ucp_request_param_t none = { 0 };
    if (ucp_worker_create(ctx, &wp, &worker) != UCS_OK)
        return UCS_ERR_NO_RESOURCE;
    if (ucp_ep_create(worker, &p, &ep) == UCS_OK) {
        void *sent = ucp_am_send_nbx(ep, 1, junk, 40, junk, sizeof(junk), &none);
        time_t until = time(NULL) + PATIENCE_S;
        while (ended == UCS_OK && time(NULL) < until)
            ucp_worker_progress(worker);
        close_ep(worker, ep);
        if (UCS_PTR_IS_PTR(sent))
            ucp_request_free(sent);
    }
    ucp_worker_destroy(worker);
    return ended;
}

int main(int argc, char **argv)
{
    ucp_params_t params = { .field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_AM };
    struct sockaddr_in to = { .sin_family = AF_INET };
    ucp_context_h ctx;
    bool all = argc == 4;
    if (!all || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
        return 64;
    to.sin_port = htons((uint16_t)atoi(argv[2]));
    setenv("UCX_TLS", "tcp", 1);
    setenv("UCX_NET_DEVICES", "lo", 1);
    if (ucp_init(&params, NULL, &ctx) != UCS_OK)
        return 1;
    for (int i = 0; i < atoi(argv[3]); i++) {
        uint64_t id = 0;
        if (i % 4 && getrandom(&id, sizeof(id), 0) != sizeof(id))
            return 1;
        ucs_status_t ended = try_once(ctx, &to, id);
        printf("client id %016llx: %s\n", (unsigned long long)id, ucs_status_string(ended));
        all = all && ended == UCS_ERR_REJECTED;
    }
    ucp_cleanup(ctx);
    return !all;
}
