/* HTTP by libmicrohttpd, which never waits: its epoll descriptor is one of our loop's, and our listener accepts for it.
 *
 * Happy path: accept -> request -> page -> close: a connection is for one request, so none is idle.
 * Failures: one that is not over after VISIT_NS is shut down, however it drips; of too many the oldest is; garbage is answered by the
 * library and closed; when descriptors run out the listener pauses. Control is disturbed by none of it.
 */
#include "ctrl/metrics.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "src/core/log.h"
#include "tcp/sock.h"

#define VISITORS_MAX 128
#define VISIT_NS (10 * NS_PER_S)
#define VISITOR_MEMORY (8U << 10) /* for the head of a request and of its answer */

struct visitor { struct list node; int fd; uint64_t born_ns; };

struct metrics {
    struct loop *loop;
    const struct metrics_sources *sources;
    struct MHD_Daemon *http;
    struct listener listener;
    struct io io;           /* the library's epoll descriptor */
    struct timer due;       /* when it wants to run without an event */
    struct list visitors;   /* oldest first */
    unsigned n_visitors;
    struct timer patience;  /* of the oldest */
    bool starting;
    char why[160];
};

/* ------------------------------------------------------------ running the library */

static void run(struct metrics *m)
{
    MHD_UNSIGNED_LONG_LONG ms;
    MHD_run(m->http);
    if (MHD_get_timeout(m->http, &ms) == MHD_YES)
        loop_timer(m->loop, &m->due, ms * NS_PER_MS);
    else
        loop_timer_stop(m->loop, &m->due);
}

static void on_http(struct io *io, uint32_t events UNUSED) { run(container_of(io, struct metrics, io)); }
static void on_due(struct timer *t) { run(container_of(t, struct metrics, due)); }

static void PRINTF(2, 0) on_http_log(void *user, const char *fmt, va_list args)
{
    static struct log_gate gate = LOG_GATE;
    struct metrics *m = user;
    vsnprintf(m->why, sizeof(m->why), fmt, args);
    m->why[strcspn(m->why, "\n")] = 0;
    if (!m->starting)
        log_gated(&gate, LOG_LEVEL_DEBUG, "metrics: %s", m->why);
}

/* ------------------------------------------------------------ visitors */

/* The library sees the end of the connection and closes it, which forgets the visitor. */
static void send_away(struct visitor *v)
{
    shutdown(v->fd, SHUT_RDWR);
    list_del(&v->node);
}

static struct visitor *oldest(struct metrics *m) { return list_empty(&m->visitors) ? NULL : list_entry(m->visitors.next, struct visitor, node); }

static void wait_for_oldest(struct metrics *m)
{
    const struct visitor *v = oldest(m);
    uint64_t now = now_ns();
    if (v)
        loop_timer(m->loop, &m->patience, v->born_ns + VISIT_NS > now ? v->born_ns + VISIT_NS - now : 0);
    else
        loop_timer_stop(m->loop, &m->patience);
}

static void on_patience(struct timer *t)
{
    struct metrics *m = container_of(t, struct metrics, patience);
    uint64_t now = now_ns();
    for (struct visitor *v; (v = oldest(m)) && now - v->born_ns >= VISIT_NS;)
        send_away(v);
    wait_for_oldest(m);
    run(m);
}

static void on_connection(void *user, struct MHD_Connection *c, void **state, enum MHD_ConnectionNotificationCode code)
{
    struct metrics *m = user;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct visitor *v = mem_zalloc(1, sizeof(*v));
        v->fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        v->born_ns = now_ns();
        list_add_tail(&m->visitors, &v->node);
        m->n_visitors++;
        *state = v;
    } else if (*state) {
        list_del(&((struct visitor *)*state)->node);
        m->n_visitors--;
        free(*state);
        *state = NULL;
    }
    wait_for_oldest(m);
}

static void on_accept(struct listener *l, int fd, const union sockaddr_any *peer)
{
    struct metrics *m = container_of(l, struct metrics, listener);
    struct visitor *v = m->n_visitors >= VISITORS_MAX ? oldest(m) : NULL;
    if (v) {
        send_away(v);
        run(m);
    }
    MHD_add_connection(m->http, fd, &peer->sa, addr_len(peer)); /* takes fd, also on failure */
    run(m);
}

/* ------------------------------------------------------------ answers */

static const char index_page[] = "<html><head><title>scistreamd</title></head><body><a href=\"/metrics\">metrics</a></body></html>\n";

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *type, struct MHD_Response *r)
{
    if (!r)
        return MHD_NO; /* closes it */
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result done = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return done;
}

static enum MHD_Result answer_text(struct MHD_Connection *c, unsigned status, const char *type, const char *text)
{
    return answer(c, status, type, MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result answer_metrics(struct MHD_Connection *c, const struct metrics *m)
{
    size_t len;
    char *page = metrics_page(m->sources, &len);
    if (!page)
        return MHD_NO;
    struct MHD_Response *r = MHD_create_response_from_buffer(len, page, MHD_RESPMEM_MUST_FREE);
    if (!r)
        free(page);
    return answer(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", r);
}

/* Called once for the head, with *state NULL, and again when the request is complete. */
static enum MHD_Result on_request(void *user, struct MHD_Connection *c, const char *url, const char *method, const char *version UNUSED,
                                  const char *body UNUSED, size_t *body_size, void **state)
{
    static char seen;
    if (!str_eq(method, MHD_HTTP_METHOD_GET) && !str_eq(method, MHD_HTTP_METHOD_HEAD))
        return answer_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD\n");
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    if (*body_size) {
        *body_size = 0;
        return MHD_YES;
    }
    if (str_eq(url, "/metrics"))
        return answer_metrics(c, user);
    if (str_eq(url, "/"))
        return answer_text(c, MHD_HTTP_OK, "text/html; charset=utf-8", index_page);
    return answer_text(c, MHD_HTTP_NOT_FOUND, "text/plain", "there is only /metrics\n");
}

/* ------------------------------------------------------------ life */

static int start_http(struct metrics *m)
{
    m->starting = true;
    m->http = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, m,
                               MHD_OPTION_EXTERNAL_LOGGER, on_http_log, m, MHD_OPTION_NOTIFY_CONNECTION, on_connection, m,
                               MHD_OPTION_CONNECTION_LIMIT, 2U * VISITORS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)VISITOR_MEMORY,
                               MHD_OPTION_END);
    m->starting = false;
    if (!m->http)
        return -ENOMEM;
    return loop_add(m->loop, &m->io, MHD_get_daemon_info(m->http, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, EPOLLIN);
}

struct metrics *metrics_open(struct loop *l, int fd, const struct metrics_sources *s, char *why, size_t why_size)
{
    struct metrics *m = mem_zalloc(1, sizeof(*m));
    m->loop = l;
    m->sources = s;
    m->io = (struct io){ .fd = -1, .ready = on_http };
    m->listener.fd = -1;
    m->due.fire = on_due;
    m->patience.fire = on_patience;
    list_init(&m->visitors);
    int rc = start_http(m);
    if (rc == 0)
        rc = listener_start(&m->listener, l, fd_take(&fd), "metrics", on_accept);
    fd_close(&fd);
    if (rc == 0)
        return m;
    snprintf(why, why_size, "metrics: the HTTP server cannot start: %s", *m->why ? m->why : strerror(-rc));
    metrics_close(m);
    return NULL;
}

int metrics_fd(const struct metrics *m) { return m ? m->listener.fd : -1; }

void metrics_deaf(struct metrics *m)
{
    if (m)
        listener_stop(&m->listener);
}

void metrics_rest(struct metrics *m)
{
    if (m)
        listener_rest(&m->listener);
}

int metrics_wake(struct metrics *m) { return m ? listener_wake(&m->listener) : 0; }

void metrics_close(struct metrics *m)
{
    if (!m)
        return;
    listener_stop(&m->listener);
    loop_del(m->loop, &m->io);
    if (m->http)
        MHD_stop_daemon(m->http);
    loop_timer_stop(m->loop, &m->due);
    loop_timer_stop(m->loop, &m->patience);
    free(m);
}
