/* scistream-send and scistream-recv whose verbs transport is evil: they attach as they should, with the right secret, and then do what
 * $ATTACK names. What became of it goes to standard error, as "attacker: NAME: ...". */
#ifndef TESTS_RDMA_ATTACKER_H
#define TESTS_RDMA_ATTACKER_H

#include <pthread.h>

#include "src/seam/xport.h"
#include "tests/rdma/raw.h"

struct attack;

struct evil {
    struct xport x;
    struct raw r;
    struct verbs_intro mine, peer;   /* told by us, by the peer */
    uint64_t limit;                  /* the peer's, for what we send */
    uint8_t cookie[FRAME_COOKIE];
    char host[XPORT_TEXT];
    uint16_t port;
    bool accepts, started;
    pthread_t thread;
    struct io io;                    /* an eventfd: the thread saw HELLO */
    const struct attack *attack;
};

struct attack {
    const char *name;
    void (*act)(struct evil *e);                /* after the connection; early: instead of connecting, or of accepting what came */
    bool early;
    void (*spoil)(struct verbs_intro *intro);   /* what is told, before it is encoded */
    uint8_t at, value;                          /* this byte of it afterwards; value 0: none */
};

extern const struct attack attacks_send[], attacks_recv[], attacks_accept[]; /* the last has no name */

void evil_say(const struct evil *e, const char *fmt, ...) PRINTF(2, 3);
/* HELLO there and back, and the first LIMIT when there is something to be limited; the hop is up then. False: it did not come. */
bool evil_hello(struct evil *e);
/* A message as it should be, with the count of receives as it is. The status of its completion. */
int evil_tell(struct evil *e, struct frame f);
struct frame evil_data(uint64_t off, uint32_t len);
/* Show the intro, as spoiled, and read the acceptor's. "" or what came instead. */
const char *evil_meet(struct evil *e);
/* Read what the peer says until the connection is over, and report it. */
void evil_aftermath(struct evil *e);

#endif
