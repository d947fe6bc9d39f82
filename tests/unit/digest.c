/* digest.h and stats.h */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "src/core/digest.h"
#include "src/core/secret.h"
#include "src/core/stats.h"
#include "tests/lib/unit.h"

/* ------------------------------------------------------------ digest */

static void fill(uint8_t *to, size_t n)
{
    uint32_t x = 1;
    for (size_t i = 0; i < n; i++, x = x * 1664525 + 1013904223)
        to[i] = (uint8_t)(x >> 24);
}

static const char *hex_of(const struct digest *d)
{
    static char hex[2 * DIGEST_SIZE + 1];
    uint8_t out[DIGEST_SIZE];
    digest_get(d, out);
    secret_hex(hex, out, sizeof(out));
    return hex;
}

/* The numbers are those of `xxhsum -H2`. */
static void test_known(void)
{
    struct digest *d = digest_new();
    CU_ASSERT_STRING_EQUAL(hex_of(d), "99aa06d3014798d86001c324468d497f");
    digest_add(d, "abc", 3);
    CU_ASSERT_STRING_EQUAL(hex_of(d), "06b05ab6733a618578af5f94892f3950");
    digest_add(d, NULL, 0);
    CU_ASSERT_STRING_EQUAL(hex_of(d), "06b05ab6733a618578af5f94892f3950");
    digest_free(d);
    digest_free(NULL);
}

/* However the bytes are cut, at whatever alignment, the digest is that of the whole; reading it in between changes nothing. */
static void test_pieces(void)
{
    enum { SIZE = 100000 };
    uint8_t *data = mem_zalloc(1, SIZE), whole[DIGEST_SIZE], pieces[DIGEST_SIZE];
    struct digest *a = digest_new(), *b = digest_new();
    fill(data, SIZE);
    digest_add(a, data, SIZE);
    digest_get(a, whole);
    for (size_t at = 0, n = 1; at < SIZE; at += n, n = n * 3 % 4099) {
        n = MIN(n, SIZE - at);
        digest_add(b, data + at, n);
        digest_get(b, pieces);
        CU_ASSERT_EQUAL(memcmp(whole, pieces, DIGEST_SIZE) == 0, at + n == SIZE);
    }
    digest_free(a);
    digest_free(b);
    free(data);
}

/* ------------------------------------------------------------ stats */

static void test_shared_page(void)
{
    int fd = -1;
    struct stats_page *worker = stats_create(&fd), *control = stats_map(fd, false), *again = stats_map(fd, true);
    CU_ASSERT_PTR_NOT_NULL_FATAL(worker);
    CU_ASSERT_PTR_NOT_NULL_FATAL(control);
    CU_ASSERT_PTR_NOT_NULL_FATAL(again);
    CU_ASSERT(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CU_ASSERT_EQUAL(stats_get(&control->turns), 0);
    stats_set(&worker->turns, 5);
    stats_add(&worker->turns, 2);
    stats_set(&again->ch[STATS_CHANNELS - 1].flow[1].wait_ns[WAIT_SINK], 9);
    CU_ASSERT_EQUAL(stats_get(&control->turns), 7);
    CU_ASSERT_EQUAL(stats_get(&control->ch[STATS_CHANNELS - 1].flow[1].wait_ns[WAIT_SINK]), 9);
    stats_unmap(again);
    stats_unmap(worker);
    CU_ASSERT_EQUAL(stats_get(&control->turns), 7);
    stats_unmap(control);
    close(fd);
}

static void test_sealed(void)
{
    int fd = -1;
    struct stats_page *p = stats_create(&fd);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    CU_ASSERT(ftruncate(fd, 0) < 0 && errno == EPERM);
    stats_unmap(p);
    close(fd);
}

static void test_private_page(void)
{
    struct stats_page *p = stats_create(NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    stats_add(&p->channels, 1);
    CU_ASSERT_EQUAL(stats_get(&p->channels), 1);
    stats_unmap(p);
    stats_unmap(NULL);
}

static void test_bad_descriptor(void)
{
    AUTO_FD int fd = memfd_create("small", MFD_CLOEXEC);
    CU_ASSERT(ftruncate(fd, 4096) == 0);
    CU_ASSERT_PTR_NULL(stats_map(fd, false));
    CU_ASSERT_EQUAL(errno, EINVAL);
    CU_ASSERT_PTR_NULL(stats_map(-1, false));
    CU_ASSERT_EQUAL(errno, EBADF);
}

UNIT_MAIN("digest", UNIT(test_known), UNIT(test_pieces), UNIT(test_shared_page), UNIT(test_sealed), UNIT(test_private_page),
          UNIT(test_bad_descriptor))
