/* What service_scistream.c (the calls), service_scistream_ops.c (what is done for sessions, and how they are shown) and service_arrange.c share. */
#ifndef CTRL_SERVICE_SCISTREAM_H
#define CTRL_SERVICE_SCISTREAM_H

#include "ctrl/requests_arranged.h"
#include "ctrl/service.h"

/* call: the one that requests were given; it is answered and not theirs any more. */
void scistream_call_answer(void *call, const struct request_answer *a);
/* The numeric address at which our listeners are told to be to who calls by that connection. */
const char *scistream_address(const struct service *s, const struct grpc_conn *conn, char out[ADDR_TEXT]);
/* Who has that name, which who.h gave him. */
struct caller scistream_caller(const char *principal);
/* May he, as scistream.auth says? GRPC_OK, or the status and why not. */
enum grpc_status scistream_judge(const struct service *s, const struct caller *c, const struct demand *d, char *why, size_t size);
/* Is there room for one more session, of any kind? GRPC_OK, or the status and why not. */
enum grpc_status scistream_room(const struct service *s, char *why, size_t size);
/* What the rings of all sessions may take that are of that principal, or that he granted: of listeners those of one connection each. Bytes. */
uint64_t scistream_ring_memory(const struct service *s, const char *principal);
/* What came by the listeners of r; live: with what is open now (doors_live), NULL: without. */
void scistream_sum_up(const struct service *s, const struct request *r, const struct stats_sum *live, struct doors_sum *sum);
/* "TLS, keyed by ticket" */
const char *scistream_security(const struct service *s, const struct request *r);

#endif
