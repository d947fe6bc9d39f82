#include "src/core/conf_diff.h"

#include <stdio.h>

#include "src/core/err.h"

/* All others need a restart: somebody looked at them once, at the start. */
static const char *const at_once[] = {
    "advertise", "certificate", "key", "memory_limit", "max_connections", "peer_timeout", "rendezvous_timeout", "drain_timeout", "huge_pages",
    "attach_timeout", "records", "log_level", "log_target", "log_format", "link.chunk", "auth.client_ca", "auth.client_crl", "auth.token_file",
    "auth.introspection_url",
    "auth.introspection_credentials_file", "auth.introspection_ca", "auth.introspection_timeout", "auth.introspection_cache", "auth.principal_field",
    "auth.required_scope", "auth.required_audience", "auth.scope_id",
    "capacity.wan", "capacity.rdma", "capacity.best_effort_percent",
    "scistream.data_advertise", "scistream.hello_timeout", "scistream.sessions", "scistream.connections", "scistream.connect_timeout",
    "scistream.keepalive", "scistream.require_ticket", NULL,
};

/* ------------------------------------------------------------ sections */

/* Where the values of an untitled section lie. */
static void *base_of(struct conf *c, const char *section)
{
    if (str_eq(section, "ucx"))
        return &c->ucx;
    if (str_eq(section, "rdma"))
        return &c->rdma;
    if (str_eq(section, "auth"))
        return &c->auth;
    if (str_eq(section, "capacity"))
        return &c->capacity;
    if (str_eq(section, "scistream"))
        return &c->scistream;
    return str_eq(section, "link") ? (void *)&c->link : (void *)&c->g;
}

static const void *const_base_of(const struct conf *c, const char *section) { return base_of((struct conf *)(uintptr_t)c, section); }

static char *full_name(const struct conf_section *s, const struct value_row *row)
{
    return mem_printf("%s%s%s", s->name, *s->name ? "." : "", row->name);
}

static bool needs_restart(const char *name)
{
    for (const char *const *w = at_once; *w; w++)
        if (str_eq(*w, name))
            return false;
    return true;
}

static bool same_value(const struct value_row *row, const void *a, const void *b)
{
    AUTO_FREE char *x = value_print(row, a), *y = value_print(row, b);
    return str_eq(x, y);
}

static const struct conf_section *section_of(const char *name)
{
    size_t n;
    const struct conf_section *s = conf_sections(&n);
    while (!str_eq(s->name, name))
        s++;
    return s;
}

static const struct conf_section *route_section(void) { return section_of("route"); }

/* ------------------------------------------------------------ routes */

struct conf_route *conf_route_new(const char *name)
{
    const struct conf_section *s = route_section();
    struct conf_route *r = mem_zalloc(1, sizeof(*r));
    r->name = mem_strdup(name);
    value_defaults(s->rows, s->n, r);
    return r;
}

struct conf_route *conf_route_copy(const struct conf_route *r)
{
    const struct conf_section *s = route_section();
    struct conf_route *copy = conf_route_new(r->name);
    char why[400];
    for (size_t i = 0; i < s->n; i++) {
        AUTO_FREE char *text = value_print(&s->rows[i], r);
        value_parse(&s->rows[i], copy, text, why, sizeof(why)); /* it accepts what it prints */
    }
    return copy;
}

void conf_route_free(struct conf_route *r)
{
    const struct conf_section *s = route_section();
    if (!r)
        return;
    value_free(s->rows, s->n, r);
    free(r->name);
    free(r);
}

bool conf_route_same(const struct conf_route *a, const struct conf_route *b)
{
    const struct conf_section *s = route_section();
    for (size_t i = 0; i < s->n; i++)
        if (!same_value(&s->rows[i], a, b))
            return false;
    return str_eq(a->name, b->name);
}

/* ------------------------------------------------------------ comparing */

void conf_diff_add(char ***list, const char *name)
{
    size_t n = strv_len(*list);
    if (strv_has(*list, name))
        return;
    char **longer = mem_zalloc(n + 2, sizeof(*longer));
    if (n)
        memcpy(longer, *list, n * sizeof(*longer));
    longer[n] = mem_strdup(name);
    free(*list);
    *list = longer;
}

static void compare_sections(const struct conf *from, const struct conf *to, struct conf_diff *out)
{
    size_t n;
    const struct conf_section *s = conf_sections(&n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < s[i].n && !s[i].titled; k++) {
            const struct value_row *row = &s[i].rows[k];
            AUTO_FREE char *name = full_name(&s[i], row);
            if (!same_value(row, const_base_of(from, s[i].name), const_base_of(to, s[i].name)))
                conf_diff_add(needs_restart(name) ? &out->later : &out->now, name);
        }
}

static bool same_policy(const struct conf_policy *a, const struct conf_policy *b)
{
    const struct conf_section *s = section_of("policy");
    for (size_t i = 0; i < s->n; i++)
        if (!same_value(&s->rows[i], a, b))
            return false;
    return str_eq(a->name, b->name);
}

/* They are judged in their order: another one is a change, too. */
static void compare_policies(const struct conf *from, const struct conf *to, struct conf_diff *out)
{
    for (size_t i = 0; i < MAX(from->n_policies, to->n_policies); i++) {
        const struct conf_policy *was = i < from->n_policies ? from->policies[i] : NULL, *is = i < to->n_policies ? to->policies[i] : NULL;
        AUTO_FREE char *name = mem_printf("policy.%s", is ? is->name : was->name);
        if (!was || !is || !same_policy(was, is))
            conf_diff_add(&out->now, name);
    }
}

void conf_diff_make(const struct conf *from, const struct conf *to, struct conf_diff *out)
{
    *out = (struct conf_diff){ .now = NULL };
    compare_sections(from, to, out);
    compare_policies(from, to, out);
    for (size_t i = 0; i < to->n_routes; i++) {
        const struct conf_route *was = conf_route(from, to->routes[i]->name);
        if (!was)
            conf_diff_add(&out->added, to->routes[i]->name);
        else if (!conf_route_same(was, to->routes[i]))
            conf_diff_add(&out->changed, to->routes[i]->name);
    }
    for (size_t i = 0; i < from->n_routes; i++)
        if (!conf_route(to, from->routes[i]->name))
            conf_diff_add(&out->removed, from->routes[i]->name);
}

void conf_diff_free(struct conf_diff *d)
{
    strv_free(d->now);
    strv_free(d->later);
    strv_free(d->added);
    strv_free(d->removed);
    strv_free(d->changed);
    *d = (struct conf_diff){ .now = NULL };
}

bool conf_diff_empty(const struct conf_diff *d)
{
    return !strv_len(d->now) && !strv_len(d->later) && !strv_len(d->added) && !strv_len(d->removed) && !strv_len(d->changed);
}

/* ------------------------------------------------------------ in words */

/* text, a separator where something stands before, head, and the names. */
static char *append(char *text, const char *head, char *const *names)
{
    AUTO_FREE char *so_far = text;
    if (!strv_len(names))
        return mem_strdup(so_far);
    char *all = mem_printf("%s%s%s%s", so_far, *so_far ? "; " : "", head, names[0]);
    for (size_t i = 1; names[i]; i++) {
        char *longer = mem_printf("%s, %s", all, names[i]);
        free(all);
        all = longer;
    }
    return all;
}

char *conf_diff_text(const struct conf_diff *d)
{
    if (conf_diff_empty(d))
        return mem_strdup("nothing changed");
    char *text = append(mem_strdup(""), "", d->now);
    text = append(text, "routes added: ", d->added);
    text = append(text, "routes removed: ", d->removed);
    text = append(text, "routes changed: ", d->changed);
    return append(text, "takes effect after a restart: ", d->later);
}

/* ------------------------------------------------------------ taking over */

static void swap_value(const struct value_row *row, void *a, void *b)
{
    char why[400];
    AUTO_FREE char *x = value_print(row, a), *y = value_print(row, b);
    value_parse(row, a, y, why, sizeof(why));
    value_parse(row, b, x, why, sizeof(why));
}

void conf_adopt(struct conf *c, struct conf *from)
{
    size_t n;
    const struct conf_section *s = conf_sections(&n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < s[i].n && !s[i].titled; k++) {
            const struct value_row *row = &s[i].rows[k];
            AUTO_FREE char *name = full_name(&s[i], row);
            void *ours = base_of(c, s[i].name), *theirs = base_of(from, s[i].name);
            if (!needs_restart(name) && !same_value(row, ours, theirs))
                swap_value(row, ours, theirs);
        }
    struct conf_route **routes = c->routes;
    size_t n_routes = c->n_routes;
    c->routes = from->routes;
    c->n_routes = from->n_routes;
    from->routes = routes;
    from->n_routes = n_routes;
    struct conf_policy **policies = c->policies;
    size_t n_policies = c->n_policies;
    c->policies = from->policies;
    c->n_policies = from->n_policies;
    from->policies = policies;
    from->n_policies = n_policies;
}

char **conf_diff_settings(const struct conf *c, const struct conf_diff *d)
{
    char **all = conf_export(c), **kept = NULL;
    for (char **a = all; *a; a++) {
        AUTO_FREE char *name = mem_printf("%.*s", (int)strcspn(*a, "="), *a);
        if (strv_has(d->now, name))
            conf_diff_add(&kept, *a);
    }
    strv_free(all);
    return kept ? kept : mem_zalloc(1, sizeof(*kept));
}
