/* scistreamd --init DIR: everything a first gateway needs, and the line its users need. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "src/core/conf.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/secret.h"
#include "src/scistreamd.h"
#include "tcp/tls.h"

struct paths { char *cert, *key, *secret, *conf; };

static struct paths paths_in(const char *dir)
{
    return (struct paths){ mem_printf("%s/gateway.crt", dir), mem_printf("%s/gateway.key", dir), mem_printf("%s/secret", dir),
                           mem_printf("%s/scistreamd.conf", dir) };
}

static void free_paths(struct paths *p)
{
    free(p->cert);
    free(p->key);
    free(p->secret);
    free(p->conf);
}

static int make_files(const struct paths *p, const char *name, char *why, size_t size)
{
    int rc = tls_make_identity(name, p->cert, p->key, why, size);
    return rc == 0 ? secret_create(p->secret, why, size) : rc;
}

static int set(struct conf *c, char *assignment, char *why, size_t size)
{
    AUTO_FREE char *a = assignment;
    return conf_set(c, a, why, size);
}

/* A receiving route: senders and receivers both attach to this gateway. What to change for a pair of gateways stands in the manual. */
static int write_conf(const struct paths *p, const char *name, char *why, size_t size)
{
    struct conf *c = conf_new();
    int rc = set(c, mem_printf("name=%s", name), why, size);
    if (rc == 0)
        rc = set(c, mem_printf("certificate=%s", p->cert), why, size);
    if (rc == 0)
        rc = set(c, mem_printf("key=%s", p->key), why, size);
    if (rc == 0)
        rc = set(c, mem_printf("route.stream.secret_file=%s", p->secret), why, size);
    if (rc == 0)
        rc = set(c, mem_printf("route.stream.deliver=link"), why, size);
    int fd = rc == 0 ? open(p->conf, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644) : -1;
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (rc == 0 && !f) {
        rc = -errno;
        snprintf(why, size, "%s: %s", p->conf, strerror(-rc));
    }
    if (f) {
        conf_print(c, f, true);
        if (fclose(f) != 0)
            rc = -errno;
    }
    conf_free(c);
    return rc;
}

static void print_pin(const struct paths *p, const char *name)
{
    char pin[TLS_PIN_TEXT], why[256];
    struct tls_ctx *c = tls_ctx_server(p->cert, p->key, NULL, why, sizeof(why));
    if (!c)
        return;
    tls_ctx_pin(c, pin);
    printf("Made %s with a new key, certificate and secret.\n"
           "Start the gateway:\n"
           "  scistreamd -c %s\n"
           "Its users copy %s to their machine (mode 600) and run, the receiver and the sender:\n"
           "  scistream-recv --secret-file secret --pin %s gateway://%s/stream -o FILE\n"
           "  scistream-send --secret-file secret --pin %s gateway://%s/stream FILE\n",
           p->conf, p->conf, p->secret, pin, name, pin, name);
    tls_ctx_free(c);
}

int init_folder(const char *dir, const char *name)
{
    char why[512], host[256] = "localhost";
    if (!*name) {
        gethostname(host, sizeof(host) - 1);
        name = host;
    }
    if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
        log_error("cannot make %s: %s", dir, strerror(errno));
        return 74;
    }
    char *full = realpath(dir, NULL);
    struct paths p = paths_in(full ? full : dir);
    int rc = make_files(&p, name, why, sizeof(why));
    if (rc == 0)
        rc = write_conf(&p, name, why, sizeof(why));
    if (rc < 0)
        log_error("%s%s", why, rc == -EEXIST ? "; --init never overwrites: choose another folder" : "");
    else
        print_pin(&p, name);
    free_paths(&p);
    free(full);
    return rc < 0 ? err_exit(rc) : 0;
}
