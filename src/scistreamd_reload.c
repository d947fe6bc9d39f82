/* The configuration read again while streams run: SIGHUP, or Reload on the control socket.
 *
 * Happy path: file, -o options, certificate, key and secrets are read beside those in force -> all of it is checked -> compared -> swapped ->
 * everybody who uses it is told (in_force). Channels that run keep the route that they began with.
 * What fails: anything before the swap leaves everything as it was; log and caller are told why.
 */
#include <fcntl.h>
#include <stdio.h>

#include "src/core/err.h"
#include "src/core/log.h"
#include "src/scistreamd.h"

#define PAUSE_NS (250 * NS_PER_MS) /* between two that signals ask for: a storm of them is one, or a few */

/* ------------------------------------------------------------ beside what is in force */

/* The user that root became may not be allowed to read what root could. */
static int check_readable(const struct daemon *d, const char *what, const char *path, char *why, size_t size)
{
    if (!*path || !d->became || faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0 || errno != EACCES)
        return 0;
    snprintf(why, size, "%s: user %s, whom the gateway became after its start, may not read %s: chown %s %s, or restart the gateway", what,
             d->became, path, d->became, path);
    return -SST_ECONF;
}

static int check_all_readable(const struct daemon *d, const struct conf *c, char *why, size_t size)
{
    int rc = check_readable(d, "certificate", c->g.certificate, why, size);
    if (rc == 0)
        rc = check_readable(d, "key", c->g.key, why, size);
    const char *const auth[] = { c->auth.client_ca, c->auth.client_crl, c->auth.token_file, c->auth.introspection_credentials_file,
                                 c->auth.introspection_ca };
    for (size_t i = 0; i < ARRAY_LEN(auth) && rc == 0; i++)
        rc = check_readable(d, "auth", auth[i], why, size);
    for (size_t i = 0; i < c->n_routes && rc == 0; i++) {
        const struct conf_route *r = c->routes[i];
        const char *const files[] = { r->secret_file, r->connect_secret_file, r->connect_ca };
        AUTO_FREE char *what = mem_printf("route %s", r->name);
        for (size_t k = 0; k < ARRAY_LEN(files) && rc == 0; k++)
            rc = check_readable(d, what, files[k], why, size);
    }
    return rc;
}

/* Names the file in any case. */
static void complete_why(const struct daemon *d, char why[WHY])
{
    AUTO_FREE char *text = mem_strdup(why);
    if (!str_starts(text, d->opts->config))
        snprintf(why, WHY, "%s: %s", d->opts->config, text);
}

static int read_beside(const struct daemon *d, struct conf *c, struct loaded *files, char why[WHY])
{
    int rc = check_readable(d, "configuration", d->opts->config, why, WHY);
    if (rc == 0)
        rc = load_conf(c, d->opts, why, WHY);
    if (rc == 0)
        rc = check_all_readable(d, c, why, WHY);
    if (rc == 0)
        rc = load_files(c, d->who, d->name, files, why, WHY);
    if (rc == 0)
        rc = records_open(&files->records, c->g.records, d->name, why, WHY);
    if (rc == 0) /* last: nothing fails any more once sockets are bound */
        rc = doors_prepare(d->doors, &files->routes, why, WHY);
    if (rc < 0)
        complete_why(d, why);
    return rc;
}

/* Options that are otherwise; and what has another content, though its name is the same. */
static void compare(const struct daemon *d, const struct conf *c, const struct loaded *files, struct conf_diff *out)
{
    conf_diff_make(d->conf, c, out);
    if (!tls_ctx_same(d->tls, files->tls))
        conf_diff_add(&out->now, "certificate");
    if (!tls_ctx_same_crls(d->tls, files->tls))
        conf_diff_add(&out->now, "auth.client_crl");
    if (!who_setup_same_tokens(who_in_use(d->who), files->who))
        conf_diff_add(&out->now, "auth.token_file");
    for (size_t i = 0; i < files->routes.n; i++) {
        const struct route *r = files->routes.r[i], *was = route_find(&d->routes, r->c->name);
        if (was && !route_same(was, r))
            conf_diff_add(&out->changed, r->c->name);
    }
}

/* ------------------------------------------------------------ in force */

static void swap(struct daemon *d, struct conf *c, struct loaded *files)
{
    struct tls_ctx *tls = d->tls;
    d->tls = files->tls;
    files->tls = tls;
    struct records records = d->observe.records;
    d->observe.records = files->records;
    d->observe.records.written = records.written;
    d->observe.records.lost = records.lost;
    files->records = records;
    conf_adopt(d->conf, c);
    who_use(d->who, files->who);
    files->who = NULL;
    routes_replace(&d->routes, &files->routes);
}

static void to_log(struct daemon *d, const struct conf_diff *diff UNUSED) { load_log(d->conf); }

static void to_endpoint(struct daemon *d, const struct conf_diff *diff UNUSED)
{
    struct grpc_limits limits = daemon_limits(d->conf);
    grpc_server_renew(d->server, d->tls, &limits);
    if (d->plain)
        grpc_server_renew(d->plain, NULL, &limits);
}

static void to_limits(struct daemon *d, const struct conf_diff *diff UNUSED) { limits_reloaded(d); }

static void to_doors(struct daemon *d, const struct conf_diff *diff UNUSED) { doors_follow(d->doors, &d->routes); }

static void to_workers(struct daemon *d, const struct conf_diff *diff)
{
    char **settings = conf_diff_settings(d->conf, diff);
    pool_settings(d->pool, settings);
    strv_free(settings);
}

static void to_grants(struct daemon *d, const struct conf_diff *diff UNUSED) { grants_follow(&d->grants, &d->routes); }

static void to_sessions(struct daemon *d, const struct conf_diff *diff UNUSED) { sessions_reloaded(d->service.sessions); }

/* Who is told of a configuration that was taken, in this order: d->conf, d->routes and d->tls are the new ones by now, diff has the names of
 * options and of routes added, removed and changed. */
static void (*const in_force[])(struct daemon *d, const struct conf_diff *diff) = { to_log, to_endpoint, to_workers, to_limits, to_doors, to_grants, to_sessions };

/* ------------------------------------------------------------ one reload */

static ReloadReply *new_reply(void)
{
    ReloadReply *r = mem_zalloc(1, sizeof(*r));
    scistream__gateway__v1__reload_reply__init(r);
    return r;
}

static ReloadReply *refuse(struct daemon *d, const char *why)
{
    ReloadReply *r = new_reply();
    r->problem = mem_strdup(why);
    r->text = mem_printf("not taken, the configuration of before stays in force: %s", why);
    log_error("configuration read again: %s", r->text);
    service_note(&d->service, "not-reloaded", why, 0);
    return r;
}

static size_t move_list(char ***to, char ***from)
{
    *to = *from;
    *from = NULL;
    return strv_len(*to);
}

static ReloadReply *accept_diff(struct daemon *d, struct conf_diff *diff)
{
    ReloadReply *r = new_reply();
    r->text = conf_diff_text(diff);
    log_info("configuration read again: %s", r->text);
    service_note(&d->service, "reloaded", r->text, 0);
    r->n_changed = move_list(&r->changed, &diff->now);
    r->n_after_restart = move_list(&r->after_restart, &diff->later);
    r->n_routes_added = move_list(&r->routes_added, &diff->added);
    r->n_routes_removed = move_list(&r->routes_removed, &diff->removed);
    r->n_routes_changed = move_list(&r->routes_changed, &diff->changed);
    return r;
}

static ReloadReply *take(struct daemon *d, struct conf *c, struct loaded *files)
{
    struct conf_diff diff;
    compare(d, c, files, &diff);
    swap(d, c, files);
    for (size_t i = 0; i < ARRAY_LEN(in_force); i++)
        in_force[i](d, &diff);
    ReloadReply *r = accept_diff(d, &diff);
    conf_diff_free(&diff);
    return r;
}

/* Type=notify-reload: a time not before that of the signal, or the manager goes on waiting. */
static void notify_reloading(void)
{
    AUTO_FREE char *state = mem_printf("RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)(now_ns() / NS_PER_US));
    notify(state);
}

ReloadReply *reload_now(void *user)
{
    struct daemon *d = user;
    struct loaded files = { .records.fd = -1 };
    char why[WHY] = "";
    if (!d->ready || d->stopping || d->heir.pid)
        return refuse(d, d->retired    ? "another program has taken over: ask that"
                         : d->stopping ? "the gateway is shutting down"
                         : d->heir.pid ? "an upgrade is under way"
                                       : "the gateway has not started yet");
    notify_reloading();
    struct conf *c = conf_new();
    int rc = read_beside(d, c, &files, why);
    ReloadReply *r = rc < 0 ? refuse(d, why) : take(d, c, &files);
    routes_free(&files.routes);
    tls_ctx_free(files.tls);
    who_setup_free(files.who);
    records_close(&files.records);
    conf_free(c);
    notify("READY=1");
    d->reloaded_ns = now_ns();
    return r;
}

/* ------------------------------------------------------------ by signal */

static void on_due(struct timer *t)
{
    struct daemon *d = container_of(t, struct daemon, reload);
    if (!d->ready && !d->stopping)
        loop_timer(&d->loop, &d->reload, PAUSE_NS);
    else
        scistream__gateway__v1__reload_reply__free_unpacked(reload_now(d), NULL);
}

void reload_init(struct daemon *d) { d->reload.fire = on_due; }

void reload_soon(struct daemon *d)
{
    uint64_t since = now_ns() - d->reloaded_ns;
    if (!timer_pending(&d->reload))
        loop_timer(&d->loop, &d->reload, since >= PAUSE_NS ? 0 : PAUSE_NS - since);
}
