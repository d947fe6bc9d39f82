/* What pool.c and a utility's own worker share: channels, their owners and their statistics slots. */
#include <stdio.h>

#include "ctrl/pool.h"
#include "src/core/addr.h"
#include "src/core/digest.h"
#include "src/core/err.h"
#include "src/core/log.h"

#define TEXT_MAX 1024 /* of any string; a worker's own have at most 256 */

void pool_worker_init(struct pool_worker *w, unsigned index)
{
    *w = (struct pool_worker){ .index = index };
    list_init(&w->clients);
    w->slots = mem_zalloc(STATS_CHANNELS / 64, sizeof(*w->slots));
    w->by_slot = mem_zalloc(STATS_CHANNELS, sizeof(struct pool_client *));
}

static void forget_transports(struct pool_worker *w)
{
    for (size_t i = 0; i < w->n_transports; i++) {
        free(w->transports[i].name);
        free(w->transports[i].problem);
    }
    w->n_transports = 0;
    scistream__worker__started__free_unpacked(w->said, NULL);
    w->said = NULL;
}

void pool_worker_fini(struct pool_worker *w)
{
    forget_transports(w);
    free(w->slots);
    free(w->by_slot);
    w->slots = NULL;
    w->by_slot = NULL;
}

static Scistream__Worker__Started *copy_started(const Scistream__Worker__Started *s)
{
    size_t n = scistream__worker__started__get_packed_size(s);
    AUTO_FREE uint8_t *data = mem_zalloc(1, n + 1);
    scistream__worker__started__pack(s, data);
    return scistream__worker__started__unpack(NULL, n, data);
}

static void take_started(struct pool_worker *w, const Scistream__Worker__Started *s)
{
    forget_transports(w);
    for (size_t i = 0; i < s->n_transports && i < POOL_TRANSPORTS; i++) {
        w->transports[i].name = mem_strdup(s->transports[i]->name);
        w->transports[i].problem = *s->transports[i]->problem ? mem_strdup(s->transports[i]->problem) : NULL;
        w->n_transports++;
    }
    w->said = copy_started(s);
    w->started = true;
}

size_t pool_devices(const struct pool_worker *w, Scistream__Worker__Device *const **out)
{
    *out = w->said ? w->said->devices : NULL;
    return w->said ? w->said->n_devices : 0;
}

bool pool_has_device(const struct pool_worker *w, const char *name)
{
    Scistream__Worker__Device *const *d;
    for (size_t i = 0, n = pool_devices(w, &d); i < n; i++)
        if (str_eq(d[i]->transport, name))
            return true;
    return false;
}

char *pool_device_addresses(const struct pool_worker *w, const char *name, size_t max)
{
    Scistream__Worker__Device *const *d;
    char *all = mem_strdup("");
    for (size_t i = 0, found = 0, n = pool_devices(w, &d); i < n; i++)
        for (size_t k = 0; k < d[i]->n_addresses && found < max; k++) {
            if (!str_eq(d[i]->transport, name) || !str_eq(d[i]->state, "active"))
                continue;
            char *longer = mem_printf("%s%s%s", all, found++ ? " " : "", d[i]->addresses[k]);
            free(all);
            all = longer;
        }
    return all;
}

const char *pool_transport_problem(const struct pool_worker *w, const char *name)
{
    for (size_t i = 0; i < w->n_transports; i++)
        if (str_eq(w->transports[i].name, name))
            return w->transports[i].problem;
    return "not built into this program";
}

static uint64_t channel_of(const FromWorker *m)
{
    switch (m->what_case) {
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_PREPARED: return m->prepared->channel;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_UP: return m->up->channel;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_ENDED: return m->ended->channel;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_FINISHED: return m->finished->channel;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_FAILED: return m->failed->channel;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_CLOSED: return m->closed->channel;
    default: return 0;
    }
}

/* ------------------------------------------------------------ is it sense? A worker reads from the network: its memory may be anybody's */

static bool side_ok(Scistream__Worker__Side s) { return s == SCISTREAM__WORKER__SIDE__SOURCE || s == SCISTREAM__WORKER__SIDE__SINK; }
static bool text_ok(const char *s) { return s && strnlen(s, TEXT_MAX) < TEXT_MAX; }

static bool address_ok(const char *s)
{
    union sockaddr_any a;
    return text_ok(s) && *s && addr_numeric(s, 0, &a) == 0;
}

/* For people: nothing in it may move their cursor. */
static bool word_ok(const char *s)
{
    if (!text_ok(s))
        return false;
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

static bool device_ok(const Scistream__Worker__Device *d)
{
    if (!d || !word_ok(d->transport) || !word_ok(d->name) || !word_ok(d->netdev) || !word_ok(d->link_layer) || !word_ok(d->state) ||
        !word_ok(d->gid) || d->n_addresses > POOL_ADDRESSES)
        return false;
    for (size_t i = 0; i < d->n_addresses; i++)
        if (!address_ok(d->addresses[i]))
            return false;
    return true;
}

static bool started_ok(const Scistream__Worker__Started *s)
{
    if (s->n_transports > POOL_TRANSPORTS || s->n_devices > POOL_DEVICES)
        return false;
    for (size_t i = 0; i < s->n_devices; i++)
        if (!device_ok(s->devices[i]))
            return false;
    for (size_t i = 0; i < s->n_transports; i++)
        if (!s->transports[i] || !text_ok(s->transports[i]->name) || !text_ok(s->transports[i]->problem))
            return false;
    return true;
}

static bool prepared_ok(const Scistream__Worker__Prepared *p)
{
    return side_ok(p->side) && text_ok(p->address) && p->port > 0 && p->port <= UINT16_MAX && p->chunk_max > 0 && p->window > 0;
}

static bool ended_ok(const Scistream__Worker__Ended *e)
{
    return e->digest.len == 0 || (e->digest.len == DIGEST_SIZE && e->digest.data);
}

static bool relayed_ok(const Scistream__Worker__Relayed *r)
{
    return board_number_ok(r->door) && word_ok(r->peer) && word_ok(r->backend) && word_ok(r->text) && r->n_wait_ns == 2 * WAIT_KINDS;
}

static bool message_ok(const FromWorker *m)
{
    switch (m->what_case) {
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_STARTED: return started_ok(m->started);
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_PREPARED: return prepared_ok(m->prepared);
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_UP: return side_ok(m->up->side) && text_ok(m->up->device) && text_ok(m->up->detail);
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_ENDED: return ended_ok(m->ended);
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_FAILED: return side_ok(m->failed->side) && text_ok(m->failed->text);
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_CAME: return m->came->door < BOARD_ROUTE_DOORS && word_ok(m->came->peer);
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_RELAYED: return relayed_ok(m->relayed);
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_PASS: return board_number_ok(m->pass->door);
    default: return true;
    }
}

static struct pool_client *find_client(const struct pool_worker *w, uint64_t channel)
{
    struct pool_client *c = w->by_slot[channel % STATS_CHANNELS];
    return c && c->channel == channel ? c : NULL;
}

static bool about_doors(const FromWorker *m)
{
    return m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_CAME || m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_RELAYED ||
           m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_PASS || m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_LEFT;
}

/* A channel is forgotten when its worker has said Closed, which is its last word about it: so nothing comes about a channel that has
 * no client. */
const char *pool_worker_heard(struct pool_worker *w, const FromWorker *m)
{
    struct pool_client *c;
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT__NOT_SET)
        return "a message of no known kind";
    if (!message_ok(m))
        return "a message with a value out of range";
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_PONG)
        return NULL;
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_STARTED) {
        take_started(w, m->started);
        return NULL;
    }
    if (about_doors(m)) {
        if (w->at_door && m->what_case != SCISTREAM__WORKER__FROM_WORKER__WHAT_PASS)
            w->at_door(w, m);
        return NULL;
    }
    c = channel_of(m) ? find_client(w, channel_of(m)) : NULL;
    if (!c)
        return "a message about a channel that it does not have";
    c->message(c, m);
    return NULL;
}

void pool_worker_died(struct pool_worker *w, const char *why)
{
    struct list *n;
    w->started = false;
    while (!list_empty(&w->clients)) {
        n = w->clients.next;
        struct pool_client *c = list_entry(n, struct pool_client, node);
        pool_channel_detach(w, c);
        c->died(c, why);
    }
}

/* ------------------------------------------------------------ channels: the id is a serial number and the slot */

static int take_slot(struct pool_worker *w)
{
    for (unsigned i = 0; i < STATS_CHANNELS / 64; i++)
        if (w->slots[i] != UINT64_MAX) {
            int bit = __builtin_ctzll(~w->slots[i]);
            w->slots[i] |= 1ULL << bit;
            return (int)(i * 64) + bit;
        }
    return -1;
}

static unsigned slot_of(const struct pool_client *c) { return (unsigned)(c->channel % STATS_CHANNELS); }

void pool_channel_attach(struct pool_worker *w, struct pool_client *c)
{
    list_add_tail(&w->clients, &c->node);
    w->by_slot[slot_of(c)] = c;
    w->channels++;
}

int pool_channel_open(struct pool_worker *w, struct pool_client *c, const struct pool_open *o)
{
    static uint64_t serial;
    Scistream__Worker__Open m = SCISTREAM__WORKER__OPEN__INIT;
    ToWorker t = SCISTREAM__WORKER__TO_WORKER__INIT;
    int slot = take_slot(w);
    if (slot < 0)
        return -SST_ELIMIT;
    c->channel = ++serial * STATS_CHANNELS + (unsigned)slot;
    pool_channel_attach(w, c);
    m.channel = c->channel;
    m.slot = (uint32_t)slot;
    m.window = o->window;
    m.rate = o->rate;
    m.digest = o->digest;
    m.duplex = o->duplex;
    m.share = o->share;
    t.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_OPEN;
    t.open = &m;
    if (w->send(w, &t, -1) == 0)
        return 0;
    pool_channel_detach(w, c);
    return -SST_EWORKER;
}

void pool_channel_hop(struct pool_worker *w, struct pool_client *c, Scistream__Worker__Hop *h)
{
    ToWorker t = SCISTREAM__WORKER__TO_WORKER__INIT;
    h->channel = c->channel;
    t.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_HOP;
    t.hop = h;
    if (w->send(w, &t, -1) < 0)
        log_error("worker %u: cannot be told about channel %llu", w->index, (unsigned long long)c->channel);
}

void pool_channel_close(struct pool_worker *w, struct pool_client *c, int rc)
{
    Scistream__Worker__Close m = SCISTREAM__WORKER__CLOSE__INIT;
    ToWorker t = SCISTREAM__WORKER__TO_WORKER__INIT;
    m.channel = c->channel;
    m.code = rc ? err_to_wire(rc) : 0;
    t.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_CLOSE;
    t.close = &m;
    if (w->send(w, &t, -1) < 0)
        log_error("worker %u: cannot be told to close channel %llu", w->index, (unsigned long long)c->channel);
}

void pool_channel_detach(struct pool_worker *w, struct pool_client *c)
{
    if (c->channel == 0)
        return;
    unsigned slot = slot_of(c);
    pool_channel_sum(w, c, &c->last);
    w->slots[slot / 64] &= ~(1ULL << slot % 64);
    w->by_slot[slot] = NULL;
    w->channels--;
    list_del(&c->node);
    c->channel = 0;
}

void pool_channel_sum(const struct pool_worker *w, const struct pool_client *c, struct stats_sum *to)
{
    const struct stats_channel *live = pool_channel_stats(w, c);
    if (live)
        stats_sum_channel(to, live, now_ns());
    else
        stats_sum_add(to, &c->last);
}

const struct stats_channel *pool_channel_stats(const struct pool_worker *w, const struct pool_client *c)
{
    return w->stats && c->channel ? &w->stats->ch[slot_of(c)] : NULL;
}
