/* Does this machine let the workers keep what the configuration promises (connections, channels, sessions)? The kernel's limits of descriptors and of mappings,
 * and the places of a statistics page. A promise that cannot be kept is no reason not to start: few routes are ever full. But who made it is told. */
#ifndef CTRL_PROMISES_H
#define CTRL_PROMISES_H

#include "src/core/conf.h"

#define PROMISES_MAX 3
#define PROMISES_WHY 400

/* What a process may have here; UINT64_MAX: no limit, or not known. */
struct promises_machine { uint64_t descriptors, mappings, memory; unsigned workers; };

/* This one: RLIMIT_NOFILE as control raises it for itself and its workers, vm.max_map_count, memory_limit [bytes] of c. */
void promises_machine(struct promises_machine *m, const struct conf *c, unsigned workers);
/* A sentence for each limit that is too low, with the numbers and what to do; returns how many, at most PROMISES_MAX. */
unsigned promises_check(const struct conf *c, const struct promises_machine *m, char why[PROMISES_MAX][PROMISES_WHY]);

#endif
