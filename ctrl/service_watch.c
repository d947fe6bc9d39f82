/* Gateway.Watch: what becomes of channels and of the gateway, and how fast channels go, to administrators.
 *
 * Happy path: WatchRequest -> opened of every channel that there is -> events as they come, progress each interval -> the watcher goes.
 * Connections that workers relay come and go by thousands: of them there is one event each interval (ctrl/connections.h).
 * A watcher that reads slowly is held against what waits for it: progress is left out first, then everything, and the next event says how many.
 * A channel of which it could not be told is told at a later tick, if it is still there.
 */
#include <time.h>

#include "ctrl/arranged.h"
#include "ctrl/service.h"
#include "ctrl/session_priv.h"
#include "ctrl/watch.h"
#include "src/core/err.h"

#define WATCHERS 8
#define ROOM_PROGRESS (128U << 10) /* bytes that may wait for a watcher when one more report of progress is to be sent */
#define ROOM_EVENT (512U << 10)    /* … any other event */
#define LOOK_SHARE (10U * WATCHERS) /* a look at connections may take one part in so many of the time */
#define SOON_NS (20 * NS_PER_MS)
#define INTERVAL_MIN_MS 20
#define INTERVAL_MAX_MS 60000

typedef Scistream__Gateway__V1__WatchRequest WatchRequest;
typedef Scistream__Gateway__V1__WatchEvent WatchEvent;

struct watcher {
    struct list node;
    struct service *s;
    struct grpc_call *call;
    unsigned place;
    uint64_t number;         /* serial: what is remembered of a place may be of the one before */
    char uid[REQUEST_UID_MAX + 1], route[ADDR_ROUTE_MAX + 1];
    uint32_t connections;    /* how many are told one by one */
    struct connections_seen *seen;
    uint64_t interval_ns, next_ns, dropped;
    uint64_t rested_ns;      /* until then no connections are looked at */
    struct timer tick;
};

/* What the watcher at each place knows of a channel. */
struct watch_seen {
    struct { uint64_t number; bool opened, quiet; struct watch_look look; } by[WATCHERS];
};

static char *unconst(const char *s) { return (char *)(uintptr_t)s; } /* protobuf-c's strings are not const */

/* ------------------------------------------------------------ one event to one watcher */

static bool tell(struct watcher *w, WatchEvent *e, size_t room)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    e->time_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS;
    e->dropped = w->dropped;
    if (grpc_unsent(w->call) + protobuf_c_message_get_packed_size(&e->base) > room)
        return false;
    w->dropped = 0;
    service_send(w->call, &e->base);
    return true;
}

static bool wants(const struct watcher *w, const struct schannel *c)
{
    return (!*w->uid || str_eq(w->uid, c->s->uid)) && (!*w->route || str_eq(w->route, c->route->c->name));
}

static bool tell_channel(struct watcher *w, const struct schannel *c, const char *what)
{
    WatchEvent e = SCISTREAM__GATEWAY__V1__WATCH_EVENT__INIT;
    e.what = unconst(what);
    e.session = unconst(c->s->uid);
    e.route = c->route->c->name;
    e.text = unconst(c->reason);
    e.channel = schannel_message(c);
    e.class_ = unconst(shares_class(c->ss->c.shares, c->s->share, &e.rate));
    bool told = tell(w, &e, ROOM_EVENT);
    scistream__gateway__v1__channel__free_unpacked(e.channel, NULL);
    return told;
}

/* ------------------------------------------------------------ channels */

/* True: it was told of the channel before. */
static bool knows(const struct watcher *w, struct schannel *c)
{
    if (!c->seen)
        c->seen = mem_zalloc(1, sizeof(*c->seen));
    if (c->seen->by[w->place].number != w->number) {
        memset(&c->seen->by[w->place], 0, sizeof(c->seen->by[0]));
        c->seen->by[w->place].number = w->number;
    }
    return c->seen->by[w->place].opened;
}

static bool introduce(struct watcher *w, struct schannel *c)
{
    if (!knows(w, c))
        c->seen->by[w->place].opened = tell_channel(w, c, "opened");
    return c->seen->by[w->place].opened;
}

static void on_opened(void *user, struct schannel *c)
{
    list_for_each(n, &((struct service *)user)->watchers)
        if (wants(list_entry(n, struct watcher, node), c))
            introduce(list_entry(n, struct watcher, node), c);
}

static void tell_all(struct service *s, struct schannel *c, const char *what)
{
    list_for_each(n, &s->watchers) {
        struct watcher *w = list_entry(n, struct watcher, node);
        if (wants(w, c) && (!knows(w, c) || !tell_channel(w, c, what)))
            w->dropped++;
    }
}

static void on_flowing(void *user, struct schannel *c) { tell_all(user, c, "flowing"); }
static void on_ended(void *user, struct schannel *c)
{
    struct service *s = user;
    tell_all(s, c, "ended");
    if (c->s->grant && c->s->grant->arranged)
        grants_left(s->grants);
}

const struct sessions_events service_session_events = { .opened = on_opened, .flowing = on_flowing, .ended = on_ended };

/* ------------------------------------------------------------ progress */

/* Of one that stands still it is told once. */
static void report(struct watcher *w, struct schannel *c, uint64_t now)
{
    const struct stats_channel *st = c->w ? pool_channel_stats(c->w, &c->pc) : NULL;
    struct watch_look look, *before = &c->seen->by[w->place].look;
    WatchEvent e = SCISTREAM__GATEWAY__V1__WATCH_EVENT__INIT;
    Progress m = SCISTREAM__GATEWAY__V1__PROGRESS__INIT;
    if (!st)
        return;
    watch_take(&look, st, now);
    if (before->at_ns) {
        bool quiet = look.out == before->out && look.back == before->back, told_quiet = c->seen->by[w->place].quiet;
        watch_compare(&m, before, &look, st, c->window);
        m.channel = c->number;
        e.what = unconst("progress");
        e.session = unconst(c->s->uid);
        e.progress = &m;
        c->seen->by[w->place].quiet = quiet;
        if (!(quiet && told_quiet) && !tell(w, &e, ROOM_PROGRESS)) {
            w->dropped++;
            c->seen->by[w->place].quiet = false;
        }
    }
    *before = look;
}

/* What a look costs is a small part of the time, however many there are, and however many watch. */
static void report_connections(struct watcher *w, uint64_t now)
{
    WatchEvent e = SCISTREAM__GATEWAY__V1__WATCH_EVENT__INIT;
    const struct connections cs = service_connections(w->s);
    if (*w->uid || now < w->rested_ns)
        return;
    e.what = unconst("connections");
    e.connections = connections_look(&cs, w->seen, w->route, w->connections);
    if (e.connections && !tell(w, &e, ROOM_PROGRESS)) {
        w->dropped++;
        connections_untold(w->seen);
    }
    connections_free(e.connections);
    w->rested_ns = now_ns() + LOOK_SHARE * (now_ns() - now);
}

static bool runs(const struct schannel *c) { return c->state >= SC_FLOWING && c->state < SC_CLOSING; }

/* False: it has not been told of all channels. */
static bool look_at(struct watcher *w, const struct session *s, bool progress, uint64_t now)
{
    bool all = true;
    list_for_each(k, &s->channels) {
        struct schannel *c = list_entry(k, struct schannel, node);
        if (c->state == SC_CLOSING || !wants(w, c))
            continue;
        if (!introduce(w, c))
            all = false;
        else if (progress && runs(c))
            report(w, c, now);
    }
    return all;
}

static void look(struct watcher *w)
{
    uint64_t now = now_ns();
    bool progress = now >= w->next_ns, found = !*w->uid, all = true;
    list_for_each(n, &w->s->sessions->sessions) {
        const struct session *s = list_entry(n, struct session, node);
        if (*w->uid && !str_eq(w->uid, s->uid))
            continue;
        found = true;
        all &= look_at(w, s, progress, now);
    }
    if (!found && !requests_find(w->s->requests, w->uid) && !arranged_find(w->s->grants, w->uid)) {
        grpc_finish(w->call, GRPC_OK, "");
        return;
    }
    if (progress) {
        report_connections(w, now_ns());
        w->next_ns = now + w->interval_ns;
    }
    loop_timer(w->s->loop, &w->tick, all ? w->next_ns - now : MIN(SOON_NS, w->next_ns - now));
}

static void on_tick(struct timer *t) { look(container_of(t, struct watcher, tick)); }

/* ------------------------------------------------------------ the gateway */

void service_note(struct service *s, const char *what, const char *text, unsigned worker)
{
    WatchEvent e = SCISTREAM__GATEWAY__V1__WATCH_EVENT__INIT;
    e.what = unconst(what);
    e.text = unconst(text);
    e.worker = worker;
    list_for_each(n, &s->watchers) {
        struct watcher *w = list_entry(n, struct watcher, node);
        if (!*w->uid && !tell(w, &e, ROOM_EVENT))
            w->dropped++;
    }
}

static void note_session(struct service *s, const char *route, const char *uid, const char *text)
{
    WatchEvent e = SCISTREAM__GATEWAY__V1__WATCH_EVENT__INIT;
    e.what = unconst("session");
    e.session = unconst(uid);
    e.route = unconst(route);
    e.text = unconst(text);
    list_for_each(n, &s->watchers) {
        struct watcher *w = list_entry(n, struct watcher, node);
        if ((!*w->uid || str_eq(w->uid, uid)) && (!*w->route || str_eq(w->route, route)) && !tell(w, &e, ROOM_EVENT))
            w->dropped++;
    }
}

void service_note_session(struct service *s, const char *uid, const char *text) { note_session(s, DOORS_SESSIONS, uid, text); }
void service_note_arranged(struct service *s, const char *uid, const char *text) { note_session(s, ARRANGED_ROUTE, uid, text); }

/* ------------------------------------------------------------ the call */

static bool take_place(const struct service *s, unsigned *place)
{
    bool taken[WATCHERS] = { false };
    list_for_each(n, &s->watchers)
        taken[list_entry(n, struct watcher, node)->place] = true;
    for (*place = 0; *place < WATCHERS; (*place)++)
        if (!taken[*place])
            return true;
    return false;
}

static bool is_session(const struct service *s, const char *uid)
{
    list_for_each(n, &s->sessions->sessions)
        if (str_eq(list_entry(n, struct session, node)->uid, uid))
            return true;
    return requests_find(s->requests, uid) || arranged_find(s->grants, uid);
}

/* Those that there are, as their last events told. */
static void tell_request(void *user, const struct request *r)
{
    struct watcher *w = user;
    WatchEvent e = SCISTREAM__GATEWAY__V1__WATCH_EVENT__INIT;
    AUTO_FREE char *text = mem_printf("%s: %s", request_state_name(r->state), request_waits_for(r));
    if ((*w->uid && !str_eq(w->uid, r->uid)) || (*w->route && !str_eq(w->route, DOORS_SESSIONS)))
        return;
    e.what = unconst("session");
    e.session = r->uid;
    e.route = unconst(DOORS_SESSIONS);
    e.text = text;
    if (!tell(w, &e, ROOM_EVENT))
        w->dropped++;
}

static void begin(struct grpc_call *c, const WatchRequest *q, unsigned place)
{
    static uint64_t serial;
    struct service *s = grpc_server_user(c);
    struct watcher *w = mem_zalloc(1, sizeof(*w));
    uint64_t ms = q->interval_ms ? MIN(MAX(q->interval_ms, INTERVAL_MIN_MS), INTERVAL_MAX_MS) : 1000;
    w->s = s;
    w->call = c;
    w->place = place;
    w->number = ++serial;
    w->interval_ns = ms * NS_PER_MS;
    w->tick.fire = on_tick;
    w->connections = q->connections;
    w->seen = connections_seen_new();
    str_copy(w->uid, sizeof(w->uid), q->uid);
    str_copy(w->route, sizeof(w->route), q->route);
    list_add_tail(&s->watchers, &w->node);
    grpc_set_user(c, w);
    requests_each(s->requests, tell_request, w);
    look(w);
}

static void run_watch(struct grpc_call *c, const struct caller *who UNUSED, const uint8_t *data, size_t len)
{
    const struct service *s = grpc_server_user(c);
    WatchRequest *q = scistream__gateway__v1__watch_request__unpack(NULL, len, data);
    unsigned place;
    if (!q || grpc_user(c))
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "one readable WatchRequest is expected");
    else if (*q->uid && !is_session(s, q->uid))
        grpc_finish(c, GRPC_NOT_FOUND, "no session with that uid");
    else if (*q->route && !service_knows_route(s, q->route))
        grpc_finish(c, GRPC_NOT_FOUND, "no route of that name");
    else if (!take_place(s, &place))
        grpc_finish(c, GRPC_RESOURCE_EXHAUSTED, "eight watch already, which is the limit: end one of them");
    else
        begin(c, q, place);
    scistream__gateway__v1__watch_request__free_unpacked(q, NULL);
}

static void on_watch(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Watch", .looks = true, .subject = service_subject, .run = run_watch };
    service_allow(c, &what, data, len);
}

static void on_closed(struct grpc_call *c, enum grpc_status s, const char *text)
{
    struct watcher *w = grpc_user(c);
    service_gone(c, s, text);
    if (!w)
        return;
    loop_timer_stop(w->s->loop, &w->tick);
    list_del(&w->node);
    connections_seen_free(w->seen);
    free(w);
}

const struct grpc_handlers service_watch_handlers = { .message = on_watch, .closed = on_closed };
