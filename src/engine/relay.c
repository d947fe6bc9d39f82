#include "src/engine/relay.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "src/core/board.h"
#include "src/core/listener.h"
#include "src/core/log.h"
#include "src/core/stats_sum.h"
#include "src/core/secret.h"
#include "src/core/units.h"
#include "src/engine/relay_psk.h"

#define TICKETS_MAX 4096
#define BRIEF_NS (100 * NS_PER_MS)
#define BRIEF_ALL 1024U
#define BRIEF_LATELY 16U

struct door {
    struct list node;
    struct relays *rs;
    struct listener listener;
    unsigned number;
    Scistream__Worker__Door *is; /* what control said last */
};

struct relay {
    struct channel *c;
    struct relays *rs;
    struct stats_relay *st;
    unsigned slot, door;
    bool tell, guest;            /* guest: its TLS handshake is not done, and nobody was dialed for it */
    union sockaddr_any local;    /* where it came */
    int rc;                      /* why it ends */
    char why[XPORT_WHY];
};

struct ticket {
    struct list node;
    struct io io;                /* until it is served, only whether its peer leaves is looked at */
    struct relays *rs;
    uint64_t number;
    unsigned door;
    int fd;                      /* control decides, maybe after a while (rendezvous_timeout); when control dies, so does this process */
};

struct relays {
    struct xport_env *env;
    const struct xport_ops *tcp;
    struct ring_pool pool;
    relay_emit *emit;
    void *user;
    struct list doors, channels, tickets;
    struct door **at;            /* doors by their places */
    unsigned n, n_tickets;
    unsigned brief;              /* of those that ended lately the part that had lived for less than BRIEF_NS, of BRIEF_ALL */
    uint64_t serial;             /* of ids and tickets */
    uint32_t *spare;             /* slots that were used and are free; below n_spare */
    unsigned n_spare;
    void (*idle)(void *user);
};

static struct board_row *my_row(const struct relays *rs) { return &rs->env->board->row[rs->env->index]; }
static struct stats_door *stats_of(const struct relays *rs, unsigned door) { return &rs->env->stats->door[board_place(door)]; }

static void count(_Atomic uint64_t *c, int64_t by) { stats_set(c, stats_get(c) + (uint64_t)by); }

static struct door *find_door(const struct relays *rs, unsigned number)
{
    struct door *d = rs->at[board_place(number)];
    return d && d->number == number ? d : NULL;
}

/* So that the peer reads a reset, not an end of file, whoever closes it. What a listening socket accepts inherits it. */
static void set_reset(int fd)
{
    struct linger l = { .l_onoff = 1, .l_linger = 0 };
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

static void reset(int fd)
{
    set_reset(fd);
    close(fd);
}

/* ------------------------------------------------------------ slots of the statistics page */

static bool take_slot(struct relays *rs, unsigned *slot)
{
    struct stats_page *p = rs->env->stats;
    uint64_t high = stats_get(&p->relay_high);
    if (rs->n_spare > 0) {
        *slot = rs->spare[--rs->n_spare];
        return true;
    }
    if (high == STATS_RELAYS)
        return false;
    *slot = (unsigned)high;
    stats_set(&p->relay_high, high + 1);
    return true;
}

static void give_slot(struct relays *rs, unsigned slot) { rs->spare[rs->n_spare++] = slot; }

/* ------------------------------------------------------------ the end of a relay */

static void tell_end(const struct relay *r)
{
    const struct stats_relay *st = r->st;
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    Scistream__Worker__Relayed e = SCISTREAM__WORKER__RELAYED__INIT;
    char peer[ADDR_TEXT], backend[ADDR_TEXT] = "";
    uint64_t waits[2 * WAIT_KINDS];
    if (st->backend.sa.sa_family)
        addr_format(&st->backend, backend);
    for (unsigned i = 0; i < ARRAY_LEN(waits); i++)
        waits[i] = stats_get(&st->c.flow[i / WAIT_KINDS].wait_ns[i % WAIT_KINDS]);
    e.door = r->door;
    e.relay = r->c->id;
    e.peer = (char *)(uintptr_t)addr_format(&st->peer, peer);
    e.backend = backend;
    e.forward = stats_get(&st->c.flow[FORWARD].rel);
    e.backward = stats_get(&st->c.flow[BACKWARD].rel);
    e.ns = now_ns() - stats_get(&st->born_ns);
    e.code = r->rc ? err_to_wire(r->rc) : 0;
    e.text = (char *)(uintptr_t)r->why;
    e.wait_ns = waits;
    e.n_wait_ns = ARRAY_LEN(waits);
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_RELAYED;
    m.relayed = &e;
    r->rs->emit(r->rs->user, &m, -1);
}

static void count_end(const struct relay *r)
{
    struct stats_door *d = stats_of(r->rs, r->door);
    struct stats_sum sum = { .bytes = { 0 } };
    stats_sum_channel(&sum, &r->st->c, now_ns()); /* as it was counted while it lived */
    stats_set(&r->st->c.id, 0); /* before the door has it: who reads the page counts it once, or for a moment not at all, but never twice */
    atomic_thread_fence(memory_order_release);
    for (unsigned f = 0; f < 2; f++) {
        stats_add(&d->bytes[f], sum.bytes[f]);
        for (unsigned k = 0; k < WAIT_KINDS; k++)
            stats_add(&d->wait_ns[f][k], sum.wait_ns[f][k]);
    }
    stats_add(&d->failed, r->rc != 0);
    count(&d->open, -1);
    count(&my_row(r->rs)->relays, -1);
    count(&my_row(r->rs)->open[board_place(r->door)], -1);
    count(&my_row(r->rs)->reserved, -2 * (int64_t)BOARD_RELAY_RING);
}

static void note_life(struct relays *rs, uint64_t ns)
{
    rs->brief -= rs->brief / BRIEF_LATELY;
    rs->brief += ns < BRIEF_NS ? BRIEF_ALL / BRIEF_LATELY : 0;
}

static void forget(struct relay *r)
{
    struct relays *rs = r->rs;
    note_life(rs, now_ns() - stats_get(&r->st->born_ns));
    count_end(r);
    const struct door *d = find_door(rs, r->door);
    if (d ? d->is->tell : r->tell)
        tell_end(r);
    if (r->c)
        channel_free(r->c);
    atomic_store_explicit(&r->st->up, 0, memory_order_relaxed);
    r->st->backend.sa.sa_family = AF_UNSPEC;
    memset(r->st->security, 0, sizeof(r->st->security));
    give_slot(rs, r->slot);
    free(r);
    if (--rs->n == 0 && rs->idle)
        rs->idle(rs->user);
}

static void on_closed(struct channel *c) { forget(c->owner); }
static void on_finished(struct channel *c) { channel_close(c, 0); }
static void on_ended(struct channel *c UNUSED, unsigned flow UNUSED) {}

static void dial(struct relay *r, const struct door *d);

/* The door is there as long as we are; control may have made it one of another kind meanwhile. */
static void let_in(struct relay *r)
{
    const struct door *d = find_door(r->rs, r->door);
    r->guest = false;
    if (d && d->is->to)
        dial(r, d);
    else
        channel_close(r->c, r->rc = -SST_EDRAINING);
}

static void on_up(struct channel *c, enum channel_side side)
{
    struct relay *r = c->owner;
    str_copy(r->st->security[side], STATS_SECURITY, c->end[side]->detail);
    if (side == SIDE_SOURCE && r->guest)
        let_in(r);
    if (side != SIDE_SINK)
        return;
    r->st->backend = c->end[side]->peer;
    atomic_store_explicit(&r->st->up, 1, memory_order_release);
}

static void note_failure(struct relay *r, enum channel_side side)
{
    const struct xport *x = r->c->end[side];
    r->rc = x->rc;
    str_copy(r->why, sizeof(r->why), x->why);
}

static void say_not_let_in(const struct relay *r)
{
    static struct log_gate gate = LOG_GATE;
    const struct door *d = find_door(r->rs, r->door);
    log_gated(&gate, LOG_LEVEL_WARN, "%s: refused: %s", d ? d->is->name : "door", r->why);
}

static void on_failed(struct channel *c, enum channel_side side)
{
    struct relay *r = c->owner;
    note_failure(r, side);
    if (r->guest)
        say_not_let_in(r);
    channel_close(c, r->rc);
}

static const struct channel_events events = { .up = on_up, .ended = on_ended, .finished = on_finished, .failed = on_failed, .closed = on_closed };

/* ------------------------------------------------------------ the beginning of one */

static uint64_t spread_of(const struct relay *r)
{
    const struct share *s = r->c->flow[FORWARD].taker.share;
    return s ? share_spread(s) : 0;
}

static void dial(struct relay *r, const struct door *d)
{
    const Scistream__Worker__TcpPeer *to = d->is->to;
    AUTO_FREE char **addresses = mem_zalloc(to->n_addresses + 1, sizeof(*addresses));
    for (size_t i = 0; i < to->n_addresses; i++)
        addresses[i] = to->addresses[i];
    struct psk psk;
    const struct xport_spec s = { .fd = -1, .addresses = addresses, .port = (uint16_t)to->port, .source = to->source, .connect_ns = to->connect_ns,
                                  .keep_ns = to->keep_ns, .proxy = to->proxy, .proxy_from = &r->st->peer, .proxy_to = &r->local,
                                  .psk = relay_psk_take(to->psk, &psk), .spread = spread_of(r) };
    channel_open_end(r->c, SIDE_SINK, r->rs->tcp, &s, NULL); /* a failure is told by the channel */
    relay_psk_wipe(&psk);
}

static void begin(struct relays *rs, const struct door *d, int fd, const union sockaddr_any *peer, unsigned slot)
{
    struct relay *r = mem_zalloc(1, sizeof(*r));
    socklen_t len = sizeof(r->local);
    struct psk psk;
    r->rs = rs;
    r->slot = slot;
    r->st = &rs->env->stats->relay[slot];
    r->door = d->number;
    r->tell = d->is->tell;
    r->st->peer = *peer;
    stats_set(&r->st->born_ns, now_ns());
    atomic_store_explicit(&r->st->door, d->number, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* then its id: stats_relay */
    const struct channel_spec cs = { .id = RELAY_ID | (++rs->serial * STATS_RELAYS + slot), .pool = &rs->pool, .duplex = true, .stats = &r->st->c,
                                     .share = board_share(rs->env->board, d->is->share) };
    (void)channel_new(rs->env, &cs, &events, &r->c); /* without memory of its own nothing can fail */
    r->c->owner = r;
    list_add_tail(&rs->channels, &r->c->node);
    rs->n++;
    count(&stats_of(rs, d->number)->open, 1);
    count(&my_row(rs)->relays, 1);
    count(&my_row(rs)->open[board_place(d->number)], 1);
    count(&my_row(rs)->reserved, 2 * (int64_t)BOARD_RELAY_RING);
    if (d->is->to->proxy)
        (void)getsockname(fd, &r->local.sa, &len);
    const struct xport_spec s = { .fd = fd, .tuned = true, .from = peer, .psk = relay_psk_take(d->is->psk, &psk), .spread = spread_of(r) };
    r->guest = s.psk;
    if (channel_open_end(r->c, SIDE_SOURCE, rs->tcp, &s, NULL) == 0 && !r->guest)
        dial(r, d);
    relay_psk_wipe(&psk);
}

static void refuse(struct relays *rs, const struct door *d, int fd, const union sockaddr_any *peer, const char *why)
{
    static struct log_gate gate = LOG_GATE;
    char text[ADDR_TEXT];
    log_gated(&gate, LOG_LEVEL_WARN, "%s: %s refused: %s", d->listener.what, addr_format(peer, text), why);
    stats_add(&stats_of(rs, d->number)->refused, 1);
    reset(fd);
}

/* Over all workers; each looks before it counts itself, so that a few too many may come at once, one a worker. */
static bool has_place(const struct relays *rs, const struct door *d, char *why, size_t size)
{
    char limit[UNITS_TEXT];
    uint64_t open = board_open(rs->env->board, board_place(d->number));
    if (open >= d->is->connections) {
        snprintf(why, size, "the %s has its %llu connections: raise connections", d->is->of_session ? "listener" : "route",
                 (unsigned long long)d->is->connections);
        return false;
    }
    if (d->is->to && open >= d->is->promised && board_reserved(rs->env->board) + 2 * (uint64_t)BOARD_RELAY_RING > stats_get(&rs->env->board->memory_limit)) {
        snprintf(why, size, "two rings of 256K do not fit into memory_limit %s: raise it, or lower connections",
                 units_human_size(limit, stats_get(&rs->env->board->memory_limit)));
        return false;
    }
    return true;
}

/* ------------------------------------------------------------ connections that control serves */

static void forget_ticket(struct ticket *t)
{
    loop_del(t->rs->env->loop, &t->io);
    list_del(&t->node);
    t->rs->n_tickets--;
    free(t);
}

static struct ticket *find_ticket(const struct relays *rs, uint64_t number)
{
    list_for_each(n, &rs->tickets)
        if (list_entry(n, struct ticket, node)->number == number)
            return list_entry(n, struct ticket, node);
    return NULL;
}

const struct psk *relays_ticket_psk(const struct relays *rs, uint64_t number, struct psk *out)
{
    const struct ticket *t = find_ticket(rs, number);
    const struct door *d = t ? find_door(rs, t->door) : NULL;
    return d ? relay_psk_take(d->is->psk, out) : NULL;
}

int relays_claim(struct relays *rs, uint64_t number)
{
    struct ticket *t = find_ticket(rs, number);
    if (!t)
        return -1;
    int fd = t->fd;
    forget_ticket(t);
    return fd;
}

void relays_drop(struct relays *rs, uint64_t number)
{
    int fd = relays_claim(rs, number);
    if (fd >= 0)
        reset(fd);
}

/* It has ended without a byte, or was reset: control decides what that means; one that has sent some and ends is to be served. */
static void on_ticket(struct io *io, uint32_t happened)
{
    struct ticket *t = container_of(io, struct ticket, io);
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    Scistream__Worker__Left left = SCISTREAM__WORKER__LEFT__INIT;
    int unread = 0;
    if (!(happened & (EPOLLERR | EPOLLHUP)) && (ioctl(t->fd, FIONREAD, &unread) < 0 || unread > 0))
        return;
    left.ticket = t->number;
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_LEFT;
    m.left = &left;
    loop_del(t->rs->env->loop, io);
    t->rs->emit(t->rs->user, &m, -1);
}

static void ask_control(struct relays *rs, const struct door *d, int fd, const union sockaddr_any *peer)
{
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    Scistream__Worker__Came came = SCISTREAM__WORKER__CAME__INIT;
    char text[ADDR_TEXT];
    struct ticket *t = mem_zalloc(1, sizeof(*t));
    t->rs = rs;
    t->number = ++rs->serial;
    t->door = d->number;
    t->fd = fd;
    t->io = (struct io){ .fd = -1, .ready = on_ticket };
    (void)loop_add(rs->env->loop, &t->io, fd, EPOLLRDHUP | EPOLLET); /* else it is noticed when it is served */
    list_add_tail(&rs->tickets, &t->node);
    rs->n_tickets++;
    came.door = d->number;
    came.ticket = t->number;
    came.peer = (char *)(uintptr_t)addr_format(peer, text);
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_CAME;
    m.came = &came;
    rs->emit(rs->user, &m, -1);
}

/* ------------------------------------------------------------ doors */

static bool pass_on(struct relays *rs, const struct door *d, int fd)
{
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    Scistream__Worker__Pass pass = SCISTREAM__WORKER__PASS__INIT;
    unsigned least = board_least(rs->env->board), lean = rs->brief > BRIEF_ALL / 2 ? BOARD_LEAN_BRIEF : BOARD_LEAN;
    if (least == rs->env->index || stats_get(&my_row(rs)->relays) < stats_get(&rs->env->board->row[least].relays) + lean)
        return false;
    pass.door = d->number;
    pass.worker = least;
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_PASS;
    m.pass = &pass;
    rs->emit(rs->user, &m, fd);
    return true;
}

static void serve(struct relays *rs, struct door *d, int fd, const union sockaddr_any *peer)
{
    unsigned slot;
    char why[160];
    if (!has_place(rs, d, why, sizeof(why)))
        refuse(rs, d, fd, peer, why);
    else if (!d->is->to && rs->n_tickets >= TICKETS_MAX)
        refuse(rs, d, fd, peer, "too many connections wait for control");
    else if (!d->is->to)
        ask_control(rs, d, fd, peer);
    else if (!take_slot(rs, &slot))
        refuse(rs, d, fd, peer, "the worker has no place in its statistics page for another relay: raise workers");
    else
        begin(rs, d, fd, peer, slot);
}

static void on_accepted(struct listener *l, int fd, const union sockaddr_any *peer)
{
    struct door *d = container_of(l, struct door, listener);
    stats_add(&stats_of(d->rs, d->number)->accepted, 1);
    if (!d->is->to || !pass_on(d->rs, d, fd))
        serve(d->rs, d, fd, peer);
}

void relays_take(struct relays *rs, unsigned number, int fd)
{
    struct door *d = find_door(rs, number);
    union sockaddr_any peer = { 0 };
    socklen_t len = sizeof(peer);
    if (d && getpeername(fd, &peer.sa, &len) == 0)
        serve(rs, d, fd, &peer);
    else
        reset(fd); /* the door is closed, or the peer has gone already */
}

static Scistream__Worker__Door *copy(const Scistream__Worker__Door *m)
{
    size_t n = scistream__worker__door__get_packed_size(m);
    AUTO_FREE uint8_t *data = mem_zalloc(1, n + 1);
    scistream__worker__door__pack(m, data);
    Scistream__Worker__Door *is = scistream__worker__door__unpack(NULL, n, data);
    secret_wipe(data, n);
    return is;
}

static void forget_door(Scistream__Worker__Door *is)
{
    if (is)
        relay_psk_wipe_door(is);
    scistream__worker__door__free_unpacked(is, NULL);
}

static struct door *add_door(struct relays *rs, unsigned number)
{
    struct door *d = mem_zalloc(1, sizeof(*d));
    d->rs = rs;
    d->number = number;
    d->listener.fd = -1;
    list_add_tail(&rs->doors, &d->node);
    rs->at[board_place(number)] = d;
    return d;
}

static void listen_at(struct door *d, int fd)
{
    set_reset(fd); /* also if we die, or control, while nobody serves it yet */
    int rc = listener_start(&d->listener, d->rs->env->loop, fd, "door", on_accepted);
    if (rc < 0)
        log_error("door %u: %s", d->number, err_text(rc));
}

static void close_door(struct door *d)
{
    listener_stop(&d->listener);
    list_del(&d->node);
    d->rs->at[board_place(d->number)] = NULL;
    forget_door(d->is);
    free(d);
}

/* NULL: that is no number, or the place is another door's. */
static struct door *need_door(struct relays *rs, unsigned number)
{
    struct door *d = find_door(rs, number);
    return d || !board_number_ok(number) || rs->at[board_place(number)] ? d : add_door(rs, number);
}

void relays_door(struct relays *rs, const Scistream__Worker__Door *m, int fd)
{
    if (!relay_psk_ok(m->psk) || (m->to && !relay_psk_ok(m->to->psk))) {
        log_error("%s: what control says of its keys makes no sense", m->name);
        fd_close(&fd);
        return;
    }
    struct door *d = fd >= 0 ? need_door(rs, m->number) : find_door(rs, m->number);
    if (d && d->listener.fd < 0 && fd >= 0)
        listen_at(d, fd_take(&fd));
    fd_close(&fd);
    Scistream__Worker__Door *is = d ? copy(m) : NULL;
    if (!is)
        return;
    forget_door(d->is);
    d->is = is;
    d->listener.what = is->name;
}

void relays_undoor(struct relays *rs, unsigned number)
{
    struct door *d = find_door(rs, number);
    if (d)
        listener_stop(&d->listener);
}

/* ------------------------------------------------------------ life */

struct relays *relays_new(struct xport_env *env, relay_emit *emit, void *user)
{
    struct relays *rs = mem_zalloc(1, sizeof(*rs));
    rs->env = env;
    rs->tcp = xport_find("tcp");
    rs->emit = emit;
    rs->user = user;
    rs->pool.cap = BOARD_RELAY_RING;
    rs->pool.board = env->board;
    rs->pool.row = my_row(rs);
    board_clear_row(env->board, my_row(rs)); /* of one that died here before us */
    rs->serial = now_ns() / NS_PER_US; /* no ticket, and no id, is one of a worker that died */
    rs->at = mem_zalloc(BOARD_DOORS, sizeof(*rs->at));
    rs->spare = mem_zalloc(STATS_RELAYS, sizeof(*rs->spare));
    list_init(&rs->doors);
    list_init(&rs->channels);
    list_init(&rs->tickets);
    return rs;
}

/* One that closes already keeps its reason, or that it ended well. */
static void close_one(struct channel *c, const struct relay_reason *why)
{
    struct relay *r = c->owner;
    int rc = why->rc;
    if (c->closing)
        return;
    if (c->parting)
        note_failure(r, c->lost);
    if (c->finished) /* it is about to be told so: its last bytes are with the kernel, and stay there */
        rc = 0;
    if (!r->rc && rc) {
        r->rc = rc;
        str_copy(r->why, sizeof(r->why), why->text && *why->text ? why->text : err_text(rc));
    }
    channel_close(c, rc);
}

static void close_all(struct relays *rs, const struct relay_reason *why)
{
    list_for_each_safe(k, &rs->channels)
        close_one(list_entry(k, struct channel, node), why);
}

void relays_close_doors(struct relays *rs, const uint32_t *doors, size_t n, const struct relay_reason *why)
{
    bool wanted[BOARD_ROUTE_DOORS] = { false };
    for (size_t i = 0; i < n; i++)
        if (doors[i] < BOARD_ROUTE_DOORS)
            wanted[doors[i]] = true;
    list_for_each_safe(k, &rs->channels) {
        struct channel *c = list_entry(k, struct channel, node);
        unsigned door = ((const struct relay *)c->owner)->door;
        if (door < BOARD_ROUTE_DOORS && wanted[door])
            close_one(c, why);
    }
}

void relays_forget_door(struct relays *rs, unsigned number, const struct relay_reason *why)
{
    struct door *d = find_door(rs, number);
    bool any = board_number_ok(number) && stats_get(&my_row(rs)->open[board_place(number)]);
    for (struct list *k = rs->channels.next, *next = k->next; any && k != &rs->channels; k = next, next = k->next) {
        struct channel *c = list_entry(k, struct channel, node);
        if (((const struct relay *)c->owner)->door == number)
            close_one(c, why);
    }
    if (d)
        close_door(d);
}

bool relays_close(struct relays *rs, uint64_t id, const struct relay_reason *why)
{
    if (id == RELAY_ID) {
        close_all(rs, why);
        return true;
    }
    list_for_each(n, &rs->channels) {
        struct channel *c = list_entry(n, struct channel, node);
        if (c->id != id)
            continue;
        close_one(c, why);
        return true;
    }
    return false;
}

void relays_shut(struct relays *rs, void (*idle)(void *user))
{
    list_for_each_safe(n, &rs->doors)
        close_door(list_entry(n, struct door, node));
    list_for_each_safe(t, &rs->tickets)
        relays_drop(rs, list_entry(t, struct ticket, node)->number);
    rs->idle = idle;
    close_all(rs, &(struct relay_reason){ .rc = -SST_EDRAINING });
    if (rs->n == 0)
        idle(rs->user);
}

struct ring_pool *relays_pool(struct relays *rs) { return &rs->pool; }

void relays_free(struct relays *rs)
{
    if (!rs)
        return;
    ring_pool_fini(&rs->pool);
    free(rs->spare);
    free(rs->at);
    free(rs);
}
