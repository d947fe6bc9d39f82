#include "src/core/ring_pool.h"

#include <fcntl.h>

#define SPARE_DESCRIPTORS 32 /* that connections which live may need */
#define ASK_AGAIN_NS (5 * NS_PER_S)

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

/* ------------------------------------------------------------ pipes */

/* What a pipe may hold more than the ring in whose place it is. */
static uint64_t more(const struct ring_pool *p) { return RING_POOL_PIPE - MIN(p->cap, RING_POOL_PIPE); }

static bool fits(const struct ring_pool *p)
{
    return !p->board || board_reserved(p->board) + board_piped(p->board) + more(p) <= stats_get(&p->board->memory_limit);
}

static void count(struct ring_pool *p, uint64_t by)
{
    if (p->board)
        stats_set(&p->row->piped, stats_get(&p->row->piped) + by);
}

static void close_pipe(struct ring_pool *p, const int fd[2])
{
    close(fd[0]);
    close(fd[1]);
    count(p, -more(p));
}

static bool make_pipe(struct ring_pool *p, int fd[2])
{
    if (p->no_pipes_ns && now_ns() - p->no_pipes_ns < ASK_AGAIN_NS)
        return false;
    if (!fits(p)) {
        p->no_pipes_ns = now_ns();
        return false;
    }
    if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) < 0)
        return false;
    count(p, more(p));
    (void)fcntl(fd[0], F_SETPIPE_SZ, RING_POOL_PIPE);
    if (fcntl(fd[0], F_GETPIPE_SZ) >= RING_POOL_PIPE_MIN && fd[1] < fd_scarce_from(SPARE_DESCRIPTORS))
        return true;
    p->no_pipes_ns = now_ns();
    close_pipe(p, fd);
    return false;
}

static bool lend_pipe(struct ring_pool *p, struct ring *r)
{
    if (p->n_pipes > 0)
        memcpy(r->pipe, p->pipes[--p->n_pipes], sizeof(r->pipe));
    else if (!make_pipe(p, r->pipe))
        return false;
    r->piped = true;
    r->pipe_end = r->put;
    r->pipe_held = 0;
    return true;
}

static void take_pipe(struct ring_pool *p, struct ring *r)
{
    r->piped = false;
    if (r->pipe_held == 0 && p->n_pipes < RING_POOL_KEEP) {
        memcpy(p->pipes[p->n_pipes++], r->pipe, sizeof(r->pipe));
        return;
    }
    close_pipe(p, r->pipe);
}

/* ------------------------------------------------------------ both */

static int lend_memory(struct ring_pool *p, struct ring *r)
{
    struct ring fresh;
    if (p->n_idle > 0) {
        move_memory(r, &p->idle[--p->n_idle]);
    } else {
        int rc = ring_init(&fresh, p->cap, RING_PAGES_SMALL);
        if (rc < 0)
            return rc;
        move_memory(r, &fresh);
    }
    return 0;
}

int ring_pool_lend(struct ring_pool *p, struct ring *r, bool bulk)
{
    if (ring_has_place(r))
        return 0;
    int rc = bulk && lend_pipe(p, r) ? 0 : lend_memory(p, r);
    if (rc < 0)
        return rc;
    r->cap = r->piped ? RING_POOL_PIPE : p->cap;
    p->n_lent++;
    return 0;
}

void ring_pool_lend_pipe(struct ring_pool *p, struct ring *r) { p->n_lent += !r->piped && lend_pipe(p, r); }

void ring_pool_take_pipe(struct ring_pool *p, struct ring *r)
{
    if (!r->piped)
        return;
    p->n_lent--;
    take_pipe(p, r);
}

static void take_memory(struct ring_pool *p, struct ring *r)
{
    struct ring spare;
    if (p->n_idle < RING_POOL_KEEP) {
        move_memory(&p->idle[p->n_idle++], r);
        return;
    }
    ring_init_bare(&spare, r->cap);
    move_memory(&spare, r);
    ring_fini(&spare);
}

void ring_pool_take(struct ring_pool *p, struct ring *r)
{
    if (!ring_has_place(r))
        return;
    p->n_lent--;
    if (r->piped)
        take_pipe(p, r);
    else
        take_memory(p, r);
    r->cap = p->cap;
}

void ring_pool_fini(struct ring_pool *p)
{
    while (p->n_idle > 0)
        ring_fini(&p->idle[--p->n_idle]);
    while (p->n_pipes > 0)
        close_pipe(p, p->pipes[--p->n_pipes]);
}
