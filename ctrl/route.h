/* Routes as control uses them: the configuration's, with secrets read and TLS towards the next gateway ready. A route is counted: who began by
 * it keeps it, also when the configuration has another one of that name by now, or none. */
#ifndef CTRL_ROUTE_H
#define CTRL_ROUTE_H

#include "src/core/addr.h"
#include "src/core/conf.h"
#include "src/core/secret.h"
#include "tcp/tls.h"

struct route {
    unsigned users;
    bool gone;                 /* no new offers: it was removed, or another one took its name */
    struct conf_route *c;      /* its own copy */
    struct secret secret, next_secret;
    bool connects;             /* to a gateway or a TCP peer; else receivers attach here */
    bool tcp;                  /* to a TCP peer */
    char **accept;             /* transports of the configuration's accept; its doors are not among them */
    struct addr next;          /* connects: where */
    struct tls_ctx *next_tls;
};

struct routes { struct route **r; size_t n; };

/* Read secrets and certificates of all routes of c. 0; -SST_ECONF and why. */
int routes_load(struct routes *rs, const struct conf *c, char *why, size_t why_size);
void routes_free(struct routes *rs); /* accepts zeroed memory */
/* rs becomes what by was; by is empty afterwards. */
void routes_replace(struct routes *rs, struct routes *by);
struct route *route_find(const struct routes *rs, const char *name);
struct route *route_hold(struct route *r);
void route_drop(struct route *r); /* the last one wipes; null-safe */
/* Would it make a difference to a new offer? Certificates of CAs are not looked at. */
bool route_same(const struct route *a, const struct route *b);
/* What those who send to us (else: receive from us) may attach by, best first; to a TCP peer all attach alike. */
static inline char *const *route_transports(const struct route *r, bool senders) { return senders || r->tcp ? r->accept : r->c->deliver; }

#endif
