/* The ports of devices as the API shows them: those of the gateway's workers, or of a utility's own. */
#ifndef CTRL_DEVICES_H
#define CTRL_DEVICES_H

#include "ctrl/gateway.pb-c.h"
#include "ctrl/pool.h"

typedef Scistream__Gateway__V1__DevicesReply DevicesReply;

/* An empty one. Heap; devices_free. */
DevicesReply *devices_new(void);
/* Add what w sees. All workers look at the same machine: each port is shown once, as the first that has it sees it. */
void devices_add(DevicesReply *r, const struct pool_worker *w);
void devices_free(DevicesReply *r);

#endif
