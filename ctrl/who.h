/* Who is it? Callers of the control endpoint by client certificate, token file and token introspection, in this order; those of the local socket by
 * the kernel's word. Where none of the three is configured nobody is asked: everybody is "anonymous".
 *
 * Happy path: who_ask -> told(caller), at once or, when the introspection server has to be asked, from the loop.
 * What fails: no token, or one that is not good: UNAUTHENTICATED with the texts that SciStream's client knows; the server does not answer:
 * UNAVAILABLE, so nobody gets in by that. The call goes away: who_cancel.
 */
#ifndef CTRL_WHO_H
#define CTRL_WHO_H

#include "ctrl/grpc.h"
#include "ctrl/policy.h"

#define WHO_ASKS 4096 /* that may wait for an answer at once */

/* refused GRPC_OK: it is c. Else c is NULL, refused and text are what the call is to be ended with. */
typedef void who_told(void *user, const struct caller *c, enum grpc_status refused, const char *text);

struct who;
struct who_asking; /* one that waits */
struct who_setup;  /* what the configuration and its files say */

struct who *who_new(struct loop *l, struct resolver *r);
void who_free(struct who *w); /* null-safe; who waits is not told */
/* Read what c names: token file, credentials. name: of this gateway. NULL and why. w: only its loop and resolver are used; NULL: just to check. */
struct who_setup *who_load(const struct who *w, const struct conf *c, const char *name, char *why, size_t why_size);
void who_setup_free(struct who_setup *s); /* null-safe */
bool who_setup_same_tokens(const struct who_setup *a, const struct who_setup *b);
/* From now on it is s (taken). What was remembered is forgotten; who waits is asked for anew. */
void who_use(struct who *w, struct who_setup *s);
/* In force; NULL before who_use. */
const struct who_setup *who_in_use(const struct who *w);
const struct policy *who_policy(const struct who *w);

/* Who makes this call (a server's)? NULL: told was called. Else it will be, once, and c must live until then or who_cancel. */
struct who_asking *who_ask(struct who *w, struct grpc_call *c, who_told *told, void *user);
void who_cancel(struct who_asking *a); /* null-safe */

/* The audit line of a decision: who may do what, to which uid ("" = none), or why not (NULL = he may). Of callers who are not known (anonymous, or
 * c NULL and from where they are) lines are left out when there are too many. */
void who_audit(const struct caller *c, const char *from, const char *what, const char *uid, const char *why_not);

#endif
