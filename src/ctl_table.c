#include "src/ctl_table.h"

#include <stdio.h>

#include "src/core/units.h"

enum { CHANNEL, ROUTE, FROM, TO, BY, STATE, RATE, BACK, TOTAL, RING, WAITS, COLUMNS };
static const char *const heads[COLUMNS] = { "CHANNEL", "ROUTE", "FROM", "TO", "BY", "STATE", "RATE", "BACK", "TOTAL", "RING", "WAITS FOR" };
enum { CELL = 48, SHORT_UID = 8, SLOW_PERMILLE = 50 };

struct row {
    struct list node;
    char uid[33], cell[COLUMNS][CELL];
    uint32_t channel;
    uint64_t rate;
    bool part;   /* of another row */
};

typedef Scistream__Gateway__V1__Connection Connection;
typedef Scistream__Gateway__V1__Connections Connections;
typedef Scistream__Gateway__V1__RouteConnections RouteConnections;

/* ------------------------------------------------------------ words */

/* What gateways and peers say is shown, but moves no cursor. */
static void clean(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e)
            *s = '?';
}

static void set(struct row *r, int column, const char *text)
{
    str_copy(r->cell[column], CELL, *text ? text : "-");
    clean(r->cell[column]);
}

static char *channel_name(const char *uid, uint32_t channel) { return mem_printf("%.*s/%u", SHORT_UID, uid, channel); }

static const char *or_dash(const char *s) { return *s ? s : "-"; }

/* Who is slow: what the flow waited for most, and for which part of the time. */
static void waits_text(char *out, size_t size, const Scistream__Gateway__V1__Progress *p)
{
    const struct { const char *word; uint32_t permille; } all[] = {
        { "source", p->source_permille }, { "credits", p->credits_permille }, { "sink", p->sink_permille }, { "rate", p->clock_permille },
    };
    size_t most = 0;
    for (size_t i = 1; i < ARRAY_LEN(all); i++)
        if (all[i].permille > all[most].permille)
            most = i;
    if (all[most].permille < SLOW_PERMILLE)
        snprintf(out, size, "-");
    else
        snprintf(out, size, "%s %u %%", all[most].word, (all[most].permille + 5) / 10);
}

static unsigned percent(uint64_t part, uint64_t of) { return of ? (unsigned)((double)part * 100 / (double)of + 0.5) : 0; }

/* ------------------------------------------------------------ rows */

static struct list *bucket_of(struct table *t, const char *uid, uint32_t channel)
{
    unsigned h = channel;
    for (const char *c = uid; *c; c++)
        h = h * 31 + (unsigned char)*c;
    return &t->buckets[h % TABLE_BUCKETS];
}

static struct row *find(struct table *t, const char *uid, uint32_t channel)
{
    struct list *b = bucket_of(t, uid, channel);
    list_for_each(n, b) {
        struct row *r = list_entry(n, struct row, node);
        if (r->channel == channel && str_eq(r->uid, uid))
            return r;
    }
    return NULL;
}

static struct row *need(struct table *t, const char *uid, uint32_t channel)
{
    struct row *r = find(t, uid, channel);
    if (r)
        return r;
    r = mem_zalloc(1, sizeof(*r));
    str_copy(r->uid, sizeof(r->uid), uid);
    r->channel = channel;
    for (int c = 0; c < COLUMNS; c++)
        set(r, c, "");
    AUTO_FREE char *name = channel_name(uid, channel);
    set(r, CHANNEL, name);
    list_add_tail(bucket_of(t, uid, channel), &r->node);
    t->n++;
    return r;
}

static void forget(struct table *t, const char *uid, uint32_t channel)
{
    struct row *r = find(t, uid, channel);
    if (!r)
        return;
    list_del(&r->node);
    free(r);
    t->n--;
}

static const char *peer(const Scistream__Gateway__V1__HopState *h) { return h ? h->peer : ""; }
static const char *transport(const Scistream__Gateway__V1__HopState *h) { return h ? or_dash(h->transport) : "-"; }

static void describe(struct row *r, const WatchEvent *e)
{
    const Scistream__Gateway__V1__Channel *c = e->channel;
    char rate[UNITS_TEXT];
    AUTO_FREE char *by = mem_printf("%s > %s", transport(c->source), transport(c->sink));
    AUTO_FREE char *reserved = e->rate ? mem_printf("%s, %s reserved", c->state, units_rate(rate, e->rate)) : NULL;
    set(r, ROUTE, e->route);
    set(r, FROM, peer(c->source));
    set(r, TO, peer(c->sink));
    set(r, BY, by);
    set(r, STATE, reserved ? reserved : c->state);
}

static void progress(struct row *r, const Scistream__Gateway__V1__Progress *p)
{
    char text[CELL];
    r->rate = p->rate + p->rate_back;
    set(r, RATE, units_human_rate(text, (double)p->rate));
    set(r, BACK, p->bytes_back ? units_human_rate(text, (double)p->rate_back) : "");
    set(r, TOTAL, units_human_size(text, p->bytes_out + p->bytes_back));
    snprintf(text, sizeof(text), "%u %%", percent(p->window_used, p->window));
    set(r, RING, text);
    waits_text(text, sizeof(text), p);
    set(r, WAITS, text);
}

/* ------------------------------------------------------------ connections that workers relay */

struct flows { uint64_t rate, rate_back, bytes; char waits[CELL]; };

/* Who is slow: the one that takes, in either direction; else what the faster flow waits for. */
static struct flows flows_of_route(const RouteConnections *r)
{
    struct flows f = { .rate = 0 };
    if (!r->forward || !r->backward)
        return f;
    f.rate = r->forward->rate;
    f.rate_back = r->backward->rate;
    f.bytes = r->forward->bytes + r->backward->bytes;
    uint32_t sink = MAX(r->forward->sink_permille, r->backward->sink_permille);
    bool slow = sink >= SLOW_PERMILLE, back = slow ? r->backward->sink_permille == sink : f.rate_back > f.rate;
    uint32_t permille = slow ? sink : (back ? r->backward : r->forward)->source_permille;
    if (permille < SLOW_PERMILLE)
        str_copy(f.waits, sizeof(f.waits), "-");
    else
        snprintf(f.waits, sizeof(f.waits), "%s%s %u %%", slow ? "sink" : "source", back ? " back" : "", (permille + 5) / 10);
    return f;
}

static struct flows flows_of_connection(const Connection *c)
{
    struct flows f = { .rate = 0 };
    if (!c->forward || !c->backward)
        return f;
    f.rate = c->forward->rate;
    f.rate_back = c->backward->rate;
    f.bytes = c->forward->bytes_out + c->backward->bytes_out;
    bool sink = str_eq(c->forward->waiting_for, "sink"), back = !sink && (str_eq(c->backward->waiting_for, "sink") || f.rate_back > f.rate);
    const char *word = back ? c->backward->waiting_for : c->forward->waiting_for;
    snprintf(f.waits, sizeof(f.waits), "%.20s%s", or_dash(word), back && *word ? " back" : "");
    return f;
}

static void set_flows(struct row *r, const struct flows *f)
{
    char text[UNITS_TEXT];
    r->rate = f->rate + f->rate_back;
    set(r, BY, "tcp > tcp");
    set(r, RATE, units_human_rate(text, (double)f->rate));
    set(r, BACK, units_human_rate(text, (double)f->rate_back));
    set(r, TOTAL, units_human_size(text, f->bytes));
    set(r, RING, "");
    set(r, WAITS, f->waits);
}

static void fill_route(struct row *r, const RouteConnections *c)
{
    char text[CELL];
    struct flows f = flows_of_route(c);
    snprintf(text, sizeof(text), "%llu open", (unsigned long long)c->open);
    set(r, CHANNEL, text);
    set(r, ROUTE, c->route);
    set(r, FROM, "");
    set(r, TO, "");
    char rate[UNITS_TEXT];
    snprintf(text, sizeof(text), "+%llu -%llu%s%s%s", (unsigned long long)c->opened, (unsigned long long)c->ended, c->reserved ? ", " : "",
             c->reserved ? units_rate(rate, c->reserved) : "", c->reserved ? " reserved" : "");
    set(r, STATE, text);
    set_flows(r, &f);
}

static void fill_connection(struct row *r, const Connection *c)
{
    struct flows f = flows_of_connection(c);
    r->part = true;
    set(r, CHANNEL, c->id);
    set(r, ROUTE, c->route);
    set(r, FROM, c->peer);
    set(r, TO, c->backend);
    set(r, STATE, *c->backend ? "open" : "connecting");
    set_flows(r, &f);
}

/* They take the place of those of the event before. */
static void take_connections(struct table *t, const Connections *c)
{
    struct row *rows = mem_zalloc(c->n_routes + c->n_fastest + 1, sizeof(*rows));
    size_t n = 0;
    t->open = 0;
    t->slower = c->more;
    for (size_t i = 0; i < c->n_routes; i++) {
        t->open += c->routes[i]->open;
        if (c->routes[i]->open || c->routes[i]->opened)
            fill_route(&rows[n++], c->routes[i]);
    }
    for (size_t i = 0; i < c->n_fastest; i++)
        fill_connection(&rows[n++], c->fastest[i]);
    free(t->relayed);
    t->relayed = rows;
    t->n_relayed = n;
}

/* ------------------------------------------------------------ events */

static void note(struct table *t, const WatchEvent *e)
{
    AUTO_FREE char *line = table_line(e);
    memmove(t->notes[1], t->notes[0], sizeof(t->notes) - sizeof(t->notes[0]));
    str_copy(t->notes[0], sizeof(t->notes[0]), line);
}

void table_take(struct table *t, const WatchEvent *e)
{
    t->dropped += e->dropped;
    if (e->connections) {
        take_connections(t, e->connections);
        return;
    }
    if (e->progress) {
        progress(need(t, e->session, e->progress->channel), e->progress);
        return;
    }
    if (e->channel && str_eq(e->what, "ended"))
        forget(t, e->session, e->channel->number);
    else if (e->channel)
        describe(need(t, e->session, e->channel->number), e);
    if (!str_eq(e->what, "opened"))
        note(t, e);
}

/* ------------------------------------------------------------ life */

void table_init(struct table *t)
{
    *t = (struct table){ .n = 0 };
    for (size_t i = 0; i < TABLE_BUCKETS; i++)
        list_init(&t->buckets[i]);
}

void table_fini(struct table *t)
{
    struct list *n;
    for (size_t i = 0; i < TABLE_BUCKETS; i++)
        while ((n = list_pop(&t->buckets[i])))
            free(list_entry(n, struct row, node));
    free(t->relayed);
}

/* ------------------------------------------------------------ one event */

static char *channel_line(const WatchEvent *e, const char *clock, const char *name)
{
    const Scistream__Gateway__V1__Channel *c = e->channel;
    if (str_eq(e->what, "ended"))
        return mem_printf("%s  %s (%s) ended: %s", clock, name, e->route, e->text);
    return mem_printf("%s  %s (%s) %s: %s by %s -> %s by %s", clock, name, e->route, e->what, or_dash(peer(c->source)), transport(c->source),
                      or_dash(peer(c->sink)), transport(c->sink));
}

static char *progress_line(const WatchEvent *e, const char *clock)
{
    const Scistream__Gateway__V1__Progress *p = e->progress;
    char rate[UNITS_TEXT], back[UNITS_TEXT], size[UNITS_TEXT], waits[CELL];
    AUTO_FREE char *name = channel_name(e->session, p->channel);
    waits_text(waits, sizeof(waits), p);
    units_human_rate(back, (double)p->rate_back);
    return mem_printf("%s  %s %s%s%s%s, %s, ring %u %%, waits for %s", clock, name, units_human_rate(rate, (double)p->rate),
                      p->bytes_back ? " there, " : "", p->bytes_back ? back : "", p->bytes_back ? " back" : "",
                      units_human_size(size, p->bytes_out + p->bytes_back), percent(p->window_used, p->window), waits);
}

#define CLOCK 16

static void clock_text(char clock[CLOCK], const WatchEvent *e)
{
    time_t s = (time_t)(e->time_ms / 1000);
    struct tm tm;
    localtime_r(&s, &tm);
    strftime(clock, CLOCK, "%H:%M:%S", &tm);
}

static char *flows_text(const struct flows *f)
{
    char rate[UNITS_TEXT], back[UNITS_TEXT], size[UNITS_TEXT];
    return mem_printf("%s there, %s back, %s, waits for %s", units_human_rate(rate, (double)f->rate), units_human_rate(back, (double)f->rate_back),
                      units_human_size(size, f->bytes), f->waits);
}

static char *route_line(const RouteConnections *c)
{
    const struct flows f = flows_of_route(c);
    AUTO_FREE char *what = units_streams("open ", 0, c->open), *flows = flows_text(&f);
    return mem_printf("%s: %s (+%llu -%llu, %llu failed, %llu refused), %s", c->route, c->open ? what : "no open connections",
                      (unsigned long long)c->opened, (unsigned long long)c->ended, (unsigned long long)c->failed, (unsigned long long)c->refused, flows);
}

static char *connection_line(const Connection *c)
{
    const struct flows f = flows_of_connection(c);
    AUTO_FREE char *flows = flows_text(&f);
    return mem_printf("%s (%s) %s -> %s: %s", c->id, c->route, c->peer, or_dash(c->backend), flows);
}

struct lines { char *text; size_t n; const char *clock; };

static void append(struct lines *l, char *line)
{
    size_t n = strlen(line);
    clean(line);
    char *all = mem_printf("%s%s%s  %s", l->text, l->n ? "\n" : "", l->clock, line);
    free(l->text);
    free(line);
    l->text = all;
    l->n += n + 1;
}

char *table_connections(const WatchEvent *e)
{
    char clock[CLOCK];
    struct lines l = { .text = mem_strdup(""), .clock = clock };
    clock_text(clock, e);
    for (size_t i = 0; i < e->connections->n_routes; i++)
        append(&l, route_line(e->connections->routes[i]));
    for (size_t i = 0; i < e->connections->n_fastest; i++)
        append(&l, connection_line(e->connections->fastest[i]));
    if (e->connections->more)
        append(&l, mem_printf("and %llu connections that are not faster (--limit)", (unsigned long long)e->connections->more));
    return l.text;
}

char *table_line(const WatchEvent *e)
{
    char clock[CLOCK];
    clock_text(clock, e);
    AUTO_FREE char *name = channel_name(e->session, e->channel ? e->channel->number : 0);
    char *line = e->progress    ? progress_line(e, clock)
                 : e->channel  ? channel_line(e, clock, name)
                 : *e->session ? mem_printf("%s  %s %s: %s", clock, e->what, e->session, e->text)
                               : mem_printf("%s  %s: %s", clock, e->what, e->text);
    clean(line);
    return line;
}

/* ------------------------------------------------------------ drawing */

struct drawing { char *text; size_t n, room; unsigned lines_left, columns; };

static void add_line(struct drawing *d, const char *line)
{
    size_t n = strlen(line);
    if (!d->lines_left)
        return;
    while (n > 0 && line[n - 1] == ' ')
        n--;
    n = MIN(n, d->columns);
    memcpy(d->text + d->n, line, n);
    d->n += n;
    d->text[d->n++] = '\n';
    d->lines_left--;
}

static int faster(const void *a, const void *b)
{
    const struct row *x = *(struct row *const *)a, *y = *(struct row *const *)b;
    if (x->rate != y->rate)
        return x->rate > y->rate ? -1 : 1;
    if (x->part != y->part)
        return x->part ? 1 : -1;
    int by_uid = strcmp(x->uid, y->uid);
    return by_uid ? by_uid : x->channel < y->channel ? -1 : x->channel > y->channel;
}

static struct row **sorted(const struct table *t, double *rate)
{
    struct row **rows = mem_zalloc(t->n + t->n_relayed + 1, sizeof(*rows));
    size_t n = 0;
    *rate = 0;
    for (size_t i = 0; i < TABLE_BUCKETS; i++)
        list_for_each(k, &t->buckets[i])
            rows[n++] = list_entry(k, struct row, node);
    for (size_t i = 0; i < t->n_relayed; i++)
        rows[n++] = &t->relayed[i];
    for (size_t i = 0; i < n; i++)
        *rate += rows[i]->part ? 0 : (double)rows[i]->rate;
    if (n)
        qsort(rows, n, sizeof(struct row *), faster);
    return rows;
}

/* Numbers stand right; a column without width is left out. */
static void add_cells(struct drawing *d, const char *const cell[COLUMNS], const size_t width[COLUMNS])
{
    char line[COLUMNS * (CELL + 2) + 1];
    size_t n = 0;
    for (int c = 0; c < COLUMNS; c++) {
        bool right = c == RATE || c == BACK || c == TOTAL || c == RING;
        if (width[c])
            n += (size_t)snprintf(line + n, sizeof(line) - n, right ? "%*s  " : "%-*s  ", (int)width[c], cell[c]);
    }
    add_line(d, line);
}

static bool any_back(struct row *const *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!str_eq(rows[i]->cell[BACK], "-"))
            return true;
    return false;
}

static void add_rows(struct drawing *d, struct row *const *rows, size_t n)
{
    size_t width[COLUMNS];
    const char *cell[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) {
        width[c] = strlen(heads[c]);
        for (size_t i = 0; i < n; i++)
            width[c] = MAX(width[c], strlen(rows[i]->cell[c]));
    }
    if (!any_back(rows, n))
        width[BACK] = 0;
    add_cells(d, heads, width);
    for (size_t i = 0; i < n; i++) {
        for (int c = 0; c < COLUMNS; c++)
            cell[c] = rows[i]->cell[c];
        add_cells(d, cell, width);
    }
}

/* Head, names of columns, rows as many as fit, how many do not, notes. */
char *table_draw(const struct table *t, unsigned lines, unsigned columns)
{
    char line[200], rate_text[UNITS_TEXT];
    double rate;
    struct drawing d = { .lines_left = lines, .columns = columns };
    unsigned notes = 0;
    struct row **rows = sorted(t, &rate);
    size_t n = t->n + t->n_relayed;
    AUTO_FREE char *what = units_streams("", t->n, t->open);
    while (notes < TABLE_NOTES && *t->notes[notes] && lines > 8 + notes)
        notes++;
    unsigned others = 3 + notes + (t->slower > 0);
    size_t room = lines > others ? lines - others : 1, shown = MIN(n, room);
    d.text = mem_zalloc(lines + 1, columns + 1);
    snprintf(line, sizeof(line), "%s, %s%s", what, units_human_rate(rate_text, rate),
             t->dropped ? " (not all is shown: this terminal reads too slowly)" : "");
    add_line(&d, line);
    add_rows(&d, rows, shown);
    snprintf(line, sizeof(line), "and %zu more; make the window taller, or name a session", n - shown);
    if (shown < n)
        add_line(&d, line);
    snprintf(line, sizeof(line), "and %llu connections that are not faster (--limit)", (unsigned long long)t->slower);
    if (t->slower)
        add_line(&d, line);
    for (unsigned i = 0; i < notes; i++)
        add_line(&d, t->notes[i]);
    free(rows);
    return d.text;
}
