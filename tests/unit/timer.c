#include "src/core/timer.h"
#include "tests/lib/unit.h"

static struct timer_heap heap;
static unsigned fired;

static void count(struct timer *t)
{
    CU_ASSERT_FALSE(timer_pending(t));
    fired++;
}

static void test_empty(void)
{
    struct timer t = { .fire = count };
    CU_ASSERT_EQUAL(timer_heap_next(&heap), UINT64_MAX);
    CU_ASSERT_EQUAL(timer_heap_run(&heap, UINT64_MAX), 0);
    timer_heap_stop(&heap, &t);
    timer_heap_fini(&heap);
    timer_heap_fini(&heap);
}

static void test_one(void)
{
    struct timer t = { .fire = count };
    fired = 0;
    timer_heap_set(&heap, &t, 100);
    CU_ASSERT(timer_pending(&t) && timer_heap_next(&heap) == 100);
    CU_ASSERT_EQUAL(timer_heap_run(&heap, 99), 0);
    timer_heap_set(&heap, &t, 200);
    CU_ASSERT_EQUAL(timer_heap_run(&heap, 199), 0);
    CU_ASSERT_EQUAL(timer_heap_run(&heap, 200), 1);
    CU_ASSERT(fired == 1 && timer_heap_next(&heap) == UINT64_MAX);
    CU_ASSERT_EQUAL(timer_heap_run(&heap, 300), 0);
    timer_heap_set(&heap, &t, UINT64_MAX);
    CU_ASSERT_EQUAL(timer_heap_run(&heap, UINT64_MAX - 1), 0);
    CU_ASSERT_EQUAL(timer_heap_run(&heap, UINT64_MAX), 1);
    timer_heap_set(&heap, &t, 1);
    timer_heap_fini(&heap);
    CU_ASSERT_FALSE(timer_pending(&t));
}

/* ------------------------------------------------------------ timers that set and stop timers */

static struct timer self, first, second;
static uint64_t again_ns;

static void fire_again(struct timer *t)
{
    fired++;
    timer_heap_set(&heap, t, again_ns);
}

/* Each at most once a run, whatever due time it gives itself, and the others are not kept from theirs. */
static void test_sets_itself(void)
{
    struct timer other = { .fire = count };
    self.fire = fire_again;
    for (again_ns = 0; again_ns <= 20; again_ns += 10) {
        fired = 0;
        timer_heap_set(&heap, &self, 5);
        timer_heap_set(&heap, &other, 8);
        CU_ASSERT_EQUAL(timer_heap_run(&heap, 10), 2);
        CU_ASSERT(fired == 2 && !timer_pending(&other) && timer_pending(&self));
        CU_ASSERT_EQUAL(timer_heap_next(&heap), MAX(again_ns, (uint64_t)11));
        CU_ASSERT_EQUAL(timer_heap_run(&heap, 20), 1);
        timer_heap_stop(&heap, &self);
    }
    timer_heap_fini(&heap);
}

static void stop_second(struct timer *t UNUSED)
{
    fired++;
    timer_heap_stop(&heap, &second);
}

static void set_second(struct timer *t UNUSED)
{
    fired++;
    timer_heap_set(&heap, &second, 1);
}

static void test_touches_others(void)
{
    fired = 0;
    first.fire = stop_second;
    second.fire = count;
    timer_heap_set(&heap, &first, 1);
    timer_heap_set(&heap, &second, 2);
    CU_ASSERT_EQUAL(timer_heap_run(&heap, 10), 1);
    CU_ASSERT(fired == 1 && !timer_pending(&second));
    first.fire = set_second;
    timer_heap_set(&heap, &first, 1);
    CU_ASSERT_EQUAL(timer_heap_run(&heap, 10), 1);
    CU_ASSERT_EQUAL(timer_heap_run(&heap, 11), 1);
    CU_ASSERT_EQUAL(fired, 3);
    timer_heap_fini(&heap);
}

/* ------------------------------------------------------------ random operations against a table */

#define TIMERS 300
#define NOT_SET UINT64_MAX

struct row { struct timer t; uint64_t due; };
static struct row table[TIMERS];
static uint64_t seed = 88172645463325252ULL, last_due, now;

static uint64_t below(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

static void fire_row(struct timer *t)
{
    struct row *row = container_of(t, struct row, t);
    CU_ASSERT(row->due == t->due_ns && row->due >= last_due && row->due <= now);
    last_due = row->due;
    row->due = NOT_SET;
    fired++;
}

static uint64_t table_next(unsigned *due_now)
{
    uint64_t next = NOT_SET;
    *due_now = 0;
    for (size_t i = 0; i < TIMERS; i++) {
        next = MIN(next, table[i].due);
        *due_now += table[i].due <= now;
        CU_ASSERT_EQUAL(timer_pending(&table[i].t), table[i].due != NOT_SET);
    }
    return next;
}

static void random_step(void)
{
    unsigned expect;
    for (uint64_t i = below(40); i > 0; i--) {
        struct row *row = &table[below(TIMERS)];
        row->due = below(3) ? now + below(1000) : NOT_SET;
        if (row->due == NOT_SET)
            timer_heap_stop(&heap, &row->t);
        else
            timer_heap_set(&heap, &row->t, row->due);
    }
    CU_ASSERT_EQUAL(timer_heap_next(&heap), table_next(&expect));
    now += below(100);
    table_next(&expect);
    fired = 0;
    last_due = 0;
    CU_ASSERT_EQUAL(timer_heap_run(&heap, now), expect);
    CU_ASSERT_EQUAL(fired, expect);
}

static void test_random(void)
{
    for (size_t i = 0; i < TIMERS; i++)
        table[i] = (struct row){ .t.fire = fire_row, .due = NOT_SET };
    for (int i = 0; i < 1000; i++)
        random_step();
    timer_heap_fini(&heap);
    for (size_t i = 0; i < TIMERS; i++)
        CU_ASSERT_FALSE(timer_pending(&table[i].t));
}

UNIT_MAIN("timer", UNIT(test_empty), UNIT(test_one), UNIT(test_sets_itself), UNIT(test_touches_others), UNIT(test_random))
