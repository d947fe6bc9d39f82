/* Sessions that were granted for a time: who holds a ticket of one may attach to it, in the role of the ticket, as often as he likes until it expires.
 * Times are seconds since 1970 of the wall clock, as in tickets. A grant is counted: who attached by it keeps it when it is over, with its secrets,
 * which the last one wipes. Those that were arranged (ctrl/arranged.h) stay until nobody uses them any more. */
#ifndef CTRL_GRANTS_H
#define CTRL_GRANTS_H

#include "ctrl/route.h"
#include "src/core/list.h"
#include "src/core/loop.h"

#define GRANTS_MAX 4096
#define GRANT_KEY 32
#define GRANT_UID 33
#define GRANT_LIFE_MAX_S (366ULL * 24 * 3600)

enum grant_role { GRANT_SEND, GRANT_RECV, GRANT_ROLES };

struct grant {
    struct list node;
    unsigned users;
    bool over;                             /* out of the table: expired, revoked, or its route is gone */
    char uid[GRANT_UID];
    struct route *route;                   /* the newest of its name; held */
    struct arranged *arranged;             /* NULL: it was granted on a route of the configuration; else its route was made for it */
    uint32_t channels;                     /* at once, whatever the route allows */
    uint8_t key[GRANT_ROLES][GRANT_KEY];
    struct secret secret[GRANT_ROLES];     /* of key; len 0: that role was not granted */
    uint64_t issued_s, expires_s;
    uint64_t attached[GRANT_ROLES];        /* how often somebody did */
    char by[257], from[ADDR_TEXT];         /* who granted it, and where he asked */
};

/* What becomes of them, told while they still exist. The last three are of arranged ones. */
struct grants_events {
    void (*over)(void *user, const struct grant *g, const char *why);   /* nobody can come to it any more: it "has expired" */
    bool (*busy)(void *user, const struct grant *g);                    /* does anybody still use it? */
    void (*soon)(void *user, const struct grant *g);                    /* ARRANGED_SOON_S before its time is over */
    void (*gone)(void *user, const struct grant *g, const char *abort); /* abort: whoever still uses it is to be ended, with that sentence; NULL: nobody does */
};

struct grants {
    struct list all;
    size_t n;
    const struct conf *conf;               /* whose transports arranged ones have; NULL: none can be arranged. The owner's to set */
    const char *frozen;                    /* why nothing may be changed now; NULL: it may */
    struct loop *loop;                     /* NULL: nothing happens by itself */
    struct timer look;
    const struct grants_events *ev;        /* NULL: nobody listens */
    void *user;
};

void grants_init(struct grants *gs);
/* Drop from now on what expires. */
void grants_start(struct grants *gs, struct loop *l, const struct grants_events *ev, void *user);
void grants_fini(struct grants *gs); /* nothing is told; accepts zeroed memory */

struct grant_terms {
    struct route *route;
    uint32_t channels;                     /* at least 1 */
    bool role[GRANT_ROLES];
    uint64_t life_s;                       /* at least 1 */
    const char *by, *from;
};
/* With a new uid and new secrets. NULL: there are GRANTS_MAX. */
struct grant *grants_add(struct grants *gs, const struct grant_terms *t, uint64_t now_s);
/* That may still be attached to; NULL: there is none with that uid, or it is over. */
struct grant *grants_find(const struct grants *gs, const char *uid, uint64_t now_s);
/* It expires life_s from now, sooner or later than before. */
void grants_renew(struct grants *gs, struct grant *g, uint64_t life_s, uint64_t now_s);
/* Now; g is gone afterwards, unless it is held, or was arranged and somebody uses it. */
void grants_revoke(struct grants *gs, struct grant *g);
void grants_expire(struct grants *gs, uint64_t now_s);
/* Somebody has left one: grants_expire is called from the loop. */
void grants_left(struct grants *gs);
/* There are other routes by now: a grant goes on by the one of the same name, and is over when there is none to which anybody attaches. One that was
 * arranged has its own. */
void grants_follow(struct grants *gs, const struct routes *rs);

/* For the program that takes over: a line for each, with the secrets. Heap, the caller's to wipe. */
char *grants_export(const struct grants *gs);
/* Such lines: those that may still be used, or are arranged, and whose route there is. How many; a line that makes no sense, or another version's, is left out. */
unsigned grants_import(struct grants *gs, const char *lines, const struct routes *rs, uint64_t now_s);

/* For ctrl/arranged*.c. Into the table, with the caller's hold of it. */
void grants_put(struct grants *gs, struct grant *g, uint64_t now_s);
/* Out of it; tells over() if that has not been told, and gone(). abort: as there. */
void grants_end(struct grants *gs, struct grant *g, const char *why, const char *abort);
void grant_set_key(struct grant *g, enum grant_role role, const uint8_t *key); /* NULL: random */

struct grant *grant_hold(struct grant *g);
void grant_drop(struct grant *g); /* null-safe */

#endif
