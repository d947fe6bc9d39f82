#include "ctrl/route.h"

#include <stdio.h>

#include "src/core/conf_diff.h"
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

static int load(struct route *r, char *why, size_t why_size)
{
    r->connects = *r->c->connect != 0;
    r->accept = transports_of(r->c->accept);
    int rc = conf_route_attaches(r->c) ? secret_read(r->c->secret_file, &r->secret, why, why_size) : 0;
    return rc == 0 && r->connects ? load_next(r, why, why_size) : rc;
}

int routes_load(struct routes *rs, const struct conf *c, char *why, size_t why_size)
{
    char detail[320];
    *rs = (struct routes){ .r = mem_zalloc(c->n_routes + 1, sizeof(*rs->r)) };
    for (size_t i = 0; i < c->n_routes; i++) {
        struct route *r = rs->r[rs->n++] = mem_zalloc(1, sizeof(*r));
        r->users = 1;
        r->c = conf_route_copy(c->routes[i]);
        if (load(r, detail, sizeof(detail)) < 0) {
            snprintf(why, why_size, "route %s: %s", r->c->name, detail);
            routes_free(rs);
            return -SST_ECONF;
        }
    }
    return 0;
}

void routes_free(struct routes *rs)
{
    for (size_t i = 0; i < rs->n; i++) {
        rs->r[i]->gone = true;
        route_drop(rs->r[i]);
    }
    free(rs->r);
    *rs = (struct routes){ .r = NULL };
}

void routes_replace(struct routes *rs, struct routes *by)
{
    routes_free(rs);
    *rs = *by;
    *by = (struct routes){ .r = NULL };
}

struct route *route_find(const struct routes *rs, const char *name)
{
    for (size_t i = 0; i < rs->n; i++)
        if (str_eq(rs->r[i]->c->name, name))
            return rs->r[i];
    return NULL;
}

struct route *route_make(const char *name)
{
    struct route *r = mem_zalloc(1, sizeof(*r));
    r->users = 1;
    r->made = true;
    r->c = conf_route_new(name);
    return r;
}

void route_add_place(struct route *r, const char *name, const union sockaddr_any *at, size_t n)
{
    char host[ADDR_HOST_MAX + 1] = "", why[200], text[ADDR_TEXT];
    uint16_t port;
    struct route_place *all = mem_zalloc(r->n_places + 1, sizeof(*all)), *p = &all[r->n_places];
    if (r->n_places)
        memcpy(all, r->place, r->n_places * sizeof(*all));
    addr_parse_hostport(name, ADDR_PORT_DEFAULT, host, &port, why, sizeof(why));
    *p = (struct route_place){ .name = mem_strdup(name), .host = mem_strdup(host), .port = addr_port(&at[0]), .addresses = mem_zalloc(n + 1, sizeof(char *)) };
    for (size_t i = 0; i < n; i++)
        p->addresses[i] = mem_strdup(addr_format_host(&at[i], text));
    free(r->place);
    r->place = all;
    r->n_places++;
}

static void free_places(struct route *r)
{
    for (size_t i = 0; i < r->n_places; i++) {
        free(r->place[i].name);
        free(r->place[i].host);
        strv_free(r->place[i].addresses);
    }
    free(r->place);
}

struct route *route_hold(struct route *r)
{
    r->users++;
    return r;
}

void route_drop(struct route *r)
{
    if (!r || --r->users)
        return;
    secret_free(&r->secret);
    secret_free(&r->next_secret);
    tls_ctx_free(r->next_tls);
    strv_free(r->accept);
    free_places(r);
    conf_route_free(r->c);
    free(r);
}

static bool same_secret(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && (a->len == 0 || secret_equal(a->data, b->data, a->len));
}

bool route_same(const struct route *a, const struct route *b)
{
    return conf_route_same(a->c, b->c) && same_secret(&a->secret, &b->secret) && same_secret(&a->next_secret, &b->next_secret);
}
