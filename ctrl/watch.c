#include "ctrl/watch.h"

const char *watch_waiting_for(const struct stats_flow *f)
{
    return stats_wait_name(atomic_load_explicit(&f->waiting_for, memory_order_relaxed));
}

void watch_take(struct watch_look *l, const struct stats_channel *st, uint64_t now)
{
    l->at_ns = now;
    l->out = stats_get(&st->flow[0].rel);
    l->back = stats_get(&st->flow[1].rel);
    for (unsigned i = 0; i < WAIT_KINDS; i++)
        l->wait_ns[i] = stats_get(&st->flow[0].wait_ns[i]);
}

/* Parts of a thousand of the interval. A wait is added to its counter when it ends: one that began before may show more than the interval,
 * and one that goes on shows nothing, so a flow that has not moved has waited for what it waits for now. */
static void shares(uint32_t permille[WAIT_KINDS], const struct watch_look *a, const struct watch_look *b, uint32_t now)
{
    uint64_t ns = MAX(b->at_ns - a->at_ns, 1), left = 1000;
    for (unsigned i = 0; i < WAIT_KINDS; i++) {
        uint64_t waited = b->wait_ns[i] - a->wait_ns[i];
        permille[i] = (uint32_t)MIN(waited >= ns ? 1000 : waited * 1000 / ns, left);
        left -= permille[i];
    }
    if (now < WAIT_KINDS && b->out == a->out)
        permille[now] += (uint32_t)left;
}

uint64_t watch_rate(uint64_t bytes, uint64_t ns) { return (uint64_t)((double)bytes * 8e9 / (double)MAX(ns, 1)); }

void watch_compare(Progress *m, const struct watch_look *before, const struct watch_look *now, const struct stats_channel *st, uint64_t window)
{
    const struct stats_flow *f = &st->flow[0];
    uint64_t ns = now->at_ns - before->at_ns, in = stats_get(&f->put);
    uint32_t permille[WAIT_KINDS];
    shares(permille, before, now, atomic_load_explicit(&f->waiting_for, memory_order_relaxed));
    m->interval_ms = ns / NS_PER_MS;
    m->rate = watch_rate(now->out - before->out, ns);
    m->bytes_in = in;
    m->bytes_out = now->out;
    m->window = window;
    m->window_used = in > now->out ? in - now->out : 0;
    m->waiting_for = (char *)(uintptr_t)watch_waiting_for(f);
    m->source_permille = permille[WAIT_SOURCE];
    m->credits_permille = permille[WAIT_CREDITS];
    m->sink_permille = permille[WAIT_SINK];
    m->clock_permille = permille[WAIT_RATE];
    m->rate_back = watch_rate(now->back - before->back, ns);
    m->bytes_back = now->back;
    m->waiting_for_back = (char *)(uintptr_t)(stats_get(&st->flow[1].since_ns) ? watch_waiting_for(&st->flow[1]) : "");
}
