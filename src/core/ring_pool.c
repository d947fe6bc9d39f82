#include "src/core/ring_pool.h"

void ring_init_bare(struct ring *r, size_t cap) { *r = (struct ring){ .gate = UINT64_MAX, .total = RING_NO_TOTAL, .cap = cap }; }

static void move_memory(struct ring *to, struct ring *from)
{
    to->base = from->base;
    to->map = from->map;
    to->map_len = from->map_len;
    from->base = NULL;
    from->map = NULL;
    from->map_len = 0;
}

int ring_pool_lend(struct ring_pool *p, struct ring *r)
{
    struct ring fresh;
    if (r->base)
        return 0;
    if (p->n_idle > 0) {
        move_memory(r, &p->idle[--p->n_idle]);
    } else {
        int rc = ring_init(&fresh, p->cap, RING_PAGES_SMALL);
        if (rc < 0)
            return rc;
        move_memory(r, &fresh);
    }
    p->n_lent++;
    return 0;
}

void ring_pool_take(struct ring_pool *p, struct ring *r)
{
    struct ring spare;
    if (!r->base)
        return;
    p->n_lent--;
    if (p->n_idle < RING_POOL_KEEP) {
        move_memory(&p->idle[p->n_idle++], r);
        return;
    }
    ring_init_bare(&spare, r->cap);
    move_memory(&spare, r);
    ring_fini(&spare);
}

void ring_pool_fini(struct ring_pool *p)
{
    while (p->n_idle > 0)
        ring_fini(&p->idle[--p->n_idle]);
}
