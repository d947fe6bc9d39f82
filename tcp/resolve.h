/* Names to addresses by c-ares, without blocking the loop. */
#ifndef TCP_RESOLVE_H
#define TCP_RESOLVE_H

#include "src/core/addr.h"
#include "src/core/loop.h"

#define RESOLVE_MAX 8

struct resolver;
struct resolve; /* one question under way */

/* addrs: n of them, n >= 1 when rc is 0; else rc is -SST_ERESOLVE and why the sentence.
 * Called once, from the loop (never from resolve_start); the question is gone when it returns. */
typedef void resolve_done(void *user, int rc, const union sockaddr_any *addrs, size_t n, const char *why);

/* NULL when c-ares cannot start (no memory, unreadable resolv.conf). */
struct resolver *resolver_new(struct loop *l);
void resolver_free(struct resolver *r); /* null-safe; questions under way are dropped without an answer */
/* Numeric hosts need no server but are answered from the loop as well. Never NULL. */
struct resolve *resolve_start(struct resolver *r, const char *host, uint16_t port, resolve_done *done, void *user);
/* done will not be called. Null-safe. */
void resolve_cancel(struct resolve *q);

#endif
