/* A queue pair by hand, for those who break the rules: plain blocking calls, every wait is bounded, nothing is checked but what is asked. */
#ifndef TESTS_RDMA_RAW_H
#define TESTS_RDMA_RAW_H

#include <rdma/rdma_cma.h>

#include "rdma/verbs_wire.h"

#define RAW_MEMORY (1U << 20)
#define RAW_RECEIVES 64U
#define RAW_SENDS 512U
#define RAW_WAIT_MS 20000 /* a guest beside other load is slow */

struct raw {
    struct rdma_event_channel *events;
    struct rdma_cm_id *listener, *id;
    struct ibv_pd *pd;
    struct ibv_cq *cq;
    struct ibv_mr *mr;
    uint8_t *mem;            /* messages received, then what is sent, then (second half) a ring to be told */
    uint8_t told[256];       /* private data of the peer */
    size_t n_told;
    unsigned sending;        /* work requests not completed yet */
    int bad;                 /* first status of one that failed; 0: none */
    uint64_t inbox[256];     /* receives completed, not looked at yet: slot << 32 | length */
    unsigned first, next;
    bool over;               /* disconnected */
};

/* Address, route, device, queue pair. "" or what went wrong. */
const char *raw_resolve(struct raw *r, const char *host, uint16_t port);
/* Show private data and wait for the answer: "" established, else the event; raw_request does not wait. */
const char *raw_connect(struct raw *r, const uint8_t *private, size_t n);
const char *raw_request(struct raw *r, const uint8_t *private, size_t n);
/* Listen at host, any port; the port or 0. raw_await: the next request, told is its private data; prepare and accept it, or reject it. */
uint16_t raw_listen(struct raw *r, const char *host);
const char *raw_await(struct raw *r);
const char *raw_prepare(struct raw *r);
const char *raw_accept(struct raw *r, const uint8_t *private, size_t n);
void raw_reject(struct raw *r, const uint8_t *private, size_t n);

/* Post and wait for the completion: IBV_WC_SUCCESS or another status; -1: none came. */
int raw_send(struct raw *r, const void *bytes, size_t n);
int raw_rdma(struct raw *r, enum ibv_wr_opcode opcode, const struct verbs_intro *ring, uint64_t at, uint32_t n);
/* Post and do not wait; wait for all that was posted. */
int raw_post(struct raw *r, const void *bytes, size_t n);
int raw_wait(struct raw *r);
/* The next message that came. False: the connection is over, or none came in time. */
bool raw_take(struct raw *r, struct frame *f, int wait_ms);
/* The ring that this side would tell, in the second half of its memory. */
void raw_ring(const struct raw *r, struct verbs_intro *out);
void raw_close(struct raw *r);

#endif
