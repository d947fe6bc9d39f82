/* Applications at both ends of a plaintext link between two gateways: much at once goes through pipes of the kernel's, in front of the rings. The bytes
 * are the same, what stands behind a full pipe is not kept from the other direction, and every way out gives the pipes back. */
#include <signal.h>

#include "src/core/err.h"
#include "tests/lib/unit.h"
#include "tests/lib/watch.h"
#include "tests/unit/tcp_stage.h"

const struct xport_ops *const xport_list[] = { &xport_link_ops, &xport_tcp_ops, NULL };

#define WINDOW (4U << 20)
#define MUCH (12ULL << 20)
#define SOME (64U << 10) /* in a pipe: how much it holds depends on the pieces that the kernel has it in */
#define BEYOND (64ULL << 20) /* more than all buffers on the way hold */

static struct rig rig;             /* env[0]: far, to which near, env[1], dials */
static struct watch near, far;
static struct ring_pool pool[2];
static struct xport_spec spec;     /* of the link's ends */
static struct app client, server;
static int backend;
static struct footprint before;
static bool warm;
static uint64_t piped; /* bytes that went into pipes, as the test saw it between turns */

static void play(void)
{
    if (server.fd < 0 && !app_over(&server))
        server.fd = stage_accept(backend);
    app_play(&client);
    app_play(&server);
    for (int i = 0; i < 4; i++) {
        const struct channel *c = i / 2 ? near.c : far.c;
        piped = MAX(piped, c ? c->flow[i % 2].ring.pipe_held : 0);
    }
}

#define UNTIL(cond) STAGE_UNTIL(&rig.loop, play(), cond)

#define WHILE_MOVING(cond) STAGE_WHILE_MOVING(&rig.loop, play(), client.got + server.got, cond)

static void turn(unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        play();
        loop_turn(&rig.loop, NS_PER_MS);
    }
}

static void open_channel(struct watch *w, unsigned i)
{
    const struct channel_spec c = { .id = 1, .window = WINDOW, .duplex = true, .pipes = &pool[i] };
    watch_open(w, &rig, i, &c);
}

/* As a door would hand it over. */
static void open_client(void)
{
    union sockaddr_any at;
    AUTO_FD int door = stage_listen("127.0.0.1", 0, 1, &at);
    client.fd = stage_connect(&at);
    const struct xport_spec x = { .fd = stage_accept(door), .keep_ns = NS_PER_S };
    CU_ASSERT_FATAL(client.fd >= 0 && x.fd >= 0);
    CU_ASSERT_EQUAL(watch_end(&near, SIDE_SOURCE, &xport_tcp_ops, &x, NULL), 0);
}

static void open_server(void)
{
    union sockaddr_any at;
    char host[ADDR_TEXT], *addresses[] = { host, NULL };
    backend = stage_listen("127.0.0.1", 0, 1, &at);
    CU_ASSERT_FATAL(backend >= 0);
    addr_format_host(&at, host);
    const struct xport_spec x = { .fd = -1, .addresses = addresses, .port = addr_port(&at), .keep_ns = NS_PER_S, .settle = true };
    CU_ASSERT_EQUAL(watch_end(&far, SIDE_SINK, &xport_tcp_ops, &x, NULL), 0);
}

static void open_links(bool plain)
{
    char why[XPORT_WHY];
    union sockaddr_any at;
    struct xport_answer answer;
    rig.env[0].accepts = true;
    rig.env[0].link_fd = stage_listen("127.0.0.1", 0, 4, &at);
    for (int e = 0; e < 2; e++)
        CU_ASSERT_EQUAL_FATAL(xport_link_ops.listen(&rig.env[e], why, sizeof(why)), 0);
    spec = (struct xport_spec){ .address = "127.0.0.1", .port = addr_port(&at), .cookie = "a cookie of 16..", .key = "thirty-two bytes of a secret key",
                                .plain = plain, .cipher = "aes-256-gcm", .peer_window = WINDOW, .chunk_max = 1 << 20, .fd = -1 };
    open_channel(&far, 0);
    CU_ASSERT_EQUAL_FATAL(watch_end(&far, SIDE_SOURCE, &xport_link_ops, &spec, &answer), 0);
    open_channel(&near, 1);
    CU_ASSERT_EQUAL_FATAL(watch_end(&near, SIDE_SINK, &xport_link_ops, &spec, NULL), 0);
}

static void begin(bool plain)
{
    signal(SIGPIPE, SIG_IGN); /* as every program of ours does: splice(2) cannot be told to send none */
    rig_open(&rig);
    before = footprint();
    piped = 0;
    for (unsigned i = 0; i < 2; i++)
        pool[i] = (struct ring_pool){ .cap = 256 << 10 };
    client = (struct app){ .fd = -1, .seed = 1, .peer_seed = 2 };
    server = (struct app){ .fd = -1, .seed = 2, .peer_seed = 1 };
    open_links(plain);
    open_client();
    open_server();
    UNTIL(near.up[SIDE_SINK] && far.up[SIDE_SOURCE] && far.up[SIDE_SINK] && server.fd >= 0);
}

static void end(void)
{
    CU_ASSERT_TRUE(watch_close(&near, 0));
    CU_ASSERT_TRUE(watch_close(&far, 0));
    app_close(&client);
    app_close(&server);
    fd_close(&backend);
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(pool[i].n_lent, 0);
        ring_pool_fini(&pool[i]);
    }
    for (int e = 0; e < 2; e++)
        xport_link_ops.unlisten(&rig.env[e]);
    CU_ASSERT_TRUE(!warm || footprint_same(&before)); /* OpenSSL keeps some of what it allocates first */
    warm = true;
    rig_close(&rig);
}

static bool has_pipes(void) { return pool[0].no_pipes_ns == 0 && pool[1].no_pipes_ns == 0; }
static bool used_pipes(unsigned i) { return pool[i].n_pipes + pool[i].n_lent > 0; }

static void expect_whole(void)
{
    WHILE_MOVING(app_over(&client) && app_over(&server) && near.finished && far.finished);
    CU_ASSERT(!watch_failed(&near) && !watch_failed(&far) && client.eof && server.eof);
    CU_ASSERT(server.got == client.to_send && server.wrong == 0 && client.got == server.to_send && client.wrong == 0);
}

static void send_both(uint64_t out, uint64_t back)
{
    client.to_send = out;
    server.to_send = back;
    client.fin = server.fin = true;
}

/* One way, the other, both, and with TLS, which has no use for pipes. */
static void test_bytes(void)
{
    static const uint64_t sizes[][2] = { { MUCH, 0 }, { 0, MUCH }, { MUCH, MUCH }, { MUCH, 100 }, { 1, 1 } };
    for (size_t i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
        const uint64_t *n = sizes[i / 2];
        begin(i % 2 == 0);
        send_both(n[0], n[1]);
        expect_whole();
        bool should = i % 2 == 0 && n[0] + n[1] >= MUCH;
        CU_ASSERT(!has_pipes() || (used_pipes(0) == should && used_pipes(1) == should));
        end();
    }
}

/* The server answers while it does not read: what the client sends fills the pipe, and the server's direction needs limits that stand behind that. */
static void test_full_pipe_and_the_other_direction(void)
{
    begin(true);
    client.to_send = BEYOND;
    server.lazy = true;
    UNTIL(piped > SOME || !has_pipes());
    turn(200);
    CU_ASSERT(client.sent < BEYOND);
    server.to_send = BEYOND;
    WHILE_MOVING(client.got == BEYOND);
    CU_ASSERT(client.wrong == 0 && server.got == 0);
    server.lazy = false;
    client.fin = server.fin = true;
    expect_whole();
    end();
}

/* A sink that takes nothing for a while: nobody spins, and it goes on. */
static void test_full_pipe_sleeps(void)
{
    begin(true);
    client.to_send = BEYOND;
    server.lazy = true;
    UNTIL(piped > SOME || !has_pipes());
    turn(300);
    CU_ASSERT(client.sent < BEYOND && !near.c->task.active && !far.c->task.active);
    server.lazy = false;
    send_both(BEYOND, 0);
    expect_whole();
    end();
}

/* Little by little, then much, then little again: the order stays. */
static void test_changing_sizes(void)
{
    static const uint64_t steps[] = { 1, 100, 70000, 8 << 20, 8 << 20, 5, 5, 5, 1 << 20, 3, 16 << 20 };
    begin(true);
    for (size_t i = 0; i < 4 * ARRAY_LEN(steps); i++) {
        client.to_send += steps[i % ARRAY_LEN(steps)];
        server.to_send += steps[(i + 3) % ARRAY_LEN(steps)];
        server.lazy = i % 5 == 4;
        turn(1 + (unsigned)i % 7);
    }
    server.lazy = false;
    send_both(client.to_send, server.to_send);
    expect_whole();
    end();
}

/* Either application resets, or either gateway gives up, with bytes in every pipe: the other side hears it, whatever it does not read. */
static void test_ends_in_the_middle(void)
{
    for (int how = 0; how < 4; how++) {
        begin(true);
        client.to_send = server.to_send = BEYOND;
        server.lazy = true; /* else nothing need be left in them between two turns */
        UNTIL(piped > SOME || !has_pipes());
        server.lazy = how % 2;
        turn(50);
        if (how < 2) {
            app_reset(&client);
            UNTIL(watch_failed(&near));
            CU_ASSERT_EQUAL(near.rc[SIDE_SOURCE], -SST_ERESET);
        }
        CU_ASSERT_TRUE(watch_close(&near, how < 2 ? -SST_ERESET : -SST_EABORTED));
        server.lazy = false;
        UNTIL(watch_failed(&far));
        CU_ASSERT_TRUE(watch_close(&far, far.rc[SIDE_SOURCE] ? far.rc[SIDE_SOURCE] : far.rc[SIDE_SINK]));
        UNTIL(app_over(&server));
        CU_ASSERT(server.error && server.wrong == 0 && client.wrong == 0);
        end();
    }
}

/* No pipe to be had: memory as ever. */
static void test_without_pipes(void)
{
    struct board *none_fits = board_create(NULL);
    begin(true);
    for (unsigned i = 0; i < 2; i++) {
        pool[i].board = none_fits;
        pool[i].row = &none_fits->row[i];
    }
    send_both(MUCH, MUCH);
    expect_whole();
    CU_ASSERT(!used_pipes(0) && !used_pipes(1));
    end();
    board_unmap(none_fits);
}

UNIT_MAIN("link_pipe", UNIT(test_bytes), UNIT(test_full_pipe_and_the_other_direction), UNIT(test_full_pipe_sleeps), UNIT(test_changing_sizes),
          UNIT(test_ends_in_the_middle), UNIT(test_without_pipes))
