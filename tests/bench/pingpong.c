/* Small messages there and back over the seam: two processes, each a loop with two simplex flows by verbs, one out and one in.
 *
 *   pingpong ADDRESS [COUNT [SIZE]]     numeric address of an RDMA port of this machine, where one of them listens; one JSON object on stdout
 *
 * A message of SIZE bytes is committed to the ring of the flow out; the other side sends one back when as many have arrived. Reported is half
 * of the time there and back, as ib_send_lat does. Event-driven: both sides sleep as a worker does; NO_SPIN=1 lets none look twice before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "src/seam/xport.h"

#define WINDOW (1U << 20)
#define WARM_UP 100U
#define LIMIT_S 120U /* of the whole program */

const struct xport_ops *const xport_list[] = { &xport_verbs_ops, NULL };

enum direction { IN, OUT, DIRECTIONS };

struct side {
    struct loop loop;
    struct conf *conf;
    struct xport_env env;
    struct task task;
    struct xport *x[DIRECTIONS];
    struct ring ring[DIRECTIONS];
    unsigned up, open;
    bool begins;            /* sends the first message and measures */
    bool over;
    unsigned count, size, done;
    uint64_t sent_ns, *took_ns;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "pingpong: %s: %s\n", what, why);
    exit(1);
}

/* ------------------------------------------------------------ messages */

static void send_one(struct side *s)
{
    struct ring *r = &s->ring[OUT];
    memset(ring_at(r, r->put), (int)s->done, s->size);
    s->sent_ns = now_ns();
    ring_commit(r, s->size);
}

static bool take_one(struct side *s)
{
    struct ring *r = &s->ring[IN];
    if (ring_waiting(r) < s->size)
        return false;
    ring_submit(r, s->size);
    ring_release_to(r, r->sub);
    return true;
}

static int converse(struct side *s)
{
    if (s->up < DIRECTIONS || s->over)
        return 0;
    if (s->begins && s->sent_ns == 0) {
        send_one(s);
        return 1;
    }
    if (!take_one(s))
        return 0;
    if (s->begins && s->done >= WARM_UP)
        s->took_ns[s->done - WARM_UP] = now_ns() - s->sent_ns;
    s->done++;
    s->over = s->begins && s->done == s->count + WARM_UP;
    if (s->over)
        loop_stop(&s->loop);
    else
        send_one(s);
    return 1;
}

static int on_progress(struct task *t)
{
    struct side *s = container_of(t, struct side, task);
    int did = xport_progress(s->x[IN]) | xport_progress(s->x[OUT]);
    did |= xport_fill(s->x[IN], &s->ring[IN]) == 0;
    did |= converse(s);
    did |= xport_drain(s->x[OUT], &s->ring[OUT]) == 0;
    return did;
}

static int on_arm(struct task *t)
{
    struct side *s = container_of(t, struct side, task);
    int in = xport_arm(s->x[IN]), out = xport_arm(s->x[OUT]);
    return in ? in : out;
}

/* ------------------------------------------------------------ what the ends say */

static void on_kick(struct xport *x)
{
    struct side *s = x->owner;
    loop_activate(&s->loop, &s->task);
}

static void on_prepared(struct xport *x, const struct xport_answer *a UNUSED) { die("accept", x->why); }

static void on_up(struct xport *x)
{
    struct side *s = x->owner;
    s->up++;
    on_kick(x);
}

static void on_failed(struct xport *x)
{
    struct side *s = x->owner;
    if (s->begins)
        die("failed", x->why);
    s->over = true; /* the other side has seen enough and left */
    loop_stop(&s->loop);
}

static const struct xport_host host = { .kick = on_kick, .prepared = on_prepared, .up = on_up, .failed = on_failed };

/* ------------------------------------------------------------ beginning and end */

static void set(struct conf *c, const char *name, const char *value)
{
    char why[256];
    AUTO_FREE char *s = mem_printf("%s=%s", name, value);
    if (conf_set(c, s, why, sizeof(why)) < 0)
        die(s, why);
}

static void side_open(struct side *s, const char *listen)
{
    char why[XPORT_WHY] = "";
    s->conf = conf_new();
    if (listen)
        set(s->conf, "rdma.listen", listen);
    if (loop_init(&s->loop) < 0)
        die("loop", strerror(errno));
    if (getenv("NO_SPIN"))
        spin_fini(&s->loop.spin);
    xport_env_init(&s->env, &s->loop, s->conf);
    s->env.offload = offload_new(&s->loop);
    s->env.stats = stats_create(NULL);
    s->env.accepts = listen != NULL;
    task_init(&s->task, on_progress, on_arm);
    if (xport_verbs_ops.listen(&s->env, why, sizeof(why)) < 0)
        die("verbs", why);
}

/* The flow out of one side is the flow into the other: its cookie tells which. */
static struct xport_spec spec_of(const struct side *s, enum direction d)
{
    struct xport_spec spec = { .peer_window = WINDOW, .chunk_max = WINDOW / 4, .fd = -1, .low_latency = true };
    memset(spec.cookie, (d == OUT) == s->begins ? 'a' : 'b', sizeof(spec.cookie));
    return spec;
}

static void make_end(struct side *s, enum direction d)
{
    s->x[d] = xport_verbs_ops.create(&s->env);
    s->x[d]->host = &host;
    s->x[d]->owner = s;
    s->open++;
    if (ring_init(&s->ring[d], WINDOW, RING_PAGES_SMALL) < 0 || xport_verbs_ops.mem_add(s->x[d], &s->ring[d], d == IN) < 0)
        die("ring", s->x[d]->why);
}

static void on_closed(struct xport *x)
{
    struct side *s = x->owner;
    if (--s->open == 0)
        loop_stop(&s->loop);
}

static void side_close(struct side *s)
{
    loop_sleep(&s->loop, &s->task);
    for (enum direction d = IN; d < DIRECTIONS; d++)
        xport_close(s->x[d], 0, on_closed);
    loop_run(&s->loop);
    xport_verbs_ops.unlisten(&s->env);
    for (enum direction d = IN; d < DIRECTIONS; d++)
        ring_fini(&s->ring[d]);
    offload_free(s->env.offload);
    stats_unmap(s->env.stats);
    loop_fini(&s->loop);
    conf_free(s->conf);
}

/* ------------------------------------------------------------ the two processes */

static int answer(struct side *s, const char *at, int tell_fd)
{
    struct xport_answer a[DIRECTIONS];
    side_open(s, at);
    for (enum direction d = IN; d < DIRECTIONS; d++) {
        struct xport_spec spec = spec_of(s, d);
        make_end(s, d);
        a[d] = (struct xport_answer){ .port = 0 };
        if (xport_verbs_ops.accept(s->x[d], &spec, &a[d]) != 0)
            die("accept", s->x[d]->why);
    }
    if (write(tell_fd, &a[IN].port, sizeof(a[IN].port)) != (ssize_t)sizeof(a[IN].port))
        die("pipe", strerror(errno));
    loop_run(&s->loop);
    side_close(s);
    return 0;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void report(const struct side *s)
{
    qsort(s->took_ns, s->count, sizeof(*s->took_ns), compare);
    const double half_us = 2e3;
    const struct stats_page *st = s->env.stats;
    printf("{\"count\":%u,\"size\":%u,\"min_us\":%.2f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"max_us\":%.2f,\"work_requests\":%llu,\"posts\":%llu,"
           "\"completions\":%llu,\"completion_events\":%llu}\n",
           s->count, s->size, (double)s->took_ns[0] / half_us, (double)s->took_ns[s->count / 2] / half_us,
           (double)s->took_ns[s->count * 99ULL / 100] / half_us, (double)s->took_ns[s->count - 1] / half_us,
           (unsigned long long)stats_get(&st->work_requests), (unsigned long long)stats_get(&st->posts),
           (unsigned long long)stats_get(&st->completions), (unsigned long long)stats_get(&st->completion_events));
    fflush(stdout);
}

static int begin(struct side *s, const char *to, int told_fd)
{
    uint16_t port = 0;
    side_open(s, NULL);
    if (read(told_fd, &port, sizeof(port)) != (ssize_t)sizeof(port))
        die("the other side", "has not told its port");
    for (enum direction d = IN; d < DIRECTIONS; d++) {
        struct xport_spec spec = spec_of(s, d);
        spec.address = to;
        spec.port = port;
        make_end(s, d);
        if (xport_verbs_ops.connect(s->x[d], &spec) < 0)
            die("connect", s->x[d]->why);
    }
    loop_run(&s->loop);
    report(s);
    side_close(s);
    return 0;
}

int main(int argc, char **argv)
{
    int ends[2];
    if (argc < 2) {
        fprintf(stderr, "usage: pingpong ADDRESS [COUNT [SIZE]]\n");
        return 64;
    }
    struct side s = { .count = argc > 2 ? (unsigned)atoi(argv[2]) : 1000, .size = argc > 3 ? (unsigned)atoi(argv[3]) : 64 };
    if (s.count == 0 || s.size == 0 || s.size > WINDOW / 8)
        die("COUNT and SIZE", "must be numbers above 0, SIZE at most 128 KiB");
    s.took_ns = mem_zalloc(s.count, sizeof(*s.took_ns));
    if (pipe(ends) < 0)
        die("pipe", strerror(errno));
    pid_t child = fork();
    alarm(LIMIT_S);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        return answer(&s, argv[1], ends[1]);
    }
    close(ends[1]);
    s.begins = true;
    return begin(&s, argv[1], ends[0]);
}
