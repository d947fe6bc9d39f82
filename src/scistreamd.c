/* scistreamd: the gateway. This process is control: configuration, TLS, gRPC, sessions; the bytes go through its workers.
 *
 * Happy path: options -> configuration -> check -> listen -> workers -> READY=1 -> serve -> SIGTERM -> drain -> stop.
 * Whatever is wrong with the configuration or the machine is said at the start, with what to do, and nothing runs.
 */
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "config.h"
#include "ctrl/service.h"
#include "src/control_socket.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/opts.h"
#include "src/core/units.h"
#include "src/observe.h"
#include "src/scistreamd.h"
#include "tcp/sock.h"

#define STREAMS_MAX 1024
#define WHY 640

struct daemon {
    struct loop loop;
    struct conf *conf;
    struct routes routes;
    struct tls_ctx *tls;
    struct resolver *resolver;
    struct pool *pool;
    struct doors *doors;
    struct service service;
    struct grpc_server *server;
    struct observe observe;
    struct timer drain, look;       /* drain_timeout; until the last relay has ended */
    char name[256], *socket_path;
    char why[WHY];
    int exit_code;
    bool stopping, abort_relays, made_folder;
};

static struct daemon *self;

/* ------------------------------------------------------------ options */

struct daemon_opts { char *config, *init, *name; char **set; bool check, print, quiet_check; };

#define ROW(field, long_name, letter_, type_, def_, arg_, help_) \
    { .v = { .name = long_name, .type = type_, .off = offsetof(struct daemon_opts, field), .def = def_, .help = help_ }, \
      .letter = letter_, .arg = arg_ }

static const struct opts_row rows[] = {
    ROW(config, "config", 'c', VALUE_STR, SYSCONFDIR "/scistream/scistreamd.conf", "FILE", "configuration, scistreamd.conf(5)"),
    { .v = { .name = "option", .type = VALUE_LIST, .off = offsetof(struct daemon_opts, set), .def = "",
             .help = "set one option over the file; may be repeated (ucx.devices=lo, route.NAME.window=4M)" },
      .letter = 'o', .arg = "KEY=VALUE", .whole = true },
    ROW(check, "check-config", 0, VALUE_FLAG, "no", NULL, "read and check the configuration, say what is wrong, and exit"),
    ROW(print, "print-config", 0, VALUE_FLAG, "no", NULL, "print the configuration in effect, commented, and exit"),
    ROW(init, "init", 0, VALUE_STR, "", "DIR", "write key, certificate, secret and a commented configuration into DIR, and exit"),
    ROW(name, "name", 0, VALUE_STR, "", "HOST", "with --init: name in the certificate; default: this host's"),
};

static const struct opts_command command = {
    .program = "scistreamd",
    .synopsis = "[-c FILE] [-o KEY=VALUE]...",
    .about = "The gateway between RDMA and WAN segments. Runs in the foreground until SIGTERM, then lets running streams finish for "
             "drain_timeout.",
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
    .tail = "First use: scistreamd --init ~/gw && scistreamd -c ~/gw/scistreamd.conf\n",
};

/* ------------------------------------------------------------ systemd's notification protocol, sd_notify(3): a datagram to NOTIFY_SOCKET */

static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    if (!path || !*path || !str_copy(a.sun_path, sizeof(a.sun_path), path))
        return;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (a.sun_path[0] == '@')
        a.sun_path[0] = 0;
    AUTO_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a, len) < 0)
        log_warn("cannot notify the service manager: %s", strerror(errno));
}

/* ------------------------------------------------------------ stopping */

static void on_gone(void *user) { loop_stop(&((struct daemon *)user)->loop); }

static void stop_workers(struct daemon *d)
{
    grpc_server_drain(d->server);
    loop_timer_stop(&d->loop, &d->drain);
    loop_timer_stop(&d->loop, &d->look);
    pool_stop(d->pool, on_gone, d);
}

static uint64_t relays(const struct daemon *d)
{
    const struct board *b = pool_board(d->pool);
    uint64_t n = 0;
    for (unsigned i = 0; i < pool_size(d->pool); i++)
        n += stats_get(&b->row[i].relays);
    return n;
}

static void on_look(struct timer *t)
{
    struct daemon *d = container_of(t, struct daemon, look);
    if (relays(d) == 0 || d->abort_relays)
        stop_workers(d);
    else
        loop_timer(&d->loop, t, 50 * NS_PER_MS);
}

static void on_idle(void *user) { on_look(&((struct daemon *)user)->look); }

/* Relays end with their workers. */
static void abort_all(struct daemon *d)
{
    sessions_abort_all(d->service.sessions, -SST_EDRAINING, "it is shutting down");
    if (sessions_channels(d->service.sessions) == 0)
        stop_workers(d);
    d->abort_relays = true;
}

static void on_drain_over(struct timer *t)
{
    struct daemon *d = container_of(t, struct daemon, drain);
    size_t n = sessions_channels(d->service.sessions) + relays(d);
    log_warn("%zu channel%s still open after drain_timeout: aborted", n, n == 1 ? " is" : "s are");
    abort_all(d);
}

static void on_terminate(struct loop *l UNUSED, int signo)
{
    struct daemon *d = self;
    char time[UNITS_TEXT];
    if (d->stopping) {
        log_warn("second signal: channels are aborted now");
        abort_all(d);
        return;
    }
    d->stopping = true;
    notify("STOPPING=1");
    size_t n = sessions_channels(d->service.sessions) + relays(d);
    log_info("%s: no new streams; %zu open channel%s %s to finish", strsignal(signo), n, n == 1 ? " gets" : "s get",
             units_human_time(time, d->conf->g.drain_timeout));
    doors_close(d->doors);
    sessions_drain(d->service.sessions, on_idle, d);
    service_health_changed(&d->service);
    if (d->conf->g.drain_timeout != TIME_FOREVER)
        loop_timer(&d->loop, &d->drain, d->conf->g.drain_timeout);
}

static void on_child(struct loop *l UNUSED, int signo UNUSED) { pool_reap(self->pool); }

/* ------------------------------------------------------------ workers */

static void on_workers_ready(struct pool *p, void *user)
{
    struct daemon *d = user;
    const struct pool_worker *w = pool_pick(p);
    for (size_t i = 0; w && i < w->n_transports; i++)
        if (w->transports[i].problem && !str_eq(w->transports[i].problem, "not configured")) {
            log_error("transport %s: %s", w->transports[i].name, w->transports[i].problem);
            d->exit_code = 78;
        }
    if (d->exit_code) {
        stop_workers(d);
        return;
    }
    notify("READY=1");
    log_info("gateway %s is ready: %s, %u worker%s, %zu route%s", d->name, d->conf->g.listen, pool_size(p),
             pool_size(p) == 1 ? "" : "s", d->conf->n_routes, d->conf->n_routes == 1 ? "" : "s");
}

static void on_worker_started(struct pool *p UNUSED, void *user, struct pool_worker *w) { doors_worker_started(((struct daemon *)user)->doors, w); }

static void on_door(struct pool *p UNUSED, void *user, struct pool_worker *w, const FromWorker *m)
{
    struct daemon *d = user;
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_RELAYED)
        doors_relayed(d->doors, w, m->relayed);
    else
        sessions_came(d->service.sessions, w, m->came);
}

static void on_worker_died(struct pool *p UNUSED, void *user, const struct pool_worker *w)
{
    struct daemon *d = user;
    if (w->stats)
        tally_keep(&d->observe.tally, d->conf, w->stats);
    sessions_worker_died(d->service.sessions, w);
}

static void on_workers_broken(struct pool *p UNUSED, void *user, const char *why)
{
    struct daemon *d = user;
    log_error("cannot start: %s", why);
    d->exit_code = 78;
    loop_stop(&d->loop);
}

static unsigned worker_count(const struct conf *c)
{
    cpu_set_t set;
    if (c->g.workers > 0)
        return (unsigned)c->g.workers;
    int cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return (unsigned)MAX(1, MIN(cpus, 4));
}

/* Beside our own program in a build tree, else where it was installed. */
static char *worker_program(void)
{
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    exe[MAX(n, 0)] = 0;
    char *slash = strrchr(exe, '/');
    if (slash)
        *slash = 0;
    char *beside = mem_printf("%s/scistream-worker", exe);
    if (access(beside, X_OK) == 0)
        return beside;
    free(beside);
    return mem_strdup(LIBEXECDIR "/scistream-worker");
}

/* ------------------------------------------------------------ sockets */

static int fail(struct daemon *d, int code, const char *fmt, ...) PRINTF(3, 4);

static int fail(struct daemon *d, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(d->why, sizeof(d->why), fmt, ap);
    va_end(ap);
    return code;
}

static int listen_at(struct daemon *d, const char *option, const char *host, uint16_t port)
{
    union sockaddr_any at;
    char text[ADDR_TEXT];
    if (addr_numeric(host, port, &at) < 0) {
        fail(d, 0, "%s: '%s' is no numeric address", option, host);
        return -1;
    }
    int fd = sock_listen(&at);
    if (fd < 0)
        fail(d, 0, "%s: cannot listen on %s: %s%s", option, addr_format(&at, text), err_text(fd),
             fd == -EADDRINUSE ? "; another program has the port (ss -ltnp), or choose another"
             : fd == -EACCES   ? "; ports below 1024 need root"
                               : "");
    return fd;
}

/* One link port per worker: the first free ones of the range. */
static int bind_links(struct daemon *d, int *fds, unsigned n)
{
    uint16_t first, last, listen_port;
    char host[ADDR_HOST_MAX + 1], why[WHY];
    unsigned got = 0;
    addr_parse_ports(d->conf->g.link_ports, &first, &last);
    addr_parse_hostport(d->conf->g.listen, ADDR_PORT_DEFAULT, host, &listen_port, why, sizeof(why));
    const char *at = *d->conf->g.link_address ? d->conf->g.link_address : host;
    for (unsigned port = first; port <= last && got < n; port++) {
        int fd = listen_at(d, "link_ports", at, (uint16_t)port);
        if (fd >= 0)
            fds[got++] = fd;
    }
    if (got == n)
        return 0;
    str_copy(why, sizeof(why), d->why);
    return fail(d, 78, "link_ports %s: %u workers need a port each, %u were free (%s)", d->conf->g.link_ports, n, got, why);
}

static int listen_tls(struct daemon *d)
{
    char host[ADDR_HOST_MAX + 1], why[WHY];
    uint16_t port;
    addr_parse_hostport(d->conf->g.listen, ADDR_PORT_DEFAULT, host, &port, why, sizeof(why));
    int fd = listen_at(d, "listen", host, port);
    if (fd < 0)
        return 78;
    int rc = grpc_server_listen(d->server, fd, d->tls, "control endpoint");
    return rc < 0 ? fail(d, 78, "listen: %s", err_text(rc)) : 0;
}

static int make_socket_folder(struct daemon *d)
{
    AUTO_FREE char *folder = mem_strdup(d->socket_path);
    struct stat st;
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return 0;
    *slash = 0;
    d->made_folder = mkdir(folder, 0755) == 0;
    if (!d->made_folder && errno != EEXIST)
        return fail(d, 78, "control_socket: cannot make %s: %s", folder, strerror(errno));
    if (str_starts(folder, "/tmp/") && (lstat(folder, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()))
        return fail(d, 78, "control_socket: %s belongs to somebody else: set control_socket", folder);
    return 0;
}

static int open_local(struct daemon *d)
{
    int code = make_socket_folder(d);
    if (code)
        return code;
    int fd = sock_listen_unix(d->socket_path, 0600);
    if (fd < 0)
        return fail(d, 78, "control_socket %s: %s%s", d->socket_path, err_text(fd),
                    fd == -EADDRINUSE ? "; another scistreamd uses it: give each its own control_socket" : "");
    int rc = grpc_server_listen(d->server, fd, NULL, "local control socket");
    return rc < 0 ? fail(d, 78, "control_socket: %s", err_text(rc)) : 0;
}

static int listen_local(struct daemon *d)
{
    d->socket_path = *d->conf->g.control_socket ? mem_strdup(d->conf->g.control_socket) : control_socket_default();
    int code = open_local(d);
    if (code == 0)
        return 0;
    free(d->socket_path);
    d->socket_path = NULL; /* not ours to unlink: another scistreamd may serve there */
    return code;
}

/* ------------------------------------------------------------ users and limits */

static const struct passwd *find_user(struct daemon *d)
{
    const char *user = d->conf->g.user;
    const struct passwd *pw = getpwnam(user);
    if (!pw)
        fail(d, 78, "user '%s' does not exist: create it (systemd-sysusers, or useradd -r %s), or set user", user, user);
    return pw;
}

static int drop_root(struct daemon *d)
{
    const char *user = d->conf->g.user;
    if (geteuid() != 0 || str_eq(user, "root"))
        return 0;
    const struct passwd *pw = find_user(d);
    if (!pw)
        return 78;
    AUTO_FREE char *folder = mem_strdup(d->socket_path);
    *strrchr(folder, '/') = 0; /* its own folder too, if we made it: the socket must be unlinked at the end */
    if (chown(d->socket_path, pw->pw_uid, pw->pw_gid) < 0 || (d->made_folder && chown(folder, pw->pw_uid, pw->pw_gid) < 0))
        return fail(d, 78, "cannot give %s to %s: %s", d->socket_path, user, strerror(errno));
    if (initgroups(user, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0)
        return fail(d, 78, "cannot become user %s: %s", user, strerror(errno));
    return 0;
}

static void raise_limits(void)
{
    struct rlimit n;
    if (getrlimit(RLIMIT_NOFILE, &n) == 0 && n.rlim_cur < n.rlim_max) {
        n.rlim_cur = n.rlim_max;
        setrlimit(RLIMIT_NOFILE, &n);
    }
}

/* ------------------------------------------------------------ starting */

/* A group may read it (ssl-cert), the rest of the world not. That there is none is told by who reads it. */
static int check_key_file(struct daemon *d, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0 || !(st.st_mode & (S_IRWXO | S_IWGRP)))
        return 0;
    return fail(d, 78, "%s: others may use it (mode %04o): chmod 600 %s", path, st.st_mode & 07777, path);
}

static int load(struct daemon *d)
{
    const struct conf_global *g = &d->conf->g;
    if (*g->name)
        str_copy(d->name, sizeof(d->name), g->name);
    else
        gethostname(d->name, sizeof(d->name) - 1);
    if (!*g->certificate || !*g->key)
        return fail(d, 78, "certificate and key are not set: 'scistreamd --init DIR' makes them");
    if (check_key_file(d, g->key))
        return 78;
    d->tls = tls_ctx_server(g->certificate, g->key, "h2", d->why, sizeof(d->why));
    if (!d->tls)
        return 78;
    int days = tls_ctx_days_left(d->tls);
    if (days < 0)
        return fail(d, 78, "certificate %s expired %d days ago: renew it", g->certificate, -days);
    expiry_say(d->tls, g->certificate);
    if (routes_load(&d->routes, d->conf, d->why, sizeof(d->why)) < 0)
        return 78;
    return admission_check_limits(d->conf, d->why, sizeof(d->why)) < 0 ? 78 : 0;
}

/* For a look at a configuration, which need not be taken by the user who will start the gateway. */
static int check_user(struct daemon *d)
{
    if (str_eq(d->conf->g.user, "root") || find_user(d))
        return 0;
    if (geteuid() == 0)
        return 78;
    log_warn("%s; only a gateway started as root needs it", d->why);
    return 0;
}

/* While we are still root: the folder it lies in may be closed to the user that we become. */
static int open_worker_program(struct daemon *d, int *fd)
{
    AUTO_FREE char *program = worker_program();
    *fd = open(program, O_PATH | O_CLOEXEC);
    return *fd < 0 ? fail(d, 78, "cannot start workers by %s: %s", program, strerror(errno)) : 0;
}

static int start_pool(struct daemon *d, int *program_fd, int *link_fds, unsigned n)
{
    static const struct pool_events events = { .ready = on_workers_ready, .worker_started = on_worker_started, .at_door = on_door,
                                              .died = on_worker_died, .broken = on_workers_broken };
    struct pool_config pc = { .conf = d->conf, .program_fd = fd_take(program_fd), .n = n, .link_fds = link_fds };
    int rc = pool_start(&d->loop, &pc, &events, d, &d->pool);
    return rc < 0 ? fail(d, 78, "cannot start workers: %s", err_text(rc)) : 0;
}

static void make_services(struct daemon *d)
{
    const struct conf_global *g = &d->conf->g;
    struct grpc_limits limits = { .connections = (uint32_t)g->max_connections, .streams = STREAMS_MAX, .handshake_ns = g->attach_timeout,
                                  .silent_ns = g->peer_timeout };
    d->service = (struct service){ .loop = &d->loop, .conf = d->conf, .name = d->name };
    service_init(&d->service);
    d->server = grpc_server_new(&d->loop, service_methods, service_methods_n, &limits, &d->service);
}

static int start(struct daemon *d)
{
    unsigned n = worker_count(d->conf);
    AUTO_FREE int *link_fds = mem_zalloc(n, sizeof(*link_fds));
    AUTO_FD int program_fd = -1;
    make_services(d);
    int code = bind_links(d, link_fds, n);
    if (code == 0)
        code = listen_tls(d);
    if (code == 0)
        code = listen_local(d);
    if (code == 0 && !(d->doors = doors_open(d->conf, &d->routes, d->why, sizeof(d->why))))
        code = 78;
    if (code == 0)
        code = observe_bind(&d->observe, d->conf, d->why, sizeof(d->why)) < 0 ? 78 : 0;
    if (code == 0)
        code = open_worker_program(d, &program_fd);
    if (code == 0)
        code = drop_root(d);
    if (code == 0)
        code = observe_start(&d->observe, &d->loop, &d->tls, d->name, d->why, sizeof(d->why)) < 0 ? 78 : 0;
    if (code == 0)
        code = start_pool(d, &program_fd, link_fds, n);
    if (code)
        return code;
    d->resolver = resolver_new(&d->loop);
    if (!d->resolver)
        return fail(d, 78, "the resolver cannot start: see /etc/resolv.conf");
    struct sessions_config sc = { .loop = &d->loop, .conf = d->conf, .routes = &d->routes, .pool = d->pool, .resolver = d->resolver,
                                  .name = d->name, .doors = d->doors, .tally = &d->observe.tally, .records = &d->observe.records };
    doors_start(d->doors, &d->loop, d->pool, d->resolver, &d->observe.records);
    d->service.pool = d->observe.sources.pool = d->pool;
    d->service.sessions = d->observe.sources.sessions = sessions_new(&sc);
    return 0;
}

static int set_signals(struct daemon *d)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    int rc = loop_on_signal(&d->loop, SIGTERM, on_terminate);
    if (rc == 0)
        rc = loop_on_signal(&d->loop, SIGINT, on_terminate);
    return rc == 0 ? loop_on_signal(&d->loop, SIGCHLD, on_child) : rc;
}

static int serve(struct daemon *d)
{
    d->drain.fire = on_drain_over;
    d->look.fire = on_look;
    observe_init(&d->observe, d->conf);
    raise_limits();
    int code = load(d);
    if (code == 0 && (loop_init(&d->loop) < 0 || set_signals(d) < 0))
        code = fail(d, 71, "cannot start: %s", strerror(errno));
    if (code == 0)
        code = start(d);
    if (code)
        log_error("%s", d->why);
    else
        loop_run(&d->loop);
    return code ? code : d->exit_code;
}

static void clean_up(struct daemon *d)
{
    if (d->socket_path)
        unlink(d->socket_path);
    observe_stop(&d->observe);
    grpc_server_free(d->server);
    sessions_free(d->service.sessions);
    doors_free(d->doors);
    pool_free(d->pool);
    resolver_free(d->resolver);
    routes_free(&d->routes);
    tls_ctx_free(d->tls);
    loop_fini(&d->loop);
    free(d->socket_path);
}

/* ------------------------------------------------------------ main */

static int read_config(struct conf *c, const struct daemon_opts *o, char *why, size_t size)
{
    bool defaults = o->print && access(o->config, F_OK) < 0 && errno == ENOENT; /* a look at what there is to set */
    int rc = defaults ? 0 : conf_read(c, o->config, why, size);
    for (char **s = o->set; rc == 0 && *s; s++)
        rc = conf_set(c, *s, why, size);
    return rc == 0 && !defaults ? conf_check(c, why, size) : rc;
}

static int with_config(const struct daemon_opts *o)
{
    static struct daemon d = { .loop = { .epfd = -1, .sigfd = -1 } };
    char why[WHY];
    int code = 0;
    self = &d;
    d.conf = conf_new();
    int rc = read_config(d.conf, o, why, sizeof(why));
    log_setup("scistreamd", (enum log_level)d.conf->g.log_level, (enum log_target)d.conf->g.log_target,
              (enum log_format)d.conf->g.log_format);
    if (rc < 0) {
        log_error("%s", why);
        code = 78;
    } else if (o->print) {
        conf_print(d.conf, stdout, true);
    } else if (o->check) {
        code = load(&d);
        if (code == 0)
            code = check_user(&d);
        if (code)
            log_error("%s", d.why);
        else
            printf("%s: %zu route%s, nothing wrong\n", o->config, d.conf->n_routes, d.conf->n_routes == 1 ? "" : "s");
        routes_free(&d.routes);
        tls_ctx_free(d.tls);
    } else {
        code = serve(&d);
        clean_up(&d);
    }
    conf_free(d.conf);
    return code;
}

int main(int argc, char **argv)
{
    struct daemon_opts o = { 0 };
    int rest;
    fd_reserve_stdio();
    enum opts_outcome parsed = opts_parse(&command, &o, argc, argv, &rest);
    if (parsed != OPTS_RUN)
        return parsed == OPTS_EXIT_OK ? 0 : 64;
    log_setup("scistreamd", LOG_LEVEL_INFO, LOG_TARGET_AUTO, LOG_FORMAT_TEXT);
    int code = 64;
    if (rest < argc)
        fprintf(stderr, "scistreamd: unexpected operand '%s'\nTry 'scistreamd --help'.\n", argv[rest]);
    else
        code = *o.init ? init_folder(o.init, o.name) : with_config(&o);
    opts_free(&command, &o);
    return code;
}
