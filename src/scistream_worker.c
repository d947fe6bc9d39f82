/* scistream-worker: the data worker that scistreamd runs. It is started with one descriptor, its socket to control; when control is gone, so is it. */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "src/core/log.h"
#include "src/core/process.h"
#include "src/core/secret.h"
#include "src/engine/worker.h"

#define MESSAGE_MAX (64U << 10)

struct process {
    struct loop loop;
    struct io io;
    struct conf *conf;
    struct worker *worker;
    char name[32];
    bool cut;                /* what Init brings did not come with it */
};

static void emit(void *user UNUSED, const FromWorker *m, int fd)
{
    size_t len = scistream__worker__from_worker__get_packed_size(m);
    AUTO_FREE uint8_t *data = mem_zalloc(1, len + 1);
    scistream__worker__from_worker__pack(m, data);
    int rc = packet_send(PROCESS_FD, data, len, &fd, fd >= 0, 0); /* waits: control reads, or is dead. Events of a channel are few. */
    if (rc < 0 && rc != -EPIPE && rc != -ECONNRESET)
        log_error("message to control: %s", strerror(-rc));
}

static void set_log(const struct process *p)
{
    log_setup(p->name, (enum log_level)p->conf->g.log_level, (enum log_target)p->conf->g.log_target, (enum log_format)p->conf->g.log_format);
}

/* Before anything is done with Init: what is logged then goes where control's own lines go, and has the name of this worker. */
static void name_log(struct process *p, const ToWorker *m)
{
    char why[XPORT_WHY];
    if (*p->name || m->what_case != SCISTREAM__WORKER__TO_WORKER__WHAT_INIT)
        return;
    for (size_t i = 0; i < m->init->n_settings; i++)
        if (str_starts(m->init->settings[i], "log_"))
            conf_set(p->conf, m->init->settings[i], why, sizeof(why)); /* the worker complains when it cannot be */
    snprintf(p->name, sizeof(p->name), "scistreamd[worker %u]", m->init->index);
    set_log(p);
}

static void say_cut(const ToWorker *t)
{
    static struct log_gate gate = LOG_GATE;
    const char *what = "a connection that another worker passed on was reset";
    if (t->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_INIT)
        what = "cannot start";
    AUTO_FREE char *door = t->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_DOOR ? mem_printf("%s: not accepted by this worker", t->door->name) : NULL;
    log_gated(&gate, LOG_LEVEL_ERROR, "%s: out of descriptors (RLIMIT_NOFILE): raise LimitNOFILE in the unit (ulimit -n), or lower connections",
              door ? door : what);
}

/* The kernel could not give us all descriptors that came with a message, and took them back: a connection is reset, a door stays shut here, and
 * there is no beginning without what Init brings. */
static void drop_cut(struct process *p, const ToWorker *t, struct packet_fds *with)
{
    say_cut(t);
    while (with->n)
        close(with->fd[--with->n]);
    p->cut |= t->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_INIT;
    if (p->cut)
        loop_stop(&p->loop);
}

/* False: nothing more to read now, or control is gone. */
static bool take_message(struct process *p)
{
    static uint8_t data[MESSAGE_MAX];
    struct packet_fds with;
    ssize_t n = packet_recv(PROCESS_FD, data, sizeof(data), PACKET_FDS, &with);
    if (n == -EAGAIN || n == -EINTR)
        return false;
    if (n <= 0) {
        log_error("control process is gone: ending all channels");
        loop_stop(&p->loop);
        return false;
    }
    ToWorker *t = scistream__worker__to_worker__unpack(NULL, (size_t)n, data);
    if (t) {
        name_log(p, t);
        if (with.cut)
            drop_cut(p, t, &with);
        if (!p->cut)
            worker_handle(p->worker, t, with.fd, with.n);
        if (*p->name && t->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_SETTINGS)
            set_log(p);
    } else {
        log_error("unreadable message of %zd bytes from control", n);
        while (with.n)
            close(with.fd[--with.n]);
    }
    if (t)
        worker_wipe(t);
    secret_wipe(data, (size_t)n);
    scistream__worker__to_worker__free_unpacked(t, NULL);
    return !p->cut && !worker_broken(p->worker);
}

static void on_control(struct io *io, uint32_t events UNUSED)
{
    struct process *p = container_of(io, struct process, io);
    while (take_message(p))
        ;
}

static void on_idle(void *user) { loop_stop(&((struct process *)user)->loop); }

/* Channels end as aborts at both ends; bounded, since a peer may be gone too. */
static void wind_down(struct process *p)
{
    uint64_t until = now_ns() + 2 * NS_PER_S;
    loop_del(&p->loop, &p->io);
    p->loop.stopping = false;
    worker_shut(p->worker, on_idle);
    while (!p->loop.stopping && now_ns() < until)
        loop_turn(&p->loop, 50 * NS_PER_MS);
    if (!p->loop.stopping)
        return;
    for (int i = 0; i < 2; i++) /* what is said of the last that ended was put off */
        loop_turn(&p->loop, 0);
    worker_free(p->worker);
}

static void ignore(int signo UNUSED) {}

int main(void)
{
    static struct process p;
    fd_reserve_stdio();
    prctl(PR_SET_NAME, "scistream-work");
    log_setup("scistreamd[worker]", LOG_LEVEL_INFO, LOG_TARGET_AUTO, LOG_FORMAT_TEXT);
    /* The terminal's SIGINT and systemd's SIGTERM go to control, which stops us by message; SIGPIPE to nobody. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, ignore);
    if (fcntl(PROCESS_FD, F_GETFD) < 0) {
        log_error("this program is started by scistreamd(8), not by hand");
        return 64;
    }
    fcntl(PROCESS_FD, F_SETFD, FD_CLOEXEC);
    p.io.ready = on_control;
    p.conf = conf_new();
    if (loop_init(&p.loop) < 0 || !(p.worker = worker_new(&p.loop, p.conf, emit, &p)) || loop_add(&p.loop, &p.io, PROCESS_FD, EPOLLIN) < 0) {
        log_error("cannot start: %s", strerror(errno));
        return 1;
    }
    loop_run(&p.loop);
    bool failed = p.cut || worker_broken(p.worker);
    wind_down(&p);
    loop_fini(&p.loop);
    conf_free(p.conf);
    return failed;
}
