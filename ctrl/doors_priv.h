/* What doors.c (those of routes, and what is the same for all) and doors_session.c (those of sessions) share. */
#ifndef CTRL_DOORS_PRIV_H
#define CTRL_DOORS_PRIV_H

#include "ctrl/auth.h"
#include "ctrl/doors.h"
#include "src/core/board.h"

/* A session has it. It stays after it was given back, for the log, until another door has its place. */
struct door_lease {
    char *uid, *principal;
    uint16_t port;
    char **address;          /* where its connections go: heap, NULL-terminated; NULL: not known yet */
    uint16_t target_port;
    uint8_t *secret;         /* TLS_KEY_SIZE bytes; NULL: the uid has to do */
    bool cons;               /* the WAN is where connections go to */
    bool shut;               /* nobody is let in any more */
    bool told;               /* workers have its socket */
    uint32_t share;          /* held; 0: given back */
    struct doors_sum base;   /* of others at its place before; with what dead workers counted for it taken off */
};

struct door {
    unsigned number;
    struct route *r;          /* held; also after it was closed, for the log. NULL: of a session */
    struct door_lease *lease; /* NULL: of a route */
    int fd;                   /* -1: closed */
    char *name, *at;          /* "route iperf, tcp://…", "tcp://…"; of a session "session UID, port 5100", NULL */
    struct io refusing;       /* while paused or shut */
    struct log_gate clean, failed;
    struct list free;         /* of a session, closed: in doors.free */
    bool wanted, resting;     /* resting: doors_rest */
};

struct doors {
    const struct conf *conf;
    struct loop *loop;
    struct pool *pool;
    struct resolver *resolver;
    struct records *records;
    struct shares *shares;         /* NULL: nothing is limited */
    struct door door[BOARD_DOORS]; /* of routes; from BOARD_ROUTE_DOORS on of sessions. What is not used costs no memory. */
    unsigned n, places;            /* of routes; no place from there on was ever used */
    struct list backends, fresh;
    struct list free;              /* closed doors of sessions, the oldest first */
    uint64_t lent[65536 / 64];     /* ports that sessions have */
    uint16_t next_port;            /* where the search for a free one goes on */
    bool paused, begun;
};

/* Over all that are or were: of routes, then of sessions. */
#define each_door(ds, d) (struct door *d = doors_next(ds, NULL); d; d = doors_next(ds, d))
struct door *doors_next(struct doors *ds, struct door *d);
/* NULL: there is none of that number (any more). */
struct door *doors_find(const struct doors *ds, unsigned number);
static inline bool door_is_ready(const struct door *d)
{
    return d->fd >= 0 && !d->resting && (!d->lease || (d->lease->address && !d->lease->shut));
}
/* Connections to it that have rings kept for them. */
uint64_t door_promised(const struct doors *ds, const struct door *d);
void doors_tell(struct doors *ds, const struct door *d, bool with_fd); /* all workers that run */
/* Who comes there is reset: while the gateway drains, and where a session lets nobody in any more. */
void doors_refuse(struct doors *ds, struct door *d);
/* To every worker. */
void doors_tell_undoor(struct doors *ds, Scistream__Worker__Undoor *m);
/* doors_session.c */
struct door_keys { Scistream__Worker__Psk psk; uint8_t key[TLS_KEY_SIZE], uid_key[AUTH_UID_KEY]; }; /* wipe it */
void door_lease_fill(const struct doors *ds, const struct door *d, Scistream__Worker__Door *m, Scistream__Worker__TcpPeer *to, struct door_keys *keys);
void door_lease_free(struct door *d);
/* A relay of a worker that died, and the page of that worker. */
void doors_session_lost(struct doors *ds, uint32_t number, const struct stats_relay *st);
void doors_session_worker_died(struct doors *ds, const struct stats_page *p);

#endif
