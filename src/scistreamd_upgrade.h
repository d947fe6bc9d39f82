/* One program takes over from another: what scistreamd_upgrade.c does in the one that goes, and scistreamd_takeover.c in the one that comes. */
#ifndef SRC_SCISTREAMD_UPGRADE_H
#define SRC_SCISTREAMD_UPGRADE_H

#include <stdbool.h>
#include <stdint.h>

struct daemon;

/* ------------------------------------------------------------ _upgrade */
void upgrade_init(struct daemon *d);
/* Start the other program: NULL, and service_upgraded() tells what came of it; or why not. */
const char *upgrade_asked(void *user);
void upgrade_by_signal(struct daemon *d);
void upgrade_reap(struct daemon *d);
void upgrade_stop(struct daemon *d); /* one that is under way */
/* Another program has taken over, but not for so long that this one would not serve again, were that to die. */
bool upgrade_on_probation(const struct daemon *d);
void upgrade_settled(struct daemon *d); /* that is over: from now on this one only finishes its streams */
void upgrade_end(struct daemon *d);

/* ------------------------------------------------------------ _takeover */
/* Before anything else: if another program started this one to take over, take its listening sockets. Exit code. */
int takeover_begin(struct daemon *d);
void takeover_failed(struct daemon *d, const char *why);
/* All workers have started. Exit code. */
int takeover_ready(struct daemon *d);
bool takeover_waits(const struct daemon *d); /* the other still runs */
void takeover_stops(struct daemon *d); /* it is told that this one does, and not because something is wrong */
/* It shall abort what it has; and when we have ended otherwise, loop_stop some time later even if it does not. */
void takeover_abort(struct daemon *d);
void takeover_last(struct daemon *d);
/* It shall abort the channels of this granted session. Its pid; 0: there is none. For struct service_admin. */
uint32_t takeover_revoked(void *user, const char *uid);
void takeover_end(struct daemon *d);

#endif
