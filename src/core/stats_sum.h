/* What flows have moved and waited for, as plain numbers: of one channel or of many. */
#ifndef SRC_CORE_STATS_SUM_H
#define SRC_CORE_STATS_SUM_H

#include "src/core/stats.h"

struct stats_sum { uint64_t bytes[2], wait_ns[2][WAIT_KINDS]; }; /* forward and backward */

void stats_sum_add(struct stats_sum *to, const struct stats_sum *s);
/* Add what a channel has so far, a wait that lasts until now included. */
void stats_sum_channel(struct stats_sum *to, const struct stats_channel *c, uint64_t now);
/* The relays of a door that have ended. */
void stats_sum_door(struct stats_sum *to, const struct stats_door *d);
/* No number of s smaller than in shown, which becomes s: readers of counters are promised that. */
void stats_sum_never_back(struct stats_sum *s, struct stats_sum *shown);
/* "source", "credits", "sink", "rate"; "" for WAIT_KINDS. */
const char *stats_wait_name(unsigned wait);

#endif
