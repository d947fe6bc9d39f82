/* Routes as control uses them: the configuration's, with secrets read and TLS towards the next gateway ready; and those that were made for one session
 * (ctrl/arranged.h). A route is counted: who began by it keeps it, also when the configuration has another one of that name by now, or none. */
#ifndef CTRL_ROUTE_H
#define CTRL_ROUTE_H

#include "src/core/addr.h"
#include "src/core/conf.h"
#include "src/core/secret.h"
#include "tcp/tls.h"

/* Where a made route leads: looked up once, and nowhere else. */
struct route_place { char *name, *host, **addresses; uint16_t port; }; /* "HOST:PORT", "HOST", numeric ones */

struct route {
    unsigned users;
    bool made;                 /* for one session: it stands in no configuration, others may have its name */
    bool gone;                 /* no new offers: it was removed, or another one took its name */
    struct conf_route *c;      /* its own copy */
    struct secret secret, next_secret;
    bool connects;             /* to a gateway or a TCP peer; else receivers attach here */
    bool tcp;                  /* to a TCP peer */
    char **accept;             /* transports of the configuration's accept; its doors are not among them */
    struct addr next;          /* connects: where */
    struct tls_ctx *next_tls;
    struct route_place *place; /* made: TCP peers, which channels take in turn, or the next gateway, where these are tried in turn */
    size_t n_places;
};

struct routes { struct route **r; size_t n; };

/* Read secrets and certificates of all routes of c. 0; -SST_ECONF and why. */
int routes_load(struct routes *rs, const struct conf *c, char *why, size_t why_size);
void routes_free(struct routes *rs); /* accepts zeroed memory */
/* rs becomes what by was; by is empty afterwards. */
void routes_replace(struct routes *rs, struct routes *by);
struct route *route_find(const struct routes *rs, const char *name);
/* One that is made, with all defaults; the caller's. */
struct route *route_make(const char *name);
void route_add_place(struct route *r, const char *name, const union sockaddr_any *at, size_t n); /* n >= 1, all of them with the same port */
/* Are both one route, or what became of it? */
static inline bool route_is(const struct route *a, const struct route *b) { return a == b || (!a->made && !b->made && str_eq(a->c->name, b->c->name)); }
struct route *route_hold(struct route *r);
void route_drop(struct route *r); /* the last one wipes; null-safe */
/* Would it make a difference to a new offer? Certificates of CAs are not looked at. */
bool route_same(const struct route *a, const struct route *b);
/* What those who send to us (else: receive from us) may attach by, best first; to a TCP peer all attach alike. */
static inline char *const *route_transports(const struct route *r, bool senders) { return senders || r->tcp ? r->accept : r->c->deliver; }

#endif
