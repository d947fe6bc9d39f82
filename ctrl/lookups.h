/* Names of several places, looked up side by side, a few at a time. */
#ifndef CTRL_LOOKUPS_H
#define CTRL_LOOKUPS_H

#include "tcp/resolve.h"

/* where: the addresses with their ports. n 0: there are none, and why says it. */
struct request_target { const char *text; char *const *addresses; size_t n; uint16_t port; const union sockaddr_any *where; const char *why; };

/* All are known: t in the order of the words. It lives until lookups_drop, which may be called from there. */
typedef void lookups_done(void *user, const struct request_target *t, size_t n);

struct lookups;
/* words: "HOST:PORT" that addr_parse_hostport takes, NULL-terminated, at least one. done is called once, from the loop, never from here. Never NULL. */
struct lookups *lookups_start(struct resolver *r, char *const *words, lookups_done *done, void *user);
/* done is not called any more. Null-safe. */
void lookups_drop(struct lookups *l);

#endif
