/* What a running scistreamd and the program that is to take its place say to each other, over a pair of SOCK_SEQPACKET sockets: a word, a space and
 * its value in each packet, perhaps with a descriptor. A word that one side does not know it leaves out: they may be of different versions.
 *
 *   old -> new   socket WHAT     a listening socket goes with it
 *                grants -        sessions that were granted, or arranged and are attached to: memory goes with it, a text of grants_export
 *                begin VERSION   these were all
 *                door PORT       a listening socket of a session of scistream.Control goes with it
 *                session UID     these were its doors; a memory file with what else is to be known of it goes with it (Gateway.Session)
 *                arranged UID    the same of one that was arranged with a ticket, which the memory has, too (Gateway.HandedSession)
 *                yours PID       streams that begin are the new one's from now on; PID: who said it
 *                serves N        channels that are still open here
 *   new -> old   sessions WHICH  before ready: it takes these, too; "arranged": also those with tickets
 *                ready VERSION   it can serve
 *                failed WHY      it cannot
 *                abort -         end what is still open
 *                release UID     a session that it was given has ended: so do its connections
 * The end of the connection: that program has ended.
 */
#ifndef SRC_HANDOVER_H
#define SRC_HANDOVER_H

#include <stddef.h>

#define HANDOVER_ENV "SCISTREAM_HANDOVER" /* in the environment of the new program: its descriptor of the pair */
#define HANDOVER_VALUE 640

struct handover_word { char word[16], value[HANDOVER_VALUE]; int fd; };

/* fd goes with it (a copy), -1: none. Never waits. 0 or -errno. */
int handover_say(int to, const char *word, const char *value, int fd);
/* The next packet: 1, and out->fd is the caller's (-1: none); 0: the other has ended; -EAGAIN; -errno. */
int handover_hear(int from, struct handover_word *out);

#endif
