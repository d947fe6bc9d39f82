/* Frames that cost us more than their sender: a token bucket for each kind. */
#ifndef CTRL_H2_GUARD_H
#define CTRL_H2_GUARD_H

#include "src/core/util.h"

/* kind, frames in each second, frames at once, words in the log. Whoever has thousands of calls, those that wait for their turn included, may give
 * all of them up at once. */
#define H2_GUARD_KINDS(X) \
    X(RESET, 200, 10000, "RST_STREAM frames") \
    X(PING, 200, 200, "PING frames") \
    X(SETTINGS, 200, 200, "SETTINGS frames") \
    X(FAULT, 200, 200, "invalid frames") /* frames that made us send RST_STREAM */ \
    X(JUNK, 1000, 1000, "empty, WINDOW_UPDATE, PRIORITY … frames")

enum h2_guard_kind {
#define X(kind, rate, most, name) H2_GUARD_##kind,
    H2_GUARD_KINDS(X)
#undef X
    H2_GUARD_NONE /* as many as the peer likes */
};

#define H2_GUARD_OWED_S 60 /* credit is kept for as many frames as may come in this time [s] */

/* level: milli-tokens used up; owed: frames that the peer may still send beside them. Zeroed memory is ready. */
struct h2_guard { uint64_t at_ns; uint64_t level[H2_GUARD_NONE], owed[H2_GUARD_NONE]; };

/* Frame header as received. */
enum h2_guard_kind h2_guard_classify(uint8_t type, uint8_t flags, size_t len);
/* False: that was one too many. */
bool h2_guard_take(struct h2_guard *g, enum h2_guard_kind k, uint64_t now);
/* n frames of this kind are the peer's right, now or later: answers to what we sent, which it may send all at once. */
void h2_guard_credit(struct h2_guard *g, enum h2_guard_kind k, unsigned n);
const char *h2_guard_name(enum h2_guard_kind k);

#endif
