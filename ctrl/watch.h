/* What a watcher is told of a channel's progress: two looks at its counters compared. */
#ifndef CTRL_WATCH_H
#define CTRL_WATCH_H

#include "ctrl/gateway.pb-c.h"
#include "src/core/stats_sum.h"

typedef Scistream__Gateway__V1__Progress Progress;

/* One look. */
struct watch_look { uint64_t at_ns, out, back, wait_ns[WAIT_KINDS]; };

void watch_take(struct watch_look *l, const struct stats_channel *st, uint64_t now);
/* Rates and shares between two looks, totals and window of the later. waiting_for is a word of ours. m is initialised. */
void watch_compare(Progress *m, const struct watch_look *before, const struct watch_look *now, const struct stats_channel *st, uint64_t window);
/* Of so many bytes in ns [bit/s]. */
uint64_t watch_rate(uint64_t bytes, uint64_t ns);
/* "source" …; "" when it moves. */
const char *watch_waiting_for(const struct stats_flow *f);

#endif
