/* Sessions that were granted for a time: who holds a ticket of one may attach to it, in the role of the ticket, as often as he likes until it expires.
 * Times are seconds since 1970 of the wall clock, as in tickets. A grant is counted: who attached by it keeps it when it is over, with its secrets,
 * which the last one wipes. */
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
    bool over;                             /* no new attaches: expired, revoked, or its route is gone */
    char uid[GRANT_UID];
    struct route *route;                   /* the newest of its name; held */
    uint32_t channels;                     /* at once, whatever the route allows */
    uint8_t key[GRANT_ROLES][GRANT_KEY];
    struct secret secret[GRANT_ROLES];     /* of key; len 0: that role was not granted */
    uint64_t issued_s, expires_s;
    uint64_t attached[GRANT_ROLES];        /* how often somebody did */
    char by[257], from[ADDR_TEXT];         /* who granted it, and where he asked */
};

struct grants {
    struct list all;
    size_t n;
    const char *frozen;                    /* why nothing may be changed now; NULL: it may */
    struct loop *loop;                     /* NULL: nothing happens by itself */
    struct timer look;
    void (*over)(void *user, const struct grant *g, const char *why);
    void *user;
};

void grants_init(struct grants *gs);
/* Drop from now on what expires. over() is called for each that is over, however it came, while it still exists. */
void grants_start(struct grants *gs, struct loop *l, void (*over)(void *user, const struct grant *g, const char *why), void *user);
void grants_fini(struct grants *gs); /* over() is not called; accepts zeroed memory */

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
/* Now; g is gone afterwards, unless it is held. */
void grants_revoke(struct grants *gs, struct grant *g);
void grants_expire(struct grants *gs, uint64_t now_s);
/* There are other routes by now: a grant goes on by the one of the same name, and is over when there is none to which anybody attaches. */
void grants_follow(struct grants *gs, const struct routes *rs);

/* For the program that takes over: a line for each, with the secrets. Heap, the caller's to wipe. */
char *grants_export(const struct grants *gs);
/* Such lines: those that may still be used, and whose route there is. How many; a line that makes no sense, or another version's, is left out. */
unsigned grants_import(struct grants *gs, const char *lines, const struct routes *rs, uint64_t now_s);

struct grant *grant_hold(struct grant *g);
void grant_drop(struct grant *g); /* null-safe */

#endif
