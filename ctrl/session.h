/* Sessions and their channels, as control sees them: who attached, who waits for whom, what runs, how it ended.
 *
 * A channel's life: WAITING (one side is here) -> OPENING (both sides, or the next gateway is dialed; rings admitted, placed on a
 * worker) -> FLOWING (both hops are up) -> DONE (the sender told its total) -> CONFIRMED (the last receiver did) -> CLOSING.
 * Any failure: both sides are told the reason, and CLOSING.
 */
#ifndef CTRL_SESSION_H
#define CTRL_SESSION_H

#include "ctrl/admission.h"
#include "ctrl/connections.h"
#include "ctrl/grants.h"
#include "ctrl/hop.h"
#include "ctrl/record.h"
#include "ctrl/route.h"
#include "ctrl/shares.h"
#include "ctrl/tally.h"

struct sessions;
struct schannel;

/* What becomes of the channels. Nobody may end one from here. */
struct sessions_events {
    void (*opened)(void *user, struct schannel *c);  /* its first side is here */
    void (*flowing)(void *user, struct schannel *c);
    void (*ended)(void *user, struct schannel *c);   /* its reason is known, and its counters are still there */
};

struct sessions_config {
    struct loop *loop;
    const struct conf *conf;
    const struct routes *routes;
    struct pool *pool;
    struct doors *doors;
    const struct grants *grants;
    struct capacity *capacity; /* NULL, and shares NULL: nothing is reserved, and nothing limited */
    struct shares *shares;
    struct resolver *resolver;
    const char *name;      /* of this gateway */
    struct tally *tally;
    struct records *records;
    const struct sessions_events *ev; /* NULL: nobody listens */
    void *ev_user;
    /* May a data connection of g go there, where its next gateway wants it? Its own addresses are not asked about. User: as for ev. */
    bool (*allows)(void *user, const struct grant *g, const union sockaddr_any *to);
};

/* Everything in the configuration must outlive it. */
struct sessions *sessions_new(const struct sessions_config *c);
/* Take over a new Attach call. */
void sessions_attach(struct sessions *ss, struct grpc_call *call);
/* A TCP peer came to a door of a route that goes on by another transport. */
void sessions_came(struct sessions *ss, struct pool_worker *w, const Scistream__Worker__Came *m);
/* It has ended without a byte: when it waits as a sender, so does its channel. */
void sessions_left(struct sessions *ss, const struct pool_worker *w, uint64_t ticket);
/* And with it the TCP connections that waited there for their partner. */
void sessions_worker_died(struct sessions *ss, const struct pool_worker *w);
/* Refuse new channels from now on, with rc (-SST_E*) and that text, which must live on, and end those that wait for a partner;
 * idle() is called from the loop each time no channel is left. Again: with other words. */
void sessions_drain(struct sessions *ss, int rc, const char *text, void (*idle)(void *user), void *user);
/* Take new channels again. */
void sessions_resume(struct sessions *ss);
bool sessions_draining(const struct sessions *ss);
/* Configuration and routes have other contents now: channels that run keep the route they began with, those that wait for a partner follow
 * the new one, or end when it is gone or leads elsewhere. */
void sessions_reloaded(struct sessions *ss);
/* End the channel of that number, -1: all of the session that are not over. How many; -ENOENT: there is no such session. */
int sessions_abort(struct sessions *ss, const char *uid, int64_t channel, int rc, const char *text);
/* End all channels of that route that are not over; how many. */
unsigned sessions_abort_route(struct sessions *ss, const char *route, int rc, const char *text);
/* Nobody can come any more to a granted session: those that wait for a partner there end, with a sentence of why ("has expired"). */
void sessions_grant_over(struct sessions *ss, const char *uid, const char *why);
/* Channels of that session that are not over; 0 too when there is no such session. */
unsigned sessions_open(const struct sessions *ss, const char *uid);
/* End all channels with that reason. */
void sessions_abort_all(struct sessions *ss, int rc, const char *text);
size_t sessions_channels(const struct sessions *ss);
const struct admission *sessions_memory(const struct sessions *ss);
/* So much memory is kept for sessions of class provisioned: for their channels in all, for connections those that are not open. */
void sessions_keep_memory(struct sessions *ss, uint64_t bytes);
/* Add the channels that live to what the tally sums up. */
void sessions_tally(const struct sessions *ss);
/* Only when no channel is left, or everything else is gone too. Null-safe. */
void sessions_free(struct sessions *ss);

/* A reply without anything in it; heap. */
SessionsReply *sessions_reply_new(void);
/* Add all sessions to it, or the one with that uid, or those of that route; empty: not looked at. */
void sessions_list(struct sessions *ss, const char *uid, const char *route, SessionsReply *r);
void sessions_reply_free(SessionsReply *r); /* null-safe */
/* Is there one of that route? */
bool sessions_know(const struct sessions *ss, const char *route);

#endif
