/* What callers of scistream.Control name: whether it can be what it is to be, and the addresses of targets. */
#include <stdio.h>

#include "ctrl/requests_priv.h"
#include "src/core/err.h"
#include "tcp/resolve.h"

/* ------------------------------------------------------------ form */

bool requests_uid_ok(const char *uid)
{
    size_t n = strlen(uid);
    for (const char *c = uid; *c; c++)
        if (*c < 0x20 || *c > 0x7e || *c == '/')
            return false;
    return n >= 1 && n <= REQUEST_UID_MAX;
}

static bool bad(char *why, size_t size, const char *text)
{
    snprintf(why, size, "%s", text);
    return false;
}

static bool role_ok(const char *role, bool needed) { return str_eq(role, "PROD") || str_eq(role, "CONS") || (!needed && !*role); }

static bool listeners_ok(const struct request_ask *a, const char *field, char *why, size_t size)
{
    char host[ADDR_HOST_MAX + 1], reason[200];
    uint16_t port;
    if (a->n_listeners > REQUEST_LISTENERS_MAX) {
        snprintf(why, size, "%s: %zu are too many, %d are allowed", field, a->n_listeners, REQUEST_LISTENERS_MAX);
        return false;
    }
    for (size_t i = 0; i < a->n_listeners; i++) {
        *reason = 0; /* an address without a host is none of its failures */
        if (addr_parse_hostport(a->listeners[i], 0, host, &port, reason, sizeof(reason)) == 0 && *host)
            continue;
        snprintf(why, size, "%s: %s", field, *a->listeners[i] && *reason ? reason : "each must be HOST:PORT, like 192.0.2.7:5100");
        return false;
    }
    return true;
}

bool requests_well_formed(const struct request_ask *a, bool is_req, bool is_update, char *why, size_t size)
{
    *why = 0;
    if (!requests_uid_ok(a->uid))
        return bad(why, size, "uid: must be 1 to 255 printable characters without a slash");
    if (a->role && !role_ok(a->role, is_req))
        return bad(why, size, "role: must be PROD or CONS");
    if (is_req && (a->num_conn < 1 || a->num_conn > REQUEST_LISTENERS_MAX)) {
        snprintf(why, size, "num_conn: is %d, must be 1 to %d", a->num_conn, REQUEST_LISTENERS_MAX);
        return false;
    }
    if (is_update && a->n_listeners == 0)
        return bad(why, size, "remote_listeners: is empty: where are connections to go?");
    return listeners_ok(a, is_update ? "remote_listeners" : "prod_listeners", why, size);
}

char **requests_words(char *const *words, size_t n)
{
    char **copy = mem_zalloc(n + 1, sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = mem_strdup(words[i]);
    return copy;
}

/* ------------------------------------------------------------ addresses */

/* A target; the first of them also has what is to be said when all are known. */
struct lookup {
    struct list node;
    struct request *r;
    struct resolve *question;
    char *text, *principal, *from;
    uint16_t port;
    char **address;
    union sockaddr_any *where;
};

static void free_lookup(struct lookup *l)
{
    resolve_cancel(l->question);
    list_del(&l->node);
    strv_free(l->address);
    free(l->where);
    free(l->text);
    free(l->principal);
    free(l->from);
    free(l);
}

void requests_stop_lookups(struct request *r)
{
    list_for_each_safe(n, &r->lookups)
        free_lookup(list_entry(n, struct lookup, node));
}

/* False: some are not known yet. */
static bool all_known(const struct request *r)
{
    list_for_each(n, &r->lookups)
        if (list_entry(n, struct lookup, node)->question)
            return false;
    return true;
}

/* What is judged is what will be used, not a name that may lead elsewhere by then. */
static bool all_allowed(struct request *r, const struct request_ask *a)
{
    char why[300] = "";
    list_for_each(i, &r->lookups) {
        const struct lookup *l = list_entry(i, struct lookup, node);
        const struct request_target t = { .addresses = l->address, .n = strv_len(l->address), .port = l->port, .where = l->where };
        enum grpc_status s = requests_allows_target(r, &t, why, sizeof(why));
        if (s == GRPC_OK)
            continue;
        AUTO_FREE char *field = mem_printf("remote_listeners: %s: %s", l->text, why);
        requests_no_target(r, a, s, field);
        return false;
    }
    return true;
}

static void take_targets(struct request *r, const struct request_ask *a)
{
    struct request_target t[REQUEST_LISTENERS_MAX];
    size_t n = 0;
    if (!all_allowed(r, a))
        return;
    strv_free(r->targets);
    r->targets = mem_zalloc(REQUEST_LISTENERS_MAX + 1, sizeof(*r->targets));
    list_for_each(i, &r->lookups) {
        const struct lookup *l = list_entry(i, struct lookup, node);
        r->targets[n] = mem_strdup(l->text);
        t[n++] = (struct request_target){ .addresses = l->address, .n = strv_len(l->address), .port = l->port, .where = l->where };
    }
    requests_found(r, a, t, n);
}

static void on_resolved(void *user, int rc, const union sockaddr_any *found, size_t n, const char *why)
{
    struct lookup *l = user;
    struct request *r = l->r;
    const struct lookup *head = list_entry(r->lookups.next, struct lookup, node);
    char text[ADDR_TEXT];
    l->question = NULL;
    AUTO_FREE char *principal = mem_strdup(head->principal), *from = mem_strdup(head->from); /* the lookups go before all is said */
    const struct request_ask a = { .principal = principal, .from = from };
    if (rc < 0) {
        AUTO_FREE char *field = mem_printf("remote_listeners: %s", why);
        requests_no_target(r, &a, GRPC_INVALID_ARGUMENT, field);
        return;
    }
    l->address = mem_zalloc(n + 1, sizeof(*l->address));
    l->where = mem_zalloc(n + 1, sizeof(*l->where));
    for (size_t i = 0; i < n; i++) {
        l->where[i] = found[i];
        l->address[i] = mem_strdup(addr_format_host(&found[i], text));
    }
    if (all_known(r))
        take_targets(r, &a);
}

void requests_start_lookups(struct request *r, const struct request_ask *a)
{
    for (size_t i = 0; i < a->n_listeners; i++) {
        struct lookup *l = mem_zalloc(1, sizeof(*l));
        char host[ADDR_HOST_MAX + 1], why[200];
        addr_parse_hostport(a->listeners[i], 0, host, &l->port, why, sizeof(why)); /* well-formed */
        l->r = r;
        l->text = mem_strdup(a->listeners[i]);
        l->principal = mem_strdup(a->principal);
        l->from = mem_strdup(a->from);
        list_add_tail(&r->lookups, &l->node);
        l->question = resolve_start(requests_resolver(r->rq), host, l->port, on_resolved, l);
    }
}
