/* Who may do what: the policy rows of the configuration. Pure: nothing is looked up, nothing waits. */
#ifndef CTRL_POLICY_H
#define CTRL_POLICY_H

#include "src/core/addr_net.h"
#include "src/core/conf.h"

#define POLICY_WHY 400
#define CALLER_NAME 257

enum caller_how { CALLER_ANONYMOUS, CALLER_LOCAL, CALLER_CERTIFICATE, CALLER_TOKEN, CALLER_INTROSPECTION };
/* "anonymous", "local", "certificate", "token", "introspection" */
const char *caller_how_name(enum caller_how how);

/* Somebody who is known. */
struct caller {
    char principal[CALLER_NAME]; /* "alice@example.org"; "local:1000" by the kernel's word; "anonymous" where nobody is asked */
    enum caller_how how;
    bool admin;                  /* local: root, or the user of the gateway */
    char from[ADDR_TEXT];
    int64_t expires;             /* Unix time until which that holds; 0: for ever */
};

/* Can it be a principal that somebody else names? Text of at most CALLER_NAME - 1 bytes without control characters, quotes or backslashes, and none of
 * those that only we give. */
bool caller_name_ok(const char *name);

enum policy_role { ROLE_PROD, ROLE_CONS, ROLE_SEND, ROLE_RECV, ROLE_ADMIN, ROLE_COUNT };
const char *policy_role_name(enum policy_role r);

/* What is asked for. Sums are those of the principal with this one in them; 0: not asked for, and not looked at. */
struct demand {
    enum policy_role role;
    const union sockaddr_any *targets; /* where it will connect to: numeric, after names were looked up, and no others may be used */
    size_t n_targets;
    bool provisioned;
    uint64_t sessions, channels, rate, window, ring_memory; /* sum; of this session; sum [bit/s]; of each channel; sum [bytes] */
    uint64_t lifetime_ns;
};

struct policy_row {
    char *name;
    char **principals;
    unsigned roles, classes;          /* bits of enum policy_role; 1: best effort, 2: provisioned */
    struct addr_net *targets;
    size_t n_targets;
    uint64_t sessions, channels, rate, window, ring_memory; /* 0: any */
    uint64_t lifetime_ns;             /* TIME_FOREVER: any */
};
struct policy;

/* The rows of c, which conf_check has accepted. */
struct policy *policy_new(const struct conf *c);
void policy_free(struct policy *p); /* null-safe */
/* The row that decides: the first of which a principal and a role fit. NULL: there is none. Good until policy_free. */
const struct policy_row *policy_row(const struct policy *p, const struct caller *who, enum policy_role role);
/* May he? 0; -SST_EDENIED: he may not do that at all; -SST_ELIMIT: not so much of it. why: a sentence with the row, the limit, and what hit it. A local
 * administrator may do everything; nobody administrates as anonymous. */
int policy_judge(const struct policy *p, const struct caller *who, const struct demand *d, char *why, size_t why_size);
/* Does the text fit the pattern, in which * is any text? Letters are compared as they are. */
bool policy_fits(const char *pattern, const char *text);

#endif
