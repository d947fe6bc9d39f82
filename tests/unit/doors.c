/* Doors of control: what is bound, what workers are told, and how they follow other routes; the workers are this test. */
#include <errno.h>
#include <stdio.h>

#include "ctrl/auth.h"
#include "ctrl/doors.h"
#include "src/core/err.h"
#include "tests/lib/unit.h"
#include "tests/unit/tcp_stage.h"

#define TOLD_MAX 256

struct told { int what; unsigned number, more, code; bool with_fd, of_session; size_t n_addresses; char address[64], name[128]; bool to; int psk[2]; uint8_t key[TLS_KEY_SIZE]; uint32_t share; uint64_t promised; }; /* key: of those who come; psk: of those who come, of where they go */

static struct pool_worker worker[2];
static struct told told[2][TOLD_MAX];
static unsigned n_told[2];
static int keep;                       /* a copy of the first socket that a worker gets, as it has one */
static struct loop loop;
static struct conf *conf;
static struct routes routes;
static struct doors *doors;
static struct resolver *resolver;
static struct records no_records = { .fd = -1 };

static struct board board;
struct board *pool_board(struct pool *p UNUSED) { return &board; }
unsigned pool_size(const struct pool *p UNUSED) { return 2; }
struct pool_worker *pool_at(struct pool *p UNUSED, unsigned i) { return &worker[i]; }

/* 0: none; 1: ours alone; 2: stunnel's, too; 3: that without encryption. */
static int kind_of(const Scistream__Worker__Psk *p)
{
    if (!p)
        return 0;
    CU_ASSERT(*p->identity && p->key.len == TLS_KEY_SIZE && p->uid_key.len == (p->legacy ? AUTH_UID_KEY : 0U));
    return 1 + p->legacy + p->null_ciphers;
}

static void note_door(struct told *t, const Scistream__Worker__Door *d)
{
    t->psk[0] = kind_of(d->psk);
    t->psk[1] = d->to ? kind_of(d->to->psk) : 0;
    if (d->psk)
        memcpy(t->key, d->psk->key.data, sizeof(t->key));
    t->number = d->number;
    t->to = d->to != NULL;
    t->of_session = d->of_session;
    t->share = d->share;
    t->promised = d->promised;
    t->n_addresses = d->to ? d->to->n_addresses : 0;
    str_copy(t->name, sizeof(t->name), d->name);
    if (t->n_addresses)
        str_copy(t->address, sizeof(t->address), d->to->addresses[0]);
}

static int on_told(struct pool_worker *w, const ToWorker *m, int fd)
{
    CU_ASSERT_FATAL(n_told[w->index] < TOLD_MAX);
    if (fd >= 0 && keep < 0)
        keep = dup(fd);
    struct told *t = &told[w->index][n_told[w->index]++];
    *t = (struct told){ .what = (int)m->what_case, .with_fd = fd >= 0 };
    if (m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_DOOR)
        note_door(t, m->door);
    else if (m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_UNDOOR)
        *t = (struct told){ .what = t->what, .number = m->undoor->number, .more = (unsigned)m->undoor->n_more, .code = m->undoor->code };
    return 0;
}

#define IS_DOOR(t) ((t)->what == SCISTREAM__WORKER__TO_WORKER__WHAT_DOOR)
#define IS_UNDOOR(t) ((t)->what == SCISTREAM__WORKER__TO_WORKER__WHAT_UNDOOR)

static struct conf *read_conf(const char *text)
{
    char path[] = "/tmp/sst-unit-doors-XXXXXX", why[400] = "";
    struct conf *c = conf_new();
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    int rc = conf_read(c, path, why, sizeof(why));
    unlink(path);
    if (rc < 0)
        printf("\n  %s", why);
    CU_ASSERT_EQUAL_FATAL(rc, 0);
    return c;
}

static void load(struct routes *rs, struct conf *c)
{
    char why[400] = "";
    CU_ASSERT_EQUAL_FATAL(routes_load(rs, c, why, sizeof(why)), 0);
}

static void begin(const char *text)
{
    char why[400] = "";
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
    resolver = resolver_new(&loop);
    memset(n_told, 0, sizeof(n_told));
    keep = -1;
    for (unsigned i = 0; i < 2; i++)
        worker[i] = (struct pool_worker){ .index = i, .send = on_told };
    conf = read_conf(text);
    load(&routes, conf);
    doors = doors_open(conf, &routes, why, sizeof(why));
    if (!doors)
        printf("\n  %s", why);
    CU_ASSERT_PTR_NOT_NULL_FATAL(doors);
    doors_start(doors, &loop, (struct pool *)(void *)worker, resolver, &no_records);
    doors_begin(doors); /* while no worker has started: a test says when */
    worker[0].started = true;
}

static void end(void)
{
    fd_close(&keep);
    doors_close(doors);
    doors_close(doors);
    doors_free(doors);
    routes_free(&routes);
    conf_free(conf);
    resolver_free(resolver);
    loop_fini(&loop);
}

static void follow(const char *text)
{
    char why[400] = "";
    struct conf *c = read_conf(text);
    struct routes now;
    load(&now, c);
    CU_ASSERT_EQUAL_FATAL(doors_prepare(doors, &now, why, sizeof(why)), 0);
    doors_follow(doors, &now);
    routes_replace(&routes, &now);
    conf_free(c);
}

/* n doors of one route, on ports from that one. */
static char *many(unsigned n, unsigned port)
{
    char *list = mem_strdup(""), *next;
    for (unsigned i = 0; i < n; i++, list = next) {
        next = mem_printf("%s%s\"tcp://127.0.0.1:%u\"", list, i ? ", " : "", port + i);
        free(list);
    }
    next = mem_printf("route a { accept = {%s} connect = \"tcp://127.0.0.1:9\" }\n", list);
    free(list);
    return next;
}

/* Ports that are free now: those of the kernel's choice, in a row. */
static unsigned free_ports(unsigned n)
{
    for (unsigned base = 31000 + (unsigned)getpid() % 20000; base < 64000; base += n) {
        unsigned i = 0;
        for (int fd; i < n; i++) {
            union sockaddr_any at;
            if ((fd = stage_listen("127.0.0.1", (uint16_t)(base + i), 1, &at)) < 0)
                break;
            close(fd);
        }
        if (i == n)
            return base;
    }
    abort();
}

static bool answers(unsigned port)
{
    union sockaddr_any at;
    addr_numeric("127.0.0.1", (uint16_t)port, &at);
    int fd = stage_connect(&at);
    bool there = fd >= 0;
    fd_close(&fd);
    return there;
}

static void test_told(void)
{
    unsigned port = free_ports(3);
    AUTO_FREE char *text = mem_printf("route a { accept = {\"tcp://127.0.0.1:%u\", \"tcp://127.0.0.1:%u\"} connect = \"tcp://127.0.0.9:9\" }\n"
                                      "route b { accept = {\"tcp://127.0.0.1:%u\"} connect = \"tcp://localhost:9\" }\n", port, port + 1, port + 2);
    begin(text);
    CU_ASSERT(doors_count(doors) == 3 && doors_route(doors, 3) == NULL && str_eq(doors_name(doors, 3), "?"));
    CU_ASSERT(str_eq(doors_route(doors, 1)->c->name, "a") && str_eq(doors_route_name(doors, 2), "b") && !doors_route_name(doors, 77));
    doors_worker_started(doors, &worker[0]);
    CU_ASSERT_EQUAL_FATAL(n_told[0], 3);
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT(IS_DOOR(&told[0][i]) && told[0][i].number == i && told[0][i].with_fd && told[0][i].to);
    CU_ASSERT(told[0][0].n_addresses == 1 && str_eq(told[0][0].address, "127.0.0.9") && str_starts(told[0][0].name, "route a, tcp://127.0.0.1:"));
    CU_ASSERT_EQUAL(told[0][2].n_addresses, 0); /* nobody has answered yet */
    for (uint64_t until = now_ns() + 10 * NS_PER_S; n_told[0] < 4 && now_ns() < until;)
        loop_turn(&loop, 10 * NS_PER_MS);
    CU_ASSERT_FATAL(n_told[0] == 4 && n_told[1] == 0); /* the other one has not started */
    CU_ASSERT(told[0][3].number == 2 && !told[0][3].with_fd && told[0][3].n_addresses >= 1);
    CU_ASSERT(answers(port) && answers(port + 2));
    fd_close(&keep);
    doors_close(doors);
    CU_ASSERT(n_told[0] == 7 && n_told[1] == 3 && IS_UNDOOR(&told[0][6]) && told[0][6].number == 2 && !answers(port));
    end();
}

static void refused(const char *text, const char *want)
{
    char why[400] = "";
    struct conf *c = read_conf(text);
    struct routes rs;
    load(&rs, c);
    CU_ASSERT_PTR_NULL(doors_open(c, &rs, why, sizeof(why)));
    if (!strstr(why, want))
        printf("\n  '%s' is not in '%s'", want, why);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, want));
    routes_free(&rs);
    conf_free(c);
}

static void test_refused(void)
{
    union sockaddr_any at;
    unsigned port = free_ports(BOARD_ROUTE_DOORS + 1);
    AUTO_FD int taken = stage_listen("127.0.0.1", (uint16_t)(port + 1), 1, &at);
    AUTO_FREE char *two = many(2, port), *all = many(BOARD_ROUTE_DOORS + 1, port);
    refused(two, "cannot listen on tcp://127.0.0.1:");
    CU_ASSERT_FALSE(answers(port)); /* the first one is given back */
    refused("route a { accept = {\"tcp://192.0.2.1:7\"} connect = \"tcp://127.0.0.1:9\" }\n", "this machine has no such address");
    fd_close(&taken);
    refused(all, "more than 64 places");
}

/* As many as there may be, and then as many others: numbers are used again. */
static void test_all_others(void)
{
    unsigned port = free_ports(2 * BOARD_ROUTE_DOORS);
    AUTO_FREE char *first = many(BOARD_ROUTE_DOORS, port), *second = many(BOARD_ROUTE_DOORS, port + BOARD_ROUTE_DOORS / 2);
    begin(first);
    CU_ASSERT_EQUAL(doors_count(doors), BOARD_ROUTE_DOORS);
    fd_close(&keep);
    follow(second);
    CU_ASSERT(!answers(port) && answers(port + BOARD_ROUTE_DOORS / 2) && answers(port + BOARD_ROUTE_DOORS + 5));
    unsigned undoors = 0, with_fd = 0, without = 0;
    for (unsigned i = 0; i < n_told[0]; i++) {
        undoors += IS_UNDOOR(&told[0][i]);
        with_fd += IS_DOOR(&told[0][i]) && told[0][i].with_fd;
        without += IS_DOOR(&told[0][i]) && !told[0][i].with_fd;
    }
    CU_ASSERT(undoors == BOARD_ROUTE_DOORS / 2 && with_fd == BOARD_ROUTE_DOORS / 2 && without == BOARD_ROUTE_DOORS / 2);
    CU_ASSERT_EQUAL(doors_count(doors), BOARD_ROUTE_DOORS);
    end();
}

static unsigned count_waiting(const int *fd, unsigned n)
{
    char byte;
    unsigned waiting = 0;
    for (unsigned i = 0; i < n; i++)
        waiting += recv(fd[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
    return waiting;
}

/* They are reset, but not all in one turn: others have to have theirs. */
static void storm(const union sockaddr_any *at)
{
    int fd[150];
    for (unsigned i = 0; i < ARRAY_LEN(fd); i++)
        fd[i] = stage_connect(at);
    loop_turn(&loop, 10 * NS_PER_MS);
    CU_ASSERT(count_waiting(fd, ARRAY_LEN(fd)) > 0);
    for (uint64_t until = now_ns() + 10 * NS_PER_S; count_waiting(fd, ARRAY_LEN(fd)) && now_ns() < until;)
        loop_turn(&loop, 10 * NS_PER_MS);
    CU_ASSERT_EQUAL(count_waiting(fd, ARRAY_LEN(fd)), 0);
    for (unsigned i = 0; i < ARRAY_LEN(fd); i++)
        close(fd[i]);
}

static void test_pause(void)
{
    unsigned port = free_ports(1);
    AUTO_FREE char *text = many(1, port);
    begin(text);
    doors_worker_started(doors, &worker[0]);
    doors_pause(doors);
    CU_ASSERT(n_told[0] == 2 && IS_UNDOOR(&told[0][1]));
    struct app client = { .fd = -1 };
    union sockaddr_any at;
    addr_numeric("127.0.0.1", (uint16_t)port, &at);
    client.fd = stage_connect(&at);
    for (uint64_t until = now_ns() + 10 * NS_PER_S; !app_over(&client) && now_ns() < until; app_play(&client))
        loop_turn(&loop, 10 * NS_PER_MS);
    CU_ASSERT_EQUAL(client.error, ECONNRESET);
    app_close(&client);
    storm(&at);
    doors_worker_started(doors, &worker[0]);
    CU_ASSERT_EQUAL(n_told[0], 2); /* not now */
    doors_resume(doors);
    CU_ASSERT(n_told[0] == 3 && IS_DOOR(&told[0][2]) && told[0][2].with_fd);
    doors_abort_relays(doors, -SST_EDRAINING);
    CU_ASSERT(n_told[0] == 4 && told[0][3].what == SCISTREAM__WORKER__TO_WORKER__WHAT_CLOSE); /* one message, however many there are */
    end();
}

/* Another program accepts there: workers do not, neither those that start meanwhile; the socket stays. */
static void test_rest(void)
{
    unsigned port = free_ports(1);
    AUTO_FREE char *text = many(1, port);
    begin(text);
    doors_worker_started(doors, &worker[0]);
    doors_rest(doors);
    CU_ASSERT(n_told[0] == 2 && IS_UNDOOR(&told[0][1]) && answers(port));
    doors_rest(doors);
    doors_worker_started(doors, &worker[0]);
    doors_pause(doors);
    doors_resume(doors);
    CU_ASSERT(n_told[0] == 3 && IS_UNDOOR(&told[0][2]));
    doors_wake(doors);
    CU_ASSERT(n_told[0] == 4 && IS_DOOR(&told[0][3]) && told[0][3].with_fd);
    doors_rest(doors);
    doors_retire(doors);
    doors_wake(doors);
    CU_ASSERT(IS_UNDOOR(&told[0][n_told[0] - 1]));
    end();
}

/* ------------------------------------------------------------ sessions */

/* The port behind the last is a route's. */
static void begin_sessions(unsigned first, unsigned last)
{
    char why[200];
    AUTO_FREE char *text = many(1, last + 1), *range = mem_printf("scistream.data_ports=%u-%u", first, last);
    begin(text);
    log_threshold = LOG_LEVEL_ERROR;
    CU_ASSERT(conf_set(conf, range, why, sizeof(why)) == 0 && conf_set(conf, "scistream.data_address=127.0.0.1", why, sizeof(why)) == 0);
    for (unsigned i = 0; i < 2; i++)
        worker[i].stats = stats_create(NULL);
}

static void end_sessions(void)
{
    end();
    for (unsigned i = 0; i < 2; i++)
        stats_unmap(worker[i].stats);
}

static int lend(const char *uid, uint32_t *numbers, unsigned n, char why[200])
{
    return doors_lend(doors, &(struct doors_borrower){ uid, "anna", true, NULL, NULL }, numbers, n, why, 200);
}

static void aim(uint32_t number)
{
    static char *const to[] = { "192.0.2.1", "192.0.2.2" };
    doors_aim(doors, number, &(struct doors_target){ .addresses = to, .n = 2, .port = 9 });
}

/* Bound at once, told to workers when it is aimed, and free again in the moment it is given back, though others have copies of the socket. */
static void test_lent(void)
{
    unsigned port = free_ports(4);
    char why[200] = "";
    uint32_t a[3], b[2];
    begin_sessions(port, port + 2);
    CU_ASSERT(doors_places(doors) == BOARD_ROUTE_DOORS && !doors_route_name(doors, BOARD_ROUTE_DOORS));
    CU_ASSERT_EQUAL_FATAL(lend("u1", a, 2, why), 0);
    CU_ASSERT(board_number_ok(a[0]) && a[0] >= BOARD_ROUTE_DOORS && a[0] != a[1] && n_told[0] == 0);
    CU_ASSERT(answers(doors_port(doors, a[0])) && answers(doors_port(doors, a[1])) && doors_port(doors, a[0]) == port);
    CU_ASSERT_EQUAL(lend("u2", b, 2, why), -SST_ELIMIT);
    CU_ASSERT(strstr(why, "2 ports are asked for, 1 of data_ports") && !answers(port + 2));
    CU_ASSERT_EQUAL_FATAL(lend("u2", b, 1, why), 0);
    aim(a[0]);
    CU_ASSERT_FATAL(n_told[0] == 1 && n_told[1] == 0);
    CU_ASSERT(IS_DOOR(&told[0][0]) && told[0][0].number == a[0] && told[0][0].with_fd && told[0][0].of_session && told[0][0].n_addresses == 2);
    CU_ASSERT(str_eq(told[0][0].address, "192.0.2.1") && str_starts(told[0][0].name, "session u1, port "));
    aim(a[0]); /* again: they have the socket */
    CU_ASSERT(n_told[0] == 2 && !told[0][1].with_fd);
    worker[1].started = true;
    doors_worker_started(doors, &worker[1]);
    CU_ASSERT(n_told[1] == 2 && told[1][1].number == a[0] && told[1][1].with_fd); /* that of the route, and what is aimed */
    CU_ASSERT(str_eq(doors_uid(doors, a[1]), "u1") && str_eq(doors_route_name(doors, a[0]), DOORS_SESSIONS) && doors_places(doors) == BOARD_ROUTE_DOORS + 3);
    doors_take_back(doors, a, 2, -SST_ERELEASED, "enough");
    CU_ASSERT(IS_UNDOOR(&told[0][2]) && told[0][2].number == a[0] && told[0][2].more == 1 && told[0][2].code == err_to_wire(-SST_ERELEASED));
    CU_ASSERT(keep >= 0 && !answers(port) && !answers(port + 1) && answers(doors_port(doors, b[0])));
    CU_ASSERT_STRING_EQUAL(doors_uid(doors, a[0]), "u1"); /* what ends now is still known by it */
    uint32_t old = a[0];
    CU_ASSERT_EQUAL_FATAL(lend("u3", a, 2, why), 0);
    CU_ASSERT(a[0] != old && board_place(a[0]) == board_place(old) && *doors_uid(doors, old) == 0 && doors_places(doors) == BOARD_ROUTE_DOORS + 3);
    doors_retire(doors); /* those of routes */
    CU_ASSERT_TRUE(answers(doors_port(doors, a[0])));
    end_sessions();
    CU_ASSERT_FALSE(answers(port));
}

/* The WAN leg is where connections come from, or go to; what it speaks is the configuration's, and by whom the uid can be a key. */
static void test_wan_leg(void)
{
    static const struct { const char *uid; bool cons; const char *set; int psk[2]; } rows[] = {
        { "7f4df9b0-9a0e-11ee-8c90-0242ac120002", false, "scistream.wan=psk", { 2, 0 } },
        { "7f4df9b0-9a0e-11ee-8c90-0242ac120002", true, "scistream.wan=psk", { 0, 2 } },
        { "no such number", true, "scistream.wan=psk", { 0, 1 } },
        { "7f4df9b0-9a0e-11ee-8c90-0242ac120002", false, "scistream.legacy_null_ciphers=yes", { 3, 0 } },
        { "7f4df9b0-9a0e-11ee-8c90-0242ac120002", false, "scistream.wan=plaintext", { 0, 0 } },
    };
    unsigned port = free_ports(2);
    char why[200];
    uint32_t number;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin_sessions(port, port);
        CU_ASSERT_EQUAL(conf_set(conf, rows[i].set, why, sizeof(why)), 0);
        CU_ASSERT_EQUAL_FATAL(doors_lend(doors, &(struct doors_borrower){ rows[i].uid, "anna", rows[i].cons, NULL, NULL }, &number, 1, why, 200), 0);
        aim(number);
        CU_ASSERT(n_told[0] == 1 && told[0][0].psk[0] == rows[i].psk[0] && told[0][0].psk[1] == rows[i].psk[1]);
        end_sessions();
    }
}

/* With a ticket it is TLS by its secret, whatever the configuration says, and nothing that a stunnel would know. */
static void test_ticket(void)
{
    static const uint8_t secret[TLS_KEY_SIZE] = { 1, 2, 3 };
    unsigned port = free_ports(2);
    uint32_t number;
    char why[200];
    uint8_t want[TLS_KEY_SIZE];
    struct secret s = { (uint8_t *)(uintptr_t)secret, sizeof(secret) };
    begin_sessions(port, port);
    CU_ASSERT_EQUAL(conf_set(conf, "scistream.wan=plaintext", why, sizeof(why)), 0);
    const struct doors_borrower b = { "7f4df9b09a0e11ee8c900242ac120002", "anna", false, secret, NULL };
    CU_ASSERT_EQUAL_FATAL(doors_lend(doors, &b, &number, 1, why, sizeof(why)), 0);
    CU_ASSERT_EQUAL(doors_target_of(doors, number).n, 0);
    aim(number);
    auth_wan_key(&s, b.uid, want);
    CU_ASSERT(n_told[0] == 1 && told[0][0].psk[0] == 1 && told[0][0].psk[1] == 0 && memcmp(told[0][0].key, want, sizeof(want)) == 0);
    CU_ASSERT(doors_target_of(doors, number).n == 2 && doors_target_of(doors, number).port == 9 && str_eq(doors_target_of(doors, number).addresses[0], "192.0.2.1"));
    end_sessions();
}

/* What comes by doors counts in the share of their session, and of all doors of a route in one; class provisioned has rings kept for it. */
static void test_shares(void)
{
    unsigned port = free_ports(4);
    uint32_t gold[2], other[1];
    char why[200];
    begin_sessions(port, port + 2);
    CU_ASSERT_EQUAL(conf_set(conf, "capacity.wan=1Gbit", why, sizeof(why)), 0);
    struct capacity capacity;
    capacity_init(&capacity, conf);
    const struct capacity_terms terms = { .uid = "gold", .principal = "anna", .rate = 1000000, .segments = 1U << SEGMENT_WAN };
    CU_ASSERT_EQUAL(capacity_admit(&capacity, &terms, why, sizeof(why)), 0);
    struct shares *shares = shares_new(&(struct shares_config){ .loop = &loop, .board = &board, .capacity = &capacity });
    doors_use_shares(doors, shares);
    CU_ASSERT_FATAL(lend("gold", gold, 2, why) == 0 && lend("other", other, 1, why) == 0);
    aim(gold[0]);
    aim(gold[1]);
    aim(other[0]);
    const struct told *t = told[0];
    CU_ASSERT(t[0].share > 0 && t[1].share == t[0].share && t[2].share > 0 && t[2].share != t[0].share && t[0].share == doors_share(doors, gold[0]));
    CU_ASSERT(t[0].promised == 1 && t[1].promised == 1 && t[2].promised == 0 && share_rate(&board.share[t[0].share]) == 125000);
    CU_ASSERT_EQUAL(doors_kept_memory(doors), 4 * BOARD_RELAY_RING);
    board.workers = 1;
    stats_set(&board.row[0].open[board_place(gold[1])], 3);
    CU_ASSERT_EQUAL(doors_kept_memory(doors), 2 * BOARD_RELAY_RING);
    stats_set(&board.row[0].open[board_place(gold[1])], 0);
    board.workers = 0;
    doors_take_back(doors, gold, 2, -SST_ERELEASED, "");
    CU_ASSERT(doors_kept_memory(doors) == 0 && doors_share(doors, gold[0]) == 0 && !shares_steady(shares, t[0].share));
    doors_take_back(doors, other, 1, -SST_ERELEASED, "");
    end_sessions();
    shares_free(shares);
    capacity_fini(&capacity);
}

/* Ports that are wanted: those, or none of them. */
static void test_wanted(void)
{
    unsigned port = free_ports(5);
    uint32_t a[2], b[2];
    char why[200];
    begin_sessions(port, port + 3);
    uint16_t ports[] = { (uint16_t)(port + 2), (uint16_t)port };
    struct doors_borrower who = { "u", "anna", true, NULL, ports };
    CU_ASSERT_EQUAL_FATAL(doors_lend(doors, &who, a, 2, why, sizeof(why)), 0);
    CU_ASSERT(doors_port(doors, a[0]) == port + 2 && doors_port(doors, a[1]) == port && answers(port + 2) && answers(port));
    ports[0] = (uint16_t)(port + 1);
    CU_ASSERT(doors_lend(doors, &who, b, 2, why, sizeof(why)) == -EADDRINUSE && !answers(port + 1));
    AUTO_FREE char *taken = mem_printf("port %u is in use", port);
    CU_ASSERT_TRUE(str_starts(why, taken));
    ports[1] = (uint16_t)(port + 4);
    CU_ASSERT(doors_lend(doors, &who, b, 2, why, sizeof(why)) == -EINVAL && strstr(why, " is none of data_ports ") && !answers(port + 1));
    ports[1] = ports[0];
    CU_ASSERT_EQUAL(doors_lend(doors, &who, b, 2, why, sizeof(why)), -EADDRINUSE);
    end_sessions();
}

/* Who comes is reset while it is shut, also when a drain is over, and a worker that starts is not told of it. */
static void test_shut(void)
{
    unsigned port = free_ports(2);
    uint32_t a;
    char why[200];
    begin_sessions(port, port);
    CU_ASSERT_EQUAL_FATAL(lend("u", &a, 1, why), 0);
    aim(a);
    doors_shut(doors, &a, 1, true);
    CU_ASSERT(n_told[0] == 2 && IS_UNDOOR(&told[0][1]) && told[0][1].number == a && told[0][1].code == 0);
    union sockaddr_any at;
    addr_numeric("127.0.0.1", (uint16_t)port, &at);
    AUTO_FD int fd = stage_connect(&at);
    char byte;
    for (int i = 0; i < 100 && recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN; i++)
        loop_turn(&loop, 10 * NS_PER_MS);
    CU_ASSERT(recv(fd, &byte, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN);
    doors_pause(doors);
    doors_resume(doors);
    unsigned before = n_told[1];
    worker[1].started = true;
    doors_worker_started(doors, &worker[1]);
    for (unsigned i = before; i < n_told[1]; i++)
        CU_ASSERT_NOT_EQUAL(told[1][i].number, a);
    n_told[0] = 0;
    doors_shut(doors, &a, 1, false);
    CU_ASSERT(n_told[0] == 1 && IS_DOOR(&told[0][0]) && told[0][0].with_fd && told[0][0].number == a);
    end_sessions();
}

/* A place from which not all have gone is not used again; what was counted there before is not the next one's. */
static void test_counted(void)
{
    unsigned port = free_ports(5);
    char why[200] = "";
    uint32_t a[1], b[1];
    struct doors_sum sum = { .open = 0 };
    begin_sessions(port, port + 3);
    CU_ASSERT_EQUAL_FATAL(lend("u1", a, 1, why), 0);
    struct stats_door *d = &worker[1].stats->door[board_place(a[0])];
    stats_set(&d->accepted, 5);
    stats_set(&d->open, 1);
    stats_set(&d->bytes[0], 100);
    doors_add_sum(doors, a[0], &sum);
    CU_ASSERT(sum.accepted == 5 && sum.open == 1 && sum.moved.bytes[0] == 100);
    doors_take_back(doors, a, 1, -SST_ERELEASED, "enough");
    CU_ASSERT_EQUAL_FATAL(lend("u2", b, 1, why), 0);
    CU_ASSERT(board_place(b[0]) != board_place(a[0]));
    doors_take_back(doors, b, 1, -SST_ERELEASED, "enough");
    stats_set(&d->open, 0);
    CU_ASSERT_EQUAL_FATAL(lend("u3", a, 1, why), 0);
    CU_ASSERT_PTR_EQUAL(d, &worker[1].stats->door[board_place(a[0])]);
    stats_set(&d->accepted, 7);
    stats_set(&d->bytes[0], 130);
    sum = (struct doors_sum){ .open = 0 };
    doors_add_sum(doors, a[0], &sum);
    CU_ASSERT(sum.accepted == 2 && sum.open == 0 && sum.moved.bytes[0] == 30);
    /* one is open and has moved something when the worker dies: it has failed, and what it moved stays */
    struct stats_relay *r = &worker[1].stats->relay[0];
    stats_set(&worker[1].stats->relay_high, 1);
    stats_set(&r->c.id, ALL_RELAYS | 1);
    atomic_store(&r->door, a[0]);
    stats_set(&r->c.flow[1].put, 1000);
    stats_set(&r->c.flow[1].rel, 1000);
    struct stats_sum *live = doors_live(doors);
    CU_ASSERT_EQUAL(live[board_place(a[0])].bytes[1], 1000);
    free(live);
    doors_worker_died(doors, &worker[1]);
    memset(worker[1].stats, 0, sizeof(struct stats_page));
    sum = (struct doors_sum){ .open = 0 };
    doors_add_sum(doors, a[0], &sum);
    CU_ASSERT(sum.accepted == 2 && sum.failed == 1 && sum.moved.bytes[0] == 30 && sum.moved.bytes[1] == 1000);
    doors_add_sum(doors, 77, &sum); /* of nobody */
    CU_ASSERT_EQUAL(sum.accepted, 2);
    end_sessions();
}

/* From program to program: the socket lives on, connections of before are the first one's. */
static void test_handed_over(void)
{
    unsigned port = free_ports(3);
    char why[200] = "";
    uint32_t a[2], b[2];
    begin_sessions(port, port + 1);
    CU_ASSERT_EQUAL_FATAL(lend("u", a, 2, why), 0);
    aim(a[0]);
    int fds[2] = { dup(doors_fd(doors, a[0])), dup(doors_fd(doors, a[1])) };
    doors_hand_over(doors, a, 2);
    CU_ASSERT(doors_fd(doors, a[0]) == -1 && IS_UNDOOR(&told[0][n_told[0] - 1]) && told[0][n_told[0] - 1].code == 0);
    CU_ASSERT(answers(port) && answers(port + 1));
    CU_ASSERT_EQUAL(lend("v", b, 1, why), -SST_ELIMIT);
    doors_take_back(doors, a, 2, -SST_ERELEASED, "released there"); /* only its connections */
    CU_ASSERT(told[0][n_told[0] - 1].code && told[0][n_told[0] - 1].more == 1 && answers(port));
    CU_ASSERT_EQUAL_FATAL(doors_adopt(doors, &(struct doors_borrower){ "u", "anna", false, NULL, NULL }, fds, 2, b), 0);
    CU_ASSERT(fds[0] == -1 && doors_port(doors, b[0]) == port && doors_port(doors, b[1]) == port + 1 && str_eq(doors_uid(doors, b[1]), "u"));
    aim(b[1]);
    CU_ASSERT(told[0][n_told[0] - 1].number == b[1] && told[0][n_told[0] - 1].with_fd);
    fd_close(&keep);
    doors_take_back(doors, b, 2, -SST_ERELEASED, NULL);
    CU_ASSERT(!answers(port) && !answers(port + 1));
    end_sessions();
}

/* Where it is not that others have the ports, that is said. */
static void test_cannot_bind(void)
{
    unsigned port = free_ports(2);
    char why[200] = "", problem[200];
    uint32_t a[1];
    begin_sessions(port, port);
    CU_ASSERT_EQUAL(conf_set(conf, "scistream.data_address=192.0.2.1", problem, sizeof(problem)), 0);
    CU_ASSERT_EQUAL(lend("u", a, 1, why), -SST_ELIMIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "1 port is asked for, 0 of data_ports "));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "are free, others: Cannot assign requested address: try again later"));
    end_sessions();
}

static void test_lent_while_paused(void)
{
    unsigned port = free_ports(3);
    char why[200] = "";
    uint32_t a[2];
    begin_sessions(port, port + 1);
    CU_ASSERT_EQUAL_FATAL(lend("u1", a, 2, why), 0);
    aim(a[0]);
    doors_pause(doors);
    unsigned before = n_told[0];
    aim(a[1]);
    CU_ASSERT_EQUAL(n_told[0], before);
    doors_resume(doors);
    CU_ASSERT_FATAL(n_told[0] == before + 3); /* the route's, and both */
    CU_ASSERT(told[0][before + 1].with_fd && told[0][before + 2].with_fd && told[0][before + 2].number == a[1]);
    doors_close(doors);
    doors_take_back(doors, a, 2, -SST_EDRAINING, NULL); /* only connections are left to end */
    CU_ASSERT(told[0][n_told[0] - 1].more == 1 && !answers(port));
    end_sessions();
}

/* As many as there are places for; the ports are the limit as a rule. */
static void test_places(void)
{
    unsigned port = free_ports(41);
    char why[200] = "";
    uint32_t a[40];
    begin_sessions(port, port + 39);
    for (unsigned i = 0; i < (BOARD_DOORS - BOARD_ROUTE_DOORS) / 40; i++) {
        CU_ASSERT_EQUAL_FATAL(lend("u", a, 40, why), 0);
        for (unsigned k = 0; k < 40; k++)
            stats_set(&worker[0].stats->door[board_place(a[k])].open, 1); /* stays */
        doors_take_back(doors, a, 40, -SST_ERELEASED, NULL);
        n_told[0] = 0;
    }
    unsigned left = (BOARD_DOORS - BOARD_ROUTE_DOORS) % 40;
    CU_ASSERT_EQUAL(lend("u", a, left + 1, why), -SST_ELIMIT);
    AUTO_FREE char *want = mem_printf("the gateway has places for %u more", left);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, want));
    CU_ASSERT_EQUAL(lend("u", a, left, why), 0);
    end_sessions();
}

UNIT_MAIN("doors", UNIT(test_lent), UNIT(test_wan_leg), UNIT(test_ticket), UNIT(test_shares), UNIT(test_wanted), UNIT(test_shut), UNIT(test_counted), UNIT(test_handed_over),
          UNIT(test_cannot_bind), UNIT(test_lent_while_paused), UNIT(test_places), UNIT(test_told), UNIT(test_refused), UNIT(test_all_others), UNIT(test_pause), UNIT(test_rest))
