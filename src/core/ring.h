/* The ring: one per flow. Its memory is mapped twice back to back, so every span is contiguous and no code handles a wrap.
 *
 *        base                    base + cap               base + 2 cap
 *         |  first view            |  second view (same pages)  |
 *
 *   rel <= sub <= put <= rel + cap       counters only grow, place of offset o is base + o % cap
 *     put  [0,put) has arrived without a hole    sub  handed to the sink    rel  the sink is done with them
 *
 * Touch bytes through one view only within a function: a compiler does not know that base[i] and base[cap+i] are one byte.
 */
#ifndef SRC_CORE_RING_H
#define SRC_CORE_RING_H

#include "src/core/util.h"

#define RING_CAP_MIN (4ULL << 10)
#define RING_CAP_MAX (4ULL << 30)
#define RING_EXTENTS_MAX 1024
#define RING_MAPPINGS 4 /* of the kernel's, at most: its views, and what is around them, which neighbours may share */
#define RING_CLOG (256U << 10) /* measured: without it a relay between two sockets took half as much processor time again */
#define RING_NO_TOTAL UINT64_MAX

struct ring_extent; /* a claimed range at or beyond put */

struct ring {
    uint8_t *base;
    size_t cap;
    uint64_t put, sub, rel;
    uint64_t gate;  /* sub may not pass it: pacing. UINT64_MAX: open */
    uint64_t total; /* RING_NO_TOTAL until the source knows it */
    struct ring_extent *ext; /* sorted by offset, never overlapping */
    unsigned n_ext, room_ext;
    bool huge;      /* in 2 MiB pages */
    bool piped;     /* it has a pipe of the kernel's (ring_pool.h), in place of memory (base is NULL) or in front of it */
    int pipe[2];
    uint64_t pipe_end; /* bytes of [sub, pipe_end) are in the pipe, those behind in memory */
    size_t pipe_held;  /* bytes in the pipe, submitted ones too that were not taken out yet */
    void *map;      /* what munmap wants */
    size_t map_len;
};

/* Pages of the kernel's 2 MiB reserve (vm.nr_hugepages), for rings of that size and more: while there are some, never, or no ring at all. */
enum ring_pages { RING_PAGES_AUTO, RING_PAGES_HUGE, RING_PAGES_SMALL };

/* cap is rounded up to a page, to 2 MiB above that size. Pages are not touched. Caller's storage.
 * 0, -EINVAL (cap out of range), -ENOMEM, -errno of memfd_create/mmap (VMAs: vm.max_map_count; 2 MiB pages: none are left). */
int ring_init(struct ring *r, size_t cap, enum ring_pages pages);
void ring_fini(struct ring *r); /* accepts zeroed memory */
/* Nanoseconds that an adapter may need for the pages of a ring, which are filled and pinned: a second for 64 MiB, of which an
 * emulated processor was measured to need 0.6. bytes may be what a peer claims. */
static inline uint64_t ring_pin_ns(uint64_t bytes) { return MIN(bytes, RING_CAP_MAX) / (64 << 20) * NS_PER_S; }

static inline uint8_t *ring_at(const struct ring *r, uint64_t off) { return r->base + off % r->cap; }
static inline size_t ring_room(const struct ring *r) { return r->cap - (size_t)(r->put - r->rel); }
static inline size_t ring_waiting(const struct ring *r)
{
    uint64_t upto = MIN(r->put, r->gate);
    return upto > r->sub ? (size_t)(upto - r->sub) : 0;
}
static inline size_t ring_held(const struct ring *r) { return (size_t)(r->put - r->rel); }
/* The source has brought everything. */
static inline bool ring_ended(const struct ring *r) { return r->put == r->total; }
/* The sink has been handed everything / is done with everything. */
static inline bool ring_all_submitted(const struct ring *r) { return r->sub == r->total; }
static inline bool ring_all_released(const struct ring *r) { return r->rel == r->total; }

/* A source that delivers in order: write at ring_at(r, r->put), at most ring_room(r), then commit. Not while claims exist. */
static inline void ring_commit(struct ring *r, size_t n) { r->put += n; }
/* A sink takes from ring_at(r, r->sub), at most ring_waiting(r), then submits, and releases when it is done with them. */
static inline void ring_submit(struct ring *r, size_t n) { r->sub += n; }
static inline void ring_release_to(struct ring *r, uint64_t off) { r->rel = off; }
/* The pipe is a queue, and memory comes behind it: a source may put more into the pipe only while no byte waits in memory. */
static inline bool ring_pipe_open(struct ring *r)
{
    if (r->piped && r->sub == r->put)
        r->pipe_end = r->put;
    return r->piped && r->pipe_end == r->put;
}
/* n bytes at put, committed or filled just now, are in the pipe / the sink has taken n out of it. */
static inline void ring_piped_in(struct ring *r, size_t n) { r->pipe_held += n; r->pipe_end = r->put; }
static inline void ring_piped_out(struct ring *r, size_t n) { r->pipe_held -= n; }
/* Of those that wait, the first that are in the pipe; 0: the first are in memory. */
static inline size_t ring_waiting_piped(const struct ring *r)
{
    return r->piped && r->pipe_end > r->sub ? MIN(ring_waiting(r), (size_t)(r->pipe_end - r->sub)) : 0;
}
/* So much is in its pipe that more would come in crumbs, each with a wake-up of its own: the sink first. */
static inline bool ring_clogged(const struct ring *r) { return r->piped && r->pipe_held > RING_CLOG; }

/* No byte at or after total will come. 0; -SST_EPROTO when bytes beyond it are here or claimed, another total was said, or it is
 * RING_NO_TOTAL. */
int ring_end(struct ring *r, uint64_t total);

/* A source that delivers at absolute offsets. owner is any non-null mark of the connection.
 * 0; -SST_EPROTO when [off, off+len) is empty, below put, beyond rel + cap or total, or overlaps another claim; -ENOSPC when RING_EXTENTS_MAX are out. */
int ring_claim(struct ring *r, uint64_t off, size_t len, const void *owner);
/* The next n bytes of the claim that begins at off have arrived (a claim may be filled in parts, front first); moves put over
 * what has no hole before it. 0, or -EINVAL when owner has no such claim or n is more than is missing. */
int ring_fill(struct ring *r, uint64_t off, size_t n, const void *owner);
/* Give back what owner claimed and did not fill: its connection is closed and will not write there any more. */
void ring_unclaim(struct ring *r, const void *owner);

#endif
