/* The pool of workers against workers that are not what they should be: this program, started again by the pool, plays one. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "ctrl/pool.h"
#include "src/core/digest.h"
#include "src/core/err.h"
#include "tests/lib/capture.h"
#include "tests/lib/unit.h"

#define CHANNEL (5 * STATS_CHANNELS + 3)
#define SAID "SCISTREAM_TEST_WORKER" /* what the worker that we play does wrong */

typedef Scistream__Worker__Side Side;

/* ------------------------------------------------------------ the worker */

static void say_with(const FromWorker *m, const int *fds, size_t n_fds)
{
    union { char buf[CMSG_SPACE(4 * sizeof(int))]; struct cmsghdr align; } c = { .buf = { 0 } };
    uint8_t data[3000];
    struct iovec iov = { data, scistream__worker__from_worker__pack(m, data) };
    struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (n_fds) {
        h.msg_control = c.buf;
        h.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        *CMSG_FIRSTHDR(&h) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n_fds * sizeof(int)) };
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&h)), fds, n_fds * sizeof(int));
    }
    if (sendmsg(3, &h, MSG_NOSIGNAL) < 0)
        _exit(1);
}

static void say(const FromWorker *m) { say_with(m, NULL, 0); }

static void say_started(void)
{
    Scistream__Worker__Started s = SCISTREAM__WORKER__STARTED__INIT;
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_STARTED;
    m.started = &s;
    say(&m);
}

static void say_pong(uint64_t number)
{
    Scistream__Worker__Pong p = SCISTREAM__WORKER__PONG__INIT;
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    p.number = number;
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_PONG;
    m.pong = &p;
    say(&m);
}

static void say_failed(uint64_t channel, int side)
{
    Scistream__Worker__Failed f = SCISTREAM__WORKER__FAILED__INIT;
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    f.channel = channel;
    f.side = (Side)side;
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_FAILED;
    m.failed = &f;
    say(&m);
}

static int take_back = -1; /* our end of what we passed to ourselves */
static uint64_t take_back_channel;

/* Hands one end of a pair to another worker, who writes into it; then all was well: one message about the channel. */
static void say_pass(uint64_t channel, unsigned worker)
{
    Scistream__Worker__Pass p = SCISTREAM__WORKER__PASS__INIT;
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    int sv[2];
    char byte = 0;
    p.door = 7;
    p.worker = worker;
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_PASS;
    m.pass = &p;
    say(&m); /* its descriptor was lost on the way */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        _exit(1);
    say_with(&m, &sv[1], 1);
    close(sv[1]);
    if (worker == 0 || worker == 77) { /* back to us; there is no 77 */
        take_back = sv[0];
        take_back_channel = channel;
        return;
    }
    say_failed(channel, read(sv[0], &byte, 1) == 1 && byte == 7 ? 1 : 70000);
    close(sv[0]);
}

static void taken_back(int fd, unsigned door)
{
    char byte = (char)door;
    if (fd < 0 || write(fd, &byte, 1) != 1)
        _exit(1);
    close(fd);
    if (take_back >= 0)
        say_failed(take_back_channel, read(take_back, &byte, 1) == 1 && byte == 7 ? 1 : 70000);
    take_back = -1;
}

/* More descriptors than one, with messages that should have none. */
static void say_descriptors(void)
{
    Scistream__Worker__Pong p = SCISTREAM__WORKER__PONG__INIT;
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    const int fds[4] = { STDERR_FILENO, STDERR_FILENO, STDERR_FILENO, STDERR_FILENO };
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_PONG;
    m.pong = &p;
    for (size_t i = 0; i < 40; i++)
        say_with(&m, fds, 1 + i % 4);
}

static void say_door(void)
{
    Scistream__Worker__Came c = SCISTREAM__WORKER__CAME__INIT;
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    c.door = 7;
    c.ticket = 99;
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_CAME;
    m.came = &c;
    say(&m);
}

static void answer_open(uint64_t channel, const char *fault)
{
    if (str_eq(fault, "side"))
        say_failed(channel, 70000);
    if (str_eq(fault, "garbage") && send(3, "\377\377\377", 3, 0) < 0)
        _exit(1);
    if (str_eq(fault, "descriptors"))
        say_descriptors();
    if (str_eq(fault, "door"))
        say_door();
    if (str_starts(fault, "pass "))
        say_pass(channel, (unsigned)atoi(fault + 5));
    else
        say_failed(channel, 1); /* where it said nonsense: sense again, too late */
}

static void answer(const ToWorker *t, const char *fault, int fd)
{
    switch (t->what_case) {
    case SCISTREAM__WORKER__TO_WORKER__WHAT_INIT: say_started(); break;
    case SCISTREAM__WORKER__TO_WORKER__WHAT_OPEN: answer_open(t->open->channel, fault); break;
    case SCISTREAM__WORKER__TO_WORKER__WHAT_TAKE: taken_back(fd, t->take->number); break;
    case SCISTREAM__WORKER__TO_WORKER__WHAT_PING:
        if (!str_eq(fault, "mute"))
            say_pong(t->ping->number);
        break;
    case SCISTREAM__WORKER__TO_WORKER__WHAT_STOP: _exit(0);
    default: break;
    }
}

static ssize_t hear(uint8_t *data, size_t size, int *fd)
{
    union { char buf[CMSG_SPACE(3 * sizeof(int))]; struct cmsghdr align; } c = { .buf = { 0 } };
    struct iovec iov = { data, size };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.buf, .msg_controllen = sizeof(c.buf) };
    ssize_t n = recvmsg(3, &m, 0);
    *fd = -1;
    if (n > 0 && CMSG_FIRSTHDR(&m))
        memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(*fd));
    return n;
}

static void be_worker(const char *fault)
{
    uint8_t data[64 << 10];
    ssize_t n;
    int fd;
    while ((n = hear(data, sizeof(data), &fd)) > 0) {
        ToWorker *t = scistream__worker__to_worker__unpack(NULL, (size_t)n, data);
        answer(t, fault, fd);
        scistream__worker__to_worker__free_unpacked(t, NULL);
    }
    sleep(str_eq(fault, "stubborn") ? 20 : 0);
    _exit(0);
}

__attribute__((constructor)) static void begin(int argc, char **argv)
{
    if (argc == 1 && str_eq(argv[0], "scistream-worker"))
        be_worker(getenv(SAID));
}

/* ------------------------------------------------------------ calls that fail once */

static bool fail_add, fail_send;
static unsigned sent;
int __real_loop_add(struct loop *l, struct io *io, int fd, uint32_t events);
int __wrap_loop_add(struct loop *l, struct io *io, int fd, uint32_t events);
int __wrap_loop_add(struct loop *l, struct io *io, int fd, uint32_t events)
{
    bool now = fail_add;
    fail_add = false;
    return now ? -ENOSPC : __real_loop_add(l, io, fd, events);
}

ssize_t __real_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
    sent += !fail_send;
    if (!fail_send)
        return __real_sendmsg(fd, m, flags);
    fail_send = false;
    errno = ENOBUFS;
    return -1;
}

/* ------------------------------------------------------------ the stage */

static struct loop loop;
static struct conf *conf;
static struct pool *pool;
static struct pool_client client;
static bool is_ready;
static unsigned messages, deaths;
static char death[200];

static void on_ready(struct pool *p UNUSED, void *user UNUSED) { is_ready = true; }
static void on_broken(struct pool *p UNUSED, void *user UNUSED, const char *why) { printf("\n  broken: %s", why); }
static void on_child(struct loop *l UNUSED, int signo UNUSED) { pool_reap(pool); }
static void on_message(struct pool_client *c UNUSED, const FromWorker *m UNUSED) { messages++; }

static void on_died(struct pool_client *c UNUSED, const char *why)
{
    deaths++;
    str_copy(death, sizeof(death), why);
}

static void turn_for(uint64_t ns)
{
    for (uint64_t until = now_ns() + ns; now_ns() < until;)
        loop_turn(&loop, 5 * NS_PER_MS);
}

static bool turn_until(const bool *done, uint64_t ns)
{
    for (uint64_t until = now_ns() + ns; !*done && now_ns() < until;)
        loop_turn(&loop, 5 * NS_PER_MS);
    return *done;
}

static unsigned at_doors, door_worker;
static uint64_t ticket;

static void on_at_door(struct pool *p UNUSED, void *user UNUSED, struct pool_worker *from, const FromWorker *m)
{
    at_doors++;
    door_worker = from->index;
    ticket = m->came->ticket;
}

static void open_pool_of(unsigned n, const char *fault, uint64_t peer_timeout)
{
    static const struct pool_events events = { .ready = on_ready, .broken = on_broken, .at_door = on_at_door };
    int links[] = { -1, -1 };
    AUTO_FD int program = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    struct pool_config c = { .n = n, .link_fds = links, .program_fd = fcntl(program, F_DUPFD_CLOEXEC, 10) }; /* 3 is the worker's socket */
    setenv(SAID, fault, 1);
    messages = deaths = 0;
    is_ready = false;
    c.conf = conf = conf_new();
    conf->g.peer_timeout = peer_timeout;
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
    CU_ASSERT_EQUAL_FATAL(loop_on_signal(&loop, SIGCHLD, on_child), 0);
    CU_ASSERT_EQUAL_FATAL(pool_start(&loop, &c, &events, NULL, &pool), 0);
    CU_ASSERT_TRUE_FATAL(turn_until(&is_ready, 20 * NS_PER_S));
    client = (struct pool_client){ .message = on_message, .died = on_died };
    list_init(&client.node);
    at_doors = 0;
}

static void open_pool(const char *fault, uint64_t peer_timeout) { open_pool_of(1, fault, peer_timeout); }

static void close_pool(void)
{
    pool_channel_detach(pool_at(pool, 0), &client);
    pool_free(pool);
    loop_fini(&loop);
    conf_free(conf);
}

/* How many processes we have, the last of them in *pid. */
static unsigned children(pid_t *pid)
{
    char path[64];
    unsigned n = 0;
    int one;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    for (; fscanf(f, "%d", &one) == 1; n++)
        *pid = one;
    fclose(f);
    return n;
}

/* ------------------------------------------------------------ processes */

static void killed_for(const char *fault, const char *why)
{
    pid_t before = 0, after = 0;
    const struct pool_open o = { .window = 1 << 20 };
    open_pool(fault, 10 * NS_PER_S);
    CU_ASSERT_EQUAL(children(&before), 1);
    CU_ASSERT_EQUAL(pool_channel_open(pool_at(pool, 0), &client, &o), 0);
    for (uint64_t until = now_ns() + 10 * NS_PER_S; deaths == 0 && now_ns() < until;)
        loop_turn(&loop, 5 * NS_PER_MS);
    CU_ASSERT(deaths == 1 && messages == 0);
    if (!strstr(death, why))
        printf("\n  '%s' is not in '%s'", why, death);
    CU_ASSERT_PTR_NOT_NULL(strstr(death, why));
    CU_ASSERT_TRUE(turn_until(&pool_at(pool, 0)->started, 10 * NS_PER_S)); /* another one took its place */
    CU_ASSERT(children(&after) == 1 && after != before);
    close_pool();
}

static void test_nonsense_kills(void)
{
    killed_for("side", "gateway worker 0 was killed because it sent a message with a value out of range");
    killed_for("garbage", "gateway worker 0 was killed because it sent a message that cannot be read");
}

static void test_silence_kills(void)
{
    open_pool("mute", 400 * NS_PER_MS);
    turn_for(NS_PER_S);
    CU_ASSERT_FALSE(pool_at(pool, 0)->started);
    close_pool();
}

/* We did not run for longer than a worker may be silent: its answers lie unread, and those are not its fault. */
static void test_own_pause(void)
{
    pid_t before = 0, after = 0;
    open_pool("", 400 * NS_PER_MS);
    CU_ASSERT_EQUAL(children(&before), 1);
    for (int i = 0; i < 3; i++) {
        usleep(900000);
        turn_for(500 * NS_PER_MS);
        CU_ASSERT_TRUE(pool_at(pool, 0)->started);
    }
    CU_ASSERT(children(&after) == 1 && after == before);
    close_pool();
}

static void start_fails_once(bool *fail)
{
    pid_t pid = 0, last = 0;
    open_pool("stubborn", 10 * NS_PER_S);
    CU_ASSERT_EQUAL(children(&pid), 1);
    struct pool_worker *w = pool_at(pool, 0);
    kill(pid, SIGKILL);
    while (w->started)
        loop_turn(&loop, 5 * NS_PER_MS);
    *fail = true;
    CU_ASSERT_TRUE(turn_until(&w->started, 10 * NS_PER_S));
    CU_ASSERT_FALSE(*fail);
    turn_for(1500 * NS_PER_MS); /* nor does another one come later */
    CU_ASSERT(w->started && children(&last) == 1);
    close_pool();
    CU_ASSERT_EQUAL(children(&last), 0);
}

static void test_one_process_a_slot(void)
{
    start_fails_once(&fail_add);
    start_fails_once(&fail_send);
}

/* ------------------------------------------------------------ doors */

static unsigned descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Worker 0 is told to open a channel, does what it is to do, and says a word about the channel when that is done. */
static void do_fault(unsigned n, const char *fault)
{
    const struct pool_open o = { .window = 1 << 20 };
    open_pool_of(n, fault, 10 * NS_PER_S);
    unsigned before = descriptors();
    CU_ASSERT_EQUAL(pool_channel_open(pool_at(pool, 0), &client, &o), 0);
    for (uint64_t until = now_ns() + 10 * NS_PER_S; messages + deaths == 0 && now_ns() < until;)
        loop_turn(&loop, 5 * NS_PER_MS);
    CU_ASSERT(messages == 1 && deaths == 0);
    CU_ASSERT_EQUAL(descriptors(), before);
}

static void test_pass(void)
{
    char said[1000];
    struct capture c = capture_begin(STDERR_FILENO);
    do_fault(2, "pass 1");
    capture_end(&c, said, sizeof(said));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "a connection that worker 0 passed on did not get to worker 1, and was reset: its descriptor was lost"));
    close_pool();
    do_fault(1, "pass 0"); /* to itself */
    close_pool();
    do_fault(2, "pass 77"); /* there is none: back to the one that had it */
    close_pool();
}

static void test_descriptors(void)
{
    do_fault(1, "descriptors");
    CU_ASSERT_EQUAL(at_doors, 0);
    close_pool();
}

static void test_at_door(void)
{
    do_fault(1, "door");
    CU_ASSERT(at_doors == 1 && door_worker == 0 && ticket == 99);
    close_pool();
}

/* The relays of a dead worker are no burden for the others. */
static void test_board_of_the_dead(void)
{
    pid_t pid = 0;
    open_pool_of(2, "", 10 * NS_PER_S);
    struct board *b = pool_board(pool);
    CU_ASSERT_EQUAL(stats_get(&b->workers), 2);
    for (unsigned i = 0; i < 2; i++) {
        stats_set(&b->row[i].relays, 3);
        stats_set(&b->row[i].reserved, 300);
        stats_set(&b->row[i].open[BOARD_DOORS - 1], 3);
        stats_set(&b->places, BOARD_DOORS);
    }
    CU_ASSERT_EQUAL(children(&pid), 2);
    kill(pid, SIGKILL); /* the last that was started */
    for (uint64_t until = now_ns() + 10 * NS_PER_S; pool_at(pool, 1)->started && now_ns() < until;)
        loop_turn(&loop, 5 * NS_PER_MS);
    CU_ASSERT(stats_get(&b->row[1].relays) == 0 && board_reserved(b) == 300 && board_open(b, BOARD_DOORS - 1) == 3);
    CU_ASSERT_EQUAL(board_least(b), 0); /* nothing is handed to one that is not there */
    CU_ASSERT_TRUE(turn_until(&pool_at(pool, 1)->started, 10 * NS_PER_S));
    CU_ASSERT_EQUAL(board_least(b), 1);
    close_pool();
}

/* ------------------------------------------------------------ messages */

static struct pool_worker w;

static void stage(void)
{
    pool_worker_init(&w, 0);
    client = (struct pool_client){ .channel = CHANNEL, .message = on_message, .died = on_died };
    pool_channel_attach(&w, &client);
    messages = 0;
}

static void unstage(void)
{
    list_del(&client.node);
    pool_worker_fini(&w);
}

static char text[] = "text";
static uint8_t digest[17];
static Scistream__Worker__Started started;
static Scistream__Worker__Started__Transport transport, *transports[POOL_TRANSPORTS + 1];
static char address[] = "10.0.0.1", *addresses[POOL_ADDRESSES + 1];
static Scistream__Worker__Device device, *devices[POOL_DEVICES + 1];
static Scistream__Worker__Prepared prepared;
static Scistream__Worker__Up up;
static Scistream__Worker__Failed failed;
static Scistream__Worker__Ended ended;
static Scistream__Worker__Closed closed;
static Scistream__Worker__Came came;
static Scistream__Worker__Pass pass;
static Scistream__Worker__Relayed relayed;
static uint64_t waits[2 * WAIT_KINDS + 1];

/* All of them as a worker would say them. */
static void make_sense(void)
{
    transport = (Scistream__Worker__Started__Transport)SCISTREAM__WORKER__STARTED__TRANSPORT__INIT;
    started = (Scistream__Worker__Started)SCISTREAM__WORKER__STARTED__INIT;
    prepared = (Scistream__Worker__Prepared)SCISTREAM__WORKER__PREPARED__INIT;
    up = (Scistream__Worker__Up)SCISTREAM__WORKER__UP__INIT;
    failed = (Scistream__Worker__Failed)SCISTREAM__WORKER__FAILED__INIT;
    ended = (Scistream__Worker__Ended)SCISTREAM__WORKER__ENDED__INIT;
    closed = (Scistream__Worker__Closed)SCISTREAM__WORKER__CLOSED__INIT;
    came = (Scistream__Worker__Came)SCISTREAM__WORKER__CAME__INIT;
    pass = (Scistream__Worker__Pass)SCISTREAM__WORKER__PASS__INIT;
    relayed = (Scistream__Worker__Relayed)SCISTREAM__WORKER__RELAYED__INIT;
    came.peer = relayed.peer = relayed.backend = relayed.text = text;
    pass.door = relayed.door = 2 * BOARD_DOORS - 1;
    came.door = BOARD_ROUTE_DOORS - 1;
    relayed.wait_ns = waits;
    relayed.n_wait_ns = 2 * WAIT_KINDS;
    transport.name = transport.problem = text;
    for (size_t i = 0; i < ARRAY_LEN(transports); i++)
        transports[i] = &transport;
    started.transports = transports;
    started.n_transports = 2;
    device = (Scistream__Worker__Device)SCISTREAM__WORKER__DEVICE__INIT;
    device.transport = device.name = device.netdev = device.link_layer = device.state = device.gid = text;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
        addresses[i] = address;
    device.addresses = addresses;
    device.n_addresses = 1;
    for (size_t i = 0; i < ARRAY_LEN(devices); i++)
        devices[i] = &device;
    started.devices = devices;
    started.n_devices = 1;
    prepared.channel = up.channel = failed.channel = ended.channel = closed.channel = CHANNEL;
    prepared.side = SCISTREAM__WORKER__SIDE__SINK;
    prepared.port = UINT16_MAX;
    prepared.chunk_max = 1;
    prepared.window = 1;
    up.device = up.detail = failed.text = text;
    ended.digest = (ProtobufCBinaryData){ DIGEST_SIZE, digest };
}

#define SAY(CASE, field_, message) \
    (FromWorker){ .base = PROTOBUF_C_MESSAGE_INIT(&scistream__worker__from_worker__descriptor), \
                  .what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_##CASE, .field_ = (message) }
#define SAY_STARTED SAY(STARTED, started, &started)
#define SAY_PREPARED SAY(PREPARED, prepared, &prepared)
#define SAY_UP SAY(UP, up, &up)
#define SAY_FAILED SAY(FAILED, failed, &failed)
#define SAY_ENDED SAY(ENDED, ended, &ended)
#define SAY_CLOSED SAY(CLOSED, closed, &closed)
#define SAY_CAME SAY(CAME, came, &came)
#define SAY_PASS SAY(PASS, pass, &pass)
#define SAY_RELAYED SAY(RELAYED, relayed, &relayed)

/* Taken; and handed to the client, if it is about the channel. */
static void taken(FromWorker m)
{
    unsigned before = messages;
    CU_ASSERT_PTR_NULL(pool_worker_heard(&w, &m));
    CU_ASSERT_EQUAL(messages, before + (m.what_case != SCISTREAM__WORKER__FROM_WORKER__WHAT_STARTED));
    make_sense();
}

static void refused(FromWorker m, const char *what)
{
    unsigned before = messages;
    const char *wrong = pool_worker_heard(&w, &m);
    CU_ASSERT_PTR_NOT_NULL_FATAL(wrong);
    CU_ASSERT_STRING_EQUAL(wrong, what);
    CU_ASSERT(messages == before && !w.started);
    make_sense();
}

/* ------------------------------------------------------------ what waits for a slow worker */

static void tell_door(uint32_t number, int fd)
{
    Scistream__Worker__Door d = SCISTREAM__WORKER__DOOR__INIT;
    ToWorker t = SCISTREAM__WORKER__TO_WORKER__INIT;
    d.number = number;
    t.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_DOOR;
    t.door = &d;
    CU_ASSERT_EQUAL(pool_send(pool_at(pool, 0), &t, fd), 0);
}

static void tell_undoor(uint32_t number, uint32_t another)
{
    Scistream__Worker__Undoor u = SCISTREAM__WORKER__UNDOOR__INIT;
    ToWorker t = SCISTREAM__WORKER__TO_WORKER__INIT;
    u.number = number;
    u.more = &another;
    u.n_more = 1;
    t.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_UNDOOR;
    t.undoor = &u;
    CU_ASSERT_EQUAL(pool_send(pool_at(pool, 0), &t, -1), 0);
}

/* Of doors that are closed before the worker could be told of them it never hears, and their descriptors are closed. */
static void test_withdrawn(void)
{
    open_pool("", 20 * NS_PER_S);
    AUTO_FD int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    unsigned before = descriptors();
    fail_send = true;
    for (uint32_t i = 101; i <= 104; i++)
        tell_door(i, fd);
    tell_door(103, -1); /* told anew */
    CU_ASSERT_EQUAL(descriptors(), before + 4);
    sent = 0;
    tell_undoor(101, 103);
    CU_ASSERT_EQUAL(descriptors(), before + 2);
    turn_for(100 * NS_PER_MS);
    CU_ASSERT(sent == 2 && descriptors() == before);
    fail_send = true;
    tell_door(105, fd);
    tell_undoor(102, 105); /* the one it knows, the other it does not */
    CU_ASSERT_EQUAL(descriptors(), before);
    turn_for(100 * NS_PER_MS);
    CU_ASSERT_EQUAL(sent, 3);
    tell_undoor(104, 106);
    CU_ASSERT_EQUAL(sent, 4);
    close_pool();
}

#define OUT_OF_RANGE "a message with a value out of range"
#define NOT_ITS_CHANNEL "a message about a channel that it does not have"

static void test_sense(void)
{
    Scistream__Worker__Pong pong = SCISTREAM__WORKER__PONG__INIT;
    const FromWorker m = SAY(PONG, pong, &pong);
    stage();
    make_sense();
    taken(SAY_PREPARED);
    taken(SAY_UP);
    taken(SAY_FAILED);
    taken(SAY_ENDED);
    ended.digest.len = 0;
    taken(SAY_ENDED);
    taken(SAY_CLOSED);
    taken(SAY_STARTED);
    CU_ASSERT(w.started && w.n_transports == 2);
    CU_ASSERT_PTR_NULL(pool_worker_heard(&w, &m));
    unstage();
}

#define NO_SIDE ((Side)2)
#define WRONG(change, message) do { change; refused(message, OUT_OF_RANGE); } while (0)

static void test_values_out_of_range(void)
{
    char *long_text = mem_printf("%01024d", 0);
    stage();
    make_sense();
    WRONG(prepared.side = NO_SIDE, SAY_PREPARED);
    WRONG(prepared.side = (Side)-1, SAY_PREPARED);
    WRONG(prepared.port = 0, SAY_PREPARED);
    WRONG(prepared.port = 65536, SAY_PREPARED);
    WRONG(prepared.chunk_max = 0, SAY_PREPARED);
    WRONG(prepared.window = 0, SAY_PREPARED);
    WRONG(prepared.address = NULL, SAY_PREPARED);
    WRONG(prepared.address = long_text, SAY_PREPARED);
    WRONG(up.side = NO_SIDE, SAY_UP);
    WRONG(up.device = NULL, SAY_UP);
    WRONG(up.detail = long_text, SAY_UP);
    WRONG(failed.side = NO_SIDE, SAY_FAILED);
    WRONG(failed.text = NULL, SAY_FAILED);
    WRONG(ended.digest.len = 15, SAY_ENDED);
    WRONG(ended.digest.len = 17, SAY_ENDED);
    WRONG(ended.digest.data = NULL, SAY_ENDED);
    WRONG(started.n_transports = POOL_TRANSPORTS + 1, SAY_STARTED);
    WRONG(transports[1] = NULL, SAY_STARTED);
    WRONG(transport.name = NULL, SAY_STARTED);
    WRONG(transport.problem = NULL, SAY_STARTED);
    WRONG(started.n_devices = POOL_DEVICES + 1, SAY_STARTED);
    WRONG(devices[0] = NULL, SAY_STARTED);
    WRONG(device.name = NULL, SAY_STARTED);
    WRONG(device.link_layer = long_text, SAY_STARTED);
    WRONG(device.state = "up\033[2J", SAY_STARTED);
    WRONG(device.gid = "\177", SAY_STARTED);
    WRONG(device.n_addresses = POOL_ADDRESSES + 1, SAY_STARTED);
    WRONG(addresses[0] = NULL, SAY_STARTED);
    WRONG(addresses[0] = "", SAY_STARTED);
    WRONG(addresses[0] = "host.example.org", SAY_STARTED);
    WRONG(addresses[0] = "10.0.0.1 10.0.0.2", SAY_STARTED);
    WRONG(came.door = BOARD_DOORS, SAY_CAME);
    WRONG(came.door = BOARD_DOORS - 1, SAY_CAME); /* what comes to the doors of sessions is relayed */
    WRONG(came.peer = NULL, SAY_CAME);
    WRONG(came.peer = "\033[2J", SAY_CAME);
    WRONG(pass.door = BOARD_DOORS, SAY_PASS);
    WRONG(relayed.door = 2 * BOARD_DOORS, SAY_RELAYED);
    WRONG(relayed.peer = long_text, SAY_RELAYED);
    WRONG(relayed.backend = "a\nb", SAY_RELAYED);
    WRONG(relayed.text = NULL, SAY_RELAYED);
    WRONG(relayed.n_wait_ns = 2 * WAIT_KINDS - 1, SAY_RELAYED);
    WRONG(relayed.n_wait_ns = 2 * WAIT_KINDS + 1, SAY_RELAYED);
    unstage();
    free(long_text);
}

/* Of doors, who has them hears; not the owners of channels. Pass is the pool's own. */
static unsigned heard_at_door;
static void on_heard_at_door(struct pool_worker *from, const FromWorker *m UNUSED) { heard_at_door += from == &w; }

static void test_about_doors(void)
{
    stage();
    make_sense();
    for (unsigned with = 0; with < 2; with++) {
        const FromWorker all[] = { SAY_CAME, SAY_RELAYED, SAY_PASS };
        w.at_door = with ? on_heard_at_door : NULL;
        heard_at_door = 0;
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            CU_ASSERT_PTR_NULL(pool_worker_heard(&w, &all[i]));
        CU_ASSERT(heard_at_door == 2 * with && messages == 0);
    }
    unstage();
}

/* ------------------------------------------------------------ devices */

static void say_device(const char *transport_name, char *name, char *state, size_t n_addresses)
{
    device.transport = (char *)(uintptr_t)transport_name;
    device.name = name;
    device.state = state;
    device.n_addresses = n_addresses;
    taken(SAY_STARTED);
}

static void expect_addresses(const char *transport_name, size_t max, const char *want)
{
    AUTO_FREE char *got = pool_device_addresses(&w, transport_name, max);
    CU_ASSERT_STRING_EQUAL(got, want);
}

static void test_devices(void)
{
    Scistream__Worker__Device *const *d;
    stage();
    make_sense();
    CU_ASSERT(pool_devices(&w, &d) == 0 && !pool_has_device(&w, "verbs"));
    expect_addresses("verbs", 8, "");
    device.mtu = 4096;
    device.rate = 100000000000;
    device.gid_index = -1;
    device.numa_node = 1;
    device.listens = true;
    say_device("verbs", "mlx5_0:1", "active", 3);
    CU_ASSERT_EQUAL_FATAL(pool_devices(&w, &d), 1);
    CU_ASSERT(str_eq(d[0]->name, "mlx5_0:1") && d[0]->mtu == 4096 && d[0]->rate == 100000000000 && d[0]->gid_index == -1 && d[0]->numa_node == 1);
    CU_ASSERT(d[0]->listens && d[0]->n_addresses == 3 && pool_has_device(&w, "verbs") && !pool_has_device(&w, "ucx"));
    expect_addresses("verbs", 8, "10.0.0.1 10.0.0.1 10.0.0.1");
    expect_addresses("verbs", 2, "10.0.0.1 10.0.0.1");
    expect_addresses("ucx", 8, "");
    unstage();
}

/* What is said again takes the place of what was said. */
static void test_devices_change(void)
{
    Scistream__Worker__Device *const *d;
    stage();
    make_sense();
    say_device("verbs", "rxe0:1", "active", 1);
    say_device("verbs", "rxe1:1", "down", 1);
    CU_ASSERT(pool_devices(&w, &d) == 1 && str_eq(d[0]->name, "rxe1:1"));
    CU_ASSERT_TRUE(pool_has_device(&w, "verbs"));
    expect_addresses("verbs", 8, ""); /* a port that is down leads nowhere */
    started.n_devices = 0;
    taken(SAY_STARTED);
    CU_ASSERT(pool_devices(&w, &d) == 0 && !pool_has_device(&w, "verbs"));
    unstage();
}

static void test_channels(void)
{
    stage();
    make_sense();
    prepared.channel = up.channel = failed.channel = CHANNEL + 1;
    refused(SAY_PREPARED, NOT_ITS_CHANNEL);
    closed.channel = 0;
    refused(SAY_CLOSED, NOT_ITS_CHANNEL);
    client.channel = 0; /* forgotten */
    closed.channel = 0;
    refused(SAY_CLOSED, NOT_ITS_CHANNEL);
    refused((FromWorker)SCISTREAM__WORKER__FROM_WORKER__INIT, "a message of no known kind");
    unstage();
}

/* Whatever becomes of the bytes of a message: what clients get can be used as it is. */
static void on_mutant(struct pool_client *c UNUSED, const FromWorker *m)
{
    messages++;
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_FAILED)
        CU_ASSERT_FATAL(m->failed->side >= 0 && m->failed->side < 2 && strlen(m->failed->text) < 1024);
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_UP)
        CU_ASSERT_FATAL(m->up->side >= 0 && m->up->side < 2 && strlen(m->up->device) + strlen(m->up->detail) < 2048);
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_PREPARED)
        CU_ASSERT_FATAL(m->prepared->side >= 0 && m->prepared->side < 2 && m->prepared->port < 65536);
}

static void on_mutant_at_door(struct pool_worker *from UNUSED, const FromWorker *m)
{
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_CAME)
        CU_ASSERT_FATAL(m->came->door < BOARD_ROUTE_DOORS && strlen(m->came->peer) < 1024);
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_RELAYED)
        CU_ASSERT_FATAL(board_number_ok(m->relayed->door) && strlen(m->relayed->peer) + strlen(m->relayed->text) < 2048);
}

static void test_mutants(void)
{
    unsigned seed = 1, wrong = 0;
    stage();
    client.message = on_mutant;
    make_sense();
    const FromWorker all[] = { SAY_STARTED, SAY_PREPARED, SAY_UP, SAY_FAILED, SAY_ENDED, SAY_CLOSED, SAY_CAME, SAY_PASS, SAY_RELAYED };
    w.at_door = on_mutant_at_door;
    for (unsigned i = 0; i < 90000; i++) {
        uint8_t data[300];
        size_t n = scistream__worker__from_worker__pack(&all[i % ARRAY_LEN(all)], data);
        for (int k = 0; k < 1 + rand_r(&seed) % 3; k++)
            data[(size_t)rand_r(&seed) % n] = (uint8_t)rand_r(&seed);
        FromWorker *m = scistream__worker__from_worker__unpack(NULL, n - (size_t)(rand_r(&seed) % 4 == 0), data);
        wrong += m && pool_worker_heard(&w, m);
        scistream__worker__from_worker__free_unpacked(m, NULL);
    }
    CU_ASSERT(messages > 1000 && wrong > 1000);
    unstage();
}

UNIT_MAIN("pool", UNIT(test_sense), UNIT(test_values_out_of_range), UNIT(test_about_doors), UNIT(test_devices), UNIT(test_devices_change),
          UNIT(test_channels), UNIT(test_mutants), UNIT(test_nonsense_kills), UNIT(test_withdrawn),
          UNIT(test_silence_kills), UNIT(test_own_pause), UNIT(test_one_process_a_slot),
          UNIT(test_pass), UNIT(test_descriptors), UNIT(test_at_door), UNIT(test_board_of_the_dead))
