/* Sessions of scistream.Control at an upgrade: what scistreamd_upgrade.c gives, and scistreamd_takeover.c takes. */
#ifndef SRC_SCISTREAMD_SESSIONS_H
#define SRC_SCISTREAMD_SESSIONS_H

#include "ctrl/requests.h"

struct daemon;

struct giving {
    bool wanted, tickets;    /* the new program takes them; also those with tickets */
    char **uid;              /* of all of them, heap; NULL: nothing to give (any more) */
    size_t at, kept;         /* how far it is; how many could not be given */
    unsigned door;
};
struct taking { int fd[REQUEST_LISTENERS_MAX]; unsigned n; }; /* doors of the session that is to come */

void sessions_give_begin(struct daemon *d);
/* 0: all are given, or none was wanted; -EAGAIN: again when there is room. */
int sessions_give(struct daemon *d);
/* Some are this program's, though it is retired. */
bool sessions_stay(const struct daemon *d);
/* fd is taken. */
void sessions_take_door(struct daemon *d, int fd);
void sessions_take(struct daemon *d, const char *uid, int fd);
void sessions_take_arranged(struct daemon *d, const char *uid, int fd);
/* One has ended here: whoever had it before is to end its connections. For struct service_admin. */
void sessions_released(void *user, const char *uid);
bool sessions_before(void *user); /* the other: that program still runs, and may have some */

#endif
