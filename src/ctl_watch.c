/* scistreamctl watch: a table that is redrawn in place on a terminal, else a line for each event. */
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "src/core/log.h"
#include "src/ctl_table.h"
#include "src/scistreamctl.h"

#define REDRAW_NS (100 * NS_PER_MS)
#define ENTER "\033[?1049h\033[?25l" /* another screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"
#define HOME "\033[H"
#define LINE_END "\033[K\n"
#define REST "\033[J"

struct watch {
    struct ctl_stream s;
    bool json, live;
    struct table table;
    struct timer redraw;
};

static struct watch *self; /* of the signal */

static struct watch *watch_of(struct ctl_stream *s) { return container_of(s, struct watch, s); }

/* ------------------------------------------------------------ terminal */

static void size_of_terminal(unsigned *lines, unsigned *columns)
{
    struct winsize w;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row && w.ws_col;
    *lines = known ? w.ws_row : 24;
    *columns = known ? w.ws_col : 80;
}

/* No newline behind the last line that there is room for: it would scroll. */
static void draw(struct watch *w)
{
    unsigned lines, columns;
    size_of_terminal(&lines, &columns);
    AUTO_FREE char *text = table_draw(&w->table, MAX(lines, 2) - 1, columns);
    fputs(HOME, stdout);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) && rest;)
        printf("%s" LINE_END, line);
    fputs(REST, stdout);
    fflush(stdout);
}

static void on_redraw(struct timer *t) { draw(container_of(t, struct watch, redraw)); }

static void draw_soon(struct watch *w)
{
    if (!timer_pending(&w->redraw))
        loop_timer(w->s.loop, &w->redraw, REDRAW_NS);
}

static void on_resized(struct loop *l UNUSED, int signo UNUSED) { draw(self); }

static void begun(struct ctl_stream *s)
{
    struct watch *w = watch_of(s);
    if (!w->live)
        return;
    fputs(ENTER, stdout);
    loop_on_signal(s->loop, SIGWINCH, on_resized);
    draw(w);
}

/* Also before an error is told. */
static void ended(struct ctl_stream *s)
{
    struct watch *w = watch_of(s);
    loop_timer_stop(s->loop, &w->redraw);
    if (!w->live)
        return;
    w->live = false;
    fputs(LEAVE, stdout);
    fflush(stdout);
}

/* ------------------------------------------------------------ events */

static void progress_json(const Scistream__Gateway__V1__Progress *p)
{
    printf(",\"progress\":{\"channel\":%u,\"interval_ms\":%llu,\"rate\":%llu,\"bytes_in\":%llu,\"bytes_out\":%llu,\"window\":%llu,"
           "\"window_used\":%llu,",
           p->channel, (unsigned long long)p->interval_ms, (unsigned long long)p->rate, (unsigned long long)p->bytes_in,
           (unsigned long long)p->bytes_out, (unsigned long long)p->window, (unsigned long long)p->window_used);
    ctl_json_text("waiting_for", p->waiting_for, ",");
    printf("\"source_permille\":%u,\"credits_permille\":%u,\"sink_permille\":%u,\"clock_permille\":%u,\"rate_back\":%llu,\"bytes_back\":%llu,",
           p->source_permille, p->credits_permille, p->sink_permille, p->clock_permille, (unsigned long long)p->rate_back,
           (unsigned long long)p->bytes_back);
    ctl_json_text("waiting_for_back", p->waiting_for_back, "}");
}

static void connections_json(const Scistream__Gateway__V1__Connections *c)
{
    printf(",\"connections\":{\"interval_ms\":%llu,", (unsigned long long)c->interval_ms);
    ctl_routes_json(c->routes, c->n_routes, true);
    printf(",\"fastest\":[");
    for (size_t i = 0; i < c->n_fastest; i++) {
        printf("%s", i ? "," : "");
        ctl_connection_json(c->fastest[i], true);
    }
    printf("],\"more\":%llu}", (unsigned long long)c->more);
}

static void event_json(const WatchEvent *e)
{
    printf("{\"time_ms\":%llu,\"dropped\":%llu,", (unsigned long long)e->time_ms, (unsigned long long)e->dropped);
    ctl_json_text("what", e->what, "");
    if (*e->session) {
        printf(",");
        ctl_json_text("session", e->session, "");
    }
    if (*e->route) {
        printf(",");
        ctl_json_text("route", e->route, "");
    }
    if (*e->class_) {
        printf(",");
        ctl_json_text("class", e->class_, "");
        printf(",\"rate\":%llu", (unsigned long long)e->rate);
    }
    if (e->channel) {
        printf(",\"channel\":");
        ctl_channel_json(e->channel);
    }
    if (e->progress)
        progress_json(e->progress);
    if (e->connections)
        connections_json(e->connections);
    if (str_starts(e->what, "worker-"))
        printf(",\"worker\":%u", e->worker);
    printf(",");
    ctl_json_text("text", e->text, "}\n");
    fflush(stdout);
}

static void event_line(const WatchEvent *e)
{
    AUTO_FREE char *line = e->connections ? table_connections(e) : table_line(e);
    if (e->dropped)
        printf("          %llu events were left out here\n", (unsigned long long)e->dropped);
    printf("%s\n", line);
    fflush(stdout);
}

static void on_event(struct ctl_stream *s, const uint8_t *data, size_t len)
{
    struct watch *w = watch_of(s);
    WatchEvent *e = scistream__gateway__v1__watch_event__unpack(NULL, len, data);
    if (!e)
        return;
    if (w->live) {
        table_take(&w->table, e);
        draw_soon(w);
    } else if (w->json) {
        event_json(e);
    } else {
        event_line(e);
    }
    scistream__gateway__v1__watch_event__free_unpacked(e, NULL);
}

/* ------------------------------------------------------------ the command */

static bool on_terminal(void)
{
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && term && *term && !str_eq(term, "dumb");
}

int ctl_watch(struct ctl_opts *o, int argc, char **argv)
{
    static struct watch w;
    Scistream__Gateway__V1__WatchRequest q = SCISTREAM__GATEWAY__V1__WATCH_REQUEST__INIT;
    if (ctl_is_wrong_for_uid(o, argc))
        return 64;
    if (argc)
        q.uid = argv[0];
    q.route = o->route;
    q.connections = o->connections ? (uint32_t)o->limit : 0;
    q.interval_ms = o->interval / NS_PER_MS;
    w = (struct watch){ .s = { .begun = begun, .message = on_event, .ended = ended }, .json = o->json, .live = !o->json && on_terminal(),
                        .redraw = { .fire = on_redraw } };
    self = &w;
    table_init(&w.table);
    int code = ctl_stream(o, "/scistream.gateway.v1.Gateway/Watch", &q.base, &w.s);
    table_fini(&w.table);
    return code;
}
