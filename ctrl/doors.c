#include "ctrl/doors.h"

#include <stdio.h>

#include "ctrl/admission.h"
#include "src/core/board.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "tcp/sock.h"

#define LOOK_AGAIN_NS (30 * NS_PER_S) /* for the addresses of a name */
#define LOOK_SOON_NS (2 * NS_PER_S)   /* after a failure, while none is known */

/* A TCP peer that a route connects to. */
struct backend {
    struct list node;
    struct doors *ds;
    const struct route *r;
    char *address[RESOLVE_MAX];
    size_t n;
    struct resolve *question;
    struct timer again;
    bool complained;
};

struct door {
    unsigned number;
    const struct route *r;
    int fd;
    char *name;
};

struct doors {
    const struct conf *conf;
    struct loop *loop;
    struct pool *pool;
    struct resolver *resolver;
    struct records *records;
    struct door door[BOARD_DOORS];
    unsigned n;
    struct list backends;
};

/* ------------------------------------------------------------ binding */

static int bind_one(struct doors *ds, const struct route *r, const char *text, char *why, size_t size)
{
    struct addr a;
    union sockaddr_any at;
    char detail[200];
    if (ds->n == BOARD_DOORS) {
        snprintf(why, size, "there are more than %d places for TCP peers in the accepts of all routes", BOARD_DOORS);
        return -SST_ECONF;
    }
    if (addr_parse(text, &a, detail, sizeof(detail)) < 0 || addr_numeric(a.host, a.port, &at) < 0) {
        snprintf(why, size, "route %s: %s is no numeric address", r->c->name, text);
        return -SST_ECONF;
    }
    int fd = sock_listen(&at);
    if (fd < 0) {
        snprintf(why, size, "route %s: cannot listen on %s: %s%s", r->c->name, text, err_text(fd),
                 fd == -EADDRINUSE      ? "; another program or route has the port (ss -ltnp), or choose another"
                 : fd == -EACCES        ? "; ports below 1024 need root"
                 : fd == -EADDRNOTAVAIL ? "; this machine has no such address"
                                        : "");
        return fd;
    }
    ds->door[ds->n] = (struct door){ .number = ds->n, .r = r, .fd = fd, .name = mem_printf("route %s, %s", r->c->name, text) };
    ds->n++;
    return 0;
}

static int bind_route(struct doors *ds, const struct route *r, char *why, size_t size)
{
    int rc = 0;
    for (char *const *t = r->c->accept; *t && rc == 0; t++)
        if (str_starts(*t, CONF_TCP))
            rc = bind_one(ds, r, *t, why, size);
    return rc;
}

/* ------------------------------------------------------------ where the TCP peers are */

static struct backend *backend_of(const struct doors *ds, const struct route *r)
{
    list_for_each(n, &ds->backends)
        if (list_entry(n, struct backend, node)->r == r)
            return list_entry(n, struct backend, node);
    return NULL;
}

static void tell_workers(struct doors *ds, const struct route *r);

static void take_addresses(struct backend *b, const union sockaddr_any *a, size_t n)
{
    char text[ADDR_TEXT];
    for (size_t i = 0; i < b->n; i++)
        free(b->address[i]);
    for (size_t i = 0; i < n; i++)
        b->address[i] = mem_strdup(addr_format_host(&a[i], text));
    b->n = n;
}

static bool same_addresses(const struct backend *b, const union sockaddr_any *a, size_t n)
{
    char text[ADDR_TEXT];
    for (size_t i = 0; i < n && n == b->n; i++)
        if (!str_eq(b->address[i], addr_format_host(&a[i], text)))
            return false;
    return n == b->n;
}

/* What was known stays in use while a name server does not answer. */
static void on_resolved(void *user, int rc, const union sockaddr_any *a, size_t n, const char *why)
{
    struct backend *b = user;
    b->question = NULL;
    if (rc < 0 && !b->complained)
        log_warn("route %s: %s: %s%s", b->r->c->name, b->r->c->connect, why, b->n ? "; the addresses of before are used" : "");
    b->complained = rc < 0;
    if (rc == 0 && !same_addresses(b, a, n)) {
        take_addresses(b, a, n);
        tell_workers(b->ds, b->r);
    }
    loop_timer(b->ds->loop, &b->again, b->n ? LOOK_AGAIN_NS : LOOK_SOON_NS);
}

static void look_up(struct timer *t)
{
    struct backend *b = container_of(t, struct backend, again);
    b->question = resolve_start(b->ds->resolver, b->r->next.host, b->r->next.port, on_resolved, b);
}

static void add_backend(struct doors *ds, const struct route *r)
{
    struct backend *b = mem_zalloc(1, sizeof(*b));
    union sockaddr_any a;
    b->ds = ds;
    b->r = r;
    b->again.fire = look_up;
    list_add_tail(&ds->backends, &b->node);
    if (addr_numeric(r->next.host, r->next.port, &a) == 0)
        take_addresses(b, &a, 1);
}

void doors_peer(const struct doors *ds, const struct route *r, Scistream__Worker__TcpPeer *out)
{
    const struct backend *b = backend_of(ds, r);
    scistream__worker__tcp_peer__init(out);
    out->addresses = b ? (char **)(uintptr_t)b->address : NULL;
    out->n_addresses = b ? b->n : 0;
    out->port = r->next.port;
    out->source = r->c->source_address;
    out->proxy = r->c->proxy_protocol;
    out->connect_ns = r->c->connect_timeout;
    out->keep_ns = r->c->keepalive;
}

/* ------------------------------------------------------------ telling */

/* Relays are told of one by one where somebody reads it. */
static bool wants_ends(const struct conf *c) { return c->g.log_level >= LOG_LEVEL_INFO || *c->g.records; }

static void tell(struct doors *ds, const struct door *d, struct pool_worker *w, bool with_fd)
{
    Scistream__Worker__Door m = SCISTREAM__WORKER__DOOR__INIT;
    Scistream__Worker__TcpPeer to;
    ToWorker t = SCISTREAM__WORKER__TO_WORKER__INIT;
    m.number = d->number;
    m.name = d->name;
    m.connections = (uint64_t)d->r->c->connections;
    m.memory_limit = admission_limit(ds->conf);
    m.keep_ns = d->r->c->keepalive;
    m.tell = wants_ends(ds->conf);
    if (d->r->tcp) {
        doors_peer(ds, d->r, &to);
        m.to = &to;
    }
    t.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_DOOR;
    t.door = &m;
    if (pool_send(w, &t, with_fd ? d->fd : -1) < 0)
        log_error("worker %u: cannot be told about %s", w->index, d->name);
}

void doors_worker_started(struct doors *ds, struct pool_worker *w)
{
    for (unsigned i = 0; i < ds->n; i++)
        if (ds->door[i].fd >= 0)
            tell(ds, &ds->door[i], w, true);
}

static void tell_workers(struct doors *ds, const struct route *r)
{
    for (unsigned i = 0; i < ds->n; i++)
        for (unsigned k = 0; ds->door[i].r == r && ds->door[i].fd >= 0 && k < pool_size(ds->pool); k++)
            if (pool_at(ds->pool, k)->started)
                tell(ds, &ds->door[i], pool_at(ds->pool, k), false);
}

const struct route *doors_route(const struct doors *ds, unsigned number) { return number < ds->n ? ds->door[number].r : NULL; }
const char *doors_name(const struct doors *ds, unsigned number) { return number < ds->n ? ds->door[number].name : "?"; }
size_t doors_count(const struct doors *ds) { return ds->n; }

static void record(const struct doors *ds, const Scistream__Worker__Relayed *m)
{
    const struct route *r = doors_route(ds, m->door);
    int rc = m->code ? err_from_wire(m->code) : 0;
    struct record e = { .route = r ? r->c->name : NULL, .source = { .peer = m->peer, .transport = "tcp", .security = "plaintext" },
                        .sink = { .peer = m->backend, .transport = "tcp", .security = "plaintext" },
                        .moved.bytes = { m->forward, m->backward }, .ns = m->ns, .outcome = rc ? "aborted" : "relayed", .rc = rc, .reason = m->text };
    for (unsigned i = 0; i < 2 * WAIT_KINDS; i++)
        e.moved.wait_ns[i / WAIT_KINDS][i % WAIT_KINDS] = m->wait_ns[i];
    records_write(ds->records, &e);
}

void doors_relayed(const struct doors *ds, const struct pool_worker *w, const Scistream__Worker__Relayed *m)
{
    char out[UNITS_TEXT], back[UNITS_TEXT];
    const struct route *r = doors_route(ds, m->door);
    log_info("relay %s: %s -> %s %s%s: %s there, %s back, %.3f s, worker %u", r ? r->c->name : "?", m->peer, *m->backend ? m->backend : "nobody",
             m->code ? "failed: " : "ended", m->text, units_human_size(out, m->forward), units_human_size(back, m->backward), (double)m->ns / 1e9,
             w->index);
    record(ds, m);
}

/* ------------------------------------------------------------ life */

struct doors *doors_open(const struct conf *conf, const struct routes *routes, char *why, size_t why_size)
{
    struct doors *ds = mem_zalloc(1, sizeof(*ds));
    int rc = 0;
    ds->conf = conf;
    list_init(&ds->backends);
    for (size_t i = 0; i < routes->n && rc == 0; i++) {
        rc = bind_route(ds, &routes->r[i], why, why_size);
        if (rc == 0 && routes->r[i].tcp)
            add_backend(ds, &routes->r[i]);
    }
    if (rc == 0)
        return ds;
    doors_free(ds);
    return NULL;
}

void doors_start(struct doors *ds, struct loop *l, struct pool *p, struct resolver *r, struct records *records)
{
    ds->records = records;
    ds->loop = l;
    ds->pool = p;
    ds->resolver = r;
    list_for_each(n, &ds->backends) {
        struct backend *b = list_entry(n, struct backend, node);
        if (b->n == 0)
            look_up(&b->again);
    }
}

void doors_close(struct doors *ds)
{
    Scistream__Worker__Undoor m = SCISTREAM__WORKER__UNDOOR__INIT;
    ToWorker t = SCISTREAM__WORKER__TO_WORKER__INIT;
    t.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_UNDOOR;
    t.undoor = &m;
    for (unsigned i = 0; i < ds->n; i++) {
        m.number = i;
        for (unsigned k = 0; ds->pool && ds->door[i].fd >= 0 && k < pool_size(ds->pool); k++)
            (void)pool_send(pool_at(ds->pool, k), &t, -1); /* one that is dead accepts no more either */
        fd_close(&ds->door[i].fd);
    }
}

static void free_backend(struct backend *b)
{
    if (b->ds->loop)
        loop_timer_stop(b->ds->loop, &b->again);
    resolve_cancel(b->question);
    take_addresses(b, NULL, 0);
    list_del(&b->node);
    free(b);
}

void doors_free(struct doors *ds)
{
    if (!ds)
        return;
    for (unsigned i = 0; i < ds->n; i++) {
        fd_close(&ds->door[i].fd);
        free(ds->door[i].name);
    }
    list_for_each_safe(n, &ds->backends)
        free_backend(list_entry(n, struct backend, node));
    free(ds);
}
