/* A worker by its messages alone: what each is answered with, and that nothing is answered from within worker_handle. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "src/core/board.h"
#include "src/core/err.h"
#include "src/engine/worker.h"
#include "src/seam/mem.h"
#include "tests/lib/capture.h"
#include "tests/lib/rig.h"
#include "tests/lib/unit.h"

/* ------------------------------------------------------------ transports that cannot be used, each in its way */

static int seen_link_fd;
static unsigned listens, unlistens;

static int listen_quietly(struct xport_env *env UNUSED, char *why UNUSED, size_t n UNUSED)
{
    listens++;
    return -ENODEV;
}

static struct xport_env *seen_env;

static void add_device(const char *name, const char *addresses)
{
    struct xport_device *d = mem_zalloc(1, sizeof(*d));
    d->transport = "loud";
    d->gid_index = d->numa_node = -1;
    d->mtu = 1024;
    d->rate = 25000000000;
    d->listens = true;
    str_copy(d->name, sizeof(d->name), name);
    str_copy(d->state, sizeof(d->state), "active");
    str_copy(d->addresses, sizeof(d->addresses), addresses);
    list_add_tail(&seen_env->devices, &d->node);
}

static int listen_loudly(struct xport_env *env, char *why, size_t n)
{
    listens++;
    seen_env = env;
    add_device("loud0:1", "10.0.0.1 fd00::1");
    seen_link_fd = fd_take(&env->link_fd);
    snprintf(why, n, "no such device: buy one");
    return -SST_EDEVICE;
}

static int listen_mutely(struct xport_env *env UNUSED, char *why UNUSED, size_t n UNUSED)
{
    listens++;
    return -EADDRINUSE;
}

static void unlisten(struct xport_env *env UNUSED) { unlistens++; }

static const struct xport_ops quiet_ops = { .name = "quiet", .kind = XPORT_VERBS, .listen = listen_quietly, .unlisten = unlisten },
                              loud_ops = { .name = "loud", .kind = XPORT_UCX, .listen = listen_loudly, .unlisten = unlisten },
                              mute_ops = { .name = "mute", .kind = XPORT_TCP, .listen = listen_mutely, .unlisten = unlisten };
const struct xport_ops *const xport_list[] = { &xport_mem_ops, &quiet_ops, &loud_ops, &mute_ops, &xport_file_ops, NULL };

/* ------------------------------------------------------------ the stage */

typedef Scistream__Worker__Hop Hop;
typedef Scistream__Worker__Init Init;

#define HEARD_MAX 64

static struct loop loop;
static struct conf *conf;
static struct worker *worker;
static FromWorker *heard[HEARD_MAX];
static unsigned n_heard, next_heard, idles;
static bool handling;

static void hear(void *user UNUSED, const FromWorker *m, int fd UNUSED)
{
    uint8_t data[2000];
    size_t n = scistream__worker__from_worker__get_packed_size(m);
    CU_ASSERT_FALSE(handling);
    CU_ASSERT_FATAL(n <= sizeof(data) && n_heard < HEARD_MAX);
    scistream__worker__from_worker__pack(m, data);
    heard[n_heard++] = scistream__worker__from_worker__unpack(NULL, n, data);
}

static void turn(void)
{
    for (int i = 0; i < 30; i++)
        loop_turn(&loop, 0);
}

static void tell(ToWorker *m, int *fds, size_t n)
{
    handling = true;
    worker_handle(worker, m, fds, n);
    handling = false;
}

#define TELL(CASE, field, ptr) \
    do { \
        ToWorker m_ = SCISTREAM__WORKER__TO_WORKER__INIT; \
        m_.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_##CASE; \
        m_.field = (ptr); \
        tell(&m_, NULL, 0); \
    } while (0)

static void begin_uninitialised(void)
{
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
    mem_forget();
    conf = conf_new();
    worker = worker_new(&loop, conf, hear, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(worker);
    n_heard = next_heard = idles = listens = unlistens = 0;
}

static void init(int *fds, size_t n, bool has_link)
{
    Init i = SCISTREAM__WORKER__INIT__INIT;
    ToWorker m = SCISTREAM__WORKER__TO_WORKER__INIT;
    char *settings[] = { "peer_timeout=7s" };
    i.settings = settings;
    i.n_settings = 1;
    i.index = 3;
    i.has_link = has_link;
    m.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_INIT;
    m.init = &i;
    tell(&m, fds, n);
    turn();
}

static FromWorker *next(int what)
{
    CU_ASSERT_FATAL(next_heard < n_heard);
    FromWorker *m = heard[next_heard++];
    CU_ASSERT_EQUAL_FATAL((int)m->what_case, what);
    return m;
}

#define NEXT(CASE) next(SCISTREAM__WORKER__FROM_WORKER__WHAT_##CASE)

static bool silent(void)
{
    turn();
    return next_heard == n_heard;
}

static void begin(void)
{
    begin_uninitialised();
    init(NULL, 0, false);
    NEXT(STARTED);
}

static void on_idle(void *user UNUSED) { idles++; }

static void end(void)
{
    CU_ASSERT_TRUE(silent());
    worker_shut(worker, on_idle);
    turn();
    CU_ASSERT_EQUAL(idles, 1);
    worker_free(worker);
    loop_fini(&loop);
    conf_free(conf);
    for (unsigned i = 0; i < n_heard; i++)
        scistream__worker__from_worker__free_unpacked(heard[i], NULL);
}

static void open_slot(uint64_t id, uint64_t window, uint32_t slot)
{
    Scistream__Worker__Open o = SCISTREAM__WORKER__OPEN__INIT;
    o.channel = id;
    o.window = window;
    o.digest = true;
    o.slot = slot;
    TELL(OPEN, open, &o);
}

static void open_channel(uint64_t id) { open_slot(id, 65536, (uint32_t)id); }

static Hop hop(uint64_t id, Scistream__Worker__Side side, char *transport, char *address)
{
    Hop h = SCISTREAM__WORKER__HOP__INIT;
    h.channel = id;
    h.side = side;
    h.transport = transport;
    h.address = address;
    return h;
}

static void connect_mem(uint64_t id, Scistream__Worker__Side side, char *name)
{
    Hop h = hop(id, side, "mem", name);
    TELL(HOP, hop, &h);
}

static void close_channel(uint64_t id, uint32_t code)
{
    Scistream__Worker__Close c = SCISTREAM__WORKER__CLOSE__INIT;
    c.channel = id;
    c.code = code;
    TELL(CLOSE, close, &c);
    turn();
}

static void expect_failed(uint64_t id, Scistream__Worker__Side side, int rc, const char *why)
{
    turn();
    const Scistream__Worker__Failed *f = NEXT(FAILED)->failed;
    CU_ASSERT(f->channel == id && f->side == side && f->code == err_to_wire(rc));
    if (!strstr(f->text, why))
        printf("\n  '%s' is not in '%s'\n", why, f->text);
    CU_ASSERT_PTR_NOT_NULL(strstr(f->text, why));
}

static void expect_closed(uint64_t id)
{
    CU_ASSERT_EQUAL(NEXT(CLOSED)->closed->channel, id);
    CU_ASSERT_TRUE(silent());
}

#define SOURCE SCISTREAM__WORKER__SIDE__SOURCE
#define SINK SCISTREAM__WORKER__SIDE__SINK

/* ------------------------------------------------------------ Init */

static void test_init(void)
{
    int fds[4] = { -1, -1, -1, -1 };
    begin_uninitialised();
    struct stats_page *page = stats_create(&fds[0]);
    board_unmap(board_create(&fds[1]));
    int sockets[2];
    CU_ASSERT_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    fds[2] = sockets[0];
    fds[3] = sockets[1];
    int link = fds[2], extra = fds[3];
    init(fds, 4, true);
    const Scistream__Worker__Started *s = NEXT(STARTED)->started;
    CU_ASSERT_EQUAL_FATAL(s->n_transports, 5);
    CU_ASSERT(str_eq(s->transports[0]->name, "mem") && str_eq(s->transports[0]->problem, ""));
    CU_ASSERT(str_eq(s->transports[1]->name, "quiet") && str_eq(s->transports[1]->problem, "not configured"));
    CU_ASSERT(str_eq(s->transports[2]->name, "loud") && str_eq(s->transports[2]->problem, "no such device: buy one"));
    CU_ASSERT(str_eq(s->transports[3]->name, "mute") && str_eq(s->transports[3]->problem, err_text(-EADDRINUSE)));
    CU_ASSERT(seen_link_fd == link && fcntl(extra, F_GETFD) < 0); /* what nobody takes is closed */
    CU_ASSERT_EQUAL(conf->g.peer_timeout, 7 * NS_PER_S);
    open_channel(5);
    CU_ASSERT(stats_get(&page->channels) == 1 && stats_get(&page->ch[5].id) == 5); /* the page is the one that was passed */
    close_channel(5, 0);
    expect_closed(5);
    CU_ASSERT(stats_get(&page->channels) == 0 && stats_get(&page->ch[5].id) == 0);
    init(NULL, 0, false); /* once is enough */
    CU_ASSERT(silent() && listens == 3);
    end();
    CU_ASSERT_EQUAL(unlistens, 3);
    stats_unmap(page);
    close(seen_link_fd);
}

static void test_bad_setting(void)
{
    Init i = SCISTREAM__WORKER__INIT__INIT;
    char *settings[] = { "no.such=option" };
    begin_uninitialised();
    i.settings = settings;
    i.n_settings = 1;
    TELL(INIT, init, &i);
    CU_ASSERT_TRUE(silent());
    CU_ASSERT_EQUAL(listens, 0);
    init(NULL, 0, false);
    NEXT(STARTED);
    end();
}

/* What is shared cannot be mapped: that is the end, and it is told; a page of our own would look as if all were well. */
static void test_pages_that_cannot_be_mapped(void)
{
    for (unsigned which = 0; which < 2; which++) {
        int fds[2];
        char said[400];
        begin_uninitialised();
        stats_unmap(stats_create(&fds[0]));
        board_unmap(board_create(&fds[1]));
        close(fds[which]);
        fds[which] = open("/dev/null", O_RDWR | O_CLOEXEC);
        struct capture c = capture_begin(STDERR_FILENO);
        init(fds, 2, false);
        capture_end(&c, said, sizeof(said));
        CU_ASSERT_PTR_NOT_NULL(strstr(said, which ? "cannot map the board of the workers: " : "cannot map the page of statistics: "));
        CU_ASSERT(worker_broken(worker) && loop.stopping && silent() && listens == 0 && fds[which] < 0);
        init(NULL, 0, false);
        CU_ASSERT_TRUE(silent());
        end();
    }
    begin();
    CU_ASSERT_FALSE(worker_broken(worker));
    end();
}

static void test_settings(void)
{
    Scistream__Worker__Settings s = SCISTREAM__WORKER__SETTINGS__INIT;
    char *settings[] = { "link.chunk=64K", "attach_timeout=3s", "peer_timeout=never", "huge_pages=no" };
    begin();
    s.settings = settings;
    s.n_settings = 2;
    TELL(SETTINGS, settings, &s);
    CU_ASSERT_EQUAL(conf->link.chunk, 64U << 10);
    CU_ASSERT_EQUAL(conf->g.attach_timeout, 3 * NS_PER_S);
    CU_ASSERT_EQUAL(conf->g.peer_timeout, 7 * NS_PER_S);
    s.settings = settings + 2; /* nonsense ends it, and it goes on with what it has */
    TELL(SETTINGS, settings, &s);
    CU_ASSERT_EQUAL(conf->g.peer_timeout, 7 * NS_PER_S);
    end();
}

static void test_before_init(void)
{
    begin_uninitialised();
    open_channel(1);
    expect_failed(1, SOURCE, -SST_EINTERNAL, "not initialised");
    connect_mem(1, SOURCE, "source");
    CU_ASSERT_TRUE(silent());
    close_channel(1, 0);
    expect_closed(1);
    end();
}

/* Devices go out with Started, and all of it again when something changed: once for any number of changes in a turn. */
static void test_devices(void)
{
    begin_uninitialised();
    init(NULL, 0, false);
    const Scistream__Worker__Started *s = NEXT(STARTED)->started;
    CU_ASSERT_EQUAL_FATAL(s->n_devices, 1);
    const Scistream__Worker__Device *d = s->devices[0];
    CU_ASSERT(str_eq(d->transport, "loud") && str_eq(d->name, "loud0:1") && str_eq(d->state, "active") && str_eq(d->netdev, ""));
    CU_ASSERT(d->n_addresses == 2 && str_eq(d->addresses[0], "10.0.0.1") && str_eq(d->addresses[1], "fd00::1"));
    CU_ASSERT(d->gid_index == -1 && d->numa_node == -1 && d->mtu == 1024 && d->rate == 25000000000 && d->listens);
    add_device("loud1:1", "");
    seen_env->changed(seen_env, XPORT_UCX, "");
    seen_env->changed(seen_env, XPORT_VERBS, "the cable is out");
    turn();
    s = NEXT(STARTED)->started;
    CU_ASSERT_EQUAL_FATAL(s->n_devices, 2);
    CU_ASSERT(str_eq(s->devices[1]->name, "loud1:1") && s->devices[1]->n_addresses == 0);
    CU_ASSERT(str_eq(s->transports[1]->problem, "the cable is out") && str_eq(s->transports[2]->problem, ""));
    end();
}

/* ------------------------------------------------------------ a stream */

static struct mem_plan source, sink;

static void run_stream(uint64_t id, uint64_t bytes)
{
    char names[2][32];
    source = (struct mem_plan){ .bytes = bytes, .seed = 1 };
    sink = (struct mem_plan){ .seed = 1 };
    mem_forget();
    snprintf(names[0], sizeof(names[0]), "source");
    snprintf(names[1], sizeof(names[1]), "sink");
    mem_plan_add(names[0], &source);
    mem_plan_add(names[1], &sink);
    open_channel(id);
    connect_mem(id, SOURCE, names[0]);
    connect_mem(id, SINK, names[1]);
    turn();
}

static void test_stream(void)
{
    uint8_t want[DIGEST_SIZE], data[1000];
    struct digest *d = digest_new();
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = mem_byte(1, i);
    digest_add(d, data, sizeof(data));
    digest_get(d, want);
    digest_free(d);
    begin();
    run_stream(77, sizeof(data));
    const Scistream__Worker__Up *up = NEXT(UP)->up, *up2 = NEXT(UP)->up;
    CU_ASSERT(up->channel == 77 && up->side == SOURCE && str_eq(up->device, "mem") && str_eq(up->detail, "a plan"));
    CU_ASSERT(up2->channel == 77 && up2->side == SINK);
    const Scistream__Worker__Ended *e = NEXT(ENDED)->ended;
    CU_ASSERT(e->channel == 77 && e->total == 1000 && e->digest.len == DIGEST_SIZE && memcmp(e->digest.data, want, DIGEST_SIZE) == 0);
    const Scistream__Worker__Finished *f = NEXT(FINISHED)->finished;
    CU_ASSERT(f->channel == 77 && f->total == 1000 && sink.wrong == 0);
    CU_ASSERT_TRUE(silent());
    CU_ASSERT(stats_get(&worker_stats(worker)->ch[77].flow[0].rel) == 1000);
    close_channel(77, 0);
    expect_closed(77);
    CU_ASSERT(source.close_rc == 0 && sink.close_rc == 0);
    end();
}

/* Each flow's end is told with its own total and digest, the finish once. */
static void test_duplex(void)
{
    Scistream__Worker__Open o = SCISTREAM__WORKER__OPEN__INIT;
    struct mem_plan back_source = { .bytes = 2000, .seed = 2 }, back_sink = { .seed = 2 };
    uint64_t totals[2] = { 0, 0 };
    begin();
    o.channel = 5;
    o.window = 65536;
    o.digest = o.duplex = true;
    o.slot = 5;
    TELL(OPEN, open, &o);
    source = (struct mem_plan){ .bytes = 1000, .seed = 1, .back = &back_sink };
    sink = (struct mem_plan){ .seed = 1, .back = &back_source };
    mem_plan_add("source", &source);
    mem_plan_add("sink", &sink);
    connect_mem(5, SOURCE, "source");
    connect_mem(5, SINK, "sink");
    turn();
    NEXT(UP);
    NEXT(UP);
    for (int i = 0; i < 2; i++) {
        const Scistream__Worker__Ended *e = NEXT(ENDED)->ended;
        CU_ASSERT(e->channel == 5 && e->digest.len == DIGEST_SIZE && totals[e->backward] == 0);
        totals[e->backward] = e->total;
    }
    CU_ASSERT(totals[FORWARD] == 1000 && totals[BACKWARD] == 2000);
    CU_ASSERT_EQUAL(NEXT(FINISHED)->finished->total, 1000);
    CU_ASSERT(sink.moved == 1000 && back_sink.moved == 2000 && sink.wrong == 0 && back_sink.wrong == 0);
    close_channel(5, 0);
    expect_closed(5);
    end();
}

static void test_aborted(void)
{
    begin();
    run_stream(1, 1 << 20);
    close_channel(1, err_to_wire(-SST_EINTERRUPTED));
    CU_ASSERT(source.close_rc == -SST_EINTERRUPTED && sink.close_rc == -SST_EINTERRUPTED);
    next_heard = n_heard - 1;
    expect_closed(1);
    run_stream(1, 10); /* its number is free again */
    next_heard = n_heard - 1;
    NEXT(FINISHED);
    close_channel(1, 12345); /* a code that this side does not know is an abort, too */
    CU_ASSERT_EQUAL(sink.close_rc, -SST_EABORTED);
    expect_closed(1);
    end();
}

static void test_failing_end(void)
{
    begin();
    source = (struct mem_plan){ .bytes = 1000 };
    sink = (struct mem_plan){ .fail_at = 1, .fail_rc = -ENOSPC };
    mem_plan_add("source", &source);
    mem_plan_add("sink", &sink);
    open_channel(1);
    connect_mem(1, SOURCE, "source");
    connect_mem(1, SINK, "sink");
    turn();
    NEXT(UP);
    NEXT(UP);
    NEXT(ENDED);
    expect_failed(1, SINK, -ENOSPC, "planned failure of call 1 (drain)");
    close_channel(1, err_to_wire(-ENOSPC));
    expect_closed(1);
    end();
}

/* Two channels whose numbers share a bucket, joined by a wire. */
static void test_two_channels(void)
{
    struct mem_wire wire = { .keep = true };
    begin();
    source = (struct mem_plan){ .bytes = 100000, .seed = 1 };
    sink = (struct mem_plan){ .seed = 1 };
    mem_plan_add("source", &source);
    mem_plan_add("sink", &sink);
    mem_wire_add("wire", &wire);
    open_channel(1);
    open_slot(257, 100000, 2);
    Hop accept = hop(257, SOURCE, "mem", "wire");
    accept.how = SCISTREAM__WORKER__HOP__HOW__ACCEPT;
    accept.chunk_max = 5000;
    accept.cookie = (ProtobufCBinaryData){ 16, (uint8_t *)"0123456789abcdef" };
    TELL(HOP, hop, &accept);
    turn();
    const Scistream__Worker__Prepared *p = NEXT(PREPARED)->prepared;
    CU_ASSERT(p->channel == 257 && p->side == SOURCE && str_eq(p->address, "wire") && p->chunk_max == 5000 && p->window == 102400);
    Hop to = hop(1, SINK, "mem", "wire");
    to.chunk_max = p->chunk_max;
    to.peer_window = p->window;
    to.cookie = accept.cookie;
    TELL(HOP, hop, &to);
    connect_mem(1, SOURCE, "source");
    connect_mem(257, SINK, "sink");
    for (int i = 0; i < 20; i++)
        turn();
    unsigned finished = 0;
    for (; next_heard < n_heard; next_heard++)
        finished += heard[next_heard]->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_FINISHED;
    CU_ASSERT(finished == 2 && sink.moved == 100000 && sink.wrong == 0);
    CU_ASSERT_EQUAL(stats_get(&worker_stats(worker)->channels), 2);
    close_channel(257, 0);
    expect_closed(257);
    close_channel(1, 0);
    expect_closed(1);
    end();
}

/* ------------------------------------------------------------ a transport that needs a while to find out whether it can be used */

static struct mem_wire wire;

static void accept_on_wire(int rc, char **peers, size_t n)
{
    wire = (struct mem_wire){ .prepare_later = true, .accept_rc = rc };
    mem_forget();
    mem_wire_add("wire", &wire);
    open_channel(1);
    Hop h = hop(1, SOURCE, "mem", "wire");
    h.how = SCISTREAM__WORKER__HOP__HOW__ACCEPT;
    h.chunk_max = 5000;
    h.peer_addresses = peers;
    h.n_peer_addresses = n;
    TELL(HOP, hop, &h);
}

static void test_prepared_later(void)
{
    char *peers[] = { "10.0.0.1" };
    begin();
    accept_on_wire(0, peers, 1);
    turn();
    const Scistream__Worker__Prepared *p = NEXT(PREPARED)->prepared;
    CU_ASSERT(p->channel == 1 && p->side == SOURCE && str_eq(p->address, "wire") && p->chunk_max == 5000 && p->window == 65536);
    close_channel(1, 0);
    expect_closed(1);
    end();
}

/* Told as a failure of that code, and the channel takes another hop. */
static void test_unusable(void)
{
    begin();
    accept_on_wire(-SST_ENOTRANSPORT, NULL, 0);
    expect_failed(1, SOURCE, -SST_ENOTRANSPORT, "planned failure of accept");
    CU_ASSERT_TRUE(silent());
    source = (struct mem_plan){ .bytes = 10 };
    mem_plan_add("source", &source);
    connect_mem(1, SOURCE, "source");
    turn();
    CU_ASSERT_EQUAL(NEXT(UP)->up->side, SOURCE);
    NEXT(ENDED);
    close_channel(1, 0);
    expect_closed(1);
    accept_on_wire(-SST_ENOTRANSPORT, NULL, 0); /* closed before it was told */
    close_channel(1, 0);
    expect_closed(1);
    end();
}

/* ------------------------------------------------------------ what makes no sense */

static void test_open_refused(void)
{
    begin();
    open_channel(1);
    open_channel(1);
    expect_failed(1, SOURCE, -SST_EINTERNAL, "taken");
    open_slot(2, 65536, 1); /* another's slot */
    expect_failed(2, SOURCE, -SST_EINTERNAL, "taken");
    open_slot(3, 65536, STATS_CHANNELS);
    expect_failed(3, SOURCE, -SST_EINTERNAL, "taken");
    open_slot(0, 65536, 9); /* 0 marks a free slot */
    expect_failed(0, SOURCE, -SST_EINTERNAL, "taken");
    open_slot(4, 100, 4);
    expect_failed(4, SOURCE, -EINVAL, "ring of 100: ");
    open_slot(5, UINT64_MAX, 5);
    expect_failed(5, SOURCE, -EINVAL, "ring of ");
    connect_mem(4, SOURCE, "source"); /* its Open failed and said so */
    CU_ASSERT_TRUE(silent());
    CU_ASSERT_EQUAL(stats_get(&worker_stats(worker)->channels), 1);
    close_channel(1, 0);
    expect_closed(1);
    end();
}

static void refuse_hop(Hop *h)
{
    TELL(HOP, hop, h);
    expect_failed(1, h->side, -SST_ENOTRANSPORT, "malformed");
}

static void test_hop_refused(void)
{
    static uint8_t bytes[64];
    begin();
    open_channel(1);
    Hop unknown = hop(1, SINK, "carrier pigeon", "x"), cookie = hop(1, SOURCE, "mem", "x"), key = cookie, port = cookie;
    cookie.cookie = (ProtobufCBinaryData){ XPORT_COOKIE - 1, bytes };
    key.key = (ProtobufCBinaryData){ XPORT_KEY + 1, bytes };
    port.port = 65536;
    refuse_hop(&unknown);
    refuse_hop(&cookie);
    refuse_hop(&key);
    refuse_hop(&port);
    close_channel(1, 0);
    expect_closed(1);
    end();
}

static void test_hop_twice(void)
{
    begin();
    run_stream(1, 10);
    next_heard = n_heard;
    connect_mem(1, SINK, "sink");
    expect_failed(1, SINK, -EEXIST, "open already");
    Scistream__Worker__Close c = SCISTREAM__WORKER__CLOSE__INIT;
    c.channel = 1;
    TELL(CLOSE, close, &c);
    connect_mem(1, SINK, "sink"); /* on its way when the channel was closed: no news */
    turn();
    expect_closed(1);
    end();
}

static void test_no_memory(void)
{
    begin();
    open_channel(1);
    mem_fault_arm(0, -EIO);
    connect_mem(1, SOURCE, "source");
    expect_failed(1, SOURCE, -ENOMEM, err_text(-ENOMEM));
    mem_fault_fired(NULL);
    close_channel(1, 0);
    expect_closed(1);
    end();
}

static void test_unknown_channel(void)
{
    begin();
    connect_mem(9, SOURCE, "source");
    CU_ASSERT_TRUE(silent());
    close_channel(9, 0);
    expect_closed(9);
    close_channel(9, 5);
    expect_closed(9);
    end();
}

static void test_nothing(void)
{
    ToWorker m = SCISTREAM__WORKER__TO_WORKER__INIT;
    int fds[1] = { dup(STDERR_FILENO) }, fd = fds[0];
    begin();
    tell(&m, fds, 1);
    CU_ASSERT(silent() && fcntl(fd, F_GETFD) < 0);
    end();
}

/* ------------------------------------------------------------ Ping, Stop, the end */

static void test_ping(void)
{
    Scistream__Worker__Ping p = SCISTREAM__WORKER__PING__INIT;
    begin();
    for (uint64_t i = 0; i < 3; i++) {
        p.number = UINT64_MAX - i;
        TELL(PING, ping, &p);
    }
    turn();
    for (uint64_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(NEXT(PONG)->pong->number, UINT64_MAX - i);
    end();
}

static void test_stop(void)
{
    Scistream__Worker__Stop s = SCISTREAM__WORKER__STOP__INIT;
    begin();
    TELL(STOP, stop, &s);
    CU_ASSERT_TRUE(loop.stopping);
    loop.stopping = false;
    end();
}

/* All channels are aborted, and what nobody heard any more is not leaked. */
static void test_shut(void)
{
    struct mem_plan plans[5];
    begin();
    mem_forget();
    for (uint64_t i = 0; i < 5; i++) {
        static char names[5][16];
        plans[i] = (struct mem_plan){ .bytes = 1 << 20, .close_later = true };
        snprintf(names[i], sizeof(names[i]), "source %d", (int)i);
        mem_plan_add(names[i], &plans[i]);
        open_channel(100 + i);
        connect_mem(100 + i, SOURCE, names[i]);
    }
    turn();
    next_heard = n_heard;
    worker_shut(worker, on_idle);
    CU_ASSERT_EQUAL(idles, 0);
    while (!idles)
        loop_turn(&loop, NS_PER_S);
    for (int i = 0; i < 5; i++)
        CU_ASSERT(plans[i].closes == 1 && plans[i].close_rc == -SST_EDRAINING);
    worker_free(worker);
    worker_free(NULL);
    loop_fini(&loop);
    conf_free(conf);
    for (unsigned i = 0; i < n_heard; i++)
        scistream__worker__from_worker__free_unpacked(heard[i], NULL);
}

UNIT_MAIN("worker", UNIT(test_init), UNIT(test_bad_setting), UNIT(test_pages_that_cannot_be_mapped), UNIT(test_settings), UNIT(test_before_init), UNIT(test_devices), UNIT(test_stream),
          UNIT(test_duplex), UNIT(test_aborted),
          UNIT(test_failing_end), UNIT(test_two_channels), UNIT(test_prepared_later), UNIT(test_unusable), UNIT(test_open_refused),
          UNIT(test_hop_refused), UNIT(test_hop_twice),
          UNIT(test_no_memory), UNIT(test_unknown_channel), UNIT(test_nothing), UNIT(test_ping), UNIT(test_stop), UNIT(test_shut))
