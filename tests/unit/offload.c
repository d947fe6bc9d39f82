/* The helper thread. Worth running under a thread sanitizer. */
#include <pthread.h>
#include <stdio.h>

#include "src/core/offload.h"
#include "tests/lib/unit.h"

#define JOBS 1000

static struct loop loop;
static struct offload *offload;

struct task_job {
    struct job job;
    unsigned number, ran_as, done_as;
    pthread_t thread;
    unsigned again; /* how often to submit itself once more */
    bool slow;
};

static unsigned run_count;  /* the thread's; read by the loop's thread after done */
static unsigned done_count; /* the loop's */

static struct task_job *of(struct job *j) { return container_of(j, struct task_job, job); }

static void run(struct job *j)
{
    struct task_job *t = of(j);
    t->thread = pthread_self();
    t->ran_as = ++run_count;
    if (t->slow)
        usleep(20000);
}

static void done(struct job *j)
{
    struct task_job *t = of(j);
    CU_ASSERT(!j->queued && !pthread_equal(t->thread, pthread_self()));
    t->done_as = ++done_count;
    if (t->again) {
        t->again--;
        CU_ASSERT_EQUAL(offload_submit(offload, j), 0);
    }
}

static struct task_job jobs[JOBS];

static void begin(void)
{
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(offload = offload_new(&loop));
    run_count = done_count = 0;
    for (unsigned i = 0; i < JOBS; i++)
        jobs[i] = (struct task_job){ .job = { .run = run, .done = done }, .number = i };
}

static void end(void)
{
    offload_free(offload);
    loop_fini(&loop);
}

static void turn_until(unsigned count)
{
    while (done_count < count)
        loop_turn(&loop, NS_PER_S);
}

static void test_order(void)
{
    begin();
    for (unsigned i = 0; i < JOBS; i++) {
        CU_ASSERT_EQUAL(offload_submit(offload, &jobs[i].job), 0);
        CU_ASSERT_TRUE(jobs[i].job.queued);
    }
    turn_until(JOBS);
    for (unsigned i = 0; i < JOBS; i++)
        CU_ASSERT(jobs[i].ran_as == i + 1 && jobs[i].done_as == i + 1 && pthread_equal(jobs[i].thread, jobs[0].thread));
    end();
}

/* A job may be queued again from its own done(), and from then on others' turn comes first. */
static void test_again(void)
{
    begin();
    jobs[0].again = 100;
    jobs[1].again = 50;
    offload_submit(offload, &jobs[0].job);
    offload_submit(offload, &jobs[1].job);
    turn_until(152);
    CU_ASSERT(jobs[0].again == 0 && jobs[1].again == 0 && run_count == 152);
    end();
}

static void test_one_at_a_time_over_time(void)
{
    begin();
    for (unsigned i = 0; i < JOBS; i++) {
        offload_submit(offload, &jobs[i].job);
        turn_until(i + 1);
    }
    CU_ASSERT_EQUAL(run_count, JOBS);
    end();
}

/* The job that runs is waited for, the others never run, and none is told. */
static void test_free_while_queued(void)
{
    for (unsigned round = 0; round < 5; round++) {
        begin();
        for (unsigned i = 0; i < 50; i++) {
            jobs[i].slow = true;
            offload_submit(offload, &jobs[i].job);
        }
        usleep(5000 * round);
        end();
        CU_ASSERT(done_count == 0 && run_count <= 3);
        for (unsigned i = 0; i < 50; i++)
            CU_ASSERT_EQUAL(jobs[i].ran_as, i < run_count ? i + 1 : 0);
    }
}

/* Finished, but the loop did not get to say so. */
static void test_free_while_finished(void)
{
    begin();
    offload_submit(offload, &jobs[0].job);
    usleep(20000);
    end();
    CU_ASSERT_EQUAL(done_count, 0);
}

static void test_never_used(void)
{
    begin();
    end();
    offload_free(NULL);
}

static bool no_threads;
int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg)
{
    return no_threads ? EAGAIN : __real_pthread_create(t, a, f, arg);
}

static void test_no_thread(void)
{
    begin();
    no_threads = true;
    CU_ASSERT_EQUAL(offload_submit(offload, &jobs[0].job), -EAGAIN);
    CU_ASSERT_FALSE(jobs[0].job.queued);
    no_threads = false;
    CU_ASSERT_EQUAL(offload_submit(offload, &jobs[0].job), 0); /* it may be better later */
    turn_until(1);
    end();
}

/* Signals are the loop's business. */
static sigset_t mask;
static void run_mask(struct job *j UNUSED) { pthread_sigmask(SIG_BLOCK, NULL, &mask); }

static void test_signals(void)
{
    sigset_t before, after;
    begin();
    jobs[0].job.run = run_mask;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    offload_submit(offload, &jobs[0].job);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    while (jobs[0].job.queued)
        loop_turn(&loop, NS_PER_S);
    CU_ASSERT(sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGCHLD) == 1);
    CU_ASSERT(sigismember(&after, SIGTERM) == sigismember(&before, SIGTERM));
    end();
}

UNIT_MAIN("offload", UNIT(test_order), UNIT(test_again), UNIT(test_one_at_a_time_over_time), UNIT(test_free_while_queued),
          UNIT(test_free_while_finished), UNIT(test_never_used), UNIT(test_no_thread), UNIT(test_signals))
