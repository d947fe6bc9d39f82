/* Sessions that were arranged and to which utilities and gateways attach: grants with a route that was made for this one session and stands in no
 * configuration. Where it leads: nowhere, both sides attach here; to TCP peers; or to another gateway, where it attaches to the session of the same uid.
 *
 *   opens     until its ticket expires or it is revoked: who has a secret of it attaches
 *   runs on   then nobody comes any more; the channels that there are go on, and it is gone when none is left. Renewing opens it again, unless it was revoked
 *   over      at ends_s, whatever runs: its channels are aborted with that reason
 */
#ifndef CTRL_ARRANGED_H
#define CTRL_ARRANGED_H

#include "ctrl/grants.h"

/* The name of all their routes, in logs, records and metrics; no route of a configuration can have it. The log has the uid with it. */
#define ARRANGED_ROUTE "scistream:arranged"
#define ARRANGED_TARGETS 256
#define ARRANGED_GATEWAYS 4
#define ARRANGED_SOON_S 600 /* before its end somebody is told */

/* Where a name leads, looked up and judged by who arranges: no other address is ever used. */
struct arranged_place { const char *name; const union sockaddr_any *at; size_t n; }; /* "HOST:PORT"; with their ports */

struct arranged_dial {
    const struct arranged_place *gateway; /* tried in turn; at most ARRANGED_GATEWAYS */
    size_t n;
    const char *tls_name;                 /* in its certificate; "": the host of the place that is tried */
    char *const *pins;                    /* "sha256:HEX", NULL-terminated; none: a CA of the system decides */
    const uint8_t *secret;                /* GRANT_KEY bytes: of the role there */
    bool recv;                            /* attaches there as the receiver, and senders come from there */
};

struct arranged_terms {
    const char *uid;                      /* 32 hex digits; NULL: a new one */
    uint32_t channels;                    /* at least 1 */
    bool role[GRANT_ROLES];               /* that somebody may take here: the application, or the other gateway */
    int attach;                           /* enum grant_role that the application takes; -1: it does not attach */
    const uint8_t *secret;                /* GRANT_KEY bytes, for all of these roles; NULL: one is drawn for each */
    const struct arranged_place *target;  /* TCP peers: channel k goes to target k modulo n_targets */
    size_t n_targets;                     /* 0: none */
    const struct arranged_dial *dial;     /* NULL: no next gateway. Not both */
    bool beside;                          /* a session of that uid in ctrl/requests.h is counted and ends it, so it does not end by itself while that is there */
    uint64_t ticket_s, ends_s;            /* the first from now, the other since 1970; 0: never ends */
    uint64_t window;                      /* ring of each channel at most; 0: as a route has it by default */
    const char *by, *from;
    bool provisioned;
    uint64_t rate;                        /* bit/s, 0: none was agreed */
};

/* What a grant has of it beside what all have. */
struct arranged {
    bool beside, closed, revoked, warned; /* closed: nobody comes any more, and who waited was told; warned: of its end */
    int attach;
    uint64_t ends_s, rate;
    bool provisioned;
};

struct arranged_made { struct grant *g; char why[200]; };
/* With a route of its own, by the transports that this gateway has. 0 and out->g; -EEXIST: there is one of that uid; -SST_ELIMIT: there are GRANTS_MAX;
 * -EINVAL: something of t cannot be. Else out->why says it. */
int arranged_add(struct grants *gs, const struct arranged_terms *t, uint64_t now_s, struct arranged_made *out);
/* The arranged one of that uid, also one that only runs on; NULL: there is none. */
struct grant *arranged_find(const struct grants *gs, const char *uid);
/* How many of them there are, of one principal or (NULL) of all; those beside others are left out. */
size_t arranged_count(const struct grants *gs, const char *by);
static inline bool arranged_dials(const struct grant *g) { return g->route->connects && !g->route->tcp; }

/* ------------------------------------------------------------ for ctrl/grants.c */
void arranged_free(struct arranged *a); /* null-safe */
bool arranged_is_over(const struct grant *g, uint64_t now_s); /* whatever its ticket says: revoked, or its time is over */
uint64_t arranged_due(const struct grant *g);                 /* when something becomes of it by itself */
void arranged_look(struct grants *gs, struct grant *g, uint64_t now_s);
void arranged_renewed(struct grant *g);
void arranged_revoke(struct grants *gs, struct grant *g);
/* All of t but its times, secrets and who it is by, into a new grant that has a uid. 0, -EINVAL and why. */
int arranged_fill(const struct grants *gs, struct grant *g, const struct arranged_terms *t, char *why, size_t why_size);
/* ctrl/arranged_line.c: for the program that takes over; heap, with the secrets. False: it makes no sense, or its time is over. */
#define ARRANGED_LINE "arranged "
char *arranged_line(const struct grant *g);
bool arranged_take_line(const struct grants *gs, struct grant *g, const char *line, uint64_t now_s);

#endif
