/* OAuth 2 token introspection (RFC 7662): one question over HTTPS, driven by the loop. Nothing here is remembered: see ctrl/verdicts.h.
 *
 * Happy path: introspect_start -> host resolved -> POST by libcurl -> JSON -> done(active or not).
 * What fails (no address, TLS, credentials refused, slow, too much or no JSON): done(VERDICT_UNKNOWN) with why, so nobody is let in by it.
 */
#ifndef CTRL_INTROSPECT_H
#define CTRL_INTROSPECT_H

#include "ctrl/policy.h"
#include "src/core/loop.h"
#include "tcp/resolve.h"

enum verdict_is { VERDICT_UNKNOWN, VERDICT_INACTIVE, VERDICT_ACTIVE };

struct verdict {
    enum verdict_is is;
    char principal[CALLER_NAME]; /* active */
    int64_t expires;             /* active: Unix time; 0: not told */
    char why[200];               /* not active: a sentence for the log, without the token */
};

struct introspector;
struct inquiry; /* one question under way */
typedef void introspect_done(void *user, const struct verdict *v);

/* Strings of c are copied; the file of credentials is read. NULL and why. */
struct introspector *introspector_new(struct loop *l, struct resolver *r, const struct conf_auth *c, char *why, size_t why_size);
void introspector_free(struct introspector *x); /* null-safe; inquiries under way are dropped without an answer */
/* done is called once, from the loop and never from here; the inquiry is gone when it returns. Never NULL. */
struct inquiry *introspect_start(struct introspector *x, const char *token, introspect_done *done, void *user);
void introspect_cancel(struct inquiry *q); /* done will not be called; null-safe */

/* What an answer says, by the fields that c names; now: Unix time. */
void introspect_read(const struct conf_auth *c, const char *json, size_t len, int64_t now, struct verdict *out);

#endif
