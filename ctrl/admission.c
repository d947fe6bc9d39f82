#include "ctrl/admission.h"

#include <stdio.h>
#include <sys/resource.h>

#include "src/core/err.h"
#include "src/core/stats.h"
#include "src/core/units.h"

uint64_t admission_limit(const struct conf *c)
{
    uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    return c->g.memory_limit ? c->g.memory_limit : ram / 4;
}

void admission_init(struct admission *a, const struct conf *c, struct board *board)
{
    *a = (struct admission){ .board = board };
    admission_set_limit(a, c);
}

void admission_set_limit(struct admission *a, const struct conf *c)
{
    a->limit = admission_limit(c);
    stats_set(&a->board->memory_limit, a->limit);
}

static void set_used(struct admission *a, uint64_t used)
{
    a->used = used;
    stats_set(&a->board->control.reserved, used + a->kept);
}

void admission_keep(struct admission *a, uint64_t bytes)
{
    a->kept = bytes;
    set_used(a, a->used);
}

int admission_take(struct admission *a, uint64_t bytes, char *why, size_t why_size)
{
    int rc = admission_fits(a, bytes, why, why_size);
    if (rc == 0)
        set_used(a, a->used + bytes);
    return rc;
}

int admission_fits(const struct admission *a, uint64_t bytes, char *why, size_t why_size)
{
    char want[UNITS_TEXT], used[UNITS_TEXT], limit[UNITS_TEXT];
    uint64_t all = board_reserved(a->board);
    if (bytes <= a->limit && all <= a->limit - bytes)
        return 0;
    snprintf(why, why_size, "a ring of %s does not fit: %s of memory_limit %s are in use; wait, raise memory_limit or lower window",
             units_human_size(want, bytes), units_human_size(used, all), units_human_size(limit, a->limit));
    return -SST_ELIMIT;
}

void admission_give(struct admission *a, uint64_t bytes) { set_used(a, a->used - MIN(bytes, a->used)); }

/* Only InfiniBand ports ("mlx5_0:1") register memory; over plain network interfaces UCX does not. */
static bool registers_memory(const struct conf *c)
{
    for (char *const *d = c->ucx.devices; *d; d++)
        if (strchr(*d, ':'))
            return true;
    return false;
}

/* No stream would ever be taken: better told at the start than to each of them. */
static int check_memory(const struct conf *c, char *why, size_t why_size)
{
    char limit[UNITS_TEXT], ring[UNITS_TEXT];
    for (size_t i = 0; i < c->n_routes; i++)
        if (c->routes[i]->window > admission_limit(c)) {
            snprintf(why, why_size, "memory_limit %s%s is smaller than one ring of route %s (%s): raise it or lower window",
                     units_size(limit, admission_limit(c)), c->g.memory_limit ? "" : " (a quarter of this machine's)", c->routes[i]->name,
                     units_size(ring, c->routes[i]->window));
            return -SST_ECONF;
        }
    return 0;
}

/* How often the ring of a channel is registered, and so counted: once by ucx, by verbs at each of its ends (a protection domain each). */
static unsigned times_locked(const struct conf *c, const struct conf_route *r)
{
    bool ucx = registers_memory(c) && (strv_has(r->accept, "ucx") || strv_has(r->deliver, "ucx") || strv_has(r->connect_transports, "ucx"));
    bool source = *c->rdma.listen && strv_has(r->accept, "verbs");
    bool sink = *r->connect ? strv_has(r->connect_transports, "verbs") : *c->rdma.listen && strv_has(r->deliver, "verbs");
    return MAX((unsigned)source + (unsigned)sink, (unsigned)ucx);
}

static int check_locked(const struct conf *c, char *why, size_t why_size)
{
    struct rlimit lock;
    char ring[UNITS_TEXT], have[UNITS_TEXT];
    if ((geteuid() == 0 && str_eq(c->g.user, "root")) || getrlimit(RLIMIT_MEMLOCK, &lock) < 0 || lock.rlim_cur == RLIM_INFINITY)
        return 0;
    for (size_t i = 0; i < c->n_routes; i++) {
        const struct conf_route *r = c->routes[i];
        unsigned times = times_locked(c, r);
        uint64_t rings = (uint64_t)conf_route_channels(r) * (conf_route_has_tcp(r) ? 2 : 1), need = times * r->window * rings;
        if (need <= lock.rlim_cur)
            continue;
        snprintf(why, why_size,
                 "route %s: %llu rings of %s%s need %llu bytes of locked memory, RLIMIT_MEMLOCK is %s: raise LimitMEMLOCK in the unit "
                 "(ulimit -l), or lower window or channels",
                 r->name, (unsigned long long)rings, units_size(ring, r->window), times > 1 ? ", counted at both ends," : "",
                 (unsigned long long)need, units_size(have, lock.rlim_cur));
        return -SST_ECONF;
    }
    return 0;
}

int admission_check_limits(const struct conf *c, char *why, size_t why_size)
{
    int rc = check_memory(c, why, why_size);
    return rc == 0 ? check_locked(c, why, why_size) : rc;
}
