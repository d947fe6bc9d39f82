/* Relays: doors on real listening sockets, two workers on one board, and applications at both sides. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

#include "src/core/board.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/engine/relay.h"
#include "tests/lib/rig.h"
#include "tests/lib/tls_pair.h"
#include "tests/lib/unit.h"
#include "tests/unit/tcp_stage.h"

const struct xport_ops *const xport_list[] = { &xport_tcp_ops, NULL };

typedef Scistream__Worker__Door Door;
typedef Scistream__Worker__TcpPeer TcpPeer;
typedef Scistream__Worker__Relayed Relayed;

#define LOCAL "127.0.0.1"
#define CLOSE(i, id, code) relays_close(side[i].rs, id, &(struct relay_reason){ .rc = (code) })
#define RINGS (512U << 10) /* of one relay */
#define DOOR 5
#define HEARD_MAX 32
#define APPS 12

struct heard { FromWorker *m; int fd; };

/* What a worker has of relays, and what it said. */
struct side {
    struct relays *rs;
    struct heard heard[HEARD_MAX];
    unsigned n, next, idles;
};

static struct rig rig;
static struct board *board;
static struct side side[2];
static struct footprint before;
static struct app client[APPS], server[APPS];
static unsigned n_servers;
static int backend;                    /* listening socket */
static union sockaddr_any backend_at, door_at;

/* ------------------------------------------------------------ the stage */

/* It is counted with its door by now, and with nothing else. */
static void check_counted_once(const struct side *s, const FromWorker *m)
{
    const struct stats_page *p = rig.env[s - side].stats;
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_RELAYED)
        CU_ASSERT_EQUAL(stats_get(&p->relay[m->relayed->relay % STATS_RELAYS].c.id), 0);
}

static void hear(void *user, const FromWorker *m, int fd)
{
    struct side *s = user;
    uint8_t data[2000];
    check_counted_once(s, m);
    size_t n = scistream__worker__from_worker__get_packed_size(m);
    CU_ASSERT_FATAL(n <= sizeof(data) && s->n < HEARD_MAX);
    scistream__worker__from_worker__pack(m, data);
    s->heard[s->n++] = (struct heard){ scistream__worker__from_worker__unpack(NULL, n, data), fd };
}

static void on_idle(void *user) { ((struct side *)user)->idles++; }

static void play(void)
{
    int fd;
    while (backend >= 0 && n_servers < APPS && (fd = stage_accept(backend)) >= 0)
        server[n_servers++].fd = fd;
    for (unsigned i = 0; i < APPS; i++) {
        app_play(&client[i]);
        app_play(&server[i]);
    }
}

#define UNTIL(cond) STAGE_UNTIL(&rig.loop, play(), cond)

static void turn(void)
{
    for (int i = 0; i < 20; i++) {
        play();
        loop_turn(&rig.loop, NS_PER_MS);
    }
}

static void begin(void)
{
    log_threshold = LOG_LEVEL_ERROR;
    signal(SIGPIPE, SIG_IGN); /* as the worker does */
    rig_open(&rig);
    before = footprint();
    board = board_create(NULL);
    stats_set(&board->workers, 2);
    stats_set(&board->memory_limit, 1ULL << 40);
    for (unsigned i = 0; i < 2; i++) {
        rig.env[i].board = board;
        side[i] = (struct side){ .rs = relays_new(&rig.env[i], hear, &side[i]) };
    }
    for (unsigned i = 0; i < APPS; i++) {
        client[i] = (struct app){ .fd = -1, .seed = 1, .peer_seed = 2 };
        server[i] = (struct app){ .fd = -1, .seed = 2, .peer_seed = 1 };
    }
    n_servers = 0;
    backend = stage_listen(LOCAL, 0, 64, &backend_at);
}

static const FromWorker *next_of(struct side *s, int what)
{
    CU_ASSERT_FATAL(s->next < s->n);
    const FromWorker *m = s->heard[s->next++].m;
    CU_ASSERT_EQUAL_FATAL((int)m->what_case, what);
    return m;
}

#define NEXT(i, CASE) next_of(&side[i], SCISTREAM__WORKER__FROM_WORKER__WHAT_##CASE)

static bool silent(void) { return side[0].next == side[0].n && side[1].next == side[1].n; }

static void shut(struct side *s)
{
    if (!s->idles)
        relays_shut(s->rs, on_idle);
    UNTIL(s->idles);
    CU_ASSERT_EQUAL(s->idles, 1);
    relays_free(s->rs);
    for (unsigned i = 0; i < s->n; i++) {
        scistream__worker__from_worker__free_unpacked(s->heard[i].m, NULL);
        fd_close(&s->heard[i].fd);
    }
}

/* Nothing is left: no relay, no ring, no descriptor; and the board says so. */
static void end(void)
{
    for (unsigned i = 0; i < 2; i++) {
        shut(&side[i]);
        xport_tcp_ops.unlisten(&rig.env[i]);
    }
    for (unsigned i = 0; i < APPS; i++) {
        app_close(&client[i]);
        app_close(&server[i]);
    }
    fd_close(&backend);
    CU_ASSERT(board_reserved(board) == 0 && board_open(board, DOOR) == 0);
    CU_ASSERT(stats_get(&rig.env[0].stats->door[DOOR].open) == 0 && stats_get(&rig.env[1].stats->door[DOOR].open) == 0);
    board_unmap(board);
    CU_ASSERT_TRUE(footprint_same(&before));
    rig_close(&rig);
}

/* ------------------------------------------------------------ doors */

static char local[] = LOCAL, name[] = "route test, tcp://127.0.0.1:0";
static char *addresses[] = { local };

static TcpPeer to_backend(void)
{
    TcpPeer t = SCISTREAM__WORKER__TCP_PEER__INIT;
    t.addresses = addresses;
    t.n_addresses = 1;
    t.port = addr_port(&backend_at);
    t.connect_ns = 5 * NS_PER_S;
    return t;
}

static Door a_door(TcpPeer *to)
{
    Door d = SCISTREAM__WORKER__DOOR__INIT;
    d.number = DOOR;
    d.connections = 100;
    d.keep_ns = NS_PER_S;
    d.to = to;
    d.tell = true;
    d.name = name;
    return d;
}

static void open_door(unsigned i, const Door *d)
{
    int fd = stage_listen(LOCAL, 0, 64, &door_at);
    CU_ASSERT_FATAL(fd >= 0);
    relays_door(side[i].rs, d, fd);
}

static void open_relay_door(void)
{
    TcpPeer to = to_backend();
    Door d = a_door(&to);
    open_door(0, &d);
}

static void change_door(uint64_t connections, uint64_t memory_limit)
{
    TcpPeer to = to_backend();
    Door d = a_door(&to);
    d.connections = connections;
    stats_set(&board->memory_limit, memory_limit);
    relays_door(side[0].rs, &d, -1);
}

static struct stats_door *door_stats(unsigned i) { return &rig.env[i].stats->door[DOOR]; }
static uint64_t open_relays(void) { return stats_get(&door_stats(0)->open); }

static void come(unsigned i)
{
    client[i].fd = stage_connect(&door_at);
    CU_ASSERT_FATAL(client[i].fd >= 0);
}

static void come_through(unsigned i)
{
    unsigned was = n_servers;
    come(i);
    UNTIL(n_servers == was + 1);
}

static void expect_refused(unsigned i)
{
    uint64_t was = stats_get(&door_stats(0)->refused);
    come(i);
    UNTIL(app_over(&client[i]));
    CU_ASSERT_EQUAL(client[i].error, ECONNRESET);
    CU_ASSERT_EQUAL(stats_get(&door_stats(0)->refused), was + 1);
}

/* ------------------------------------------------------------ a relay, and what is told of it */

static void expect_open(const struct stats_relay *st, uint64_t n)
{
    struct stats_door *d = door_stats(0);
    CU_ASSERT(stats_get(&d->accepted) == n && stats_get(&d->open) == n && stats_get(&d->refused) == 0 && stats_get(&d->failed) == 0);
    CU_ASSERT(stats_get(&board->row[0].relays) == n && board_open(board, DOOR) == n && board_reserved(board) == n * RINGS);
    CU_ASSERT_EQUAL(stats_get(&rig.env[0].stats->relay_high), n);
    CU_ASSERT(stats_get(&st->c.id) & RELAY_ID && st->door == DOOR && stats_get(&st->born_ns) > 0);
}

static void expect_relayed(const Relayed *m, const char *peer, const char *to)
{
    CU_ASSERT(m->door == DOOR && m->relay & RELAY_ID);
    CU_ASSERT_STRING_EQUAL(m->peer, peer);
    CU_ASSERT_STRING_EQUAL(m->backend, to);
    CU_ASSERT(m->ns > 0 && m->ns < 60 * NS_PER_S && m->n_wait_ns == 2 * WAIT_KINDS);
}

static void test_relay(void)
{
    char peer[ADDR_TEXT], to[ADDR_TEXT];
    union sockaddr_any from = { 0 };
    socklen_t len = sizeof(from);
    begin();
    open_relay_door();
    const struct stats_relay *st = &rig.env[0].stats->relay[0];
    client[0].to_send = 1000000;
    server[0].to_send = 300000;
    come_through(0);
    UNTIL(server[0].got == 1000000 && client[0].got == 300000 && st->backend.sa.sa_family);
    expect_open(st, 1);
    getsockname(client[0].fd, &from.sa, &len);
    addr_format(&from, peer);
    addr_format(&backend_at, to);
    CU_ASSERT(addr_port(&st->peer) == addr_port(&from) && st->up && addr_port(&st->backend) == addr_port(&backend_at));
    CU_ASSERT(stats_get(&st->c.flow[FORWARD].rel) == 1000000 && stats_get(&st->c.flow[BACKWARD].rel) == 300000 && silent());
    client[0].fin = server[0].fin = true;
    UNTIL(open_relays() == 0);
    const Relayed *m = NEXT(0, RELAYED)->relayed;
    expect_relayed(m, peer, to);
    CU_ASSERT(m->forward == 1000000 && m->backward == 300000 && m->code == 0 && str_eq(m->text, ""));
    struct stats_door *d = door_stats(0);
    CU_ASSERT(stats_get(&d->bytes[0]) == 1000000 && stats_get(&d->bytes[1]) == 300000 && stats_get(&d->failed) == 0);
    for (unsigned i = 0; i < 2 * WAIT_KINDS; i++)
        CU_ASSERT_EQUAL(stats_get(&d->wait_ns[i / WAIT_KINDS][i % WAIT_KINDS]), m->wait_ns[i]);
    CU_ASSERT(m->wait_ns[WAIT_SOURCE] > 0 && stats_get(&st->c.id) == 0 && !st->backend.sa.sa_family);
    CU_ASSERT(client[0].eof && server[0].eof && client[0].wrong == 0 && server[0].wrong == 0 && silent());
    end();
}

static bool has_large_pipes(void)
{
    int fd[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(fd, O_CLOEXEC), 0);
    bool large = fcntl(fd[0], F_SETPIPE_SZ, RING_POOL_PIPE) >= RING_POOL_PIPE_MIN;
    close(fd[0]);
    close(fd[1]);
    return large;
}

/* Pipes are made while they fit beside what is promised to all; the limit is the one that control said last. */
static void test_pipes(void)
{
    const uint64_t more = RING_POOL_PIPE - RINGS / 2;
    for (int fits = 0; fits < 2; fits++) {
        begin();
        open_relay_door();
        change_door(100, RINGS + more - !fits);
        come_through(0);
        server[0].lazy = true;
        client[0].to_send = 10 << 20;
        UNTIL(client[0].sent > 1 << 20);
        turn();
        CU_ASSERT(stats_get(&board->row[0].piped) == (fits && has_large_pipes() ? more : 0));
        come_through(1); /* it takes no notice */
        end();
    }
}

static void test_not_told(void)
{
    begin();
    TcpPeer to = to_backend();
    Door d = a_door(&to);
    d.tell = false;
    open_door(0, &d);
    client[0].fin = server[0].fin = true;
    come_through(0);
    UNTIL(open_relays() == 0);
    CU_ASSERT_TRUE(silent());
    end();
}

static void test_many(void)
{
    uint64_t bytes = 0;
    begin();
    open_relay_door();
    stats_set(&board->workers, 1); /* nobody to pass them to */
    for (unsigned i = 0; i < APPS; i++) {
        client[i].to_send = server[i].to_send = 400000;
        bytes += 400000;
        client[i].fin = server[i].fin = true;
        come(i);
    }
    UNTIL(side[0].n == APPS && n_servers == APPS);
    for (unsigned i = 0; i < APPS; i++)
        CU_ASSERT(client[i].got == 400000 && client[i].wrong == 0 && server[i].got == 400000 && server[i].wrong == 0);
    CU_ASSERT(stats_get(&door_stats(0)->bytes[0]) == bytes && stats_get(&door_stats(0)->bytes[1]) == bytes);
    end();
}

/* ------------------------------------------------------------ failures */

static void expect_failed(int rc, const char *why)
{
    UNTIL(app_over(&client[0]) && open_relays() == 0);
    CU_ASSERT_EQUAL(client[0].error, ECONNRESET);
    const Relayed *m = NEXT(0, RELAYED)->relayed;
    CU_ASSERT_EQUAL(m->code, err_to_wire(rc));
    if (!strstr(m->text, why))
        printf("\n  '%s' is not in '%s'\n", why, m->text);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->text, why));
    CU_ASSERT(stats_get(&door_stats(0)->failed) == 1 && stats_get(&door_stats(0)->accepted) == 1 && silent());
}

static void test_backend_refuses(void)
{
    begin();
    open_relay_door();
    fd_close(&backend);
    come(0);
    expect_failed(-ECONNREFUSED, "tcp to 127.0.0.1:");
    CU_ASSERT_STRING_EQUAL(side[0].heard[0].m->relayed->backend, "");
    end();
}

/* A name that nobody has answered for yet. */
static void test_no_address(void)
{
    begin();
    TcpPeer to = to_backend();
    Door d = a_door(&to);
    to.n_addresses = 0;
    open_door(0, &d);
    come(0);
    expect_failed(-SST_ERESOLVE, "there is no address to connect to yet");
    end();
}

static void test_reset(void)
{
    begin();
    open_relay_door();
    client[0].to_send = 5000;
    come_through(0);
    UNTIL(server[0].got == 5000);
    app_reset(&server[0]);
    expect_failed(-SST_ERESET, ": reset by the peer");
    CU_ASSERT(side[0].heard[0].m->relayed->forward == 5000 && stats_get(&door_stats(0)->bytes[0]) == 5000);
    CU_ASSERT_STRING_NOT_EQUAL(side[0].heard[0].m->relayed->backend, "");
    end();
}

static void test_close_by_id(void)
{
    begin();
    open_relay_door();
    come_through(0);
    uint64_t id = stats_get(&rig.env[0].stats->relay[0].c.id);
    CU_ASSERT_FALSE(CLOSE(0, id + 1, -SST_EABORTED));
    CU_ASSERT_FALSE(CLOSE(1, id, -SST_EABORTED));
    CU_ASSERT_TRUE(CLOSE(0, id, -SST_EABORTED));
    CU_ASSERT_TRUE(CLOSE(0, id, -SST_EDRAINING)); /* the first reason counts */
    expect_failed(-SST_EABORTED, err_text(-SST_EABORTED));
    CU_ASSERT_FALSE(CLOSE(0, id, -SST_EABORTED));
    UNTIL(app_over(&server[0]));
    CU_ASSERT_EQUAL(server[0].error, ECONNRESET);
    come_through(1);
    id = stats_get(&rig.env[0].stats->relay[0].c.id);
    CU_ASSERT_TRUE(relays_close(side[0].rs, id, &(struct relay_reason){ -SST_ERELEASED, "released: enough" })); /* in these words */
    UNTIL(open_relays() == 0 && app_over(&client[1]));
    const Relayed *m = NEXT(0, RELAYED)->relayed;
    CU_ASSERT(m->relay == id && m->code == err_to_wire(-SST_ERELEASED) && client[1].error == ECONNRESET);
    CU_ASSERT_STRING_EQUAL(m->text, "released: enough");
    end();
}

/* Those of some doors; the others do not notice. */
static void test_close_doors(void)
{
    const struct relay_reason why = { .rc = -SST_ERELEASED };
    const uint32_t others[] = { DOOR + 1, BOARD_DOORS, UINT32_MAX }, it[] = { DOOR + 1, DOOR };
    begin();
    open_relay_door();
    for (unsigned i = 0; i < 2; i++)
        come_through(i);
    relays_close_doors(side[0].rs, others, ARRAY_LEN(others), &why);
    relays_close_doors(side[0].rs, it, 0, &why);
    for (int i = 0; i < 20; i++)
        loop_turn(&rig.loop, 0);
    CU_ASSERT(open_relays() == 2 && silent());
    relays_close_doors(side[0].rs, it, ARRAY_LEN(it), &why);
    UNTIL(open_relays() == 0 && app_over(&client[0]) && app_over(&client[1]));
    for (unsigned i = 0; i < 2; i++)
        CU_ASSERT(NEXT(0, RELAYED)->relayed->code == err_to_wire(-SST_ERELEASED) && client[i].error == ECONNRESET);
    end();
}

/* Doors of sessions: each has a number of its own at a place that others had. */
static void test_forget_door(void)
{
    const struct relay_reason why = { .rc = -SST_ERELEASED, .text = "released by its owner" };
    const unsigned number = 3 * BOARD_DOORS + BOARD_ROUTE_DOORS + 7, place = BOARD_ROUTE_DOORS + 7;
    begin();
    TcpPeer to = to_backend();
    Door d = a_door(&to);
    d.number = number;
    d.of_session = true;
    open_door(0, &d);
    come_through(0);
    CU_ASSERT_EQUAL(board_open(board, place), 1);
    relays_forget_door(side[0].rs, number + BOARD_DOORS, &why); /* another one at this place */
    relays_forget_door(side[0].rs, place, &why);
    relays_forget_door(side[0].rs, 2 * BOARD_DOORS, &why);      /* no number */
    relays_take(side[0].rs, number - BOARD_DOORS, open("/dev/null", O_RDONLY | O_CLOEXEC)); /* late, for one that is gone */
    turn();
    CU_ASSERT(board_open(board, place) == 1 && silent());
    relays_forget_door(side[0].rs, number, &why);
    UNTIL(board_open(board, place) == 0 && app_over(&client[0]) && app_over(&server[0]));
    const Relayed *m = NEXT(0, RELAYED)->relayed;
    CU_ASSERT(m->door == number && m->code == err_to_wire(-SST_ERELEASED) && str_eq(m->text, why.text));
    CU_ASSERT(client[0].error == ECONNRESET && server[0].error == ECONNRESET && board_open(board, place) == 0);
    CU_ASSERT(stage_connect(&door_at) < 0 && errno == ECONNREFUSED);
    relays_forget_door(side[0].rs, number, &why);
    d.number = number + BOARD_DOORS; /* the next one */
    open_door(0, &d);
    come_through(1);
    CU_ASSERT_EQUAL(stats_get(&rig.env[0].stats->door[place].accepted), 2);
    end();
}

static void test_close_all(void)
{
    begin();
    open_relay_door();
    for (unsigned i = 0; i < 3; i++)
        come_through(i);
    CU_ASSERT_TRUE(CLOSE(0, RELAY_ID, -SST_EDRAINING));
    UNTIL(open_relays() == 0 && app_over(&client[0]) && app_over(&client[1]) && app_over(&client[2]));
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT(NEXT(0, RELAYED)->relayed->code == err_to_wire(-SST_EDRAINING) && client[i].error == ECONNRESET);
    come_through(3); /* the door is open */
    end();
}

/* Control closes one that has ended well, and whose end is not told yet: it stays well. */
static void test_close_what_ended(void)
{
    begin();
    open_relay_door();
    client[0].fin = server[0].fin = true;
    come_through(0);
    uint64_t id = stats_get(&rig.env[0].stats->relay[0].c.id);
    bool is_there;
    do {
        play();
        loop_turn(&rig.loop, 0);
        is_there = stats_get(&rig.env[0].stats->relay[0].c.id) == id;
    } while (is_there && !(client[0].eof && server[0].eof));
    if (is_there && CLOSE(0, id, 0))
        UNTIL(open_relays() == 0);
    CU_ASSERT_EQUAL(NEXT(0, RELAYED)->relayed->code, 0);
    end();
}

/* It is in the middle of its work: the loop's timers come between the last byte of a channel and the telling of its end. */
struct drain { struct timer t; uint64_t id; bool hit; };

static bool has_end(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void on_drain(struct timer *t)
{
    struct drain *d = container_of(t, struct drain, t);
    if (has_end(client[0].fd) && has_end(server[0].fd))
        d->hit = CLOSE(0, d->id, -SST_EDRAINING);
    else
        loop_timer(&rig.loop, t, 0);
}

/* A drain whose time is over just then: both have all, so it ended well, and neither of them is reset. */
static void test_drain_spares_finished(void)
{
    begin();
    open_relay_door();
    come_through(0);
    struct drain d = { .t.fire = on_drain, .id = stats_get(&rig.env[0].stats->relay[0].c.id) };
    client[0].lazy = server[0].lazy = true;
    shutdown(client[0].fd, SHUT_WR);
    shutdown(server[0].fd, SHUT_WR);
    loop_timer(&rig.loop, &d.t, 0);
    UNTIL(open_relays() == 0);
    CU_ASSERT_TRUE(d.hit);
    const Relayed *m = NEXT(0, RELAYED)->relayed;
    CU_ASSERT(m->code == 0 && str_eq(m->text, ""));
    client[0].lazy = server[0].lazy = false;
    UNTIL(app_over(&client[0]) && app_over(&server[0]));
    CU_ASSERT(client[0].eof && server[0].eof && silent());
    end();
}

/* A drain while the last words of a peer that reset are on their way: the reset is still the reason. */
static void test_drain_while_parting(void)
{
    begin();
    open_relay_door();
    come_through(0);
    client[0].lazy = true;
    server[0].to_send = 200 << 20;
    for (uint64_t last = 1; last != server[0].sent;) {
        last = server[0].sent;
        turn();
        turn();
    }
    app_reset(&server[0]);
    turn();
    CU_ASSERT_EQUAL(open_relays(), 1);
    CU_ASSERT_TRUE(CLOSE(0, RELAY_ID, -SST_EDRAINING));
    client[0].lazy = false;
    expect_failed(-SST_ERESET, ": reset by the peer");
    end();
}

/* ------------------------------------------------------------ limits */

static void test_connections(void)
{
    begin();
    open_relay_door();
    change_door(2, 1ULL << 40);
    come_through(0);
    come_through(1);
    expect_refused(2);
    expect_refused(3);
    CU_ASSERT(stats_get(&door_stats(0)->accepted) == 4 && open_relays() == 2);
    app_reset(&client[0]);
    UNTIL(open_relays() == 1);
    come_through(4);
    stats_set(&board->row[1].open[DOOR], 1); /* over all workers */
    app_reset(&client[1]);
    UNTIL(open_relays() == 1);
    expect_refused(5);
    stats_set(&board->row[1].open[DOOR], 0);
    change_door(3, 1ULL << 40);
    come_through(6);
    CU_ASSERT_EQUAL(open_relays(), 2);
    end();
}

static void test_memory(void)
{
    begin();
    open_relay_door();
    change_door(100, 2 * RINGS);
    come_through(0);
    come_through(1);
    expect_refused(2);
    app_reset(&client[0]);
    UNTIL(open_relays() == 1);
    stats_set(&board->control.reserved, 1); /* a channel of control's */
    expect_refused(3);
    stats_set(&board->control.reserved, 0);
    come_through(4);
    stats_set(&board->row[1].reserved, RINGS);
    app_reset(&client[1]);
    UNTIL(open_relays() == 1);
    expect_refused(5);
    stats_set(&board->row[1].reserved, 0);
    end();
}

/* Rings are kept for so many of this door, whatever all others take. */
static void test_promised(void)
{
    begin();
    open_relay_door();
    TcpPeer to = to_backend();
    Door d = a_door(&to);
    d.promised = 2;
    relays_door(side[0].rs, &d, -1);
    stats_set(&board->memory_limit, 0);
    come_through(0);
    come_through(1);
    expect_refused(2);
    app_reset(&client[0]);
    UNTIL(open_relays() == 1);
    come_through(3);
    end();
}

/* What goes through counts in the share of the door, each way for itself, and waits for it. */
static void test_share(void)
{
    begin();
    open_relay_door();
    TcpPeer to = to_backend();
    Door d = a_door(&to);
    d.share = 3;
    relays_door(side[0].rs, &d, -1);
    share_set_rate(&board->share[3], 10 << 20, true);
    come(0);
    client[0].to_send = 1 << 20;
    UNTIL(n_servers == 1);
    server[0].to_send = 1 << 20;
    uint64_t begun = now_ns();
    UNTIL(server[0].got == 1 << 20 && client[0].got == 1 << 20);
    CU_ASSERT(atomic_load(&board->share[3].taken[0]) == 1 << 20 && atomic_load(&board->share[3].taken[1]) == 1 << 20);
    CU_ASSERT(now_ns() - begun >= 100 * NS_PER_MS - SHARE_BURST_NS);
    end();
}

static void test_slots(void)
{
    begin();
    struct stats_page *p = rig.env[0].stats;
    open_relay_door();
    stats_set(&p->relay_high, STATS_RELAYS - 2);
    come_through(0);
    come_through(1);
    CU_ASSERT(stats_get(&p->relay_high) == STATS_RELAYS && stats_get(&p->relay[STATS_RELAYS - 1].c.id));
    expect_refused(2);
    uint64_t was = stats_get(&p->relay[STATS_RELAYS - 2].c.id);
    app_reset(&client[0]);
    UNTIL(open_relays() == 1);
    come_through(3);
    uint64_t now = stats_get(&p->relay[STATS_RELAYS - 2].c.id);
    CU_ASSERT(now && now != was && now % STATS_RELAYS == STATS_RELAYS - 2);
    expect_refused(4);
    end();
}

/* ------------------------------------------------------------ other workers */

static int passed_fd(void)
{
    const Scistream__Worker__Pass *m = NEXT(0, PASS)->pass;
    CU_ASSERT(m->door == DOOR && m->worker == 1);
    return fd_take(&side[0].heard[side[0].next - 1].fd);
}

static void test_pass(void)
{
    begin();
    TcpPeer to = to_backend();
    Door d = a_door(&to);
    open_door(1, &d);
    open_door(0, &d);
    stats_set(&board->row[0].relays, 7);
    come_through(0);
    CU_ASSERT(silent() && stats_get(&board->row[0].relays) == 8); /* not yet worth the way */
    client[1].to_send = 1000;
    come(1);
    UNTIL(side[0].n == 1);
    CU_ASSERT(stats_get(&door_stats(0)->accepted) == 2 && open_relays() == 1);
    relays_take(side[1].rs, DOOR, passed_fd());
    UNTIL(n_servers == 2 && server[1].got == 1000);
    CU_ASSERT(stats_get(&door_stats(1)->open) == 1 && stats_get(&board->row[1].relays) == 1 && stats_get(&door_stats(1)->accepted) == 0);
    union sockaddr_any from = { 0 };
    socklen_t len = sizeof(from);
    CU_ASSERT(getsockname(client[1].fd, &from.sa, &len) == 0 && addr_port(&rig.env[1].stats->relay[0].peer) == addr_port(&from));
    stats_set(&board->row[1].relays, stats_get(&board->row[0].relays)); /* as busy: served here */
    come_through(2);
    CU_ASSERT(silent() && open_relays() == 2);
    stats_set(&board->row[1].relays, 1);
    stats_set(&board->row[0].relays, 2);
    end();
}

/* Where most end at once, the way to another worker costs more than it brings; and again where they last. */
static void test_pass_of_brief_ones(void)
{
    begin();
    open_relay_door();
    for (unsigned i = 0; i < APPS; i++) {
        client[i].fin = server[i].fin = true;
        come_through(i);
        UNTIL(open_relays() == 0);
    }
    while (!silent())
        side[0].next++;
    for (unsigned i = 0; i < APPS; i++)
        app_close(&client[i]);
    stats_set(&board->row[0].relays, BOARD_LEAN_BRIEF - 1);
    client[0] = (struct app){ .fd = -1 };
    come(0);
    UNTIL(open_relays() == 1);
    CU_ASSERT_TRUE(silent());
    client[1] = (struct app){ .fd = -1 };
    come(1);
    UNTIL(side[0].n > side[0].next);
    relays_take(side[1].rs, DOOR, passed_fd());
    stats_set(&board->row[0].relays, 1);
    end();
}

/* What was passed is served, whoever is leaner now: it does not wander. */
static void test_take_is_final(void)
{
    begin();
    TcpPeer to = to_backend();
    Door d = a_door(&to);
    open_door(0, &d);
    open_door(1, &d);
    int fd = stage_connect(&door_at); /* to worker 1's, which has not turned yet */
    CU_ASSERT_FATAL(fd >= 0);
    client[0].fd = fd;
    stats_set(&board->row[1].relays, 100);
    UNTIL(side[1].n == 1);
    const Scistream__Worker__Pass *m = NEXT(1, PASS)->pass;
    CU_ASSERT_EQUAL(m->worker, 0);
    relays_take(side[1].rs, DOOR, fd_take(&side[1].heard[0].fd)); /* worker 0 is gone: control gives it back */
    UNTIL(n_servers == 1);
    CU_ASSERT(silent() && stats_get(&door_stats(1)->open) == 1);
    stats_set(&board->row[1].relays, 1);
    end();
}

static void test_take_refused(void)
{
    union sockaddr_any at;
    begin();
    AUTO_FD int other = stage_listen(LOCAL, 0, 8, &at);
    client[0].fd = stage_connect(&at);
    relays_take(side[0].rs, DOOR, stage_accept(other)); /* there is no such door, or it was closed meanwhile */
    UNTIL(app_over(&client[0]));
    CU_ASSERT_EQUAL(client[0].error, ECONNRESET);
    open_relay_door();
    client[1].fd = stage_connect(&at);
    int fd = stage_accept(other);
    app_reset(&client[1]);
    relays_take(side[0].rs, DOOR, fd); /* the peer has gone */
    client[2].fd = stage_connect(&at);
    change_door(0, 0);
    relays_take(side[0].rs, DOOR, stage_accept(other));
    UNTIL(app_over(&client[2]));
    CU_ASSERT(client[2].error == ECONNRESET && stats_get(&door_stats(0)->refused) == 1 && open_relays() == 0 && silent());
    fd_close(&other);
    end();
}

/* ------------------------------------------------------------ doors that change */

static void test_undoor(void)
{
    begin();
    open_relay_door();
    relays_undoor(side[0].rs, DOOR + 1);
    come_through(0);
    relays_undoor(side[0].rs, DOOR);
    relays_undoor(side[0].rs, DOOR);
    CU_ASSERT(stage_connect(&door_at) < 0 && errno == ECONNREFUSED);
    client[0].to_send = 100000;
    client[0].fin = server[0].fin = true;
    UNTIL(server[0].got == 100000 && open_relays() == 0);
    CU_ASSERT_EQUAL(NEXT(0, RELAYED)->relayed->code, 0);
    open_relay_door(); /* and again */
    come_through(1);
    end();
}

/* It was accepted while there was a door, and passed on to us behind the word that there is none. */
static void test_take_behind_undoor(void)
{
    union sockaddr_any at;
    begin();
    open_relay_door();
    relays_undoor(side[0].rs, DOOR);
    AUTO_FD int other = stage_listen(LOCAL, 0, 8, &at);
    client[0].fd = stage_connect(&at);
    relays_take(side[0].rs, DOOR, stage_accept(other));
    client[0].to_send = 1000;
    client[0].fin = server[0].fin = true;
    UNTIL(server[0].got == 1000 && client[0].eof && open_relays() == 0);
    CU_ASSERT(NEXT(0, RELAYED)->relayed->code == 0 && silent());
    fd_close(&other);
    end();
}

static void test_door_moves(void)
{
    char second[] = "127.0.0.2", *there[] = { second }, fresh[] = "another name";
    union sockaddr_any at;
    begin();
    open_relay_door();
    come_through(0);
    AUTO_FD int other = stage_listen(second, addr_port(&backend_at), 8, &at);
    CU_ASSERT_FATAL(other >= 0);
    TcpPeer to = to_backend();
    Door d = a_door(&to);
    to.addresses = there;
    d.name = fresh;
    relays_door(side[0].rs, &d, -1);
    memset(fresh, 'x', sizeof(fresh) - 1); /* it has copies */
    memset(second, 'x', sizeof(second) - 1);
    come(1);
    UNTIL((server[5].fd = stage_accept(other)) >= 0);
    client[0].to_send = 1000; /* who came before stays where he is */
    client[1].to_send = 2000;
    UNTIL(server[0].got == 1000 && server[5].got == 2000);
    CU_ASSERT_EQUAL(n_servers, 1);
    fd_close(&other);
    end();
}

static void test_door_refused(void)
{
    union sockaddr_any at;
    begin();
    TcpPeer to = to_backend();
    Door d = a_door(&to);
    relays_door(side[0].rs, &d, -1); /* without a socket there is none */
    relays_undoor(side[0].rs, DOOR);
    d.number = BOARD_DOORS;
    relays_door(side[0].rs, &d, stage_listen(LOCAL, 0, 8, &at));
    CU_ASSERT(stage_connect(&at) < 0 && errno == ECONNREFUSED);
    d.number = DOOR;
    open_door(0, &d);
    relays_door(side[0].rs, &d, stage_listen(LOCAL, 0, 8, &at)); /* it has one */
    CU_ASSERT(stage_connect(&at) < 0 && errno == ECONNREFUSED);
    come_through(0);
    d.number = DOOR + 1;
    relays_door(side[0].rs, &d, open("/dev/null", O_RDONLY | O_CLOEXEC)); /* nothing that can be waited for */
    relays_undoor(side[0].rs, DOOR + 1);
    end();
}

/* ------------------------------------------------------------ connections that control serves */

static uint64_t came(unsigned i)
{
    char peer[ADDR_TEXT];
    union sockaddr_any from = { 0 };
    socklen_t len = sizeof(from);
    unsigned was = side[0].n;
    come(i);
    UNTIL(side[0].n == was + 1);
    const Scistream__Worker__Came *m = NEXT(0, CAME)->came;
    getsockname(client[i].fd, &from.sa, &len);
    CU_ASSERT(m->door == DOOR && m->ticket > 0);
    CU_ASSERT_STRING_EQUAL(m->peer, addr_format(&from, peer));
    return m->ticket;
}

static bool resets(int fd)
{
    struct linger l = { .l_onoff = 0 };
    socklen_t len = sizeof(l);
    return getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len) == 0 && l.l_onoff && l.l_linger == 0;
}

static void test_tickets(void)
{
    begin();
    Door d = a_door(NULL);
    open_door(0, &d);
    stats_set(&board->row[0].relays, 100); /* control chooses the worker: it is not passed on */
    uint64_t first = came(0), second = came(1), third = came(2);
    CU_ASSERT(first != second && second != third && stats_get(&door_stats(0)->accepted) == 3 && open_relays() == 0);
    relays_drop(side[0].rs, second);
    UNTIL(app_over(&client[1]));
    CU_ASSERT_EQUAL(client[1].error, ECONNRESET);
    int fd = relays_claim(side[0].rs, first);
    CU_ASSERT(fd >= 0 && relays_claim(side[0].rs, first) < 0 && relays_claim(side[0].rs, second) < 0 && relays_claim(side[0].rs, 12345) < 0);
    CU_ASSERT_TRUE(resets(fd)); /* the death of the worker is no end of file */
    relays_drop(side[0].rs, first);
    relays_drop(side[0].rs, 12345);
    turn();
    CU_ASSERT(!app_over(&client[0]) && !app_over(&client[2]));
    fd_close(&fd);
    relays_undoor(side[0].rs, DOOR); /* who waits goes on waiting */
    turn();
    CU_ASSERT_FALSE(app_over(&client[2]));
    stats_set(&board->row[0].relays, 0);
    end();
    CU_ASSERT_TRUE(client[2].fd < 0);
}

/* Nor is one of a worker that died one of who took its place. */
static void test_tickets_are_unique(void)
{
    uint64_t ticket[2];
    for (unsigned i = 0; i < 2; i++) {
        begin();
        Door d = a_door(NULL);
        open_door(0, &d);
        ticket[i] = came(0);
        end();
    }
    CU_ASSERT(ticket[1] > ticket[0]);
}

static void test_passed_resets(void)
{
    begin();
    open_relay_door();
    stats_set(&board->row[0].relays, 8);
    come(0);
    UNTIL(side[0].n == 1);
    int fd = passed_fd();
    CU_ASSERT_TRUE(resets(fd));
    fd_close(&fd);
    UNTIL(app_over(&client[0]));
    CU_ASSERT_EQUAL(client[0].error, ECONNRESET);
    stats_set(&board->row[0].relays, 0);
    end();
}

/* ------------------------------------------------------------ the end */

static void test_shut(void)
{
    begin();
    open_relay_door();
    for (unsigned i = 0; i < 5; i++)
        come_through(i);
    Door d = a_door(NULL);
    relays_door(side[0].rs, &d, -1); /* from now on for control */
    uint64_t ticket = came(5);
    relays_shut(side[0].rs, on_idle);
    CU_ASSERT(side[0].idles == 0 && relays_claim(side[0].rs, ticket) < 0);
    UNTIL(side[0].idles);
    for (unsigned i = 0; i < 6; i++)
        UNTIL(app_over(&client[i]));
    for (unsigned i = 0; i < 5; i++) {
        const Relayed *m = NEXT(0, RELAYED)->relayed;
        CU_ASSERT(m->code == err_to_wire(-SST_EDRAINING) && client[i].error == ECONNRESET);
        CU_ASSERT_STRING_EQUAL(m->text, err_text(-SST_EDRAINING));
    }
    CU_ASSERT(client[5].error == ECONNRESET && stage_connect(&door_at) < 0);
    relays_shut(side[1].rs, on_idle);
    CU_ASSERT_EQUAL(side[1].idles, 1); /* from within: it had none */
    relays_free(NULL);
    end();
}

/* While it dials: the backend does not answer. */
static void test_shut_while_dialing(void)
{
    char black[] = "127.0.0.4", *there[] = { black };
    int fillers[8];
    unsigned n;
    begin();
    TcpPeer to = to_backend();
    Door d = a_door(&to);
    to.addresses = there;
    int hole = stage_black_hole(black, addr_port(&backend_at), fillers, &n);
    CU_ASSERT_FATAL(hole >= 0);
    open_door(0, &d);
    client[0].to_send = 1000;
    come(0);
    UNTIL(open_relays() == 1 && stats_get(&rig.env[0].stats->relay[0].c.flow[FORWARD].put) == 1000);
    relays_shut(side[0].rs, on_idle);
    expect_failed(-SST_EDRAINING, err_text(-SST_EDRAINING));
    CU_ASSERT_STRING_EQUAL(side[0].heard[0].m->relayed->backend, "");
    for (unsigned i = 0; i < n; i++)
        close(fillers[i]);
    close(hole);
    end();
}

/* ------------------------------------------------------------ TLS by pre-shared key */

static const struct psk keys = { .identity = "session 7", .key = "thirty-two bytes of a secret key" };

typedef Scistream__Worker__Psk Psk;

static Psk a_psk(char identity[], uint8_t key[PSK_KEY])
{
    Psk m = SCISTREAM__WORKER__PSK__INIT;
    str_copy(identity, PSK_IDENTITY, keys.identity);
    memcpy(key, keys.key, PSK_KEY);
    m.identity = identity;
    m.key = (ProtobufCBinaryData){ PSK_KEY, key };
    return m;
}

/* What OpenSSL keeps for ever once it was used is no leak. */
static void begin_psk(void)
{
    struct tls_pair p;
    tls_pair_open_wan(&p, &keys, &keys);
    CU_ASSERT_TRUE(tls_pair_shake(&p));
    tls_pair_close(&p);
    begin();
}

static void open_psk_door(bool accepts, bool connects)
{
    char identity[PSK_IDENTITY];
    uint8_t key[PSK_KEY];
    Psk psk = a_psk(identity, key);
    TcpPeer to = to_backend();
    Door d = a_door(&to);
    d.psk = accepts ? &psk : NULL;
    to.psk = connects ? &psk : NULL;
    open_door(0, &d);
}

/* Nobody is dialed before the handshake is done. */
static void test_let_in(void)
{
    begin_psk();
    open_psk_door(true, false);
    const struct stats_relay *st = &rig.env[0].stats->relay[0];
    come(0);
    turn();
    CU_ASSERT(n_servers == 0 && open_relays() == 1 && !st->up);
    app_tls(&client[0], false, &keys);
    client[0].to_send = server[0].to_send = 100000;
    UNTIL(n_servers == 1 && server[0].got == 100000 && client[0].got == 100000 && st->up);
    CU_ASSERT_STRING_EQUAL(st->security[0], "TLSv1.3 TLS_AES_256_GCM_SHA384, psk");
    CU_ASSERT_STRING_EQUAL(st->security[1], "plaintext");
    client[0].fin = server[0].fin = true;
    UNTIL(client[0].eof && server[0].eof && open_relays() == 0 && side[0].n == 1);
    CU_ASSERT(NEXT(0, RELAYED)->relayed->code == 0);
    end();
}

static void test_not_let_in(void)
{
    begin_psk();
    open_psk_door(true, false);
    come(0);
    client[0].to_send = 1000;
    UNTIL(app_over(&client[0]) && side[0].n == 1);
    const Relayed *m = NEXT(0, RELAYED)->relayed;
    CU_ASSERT(n_servers == 0 && m->code != 0 && strstr(m->text, "TLS handshake") && stats_get(&door_stats(0)->failed) == 1);
    CU_ASSERT_STRING_EQUAL(m->backend, "");
    end();
}

static void test_backend_by_tls(void)
{
    begin_psk();
    open_psk_door(false, true);
    server[0].lazy = true; /* until it speaks TLS */
    come_through(0);
    server[0].lazy = false;
    app_tls(&server[0], true, &keys);
    client[0].to_send = server[0].to_send = 100000;
    UNTIL(server[0].got == 100000 && client[0].got == 100000);
    CU_ASSERT_STRING_EQUAL(rig.env[0].stats->relay[0].security[1], "TLSv1.3 TLS_AES_256_GCM_SHA384, psk");
    app_reset(&client[0]);
    UNTIL(server[0].error && side[0].n == 1);
    CU_ASSERT(server[0].error == ECONNRESET && NEXT(0, RELAYED)->relayed->code == err_to_wire(-SST_ERESET));
    end();
}

/* Nothing is listened at for a door whose keys are none. */
static void test_keys_of_no_sense(void)
{
    char identity[PSK_IDENTITY];
    uint8_t key[PSK_KEY];
    begin_psk();
    for (int i = 0; i < 5; i++) {
        Psk psk = a_psk(identity, key);
        TcpPeer to = to_backend();
        Door d = a_door(&to);
        psk.key.len -= i == 0;
        identity[0] = i == 1 ? 0 : identity[0];
        psk.legacy = i == 2;                /* without its key */
        psk.null_ciphers = i == 3;          /* without legacy */
        *(i == 4 ? &to.psk : &d.psk) = &psk;
        psk.uid_key = (ProtobufCBinaryData){ i == 4 ? PSK_UID_KEY : 0, key };
        open_door(0, &d);
        CU_ASSERT(stage_connect(&door_at) < 0);
    }
    end();
}

UNIT_MAIN("relay", UNIT(test_relay), UNIT(test_pipes), UNIT(test_not_told), UNIT(test_many), UNIT(test_backend_refuses), UNIT(test_no_address), UNIT(test_reset),
          UNIT(test_close_by_id),
          UNIT(test_close_doors), UNIT(test_forget_door), UNIT(test_close_all), UNIT(test_close_what_ended), UNIT(test_drain_spares_finished),
          UNIT(test_drain_while_parting), UNIT(test_connections), UNIT(test_memory), UNIT(test_promised), UNIT(test_share), UNIT(test_slots), UNIT(test_pass), UNIT(test_pass_of_brief_ones),
          UNIT(test_take_is_final), UNIT(test_take_refused), UNIT(test_undoor), UNIT(test_take_behind_undoor), UNIT(test_door_moves), UNIT(test_door_refused),
          UNIT(test_tickets), UNIT(test_tickets_are_unique), UNIT(test_passed_resets), UNIT(test_shut), UNIT(test_shut_while_dialing),
          UNIT(test_let_in), UNIT(test_not_let_in), UNIT(test_backend_by_tls), UNIT(test_keys_of_no_sense))
