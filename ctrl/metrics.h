/* What a gateway can be asked by Prometheus: http://ADDRESS/metrics, served in control's own loop. */
#ifndef CTRL_METRICS_H
#define CTRL_METRICS_H

#include "ctrl/expiry.h"
#include "ctrl/record.h"
#include "ctrl/session.h"

/* Looked at when a page is asked for: pointers may be filled in, or change, until then. NULL: nothing is told of it. */
struct metrics_sources {
    const struct conf *conf;       /* never NULL */
    struct tally *tally;           /* never NULL */
    struct pool *pool;
    struct sessions *sessions;
    const struct capacity *capacity;
    const struct records *records;
    const struct expiry *expiry;
    uint64_t started_s;            /* unix time */
};

/* The page, heap; NULL: no memory. */
char *metrics_page(const struct metrics_sources *s, size_t *len);

struct metrics;

/* Serve at the listening socket fd, taken. sources must outlive it. NULL and why. */
struct metrics *metrics_open(struct loop *l, int fd, const struct metrics_sources *s, char *why, size_t why_size);
/* Its listening socket, or -1; it stays the metrics'. */
int metrics_fd(const struct metrics *m);
/* No new connections: another program accepts them from now on. */
void metrics_deaf(struct metrics *m);
/* The same for a while: the socket stays, until metrics_wake. */
void metrics_rest(struct metrics *m);
int metrics_wake(struct metrics *m); /* 0 or -errno */
void metrics_close(struct metrics *m); /* null-safe */

#endif
