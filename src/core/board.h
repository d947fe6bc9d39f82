/* What the workers of one gateway know of each other: one shared memfd, a row for each, written by that worker alone and read by all, so that a limit
 * over all workers and a fair placement cost no message. Control writes its own row, and clears that of a worker that died. */
#ifndef SRC_CORE_BOARD_H
#define SRC_CORE_BOARD_H

#include "src/core/share.h"
#include "src/core/stats.h"

#define BOARD_WORKERS 256
#define BOARD_DOORS STATS_DOORS
#define BOARD_ROUTE_DOORS STATS_ROUTE_DOORS
#define BOARD_SHARES 16384  /* of sessions, and of routes; those that were never used cost no memory */
#define BOARD_RELAY_RING (256U << 10) /* of each of the two that a relay is promised: one that the cache of a processor holds */
#define BOARD_LEAN 8        /* relays that a worker may have more than the one with the fewest, before it hands on */
#define BOARD_LEAN_BRIEF 64 /* and where most end before that was worth it: handing on costs a connection as much as a third of its life */

struct board_row {
    _Atomic uint64_t away;                /* 1: the worker has died, and no other has taken its place yet */
    _Atomic uint64_t relays;              /* connections that the worker relays by itself */
    _Atomic uint64_t reserved;            /* bytes of rings promised to them; in control's row: to channels */
    _Atomic uint64_t piped;               /* bytes that their pipes may hold beyond that: what is left of the limit, and no reason to refuse a connection */
    _Atomic uint64_t open[BOARD_DOORS];   /* connections by the place of the door they came to */
} __attribute__((aligned(64)));

/* memory_limit: bytes, of all rings; places: control has used no higher one for a door; share: control sets the rates, 0 is nobody's. */
struct board {
    _Atomic uint64_t workers, memory_limit, places;
    struct board_row control, row[BOARD_WORKERS];
    struct share share[BOARD_SHARES];
};

/* A door of a route has a number below BOARD_ROUTE_DOORS, which is its place. Doors of sessions come and go: one has a number of its own, its place is
 * what many had before, so that nobody who is late takes it for one of those. */
static inline unsigned board_place(uint32_t number) { return number % BOARD_DOORS; }
static inline bool board_number_ok(uint32_t number) { return number < BOARD_ROUTE_DOORS || board_place(number) >= BOARD_ROUTE_DOORS; }

/* By the number that control gave; NULL: it has none. */
static inline struct share *board_share(struct board *b, uint32_t number) { return number && number < BOARD_SHARES ? &b->share[number] : NULL; }

/* As stats_create. */
struct board *board_create(int *fd_out);
struct board *board_map(int fd);
void board_unmap(struct board *b); /* null-safe */

/* Over all rows. */
uint64_t board_reserved(const struct board *b);
uint64_t board_piped(const struct board *b);
uint64_t board_open(const struct board *b, unsigned place);
/* All zero; pages of it that were never used stay so. */
void board_clear_row(const struct board *b, struct board_row *r);
/* The worker with the fewest relays, of those that are there. */
unsigned board_least(const struct board *b);

#endif
