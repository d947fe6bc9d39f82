/* What a worker does about doors, by its messages alone: connections that control serves, and descriptors that come and go with messages. */
#include <fcntl.h>
#include <stdio.h>

#include "src/core/board.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/engine/worker.h"
#include "src/seam/mem.h"
#include "tests/lib/rig.h"
#include "tests/lib/unit.h"
#include "tests/unit/tcp_stage.h"

const struct xport_ops *const xport_list[] = { &xport_tcp_ops, &xport_mem_ops, NULL };

typedef Scistream__Worker__Hop Hop;

#define SOURCE SCISTREAM__WORKER__SIDE__SOURCE
#define SINK SCISTREAM__WORKER__SIDE__SINK
#define DOOR 3
#define HEARD_MAX 32

static struct loop loop;
static struct conf *conf;
static struct worker *worker;
static FromWorker *heard[HEARD_MAX];
static unsigned n_heard, next_heard, idles;
static int heard_fd;                  /* of the last message that had one; ours */
static bool handling;
static union sockaddr_any door_at;
static struct app client;
static struct mem_plan plan;
static struct footprint before;

static void hear(void *user UNUSED, const FromWorker *m, int fd)
{
    uint8_t data[2000];
    size_t n = scistream__worker__from_worker__get_packed_size(m);
    CU_ASSERT_FALSE(handling);
    CU_ASSERT_FATAL(n <= sizeof(data) && n_heard < HEARD_MAX);
    scistream__worker__from_worker__pack(m, data);
    heard[n_heard++] = scistream__worker__from_worker__unpack(NULL, n, data);
    if (fd >= 0)
        heard_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

#define UNTIL(cond) STAGE_UNTIL(&loop, app_play(&client), cond)

static void turn(void)
{
    for (int i = 0; i < 20; i++)
        loop_turn(&loop, 0);
}

static void tell(ToWorker *m, int fd)
{
    handling = true;
    worker_handle(worker, m, &fd, fd >= 0);
    handling = false;
}

#define TELL(CASE, field, ptr, fd) \
    do { \
        ToWorker m_ = SCISTREAM__WORKER__TO_WORKER__INIT; \
        m_.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_##CASE; \
        m_.field = (ptr); \
        tell(&m_, fd); \
    } while (0)

static const FromWorker *next(int what)
{
    UNTIL(next_heard < n_heard);
    const FromWorker *m = heard[next_heard++];
    CU_ASSERT_EQUAL_FATAL((int)m->what_case, what);
    return m;
}

#define NEXT(CASE) next(SCISTREAM__WORKER__FROM_WORKER__WHAT_##CASE)

static void begin_uninitialised(void)
{
    log_threshold = LOG_LEVEL_ERROR;
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
    mem_forget();
    before = footprint();
    conf = conf_new();
    worker = worker_new(&loop, conf, hear, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(worker);
    n_heard = next_heard = idles = 0;
    heard_fd = -1;
    client = (struct app){ .fd = -1, .seed = 1 };
    plan = (struct mem_plan){ .seed = 1 };
    mem_plan_add("sink", &plan);
}

static void begin(void)
{
    Scistream__Worker__Init i = SCISTREAM__WORKER__INIT__INIT;
    begin_uninitialised();
    TELL(INIT, init, &i, -1);
    NEXT(STARTED);
}

static void on_idle(void *user UNUSED) { idles++; }

static void end(void)
{
    turn();
    CU_ASSERT_EQUAL(next_heard, n_heard);
    worker_shut(worker, on_idle);
    UNTIL(idles);
    turn();
    CU_ASSERT_EQUAL(idles, 1);
    worker_free(worker);
    conf_free(conf);
    for (unsigned i = 0; i < n_heard; i++)
        scistream__worker__from_worker__free_unpacked(heard[i], NULL);
    fd_close(&heard_fd);
    app_close(&client);
    CU_ASSERT_TRUE(footprint_same(&before));
    loop_fini(&loop);
}

static void tell_door(Scistream__Worker__TcpPeer *to, int fd)
{
    char name[] = "route test";
    Scistream__Worker__Door d = SCISTREAM__WORKER__DOOR__INIT;
    d.number = DOOR;
    d.connections = 10;
    d.to = to;
    d.name = name;
    TELL(DOOR, door, &d, fd);
}

static uint64_t came(void)
{
    tell_door(NULL, stage_listen("127.0.0.1", 0, 8, &door_at));
    client.fd = stage_connect(&door_at);
    CU_ASSERT_FATAL(client.fd >= 0);
    return NEXT(CAME)->came->ticket;
}

static void open_channel(void)
{
    Scistream__Worker__Open o = SCISTREAM__WORKER__OPEN__INIT;
    o.channel = 1;
    o.window = 65536;
    o.slot = 1;
    TELL(OPEN, open, &o, -1);
}

static void open_end(Scistream__Worker__Side side, char *transport, char *address, uint64_t ticket)
{
    Hop h = SCISTREAM__WORKER__HOP__INIT;
    h.channel = 1;
    h.side = side;
    h.transport = transport;
    h.address = address;
    h.ticket = ticket;
    TELL(HOP, hop, &h, -1);
}

static char tcp[] = "tcp", mem[] = "mem", strange[] = "strange", sink[] = "sink", nowhere[] = "";

static void close_channel(void)
{
    Scistream__Worker__Close c = SCISTREAM__WORKER__CLOSE__INIT;
    c.channel = 1;
    TELL(CLOSE, close, &c, -1);
    NEXT(CLOSED);
}

static void expect_reset(void)
{
    UNTIL(app_over(&client));
    CU_ASSERT_EQUAL(client.error, ECONNRESET);
}

static void expect_failed(int rc)
{
    const Scistream__Worker__Failed *f = NEXT(FAILED)->failed;
    CU_ASSERT(f->channel == 1 && f->side == SOURCE && f->code == err_to_wire(rc) && *f->text);
}

/* ------------------------------------------------------------ connections that control serves */

static void test_adopted(void)
{
    begin();
    uint64_t ticket = came();
    client.to_send = 200000;
    client.fin = true;
    open_channel();
    open_end(SINK, mem, sink, 0);
    open_end(SOURCE, tcp, nowhere, ticket);
    NEXT(UP);
    NEXT(UP);
    CU_ASSERT_EQUAL(NEXT(ENDED)->ended->total, 200000);
    NEXT(FINISHED);
    CU_ASSERT(plan.moved == 200000 && plan.wrong == 0);
    close_channel();
    UNTIL(client.eof);
    end();
}

static void test_channel_is_gone(void)
{
    begin();
    open_end(SOURCE, tcp, nowhere, came());
    expect_reset();
    end();
}

static void test_end_is_taken(void)
{
    begin();
    uint64_t ticket = came();
    plan = (struct mem_plan){ .bytes = 1, .again = 1, .later_ns = 50 * NS_PER_MS }; /* it never has it */
    open_channel();
    open_end(SOURCE, mem, sink, 0);
    NEXT(UP);
    open_end(SOURCE, tcp, nowhere, ticket);
    expect_failed(-EEXIST);
    expect_reset();
    close_channel();
    end();
}

static void test_no_sense(void)
{
    begin();
    uint64_t ticket = came();
    open_channel();
    open_end(SOURCE, strange, nowhere, ticket);
    expect_failed(-SST_ENOTRANSPORT);
    expect_reset();
    close_channel();
    end();
    begin();
    ticket = came();
    open_channel();
    open_end(SOURCE, mem, sink, ticket);
    expect_failed(-SST_ENOTRANSPORT);
    expect_reset();
    close_channel();
    end();
}

static void test_ticket_is_gone(void)
{
    begin();
    uint64_t ticket = came();
    Scistream__Worker__Drop d = { .base = PROTOBUF_C_MESSAGE_INIT(&scistream__worker__drop__descriptor), .ticket = ticket };
    open_channel();
    TELL(DROP, drop, &d, -1);
    open_end(SOURCE, tcp, nowhere, ticket);
    expect_failed(-SST_ELOST);
    expect_reset();
    close_channel();
    end();
}

/* ------------------------------------------------------------ descriptors */

/* The board says that worker 1 has less to do: the descriptor goes to control, and is not kept here. */
static void test_pass(void)
{
    Scistream__Worker__Init i = SCISTREAM__WORKER__INIT__INIT;
    Scistream__Worker__TcpPeer to = SCISTREAM__WORKER__TCP_PEER__INIT;
    ToWorker m = SCISTREAM__WORKER__TO_WORKER__INIT;
    int fds[2];
    begin_uninitialised();
    stats_unmap(stats_create(&fds[0]));
    struct board *board = board_create(&fds[1]);
    stats_set(&board->workers, 2);
    m.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_INIT;
    m.init = &i;
    worker_handle(worker, &m, fds, 2);
    stats_set(&board->row[0].relays, 8); /* after Init, which clears what one that died here left */
    NEXT(STARTED);
    tell_door(&to, stage_listen("127.0.0.1", 0, 8, &door_at));
    client.fd = stage_connect(&door_at);
    CU_ASSERT_EQUAL(NEXT(PASS)->pass->worker, 1);
    CU_ASSERT(heard_fd >= 0 && !app_over(&client));
    fd_close(&heard_fd); /* the last one */
    expect_reset();
    board_unmap(board);
    end();
}

static void test_take(void)
{
    Scistream__Worker__Take t = { .base = PROTOBUF_C_MESSAGE_INIT(&scistream__worker__take__descriptor), .number = DOOR };
    union sockaddr_any at;
    begin();
    AUTO_FD int other = stage_listen("127.0.0.1", 0, 8, &at);
    tell_door(NULL, stage_listen("127.0.0.1", 0, 8, &door_at));
    TELL(TAKE, take, &t, -1);
    client.fd = stage_connect(&at);
    TELL(TAKE, take, &t, stage_accept(other));
    CU_ASSERT_EQUAL(NEXT(CAME)->came->door, DOOR);
    fd_close(&other);
    end();
}

/* Messages about doors before there is anything: nothing happens, and no descriptor is left. */
static void test_before_init(void)
{
    Scistream__Worker__Undoor u = { .base = PROTOBUF_C_MESSAGE_INIT(&scistream__worker__undoor__descriptor), .number = DOOR };
    Scistream__Worker__Take t = { .base = PROTOBUF_C_MESSAGE_INIT(&scistream__worker__take__descriptor), .number = DOOR };
    Scistream__Worker__Drop d = { .base = PROTOBUF_C_MESSAGE_INIT(&scistream__worker__drop__descriptor), .ticket = 1 };
    Scistream__Worker__Close c = { .base = PROTOBUF_C_MESSAGE_INIT(&scistream__worker__close__descriptor), .channel = RELAY_ID | 1 };
    begin_uninitialised();
    tell_door(NULL, stage_listen("127.0.0.1", 0, 8, &door_at));
    TELL(UNDOOR, undoor, &u, -1);
    TELL(TAKE, take, &t, dup(STDERR_FILENO));
    TELL(DROP, drop, &d, -1);
    open_end(SOURCE, tcp, nowhere, 1);
    CU_ASSERT(stage_connect(&door_at) < 0);
    TELL(CLOSE, close, &c, -1);
    NEXT(CLOSED); /* there is none, as of any other channel */
    end();
}

UNIT_MAIN("worker_doors", UNIT(test_adopted), UNIT(test_channel_is_gone), UNIT(test_end_is_taken), UNIT(test_no_sense), UNIT(test_ticket_is_gone),
          UNIT(test_pass), UNIT(test_take), UNIT(test_before_init))
