/* Counters in one shared page per worker: written by the worker alone with plain (relaxed) stores, read by control. */
#ifndef SRC_CORE_STATS_H
#define SRC_CORE_STATS_H

#include <stdatomic.h>

#include "src/core/addr.h"

#define STATS_CHANNELS 8192 /* slots a worker has; pages of unused ones are never touched */
#define STATS_RELAYS 32768  /* more for the connections that it relays by itself */
#define STATS_ROUTE_DOORS 64 /* of routes; the places behind them are for doors of sessions */
#define STATS_DOORS 8192     /* places of doors, as above */
#define STATS_SECURITY 72 /* characters, of the longest name of a cipher, and what is said behind it */

/* What a flow waits for when it cannot move; WAIT_RATE: for the clock, since it is paced (--rate). */
enum stats_wait { WAIT_SOURCE, WAIT_CREDITS, WAIT_SINK, WAIT_RATE, WAIT_KINDS };

struct stats_flow {
    _Atomic uint64_t put, sub, rel;          /* the ring's counters [bytes] */
    _Atomic uint64_t wait_ns[WAIT_KINDS];    /* time spent waiting for each */
    _Atomic uint32_t waiting_for;            /* enum stats_wait now, or WAIT_KINDS when it moves */
    _Atomic uint64_t since_ns;               /* of that wait, which is in none of wait_ns yet; 0: never looked at */
};

struct stats_channel { _Atomic uint64_t id; struct stats_flow flow[2]; }; /* id 0: slot not in use */

/* A connection between two TCP peers. peer came to us, backend is whom the worker dialed: socket addresses, AF_UNSPEC when not known yet.
 * Who reads it while the worker runs: all of it is of one relay when c.id is the same before and after; backend is whole when up. */
struct stats_relay {
    struct stats_channel c;
    _Atomic uint64_t born_ns;
    _Atomic uint32_t door, up;
    union sockaddr_any peer, backend;
    char security[2][STATS_SECURITY]; /* of the connection with each: "plaintext", cipher and kind of key; whole when up */
};

/* What came to one listening socket for TCP peers; of sessions, to all that ever were at that place. */
struct stats_door {
    _Atomic uint64_t accepted, refused, failed, open;           /* connections; refused: by a limit; failed: ended otherwise than clean */
    _Atomic uint64_t bytes[2], wait_ns[2][WAIT_KINDS];          /* of relays that ended, forward and backward */
};

struct stats_page {
    _Atomic uint64_t turns;        /* loop turns of the worker */
    _Atomic uint64_t copied_bytes; /* stream bytes our own code copied between transports (eager ucx only) */
    _Atomic uint64_t channels;     /* open now */
    _Atomic uint64_t work_requests, posts;           /* verbs: given to send queues, and calls of ibv_post_send */
    _Atomic uint64_t completions, completion_events; /* verbs: taken from completion queues, and wake-ups by completion channels */
    _Atomic uint64_t tcp_retransmits, link_retransmits; /* TCP segments sent again; tcp: of connections that ended */
    _Atomic uint64_t relay_high;   /* relay[relay_high ...] were never used */
    struct stats_door door[STATS_DOORS];
    struct stats_channel ch[STATS_CHANNELS];
    struct stats_relay relay[STATS_RELAYS];
};

static inline void stats_set(_Atomic uint64_t *c, uint64_t v) { atomic_store_explicit(c, v, memory_order_relaxed); }
static inline uint64_t stats_get(const _Atomic uint64_t *c) { return atomic_load_explicit(c, memory_order_relaxed); }
static inline void stats_add(_Atomic uint64_t *c, uint64_t v) { stats_set(c, stats_get(c) + v); }

/* A new page: *fd_out (close-on-exec, may be passed on) or, when fd_out is NULL, private memory. NULL and errno on failure. */
struct stats_page *stats_create(int *fd_out);
/* Map one that was passed; read-only for control, writable for its worker. NULL and errno on failure. Does not take fd. */
struct stats_page *stats_map(int fd, bool writable);
/* All zero again, as a worker needs it whose predecessor died; gives the memory back. */
void stats_clear(int fd);
void stats_unmap(struct stats_page *p); /* null-safe */

#endif
