#include "ctrl/doors_priv.h"

#include <stdio.h>
#include <sys/socket.h>

#include "ctrl/admission.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "tcp/sock.h"

#define LOOK_AGAIN_NS (30 * NS_PER_S) /* for the addresses of a name */
#define LOOK_SOON_NS (2 * NS_PER_S)   /* after a failure, while none is known */
#define REFUSED_A_TURN 64

/* A TCP peer that a route connects to. */
struct backend {
    struct list node;
    struct doors *ds;
    struct route *r;          /* held */
    char *address[RESOLVE_MAX];
    size_t n;
    struct resolve *question;
    struct timer again;
    bool complained;
};

/* Bound for routes that are not in force yet. */
struct fresh { struct list node; int fd; char *at; };

struct door *doors_next(struct doors *ds, struct door *d)
{
    unsigned i = d ? (unsigned)(d - ds->door) + 1 : 0;
    if (i >= ds->n && i < BOARD_ROUTE_DOORS)
        i = BOARD_ROUTE_DOORS;
    return i < ds->places ? &ds->door[i] : NULL;
}

struct door *doors_find(const struct doors *ds, unsigned number)
{
    unsigned place = board_place(number);
    const struct door *d = &ds->door[place];
    if (number < BOARD_ROUTE_DOORS ? number >= ds->n : place >= ds->places || d->number != number)
        return NULL;
    return (struct door *)(uintptr_t)d;
}

/* ------------------------------------------------------------ binding */

static int bind_one(const struct route *r, const char *text, int *out, char *why, size_t size)
{
    struct addr a;
    union sockaddr_any at;
    char detail[200];
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
    *out = fd;
    return 0;
}

static struct door *find_door(struct doors *ds, const char *at)
{
    for (unsigned i = 0; i < ds->n; i++)
        if (ds->door[i].fd >= 0 && str_eq(ds->door[i].at, at))
            return &ds->door[i];
    return NULL;
}

static struct fresh *find_fresh(struct doors *ds, const char *at)
{
    list_for_each(n, &ds->fresh)
        if (str_eq(list_entry(n, struct fresh, node)->at, at))
            return list_entry(n, struct fresh, node);
    return NULL;
}

static void drop_fresh(struct doors *ds)
{
    struct list *n;
    while ((n = list_pop(&ds->fresh))) {
        struct fresh *f = list_entry(n, struct fresh, node);
        fd_close(&f->fd);
        free(f->at);
        free(f);
    }
}

static int need(struct doors *ds, const struct route *r, const char *at, char *why, size_t size)
{
    int fd, rc = find_door(ds, at) || find_fresh(ds, at) ? 0 : bind_one(r, at, &fd, why, size);
    if (rc < 0 || find_door(ds, at) || find_fresh(ds, at))
        return rc;
    struct fresh *f = mem_zalloc(1, sizeof(*f));
    f->fd = fd;
    f->at = mem_strdup(at);
    list_add_tail(&ds->fresh, &f->node);
    return 0;
}

int doors_prepare(struct doors *ds, const struct routes *now, char *why, size_t why_size)
{
    unsigned n = 0;
    int rc = 0;
    for (size_t i = 0; i < now->n && rc == 0; i++)
        for (char *const *t = now->r[i]->c->accept; *t && rc == 0; t++) {
            if (!str_starts(*t, CONF_TCP))
                continue;
            if (++n <= BOARD_ROUTE_DOORS) {
                rc = need(ds, now->r[i], *t, why, why_size);
                continue;
            }
            snprintf(why, why_size, "there are more than %d places for TCP peers in the accepts of all routes", BOARD_ROUTE_DOORS);
            rc = -SST_ECONF;
        }
    if (rc < 0)
        drop_fresh(ds);
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

/* Of a route that is not in force any more. */
static struct backend *backend_at(const struct doors *ds, const struct addr *to)
{
    list_for_each(n, &ds->backends) {
        struct backend *b = list_entry(n, struct backend, node);
        if (b->r->next.port == to->port && str_eq(b->r->next.host, to->host))
            return b;
    }
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

static struct backend *add_backend(struct doors *ds, struct route *r)
{
    struct backend *b = mem_zalloc(1, sizeof(*b));
    union sockaddr_any a;
    b->ds = ds;
    b->r = route_hold(r);
    b->again.fire = look_up;
    list_add_tail(&ds->backends, &b->node);
    if (addr_numeric(r->next.host, r->next.port, &a) == 0)
        take_addresses(b, &a, 1);
    return b;
}

void doors_peer(const struct doors *ds, const struct route *r, Scistream__Worker__TcpPeer *out)
{
    const struct backend *b = backend_of(ds, r);
    if (!b)
        b = backend_at(ds, &r->next);
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

static uint32_t share_of(const struct doors *ds, const struct door *d)
{
    return d->lease ? d->lease->share : shares_route(ds->shares, d->r->c->name, conf_route_segments(d->r->c));
}

/* A listener of a session has one; what control serves itself has its rings from there. */
uint64_t door_promised(const struct doors *ds, const struct door *d)
{
    if (d->fd < 0 || (d->r && !d->r->tcp) || !shares_steady(ds->shares, share_of(ds, d)))
        return 0;
    return d->r ? conf_route_promised(d->r->c) : 1;
}

uint64_t doors_reserved(const struct doors *ds, const char *route) { return shares_route_rate(ds->shares, route); }

uint64_t doors_kept_memory(const struct doors *ds)
{
    uint64_t n = 0;
    for each_door((struct doors *)(uintptr_t)ds, d) {
        uint64_t promised = door_promised(ds, d);
        n += promised ? promised - MIN(promised, board_open(pool_board(ds->pool), board_place(d->number))) : 0;
    }
    return n * 2 * BOARD_RELAY_RING;
}

static void fill_for_route(const struct doors *ds, const struct door *d, Scistream__Worker__Door *m, Scistream__Worker__TcpPeer *to)
{
    m->connections = (uint64_t)d->r->c->connections;
    m->keep_ns = d->r->c->keepalive;
    if (!d->r->tcp)
        return;
    m->share = share_of(ds, d);
    doors_peer(ds, d->r, to);
    m->to = to;
}

static bool hears(const struct doors *ds, const struct pool_worker *w) { return ds->begun && !ds->paused && w->started; }

/* only: NULL: all workers that run. */
static void tell(struct doors *ds, const struct door *d, struct pool_worker *only, bool with_fd)
{
    Scistream__Worker__Door m = SCISTREAM__WORKER__DOOR__INIT;
    Scistream__Worker__TcpPeer to;
    ToWorker t = SCISTREAM__WORKER__TO_WORKER__INIT;
    struct door_keys keys;
    m.number = d->number;
    m.name = d->name;
    m.tell = wants_ends(ds->conf);
    m.promised = door_promised(ds, d);
    if (d->lease)
        door_lease_fill(ds, d, &m, &to, &keys);
    else
        fill_for_route(ds, d, &m, &to);
    sock_tune_peer(d->fd, m.keep_ns); /* those that it accepts have the same */
    t.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_DOOR;
    t.door = &m;
    for (unsigned k = 0; k < pool_size(ds->pool); k++) {
        struct pool_worker *w = pool_at(ds->pool, k);
        if (hears(ds, w) && (!only || w == only) && pool_send(w, &t, with_fd ? d->fd : -1) < 0)
            log_error("worker %u: cannot be told about %s", w->index, d->name);
    }
    secret_wipe(&keys, sizeof(keys));
}

void doors_worker_started(struct doors *ds, struct pool_worker *w)
{
    for each_door(ds, d)
        if (hears(ds, w) && door_is_ready(d))
            tell(ds, d, w, true);
}

void doors_begin(struct doors *ds)
{
    ds->begun = true;
    for (unsigned k = 0; k < pool_size(ds->pool); k++)
        if (pool_at(ds->pool, k)->started)
            doors_worker_started(ds, pool_at(ds->pool, k));
}

void doors_tell(struct doors *ds, const struct door *d, bool with_fd)
{
    if (ds->begun && !ds->paused)
        tell(ds, d, NULL, with_fd);
}

static void tell_workers(struct doors *ds, const struct route *r)
{
    for (unsigned i = 0; i < ds->n; i++)
        if (ds->door[i].r == r && door_is_ready(&ds->door[i]))
            doors_tell(ds, &ds->door[i], false);
}

/* Workers accept there no more. */
static void untell(struct doors *ds, const struct door *d)
{
    Scistream__Worker__Undoor m = SCISTREAM__WORKER__UNDOOR__INIT;
    m.number = d->number;
    doors_tell_undoor(ds, &m);
}

void doors_tell_undoor(struct doors *ds, Scistream__Worker__Undoor *m)
{
    ToWorker t = SCISTREAM__WORKER__TO_WORKER__INIT;
    t.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_UNDOOR;
    t.undoor = m;
    for (unsigned k = 0; ds->pool && k < pool_size(ds->pool); k++)
        (void)pool_send(pool_at(ds->pool, k), &t, -1); /* one that is dead accepts no more either */
}

struct route *doors_route(const struct doors *ds, unsigned number) { return number < ds->n ? ds->door[number].r : NULL; }
const char *doors_route_name(const void *doors, unsigned number)
{
    const struct doors *ds = doors;
    const struct route *r = doors_route(ds, number);
    if (board_place(number) >= BOARD_ROUTE_DOORS)
        return board_place(number) < ds->places ? DOORS_SESSIONS : NULL;
    return r ? r->c->name : NULL;
}

const char *doors_name(const struct doors *ds, unsigned number)
{
    const struct door *d = doors_find(ds, number);
    return d ? d->name : "?";
}

size_t doors_count(const struct doors *ds) { return ds->n; }

static void record(const struct doors *ds, const Scistream__Worker__Relayed *m)
{
    const struct door *d = doors_find(ds, m->door);
    int rc = m->code ? err_from_wire(m->code) : 0;
    struct record e = { .route = doors_route_name(ds, m->door), .uid = doors_uid(ds, m->door),
                        .source = { .principal = d && d->lease ? d->lease->principal : NULL, .peer = m->peer, .transport = "tcp", .security = "plaintext" },
                        .sink = { .peer = m->backend, .transport = "tcp", .security = "plaintext" },
                        .moved.bytes = { m->forward, m->backward }, .ns = m->ns, .outcome = rc ? "aborted" : "relayed", .rc = rc, .reason = m->text };
    for (unsigned i = 0; i < 2 * WAIT_KINDS; i++)
        e.moved.wait_ns[i / WAIT_KINDS][i % WAIT_KINDS] = m->wait_ns[i];
    records_write(ds->records, &e);
}

/* A storm of relays is not one of lines; all of them are in the records, if they are wanted. */
void doors_relayed(struct doors *ds, const struct pool_worker *w, const Scistream__Worker__Relayed *m)
{
    char out[UNITS_TEXT], back[UNITS_TEXT];
    static struct log_gate unknown = LOG_GATE;
    struct door *d = doors_find(ds, m->door);
    const char *of = d && d->lease ? d->lease->uid : doors_route_name(ds, m->door);
    log_gated(!d ? &unknown : m->code ? &d->failed : &d->clean, LOG_LEVEL_INFO, "relay %s%s: %s -> %s %s%s: %s there, %s back, %.3f s, worker %u",
              d && d->lease ? "of session " : "", of ? of : "?", m->peer, *m->backend ? m->backend : "nobody", m->code ? "failed: " : "ended", m->text, units_human_size(out, m->forward),
              units_human_size(back, m->backward), (double)m->ns / 1e9, w->index);
    record(ds, m);
}

static void record_lost(struct doors *ds, const struct pool_worker *w, const struct stats_relay *st)
{
    Scistream__Worker__Relayed m = SCISTREAM__WORKER__RELAYED__INIT;
    char peer[ADDR_TEXT], backend[ADDR_TEXT] = "";
    uint64_t waits[2 * WAIT_KINDS];
    for (unsigned i = 0; i < ARRAY_LEN(waits); i++)
        waits[i] = stats_get(&st->c.flow[i / WAIT_KINDS].wait_ns[i % WAIT_KINDS]);
    m.door = atomic_load_explicit(&st->door, memory_order_relaxed);
    m.peer = (char *)(uintptr_t)addr_format(&st->peer, peer);
    if (st->backend.sa.sa_family != AF_UNSPEC)
        addr_format(&st->backend, backend);
    m.backend = backend;
    m.forward = stats_get(&st->c.flow[0].rel);
    m.backward = stats_get(&st->c.flow[1].rel);
    m.ns = now_ns() - stats_get(&st->born_ns);
    m.code = err_to_wire(-SST_EWORKER);
    m.text = (char *)(uintptr_t)err_text(-SST_EWORKER);
    m.wait_ns = waits;
    m.n_wait_ns = ARRAY_LEN(waits);
    doors_relayed(ds, w, &m);
}

void doors_worker_died(struct doors *ds, const struct pool_worker *w)
{
    const struct stats_page *p = w->stats;
    uint64_t high = p ? MIN(stats_get(&p->relay_high), STATS_RELAYS) : 0;
    for (uint64_t i = 0; i < high; i++)
        if (stats_get(&p->relay[i].c.id)) {
            record_lost(ds, w, &p->relay[i]);
            doors_session_lost(ds, atomic_load_explicit(&p->relay[i].door, memory_order_relaxed), &p->relay[i]);
        }
    if (p)
        doors_session_worker_died(ds, p);
}

/* ------------------------------------------------------------ going by other routes */

/* One that was never used: what ended there is counted by its number. Else one that was closed. */
static struct door *new_door(struct doors *ds)
{
    struct door *d = NULL;
    if (ds->n < BOARD_ROUTE_DOORS)
        return &ds->door[ds->n++];
    for (unsigned i = 0; i < ds->n && !d; i++)
        if (ds->door[i].fd < 0)
            d = &ds->door[i];
    if (d) {
        route_drop(d->r);
        free(d->name);
        free(d->at);
    }
    return d; /* never NULL: they were counted */
}

static void open_door(struct doors *ds, struct route *r, struct fresh *f)
{
    struct door *d = new_door(ds);
    *d = (struct door){ .number = (unsigned)(d - ds->door), .r = route_hold(r), .fd = fd_take(&f->fd), .at = f->at, .refusing.fd = -1,
                        .wanted = true, .clean = LOG_GATE, .failed = LOG_GATE, .name = mem_printf("route %s, %s", r->c->name, f->at) };
    list_del(&f->node);
    free(f);
    doors_tell(ds, d, true);
}

static void keep_door(struct doors *ds, struct route *r, struct door *d)
{
    route_hold(r);
    route_drop(d->r);
    d->r = r;
    d->wanted = true;
    free(d->name);
    d->name = mem_printf("route %s, %s", r->c->name, d->at);
    doors_tell(ds, d, false);
}

static void close_door(struct doors *ds, struct door *d)
{
    if (d->fd < 0)
        return;
    untell(ds, d);
    if (ds->loop)
        loop_del(ds->loop, &d->refusing);
    if (d->lease) /* nobody else has it, as an heir has those of routes */
        (void)shutdown(d->fd, SHUT_RDWR);
    fd_close(&d->fd);
}

static void want_doors(struct doors *ds, const struct route *r)
{
    for (char *const *t = r->c->accept; *t; t++) {
        struct door *d = find_door(ds, *t);
        if (d)
            d->wanted = true;
    }
}

static void follow_doors(struct doors *ds, struct route *r)
{
    for (char *const *t = r->c->accept; *t; t++) {
        if (!str_starts(*t, CONF_TCP))
            continue;
        struct door *d = find_door(ds, *t);
        if (d)
            keep_door(ds, r, d);
        else
            open_door(ds, r, find_fresh(ds, *t));
    }
}

static void free_backend(struct backend *b)
{
    if (b->ds->loop)
        loop_timer_stop(b->ds->loop, &b->again);
    resolve_cancel(b->question);
    take_addresses(b, NULL, 0);
    list_del(&b->node);
    route_drop(b->r);
    free(b);
}

static bool is_numeric(const struct addr *to)
{
    union sockaddr_any a;
    return addr_numeric(to->host, to->port, &a) == 0;
}

/* Those that stay keep what they know of the name. */
static void follow_backends(struct doors *ds, const struct routes *now)
{
    struct list before;
    list_init(&before);
    list_splice_tail(&before, &ds->backends);
    for (size_t i = 0; i < now->n; i++) {
        struct route *r = now->r[i];
        if (!r->tcp)
            continue;
        struct backend *b = add_backend(ds, r);
        list_for_each(n, &before) {
            const struct backend *old = list_entry(n, struct backend, node);
            for (size_t k = 0; b->n == 0 && k < old->n && old->r->next.port == r->next.port && str_eq(old->r->next.host, r->next.host); k++)
                b->address[k] = mem_strdup(old->address[k]);
            if (b->n == 0 && b->address[0])
                b->n = old->n;
        }
        if (ds->loop && (b->n == 0 || !is_numeric(&r->next)))
            look_up(&b->again);
    }
    list_for_each_safe(n, &before)
        free_backend(list_entry(n, struct backend, node));
}

void doors_follow(struct doors *ds, const struct routes *now)
{
    for (unsigned i = 0; i < ds->n; i++)
        ds->door[i].wanted = false;
    follow_backends(ds, now);
    for (size_t i = 0; i < now->n; i++)
        want_doors(ds, now->r[i]);
    for (unsigned i = 0; i < ds->n; i++) /* before others are opened, which may need their numbers */
        if (!ds->door[i].wanted)
            close_door(ds, &ds->door[i]);
    for (size_t i = 0; i < now->n; i++)
        follow_doors(ds, now->r[i]);
    for each_door(ds, d) /* limits and times may be others */
        if (d->lease && door_is_ready(d))
            doors_tell(ds, d, false);
    if (ds->paused)
        doors_pause(ds);
}

/* ------------------------------------------------------------ pausing */

/* Some of them in a turn: who comes again and again is not to keep control from all else. */
static void on_unwanted(struct io *io, uint32_t events UNUSED)
{
    int fd;
    for (int i = 0; i < REFUSED_A_TURN && (fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0; i++)
        close(fd); /* a reset: sock_tune_peer */
}

void doors_refuse(struct doors *ds, struct door *d)
{
    if (d->fd < 0 || d->refusing.fd >= 0)
        return;
    untell(ds, d);
    d->refusing.ready = on_unwanted;
    if (loop_add(ds->loop, &d->refusing, d->fd, EPOLLIN) < 0)
        log_warn("%s: who comes now is not refused, but waits there", d->name);
}

void doors_pause(struct doors *ds)
{
    ds->paused = true;
    for each_door(ds, d)
        doors_refuse(ds, d);
}

void doors_resume(struct doors *ds)
{
    ds->paused = false;
    for each_door(ds, d) {
        if (d->fd < 0 || (d->lease && d->lease->shut))
            continue;
        loop_del(ds->loop, &d->refusing);
        if (door_is_ready(d))
            doors_tell(ds, d, true);
    }
}

void doors_abort_relays(struct doors *ds, int rc)
{
    Scistream__Worker__Close m = SCISTREAM__WORKER__CLOSE__INIT;
    ToWorker t = SCISTREAM__WORKER__TO_WORKER__INIT;
    t.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_CLOSE;
    t.close = &m;
    m.code = err_to_wire(rc);
    m.channel = ALL_RELAYS;
    for (unsigned k = 0; k < pool_size(ds->pool); k++)
        (void)pool_send(pool_at(ds->pool, k), &t, -1); /* a dead worker has none */
}

/* ------------------------------------------------------------ life */

struct doors *doors_open(const struct conf *conf, const struct routes *routes, char *why, size_t why_size)
{
    struct doors *ds = mem_zalloc(1, sizeof(*ds));
    ds->conf = conf;
    list_init(&ds->backends);
    list_init(&ds->fresh);
    list_init(&ds->free);
    ds->places = BOARD_ROUTE_DOORS;
    if (doors_prepare(ds, routes, why, why_size) == 0) {
        doors_follow(ds, routes);
        return ds;
    }
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

void doors_use_shares(struct doors *ds, struct shares *sh) { ds->shares = sh; }

void doors_each(const struct doors *ds, void (*each)(void *user, int fd), void *user)
{
    for (unsigned i = 0; i < ds->n; i++)
        if (ds->door[i].fd >= 0)
            each(user, ds->door[i].fd);
}

void doors_close(struct doors *ds)
{
    for each_door(ds, d)
        close_door(ds, d);
}

void doors_retire(struct doors *ds)
{
    for (unsigned i = 0; i < ds->n; i++)
        close_door(ds, &ds->door[i]);
}

void doors_rest(struct doors *ds)
{
    for (unsigned i = 0; i < ds->n; i++) {
        if (door_is_ready(&ds->door[i]))
            untell(ds, &ds->door[i]);
        ds->door[i].resting = true;
    }
}

void doors_wake(struct doors *ds)
{
    for (unsigned i = 0; i < ds->n; i++) {
        ds->door[i].resting = false;
        if (door_is_ready(&ds->door[i]))
            doors_tell(ds, &ds->door[i], true);
    }
}

void doors_free(struct doors *ds)
{
    if (!ds)
        return;
    drop_fresh(ds);
    for each_door(ds, d) {
        if (ds->loop)
            loop_del(ds->loop, &d->refusing);
        fd_close(&d->fd);
        if (d->r)
            route_drop(d->r);
        door_lease_free(d);
        free(d->name);
        free(d->at);
    }
    list_for_each_safe(n, &ds->backends)
        free_backend(list_entry(n, struct backend, node));
    free(ds);
}
