#include "src/core/stats_sum.h"

const char *stats_wait_name(unsigned wait)
{
    static const char *const names[WAIT_KINDS] = { "source", "credits", "sink", "rate" };
    return wait < WAIT_KINDS ? names[wait] : "";
}

void stats_sum_add(struct stats_sum *to, const struct stats_sum *s)
{
    for (unsigned f = 0; f < 2; f++) {
        to->bytes[f] += s->bytes[f];
        for (unsigned w = 0; w < WAIT_KINDS; w++)
            to->wait_ns[f][w] += s->wait_ns[f][w];
    }
}

/* The wait that lasts; a flow that moves meanwhile has counted it itself. */
static void add_open_wait(uint64_t *wait_ns, const struct stats_flow *f, uint64_t since, uint64_t now)
{
    uint32_t waiting = atomic_load_explicit(&f->waiting_for, memory_order_relaxed);
    if (waiting < WAIT_KINDS && since && now > since && stats_get(&f->since_ns) == since)
        wait_ns[waiting] += now - since;
}

void stats_sum_channel(struct stats_sum *to, const struct stats_channel *c, uint64_t now)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct stats_flow *f = &c->flow[i];
        uint64_t since = stats_get(&f->since_ns);
        to->bytes[i] += stats_get(&f->put);
        for (unsigned w = 0; w < WAIT_KINDS; w++)
            to->wait_ns[i][w] += stats_get(&f->wait_ns[w]);
        add_open_wait(to->wait_ns[i], f, since, now);
    }
}

void stats_sum_door(struct stats_sum *to, const struct stats_door *d)
{
    for (unsigned i = 0; i < 2; i++) {
        to->bytes[i] += stats_get(&d->bytes[i]);
        for (unsigned w = 0; w < WAIT_KINDS; w++)
            to->wait_ns[i][w] += stats_get(&d->wait_ns[i][w]);
    }
}

static void never_back(uint64_t *value, uint64_t *shown) { *shown = *value = MAX(*value, *shown); }

void stats_sum_never_back(struct stats_sum *s, struct stats_sum *shown)
{
    for (unsigned f = 0; f < 2; f++) {
        never_back(&s->bytes[f], &shown->bytes[f]);
        for (unsigned w = 0; w < WAIT_KINDS; w++)
            never_back(&s->wait_ns[f][w], &shown->wait_ns[f][w]);
    }
}
