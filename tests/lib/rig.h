/* What tests of transports and channels stand on: a loop, a configuration, the environments of two workers; and a count of what
 * must be given back. */
#ifndef TESTS_LIB_RIG_H
#define TESTS_LIB_RIG_H

#include "src/seam/xport.h"

struct rig {
    struct loop loop;
    struct conf *conf;
    struct xport_env env[2]; /* two gateways in one process */
    bool closed;             /* nothing outside the loop can wake it: a sleep without a timer is a hang */
};

void rig_open(struct rig *r);
void rig_close(struct rig *r);
/* Turn until done says so. False: it hangs (closed: it sleeps for ever or spins; else a minute has passed). */
bool rig_until(struct rig *r, bool (*done)(void *arg), void *arg);
/* Turn for so long. */
void rig_wait(struct rig *r, uint64_t ns);

/* Descriptors, mappings and heap bytes in use. */
struct footprint { unsigned fds, maps; size_t heap; };
struct footprint footprint(void);
/* Prints what differs when it is not the same. */
bool footprint_same(const struct footprint *before);

#endif
