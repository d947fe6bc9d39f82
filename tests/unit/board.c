/* The board, and the shared memory below it. */
#include "src/core/board.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "src/core/memfile.h"
#include "src/core/stats.h"
#include "tests/lib/unit.h"

/* ------------------------------------------------------------ memory */

static void test_shared(void)
{
    int fd = -1;
    uint64_t *a = memfile_create("scistream-test", 10000, &fd);
    CU_ASSERT_FATAL(a != NULL && fd >= 0);
    CU_ASSERT(fcntl(fd, F_GETFD) & FD_CLOEXEC && a[0] == 0 && a[1249] == 0);
    uint64_t *b = memfile_map(fd, 10000, true);
    const uint64_t *c = memfile_map(fd, 10000, false);
    CU_ASSERT_FATAL(b != NULL && c != NULL);
    a[5] = 77;
    b[6] = 78;
    CU_ASSERT(b != a && b[5] == 77 && c[5] == 77 && a[6] == 78 && c[6] == 78);
    CU_ASSERT(ftruncate(fd, 0) < 0 && errno == EPERM); /* sealed, both ways */
    CU_ASSERT(ftruncate(fd, 100000) < 0 && errno == EPERM);
    close(fd);
    memfile_unmap(a, 10000);
    CU_ASSERT_EQUAL(c[5], 77); /* each mapping lives for itself */
    memfile_unmap(b, 10000);
    memfile_unmap((void *)(uintptr_t)c, 10000);
}

static void test_private(void)
{
    uint8_t *p = memfile_create("scistream-test", 5000, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    CU_ASSERT(p[0] == 0 && p[4999] == 0);
    memfile_unmap(p, 5000);
    memfile_unmap(NULL, 5000);
}

static void test_not_that(void)
{
    int fd = -1, pipes[2];
    memfile_unmap(memfile_create("scistream-test", 4096, &fd), 4096);
    CU_ASSERT(memfile_map(fd, 4097, true) == NULL && errno == EINVAL); /* smaller than who passed it says */
    CU_ASSERT(memfile_map(-1, 4096, true) == NULL && errno == EBADF);
    close(fd);
    CU_ASSERT_EQUAL(pipe2(pipes, O_CLOEXEC), 0);
    CU_ASSERT(memfile_map(pipes[0], 4096, true) == NULL && errno == EINVAL);
    close(pipes[0]);
    close(pipes[1]);
}

/* ------------------------------------------------------------ the board */

static void test_sums(void)
{
    struct board *b = board_create(NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    CU_ASSERT(board_reserved(b) == 0 && board_open(b, 0) == 0 && board_least(b) == 0); /* no workers yet */
    stats_set(&b->control.reserved, 1);
    stats_set(&b->workers, 3);
    for (unsigned i = 0; i < 4; i++) { /* one more than there are */
        stats_set(&b->row[i].reserved, 10ULL << 10 * i);
        stats_set(&b->row[i].open[BOARD_DOORS - 1], 1ULL << i);
    }
    CU_ASSERT_EQUAL(board_reserved(b), 1 + 10 + (10 << 10) + (10 << 20));
    stats_set(&b->row[1].piped, 5);
    stats_set(&b->row[2].piped, 6);
    stats_set(&b->row[3].piped, 7); /* no worker of ours */
    CU_ASSERT_EQUAL(board_piped(b), 11);
    CU_ASSERT(board_open(b, BOARD_DOORS - 1) == 7 && board_open(b, BOARD_DOORS - 2) == 0);
    stats_set(&b->workers, UINT64_MAX); /* somebody wrote nonsense */
    CU_ASSERT(board_open(b, BOARD_DOORS - 1) == 15 && board_least(b) == 0);
    board_unmap(b);
    board_unmap(NULL);
}

/* What no door has ever used is not written, and so takes no memory. */
static void test_clear(void)
{
    struct board *b = board_create(NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    stats_set(&b->row[2].relays, 7);
    for (unsigned i = 0; i < BOARD_DOORS; i += BOARD_ROUTE_DOORS)
        stats_set(&b->row[2].open[i], 9);
    board_clear_row(b, &b->row[2]);
    CU_ASSERT(stats_get(&b->row[2].relays) == 0 && stats_get(&b->row[2].open[0]) == 0 && stats_get(&b->row[2].open[BOARD_ROUTE_DOORS]) == 9);
    stats_set(&b->places, BOARD_ROUTE_DOORS + 1);
    board_clear_row(b, &b->row[2]);
    CU_ASSERT(stats_get(&b->row[2].open[BOARD_ROUTE_DOORS]) == 0 && stats_get(&b->row[2].open[2 * BOARD_ROUTE_DOORS]) == 9);
    stats_set(&b->places, UINT64_MAX); /* somebody wrote nonsense */
    board_clear_row(b, &b->row[2]);
    CU_ASSERT(stats_get(&b->row[2].open[BOARD_DOORS - BOARD_ROUTE_DOORS]) == 0 && stats_get(&b->row[3].away) == 0);
    board_unmap(b);
}

static void test_numbers(void)
{
    CU_ASSERT(board_number_ok(0) && board_number_ok(BOARD_ROUTE_DOORS - 1) && board_number_ok(BOARD_ROUTE_DOORS) && board_number_ok(UINT32_MAX));
    CU_ASSERT(!board_number_ok(BOARD_DOORS) && !board_number_ok(3 * BOARD_DOORS + BOARD_ROUTE_DOORS - 1));
    CU_ASSERT(board_place(BOARD_DOORS + BOARD_ROUTE_DOORS) == BOARD_ROUTE_DOORS && board_place(UINT32_MAX) == BOARD_DOORS - 1);
}

static void test_least(void)
{
    struct board *b = board_create(NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    const uint64_t relays[] = { 5, 3, 3, 4 };
    for (unsigned i = 0; i < 4; i++)
        stats_set(&b->row[i].relays, relays[i]);
    stats_set(&b->workers, 4);
    CU_ASSERT_EQUAL(board_least(b), 1);
    stats_set(&b->row[3].relays, 2);
    CU_ASSERT_EQUAL(board_least(b), 3);
    stats_set(&b->workers, 3);
    CU_ASSERT_EQUAL(board_least(b), 1);
    board_unmap(b);
}

static void test_passed(void)
{
    int fd = -1, small = -1;
    struct board *a = board_create(&fd), *b = board_map(fd);
    CU_ASSERT_FATAL(a && b && a != b);
    stats_set(&a->workers, BOARD_WORKERS);
    stats_set(&b->row[BOARD_WORKERS - 1].relays, 9);
    CU_ASSERT(stats_get(&b->workers) == BOARD_WORKERS && stats_get(&a->row[BOARD_WORKERS - 1].relays) == 9);
    CU_ASSERT_EQUAL((uintptr_t)&a->row[1] % 64, 0); /* rows share no line of the cache */
    board_unmap(a);
    board_unmap(b);
    close(fd);
    memfile_unmap(memfile_create("scistream-test", 64, &small), 64);
    CU_ASSERT(board_map(small) == NULL && errno == EINVAL);
    close(small);
}

UNIT_MAIN("board", UNIT(test_shared), UNIT(test_private), UNIT(test_not_that), UNIT(test_sums), UNIT(test_clear), UNIT(test_numbers), UNIT(test_least), UNIT(test_passed))
