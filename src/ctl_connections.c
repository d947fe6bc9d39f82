/* TCP connections that the workers of a gateway relay, as scistreamctl prints them: summed up by route, and one by one. */
#include <stdio.h>

#include "src/scistreamctl.h"

typedef Scistream__Gateway__V1__Connection Connection;
typedef Scistream__Gateway__V1__RouteConnections RouteConnections;
typedef Scistream__Gateway__V1__FlowState FlowState;
typedef Scistream__Gateway__V1__FlowSum FlowSum;

/* ------------------------------------------------------------ JSON */

void ctl_flow_json(const char *name, const FlowState *f, bool rate)
{
    printf(",\"%s\":", name);
    if (!f) {
        printf("null");
        return;
    }
    printf("{\"bytes_in\":%llu,\"bytes_out\":%llu,\"wait_source_ms\":%llu,\"wait_credits_ms\":%llu,\"wait_sink_ms\":%llu,",
           (unsigned long long)f->bytes_in, (unsigned long long)f->bytes_out, (unsigned long long)f->wait_source_ms,
           (unsigned long long)f->wait_credits_ms, (unsigned long long)f->wait_sink_ms);
    if (rate)
        printf("\"rate\":%llu,", (unsigned long long)f->rate);
    ctl_json_text("waiting_for", f->waiting_for, "}");
}

static void sum_json(const char *name, const FlowSum *s, bool rates)
{
    printf(",\"%s\":", name);
    if (!s) {
        printf("null");
        return;
    }
    printf("{\"bytes\":%llu,\"waiting_source\":%llu,\"waiting_sink\":%llu", (unsigned long long)s->bytes, (unsigned long long)s->waiting_source,
           (unsigned long long)s->waiting_sink);
    if (rates)
        printf(",\"rate\":%llu,\"source_permille\":%u,\"sink_permille\":%u", (unsigned long long)s->rate, s->source_permille, s->sink_permille);
    printf("}");
}

void ctl_routes_json(RouteConnections *const *r, size_t n, bool rates)
{
    printf("\"routes\":[");
    for (size_t i = 0; i < n; i++) {
        printf("%s{", i ? "," : "");
        ctl_json_text("route", r[i]->route, "");
        printf(",\"reserved\":%llu,\"open\":%llu", (unsigned long long)r[i]->reserved, (unsigned long long)r[i]->open);
        sum_json("forward", r[i]->forward, rates);
        sum_json("backward", r[i]->backward, rates);
        if (rates)
            printf(",\"opened\":%llu,\"ended\":%llu,\"failed\":%llu,\"refused\":%llu", (unsigned long long)r[i]->opened,
                   (unsigned long long)r[i]->ended, (unsigned long long)r[i]->failed, (unsigned long long)r[i]->refused);
        printf("}");
    }
    printf("]");
}

void ctl_connection_json(const Connection *c, bool rates)
{
    printf("{");
    ctl_json_text("id", c->id, ",");
    ctl_json_text("route", c->route, ",");
    if (*c->session)
        ctl_json_text("session", c->session, ",");
    ctl_json_text("peer", c->peer, ",");
    ctl_json_text("backend", c->backend, ",");
    ctl_json_text("peer_security", c->peer_security, ",");
    ctl_json_text("backend_security", c->backend_security, ",");
    printf("\"worker\":%u,\"age_ms\":%llu", c->worker, (unsigned long long)c->age_ms);
    ctl_flow_json("forward", c->forward, rates);
    ctl_flow_json("backward", c->backward, rates);
    printf("}");
}

/* ------------------------------------------------------------ text */

static void sum_text(const char *where, const FlowSum *s)
{
    char bytes[UNITS_TEXT];
    if (s)
        printf(", %s %s (%llu wait for source, %llu for sink)", units_human_size(bytes, s->bytes), where, (unsigned long long)s->waiting_source,
               (unsigned long long)s->waiting_sink);
}

void ctl_routes_text(RouteConnections *const *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char rate[UNITS_TEXT];
        AUTO_FREE char *open = units_streams("", 0, r[i]->open);
        printf("route %s  %s%s%s", r[i]->route, r[i]->reserved ? "provisioned " : "", r[i]->reserved ? units_rate(rate, r[i]->reserved) : "",
               r[i]->reserved ? ", " : "");
        printf("%s", r[i]->open ? open : "no connections");
        sum_text("there", r[i]->forward);
        sum_text("back", r[i]->backward);
        printf("\n");
    }
}

enum { ID, ROUTE, FROM, TO, AGE, THERE, THERE_FOR, BACK, BACK_FOR, WORKER, SECURITY, COLUMNS };
static const char *const heads[COLUMNS] = { "CONNECTION", "ROUTE", "FROM", "TO", "AGE", "THERE", "WAITS FOR", "BACK", "WAITS FOR", "WORKER", "SECURITY" };

#define CELL 96 /* a route name, an IPv6 address with its port, or two ciphers */

struct row { char cell[COLUMNS][CELL]; };

static void set(struct row *r, int column, const char *text) { str_copy(r->cell[column], sizeof(r->cell[column]), *text ? text : "-"); }

static void set_flow(struct row *r, int bytes, int waits, const FlowState *f)
{
    char text[UNITS_TEXT];
    set(r, bytes, f ? units_human_size(text, f->bytes_out) : "");
    set(r, waits, f ? f->waiting_for : "");
}

/* Of both ends, once when it is the same. */
static void set_security(struct row *r, const Connection *c)
{
    bool same = str_eq(c->peer_security, c->backend_security);
    AUTO_FREE char *text = same ? mem_strdup(c->peer_security) : mem_printf("%s > %s", c->peer_security, c->backend_security);
    set(r, SECURITY, text);
}

static void fill(struct row *r, const Connection *c)
{
    char text[UNITS_TEXT];
    set(r, ID, c->id);
    set(r, ROUTE, *c->session ? c->session : c->route);
    set(r, FROM, c->peer);
    set(r, TO, c->backend);
    set(r, AGE, units_human_time(text, c->age_ms * NS_PER_MS));
    set_flow(r, THERE, THERE_FOR, c->forward);
    set_flow(r, BACK, BACK_FOR, c->backward);
    snprintf(text, sizeof(text), "%u", c->worker);
    set(r, WORKER, text);
    set_security(r, c);
}

static void print_row(const struct row *r, const size_t width[COLUMNS])
{
    for (int c = 0; c < COLUMNS - 1; c++)
        printf(c == AGE || c == THERE || c == BACK ? "%*s  " : "%-*s  ", (int)width[c], r->cell[c]);
    printf("%s\n", r->cell[COLUMNS - 1]);
}

void ctl_connections_text(Connection *const *c, size_t n)
{
    size_t width[COLUMNS] = { 0 };
    struct row *rows = mem_zalloc(n + 1, sizeof(*rows));
    for (int k = 0; k < COLUMNS; k++)
        set(&rows[0], k, heads[k]);
    for (size_t i = 0; i < n; i++)
        fill(&rows[i + 1], c[i]);
    for (size_t i = 0; i <= n; i++)
        for (int k = 0; k < COLUMNS; k++)
            width[k] = MAX(width[k], strlen(rows[i].cell[k]));
    for (size_t i = 0; i <= n; i++)
        print_row(&rows[i], width);
    free(rows);
}
