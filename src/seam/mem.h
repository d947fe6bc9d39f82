/* The mem transport: ends of a channel that live in memory and do what a test planned. Only test programs link it.
 *
 *   byte end    connect to the name of a plan: a source brings mem_byte(seed, 0 … bytes - 1), a sink holds what comes against the same;
 *               duplex: the plan of the forward flow, whose `back` is that of the other
 *   framed end  accept, then connect, the name of a wire: two ends of one process that run the flow protocol over queues
 *
 * Names are spec.address. Plans and wires are the test's storage, and must live until its ends are closed.
 */
#ifndef SRC_SEAM_MEM_H
#define SRC_SEAM_MEM_H

#include "src/seam/framed.h"
#include "src/seam/xport.h"

/* A byte end. Calls are those of fill, drain, shut, counted from 1. */
struct mem_plan {
    uint64_t bytes, seed; /* of the stream; a sink accepts any number */
    size_t part;          /* bytes a call moves at most; 0: all it can */
    unsigned again;       /* every n-th call says -EAGAIN, and kicks later; 0: never */
    uint64_t later_ns;    /* what "later" is; 0: the loop's next turn */
    bool up_later, close_later, fail_later; /* these happen later, not at once */
    bool lag;             /* sink: releases later what it was handed */
    bool quarter;         /* source: brings nothing unless a quarter of the ring is free, as the file transport */
    bool held;            /* stands still at held_at, before the end, too; clear it and kick the end */
    uint64_t held_at;
    unsigned fail_at;     /* the call that fails, with fail_rc; 0: none */
    int fail_rc;
    struct mem_plan *back; /* duplex: the other direction's calls, bytes and moods; what concerns the whole end (later_ns, up_later) is here */
    /* what was seen */
    unsigned calls, opens, closes;
    uint64_t moved, wrong; /* bytes; those that were not what they should be */
    bool shut;
    int close_rc;
};

struct mem;

/* What lies between two framed ends. */
struct mem_wire {
    uint64_t seed;         /* of its whims */
    bool keep;             /* the sender's bytes stay until consumed, as with link; else until delivered, as with ucx */
    unsigned depth;        /* messages under way in each direction; 0: 16 */
    unsigned shuffle;      /* DATA and EOS may overtake so many messages */
    size_t part;           /* payload is delivered in parts of this size at most; 0: at once */
    uint64_t delay_ns;     /* that a message takes */
    unsigned again;        /* every n-th look of an end at its queue sees nothing, and kicks later */
    uint32_t chunk_max;    /* that the acceptor allows; 0: what it is asked for */
    bool prepare_later;    /* accept puts its answer off, for delay_ns */
    int accept_rc;         /* with which accept fails then, or at once; 0: it does not */
    bool close_later;      /* closing takes delay_ns */
    uint64_t drop_at;      /* the connection breaks at the n-th message that is delivered, counted from 1; 0: never */
    /* what was seen */
    uint64_t delivered, overtook;
    unsigned closes;       /* of its ends */
    int close_rc;
    unsigned most;         /* messages under way at once */
    struct mem *end[2];    /* acceptor, connector */
};

extern const struct xport_ops xport_mem_ops;

/* name must live as long as the plan or wire. */
void mem_plan_add(const char *name, struct mem_plan *p);
void mem_wire_add(const char *name, struct mem_wire *w);
void mem_forget(void);

/* The n-th call (from 0) of any entry that can fail (create, mem_add, connect, accept, fill, drain, shut, progress) of any mem end fails with rc.
 * Returns true always, so that it fits a loop's condition. */
bool mem_fault_arm(unsigned n, int rc);
/* Did it come to that? Disarms. *entry, when wanted: its name. */
bool mem_fault_fired(const char **entry);

/* The byte at offset off of a stream. */
static inline uint8_t mem_byte(uint64_t seed, uint64_t off)
{
    return (uint8_t)(((off + seed) * 0x9e3779b97f4a7c15ULL) >> 56);
}

#endif
