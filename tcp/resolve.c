/* Names to addresses by c-ares.
 *
 * Happy path: resolve_start -> sockets of c-ares in the loop -> found() -> done() from the loop, the question freed.
 * Each question has a channel of its own: a cancelled one is gone at once, and a changed resolv.conf counts from the next one on.
 * Failures: no such name, no server answers (2 s, 3 tries): -SST_ERESOLVE and a sentence. c-ares may answer while it is being asked
 * (numbers, /etc/hosts), so done() always goes through a deferred call.
 */
#include "tcp/resolve.h"

#include <ares.h>
#include <stdio.h>

#include "src/core/err.h"

#define TIMEOUT_MS 2000
#define TRIES 3
#define WHY 400

struct resolver { struct loop *loop; struct list questions; };

struct question_io { struct list node; struct io io; struct resolve *q; };

struct resolve {
    struct loop *loop;
    struct list node;     /* resolver's */
    ares_channel channel; /* NULL: none */
    struct list sockets;
    struct timer timer;
    struct defer answer;
    resolve_done *done;   /* NULL: called */
    void *user;
    int rc;
    uint16_t port;
    size_t n;
    union sockaddr_any addrs[RESOLVE_MAX];
    char host[ADDR_HOST_MAX + 1];
    char why[WHY];
};

/* What c-ares has of one kind of addresses, while it waits for the other, it hands out when its channel is destroyed: found() may defer an answer there. */
static void question_free(struct resolve *q)
{
    if (q->channel)
        ares_destroy(q->channel);
    defer_cancel(&q->answer);
    loop_timer_stop(q->loop, &q->timer);
    list_del(&q->node);
    free(q);
}

static void answer(struct defer *d)
{
    struct resolve *q = container_of(d, struct resolve, answer);
    resolve_done *done = q->done;
    q->done = NULL;
    list_del(&q->node);
    done(q->user, q->rc, q->addrs, q->n, q->why); /* may cancel q and free the resolver */
    question_free(q);
}

static void finish(struct resolve *q, int rc, const char *reason)
{
    q->rc = rc;
    if (rc < 0)
        snprintf(q->why, sizeof(q->why), "\"%s\" cannot be resolved: %s", q->host, reason);
    loop_timer_stop(q->loop, &q->timer);
    loop_defer(q->loop, &q->answer);
}

/* ------------------------------------------------------------ c-ares in the loop */

static void set_timer(struct resolve *q)
{
    struct timeval tv;
    if (list_empty(&q->answer.node) && ares_timeout(q->channel, NULL, &tv))
        loop_timer(q->loop, &q->timer, (uint64_t)tv.tv_sec * NS_PER_S + (uint64_t)tv.tv_usec * NS_PER_US);
}

static void on_timer(struct timer *t)
{
    struct resolve *q = container_of(t, struct resolve, timer);
    ares_process_fd(q->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(q);
}

static void on_socket(struct io *io, uint32_t events)
{
    struct question_io *s = container_of(io, struct question_io, io);
    struct resolve *q = s->q;
    int fd = io->fd;
    uint32_t in = events & (EPOLLIN | EPOLLERR | EPOLLHUP), out = events & (EPOLLOUT | EPOLLERR | EPOLLHUP);
    ares_process_fd(q->channel, in ? fd : ARES_SOCKET_BAD, out ? fd : ARES_SOCKET_BAD);
    set_timer(q);
}

static struct question_io *socket_of(struct resolve *q, int fd)
{
    list_for_each(n, &q->sockets) {
        struct question_io *s = list_entry(n, struct question_io, node);
        if (s->io.fd == fd)
            return s;
    }
    return NULL;
}

/* What c-ares wants to know of its descriptor; 0, 0 comes before it closes it. */
static void on_interest(void *user, ares_socket_t fd, int in, int out)
{
    struct resolve *q = user;
    struct question_io *s = socket_of(q, fd);
    uint32_t events = (in ? (uint32_t)EPOLLIN : 0) | (out ? (uint32_t)EPOLLOUT : 0);
    if (s && events) {
        loop_change(q->loop, &s->io, events);
    } else if (s) {
        loop_del(q->loop, &s->io);
        list_del(&s->node);
        free(s);
    } else if (events) {
        s = mem_zalloc(1, sizeof(*s));
        s->io.ready = on_socket;
        s->q = q;
        list_add_tail(&q->sockets, &s->node);
        if (loop_add(q->loop, &s->io, fd, events) < 0) { /* then the question times out */
            list_del(&s->node);
            free(s);
        }
    }
}

/* ------------------------------------------------------------ questions */

static void keep(struct resolve *q, const struct ares_addrinfo_node *node)
{
    union sockaddr_any *a = &q->addrs[q->n];
    if (q->n == RESOLVE_MAX || node->ai_addrlen > sizeof(*a) || (node->ai_family != AF_INET && node->ai_family != AF_INET6))
        return;
    memcpy(a, node->ai_addr, node->ai_addrlen);
    if (node->ai_family == AF_INET)
        a->in.sin_port = htons(q->port);
    else
        a->in6.sin6_port = htons(q->port);
    q->n++;
}

static void found(void *user, int status, int timeouts UNUSED, struct ares_addrinfo *res)
{
    struct resolve *q = user;
    if (status == ARES_EDESTRUCTION)
        return; /* question_free is running */
    for (struct ares_addrinfo_node *node = res ? res->nodes : NULL; node; node = node->ai_next)
        keep(q, node);
    if (res)
        ares_freeaddrinfo(res);
    if (q->n > 0)
        finish(q, 0, "");
    else
        finish(q, -SST_ERESOLVE, status == ARES_SUCCESS ? "it has no address" : ares_strerror(status));
}

static void ask(struct resolve *q)
{
    struct ares_options o = { .timeout = TIMEOUT_MS, .tries = TRIES, .sock_state_cb = on_interest, .sock_state_cb_data = q };
    struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    int status = ares_init_options(&q->channel, &o, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        q->channel = NULL;
        finish(q, -SST_ERESOLVE, ares_strerror(status));
        return;
    }
    ares_getaddrinfo(q->channel, q->host, NULL, &hints, found, q);
    set_timer(q);
}

struct resolve *resolve_start(struct resolver *r, const char *host, uint16_t port, resolve_done *done, void *user)
{
    struct resolve *q = mem_zalloc(1, sizeof(*q));
    q->loop = r->loop;
    q->port = port;
    q->done = done;
    q->user = user;
    q->timer.fire = on_timer;
    list_init(&q->sockets);
    defer_init(&q->answer, answer);
    list_init(&q->node);
    list_add_tail(&r->questions, &q->node);
    bool fits = str_copy(q->host, sizeof(q->host), host);
    if (!fits) {
        finish(q, -SST_ERESOLVE, "the name is too long");
    } else if (addr_numeric(host, port, &q->addrs[0]) == 0) {
        q->n = 1;
        finish(q, 0, "");
    } else {
        ask(q);
    }
    return q;
}

void resolve_cancel(struct resolve *q)
{
    if (q && q->done)
        question_free(q);
}

struct resolver *resolver_new(struct loop *l)
{
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
        return NULL;
    struct resolver *r = mem_zalloc(1, sizeof(*r));
    r->loop = l;
    list_init(&r->questions);
    return r;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    list_for_each_safe(n, &r->questions)
        question_free(list_entry(n, struct resolve, node));
    free(r);
    ares_library_cleanup();
}
