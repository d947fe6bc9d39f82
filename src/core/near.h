/* What somebody may have meant by a name that does not exist. */
#ifndef SRC_CORE_NEAR_H
#define SRC_CORE_NEAR_H

#include "src/core/util.h"

struct near {
    const char *name, *best; /* best: the nearest so far that is at most two letters away; NULL: none is */
    size_t far;
};

struct near near_begin(const char *name);
void near_look_at(struct near *n, const char *candidate);

#endif
