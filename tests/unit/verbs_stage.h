/* Two gateways' verbs transports in one process, on the RDMA devices with the addresses $RDMA_HERE and $RDMA_THERE; peers that connect and
 * say nothing; and calls into the libraries that fail. */
#ifndef TESTS_UNIT_VERBS_STAGE_H
#define TESTS_UNIT_VERBS_STAGE_H

#include <pthread.h>

#include "rdma/verbs.h"
#include "tests/unit/stage.h"

/* There: $RDMA_THERE, where env[0] listens. NULL: this machine has no such devices. */
const char *verbs_there(void);
/* patience_ns 0: the default. */
void verbs_stage_open(struct stage *s, uint64_t patience_ns);
/* Listen with this setting beside rdma.listen (or instead of it): the code, and why has the reason. */
int verbs_try_listen(const char *setting, unsigned index, char why[XPORT_WHY]);

/* What the kernel counts of queue pairs, regions, domains ... of this machine's devices; heap. */
char *verbs_resources(void);
/* Turn until they are what they were. Prints what differs. */
bool verbs_resources_same(struct stage *s, const char *before);

/* Somebody listens and never answers. */
struct mute_listener { struct rdma_event_channel *events; struct rdma_cm_id *id; uint16_t port; };
void mute_listen(struct mute_listener *m);
void mute_close(struct mute_listener *m);

/* Somebody connects to the listener of s with the right cookie in his private data and then says nothing. */
struct mute_guest { struct rdma_cm_id *id; struct ibv_mr *mr; pthread_t thread; uint16_t port; int rc; uint8_t room[64 * VERBS_RECEIVES_MIN]; };
void mute_dial(struct mute_guest *m, struct stage *s);
void mute_leave(struct mute_guest *m);

/* The n-th call (from 0) fails of those the transport makes to set up a connection. True always, so that it fits a loop's condition. */
bool fault_arm(unsigned n);
/* Did it come to that? Disarms. *call, when wanted: its name. */
bool fault_fired(const char **call);

#endif
