#include "ctrl/h2_guard.h"

#define TOKEN 1000U /* milli-tokens, so that a millisecond refills rate of them */

enum { FRAME_DATA, FRAME_HEADERS, FRAME_PRIORITY, FRAME_RST_STREAM, FRAME_SETTINGS, FRAME_PUSH_PROMISE, FRAME_PING, FRAME_GOAWAY };
enum { FLAG_ACK = 0x1, FLAG_END_STREAM = 0x1, FLAG_PADDED = 0x8 };

static const struct { uint64_t rate, most; } limits[] = {
#define X(kind, rate, most, name) { rate, most },
    H2_GUARD_KINDS(X)
#undef X
};

enum h2_guard_kind h2_guard_classify(uint8_t type, uint8_t flags, size_t len)
{
    switch (type) {
    case FRAME_DATA: {
        size_t least = flags & FLAG_PADDED ? 256 : 0; /* may be all padding */
        return len <= least && !(flags & FLAG_END_STREAM) ? H2_GUARD_JUNK : H2_GUARD_NONE;
    }
    case FRAME_HEADERS:
        return H2_GUARD_NONE; /* streams are limited otherwise */
    case FRAME_RST_STREAM:
        return H2_GUARD_RESET;
    case FRAME_SETTINGS:
        return flags & FLAG_ACK ? H2_GUARD_NONE : H2_GUARD_SETTINGS;
    case FRAME_PING:
        return flags & FLAG_ACK ? H2_GUARD_JUNK : H2_GUARD_PING;
    default: /* PRIORITY, WINDOW_UPDATE, CONTINUATION, unknown ones */
        return H2_GUARD_JUNK;
    }
}

static void refill(struct h2_guard *g, uint64_t now)
{
    uint64_t ms = (now - g->at_ns) / NS_PER_MS;
    if (ms == 0)
        return;
    for (unsigned k = 0; k < H2_GUARD_NONE; k++)
        g->level[k] -= MIN(g->level[k], MIN(ms, 1000000U) * limits[k].rate);
    g->at_ns += ms * NS_PER_MS;
}

bool h2_guard_take(struct h2_guard *g, enum h2_guard_kind k, uint64_t now)
{
    if (k == H2_GUARD_NONE)
        return true;
    refill(g, now);
    if (g->owed[k] > 0) {
        g->owed[k]--;
        return true;
    }
    if (g->level[k] + TOKEN > limits[k].most * TOKEN)
        return false;
    g->level[k] += TOKEN;
    return true;
}

void h2_guard_credit(struct h2_guard *g, enum h2_guard_kind k, unsigned n)
{
    g->owed[k] = MIN(g->owed[k] + n, H2_GUARD_OWED_S * limits[k].rate);
}

const char *h2_guard_name(enum h2_guard_kind k)
{
    static const char *const names[] = {
#define X(kind, rate, most, name) name,
        H2_GUARD_KINDS(X)
#undef X
    };
    return k < H2_GUARD_NONE ? names[k] : "no";
}
