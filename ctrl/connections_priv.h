/* What connections.c and connections_watch.c share: reading the pages, choosing some, and putting them into words. */
#ifndef CTRL_CONNECTIONS_PRIV_H
#define CTRL_CONNECTIONS_PRIV_H

#include "ctrl/connections.h"

typedef Scistream__Gateway__V1__Connection ConnectionMsg;
typedef Scistream__Gateway__V1__RouteConnections RouteMsg;
typedef Scistream__Gateway__V1__FlowSum FlowSumMsg;

/* One, as it was at one moment. */
struct connection {
    unsigned worker, slot;
    uint64_t id, born_ns, out[2];
    uint32_t door, waiting_for[2];
    struct stats_sum moved;
};

#define CONNECTION_GROUPS (BOARD_ROUTE_DOORS + 1) /* of routes, and one of all sessions together */

/* Those of a route. */
struct connection_group {
    char route[ADDR_ROUTE_MAX + 1];
    bool relays;                            /* it goes on by TCP: what comes to its doors are relays */
    uint64_t reserved;                      /* bit/s, by the route; 0: it is best effort */
    uint64_t accepted, refused, failed;     /* since the workers started */
    uint64_t open, waiting[2][WAIT_KINDS];
    struct stats_sum live, ended;
};

struct connection_groups {
    unsigned n;
    struct connection_group at[CONNECTION_GROUPS];
    struct connection_group *of_door[BOARD_ROUTE_DOORS], *of_sessions; /* NULL: not wanted */
};

/* Read the doors of that route, or with an empty name of all, and then every connection; each is counted in its group and shown to visit (may be
 * NULL). One that ends in between is missing once, and was not counted twice. */
typedef void connection_visit(void *user, const struct connection *c);
void connection_groups_read(struct connection_groups *g, const struct connections *cs, const char *route, connection_visit *visit, void *user);

/* The first of many, by key, greatest first. */
struct connection_pick { uint64_t key, id, moved[2]; uint32_t worker, slot; };
struct connection_top { struct connection_pick *pick; uint32_t n, max; uint64_t seen; }; /* a heap, its root is the last of them; seen: all */
bool connection_before(const struct connection_pick *a, const struct connection_pick *b);
void connection_top_init(struct connection_top *t, uint32_t max);
void connection_top_fini(struct connection_top *t);
void connection_top_add(struct connection_top *t, const struct connection_pick *p);
void connection_top_sort(struct connection_top *t); /* first the greatest; nothing may be added afterwards */

/* On the heap; NULL: it has ended meanwhile. */
ConnectionMsg *connection_message(const struct connections *cs, const struct connection_pick *p);
RouteMsg *connection_group_message(const struct connection_group *g);

#endif
