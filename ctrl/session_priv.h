/* What session.c, session_offer.c and session_list.c share. */
#ifndef CTRL_SESSION_PRIV_H
#define CTRL_SESSION_PRIV_H

#include "ctrl/session.h"

enum { SOURCE_SIDE = SCISTREAM__WORKER__SIDE__SOURCE, SINK_SIDE = SCISTREAM__WORKER__SIDE__SINK, HOP_SIDES = 2 };

enum sc_state { SC_WAITING, SC_OPENING, SC_FLOWING, SC_DONE, SC_CONFIRMED, SC_CLOSING };
const char *sc_state_name(enum sc_state s);

struct session {
    struct list node;
    char uid[33];
    struct route *route;     /* the newest of its name; held, as all below */
    struct list channels;
    struct schannel **at;    /* by number, those that hold their places; heap, n_at of them */
    uint32_t n_at, lowest;   /* below lowest all places are taken */
    unsigned waiting;        /* channels that wait for their other side */
    unsigned held;           /* places that are taken */
    struct grant *grant;     /* it is that one's, whose uid it has; NULL: it is everybody's who has the secret of the route. Held */
    uint32_t share;
    uint64_t born_ns;
};

/* One hop of a channel, from the first OFFER on. */
struct shop {
    struct hop h;
    struct sessions *ss;
    struct schannel *c;      /* NULL until the offer was accepted */
    struct route *route;     /* whose secret it proved, or dials by; NULL: none yet */
    struct grant *grant;     /* whose secret it proved, instead; held; NULL: none */
    unsigned side;
    const char *principal;   /* how the peer was authenticated: "secret", "ticket", "local"; whom we dialed: "pin", "certificate" */
    struct defer gone;
    struct list node;        /* in sessions.guests before it has a channel */
    bool over;
};

/* A side that is a plain TCP peer: one that came to a door, or that this gateway connects to. */
struct splain {
    bool here, dialed, up;
    uint64_t ticket;         /* of one that came, until the worker was told to take it */
    char peer[ADDR_TEXT];
};

struct schannel {
    struct list node;
    struct session *s;
    struct sessions *ss;
    struct route *route;     /* it runs by this one, whatever the session has by now */
    uint32_t number;
    enum sc_state state;
    bool probe, duplex;
    unsigned first;          /* the side that is opened first: the other one depends on it */
    struct shop *hop[HOP_SIDES];
    struct splain plain[HOP_SIDES];
    struct pool_worker *w;
    struct pool_client pc;
    struct timer patience;   /* rendezvous; later: the peers' clean end */
    uint64_t window, admitted, kept; /* bytes of its rings: of memory_limit, or out of what is kept for the session */
    bool next_opened, has_done, ended, finished, confirm_waits, closing_sent, counted; /* counted: its end is */
    enum tally_outcome outcome;
    uint64_t ended_total;
    struct attach_total total, confirmed; /* confirmed: while confirm_waits */
    uint64_t born_ns, flowing_ns;
    char reason[ATTACH_WHY];
    struct watch_seen *seen; /* of service_watch.c; heap */
    struct defer gone;
};

struct sessions {
    struct sessions_config c;
    struct admission memory;
    struct list sessions, guests;
    size_t n_channels;
    const char *draining;    /* what new offers are told; NULL: they are taken */
    int drain_rc;
    void (*idle)(void *user);
    void *idle_user;
    struct defer told_idle;
};

/* session_offer.c: judge an offer, and put it into a channel. */
void session_offer(struct shop *sh, const Offer *o);
/* session_end.c: once, while its hops are still there: the log, the record, the tally. rc: of an abort. */
#define ABORTED "aborted: " /* what the reason of one begins with */
void schannel_note_end(struct schannel *c, int rc);
/* session_channel.c */
const struct hop_events *session_hop_events(void);
void schannel_forget(struct schannel *c);                            /* without a word, at the very end */
/* session_plain.c: sides that are TCP peers */
static inline bool side_here(const struct schannel *c, unsigned side) { return c->hop[side] || c->plain[side].here; }
bool side_is_up(const struct schannel *c, unsigned side);
/* "10.0.0.7:40112 by ucx on ib0 (unencrypted)" */
const char *side_text(const struct schannel *c, unsigned side, char *out, size_t size);
void splain_adopt(struct schannel *c, unsigned side); /* the worker takes the connection that came */
void splain_dial(struct schannel *c, unsigned side);
void splain_forget(struct schannel *c);               /* one that came and that no worker took: it is reset */
/* session_offer.c: a place for a TCP peer at side; NULL: all are taken. */
struct schannel *session_place(struct sessions *ss, struct route *r, unsigned side);
void schannel_wait_other(struct schannel *c, unsigned side, uint64_t wait_ms);
/* session_channel.c */
void schannel_maybe_flows(struct schannel *c);
bool schannel_adopt(struct schannel *c, struct sessions *ss);         /* true: nobody has before */
void schannel_opened(struct schannel *c);                             /* tell those who listen; once, with its first side */
/* session.c */
#define SESSION_PLACE (ADDR_ROUTE_MAX + 16)
const char *session_place_name(const struct session *s, char out[SESSION_PLACE]); /* where somebody waits: "route detector"; "session UID" of an arranged one */
void session_release(struct sessions *ss, struct session *s);        /* frees it when it has no channel */
bool session_is_own(const struct session *s);                        /* its share is under its uid, else under the name of its route */
struct shop *shop_new(struct sessions *ss);
void shop_release(struct shop *sh);                                  /* out of its channel; freed from the loop */
void shop_gone(struct defer *d);
void shop_refuse(struct shop *sh, int rc, const char *text);       /* tell it and forget it */
struct schannel *schannel_new(struct session *s, uint32_t number);
void schannel_join(struct schannel *c, struct shop *sh, unsigned side);
void schannel_open(struct schannel *c);                              /* both sides are here, or need not come */
void schannel_abort(struct schannel *c, int rc, const char *text);  /* both hops are told */
void schannel_wait(struct schannel *c, uint64_t ns);
void schannel_follow(struct schannel *c, struct route *r);           /* while it waits: run by r */
bool schannel_holds_place(const struct schannel *c);                 /* false: it is over, though not gone */
/* session_list.c: as the API shows it, on the heap. */
Scistream__Gateway__V1__Channel *schannel_message(const struct schannel *c);

#endif
