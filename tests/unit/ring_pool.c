/* Rings that borrow their memory. */
#include "src/core/ring_pool.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>

#include "tests/lib/unit.h"

#define CAP (256U << 10)
#define MANY (RING_POOL_KEEP + 3)

static unsigned mappings(void)
{
    char line[512];
    unsigned n = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof(line), f))
        n += strstr(line, "memfd:scistream-ring") != NULL;
    if (f)
        fclose(f);
    return n;
}

static void test_bare(void)
{
    struct ring_pool p = { .cap = CAP };
    struct ring r;
    ring_init_bare(&r, CAP);
    CU_ASSERT(!r.base && ring_room(&r) == CAP && ring_held(&r) == 0 && ring_waiting(&r) == 0 && !ring_ended(&r) && !ring_all_released(&r));
    CU_ASSERT(ring_end(&r, 0) == 0 && ring_ended(&r) && ring_all_submitted(&r) && ring_all_released(&r)); /* an empty flow needs no memory */
    ring_pool_take(&p, &r); /* it has none */
    CU_ASSERT(p.n_lent == 0 && p.n_idle == 0);
    ring_pool_fini(&p);
}

/* Both views are there, at whatever offset the counters are. */
static void use(struct ring *r, uint64_t at)
{
    r->put = r->sub = r->rel = at;
    memset(ring_at(r, at), 'x', CAP);
    ring_commit(r, CAP);
    CU_ASSERT(ring_waiting(r) == CAP && ring_room(r) == 0);
    for (size_t i = 0; i < CAP; i += 4096)
        CU_ASSERT_EQUAL(*ring_at(r, at + i), 'x');
    ring_submit(r, CAP);
    ring_release_to(r, r->sub);
}

static void test_lend(void)
{
    struct ring_pool p = { .cap = CAP };
    struct ring a, b;
    unsigned before = mappings();
    ring_init_bare(&a, CAP);
    ring_init_bare(&b, CAP);
    CU_ASSERT(ring_pool_lend(&p, &a) == 0 && a.base && p.n_lent == 1);
    const uint8_t *memory = a.base;
    CU_ASSERT(ring_pool_lend(&p, &a) == 0 && a.base == memory && p.n_lent == 1); /* it has some */
    use(&a, CAP - 100);
    ring_pool_take(&p, &a);
    CU_ASSERT(!a.base && !a.map && a.put == 2 * CAP - 100 && a.rel == a.put && p.n_lent == 0 && p.n_idle == 1); /* counters stay */
    CU_ASSERT(ring_pool_lend(&p, &b) == 0 && b.base == memory && p.n_idle == 0); /* what the cache still holds */
    use(&b, 7);
    CU_ASSERT(ring_pool_lend(&p, &a) == 0 && a.base != memory && p.n_lent == 2);
    use(&a, a.put);
    ring_pool_take(&p, &b);
    ring_pool_take(&p, &a);
    ring_pool_take(&p, &a);
    CU_ASSERT(p.n_lent == 0 && p.n_idle == 2);
    ring_pool_fini(&p);
    ring_pool_fini(&p);
    CU_ASSERT_EQUAL(mappings(), before);
}

static void test_keeps_few(void)
{
    struct ring_pool p = { .cap = CAP };
    struct ring r[MANY];
    unsigned before = mappings();
    for (unsigned i = 0; i < MANY; i++) {
        ring_init_bare(&r[i], CAP);
        CU_ASSERT_EQUAL_FATAL(ring_pool_lend(&p, &r[i]), 0);
    }
    CU_ASSERT(p.n_lent == MANY && mappings() == before + 2 * MANY);
    for (unsigned i = 0; i < MANY; i++)
        ring_pool_take(&p, &r[i]);
    CU_ASSERT(p.n_lent == 0 && p.n_idle == RING_POOL_KEEP && mappings() == before + 2 * RING_POOL_KEEP);
    for (unsigned i = 0; i < MANY; i++)
        CU_ASSERT_PTR_NULL(r[i].map);
    ring_pool_fini(&p);
    CU_ASSERT_EQUAL(mappings(), before);
}

/* No descriptor is left for the memfd: nothing changes, and later it works. */
static void test_no_memory(void)
{
    struct ring_pool p = { .cap = CAP };
    struct rlimit was, now;
    struct ring r;
    ring_init_bare(&r, CAP);
    int next = dup(STDERR_FILENO);
    close(next);
    CU_ASSERT_EQUAL(getrlimit(RLIMIT_NOFILE, &was), 0);
    now = (struct rlimit){ (rlim_t)next, was.rlim_max };
    setrlimit(RLIMIT_NOFILE, &now);
    int rc = ring_pool_lend(&p, &r);
    setrlimit(RLIMIT_NOFILE, &was);
    CU_ASSERT(rc == -EMFILE && !r.base && p.n_lent == 0);
    CU_ASSERT(ring_pool_lend(&p, &r) == 0 && p.n_lent == 1);
    ring_pool_take(&p, &r);
    ring_pool_fini(&p);
}

static void test_zeroed(void)
{
    struct ring_pool p = { 0 };
    struct ring r;
    ring_init_bare(&r, 0);
    CU_ASSERT(ring_pool_lend(&p, &r) == -EINVAL && p.n_lent == 0);
    ring_pool_fini(&p);
}

UNIT_MAIN("ring_pool", UNIT(test_bare), UNIT(test_lend), UNIT(test_keeps_few), UNIT(test_no_memory), UNIT(test_zeroed))
