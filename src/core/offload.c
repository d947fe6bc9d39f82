#include "src/core/offload.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

struct offload {
    struct loop *loop;
    struct io io; /* eventfd: jobs came back */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct list todo, finished; /* under lock */
    bool running, quit;
};

static void *helper(void *arg)
{
    struct offload *o = arg;
    uint64_t one = 1;
    pthread_mutex_lock(&o->lock);
    while (!o->quit) {
        struct list *n = list_pop(&o->todo);
        if (!n) {
            pthread_cond_wait(&o->more, &o->lock);
            continue;
        }
        pthread_mutex_unlock(&o->lock);
        struct job *j = list_entry(n, struct job, node);
        j->run(j);
        pthread_mutex_lock(&o->lock);
        list_add_tail(&o->finished, n);
        if (write(o->io.fd, &one, sizeof(one)) < 0)
            abort(); /* an eventfd of our own cannot refuse */
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

static void on_finished(struct io *io, uint32_t events UNUSED)
{
    struct offload *o = container_of(io, struct offload, io);
    struct list got, *n;
    uint64_t count;
    if (read(io->fd, &count, sizeof(count)) < 0)
        return;
    list_init(&got);
    pthread_mutex_lock(&o->lock);
    list_splice_tail(&got, &o->finished);
    pthread_mutex_unlock(&o->lock);
    while ((n = list_pop(&got))) {
        struct job *j = list_entry(n, struct job, node);
        j->queued = false;
        j->done(j);
    }
}

struct offload *offload_new(struct loop *l)
{
    struct offload *o = mem_zalloc(1, sizeof(*o));
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    o->loop = l;
    o->io.fd = -1;
    o->io.ready = on_finished;
    list_init(&o->todo);
    list_init(&o->finished);
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->more, NULL);
    if (fd >= 0 && loop_add(l, &o->io, fd, EPOLLIN) == 0)
        return o;
    int saved = errno;
    fd_close(&fd);
    free(o);
    errno = saved;
    return NULL;
}

/* Signals are the loop's: the thread blocks all of them. */
static int start_thread(struct offload *o)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&o->thread, NULL, helper, o);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    o->running = rc == 0;
    return rc ? -EAGAIN : 0;
}

int offload_submit(struct offload *o, struct job *j)
{
    if (!o->running && start_thread(o) < 0)
        return -EAGAIN;
    list_init(&j->node);
    j->queued = true;
    pthread_mutex_lock(&o->lock);
    list_add_tail(&o->todo, &j->node);
    pthread_cond_signal(&o->more);
    pthread_mutex_unlock(&o->lock);
    return 0;
}

void offload_free(struct offload *o)
{
    if (!o)
        return;
    if (o->running) {
        pthread_mutex_lock(&o->lock);
        o->quit = true;
        pthread_cond_signal(&o->more);
        pthread_mutex_unlock(&o->lock);
        pthread_join(o->thread, NULL);
    }
    int fd = o->io.fd;
    loop_del(o->loop, &o->io);
    close(fd);
    pthread_cond_destroy(&o->more);
    pthread_mutex_destroy(&o->lock);
    free(o);
}
