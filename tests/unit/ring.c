#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "config.h"

#include "src/core/err.h"
#include "src/core/ring.h"
#include "tests/lib/unit.h"

#define CAP 4096

static struct ring r;
static int me, you; /* two owners: their addresses */

static void open_ring(void)
{
    CU_ASSERT_EQUAL_FATAL(ring_init(&r, CAP, RING_PAGES_AUTO), 0);
}

static int claim(uint64_t off, size_t len)
{
    return ring_claim(&r, off, len, &me);
}

static int fill(uint64_t off, size_t n)
{
    return ring_fill(&r, off, n, &me);
}

/* ------------------------------------------------------------ memory */

static void check_cap(size_t want, size_t cap)
{
    CU_ASSERT_EQUAL(ring_init(&r, want, RING_PAGES_AUTO), 0);
    CU_ASSERT_EQUAL(r.cap, cap);
    CU_ASSERT_EQUAL((uintptr_t)r.base % (2 << 20), 0);
    ring_fini(&r);
}

static void test_caps(void)
{
    check_cap(RING_CAP_MIN, 4096);
    check_cap(4097, 8192);
    check_cap((2 << 20) - 1, 2 << 20);
    check_cap((2 << 20) + 1, 4 << 20);
    CU_ASSERT_EQUAL(ring_init(&r, RING_CAP_MIN - 1, RING_PAGES_AUTO), -EINVAL);
    CU_ASSERT_EQUAL(ring_init(&r, RING_CAP_MAX + 1, RING_PAGES_AUTO), -EINVAL);
    CU_ASSERT_EQUAL(ring_init(&r, 0, RING_PAGES_AUTO), -EINVAL);
    ring_fini(&r);
    ring_fini(&r);
    memset(&r, 0, sizeof(r));
    ring_fini(&r);
}

#ifndef WITH_SANITIZER /* which needs 4 GiB and more of its own */
static void test_largest(void)
{
    check_cap(RING_CAP_MAX, RING_CAP_MAX);
}
#endif

static void test_no_descriptors(void)
{
    struct rlimit old, none;
    getrlimit(RLIMIT_NOFILE, &old);
    none = (struct rlimit){ 3, old.rlim_max };
    setrlimit(RLIMIT_NOFILE, &none);
    int rc = ring_init(&r, CAP, RING_PAGES_AUTO);
    setrlimit(RLIMIT_NOFILE, &old);
    CU_ASSERT_EQUAL(rc, -EMFILE);
    CU_ASSERT_PTR_NULL(r.map);
    ring_fini(&r);
}

/* n bytes to or from the ring by a system call, which sees both views alike. */
static void copy(bool in, uint64_t off, void *bytes, size_t n)
{
    struct iovec ring = { ring_at(&r, off), n }, mine = { bytes, n };
    int pipefd[2];
    CU_ASSERT_FATAL(n <= 65536 && pipe(pipefd) == 0);
    CU_ASSERT_EQUAL(writev(pipefd[1], in ? &mine : &ring, 1), (ssize_t)n);
    CU_ASSERT_EQUAL(readv(pipefd[0], in ? &ring : &mine, 1), (ssize_t)n);
    close(pipefd[0]);
    close(pipefd[1]);
}

static void test_two_views(void)
{
    char text[9] = "";
    open_ring();
    copy(true, CAP - 4, "abcdEFGH", 8);
    copy(false, 0, text, 4);
    CU_ASSERT_STRING_EQUAL(text, "EFGH");
    copy(false, 2 * CAP - 4, text, 8);
    CU_ASSERT_STRING_EQUAL(text, "abcdEFGH");
    CU_ASSERT_PTR_EQUAL(ring_at(&r, 3 * CAP + 5), r.base + 5);
    ring_fini(&r);
}

/* ------------------------------------------------------------ 2 MiB pages of the kernel's reserve */

#define MIB (1UL << 20)
#define RESERVE "/proc/sys/vm/nr_hugepages"
#define MANY_RINGS 4096

static long number_in(const char *path, const char *format)
{
    char line[200];
    long n = -1;
    FILE *f = fopen(path, "re");
    while (f && n < 0 && fgets(line, sizeof(line), f))
        if (sscanf(line, format, &n) != 1)
            n = -1;
    if (f)
        fclose(f);
    return n;
}

/* Of the mapping that begins at p [KiB]. */
static long page_size(const void *p)
{
    char line[512];
    long kib = -1;
    bool here = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    while (f && kib < 0 && fgets(line, sizeof(line), f)) {
        unsigned long from;
        if (sscanf(line, "%lx-", &from) == 1 && strchr(line, '-'))
            here = from == (uintptr_t)p;
        if (here && sscanf(line, "KernelPageSize: %ld", &kib) != 1)
            kib = -1;
    }
    if (f)
        fclose(f);
    return kib;
}

/* False: this user may not, or the kernel has no such pages to give. */
static bool set_reserve(long pages)
{
    FILE *f = pages >= 0 ? fopen(RESERVE, "we") : NULL;
    if (!f)
        return false;
    fprintf(f, "%ld\n", pages);
    return fclose(f) == 0 && number_in(RESERVE, "%ld") >= pages;
}

static void check_pages(size_t cap, enum ring_pages pages, bool huge)
{
    char text[9] = "";
    CU_ASSERT_EQUAL_FATAL(ring_init(&r, cap, pages), 0);
    CU_ASSERT_EQUAL(r.huge, huge);
    CU_ASSERT_EQUAL(page_size(r.base), huge ? 2048 : sysconf(_SC_PAGESIZE) / 1024);
    CU_ASSERT_EQUAL((uintptr_t)r.base % (2 * MIB), 0);
    copy(true, r.cap - 4, "abcdEFGH", 8);
    copy(false, 2 * r.cap - 4, text, 8);
    CU_ASSERT_STRING_EQUAL(text, "abcdEFGH");
    ring_fini(&r);
}

/* While one ring after the other takes what is left: refused where they are a must, else in small pages. */
static void check_none_left(void)
{
    AUTO_FREE struct ring *taken = mem_zalloc(MANY_RINGS, sizeof(*taken));
    unsigned n = 0;
    int rc = 0;
    while (n < MANY_RINGS && (rc = ring_init(&taken[n], 2 * MIB, RING_PAGES_HUGE)) == 0)
        n++;
    CU_ASSERT_EQUAL(rc, -ENOMEM);
    CU_ASSERT(n < MANY_RINGS && taken[n].map == NULL && taken[n].base == NULL);
    CU_ASSERT_EQUAL(ring_init(&r, 64 * MIB, RING_PAGES_HUGE), -ENOMEM);
    ring_fini(&r);
    check_pages(4 * MIB, RING_PAGES_AUTO, false);
    for (unsigned i = 0; i <= n && i < MANY_RINGS; i++)
        ring_fini(&taken[i]);
}

static void test_huge_pages(void)
{
    long before = number_in(RESERVE, "%ld");
    check_pages(4 * MIB, RING_PAGES_SMALL, false);
    check_pages(64 << 10, RING_PAGES_HUGE, false); /* too small for them, that is no reason to refuse it */
    check_none_left();
    if (before < 0 || !set_reserve(before + 16)) {
        printf("\n  the reserve of 2 MiB pages cannot be raised here: rings in them are not tried ");
    } else {
        check_pages(4 * MIB, RING_PAGES_HUGE, true);
        check_pages(2 * MIB - 1, RING_PAGES_AUTO, true);
        check_pages(5 * MIB, RING_PAGES_AUTO, true);
        check_pages(4 * MIB, RING_PAGES_SMALL, false);
        check_none_left();
        check_pages(4 * MIB, RING_PAGES_HUGE, true); /* what was taken is back */
    }
    if (before >= 0)
        set_reserve(before);
}

/* ------------------------------------------------------------ in order */

static void test_in_order(void)
{
    open_ring();
    CU_ASSERT(ring_room(&r) == CAP && ring_waiting(&r) == 0 && ring_held(&r) == 0 && !ring_ended(&r));
    ring_commit(&r, CAP);
    CU_ASSERT(ring_room(&r) == 0 && ring_waiting(&r) == CAP);
    ring_submit(&r, 1000);
    CU_ASSERT(ring_waiting(&r) == CAP - 1000 && ring_held(&r) == CAP && ring_room(&r) == 0);
    ring_release_to(&r, 600);
    CU_ASSERT(ring_room(&r) == 600 && ring_held(&r) == CAP - 600);
    CU_ASSERT_EQUAL(ring_end(&r, CAP), 0);
    CU_ASSERT(ring_ended(&r) && !ring_all_submitted(&r) && !ring_all_released(&r));
    ring_submit(&r, CAP - 1000);
    CU_ASSERT(ring_all_submitted(&r) && !ring_all_released(&r));
    ring_release_to(&r, CAP);
    CU_ASSERT_TRUE(ring_all_released(&r));
    ring_fini(&r);
}

/* ------------------------------------------------------------ claims */

static void test_order_of_arrival(void)
{
    open_ring();
    CU_ASSERT(claim(200, 100) == 0 && claim(0, 100) == 0 && claim(100, 100) == 0);
    CU_ASSERT(fill(200, 100) == 0 && r.put == 0);
    CU_ASSERT(fill(100, 50) == 0 && r.put == 0);
    CU_ASSERT(fill(0, 30) == 0 && r.put == 30);
    CU_ASSERT(fill(0, 70) == 0 && r.put == 150);
    CU_ASSERT(fill(100, 50) == 0 && r.put == 300);
    CU_ASSERT_EQUAL(r.n_ext, 0);
    ring_fini(&r);
}

static void test_claim_refused(void)
{
    open_ring();
    ring_commit(&r, 100);
    CU_ASSERT_EQUAL(claim(100, 0), -SST_EPROTO);             /* empty */
    CU_ASSERT_EQUAL(claim(99, 10), -SST_EPROTO);             /* below put */
    CU_ASSERT_EQUAL(claim(0, 10), -SST_EPROTO);
    CU_ASSERT_EQUAL(claim(100, CAP - 99), -SST_EPROTO);      /* beyond rel + cap */
    CU_ASSERT_EQUAL(claim(CAP, 1), -SST_EPROTO);
    CU_ASSERT_EQUAL(claim(UINT64_MAX, 1), -SST_EPROTO);      /* the sum overflows */
    CU_ASSERT_EQUAL(claim(101, SIZE_MAX), -SST_EPROTO);
    CU_ASSERT_EQUAL(claim(1ULL << 63, 1ULL << 62), -SST_EPROTO);
    CU_ASSERT_EQUAL(claim(200, 100), 0);
    CU_ASSERT_EQUAL(claim(200, 100), -SST_EPROTO);           /* overlaps in each way */
    CU_ASSERT_EQUAL(claim(150, 51), -SST_EPROTO);
    CU_ASSERT_EQUAL(claim(299, 1), -SST_EPROTO);
    CU_ASSERT_EQUAL(claim(299, 100), -SST_EPROTO);
    CU_ASSERT_EQUAL(claim(220, 10), -SST_EPROTO);
    CU_ASSERT_EQUAL(claim(150, 200), -SST_EPROTO);
    CU_ASSERT_EQUAL(claim(300, CAP - 300), 0);               /* touches, to the very end */
    CU_ASSERT_EQUAL(claim(100, 100), 0);
    CU_ASSERT_EQUAL(fill(200, 100), 0);
    CU_ASSERT_EQUAL(claim(200, 100), -SST_EPROTO);           /* what has arrived is taken too */
    CU_ASSERT(r.n_ext == 3 && r.put == 100);
    ring_fini(&r);
}

static void test_fill_refused(void)
{
    open_ring();
    CU_ASSERT_EQUAL(fill(0, 1), -EINVAL); /* nothing was claimed */
    CU_ASSERT_EQUAL(claim(0, 100), 0);
    CU_ASSERT_EQUAL(claim(100, 100), 0);
    CU_ASSERT_EQUAL(ring_fill(&r, 0, 10, &you), -EINVAL);
    CU_ASSERT_EQUAL(fill(1, 10), -EINVAL); /* not where a claim begins */
    CU_ASSERT_EQUAL(fill(0, 101), -EINVAL);
    CU_ASSERT_EQUAL(fill(0, SIZE_MAX), -EINVAL);
    CU_ASSERT_EQUAL(fill(0, 60), 0);
    CU_ASSERT_EQUAL(fill(0, 41), -EINVAL);
    CU_ASSERT_EQUAL(fill(100, 100), 0);
    CU_ASSERT_EQUAL(fill(100, 1), -EINVAL); /* whole, only waiting */
    CU_ASSERT_EQUAL(r.put, 60);
    CU_ASSERT_EQUAL(fill(0, 40), 0);
    CU_ASSERT_EQUAL(fill(0, 1), -EINVAL);
    CU_ASSERT_EQUAL(r.put, 200);
    ring_fini(&r);
}

static void test_unclaim(void)
{
    open_ring();
    CU_ASSERT(claim(0, 100) == 0 && claim(100, 100) == 0 && ring_claim(&r, 200, 100, &you) == 0 && claim(300, 100) == 0 &&
              claim(400, 100) == 0);
    CU_ASSERT(fill(0, 30) == 0 && fill(300, 100) == 0 && fill(400, 40) == 0 && r.put == 30);
    ring_unclaim(&r, &me);
    CU_ASSERT_EQUAL(r.n_ext, 3); /* nothing is kept of what put has passed */
    /* [30,200) is free, [200,300) is yours, [300,440) has arrived, [440,…) is free */
    CU_ASSERT_EQUAL(claim(30, 171), -SST_EPROTO);
    CU_ASSERT_EQUAL(claim(430, 20), -SST_EPROTO);
    CU_ASSERT_EQUAL(fill(0, 10), -EINVAL);
    CU_ASSERT_EQUAL(fill(400, 10), -EINVAL);
    CU_ASSERT(claim(30, 170) == 0 && claim(440, 60) == 0);
    CU_ASSERT(fill(30, 170) == 0 && r.put == 200);
    CU_ASSERT(ring_fill(&r, 200, 100, &you) == 0 && r.put == 440);
    CU_ASSERT(fill(440, 60) == 0 && r.put == 500 && r.n_ext == 0);
    ring_unclaim(&r, &me);
    ring_unclaim(&r, &you);
    CU_ASSERT_EQUAL(r.put, 500);
    ring_fini(&r);
}

static void test_most_extents(void)
{
    open_ring();
    for (uint64_t i = 0; i < RING_EXTENTS_MAX; i++)
        CU_ASSERT_EQUAL(claim(2 * i + 1, 1), 0);
    CU_ASSERT_EQUAL(claim(0, 1), -ENOSPC);
    CU_ASSERT_EQUAL(claim(1, 1), -SST_EPROTO); /* the peer's fault goes before our limit */
    CU_ASSERT_EQUAL(fill(1, 1), 0);
    CU_ASSERT_EQUAL(claim(0, 1), -ENOSPC); /* waiting ones count */
    ring_unclaim(&r, &me);
    CU_ASSERT(r.n_ext == 1 && claim(0, 1) == 0 && fill(0, 1) == 0 && r.put == 2 && r.n_ext == 0);
    ring_fini(&r);
}

static void test_end(void)
{
    open_ring();
    CU_ASSERT(claim(0, 100) == 0 && claim(200, 100) == 0 && fill(0, 100) == 0);
    CU_ASSERT_EQUAL(ring_end(&r, 299), -SST_EPROTO);          /* claimed beyond it */
    CU_ASSERT_EQUAL(ring_end(&r, RING_NO_TOTAL), -SST_EPROTO);
    CU_ASSERT_EQUAL(ring_end(&r, 300), 0);
    CU_ASSERT_EQUAL(ring_end(&r, 300), 0);                    /* said again */
    CU_ASSERT_EQUAL(ring_end(&r, 301), -SST_EPROTO);          /* said otherwise */
    CU_ASSERT_EQUAL(claim(300, 1), -SST_EPROTO);              /* after the end */
    CU_ASSERT_EQUAL(claim(150, 151), -SST_EPROTO);
    CU_ASSERT(fill(200, 100) == 0 && !ring_ended(&r));        /* the hole is open yet */
    CU_ASSERT(claim(100, 100) == 0 && fill(100, 100) == 0 && ring_ended(&r));
    ring_fini(&r);
    open_ring();
    ring_commit(&r, 5);
    CU_ASSERT_EQUAL(ring_end(&r, 4), -SST_EPROTO);            /* arrived beyond it */
    ring_fini(&r);
    open_ring();
    CU_ASSERT(ring_end(&r, 0) == 0 && ring_ended(&r) && ring_all_submitted(&r) && ring_all_released(&r));
    CU_ASSERT_EQUAL(claim(0, 1), -SST_EPROTO);
    ring_fini(&r);
}

/* ------------------------------------------------------------ random operations against a model
 *
 * The model has one byte of state for each offset of the stream and a list of open claims; the content of a stream is a function of
 * the offset. Everything a ring answers or says about itself must follow from the model.
 */
#define STREAM 60000
#define OWNERS 3

enum { FREE, CLAIMED, ARRIVED };
struct open_claim { uint64_t start, done, end; unsigned owner; };

static struct {
    uint8_t state[STREAM + 1];
    struct open_claim open[RING_EXTENTS_MAX];
    unsigned n_open;
    uint64_t put, sub, rel, total;
    uint64_t seed;
    unsigned long ops[8], refused;
} m;

static int owner_marks[OWNERS];

static uint64_t below(uint64_t n)
{
    m.seed ^= m.seed << 13;
    m.seed ^= m.seed >> 7;
    m.seed ^= m.seed << 17;
    return n ? m.seed % n : 0;
}

static uint8_t content(uint64_t off)
{
    return (uint8_t)((off * 2654435761u) >> 13);
}

static void model_advance(void)
{
    while (m.put < STREAM && m.state[m.put] == ARRIVED)
        m.put++;
}

static int model_claim(uint64_t off, size_t len)
{
    if (len == 0 || off < m.put || off + len > m.rel + r.cap || off + len > m.total)
        return -SST_EPROTO;
    for (uint64_t i = off; i < off + len; i++)
        if (m.state[i] != FREE)
            return -SST_EPROTO;
    return 0;
}

static void op_claim(void)
{
    uint64_t off = m.put + below(r.cap + 50), len = below(4) ? below(300) : below(r.cap);
    unsigned owner = (unsigned)below(OWNERS);
    off = below(20) ? off : below(STREAM);
    if (off + len > STREAM || m.n_open == RING_EXTENTS_MAX)
        return;
    int expect = model_claim(off, len);
    CU_ASSERT_EQUAL(ring_claim(&r, off, len, &owner_marks[owner]), expect);
    m.refused += expect < 0;
    if (expect < 0)
        return;
    memset(m.state + off, CLAIMED, len);
    m.open[m.n_open++] = (struct open_claim){ off, off, off + len, owner };
}

/* The bytes arrive: through the kernel, as recv would bring them. */
static void deliver(uint64_t off, size_t n)
{
    uint8_t bytes[3 * CAP];
    for (size_t i = 0; i < n; i++)
        bytes[i] = content(off + i);
    if (n)
        copy(true, off, bytes, n);
    memset(m.state + off, ARRIVED, n);
}

static void op_fill(void)
{
    if (m.n_open == 0)
        return;
    unsigned i = (unsigned)below(m.n_open);
    struct open_claim *c = &m.open[i];
    size_t missing = c->end - c->done, n = below(3) ? missing : below(missing + 1);
    const int *mark = &owner_marks[c->owner], *other = &owner_marks[(c->owner + 1) % OWNERS];
    CU_ASSERT_EQUAL(ring_fill(&r, c->start, missing + 1, mark), -EINVAL);
    CU_ASSERT_EQUAL(ring_fill(&r, c->start, n, other), -EINVAL);
    deliver(c->done, n);
    CU_ASSERT_EQUAL(ring_fill(&r, c->start, n, mark), 0);
    c->done += n;
    if (c->done == c->end)
        *c = m.open[--m.n_open];
    model_advance();
}

static void op_commit(void)
{
    uint64_t room = MIN(m.rel + r.cap - m.put, m.total - m.put);
    if (r.n_ext > 0)
        return;
    size_t n = below(room + 1);
    deliver(m.put, n);
    ring_commit(&r, n);
    model_advance();
}

static void op_unclaim(void)
{
    unsigned owner = (unsigned)below(OWNERS), kept = 0;
    if (below(4))
        return;
    ring_unclaim(&r, &owner_marks[owner]);
    for (unsigned i = 0; i < m.n_open; i++) {
        if (m.open[i].owner != owner)
            m.open[kept++] = m.open[i];
        else
            memset(m.state + m.open[i].done, FREE, m.open[i].end - m.open[i].done);
    }
    m.n_open = kept;
}

static void op_submit(void)
{
    uint8_t bytes[3 * CAP];
    size_t n = below(ring_waiting(&r) + 1), wrong = 0;
    if (n)
        copy(false, m.sub, bytes, n);
    for (size_t i = 0; i < n; i++)
        wrong += bytes[i] != content(m.sub + i);
    CU_ASSERT_EQUAL(wrong, 0);
    ring_submit(&r, n);
    m.sub += n;
}

static void op_release(void)
{
    m.rel += below(m.sub - m.rel + 1);
    ring_release_to(&r, m.rel);
}

static void op_end(void)
{
    uint64_t reached = m.put, total = m.put + below(2 * r.cap);
    if (below(40))
        return;
    for (uint64_t i = m.put; i < MIN(m.put + r.cap, (uint64_t)STREAM); i++)
        reached = m.state[i] == FREE ? reached : i + 1;
    total = MIN(total, (uint64_t)STREAM);
    bool fine = total >= reached && (r.total == RING_NO_TOTAL || r.total == total);
    CU_ASSERT_EQUAL(ring_end(&r, total), fine ? 0 : -SST_EPROTO);
    m.total = fine ? total : m.total;
}

static void check_counters(void)
{
    CU_ASSERT(r.put == m.put && r.sub == m.sub && r.rel == m.rel);
    CU_ASSERT(r.rel <= r.sub && r.sub <= r.put && r.put <= r.rel + r.cap);
    CU_ASSERT(ring_room(&r) == r.cap - (m.put - m.rel) && ring_held(&r) == m.put - m.rel);
    CU_ASSERT(r.n_ext >= m.n_open);
}

static void random_run(uint64_t seed, size_t cap)
{
    static void (*const ops[])(void) = { op_claim,   op_claim,  op_fill,    op_fill, op_commit,
                                         op_unclaim, op_submit, op_release, op_end };
    memset(&m, 0, sizeof(m));
    m.seed = seed;
    m.total = STREAM;
    CU_ASSERT_EQUAL_FATAL(ring_init(&r, cap, RING_PAGES_AUTO), 0);
    for (int i = 0; i < 3000 && m.rel < m.total; i++) {
        /* the last operation says the end: not in the first half of the stream */
        ops[below(ARRAY_LEN(ops) - (m.put < STREAM / 2))]();
        check_counters();
    }
    ring_fini(&r);
}

static void test_random(void)
{
    unsigned long refused = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        random_run(seed * 0x9e3779b97f4a7c15ULL, seed % 2 ? CAP : 3 * CAP);
        refused += m.refused;
    }
    CU_ASSERT(refused > 1000);
}

/* What an adapter gets for the pages grows with them, and not with what a peer makes up. */
static void test_pin_time(void)
{
    CU_ASSERT_EQUAL(ring_pin_ns(0), 0);
    CU_ASSERT_EQUAL(ring_pin_ns(4 << 20), 0);
    CU_ASSERT_EQUAL(ring_pin_ns(1 << 30), 16 * NS_PER_S);
    CU_ASSERT_EQUAL(ring_pin_ns(RING_CAP_MAX), 64 * NS_PER_S);
    CU_ASSERT_EQUAL(ring_pin_ns(UINT64_MAX), 64 * NS_PER_S);
}

UNIT_MAIN("ring", UNIT(test_caps), UNIT(test_pin_time),
#ifndef WITH_SANITIZER
          UNIT(test_largest),
#endif
          UNIT(test_no_descriptors), UNIT(test_two_views), UNIT(test_huge_pages), UNIT(test_in_order), UNIT(test_order_of_arrival),
          UNIT(test_claim_refused), UNIT(test_fill_refused), UNIT(test_unclaim), UNIT(test_most_extents), UNIT(test_end),
          UNIT(test_random))
