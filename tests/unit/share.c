/* A share: what a bucket gives, that the clock fills it, that who is late catches up and no more, that several take from it at once, and alike. */
#include <pthread.h>

#include "src/core/share.h"
#include "tests/lib/unit.h"

#define RATE (250ULL * 1000 * 1000) /* 2 Gbit/s */

static struct share share;
static struct share_taker forward, backward;

static void begin(uint64_t rate)
{
    memset(&share, 0, sizeof(share));
    forward = (struct share_taker){ .share = &share };
    backward = (struct share_taker){ .share = &share, .way = 1 };
    share_set_rate(&share, rate, false);
}

/* All that can be had from now until then, by somebody who comes again when he is told to. */
static uint64_t drink(uint64_t *now, uint64_t until, uint64_t want)
{
    uint64_t sum = 0;
    while (*now < until) {
        uint64_t n = share_take(&forward, want, *now);
        sum += n;
        *now = n ? *now + 1000 : forward.again_ns;
    }
    return sum;
}

static void test_no_limit(void)
{
    begin(0);
    CU_ASSERT(share_take(&backward, 123456789, 5) == 123456789 && backward.again_ns == 0);
    CU_ASSERT(atomic_load(&share.taken[1]) == 0 && share_spread(&share) == 0);
}

static void test_rate_is_kept(void)
{
    static const uint64_t rates[] = { 1000, 125000, 12500000, RATE, 100 * RATE };
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        uint64_t now = 7 * NS_PER_S;
        begin(rates[i]);
        (void)drink(&now, 10 * NS_PER_S, 1 << 20);
        uint64_t sum = drink(&now, 20 * NS_PER_S, 1 << 20);
        uint64_t most = 10 * rates[i] + rates[i] * SHARE_BURST_NS / NS_PER_S + SHARE_LEAST;
        CU_ASSERT(sum <= most && sum + SHARE_LEAST >= 10 * rates[i] * 99 / 100);
    }
}

static void test_pieces(void)
{
    uint64_t now = NS_PER_S;
    begin(RATE);
    CU_ASSERT_EQUAL(share_take(&forward, 1 << 20, now), RATE * SHARE_SLICE_NS / 4 / NS_PER_S);
    CU_ASSERT_EQUAL(share_take(&forward, 10, now), 10);
    CU_ASSERT_EQUAL(atomic_load(&share.taken[0]), RATE * SHARE_SLICE_NS / 4 / NS_PER_S + 10);
    begin(8000);
    uint64_t n = share_take(&forward, 1 << 20, now); /* of few there are no crumbs */
    CU_ASSERT(n >= SHARE_LEAST && n <= SHARE_LEAST + 2);
}

static void test_late(void)
{
    uint64_t now = NS_PER_S, sum = 0, n;
    begin(RATE);
    while ((n = share_take(&forward, 1 << 20, now)))
        sum += n;
    uint64_t burst = RATE * SHARE_BURST_NS / NS_PER_S;
    CU_ASSERT(sum <= burst && sum > burst * 9 / 10 && forward.again_ns == now + SHARE_SLICE_NS);
    CU_ASSERT_EQUAL(atomic_load(&share.held_back), 1);
    CU_ASSERT_EQUAL(share_take(&forward, 1, now + SHARE_SLICE_NS - 1), 0); /* too soon */
    now = forward.again_ns;
    CU_ASSERT_EQUAL(share_take(&forward, 1 << 20, now), RATE * (SHARE_SLICE_NS / 4) / NS_PER_S); /* a piece is there */
    CU_ASSERT_EQUAL(share_take(&backward, 1000, now), 1000); /* the other way has its own */
}

static void test_wait_is_bounded(void)
{
    begin(100);
    CU_ASSERT(share_take(&forward, 1 << 20, 100 * NS_PER_S) > 0);
    CU_ASSERT(share_take(&forward, 1 << 20, 100 * NS_PER_S) == 0 && forward.again_ns == 100 * NS_PER_S + SHARE_WAIT_NS);
}

static void test_spread(void)
{
    begin(RATE);
    CU_ASSERT_EQUAL(share_spread(&share), 0);
    share_set_rate(&share, RATE, true);
    CU_ASSERT_EQUAL(share_spread(&share), RATE + RATE / 4);
}

/* Eight that want all there is, one of them with a worker of its own, which comes as often as the other seven together. */
static void test_alike(void)
{
    static const uint64_t rates[] = { 125000, 12500000, RATE, 10 * RATE };
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        struct share_taker t[8] = { { .share = NULL } };
        uint64_t got[8] = { 0 }, most = 0, least = UINT64_MAX, all = 0;
        begin(rates[i]);
        for (unsigned k = 0; k < 8; k++)
            t[k].share = &share;
        for (uint64_t now = NS_PER_S; now < 11 * NS_PER_S; now += 50 * NS_PER_US) {
            unsigned k = (unsigned)(now / (50 * NS_PER_US) % 14);
            k = k % 2 ? 7 : k / 2;
            got[k] += share_take(&t[k], 1 << 20, now);
        }
        for (unsigned k = 0; k < 8; k++) {
            most = MAX(most, got[k]);
            least = MIN(least, got[k]);
            all += got[k];
        }
        CU_ASSERT(most < 2 * least && all >= 10 * rates[i] * 98 / 100 && all <= 10 * rates[i] * 101 / 100);
    }
}

/* One that wanted more and does not any more is forgotten soon. */
static void test_leaving(void)
{
    uint64_t now = NS_PER_S, sum = 0;
    struct share_taker other = { .share = &share };
    begin(RATE);
    for (; now < 2 * NS_PER_S; now += NS_PER_MS) {
        (void)share_take(&other, 1 << 20, now);
        sum += share_take(&forward, 1 << 20, now);
    }
    CU_ASSERT(sum > RATE * 4 / 10 && sum < RATE * 6 / 10);
    now += 2ULL << SHARE_EPOCH_BITS;
    sum = drink(&now, now + NS_PER_S, 1 << 20);
    CU_ASSERT(sum > RATE * 98 / 100);
}

static void *take_much(void *sum)
{
    struct share_taker taker = { .share = &share };
    uint64_t *n = sum;
    for (uint64_t end = now_ns() + 200 * NS_PER_MS; now_ns() < end;)
        *n += share_take(&taker, 5000, now_ns());
    return NULL;
}

/* As workers do, which know nothing of each other. */
static void test_together(void)
{
    enum { TAKERS = 4 };
    pthread_t t[TAKERS];
    uint64_t sum[TAKERS] = { 0 }, all = 0, begun = now_ns();
    begin(RATE);
    for (int i = 0; i < TAKERS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, take_much, &sum[i]), 0);
    for (int i = 0; i < TAKERS; i++) {
        pthread_join(t[i], NULL);
        all += sum[i];
    }
    CU_ASSERT(all == atomic_load(&share.taken[0]) && all > 0);
    CU_ASSERT((double)all <= (double)RATE * (double)(now_ns() - begun + SHARE_BURST_NS) / 1e9);
}

UNIT_MAIN("share", UNIT(test_no_limit), UNIT(test_rate_is_kept), UNIT(test_pieces), UNIT(test_late), UNIT(test_wait_is_bounded), UNIT(test_spread),
          UNIT(test_alike), UNIT(test_leaving), UNIT(test_together))
