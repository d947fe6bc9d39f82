/* Calls of our client to our server, over TCP, a unix socket and TLS. */
#include <stdio.h>

#include "tests/unit/grpc_fixture.h"

static void over_all(void (*test)(struct fixture *f))
{
    for (enum over o = 0; o < OVER_KINDS; o++) {
        struct fixture f;
        fixture_open(&f, o, NULL);
        fixture_connect(&f);
        test(&f);
        fixture_close(&f);
    }
}

static void over_tcp(void (*test)(struct fixture *f))
{
    struct fixture f;
    fixture_open(&f, OVER_TCP, NULL);
    fixture_connect(&f);
    test(&f);
    fixture_close(&f);
}

#define ASSERT_ANSWER(a, s, t) \
    do { \
        CU_ASSERT_EQUAL((a)->closed, 1); \
        CU_ASSERT_EQUAL((a)->status, (s)); \
        CU_ASSERT_STRING_EQUAL((a)->text, (t)); \
    } while (0)

/* ------------------------------------------------------------ happy paths */

static void unary(struct fixture *f)
{
    struct answer a = { 0 }, empty = { 0 };
    answer_ask(f, &a, "/test.Echo/Unary", "hello", 5);
    answer_ask(f, &empty, "/test.Echo/Unary", "", 0);
    UNTIL(f, a.closed && empty.closed && f->log.closed == 2);
    ASSERT_ANSWER(&a, GRPC_OK, "");
    CU_ASSERT(a.last_len == 5 && memcmp(a.last, "hello", 5) == 0);
    ASSERT_ANSWER(&empty, GRPC_OK, "");
    CU_ASSERT(empty.messages == 1 && empty.bytes == 0);
    CU_ASSERT_EQUAL(f->log.status, GRPC_OK);
    CU_ASSERT_EQUAL(grpc_server_calls(f->server), 0);
    UNTIL(f, grpc_conn_rtt_ns(f->c.conn) > 0);
    answer_free(&a);
    answer_free(&empty);
}
static void test_unary(void) { over_all(unary); }

static void next_of_1000(struct answer *a, struct grpc_call *c)
{
    char text[20];
    snprintf(text, sizeof(text), "message %u", a->messages - 1);
    CU_ASSERT_STRING_EQUAL((char *)a->last, text);
    snprintf(text, sizeof(text), "message %u", a->messages);
    if (a->messages == 1000)
        grpc_half_close(c);
    else
        CU_ASSERT_EQUAL(grpc_send(c, text, strlen(text)), 0);
}

static void ping_pong(struct fixture *f)
{
    struct answer a = { .then = next_of_1000 };
    answer_start(f, &a, "/test.Echo/Stream", 0);
    grpc_send(a.call, "message 0", 9);
    UNTIL(f, a.closed);
    ASSERT_ANSWER(&a, GRPC_OK, "");
    CU_ASSERT_EQUAL(a.messages, 1000);
    answer_free(&a);
}
static void test_bidi_in_turns(void) { over_all(ping_pong); }

static void all_at_once(struct fixture *f)
{
    struct answer a = { 0 };
    uint8_t block[700] = { 1 };
    answer_start(f, &a, "/test.Echo/Stream", 0);
    for (unsigned i = 0; i < 1000; i++)
        CU_ASSERT_EQUAL(grpc_send(a.call, block, i % sizeof(block)), 0);
    grpc_half_close(a.call);
    UNTIL(f, a.closed);
    ASSERT_ANSWER(&a, GRPC_OK, "");
    CU_ASSERT_EQUAL(a.messages, 1000);
    CU_ASSERT_EQUAL(f->log.messages, 1000);
    answer_free(&a);
}
static void test_bidi_at_once(void) { over_all(all_at_once); }

/* Larger than a stream's window, and than the connection's. */
static void large(struct fixture *f)
{
    const size_t sizes[] = { 1U << 20, 5U << 20 };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct answer a = { 0 };
        AUTO_FREE uint8_t *data = mem_zalloc(1, sizes[i]);
        for (size_t k = 0; k < sizes[i]; k++)
            data[k] = (uint8_t)(k * 7 + k / 256);
        answer_ask(f, &a, "/test.Echo/Unary", data, sizes[i]);
        UNTIL(f, a.closed);
        ASSERT_ANSWER(&a, GRPC_OK, "");
        CU_ASSERT(a.last_len == sizes[i] && memcmp(a.last, data, sizes[i]) == 0);
        answer_free(&a);
    }
}
static void test_large(void) { over_all(large); }

/* Both directions as full as they get, for 20 times all windows and queues: nobody waits for ever. */
static void saturated(struct fixture *f)
{
    static uint8_t block[200000];
    struct answer a = { 0 };
    answer_start(f, &a, "/test.Echo/Stream", 0);
    for (unsigned sent = 0; sent < 500;) {
        int rc = grpc_send(a.call, block, sizeof(block));
        CU_ASSERT_FATAL(rc == 0 || rc == -ENOBUFS);
        sent += rc == 0;
        if (rc < 0)
            loop_turn(&f->loop, NS_PER_S);
    }
    grpc_half_close(a.call);
    UNTIL(f, a.closed);
    ASSERT_ANSWER(&a, GRPC_OK, "");
    CU_ASSERT_EQUAL(a.messages, 500);
    CU_ASSERT_EQUAL(f->log.sent, 0);
    answer_free(&a);
}
static void test_saturated(void) { over_all(saturated); }

/* The server takes 100 at once: the rest waits in the client. */
static void concurrent(struct fixture *f)
{
    static struct answer a[200];
    memset(a, 0, sizeof(a));
    for (unsigned i = 0; i < ARRAY_LEN(a); i++)
        answer_ask(f, &a[i], "/test.Echo/Unary", &i, sizeof(i));
    UNTIL(f, f->log.closed == ARRAY_LEN(a));
    UNTIL(f, a[ARRAY_LEN(a) - 1].closed);
    for (unsigned i = 0; i < ARRAY_LEN(a); i++) {
        ASSERT_ANSWER(&a[i], GRPC_OK, "");
        CU_ASSERT(a[i].last_len == sizeof(i) && memcmp(a[i].last, &i, sizeof(i)) == 0);
        answer_free(&a[i]);
    }
}
static void test_concurrent(void) { over_all(concurrent); }

static void statuses(struct fixture *f)
{
    const char *texts[] = { "\005no such route", "\020line one\nline two", "\003100 % \303\274ber \177", "\000fine" };
    const char *want[] = { "no such route", "line one?line two", "100 % \303\274ber ?", "fine" };
    const enum grpc_status status[] = { GRPC_NOT_FOUND, GRPC_UNAUTHENTICATED, GRPC_INVALID_ARGUMENT, GRPC_OK };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct answer a = { 0 };
        answer_ask(f, &a, "/test.Echo/Fail", texts[i], 1 + strlen(texts[i] + 1));
        UNTIL(f, a.closed);
        ASSERT_ANSWER(&a, status[i], want[i]);
        answer_free(&a);
    }
}
static void test_statuses(void) { over_tcp(statuses); }

/* ------------------------------------------------------------ ends before the end */

static void client_cancels(struct fixture *f)
{
    struct answer a = { 0 };
    answer_start(f, &a, "/test.Echo/Never", 0);
    grpc_send(a.call, "x", 1);
    UNTIL(f, f->log.messages == 1);
    grpc_cancel(a.call);
    CU_ASSERT_EQUAL(a.closed, 0); /* from the loop */
    grpc_cancel(a.call);
    UNTIL(f, a.closed && f->log.closed);
    ASSERT_ANSWER(&a, GRPC_CANCELLED, "cancelled");
    CU_ASSERT_EQUAL(f->log.status, GRPC_CANCELLED);
    answer_start(f, &a, "/test.Echo/Never", 0);
    grpc_cancel(a.call); /* before its headers left */
    UNTIL(f, a.closed == 2);
    answer_free(&a);
}
static void test_client_cancels(void) { over_all(client_cancels); }

static void server_cancels(struct fixture *f)
{
    struct answer a = { 0 };
    answer_start(f, &a, "/test.Echo/Cancel", 0);
    grpc_send(a.call, "x", 1);
    grpc_send(a.call, "y", 1);
    UNTIL(f, a.closed && f->log.closed);
    CU_ASSERT_EQUAL(a.status, GRPC_CANCELLED);
    CU_ASSERT_EQUAL(f->log.messages, 1); /* nothing is heard after the cancel */
    CU_ASSERT_EQUAL(f->log.status, GRPC_CANCELLED);
    answer_free(&a);
}
static void test_server_cancels(void) { over_tcp(server_cancels); }

static void deadline(struct fixture *f)
{
    struct answer a = { 0 }, kept = { 0 };
    answer_start(f, &kept, "/test.Echo/Unary", 30 * NS_PER_S);
    grpc_send(kept.call, "in time", 7);
    grpc_half_close(kept.call);
    answer_start(f, &a, "/test.Echo/Never", 50 * NS_PER_MS);
    grpc_send(a.call, "x", 1);
    UNTIL(f, a.closed && f->log.closed == 2 && kept.closed);
    CU_ASSERT_EQUAL(a.status, GRPC_DEADLINE_EXCEEDED);
    CU_ASSERT(f->log.status == GRPC_DEADLINE_EXCEEDED || f->log.status == GRPC_CANCELLED); /* whose timer was first */
    ASSERT_ANSWER(&kept, GRPC_OK, "");
    answer_free(&a);
    answer_free(&kept);
}
static void test_deadline(void) { over_tcp(deadline); }

static void oversize(struct fixture *f)
{
    uint8_t block[ECHO_SMALL_MAX + 1] = { 0 };
    struct answer a = { 0 }, b = { 0 }, c = { 0 };
    answer_ask(f, &a, "/test.Echo/Small", block, ECHO_SMALL_MAX);
    answer_ask(f, &b, "/test.Echo/Small", block, ECHO_SMALL_MAX + 1);
    UNTIL(f, a.closed && b.closed && f->log.closed == 2);
    ASSERT_ANSWER(&a, GRPC_OK, "");
    ASSERT_ANSWER(&b, GRPC_RESOURCE_EXHAUSTED, "message of 1001 bytes is larger than 1000");
    c.call = grpc_call(f->c.conn, "/test.Echo/Unary", &answer_handlers, 10, 0, &c); /* the client's own limit */
    grpc_send(c.call, block, 11);
    grpc_half_close(c.call);
    UNTIL(f, c.closed);
    ASSERT_ANSWER(&c, GRPC_RESOURCE_EXHAUSTED, "message of 11 bytes is larger than 10");
    answer_free(&a);
}
static void test_oversize(void) { over_tcp(oversize); }

/* The server has its say while the client still uploads: the client is told to stop. */
static void finish_early(struct fixture *f)
{
    struct answer a = { 0 };
    AUTO_FREE uint8_t *data = mem_zalloc(1, 100000);
    answer_start(f, &a, "/test.Echo/Early", 0);
    for (int i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(grpc_send(a.call, data, 100000), 0);
    UNTIL(f, a.closed && f->log.closed);
    ASSERT_ANSWER(&a, GRPC_OK, "early");
    CU_ASSERT_EQUAL(f->log.messages, 1);
    CU_ASSERT_EQUAL(f->log.status, GRPC_OK);
    for (int i = 0; i < 50; i++) { /* no window leaks: twelve times the connection's would be used up */
        struct answer b = { 0 };
        answer_start(f, &b, "/test.Echo/Early", 0);
        for (int k = 0; k < 5; k++)
            grpc_send(b.call, data, 100000);
        UNTIL(f, b.closed);
        CU_ASSERT_EQUAL(b.status, GRPC_OK);
    }
}
static void test_finish_early(void) { over_all(finish_early); }

static void unknown_method(struct fixture *f)
{
    struct answer a = { 0 };
    answer_ask(f, &a, "/test.Echo/Nothing", "x", 1);
    UNTIL(f, a.closed);
    ASSERT_ANSWER(&a, GRPC_UNIMPLEMENTED, "unknown method /test.Echo/Nothing");
    CU_ASSERT_EQUAL(f->log.started, 0);
}
static void test_unknown_method(void) { over_tcp(unknown_method); }

static void full_queue(struct fixture *f)
{
    static uint8_t block[300000];
    struct answer a = { 0 };
    answer_start(f, &a, "/test.Echo/Stream", 0);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(grpc_send(a.call, block, sizeof(block)), 0);
    CU_ASSERT_EQUAL(grpc_send(a.call, block, sizeof(block)), -ENOBUFS);
    UNTIL(f, a.messages == 3);
    CU_ASSERT_EQUAL(grpc_send(a.call, block, sizeof(block)), 0); /* it drained */
    grpc_half_close(a.call);
    CU_ASSERT_EQUAL(grpc_send(a.call, block, sizeof(block)), 0); /* not sent */
    UNTIL(f, a.closed);
    CU_ASSERT_EQUAL(a.messages, 4);
    answer_free(&a);
}
static void test_full_queue(void) { over_tcp(full_queue); }

/* ------------------------------------------------------------ re-entrancy */

static void cancel_it(struct answer *a UNUSED, struct grpc_call *c) { grpc_cancel(c); }

static void cancel_inside(struct fixture *f)
{
    struct answer a = { .then = cancel_it };
    answer_start(f, &a, "/test.Echo/Stream", 0);
    for (int i = 0; i < 100; i++)
        grpc_send(a.call, "x", 1);
    UNTIL(f, a.closed && f->log.closed);
    ASSERT_ANSWER(&a, GRPC_CANCELLED, "cancelled");
    CU_ASSERT_EQUAL(a.messages, 1);
    answer_free(&a);
}
static void test_cancel_inside(void) { over_all(cancel_inside); }

static void hang_up_it(struct answer *a, struct grpc_call *c)
{
    CU_ASSERT_PTR_EQUAL(grpc_call_conn(c), a->f->c.conn);
    grpc_hang_up(a->f->c.conn);
    CU_ASSERT_EQUAL(a->closed, 1); /* before it returns */
    grpc_hang_up(a->f->c.conn);
    a->f->c.conn = NULL;
}

static void hang_up_inside(struct fixture *f)
{
    struct answer a = { .then = hang_up_it }, b = { 0 };
    answer_start(f, &b, "/test.Echo/Never", 0);
    answer_start(f, &a, "/test.Echo/Stream", 0);
    for (int i = 0; i < 100; i++)
        grpc_send(a.call, "x", 1);
    UNTIL(f, a.closed && b.closed && f->log.closed == 2);
    ASSERT_ANSWER(&a, GRPC_CANCELLED, "hung up");
    ASSERT_ANSWER(&b, GRPC_CANCELLED, "hung up");
    CU_ASSERT_EQUAL(f->c.lost, 0);
    answer_free(&a);
}
static void test_hang_up_inside(void) { over_all(hang_up_inside); }

static void free_inside(struct fixture *f)
{
    struct answer a = { 0 }, b = { 0 };
    answer_start(f, &b, "/test.Echo/Never", 0);
    answer_start(f, &a, "/test.Echo/Free", 0);
    grpc_send(a.call, "x", 1);
    grpc_send(a.call, "x", 1);
    UNTIL(f, a.closed && b.closed && f->c.lost);
    ASSERT_ANSWER(&a, GRPC_UNAVAILABLE, "shutting down");
    ASSERT_ANSWER(&b, GRPC_UNAVAILABLE, "shutting down");
    CU_ASSERT_EQUAL(f->log.closed, 2);
    CU_ASSERT_EQUAL(f->log.messages, 1);
    CU_ASSERT_EQUAL(f->c.rc, -SST_ELOST);
    CU_ASSERT_STRING_EQUAL(f->c.step, "");
}
static void test_free_inside(void) { over_all(free_inside); }

static struct answer again;
static void call_again(struct grpc_call *c, enum grpc_status s UNUSED, const char *text UNUSED)
{
    struct answer *a = grpc_user(c);
    a->closed++;
    answer_ask(a->f, &again, "/test.Echo/Unary", "again", 5);
}

static void call_inside_closed(struct fixture *f)
{
    const struct grpc_handlers h = { .message = answer_handlers.message, .closed = call_again };
    struct answer a = { .f = f };
    struct grpc_call *c = grpc_call(f->c.conn, "/test.Echo/Unary", &h, 100, 0, &a);
    grpc_send(c, "x", 1);
    grpc_half_close(c);
    UNTIL(f, again.closed);
    CU_ASSERT_EQUAL(again.last_len, 5);
    answer_free(&a);
    answer_free(&again);
}
static void test_call_inside_closed(void) { over_tcp(call_inside_closed); }

UNIT_MAIN("grpc", UNIT(test_unary), UNIT(test_bidi_in_turns), UNIT(test_bidi_at_once), UNIT(test_large), UNIT(test_saturated),
          UNIT(test_concurrent), UNIT(test_statuses), UNIT(test_client_cancels), UNIT(test_server_cancels), UNIT(test_deadline),
          UNIT(test_oversize), UNIT(test_finish_early), UNIT(test_unknown_method), UNIT(test_full_queue), UNIT(test_cancel_inside),
          UNIT(test_hang_up_inside), UNIT(test_free_inside), UNIT(test_call_inside_closed))
