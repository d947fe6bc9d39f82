#include "src/observe.h"

#include <stdio.h>
#include <time.h>

#include "src/core/err.h"
#include "src/core/log.h"
#include "tcp/sock.h"

void observe_init(struct observe *o, const struct conf *c)
{
    *o = (struct observe){ .fd = -1, .records.fd = -1 };
    tally_init(&o->tally);
    o->sources = (struct metrics_sources){ .conf = c, .tally = &o->tally, .records = &o->records, .expiry = &o->expiry,
                                           .started_s = (uint64_t)time(NULL) };
}

static bool is_default(const char *metrics)
{
    struct conf *c = conf_new();
    bool same = str_eq(c->g.metrics, metrics);
    conf_free(c);
    return same;
}

int observe_bind(struct observe *o, const struct conf *c, char *why, size_t why_size)
{
    char host[ADDR_HOST_MAX + 1], text[ADDR_TEXT];
    union sockaddr_any at;
    uint16_t port;
    if (!*c->g.metrics)
        return 0;
    int rc = addr_parse_hostport(c->g.metrics, 0, host, &port, why, why_size);
    if (rc < 0 || (rc = addr_numeric(host, port, &at)) < 0)
        return -SST_ECONF; /* conf_check has refused it before */
    o->fd = sock_listen(&at);
    if (o->fd >= 0)
        return 0;
    if (o->fd == -EADDRINUSE && is_default(c->g.metrics)) {
        log_warn("metrics: another program has %s, so there are none: set metrics to another port, or to \"\"", addr_format(&at, text));
        o->fd = -1;
        return 0;
    }
    snprintf(why, why_size, "metrics: cannot listen on %s: %s%s", addr_format(&at, text), err_text(o->fd),
             o->fd == -EADDRINUSE ? "; another program has the port (ss -ltnp): choose another, or \"\" for none" : "");
    o->fd = -1;
    return -SST_ECONF;
}

int observe_start(struct observe *o, struct loop *l, struct tls_ctx *const *tls, const char *gateway, char *why, size_t why_size)
{
    const struct conf *c = o->sources.conf;
    if (records_open(&o->records, c->g.records, gateway, why, why_size) < 0)
        return -SST_ECONF;
    expiry_start(&o->expiry, l, tls, &o->sources.conf, EXPIRY_LOOK_NS);
    return 0;
}

int observe_serve(struct observe *o, struct loop *l, char *why, size_t why_size)
{
    if (o->fd < 0)
        return 0;
    o->metrics = metrics_open(l, fd_take(&o->fd), &o->sources, why, why_size);
    return o->metrics ? 0 : -SST_ECONF;
}

void observe_stop(struct observe *o)
{
    metrics_close(o->metrics);
    o->metrics = NULL;
    expiry_stop(&o->expiry);
    records_close(&o->records);
    tally_fini(&o->tally);
    fd_close(&o->fd);
}
