#include "src/ctl_table.h"

#include <stdio.h>

#include "src/core/units.h"

enum { CHANNEL, ROUTE, FROM, TO, BY, STATE, RATE, TOTAL, RING, WAITS, COLUMNS };
static const char *const heads[COLUMNS] = { "CHANNEL", "ROUTE", "FROM", "TO", "BY", "STATE", "RATE", "TOTAL", "RING", "WAITS FOR" };
enum { CELL = 48, SHORT_UID = 8, SLOW_PERMILLE = 50 };

struct row {
    struct list node;
    char uid[33], cell[COLUMNS][CELL];
    uint32_t channel;
    uint64_t rate;
};

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
    AUTO_FREE char *by = mem_printf("%s > %s", transport(c->source), transport(c->sink));
    set(r, ROUTE, e->route);
    set(r, FROM, peer(c->source));
    set(r, TO, peer(c->sink));
    set(r, BY, by);
    set(r, STATE, c->state);
}

static void progress(struct row *r, const Scistream__Gateway__V1__Progress *p)
{
    char text[CELL];
    r->rate = p->rate + p->rate_back;
    set(r, RATE, units_human_rate(text, (double)r->rate));
    set(r, TOTAL, units_human_size(text, p->bytes_out + p->bytes_back));
    snprintf(text, sizeof(text), "%u %%", percent(p->window_used, p->window));
    set(r, RING, text);
    waits_text(text, sizeof(text), p);
    set(r, WAITS, text);
}

static void note(struct table *t, const WatchEvent *e)
{
    AUTO_FREE char *line = table_line(e);
    memmove(t->notes[1], t->notes[0], sizeof(t->notes) - sizeof(t->notes[0]));
    str_copy(t->notes[0], sizeof(t->notes[0]), line);
}

void table_take(struct table *t, const WatchEvent *e)
{
    t->dropped += e->dropped;
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
    char rate[UNITS_TEXT], size[UNITS_TEXT], waits[CELL];
    AUTO_FREE char *name = channel_name(e->session, p->channel);
    waits_text(waits, sizeof(waits), p);
    return mem_printf("%s  %s %s, %s, ring %u %%, waits for %s", clock, name, units_human_rate(rate, (double)(p->rate + p->rate_back)),
                      units_human_size(size, p->bytes_out + p->bytes_back), percent(p->window_used, p->window), waits);
}

char *table_line(const WatchEvent *e)
{
    char clock[16];
    time_t s = (time_t)(e->time_ms / 1000);
    struct tm tm;
    localtime_r(&s, &tm);
    strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
    AUTO_FREE char *name = channel_name(e->session, e->channel ? e->channel->number : 0);
    char *line = e->progress ? progress_line(e, clock) : e->channel ? channel_line(e, clock, name)
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
    int by_uid = strcmp(x->uid, y->uid);
    return by_uid ? by_uid : x->channel < y->channel ? -1 : x->channel > y->channel;
}

static struct row **sorted(const struct table *t, double *rate)
{
    struct row **rows = mem_zalloc(t->n + 1, sizeof(*rows));
    size_t n = 0;
    *rate = 0;
    for (size_t i = 0; i < TABLE_BUCKETS; i++)
        list_for_each(k, &t->buckets[i])
            rows[n++] = list_entry(k, struct row, node);
    for (size_t i = 0; i < n; i++)
        *rate += (double)rows[i]->rate;
    if (n)
        qsort(rows, n, sizeof(struct row *), faster);
    return rows;
}

/* Numbers stand right. */
static void add_cells(struct drawing *d, const char *const cell[COLUMNS], const size_t width[COLUMNS])
{
    char line[COLUMNS * (CELL + 2) + 1];
    size_t n = 0;
    for (int c = 0; c < COLUMNS; c++) {
        bool right = c == RATE || c == TOTAL || c == RING;
        n += (size_t)snprintf(line + n, sizeof(line) - n, right ? "%*s  " : "%-*s  ", (int)width[c], cell[c]);
    }
    add_line(d, line);
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
    while (notes < TABLE_NOTES && *t->notes[notes] && lines > 8 + notes)
        notes++;
    size_t room = lines > 3 + notes ? lines - 3 - notes : 1, shown = t->n <= room ? t->n : room;
    d.text = mem_zalloc(lines + 1, columns + 1);
    snprintf(line, sizeof(line), "%zu channel%s, %s%s", t->n, t->n == 1 ? "" : "s", units_human_rate(rate_text, rate),
             t->dropped ? " (not all is shown: this terminal reads too slowly)" : "");
    add_line(&d, line);
    add_rows(&d, rows, shown);
    snprintf(line, sizeof(line), "and %zu more; make the window taller, or name a session", t->n - shown);
    if (shown < t->n)
        add_line(&d, line);
    for (unsigned i = 0; i < notes; i++)
        add_line(&d, t->notes[i]);
    free(rows);
    return d.text;
}
