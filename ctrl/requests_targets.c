/* What callers of scistream.Control name: whether it can be what it is to be, and the addresses of targets. */
#include <stdio.h>

#include "ctrl/requests_priv.h"

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

void requests_stop_lookups(struct request *r)
{
    lookups_drop(r->lookups);
    r->lookups = NULL;
    free(r->asked_from);
    r->asked_from = NULL;
}

/* What is judged is what will be used, not a name that may lead elsewhere by then. */
static enum grpc_status judge(const struct request *r, const struct request_target *t, char *why, size_t size)
{
    if (t->n > 0)
        return requests_allows_target(r, t, why, size);
    snprintf(why, size, "%s", t->why);
    return GRPC_INVALID_ARGUMENT;
}

static bool all_allowed(struct request *r, const struct request_ask *a, const struct request_target *t, size_t n)
{
    char why[300] = "";
    for (size_t i = 0; i < n; i++) {
        enum grpc_status s = judge(r, &t[i], why, sizeof(why));
        if (s == GRPC_OK)
            continue;
        AUTO_FREE char *field = t[i].n ? mem_printf("remote_listeners: %s: %s", t[i].text, why) : mem_printf("remote_listeners: %s", why);
        requests_no_target(r, a, s, field);
        return false;
    }
    return true;
}

char **requests_texts(const struct request_target *t, size_t n)
{
    char **texts = mem_zalloc(n + 1, sizeof(*texts));
    for (size_t i = 0; i < n; i++)
        texts[i] = mem_strdup(t[i].text);
    return texts;
}

static void on_known(void *user, const struct request_target *t, size_t n)
{
    struct request *r = user;
    AUTO_FREE char *principal = mem_strdup(r->principal), *from = mem_strdup(r->asked_from); /* they go before all is said */
    const struct request_ask a = { .principal = principal, .from = from };
    if (!all_allowed(r, &a, t, n))
        return;
    strv_free(r->targets);
    r->targets = requests_texts(t, n);
    requests_found(r, &a, t, n);
}

void requests_start_lookups(struct request *r, const struct request_ask *a)
{
    char **words = requests_words(a->listeners, a->n_listeners);
    r->asked_from = mem_strdup(a->from);
    r->lookups = lookups_start(r->rq->resolver, words, on_known, r);
    strv_free(words);
}
