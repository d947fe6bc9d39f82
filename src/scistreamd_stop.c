/* Taking no new streams and letting those that run finish: to stop then (SIGTERM, Drain with stop), or to stay and be resumed (Drain). */
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "src/core/err.h"
#include "src/core/log.h"
#include "src/scistreamd.h"

#define STOPPING "it is shutting down"
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

static void on_gone(void *user) { loop_stop(&((struct daemon *)user)->loop); }

void stop_workers(struct daemon *d)
{
    grpc_server_drain(d->server);
    loop_timer_stop(&d->loop, &d->drain);
    loop_timer_stop(&d->loop, &d->look);
    loop_timer_stop(&d->loop, &d->reload);
    pool_stop(d->pool, on_gone, d);
}

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
    if (connections_open(d->pool) == 0 || (d->stopping && d->abort_relays))
        drained(d);
    else
        loop_timer(&d->loop, t, 50 * NS_PER_MS);
}

static void on_idle(void *user) { on_look(&((struct daemon *)user)->look); }

/* Relays end with their workers, where these end. */
static void abort_all(struct daemon *d)
{
    sessions_abort_all(d->service.sessions, -SST_EDRAINING, d->stopping ? STOPPING : "it is draining, and its time is over");
    d->abort_relays = true;
    if (!d->stopping)
        doors_abort_relays(d->doors, -SST_EDRAINING);
    else if (sessions_channels(d->service.sessions) == 0)
        stop_workers(d);
}

static void on_drain_over(struct timer *t)
{
    struct daemon *d = container_of(t, struct daemon, drain);
    uint64_t channels = sessions_channels(d->service.sessions), connections = connections_open(d->pool);
    AUTO_FREE char *what = units_streams("", channels, connections);
    log_warn("%s %s still open after drain_timeout: aborted", what, channels + connections == 1 ? "is" : "are");
    abort_all(d);
}

/* ------------------------------------------------------------ the beginning */

/* by: who wants it, for the log. */
static void begin(struct daemon *d, const char *by, uint64_t timeout_ns)
{
    char time[UNITS_TEXT];
    uint64_t channels = sessions_channels(d->service.sessions), connections = connections_open(d->pool);
    bool forever = timeout_ns == TIME_FOREVER;
    AUTO_FREE char *open = units_streams("open ", channels, connections);
    AUTO_FREE char *text = mem_printf("no new streams; %s %s %s to finish", open, channels + connections == 1 ? "gets" : "get",
                                      forever ? "all the time it takes" : units_human_time(time, timeout_ns));
    log_info("%s: %s", by, text);
    service_note(&d->service, d->stopping ? "stopping" : "draining", text, 0);
    d->abort_relays = false;
    (d->stopping ? doors_close : doors_pause)(d->doors);
    sessions_drain(d->service.sessions, d->stopping ? STOPPING : DRAINING, on_idle, d);
    service_health_changed(&d->service);
    loop_timer_stop(&d->loop, &d->drain);
    if (!forever)
        loop_timer(&d->loop, &d->drain, timeout_ns);
}

static void begin_stop(struct daemon *d, const char *by, uint64_t timeout_ns)
{
    d->stopping = true;
    notify("STOPPING=1");
    begin(d, by, timeout_ns);
}

void stop_asked(struct daemon *d, int signo)
{
    if (d->stopping) {
        log_warn("second signal: channels are aborted now");
        abort_all(d);
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
    doors_resume(d->doors);
    loop_timer_stop(&d->loop, &d->drain);
    loop_timer_stop(&d->loop, &d->look);
    service_health_changed(&d->service);
    log_info("resumed: new streams are taken again");
    service_note(&d->service, "resumed", "new streams are taken again", 0);
    return NULL;
}
