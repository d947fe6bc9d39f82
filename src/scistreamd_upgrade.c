/* Another program, a newer one as a rule, takes this one's place while streams run: SIGUSR2, or Upgrade on the control socket. This is the side of
 * the one that goes; the other is scistreamd_takeover.c, what they say to each other is in handover.h.
 *
 * Happy path: the program that we were started by is started again, with a copy of each listening socket -> it says ready -> the service manager is
 * told -> nothing new is accepted here, who has just come gets GRACE_NS -> drain as before a stop, while the other serves -> end.
 * What fails: a program that cannot be started, ends, says failed, or nothing in time: it is killed, and this one goes on as if nothing had been.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "config.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/memfile.h"
#include "src/core/process.h"
#include "src/handover.h"
#include "src/scistreamd.h"

#define PATIENCE_NS (60 * NS_PER_S)  /* its workers may take half of that */
#define GRACE_NS (500 * NS_PER_MS)   /* for who is between his connection and his stream */
#define TELL_NS NS_PER_S

/* ------------------------------------------------------------ what came of it */

static void close_heir(struct daemon *d)
{
    int fd = d->heir.io.fd;
    loop_timer_stop(&d->loop, &d->heir.patience);
    loop_timer_stop(&d->loop, &d->heir.tell);
    loop_del(&d->loop, &d->heir.io);
    if (fd >= 0)
        close(fd);
}

static void kill_heir(struct daemon *d)
{
    if (d->heir.pid > 0) {
        kill(d->heir.pid, SIGKILL);
        waitpid(d->heir.pid, NULL, 0);
    }
    d->heir.pid = 0;
    d->grants.frozen = NULL;
    close_heir(d);
}

static void tell_failure(struct daemon *d, const char *why)
{
    UpgradeReply r = SCISTREAM__GATEWAY__V1__UPGRADE_REPLY__INIT;
    AUTO_FREE char *problem = mem_strdup(why);
    AUTO_FREE char *text = mem_printf("not upgraded, this program goes on: %s", why);
    log_error("%s", text);
    service_note(&d->service, "not-upgraded", why, 0);
    r.problem = problem;
    r.text = text;
    service_upgraded(&d->service, &r);
}

static void failed(struct daemon *d, const char *fmt, ...) PRINTF(2, 3);
static void failed(struct daemon *d, const char *fmt, ...)
{
    va_list ap;
    char why[WHY];
    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    kill_heir(d);
    tell_failure(d, why);
}

static void tell_success(struct daemon *d)
{
    UpgradeReply r = SCISTREAM__GATEWAY__V1__UPGRADE_REPLY__INIT;
    uint64_t timeout = d->conf->g.drain_timeout;
    char time[UNITS_TEXT];
    r.pid = (uint32_t)d->heir.pid;
    r.version = d->heir.said;
    r.channels = stop_channels(d);
    r.timeout_ms = timeout == TIME_FOREVER ? UINT64_MAX : timeout / NS_PER_MS;
    unsigned sessions = sessions_stay(d) ? d->giving.wanted ? (unsigned)d->giving.kept : requests_count(d->service.requests) : 0;
    AUTO_FREE char *kept = sessions ? mem_printf(", and %u session%s of scistream.Control", sessions, sessions == 1 ? "" : "s") : mem_strdup("");
    AUTO_FREE char *text = mem_printf("pid %u, version %s, has taken over; %llu open channel%s%s of pid %u %s %s to finish", r.pid, r.version,
                                      (unsigned long long)r.channels, r.channels == 1 ? "" : "s", kept, (unsigned)getpid(),
                                      r.channels + sessions == 1 ? "gets" : "get",
                                      timeout == TIME_FOREVER ? "all the time it takes" : units_human_time(time, timeout));
    r.text = text;
    log_info("upgraded: %s", text);
    service_note(&d->service, "upgraded", text, 0);
    service_upgraded(&d->service, &r);
}

/* ------------------------------------------------------------ the other serves */

static void on_tell(struct timer *t)
{
    struct daemon *d = container_of(t, struct daemon, heir.tell);
    char n[24];
    snprintf(n, sizeof(n), "%llu", (unsigned long long)stop_channels(d));
    (void)handover_say(d->heir.io.fd, "serves", n, -1);
    loop_timer(&d->loop, t, TELL_NS);
}

static void on_grace(struct timer *t)
{
    struct daemon *d = container_of(t, struct daemon, heir.grace);
    grpc_server_drain(d->server);
    if (d->plain)
        grpc_server_drain(d->plain);
    stop_retired(d);
}

/* Sessions first: who calls for one of them is to find it there. */
static void hand_on(struct daemon *d)
{
    char pid[24];
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    int rc = sessions_give(d);
    if (rc == 0)
        rc = handover_say(d->heir.io.fd, "yours", pid, -1);
    if (rc == -EAGAIN) {
        loop_change(&d->loop, &d->heir.io, EPOLLIN | EPOLLOUT);
        return;
    }
    loop_change(&d->loop, &d->heir.io, EPOLLIN);
    d->heir.told = true;
    tell_success(d);
    on_tell(&d->heir.tell);
}

/* Its sockets are the other's by now, the path of the control socket too. */
static void retire(struct daemon *d)
{
    AUTO_FREE char *state = mem_printf("MAINPID=%d", (int)d->heir.pid);
    notify(state);
    loop_timer_stop(&d->loop, &d->heir.patience);
    loop_timer_stop(&d->loop, &d->reload);
    d->stopping = d->retired = true;
    d->grants.frozen = "another program has taken over: ask that";
    free(d->socket_path);
    d->socket_path = NULL;
    grpc_server_deaf(d->server);
    if (d->plain)
        grpc_server_deaf(d->plain);
    doors_retire(d->doors);
    metrics_deaf(d->observe.metrics);
    loop_timer(&d->loop, &d->heir.grace, GRACE_NS);
    sessions_give_begin(d);
    hand_on(d);
}

/* ------------------------------------------------------------ hearing */

static void heard(struct daemon *d, const struct handover_word *w)
{
    if (str_eq(w->word, "ready") && !d->retired && d->heir.pid > 0) {
        str_copy(d->heir.said, sizeof(d->heir.said), w->value);
        retire(d);
    } else if (str_eq(w->word, "sessions") && !d->retired) {
        d->giving.wanted = true;
        d->giving.tickets = str_eq(w->value, "arranged");
    } else if (str_eq(w->word, "release") && d->retired) {
        (void)requests_end(d->service.requests, w->value, "released at the program that took over");
        (void)sessions_abort(d->service.sessions, w->value, -1, -SST_ERELEASED, "released at the program that took over");
    } else if (str_eq(w->word, "failed") && !d->retired) {
        str_copy(d->heir.said, sizeof(d->heir.said), w->value); /* told when it has ended */
    } else if (str_eq(w->word, "abort") && d->retired) {
        log_warn("the program that took over wants channels aborted");
        stop_abort(d);
    }
}

static void on_heir(struct io *io, uint32_t events)
{
    struct daemon *d = container_of(io, struct daemon, heir.io);
    if (events & EPOLLOUT && d->retired && !d->heir.told)
        hand_on(d);
    struct handover_word w;
    int rc = 1;
    while (d->heir.io.fd >= 0 && (rc = handover_hear(d->heir.io.fd, &w)) > 0) {
        fd_close(&w.fd);
        heard(d, &w);
    }
    if (d->heir.io.fd < 0 || rc == -EAGAIN || rc == -EINTR)
        return;
    if (d->retired) {
        close_heir(d);
        return;
    }
    int fd = io->fd; /* SIGCHLD says the rest, or patience ends */
    loop_del(&d->loop, io);
    close(fd);
}

void upgrade_reap(struct daemon *d)
{
    int status;
    if (d->heir.pid <= 0 || waitpid(d->heir.pid, &status, WNOHANG) != d->heir.pid)
        return;
    d->heir.pid = 0;
    on_heir(&d->heir.io, 0); /* its last words */
    if (d->retired)
        log_error("the program that took over has ended; this one only finishes its streams");
    else if (*d->heir.said)
        failed(d, "%s: %s", d->argv[0], d->heir.said);
    else if (WIFSIGNALED(status))
        failed(d, "%s was killed by signal %d (%s)", d->argv[0], WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        failed(d, "%s exited with status %d before it was ready: its log says why", d->argv[0], WEXITSTATUS(status));
}

static void on_patience(struct timer *t)
{
    failed(container_of(t, struct daemon, heir.patience), "the new program was not ready within a minute");
}

/* ------------------------------------------------------------ starting it */

/* By the name that we were started by, which may be another program by now. */
static int spawn(struct daemon *d, int fd)
{
    char number[12];
    snprintf(number, sizeof(number), "%d", PROCESS_FD);
    setenv(HANDOVER_ENV, number, 1);
    int rc = process_start(d->argv[0], d->argv, fd, &d->heir.pid);
    unsetenv(HANDOVER_ENV);
    return rc;
}

static void give(void *user, int fd)
{
    struct daemon *d = user;
    if (fd >= 0 && d->heir.rc == 0)
        d->heir.rc = handover_say(d->heir.io.fd, "socket", "listens", fd);
}

/* In memory of its own, since there may be more than a packet has room for, and it has secrets. */
static int give_grants(struct daemon *d)
{
    char *text = grants_export(&d->grants);
    size_t n = strlen(text) + 1;
    AUTO_FD int fd = -1;
    void *shared = memfile_create("scistream-grants", n, &fd);
    int rc = shared ? 0 : -errno;
    if (shared)
        memcpy(shared, text, n);
    memfile_unmap(shared, n);
    secret_wipe(text, n);
    free(text);
    return rc == 0 ? handover_say(d->heir.io.fd, "grants", "-", fd) : rc;
}

static int give_all(struct daemon *d)
{
    d->heir.rc = 0;
    grpc_server_each_port(d->server, give, d);
    if (d->plain)
        grpc_server_each_port(d->plain, give, d);
    doors_each(d->doors, give, d);
    give(d, metrics_fd(d->observe.metrics));
    if (d->heir.rc == 0)
        d->heir.rc = give_grants(d);
    if (d->heir.rc == 0)
        d->heir.rc = handover_say(d->heir.io.fd, "begin", PACKAGE_VERSION, -1);
    return d->heir.rc;
}

static const char *start_heir(struct daemon *d)
{
    int sv[2];
    const int room = 1 << 20; /* for all of it at once: nobody reads before it has started */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0) {
        daemon_fail(d, 0, "not started: %s", strerror(errno));
        return d->why;
    }
    (void)setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    d->heir.said[0] = 0;
    d->giving.wanted = d->giving.tickets = d->heir.told = false;
    d->grants.frozen = "an upgrade is under way: ask again when it is over";
    int rc = spawn(d, sv[1]);
    if (rc == 0)
        rc = loop_add(&d->loop, &d->heir.io, sv[0], EPOLLIN);
    if (rc < 0)
        close(sv[0]);
    if (rc == 0)
        rc = give_all(d);
    close(sv[1]); /* not sooner: who has ended by now is told by how it ended, not by a broken pipe */
    if (rc == 0) {
        loop_timer(&d->loop, &d->heir.patience, PATIENCE_NS);
        return NULL;
    }
    kill_heir(d);
    daemon_fail(d, 0, "%s cannot be started: %s", d->argv[0], err_text(rc));
    return d->why;
}

static const char *not_now(const struct daemon *d)
{
    if (d->retired)
        return "another program has taken over already: this one only finishes its streams";
    if (d->stopping)
        return "the gateway is shutting down";
    if (!d->ready)
        return "the gateway has not started yet";
    if (d->heir.pid)
        return "an upgrade is under way";
    if (sessions_draining(d->service.sessions))
        return "the gateway is draining: let it take streams again first (scistreamctl drain --resume)";
    if (d->became && !*d->conf->g.control_socket)
        return "the gateway was started as root without control_socket, whose default is another one for the user it became: set it, and restart once";
    if (getpid() == 1)
        return "the gateway is process 1 of its container, which ends with it: start another container beside it";
    return NULL;
}

static const char *begin(struct daemon *d)
{
    log_info("upgrade: %s is started", d->argv[0]);
    const char *why = start_heir(d);
    if (!why)
        return NULL;
    log_error("not upgraded, this program goes on: %s", why);
    service_note(&d->service, "not-upgraded", why, 0);
    return why;
}

const char *upgrade_asked(void *user)
{
    const char *why = not_now(user);
    return why ? why : begin(user);
}

void upgrade_by_signal(struct daemon *d)
{
    const char *why = not_now(d);
    if (why)
        log_warn("no upgrade: %s", why);
    else
        (void)begin(d);
}

void upgrade_stop(struct daemon *d)
{
    if (d->heir.pid && !d->retired)
        failed(d, "the gateway is asked to stop");
}

void upgrade_init(struct daemon *d)
{
    d->heir.io = (struct io){ .fd = -1, .ready = on_heir };
    d->heir.patience.fire = on_patience;
    d->heir.grace.fire = on_grace;
    d->heir.tell.fire = on_tell;
}

void upgrade_end(struct daemon *d)
{
    loop_timer_stop(&d->loop, &d->heir.grace);
    if (d->retired)
        close_heir(d);
    else
        kill_heir(d);
}
