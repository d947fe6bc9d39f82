/* Doors: the listening sockets of routes for TCP peers (accept = {"tcp://..."}) and of sessions that scistream.Control arranges, kept by control and given
 * to every worker, also to one that takes the place of a dead one; and where the TCP peers are that routes connect to (connect = "tcp://..."). Names are looked up again and again.
 */
#ifndef CTRL_DOORS_H
#define CTRL_DOORS_H

#include "ctrl/pool.h"
#include "ctrl/record.h"
#include "ctrl/route.h"
#include "ctrl/shares.h"
#include "tcp/resolve.h"

#define ALL_RELAYS (1ULL << 63) /* Close of worker.proto; ids of relays have this bit, too */

/* What the doors of all sessions are counted and listed as; no route can have that name. */
#define DOORS_SESSIONS "scistream:sessions"

struct doors;

/* Bind the doors of all routes. NULL and why. */
struct doors *doors_open(const struct conf *conf, const struct routes *routes, char *why, size_t why_size);
/* Look the TCP peers up. */
void doors_start(struct doors *ds, struct loop *l, struct pool *p, struct resolver *r, struct records *records);
/* From now on what comes by them counts in the shares of their routes and sessions. */
void doors_use_shares(struct doors *ds, struct shares *sh);
uint64_t doors_reserved(const struct doors *ds, const char *route); /* bit/s; 0: it is best effort */
/* Bytes of the rings that are kept for connections to doors of class provisioned, and not in use. */
uint64_t doors_kept_memory(const struct doors *ds);
/* From now on whoever comes is accepted: by the workers that have started, and by each that starts. */
void doors_begin(struct doors *ds);
void doors_worker_started(struct doors *ds, struct pool_worker *w);
/* The route of a door; NULL: there is none of that number. */
struct route *doors_route(const struct doors *ds, unsigned number);
/* Its name, or DOORS_SESSIONS for the place of a session's; for tally_use_doors. NULL: there is none. */
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
/* The sockets of routes are closed: another program has them. Those of sessions stay. */
void doors_retire(struct doors *ds);
/* The same for a while: they stay open, only nobody here accepts, until doors_wake. */
void doors_rest(struct doors *ds);
void doors_wake(struct doors *ds);
/* No more connections; the sockets are closed. */
void doors_close(struct doors *ds);
size_t doors_count(const struct doors *ds); /* of routes */
void doors_free(struct doors *ds); /* null-safe */

/* ------------------------------------------------------------ doors of sessions: ports of scistream.data_ports, lent one by one */
/* Bind n of them for the session of that uid and its owner: numbers[0 … n). Whoever connects waits until it is aimed. 0; -SST_ELIMIT: there are not so many;
 * of those that are wanted -EINVAL: one is none of data_ports, -EADDRINUSE: somebody has it. Then why says it, and none is taken. */
struct doors_borrower {
    const char *uid, *principal;
    bool cons;             /* the WAN is where connections go to, else where they come from */
    const uint8_t *secret; /* TLS_KEY_SIZE bytes from which the WAN side is keyed; NULL: as the configuration says */
    const uint16_t *ports; /* as many, that are wanted; NULL: any */
};
int doors_lend(struct doors *ds, const struct doors_borrower *b, uint32_t *numbers, unsigned n, char *why, size_t why_size);
uint32_t doors_share(const struct doors *ds, uint32_t number); /* 0: none */
uint16_t doors_port(const struct doors *ds, uint32_t number);
/* From now on connections go to the first of these numeric addresses that takes them; again: those that are open stay where they are. */
struct doors_target { char *const *addresses; size_t n; uint16_t port; };
void doors_aim(struct doors *ds, uint32_t number, const struct doors_target *to);
/* Where that is; strings are the doors'. Without addresses before it was aimed. */
struct doors_target doors_target_of(const struct doors *ds, uint32_t number);
/* From now on who comes is reset, or let in again; those that are open stay. */
void doors_shut(struct doors *ds, const uint32_t *numbers, unsigned n, bool shut);
/* The ports are free again when this returns, and connections are reset, with that reason. */
void doors_take_back(struct doors *ds, const uint32_t *numbers, unsigned n, int rc, const char *text);
/* Listening sockets that another program had lent for it, taken: as doors_lend. 0; -SST_ELIMIT: there are no places, and they are closed. */
int doors_adopt(struct doors *ds, const struct doors_borrower *b, int *fds, unsigned n, uint32_t *numbers);
/* Another program has them: they are closed here, the ports stay, and so do connections until doors_take_back. */
void doors_hand_over(struct doors *ds, const uint32_t *numbers, unsigned n);
/* Its socket, which stays the doors'; -1: it has none. */
int doors_fd(const struct doors *ds, uint32_t number);
/* What came by one, since it was lent. Bytes: of those that have ended. */
struct doors_sum { uint64_t open, accepted, refused, failed; struct stats_sum moved; };
void doors_add_sum(const struct doors *ds, uint32_t number, struct doors_sum *to);
/* The bytes of the connections that are open: one look at all of them, for many sessions. Heap array, by place: board_place(number). */
struct stats_sum *doors_live(const struct doors *ds);
/* No place from there on was ever used; BOARD_ROUTE_DOORS: there was no session. */
unsigned doors_places(const struct doors *ds);
/* Whose it is; "": no session's, or not any more. */
const char *doors_uid(const struct doors *ds, uint32_t number);

#endif
