/* Policies: patterns, networks with ports, which row decides, and what each limit says when it is hit. */
#include <stdio.h>

#include "ctrl/policy.h"
#include "src/core/err.h"
#include "tests/lib/unit.h"

static char why[POLICY_WHY];

/* ------------------------------------------------------------ patterns */

static void test_patterns(void)
{
    static const struct { const char *pattern, *text; bool fits; } all[] = {
        { "alice@anl.gov", "alice@anl.gov", true }, { "alice@anl.gov", "Alice@anl.gov", false }, { "alice@anl.gov", "alice@anl.govx", false },
        { "*@anl.gov", "bob@anl.gov", true }, { "*@anl.gov", "@anl.gov", true }, { "*@anl.gov", "bob@anl.gov.evil.org", false },
        { "*@anl.gov", "bob@xanl.gov", false }, { "*@*.gov", "bob@lab.gov", true }, { "*@*.gov", "bob@gov", false }, { "*", "", true },
        { "*", "anything at all", true }, { "**", "x", true }, { "", "", true }, { "", "x", false }, { "a*b*c", "aXbXbYc", true },
        { "a*b*c", "aXbXbYcd", false }, { "a*a", "a", false }, { "a*a", "aa", true }, { "x*", "x", true }, { "?", "x", false },
        { "[ab]", "a", false }, { "spiffe://site/*", "spiffe://site/daq/7", true },
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (policy_fits(all[i].pattern, all[i].text) != all[i].fits)
            CU_FAIL("pattern");
}

/* Many stars against a long text that does not fit in the end. */
static void test_patterns_are_quick(void)
{
    char pattern[129], text[4097];
    for (size_t i = 0; i < sizeof(pattern) - 1; i += 2)
        memcpy(pattern + i, "*a", 2);
    pattern[sizeof(pattern) - 1] = 0;
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    CU_ASSERT(policy_fits(pattern, text));
    text[sizeof(text) - 2] = 'b';
    CU_ASSERT(!policy_fits(pattern, text));
}

static void test_names(void)
{
    char longest[CALLER_NAME + 1];
    memset(longest, 'x', sizeof(longest));
    longest[CALLER_NAME] = 0;
    CU_ASSERT(!caller_name_ok(longest));
    longest[CALLER_NAME - 1] = 0;
    CU_ASSERT(caller_name_ok(longest));
    CU_ASSERT(caller_name_ok("alice@anl.gov") && caller_name_ok("Alice Example") && caller_name_ok("anonymous2") && caller_name_ok("local") && caller_name_ok("\xc3\xa4"));
    CU_ASSERT(!caller_name_ok("") && !caller_name_ok("anonymous") && !caller_name_ok("local:0") && !caller_name_ok("a\nb") && !caller_name_ok("a\"b"));
    CU_ASSERT(!caller_name_ok("a\\b") && !caller_name_ok(" a") && !caller_name_ok("a ") && !caller_name_ok("a\x7f"));
    CU_ASSERT_STRING_EQUAL(caller_how_name(CALLER_INTROSPECTION), "introspection");
    CU_ASSERT_STRING_EQUAL(policy_role_name(ROLE_ADMIN), "ADMIN");
}

/* ------------------------------------------------------------ networks */

static bool has(const char *net, const char *host, uint16_t port)
{
    struct addr_net n;
    union sockaddr_any a;
    CU_ASSERT_EQUAL_FATAL(addr_net_parse(net, &n, why, sizeof(why)), 0);
    CU_ASSERT_EQUAL_FATAL(addr_numeric(host, port, &a), 0);
    return addr_net_has(&n, &a);
}

static void test_networks(void)
{
    CU_ASSERT(has("10.0.0.0/8:5000-6000", "10.255.255.255", 5000) && has("10.0.0.0/8:5000-6000", "10.0.0.0", 6000));
    CU_ASSERT(!has("10.0.0.0/8:5000-6000", "11.0.0.0", 5000) && !has("10.0.0.0/8:5000-6000", "10.1.2.3", 4999) && !has("10.0.0.0/8:5000-6000", "10.1.2.3", 6001));
    CU_ASSERT(has("192.0.2.128/25:*", "192.0.2.129", 1) && !has("192.0.2.128/25:*", "192.0.2.127", 1));
    CU_ASSERT(has("192.0.2.7:22", "192.0.2.7", 22) && !has("192.0.2.7:22", "192.0.2.6", 22));
    CU_ASSERT(has("[2001:db8::]/32:*", "2001:db8:ffff::1", 65535) && !has("[2001:db8::]/32:*", "2001:db9::1", 80));
    CU_ASSERT(has("[2001:db8::1]:443", "2001:db8::1", 443) && has("*:443", "2001:db8::1", 443) && has("*:443", "192.0.2.1", 443));
    CU_ASSERT(has("0.0.0.0/0:*", "192.0.2.1", 9) && !has("0.0.0.0/0:*", "2001:db8::1", 9) && has("[::]/0:*", "2001:db8::1", 9));
}

/* An address in another dress is the same address. */
static void test_disguises(void)
{
    CU_ASSERT(has("127.0.0.0/8:*", "::ffff:127.0.0.1", 80) && !has("[::]/0:*", "::ffff:127.0.0.1", 80) && !has("10.0.0.0/8:*", "::ffff:127.0.0.1", 80));
    CU_ASSERT(!has("*:*", "0.0.0.0", 80) && !has("0.0.0.0/0:*", "0.0.0.0", 80) && !has("*:*", "::", 80) && !has("*:*", "::ffff:0.0.0.0", 80));
    CU_ASSERT(!has("*:*", "192.0.2.1", 0));
    CU_ASSERT(has("[fe80::]/10:*", "fe80::1%1", 80));
    struct addr_net n;
    union sockaddr_any local = { .sa.sa_family = AF_UNIX };
    CU_ASSERT(addr_net_parse("*:*", &n, why, sizeof(why)) == 0 && !addr_net_has(&n, &local));
}

static void test_networks_refused(void)
{
    static const struct { const char *text, *why; } all[] = {
        { "10.0.0.0/8", "ports are missing" }, { "10.0.0.1/8:*", "bits set behind the first 8" }, { "10.0.0.0/33:*", "must be 0 to 32" },
        { "10.0.0.0/:*", "must be 0 to 32" }, { "10.0.0.0/99999999999999999999:*", "must be 0 to 32" }, { "[2001:db8::/32:*", "']' is missing" },
        { "2001:db8::/32:*", "no numeric address" }, { "[10.0.0.1]:80", "no other" }, { "host.example.org:80", "no numeric address" },
        { "10.0.0.1:0", "ports must be" }, { "10.0.0.1:70000", "ports must be" }, { "10.0.0.1:9-8", "ports must be" }, { "10.0.0.1:*x", "ports must be" },
        { "*/8:*", "* has no bits" }, { "*", "ports are missing" }, { "", "numeric" }, { "[2001:db8::1]/32:*", "bits set behind" }, { ":80", "numeric" },
    };
    struct addr_net n = { .bits = 77 };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        CU_ASSERT_EQUAL(addr_net_parse(all[i].text, &n, why, sizeof(why)), -EINVAL);
        if (!strstr(why, all[i].why))
            CU_FAIL("reason");
    }
    CU_ASSERT(n.bits == 77 && addr_net_parse("x", &n, NULL, 0) == -EINVAL);
}

/* ------------------------------------------------------------ judging */

static struct conf *conf;
static struct policy *policy;

static void begin(const char *const *settings)
{
    conf = conf_new();
    for (; *settings; settings++)
        CU_ASSERT_EQUAL_FATAL(conf_set(conf, *settings, why, sizeof(why)), 0);
    CU_ASSERT_EQUAL_FATAL(conf_check(conf, why, sizeof(why)), 0);
    policy = policy_new(conf);
    conf_free(conf); /* it keeps its own */
}

static int judge(const char *principal, const struct demand *d)
{
    struct caller c = { .how = CALLER_TOKEN };
    str_copy(c.principal, sizeof(c.principal), principal);
    *why = 0;
    return policy_judge(policy, &c, d, why, sizeof(why));
}

static const char *const rows[] = {
    "policy.staff.principals=root@anl.gov, *-admin@anl.gov", "policy.staff.roles=ADMIN,PROD", "policy.staff.targets=*:*",
    "policy.users.principals=*@anl.gov", "policy.users.roles=PROD,CONS", "policy.users.targets=10.0.0.0/8:5000-6000, [2001:db8::]/32:*",
    "policy.users.sessions=2", "policy.users.channels=8", "policy.users.rate=10Gbit", "policy.users.window=16M", "policy.users.ring_memory=1G",
    "policy.users.lifetime=8h",
    "policy.fast.principals=*", "policy.fast.roles=SEND, ADMIN", "policy.fast.classes=provisioned", NULL,
};

static void test_first_row_decides(void)
{
    begin(rows);
    CU_ASSERT_EQUAL(judge("root@anl.gov", &(struct demand){ .role = ROLE_ADMIN }), 0);
    CU_ASSERT_EQUAL(judge("eve-admin@anl.gov", &(struct demand){ .role = ROLE_ADMIN }), 0);
    CU_ASSERT_EQUAL(judge("bob@anl.gov", &(struct demand){ .role = ROLE_RECV }), -SST_EDENIED);
    CU_ASSERT_STRING_EQUAL(why, "no policy allows bob@anl.gov the role RECV");
    CU_ASSERT_EQUAL(judge("bob@anl.gov", &(struct demand){ .role = ROLE_ADMIN }), 0); /* of fast: classes are those of sessions */
    CU_ASSERT_EQUAL(judge("bob@ornl.gov", &(struct demand){ .role = ROLE_CONS }), -SST_EDENIED);
    CU_ASSERT_EQUAL(judge("root@anl.gov", &(struct demand){ .role = ROLE_PROD, .sessions = 1000 }), 0);  /* of staff, which has no limit */
    CU_ASSERT_EQUAL(judge("root@anl.gov", &(struct demand){ .role = ROLE_CONS, .sessions = 1000 }), -SST_ELIMIT); /* of users: staff has not that role */
    struct caller c = { .principal = "root@anl.gov" };
    CU_ASSERT_STRING_EQUAL(policy_row(policy, &c, ROLE_CONS)->name, "users");
    CU_ASSERT_EQUAL(policy_row(policy, &c, ROLE_CONS)->lifetime_ns, 8 * 3600 * NS_PER_S);
    CU_ASSERT_PTR_NULL(policy_row(policy, &c, ROLE_RECV));
    CU_ASSERT_EQUAL(judge("x", &(struct demand){ .role = ROLE_SEND }), -SST_EDENIED);
    CU_ASSERT_STRING_EQUAL(why, "policy \"fast\": sessions of class best_effort are not allowed by it");
    CU_ASSERT_EQUAL(judge("x", &(struct demand){ .role = ROLE_SEND, .provisioned = true }), 0);
    CU_ASSERT_EQUAL(judge("bob@anl.gov", &(struct demand){ .role = ROLE_CONS, .provisioned = true }), -SST_EDENIED);
    policy_free(policy);
    policy_free(NULL);
}

static void test_nothing_by_default(void)
{
    static const char *const none[] = { NULL }, *const nowhere[] = { "policy.a.principals=*", "policy.a.roles=PROD", NULL };
    union sockaddr_any to;
    const struct demand d = { .role = ROLE_PROD, .targets = &to, .n_targets = 1 };
    addr_numeric("127.0.0.1", 22, &to);
    begin(none);
    CU_ASSERT_EQUAL(judge("bob", &(struct demand){ .role = ROLE_CONS }), -SST_EDENIED);
    policy_free(policy);
    begin(nowhere);
    CU_ASSERT_EQUAL(judge("bob", &d), -SST_EDENIED);
    CU_ASSERT_STRING_EQUAL(why, "policy \"a\": 127.0.0.1:22 is in none of its targets");
    CU_ASSERT_EQUAL(judge("bob", &(struct demand){ .role = ROLE_PROD }), 0); /* no targets yet */
    policy_free(policy);
}

static void test_targets(void)
{
    union sockaddr_any to[3];
    begin(rows);
    addr_numeric("10.1.2.3", 5500, &to[0]);
    addr_numeric("2001:db8::7", 80, &to[1]);
    addr_numeric("::ffff:127.0.0.1", 5500, &to[2]);
    CU_ASSERT_EQUAL(judge("bob@anl.gov", &(struct demand){ .role = ROLE_PROD, .targets = to, .n_targets = 2 }), 0);
    CU_ASSERT_EQUAL(judge("bob@anl.gov", &(struct demand){ .role = ROLE_PROD, .targets = to, .n_targets = 3 }), -SST_EDENIED);
    CU_ASSERT_STRING_EQUAL(why, "policy \"users\": 127.0.0.1:5500 is in none of its targets");
    policy_free(policy);
}

static void test_limits(void)
{
    static const struct { struct demand d; const char *why; } all[] = {
        { { .sessions = 3 }, "policy \"users\": sessions at once: 3 would be more than its limit of 2" },
        { { .channels = 9 }, "channels of a session: 9 would be more than its limit of 8" },
        { { .rate = 10000000001ULL }, "rate: 10000000001bit would be more than its limit of 10Gbit" },
        { { .window = 32U << 20 }, "window: 32M would be more than its limit of 16M" },
        { { .ring_memory = (1ULL << 30) + 1 }, "ring_memory: 1073741825 would be more than its limit of 1G" },
        { { .lifetime_ns = 9 * 3600 * NS_PER_S }, "lifetime: 9h would be more than its limit of 8h" },
        { { .lifetime_ns = TIME_FOREVER }, "lifetime: forever would be more than its limit of 8h" },
    };
    begin(rows);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct demand d = all[i].d;
        d.role = ROLE_PROD;
        CU_ASSERT_EQUAL(judge("bob@anl.gov", &d), -SST_ELIMIT);
        if (!strstr(why, all[i].why))
            CU_FAIL(why);
    }
    CU_ASSERT_EQUAL(judge("bob@anl.gov", &(struct demand){ .role = ROLE_PROD, .sessions = 2, .channels = 8, .rate = 10000000000ULL, .window = 16U << 20,
                                                           .ring_memory = 1ULL << 30, .lifetime_ns = 8 * 3600 * NS_PER_S }), 0);
    policy_free(policy);
}

static void test_local_and_anonymous(void)
{
    static const char *const open[] = { "policy.all.principals=*", "policy.all.roles=ADMIN,PROD", NULL };
    static const char *const none[] = { NULL };
    struct caller root = { .principal = "local:0", .how = CALLER_LOCAL, .admin = true }, other = { .principal = "local:1000", .how = CALLER_LOCAL },
                  nobody = { .principal = "anonymous", .how = CALLER_ANONYMOUS };
    const struct demand admin = { .role = ROLE_ADMIN }, prod = { .role = ROLE_PROD };
    begin(none);
    CU_ASSERT_EQUAL(policy_judge(policy, &root, &admin, why, sizeof(why)), 0);
    CU_ASSERT_EQUAL(policy_judge(policy, &other, &admin, why, sizeof(why)), -SST_EDENIED);
    CU_ASSERT_EQUAL(policy_judge(policy, &nobody, &prod, NULL, 0), -SST_EDENIED);
    policy_free(policy);
    begin(open);
    CU_ASSERT_EQUAL(policy_judge(policy, &other, &admin, why, sizeof(why)), 0);
    CU_ASSERT_EQUAL(policy_judge(policy, &nobody, &prod, why, sizeof(why)), 0);
    CU_ASSERT_EQUAL(policy_judge(policy, &nobody, &admin, why, sizeof(why)), -SST_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "on the local control socket only"));
    policy_free(policy);
}

static void test_configuration_refused(void)
{
    static const struct { const char *set[4], *why; } all[] = {
        { { "policy.a.roles=PROD" }, "policy \"a\": principals is empty" },
        { { "policy.a.principals=x" }, "policy \"a\": roles is empty" },
        { { "policy.a.principals=x", "policy.a.roles=prod" }, "roles = prod: must be one of PROD, CONS" },
        { { "policy.a.principals=x", "policy.a.roles=PROD", "policy.a.classes=gold" }, "classes = gold: must be one of" },
        { { "policy.a.principals=x", "policy.a.roles=PROD", "policy.a.targets=anl.gov:22" }, "policy \"a\": targets: 'anl.gov:22': " },
        { { "auth.introspection_url=http://x/y" }, "must begin with https://" },
        { { "auth.introspection_url=https://x/y" }, "introspection_credentials_file is missing" },
        { { "auth.introspection_url=https://x/y", "auth.introspection_credentials_file=/x", "auth.principal_field=" }, "principal_field is empty" },
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct conf *c = conf_new();
        for (size_t k = 0; k < ARRAY_LEN(all[i].set) && all[i].set[k]; k++)
            CU_ASSERT_EQUAL(conf_set(c, all[i].set[k], why, sizeof(why)), 0);
        CU_ASSERT_EQUAL(conf_check(c, why, sizeof(why)), -SST_ECONF);
        if (!strstr(why, all[i].why))
            CU_FAIL(why);
        conf_free(c);
    }
}

UNIT_MAIN("policy", UNIT(test_patterns), UNIT(test_patterns_are_quick), UNIT(test_names), UNIT(test_networks), UNIT(test_disguises),
          UNIT(test_networks_refused), UNIT(test_first_row_decides), UNIT(test_nothing_by_default), UNIT(test_targets), UNIT(test_limits),
          UNIT(test_local_and_anonymous), UNIT(test_configuration_refused))
