/* Granted sessions: what each has of its own, when it is over, that its secrets are wiped with the last who holds it, other routes, and the lines by
 * which one program hands them to the next. */
#include <stdio.h>

#include "ctrl/grants.h"
#include "src/core/conf_diff.h"
#include "tests/lib/unit.h"

#define NOW 1800000000ULL

static struct conf *conf;
static struct routes routes;
static struct grants grants;
static char over[4000];
static struct loop loop;

static void on_over(void *user UNUSED, const struct grant *g, const char *why)
{
    size_t n = strlen(over);
    snprintf(over + n, sizeof(over) - n, "%s %s;", g->route->c->name, why);
    if (loop.epfd >= 0)
        loop_stop(&loop);
}

static const struct grants_events events = { .over = on_over };

/* Routes of these names; secrets are not needed. */
static void make_routes(struct routes *rs, const char *names)
{
    AUTO_FREE char *text = mem_strdup(names);
    char *at = text, why[200];
    *rs = (struct routes){ .r = mem_zalloc(8, sizeof(*rs->r)) };
    for (char *name; (name = strsep(&at, " "));) {
        struct route *r = rs->r[rs->n++] = mem_zalloc(1, sizeof(*r));
        AUTO_FREE char *deliver = mem_printf("route.%s.deliver=link", name);
        CU_ASSERT_EQUAL_FATAL(conf_set(conf, deliver, why, sizeof(why)), 0);
        r->users = 1;
        r->c = conf_route_copy(conf_route(conf, name));
    }
}

static void begin(void)
{
    conf = conf_new();
    make_routes(&routes, "a b");
    grants_init(&grants);
    grants.ev = &events;
    over[0] = 0;
    loop.epfd = -1;
}

static void finish(void)
{
    grants_fini(&grants);
    CU_ASSERT(routes.n == 0 || routes.r[0]->users == 1);
    routes_free(&routes);
    conf_free(conf);
}

static struct grant *add(const char *route, uint64_t life_s)
{
    const struct grant_terms t = { .route = route_find(&routes, route), .channels = 3, .role = { true, true }, .life_s = life_s, .by = "local",
                                   .from = "unix (uid 0)" };
    struct grant *g = grants_add(&grants, &t, NOW);
    CU_ASSERT_PTR_NOT_NULL_FATAL(g);
    return g;
}

static void test_its_own(void)
{
    uint8_t dull[GRANT_KEY] = { 0 };
    begin();
    struct grant *a = add("a", 10), *b = add("a", 20);
    CU_ASSERT(strlen(a->uid) == 32 && strspn(a->uid, "0123456789abcdef") == 32 && !str_eq(a->uid, b->uid));
    CU_ASSERT(a->issued_s == NOW && a->expires_s == NOW + 10 && a->channels == 3 && str_eq(a->from, "unix (uid 0)"));
    const struct secret *s[] = { &a->secret[GRANT_SEND], &a->secret[GRANT_RECV], &b->secret[GRANT_SEND], &b->secret[GRANT_RECV] };
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        CU_ASSERT_EQUAL_FATAL(s[i]->len, GRANT_KEY);
        CU_ASSERT(!secret_equal(s[i]->data, dull, GRANT_KEY));
        for (size_t k = 0; k < i; k++)
            CU_ASSERT(!secret_equal(s[i]->data, s[k]->data, GRANT_KEY));
    }
    CU_ASSERT(grants_find(&grants, a->uid, NOW) == a && grants_find(&grants, b->uid, NOW) == b);
    CU_ASSERT_PTR_NULL(grants_find(&grants, "", NOW));
    CU_ASSERT_PTR_NULL(grants_find(&grants, "0123456789abcdef0123456789abcdef", NOW));
    finish();
}

static void test_one_role(void)
{
    begin();
    const struct grant_terms t = { .route = routes.r[0], .channels = 1, .role = { [GRANT_SEND] = true }, .life_s = 1, .by = "", .from = "" };
    struct grant *g = grants_add(&grants, &t, NOW);
    CU_ASSERT(g->secret[GRANT_SEND].len == GRANT_KEY && g->secret[GRANT_RECV].len == 0);
    finish();
}

static void test_expiry(void)
{
    begin();
    struct grant *a = add("a", 10), *b = add("b", 20);
    CU_ASSERT_PTR_EQUAL(grants_find(&grants, a->uid, NOW + 9), a);
    CU_ASSERT_PTR_NULL(grants_find(&grants, a->uid, NOW + 10)); /* although nobody has dropped it yet */
    grants_expire(&grants, NOW + 9);
    CU_ASSERT(grants.n == 2 && !*over);
    grants_renew(&grants, a, 10, NOW + 5);
    grants_expire(&grants, NOW + 14);
    CU_ASSERT(grants.n == 2 && !*over);
    grants_renew(&grants, b, 1, NOW + 10); /* sooner */
    grants_expire(&grants, NOW + 15);
    CU_ASSERT(grants.n == 0 && str_eq(over, "a has expired;b has expired;"));
    finish();
}

/* Who attached by it goes on with its secrets. */
static void test_held(void)
{
    begin();
    struct grant *g = grant_hold(add("a", 10));
    uint8_t key[GRANT_KEY];
    memcpy(key, g->key[GRANT_SEND], sizeof(key));
    grants_revoke(&grants, g);
    CU_ASSERT(str_eq(over, "a was revoked;") && g->over && grants.n == 0);
    CU_ASSERT_PTR_NULL(grants_find(&grants, g->uid, NOW));
    CU_ASSERT(secret_equal(g->secret[GRANT_SEND].data, key, sizeof(key)) && routes.r[0]->users == 2);
    grant_drop(g);
    grant_drop(NULL);
    CU_ASSERT_EQUAL(routes.r[0]->users, 1);
    finish();
}

static void test_bounded(void)
{
    begin();
    const struct grant_terms t = { .route = routes.r[0], .channels = 1, .role = { true, true }, .life_s = 5, .by = "", .from = "" };
    for (unsigned i = 0; i < GRANTS_MAX; i++)
        CU_ASSERT_PTR_NOT_NULL(grants_add(&grants, &t, NOW));
    CU_ASSERT_PTR_NULL(grants_add(&grants, &t, NOW));
    CU_ASSERT_EQUAL(routes.r[0]->users, GRANTS_MAX + 1);
    grants_expire(&grants, NOW + 5);
    CU_ASSERT_PTR_NOT_NULL(grants_add(&grants, &t, NOW));
    finish();
}

static void test_routes(void)
{
    struct routes other;
    begin();
    struct grant *a = add("a", 10);
    add("b", 10);
    make_routes(&other, "c a");
    routes_replace(&routes, &other);
    grants_follow(&grants, &routes);
    CU_ASSERT(grants.n == 1 && a->route == routes.r[1]);
    CU_ASSERT_STRING_EQUAL(over, "b is over, its route was removed from the configuration;");
    finish();
}

static void test_handover(void)
{
    struct grants next;
    struct routes fewer;
    begin();
    struct grant *a = add("a", 10);
    const struct grant_terms t = { .route = routes.r[1], .channels = 7, .role = { [GRANT_RECV] = true }, .life_s = 20, .by = "alice", .from = "[::1]:4" };
    const struct grant *b = grants_add(&grants, &t, NOW);
    AUTO_FREE char *lines = grants_export(&grants);
    grants_init(&next);
    CU_ASSERT_EQUAL(grants_import(&next, lines, &routes, NOW + 1), 2);
    CU_ASSERT_EQUAL(grants_import(&next, lines, &routes, NOW + 1), 0); /* these are there */
    const struct grant *c = grants_find(&next, a->uid, NOW + 1), *d = grants_find(&next, b->uid, NOW + 1);
    CU_ASSERT_FATAL(c && d && c != a);
    CU_ASSERT(c->route == routes.r[0] && c->channels == 3 && c->issued_s == NOW && c->expires_s == NOW + 10 && str_eq(c->by, "local") && str_eq(c->from, "unix (uid 0)"));
    CU_ASSERT(memcmp(c->key, a->key, sizeof(c->key)) == 0 && c->secret[GRANT_SEND].data == c->key[GRANT_SEND] && c->secret[GRANT_RECV].len == GRANT_KEY);
    CU_ASSERT(d->channels == 7 && d->secret[GRANT_SEND].len == 0 && memcmp(d->key, b->key, sizeof(d->key)) == 0 && str_eq(d->from, "[::1]:4"));
    grants_fini(&next);
    grants_init(&next);
    CU_ASSERT_EQUAL(grants_import(&next, lines, &routes, NOW + 10), 1); /* one has expired on its way */
    grants_fini(&next);
    grants_init(&next);
    make_routes(&fewer, "b");
    CU_ASSERT_EQUAL(grants_import(&next, lines, &fewer, NOW), 1);
    grants_fini(&next);
    routes_free(&fewer);
    finish();
}

/* Lines of a program at fault: nothing is taken from them, and those after them are. */
static void test_strange_lines(void)
{
    begin();
    struct grant *g = add("a", 10);
    AUTO_FREE char *good = grants_export(&grants), *cut = mem_strdup(good), *long_line = mem_zalloc(1, 5000);
    CU_ASSERT_PTR_NOT_NULL(g);
    grants_fini(&grants);
    grants_init(&grants);
    memset(long_line, 'x', 4999);
    for (size_t n = strlen(good) - 1; n > 0; n--) {
        cut[n] = 0;
        AUTO_FREE char *lines = mem_printf("%s\n", cut);
        bool whole = n > strlen(good) - 1 - strlen("unix (uid 0)"); /* less of what stands last makes sense, too */
        CU_ASSERT_EQUAL(grants_import(&grants, lines, &routes, NOW), whole);
        grants_fini(&grants);
        grants_init(&grants);
    }
    AUTO_FREE char *mixed = mem_printf("\n%s\n%s\nuid a 3 1 2 - - x y\n%s", long_line, cut, good);
    CU_ASSERT_EQUAL(grants_import(&grants, mixed, &routes, NOW), 1);
    CU_ASSERT_EQUAL(grants_import(&grants, "no newline", &routes, NOW), 0);
    finish();
}

/* By itself, also one that was renewed to end sooner. */
static void test_timer(void)
{
    begin();
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
    grants_start(&grants, &loop, &events, NULL);
    const struct grant_terms t = { .route = routes.r[0], .channels = 1, .role = { true, true }, .life_s = 100000, .by = "", .from = "" };
    uint64_t now_s = (uint64_t)time(NULL);
    struct grant *g = grants_add(&grants, &t, now_s);
    CU_ASSERT(timer_pending(&grants.look));
    grants_renew(&grants, g, 1, now_s);
    loop_run(&loop);
    CU_ASSERT(str_eq(over, "a has expired;") && grants.n == 0);
    CU_ASSERT((uint64_t)time(NULL) > now_s);
    grants_fini(&grants);
    loop_fini(&loop);
    loop.epfd = -1;
    finish();
}

static void test_nothing(void)
{
    struct grants zero = { .n = 0 };
    grants_fini(&zero);
    CU_ASSERT_EQUAL(zero.n, 0);
}

UNIT_MAIN("grants", UNIT(test_its_own), UNIT(test_one_role), UNIT(test_expiry), UNIT(test_held), UNIT(test_bounded), UNIT(test_routes),
          UNIT(test_handover), UNIT(test_strange_lines), UNIT(test_timer), UNIT(test_nothing))
