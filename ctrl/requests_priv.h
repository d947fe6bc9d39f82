/* What requests.c and requests_targets.c (what callers name, and the looking up of it) share. */
#ifndef CTRL_REQUESTS_PRIV_H
#define CTRL_REQUESTS_PRIV_H

#include "ctrl/requests.h"

struct resolver *requests_resolver(const struct requests *rq);

/* 1 to REQUEST_UID_MAX printable ASCII characters, no slash. */
bool requests_uid_ok(const char *uid);
/* What can be seen without looking at any session; false: why names the field. */
bool requests_well_formed(const struct request_ask *a, bool is_req, bool is_update, char *why, size_t size);
/* Heap copy, NULL-terminated. */
char **requests_words(char *const *words, size_t n);

/* Look the listeners of a up; then requests_found or requests_no_target, from the loop. */
void requests_start_lookups(struct request *r, const struct request_ask *a);
void requests_stop_lookups(struct request *r);
void requests_found(struct request *r, const struct request_ask *a, const struct request_target *t, size_t n);
void requests_no_target(struct request *r, const struct request_ask *a, enum grpc_status s, const char *why);
enum grpc_status requests_allows_target(const struct request *r, const struct request_target *t, char *why, size_t size);

#endif
