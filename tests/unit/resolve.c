#include "tcp/resolve.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "src/core/err.h"
#include "tests/lib/unit.h"

struct got {
    unsigned calls;
    int rc;
    size_t n;
    union sockaddr_any addrs[RESOLVE_MAX];
    char why[400];
    struct resolve *cancel;       /* within done() */
    struct resolver *free_inside;
};

static void on_done(void *user, int rc, const union sockaddr_any *addrs, size_t n, const char *why)
{
    struct got *g = user;
    g->calls++;
    g->rc = rc;
    g->n = n;
    memcpy(g->addrs, addrs, n * sizeof(*addrs));
    str_copy(g->why, sizeof(g->why), why);
    resolve_cancel(g->cancel);
    resolver_free(g->free_inside);
}

static void turn_until(struct loop *l, const unsigned *calls, unsigned want)
{
    for (uint64_t end = now_ns() + 30 * NS_PER_S; *calls < want && now_ns() < end;)
        loop_turn(l, 10 * NS_PER_MS);
    CU_ASSERT_EQUAL(*calls, want);
}

static struct got ask(const char *host, uint16_t port)
{
    struct loop l;
    struct got g = { 0 };
    CU_ASSERT_EQUAL_FATAL(loop_init(&l), 0);
    struct resolver *r = resolver_new(&l);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    CU_ASSERT_PTR_NOT_NULL(resolve_start(r, host, port, on_done, &g));
    CU_ASSERT_EQUAL(g.calls, 0); /* never from resolve_start */
    turn_until(&l, &g.calls, 1);
    resolver_free(r);
    loop_fini(&l);
    return g;
}

static void test_numbers(void)
{
    static const struct { const char *host, *text; } rows[] = {
        { "127.0.0.1", "127.0.0.1:5000" }, { "::1", "[::1]:5000" }, { "192.0.2.7", "192.0.2.7:5000" },
        { "2001:db8::5", "[2001:db8::5]:5000" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[ADDR_TEXT];
        struct got g = ask(rows[i].host, 5000);
        CU_ASSERT(g.rc == 0 && g.n == 1);
        CU_ASSERT_STRING_EQUAL(addr_format(&g.addrs[0], text), rows[i].text);
    }
}

/* From /etc/hosts: no name server is asked. */
static void test_localhost(void)
{
    struct got g = ask("localhost", 80);
    bool v4 = false;
    CU_ASSERT_EQUAL_FATAL(g.rc, 0);
    CU_ASSERT(g.n >= 1);
    for (size_t i = 0; i < g.n; i++) {
        CU_ASSERT_EQUAL(addr_port(&g.addrs[i]), 80);
        v4 |= g.addrs[i].sa.sa_family == AF_INET && g.addrs[i].in.sin_addr.s_addr == htonl(INADDR_LOOPBACK);
    }
    CU_ASSERT(v4);
}

static void test_failures(void)
{
    char longest[300];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    const char *const hosts[] = { "no-such-host.invalid", "bad name with blanks", "..", longest };
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct got g = ask(hosts[i], 1);
        CU_ASSERT_EQUAL(g.rc, -SST_ERESOLVE);
        CU_ASSERT_EQUAL(g.n, 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(g.why, "cannot be resolved: "));
    }
}

static void test_cancel(void)
{
    static const char *const hosts[] = { "127.0.0.1", "localhost", "no-such-host.invalid" };
    struct loop l;
    struct got g = { 0 };
    unsigned answered = 0; /* the last at most, where no network is: then it fails at once */
    loop_init(&l);
    struct resolver *r = resolver_new(&l);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        resolve_cancel(resolve_start(r, hosts[i], 1, on_done, &g)); /* at once */
        struct resolve *q = resolve_start(r, hosts[i], 1, on_done, &g);
        if (i == 2)
            loop_turn(&l, 0);
        answered = g.calls;
        CU_ASSERT(answered <= (i == 2));
        if (!answered)
            resolve_cancel(q); /* with sockets in the loop */
    }
    resolve_cancel(NULL);
    for (int i = 0; i < 5; i++)
        loop_turn(&l, NS_PER_MS);
    CU_ASSERT_EQUAL(g.calls, answered);
    resolve_start(r, "no-such-host.invalid", 1, on_done, &g);
    resolver_free(r); /* takes it along */
    resolver_free(NULL);
    loop_turn(&l, 0);
    CU_ASSERT_EQUAL(g.calls, answered);
    loop_fini(&l);
}

static void test_inside_done(void)
{
    struct loop l;
    struct got a = { 0 }, b = { 0 };
    loop_init(&l);
    struct resolver *r = resolver_new(&l);
    a.cancel = resolve_start(r, "127.0.0.1", 1, on_done, &a); /* itself */
    turn_until(&l, &a.calls, 1);
    a = (struct got){ .free_inside = r };
    resolve_start(r, "127.0.0.1", 1, on_done, &a);
    resolve_start(r, "localhost", 1, on_done, &b);
    turn_until(&l, &a.calls, 1);
    loop_turn(&l, 0);
    CU_ASSERT_EQUAL(b.calls, 0); /* went with the resolver */
    loop_fini(&l);
}

UNIT_MAIN("resolve", UNIT(test_numbers), UNIT(test_localhost), UNIT(test_failures), UNIT(test_cancel), UNIT(test_inside_done))
