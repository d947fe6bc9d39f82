/* Messages to a worker whose transports touch nothing: ends in memory, and files that are all /dev/null. Doors have nothing behind them, and what is
 * taken from other workers is a socket that leads nowhere; control serves it.
 *
 * Records: length (u16, big-endian) and that many bytes of a ToWorker. */
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "src/core/err.h"
#include "src/engine/worker.h"
#include "src/seam/mem.h"
#include "tests/fuzz/fuzz.h"

#define WINDOW_MAX (1ULL << 20)
#define BYTES_MAX (1ULL << 18)

const struct xport_ops *const xport_list[] = { &xport_mem_ops, &xport_file_ops, NULL };

static bool idle, handling;
static uint64_t ticket; /* the last that Came: messages that name one mean it */

static void hear(void *user UNUSED, const FromWorker *m, int fd UNUSED)
{
    FUZZ_CHECK(!handling);
    FUZZ_CHECK(m->what_case != SCISTREAM__WORKER__FROM_WORKER__WHAT__NOT_SET);
    FUZZ_CHECK(m->what_case != SCISTREAM__WORKER__FROM_WORKER__WHAT_FAILED || *m->failed->text);
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_CAME)
        ticket = m->came->ticket;
}

static void on_idle(void *user UNUSED) { idle = true; }

static void tame_door(Scistream__Worker__Door *d)
{
    scistream__worker__tcp_peer__free_unpacked(d->to, NULL);
    d->to = NULL;
}

/* What would reach outside the process. */
static void tame(ToWorker *m)
{
    if (m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_DOOR)
        tame_door(m->door);
    if (m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_DROP && m->drop->ticket)
        m->drop->ticket = ticket;
    if (m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_OPEN)
        m->open->window = MIN(m->open->window, WINDOW_MAX);
    if (m->what_case != SCISTREAM__WORKER__TO_WORKER__WHAT_HOP)
        return;
    m->hop->fd_plus_1 = 0;
    m->hop->ticket = m->hop->ticket ? ticket : 0;
    if (m->hop->n_files == 0 && str_eq(m->hop->transport, "file"))
        m->hop->transport[0] = 'F'; /* not our standard input and output */
    for (size_t i = 0; i < m->hop->n_files; i++) {
        free(m->hop->files[i]);
        m->hop->files[i] = mem_strdup("/dev/null");
    }
}

/* The descriptor that goes with it, if one does. */
static int descriptor(const ToWorker *m)
{
    int sv[2];
    if (m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_DOOR)
        return eventfd(0, EFD_CLOEXEC);
    if (m->what_case != SCISTREAM__WORKER__TO_WORKER__WHAT_TAKE || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return -1;
    close(sv[1]);
    return sv[0];
}

static void tell(struct worker *w, const uint8_t *data, size_t n)
{
    ToWorker *m = scistream__worker__to_worker__unpack(NULL, n, data);
    if (!m)
        return;
    tame(m);
    handling = true;
    int fd = descriptor(m);
    worker_handle(w, m, &fd, fd >= 0);
    handling = false;
    scistream__worker__to_worker__free_unpacked(m, NULL);
}

static void turn(struct loop *l, int times)
{
    for (int i = 0; i < times; i++)
        loop_turn(l, 0);
    l->stopping = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem_plan source = { .bytes = BYTES_MAX, .seed = 1 }, sink = { .seed = 1, .part = 3000, .lag = true };
    struct mem_wire wire = { .keep = true };
    struct loop loop;
    struct conf *conf = conf_new();
    FUZZ_CHECK(loop_init(&loop) == 0);
    struct worker *w = worker_new(&loop, conf, hear, NULL);
    log_threshold = LOG_LEVEL_ERROR;
    mem_forget();
    mem_plan_add("source", &source);
    mem_plan_add("sink", &sink);
    mem_wire_add("wire", &wire);
    for (size_t at = 0; at + 2 <= size;) {
        size_t n = MIN((size_t)data[at] << 8 | data[at + 1], size - at - 2);
        tell(w, data + at + 2, n);
        turn(&loop, 3);
        at += 2 + n;
    }
    idle = false;
    worker_shut(w, on_idle);
    for (int i = 0; i < 1000 && !idle; i++)
        loop_turn(&loop, NS_PER_MS);
    FUZZ_CHECK(idle && !wire.end[0] && !wire.end[1] && source.opens == source.closes && sink.opens == sink.closes);
    worker_free(w);
    loop_fini(&loop);
    conf_free(conf);
    return 0;
}
