/* What an ArrangeRequest asks for: each of the cells, what is filled in, and each field that is wrong; and the looking up of several names. */
#include <stdio.h>

#include "ctrl/arrange.h"
#include "ctrl/grants.h"
#include "tests/lib/unit.h"

#define NOW_S 1000000ULL
#define DAY_S (24ULL * 3600)

typedef Scistream__Gateway__V1__Dial Dial;
typedef Scistream__Gateway__V1__Listen Listen;

/* A request that is right, for a test to spoil. */
static ArrangeRequest q;
static Dial dial;
static Listen listen_at;
static char *targets[300], *addresses[5], *pins[3], host_port[] = "127.0.0.1:5000", uid[80];
static uint32_t ports[300], dial_ports[300];
static uint8_t secret[REQUEST_KEY];
static struct arrange a;
static struct request_refusal no;

static void fill(bool dials)
{
    scistream__gateway__v1__arrange_request__init(&q);
    scistream__gateway__v1__dial__init(&dial);
    scistream__gateway__v1__listen__init(&listen_at);
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        targets[i] = host_port;
        ports[i] = dial_ports[i] = (uint32_t)(7000 + i);
    }
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
        addresses[i] = host_port;
    memset(secret, 1, sizeof(secret));
    str_copy(uid, sizeof(uid), "0123456789abcdef0123456789abcdef");
    dial.addresses = addresses;
    dial.n_addresses = 1;
    dial.pins = pins;
    dial.secret = (ProtobufCBinaryData){ sizeof(secret), secret };
    dial.ports = dial_ports;
    listen_at.ports = ports;
    q.targets = targets;
    q.uid = dials ? uid : q.uid;
    q.dial = dials ? &dial : NULL;
}

static void inbound(size_t n)
{
    fill(false);
    q.n_targets = n;
}

static void outbound(size_t n)
{
    fill(true);
    q.listen = &listen_at;
    dial.n_ports = n;
}

static void attach(bool dials, Scistream__Gateway__V1__Role role)
{
    fill(dials);
    q.attach = dial.role = role;
}

static bool reads(void)
{
    memset(&no, 0, sizeof(no));
    bool ok = arrange_read(&q, NOW_S, &a, &no);
    strv_free(a.names);
    return ok;
}

static bool wrong(const char *field) { return !reads() && no.status == GRPC_INVALID_ARGUMENT && str_starts(no.why, field); }

static void test_cells(void)
{
    inbound(3);
    CU_ASSERT(reads() && a.cell == ARRANGE_INBOUND && a.role == ROLE_PROD && a.channels == 3 && a.ticket_s == DAY_S && a.life_s == 0 && !a.provisioned);
    outbound(2);
    CU_ASSERT(reads() && a.cell == ARRANGE_OUTBOUND && a.role == ROLE_CONS && a.channels == 2 && a.n_dial_ports == 2 && a.dial_ports[1] == 7001 && a.n_ports == 0);
    listen_at.n_ports = 2;
    CU_ASSERT(reads() && a.n_ports == 2 && a.ports[0] == 7000);
    attach(false, SCISTREAM__GATEWAY__V1__ROLE__SEND);
    CU_ASSERT(reads() && a.cell == ARRANGE_ATTACHED && a.role == ROLE_SEND && a.channels == 1);
    attach(true, SCISTREAM__GATEWAY__V1__ROLE__RECV);
    q.channels = 65536;
    CU_ASSERT(reads() && a.cell == ARRANGE_ATTACHING && a.role == ROLE_RECV && a.channels == 65536);
}

static void test_wrong_cells(void)
{
    inbound(0);
    CU_ASSERT_TRUE(wrong("one of targets, listen and attach"));
    inbound(1);
    q.attach = SCISTREAM__GATEWAY__V1__ROLE__SEND;
    CU_ASSERT_TRUE(wrong("one of targets, listen and attach"));
    outbound(1);
    q.dial = NULL;
    CU_ASSERT_TRUE(wrong("listen: "));
    inbound(1);
    q.dial = &dial;
    CU_ASSERT_TRUE(wrong("dial: "));
    attach(false, 7);
    CU_ASSERT_TRUE(wrong("attach: "));
    attach(true, SCISTREAM__GATEWAY__V1__ROLE__SEND);
    dial.role = SCISTREAM__GATEWAY__V1__ROLE__RECV;
    CU_ASSERT_TRUE(wrong("dial.role: "));
    inbound(1); /* the gateway draws it, or who asks */
    q.uid = uid;
    CU_ASSERT_TRUE(reads());
    uid[0] = 'A';
    CU_ASSERT_TRUE(wrong("uid: "));
    uid[0] = '0';
    uid[31] = 0;
    CU_ASSERT_TRUE(wrong("uid: "));
    outbound(1);
    q.uid = host_port;
    CU_ASSERT_TRUE(wrong("uid: "));
    attach(true, SCISTREAM__GATEWAY__V1__ROLE__SEND); /* in no other spelling, or what is reserved by it would never be given back */
    uid[10] = 'A';
    CU_ASSERT_TRUE(wrong("uid: "));
}

static void test_wrong_places(void)
{
    static char empty[] = "", no_port[] = "127.0.0.1", no_host[] = ":5", brackets[] = "::1:5:x";
    char *const bad[] = { empty, no_port, no_host, brackets };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        inbound(2);
        targets[1] = bad[i];
        CU_ASSERT_TRUE(wrong("targets: "));
        outbound(1);
        addresses[0] = bad[i];
        CU_ASSERT_TRUE(wrong("dial.addresses: "));
    }
    inbound(257);
    CU_ASSERT_TRUE(wrong("targets: 257 are too many"));
    outbound(1);
    dial.n_addresses = 0;
    CU_ASSERT_TRUE(wrong("dial.addresses: "));
    dial.n_addresses = 5;
    CU_ASSERT_TRUE(wrong("dial.addresses: "));
    outbound(1);
    dial.n_pins = 3;
    CU_ASSERT_TRUE(wrong("dial.pins: "));
    outbound(1);
    dial.secret.len = 31;
    CU_ASSERT_TRUE(wrong("dial.secret: has 31 bytes"));
    outbound(1);
    memset(secret, 0, sizeof(secret));
    CU_ASSERT_TRUE(wrong("dial.secret: is all zero"));
}

static void test_tls_name(void)
{
    static char name[300];
    outbound(1);
    dial.tls_name = name;
    memset(name, 'a', 253);
    CU_ASSERT_TRUE(reads());
    name[253] = 'a';
    CU_ASSERT_TRUE(wrong("dial.tls_name: "));
    str_copy(name, sizeof(name), "two\nlines");
    CU_ASSERT_TRUE(wrong("dial.tls_name: "));
}

static void test_wrong_ports(void)
{
    outbound(0);
    CU_ASSERT_TRUE(wrong("dial.ports: there are none"));
    outbound(257);
    CU_ASSERT_TRUE(wrong("dial.ports: 257 are too many"));
    outbound(2);
    dial_ports[1] = 65536;
    CU_ASSERT_TRUE(wrong("dial.ports: 65536 is no port"));
    outbound(2);
    listen_at.n_ports = 1;
    CU_ASSERT_TRUE(wrong("listen.ports: 1 are named for 2 channels"));
    listen_at.n_ports = 2;
    ports[0] = 0;
    CU_ASSERT_TRUE(wrong("listen.ports: 0 is no port"));
    ports[0] = ports[1];
    CU_ASSERT_TRUE(wrong("listen.ports: 7001 is there twice"));
}

static void test_how_much(void)
{
    inbound(2);
    q.channels = 1;
    CU_ASSERT_TRUE(wrong("targets: 2 are named for 1 channel: "));
    q.channels = 257;
    CU_ASSERT_TRUE(wrong("channels: is 257"));
    q.channels = 256;
    CU_ASSERT(reads() && a.channels == 256);
    inbound(1);
    q.rate = 5;
    CU_ASSERT_TRUE(wrong("rate: "));
    q.class_ = (char *)(uintptr_t)"provisioned";
    CU_ASSERT(reads() && a.provisioned && a.rate == 5);
    q.rate = UINT64_MAX - 5;
    CU_ASSERT_TRUE(wrong("rate: "));
    q.rate = 0;
    CU_ASSERT_TRUE(wrong("rate: "));
    q.class_ = (char *)(uintptr_t)"gold";
    CU_ASSERT_TRUE(wrong("class: "));
    q.class_ = (char *)(uintptr_t)"best effort";
    CU_ASSERT_TRUE(reads());
}

/* Not longer than the ticket of the other gateway. */
static void test_times(void)
{
    inbound(1);
    q.ticket_s = GRANT_LIFE_MAX_S;
    q.lifetime_s = 60;
    CU_ASSERT(reads() && a.ticket_s == GRANT_LIFE_MAX_S && a.life_s == 60);
    q.ticket_s++;
    CU_ASSERT_TRUE(wrong("ticket_s: "));
    q.ticket_s = 0;
    q.lifetime_s = UINT64_MAX;
    CU_ASSERT_TRUE(wrong("lifetime_s: "));
    outbound(1);
    dial.expires_s = NOW_S + 100;
    CU_ASSERT(reads() && a.ticket_s == 100);
    q.ticket_s = 50;
    CU_ASSERT(reads() && a.ticket_s == 50);
    q.ticket_s = 500;
    CU_ASSERT(reads() && a.ticket_s == 100);
    q.ticket_s = 0;
    dial.expires_s = UINT64_MAX;
    CU_ASSERT(reads() && a.ticket_s == GRANT_LIFE_MAX_S);
    dial.expires_s = NOW_S;
    CU_ASSERT_TRUE(wrong("dial.expires_s: "));
}

/* ------------------------------------------------------------ names */

static struct loop loop;
static struct lookups *lookups;
static unsigned told;

static void on_known(void *user, const struct request_target *t, size_t n)
{
    CU_ASSERT_FATAL(user == &told && n == 3 && told == 0);
    CU_ASSERT(str_eq(t[0].text, "127.0.0.1:7") && t[0].n == 1 && str_eq(t[0].addresses[0], "127.0.0.1") && addr_port(&t[0].where[0]) == 7 && !t[0].why);
    CU_ASSERT(t[1].n == 0 && *t[1].why && t[1].port == 8);
    CU_ASSERT(t[2].n == 1 && str_eq(t[2].addresses[0], "::1") && t[2].port == 9);
    told++;
    lookups_drop(lookups);
}

static void on_many(void *user UNUSED, const struct request_target *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        CU_ASSERT(t[i].n == 1 && t[i].port == 7 + i && addr_port(&t[i].where[0]) == 7 + i);
    told = (unsigned)n;
}

/* A few at a time, that others come in between; all of them in their order. */
static void test_many_lookups(void)
{
    static char text[100][24], *words[101];
    for (size_t i = 0; i < ARRAY_LEN(text); i++) {
        snprintf(text[i], sizeof(text[i]), "127.0.0.1:%zu", 7 + i);
        words[i] = text[i];
    }
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
    struct resolver *r = resolver_new(&loop);
    unsigned turns = 0;
    told = 0;
    lookups = lookups_start(r, words, on_many, NULL);
    for (; !told && turns < 1000; turns++)
        loop_turn(&loop, 5 * NS_PER_MS);
    CU_ASSERT(told == 100 && turns >= 10);
    lookups_drop(lookups);
    resolver_free(r);
    loop_fini(&loop);
}

static void test_lookups(void)
{
    static char *const words[] = { "127.0.0.1:7", "nobody.onion:8", "[::1]:9", NULL };
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
    struct resolver *r = resolver_new(&loop);
    lookups_drop(NULL);
    lookups_drop(lookups_start(r, words, on_known, NULL));
    lookups = lookups_start(r, words, on_known, &told);
    CU_ASSERT_EQUAL(told, 0);
    for (uint64_t until = now_ns() + 20 * NS_PER_S; !told && now_ns() < until;)
        loop_turn(&loop, 5 * NS_PER_MS);
    CU_ASSERT_EQUAL(told, 1);
    resolver_free(r);
    loop_fini(&loop);
}

UNIT_MAIN("arrange", UNIT(test_cells), UNIT(test_wrong_cells), UNIT(test_wrong_places), UNIT(test_tls_name), UNIT(test_wrong_ports), UNIT(test_how_much), UNIT(test_times), UNIT(test_lookups),
          UNIT(test_many_lookups))
