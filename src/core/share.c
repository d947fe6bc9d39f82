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

/* ------------------------------------------------------------ who wants more */

static uint32_t epoch_of(uint64_t now) { return (uint32_t)(now >> SHARE_EPOCH_BITS); }

static uint32_t wanting_in(struct share_taker *t, uint32_t epoch)
{
    uint64_t w = atomic_load_explicit(&t->share->wanting[t->way][epoch % 2], memory_order_relaxed);
    return w >> 32 == epoch ? (uint32_t)w : 0;
}

/* Those of this epoch, or as long as that is young those of the one before. At least 1. */
static uint32_t wanting(struct share_taker *t, uint64_t now)
{
    uint32_t epoch = epoch_of(now), is = wanting_in(t, epoch), was = wanting_in(t, epoch - 1);
    return MAX(MAX(is, was), 1);
}

static void want_more(struct share_taker *t, uint64_t now)
{
    uint32_t epoch = epoch_of(now);
    _Atomic uint64_t *place = &t->share->wanting[t->way][epoch % 2];
    uint64_t was = atomic_load_explicit(place, memory_order_relaxed), is;
    if (t->epoch == epoch)
        return;
    t->epoch = epoch;
    do
        is = was >> 32 == epoch ? was + 1 : (uint64_t)epoch << 32 | 1;
    while (!atomic_compare_exchange_weak_explicit(place, &was, is, memory_order_relaxed, memory_order_relaxed));
}

/* ------------------------------------------------------------ taking */

static uint64_t hold_back(struct share_taker *t, uint64_t missing_ns, uint64_t now)
{
    atomic_fetch_add_explicit(&t->share->held_back, 1, memory_order_relaxed);
    want_more(t, now);
    t->again_ns = now + MIN(MAX(missing_ns, SHARE_SLICE_NS), SHARE_WAIT_NS);
    return 0;
}

/* It has its part of what there was, and wants more, as others do: it takes no more for about as long as they need to have theirs. For less, the more there
 * is: they come late, and what nobody takes is lost. */
static uint64_t give_way_ns(uint64_t ns, uint64_t room, uint64_t burst)
{
    return MIN((uint64_t)((double)ns * 0.75 * (1 - (double)MIN(room, burst) / (double)burst)), SHARE_WAIT_NS);
}

uint64_t share_take(struct share_taker *t, uint64_t want, uint64_t now)
{
    struct share *s = t->share;
    uint64_t rate = share_rate(s), paid = atomic_load_explicit(&s->paid_ns[t->way], memory_order_relaxed), n, next;
    if (rate == 0 || now < t->again_ns)
        return rate == 0 ? want : 0;
    uint64_t most = MIN(want, piece(rate)), least = least_ns(most, rate), burst = MIN(burst_ns(rate), now);
    uint64_t from, room;
    uint32_t takers = wanting(t, now);
    do {
        from = MAX(paid, now - burst);
        room = now > from ? now - from : 0;
        if (room < least)
            return hold_back(t, least - room, now);
        n = MIN(most, (uint64_t)MAX(bytes_in(room, rate) / takers, MIN(bytes_in(room, rate), SHARE_LEAST)));
        n = MAX(n, 1);
        next = from + (uint64_t)ns_for(n, rate) + 1; /* rather too much than too little, or it would add up */
    } while (!atomic_compare_exchange_weak_explicit(&s->paid_ns[t->way], &paid, next, memory_order_relaxed, memory_order_relaxed));
    atomic_fetch_add_explicit(&s->taken[t->way], n, memory_order_relaxed);
    if (n < want)
        want_more(t, now);
    if (n < want && takers > 1)
        t->again_ns = now + give_way_ns(takers * (next - from), room, burst);
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
