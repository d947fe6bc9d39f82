/* What requests.c, requests_targets.c (what callers name, and the looking up of it) and requests_arranged.c (those with tickets) share. */
#ifndef CTRL_REQUESTS_PRIV_H
#define CTRL_REQUESTS_PRIV_H

#include "ctrl/requests_arranged.h"

#define REQUEST_BUCKETS 1024

struct requests {
    struct loop *loop;
    const struct conf *conf;
    struct resolver *resolver;
    const struct requests_ops *ops;
    void *user;
    struct list bucket[REQUEST_BUCKETS]; /* by uid */
    unsigned n, n_idle;                  /* with listeners, without */
    const char *draining, *moved;
};

/* Life of one. */
struct request *requests_lookup(const struct requests *rq, const char *uid); /* also an idle one; NULL: there is none */
struct request *requests_add(struct requests *rq, const struct request_ask *a);
void requests_forget_idle(struct request *r);
void requests_enter(struct request *r, enum request_state s, const char *text);
/* Everything it has is given back; whoever waits for it is told so. */
void requests_finish(struct request *r, enum grpc_status s, int rc, const char *text);
char **requests_listeners_at(const char *address, const uint16_t *ports, unsigned n);

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
/* What they are called; heap, NULL-terminated. */
char **requests_texts(const struct request_target *t, size_t n);
enum grpc_status requests_allows_target(const struct request *r, const struct request_target *t, char *why, size_t size);

#endif
