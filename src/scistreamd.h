/* The parts of scistreamd: scistreamd.c (options, start), _load (configuration and files), _listen (sockets), _stop (drain, end), _reload, _init. */
#ifndef SRC_SCISTREAMD_H
#define SRC_SCISTREAMD_H

#include "ctrl/doors.h"
#include "ctrl/service.h"
#include "src/core/conf_diff.h"
#include "src/observe.h"
#include "src/scistreamd_limits.h"
#include "src/scistreamd_sessions.h"
#include "src/scistreamd_upgrade.h"

#define WHY 640

struct daemon_opts { char *config, *init, *name; char **set; bool check, print; };

struct daemon {
    const struct daemon_opts *opts;
    struct loop loop;
    struct conf *conf;           /* in force; a reload changes what is in it */
    struct routes routes;
    struct tls_ctx *tls;
    struct resolver *resolver;
    struct who *who;
    struct pool *pool;
    struct doors *doors;
    struct grants grants;
    struct limits limits;
    struct service service;
    struct grpc_server *server, *plain; /* plain: scistream.Control without TLS; NULL: not wanted */
    struct observe observe;
    struct timer drain, look, reload; /* drain: drain_timeout; look: until the last relay has ended */
    uint64_t reloaded_ns;        /* when the last one was done */
    char name[256], why[WHY], *socket_path;
    const char *became;          /* the user that root became; NULL: we are who started us */
    int exit_code;
    bool ready, stopping, abort_relays, made_folder;
    bool retired, asked;         /* another program has taken over; and this one has had a signal to end since */
    char **argv;                 /* as we were started, and the one that takes over will be */
    int endpoint_fd, local_fd, plain_fd; /* bound, and not served before the workers have started; -1 */
    struct {                     /* the program that is to take over */
        struct io io;
        pid_t pid;
        int rc;
        struct timer patience, grace, tell, probation;
        char said[WHY];
        bool told;               /* that all is its own */
    } heir;
    struct giving giving;        /* sessions of scistream.Control that it is given, */
    struct taking taking;        /* and that this one is */
    struct {                     /* the one that this program took over from */
        struct io io;
        int fd, grants_fd;       /* until the loop runs; memory with what it has granted, until that is taken; -1 */
        struct timer last;
        bool borrowed, taken;    /* its sockets are here, and still its own; they are ours */
    } before;
};

/* Keep why, give the exit code back. */
int daemon_fail(struct daemon *d, int code, const char *fmt, ...) PRINTF(3, 4);

/* ------------------------------------------------------------ scistreamd.c */
struct grpc_limits daemon_limits(const struct conf *c);

/* ------------------------------------------------------------ _load */
/* File and -o options into c, and their check. 0 or -errno and why. */
int load_conf(struct conf *c, const struct daemon_opts *o, char *why, size_t size);
unsigned worker_count(const struct conf *c); /* what `workers` stands for */
/* What c names: certificate, key, secrets, tokens; and the limits, some of which are only warned of. 0; -SST_ECONF and why, and nothing is loaded. */
struct loaded { struct tls_ctx *tls; struct routes routes; struct who_setup *who; struct records records; /* of a reload */ };
/* w: who will be asked; NULL: just to check. name: of this gateway. */
int load_files(const struct conf *c, const struct who *w, const char *name, struct loaded *out, char *why, size_t size);
void load_log(const struct conf *c); /* log as c says */

/* ------------------------------------------------------------ _listen */
/* Exit codes. */
int listen_links(struct daemon *d, int *fds, unsigned n); /* one port per worker: the first free ones of the range */
int listen_tls(struct daemon *d);
int listen_local(struct daemon *d);
int listen_plain(struct daemon *d); /* where it is wanted */
int listen_serve(struct daemon *d); /* these three: who came meanwhile is accepted now */

/* ------------------------------------------------------------ _stop */
void notify(const char *state); /* the service manager, sd_notify(3) */
void stop_workers(struct daemon *d);
/* SIGTERM: drain, then end. Again: abort. */
void stop_asked(struct daemon *d, int signo);
void stop_init(struct daemon *d);
/* Another program takes new streams: let those that run here finish, then end. */
void stop_retired(struct daemon *d);
/* Abort all channels, then end. */
void stop_abort(struct daemon *d);
/* While it stops: is there still something to wait for? */
void stop_look(struct daemon *d);
uint64_t stop_channels(const struct daemon *d); /* that are open */
const char *drain_asked(void *user, const struct service_drain *q);
const char *drain_resume(void *user);

/* ------------------------------------------------------------ _reload */
void reload_init(struct daemon *d);
/* SIGHUP: soon, and many at once as one. */
void reload_soon(struct daemon *d);
/* Now; what came of it, heap. */
ReloadReply *reload_now(void *user);

/* ------------------------------------------------------------ _init */
/* scistreamd --init: make DIR with key, certificate, secret and configuration, and print what a client needs. name: "" = this host. Exit code. */
int init_folder(const char *dir, const char *name);

#endif
