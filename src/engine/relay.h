/* Relays: connections that came to a door (a listening socket for TCP peers) and that this worker joins with a TCP peer by itself. And those that
 * control is to serve: they wait here for its word.
 *
 * Whoever comes is refused (reset) when the route has its `connections`, or the rings do not fit into memory_limit; goes to another worker when
 * this one has more to do; else is a duplex channel between two tcp ends, whose rings borrow their memory while bytes are in them.
 */
#ifndef SRC_ENGINE_RELAY_H
#define SRC_ENGINE_RELAY_H

#include "ctrl/worker.pb-c.h"
#include "src/engine/channel.h"

#define RELAY_ID (1ULL << 63) /* ids of relays have this bit, those of control's channels have not */

typedef Scistream__Worker__FromWorker FromWorker;
struct relays;

/* Queue a message to control, with a descriptor that is taken, or -1. */
typedef void relay_emit(void *user, const FromWorker *m, int fd);

/* Why a relay is ended: as channel_close, and the words for it; NULL or empty: those of rc. */
struct relay_reason { int rc; const char *text; };

/* env must outlive it; env->stats and env->board must be there. */
struct relays *relays_new(struct xport_env *env, relay_emit *emit, void *user);
/* fd: its listening socket (taken), or -1 when the door is there already. */
void relays_door(struct relays *rs, const Scistream__Worker__Door *m, int fd);
/* Accept nobody there any more. What another worker had accepted and passed on before is still served. */
void relays_undoor(struct relays *rs, unsigned number);
/* Nothing is known of that door any more: end what came by it, and reset what may still be passed on. */
void relays_forget_door(struct relays *rs, unsigned number, const struct relay_reason *why);
/* A connection that another worker passed on; fd is taken. */
void relays_take(struct relays *rs, unsigned number, int fd);
/* The connection that Came with ticket, which is the caller's now; -1: there is none (any more). */
int relays_claim(struct relays *rs, uint64_t ticket);
/* The keys of the door by which it came, for the same spec; NULL: none, it is plaintext. Before it is claimed; wipe out afterwards. */
const struct psk *relays_ticket_psk(const struct relays *rs, uint64_t ticket, struct psk *out);
void relays_drop(struct relays *rs, uint64_t ticket);
/* End one, or by RELAY_ID all. False: there is no such relay. */
bool relays_close(struct relays *rs, uint64_t id, const struct relay_reason *why);
/* End all that came by one of these doors. */
void relays_close_doors(struct relays *rs, const uint32_t *doors, size_t n, const struct relay_reason *why);
/* No more of them come; abort all; idle() is called when the last has ended, from here when there is none. */
void relays_shut(struct relays *rs, void (*idle)(void *user));
/* From which rings of other channels may borrow pipes, too. */
struct ring_pool *relays_pool(struct relays *rs);
/* Only when idle. Null-safe. */
void relays_free(struct relays *rs);

#endif
