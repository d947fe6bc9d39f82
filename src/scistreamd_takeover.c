/* This program takes the place of one that runs: what scistreamd_upgrade.c is on the other side.
 *
 * Happy path: HANDOVER_ENV names a socket -> listening sockets come, sock_listen finds them again by their addresses -> start as ever, but nothing is
 * accepted before all workers are there -> ready -> yours: the service manager knows -> serve, and know how many channels the other still has.
 * Failures: whatever stops a start is told the other, which then goes on. When the other dies, this one serves.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "config.h"
#include "ctrl/service_arranged.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/memfile.h"
#include "src/handover.h"
#include "src/scistreamd.h"
#include "tcp/sock.h"

#define SOCKETS_MS 10000 /* they lie in the socket before we are started */
#define LAST_NS (5 * NS_PER_S) /* for the other to abort what it still has, before we end without it */

/* ------------------------------------------------------------ the sockets */

static int take_word(struct daemon *d, struct handover_word *w, bool *done)
{
    int rc = 0;
    *done = str_eq(w->word, "begin");
    if (str_eq(w->word, "socket") && w->fd >= 0)
        rc = sock_inherit(fd_take(&w->fd));
    else if (str_eq(w->word, "grants") && d->before.grants_fd < 0)
        d->before.grants_fd = fd_take(&w->fd);
    fd_close(&w->fd);
    return rc;
}

static int take_sockets(struct daemon *d, int fd)
{
    struct handover_word w;
    bool done = false;
    int rc = 0;
    while (rc >= 0 && !done) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        if (poll(&p, 1, SOCKETS_MS) <= 0)
            return daemon_fail(d, 70, "no listening sockets came from the program before this one");
        rc = handover_hear(fd, &w);
        if (rc > 0)
            rc = take_word(d, &w, &done);
        else if (rc == 0)
            return daemon_fail(d, 70, "the program before this one has ended");
        else if (rc == -EAGAIN)
            rc = 0;
    }
    return rc < 0 ? daemon_fail(d, 70, "listening sockets of the program before this one: %s", err_text(rc)) : 0;
}

int takeover_begin(struct daemon *d)
{
    const char *number = getenv(HANDOVER_ENV);
    d->before.io.fd = -1;
    d->before.fd = -1;
    d->before.grants_fd = -1;
    if (!number)
        return 0;
    char *end;
    long fd = strtol(number, &end, 10);
    bool wrong = *end || fd < 3 || fd > 1 << 20 || fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0;
    unsetenv(HANDOVER_ENV); /* workers are no heirs */
    if (wrong)
        return daemon_fail(d, 64, "%s is for 'scistreamctl upgrade' alone: unset it", HANDOVER_ENV);
    d->before.fd = (int)fd;
    d->before.borrowed = true;
    return take_sockets(d, (int)fd);
}

void takeover_failed(struct daemon *d, const char *why)
{
    if (d->before.fd >= 0)
        (void)handover_say(d->before.fd, "failed", why, -1);
    fd_close(&d->before.fd);
}

/* ------------------------------------------------------------ what it says */

static void set(struct daemon *d, uint32_t pid, uint64_t channels)
{
    d->service.predecessor_pid = pid;
    d->service.predecessor_channels = channels;
}

static void ours(struct daemon *d, const char *pid)
{
    set(d, (uint32_t)strtoul(pid, NULL, 10), 0);
    d->before.taken = true;
    d->before.borrowed = false;
    service_arranged_alone(&d->service);
    notify("READY=1");
    log_info("taken over from pid %s", pid);
}

/* It said all, or died. */
static void ended(struct daemon *d)
{
    int fd = d->before.io.fd;
    loop_del(&d->loop, &d->before.io);
    close(fd);
    if (d->before.taken)
        log_info("pid %u, which this program took over from, has ended", d->service.predecessor_pid);
    else
        ours(d, "unknown");
    set(d, 0, 0);
    if (d->stopping)
        stop_look(d);
}

static void on_before(struct io *io, uint32_t events UNUSED)
{
    struct daemon *d = container_of(io, struct daemon, before.io);
    struct handover_word w;
    int rc;
    while ((rc = handover_hear(io->fd, &w)) > 0) {
        if (str_eq(w.word, "door"))
            sessions_take_door(d, fd_take(&w.fd));
        else if (str_eq(w.word, "session"))
            sessions_take(d, w.value, w.fd);
        else if (str_eq(w.word, "arranged"))
            sessions_take_arranged(d, w.value, w.fd);
        fd_close(&w.fd);
        if (str_eq(w.word, "yours") && !d->before.taken)
            ours(d, w.value);
        else if (str_eq(w.word, "serves") && d->before.taken)
            set(d, d->service.predecessor_pid, strtoull(w.value, NULL, 10));
    }
    if (rc != -EAGAIN && rc != -EINTR)
        ended(d);
}

/* ------------------------------------------------------------ life */

/* Before anything is served. */
static void take_grants(struct daemon *d)
{
    AUTO_FD int fd = fd_take(&d->before.grants_fd);
    struct stat st = { .st_size = 0 };
    size_t size = fd >= 0 && fstat(fd, &st) == 0 ? (size_t)st.st_size : 0;
    char *text = size > 0 ? memfile_map(fd, size, true) : NULL;
    unsigned n = text && text[size - 1] == 0 ? grants_import(&d->grants, text, &d->routes, (uint64_t)time(NULL)) : 0;
    limits_take_grants(d);
    if (n > 0)
        log_info("%u granted session%s taken over", n, n == 1 ? "" : "s");
    if (text)
        secret_wipe(text, size);
    memfile_unmap(text, size);
}

int takeover_ready(struct daemon *d)
{
    unsigned left = sock_inherit_end();
    if (d->before.fd < 0)
        return 0;
    take_grants(d);
    if (left)
        log_info("%u listening socket%s of the program before not wanted any more", left, left == 1 ? " is" : "s are");
    d->before.io.ready = on_before;
    int rc = loop_add(&d->loop, &d->before.io, d->before.fd, EPOLLIN);
    if (rc < 0)
        return daemon_fail(d, 71, "cannot take over: %s", err_text(rc));
    d->before.fd = -1;
    if (d->conf->scistream.enable)
        (void)handover_say(d->before.io.fd, "sessions", "arranged", -1);
    (void)handover_say(d->before.io.fd, "ready", PACKAGE_VERSION, -1); /* one that is dead is heard of by the loop */
    return 0;
}

bool takeover_waits(const struct daemon *d) { return d->before.io.fd >= 0; }

static void on_last(struct timer *t)
{
    struct daemon *d = container_of(t, struct daemon, before.last);
    log_warn("pid %u does not end: left to itself", d->service.predecessor_pid);
    loop_stop(&d->loop);
}

void takeover_abort(struct daemon *d)
{
    if (d->before.io.fd >= 0)
        (void)handover_say(d->before.io.fd, "abort", "-", -1);
}

void takeover_stops(struct daemon *d)
{
    if (d->before.io.fd >= 0)
        (void)handover_say(d->before.io.fd, "stops", "-", -1);
}

uint32_t takeover_revoked(void *user, const char *uid)
{
    struct daemon *d = user;
    bool told = d->before.io.fd >= 0 && handover_say(d->before.io.fd, "revoke", uid, -1) == 0;
    return told ? d->service.predecessor_pid : 0;
}

void takeover_last(struct daemon *d)
{
    d->before.last.fire = on_last;
    loop_timer(&d->loop, &d->before.last, LAST_NS);
}

void takeover_end(struct daemon *d)
{
    int fd = d->before.io.fd;
    loop_timer_stop(&d->loop, &d->before.last);
    loop_del(&d->loop, &d->before.io);
    if (fd >= 0)
        close(fd);
    fd_close(&d->before.fd);
    fd_close(&d->before.grants_fd);
}
