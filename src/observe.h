/* What can be seen of a gateway beside its log: metrics, records, and the end of its certificate. */
#ifndef SRC_OBSERVE_H
#define SRC_OBSERVE_H

#include "ctrl/metrics.h"

struct observe {
    struct tally tally;
    struct records records;
    struct expiry expiry;
    struct metrics_sources sources; /* pool and sessions are for the program to fill in */
    struct metrics *metrics;
    int fd;                         /* bound, not served yet; -1 */
};

void observe_init(struct observe *o, const struct conf *c);
/* Bind the port of the metrics, which may need root. The default one may be taken: then there are none, with a warning. 0; -SST_ECONF and why. */
int observe_bind(struct observe *o, const struct conf *c, char *why, size_t why_size);
/* As the user who writes the records. conf, tls and gateway are the program's, and may be replaced. Same returns. */
int observe_start(struct observe *o, struct loop *l, struct tls_ctx *const *tls, const char *gateway, char *why, size_t why_size);
/* Let the metrics be read: when all there is to tell of has started. Same returns. */
int observe_serve(struct observe *o, struct loop *l, char *why, size_t why_size);
void observe_stop(struct observe *o); /* accepts zeroed memory */

#endif
