#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/un.h>

#include "src/core/addr.h"
#include "tests/lib/unit.h"

static struct addr parsed(const char *text)
{
    struct addr a = { .port = 0 };
    char why[400] = "";
    CU_ASSERT_EQUAL(addr_parse(text, &a, why, sizeof(why)), 0);
    if (*why)
        printf("\n  '%s': %s", text, why);
    return a;
}

static void check_net(const char *text, enum addr_kind kind, const char *host, uint16_t port, const char *route)
{
    struct addr a = parsed(text);
    CU_ASSERT_EQUAL(a.kind, kind);
    CU_ASSERT_STRING_EQUAL(a.host, host);
    CU_ASSERT_EQUAL(a.port, port);
    CU_ASSERT_STRING_EQUAL(a.route, route);
    CU_ASSERT_PTR_NULL(a.path);
}

static void test_network(void)
{
    check_net("gateway://gw.example.org/detector", ADDR_GATEWAY, "gw.example.org", 5000, "detector");
    check_net("gateway://gw:6000/a.b-c_9", ADDR_GATEWAY, "gw", 6000, "a.b-c_9");
    check_net("gateway://[2001:db8::1]:6000/r", ADDR_GATEWAY, "2001:db8::1", 6000, "r");
    check_net("gateway://[::1]/r", ADDR_GATEWAY, "::1", 5000, "r");
    check_net("gateway://10.0.0.1/r", ADDR_GATEWAY, "10.0.0.1", 5000, "r");
    check_net("direct://node-7:9000", ADDR_DIRECT, "node-7", 9000, "");
    check_net("direct://:9000", ADDR_DIRECT, "", 9000, "");
    check_net("tcp://[fe80::1%1]:80", ADDR_TCP, "fe80::1%1", 80, "");
    check_net("tcp://host.:1", ADDR_TCP, "host.", 1, "");
}

static void check_path(const char *text, enum addr_kind kind, const char *path)
{
    struct addr a = parsed(text);
    CU_ASSERT_EQUAL(a.kind, kind);
    CU_ASSERT_PTR_NOT_NULL_FATAL(a.path);
    CU_ASSERT_STRING_EQUAL(a.path, path);
}

static void test_local(void)
{
    check_path("unix:/run/x.sock", ADDR_UNIX, "/run/x.sock");
    check_path("file:-", ADDR_FILE, "-");
    check_path("file:///tmp/x", ADDR_FILE, "///tmp/x");
    check_path("data.raw", ADDR_FILE, "data.raw");
    check_path("./a:b", ADDR_FILE, "./a:b");
    check_path("--", ADDR_FILE, "--");
    struct addr a = parsed("-");
    CU_ASSERT_EQUAL(a.kind, ADDR_STDIO);
    CU_ASSERT_PTR_NULL(a.path);
}

/* Refused, with words that name what is wrong; the result stays as it was. */
static void check_refused(const char *text, const char *word)
{
    struct addr a = { .port = 77 };
    char why[400] = "";
    CU_ASSERT_EQUAL(addr_parse(text, &a, why, sizeof(why)), -EINVAL);
    CU_ASSERT_EQUAL(a.port, 77);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, word));
    if (!strstr(why, word))
        printf("\n  '%s': %s", text, why);
}

static void test_refused(void)
{
    char longer[400];
    check_refused("", "missing");
    check_refused("http://x/y", "'http://'");
    check_refused("gateway://gw", "route is missing");
    check_refused("gateway://gw/", "route name");
    check_refused("gateway://gw/a/b", "'a/b'");
    check_refused("gateway://gw/-a", "'-a'");
    check_refused("gateway:///r", "missing");
    check_refused("gateway://:5000/r", "host is missing");
    check_refused("gateway://gw:0/r", "1 to 65535");
    check_refused("gateway://gw:65536/r", "1 to 65535");
    check_refused("gateway://gw:5x/r", "1 to 65535");
    check_refused("gateway://gw:99999999999999999999/r", "1 to 65535");
    check_refused("gateway://::1/r", "brackets");
    check_refused("gateway://[::1/r", "']' is missing");
    check_refused("gateway://[gw]:1/r", "'gw' is not an IPv6");
    check_refused("gateway://[::1]x/r", "1 to 65535");
    check_refused("direct://host", "port is missing");
    check_refused("direct://", "port is missing");
    check_refused("tcp://host:", "1 to 65535");
    check_refused("tcp://host:80/", "1 to 65535");
    check_refused("tcp://user@host:80", "neither");
    check_refused("tcp://a..b:80", "neither");
    check_refused("tcp://-a:80", "neither");
    check_refused("tcp://h\xc3\xb6st:80", "neither");
    check_refused("unix:", "path is missing");
    check_refused("file:", "path is missing");
    memset(longer, 'a', sizeof(longer));
    longer[399] = 0;
    memcpy(longer, "tcp://", 6);
    check_refused(longer, "longer than 253");
    memcpy(longer, "unix:x", 6);
    check_refused(longer, "longer than 107");
    memcpy(longer, "gateway://", 10);
    longer[300] = '/';
    longer[320] = 0;
    check_refused(longer, "longer than 253");
}

static void test_why_is_cut(void)
{
    struct addr a;
    char why[8] = "";
    CU_ASSERT_EQUAL(addr_parse("tcp://host:x", &a, why, sizeof(why)), -EINVAL);
    CU_ASSERT_EQUAL(strlen(why), 7);
    CU_ASSERT_EQUAL(addr_parse("tcp://host:x", &a, NULL, 0), -EINVAL);
}

static void test_hostport(void)
{
    char host[ADDR_HOST_MAX + 1] = "old", why[200];
    uint16_t port = 1;
    CU_ASSERT_EQUAL(addr_parse_hostport("gw", 5000, host, &port, why, sizeof(why)), 0);
    CU_ASSERT(str_eq(host, "gw") && port == 5000);
    CU_ASSERT_EQUAL(addr_parse_hostport("[::]:6000", 5000, host, &port, why, sizeof(why)), 0);
    CU_ASSERT(str_eq(host, "::") && port == 6000);
    CU_ASSERT_EQUAL(addr_parse_hostport("[::1]", 5000, host, &port, why, sizeof(why)), 0);
    CU_ASSERT(str_eq(host, "::1") && port == 5000);
    CU_ASSERT_EQUAL(addr_parse_hostport(":7000", 0, host, &port, why, sizeof(why)), 0);
    CU_ASSERT(str_eq(host, "") && port == 7000);
    CU_ASSERT_EQUAL(addr_parse_hostport("gw", 0, host, &port, why, sizeof(why)), -EINVAL);
    CU_ASSERT_STRING_EQUAL(why, "'gw': a port is missing, write gw:PORT");
    CU_ASSERT_EQUAL(addr_parse_hostport("", 5000, host, &port, why, sizeof(why)), -EINVAL);
    CU_ASSERT_EQUAL(addr_parse_hostport(":", 5000, host, &port, why, sizeof(why)), -EINVAL);
    CU_ASSERT(str_eq(host, "") && port == 7000); /* untouched by what failed */
}

static void test_ports(void)
{
    static const char *const bad[] = { "", "0", "65536", "5-4", "5-", "-5", "1-65536", "1-2-3", "1,2", " 1", "1 ", "x", "0-5" };
    uint16_t a = 7, b = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_EQUAL(addr_parse_ports(bad[i], &a, &b), -EINVAL);
    CU_ASSERT(a == 7 && b == 7);
    CU_ASSERT_EQUAL(addr_parse_ports("5010", &a, &b), 0);
    CU_ASSERT(a == 5010 && b == 5010);
    CU_ASSERT_EQUAL(addr_parse_ports("1-65535", &a, &b), 0);
    CU_ASSERT(a == 1 && b == 65535);
}

static void test_ports_try(void)
{
    static const struct { const char *text; unsigned index; uint16_t want[4]; } rows[] = {
        { "0", 3, { 0 } },
        { "7000", 0, { 7000 } },
        { "7000-7003", 0, { 7000, 7001, 7002, 7003 } },
        { "7000-7003", 3, { 7003, 7000, 7001, 7002 } },
        { "7000-7002", 5, { 7002, 7000, 7001 } }, /* more workers than ports: the range may do nevertheless */
        { "65535", 0, { 65535 } },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned n = 0;
        uint16_t port;
        for (; addr_ports_try(rows[i].text, rows[i].index, n, &port) && n < 4; n++)
            CU_ASSERT_EQUAL(port, rows[i].want[n]);
        CU_ASSERT(n == 4 || (n > 0 && rows[i].want[n] == 0));
    }
    union sockaddr_any at;
    CU_ASSERT(addr_numeric("::1", 1, &at) == 0 && (addr_set_port(&at, 7000), addr_port(&at)) == 7000);
    CU_ASSERT(addr_numeric("127.0.0.1", 1, &at) == 0 && (addr_set_port(&at, 7001), addr_port(&at)) == 7001);
}

static void test_route(void)
{
    char name[ADDR_ROUTE_MAX + 2];
    memset(name, 'r', sizeof(name));
    name[ADDR_ROUTE_MAX] = 0;
    CU_ASSERT_TRUE(addr_route_ok(name));
    name[ADDR_ROUTE_MAX] = 'r';
    name[ADDR_ROUTE_MAX + 1] = 0;
    CU_ASSERT_FALSE(addr_route_ok(name));
    CU_ASSERT_TRUE(addr_route_ok("9") && addr_route_ok("A.b_c-d"));
    CU_ASSERT_FALSE(addr_route_ok("") || addr_route_ok(".a") || addr_route_ok("a b") || addr_route_ok("a/b") ||
                    addr_route_ok("\xc3\xa4"));
}

static void check_format(const char *host, uint16_t port, const char *text, const char *alone)
{
    union sockaddr_any a;
    char out[ADDR_TEXT];
    CU_ASSERT_EQUAL(addr_numeric(host, port, &a), 0);
    CU_ASSERT_EQUAL(addr_port(&a), port);
    CU_ASSERT_STRING_EQUAL(addr_format(&a, out), text);
    CU_ASSERT_STRING_EQUAL(addr_format_host(&a, out), alone);
}

static void test_format(void)
{
    char lo[ADDR_TEXT];
    snprintf(lo, sizeof(lo), "fe80::1%%%u", if_nametoindex("lo"));
    check_format("10.0.0.5", 5000, "10.0.0.5:5000", "10.0.0.5");
    check_format("::1", 5000, "[::1]:5000", "::1");
    check_format("::", 1, "[::]:1", "::");
    check_format("", 65535, "[::]:65535", "::");
    check_format("0.0.0.0", 0, "0.0.0.0:0", "0.0.0.0");
    check_format("::ffff:192.0.2.1", 80, "192.0.2.1:80", "192.0.2.1");
    check_format("fe80::1%lo", 80, "[fe80::1%lo]:80", "fe80::1%lo");
    check_format(lo, 80, "[fe80::1%lo]:80", "fe80::1%lo");
    check_format("fe80::1%4000000000", 80, "[fe80::1%4000000000]:80", "fe80::1%4000000000");
    check_format("2001:db8:1111:2222:3333:4444:5555:6666", 65535, "[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
                 "2001:db8:1111:2222:3333:4444:5555:6666");
}

static void test_not_numeric(void)
{
    static const char *const bad[] = { "localhost", "1.2.3", "1.2.3.4.5", "0x7f.1", "::1%", "::1%nosuchif", "::1%5000000000", "%lo",
        "1.2.3.4%lo", ":::", "[::1]", "2001:db8:1111:2222:3333:4444:5555:6666:7777:8888:9999" };
    union sockaddr_any a = { .ss = { .ss_family = 99 } };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_EQUAL(addr_numeric(bad[i], 1, &a), -EINVAL);
    CU_ASSERT_EQUAL(a.sa.sa_family, 99);
}

static void test_families(void)
{
    union sockaddr_any a = { .ss = { .ss_family = AF_UNIX } };
    char out[ADDR_TEXT];
    CU_ASSERT_STRING_EQUAL(addr_format(&a, out), "unix:");
    CU_ASSERT_EQUAL(addr_port(&a), 0);
    CU_ASSERT_EQUAL(addr_len(&a), sizeof(a.ss));
    a.sa.sa_family = AF_UNSPEC;
    CU_ASSERT_STRING_EQUAL(addr_format(&a, out), "?");
    addr_numeric("1.2.3.4", 1, &a);
    CU_ASSERT_EQUAL(addr_len(&a), sizeof(struct sockaddr_in));
    addr_numeric("::", 1, &a);
    CU_ASSERT_EQUAL(addr_len(&a), sizeof(struct sockaddr_in6));
}

UNIT_MAIN("addr", UNIT(test_network), UNIT(test_local), UNIT(test_refused), UNIT(test_why_is_cut), UNIT(test_hostport),
          UNIT(test_ports), UNIT(test_ports_try), UNIT(test_route), UNIT(test_format), UNIT(test_not_numeric), UNIT(test_families))
