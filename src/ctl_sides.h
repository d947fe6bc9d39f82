/* Both gateways of a stream, as --from and --to have them. */
#ifndef SRC_CTL_SIDES_H
#define SRC_CTL_SIDES_H

#include "src/ctl_side.h"

struct sides { struct side from, to, *dialed, *dials; };

/* Who dials is settled. 0, or exit code, and it was said; sides_free in any case. */
int sides_parse(struct sides *s, const struct ctl_opts *o);
void sides_free(struct sides *s);

#endif
