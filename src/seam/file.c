/* The file transport: regular files, pipes, terminals, devices; as a source several, one after the other like cat.
 *
 * Happy path, source: connect opens the first file -> fill reads -> end of the last file ends the ring.
 * Sink: connect opens -> drain writes and releases -> shut syncs and closes, since close and fsync may be the first to tell of a full disk.
 * A slow disk must not silence the loop: of regular files only what the page cache holds is read at once (RWF_NOWAIT), everything else,
 * writes too, goes to the helper thread, one operation of a quarter of the ring at a time, so that the other side of the ring works
 * meanwhile. Files in memory (tmpfs) are read and written at once.
 * Failures: open, read, write, fsync, close, a regular file that shrank: the flow fails with the path and the system's reason.
 */
#include <fcntl.h>
#include <stdio.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>

#include "src/seam/xport.h"

#define OP_MAX (1U << 20)
#define DIRECT_MAX (256U << 10)

struct file {
    struct xport x;
    char **paths; /* heap copies, NULL-terminated */
    unsigned at;  /* of the path that is open */
    int fd;
    struct io io;
    bool waitable;    /* epoll takes it; else it is always ready */
    bool threaded;    /* operations may block: they go to the helper thread */
    bool try_cache;   /* but reads are tried without blocking first */
    bool ready;       /* no EAGAIN since the last event */
    bool awaits_writer; /* a FIFO opened by name */
    bool restore;     /* O_NONBLOCK must be taken off a description that others share */
    bool sync, synced, stop;
    uint64_t from, size, taken; /* a regular file to read: where it began, its size then, what was read since; size 0: not known */
    struct timer stopper;
    struct job job;
    struct { uint8_t *p; size_t n; ssize_t got; int err; bool write, sync; } op; /* the job's: nobody else touches it while job.queued */
};

static struct file *file_of(struct xport *x) { return container_of(x, struct file, x); }
static const char *path_of(const struct file *f)
{
    const char *p = f->paths && f->paths[f->at] ? f->paths[f->at] : "-";
    return !str_eq(p, "-") ? p : f->x.in ? "standard input" : "standard output";
}

static int fail_io(struct file *f, const char *verb, int err)
{
    return xport_fail(&f->x, -err, "cannot %s %s: %s", verb, path_of(f), strerror(err));
}

/* ------------------------------------------------------------ open and close */

static void on_ready(struct io *io, uint32_t events UNUSED)
{
    struct file *f = container_of(io, struct file, io);
    f->ready = true;
    xport_kick(&f->x);
}

/* A description of our own, so that O_NONBLOCK does not surprise the shell that gave us its terminal or pipe. */
static int own_stdio(struct file *f)
{
    char link[32];
    int std = f->x.in ? STDIN_FILENO : STDOUT_FILENO;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", std);
    struct stat st;
    if (fstat(std, &st) < 0)
        return -1;
    if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        int fd = open(link, (f->x.in ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd >= 0)
            return fd;
    }
    return fcntl(std, F_DUPFD_CLOEXEC, 3);
}

/* Nothing here may wait: neither for the writer of a FIFO, nor for its reader. */
static int open_path(struct file *f)
{
    const char *p = f->paths && f->paths[f->at] ? f->paths[f->at] : "-";
    f->awaits_writer = false;
    if (str_eq(p, "-"))
        return own_stdio(f);
    if (!f->x.in)
        return open(p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    struct stat st;
    f->awaits_writer = stat(p, &st) == 0 && S_ISFIFO(st.st_mode);
    return open(p, O_RDONLY | O_CLOEXEC | O_NOCTTY | (f->awaits_writer ? O_NONBLOCK : 0));
}

/* A FIFO that nobody has opened for writing reads as at its end, but hangs up only when a writer came and left. */
static bool writer_to_come(const struct file *f)
{
    struct pollfd p = { .fd = f->fd, .events = POLLIN };
    return f->awaits_writer && poll(&p, 1, 0) >= 0 && p.revents != POLLHUP;
}

static bool in_memory(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* sysfs says 4096 of every file. */
static bool size_is_real(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) < 0 || fs.f_type != SYSFS_MAGIC;
}

static void remember_size(struct file *f, const struct stat *st)
{
    off_t at = lseek(f->fd, 0, SEEK_CUR);
    f->taken = f->size = 0;
    f->from = at > 0 ? (uint64_t)at : 0;
    if (S_ISREG(st->st_mode) && at >= 0 && size_is_real(f->fd))
        f->size = (uint64_t)st->st_size;
}

static int use_fd(struct file *f, int fd)
{
    struct stat st;
    f->fd = fd;
    if (fstat(fd, &st) < 0)
        return fail_io(f, "look at", errno);
    if (S_ISDIR(st.st_mode))
        return fail_io(f, "read", EISDIR);
    if (f->x.in)
        remember_size(f, &st);
    f->threaded = (S_ISREG(st.st_mode) && !in_memory(fd)) || S_ISBLK(st.st_mode);
    f->try_cache = f->threaded && f->x.in;
    f->ready = true;
    f->waitable = !f->threaded && loop_add(f->x.env->loop, &f->io, fd, EPOLLET | (f->x.in ? EPOLLIN : EPOLLOUT)) == 0;
    int flags = fcntl(fd, F_GETFL);
    if (f->waitable && !(flags & O_NONBLOCK)) {
        f->restore = true;
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
    return 0;
}

static int open_current(struct file *f)
{
    int fd = open_path(f);
    return fd < 0 ? fail_io(f, "open", errno) : use_fd(f, fd);
}

static int close_current(struct file *f)
{
    if (f->fd < 0)
        return 0;
    if (f->restore)
        fcntl(f->fd, F_SETFL, fcntl(f->fd, F_GETFL) & ~O_NONBLOCK);
    f->restore = false;
    loop_del(f->x.env->loop, &f->io);
    return close(fd_take(&f->fd)) < 0 ? -errno : 0;
}

static void on_stop(struct timer *t)
{
    struct file *f = container_of(t, struct file, stopper);
    f->stop = true;
    xport_kick(&f->x);
}

static int file_connect(struct xport *x, const struct xport_spec *s)
{
    struct file *f = file_of(x);
    x->state = XPORT_OPENING;
    f->paths = strv_copy(s->files);
    f->sync = s->sync;
    if (s->stop_after_ns)
        loop_timer(x->env->loop, &f->stopper, s->stop_after_ns);
    int rc = s->fd >= 0 ? use_fd(f, s->fd) : open_current(f);
    if (rc == 0)
        xport_set_up(x);
    return rc;
}

static int file_accept(struct xport *x, const struct xport_spec *s UNUSED, struct xport_answer *a UNUSED)
{
    return xport_fail(x, -EINVAL, "a file cannot be waited for");
}

/* ------------------------------------------------------------ operations in the helper thread */

static void op_run(struct job *j)
{
    struct file *f = container_of(j, struct file, job);
    f->op.got = 0;
    f->op.err = 0;
    while (f->op.err == 0 && (size_t)f->op.got < f->op.n) {
        ssize_t k = f->op.write ? write(f->fd, f->op.p + f->op.got, f->op.n - (size_t)f->op.got) : read(f->fd, f->op.p, f->op.n);
        if (k < 0 && errno != EINTR)
            f->op.err = errno;
        if (k > 0)
            f->op.got += k;
        if (k >= 0 && !f->op.write)
            break;
    }
    if (f->op.sync && fsync(f->fd) < 0 && errno != EINVAL && errno != EROFS) /* EINVAL: a special file that cannot be synced */
        f->op.err = errno;
}

static int op_start(struct file *f, uint8_t *p, size_t n, bool write)
{
    f->op.p = p;
    f->op.n = n;
    f->op.write = write;
    if (offload_submit(f->x.env->offload, &f->job) < 0)
        return xport_fail(&f->x, -EAGAIN, "cannot start a thread for file operations: raise the limit on tasks (ulimit -u)");
    return 0;
}

static int next_or_end(struct file *f)
{
    int rc = close_current(f);
    if (rc < 0)
        return fail_io(f, "close", -rc);
    if (!f->stop && f->paths[f->at] && f->paths[f->at + 1]) {
        f->at++;
        return open_current(f);
    }
    ring_end(f->x.in, f->x.in->put);
    return 0;
}

static void took(struct file *f, size_t n)
{
    f->taken += n;
    ring_commit(f->x.in, n);
}

/* A file that grew is sent as far as it goes, like cat; one that shrank is not what was asked for. */
static int at_end(struct file *f)
{
    if (f->from + f->taken >= f->size)
        return next_or_end(f);
    return xport_fail(&f->x, -SST_EIO, "%s ended after %llu bytes, it had %llu when it was opened: was it truncated?", path_of(f),
                      (unsigned long long)(f->from + f->taken), (unsigned long long)f->size);
}

static void source_done(struct file *f)
{
    if (f->op.err)
        fail_io(f, "read", f->op.err);
    else if (f->op.got == 0)
        at_end(f);
    else
        took(f, (size_t)f->op.got);
}

static void sink_done(struct file *f)
{
    if (f->op.err)
        fail_io(f, f->op.sync ? "sync" : "write", f->op.err);
    else if (f->op.sync)
        f->synced = true;
    else
        ring_release_to(f->x.out, f->x.out->sub);
}

static void op_done(struct job *j)
{
    struct file *f = container_of(j, struct file, job);
    if (f->x.state == XPORT_CLOSING) {
        close_current(f);
        xport_bye(&f->x);
        return;
    }
    if (f->x.in)
        source_done(f);
    else
        sink_done(f);
    xport_kick(&f->x);
}

/* ------------------------------------------------------------ the seam */

static size_t op_size(const struct ring *r) { return MIN(OP_MAX, MAX(r->cap / 4, 4096)); }

/* read or write at once; -EAGAIN when it would block. */
static ssize_t direct(struct file *f, uint8_t *p, size_t n)
{
    if (!f->ready)
        return -EAGAIN;
    n = MIN(n, DIRECT_MAX);
    ssize_t k = f->x.in ? read(f->fd, p, n) : write(f->fd, p, n);
    if (k >= 0)
        return k;
    if (errno != EAGAIN && errno != EINTR)
        return fail_io(f, f->x.in ? "read" : "write", errno);
    f->ready = errno == EINTR;
    return -EAGAIN;
}

/* What is in the page cache, at once; -EAGAIN: nothing, or this file system cannot tell (then it is not asked again). */
static ssize_t read_cached(struct file *f, uint8_t *p, size_t n)
{
    struct iovec iov = { p, MIN(n, DIRECT_MAX) };
    ssize_t k = f->try_cache ? preadv2(f->fd, &iov, 1, -1, RWF_NOWAIT) : -1;
    if (k > 0)
        return k;
    if (k < 0 && f->try_cache && errno != EAGAIN && errno != EINTR)
        f->try_cache = false; /* EOPNOTSUPP, or an error that the thread will meet and report */
    return -EAGAIN;
}

static int fill_threaded(struct file *f, struct ring *r, size_t room)
{
    ssize_t n = read_cached(f, ring_at(r, r->put), room);
    if (n > 0) {
        took(f, (size_t)n);
        return 0;
    }
    if (room < op_size(r)) /* a few bytes of room are not worth a trip to the thread */
        return -EAGAIN;
    return op_start(f, ring_at(r, r->put), op_size(r), false) < 0 ? f->x.rc : -EAGAIN;
}

static int file_fill(struct xport *x, struct ring *r)
{
    struct file *f = file_of(x);
    size_t room = ring_room(r);
    if (f->job.queued)
        return -EAGAIN;
    if (f->stop)
        return next_or_end(f);
    if (room == 0)
        return -EAGAIN;
    if (f->threaded)
        return fill_threaded(f, r, room);
    ssize_t n = direct(f, ring_at(r, r->put), room);
    if (n < 0)
        return (int)n;
    if (n == 0 && writer_to_come(f)) {
        f->ready = false;
        return -EAGAIN;
    }
    if (n == 0)
        return at_end(f);
    took(f, (size_t)n);
    return 0;
}

static int file_drain(struct xport *x, struct ring *r)
{
    struct file *f = file_of(x);
    size_t n = MIN(ring_waiting(r), op_size(r));
    if (f->job.queued)
        return -EAGAIN;
    if (f->threaded) {
        int rc = op_start(f, ring_at(r, r->sub), n, true);
        if (rc == 0)
            ring_submit(r, n);
        return rc;
    }
    ssize_t k = direct(f, ring_at(r, r->sub), n);
    if (k < 0)
        return (int)k;
    ring_submit(r, (size_t)k);
    ring_release_to(r, r->sub);
    return 0;
}

static int file_shut(struct xport *x, struct ring *r)
{
    struct file *f = file_of(x);
    if (f->job.queued || !ring_all_released(r))
        return -EAGAIN;
    if (f->threaded && f->sync && !f->synced) {
        f->op.sync = true;
        int rc = op_start(f, NULL, 0, true);
        return rc < 0 ? rc : -EAGAIN;
    }
    int rc = close_current(f);
    return rc < 0 ? fail_io(f, "close", -rc) : 0;
}

static void file_close(struct xport *x, int rc UNUSED)
{
    struct file *f = file_of(x);
    loop_timer_stop(x->env->loop, &f->stopper);
    strv_free(f->paths);
    f->paths = NULL;
    if (f->job.queued)
        return; /* op_done goes on */
    close_current(f);
    xport_bye(x);
}

static struct xport *file_create(struct xport_env *env)
{
    struct file *f = mem_zalloc(1, sizeof(*f));
    xport_init(&f->x, &xport_file_ops, env);
    f->fd = f->io.fd = -1;
    f->io.ready = on_ready;
    f->stopper.fire = on_stop;
    f->job.run = op_run;
    f->job.done = op_done;
    return &f->x;
}

static int file_listen(struct xport_env *env UNUSED, char *why UNUSED, size_t n UNUSED) { return 0; }
static void file_unlisten(struct xport_env *env UNUSED) {}
static int file_progress(struct xport *x UNUSED) { return 0; }
static int file_arm(struct xport *x UNUSED) { return 0; }
static enum stats_wait file_blocked(const struct xport *x UNUSED) { return WAIT_SINK; }

const struct xport_ops xport_file_ops = {
    .name = "file", .kind = XPORT_FILE, .listen = file_listen, .unlisten = file_unlisten, .create = file_create,
    .connect = file_connect, .accept = file_accept, .mem_add = xport_take_ring, .fill = file_fill, .drain = file_drain,
    .shut = file_shut, .progress = file_progress, .arm = file_arm, .close = file_close, .blocked = file_blocked,
};
