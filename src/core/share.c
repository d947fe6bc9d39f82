#include "src/core/share.h"

static double ns_for(uint64_t bytes, uint64_t rate) { return (double)bytes * (double)NS_PER_S / (double)rate; }
static double bytes_in(uint64_t ns, uint64_t rate) { return (double)ns * (double)rate / (double)NS_PER_S; }

/* Much at once where much goes, that it costs few looks. */
static uint64_t piece(uint64_t rate) { return MAX(SHARE_PIECE, (uint64_t)bytes_in(SHARE_SLICE_NS / 4, rate)); }

static uint64_t burst_ns(uint64_t rate) { return MAX(SHARE_BURST_NS, (uint64_t)ns_for(SHARE_LEAST, rate) + 1); }

/* What has to have come together before anything is taken. */
static uint64_t least_ns(uint64_t bytes, uint64_t rate)
{
    return (uint64_t)MIN(ns_for(bytes, rate), MAX((double)SHARE_SLICE_NS, ns_for(SHARE_LEAST, rate)));
}

uint64_t share_take(struct share *s, unsigned way, uint64_t want, uint64_t now, uint64_t *wait_ns)
{
    uint64_t rate = share_rate(s), paid = atomic_load_explicit(&s->paid_ns[way], memory_order_relaxed), n, next;
    *wait_ns = 0;
    if (rate == 0)
        return want;
    uint64_t most = MIN(want, piece(rate)), least = least_ns(most, rate), burst = MIN(burst_ns(rate), now);
    do {
        uint64_t from = MAX(paid, now - burst), room = now > from ? now - from : 0;
        if (room < least) {
            atomic_fetch_add_explicit(&s->held_back, 1, memory_order_relaxed);
            *wait_ns = MIN(MAX(least - room, SHARE_SLICE_NS), SHARE_WAIT_NS);
            return 0;
        }
        n = MIN(most, MAX((uint64_t)bytes_in(room, rate), 1));
        next = from + (uint64_t)ns_for(n, rate) + 1; /* rather too much than too little, or it would add up */
    } while (!atomic_compare_exchange_weak_explicit(&s->paid_ns[way], &paid, next, memory_order_relaxed, memory_order_relaxed));
    atomic_fetch_add_explicit(&s->taken[way], n, memory_order_relaxed);
    return n;
}

void share_set_rate(struct share *s, uint64_t rate, bool steady)
{
    atomic_store_explicit(&s->steady, steady, memory_order_relaxed);
    atomic_store_explicit(&s->rate, rate, memory_order_relaxed);
}

uint64_t share_spread(const struct share *s)
{
    return atomic_load_explicit(&s->steady, memory_order_relaxed) ? share_rate(s) + share_rate(s) / 4 : 0;
}
