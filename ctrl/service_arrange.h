/* What service_arrange.c (Arrange), service_show.c (Show) and service_grants.c (Grant, Renew, Revoke, Grants) do for each other's sessions. */
#ifndef CTRL_SERVICE_ARRANGE_H
#define CTRL_SERVICE_ARRANGE_H

#include "ctrl/service.h"

#define ARRANGE_WINDOW (4ULL << 20) /* bytes: ring of each channel of those that are attached to, as a route has it by default */

typedef Scistream__Gateway__V1__GrantReply GrantReply;
typedef Scistream__Gateway__V1__GrantState GrantState;

/* ------------------------------------------------------------ service_grants.c */
/* Not while another program is taking over what there is; then the call is ended. */
bool service_may_change(struct grpc_call *c);
/* Reply r, with this gateway's pin and where it is reached added to it. */
void service_reply_ticket(struct grpc_call *c, GrantReply *r);
/* What goes into the tickets of g, and the end of the call. */
void service_reply_grant(struct grpc_call *c, const struct grant *g);
/* Heap, grant_state__free_unpacked. */
GrantState *service_grant_state(const struct service *s, const struct grant *g);

/* ------------------------------------------------------------ service_arrange.c */
/* One has ended, for that reason: so does what stands beside it in ctrl/grants.h. */
void service_arranged_over(const struct service *s, const struct request *r, const char *text);

/* ------------------------------------------------------------ service_show.c: between TCP peers, in ctrl/requests.h */
/* What goes into the ticket of r, and the end of the call. */
void service_reply_request(struct grpc_call *c, const struct request *r);
/* False: there is none of that uid. */
bool service_arranged_renew(struct grpc_call *c, const struct caller *who, const char *uid, uint64_t ticket_s);
bool service_arranged_revoke(struct grpc_call *c, const struct caller *who, const char *uid, bool abort);
/* Add them to the grants of r, in which there is room for them. */
void service_arranged_list(const struct service *s, Scistream__Gateway__V1__GrantsReply *r);
/* By which the other gateway may attach to one of them; NULL: there is none. */
struct grant *service_beside(const struct service *s, const char *uid);
/* Whose is the session of that uid that was arranged with a ticket, in ctrl/requests.h or ctrl/arranged.h? */
enum service_owner { SERVICE_NOBODYS, SERVICE_HIS, SERVICE_OTHERS };
enum service_owner service_owner(const struct service *s, const struct caller *c, const char *uid);
/* May he have such a session now, as the policies are? It is his. GRPC_OK, or the status and why not. */
enum grpc_status service_still_may(const struct service *s, const struct caller *c, const char *uid, char *why, size_t size);

#endif
