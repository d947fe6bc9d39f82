#include "ctrl/route.h"

#include <stdio.h>

#include "src/core/err.h"

static int load_next(struct route *r, char *why, size_t why_size)
{
    const struct conf_route *c = r->c;
    int rc = addr_parse(c->connect, &r->next, why, why_size);
    r->tcp = rc == 0 && r->next.kind == ADDR_TCP;
    if (rc < 0 || r->tcp)
        return rc;
    rc = secret_read(*c->connect_secret_file ? c->connect_secret_file : c->secret_file, &r->next_secret, why, why_size);
    if (rc < 0)
        return rc;
    r->next_tls = tls_ctx_client(c->connect_ca, c->connect_pin, "h2", why, why_size);
    return r->next_tls ? 0 : -SST_ECONF;
}

static char **transports_of(char *const *words)
{
    char **out = mem_zalloc(strv_len(words) + 1, sizeof(*out)), **next = out;
    for (; *words; words++)
        if (!str_starts(*words, CONF_TCP))
            *next++ = mem_strdup(*words);
    return out;
}

static int load(struct route *r, const struct conf_route *c, char *why, size_t why_size)
{
    r->c = c;
    r->connects = *c->connect != 0;
    r->accept = transports_of(c->accept);
    int rc = conf_route_attaches(c) ? secret_read(c->secret_file, &r->secret, why, why_size) : 0;
    return rc == 0 && r->connects ? load_next(r, why, why_size) : rc;
}

int routes_load(struct routes *rs, const struct conf *c, char *why, size_t why_size)
{
    char detail[320];
    *rs = (struct routes){ .r = mem_zalloc(c->n_routes + 1, sizeof(*rs->r)), .n = c->n_routes };
    for (size_t i = 0; i < c->n_routes; i++)
        if (load(&rs->r[i], c->routes[i], detail, sizeof(detail)) < 0) {
            snprintf(why, why_size, "route %s: %s", c->routes[i]->name, detail);
            routes_free(rs);
            return -SST_ECONF;
        }
    return 0;
}

void routes_free(struct routes *rs)
{
    for (size_t i = 0; i < rs->n; i++) {
        secret_free(&rs->r[i].secret);
        secret_free(&rs->r[i].next_secret);
        tls_ctx_free(rs->r[i].next_tls);
        strv_free(rs->r[i].accept);
    }
    free(rs->r);
    *rs = (struct routes){ 0 };
}

const struct route *route_find(const struct routes *rs, const char *name)
{
    for (size_t i = 0; i < rs->n; i++)
        if (str_eq(rs->r[i].c->name, name))
            return &rs->r[i];
    return NULL;
}
