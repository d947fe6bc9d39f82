/* Worker processes: started by exec with nothing but a socketpair, told and heard by messages, pinged, and replaced when they die.
 *
 * Happy path: spawn -> Init (with the statistics page and the link port) -> Started -> messages -> Stop -> exit.
 * Failures: a worker that exits, is silent for peer_timeout or does not read is killed; its clients are told; another is started in its
 * place with the same link port: at once after a good life, a second later after a short one. The first start must succeed.
 */
#include "ctrl/pool.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/process.h"

#define MESSAGE_MAX (64U << 10)
#define QUEUE_MAX (4096 + BOARD_DOORS) /* a worker is told of all doors when it starts */
#define MESSAGES_A_TURN 64
#define SHORT_LIFE_NS (2 * NS_PER_S)
#define RESTART_LATER_NS NS_PER_S
#define START_NS (30 * NS_PER_S)

/* fd: goes with it, owned; -1: none. door: the number of the one that it is about, or NO_DOOR. */
struct packet { struct list node; int fd; uint32_t door; size_t len; uint8_t data[]; };
#define NO_DOOR UINT32_MAX

struct proc {
    struct pool_worker w;
    struct pool *pool;
    struct io io;
    pid_t pid;                   /* 0: none */
    int link_fd, stats_fd;       /* kept for the next one */
    struct list queue;           /* packets that did not fit into the socket */
    unsigned queued;
    struct timer ping, restart;
    uint64_t born_ns, heard_ns, ping_due_ns, pings;
    char death[96];              /* why we killed it, if we did */
};

struct pool {
    struct loop *loop;
    const struct conf *conf;
    const struct pool_events *ev;
    void *user;
    int program_fd;
    unsigned n, ready;
    bool told_ready, stopping;
    void (*gone)(void *user);
    void *gone_user;
    struct timer grace;
    struct board *board;
    int board_fd;
    struct proc *p;
};

/* ------------------------------------------------------------ packets */

static void free_packet(struct packet *k)
{
    fd_close(&k->fd);
    free(k);
}

static void drop_queue(struct proc *p)
{
    struct list *n;
    while ((n = list_pop(&p->queue)))
        free_packet(list_entry(n, struct packet, node));
    p->queued = 0;
}

static void kill_proc(struct proc *p, const char *why)
{
    if (!p->death[0])
        str_copy(p->death, sizeof(p->death), why);
    if (p->pid > 0)
        kill(p->pid, SIGKILL); /* SIGCHLD brings the rest */
}

/* fd stays the caller's. */
static int queue_packet(struct proc *p, struct packet *k, int fd)
{
    bool full = p->queued >= QUEUE_MAX;
    k->fd = fd >= 0 && !full ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (full)
        kill_proc(p, "it does not read its messages");
    if (full || (fd >= 0 && k->fd < 0)) {
        free_packet(k);
        return -SST_EWORKER;
    }
    list_add_tail(&p->queue, &k->node);
    if (p->queued++ == 0)
        loop_change(p->pool->loop, &p->io, EPOLLIN | EPOLLOUT);
    return 0;
}

static bool is_about(const Scistream__Worker__Undoor *m, uint32_t door)
{
    bool is = m->number == door;
    for (size_t i = 0; i < m->n_more && !is; i++)
        is = m->more[i] == door;
    return is;
}

/* Doors of which a slow worker has not heard yet are not worth telling when they are closed, or those that wait would be ever more, with a descriptor
 * each. True: it has heard of none of them. */
static bool withdraw(struct proc *p, const Scistream__Worker__Undoor *m)
{
    size_t never_told = 0;
    for (struct list *n = p->queue.prev, *prev = n->prev; n != &p->queue && never_told <= m->n_more; n = prev, prev = n->prev) {
        struct packet *k = list_entry(n, struct packet, node);
        if (k->door == NO_DOOR || !is_about(m, k->door))
            continue;
        never_told += k->fd >= 0;
        list_del(n);
        free_packet(k);
        p->queued--;
    }
    return never_told == m->n_more + 1;
}

static int send_one(struct proc *p, const struct packet *k, int fd) { return packet_send(p->io.fd, k->data, k->len, &fd, fd >= 0, MSG_DONTWAIT); }

static int tell(struct pool_worker *w, const ToWorker *m, int fd)
{
    struct proc *p = container_of(w, struct proc, w);
    size_t len = scistream__worker__to_worker__get_packed_size(m);
    if (p->io.fd < 0 || len > MESSAGE_MAX)
        return -SST_EWORKER;
    if (m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_UNDOOR && withdraw(p, m->undoor))
        return 0;
    struct packet *k = mem_zalloc(1, sizeof(*k) + len);
    k->len = len;
    k->fd = -1;
    k->door = m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_DOOR ? m->door->number : NO_DOOR;
    scistream__worker__to_worker__pack(m, k->data);
    int rc = p->queued ? -EAGAIN : send_one(p, k, fd);
    if (rc == -EAGAIN || rc == -ENOBUFS)
        return queue_packet(p, k, fd);
    free_packet(k);
    return rc < 0 ? -SST_EWORKER : 0;
}

static void send_queued(struct proc *p)
{
    while (p->queued) {
        struct packet *k = list_entry(p->queue.next, struct packet, node);
        if (send_one(p, k, k->fd) < 0)
            return;
        list_del(&k->node);
        free_packet(k);
        p->queued--;
    }
    loop_change(p->pool->loop, &p->io, EPOLLIN);
}

/* ------------------------------------------------------------ hearing */

static void started(struct proc *p)
{
    struct pool *pool = p->pool;
    log_debug("worker %u (pid %d) started", p->w.index, (int)p->pid);
    stats_set(&pool->board->row[p->w.index].away, 0);
    if (pool->ev->worker_started)
        pool->ev->worker_started(pool, pool->user, &p->w);
    if (++pool->ready == pool->n && !pool->told_ready) {
        pool->told_ready = true;
        pool->ev->ready(pool, pool->user);
    }
}

/* To another worker; when that is not there, or does not get to reading what it is told, back to the one that had it. */
static void pass_on(struct proc *from, const Scistream__Worker__Pass *m, int fd)
{
    static struct log_gate gate = LOG_GATE;
    Scistream__Worker__Take take = SCISTREAM__WORKER__TAKE__INIT;
    ToWorker t = SCISTREAM__WORKER__TO_WORKER__INIT;
    struct proc *to = m->worker < from->pool->n ? &from->pool->p[m->worker] : from;
    if (!to->w.started || to->queued > 0)
        to = from;
    take.number = m->door;
    t.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_TAKE;
    t.take = &take;
    if (fd < 0 || tell(&to->w, &t, fd) < 0)
        log_gated(&gate, LOG_LEVEL_ERROR, "a connection that worker %u passed on did not get to worker %u, and was reset: %s", from->w.index, to->w.index,
                  fd < 0 ? "its descriptor was lost on the way; out of descriptors (RLIMIT_NOFILE)? raise LimitNOFILE in the unit (ulimit -n)"
                         : "that is dead, or this process is out of descriptors (RLIMIT_NOFILE)");
}

static void on_door(struct pool_worker *w, const FromWorker *m)
{
    struct pool *pool = container_of(w, struct proc, w)->pool;
    if (pool->ev->at_door)
        pool->ev->at_door(pool, pool->user, w, m);
}

static void heard(struct proc *p, const uint8_t *data, size_t len, int fd)
{
    FromWorker *m = scistream__worker__from_worker__unpack(NULL, len, data);
    bool was = p->w.started;
    const char *wrong = m ? pool_worker_heard(&p->w, m) : "a message that cannot be read";
    char why[sizeof(p->death)];
    p->heard_ns = now_ns();
    if (!was && p->w.started)
        started(p);
    if (!wrong && m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_PASS)
        pass_on(p, m->pass, fd);
    if (wrong) {
        snprintf(why, sizeof(why), "it sent %s", wrong);
        log_error("worker %u: %s: it is killed", p->w.index, why);
        kill_proc(p, why);
    }
    scistream__worker__from_worker__free_unpacked(m, NULL);
}

static bool take_one(struct proc *p)
{
    static uint8_t data[MESSAGE_MAX];
    struct packet_fds with = { .n = 0 };
    ssize_t n = p->io.fd >= 0 ? packet_recv(p->io.fd, data, sizeof(data), 1, &with) : 0;
    AUTO_FD int fd = with.n ? with.fd[0] : -1;
    if (n > 0 && !p->death[0]) /* what comes after the nonsense for which it is killed is not believed */
        heard(p, data, (size_t)n, fd);
    return n > 0;
}

static void on_proc(struct io *io, uint32_t events)
{
    struct proc *p = container_of(io, struct proc, io);
    if (events & EPOLLOUT)
        send_queued(p);
    bool ends = events & (EPOLLHUP | EPOLLERR);
    for (int i = 0; (ends || i < MESSAGES_A_TURN) && take_one(p); i++) /* others are to be heard, too */
        ;
    if (p->io.fd >= 0 && (events & (EPOLLHUP | EPOLLERR))) {
        int fd = p->io.fd;
        loop_del(p->pool->loop, &p->io);
        close(fd);
        if (p->pid > 0)
            kill(p->pid, SIGKILL); /* it closed its end: whatever it still does is of no use */
    }
}

/* ------------------------------------------------------------ starting */

static void arm_ping(struct proc *p)
{
    uint64_t delay = p->pool->conf->g.peer_timeout / 4;
    p->ping_due_ns = now_ns() + delay;
    loop_timer(p->pool->loop, &p->ping, delay);
}

/* A round that comes so late was late because we did not run: what the worker said meanwhile is still unread, so its silence is our
 * own pause. It is judged in the next one. */
static bool was_paused(const struct proc *p, uint64_t now) { return now - p->ping_due_ns >= p->pool->conf->g.peer_timeout / 4; }

static void on_ping(struct timer *t)
{
    struct proc *p = container_of(t, struct proc, ping);
    Scistream__Worker__Ping ping = SCISTREAM__WORKER__PING__INIT;
    ToWorker m = SCISTREAM__WORKER__TO_WORKER__INIT;
    uint64_t limit = p->w.started ? p->pool->conf->g.peer_timeout : MAX(START_NS, p->pool->conf->g.peer_timeout);
    uint64_t now = now_ns();
    if (now - p->heard_ns >= limit && !was_paused(p, now)) {
        kill_proc(p, "it does not answer");
        return;
    }
    ping.number = ++p->pings;
    m.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_PING;
    m.ping = &ping;
    if (p->w.started)
        tell(&p->w, &m, -1);
    arm_ping(p);
}

static int send_init(struct proc *p)
{
    Scistream__Worker__Init init = SCISTREAM__WORKER__INIT__INIT;
    ToWorker m = SCISTREAM__WORKER__TO_WORKER__INIT;
    uint8_t data[MESSAGE_MAX];
    char **settings = conf_export(p->pool->conf);
    const int fds[] = { p->stats_fd, p->pool->board_fd, p->link_fd };
    init.index = p->w.index;
    init.settings = settings;
    init.has_link = p->link_fd >= 0;
    while (settings[init.n_settings])
        init.n_settings++;
    m.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_INIT;
    m.init = &init;
    size_t len = scistream__worker__to_worker__get_packed_size(&m);
    if (len <= sizeof(data))
        scistream__worker__to_worker__pack(&m, data);
    for (char **s = settings; *s; s++)
        free(*s);
    free(settings);
    return len <= sizeof(data) ? packet_send(p->io.fd, data, len, fds, init.has_link ? 3 : 2, MSG_DONTWAIT) : -EMSGSIZE;
}

static void close_proc(struct proc *p)
{
    int fd = p->io.fd;
    loop_del(p->pool->loop, &p->io);
    if (fd >= 0)
        close(fd);
    loop_timer_stop(p->pool->loop, &p->ping);
    drop_queue(p);
    p->pid = 0;
}

/* At once, and without a word to anybody: its slot is free afterwards. */
static void end_proc(struct proc *p)
{
    if (p->pid > 0) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
    }
    close_proc(p);
}

/* The program is run by its descriptor: after the change of user its path may not be readable any more. libucx reads these three
 * variables in its constructor; everything else is set by the ucx transport. */
static int spawn(struct proc *p, int fd)
{
    char path[32], name[] = "scistream-worker";
    char *argv[] = { name, NULL };
    snprintf(path, sizeof(path), "/proc/self/fd/%d", p->pool->program_fd);
    setenv("UCX_HANDLE_ERRORS", "none", 1);
    setenv("UCX_ERROR_SIGNALS", "", 1);
    setenv("UCX_LOG_LEVEL", "error", 0);
    return process_start(path, argv, fd, &p->pid);
}

static int start_proc(struct proc *p)
{
    int sv[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
        return -errno;
    int rc = spawn(p, sv[1]);
    close(sv[1]);
    if (rc == 0)
        rc = loop_add(p->pool->loop, &p->io, sv[0], EPOLLIN);
    if (rc < 0)
        close(sv[0]);
    if (rc == 0)
        rc = send_init(p);
    if (rc == -EPIPE || rc == -ECONNRESET) /* it has ended already: SIGCHLD says how */
        rc = 0;
    if (rc < 0) {
        end_proc(p);
        return rc;
    }
    p->born_ns = p->heard_ns = now_ns();
    p->w.starts++;
    p->death[0] = 0;
    arm_ping(p);
    return 0;
}

static void on_restart(struct timer *t)
{
    struct proc *p = container_of(t, struct proc, restart);
    int rc = p->pool->stopping ? 0 : start_proc(p);
    if (rc < 0) {
        log_error("worker %u: cannot be started again: %s; next try in a second", p->w.index, err_text(rc));
        loop_timer(p->pool->loop, &p->restart, RESTART_LATER_NS);
    }
}

/* ------------------------------------------------------------ dying */

/* The kernel has reset both sides of each: their sockets linger not. */
static void lose_relays(struct proc *p)
{
    struct board_row *row = &p->pool->board->row[p->w.index];
    unsigned long long n = stats_get(&row->relays);
    if (n)
        log_error("worker %u relayed %llu TCP connection%s: reset", p->w.index, n, n == 1 ? "" : "s");
    board_clear_row(p->pool->board, row);
    stats_set(&row->away, 1);
}

static void describe_death(const struct proc *p, int status, char *out, size_t size)
{
    if (p->death[0])
        snprintf(out, size, "was killed because %s", p->death);
    else if (WIFSIGNALED(status))
        snprintf(out, size, "was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(out, size, "exited with status %d", WEXITSTATUS(status));
}

static bool all_gone(const struct pool *pool)
{
    for (unsigned i = 0; i < pool->n; i++)
        if (pool->p[i].pid)
            return false;
    return true;
}

static void bury(struct proc *p, int status)
{
    struct pool *pool = p->pool;
    char how[128];
    AUTO_FREE char *why = NULL;
    bool had_started = p->w.started;
    uint64_t age = now_ns() - p->born_ns;
    int pid = (int)p->pid;
    enum pool_death cause = p->death[0] ? POOL_KILLED : WIFSIGNALED(status) ? POOL_SIGNALLED : POOL_EXITED;
    describe_death(p, status, how, sizeof(how));
    why = mem_printf("gateway worker %u %s", p->w.index, how);
    p->pid = 0; /* it is reaped: the number may be somebody else's by now, and is not to be killed */
    while (take_one(p)) /* what it said before */
        ;
    close_proc(p);
    lose_relays(p);
    pool_worker_died(&p->w, why);
    if (pool->stopping) {
        if (all_gone(pool))
            pool->gone(pool->gone_user);
        return;
    }
    log_error("worker %u (pid %d) %s after %llu ms; a new one is started", p->w.index, pid, how, (unsigned long long)(age / NS_PER_MS));
    pool->ready -= had_started;
    p->w.deaths[cause]++;
    if (pool->ev->died)
        pool->ev->died(pool, pool->user, &p->w, how);
    stats_clear(p->stats_fd);
    if (!pool->told_ready && !had_started)
        pool->ev->broken(pool, pool->user, why);
    else
        loop_timer(pool->loop, &p->restart, age < SHORT_LIFE_NS ? RESTART_LATER_NS : 0);
}

void pool_reap(struct pool *pool)
{
    for (unsigned i = 0; i < pool->n; i++) {
        struct proc *p = &pool->p[i];
        int status;
        if (p->pid > 0 && waitpid(p->pid, &status, WNOHANG) == p->pid) {
            if (p->io.fd >= 0) /* its last words */
                on_proc(&p->io, 0);
            bury(p, status);
        }
    }
}

static void on_grace(struct timer *t)
{
    struct pool *pool = container_of(t, struct pool, grace);
    for (unsigned i = 0; i < pool->n; i++)
        kill_proc(&pool->p[i], "it did not stop in time");
}

void pool_stop(struct pool *pool, void (*gone)(void *user), void *user)
{
    Scistream__Worker__Stop stop = SCISTREAM__WORKER__STOP__INIT;
    ToWorker m = SCISTREAM__WORKER__TO_WORKER__INIT;
    m.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_STOP;
    m.stop = &stop;
    pool->stopping = true;
    pool->gone = gone;
    pool->gone_user = user;
    for (unsigned i = 0; i < pool->n; i++)
        tell(&pool->p[i].w, &m, -1);
    loop_timer(pool->loop, &pool->grace, 2 * NS_PER_S);
    if (all_gone(pool))
        gone(user);
}

void pool_settings(struct pool *pool, char **settings)
{
    Scistream__Worker__Settings s = SCISTREAM__WORKER__SETTINGS__INIT;
    ToWorker m = SCISTREAM__WORKER__TO_WORKER__INIT;
    m.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_SETTINGS;
    m.settings = &s;
    s.settings = settings;
    s.n_settings = strv_len(settings);
    for (unsigned i = 0; i < pool->n && s.n_settings; i++)
        tell(&pool->p[i].w, &m, -1);
}

/* ------------------------------------------------------------ life */

static int init_proc(struct pool *pool, unsigned i, int link_fd)
{
    struct proc *p = &pool->p[i];
    pool_worker_init(&p->w, i);
    p->pool = pool;
    p->io.fd = -1;
    p->io.ready = on_proc;
    p->link_fd = link_fd;
    p->w.send = tell;
    p->w.at_door = on_door;
    p->ping.fire = on_ping;
    p->restart.fire = on_restart;
    list_init(&p->queue);
    p->w.stats = stats_create(&p->stats_fd);
    return p->w.stats ? start_proc(p) : -errno;
}

int pool_start(struct loop *l, const struct pool_config *c, const struct pool_events *ev, void *user, struct pool **out)
{
    struct pool *pool = mem_zalloc(1, sizeof(*pool));
    pool->loop = l;
    pool->conf = c->conf;
    pool->ev = ev;
    pool->user = user;
    pool->grace.fire = on_grace;
    pool->p = mem_zalloc(c->n, sizeof(*pool->p));
    pool->program_fd = c->program_fd;
    pool->board_fd = -1;
    pool->board = board_create(&pool->board_fd);
    int rc = pool->board ? 0 : -errno;
    for (unsigned i = 0; i < c->n && rc == 0; i++) {
        stats_set(&pool->board->workers, i + 1);
        pool->n = i + 1;
        rc = init_proc(pool, i, fd_take(&c->link_fds[i]));
    }
    if (rc == 0)
        *out = pool;
    else
        pool_free(pool);
    return rc;
}

static void free_proc(struct proc *p)
{
    end_proc(p);
    loop_timer_stop(p->pool->loop, &p->restart);
    fd_close(&p->link_fd);
    fd_close(&p->stats_fd);
    stats_unmap(p->w.stats);
    pool_worker_fini(&p->w);
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    loop_timer_stop(pool->loop, &pool->grace);
    for (unsigned i = 0; i < pool->n; i++)
        free_proc(&pool->p[i]);
    fd_close(&pool->program_fd);
    fd_close(&pool->board_fd);
    board_unmap(pool->board);
    free(pool->p);
    free(pool);
}

/* What a worker has to do: channels of control and relays of its own. */
static uint64_t load_of(const struct pool *pool, const struct pool_worker *w) { return w->channels + stats_get(&pool->board->row[w->index].relays); }

struct pool_worker *pool_pick(struct pool *pool)
{
    struct pool_worker *best = NULL;
    for (unsigned i = 0; i < pool->n; i++) {
        struct pool_worker *w = &pool->p[i].w;
        if (w->started && (!best || load_of(pool, w) < load_of(pool, best)))
            best = w;
    }
    return best;
}

struct board *pool_board(struct pool *pool) { return pool->board; }
unsigned pool_size(const struct pool *pool) { return pool->n; }
struct pool_worker *pool_at(struct pool *pool, unsigned i) { return &pool->p[i].w; }
