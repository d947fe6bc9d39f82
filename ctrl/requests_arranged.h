/* Sessions that users arrange with tickets (Gateway.Arrange), in the table of requests.h: where their connections go is known from the beginning, their WAN
 * side is keyed by the secret of the ticket. Times are seconds since 1970 of the wall clock, as in tickets.
 *
 *   Listening -> the ticket expires, or is revoked -> Closing -> the last connection has gone, release, or its lifetime is over -> Releasing
 *   Closing -> renewed, unless it was revoked -> Listening
 */
#ifndef CTRL_REQUESTS_ARRANGED_H
#define CTRL_REQUESTS_ARRANGED_H

#include "ctrl/requests.h"

#define REQUEST_KEY 32
#define REQUEST_SOON_S 600 /* before its end somebody is told */
#define REQUEST_IN_USE \
    "uid: this gateway has a session with it: either its ticket was used here before (scistreamctl show), or both sides of a stream are to be at one gateway, and need two"

struct request_ticket {
    uint8_t key[REQUEST_KEY];              /* of the WAN side */
    uint64_t issued_s, expires_s, ends_s;  /* ends_s 0: never */
    uint64_t rate;                         /* [bit/s], of provisioned ones */
    bool provisioned, revoked, warned;     /* warned: of its end */
};

struct request_terms {
    const char *uid, *principal, *from;
    const char *address;                   /* numeric: at which our listeners are told to be */
    bool cons;
    unsigned n;                            /* of listeners, 1 to REQUEST_LISTENERS_MAX */
    const uint16_t *ports;                 /* of each; NULL: any */
    const struct request_target *targets;  /* by turns; looked up, and allowed */
    size_t n_targets;
    const struct request_ticket *ticket;   /* copied */
};
/* May there be one more, beside so many that are kept elsewhere? GRPC_OK, or the status and why not. */
enum grpc_status requests_room(const struct requests *rq, uint64_t others, char *why, size_t size);
struct request_refusal { enum grpc_status status; char why[400]; };
/* It takes connections when this returns. NULL, and why not: its uid is in use, a port is, there are too many. */
const struct request *requests_arrange(struct requests *rq, const struct request_terms *t, struct request_refusal *no);

/* The one of that uid, if it was arranged with a ticket; else NULL. */
const struct request *requests_arranged(const struct requests *rq, const char *uid);
/* Its ticket expires ticket_s from now, or with the session. False: it was revoked. */
bool requests_renew(struct requests *rq, const char *uid, uint64_t ticket_s);
/* Nobody comes any more; it may have ended when this returns. */
void requests_revoke(struct requests *rq, const char *uid);
/* As requests_adopt, with a ticket, which is copied. to: for each listener where its connections go. */
bool requests_adopt_arranged(struct requests *rq, const struct request_given *g, const struct request_ticket *t, const struct request_target *to);
/* Of one principal, or (NULL) of all: how many, their listeners, and the sum of their rates [bit/s]. */
struct request_sums { uint64_t sessions, listeners, rate; };
struct request_sums requests_sums(const struct requests *rq, const char *principal);

#endif
