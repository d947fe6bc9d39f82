/* Arranged sessions that are attached to: their routes, when nobody comes any more and when they are gone, that a reload leaves them alone, and the lines
 * by which one program hands them to the next. */
#include <stdio.h>

#include "ctrl/arranged.h"
#include "src/core/conf_diff.h"
#include "src/core/err.h"
#include "tests/lib/unit.h"

#define NOW 1800000000ULL
#define UID "0123456789abcdef0123456789abcdef"
#define PIN "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct conf *conf;
static struct grants grants;
static char told[1000];
static bool busy;
static union sockaddr_any here[2], there[1];
static const struct arranged_place targets[] = { { "app.example:7000", here, 2 }, { "127.0.0.1:7001", there, 1 } };
static const struct arranged_place gateways[] = { { "gw.example:5000", here, 2 }, { "[::1]:5001", there, 1 } };
static const uint8_t key[GRANT_KEY] = { 7, 8, 9 };
static char pin[] = PIN, *pins[] = { pin, NULL };
static const struct arranged_dial to_gateway = { .gateway = gateways, .n = 2, .tls_name = "gw", .pins = pins, .secret = key, .recv = true };

static void tell(const char *what, const char *text)
{
    size_t n = strlen(told);
    snprintf(told + n, sizeof(told) - n, "%s%s%s;", what, *text ? " " : "", text);
}

static void on_over(void *user UNUSED, const struct grant *g UNUSED, const char *why) { tell("over", why); }
static bool on_busy(void *user UNUSED, const struct grant *g UNUSED) { return busy; }
static void on_soon(void *user UNUSED, const struct grant *g UNUSED) { tell("soon", ""); }
static void on_gone(void *user UNUSED, const struct grant *g UNUSED, const char *abort) { tell("gone", abort ? abort : ""); }
static const struct grants_events events = { .over = on_over, .busy = on_busy, .soon = on_soon, .gone = on_gone };

static void set(const char *assignment)
{
    char why[200];
    CU_ASSERT_EQUAL_FATAL(conf_set(conf, assignment, why, sizeof(why)), 0);
}

static void begin(void)
{
    conf = conf_new();
    grants_init(&grants);
    grants.ev = &events;
    grants.conf = conf;
    told[0] = 0;
    busy = false;
    addr_numeric("192.0.2.1", 7000, &here[0]);
    addr_numeric("2001:db8::1", 7000, &here[1]);
    addr_numeric("127.0.0.1", 7001, &there[0]);
}

static void finish(void)
{
    grants_fini(&grants);
    conf_free(conf);
}

/* Both attach here, the application as sender. */
static struct arranged_terms terms(void)
{
    return (struct arranged_terms){ .channels = 4, .role = { true, true }, .attach = GRANT_SEND, .ticket_s = 100, .by = "alice", .from = "192.0.2.9:1" };
}

static struct arranged_terms dial_terms(void)
{
    struct arranged_terms t = terms();
    t.uid = UID;
    t.role[GRANT_SEND] = false;
    t.attach = GRANT_RECV;
    t.dial = &to_gateway;
    return t;
}

static struct grant *add(const struct arranged_terms *t)
{
    struct arranged_made made = { .g = NULL };
    CU_ASSERT_EQUAL_FATAL(arranged_add(&grants, t, NOW, &made), 0);
    return made.g;
}

static void refused(const struct arranged_terms *t, int rc, const char *text)
{
    struct arranged_made made = { .g = NULL };
    size_t n = grants.n;
    CU_ASSERT_EQUAL(arranged_add(&grants, t, NOW, &made), rc);
    CU_ASSERT_PTR_NOT_NULL(strstr(made.why, text));
    CU_ASSERT(!made.g && grants.n == n);
}

static bool words_are(char *const *words, const char *text)
{
    char all[200] = "";
    for (; *words; words++)
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", *all ? " " : "", *words);
    return str_eq(all, text);
}

/* ------------------------------------------------------------ making */

static void test_both_attach(void)
{
    begin();
    set("rdma.listen=192.0.2.1");
    set("ucx.devices=lo");
    const struct arranged_terms t = terms();
    struct grant *g = add(&t), *other = add(&t);
    const struct route *r = g->route;
    CU_ASSERT(strlen(g->uid) == 32 && !str_eq(g->uid, other->uid) && g->route != other->route && !route_is(g->route, other->route));
    CU_ASSERT(g->issued_s == NOW && g->expires_s == NOW + 100 && g->channels == 4 && str_eq(g->by, "alice"));
    CU_ASSERT(str_eq(r->c->name, "scistream:arranged") && r->made && !r->connects && !r->tcp && r->n_places == 0 && conf_route_channels(r->c) == 4);
    CU_ASSERT(words_are(route_transports(r, true), "verbs ucx link") && words_are(route_transports(r, false), "verbs ucx link"));
    CU_ASSERT(r->c->window == 4 << 20 && !arranged_dials(g) && !r->c->plaintext);
    CU_ASSERT(g->secret[GRANT_SEND].len == GRANT_KEY && !secret_equal(g->key[GRANT_SEND], g->key[GRANT_RECV], GRANT_KEY));
    CU_ASSERT(grants_find(&grants, g->uid, NOW) == g && arranged_find(&grants, other->uid) == other && !arranged_find(&grants, UID));
    finish();
}

static void test_targets(void)
{
    begin();
    struct arranged_terms t = terms();
    t.target = targets;
    t.n_targets = 2;
    t.secret = key;
    t.attach = -1;
    t.window = 1 << 20;
    t.beside = true;
    const struct grant *g = add(&t);
    const struct route *r = g->route;
    CU_ASSERT(r->connects && r->tcp && r->n_places == 2 && str_eq(r->c->connect, "tcp://app.example:7000") && r->c->window == 1 << 20);
    CU_ASSERT(words_are(r->place[0].addresses, "192.0.2.1 2001:db8::1") && r->place[0].port == 7000 && words_are(r->place[1].addresses, "127.0.0.1"));
    CU_ASSERT(secret_equal(g->key[GRANT_SEND], key, GRANT_KEY) && secret_equal(g->key[GRANT_RECV], key, GRANT_KEY));
    CU_ASSERT(words_are(route_transports(r, false), "link") && conf_route_has_tcp(r->c));
    CU_ASSERT(arranged_count(&grants, NULL) == 0 && g->arranged->attach == -1);
    finish();
}

static void test_dial(void)
{
    begin();
    const struct arranged_terms t = dial_terms();
    const struct grant *g = add(&t);
    const struct route *r = g->route;
    CU_ASSERT(str_eq(g->uid, UID) && arranged_dials(g) && r->connects && !r->tcp && r->c->dial == 1 && str_eq(r->c->connect, "gateway://gw.example:5000/" UID));
    CU_ASSERT(str_eq(r->next.host, "gw.example") && r->next.port == 7000 && str_eq(r->next.route, UID) && r->next_tls);
    CU_ASSERT(r->n_places == 2 && str_eq(r->place[1].host, "::1") && words_are(r->c->connect_pin, PIN) && str_eq(r->c->connect_tls_name, "gw"));
    CU_ASSERT(secret_equal(r->next_secret.data, key, GRANT_KEY) && !secret_equal(g->key[GRANT_RECV], key, GRANT_KEY) && g->secret[GRANT_SEND].len == 0);
    CU_ASSERT(words_are(r->c->connect_transports, "link"));
    CU_ASSERT(arranged_count(&grants, NULL) == 1 && arranged_count(&grants, "alice") == 1 && arranged_count(&grants, "bob") == 0);
    finish();
}

static void test_refused(void)
{
    begin();
    struct arranged_terms t = dial_terms();
    add(&t);
    refused(&t, -EEXIST, "this gateway has session " UID " already");
    t.uid = "0123456789ABCDEF0123456789abcdeg";
    refused(&t, -EINVAL, "uid: ");
    t = terms();
    t.channels = 0;
    refused(&t, -EINVAL, "channels: ");
    t.channels = 65537;
    refused(&t, -EINVAL, "channels: ");
    t = terms();
    t.role[GRANT_SEND] = t.role[GRANT_RECV] = false;
    refused(&t, -EINVAL, "nobody could attach");
    const struct arranged_place nowhere = { "a:1", here, 0 };
    t = terms();
    t.target = &nowhere;
    t.n_targets = 1;
    refused(&t, -EINVAL, "targets: ");
    struct arranged_dial d = to_gateway;
    t = dial_terms();
    t.uid = NULL;
    t.dial = &d;
    d.n = 0;
    refused(&t, -EINVAL, "dial: ");
    d = to_gateway;
    d.recv = false;
    refused(&t, -EINVAL, "dial: ");
    char wrong[] = "sha256:0", *wrong_pins[] = { wrong, NULL };
    d = to_gateway;
    d.pins = wrong_pins;
    refused(&t, -EINVAL, "dial.pins: ");
    grants.conf = NULL;
    refused(&t, -EINVAL, "arranges nothing");
    finish();
}

static void test_bounded(void)
{
    begin();
    struct arranged_terms t = terms();
    for (unsigned i = 0; i < GRANTS_MAX; i++)
        add(&t);
    refused(&t, -SST_ELIMIT, "as many granted sessions as it keeps");
    finish();
}

/* ------------------------------------------------------------ time */

static void test_expiry(void)
{
    begin();
    const struct arranged_terms t = terms();
    struct grant *g = add(&t);
    busy = true;
    grants_expire(&grants, NOW + 99);
    CU_ASSERT(grants_find(&grants, g->uid, NOW + 99) && !*told);
    CU_ASSERT_PTR_NULL(grants_find(&grants, g->uid, NOW + 100));
    grants_expire(&grants, NOW + 100);
    grants_expire(&grants, NOW + 101);
    CU_ASSERT(str_eq(told, "over has expired;") && arranged_find(&grants, g->uid) == g && g->arranged->closed);
    grants_renew(&grants, g, 50, NOW + 102); /* it runs, and opens again */
    CU_ASSERT(grants_find(&grants, g->uid, NOW + 151) == g && !g->arranged->closed);
    busy = false;
    grants_expire(&grants, NOW + 151);
    CU_ASSERT_EQUAL(grants.n, 1);
    grants_expire(&grants, NOW + 152);
    CU_ASSERT(str_eq(told, "over has expired;over has expired;gone;") && grants.n == 0);
    finish();
}

static void test_end(void)
{
    begin();
    struct arranged_terms t = terms();
    t.ends_s = NOW + 1000;
    t.ticket_s = 5000;
    struct grant *g = add(&t);
    CU_ASSERT(g->expires_s == NOW + 1000);
    busy = true;
    grants_expire(&grants, NOW + 399);
    CU_ASSERT(!*told);
    grants_expire(&grants, NOW + 400);
    grants_expire(&grants, NOW + 500);
    CU_ASSERT_STRING_EQUAL(told, "soon;");
    grants_renew(&grants, g, 10, NOW + 500);
    grants_expire(&grants, NOW + 510);
    CU_ASSERT_STRING_EQUAL(told, "soon;over has expired;");
    grants_renew(&grants, g, 5000, NOW + 520);
    CU_ASSERT(g->expires_s == NOW + 1000 && !grants_find(&grants, g->uid, NOW + 1000));
    grant_hold(g);
    grants_expire(&grants, NOW + 1000);
    CU_ASSERT(str_eq(told, "soon;over has expired;over is over;gone its time is over;") && grants.n == 0 && g->over);
    grant_drop(g);
    finish();
}

static void test_revoke(void)
{
    begin();
    const struct arranged_terms t = terms();
    struct grant *g = add(&t), *idle = add(&t);
    busy = true;
    grants_revoke(&grants, g);
    grants_revoke(&grants, g);
    CU_ASSERT(str_eq(told, "over was revoked;") && arranged_find(&grants, g->uid) == g && !grants_find(&grants, g->uid, NOW));
    grants_renew(&grants, g, 100, NOW);
    CU_ASSERT_PTR_NULL(grants_find(&grants, g->uid, NOW));
    grants_expire(&grants, NOW);
    CU_ASSERT_EQUAL(grants.n, 2);
    busy = false;
    grants_expire(&grants, NOW);
    CU_ASSERT(grants.n == 1 && str_eq(told, "over was revoked;gone;"));
    grants_revoke(&grants, idle);
    CU_ASSERT(grants.n == 0 && str_eq(told, "over was revoked;gone;over was revoked;gone;"));
    finish();
}

/* What it stands beside ends it, whatever the time is; when that is not there, its ticket does. */
static void test_beside(void)
{
    begin();
    struct arranged_terms t = terms();
    t.beside = true;
    t.ends_s = NOW + 50;
    struct grant *g = add(&t);
    busy = true;
    grants_expire(&grants, NOW + 1000);
    CU_ASSERT(str_eq(told, "over has expired;") && arranged_find(&grants, g->uid) == g);
    busy = false;
    grants_expire(&grants, NOW + 1000);
    CU_ASSERT(grants.n == 0 && str_eq(told, "over has expired;gone;"));
    finish();
}

static void test_reload(void)
{
    begin();
    const struct routes none = { .r = NULL };
    const struct arranged_terms t = terms(), d = dial_terms();
    const struct grant *g = add(&t), *h = add(&d);
    const struct route *r = g->route;
    grants_follow(&grants, &none);
    CU_ASSERT(grants.n == 2 && g->route == r && h->route && !*told);
    finish();
}

/* By itself, and as soon as the last one has left. */
static void stop_when_gone(void *user, const struct grant *g UNUSED, const char *abort UNUSED) { loop_stop(user); }

static void test_timer(void)
{
    static const struct grants_events stopping = { .over = on_over, .busy = on_busy, .soon = on_soon, .gone = stop_when_gone };
    struct loop loop;
    begin();
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
    grants_start(&grants, &loop, &stopping, &loop);
    struct arranged_terms t = terms();
    struct arranged_made made;
    uint64_t now_s = (uint64_t)time(NULL);
    t.ends_s = now_s + 1;
    CU_ASSERT_EQUAL_FATAL(arranged_add(&grants, &t, now_s, &made), 0);
    busy = true;
    loop_run(&loop);
    CU_ASSERT(str_eq(told, "soon;over is over;") && grants.n == 0);
    t.ends_s = 0;
    CU_ASSERT_EQUAL_FATAL(arranged_add(&grants, &t, now_s, &made), 0);
    grants_revoke(&grants, made.g);
    CU_ASSERT_EQUAL(grants.n, 1);
    busy = false;
    uint64_t began = now_ns();
    grants_left(&grants);
    loop_run(&loop);
    CU_ASSERT(grants.n == 0 && now_ns() - began < 5 * NS_PER_S);
    grants_fini(&grants);
    loop_fini(&loop);
    grants_init(&grants);
    finish();
}

/* ------------------------------------------------------------ from program to program */

static void same_route(const struct route *a, const struct route *b)
{
    CU_ASSERT(conf_route_same(a->c, b->c) && a->connects == b->connects && a->tcp == b->tcp && a->n_places == b->n_places && b->made);
    for (size_t i = 0; i < a->n_places; i++)
        CU_ASSERT(str_eq(a->place[i].name, b->place[i].name) && str_eq(a->place[i].addresses[0], b->place[i].addresses[0]) && a->place[i].port == b->place[i].port);
}

static void same_grant(const struct grant *a, const struct grant *b)
{
    CU_ASSERT_FATAL(b && a != b);
    CU_ASSERT(a->channels == b->channels && a->issued_s == b->issued_s && a->expires_s == b->expires_s && str_eq(a->by, b->by) && str_eq(a->from, b->from));
    CU_ASSERT(memcmp(a->key, b->key, sizeof(a->key)) == 0 && a->secret[0].len == b->secret[0].len && a->secret[1].len == b->secret[1].len);
    CU_ASSERT_FATAL(b->arranged != NULL);
    CU_ASSERT(a->arranged->ends_s == b->arranged->ends_s && a->arranged->rate == b->arranged->rate && a->arranged->provisioned == b->arranged->provisioned);
    CU_ASSERT(a->arranged->closed == b->arranged->closed && a->arranged->revoked == b->arranged->revoked && a->arranged->attach == b->arranged->attach && a->arranged->beside == b->arranged->beside && a->arranged->warned == b->arranged->warned);
    same_route(a->route, b->route);
}

static void test_handover(void)
{
    struct grants next;
    const struct routes none = { .r = NULL };
    begin();
    struct arranged_terms a = terms(), b = terms(), c = dial_terms();
    a.ends_s = NOW + 300;
    a.provisioned = true;
    a.rate = 1000000000;
    b.target = targets;
    b.n_targets = 2;
    b.secret = key;
    b.attach = -1;
    b.beside = true;
    const struct grant *g[] = { add(&a), add(&b), add(&c) };
    grants_expire(&grants, NOW); /* the first is warned of */
    struct grant *closed = add(&a);
    busy = true;
    grants_revoke(&grants, closed);
    AUTO_FREE char *lines = grants_export(&grants);
    grants_init(&next);
    next.conf = conf;
    CU_ASSERT_EQUAL(grants_import(&next, lines, &none, NOW + 1), 4);
    for (size_t i = 0; i < ARRAY_LEN(g); i++)
        same_grant(g[i], arranged_find(&next, g[i]->uid));
    CU_ASSERT(secret_equal(arranged_find(&next, UID)->route->next_secret.data, key, GRANT_KEY));
    same_grant(closed, arranged_find(&next, closed->uid));
    CU_ASSERT(arranged_find(&next, closed->uid)->arranged->closed && !grants_find(&next, closed->uid, NOW + 1));
    CU_ASSERT_EQUAL(grants_import(&next, lines, &none, NOW + 1), 0); /* these are there */
    grants_fini(&next);
    grants_init(&next);
    next.conf = conf;
    next.ev = &events;
    CU_ASSERT_EQUAL(grants_import(&next, lines, &none, NOW + 300), 2); /* the time of the others was over on their way */
    busy = false;
    grants_expire(&next, NOW + 300);
    CU_ASSERT_EQUAL(next.n, 0);
    grants_fini(&next);
    finish();
}

/* Of a program at fault: nothing breaks. */
static void test_strange_lines(void)
{
    const struct routes none = { .r = NULL };
    begin();
    const struct arranged_terms t = dial_terms();
    add(&t);
    AUTO_FREE char *good = grants_export(&grants);
    grants_fini(&grants);
    grants_init(&grants);
    grants.conf = conf;
    for (size_t n = strlen(good) - 1; n > 0; n--) {
        AUTO_FREE char *cut = mem_printf("%.*s\n", (int)n, good);
        CU_ASSERT(grants_import(&grants, cut, &none, NOW) <= (n > strlen(ARRANGED_LINE) + 100));
        grants_fini(&grants);
        grants_init(&grants);
        grants.conf = conf;
    }
    CU_ASSERT_EQUAL(grants_import(&grants, "arranged \narranged 0\narranged xx\narranged 00\n", &none, NOW), 0);
    finish();
}

UNIT_MAIN("arranged", UNIT(test_both_attach), UNIT(test_targets), UNIT(test_dial), UNIT(test_refused), UNIT(test_bounded), UNIT(test_expiry), UNIT(test_end),
          UNIT(test_revoke), UNIT(test_beside), UNIT(test_reload), UNIT(test_timer), UNIT(test_handover), UNIT(test_strange_lines))
