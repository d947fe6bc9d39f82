/* The tally: what is over, summed up by route, so that the metrics of a gateway never go back when a channel ends or a worker dies.
 * Counters that are shown are `kept` plus what lives: tally_begin, then tally_page for every worker and tally_channel for every channel. */
#ifndef CTRL_TALLY_H
#define CTRL_TALLY_H

#include "src/core/conf.h"
#include "src/core/list.h"
#include "src/core/stats_sum.h"

#define TALLY_STATES 6   /* of channels: enum sc_state */
#define TALLY_REASONS 64 /* numbers of the error table (src/core/err.h) are below */

enum tally_outcome { TALLY_CONFIRMED, TALLY_HANDED_OVER, TALLY_PROBED, TALLY_ABORTED, TALLY_OUTCOMES };
const char *tally_outcome_name(enum tally_outcome o);

struct tally_sums {
    struct stats_sum moved;
    uint64_t accepted, refused, failed, open; /* connections to the doors of a route */
    uint64_t channels[TALLY_STATES];
    uint64_t waiting[WAIT_KINDS];             /* flows that wait now */
};

struct tally_route {
    struct list node;
    char *name;
    uint64_t ended[TALLY_OUTCOMES], aborted[TALLY_REASONS];
    struct tally_sums kept, now;
    struct stats_sum shown;
};

/* Counters of a worker's page that have no route. */
#define TALLY_TOTALS(X) \
    X(copied_bytes) X(work_requests) X(posts) X(completions) X(completion_events) X(tcp_retransmits) X(link_retransmits)
struct tally_totals {
#define X(field) uint64_t field;
    TALLY_TOTALS(X)
#undef X
};

struct tally {
    struct list routes; /* struct tally_route, never removed: those of a configuration that was replaced keep their counts */
    uint64_t attached, refused[TALLY_REASONS];
    struct tally_totals kept, now;
    const char *(*route_of_door)(const void *doors, unsigned number); /* NULL: doors are numbered as in the configuration */
    const void *doors;
};

void tally_init(struct tally *t);
void tally_fini(struct tally *t); /* accepts zeroed memory */
struct tally_route *tally_route(struct tally *t, const char *name);
/* From now on, who tells the route of a door, or what all doors of sessions are counted as: a reload opens and closes some. NULL from it: there is no
 * door of that number, nor a higher one of its kind. */
void tally_use_doors(struct tally *t, const char *(*route_of_door)(const void *doors, unsigned number), const void *doors);

/* A channel has ended: once for each. rc: why it was aborted. */
void tally_ended(struct tally *t, const char *route, enum tally_outcome o, int rc, const struct stats_sum *moved);
/* An attach was refused with rc, or (0) got its channel. */
void tally_attach(struct tally *t, int rc);
/* The worker of that page has died, and the page will be cleared. */
void tally_keep(struct tally *t, const struct conf *c, const struct stats_page *p);

/* Begin to sum up what is to be shown: all routes of c are there afterwards. */
void tally_begin(struct tally *t, const struct conf *c);
void tally_page(struct tally *t, const struct conf *c, const struct stats_page *p);
void tally_channel(struct tally_route *r, const struct stats_channel *c, uint64_t now);

#endif
