/* Configuration of the daemon: one table of options, read from a file (libconfuse syntax) and from -o key=value. */
#ifndef SRC_CORE_CONF_H
#define SRC_CORE_CONF_H

#include <stdio.h>

#include "src/core/conf_rows.h"
#include "src/core/log.h"
#include "src/core/units.h"
#include "src/core/value.h"

enum { CONF_AUTH_UNSET, CONF_AUTH_NONE, CONF_AUTH_POLICY }; /* scistream.auth */
enum { CONF_BEST_EFFORT, CONF_PROVISIONED }; /* route.class */
enum { CONF_WAN_PSK, CONF_WAN_PLAINTEXT };    /* scistream.wan */

enum segment { SEGMENT_WAN, SEGMENT_RDMA, SEGMENTS }; /* of section capacity */

#define CONF_TCP "tcp://" /* what words for TCP peers begin with */
#define CONF_ROLES "PROD", "CONS", "SEND", "RECV", "ADMIN" /* of a policy */
#define CONF_CLASSES "best_effort", "provisioned"

/* struct members from the tables */
#define CONF_F_FLAG(f, ...) bool f;
#define CONF_F_INT(f, ...) int64_t f;
#define CONF_F_U64(f, ...) uint64_t f;
#define CONF_F_ENUM(f, ...) int f;
#define CONF_F_STR(f, ...) char *f;
#define CONF_F_LIST(f, ...) char **f;
#define CONF_FIELDS(T) T(CONF_F_FLAG, CONF_F_INT, CONF_F_U64, CONF_F_U64, CONF_F_U64, CONF_F_ENUM, CONF_F_STR, CONF_F_LIST)

struct conf_global { CONF_FIELDS(CONF_GLOBAL) };
struct conf_ucx { CONF_FIELDS(CONF_UCX) };
struct conf_rdma { CONF_FIELDS(CONF_RDMA) };
struct conf_link { CONF_FIELDS(CONF_LINK) };
struct conf_auth { CONF_FIELDS(CONF_AUTH) };
struct conf_capacity { CONF_FIELDS(CONF_CAPACITY) };
struct conf_scistream { CONF_FIELDS(CONF_SCISTREAM) };
struct conf_route { char *name; CONF_FIELDS(CONF_ROUTE) };
struct conf_policy { char *name; CONF_FIELDS(CONF_POLICY) };

struct conf {
    struct conf_global g;
    struct conf_ucx ucx;
    struct conf_rdma rdma;
    struct conf_link link;
    struct conf_auth auth;
    struct conf_capacity capacity;
    struct conf_scistream scistream;
    struct conf_route **routes;
    size_t n_routes;
    struct conf_policy **policies; /* in the order of the file */
    size_t n_policies;
};

struct conf_section { const char *name; const struct value_row *rows; size_t n; bool titled; };
/* The sections, global first (name ""), for help, completion and the tests of the manual. *n is their number. */
const struct conf_section *conf_sections(size_t *n);

/* All defaults, no routes, no policies. */
struct conf *conf_new(void);
void conf_free(struct conf *c); /* null-safe */
/* Read path into c. 0; -errno when it cannot be opened; -SST_ECONF with why = "FILE:LINE: option = value: must be …". */
int conf_read(struct conf *c, const char *path, char *why, size_t why_size);
/* "peer_timeout=5s", "ucx.devices=lo", "route.detector.window=4M", "policy.users.roles=PROD" (what is named is made when it does not exist).
 * 0 or -SST_ECONF. */
int conf_set(struct conf *c, const char *assignment, char *why, size_t why_size);
/* What no single row can see: routes with neither connect nor deliver, unknown transports, bad addresses, missing secrets … 0 or -SST_ECONF. */
int conf_check(const struct conf *c, char *why, size_t why_size);
/* Of it what the section ucx alone can tell; conf_set looks at it too, since the utilities have no file to check. 0 or -SST_ECONF. */
int conf_check_ucx(const struct conf *c, char *why, size_t why_size);
const struct conf_route *conf_route(const struct conf *c, const char *name);
const struct conf_policy *conf_policy(const struct conf *c, const char *name);
/* Is anybody asked who he is? */
bool conf_auth_asks(const struct conf_auth *a);
/* Does anybody attach to it, or does it dial a gateway, so that there must be a secret? Else it is between TCP peers alone. */
bool conf_route_attaches(const struct conf_route *r);
/* Is one of its sides a TCP peer? Then its channels are duplex, and have two rings. */
bool conf_route_has_tcp(const struct conf_route *r);
/* The number that `channels` stands for. */
uint32_t conf_route_channels(const struct conf_route *r);
/* Bits of the segments that it may use: 1 << SEGMENT_*. */
unsigned conf_route_segments(const struct conf_route *r);
/* Channels or connections that a provisioned one has rings for whatever others take. */
uint32_t conf_route_promised(const struct conf_route *r);
/* What capacity.* says of a segment, bit/s; and how much of it can be reserved. 0: it is not configured. */
uint64_t conf_capacity(const struct conf *c, enum segment s);
uint64_t conf_reservable(const struct conf *c, enum segment s);
const char *conf_segment_name(enum segment s); /* "wan", "rdma" */
/* Everything in effect, in the file's own syntax, with each option's help above it when `commented`. */
void conf_print(const struct conf *c, FILE *out, bool commented);
/* The untitled sections as "key=value" strings for conf_set, as a worker is told them. Heap array of heap strings, NULL-terminated. */
char **conf_export(const struct conf *c);

#endif
