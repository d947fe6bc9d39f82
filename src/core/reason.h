/* Where a function puts the sentence that says why it failed. */
#ifndef SRC_CORE_REASON_H
#define SRC_CORE_REASON_H

#include "src/core/util.h"

struct reason { char *text; size_t size; }; /* size 0: nobody wants to know */

/* Set the sentence, cut to its size; returns rc. */
int reason_set(const struct reason *why, int rc, const char *fmt, ...) PRINTF(3, 4);

#endif
