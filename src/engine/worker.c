#include "src/engine/worker.h"

#include <stdio.h>

#include "src/core/board.h"
#include "src/core/log.h"
#include "src/core/secret.h"
#include "src/core/units.h"
#include "src/engine/relay_psk.h"

#define BUCKETS 256

struct worker {
    struct loop *loop;
    struct conf *conf;
    struct xport_env env;
    worker_emit *emit;
    void *user;
    struct list buckets[BUCKETS]; /* channels by id */
    unsigned n_channels;
    struct relays *relays;
    bool started, broken, shutting, relays_idle;
    struct defer start;           /* Started goes out from the loop */
    char *problems[XPORT_KINDS_MAX];
    struct list answers;          /* struct answer: Prepared, Failed, Pong … to be emitted from the loop */
    struct defer flush;
    void (*idle)(void *user);
};

/* ------------------------------------------------------------ answers are queued, so that no caller is re-entered */

struct answer { struct list node; uint8_t *data; size_t len; int fd; };

static void emit_with(struct worker *w, const FromWorker *m, int fd)
{
    struct answer *a = mem_zalloc(1, sizeof(*a));
    a->fd = fd;
    a->len = scistream__worker__from_worker__get_packed_size(m);
    a->data = mem_zalloc(1, a->len + 1);
    scistream__worker__from_worker__pack(m, a->data);
    list_add_tail(&w->answers, &a->node);
    loop_defer(w->loop, &w->flush);
}

static void emit_later(struct worker *w, const FromWorker *m) { emit_with(w, m, -1); }

static void free_answer(struct answer *a)
{
    fd_close(&a->fd);
    free(a->data);
    free(a);
}

static void emit_answers(struct defer *d)
{
    struct worker *w = container_of(d, struct worker, flush);
    struct list *n;
    while ((n = list_pop(&w->answers))) {
        struct answer *a = list_entry(n, struct answer, node);
        FromWorker *m = scistream__worker__from_worker__unpack(NULL, a->len, a->data);
        if (m)
            w->emit(w->user, m, a->fd);
        scistream__worker__from_worker__free_unpacked(m, NULL);
        free_answer(a);
    }
}

#define EMIT(w, CASE, field, ptr) \
    do { \
        FromWorker m_ = SCISTREAM__WORKER__FROM_WORKER__INIT; \
        m_.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_##CASE; \
        m_.field = (ptr); \
        emit_later(w, &m_); \
    } while (0)

static void emit_failed(struct worker *w, uint64_t id, enum channel_side side, int rc, const char *text)
{
    Scistream__Worker__Failed f = SCISTREAM__WORKER__FAILED__INIT;
    AUTO_FREE char *copy = mem_strdup(text);
    f.channel = id;
    f.side = (Scistream__Worker__Side)side;
    f.code = err_to_wire(rc);
    f.text = copy;
    EMIT(w, FAILED, failed, &f);
}

/* ------------------------------------------------------------ channels */

static struct list *bucket(struct worker *w, uint64_t id) { return &w->buckets[id % BUCKETS]; }

static struct channel *find(struct worker *w, uint64_t id)
{
    list_for_each(n, bucket(w, id))
        if (list_entry(n, struct channel, node)->id == id)
            return list_entry(n, struct channel, node);
    return NULL;
}

static void on_prepared(struct channel *c, enum channel_side side, const struct xport_answer *a)
{
    Scistream__Worker__Prepared p = SCISTREAM__WORKER__PREPARED__INIT;
    p.channel = c->id;
    p.side = (Scistream__Worker__Side)side;
    p.address = (char *)(uintptr_t)a->address;
    p.port = a->port;
    p.chunk_max = a->chunk_max;
    p.window = c->flow[FORWARD].ring.cap;
    EMIT((struct worker *)c->owner, PREPARED, prepared, &p);
}

static void on_unusable(struct channel *c, enum channel_side side, const char *why)
{
    emit_failed(c->owner, c->id, side, -SST_ENOTRANSPORT, why);
}

static void on_up(struct channel *c, enum channel_side side)
{
    Scistream__Worker__Up u = SCISTREAM__WORKER__UP__INIT;
    u.channel = c->id;
    u.side = (Scistream__Worker__Side)side;
    u.device = c->end[side]->device;
    u.detail = c->end[side]->detail;
    EMIT((struct worker *)c->owner, UP, up, &u);
}

static void on_ended(struct channel *c, unsigned flow)
{
    const struct flow *f = &c->flow[flow];
    Scistream__Worker__Ended e = SCISTREAM__WORKER__ENDED__INIT;
    uint8_t digest[DIGEST_SIZE];
    e.channel = c->id;
    e.backward = flow == BACKWARD;
    e.total = f->ring.total;
    if (f->digest) {
        digest_get(f->digest, digest);
        e.digest = (ProtobufCBinaryData){ sizeof(digest), digest };
    }
    EMIT((struct worker *)c->owner, ENDED, ended, &e);
}

static void on_finished(struct channel *c)
{
    Scistream__Worker__Finished f = SCISTREAM__WORKER__FINISHED__INIT;
    f.channel = c->id;
    f.total = c->flow[FORWARD].ring.total;
    EMIT((struct worker *)c->owner, FINISHED, finished, &f);
}

static void on_failed(struct channel *c, enum channel_side side)
{
    emit_failed(c->owner, c->id, side, c->end[side]->rc, c->end[side]->why);
}

static void tell_idle(struct worker *w)
{
    if (w->shutting && w->n_channels == 0 && w->relays_idle)
        w->idle(w->user);
}

static void on_closed(struct channel *c)
{
    struct worker *w = c->owner;
    Scistream__Worker__Closed m = SCISTREAM__WORKER__CLOSED__INIT;
    m.channel = c->id;
    channel_free(c);
    stats_set(&w->env.stats->channels, --w->n_channels);
    EMIT(w, CLOSED, closed, &m);
    tell_idle(w);
}

static const struct channel_events channel_events = {
    .prepared = on_prepared, .up = on_up, .ended = on_ended, .finished = on_finished, .failed = on_failed, .unusable = on_unusable,
    .closed = on_closed,
};

static void handle_open(struct worker *w, const Scistream__Worker__Open *m)
{
    struct channel *c;
    if (!w->started)
        return emit_failed(w, m->channel, SIDE_SOURCE, -SST_EINTERNAL, "this worker was not initialised");
    if (m->channel == 0 || find(w, m->channel) || m->slot >= STATS_CHANNELS || stats_get(&w->env.stats->ch[m->slot].id))
        return emit_failed(w, m->channel, SIDE_SOURCE, -SST_EINTERNAL, "channel or statistics slot is taken");
    struct channel_spec s = { .id = m->channel, .window = m->window, .duplex = m->duplex, .digest = m->digest, .rate = m->rate,
                              .share = board_share(w->env.board, m->share),
                              .pipes = w->relays ? relays_pool(w->relays) : NULL, .stats = &w->env.stats->ch[m->slot] };
    int rc = channel_new(&w->env, &s, &channel_events, &c);
    if (rc < 0) {
        char size[UNITS_TEXT];
        bool huge = w->conf->g.huge_pages == RING_PAGES_HUGE;
        AUTO_FREE char *text = mem_printf("ring of %s: %s%s", units_size(size, m->window), err_text(rc),
                                          huge             ? " (huge_pages = yes: raise vm.nr_hugepages, or set auto)"
                                          : rc == -ENOMEM ? " (memory, or vm.max_map_count mappings, used up)"
                                                           : "");
        return emit_failed(w, m->channel, SIDE_SOURCE, rc, text);
    }
    c->owner = w;
    list_add_tail(bucket(w, c->id), &c->node);
    stats_set(&w->env.stats->channels, ++w->n_channels);
}

/* ------------------------------------------------------------ ends */

/* NULL-terminated; the strings stay the message's. */
static char **words_of(char *const *words, size_t n)
{
    char **out = mem_zalloc(n + 1, sizeof(*out));
    for (size_t i = 0; i < n; i++)
        out[i] = words[i];
    return out;
}

/* The lists are the caller's, NULL-terminated copies of the message's. */
struct hop_words { char **files, **peers, **addresses; };

static void add_tcp(const Scistream__Worker__TcpPeer *m, char **addresses, struct xport_spec *s)
{
    s->addresses = addresses;
    s->port = (uint16_t)m->port;
    s->source = m->source;
    s->connect_ns = m->connect_ns;
    s->keep_ns = m->keep_ns;
    s->settle = true;
    s->proxy = m->proxy;
}

static bool spec_of(const Scistream__Worker__Hop *m, const struct hop_words *words, struct xport_spec *s)
{
    *s = (struct xport_spec){ .address = m->address, .port = (uint16_t)m->port, .plain = m->plain, .cipher = m->cipher,
                              .peer_window = m->peer_window, .chunk_max = m->chunk_max, .files = words->files,
                              .fd = (int)m->fd_plus_1 - 1, .sync = m->sync, .stop_after_ns = m->stop_after_ns,
                              .low_latency = m->low_latency, .simplex = m->simplex, .peer_addresses = m->n_peer_addresses ? words->peers : NULL };
    if (m->tcp)
        add_tcp(m->tcp, words->addresses, s);
    if (m->tcp && !relay_psk_ok(m->tcp->psk))
        return false;
    if ((m->cookie.len && m->cookie.len != XPORT_COOKIE) || (m->key.len && m->key.len != XPORT_KEY) || m->port > UINT16_MAX)
        return false;
    if (m->cookie.len)
        memcpy(s->cookie, m->cookie.data, XPORT_COOKIE);
    if (m->key.len)
        memcpy(s->key, m->key.data, XPORT_KEY);
    return true;
}

/* A connection that Came is adopted by tcp alone. */
static bool ticket_ok(const Scistream__Worker__Hop *m, const struct xport_ops *ops)
{
    return !m->ticket || (ops->kind == XPORT_TCP && m->how == SCISTREAM__WORKER__HOP__HOW__CONNECT);
}

/* Nobody will take it, and control will not say Drop. */
static void drop_ticket(struct worker *w, const Scistream__Worker__Hop *m)
{
    if (m->ticket && w->relays)
        relays_drop(w->relays, m->ticket);
}

static void handle_hop(struct worker *w, const Scistream__Worker__Hop *m)
{
    struct channel *c = find(w, m->channel);
    const struct xport_ops *ops = xport_find(m->transport);
    enum channel_side side = m->side == SCISTREAM__WORKER__SIDE__SINK ? SIDE_SINK : SIDE_SOURCE;
    AUTO_FREE char **files = words_of(m->files, m->n_files), **peers = words_of(m->peer_addresses, m->n_peer_addresses);
    AUTO_FREE char **addresses = m->tcp ? words_of(m->tcp->addresses, m->tcp->n_addresses) : NULL;
    const struct hop_words words = { files, peers, addresses };
    struct xport_spec s;
    struct xport_answer a = { .chunk_max = 0 };
    struct psk psk;
    bool sense = c && ops && ticket_ok(m, ops) && spec_of(m, &words, &s), taken = c && (c->end[side] || c->closing);
    if (!sense || taken)
        drop_ticket(w, m);
    if (!c)
        return; /* its Open failed and said so, or it was closed meanwhile */
    if (!sense)
        return emit_failed(w, m->channel, side, -SST_ENOTRANSPORT, "transport is not known to this worker, or malformed request");
    s.tuned = m->ticket != 0;
    s.spread = c->flow[FORWARD].taker.share ? share_spread(c->flow[FORWARD].taker.share) : 0;
    s.psk = m->ticket ? relays_ticket_psk(w->relays, m->ticket, &psk) : m->tcp ? relay_psk_take(m->tcp->psk, &psk) : NULL;
    if (m->ticket && !taken && (s.fd = relays_claim(w->relays, m->ticket)) < 0)
        return emit_failed(w, m->channel, side, -SST_ELOST, "the connection that came is not here any more");
    bool accepts = m->how == SCISTREAM__WORKER__HOP__HOW__ACCEPT;
    int rc = channel_open_end(c, side, ops, &s, accepts ? &a : NULL);
    secret_wipe(s.key, sizeof(s.key));
    relay_psk_wipe(&psk);
    if (rc < 0 && !c->closing && (rc == -EEXIST || !c->end[side])) /* others are reported by the channel */
        emit_failed(w, m->channel, side, rc, rc == -EEXIST ? "that end of the channel is open already" : err_text(rc));
    else if (rc == 0 && accepts)
        on_prepared(c, side, &a);
}

/* ------------------------------------------------------------ start and stop */

static Scistream__Worker__Device *device_message(struct xport_device *d)
{
    Scistream__Worker__Device *m = mem_zalloc(1, sizeof(*m));
    char *text = mem_strdup(d->addresses), *rest = text;
    scistream__worker__device__init(m);
    m->transport = mem_strdup(d->transport);
    m->name = mem_strdup(d->name);
    m->netdev = mem_strdup(d->netdev);
    m->link_layer = mem_strdup(d->link_layer);
    m->state = mem_strdup(d->state);
    m->addresses = mem_zalloc(strlen(text) / 2 + 1, sizeof(*m->addresses));
    for (const char *word; (word = strsep(&rest, " "));)
        if (*word)
            m->addresses[m->n_addresses++] = mem_strdup(word);
    m->gid_index = d->gid_index;
    m->gid = mem_strdup(d->gid);
    m->numa_node = d->numa_node;
    m->mtu = d->mtu;
    m->mtu_max = d->mtu_max;
    m->rate = d->rate;
    m->listens = d->listens;
    free(text);
    return m;
}

static size_t device_messages(struct worker *w, Scistream__Worker__Device ***out)
{
    size_t n = 0;
    list_for_each(i, &w->env.devices)
        n++;
    *out = mem_zalloc(n + 1, sizeof(**out));
    n = 0;
    list_for_each(i, &w->env.devices)
        (*out)[n++] = device_message(list_entry(i, struct xport_device, node));
    return n;
}

static void emit_started(struct defer *d)
{
    struct worker *w = container_of(d, struct worker, start);
    Scistream__Worker__Started s = SCISTREAM__WORKER__STARTED__INIT;
    Scistream__Worker__Started__Transport t[XPORT_KINDS_MAX], *p[XPORT_KINDS_MAX];
    for (size_t i = 0; xport_list[i] && i < XPORT_KINDS_MAX; i++) {
        scistream__worker__started__transport__init(&t[i]);
        p[i] = &t[i];
        t[i].name = (char *)(uintptr_t)xport_list[i]->name;
        if (w->problems[i])
            t[i].problem = w->problems[i];
        s.n_transports++;
    }
    s.transports = p;
    s.n_devices = device_messages(w, &s.devices);
    EMIT(w, STARTED, started, &s);
    for (size_t i = 0; i < s.n_devices; i++)
        scistream__worker__device__free_unpacked(s.devices[i], NULL);
    free(s.devices);
}

static void on_changed(struct xport_env *env, enum xport_kind kind, const char *why)
{
    struct worker *w = container_of(env, struct worker, env);
    for (size_t i = 0; xport_list[i] && i < XPORT_KINDS_MAX; i++) {
        if (xport_list[i]->kind != kind)
            continue;
        free(w->problems[i]);
        w->problems[i] = *why ? mem_strdup(why) : NULL;
    }
    loop_defer(w->loop, &w->start);
}

static void start_transports(struct worker *w)
{
    char why[XPORT_WHY];
    for (size_t i = 0; xport_list[i] && i < XPORT_KINDS_MAX; i++) {
        why[0] = 0;
        int rc = xport_list[i]->listen(&w->env, why, sizeof(why));
        if (rc == -ENODEV && !why[0])
            snprintf(why, sizeof(why), "not configured");
        if (rc < 0)
            w->problems[i] = mem_strdup(why[0] ? why : err_text(rc));
    }
}

static int take_settings(struct worker *w, char **settings, size_t n)
{
    char why[XPORT_WHY];
    for (size_t i = 0; i < n; i++)
        if (conf_set(w->conf, settings[i], why, sizeof(why)) < 0) {
            log_error("setting from control: %s", why);
            return -SST_ECONF;
        }
    return 0;
}

/* Without a descriptor, as in a utility, they are this process's own. But where there is one, others read and write there: a board of our own would
 * keep no limit, and nobody would see what we do. */
static int map_pages(struct worker *w, const int *fds, size_t n_fds)
{
    bool page = n_fds > 0 && fds[0] >= 0, board = n_fds > 1 && fds[1] >= 0;
    if (page)
        stats_clear(fds[0]);
    w->env.stats = page ? stats_map(fds[0], true) : stats_create(NULL);
    if (w->env.stats)
        w->env.board = board ? board_map(fds[1]) : board_create(NULL);
    if (w->env.stats && w->env.board)
        return 0;
    int rc = -errno;
    log_error("cannot map the %s: %s (memory, or ulimit -v, used up?)", w->env.stats ? "board of the workers" : "page of statistics", err_text(rc));
    return rc;
}

static void emit_relay(void *user, const FromWorker *m, int fd) { emit_with(user, m, fd); }

static void handle_init(struct worker *w, const Scistream__Worker__Init *m, int *fds, size_t n_fds)
{
    if (w->started || w->broken || take_settings(w, m->settings, m->n_settings) < 0)
        return;
    w->env.index = m->index % BOARD_WORKERS;
    w->env.accepts = m->has_link;
    w->broken = map_pages(w, fds, n_fds) < 0;
    if (w->broken) {
        loop_stop(w->loop);
        return;
    }
    w->started = true;
    if (m->has_link && n_fds > 2)
        w->env.link_fd = fd_take(&fds[2]);
    w->relays = relays_new(&w->env, emit_relay, w);
    start_transports(w);
    loop_defer(w->loop, &w->start);
}

static void close_relays(struct worker *w, const Scistream__Worker__Close *m)
{
    const struct relay_reason why = { m->code ? err_from_wire(m->code) : 0, m->text };
    if (m->channel == RELAY_ID && m->n_doors)
        relays_close_doors(w->relays, m->doors, m->n_doors, &why);
    else
        relays_close(w->relays, m->channel, &why);
}

static void handle_close(struct worker *w, const Scistream__Worker__Close *m)
{
    struct channel *c = find(w, m->channel);
    if (m->channel & RELAY_ID && w->relays) {
        close_relays(w, m);
        return;
    }
    Scistream__Worker__Closed done = SCISTREAM__WORKER__CLOSED__INIT;
    done.channel = m->channel;
    if (c)
        channel_close(c, m->code ? err_from_wire(m->code) : 0);
    else
        EMIT(w, CLOSED, closed, &done);
}

static void handle_ping(struct worker *w, const Scistream__Worker__Ping *m)
{
    Scistream__Worker__Pong p = SCISTREAM__WORKER__PONG__INIT;
    p.number = m->number;
    EMIT(w, PONG, pong, &p);
}

static int first_fd(int *fds, size_t n_fds) { return n_fds ? fd_take(&fds[0]) : -1; }

static void handle_take(struct worker *w, const Scistream__Worker__Take *m, int fd)
{
    if (fd >= 0)
        relays_take(w->relays, m->number, fd);
}

static void undoor(struct worker *w, const Scistream__Worker__Undoor *m, unsigned number)
{
    if (m->code)
        relays_forget_door(w->relays, number, &(struct relay_reason){ err_from_wire(m->code), m->text });
    else
        relays_undoor(w->relays, number);
}

static void handle_undoor(struct worker *w, const Scistream__Worker__Undoor *m)
{
    undoor(w, m, m->number);
    for (size_t i = 0; i < m->n_more; i++)
        undoor(w, m, m->more[i]);
}

/* Of doors, once there is something to serve them with. */
static bool handle_relays(struct worker *w, const ToWorker *m, int *fds, size_t n_fds)
{
    switch (w->relays ? m->what_case : SCISTREAM__WORKER__TO_WORKER__WHAT__NOT_SET) {
    case SCISTREAM__WORKER__TO_WORKER__WHAT_DOOR: relays_door(w->relays, m->door, first_fd(fds, n_fds)); return true;
    case SCISTREAM__WORKER__TO_WORKER__WHAT_UNDOOR: handle_undoor(w, m->undoor); return true;
    case SCISTREAM__WORKER__TO_WORKER__WHAT_TAKE: handle_take(w, m->take, first_fd(fds, n_fds)); return true;
    case SCISTREAM__WORKER__TO_WORKER__WHAT_DROP: relays_drop(w->relays, m->drop->ticket); return true;
    default: return false;
    }
}

static void handle_other(struct worker *w, const ToWorker *m, int *fds, size_t n_fds)
{
    switch (m->what_case) {
    case SCISTREAM__WORKER__TO_WORKER__WHAT_INIT: handle_init(w, m->init, fds, n_fds); break;
    case SCISTREAM__WORKER__TO_WORKER__WHAT_OPEN: handle_open(w, m->open); break;
    case SCISTREAM__WORKER__TO_WORKER__WHAT_HOP: handle_hop(w, m->hop); break;
    case SCISTREAM__WORKER__TO_WORKER__WHAT_CLOSE: handle_close(w, m->close); break;
    case SCISTREAM__WORKER__TO_WORKER__WHAT_PING: handle_ping(w, m->ping); break;
    case SCISTREAM__WORKER__TO_WORKER__WHAT_STOP: loop_stop(w->loop); break;
    case SCISTREAM__WORKER__TO_WORKER__WHAT_SETTINGS: take_settings(w, m->settings->settings, m->settings->n_settings); break;
    default: log_warn("message from control that this worker does not know"); break;
    }
}

void worker_handle(struct worker *w, const ToWorker *m, int *fds, size_t n_fds)
{
    if (!handle_relays(w, m, fds, n_fds))
        handle_other(w, m, fds, n_fds);
    for (size_t i = 0; i < n_fds; i++)
        fd_close(&fds[i]);
}

void worker_wipe(ToWorker *m)
{
    if (m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_DOOR)
        relay_psk_wipe_door(m->door);
    if (m->what_case != SCISTREAM__WORKER__TO_WORKER__WHAT_HOP)
        return;
    if (m->hop->key.len)
        secret_wipe(m->hop->key.data, m->hop->key.len);
    if (m->hop->tcp)
        relay_psk_wipe_message(m->hop->tcp->psk);
}

/* ------------------------------------------------------------ life */

struct worker *worker_new(struct loop *loop, struct conf *conf, worker_emit *emit, void *user)
{
    struct worker *w = mem_zalloc(1, sizeof(*w));
    w->loop = loop;
    w->conf = conf;
    w->emit = emit;
    w->user = user;
    xport_env_init(&w->env, loop, conf);
    w->env.changed = on_changed;
    for (size_t i = 0; i < BUCKETS; i++)
        list_init(&w->buckets[i]);
    list_init(&w->answers);
    defer_init(&w->flush, emit_answers);
    defer_init(&w->start, emit_started);
    w->env.offload = offload_new(loop);
    if (w->env.offload)
        return w;
    free(w);
    return NULL;
}

static void on_relays_idle(void *user)
{
    struct worker *w = user;
    w->relays_idle = true;
    tell_idle(w);
}

void worker_shut(struct worker *w, void (*idle)(void *user))
{
    w->idle = idle;
    w->shutting = w->env.ending = true;
    w->relays_idle = !w->relays;
    for (size_t i = 0; i < BUCKETS; i++)
        list_for_each_safe(n, &w->buckets[i])
            channel_close(list_entry(n, struct channel, node), -SST_EDRAINING);
    if (w->relays)
        relays_shut(w->relays, on_relays_idle);
    else
        tell_idle(w);
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    for (size_t i = 0; w->started && xport_list[i]; i++)
        xport_list[i]->unlisten(&w->env);
    for (size_t i = 0; i < XPORT_KINDS_MAX; i++)
        free(w->problems[i]);
    xport_env_fini(&w->env);
    defer_cancel(&w->start);
    defer_cancel(&w->flush);
    for (struct list *n; (n = list_pop(&w->answers));)
        free_answer(list_entry(n, struct answer, node));
    offload_free(w->env.offload);
    relays_free(w->relays);
    board_unmap(w->env.board);
    stats_unmap(w->env.stats);
    free(w);
}

bool worker_broken(const struct worker *w) { return w->broken; }
struct stats_page *worker_stats(const struct worker *w) { return w->env.stats; }
