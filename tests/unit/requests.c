/* Sessions of scistream.Control: every message in every state, time-outs, callers that go away; and those with tickets, their times, their end. Listeners
 * and answers are this test. */
#include <errno.h>
#include <stdio.h>

#include "ctrl/requests_arranged.h"
#include "src/core/err.h"
#include "tcp/resolve.h"
#include "tests/lib/unit.h"

#define CALLS 16
#define SOON_NS (20 * NS_PER_MS)

static struct loop loop;
static struct conf *conf;
static struct resolver *resolver;
static struct requests *rq;

/* What was answered to the call of that number; its address is the call. */
static struct said { unsigned times; enum grpc_status status; char text[400], listeners[200], prod[200]; } said[CALLS];
static unsigned reserved, aimed, given_back, changes, refuse_reserve, hang_up, shuts, opens, connections;
static int given_rc, reserve_rc;
static uint16_t wanted[3];
static char targets[200], last_change[80], last_text[200], given_text[80];
static enum grpc_status allowed;
static uint64_t lifetime = TIME_FOREVER;

static void join(char *out, size_t size, char *const *w)
{
    *out = 0;
    for (size_t i = 0; w && w[i]; i++)
        snprintf(out + strlen(out), size - strlen(out), "%s%s", i ? " " : "", w[i]);
}

static enum grpc_status allows(void *user UNUSED, const struct request_ask *a, uint64_t *lifetime_ns, char *why, size_t size)
{
    CU_ASSERT(a->n_listeners == 0 && *lifetime_ns == TIME_FOREVER);
    *lifetime_ns = lifetime;
    snprintf(why, size, "not for you");
    return allowed;
}

static enum grpc_status allows_target(void *user UNUSED, const struct request *r, const struct request_target *t, char *why, size_t size)
{
    CU_ASSERT(r->state == REQUEST_UPDATING && t->n > 0 && addr_port(&t->where[t->n - 1]) == t->port);
    snprintf(why, size, "not for you");
    return allowed;
}

static int reserve(void *user UNUSED, struct request *r, uint16_t *ports, char *why, size_t size)
{
    snprintf(why, size, "no ports");
    if (refuse_reserve)
        return reserve_rc;
    for (unsigned i = 0; i < r->n; i++) {
        if (i < ARRAY_LEN(wanted))
            wanted[i] = ports[i];
        r->number[i] = 100 + i;
        ports[i] = (uint16_t)(5100 + i);
    }
    reserved += r->n;
    return 0;
}

static void aim(void *user UNUSED, struct request *r, unsigned listener, const struct request_target *to)
{
    CU_ASSERT(r->number[listener] == 100 + listener && to->n >= 1);
    snprintf(targets + strlen(targets), sizeof(targets) - strlen(targets), "%s:%u ", to->addresses[0], to->port);
    aimed++;
}

static char *give_back(void *user UNUSED, struct request *r, int rc, const char *text)
{
    CU_ASSERT(r->state == REQUEST_RELEASING && *text);
    given_back += r->n;
    given_rc = rc;
    str_copy(given_text, sizeof(given_text), text);
    return mem_strdup("all given back");
}

static void shut(void *user UNUSED, const struct request *r, bool shut_them)
{
    CU_ASSERT_PTR_NOT_NULL(r->ticket);
    *(shut_them ? &shuts : &opens) += 1;
}

static bool busy(void *user UNUSED, const struct request *r UNUSED) { return connections > 0; }

static void answer(void *user UNUSED, void *call, const struct request_answer *a)
{
    struct said *s = call;
    s->times++;
    s->status = a->status;
    str_copy(s->text, sizeof(s->text), a->text ? a->text : "");
    join(s->listeners, sizeof(s->listeners), a->listeners);
    join(s->prod, sizeof(s->prod), a->prod);
    if (hang_up) /* whoever hears this takes another caller with him */
        requests_gone(rq, &said[hang_up]);
}

static void changed(void *user UNUSED, const struct request *r, const char *what, const char *text)
{
    CU_ASSERT_PTR_NOT_NULL(request_waits_for(r));
    changes++;
    str_copy(last_text, sizeof(last_text), text);
    str_copy(last_change, sizeof(last_change), what);
}

static const struct requests_ops ops = { .allows = allows, .allows_target = allows_target, .reserve = reserve, .aim = aim, .give_back = give_back, .shut = shut, .busy = busy,
                                          .answer = answer,
                                          .changed = changed };

static void begin(void)
{
    log_threshold = LOG_LEVEL_ERROR;
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
    resolver = resolver_new(&loop);
    conf = conf_new();
    conf->scistream.hello_timeout = 3600 * NS_PER_S;
    requests_held_ns = 3600 * NS_PER_S;
    memset(said, 0, sizeof(said));
    reserved = aimed = given_back = changes = refuse_reserve = hang_up = shuts = opens = connections = 0;
    reserve_rc = -SST_ELIMIT;
    *targets = 0;
    allowed = GRPC_OK;
    rq = requests_new(&loop, conf, resolver, &ops, NULL);
}

static void end(void)
{
    requests_free(rq);
    conf_free(conf);
    resolver_free(resolver);
    loop_fini(&loop);
}

#define UNTIL(cond) \
    do { \
        for (uint64_t until_ = now_ns() + 20 * NS_PER_S; !(cond) && now_ns() < until_;) \
            loop_turn(&loop, 5 * NS_PER_MS); \
        CU_ASSERT_TRUE(cond); \
    } while (0)

/* ------------------------------------------------------------ callers */

static char *const app[] = { "127.0.0.1:7000", "[::1]:7001" };
static char *const two[] = { "127.0.0.2:1", "127.0.0.3:2" };
static const char *principal = "anna";

static struct request_ask ask(unsigned call, const char *uid)
{
    return (struct request_ask){ .call = &said[call], .principal = principal, .from = "192.0.2.9:1", .uid = uid, .address = "192.0.2.1" };
}

static void req(unsigned call, const char *uid, const char *role, int n)
{
    struct request_ask a = ask(call, uid);
    a.role = role;
    a.num_conn = n;
    requests_req(rq, &a);
}

static void with_words(unsigned call, const char *uid, char *const *w, size_t n, void (*go)(struct requests *, const struct request_ask *))
{
    struct request_ask a = ask(call, uid);
    a.role = "PROD";
    a.listeners = w;
    a.n_listeners = n;
    go(rq, &a);
}

static void hello(unsigned call, const char *uid) { with_words(call, uid, app, 2, requests_hello); }
static void update(unsigned call, const char *uid) { with_words(call, uid, two, 2, requests_update); }

static void release(unsigned call, const char *uid)
{
    struct request_ask a = ask(call, uid);
    requests_release(rq, &a);
}

static bool got(unsigned call, enum grpc_status s) { return said[call].times == 1 && said[call].status == s; }
static bool silent(unsigned call) { return said[call].times == 0; }
static const char *state(const char *uid)
{
    const struct request *r = requests_find(rq, uid);
    return r ? request_state_name(r->state) : "none";
}

/* ------------------------------------------------------------ tests */

static void test_path(void)
{
    begin();
    req(0, "u", "PROD", 3);
    CU_ASSERT(silent(0) && reserved == 3 && str_eq(state("u"), "Reserving") && requests_count(rq) == 1);
    CU_ASSERT_STRING_EQUAL(request_waits_for(requests_find(rq, "u")), "waits for hello");
    hello(1, "u");
    CU_ASSERT(got(0, GRPC_OK) && got(1, GRPC_OK) && str_eq(state("u"), "Listening"));
    CU_ASSERT_STRING_EQUAL(said[0].listeners, "192.0.2.1:5100 192.0.2.1:5101 192.0.2.1:5102");
    CU_ASSERT_STRING_EQUAL(said[0].prod, "127.0.0.1:7000 [::1]:7001");
    CU_ASSERT_STRING_EQUAL(said[1].listeners, said[0].listeners);
    CU_ASSERT_STRING_EQUAL(request_waits_for(requests_find(rq, "u")), "waits for update");
    update(2, "u");
    CU_ASSERT(silent(2) && str_eq(state("u"), "Updating") && aimed == 0);
    UNTIL(!silent(2));
    CU_ASSERT(got(2, GRPC_OK) && aimed == 3 && str_eq(state("u"), "Listening"));
    CU_ASSERT_STRING_EQUAL(targets, "127.0.0.2:1 127.0.0.3:2 127.0.0.2:1 "); /* by turns */
    CU_ASSERT_STRING_EQUAL(request_waits_for(requests_find(rq, "u")), "takes connections");
    *targets = 0;
    with_words(3, "u", app, 1, requests_update); /* others */
    UNTIL(!silent(3));
    CU_ASSERT_STRING_EQUAL(targets, "127.0.0.1:7000 127.0.0.1:7000 127.0.0.1:7000 ");
    release(4, "u");
    CU_ASSERT(got(4, GRPC_OK) && given_back == 3 && given_rc == -SST_ERELEASED && requests_count(rq) == 0 && str_eq(state("u"), "none"));
    CU_ASSERT_STRING_EQUAL(last_change, "ended");
    release(5, "u");
    CU_ASSERT_TRUE(got(5, GRPC_NOT_FOUND));
    req(6, "u", "CONS", 1); /* the uid is free again */
    CU_ASSERT(silent(6) && requests_find(rq, "u")->cons);
    end();
}

static void test_every_state(void)
{
    begin();
    update(0, "u"); /* Idle */
    release(1, "u");
    CU_ASSERT(got(0, GRPC_NOT_FOUND) && got(1, GRPC_NOT_FOUND));
    hello(2, "u"); /* Idle, with a hello */
    update(3, "u");
    release(4, "u");
    CU_ASSERT(silent(2) && got(3, GRPC_NOT_FOUND) && got(4, GRPC_NOT_FOUND) && str_eq(state("u"), "none"));
    req(5, "u", "PROD", 1);
    CU_ASSERT(got(5, GRPC_OK) && got(2, GRPC_OK));
    memset(said, 0, sizeof(said));
    /* Listening */
    req(8, "u", "PROD", 1);
    hello(9, "u");
    update(10, "u");
    update(12, "u"); /* Updating */
    req(13, "u", "PROD", 1);
    hello(14, "u");
    CU_ASSERT(got(8, GRPC_ALREADY_EXISTS) && got(9, GRPC_OK) && silent(10));
    CU_ASSERT(got(12, GRPC_FAILED_PRECONDITION) && got(13, GRPC_ALREADY_EXISTS) && got(14, GRPC_OK));
    release(11, "u");
    CU_ASSERT(got(11, GRPC_OK) && got(10, GRPC_ABORTED) && given_back == 1);
    for (int i = 0; i < 5; i++)
        loop_turn(&loop, 0);
    CU_ASSERT(said[10].times == 1 && aimed == 0);
    req(0, "v", "PROD", 1); /* Reserving */
    update(1, "v");
    CU_ASSERT(silent(0) && got(1, GRPC_FAILED_PRECONDITION));
    req(2, "v", "PROD", 1);
    CU_ASSERT_TRUE(got(2, GRPC_ALREADY_EXISTS));
    release(3, "v");
    CU_ASSERT(got(3, GRPC_OK) && got(0, GRPC_ABORTED));
    end();
}

static void test_owners(void)
{
    begin();
    req(0, "u", "PROD", 1);
    principal = "bert";
    hello(1, "u");
    update(2, "u");
    release(3, "u");
    req(4, "u", "PROD", 1);
    CU_ASSERT(got(1, GRPC_PERMISSION_DENIED) && got(2, GRPC_PERMISSION_DENIED) && got(3, GRPC_PERMISSION_DENIED) && got(4, GRPC_ALREADY_EXISTS));
    CU_ASSERT(silent(0) && str_eq(state("u"), "Reserving"));
    hello(5, "v"); /* his hello is not for another's request */
    principal = "anna";
    req(6, "v", "PROD", 1);
    CU_ASSERT(got(5, GRPC_PERMISSION_DENIED) && silent(6));
    allowed = GRPC_PERMISSION_DENIED;
    req(7, "w", "PROD", 1);
    CU_ASSERT(got(7, GRPC_PERMISSION_DENIED) && str_eq(said[7].text, "not for you") && reserved == 2);
    hello(8, "u");
    update(9, "u"); /* judged when it is known where that leads */
    UNTIL(!silent(9));
    CU_ASSERT(got(0, GRPC_OK) && got(9, GRPC_PERMISSION_DENIED) && aimed == 0 && str_eq(state("u"), "Listening"));
    CU_ASSERT_PTR_NOT_NULL(strstr(said[9].text, ": not for you"));
    end();
}

static struct request_given given(const char *uid, unsigned n, char *const *to)
{
    static char *const listeners[] = { "192.0.2.1:6000", "192.0.2.1:6001", NULL };
    struct request_given g = { .uid = uid, .principal = "anna", .cons = true, .n = n, .listeners = listeners, .targets = to, .numbers = mem_zalloc(n, sizeof(uint32_t)) };
    for (unsigned i = 0; i < n; i++)
        g.numbers[i] = 100 + i;
    return g;
}

static void test_lifetime(void)
{
    begin();
    lifetime = SOON_NS;
    req(0, "u", "PROD", 2); /* its hello never comes, in time */
    lifetime = TIME_FOREVER;
    req(1, "v", "PROD", 1);
    UNTIL(!silent(0));
    CU_ASSERT(got(0, GRPC_DEADLINE_EXCEEDED) && silent(1) && given_back == 2 && given_rc == -SST_ERELEASED && str_eq(state("u"), "none"));
    CU_ASSERT_STRING_EQUAL(said[0].text, "the lifetime that its policy allows is over");
    lifetime = 3600 * NS_PER_S;
    struct request_given old = given("w", 1, NULL), young = given("x", 1, NULL);
    old.age_ns = lifetime;
    CU_ASSERT(requests_adopt(rq, &old) && requests_adopt(rq, &young));
    lifetime = TIME_FOREVER;
    UNTIL(given_back == 3);
    CU_ASSERT(str_eq(state("w"), "none") && str_eq(state("x"), "Listening"));
    end();
}

static void test_time(void)
{
    begin();
    conf->scistream.hello_timeout = SOON_NS;
    req(0, "u", "PROD", 2);
    UNTIL(!silent(0));
    CU_ASSERT(got(0, GRPC_DEADLINE_EXCEEDED) && given_back == 2 && str_eq(state("u"), "none"));
    CU_ASSERT_STRING_EQUAL(said[0].text, "no hello came within 20 ms");
    req(1, "u", "PROD", 1);
    hello(2, "u");
    UNTIL(given_back == 3); /* nobody updates it */
    CU_ASSERT(got(1, GRPC_OK) && str_eq(state("u"), "none"));
    req(3, "u", "PROD", 1);
    hello(4, "u");
    update(5, "u");
    UNTIL(!silent(5));
    for (uint64_t until = now_ns() + 3 * SOON_NS; now_ns() < until;)
        loop_turn(&loop, SOON_NS);
    CU_ASSERT_STRING_EQUAL(state("u"), "Listening"); /* one that is used has no end */
    requests_held_ns = SOON_NS;
    hello(6, "lonely");
    hello(7, "lonely");
    UNTIL(!silent(6) && !silent(7));
    CU_ASSERT(got(6, GRPC_NOT_FOUND) && got(7, GRPC_NOT_FOUND));
    hello(8, "lonely"); /* nothing of them is left */
    CU_ASSERT_TRUE(silent(8));
    end();
}

/* A name that cannot be looked up: the targets of before stay. */
static void test_unresolvable(void)
{
    static char *const bad[] = { "127.0.0.1:1", "no host:2", NULL }, *const dots[] = { "a..b:2", NULL };
    begin();
    req(0, "u", "PROD", 1);
    hello(1, "u");
    with_words(2, "u", bad, 2, requests_update);
    with_words(3, "u", dots, 1, requests_update);
    UNTIL(!silent(2) && !silent(3));
    CU_ASSERT(got(2, GRPC_INVALID_ARGUMENT) && got(3, GRPC_INVALID_ARGUMENT) && aimed == 0 && str_eq(state("u"), "Listening"));
    CU_ASSERT(str_starts(said[2].text, "remote_listeners: ") && str_starts(said[3].text, "remote_listeners: "));
    update(4, "u");
    UNTIL(got(4, GRPC_OK) && aimed == 1);
    end();
}

static void test_gone(void)
{
    begin();
    req(0, "u", "PROD", 2);
    requests_gone(rq, &said[5]); /* of nobody */
    requests_gone(rq, &said[0]);
    CU_ASSERT(silent(0) && given_back == 2 && str_eq(state("u"), "none"));
    hello(1, "u");
    hello(2, "u");
    requests_gone(rq, &said[1]);
    req(3, "u", "PROD", 1);
    CU_ASSERT(silent(1) && got(2, GRPC_OK) && got(3, GRPC_OK));
    update(4, "u");
    requests_gone(rq, &said[4]);
    for (int i = 0; i < 5; i++)
        loop_turn(&loop, 0);
    CU_ASSERT(silent(4) && aimed == 0 && str_eq(state("u"), "Listening"));
    hello(5, "v");
    requests_gone(rq, &said[5]);
    hello(6, "w");
    hello(7, "w");
    hang_up = 7; /* with the answer to the first goes the second */
    req(8, "w", "PROD", 1);
    CU_ASSERT(got(6, GRPC_OK) && silent(7) && got(8, GRPC_OK));
    requests_held_ns = SOON_NS;
    hello(9, "x");
    hello(10, "x");
    hang_up = 10;
    UNTIL(!silent(9));
    CU_ASSERT(got(9, GRPC_NOT_FOUND) && silent(10));
    hang_up = 12; /* the caller of req hears it with the hello's, and the other way round */
    req(11, "y", "PROD", 1);
    hello(12, "y");
    CU_ASSERT_TRUE(got(11, GRPC_OK));
    end();
}

static void test_limits(void)
{
    char uid[8];
    begin();
    conf->scistream.sessions = 2;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(uid, sizeof(uid), "u%u", i);
        req(i, uid, "PROD", 1);
    }
    CU_ASSERT(silent(0) && silent(1) && got(2, GRPC_RESOURCE_EXHAUSTED) && str_eq(said[2].text, "the gateway has its 2 sessions: try again later"));
    hello(3, "a");
    hello(4, "b");
    hello(5, "c");
    CU_ASSERT(silent(3) && silent(4) && got(5, GRPC_RESOURCE_EXHAUSTED));
    requests_gone(rq, &said[3]);
    hello(6, "d"); /* there is room again */
    CU_ASSERT_TRUE(silent(6));
    for (unsigned i = 0; i < REQUEST_HELD_MAX - 1; i++)
        hello(7, "d");
    hello(8, "d");
    CU_ASSERT(silent(7) && got(8, GRPC_RESOURCE_EXHAUSTED));
    release(9, "u0");
    refuse_reserve = 1;
    req(10, "u0", "PROD", 1);
    req(11, "d", "PROD", 1); /* those who said hello go on waiting */
    CU_ASSERT(got(10, GRPC_RESOURCE_EXHAUSTED) && str_eq(said[10].text, "no ports") && got(11, GRPC_RESOURCE_EXHAUSTED) && silent(6));
    CU_ASSERT(str_eq(state("u0"), "none") && requests_count(rq) == 1);
    end();
}

static void test_drain(void)
{
    begin();
    req(0, "u", "PROD", 1);
    hello(1, "u");
    req(2, "v", "PROD", 1);
    requests_drain(rq, "it is draining");
    CU_ASSERT(got(2, GRPC_UNAVAILABLE) && str_eq(said[2].text, "it is draining") && given_rc == -SST_EDRAINING && str_eq(state("u"), "Listening"));
    req(3, "w", "PROD", 1);
    update(4, "u");
    UNTIL(!silent(4));
    CU_ASSERT(got(3, GRPC_UNAVAILABLE) && got(4, GRPC_OK));
    requests_drain(rq, NULL);
    req(5, "w", "PROD", 1);
    CU_ASSERT(silent(5) && requests_count(rq) == 2);
    CU_ASSERT(requests_end(rq, "w", "an administrator") == 0 && requests_end(rq, "w", "again") == -ENOENT && requests_end(rq, "", "") == -ENOENT);
    CU_ASSERT(got(5, GRPC_ABORTED) && str_eq(said[5].text, "an administrator"));
    hello(6, "x");
    CU_ASSERT_EQUAL(requests_end(rq, "x", "only a hello"), -ENOENT);
    CU_ASSERT(requests_end_all(rq, -SST_ERELEASED, "all") == 1 && requests_count(rq) == 0);
    end();
}

/* From another program, and to one. */
static void test_moved(void)
{
    static char *const to[] = { "127.0.0.2:1", NULL }, *const bad[] = { "a..b:2", NULL };
    begin();
    struct request_given g = given("u", 2, to), again = given("u", 1, NULL), quiet = given("v", 1, NULL), lost = given("w", 1, bad);
    CU_ASSERT(requests_adopt(rq, &g) && !requests_adopt(rq, &again) && requests_adopt(rq, &quiet) && !requests_adopt(rq, &lost));
    free(again.numbers);
    free(lost.numbers);
    UNTIL(aimed == 2);
    CU_ASSERT(requests_count(rq) == 2 && str_eq(state("u"), "Listening") && requests_find(rq, "u")->cons && str_eq(targets, "127.0.0.2:1 127.0.0.2:1 "));
    CU_ASSERT_FALSE(requests_find(rq, "v")->aimed);
    hello(0, "u");
    CU_ASSERT(got(0, GRPC_OK) && str_eq(said[0].listeners, "192.0.2.1:6000 192.0.2.1:6001"));
    principal = "bert";
    release(1, "u");
    principal = "anna";
    release(2, "v");
    CU_ASSERT(got(1, GRPC_PERMISSION_DENIED) && got(2, GRPC_OK) && given_back == 1);
    update(3, "u");
    req(4, "x", "PROD", 1);
    requests_moved(rq, "elsewhere");
    CU_ASSERT(got(3, GRPC_UNAVAILABLE) && got(4, GRPC_UNAVAILABLE) && str_eq(said[3].text, "elsewhere") && str_eq(state("u"), "Listening"));
    req(5, "y", "PROD", 1);
    hello(6, "u");
    update(7, "u");
    release(8, "u");
    for (unsigned i = 5; i < 9; i++)
        CU_ASSERT_TRUE(got(i, GRPC_UNAVAILABLE));
    CU_ASSERT(requests_count(rq) == 1 && requests_end(rq, "u", "at the program that took over") == 0);
    end();
}

/* ------------------------------------------------------------ with tickets */

static uint64_t wall_s(void) { return (uint64_t)time(NULL); }

/* Two targets and three listeners; times from now, ends_s 0: never. */
static const struct request *arrange(const char *uid, uint64_t expires_s, uint64_t ends_s, struct request_refusal *no)
{
    static char *const one[] = { "127.0.0.2", NULL }, *const other[] = { "127.0.0.3", "127.0.0.4", NULL };
    static const union sockaddr_any where[2];
    static const struct request_target to[] = { { "a:1", one, 1, 1, where, NULL }, { "b:2", other, 2, 2, where, NULL } };
    uint64_t now_s = wall_s();
    struct request_ticket t = { .key = { 7 }, .issued_s = now_s, .expires_s = now_s + expires_s, .ends_s = ends_s ? now_s + ends_s : 0, .rate = 5,
                                .provisioned = true };
    const struct request_terms terms = { .uid = uid, .principal = principal, .from = "192.0.2.9:1", .address = "192.0.2.1", .n = 3, .targets = to,
                                         .n_targets = 2, .ticket = &t };
    return requests_arrange(rq, &terms, no);
}

static void test_arranged(void)
{
    struct request_refusal no = { .status = GRPC_OK };
    begin();
    conf->scistream.sessions = 2;
    const struct request *r = arrange("t", 3600, 0, &no);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    CU_ASSERT(r == requests_arranged(rq, "t") && r->ticket->key[0] == 7 && reserved == 3 && aimed == 3 && str_eq(state("t"), "Listening"));
    CU_ASSERT_STRING_EQUAL(targets, "127.0.0.2:1 127.0.0.3:2 127.0.0.2:1 ");
    CU_ASSERT_STRING_EQUAL(r->listeners[2], "192.0.2.1:5102");
    CU_ASSERT(str_eq(r->targets[1], "b:2") && wanted[0] == 0 && str_eq(request_waits_for(r), "takes connections"));
    CU_ASSERT(!arrange("t", 1, 0, &no) && no.status == GRPC_ALREADY_EXISTS && str_starts(no.why, "uid: "));
    req(0, "t", "PROD", 1); /* it is no request of SciStream's client */
    hello(1, "t");
    update(2, "t");
    CU_ASSERT(got(0, GRPC_ALREADY_EXISTS) && got(1, GRPC_FAILED_PRECONDITION) && got(2, GRPC_FAILED_PRECONDITION));
    refuse_reserve = 1;
    CU_ASSERT(!arrange("u", 1, 0, &no) && no.status == GRPC_RESOURCE_EXHAUSTED && str_eq(no.why, "no ports"));
    reserve_rc = -EADDRINUSE;
    CU_ASSERT(!arrange("u", 1, 0, &no) && no.status == GRPC_ALREADY_EXISTS);
    reserve_rc = -EINVAL;
    CU_ASSERT(!arrange("u", 1, 0, &no) && no.status == GRPC_INVALID_ARGUMENT && str_eq(state("u"), "none"));
    refuse_reserve = 0;
    CU_ASSERT_PTR_NOT_NULL(arrange("u", 3600, 0, &no));
    const struct request_sums all = requests_sums(rq, NULL), bert = requests_sums(rq, "bert");
    CU_ASSERT(all.sessions == 2 && all.rate == 10 && bert.sessions == 0 && bert.rate == 0);
    CU_ASSERT(!arrange("v", 1, 0, &no) && no.status == GRPC_RESOURCE_EXHAUSTED);
    requests_drain(rq, "it is draining");
    CU_ASSERT(str_eq(state("t"), "Listening") && !arrange("v", 1, 0, &no) && no.status == GRPC_UNAVAILABLE);
    principal = "bert";
    release(3, "t");
    principal = "anna";
    release(4, "t");
    CU_ASSERT(got(3, GRPC_PERMISSION_DENIED) && got(4, GRPC_OK) && given_back == 3 && requests_end(rq, "u", "an administrator") == 0 && requests_count(rq) == 0);
    end();
}

/* Who is there stays; renewed it lets others in again, and it is gone when nobody is left. */
static void test_ticket_expires(void)
{
    struct request_refusal no;
    begin();
    connections = 1;
    CU_ASSERT_PTR_NOT_NULL_FATAL(arrange("t", 1, 0, &no));
    UNTIL(shuts == 1);
    CU_ASSERT_STRING_EQUAL(state("t"), "Closing");
    CU_ASSERT_STRING_EQUAL(request_waits_for(requests_find(rq, "t")), "takes no new connections");
    CU_ASSERT(requests_renew(rq, "t", 3600) && opens == 1 && str_eq(state("t"), "Listening") && !requests_renew(rq, "u", 1));
    CU_ASSERT(requests_arranged(rq, "t")->ticket->expires_s >= wall_s() + 3599);
    CU_ASSERT_TRUE(requests_renew(rq, "t", 1));
    UNTIL(shuts == 2);
    release(0, "nobody");
    CU_ASSERT(given_back == 0 && requests_count(rq) == 1);
    connections = 0;
    UNTIL(given_back == 3);
    CU_ASSERT(given_rc == -SST_ERELEASED && str_eq(state("t"), "none"));
    CU_ASSERT_STRING_EQUAL(given_text, "its ticket has expired, and no connection is left");
    end();
}

static void test_ticket_revoked(void)
{
    struct request_refusal no;
    begin();
    CU_ASSERT_PTR_NOT_NULL_FATAL(arrange("t", 3600, 0, &no));
    requests_revoke(rq, "nobody");
    requests_revoke(rq, "t"); /* nobody is there */
    CU_ASSERT(shuts == 1 && given_back == 3 && str_eq(given_text, "it was revoked, and no connection is left"));
    connections = 1;
    CU_ASSERT_PTR_NOT_NULL_FATAL(arrange("t", 3600, 0, &no));
    requests_revoke(rq, "t");
    CU_ASSERT(shuts == 2 && str_eq(state("t"), "Closing") && !requests_renew(rq, "t", 1) && opens == 0);
    requests_revoke(rq, "t");
    CU_ASSERT(shuts == 2 && requests_end_all(rq, -SST_ERELEASED, "all") == 1);
    end();
}

static void test_ticket_ends(void)
{
    struct request_refusal no;
    begin();
    connections = 1;
    CU_ASSERT_PTR_NOT_NULL_FATAL(arrange("t", 3600, REQUEST_SOON_S + 1, &no));
    const struct request_ticket *t = requests_arranged(rq, "t")->ticket;
    CU_ASSERT(!t->warned && t->expires_s == t->ends_s && requests_renew(rq, "t", 10) && t->expires_s < t->ends_s && requests_renew(rq, "t", 9999) && t->expires_s == t->ends_s);
    UNTIL(requests_arranged(rq, "t")->ticket->warned);
    CU_ASSERT_STRING_EQUAL(last_text, "ends in 10 minutes");
    CU_ASSERT_PTR_NOT_NULL_FATAL(arrange("u", 1, 2, &no)); /* whatever is open */
    UNTIL(str_eq(state("u"), "none"));
    CU_ASSERT(given_back == 3 && str_eq(given_text, "its lifetime is over") && str_eq(state("t"), "Listening"));
    end();
}

/* From another program: as it was, also what lets nobody in. */
static void test_ticket_moves(void)
{
    static char *const one[] = { "127.0.0.2", NULL }, *const names[] = { "a:1", NULL };
    struct request_target to[2] = { { NULL, one, 1, 1, NULL, NULL }, { NULL, one, 1, 9, NULL, NULL } };
    struct request_ticket t = { .key = { 9 }, .expires_s = wall_s() + 3600, .warned = true }, old = t;
    begin();
    connections = 1;
    struct request_given g = given("t", 2, names), again = given("t", 2, names), expired = given("x", 2, names);
    CU_ASSERT(requests_adopt_arranged(rq, &g, &t, to) && !requests_adopt_arranged(rq, &again, &t, to));
    free(again.numbers);
    CU_ASSERT(aimed == 2 && str_eq(targets, "127.0.0.2:1 127.0.0.2:9 ") && str_eq(state("t"), "Listening") && requests_arranged(rq, "t")->ticket->key[0] == 9);
    old.expires_s = wall_s() - 1;
    CU_ASSERT(requests_adopt_arranged(rq, &expired, &old, to) && shuts == 1 && str_eq(state("x"), "Closing"));
    requests_moved(rq, "elsewhere");
    struct request_refusal no;
    CU_ASSERT(!arrange("y", 1, 0, &no) && no.status == GRPC_UNAVAILABLE && str_eq(no.why, "elsewhere") && requests_count(rq) == 2);
    end();
}

static void test_require_ticket(void)
{
    struct request_refusal no;
    begin();
    req(0, "u", "PROD", 1);
    conf->scistream.require_ticket = true;
    req(1, "v", "PROD", 1);
    hello(2, "v");
    CU_ASSERT(got(1, GRPC_FAILED_PRECONDITION) && got(2, GRPC_FAILED_PRECONDITION) && strstr(said[1].text, "require_ticket"));
    hello(3, "u"); /* one that there is goes on */
    CU_ASSERT(got(0, GRPC_OK) && got(3, GRPC_OK));
    CU_ASSERT_PTR_NOT_NULL(arrange("v", 3600, 0, &no));
    end();
}

static void bad_req(const char *uid, const char *role, int n, const char *field)
{
    memset(said, 0, sizeof(said));
    req(0, uid, role, n);
    CU_ASSERT(got(0, GRPC_INVALID_ARGUMENT) && str_starts(said[0].text, field));
}

static void bad_word(const char *word, bool good)
{
    char *const words[] = { (char *)(uintptr_t)word };
    memset(said, 0, sizeof(said));
    with_words(0, "u", words, 1, requests_update);
    with_words(1, "v", words, 1, requests_hello);
    CU_ASSERT(got(0, good ? GRPC_NOT_FOUND : GRPC_INVALID_ARGUMENT) && (good ? silent(1) : got(1, GRPC_INVALID_ARGUMENT)));
    CU_ASSERT(good || (strstr(said[0].text, "remote_listeners: ") && strstr(said[1].text, "prod_listeners: ")));
    requests_gone(rq, &said[1]);
}

static void test_form(void)
{
    char uid[300];
    begin();
    memset(uid, 'x', sizeof(uid));
    uid[256] = 0;
    bad_req(uid, "PROD", 1, "uid");
    bad_req("", "PROD", 1, "uid");
    bad_req("a/b", "PROD", 1, "uid");
    bad_req("a\nb", "PROD", 1, "uid");
    bad_req("a\177", "PROD", 1, "uid");
    bad_req("\303\251", "PROD", 1, "uid");
    bad_req("u", "", 1, "role");
    bad_req("u", "prod", 1, "role");
    bad_req("u", "PROD", 0, "num_conn: is 0, must be 1 to 256");
    bad_req("u", "PROD", INT32_MIN, "num_conn");
    bad_req("u", "CONS", 257, "num_conn");
    CU_ASSERT_EQUAL(reserved, 0);
    static const char *const bad[] = { "", ":", "a", "a:", ":1", "a:0", "a:65536", "a:x", "a:1x", "::1:1", "[::1]", "[::1]1", "[]:1", "a b:1:2" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad_word(bad[i], false);
    bad_word(":1", false);
    CU_ASSERT_STRING_EQUAL(said[0].text, "remote_listeners: each must be HOST:PORT, like 192.0.2.7:5100");
    static const char *const good_words[] = { "a:1", "192.0.2.1:65535", "[::1]:5", "[2001:db8::1]:5100", "host.example.org:5100" };
    for (size_t i = 0; i < ARRAY_LEN(good_words); i++)
        bad_word(good_words[i], true);
    memset(said, 0, sizeof(said));
    with_words(2, "u", NULL, 0, requests_update);
    CU_ASSERT_TRUE(got(2, GRPC_INVALID_ARGUMENT));
    uid[255] = 0;
    req(3, uid, "CONS", 256);
    CU_ASSERT(silent(3) && reserved == 256);
    end();
}

UNIT_MAIN("requests", UNIT(test_path), UNIT(test_every_state), UNIT(test_owners), UNIT(test_lifetime), UNIT(test_time), UNIT(test_unresolvable), UNIT(test_gone),
          UNIT(test_limits), UNIT(test_drain), UNIT(test_moved), UNIT(test_arranged), UNIT(test_ticket_expires), UNIT(test_ticket_revoked), UNIT(test_ticket_ends),
          UNIT(test_ticket_moves), UNIT(test_require_ticket), UNIT(test_form))
