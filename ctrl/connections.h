/* TCP connections that workers relay by themselves (src/engine/relay.h), as control sees them in the statistics pages: summed up by route, one by one,
 * and how fast from look to look; and how they are released. Nothing comes from them by message, so however many come and go, nobody is flooded.
 *
 * A look reads every one of them once, in one turn: 5,000 take 0.1 ms, 100,000 some 2 ms. Only those that are listed are put into words.
 */
#ifndef CTRL_CONNECTIONS_H
#define CTRL_CONNECTIONS_H

#include "ctrl/doors.h"
#include "ctrl/gateway.pb-c.h"

#define CONNECTION_ID 32         /* room for "r0.1f2e3d4c5b6a7" */
#define CONNECTIONS_LISTED 2048  /* at most in one reply: of the longest, less than 1 MiB */
#define CONNECTIONS_WATCHED 256  /* at most in one event */

typedef Scistream__Gateway__V1__SessionsReply SessionsReply;
typedef Scistream__Gateway__V1__Connections Connections;

/* Whose they are. */
struct connections { struct pool *pool; const struct doors *doors; };

/* The id by which people name one: worker and number of the relay. Returns out. */
const char *connection_id(char out[CONNECTION_ID], unsigned worker, uint64_t relay);
/* Back; false: text is no id. */
bool connection_parse(const char *text, unsigned *worker, uint64_t *relay);

/* How many are open, over all workers. */
uint64_t connections_open(struct pool *p);
/* Is there a door, or was there one, of that route? */
bool connections_know(const struct connections *cs, const char *route);

/* route: "" all; max: how many one by one; after: "" from the first, and with the sums; else `next` of the reply before. */
struct connections_query { const char *route, *after; bool busiest; uint32_t max; };
/* Add them to a reply, on the heap, as scistream__gateway__v1__sessions_reply__free_unpacked frees it. 0, or -EINVAL: after cannot be read. */
int connections_list(const struct connections *cs, const struct connections_query *q, SessionsReply *r);

/* What a watcher saw at its last look. */
struct connections_seen;
struct connections_seen *connections_seen_new(void);
void connections_seen_free(struct connections_seen *s); /* null-safe */
/* What has become of them since the look before, those of one route or (empty) all; the max fastest one by one. Heap, freed by connections_free;
 * NULL: it is the first look, or nothing has changed since what was told last. */
Connections *connections_look(const struct connections *cs, struct connections_seen *s, const char *route, uint32_t max);
/* The watcher could not be told of what the last look found: the next one is told in any case. */
void connections_untold(struct connections_seen *s);
void connections_free(Connections *m); /* null-safe */

/* End the one with that id: false: it is not open (any more). */
bool connections_release(const struct connections *cs, const char *id, const char *text);
/* End all of a route; how many are open now. */
uint64_t connections_release_route(const struct connections *cs, const char *route, const char *text);

#endif
