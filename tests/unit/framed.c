/* The rules of the flow protocol, one connection end at a time: what is said when, and what is refused with which words. */
#include "src/core/err.h"
#include "src/seam/framed.h"
#include "tests/lib/unit.h"

#define CAP 65536
#define CHUNK 8192

static const uint8_t cookie[FRAME_COOKIE] = "sixteen bytes!!";
static struct ring rx, tx;
static struct framed f;

static int say(uint8_t type, uint64_t a, uint64_t b)
{
    const struct frame in = { .type = type, .a = a, .b = b };
    return framed_input(&f, &in);
}

static int say_data(uint64_t off, uint32_t len)
{
    const struct frame in = { .type = FRAME_DATA, .a = off, .len = len };
    return framed_input(&f, &in);
}

static int say_hello(void)
{
    const struct frame hello = frame_hello(cookie);
    return framed_input(&f, &hello);
}

static void open_rings(void)
{
    CU_ASSERT_EQUAL_FATAL(ring_init(&rx, CAP, RING_PAGES_AUTO), 0);
    CU_ASSERT_EQUAL_FATAL(ring_init(&tx, CAP, RING_PAGES_AUTO), 0);
}

static void close_rings(void)
{
    framed_disconnected(&f);
    ring_fini(&rx);
    ring_fini(&tx);
}

/* What is due, without the frames in between mattering: its type, or 0. */
static struct frame last;
static uint8_t next(void)
{
    return framed_next(&f, &last) ? last.type : 0;
}

/* An end that receives flow 0, HELLO both ways and the first limit told. */
static void receiver(uint64_t peer_ring)
{
    open_rings();
    framed_init(&f, cookie, CHUNK, peer_ring);
    framed_set_rings(&f, &rx, NULL, false);
    CU_ASSERT_EQUAL(next(), FRAME_HELLO);
    CU_ASSERT_EQUAL(say_hello(), 0);
    CU_ASSERT_EQUAL(next(), FRAME_LIMIT);
    CU_ASSERT(last.flow == 0 && last.a == CAP && last.b == 0);
    CU_ASSERT_EQUAL(next(), 0);
}

/* One that sends it; the peer allows `limit`. */
static void sender(bool keep, uint64_t limit)
{
    open_rings();
    framed_init(&f, cookie, CHUNK, CAP);
    framed_set_rings(&f, NULL, &tx, true);
    f.keep = keep;
    CU_ASSERT_EQUAL(next(), FRAME_HELLO);
    CU_ASSERT_EQUAL(say_hello(), 0);
    if (limit)
        CU_ASSERT_EQUAL(say(FRAME_LIMIT, limit, 0), 0);
}

/* n more bytes come in order and, when consumed, leave. */
static void bring(size_t n)
{
    while (n) {
        uint32_t len = (uint32_t)MIN(n, CHUNK);
        uint64_t off = rx.put;
        CU_ASSERT_EQUAL_FATAL(say_data(off, len), 0);
        CU_ASSERT_EQUAL_FATAL(framed_filled(&f, off, len), 0);
        n -= len;
    }
}

static void consume(size_t n)
{
    ring_submit(&rx, n);
    ring_release_to(&rx, rx.sub);
}

static void expect(int rc, const char *why)
{
    CU_ASSERT_EQUAL(f.rc, rc);
    if (!strstr(f.why, why))
        printf("\n  '%s' is not in '%s'\n", why, f.why);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.why, why));
    close_rings();
}

/* ------------------------------------------------------------ HELLO */

static void test_hello_first(void)
{
    open_rings();
    framed_init(&f, cookie, CHUNK, CAP);
    framed_set_rings(&f, &rx, &tx, true);
    ring_commit(&tx, 100);
    CU_ASSERT_EQUAL(ring_end(&tx, 100), 0);
    CU_ASSERT_TRUE(framed_control_due(&f));
    CU_ASSERT_EQUAL(next(), FRAME_HELLO);
    uint8_t shown[FRAME_COOKIE];
    frame_cookie(&last, shown);
    CU_ASSERT_EQUAL(memcmp(shown, cookie, sizeof(shown)), 0);
    CU_ASSERT_FALSE(framed_control_due(&f));
    CU_ASSERT_EQUAL(next(), 0); /* no limit and no end to someone who has not shown his cookie */
    CU_ASSERT_FALSE(framed_finished(&f));
    CU_ASSERT_EQUAL(say_hello(), 0);
    CU_ASSERT_EQUAL(next(), FRAME_LIMIT);
    close_rings();
}

static void test_before_hello(void)
{
    static const struct { uint8_t type; const char *why; } first[] = {
        { FRAME_DATA, "DATA [0, +0) before HELLO" }, { FRAME_LIMIT, "LIMIT 0, consumed 0 before HELLO" },
        { FRAME_EOS, "EOS 0 before HELLO" }, { FRAME_RESET, "RESET 0 before HELLO" },
    };
    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        open_rings();
        framed_init(&f, cookie, CHUNK, CAP);
        framed_set_rings(&f, &rx, &tx, true);
        CU_ASSERT_EQUAL(say(first[i].type, 0, 0), -SST_EPROTO);
        CU_ASSERT_FALSE(f.hello_seen);
        expect(-SST_EPROTO, first[i].why);
    }
}

static void test_second_hello(void)
{
    receiver(CAP);
    CU_ASSERT_EQUAL(say_hello(), -SST_EPROTO);
    expect(-SST_EPROTO, "second HELLO");
}

static void test_wrong_cookie(void)
{
    for (size_t i = 0; i < FRAME_COOKIE; i++) {
        uint8_t other[FRAME_COOKIE];
        memcpy(other, cookie, sizeof(other));
        other[i] ^= 1;
        const struct frame hello = frame_hello(other);
        open_rings();
        framed_init(&f, cookie, CHUNK, CAP);
        framed_set_rings(&f, &rx, NULL, false);
        CU_ASSERT_EQUAL(framed_input(&f, &hello), -SST_ECOOKIE);
        CU_ASSERT_FALSE(f.hello_seen);
        expect(-SST_ECOOKIE, "wrong cookie");
    }
}

static void test_version(void)
{
    static const uint32_t versions[] = { 0, 2, UINT32_MAX };
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct frame hello = frame_hello(cookie);
        hello.a = (uint64_t)versions[i] << 32;
        open_rings();
        framed_init(&f, cookie, CHUNK, CAP);
        framed_set_rings(&f, &rx, NULL, false);
        CU_ASSERT_EQUAL(framed_input(&f, &hello), -SST_EVERSION);
        CU_ASSERT_FALSE(f.hello_seen);
        expect(-SST_EVERSION, "version");
    }
}

/* ------------------------------------------------------------ DATA */

static void test_data_in_order(void)
{
    receiver(CAP);
    CU_ASSERT_EQUAL(say_data(0, 100), 0);
    CU_ASSERT_EQUAL(framed_filled(&f, 0, 40), 0);
    CU_ASSERT_EQUAL(rx.put, 40);
    CU_ASSERT_EQUAL(framed_filled(&f, 0, 60), 0);
    CU_ASSERT_EQUAL(rx.put, 100);
    CU_ASSERT_EQUAL(say_data(1000, 24), 0); /* beyond a hole */
    CU_ASSERT_EQUAL(framed_filled(&f, 1000, 24), 0);
    CU_ASSERT_EQUAL(rx.put, 100);
    CU_ASSERT_EQUAL(say_data(100, 900), 0);
    CU_ASSERT_EQUAL(framed_filled(&f, 100, 900), 0);
    CU_ASSERT_EQUAL(rx.put, 1024);
    CU_ASSERT_EQUAL(f.rc, 0);
    CU_ASSERT_EQUAL(framed_filled(&f, 1024, 1), -SST_EINTERNAL);
    expect(-SST_EINTERNAL, "[1024, +1) that was not claimed");
}

static void test_data_refused(void)
{
    static const struct { uint64_t off; uint32_t len; const char *why; } bad[] = {
        { 0, CHUNK + 1, "DATA of 8193 bytes, at most 8192 were agreed" },
        { CAP - 10, 11, "DATA [65526, +11) goes beyond the limit 65536" },
        { CAP, 1, "beyond the limit" },
        { CAP + 1, 1, "beyond the limit" },
        { UINT64_MAX, CHUNK, "beyond the limit" },
        { 1ULL << 63, 1, "beyond the limit" },
        { 0, 100, "overlaps what was sent before (complete up to 100)" },  /* a duplicate */
        { 99, 10, "overlaps" },
        { 150, 100, "overlaps" },                                         /* [200,300) is claimed */
        { 299, 1, "overlaps" },
        { 200, 100, "overlaps" },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        receiver(CAP);
        bring(100);
        CU_ASSERT_EQUAL(say_data(200, 100), 0);
        CU_ASSERT_EQUAL(say_data(bad[i].off, bad[i].len), -SST_EPROTO);
        expect(-SST_EPROTO, bad[i].why);
    }
}

static void test_data_at_limit(void)
{
    receiver(CAP);
    CU_ASSERT_EQUAL(say_data(CAP - CHUNK, CHUNK), 0);
    CU_ASSERT_EQUAL(f.rc, 0);
    close_rings();
}

/* What was consumed but not told gives no right to send more. */
static void test_untold_limit(void)
{
    receiver(CAP);
    bring(CAP);
    consume(CAP);
    CU_ASSERT_EQUAL(say_data(CAP, 1), -SST_EPROTO);
    expect(-SST_EPROTO, "limit 65536");
}

static void test_too_many_ranges(void)
{
    receiver(CAP);
    for (uint64_t i = 0; i < RING_EXTENTS_MAX; i++)
        CU_ASSERT_EQUAL(say_data(2 * i + 1, 1), 0);
    CU_ASSERT_EQUAL(say_data(2 * RING_EXTENTS_MAX + 1, 1), -SST_EPROTO);
    expect(-SST_EPROTO, "more than 1024 ranges");
}

/* ------------------------------------------------------------ EOS */

static void test_eos(void)
{
    receiver(CAP);
    CU_ASSERT_EQUAL(say(FRAME_EOS, 300, 0), 0); /* it may overtake DATA */
    CU_ASSERT_FALSE(ring_ended(&rx));
    bring(300);
    CU_ASSERT_TRUE(ring_ended(&rx));
    CU_ASSERT_FALSE(framed_finished(&f));
    consume(299);
    CU_ASSERT_EQUAL(next(), 0); /* only all of it is told any more */
    consume(1);
    CU_ASSERT_EQUAL(next(), FRAME_LIMIT);
    CU_ASSERT_EQUAL(last.b, 300);
    CU_ASSERT_TRUE(framed_finished(&f));
    CU_ASSERT_EQUAL(next(), 0);
    close_rings();
}

static void test_eos_of_nothing(void)
{
    receiver(CAP);
    CU_ASSERT_EQUAL(say(FRAME_EOS, 0, 0), 0);
    CU_ASSERT_TRUE(ring_ended(&rx));
    CU_ASSERT_TRUE(framed_finished(&f));
    CU_ASSERT_EQUAL(next(), 0);
    close_rings();
}

static void test_eos_refused(void)
{
    static const struct { uint64_t total; const char *why; } bad[] = {
        { 99, "EOS at 99, but 100 bytes are here" },
        { 0, "EOS at 0, but" },
        { 299, "EOS at 299" }, /* [200,300) is claimed */
        { CAP + 1, "the limit is 65536" },
        { UINT64_MAX, "EOS at" },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        receiver(CAP);
        bring(100);
        CU_ASSERT_EQUAL(say_data(200, 100), 0);
        CU_ASSERT_EQUAL(say(FRAME_EOS, bad[i].total, 0), -SST_EPROTO);
        expect(-SST_EPROTO, bad[i].why);
    }
}

static void test_second_eos(void)
{
    receiver(CAP);
    CU_ASSERT_EQUAL(say(FRAME_EOS, CAP, 0), 0);
    CU_ASSERT_EQUAL(say(FRAME_EOS, CAP, 0), -SST_EPROTO);
    expect(-SST_EPROTO, "second EOS");
}

static void test_data_after_eos(void)
{
    static const struct { uint64_t off; uint32_t len; } bad[] = { { 300, 1 }, { 299, 2 }, { 1000, 5 }, { 200, 101 } };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        receiver(CAP);
        bring(100);
        CU_ASSERT_EQUAL(say(FRAME_EOS, 300, 0), 0);
        CU_ASSERT_EQUAL(say_data(bad[i].off, bad[i].len), -SST_EPROTO);
        expect(-SST_EPROTO, "after EOS at 300");
    }
}

/* ------------------------------------------------------------ LIMIT from the peer, DATA and EOS from us */

static void test_limit_refused(void)
{
    static const struct { uint64_t limit, consumed; const char *why; } bad[] = {
        { 999, 100, "LIMIT shrinks: 999, 100 after 1000, 100" },
        { 1000, 99, "LIMIT shrinks" },
        { 0, 0, "LIMIT shrinks" },
        { 2000, 501, "says 501 consumed, 500 were sent" },
        { UINT64_MAX, UINT64_MAX, "consumed, 500 were sent" },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        sender(true, 500);
        ring_commit(&tx, 600);
        CU_ASSERT_EQUAL(next(), FRAME_DATA);
        CU_ASSERT_EQUAL(say(FRAME_LIMIT, 1000, 100), 0);
        CU_ASSERT_EQUAL(say(FRAME_LIMIT, 1000, 100), 0); /* twice the same is fine */
        CU_ASSERT_EQUAL(say(FRAME_LIMIT, bad[i].limit, bad[i].consumed), -SST_EPROTO);
        CU_ASSERT(f.limit == 1000 && f.acked == 100 && tx.rel == 100);
        expect(-SST_EPROTO, bad[i].why);
    }
}

static void test_consumed_beyond_limit(void)
{
    sender(true, 500);
    ring_commit(&tx, 500);
    CU_ASSERT_EQUAL(next(), FRAME_DATA);
    f.limit = 0; /* as a peer that never gave one */
    CU_ASSERT_EQUAL(say(FRAME_LIMIT, 100, 101), -SST_EPROTO);
    expect(-SST_EPROTO, "101 consumed");
}

static void test_sending(void)
{
    sender(true, 0);
    ring_commit(&tx, 20000);
    CU_ASSERT_EQUAL(next(), 0);
    CU_ASSERT_TRUE(framed_blocked(&f));
    CU_ASSERT_EQUAL(say(FRAME_LIMIT, 10000, 0), 0);
    CU_ASSERT_FALSE(framed_blocked(&f));
    CU_ASSERT_EQUAL(next(), FRAME_DATA);
    CU_ASSERT(last.flow == 0 && last.a == 0 && last.len == CHUNK && tx.sub == CHUNK);
    CU_ASSERT_EQUAL(next(), FRAME_DATA);
    CU_ASSERT(last.a == CHUNK && last.len == 10000 - CHUNK);
    CU_ASSERT_EQUAL(next(), 0);
    CU_ASSERT_TRUE(framed_blocked(&f));
    CU_ASSERT_EQUAL(say(FRAME_LIMIT, 10001, 4000), 0);
    CU_ASSERT_EQUAL(tx.rel, 4000);
    CU_ASSERT_EQUAL(next(), FRAME_DATA);
    CU_ASSERT(last.a == 10000 && last.len == 1);
    close_rings();
}

/* A side may send smaller chunks than it takes. */
static void test_chunk_send(void)
{
    sender(true, CAP);
    f.chunk_send = 100;
    ring_commit(&tx, 150);
    CU_ASSERT(next() == FRAME_DATA && last.len == 100);
    CU_ASSERT(next() == FRAME_DATA && last.len == 50);
    close_rings();
    receiver(CAP);
    f.chunk_send = 100;
    CU_ASSERT_EQUAL(say_data(0, CHUNK), 0);
    close_rings();
}

/* While DATA is under way, less than a chunk waits for company; what controls the flow and what is the end does not. */
static void test_hold(void)
{
    sender(false, CAP);
    f.hold = true;
    ring_commit(&tx, CHUNK - 1);
    CU_ASSERT_EQUAL(next(), 0);
    ring_commit(&tx, 2);
    CU_ASSERT(next() == FRAME_DATA && last.len == CHUNK);
    CU_ASSERT_EQUAL(next(), 0);
    f.hold = false;
    CU_ASSERT(next() == FRAME_DATA && last.len == 1);
    f.hold = true;
    ring_commit(&tx, 10);
    ring_end(&tx, tx.put);
    CU_ASSERT(next() == FRAME_DATA && last.len == 10);
    CU_ASSERT_EQUAL(next(), FRAME_EOS);
    close_rings();
}

/* With low latency nothing is gathered. */
static void test_eager(void)
{
    sender(false, CAP);
    f.hold = f.eager = true;
    ring_commit(&tx, 1);
    CU_ASSERT(next() == FRAME_DATA && last.len == 1);
    close_rings();
}

/* DATA that must lie in one piece: it ends where the view of the ring does, and what is short only for that is not held. */
static void test_edge(void)
{
    sender(false, 2 * CAP);
    f.edge = true;
    ring_commit(&tx, CAP - 100);
    while (next() == FRAME_DATA)
        ;
    ring_release_to(&tx, tx.sub);
    CU_ASSERT_EQUAL(tx.sub, CAP - 100);
    f.hold = true;
    ring_commit(&tx, CHUNK);
    CU_ASSERT(next() == FRAME_DATA && last.a == CAP - 100 && last.len == 100);
    CU_ASSERT_EQUAL(next(), 0); /* the rest is no whole chunk */
    ring_commit(&tx, 100);
    CU_ASSERT(next() == FRAME_DATA && last.a == CAP && last.len == CHUNK);
    close_rings();
    sender(false, CAP);
    f.edge = true;
    ring_commit(&tx, 10);
    CU_ASSERT(next() == FRAME_DATA && last.len == 10);
    ring_commit(&tx, 2 * CHUNK);
    CU_ASSERT(next() == FRAME_DATA && last.len == CHUNK - 10); /* the next begin at whole chunks again, and so fit the edge */
    CU_ASSERT(next() == FRAME_DATA && last.a == CHUNK && last.len == CHUNK);
    close_rings();
}

/* Where each DATA costs the same (edge), a limit for a part of a chunk is not used while the peer has a whole one to consume. */
static void test_whole_chunks(void)
{
    sender(false, CHUNK + 10);
    f.edge = true;
    ring_commit(&tx, 2 * CHUNK);
    CU_ASSERT(next() == FRAME_DATA && last.len == CHUNK);
    CU_ASSERT_EQUAL(next(), 0);
    CU_ASSERT_EQUAL(say(FRAME_LIMIT, CHUNK + 10, 1), 0); /* it has no whole one any more */
    CU_ASSERT(next() == FRAME_DATA && last.len == 10);
    CU_ASSERT_EQUAL(say(FRAME_LIMIT, CHUNK + 20, 1), 0);
    CU_ASSERT_EQUAL(next(), 0);
    ring_end(&tx, tx.put);
    CU_ASSERT_EQUAL(next(), 0);
    f.eager = true;
    CU_ASSERT(next() == FRAME_DATA && last.len == 10);
    f.eager = false;
    CU_ASSERT_EQUAL(say(FRAME_LIMIT, 4 * CHUNK, 1), 0);
    CU_ASSERT(next() == FRAME_DATA && last.len == CHUNK - 20);
    close_rings();
}

/* Little was consumed: no limit is due, but one can be asked for. */
static void test_lazy_limit(void)
{
    receiver(CAP);
    CU_ASSERT_FALSE(framed_lazy(&f));
    bring(10);
    CU_ASSERT_FALSE(framed_lazy(&f));
    consume(10);
    CU_ASSERT_EQUAL(next(), 0);
    CU_ASSERT_TRUE(framed_lazy(&f));
    f.urge = true;
    CU_ASSERT(next() == FRAME_LIMIT && last.a == CAP + 10 && last.b == 10);
    CU_ASSERT_FALSE(framed_lazy(&f));
    CU_ASSERT_EQUAL(next(), 0);
    bring(10);
    consume(10);
    CU_ASSERT_EQUAL(next(), 0);
    close_rings();
}

/* A carriage may tell a limit that is not due. */
static void test_limit_again(void)
{
    struct frame again;
    receiver(CAP);
    CU_ASSERT(framed_again(&f, &again) && again.type == FRAME_LIMIT && again.a == CAP && again.b == 0);
    bring(10);
    consume(10);
    CU_ASSERT(framed_again(&f, &again) && again.a == CAP + 10 && again.b == 10);
    CU_ASSERT_FALSE(framed_lazy(&f));
    framed_reset(&f, -SST_EABORTED);
    CU_ASSERT_EQUAL(next(), FRAME_RESET);
    CU_ASSERT_FALSE(framed_again(&f, &again));
    close_rings();
    sender(false, CAP);
    CU_ASSERT_FALSE(framed_again(&f, &again));
    close_rings();
}

static void test_gate(void)
{
    sender(true, CAP);
    ring_commit(&tx, 1000);
    tx.gate = 0;
    CU_ASSERT_EQUAL(next(), 0);
    CU_ASSERT_FALSE(framed_blocked(&f)); /* pacing is not the peer's fault */
    tx.gate = 10;
    CU_ASSERT_EQUAL(next(), FRAME_DATA);
    CU_ASSERT_EQUAL(last.len, 10);
    CU_ASSERT_EQUAL(next(), 0);
    close_rings();
}

static void test_end_of_ours(void)
{
    for (int keep = 0; keep < 2; keep++) {
        sender(keep, CAP);
        ring_commit(&tx, 100);
        CU_ASSERT_EQUAL(ring_end(&tx, 100), 0);
        CU_ASSERT_FALSE(framed_control_due(&f)); /* no EOS before the last byte went */
        CU_ASSERT_EQUAL(next(), FRAME_DATA);
        CU_ASSERT_TRUE(framed_control_due(&f));
        CU_ASSERT_EQUAL(next(), FRAME_EOS);
        CU_ASSERT(last.flow == 0 && last.a == 100);
        CU_ASSERT_EQUAL(next(), 0);
        CU_ASSERT_FALSE(framed_shut_done(&f));
        CU_ASSERT_EQUAL(say(FRAME_LIMIT, CAP + 100, 100), 0);
        CU_ASSERT_EQUAL(tx.rel, keep ? 100 : 0);
        CU_ASSERT_EQUAL(framed_shut_done(&f), keep);
        ring_release_to(&tx, 100); /* without keep the carriage does that */
        CU_ASSERT_TRUE(framed_shut_done(&f));
        CU_ASSERT_TRUE(framed_finished(&f));
        close_rings();
    }
}

static void test_nothing_to_send(void)
{
    sender(true, 0);
    CU_ASSERT_EQUAL(ring_end(&tx, 0), 0);
    CU_ASSERT_FALSE(framed_shut_done(&f));
    CU_ASSERT_EQUAL(next(), FRAME_EOS); /* that needs no limit */
    CU_ASSERT_EQUAL(last.a, 0);
    CU_ASSERT_TRUE(framed_shut_done(&f));
    CU_ASSERT_TRUE(framed_finished(&f));
    close_rings();
}

/* ------------------------------------------------------------ our LIMIT: when it is due */

static void test_limit_by_eighths(void)
{
    receiver(CAP);
    bring(CAP / 2);
    consume(CAP / 8 - 1);
    CU_ASSERT_FALSE(framed_control_due(&f));
    CU_ASSERT_EQUAL(next(), 0);
    consume(1);
    CU_ASSERT_EQUAL(next(), FRAME_LIMIT);
    CU_ASSERT(last.a == CAP + CAP / 8 && last.b == CAP / 8);
    CU_ASSERT_EQUAL(next(), 0);
    close_rings();
}

/* A peer with a small ring frees it only by what it knows to be consumed: an eighth of that ring matters. */
static void test_limit_for_small_peer(void)
{
    receiver(4096);
    bring(1000);
    consume(511);
    CU_ASSERT_EQUAL(next(), 0);
    consume(1);
    CU_ASSERT_EQUAL(next(), FRAME_LIMIT);
    CU_ASSERT_EQUAL(last.b, 512);
    bring(512 + 4096 - 1000); /* its ring is full of what it does not know to be consumed */
    CU_ASSERT_EQUAL(next(), 0);
    consume(1);
    CU_ASSERT_EQUAL(next(), FRAME_LIMIT);
    CU_ASSERT_EQUAL(last.b, 513);
    close_rings();
}

/* A ring that is smaller than eight bytes, if the peer is to be believed: a limit that did not grow is not told all the same. */
static void test_limit_for_absurd_peer(void)
{
    for (uint64_t ring = 1; ring < 9; ring++) {
        receiver(ring); /* it has seen that nothing is due */
        CU_ASSERT_FALSE(framed_control_due(&f));
        bring(10);
        CU_ASSERT_EQUAL(next(), 0);
        consume(1);
        CU_ASSERT_EQUAL(next(), FRAME_LIMIT);
        CU_ASSERT_EQUAL(last.b, 1);
        CU_ASSERT_EQUAL(next(), 0);
        close_rings();
    }
}

static void test_limit_for_large_peer(void)
{
    receiver(16 * CAP);
    bring(CAP / 2);
    consume(CAP / 8);
    CU_ASSERT_EQUAL(next(), FRAME_LIMIT);
    close_rings();
}

static void test_limit_when_used_up(void)
{
    receiver(16 * CAP);
    bring(CAP);
    CU_ASSERT_EQUAL(next(), 0); /* nothing was consumed: nothing to tell */
    consume(1);
    CU_ASSERT_EQUAL(next(), FRAME_LIMIT);
    CU_ASSERT(last.a == CAP + 1 && last.b == 1);
    close_rings();
}

/* Nothing is known of the peer's ring: it may wait for as little as what is consumed now. */
static void test_limit_for_unknown_peer(void)
{
    receiver(0);
    bring(10);
    consume(9);
    CU_ASSERT_EQUAL(next(), 0);
    consume(1);
    CU_ASSERT_EQUAL(next(), FRAME_LIMIT);
    CU_ASSERT_EQUAL(last.b, 10);
    CU_ASSERT_EQUAL(next(), 0);
    close_rings();
}

static void test_limit_after_end(void)
{
    receiver(CAP);
    bring(CAP);
    CU_ASSERT_EQUAL(say(FRAME_EOS, CAP, 0), 0);
    consume(CAP / 2);
    CU_ASSERT_EQUAL(next(), 0);
    consume(CAP / 2);
    CU_ASSERT_EQUAL(next(), FRAME_LIMIT);
    CU_ASSERT_EQUAL(last.b, CAP);
    close_rings();
}

/* ------------------------------------------------------------ flows, RESET, garbage */

static void test_wrong_flow(void)
{
    static const struct { uint8_t type, flow; bool sends; } bad[] = {
        { FRAME_DATA, 1, false },  { FRAME_EOS, 1, false },  { FRAME_LIMIT, 0, false }, { FRAME_LIMIT, 1, false },
        { FRAME_RESET, 1, false }, { FRAME_DATA, 0, true },  { FRAME_EOS, 0, true },    { FRAME_DATA, 1, true },
        { FRAME_EOS, 1, true },    { FRAME_LIMIT, 1, true }, { FRAME_RESET, 1, true },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const struct frame in = { .type = bad[i].type, .flow = bad[i].flow, .len = bad[i].type == FRAME_DATA };
        if (bad[i].sends)
            sender(true, CAP);
        else
            receiver(CAP);
        CU_ASSERT_EQUAL(framed_input(&f, &in), -SST_EPROTO);
        expect(-SST_EPROTO, "which does not exist in that direction");
    }
}

static void test_duplex(void)
{
    const struct frame limit = { .type = FRAME_LIMIT, .flow = 1, .a = 100 }, data = { .type = FRAME_DATA, .len = 10 };
    open_rings();
    framed_init(&f, cookie, CHUNK, CAP);
    framed_set_rings(&f, &rx, &tx, false);
    CU_ASSERT_EQUAL(say_hello(), 0);
    ring_commit(&tx, 5);
    CU_ASSERT_EQUAL(framed_input(&f, &limit), 0);
    CU_ASSERT(next() == FRAME_HELLO && next() == FRAME_LIMIT && last.flow == 0 && next() == FRAME_DATA && last.flow == 1);
    CU_ASSERT_EQUAL(framed_input(&f, &data), 0);
    CU_ASSERT_FALSE(framed_finished(&f));
    close_rings();
}

/* ------------------------------------------------------------ duplex: both directions on one connection */

static int say_on(uint8_t flow, uint8_t type, uint64_t a, uint64_t b)
{
    bool data = type == FRAME_DATA; /* b is its length then */
    const struct frame in = { .type = type, .flow = flow, .a = a, .b = data ? 0 : b, .len = data ? (uint32_t)b : 0 };
    return framed_input(&f, &in);
}

/* Flow 0 is ours, flow 1 the peer's; HELLO and limits were said both ways. */
static void duplex(bool keep)
{
    open_rings();
    framed_init(&f, cookie, CHUNK, CAP);
    framed_set_rings(&f, &rx, &tx, true);
    f.keep = keep;
    CU_ASSERT(next() == FRAME_HELLO && say_hello() == 0 && next() == FRAME_LIMIT && last.flow == 1 && last.a == CAP);
    CU_ASSERT_EQUAL(say_on(0, FRAME_LIMIT, CAP, 0), 0);
    CU_ASSERT_EQUAL(next(), 0);
}

static void bring_back(uint32_t n)
{
    uint64_t off = rx.put;
    CU_ASSERT_EQUAL_FATAL(say_on(1, FRAME_DATA, off, n), 0);
    CU_ASSERT_EQUAL_FATAL(framed_filled(&f, off, n), 0);
}

static void test_duplex_wrong_flow(void)
{
    static const struct { uint8_t flow, type; } bad[] = { { 0, FRAME_DATA }, { 0, FRAME_EOS }, { 1, FRAME_LIMIT } };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        duplex(true);
        CU_ASSERT_EQUAL(say_on(bad[i].flow, bad[i].type, 0, 1), -SST_EPROTO);
        expect(-SST_EPROTO, "which does not exist in that direction");
    }
}

/* However many bytes wait, a limit goes before them. */
static void test_limit_before_data(void)
{
    duplex(false);
    CU_ASSERT_EQUAL(say_on(0, FRAME_LIMIT, 100 * CAP, 0), 0);
    ring_commit(&tx, CAP);
    for (int i = 0; i < 8; i++) {
        CU_ASSERT(next() == FRAME_DATA && last.flow == 0);
        bring_back(CHUNK);
        consume(CHUNK);
        CU_ASSERT_TRUE(framed_control_due(&f));
        CU_ASSERT(next() == FRAME_LIMIT && last.flow == 1 && last.b == rx.rel);
    }
    CU_ASSERT_EQUAL(tx.sub, CAP);
    close_rings();
}

/* No limit for ours: what the peer sends is taken and its limit raised. */
static void test_blocked_one_way(void)
{
    duplex(true);
    ring_commit(&tx, CAP);
    while (next() == FRAME_DATA)
        ;
    ring_release_to(&tx, CHUNK); /* as if there were more to send */
    ring_commit(&tx, CHUNK);
    for (int i = 0; i < 100; i++) {
        CU_ASSERT_TRUE(framed_blocked(&f));
        bring_back(CHUNK);
        consume(CHUNK);
        CU_ASSERT(next() == FRAME_LIMIT && last.flow == 1 && last.a == CAP + rx.rel);
        CU_ASSERT_EQUAL(next(), 0);
    }
    close_rings();
}

/* The peer's bytes are not consumed, its ring is full: ours go on. */
static void test_unread_one_way(void)
{
    duplex(true);
    for (int i = 0; i < CAP / CHUNK; i++)
        bring_back(CHUNK);
    for (uint64_t i = 1; i <= 100; i++) {
        ring_commit(&tx, CHUNK);
        CU_ASSERT(next() == FRAME_DATA && last.flow == 0);
        CU_ASSERT_EQUAL(next(), 0);
        CU_ASSERT_EQUAL(say_on(0, FRAME_LIMIT, CAP + i * CHUNK, i * CHUNK), 0);
        CU_ASSERT_EQUAL(tx.rel, i * CHUNK);
    }
    close_rings();
}

static void end_ours(uint64_t n)
{
    ring_commit(&tx, n);
    CU_ASSERT_EQUAL(ring_end(&tx, n), 0);
    if (n)
        CU_ASSERT(next() == FRAME_DATA && last.len == n);
    CU_ASSERT(next() == FRAME_EOS && last.flow == 0 && last.a == n);
    CU_ASSERT_EQUAL(framed_shut_done(&f), n == 0);
    CU_ASSERT_EQUAL(say_on(0, FRAME_LIMIT, CAP + n, n), 0);
    CU_ASSERT_TRUE(framed_shut_done(&f));
}

static void test_half_close_ours(void)
{
    for (uint64_t n = 0; n <= 10; n += 10) {
        duplex(true);
        end_ours(n);
        for (int i = 0; i < 20; i++) {
            CU_ASSERT_FALSE(framed_whole(&f));
            bring_back(CHUNK);
            consume(CHUNK);
            CU_ASSERT(next() == FRAME_LIMIT && next() == 0);
        }
        bring_back(1);
        CU_ASSERT_EQUAL(say_on(1, FRAME_EOS, rx.put, 0), 0);
        CU_ASSERT(framed_whole(&f) && !framed_finished(&f)); /* all is there; the peer is still to hear that it was consumed */
        consume(1);
        CU_ASSERT(next() == FRAME_LIMIT && last.b == rx.total && framed_finished(&f));
        CU_ASSERT_EQUAL(next(), 0);
        close_rings();
    }
}

static void test_half_close_theirs(void)
{
    for (uint32_t n = 0; n <= 10; n += 10) {
        duplex(true);
        if (n) {
            bring_back(n);
            consume(n);
        }
        CU_ASSERT_EQUAL(say_on(1, FRAME_EOS, n, 0), 0);
        CU_ASSERT_EQUAL(next(), n ? FRAME_LIMIT : 0);
        for (uint64_t i = 1; i <= 20; i++) {
            CU_ASSERT_FALSE(framed_whole(&f));
            ring_commit(&tx, CHUNK);
            CU_ASSERT(next() == FRAME_DATA && next() == 0);
            CU_ASSERT_EQUAL(say_on(0, FRAME_LIMIT, CAP + i * CHUNK, i * CHUNK), 0);
        }
        CU_ASSERT_EQUAL(say_on(1, FRAME_EOS, n, 0), -SST_EPROTO);
        expect(-SST_EPROTO, "second EOS");
    }
}

/* After the end of the peer's bytes no little limit is worth a message: none of its bytes wait for that room. */
static void test_not_lazy_after_end(void)
{
    duplex(true);
    bring_back(1000);
    consume(10);
    CU_ASSERT_TRUE(framed_lazy(&f));
    CU_ASSERT_EQUAL(say_on(1, FRAME_EOS, 1000, 0), 0);
    CU_ASSERT_FALSE(framed_lazy(&f));
    consume(990);
    CU_ASSERT(next() == FRAME_LIMIT && last.b == 1000);
    close_rings();
}

/* Whichever direction it names, a RESET ends both; and nothing follows ours, though bytes and a limit are due. */
static void test_duplex_reset(void)
{
    for (uint8_t flow = 0; flow < 2; flow++) {
        duplex(true);
        CU_ASSERT_EQUAL(say_on(flow, FRAME_RESET, 25, 0), -SST_EINTERRUPTED);
        expect(-SST_EINTERRUPTED, "peer reset the flow: interrupted");
    }
    duplex(true);
    ring_commit(&tx, CAP);
    bring_back(CHUNK);
    consume(CHUNK);
    framed_reset(&f, -SST_EIO);
    CU_ASSERT(next() == FRAME_RESET && last.flow == 0 && last.a == err_to_wire(-SST_EIO));
    CU_ASSERT_EQUAL(next(), 0);
    close_rings();
}

static void test_reset_received(void)
{
    static const struct { uint64_t code; int rc; } codes[] = {
        { 1, -SST_EPROTO }, { 25, -SST_EINTERRUPTED }, { 0, -SST_EABORTED }, { 9999, -SST_EABORTED }, { 1ULL << 40, -SST_EABORTED },
        { (1ULL << 32) + 1, -SST_EABORTED },
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(codes); i++) {
        if (i % 2)
            sender(true, CAP);
        else
            receiver(CAP);
        CU_ASSERT_EQUAL(say(FRAME_RESET, codes[i / 2].code, 0), codes[i / 2].rc);
        expect(codes[i / 2].rc, "peer reset the flow: ");
    }
}

static void test_reset_sent(void)
{
    for (int sends = 0; sends < 2; sends++) {
        if (sends)
            sender(true, CAP);
        else
            receiver(CAP);
        framed_reset(&f, -ENOSPC);
        CU_ASSERT_TRUE(framed_control_due(&f));
        CU_ASSERT_EQUAL(next(), FRAME_RESET);
        CU_ASSERT(last.flow == 0 && last.a == err_to_wire(-ENOSPC) && last.b == 0 && last.c == 0);
        CU_ASSERT_EQUAL(next(), 0);
        close_rings();
    }
}

static void check_urgency(bool reset)
{
    static const uint8_t plain[] = { FRAME_HELLO, FRAME_LIMIT, FRAME_DATA, FRAME_EOS, 0 },
                         broken[] = { FRAME_HELLO, FRAME_RESET, 0, 0, 0 };
    const struct frame limit = { .type = FRAME_LIMIT, .a = CAP };
    open_rings();
    framed_init(&f, cookie, CHUNK, CAP);
    framed_set_rings(&f, &rx, &tx, true);
    CU_ASSERT_EQUAL(say_hello(), 0);
    CU_ASSERT_EQUAL(framed_input(&f, &limit), 0);
    ring_commit(&tx, 1);
    CU_ASSERT_EQUAL(ring_end(&tx, 1), 0);
    if (reset)
        framed_reset(&f, -SST_EABORTED);
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        CU_ASSERT_EQUAL(next(), reset ? broken[i] : plain[i]);
    CU_ASSERT_FALSE(framed_control_due(&f));
    close_rings();
}

/* HELLO, LIMIT, DATA, EOS; and RESET before all but HELLO, with nothing after it. */
static void test_order_of_urgency(void)
{
    check_urgency(false);
    check_urgency(true);
}

static void test_first_failure_stays(void)
{
    receiver(CAP);
    CU_ASSERT_EQUAL(say_data(0, CHUNK + 1), -SST_EPROTO);
    CU_ASSERT_EQUAL(say(FRAME_RESET, 2, 0), -SST_EPROTO);
    CU_ASSERT_EQUAL(say_data(0, 10), -SST_EPROTO);
    CU_ASSERT_EQUAL(rx.n_ext, 0);
    expect(-SST_EPROTO, "at most 8192");
}

static void test_garbage(void)
{
    const uint8_t head[FRAME_SIZE] = "GET / HTTP/1.1\r\nHost: gateway\r\n";
    receiver(CAP);
    CU_ASSERT_EQUAL(framed_garbage(&f, head), -SST_EPROTO);
    expect(-SST_EPROTO, "no frame of the flow protocol: 474554202f20485454502f312e310d0a...");
}

static void test_disconnected(void)
{
    int other;
    receiver(CAP);
    CU_ASSERT_EQUAL(say_data(0, 100), 0);
    CU_ASSERT_EQUAL(framed_filled(&f, 0, 30), 0);
    CU_ASSERT_EQUAL(ring_claim(&rx, 100, 10, &other), 0);
    framed_disconnected(&f);
    CU_ASSERT(rx.n_ext == 1 && rx.put == 30);
    ring_unclaim(&rx, &other);
    CU_ASSERT_EQUAL(rx.n_ext, 0);
    ring_fini(&rx);
    framed_disconnected(&f); /* the ring may be gone already */
    close_rings();
    f.rx = NULL;
    framed_disconnected(&f);
}

UNIT_MAIN("framed", UNIT(test_hello_first), UNIT(test_before_hello), UNIT(test_second_hello), UNIT(test_wrong_cookie),
          UNIT(test_version), UNIT(test_data_in_order), UNIT(test_data_refused), UNIT(test_data_at_limit), UNIT(test_untold_limit),
          UNIT(test_too_many_ranges), UNIT(test_eos), UNIT(test_eos_of_nothing), UNIT(test_eos_refused), UNIT(test_second_eos),
          UNIT(test_data_after_eos), UNIT(test_limit_refused), UNIT(test_consumed_beyond_limit), UNIT(test_sending), UNIT(test_chunk_send), UNIT(test_hold),
          UNIT(test_eager), UNIT(test_edge), UNIT(test_whole_chunks), UNIT(test_lazy_limit), UNIT(test_limit_again), UNIT(test_gate),
          UNIT(test_end_of_ours), UNIT(test_nothing_to_send), UNIT(test_limit_by_eighths), UNIT(test_limit_for_small_peer),
          UNIT(test_limit_for_absurd_peer),
          UNIT(test_limit_for_large_peer), UNIT(test_limit_when_used_up), UNIT(test_limit_for_unknown_peer),
          UNIT(test_limit_after_end), UNIT(test_wrong_flow), UNIT(test_duplex), UNIT(test_duplex_wrong_flow),
          UNIT(test_limit_before_data),
          UNIT(test_blocked_one_way), UNIT(test_unread_one_way), UNIT(test_half_close_ours), UNIT(test_half_close_theirs),
          UNIT(test_not_lazy_after_end), UNIT(test_duplex_reset), UNIT(test_reset_received), UNIT(test_reset_sent),
          UNIT(test_order_of_urgency), UNIT(test_first_failure_stays), UNIT(test_garbage), UNIT(test_disconnected))
