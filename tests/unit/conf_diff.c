/* Two configurations compared, and one that becomes the other where that needs no restart. */
#include <stdio.h>

#include "src/core/conf_diff.h"
#include "src/core/err.h"
#include "src/core/units.h"
#include "tests/lib/unit.h"

static struct conf *a, *b;
static struct conf_diff d;

static void set(struct conf *c, const char *assignment)
{
    char why[400];
    CU_ASSERT_EQUAL(conf_set(c, assignment, why, sizeof(why)), 0);
}

static void begin(void)
{
    a = conf_new();
    b = conf_new();
    d = (struct conf_diff){ .now = NULL };
}

static void end(void)
{
    conf_diff_free(&d);
    conf_free(a);
    conf_free(b);
}

static void compare(const char *expect)
{
    conf_diff_free(&d);
    conf_diff_make(a, b, &d);
    AUTO_FREE char *text = conf_diff_text(&d);
    CU_ASSERT_STRING_EQUAL(text, expect);
    if (!str_eq(text, expect))
        printf("\n  %s", text);
}

static void test_same(void)
{
    begin();
    compare("nothing changed");
    CU_ASSERT(conf_diff_empty(&d));
    set(a, "route.r.window=1M");
    set(b, "route.r.window=1024K"); /* said otherwise */
    set(a, "peer_timeout=60s");
    set(b, "peer_timeout=1m");
    compare("nothing changed");
    end();
}

static void test_options(void)
{
    begin();
    set(b, "peer_timeout=7s");
    set(b, "link.chunk=64K");
    compare("peer_timeout, link.chunk");
    CU_ASSERT_FALSE(conf_diff_empty(&d));
    set(b, "listen=127.0.0.1:9");
    set(b, "ucx.devices=lo");
    set(b, "rdma.retry_count=3");
    compare("peer_timeout, link.chunk; takes effect after a restart: listen, ucx.devices, rdma.retry_count");
    end();
}

/* One for each name that takes effect at once: were one of them misspelt in the list, it would be among the others. */
static void test_at_once(void)
{
    static const char *const values[] = {
        "advertise=192.0.2.1", "certificate=/c", "key=/k", "memory_limit=1G", "max_connections=17", "peer_timeout=7s", "rendezvous_timeout=7s",
        "drain_timeout=7s", "huge_pages=no", "attach_timeout=7s", "records=log", "log_level=debug", "log_target=stderr", "log_format=json", "link.chunk=64K",
        "auth.client_ca=/c", "auth.client_crl=/r", "auth.token_file=/t", "auth.introspection_url=https://x/", "auth.introspection_credentials_file=/s", "auth.introspection_ca=/i",
        "auth.introspection_timeout=7s", "auth.introspection_cache=7s", "auth.principal_field=sub", "auth.required_scope=s", "auth.required_audience=a",
        "auth.scope_id=x",
    };
    begin();
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        set(b, values[i]);
    conf_diff_make(a, b, &d);
    CU_ASSERT_EQUAL(strv_len(d.now), ARRAY_LEN(values));
    CU_ASSERT_EQUAL(strv_len(d.later), 0);
    end();
}

static void test_routes(void)
{
    begin();
    set(a, "route.stays.window=1M");
    set(b, "route.stays.window=1M");
    set(a, "route.goes.window=1M");
    set(b, "route.comes.window=1M");
    set(b, "route.comes.too.window=1M");
    set(a, "route.other.accept=link");
    set(b, "route.other.accept=ucx,link");
    compare("routes added: comes, comes.too; routes removed: goes; routes changed: other");
    conf_diff_add(&d.changed, "other");
    conf_diff_add(&d.changed, "stays");
    AUTO_FREE char *text = conf_diff_text(&d);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "routes changed: other, stays"));
    end();
}

static void test_policies(void)
{
    begin();
    set(a, "policy.stays.roles=PROD");
    set(b, "policy.stays.roles=PROD");
    compare("nothing changed");
    set(a, "policy.one.roles=PROD");
    set(a, "policy.two.roles=CONS");
    set(b, "policy.one.roles=PROD,CONS");
    compare("policy.one, policy.two");
    set(b, "policy.two.roles=CONS");
    set(b, "policy.three.rate=1Gbit");
    compare("policy.one, policy.three");
    conf_adopt(a, b);
    CU_ASSERT(a->n_policies == 4 && b->n_policies == 3 && conf_policy(a, "three")->rate == 1000000000);
    end();
    begin(); /* the order is a change, too */
    set(a, "policy.x.roles=PROD");
    set(a, "policy.y.roles=PROD");
    set(b, "policy.y.roles=PROD");
    set(b, "policy.x.roles=PROD");
    compare("policy.y, policy.x");
    end();
}

static void test_adopt(void)
{
    begin();
    set(a, "route.old.window=1M");
    set(b, "route.new.window=2M");
    set(b, "attach_timeout=3s");
    set(b, "certificate=/a/new/one");
    set(b, "workers=7");
    set(b, "ucx.listen=127.0.0.1");
    conf_adopt(a, b);
    CU_ASSERT_EQUAL(a->g.attach_timeout, 3 * NS_PER_S);
    CU_ASSERT_EQUAL(b->g.attach_timeout, 10 * NS_PER_S);
    CU_ASSERT_STRING_EQUAL(a->g.certificate, "/a/new/one");
    CU_ASSERT_STRING_EQUAL(b->g.certificate, "");
    CU_ASSERT_EQUAL(a->g.workers, 0); /* after a restart */
    CU_ASSERT_STRING_EQUAL(a->ucx.listen, "");
    CU_ASSERT_PTR_NULL(conf_route(a, "old"));
    CU_ASSERT_EQUAL(conf_route(a, "new")->window, 2U << 20);
    CU_ASSERT_PTR_NOT_NULL(conf_route(b, "old"));
    conf_free(b);
    b = conf_new();
    set(b, "workers=7");
    set(b, "route.new.window=2M");
    set(b, "attach_timeout=3s");
    set(b, "certificate=/a/new/one");
    compare("takes effect after a restart: workers");
    end();
}

static void test_settings(void)
{
    begin();
    set(b, "log_level=debug");
    set(b, "link.chunk=64K");
    set(b, "workers=7");
    conf_diff_make(a, b, &d);
    conf_adopt(a, b);
    char **s = conf_diff_settings(a, &d);
    CU_ASSERT_EQUAL_FATAL(strv_len(s), 2);
    CU_ASSERT_STRING_EQUAL(s[0], "log_level=debug");
    CU_ASSERT_STRING_EQUAL(s[1], "link.chunk=64K");
    strv_free(s);
    conf_diff_free(&d);
    s = conf_diff_settings(a, &d);
    CU_ASSERT_EQUAL(strv_len(s), 0);
    strv_free(s);
    end();
}

static void test_route_copy(void)
{
    begin();
    set(a, "route.r.accept=ucx,\"a \\\"b\\\", ${c}\"");
    set(a, "route.r.connect=gateway://host/x");
    set(a, "route.r.window=3M");
    set(a, "route.r.plaintext=yes");
    struct conf_route *copy = conf_route_copy(conf_route(a, "r"));
    CU_ASSERT(conf_route_same(copy, conf_route(a, "r")));
    conf_free(a);
    a = conf_new();
    CU_ASSERT_STRING_EQUAL(copy->name, "r");
    CU_ASSERT_STRING_EQUAL(copy->accept[1], "a \"b\", ${c}");
    CU_ASSERT_EQUAL(copy->window, 3U << 20);
    CU_ASSERT(copy->plaintext);
    set(a, "route.r.accept=ucx");
    CU_ASSERT_FALSE(conf_route_same(copy, conf_route(a, "r")));
    conf_route_free(copy);
    conf_route_free(NULL);
    end();
}

UNIT_MAIN("conf_diff", UNIT(test_same), UNIT(test_options), UNIT(test_at_once), UNIT(test_routes), UNIT(test_policies), UNIT(test_adopt), UNIT(test_settings),
          UNIT(test_route_copy))
