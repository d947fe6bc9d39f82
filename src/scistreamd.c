/* scistreamd: the gateway. This process is control: configuration, TLS, gRPC, sessions; the bytes go through its workers.
 *
 * Happy path: options -> configuration -> check -> listen -> workers -> READY=1 -> serve -> SIGTERM -> drain -> stop.
 * Whatever is wrong with the configuration or the machine is said at the start, with what to do, and nothing runs.
 */
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>

#include "config.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/opts.h"
#include "src/scistreamd.h"

#define STREAMS_MAX 1024

static struct daemon *self;

/* ------------------------------------------------------------ options */

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

/* ------------------------------------------------------------ signals */

static void on_terminate(struct loop *l UNUSED, int signo) { stop_asked(self, signo); }
static void on_hangup(struct loop *l UNUSED, int signo UNUSED) { reload_soon(self); }
static void on_upgrade(struct loop *l UNUSED, int signo UNUSED) { upgrade_by_signal(self); }

static void on_child(struct loop *l UNUSED, int signo UNUSED)
{
    pool_reap(self->pool);
    upgrade_reap(self);
}

/* ------------------------------------------------------------ workers */

static void on_workers_ready(struct pool *p, void *user)
{
    struct daemon *d = user;
    const struct pool_worker *w = pool_pick(p);
    if (d->stopping) /* a signal was sooner */
        return;
    for (size_t i = 0; w && i < w->n_transports; i++)
        if (w->transports[i].problem && !str_eq(w->transports[i].problem, "not configured")) {
            log_error("transport %s: %s", w->transports[i].name, w->transports[i].problem);
            d->exit_code = daemon_fail(d, 78, "transport %s: %s", w->transports[i].name, w->transports[i].problem);
        }
    if (!d->exit_code)
        d->exit_code = listen_serve(d);
    if (!d->exit_code && observe_serve(&d->observe, &d->loop, d->why, sizeof(d->why)) < 0)
        d->exit_code = 78;
    if (!d->exit_code)
        d->exit_code = takeover_ready(d);
    if (d->exit_code) {
        stop_workers(d);
        return;
    }
    d->ready = true;
    doors_begin(d->doors);
    if (!takeover_waits(d))
        notify("READY=1");
    log_info("gateway %s is ready: %s, %u worker%s, %zu route%s", d->name, d->conf->g.listen, pool_size(p),
             pool_size(p) == 1 ? "" : "s", d->conf->n_routes, d->conf->n_routes == 1 ? "" : "s");
}

static void on_worker_started(struct pool *p UNUSED, void *user, struct pool_worker *w)
{
    struct daemon *d = user;
    AUTO_FREE char *text = mem_printf("worker %u has started again", w->index);
    doors_worker_started(d->doors, w);
    if (d->ready)
        service_note(&d->service, "worker-started", text, w->index);
}

static void on_door(struct pool *p UNUSED, void *user, struct pool_worker *w, const FromWorker *m)
{
    struct daemon *d = user;
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_RELAYED)
        doors_relayed(d->doors, w, m->relayed);
    else if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_LEFT)
        sessions_left(d->service.sessions, w, m->left->ticket);
    else
        sessions_came(d->service.sessions, w, m->came);
}

static void on_worker_died(struct pool *p UNUSED, void *user, const struct pool_worker *w, const char *how)
{
    struct daemon *d = user;
    AUTO_FREE char *text = mem_printf("worker %u %s", w->index, how);
    if (w->stats)
        tally_keep(&d->observe.tally, d->conf, w->stats);
    doors_worker_died(d->doors, w);
    sessions_worker_died(d->service.sessions, w);
    service_note(&d->service, "worker-died", text, w->index);
}

static void on_workers_broken(struct pool *p UNUSED, void *user, const char *why)
{
    struct daemon *d = user;
    log_error("cannot start: %s", why);
    d->exit_code = daemon_fail(d, 78, "cannot start: %s", why);
    loop_stop(&d->loop);
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

/* ------------------------------------------------------------ users and limits */

int daemon_fail(struct daemon *d, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(d->why, sizeof(d->why), fmt, ap);
    va_end(ap);
    return code;
}

static const struct passwd *find_user(struct daemon *d)
{
    const char *user = d->conf->g.user;
    const struct passwd *pw = getpwnam(user);
    if (!pw)
        daemon_fail(d, 78, "user '%s' does not exist: create it (systemd-sysusers, or useradd -r %s), or set user", user, user);
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
        return daemon_fail(d, 78, "cannot give %s to %s: %s", d->socket_path, user, strerror(errno));
    if (initgroups(user, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0)
        return daemon_fail(d, 78, "cannot become user %s: %s", user, strerror(errno));
    d->became = user;
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

static int load(struct daemon *d)
{
    const struct conf_global *g = &d->conf->g;
    const struct passwd *pw = geteuid() == 0 ? getpwnam(g->user) : NULL;
    struct loaded files;
    if (*g->name)
        str_copy(d->name, sizeof(d->name), g->name);
    else
        gethostname(d->name, sizeof(d->name) - 1);
    secret_user = pw ? (int64_t)pw->pw_uid : -1;
    if (load_files(d->conf, d->who, d->name, &files, d->why, sizeof(d->why)) < 0)
        return 78;
    d->tls = files.tls;
    d->routes = files.routes;
    if (d->who)
        who_use(d->who, files.who);
    else
        who_setup_free(files.who);
    return 0;
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
    return *fd < 0 ? daemon_fail(d, 78, "cannot start workers by %s: %s", program, strerror(errno)) : 0;
}

static int start_pool(struct daemon *d, int *program_fd, int *link_fds, unsigned n)
{
    static const struct pool_events events = { .ready = on_workers_ready, .worker_started = on_worker_started, .at_door = on_door,
                                               .died = on_worker_died, .broken = on_workers_broken };
    struct pool_config pc = { .conf = d->conf, .program_fd = fd_take(program_fd), .n = n, .link_fds = link_fds };
    int rc = pool_start(&d->loop, &pc, &events, d, &d->pool);
    return rc < 0 ? daemon_fail(d, 78, "cannot start workers: %s", err_text(rc)) : 0;
}

struct grpc_limits daemon_limits(const struct conf *c)
{
    return (struct grpc_limits){ .connections = (uint32_t)c->g.max_connections, .streams = STREAMS_MAX, .handshake_ns = c->g.attach_timeout,
                                 .silent_ns = c->g.peer_timeout };
}

static void make_services(struct daemon *d)
{
    static const struct service_admin admin = { .drain = drain_asked, .resume = drain_resume, .reload = reload_now, .upgrade = upgrade_asked,
                                                .released = sessions_released, .revoked = takeover_revoked, .before = sessions_before };
    struct grpc_limits limits = daemon_limits(d->conf);
    d->service = (struct service){ .loop = &d->loop, .conf = d->conf, .name = d->name, .admin = &admin, .admin_user = d,
                                   .grants = &d->grants, .routes = &d->routes, .tls = &d->tls };
    service_init(&d->service);
    grants_init(&d->grants);
    d->grants.conf = d->conf;
    d->server = grpc_server_new(&d->loop, service_methods, service_methods_n, &limits, &d->service);
    if (d->conf->scistream.enable && *d->conf->scistream.plaintext_listen)
        d->plain = grpc_server_new(&d->loop, service_plain_methods, service_plain_methods_n, &limits, &d->service);
}

static int start(struct daemon *d)
{
    unsigned n = worker_count(d->conf);
    AUTO_FREE int *link_fds = mem_zalloc(n, sizeof(*link_fds));
    AUTO_FD int program_fd = -1;
    make_services(d);
    int code = listen_links(d, link_fds, n);
    if (code == 0)
        code = listen_tls(d);
    if (code == 0)
        code = listen_local(d);
    if (code == 0)
        code = listen_plain(d);
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
    limits_start(d);
    struct sessions_config sc = { .loop = &d->loop, .conf = d->conf, .routes = &d->routes, .pool = d->pool, .resolver = d->resolver,
                                  .name = d->name, .doors = d->doors, .tally = &d->observe.tally, .records = &d->observe.records,
                                  .ev = &service_session_events, .ev_user = &d->service, .allows = service_allows_data,
                                  .grants = &d->grants, .capacity = &d->limits.capacity, .shares = d->limits.shares };
    doors_start(d->doors, &d->loop, d->pool, d->resolver, &d->observe.records);
    tally_use_doors(&d->observe.tally, doors_route_name, d->doors);
    d->service.who = d->who;
    d->service.resolver = d->resolver;
    d->service.doors = d->doors;
    d->service.pool = d->observe.sources.pool = d->pool;
    d->service.sessions = d->observe.sources.sessions = sessions_new(&sc);
    d->service.requests = requests_new(&d->loop, d->conf, d->resolver, &service_requests_ops, &d->service);
    grants_start(&d->grants, &d->loop, &service_grants_events, &d->service);
    shares_changed(d->limits.shares);
    return 0;
}

/* SIGHUP and SIGUSR2 are ignored beneath what the loop makes of them: a worker is born with that. */
static int set_signals(struct daemon *d)
{
    static const struct loop_signal wanted[] = { { SIGTERM, on_terminate }, { SIGINT, on_terminate }, { SIGCHLD, on_child }, { SIGHUP, on_hangup }, { SIGUSR2, on_upgrade } };
    int rc = 0;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    for (size_t i = 0; i < ARRAY_LEN(wanted) && rc == 0; i++)
        rc = loop_on_signal(&d->loop, wanted[i].signo, wanted[i].call);
    return rc;
}

/* Before the files are read, which is done as root: what they say is kept where it is used. */
static int start_asking(struct daemon *d)
{
    d->resolver = resolver_new(&d->loop);
    if (!d->resolver)
        return daemon_fail(d, 78, "the resolver cannot start: see /etc/resolv.conf");
    d->who = who_new(&d->loop, d->resolver);
    return 0;
}

static int serve(struct daemon *d)
{
    stop_init(d);
    reload_init(d);
    upgrade_init(d);
    observe_init(&d->observe, d->conf);
    raise_limits();
    int code = 0;
    if (loop_init(&d->loop) < 0 || set_signals(d) < 0)
        code = daemon_fail(d, 71, "cannot start: %s", strerror(errno));
    if (code == 0)
        code = start_asking(d);
    if (code == 0)
        code = load(d);
    if (code == 0)
        code = start(d);
    if (code)
        log_error("%s", d->why);
    else
        loop_run(&d->loop);
    if (code == 0)
        code = d->exit_code;
    if (code)
        takeover_failed(d, d->why);
    return code;
}

static void clean_up(struct daemon *d)
{
    if (d->socket_path && !d->before.borrowed && !d->retired)
        unlink(d->socket_path);
    upgrade_end(d);
    takeover_end(d);
    fd_close(&d->endpoint_fd);
    fd_close(&d->local_fd);
    fd_close(&d->plain_fd);
    observe_stop(&d->observe);
    grpc_server_free(d->server);
    grpc_server_free(d->plain);
    requests_free(d->service.requests);
    sessions_free(d->service.sessions);
    grants_fini(&d->grants);
    limits_end(d);
    doors_free(d->doors);
    pool_free(d->pool);
    who_free(d->who);
    resolver_free(d->resolver);
    routes_free(&d->routes);
    tls_ctx_free(d->tls);
    loop_fini(&d->loop);
    free(d->socket_path);
}

/* ------------------------------------------------------------ main */

static int with_config(const struct daemon_opts *o, char **argv)
{
    static struct daemon d = { .loop = { .epfd = -1, .sigfd = -1 }, .endpoint_fd = -1, .local_fd = -1, .plain_fd = -1,
                               .before.grants_fd = -1 };
    self = &d;
    d.opts = o;
    d.argv = argv;
    d.conf = conf_new();
    int code = takeover_begin(&d);
    int rc = code ? 0 : load_conf(d.conf, o, d.why, sizeof(d.why));
    load_log(d.conf);
    if (rc < 0)
        code = 78;
    if (code) {
        log_error("%s", d.why);
        takeover_failed(&d, d.why);
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
        code = *o.init ? init_folder(o.init, o.name) : with_config(&o, argv);
    opts_free(&command, &o);
    return code;
}
