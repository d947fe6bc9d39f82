/* Rings that borrow their memory. */
#include "src/core/ring_pool.h"

#include <errno.h>
#include <fcntl.h>
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
    CU_ASSERT(ring_pool_lend(&p, &a, false) == 0 && a.base && p.n_lent == 1);
    const uint8_t *memory = a.base;
    CU_ASSERT(ring_pool_lend(&p, &a, false) == 0 && a.base == memory && p.n_lent == 1); /* it has some */
    use(&a, CAP - 100);
    ring_pool_take(&p, &a);
    CU_ASSERT(!a.base && !a.map && a.put == 2 * CAP - 100 && a.rel == a.put && p.n_lent == 0 && p.n_idle == 1); /* counters stay */
    CU_ASSERT(ring_pool_lend(&p, &b, false) == 0 && b.base == memory && p.n_idle == 0); /* what the cache still holds */
    use(&b, 7);
    CU_ASSERT(ring_pool_lend(&p, &a, false) == 0 && a.base != memory && p.n_lent == 2);
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
        CU_ASSERT_EQUAL_FATAL(ring_pool_lend(&p, &r[i], false), 0);
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
    int rc = ring_pool_lend(&p, &r, false);
    setrlimit(RLIMIT_NOFILE, &was);
    CU_ASSERT(rc == -EMFILE && !r.base && p.n_lent == 0);
    CU_ASSERT(ring_pool_lend(&p, &r, false) == 0 && p.n_lent == 1);
    ring_pool_take(&p, &r);
    ring_pool_fini(&p);
}

static void test_zeroed(void)
{
    struct ring_pool p = { 0 };
    struct ring r;
    ring_init_bare(&r, 0);
    CU_ASSERT(ring_pool_lend(&p, &r, false) == -EINVAL && p.n_lent == 0);
    ring_pool_fini(&p);
}

/* ------------------------------------------------------------ pipes */

static unsigned descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* False: this machine gives none of a useful size. */
static bool lend_pipe(struct ring_pool *p, struct ring *r)
{
    ring_init_bare(r, CAP);
    CU_ASSERT_EQUAL_FATAL(ring_pool_lend(p, r, true), 0);
    CU_ASSERT_EQUAL(r->piped, !p->no_pipes_ns);
    return r->piped;
}

static void test_pipe(void)
{
    struct ring_pool p = { .cap = CAP };
    struct ring a, b;
    unsigned before = descriptors();
    if (!lend_pipe(&p, &a)) {
        printf("no pipes of that size here ");
        CU_ASSERT(a.base && p.n_lent == 1); /* memory, then */
        ring_pool_take(&p, &a);
        ring_pool_fini(&p);
        return;
    }
    CU_ASSERT(!a.base && ring_has_place(&a) && ring_room(&a) == RING_POOL_PIPE && p.n_lent == 1);
    CU_ASSERT(ring_pool_lend(&p, &a, false) == 0 && a.piped && p.n_lent == 1); /* it has a place */
    int fd = a.pipe[1];
    CU_ASSERT_EQUAL(write(fd, "abc", 3), 3);
    ring_commit(&a, 3);
    ring_piped_in(&a, 3);
    ring_init_bare(&b, CAP);
    CU_ASSERT(ring_pool_lend(&p, &b, true) == 0 && b.piped && b.pipe[1] != fd);
    ring_pool_take(&p, &b);
    CU_ASSERT(!ring_has_place(&b) && ring_room(&b) == CAP && p.n_pipes == 1);
    ring_pool_take(&p, &a); /* with bytes in it: nobody else may get those */
    CU_ASSERT(p.n_pipes == 1 && p.n_lent == 0 && fcntl(fd, F_GETFD) < 0);
    CU_ASSERT(ring_pool_lend(&p, &b, false) == 0 && b.base && !b.piped && p.n_pipes == 1);
    ring_pool_take(&p, &b);
    ring_pool_fini(&p);
    CU_ASSERT_EQUAL(descriptors(), before);
}

static void test_keeps_few_pipes(void)
{
    struct ring_pool p = { .cap = CAP };
    struct ring r[MANY];
    unsigned before = descriptors(), n = 0;
    while (n < MANY && lend_pipe(&p, &r[n]))
        n++;
    for (unsigned i = 0; i < n; i++)
        ring_pool_take(&p, &r[i]);
    if (n < MANY)
        ring_pool_take(&p, &r[n]);
    CU_ASSERT(p.n_lent == 0 && p.n_pipes == MIN(n, RING_POOL_KEEP) && descriptors() == before + 2 * p.n_pipes);
    ring_pool_fini(&p);
    CU_ASSERT_EQUAL(descriptors(), before);
}

/* Descriptors are scarce: connections need them, and the bytes go through memory. It is asked again after a while, not each time. */
static void test_no_pipes_while_scarce(void)
{
    struct ring_pool p = { .cap = CAP };
    struct rlimit was, now;
    struct ring r;
    int held[64], n = 0;
    do
        held[n] = dup(STDERR_FILENO);
    while (held[n++] < 40);
    unsigned before = descriptors();
    ring_init_bare(&r, CAP);
    CU_ASSERT_EQUAL(getrlimit(RLIMIT_NOFILE, &was), 0);
    now = (struct rlimit){ 64, was.rlim_max };
    setrlimit(RLIMIT_NOFILE, &now);
    CU_ASSERT(ring_pool_lend(&p, &r, true) == 0 && r.base && !r.piped && p.no_pipes_ns > 0 && descriptors() == before);
    setrlimit(RLIMIT_NOFILE, &was);
    ring_pool_take(&p, &r);
    uint64_t refused = p.no_pipes_ns;
    CU_ASSERT(ring_pool_lend(&p, &r, true) == 0 && !r.piped && p.no_pipes_ns == refused);
    ring_pool_take(&p, &r);
    p.no_pipes_ns = 0;
    if (lend_pipe(&p, &r)) {
        ring_pool_take(&p, &r);
        setrlimit(RLIMIT_NOFILE, &now); /* one that is there may be used: it takes none from anybody */
        CU_ASSERT(lend_pipe(&p, &r) && p.n_pipes == 0);
        setrlimit(RLIMIT_NOFILE, &was);
    }
    ring_pool_take(&p, &r);
    ring_pool_fini(&p);
    CU_ASSERT_EQUAL(descriptors(), before);
    while (n > 0)
        close(held[--n]);
}

/* Pipes count with what they may hold beyond the ring in whose place they are, as long as they exist, and only as many are made as fit. */
static void test_pipes_and_memory_limit(void)
{
    struct board *b = board_create(NULL);
    const uint64_t more = RING_POOL_PIPE - CAP;
    struct ring_pool p = { .cap = CAP, .board = b, .row = &b->row[1] };
    struct ring r[2];
    stats_set(&b->workers, 2);
    stats_set(&b->memory_limit, 2 * CAP + 100 + more);
    stats_set(&b->row[0].reserved, 2 * CAP);
    stats_set(&b->row[0].piped, 101);
    ring_init_bare(&r[0], CAP);
    CU_ASSERT(ring_pool_lend(&p, &r[0], true) == 0 && !r[0].piped && p.no_pipes_ns && stats_get(&p.row->piped) == 0);
    ring_pool_take(&p, &r[0]);
    p.no_pipes_ns = 0;
    stats_set(&b->row[0].piped, 100);
    if (lend_pipe(&p, &r[0])) {
        CU_ASSERT(stats_get(&p.row->piped) == more && board_piped(b) == more + 100);
        CU_ASSERT(!lend_pipe(&p, &r[1]) && stats_get(&p.row->piped) == more);
        ring_pool_take(&p, &r[1]);
        ring_pool_take(&p, &r[0]);
        CU_ASSERT(p.n_pipes == 1 && stats_get(&p.row->piped) == more); /* kept */
        p.no_pipes_ns = 0;
        CU_ASSERT(lend_pipe(&p, &r[0]) && stats_get(&p.row->piped) == more); /* and used again */
        ring_commit(&r[0], 1);
        ring_piped_in(&r[0], 1);
    } else {
        printf("no pipes of that size here ");
    }
    ring_pool_take(&p, &r[0]); /* with a byte in it: closed */
    ring_pool_fini(&p);
    CU_ASSERT_EQUAL(stats_get(&p.row->piped), 0);
    board_unmap(b);
}

UNIT_MAIN("ring_pool", UNIT(test_bare), UNIT(test_lend), UNIT(test_keeps_few), UNIT(test_no_memory), UNIT(test_zeroed), UNIT(test_pipe),
          UNIT(test_keeps_few_pipes), UNIT(test_no_pipes_while_scarce), UNIT(test_pipes_and_memory_limit))
