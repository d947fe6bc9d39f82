/* Doors: the listening sockets of routes for TCP peers (accept = {"tcp://..."}), kept by control and given to every worker, also to one that takes
 * the place of a dead one; and where the TCP peers are that routes connect to (connect = "tcp://..."). Names are looked up again and again.
 */
#ifndef CTRL_DOORS_H
#define CTRL_DOORS_H

#include "ctrl/pool.h"
#include "ctrl/record.h"
#include "ctrl/route.h"
#include "tcp/resolve.h"

#define ALL_RELAYS (1ULL << 63) /* Close of worker.proto; ids of relays have this bit, too */

struct doors;

/* Bind the doors of all routes. NULL and why. */
struct doors *doors_open(const struct conf *conf, const struct routes *routes, char *why, size_t why_size);
/* Look the TCP peers up. */
void doors_start(struct doors *ds, struct loop *l, struct pool *p, struct resolver *r, struct records *records);
/* From now on whoever comes is accepted: by the workers that have started, and by each that starts. */
void doors_begin(struct doors *ds);
void doors_worker_started(struct doors *ds, struct pool_worker *w);
/* The route of a door; NULL: there is none of that number. */
struct route *doors_route(const struct doors *ds, unsigned number);
/* Its name, for tally_use_doors. */
const char *doors_route_name(const void *doors, unsigned number);
/* "route iperf, tcp://0.0.0.0:7000" */
const char *doors_name(const struct doors *ds, unsigned number);
/* Where connections of r to its TCP peer go; strings are the doors', until the loop's next turn. Without addresses while nothing is known. */
void doors_peer(const struct doors *ds, const struct route *r, Scistream__Worker__TcpPeer *out);
/* The worker has died; its page still tells what it relayed: all of that was reset, and each has its record. */
void doors_worker_died(struct doors *ds, const struct pool_worker *w);
/* A relay has ended: log and record it. */
void doors_relayed(struct doors *ds, const struct pool_worker *w, const Scistream__Worker__Relayed *m);
/* Other routes, in two steps: bind what they have that is not there; 0, or -errno and why, and nothing has changed. */
int doors_prepare(struct doors *ds, const struct routes *now, char *why, size_t why_size);
/* And go by them: workers are told, sockets that nobody wants any more are closed. Connections go on as they began. */
void doors_follow(struct doors *ds, const struct routes *now);
/* Who comes is reset, until doors_resume: the sockets stay. */
void doors_pause(struct doors *ds);
void doors_resume(struct doors *ds);
/* End all connections that workers relay by themselves. */
void doors_abort_relays(struct doors *ds, int rc);
/* Each listening socket: it stays the doors'. */
void doors_each(const struct doors *ds, void (*each)(void *user, int fd), void *user);
/* No more connections; the sockets are closed. */
void doors_close(struct doors *ds);
size_t doors_count(const struct doors *ds);
void doors_free(struct doors *ds); /* null-safe */

#endif
