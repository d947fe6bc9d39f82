/* The configuration and the files that it names, read and checked: at the start and again at each reload. */
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>

#include "ctrl/promises.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/scistreamd.h"

int load_conf(struct conf *c, const struct daemon_opts *o, char *why, size_t size)
{
    bool defaults = o->print && access(o->config, F_OK) < 0 && errno == ENOENT; /* a look at what there is to set */
    int rc = defaults ? 0 : conf_read(c, o->config, why, size);
    for (char **s = o->set; rc == 0 && *s; s++)
        rc = conf_set(c, *s, why, size);
    return rc == 0 && !defaults ? conf_check(c, why, size) : rc;
}

/* A group may read it (ssl-cert), the rest of the world not. That there is none is told by who reads it. */
static int check_key_file(const char *path, char *why, size_t size)
{
    struct stat st;
    if (stat(path, &st) < 0 || !(st.st_mode & (S_IRWXO | S_IWGRP)))
        return 0;
    snprintf(why, size, "%s: others may use it (mode %04o): chmod 600 %s", path, st.st_mode & 07777, path);
    return -SST_ECONF;
}

/* Whom clients' certificates have to be of, and which are revoked. */
static int load_client_cas(const struct conf_auth *a, struct tls_ctx *tls, char *why, size_t size)
{
    if (!*a->client_ca)
        return 0;
    int rc = tls_ctx_ask(tls, a->client_ca, why, size);
    if (rc == 0 && *a->client_crl)
        rc = tls_ctx_revoke(tls, a->client_crl, why, size);
    if (rc == 0 && tls_ctx_stale_crls(tls))
        log_warn("auth.client_crl %s: the time for its next list has passed: certificates of that CA are refused until there is one", a->client_crl);
    return rc;
}

static int load_tls(const struct conf *c, struct tls_ctx **out, char *why, size_t size)
{
    const struct conf_global *g = &c->g;
    if (!*g->certificate || !*g->key) {
        snprintf(why, size, "certificate and key are not set: 'scistreamd --init DIR' makes them");
        return -SST_ECONF;
    }
    if (check_key_file(g->key, why, size) < 0)
        return -SST_ECONF;
    struct tls_ctx *tls = tls_ctx_server(g->certificate, g->key, "h2", why, size);
    int days = tls ? tls_ctx_days_left(tls) : 0;
    if (days < 0)
        snprintf(why, size, "certificate %s expired %d days ago: renew it", g->certificate, -days);
    else if (tls)
        expiry_say(tls, g->certificate);
    if (!tls || days < 0 || load_client_cas(&c->auth, tls, why, size) < 0) {
        tls_ctx_free(tls);
        return -SST_ECONF;
    }
    *out = tls;
    return 0;
}

unsigned worker_count(const struct conf *c)
{
    cpu_set_t set;
    if (c->g.workers > 0)
        return (unsigned)c->g.workers;
    int cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return (unsigned)MAX(1, MIN(cpus, 4));
}

/* Not refused: what is promised is seldom used all at once. */
static void warn_of_promises(const struct conf *c)
{
    char why[PROMISES_MAX][PROMISES_WHY];
    struct promises_machine m;
    promises_machine(&m, c, worker_count(c));
    for (unsigned i = 0, n = promises_check(c, &m, why); i < n; i++)
        log_warn("%s", why[i]);
}

/* Each may be meant, and both together let nobody arrange anything. */
static void warn_of_strangers(const struct conf *c)
{
    if (c->scistream.enable && c->scistream.auth == CONF_AUTH_POLICY && !conf_auth_asks(&c->auth))
        log_warn("scistream.auth = policy, but section auth has no way to know who calls (client_ca, token_file, introspection_url): "
                 "everybody is anonymous to the policies");
}

int load_files(const struct conf *c, const struct who *w, const char *name, struct loaded *out, char *why, size_t size)
{
    *out = (struct loaded){ .records.fd = -1 };
    int rc = load_tls(c, &out->tls, why, size);
    if (rc == 0)
        rc = routes_load(&out->routes, c, why, size);
    if (rc == 0)
        rc = admission_check_limits(c, why, size);
    if (rc == 0 && !(out->who = who_load(w, c, name, why, size)))
        rc = -SST_ECONF;
    if (rc == 0) {
        warn_of_promises(c);
        warn_of_strangers(c);
        return 0;
    }
    routes_free(&out->routes);
    tls_ctx_free(out->tls);
    out->tls = NULL;
    return rc;
}

void load_log(const struct conf *c)
{
    log_setup("scistreamd", (enum log_level)c->g.log_level, (enum log_target)c->g.log_target, (enum log_format)c->g.log_format);
}
