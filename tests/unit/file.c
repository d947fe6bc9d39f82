/* The file transport in a channel whose other end is memory: what is read and written, and what each failure says. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "src/core/err.h"
#include "tests/lib/unit.h"
#include "tests/lib/watch.h"

const struct xport_ops *const xport_list[] = { &xport_file_ops, &xport_mem_ops, NULL };

#define RING (64 << 10)
#define SEED 77

static struct rig rig;
static struct watch w;
static struct mem_plan plan;
static char dir[64];

/* ------------------------------------------------------------ what the system calls do */

static unsigned fsyncs;
static int fsync_error, close_error, close_fd = -1;
static bool no_threads;

int __wrap_fsync(int fd);
int __real_close(int fd);
int __wrap_close(int fd);
int __real_pthread_create(void *t, const void *a, void *(*f)(void *), void *arg);
int __wrap_pthread_create(void *t, const void *a, void *(*f)(void *), void *arg);

int __wrap_fsync(int fd UNUSED)
{
    fsyncs++;
    errno = fsync_error;
    return fsync_error ? -1 : 0;
}

int __wrap_close(int fd)
{
    int rc = __real_close(fd);
    if (fd != close_fd)
        return rc;
    close_fd = -1;
    errno = close_error;
    return -1;
}

int __wrap_pthread_create(void *t, const void *a, void *(*f)(void *), void *arg)
{
    return no_threads ? EAGAIN : __real_pthread_create(t, a, f, arg);
}

/* ------------------------------------------------------------ the stage */

static void begin_in(const char *where)
{
    const struct channel_spec s = { .id = 1, .window = RING, .digest = true };
    signal(SIGPIPE, SIG_IGN);
    snprintf(dir, sizeof(dir), "%s/unit_file.XXXXXX", where);
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    rig_open(&rig);
    mem_forget();
    fsyncs = 0;
    fsync_error = close_error = 0;
    plan = (struct mem_plan){ .seed = SEED };
    watch_open(&w, &rig, 0, &s);
}

static void begin(void) { begin_in("/tmp"); }

static char *path(const char *name)
{
    static char text[4][128];
    static unsigned turn;
    char *out = text[turn++ % 4];
    snprintf(out, sizeof(text[0]), "%s/%s", dir, name);
    return out;
}

static void end(void)
{
    static const char *const names[] = { "a", "b", "c", "out", "fifo", "dir" };
    CU_ASSERT_TRUE(watch_close(&w, 0));
    rig_close(&rig);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        remove(path(names[i]));
    CU_ASSERT_EQUAL(rmdir(dir), 0);
}

static void run(void) { CU_ASSERT_TRUE(rig_until(&rig, watch_over, &w)); }

/* A file with bytes [from, to) of the pattern. */
static char *make(const char *name, uint64_t from, uint64_t to)
{
    AUTO_FREE uint8_t *data = mem_zalloc(to - from + 1, 1);
    for (uint64_t i = from; i < to; i++)
        data[i - from] = mem_byte(SEED, i);
    char *p = path(name);
    AUTO_FD int fd = open(p, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CU_ASSERT_EQUAL_FATAL(write(fd, data, to - from), (ssize_t)(to - from));
    return p;
}

static int open_file(enum channel_side side, char *const *files, int fd)
{
    const struct xport_spec s = { .files = files, .fd = fd };
    return watch_end(&w, side, &xport_file_ops, &s, NULL);
}

static void read_files(char *const *files)
{
    open_file(SIDE_SOURCE, files, -1);
    watch_bytes(&w, SIDE_SINK, "sink", &plan);
    run();
}

static void read_fd(int fd)
{
    open_file(SIDE_SOURCE, NULL, fd);
    watch_bytes(&w, SIDE_SINK, "sink", &plan);
}

static void check_read(uint64_t bytes)
{
    CU_ASSERT(w.finished == 1 && w.ended == 1 && !watch_failed(&w));
    CU_ASSERT(plan.moved == bytes && plan.wrong == 0 && w.total == bytes);
}

static void check_failed(enum channel_side side, int rc, const char *why)
{
    CU_ASSERT(w.failed[side] == 1 && w.failed[!side] == 0 && w.finished == 0);
    CU_ASSERT_EQUAL(w.rc[side], rc);
    if (!strstr(w.why[side], why))
        printf("\n  '%s' is not in '%s'\n", why, w.why[side]);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.why[side], why));
}

static void check_content(const char *file, uint64_t bytes)
{
    AUTO_FREE uint8_t *data = mem_zalloc(bytes + 2, 1);
    AUTO_FD int fd = open(file, O_RDONLY);
    CU_ASSERT_EQUAL(read(fd, data, bytes + 1), (ssize_t)bytes);
    unsigned wrong = 0;
    for (uint64_t i = 0; i < bytes; i++)
        wrong += data[i] != mem_byte(SEED, i);
    CU_ASSERT_EQUAL(wrong, 0);
}

/* ------------------------------------------------------------ sources */

static void test_concatenated(void)
{
    static const uint64_t cuts[][4] = { { 0, 0, 0, 0 }, { 0, 1, 1, 2 }, { 0, 0, 100000, 100000 }, { 0, RING, 2 * RING, 3 * RING },
                                        { 0, 5000000, 5000001, 9000000 } };
    for (size_t i = 0; i < 2 * ARRAY_LEN(cuts); i++) {
        const uint64_t *c = cuts[i / 2];
        begin_in(i % 2 ? "/dev/shm" : "/tmp");
        char *files[] = { make("a", c[0], c[1]), make("b", c[1], c[2]), make("c", c[2], c[3]), NULL };
        read_files(files);
        check_read(c[3]);
        end();
    }
}

static void test_slow_sink(void)
{
    begin();
    char *files[] = { make("a", 0, 1000000), NULL };
    plan.part = 3000;
    plan.again = 5;
    plan.lag = true;
    read_files(files);
    check_read(1000000);
    end();
}

static void test_missing(void)
{
    begin();
    char *files[] = { make("a", 0, 10), path("b"), NULL };
    read_files(files);
    check_failed(SIDE_SOURCE, -ENOENT, "cannot open ");
    check_failed(SIDE_SOURCE, -ENOENT, "/b: No such file or directory");
    end();
}

static void test_directory(void)
{
    begin();
    char *files[] = { path("dir"), NULL };
    CU_ASSERT_EQUAL(mkdir(files[0], 0700), 0);
    read_files(files);
    check_failed(SIDE_SOURCE, -EISDIR, "/dir: Is a directory");
    end();
    begin();
    CU_ASSERT_EQUAL(mkdir(path("dir"), 0700), 0);
    CU_ASSERT_EQUAL(open_file(SIDE_SINK, (char *[]){ path("dir"), NULL }, -1), -EISDIR);
    run();
    check_failed(SIDE_SINK, -EISDIR, "cannot open ");
    end();
}

static void test_devices(void)
{
    begin();
    read_files((char *[]){ "/dev/null", NULL });
    check_read(0);
    end();
    begin(); /* always ready, never at an end but by the clock */
    const struct xport_spec s = { .files = (char *[]){ "/dev/zero", "/dev/zero", NULL }, .fd = -1, .stop_after_ns = 30 * NS_PER_MS };
    watch_end(&w, SIDE_SOURCE, &xport_file_ops, &s, NULL);
    open_file(SIDE_SINK, (char *[]){ "/dev/null", NULL }, -1);
    run();
    CU_ASSERT(w.finished == 1 && w.ended == 1 && !watch_failed(&w) && w.total > 0);
    end();
}

static void test_pipe(void)
{
    int p[2];
    begin();
    CU_ASSERT_EQUAL_FATAL(pipe2(p, O_CLOEXEC), 0);
    int copy = fcntl(p[0], F_DUPFD_CLOEXEC, 0);
    read_fd(p[0]);
    for (uint64_t at = 0; at < 30000;) {
        uint8_t data[997];
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = mem_byte(SEED, at + i);
        CU_ASSERT_EQUAL(write(p[1], data, sizeof(data)), (ssize_t)sizeof(data));
        at += sizeof(data);
        while (plan.moved < at)
            loop_turn(&rig.loop, NS_PER_S);
    }
    CU_ASSERT(fcntl(copy, F_GETFL) & O_NONBLOCK); /* while it lasts */
    CU_ASSERT_FALSE(w.ended);
    close(p[1]);
    run();
    check_read(997 * 31);
    CU_ASSERT_FALSE(fcntl(copy, F_GETFL) & O_NONBLOCK);
    close(copy);
    end();
}

/* Opening a FIFO would wait for its writer, and reading it before he came looks like an end. */
static void test_fifo(void)
{
    for (int writes = 0; writes < 2; writes++) {
        begin();
        CU_ASSERT_EQUAL(mkfifo(path("fifo"), 0600), 0);
        CU_ASSERT_EQUAL(open_file(SIDE_SOURCE, (char *[]){ make("a", 0, 100), path("fifo"), NULL }, -1), 0);
        watch_bytes(&w, SIDE_SINK, "sink", &plan);
        for (int i = 0; i < 20; i++)
            loop_turn(&rig.loop, NS_PER_MS);
        CU_ASSERT(plan.moved == 100 && !w.ended);
        int fd = open(path("fifo"), O_WRONLY | O_CLOEXEC | O_NONBLOCK);
        for (uint64_t i = 100; writes && i < 5000; i++)
            CU_ASSERT_EQUAL(write(fd, &(uint8_t){ mem_byte(SEED, i) }, 1), 1);
        CU_ASSERT_EQUAL(close(fd), 0);
        run();
        check_read(writes ? 5000 : 100);
        end();
    }
}

/* A sink that is a FIFO without a reader: opening it must not wait for one. */
static void test_fifo_without_reader(void)
{
    begin();
    CU_ASSERT_EQUAL(mkfifo(path("fifo"), 0600), 0);
    CU_ASSERT_EQUAL(open_file(SIDE_SINK, (char *[]){ path("fifo"), NULL }, -1), -ENXIO);
    run();
    check_failed(SIDE_SINK, -ENXIO, "cannot open ");
    end();
}

/* Half sent, then cut short: an error; made longer: sent as far as it goes. */
static void test_size_changes(void)
{
    static const uint64_t sizes[] = { 0, 100000, 999999, 1000000, 1500000 };
    for (size_t i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
        uint64_t now = sizes[i / 2];
        begin_in(i % 2 ? "/dev/shm" : "/tmp");
        make("a", 0, 1000000);
        CU_ASSERT_EQUAL(open_file(SIDE_SOURCE, (char *[]){ path("a"), NULL }, -1), 0);
        for (int k = 0; k < 20; k++)
            loop_turn(&rig.loop, NS_PER_MS); /* until the ring is full */
        make("a", 0, now); /* truncates it and writes it anew */
        watch_bytes(&w, SIDE_SINK, "sink", &plan);
        run();
        if (now >= 1000000)
            check_read(now);
        else
            check_failed(SIDE_SOURCE, -SST_EIO, " bytes, it had 1000000 when it was opened: was it truncated?");
        end();
    }
}

static void test_stop_after(void)
{
    int p[2];
    begin();
    CU_ASSERT_EQUAL_FATAL(pipe2(p, O_CLOEXEC), 0);
    const struct xport_spec s = { .fd = p[0], .stop_after_ns = 20 * NS_PER_MS };
    watch_end(&w, SIDE_SOURCE, &xport_file_ops, &s, NULL);
    watch_bytes(&w, SIDE_SINK, "sink", &plan);
    run(); /* nobody writes, nobody closes */
    check_read(0);
    close(p[1]);
    end();
}

/* ------------------------------------------------------------ sinks */

static void write_file(char *file, uint64_t bytes, bool sync)
{
    const struct xport_spec s = { .files = (char *[]){ file, NULL }, .fd = -1, .sync = sync };
    plan.bytes = bytes;
    watch_bytes(&w, SIDE_SOURCE, "source", &plan);
    watch_end(&w, SIDE_SINK, &xport_file_ops, &s, NULL);
    run();
}

static void test_write(void)
{
    static const uint64_t sizes[] = { 0, 1, RING - 1, RING, RING + 1, 3000000 };
    for (size_t i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
        begin_in(i % 2 ? "/dev/shm" : "/tmp");
        mode_t mask = umask(027);
        struct stat st;
        plan.part = i < 8 ? 0 : 10001;
        write_file(path("out"), sizes[i / 2], false);
        umask(mask);
        CU_ASSERT(w.finished == 1 && w.total == sizes[i / 2] && fsyncs == 0);
        CU_ASSERT(stat(path("out"), &st) == 0 && (st.st_mode & 07777) == 0640);
        check_content(path("out"), sizes[i / 2]);
        end();
    }
}

static void test_overwrite(void)
{
    begin();
    make("out", 5, 100000);
    write_file(path("out"), 50000, false);
    check_content(path("out"), 50000);
    end();
}

static void test_sync(void)
{
    begin();
    write_file(path("out"), 100000, true);
    CU_ASSERT(w.finished == 1 && fsyncs == 1);
    end();
    begin();
    fsync_error = EIO;
    write_file(path("out"), 100000, true);
    CU_ASSERT_EQUAL(fsyncs, 1);
    check_failed(SIDE_SINK, -EIO, "cannot sync ");
    end();
    begin(); /* what cannot be synced need not be */
    fsync_error = EINVAL;
    write_file(path("out"), 0, true);
    CU_ASSERT(w.finished == 1 && fsyncs == 1);
    end();
}

/* Some systems tell of a full disk only when the file is closed. */
static void test_close_fails(void)
{
    begin();
    close_fd = open(path("out"), O_RDWR | O_CREAT, 0600);
    close_error = EDQUOT;
    plan.bytes = 1000;
    watch_bytes(&w, SIDE_SOURCE, "source", &plan);
    open_file(SIDE_SINK, NULL, close_fd);
    run();
    check_failed(SIDE_SINK, -EDQUOT, "cannot close ");
    end();
}

static void test_full_device(void)
{
    begin();
    write_file("/dev/full", 100000, false);
    check_failed(SIDE_SINK, -ENOSPC, "cannot write /dev/full: No space left on device");
    end();
}

/* A limit on the size of files stands for a full disk: the thread meets it after some of a write was taken. */
static void test_full_disk(void)
{
    static const char *const where[] = { "/tmp", "/dev/shm" };
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_IGN);
    for (size_t i = 0; i < ARRAY_LEN(where); i++) {
        begin_in(where[i]);
        small = (struct rlimit){ 100000, old.rlim_max };
        setrlimit(RLIMIT_FSIZE, &small);
        write_file(path("out"), 1000000, false);
        setrlimit(RLIMIT_FSIZE, &old);
        check_failed(SIDE_SINK, -EFBIG, "cannot write ");
        check_content(path("out"), 100000);
        end();
    }
}

static void test_broken_pipe(void)
{
    int p[2];
    begin();
    CU_ASSERT_EQUAL_FATAL(pipe2(p, O_CLOEXEC), 0);
    plan.bytes = 10000000;
    watch_bytes(&w, SIDE_SOURCE, "source", &plan);
    open_file(SIDE_SINK, NULL, p[1]);
    for (int i = 0; i < 20; i++)
        loop_turn(&rig.loop, 0);
    CU_ASSERT_FALSE(watch_over(&w)); /* full, and asleep */
    close(p[0]);
    run();
    check_failed(SIDE_SINK, -EPIPE, "standard output: Broken pipe");
    end();
}

static void test_slow_reader(void)
{
    int p[2];
    uint64_t got = 0, wrong = 0;
    begin();
    CU_ASSERT_EQUAL_FATAL(pipe2(p, O_CLOEXEC), 0);
    plan.bytes = 700000;
    watch_bytes(&w, SIDE_SOURCE, "source", &plan);
    open_file(SIDE_SINK, NULL, p[1]);
    while (got < plan.bytes) {
        uint8_t data[5000];
        loop_turn(&rig.loop, w.finished ? 0 : NS_PER_S);
        ssize_t n = read(p[0], data, sizeof(data));
        for (ssize_t i = 0; i < n; i++)
            wrong += data[i] != mem_byte(SEED, got++);
    }
    run();
    CU_ASSERT(wrong == 0 && w.finished == 1);
    CU_ASSERT_EQUAL(read(p[0], &got, 1), 0); /* closed, so the reader sees the end */
    close(p[0]);
    end();
}

static void test_no_thread(void)
{
    begin();
    no_threads = true;
    write_file(path("out"), 10, false);
    no_threads = false;
    check_failed(SIDE_SINK, -EAGAIN, "ulimit -u");
    end();
}

/* The channel is aborted while the thread has an operation under way. */
static void test_abort_any_time(void)
{
    for (int i = 0; i < 40; i++) {
        begin();
        char *files[] = { make("a", 0, 500000), NULL }, *out[] = { path("out"), NULL };
        open_file(SIDE_SOURCE, files, -1);
        open_file(SIDE_SINK, out, -1);
        for (int turns = 0; turns < i / 2; turns++)
            loop_turn(&rig.loop, 0);
        CU_ASSERT_TRUE(watch_close(&w, -SST_EINTERRUPTED));
        CU_ASSERT_EQUAL(w.closed, 1);
        end();
    }
}

/* ------------------------------------------------------------ standard input and output */

/* Put fd in the place of std for a while. */
static int swap_std(int std, int fd)
{
    fflush(NULL);
    int saved = fcntl(std, F_DUPFD_CLOEXEC, 10);
    dup2(fd, std);
    return saved;
}

static void swap_back(int std, int saved)
{
    fflush(NULL);
    dup2(saved, std);
    close(saved);
}

static void feed(int fd, uint64_t bytes)
{
    AUTO_FREE uint8_t *data = mem_zalloc(bytes, 1);
    for (uint64_t i = 0; i < bytes; i++)
        data[i] = mem_byte(SEED, i);
    CU_ASSERT_EQUAL(write(fd, data, bytes), (ssize_t)bytes);
}

/* A pipe is opened anew, so the shell's never becomes non-blocking. */
static void test_stdin_pipe(void)
{
    int p[2];
    begin();
    CU_ASSERT_EQUAL_FATAL(pipe2(p, O_CLOEXEC), 0);
    int saved = swap_std(STDIN_FILENO, p[0]);
    open_file(SIDE_SOURCE, (char *[]){ "-", NULL }, -1);
    watch_bytes(&w, SIDE_SINK, "sink", &plan);
    feed(p[1], 5000);
    while (plan.moved < 5000)
        loop_turn(&rig.loop, NS_PER_S);
    CU_ASSERT_FALSE(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK);
    close(p[1]);
    run();
    check_read(5000);
    CU_ASSERT_FALSE(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK);
    swap_back(STDIN_FILENO, saved);
    close(p[0]);
    end();
}

/* A socket cannot be opened anew: it is given back as it was. */
static void test_stdin_socket(void)
{
    int s[2];
    begin();
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
    int saved = swap_std(STDIN_FILENO, s[0]);
    open_file(SIDE_SOURCE, (char *[]){ "-", NULL }, -1);
    watch_bytes(&w, SIDE_SINK, "sink", &plan);
    feed(s[1], 5000);
    while (plan.moved < 5000)
        loop_turn(&rig.loop, NS_PER_S);
    CU_ASSERT_TRUE(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK);
    CU_ASSERT_TRUE(watch_close(&w, -SST_EABORTED));
    CU_ASSERT_FALSE(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK);
    swap_back(STDIN_FILENO, saved);
    close(s[0]);
    close(s[1]);
    end();
}

static void test_stdout_file(void)
{
    begin();
    int fd = open(path("out"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int saved = swap_std(STDOUT_FILENO, fd);
    write_file("-", 200000, false);
    swap_back(STDOUT_FILENO, saved);
    CU_ASSERT(w.finished == 1 && fcntl(fd, F_GETFL) >= 0);
    check_content(path("out"), 200000);
    close(fd);
    end();
}

static void test_stdin_closed(void)
{
    begin();
    int saved = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
    close(STDIN_FILENO);
    read_files((char *[]){ "-", NULL });
    dup2(saved, STDIN_FILENO);
    close(saved);
    check_failed(SIDE_SOURCE, -EBADF, "cannot open standard input: Bad file descriptor");
    end();
}

static void test_not_waited_for(void)
{
    const struct xport_spec s = { .fd = -1 };
    struct xport_answer a;
    begin();
    CU_ASSERT_EQUAL(watch_end(&w, SIDE_SOURCE, &xport_file_ops, &s, &a), -EINVAL);
    run();
    check_failed(SIDE_SOURCE, -EINVAL, "a file cannot be waited for");
    end();
}

/* ------------------------------------------------------------ nothing is left behind */

static void test_footprint(void)
{
    test_concatenated();
    struct footprint before = footprint();
    test_concatenated();
    test_missing();
    test_full_device();
    test_broken_pipe();
    test_stop_after();
    test_abort_any_time();
    test_stdin_socket();
    CU_ASSERT_TRUE(footprint_same(&before));
}

UNIT_MAIN("file", UNIT(test_concatenated), UNIT(test_slow_sink), UNIT(test_missing), UNIT(test_directory), UNIT(test_devices),
          UNIT(test_pipe), UNIT(test_fifo), UNIT(test_fifo_without_reader), UNIT(test_size_changes), UNIT(test_stop_after), UNIT(test_write),
          UNIT(test_overwrite), UNIT(test_sync), UNIT(test_close_fails), UNIT(test_full_device),
          UNIT(test_full_disk), UNIT(test_broken_pipe), UNIT(test_slow_reader), UNIT(test_no_thread),
          UNIT(test_abort_any_time), UNIT(test_stdin_pipe), UNIT(test_stdin_socket), UNIT(test_stdout_file), UNIT(test_stdin_closed),
          UNIT(test_not_waited_for), UNIT(test_footprint))
