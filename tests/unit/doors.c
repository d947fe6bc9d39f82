/* Doors of control: what is bound, what workers are told, and how they follow other routes; the workers are this test. */
#include <errno.h>
#include <stdio.h>

#include "ctrl/doors.h"
#include "src/core/err.h"
#include "tests/lib/unit.h"
#include "tests/unit/tcp_stage.h"

#define TOLD_MAX 256

struct told { int what; unsigned number; bool with_fd; size_t n_addresses; char address[64], name[128]; bool to; };

static struct pool_worker worker[2];
static struct told told[2][TOLD_MAX];
static unsigned n_told[2];
static struct loop loop;
static struct conf *conf;
static struct routes routes;
static struct doors *doors;
static struct resolver *resolver;

unsigned pool_size(const struct pool *p UNUSED) { return 2; }
struct pool_worker *pool_at(struct pool *p UNUSED, unsigned i) { return &worker[i]; }

static void note_door(struct told *t, const Scistream__Worker__Door *d)
{
    t->number = d->number;
    t->to = d->to != NULL;
    t->n_addresses = d->to ? d->to->n_addresses : 0;
    str_copy(t->name, sizeof(t->name), d->name);
    if (t->n_addresses)
        str_copy(t->address, sizeof(t->address), d->to->addresses[0]);
}

static int on_told(struct pool_worker *w, const ToWorker *m, int fd)
{
    CU_ASSERT_FATAL(n_told[w->index] < TOLD_MAX);
    struct told *t = &told[w->index][n_told[w->index]++];
    *t = (struct told){ .what = (int)m->what_case, .with_fd = fd >= 0 };
    if (m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_DOOR)
        note_door(t, m->door);
    else if (m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_UNDOOR)
        t->number = m->undoor->number;
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
    for (unsigned i = 0; i < 2; i++)
        worker[i] = (struct pool_worker){ .index = i, .send = on_told };
    conf = read_conf(text);
    load(&routes, conf);
    doors = doors_open(conf, &routes, why, sizeof(why));
    if (!doors)
        printf("\n  %s", why);
    CU_ASSERT_PTR_NOT_NULL_FATAL(doors);
    doors_start(doors, &loop, (struct pool *)(void *)worker, resolver, NULL);
    doors_begin(doors); /* while no worker has started: a test says when */
    worker[0].started = true;
}

static void end(void)
{
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
    unsigned port = free_ports(BOARD_DOORS + 1);
    AUTO_FD int taken = stage_listen("127.0.0.1", (uint16_t)(port + 1), 1, &at);
    AUTO_FREE char *two = many(2, port), *all = many(BOARD_DOORS + 1, port);
    refused(two, "cannot listen on tcp://127.0.0.1:");
    CU_ASSERT_FALSE(answers(port)); /* the first one is given back */
    refused("route a { accept = {\"tcp://192.0.2.1:7\"} connect = \"tcp://127.0.0.1:9\" }\n", "this machine has no such address");
    fd_close(&taken);
    refused(all, "more than 64 places");
}

/* As many as there may be, and then as many others: numbers are used again. */
static void test_all_others(void)
{
    unsigned port = free_ports(2 * BOARD_DOORS);
    AUTO_FREE char *first = many(BOARD_DOORS, port), *second = many(BOARD_DOORS, port + BOARD_DOORS / 2);
    begin(first);
    CU_ASSERT_EQUAL(doors_count(doors), BOARD_DOORS);
    follow(second);
    CU_ASSERT(!answers(port) && answers(port + BOARD_DOORS / 2) && answers(port + BOARD_DOORS + 5));
    unsigned undoors = 0, with_fd = 0, without = 0;
    for (unsigned i = 0; i < n_told[0]; i++) {
        undoors += IS_UNDOOR(&told[0][i]);
        with_fd += IS_DOOR(&told[0][i]) && told[0][i].with_fd;
        without += IS_DOOR(&told[0][i]) && !told[0][i].with_fd;
    }
    CU_ASSERT(undoors == BOARD_DOORS / 2 && with_fd == BOARD_DOORS / 2 && without == BOARD_DOORS / 2);
    CU_ASSERT_EQUAL(doors_count(doors), BOARD_DOORS);
    end();
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
    doors_worker_started(doors, &worker[0]);
    CU_ASSERT_EQUAL(n_told[0], 2); /* not now */
    doors_resume(doors);
    CU_ASSERT(n_told[0] == 3 && IS_DOOR(&told[0][2]) && told[0][2].with_fd);
    doors_abort_relays(doors, -SST_EDRAINING);
    CU_ASSERT(n_told[0] == 4 && told[0][3].what == SCISTREAM__WORKER__TO_WORKER__WHAT_CLOSE); /* one message, however many there are */
    end();
}

UNIT_MAIN("doors", UNIT(test_told), UNIT(test_refused), UNIT(test_all_others), UNIT(test_pause))
