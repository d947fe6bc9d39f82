#include "tests/lib/rig.h"

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>

#include "config.h"

#define TURNS_MAX 3000000U
#define HEAP_SLACK (64U << 10) /* of the allocator's caches, which count as used */
#define DEADLINE_NS (60 * NS_PER_S)

void rig_open(struct rig *r)
{
    *r = (struct rig){ .conf = conf_new() };
    if (loop_init(&r->loop) < 0)
        abort();
    for (unsigned i = 0; i < ARRAY_LEN(r->env); i++) {
        xport_env_init(&r->env[i], &r->loop, r->conf);
        r->env[i].offload = offload_new(&r->loop);
        r->env[i].stats = stats_create(NULL);
        r->env[i].index = i;
    }
}

void rig_close(struct rig *r)
{
    for (unsigned i = 0; i < ARRAY_LEN(r->env); i++) {
        offload_free(r->env[i].offload);
        stats_unmap(r->env[i].stats);
        fd_close(&r->env[i].link_fd);
        xport_env_fini(&r->env[i]);
    }
    loop_fini(&r->loop);
    conf_free(r->conf);
}

static bool sleeps_for_ever(const struct loop *l)
{
    return list_empty(&l->active) && list_empty(&l->deferred) && timer_heap_next(&l->timers) == UINT64_MAX;
}

bool rig_until(struct rig *r, bool (*done)(void *), void *arg)
{
    uint64_t until = now_ns() + DEADLINE_NS;
    for (unsigned turns = 0; !done(arg); turns++) {
        if (r->closed ? sleeps_for_ever(&r->loop) || turns == TURNS_MAX : now_ns() > until)
            return false;
        loop_turn(&r->loop, 20 * NS_PER_MS);
    }
    return true;
}

static void on_time(struct timer *t) { t->fire = NULL; }

void rig_wait(struct rig *r, uint64_t ns)
{
    struct timer t = { .fire = on_time };
    loop_timer(&r->loop, &t, ns);
    while (t.fire)
        loop_turn(&r->loop, ns);
}

/* ------------------------------------------------------------ what is in use */

static unsigned count_fds(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

/* Rings and other shared memory of our own; a sanitizer's and the allocator's are none of ours. */
static unsigned count_maps(void)
{
    char line[512];
    unsigned n = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof(line), f))
        n += strstr(line, "memfd:scistream") != NULL;
    if (f)
        fclose(f);
    return n;
}

struct footprint footprint(void)
{
    struct footprint now = { .fds = count_fds(), .maps = count_maps() };
#ifndef WITH_SANITIZER /* which has its own count */
    now.heap = mallinfo2().uordblks;
#endif
    return now;
}

bool footprint_same(const struct footprint *before)
{
    struct footprint now = footprint();
    bool same = now.fds == before->fds && now.maps == before->maps && now.heap < before->heap + HEAP_SLACK;
    if (!same)
        printf("\n  before: %u descriptors, %u mappings, %zu bytes; now: %u, %u, %zu\n", before->fds, before->maps, before->heap, now.fds,
               now.maps, now.heap);
    return same;
}
