#include "src/core/timer.h"

static void place(struct timer_heap *h, size_t i, struct timer *t)
{
    h->t[i] = t;
    t->place = i + 1;
}

static void sift_up(struct timer_heap *h, size_t i, struct timer *t)
{
    while (i > 0 && t->due_ns < h->t[(i - 1) / 2]->due_ns) {
        place(h, i, h->t[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(h, i, t);
}

static void sift_down(struct timer_heap *h, size_t i, struct timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < h->n && h->t[child + 1]->due_ns < h->t[child]->due_ns)
            child++;
        if (child >= h->n || t->due_ns <= h->t[child]->due_ns)
            break;
        place(h, i, h->t[child]);
        i = child;
    }
    place(h, i, t);
}

static void reseat(struct timer_heap *h, size_t i, struct timer *t)
{
    if (i > 0 && t->due_ns < h->t[(i - 1) / 2]->due_ns)
        sift_up(h, i, t);
    else
        sift_down(h, i, t);
}

void timer_heap_set(struct timer_heap *h, struct timer *t, uint64_t due_ns)
{
    t->due_ns = MAX(due_ns, h->floor_ns);
    if (timer_pending(t)) {
        reseat(h, t->place - 1, t);
        return;
    }
    if (h->n == h->room) {
        struct timer **grown = mem_zalloc(h->room ? 2 * h->room : 16, sizeof(*grown));
        if (h->n)
            memcpy(grown, h->t, h->n * sizeof(*grown));
        free(h->t);
        h->t = grown;
        h->room = h->room ? 2 * h->room : 16;
    }
    sift_up(h, h->n++, t);
}

void timer_heap_stop(struct timer_heap *h, struct timer *t)
{
    if (!timer_pending(t))
        return;
    size_t i = t->place - 1;
    struct timer *last = h->t[--h->n];
    t->place = 0;
    if (last != t)
        reseat(h, i, last);
}

unsigned timer_heap_run(struct timer_heap *h, uint64_t now)
{
    unsigned fired = 0;
    h->floor_ns = now < UINT64_MAX ? now + 1 : now; /* a timer that sets itself to "now" waits for the next run */
    for (size_t most = h->n; most > 0 && h->n > 0 && h->t[0]->due_ns <= now; most--) {
        struct timer *t = h->t[0];
        timer_heap_stop(h, t);
        t->fire(t);
        fired++;
    }
    h->floor_ns = 0;
    return fired;
}

uint64_t timer_heap_next(const struct timer_heap *h)
{
    return h->n ? h->t[0]->due_ns : UINT64_MAX;
}

void timer_heap_fini(struct timer_heap *h)
{
    for (size_t i = 0; i < h->n; i++)
        h->t[i]->place = 0;
    free(h->t);
    *h = (struct timer_heap){ 0 };
}
