/* What sessions of class provisioned have reserved of the segments of the gateway (section capacity): who gets some, who is refused and why, and what is left
 * for best effort. A reservation counts on every segment that the session uses, and holds each way. Pure: rates are bit/s, times Unix time. */
#ifndef CTRL_CAPACITY_H
#define CTRL_CAPACITY_H

#include "src/core/conf.h"
#include "src/core/list.h"

#define CAPACITY_WHY 400
#define CAPACITY_UID 256

/* As classes are called in messages and for people. */
static inline const char *capacity_class(bool provisioned) { return provisioned ? "provisioned" : "best effort"; }

struct reservation {
    struct list node;
    char *uid, *principal;
    bool route;               /* uid is the name of a route: it is the configuration's, and ends with that alone */
    uint64_t rate;
    unsigned segments;        /* bits */
    uint64_t ends_s;          /* 0: nobody knows */
    uint64_t memory, memory_used; /* bytes of rings that are kept for its channels, and those of them that are in use */
};

struct capacity { const struct conf *conf; struct list all; };

/* Routes of conf have what it gives them. conf must outlive it. */
void capacity_init(struct capacity *c, const struct conf *conf);
void capacity_fini(struct capacity *c); /* accepts zeroed memory */
/* conf says something else now. Who has reserved something keeps it, even where it is more than there is. */
void capacity_follow(struct capacity *c);

struct capacity_terms { const char *uid, *principal; uint64_t rate, ends_s, memory; unsigned segments; };
/* 0; -SST_ELIMIT: not now, -SST_EFEATURE: never, with this configuration; why: what there is, what is missing, and when there may be room. */
int capacity_admit(struct capacity *c, const struct capacity_terms *t, char *why, size_t size);
/* It has it already, by the program before: not asked whether it fits. */
void capacity_keep(struct capacity *c, const struct capacity_terms *t);
/* Of a session; also of one that has none. */
void capacity_give_back(struct capacity *c, const char *uid);
/* NULL: it has none, it is best effort. */
const struct reservation *capacity_find(const struct capacity *c, const char *uid, bool route);

/* Rings of one of its channels out of what is kept for it. False: it has none, or they do not fit. */
bool capacity_take_memory(struct capacity *c, const char *uid, bool route, uint64_t bytes);
void capacity_give_memory(struct capacity *c, const char *uid, bool route, uint64_t bytes);
uint64_t capacity_kept_memory(const struct capacity *c); /* for all, in use or not */

uint64_t capacity_reserved(const struct capacity *c, enum segment s);
unsigned capacity_sessions(const struct capacity *c, enum segment s); /* that have reserved some of it */
/* For best effort: what is not reserved, and never less than the configuration keeps for it. 0: the segment is not limited. */
uint64_t capacity_left(const struct capacity *c, enum segment s);
/* Is any segment limited? */
bool capacity_limits(const struct capacity *c);
/* All that one principal has reserved. */
uint64_t capacity_of_principal(const struct capacity *c, const char *principal);

#endif
