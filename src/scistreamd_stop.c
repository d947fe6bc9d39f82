/* Taking no new streams and letting those that run finish: to stop then (SIGTERM, Drain with stop), or to stay and be resumed (Drain). */
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "src/core/err.h"
#include "src/core/log.h"
#include "src/scistreamd.h"

#define STOPPING "it is shutting down"
#define MOVED "a newer program of it takes new streams; attach again"
#define DRAINING "it is draining and takes no new streams; try again later"

/* A datagram to NOTIFY_SOCKET. */
void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    if (!path || !*path || !str_copy(a.sun_path, sizeof(a.sun_path), path))
        return;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (a.sun_path[0] == '@')
        a.sun_path[0] = 0;
    AUTO_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a, len) < 0)
        log_warn("cannot notify the service manager: %s", strerror(errno));
}

/* ------------------------------------------------------------ the end of it */

static void on_gone(void *user)
{
    struct daemon *d = user;
    if (takeover_waits(d))
        takeover_last(d);
    else
        loop_stop(&d->loop);
}

void stop_workers(struct daemon *d)
{
    grpc_server_drain(d->server);
    if (d->plain)
        grpc_server_drain(d->plain);
    loop_timer_stop(&d->loop, &d->drain);
    loop_timer_stop(&d->loop, &d->look);
    loop_timer_stop(&d->loop, &d->reload);
    pool_stop(d->pool, on_gone, d);
}

/* Here, and in the program that this one took over from, where relays are counted as channels. */
static uint64_t channels_of(const struct daemon *d) { return sessions_channels(d->service.sessions) + d->service.predecessor_channels; }
uint64_t stop_channels(const struct daemon *d) { return channels_of(d) + connections_open(d->pool); }

static void drained(struct daemon *d)
{
    if (d->stopping) {
        stop_workers(d);
        return;
    }
    loop_timer_stop(&d->loop, &d->drain);
    log_info("drained: no channel is open");
    service_note(&d->service, "drained", "no channel is open", 0);
}

static void on_look(struct timer *t)
{
    struct daemon *d = container_of(t, struct daemon, look);
    bool others = connections_open(d->pool) > 0 || (d->stopping && takeover_waits(d));
    if (sessions_stay(d)) /* nobody else knows of them: they have all the time there is */
        others = true;
    if (timer_pending(&d->heir.grace) || upgrade_on_probation(d)) /* somebody is still between his connection and his stream; the heir may die */
        others = true;
    if (!others || (d->stopping && d->abort_relays))
        drained(d);
    else
        loop_timer(&d->loop, t, 50 * NS_PER_MS);
}

void stop_look(struct daemon *d)
{
    if (sessions_channels(d->service.sessions) == 0)
        on_look(&d->look);
}

static void on_idle(void *user) { on_look(&((struct daemon *)user)->look); }

/* Relays end with their workers, where these end. */
void stop_abort(struct daemon *d)
{
    takeover_abort(d);
    sessions_abort_all(d->service.sessions, -SST_EDRAINING, d->retired    ? "it was upgraded, and the time of streams from before is over"
                                              : d->stopping ? STOPPING
                                                            : "it is draining, and its time is over");
    d->abort_relays = true;
    if (!d->stopping)
        doors_abort_relays(d->doors, -SST_EDRAINING);
    else if (sessions_channels(d->service.sessions) == 0)
        stop_workers(d);
}

static void on_drain_over(struct timer *t)
{
    struct daemon *d = container_of(t, struct daemon, drain);
    uint64_t channels = channels_of(d), connections = connections_open(d->pool);
    AUTO_FREE char *what = units_streams("", channels, connections);
    upgrade_settled(d);
    log_warn("%s %s still open after drain_timeout: aborted", what, channels + connections == 1 ? "is" : "are");
    stop_abort(d);
}

/* ------------------------------------------------------------ the beginning */

/* by: who wants it, for the log. */
static void begin(struct daemon *d, const char *by, uint64_t timeout_ns)
{
    char time[UNITS_TEXT];
    uint64_t channels = channels_of(d), connections = connections_open(d->pool);
    bool forever = timeout_ns == TIME_FOREVER;
    AUTO_FREE char *open = units_streams("open ", channels, connections);
    AUTO_FREE char *text = mem_printf("no new streams; %s %s %s to finish", open, channels + connections == 1 ? "gets" : "get",
                                      forever ? "all the time it takes" : units_human_time(time, timeout_ns));
    log_info("%s: %s", by, text);
    service_note(&d->service, d->stopping ? "stopping" : "draining", text, 0);
    d->abort_relays = false;
    const char *words = d->retired ? MOVED : d->stopping ? STOPPING : DRAINING;
    if (!d->retired)
        (d->stopping ? doors_close : doors_pause)(d->doors);
    requests_drain(d->service.requests, words);
    sessions_drain(d->service.sessions, d->retired ? -SST_EMOVED : -SST_EDRAINING, words, on_idle, d);
    if (!d->retired) /* the gateway serves, only not by this program */
        service_health_changed(&d->service);
    loop_timer_stop(&d->loop, &d->drain);
    if (!forever)
        loop_timer(&d->loop, &d->drain, timeout_ns);
}

static void begin_stop(struct daemon *d, const char *by, uint64_t timeout_ns)
{
    upgrade_stop(d);
    takeover_stops(d);
    d->stopping = true;
    notify("STOPPING=1");
    begin(d, by, timeout_ns);
}

void stop_retired(struct daemon *d) { begin(d, "another program has taken over", d->conf->g.drain_timeout); }

/* One signal to all programs of the gateway is the first for a retired one, too. */
void stop_asked(struct daemon *d, int signo)
{
    if (d->retired && !d->asked) {
        d->asked = true;
        upgrade_settled(d);
        log_info("%s: streams have what is left of their time; a second signal aborts them", strsignal(signo));
        return;
    }
    if (d->stopping) {
        log_warn("second signal: channels are aborted now");
        stop_abort(d);
        return;
    }
    begin_stop(d, strsignal(signo), d->conf->g.drain_timeout);
}

void stop_init(struct daemon *d)
{
    d->drain.fire = on_drain_over;
    d->look.fire = on_look;
}

/* ------------------------------------------------------------ asked by administrators */

const char *drain_asked(void *user, const struct service_drain *q)
{
    struct daemon *d = user;
    if (d->stopping)
        return "the gateway is shutting down already";
    if (d->heir.pid && !q->stop)
        return "an upgrade is under way: ask again when it is over";
    if (q->stop)
        begin_stop(d, "asked to stop", q->timeout_ns);
    else
        begin(d, "asked to drain", q->timeout_ns);
    return NULL;
}

const char *drain_resume(void *user)
{
    struct daemon *d = user;
    if (d->stopping)
        return "the gateway is shutting down, which cannot be taken back";
    if (!sessions_draining(d->service.sessions))
        return NULL;
    sessions_resume(d->service.sessions);
    requests_drain(d->service.requests, NULL);
    doors_resume(d->doors);
    loop_timer_stop(&d->loop, &d->drain);
    loop_timer_stop(&d->loop, &d->look);
    service_health_changed(&d->service);
    log_info("resumed: new streams are taken again");
    service_note(&d->service, "resumed", "new streams are taken again", 0);
    return NULL;
}
