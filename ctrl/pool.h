/* The data workers as control sees them: places to put channels, reached by messages only. Worker processes are kept by
 * pool.c; a utility's own worker (src/local.c) fills the same struct. */
#ifndef CTRL_POOL_H
#define CTRL_POOL_H

#include "ctrl/worker.pb-c.h"
#include "src/core/board.h"
#include "src/core/conf.h"
#include "src/core/loop.h"
#include "src/core/stats_sum.h"

typedef Scistream__Worker__ToWorker ToWorker;
typedef Scistream__Worker__FromWorker FromWorker;

#define POOL_TRANSPORTS 8
#define POOL_DEVICES 64
#define POOL_ADDRESSES 80 /* of a device: as many as struct xport_device has room for */

/* Somebody who owns a channel of a worker and hears what the worker says of it. */
struct pool_client {
    struct list node;
    uint64_t channel;
    struct stats_sum last; /* its counters when it was detached: a worker that died cannot tell */
    void (*message)(struct pool_client *c, const FromWorker *m);
    void (*died)(struct pool_client *c, const char *why); /* the worker is gone, and the channel with it */
};

enum pool_death { POOL_EXITED, POOL_SIGNALLED, POOL_KILLED, POOL_DEATHS }; /* killed: by us */

struct pool_worker {
    unsigned index;
    bool started;                 /* said Started and lives */
    unsigned channels;
    struct stats_page *stats;     /* NULL before the start */
    uint64_t starts, deaths[POOL_DEATHS]; /* a stop that was asked for is no death */
    struct { char *name, *problem; } transports[POOL_TRANSPORTS];
    size_t n_transports;
    Scistream__Worker__Started *said; /* the last one: holds devices; NULL: none */
    struct list clients;
    struct pool_client **by_slot; /* of the statistics page */
    uint64_t *slots;              /* bitmap of those that are taken */
    /* fd goes with it (a copy), or is -1. */
    int (*send)(struct pool_worker *w, const ToWorker *m, int fd);
    /* Came and Relayed: not about a channel. NULL: nobody has doors. */
    void (*at_door)(struct pool_worker *w, const FromWorker *m);
    void *user;
};

/* ------------------------------------------------------------ a worker, whoever keeps it */
void pool_worker_init(struct pool_worker *w, unsigned index);
void pool_worker_fini(struct pool_worker *w);
/* Act on what the worker said: keeps Started, hands the rest to the client concerned. NULL; or what is wrong with it, and then nobody was
 * told: clients get only messages whose sides, numbers and strings can be used as they are. */
const char *pool_worker_heard(struct pool_worker *w, const FromWorker *m);
/* Tell all clients that the worker died; they are detached before. */
void pool_worker_died(struct pool_worker *w, const char *why);
static inline int pool_send(struct pool_worker *w, const ToWorker *m, int fd) { return w->send(w, m, fd); }
/* Why transport name cannot be used on w; NULL: it can. */
const char *pool_transport_problem(const struct pool_worker *w, const char *name);
/* The ports of devices that w sees, all well-formed. */
size_t pool_devices(const struct pool_worker *w, Scistream__Worker__Device *const **out);
/* Does w see a port that name could use if all was well with it? */
bool pool_has_device(const struct pool_worker *w, const char *name);
/* Addresses of those that transport name can use now, separated by spaces, at most max. Heap. */
char *pool_device_addresses(const struct pool_worker *w, const char *name, size_t max);

/* Open a channel for c (channel id is made here; ring of window bytes). 0; -SST_EWORKER when it cannot be told; -SST_ELIMIT: no slot. */
struct pool_open { uint64_t window, rate; bool digest, duplex; uint32_t share; };
int pool_channel_open(struct pool_worker *w, struct pool_client *c, const struct pool_open *o);
/* Send a Hop or Close for c. A worker that cannot take it is dead and will be told so by died(). */
void pool_channel_hop(struct pool_worker *w, struct pool_client *c, Scistream__Worker__Hop *h);
void pool_channel_close(struct pool_worker *w, struct pool_client *c, int rc);
/* What pool_channel_open does with the number it made: from now on c hears what the worker says of c->channel. */
void pool_channel_attach(struct pool_worker *w, struct pool_client *c);
/* After Closed or died: c hears nothing more. Idempotent. */
void pool_channel_detach(struct pool_worker *w, struct pool_client *c);
/* Counters of c's channel, or NULL. */
const struct stats_channel *pool_channel_stats(const struct pool_worker *w, const struct pool_client *c);
/* Add them to *to, or what they were when c was detached. */
void pool_channel_sum(const struct pool_worker *w, const struct pool_client *c, struct stats_sum *to);

/* ------------------------------------------------------------ worker processes */
struct pool;

struct pool_events {
    void (*ready)(struct pool *p, void *user);  /* all workers started for the first time */
    void (*worker_started)(struct pool *p, void *user, struct pool_worker *w); /* each, and each that takes the place of one that died */
    void (*at_door)(struct pool *p, void *user, struct pool_worker *w, const FromWorker *m); /* Came or Relayed */
    /* Cannot start: the first start of a worker failed, or it dies faster than it makes sense to start it again. */
    void (*broken)(struct pool *p, void *user, const char *why);
    /* Its page will be cleared for the next one; how: "was killed by signal 9 (Killed)"; NULL: nobody asks. */
    void (*died)(struct pool *p, void *user, const struct pool_worker *w, const char *how);
};

/* program_fd: scistream-worker, opened by O_PATH while that was allowed, taken; link_fds: one listening socket per worker (-1: none), taken. Starts n workers. 0 or -errno and why. */
struct pool_config { const struct conf *conf; int program_fd; unsigned n; int *link_fds; };
int pool_start(struct loop *l, const struct pool_config *c, const struct pool_events *ev, void *user, struct pool **out);
/* The configuration has other values now (the workers' part of them as for conf_set): all workers use them for new channels. */
void pool_settings(struct pool *p, char **settings);
/* SIGCHLD came. */
void pool_reap(struct pool *p);
/* Ask all workers to stop; kills what is left after grace_ns; gone() is called when the last has ended. */
void pool_stop(struct pool *p, void (*gone)(void *user), void *user);
void pool_free(struct pool *p); /* kills what is left; null-safe */

/* The started worker with the fewest channels on which one of the transports works; NULL: none. */
struct pool_worker *pool_pick(struct pool *p);
struct board *pool_board(struct pool *p);
unsigned pool_size(const struct pool *p);
struct pool_worker *pool_at(struct pool *p, unsigned i);

#endif
