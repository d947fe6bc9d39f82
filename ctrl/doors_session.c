/* Doors of sessions: ports of a range, each bound before it is promised, and free again when it is given back.
 *
 * Happy path: doors_lend (bound, whoever connects waits in the kernel's queue) -> doors_aim (workers have the socket and accept) -> doors_take_back.
 * What fails: fewer ports are free than are asked for, or one that is wanted is not: none is taken, and it is said how many there were, or which.
 * Workers have copies of the socket, and close them when they hear of it. So it is shut down first, which ends the listening in all of them at once:
 * the port can be bound again before they have heard. A door has a number that no other had, so that what is late finds nobody.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "ctrl/doors_priv.h"
#include "src/core/err.h"
#include "tcp/sock.h"

/* ------------------------------------------------------------ ports */

static bool is_lent(const struct doors *ds, unsigned port) { return ds->lent[port / 64] >> port % 64 & 1; }
static void mark(struct doors *ds, unsigned port) { ds->lent[port / 64] ^= 1ULL << port % 64; }

struct range { uint16_t first, last; union sockaddr_any at; };

static void read_range(const struct doors *ds, struct range *r)
{
    char host[ADDR_HOST_MAX + 1], why[200];
    uint16_t port;
    const char *address = ds->conf->scistream.data_address;
    addr_parse_ports(ds->conf->scistream.data_ports, &r->first, &r->last); /* conf_check has seen all of it */
    addr_parse_hostport(ds->conf->g.listen, ADDR_PORT_DEFAULT, host, &port, why, sizeof(why));
    addr_numeric(*address ? address : host, 1, &r->at);
}

static int bind_port(struct range *r, unsigned port)
{
    if (r->at.sa.sa_family == AF_INET6)
        r->at.in6.sin6_port = htons((uint16_t)port);
    else
        r->at.in.sin_port = htons((uint16_t)port);
    return sock_listen(&r->at);
}

struct bound { int fd; uint16_t port; };

/* What is to be lent: n ports, of which `got` are bound by now. */
struct lending { struct doors *ds; const struct doors_borrower *b; struct range r; struct bound *bound; unsigned n, got; char *why; size_t why_size; };

static int give_up(const struct lending *l, int rc)
{
    for (unsigned i = 0; i < l->got; i++)
        close(l->bound[i].fd);
    return rc;
}

/* At most n. Each port is tried once, those that were given back last at the end. rc: why the last one could not be bound, if that is not because
 * somebody has it. */
static void bind_some(struct lending *l, int *rc)
{
    struct doors *ds = l->ds;
    unsigned count = l->r.last - l->r.first + 1U;
    for (unsigned i = 0; i < count && l->got < l->n; i++) {
        if (ds->next_port < l->r.first || ds->next_port > l->r.last)
            ds->next_port = l->r.first;
        unsigned port = ds->next_port;
        ds->next_port = port == l->r.last ? l->r.first : (uint16_t)(port + 1);
        int fd = is_lent(ds, port) ? -EADDRINUSE : bind_port(&l->r, port);
        if (fd >= 0)
            l->bound[l->got++] = (struct bound){ .fd = fd, .port = (uint16_t)port };
        else if (fd != -EADDRINUSE)
            *rc = fd;
    }
}

static int bind_any(struct lending *l)
{
    int rc = 0;
    bind_some(l, &rc);
    if (l->got == l->n)
        return 0;
    snprintf(l->why, l->why_size, "%u port%s asked for, %u of data_ports %s %s free%s%s: try again later, or give the gateway more of them", l->n,
             l->n == 1 ? " is" : "s are", l->got, l->ds->conf->scistream.data_ports, l->got == 1 ? "is" : "are", rc ? ", others: " : "", rc ? err_text(rc) : "");
    return give_up(l, -SST_ELIMIT);
}

static void tell_unwanted(const struct lending *l, unsigned port, int rc)
{
    if (rc == -EINVAL)
        snprintf(l->why, l->why_size, "port %u is none of data_ports %s", port, l->ds->conf->scistream.data_ports);
    else if (rc == -EADDRINUSE)
        snprintf(l->why, l->why_size, "port %u is in use, by another session or program: choose another", port);
    else
        snprintf(l->why, l->why_size, "port %u: %s", port, err_text(rc));
}

/* Just those. */
static int bind_wanted(struct lending *l)
{
    for (; l->got < l->n; l->got++) {
        unsigned port = l->b->ports[l->got];
        int fd = port < l->r.first || port > l->r.last ? -EINVAL : is_lent(l->ds, port) ? -EADDRINUSE : bind_port(&l->r, port);
        if (fd < 0) {
            tell_unwanted(l, port, fd);
            return give_up(l, fd);
        }
        l->bound[l->got] = (struct bound){ .fd = fd, .port = (uint16_t)port };
    }
    return 0;
}

/* ------------------------------------------------------------ places */

static uint64_t still_open(const struct doors *ds, unsigned place)
{
    uint64_t n = 0;
    for (unsigned k = 0; k < pool_size(ds->pool); k++) {
        const struct stats_page *p = pool_at(ds->pool, k)->stats;
        n += p ? stats_get(&p->door[place].open) : 0;
    }
    return n;
}

/* One from which the last connection of the door before has gone. NULL: there is none. */
static struct door *take_place(struct doors *ds)
{
    for (struct list *n = ds->free.next; n != &ds->free; n = n->next) {
        struct door *d = list_entry(n, struct door, free);
        if (still_open(ds, board_place(d->number)) > 0)
            continue;
        list_del(&d->free);
        return d;
    }
    if (ds->places == BOARD_DOORS)
        return NULL;
    struct door *d = &ds->door[ds->places];
    d->number = ds->places - BOARD_DOORS; /* it gets the next one */
    d->fd = d->refusing.fd = -1;
    list_init(&d->free);
    stats_set(&pool_board(ds->pool)->places, ++ds->places);
    return d;
}

static void add_pages(const struct doors *ds, unsigned place, struct doors_sum *to)
{
    for (unsigned k = 0; k < pool_size(ds->pool); k++) {
        const struct stats_page *p = pool_at(ds->pool, k)->stats;
        if (!p)
            continue;
        to->open += stats_get(&p->door[place].open);
        to->accepted += stats_get(&p->door[place].accepted);
        to->refused += stats_get(&p->door[place].refused);
        to->failed += stats_get(&p->door[place].failed);
        stats_sum_door(&to->moved, &p->door[place]);
    }
}

/* May pass below 0 and come back: they are added up before anybody looks. */
static void subtract(struct doors_sum *from, const struct doors_sum *s)
{
    from->open -= s->open;
    from->accepted -= s->accepted;
    from->refused -= s->refused;
    from->failed -= s->failed;
    for (unsigned f = 0; f < 2; f++) {
        from->moved.bytes[f] -= s->moved.bytes[f];
        for (unsigned w = 0; w < WAIT_KINDS; w++)
            from->moved.wait_ns[f][w] -= s->moved.wait_ns[f][w];
    }
}

void doors_add_sum(const struct doors *ds, uint32_t number, struct doors_sum *to)
{
    const struct door *d = doors_find(ds, number);
    if (!d || !d->lease)
        return;
    add_pages(ds, board_place(number), to);
    subtract(to, &d->lease->base);
}

/* ------------------------------------------------------------ lending */

static void forget_secret(struct door_lease *l)
{
    if (l->secret)
        secret_wipe(l->secret, TLS_KEY_SIZE);
    free(l->secret);
    l->secret = NULL;
}

void door_lease_free(struct door *d)
{
    if (!d->lease)
        return;
    forget_secret(d->lease);
    strv_free(d->lease->address);
    free(d->lease->uid);
    free(d->lease->principal);
    free(d->lease);
    d->lease = NULL;
}

static uint32_t open_door(struct doors *ds, struct door *d, const struct doors_borrower *b, const struct bound *at)
{
    door_lease_free(d);
    free(d->name);
    *d = (struct door){ .number = d->number + BOARD_DOORS, .fd = at->fd, .refusing.fd = -1, .clean = LOG_GATE, .failed = LOG_GATE,
                        .lease = mem_zalloc(1, sizeof(*d->lease)), .name = mem_printf("session %s, port %u", b->uid, at->port) };
    list_init(&d->free);
    d->lease->uid = mem_strdup(b->uid);
    d->lease->principal = mem_strdup(b->principal);
    d->lease->cons = b->cons;
    d->lease->share = shares_hold(ds->shares, b->uid, 1U << SEGMENT_WAN);
    d->lease->port = at->port;
    if (b->secret)
        d->lease->secret = memcpy(mem_zalloc(1, TLS_KEY_SIZE), b->secret, TLS_KEY_SIZE);
    add_pages(ds, board_place(d->number), &d->lease->base);
    d->lease->base.open = 0;
    mark(ds, at->port);
    if (ds->paused)
        doors_refuse(ds, d);
    return d->number;
}

/* All that are bound, or none; for how many there are places. */
static unsigned open_doors(const struct lending *l, uint32_t *numbers)
{
    unsigned got = 0;
    struct door **places = mem_zalloc(l->n, sizeof(struct door *));
    while (got < l->n && (places[got] = take_place(l->ds)))
        got++;
    for (unsigned i = 0; i < got && got == l->n; i++)
        numbers[i] = open_door(l->ds, places[i], l->b, &l->bound[i]);
    for (unsigned i = 0; i < got && got < l->n; i++)
        list_add_tail(&l->ds->free, &places[i]->free);
    free(places);
    return got;
}

int doors_lend(struct doors *ds, const struct doors_borrower *b, uint32_t *numbers, unsigned n, char *why, size_t why_size)
{
    AUTO_FREE struct bound *bound = mem_zalloc(n, sizeof(*bound));
    struct lending l = { .ds = ds, .b = b, .bound = bound, .n = n, .why = why, .why_size = why_size };
    read_range(ds, &l.r);
    int rc = b->ports ? bind_wanted(&l) : bind_any(&l);
    unsigned free_places = rc == 0 ? open_doors(&l, numbers) : 0;
    if (rc < 0 || free_places == n)
        return rc;
    snprintf(why, why_size, "%u ports are asked for, the gateway has places for %u more: release sessions", n, free_places);
    return give_up(&l, -SST_ELIMIT);
}

uint16_t doors_port(const struct doors *ds, uint32_t number)
{
    const struct door *d = doors_find(ds, number);
    return d && d->lease ? d->lease->port : 0;
}

uint32_t doors_share(const struct doors *ds, uint32_t number)
{
    const struct door *d = doors_find(ds, number);
    return d && d->lease ? d->lease->share : 0;
}

const char *doors_uid(const struct doors *ds, uint32_t number)
{
    const struct door *d = doors_find(ds, number);
    return d && d->lease ? d->lease->uid : "";
}

unsigned doors_places(const struct doors *ds) { return ds->places; }

/* ------------------------------------------------------------ where connections go */

/* Without a ticket there is nothing but the uid to key from. A stunnel as SciStream starts it has that, too. */
static void fill_psk(const struct doors *ds, const struct door *d, struct door_keys *k)
{
    static char identity[] = "scistream";
    scistream__worker__psk__init(&k->psk);
    const struct secret secret = { d->lease->secret, TLS_KEY_SIZE };
    auth_wan_key(d->lease->secret ? &secret : NULL, d->lease->uid, k->key);
    k->psk.identity = identity;
    k->psk.key = (ProtobufCBinaryData){ sizeof(k->key), k->key };
    k->psk.legacy = !d->lease->secret && auth_uid_key(d->lease->uid, k->uid_key);
    if (!k->psk.legacy)
        return;
    k->psk.uid_key = (ProtobufCBinaryData){ sizeof(k->uid_key), k->uid_key };
    k->psk.null_ciphers = ds->conf->scistream.legacy_null_ciphers;
}

void door_lease_fill(const struct doors *ds, const struct door *d, Scistream__Worker__Door *m, Scistream__Worker__TcpPeer *to, struct door_keys *keys)
{
    const struct conf_scistream *c = &ds->conf->scistream;
    scistream__worker__tcp_peer__init(to);
    to->addresses = d->lease->address;
    to->n_addresses = strv_len(d->lease->address);
    to->port = d->lease->target_port;
    to->connect_ns = c->connect_timeout;
    to->keep_ns = m->keep_ns = c->keepalive;
    m->connections = (uint64_t)c->connections;
    m->of_session = true;
    m->share = d->lease->share;
    m->to = to;
    if (c->wan != CONF_WAN_PSK && !d->lease->secret)
        return;
    fill_psk(ds, d, keys);
    *(d->lease->cons ? &to->psk : &m->psk) = &keys->psk;
}

void doors_aim(struct doors *ds, uint32_t number, const struct doors_target *t)
{
    struct door *d = doors_find(ds, number);
    if (!d || !d->lease)
        return;
    strv_free(d->lease->address);
    d->lease->address = mem_zalloc(t->n + 1, sizeof(char *));
    for (size_t i = 0; i < t->n; i++)
        d->lease->address[i] = mem_strdup(t->addresses[i]);
    d->lease->target_port = t->port;
    if (d->fd >= 0)
        doors_tell(ds, d, !d->lease->told);
    d->lease->told |= !ds->paused;
}

struct doors_target doors_target_of(const struct doors *ds, uint32_t number)
{
    const struct door *d = doors_find(ds, number);
    const struct door_lease *l = d ? d->lease : NULL;
    return l ? (struct doors_target){ .addresses = l->address, .n = strv_len(l->address), .port = l->target_port } : (struct doors_target){ .n = 0 };
}

static void shut(struct doors *ds, struct door *d)
{
    d->lease->shut = true;
    doors_refuse(ds, d);
}

static void open_again(struct doors *ds, struct door *d)
{
    d->lease->shut = false;
    if (d->fd < 0 || ds->paused)
        return;
    loop_del(ds->loop, &d->refusing);
    if (door_is_ready(d))
        doors_tell(ds, d, true);
}

void doors_shut(struct doors *ds, const uint32_t *numbers, unsigned n, bool shut_them)
{
    for (unsigned i = 0; i < n; i++) {
        struct door *d = doors_find(ds, numbers[i]);
        if (d && d->lease)
            (shut_them ? shut : open_again)(ds, d);
    }
}

/* ------------------------------------------------------------ giving back */

static void close_door(struct doors *ds, struct door *d)
{
    int fd = fd_take(&d->fd);
    mark(ds, d->lease->port);
    shares_drop(ds->shares, d->lease->share);
    d->lease->share = 0;
    forget_secret(d->lease);
    list_add_tail(&ds->free, &d->free);
    if (fd < 0)
        return;
    loop_del(ds->loop, &d->refusing);
    (void)shutdown(fd, SHUT_RDWR);
    close(fd);
}

void doors_take_back(struct doors *ds, const uint32_t *numbers, unsigned n, int rc, const char *text)
{
    Scistream__Worker__Undoor m = SCISTREAM__WORKER__UNDOOR__INIT;
    for (unsigned i = 0; i < n; i++) {
        struct door *d = doors_find(ds, numbers[i]);
        if (d && d->lease)
            close_door(ds, d);
    }
    if (n == 0)
        return;
    m.number = numbers[0];
    m.more = (uint32_t *)(uintptr_t)(numbers + 1);
    m.n_more = n - 1;
    m.code = err_to_wire(rc);
    m.text = (char *)(uintptr_t)text;
    doors_tell_undoor(ds, &m);
}

/* ------------------------------------------------------------ from program to program */

int doors_adopt(struct doors *ds, const struct doors_borrower *b, int *fds, unsigned n, uint32_t *numbers)
{
    AUTO_FREE struct bound *bound = mem_zalloc(n, sizeof(*bound));
    const struct lending l = { .ds = ds, .b = b, .bound = bound, .n = n, .got = n };
    for (unsigned i = 0; i < n; i++) {
        union sockaddr_any at = { 0 };
        socklen_t len = sizeof(at);
        (void)getsockname(fds[i], &at.sa, &len);
        bound[i] = (struct bound){ .fd = fd_take(&fds[i]), .port = addr_port(&at) };
    }
    return open_doors(&l, numbers) == n ? 0 : give_up(&l, -SST_ELIMIT);
}

void doors_hand_over(struct doors *ds, const uint32_t *numbers, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct door *d = doors_find(ds, numbers[i]);
        Scistream__Worker__Undoor m = SCISTREAM__WORKER__UNDOOR__INIT;
        if (!d || !d->lease || d->fd < 0)
            continue;
        m.number = d->number;
        doors_tell_undoor(ds, &m);
        forget_secret(d->lease);
        loop_del(ds->loop, &d->refusing);
        fd_close(&d->fd);
    }
}

int doors_fd(const struct doors *ds, uint32_t number)
{
    const struct door *d = doors_find(ds, number);
    return d && d->lease ? d->fd : -1;
}

/* ------------------------------------------------------------ counting */

struct stats_sum *doors_live(const struct doors *ds)
{
    struct stats_sum *live = mem_zalloc(ds->places, sizeof(*live));
    uint64_t now = now_ns();
    for (unsigned k = 0; k < pool_size(ds->pool); k++) {
        const struct stats_page *p = pool_at(ds->pool, k)->stats;
        uint64_t high = p ? MIN(stats_get(&p->relay_high), STATS_RELAYS) : 0;
        for (uint64_t i = 0; i < high; i++) {
            uint32_t number = atomic_load_explicit(&p->relay[i].door, memory_order_relaxed);
            if (number >= BOARD_ROUTE_DOORS && stats_get(&p->relay[i].c.id) && doors_find(ds, number))
                stats_sum_channel(&live[board_place(number)], &p->relay[i].c, now);
        }
    }
    return live;
}

/* It is no counter of the door's yet, and never will be. */
void doors_session_lost(struct doors *ds, uint32_t number, const struct stats_relay *st)
{
    struct door *d = doors_find(ds, number);
    struct doors_sum s = { .failed = 1 };
    if (!d || !d->lease)
        return;
    stats_sum_channel(&s.moved, &st->c, now_ns());
    subtract(&d->lease->base, &s);
}

/* What it counted goes with its page. */
void doors_session_worker_died(struct doors *ds, const struct stats_page *p)
{
    for (unsigned i = BOARD_ROUTE_DOORS; i < ds->places; i++) {
        struct doors_sum s = { .accepted = stats_get(&p->door[i].accepted), .refused = stats_get(&p->door[i].refused),
                               .failed = stats_get(&p->door[i].failed) };
        stats_sum_door(&s.moved, &p->door[i]);
        if (ds->door[i].lease)
            subtract(&ds->door[i].lease->base, &s);
    }
}
