#include "src/local.h"

static void on_emit(void *user, const FromWorker *m, int fd UNUSED)
{
    struct local *l = user;
    pool_worker_heard(&l->w, m);
    if (m->what_case != SCISTREAM__WORKER__FROM_WORKER__WHAT_STARTED)
        return;
    if (l->changed)
        l->changed(l);
    if (l->told)
        return;
    l->told = true;
    l->started(l);
}

static int tell(struct pool_worker *w, const ToWorker *m, int fd UNUSED)
{
    worker_handle(container_of(w, struct local, w)->worker, m, NULL, 0);
    return 0;
}

int local_start(struct local *l, struct loop *loop, struct conf *conf, int link_fd, void (*started)(struct local *))
{
    Scistream__Worker__Init init = SCISTREAM__WORKER__INIT__INIT;
    ToWorker m = SCISTREAM__WORKER__TO_WORKER__INIT;
    int fds[3] = { -1, -1, link_fd }; /* the statistics are in the memory of this process: a memfd would count against ulimit -f */
    pool_worker_init(&l->w, 0);
    l->w.send = tell;
    l->started = started;
    l->worker = worker_new(loop, conf, on_emit, l);
    if (!l->worker)
        return -errno;
    init.has_link = link_fd >= 0;
    m.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_INIT;
    m.init = &init;
    worker_handle(l->worker, &m, fds, ARRAY_LEN(fds));
    l->w.stats = worker_stats(l->worker);
    return worker_broken(l->worker) ? -ENOMEM : 0;
}

void local_stop(struct local *l)
{
    if (!l->worker)
        return;
    worker_free(l->worker);
    l->worker = NULL;
    l->w.stats = NULL;
    pool_worker_fini(&l->w);
}
