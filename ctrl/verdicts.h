/* What is known of tokens by introspection: answers are remembered for a while, and those who ask for the same token meanwhile are one question.
 * Tokens themselves are not kept, only a keyed digest of each. */
#ifndef CTRL_VERDICTS_H
#define CTRL_VERDICTS_H

#include "ctrl/introspect.h"

#define VERDICTS_ACTIVE 4096     /* remembered at once: the oldest goes first */
#define VERDICTS_INACTIVE 1024   /* these only for VERDICTS_INACTIVE_NS, and no longer than the others */
#define VERDICTS_INACTIVE_NS (10 * NS_PER_S)
#define VERDICTS_ASKED 1024      /* tokens asked about at once */

/* Whom it asks: introspect_start and introspect_cancel, or those of a test. */
struct verdicts_source {
    void *(*start)(void *of, const char *token, introspect_done *done, void *user);
    void (*cancel)(void *inquiry);
    void *of;
};

/* Somebody who waits; his storage. told may do anything but free the verdicts. */
struct verdicts_waiter {
    struct list node;
    void *asked; /* of verdicts: what is waited for */
    void (*told)(struct verdicts_waiter *w, const struct verdict *v);
};

struct verdicts;
/* keep_ns: how long answers are remembered; 0: not at all. */
struct verdicts *verdicts_new(const struct verdicts_source *s, uint64_t keep_ns);
void verdicts_free(struct verdicts *v); /* null-safe; who waits is not told */
/* 1: *out is the answer; 0: w will be told, never from here; -SST_ELIMIT: too many tokens are being asked about. now_s: Unix time. */
int verdicts_ask(struct verdicts *v, const char *token, int64_t now_s, struct verdicts_waiter *w, struct verdict *out);
void verdicts_cancel(struct verdicts *v, struct verdicts_waiter *w); /* the last of a question ends it */

#endif
