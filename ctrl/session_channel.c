/* The life of a channel: see session.h. Events come from its two hops, from the worker, and from the clock. */
#include <stdio.h>

#include "ctrl/session_priv.h"
#include "src/core/err.h"
#include "src/core/log.h"

#define CLEAN_END_NS (5 * NS_PER_S) /* after the confirmation: what a peer gets to end its call */

static const char *const state_names[] = {
    [SC_WAITING] = "waiting", [SC_OPENING] = "opening",     [SC_FLOWING] = "flowing",
    [SC_DONE] = "done",       [SC_CONFIRMED] = "confirmed", [SC_CLOSING] = "closing",
};

const char *sc_state_name(enum sc_state s) { return state_names[s]; }

static struct shop *shop_of(struct hop *h) { return container_of(h, struct shop, h); }

/* ------------------------------------------------------------ the end of a channel */

bool schannel_holds_place(const struct schannel *c) { return c->state < SC_CONFIRMED; }

/* Thousands of channels may come to one session at once: whether one waits, and which number is free, is known without looking at all. */
static void take_place(struct schannel *c)
{
    struct session *s = c->s;
    if (c->number >= s->n_at) {
        uint32_t n = MAX(2 * s->n_at, c->number + 1);
        struct schannel **at = mem_zalloc(n, sizeof(struct schannel *));
        if (s->n_at)
            memcpy(at, s->at, s->n_at * sizeof(struct schannel *));
        free(s->at);
        s->at = at;
        s->n_at = n;
    }
    s->at[c->number] = c;
    s->waiting++;
    s->held++;
}

static void set_state(struct schannel *c, enum sc_state state)
{
    bool held = schannel_holds_place(c), waited = c->state == SC_WAITING;
    c->state = state;
    c->s->waiting -= waited && state != SC_WAITING;
    if (!held || schannel_holds_place(c))
        return;
    c->s->at[c->number] = NULL;
    c->s->held--;
    c->s->lowest = MIN(c->s->lowest, c->number);
}

/* Out of its session, and away. */
static void schannel_free(struct schannel *c)
{
    set_state(c, SC_CLOSING);
    list_del(&c->node);
    route_drop(c->route);
    free(c->seen);
    free(c);
}

static void schannel_gone(struct defer *d)
{
    struct schannel *c = container_of(d, struct schannel, gone);
    struct sessions *ss = c->ss;
    struct session *s = c->s;
    schannel_free(c);
    session_release(ss, s);
    if (--ss->n_channels == 0 && ss->idle)
        loop_defer(ss->c.loop, &ss->told_idle);
}

/* Out of what is kept for its session, or else of what all have. */
static int take_memory(struct schannel *c, char *why, size_t size)
{
    struct capacity *cap = c->ss->c.capacity;
    bool own = session_is_own(c->s);
    uint64_t bytes = c->window * (c->duplex ? 2 : 1);
    if (cap && capacity_take_memory(cap, own ? c->s->uid : c->route->c->name, !own, bytes)) {
        c->kept = bytes;
        return 0;
    }
    int rc = admission_take(&c->ss->memory, bytes, why, size);
    c->admitted = rc == 0 ? bytes : 0;
    return rc;
}

static void give_memory(struct schannel *c)
{
    bool own = session_is_own(c->s);
    if (c->kept)
        capacity_give_memory(c->ss->c.capacity, own ? c->s->uid : c->route->c->name, !own, c->kept);
    admission_give(&c->ss->memory, c->admitted);
    c->kept = c->admitted = 0;
}

static void free_later(struct schannel *c)
{
    loop_timer_stop(c->ss->c.loop, &c->patience);
    splain_forget(c);
    give_memory(c);
    loop_defer(c->ss->c.loop, &c->gone);
}

/* Close the worker's side; the channel is freed when the worker said Closed. */
static void close_channel(struct schannel *c, int rc)
{
    if (c->closing_sent)
        return;
    c->closing_sent = true;
    schannel_note_end(c, rc);
    set_state(c, SC_CLOSING);
    if (c->ss->c.ev)
        c->ss->c.ev->ended(c->ss->c.ev_user, c);
    loop_timer_stop(c->ss->c.loop, &c->patience);
    if (c->w && c->pc.channel)
        pool_channel_close(c->w, &c->pc, rc);
    else
        free_later(c);
}

static void abort_except(struct schannel *c, int rc, const char *text, const struct shop *except)
{
    if (c->state == SC_CLOSING)
        return;
    snprintf(c->reason, sizeof(c->reason), ABORTED "%s", text);
    c->outcome = TALLY_ABORTED;
    schannel_note_end(c, rc);
    for (unsigned side = 0; side < HOP_SIDES; side++) {
        struct shop *sh = c->hop[side];
        if (!sh)
            continue;
        if (sh != except)
            hop_abort(&sh->h, rc, text);
        shop_release(sh);
    }
    close_channel(c, rc);
}

void schannel_abort(struct schannel *c, int rc, const char *text)
{
    AUTO_FREE char *full = mem_printf("gateway %s: %s", c->ss->c.name, text);
    abort_except(c, rc, full, NULL);
}

/* ------------------------------------------------------------ what the worker says of a channel */

static void end_confirmed(struct schannel *c)
{
    schannel_note_end(c, 0);
    for (unsigned side = 0; side < HOP_SIDES; side++)
        if (c->hop[side])
            shop_release(c->hop[side]);
    close_channel(c, 0);
}

/* Both peers have ended their calls after the confirmation. */
static void end_if_both_over(struct schannel *c)
{
    for (unsigned side = 0; side < HOP_SIDES; side++)
        if (c->hop[side] && !c->hop[side]->over)
            return;
    end_confirmed(c);
}

static void confirm(struct schannel *c, const struct attach_total *t)
{
    struct shop *source = c->hop[SOURCE_SIDE], *sink = c->hop[SINK_SIDE];
    set_state(c, SC_CONFIRMED);
    c->outcome = t->handed_over ? TALLY_HANDED_OVER : c->probe ? TALLY_PROBED : TALLY_CONFIRMED;
    snprintf(c->reason, sizeof(c->reason), "%s", t->handed_over ? "handed over" : c->probe ? "probed" : "confirmed");
    if (source) {
        hop_confirm(&source->h, t);
        hop_finish(&source->h);
    }
    if (sink)
        hop_finish(&sink->h);
    loop_timer(c->ss->c.loop, &c->patience, CLEAN_END_NS);
    end_if_both_over(c);
}

/* A probe has no receiver, and a TCP peer cannot confirm: this gateway speaks for them. */
static void confirm_for_sink(struct schannel *c)
{
    struct attach_total t = c->total;
    if ((!c->probe && !c->plain[SINK_SIDE].here) || c->state != SC_DONE || !c->finished)
        return;
    t.handed_over = !c->probe;
    if (c->total.total != c->ended_total)
        schannel_abort(c, -SST_ELENGTH, "the sender's total is not what arrived");
    else
        confirm(c, &t);
}

/* The other direction of a duplex channel is over when our own worker says so. */
static void confirm_when_finished(struct schannel *c, const struct attach_total *t)
{
    c->confirmed = *t;
    c->confirm_waits = c->duplex && !c->finished;
    if (!c->confirm_waits)
        confirm(c, t);
}

static void on_finished(struct schannel *c)
{
    c->finished = true;
    if (c->confirm_waits && c->state == SC_DONE)
        confirm(c, &c->confirmed);
    else
        confirm_for_sink(c);
}

static void check_totals(struct schannel *c)
{
    char text[160];
    if (!c->ended || c->state != SC_DONE || c->total.total == c->ended_total)
        return;
    snprintf(text, sizeof(text), "the sender counted %llu bytes, %llu arrived", (unsigned long long)c->total.total,
             (unsigned long long)c->ended_total);
    schannel_abort(c, -SST_ELENGTH, text);
}

static void worker_failed(struct schannel *c, const Scistream__Worker__Failed *f, const FromWorker *m)
{
    struct shop *sh = c->hop[(unsigned)f->side];
    if (c->state == SC_CONFIRMED || c->state == SC_CLOSING)
        return;
    if (sh && !sh->over)
        hop_heard(&sh->h, m);
    else
        schannel_abort(c, err_from_wire(f->code), f->text);
}

static void open_next(struct schannel *c);
static void pass_done_on(struct schannel *c);

/* A TCP peer cannot say how much it sent: this gateway counts for it. */
static void on_ended(struct schannel *c, const Scistream__Worker__Ended *m)
{
    if (m->backward)
        return;
    c->ended = true;
    c->ended_total = m->total;
    check_totals(c);
    if (!c->plain[SOURCE_SIDE].here || c->has_done)
        return;
    c->total = (struct attach_total){ .total = m->total };
    c->has_done = true;
    if (c->state == SC_FLOWING)
        pass_done_on(c);
}

static void on_worker_up(struct schannel *c, const FromWorker *m)
{
    unsigned side = (unsigned)m->up->side;
    if (c->hop[side])
        hop_heard(&c->hop[side]->h, m);
    c->plain[side].up = c->plain[side].here;
    if (c->plain[side].here)
        schannel_maybe_flows(c);
}

static void worker_message(struct pool_client *pc, const FromWorker *m)
{
    struct schannel *c = container_of(pc, struct schannel, pc);
    struct shop *sh;
    switch (m->what_case) {
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_PREPARED:
        if ((sh = c->hop[(unsigned)m->prepared->side]))
            hop_heard(&sh->h, m);
        if ((unsigned)m->prepared->side == c->first)
            open_next(c);
        break;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_UP:
        on_worker_up(c, m);
        break;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_ENDED: on_ended(c, m->ended); break;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_FINISHED: on_finished(c); break;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_FAILED: worker_failed(c, m->failed, m); break;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_CLOSED:
        pool_channel_detach(c->w, pc);
        free_later(c);
        break;
    default: break;
    }
}

static void worker_died(struct pool_client *pc, const char *why)
{
    struct schannel *c = container_of(pc, struct schannel, pc);
    if (c->closing_sent)
        free_later(c);
    else if (c->state == SC_CONFIRMED)
        end_if_both_over(c);
    else
        schannel_abort(c, -SST_EWORKER, why);
}

/* ------------------------------------------------------------ what the hops say */

static void pass_done_on(struct schannel *c)
{
    struct shop *sink = c->hop[SINK_SIDE];
    set_state(c, SC_DONE);
    check_totals(c);
    if (c->state != SC_DONE)
        return;
    if (sink)
        hop_done(&sink->h, &c->total);
    confirm_for_sink(c);
}

void schannel_maybe_flows(struct schannel *c)
{
    char from[ADDR_TEXT + 700], to[ADDR_TEXT + 700];
    if (c->state != SC_OPENING || !side_is_up(c, SOURCE_SIDE) || (!c->probe && !side_is_up(c, SINK_SIDE)))
        return;
    set_state(c, SC_FLOWING);
    c->flowing_ns = now_ns();
    log_info("channel %s/%u (%s) flows: %s -> %s%s, ring %llu, worker %u", c->s->uid, c->number, c->route->c->name,
             side_text(c, SOURCE_SIDE, from, sizeof(from)), side_text(c, SINK_SIDE, to, sizeof(to)), c->duplex ? ", both ways" : "",
             (unsigned long long)c->window, c->w->index);
    if (c->ss->c.ev)
        c->ss->c.ev->flowing(c->ss->c.ev_user, c);
    if (c->has_done) /* it came before the next hop was up */
        pass_done_on(c);
}

static void on_hop_up(struct hop *h)
{
    if (shop_of(h)->c)
        schannel_maybe_flows(shop_of(h)->c);
}

static void on_hop_done(struct hop *h, const struct attach_total *t)
{
    struct schannel *c = shop_of(h)->c;
    if (!c)
        return;
    c->total = *t;
    c->has_done = true;
    if (c->state == SC_FLOWING)
        pass_done_on(c);
}

static void on_hop_confirm(struct hop *h, const struct attach_total *t)
{
    struct schannel *c = shop_of(h)->c;
    if (!c || c->state != SC_DONE)
        return;
    if (t->total != c->total.total)
        schannel_abort(c, -SST_ELENGTH, "the receiver confirmed another length than was sent");
    else
        confirm_when_finished(c, t);
}

/* Heap. Whom we dialed and who refused us says no more than that, not who he is. */
static char *words_of(const struct shop *sh, int rc, bool by_peer, const char *text)
{
    bool refused = by_peer && rc == -SST_EAUTH && !sh->h.at.server;
    const char *who = refused ? "next gateway" : sh->side == SOURCE_SIDE ? "sender" : "receiver";
    return by_peer && !refused ? mem_strdup(text) : mem_printf("gateway %s: %s %s: %s", sh->ss->c.name, who, sh->h.at.peer, text);
}

static void on_hop_over(struct hop *h, int rc, bool by_peer, const char *text)
{
    struct shop *sh = shop_of(h);
    struct schannel *c = sh->c;
    sh->over = true;
    if (!c) {
        shop_release(sh);
        return;
    }
    if (c->state == SC_CONFIRMED || (c->confirm_waits && rc == 0)) {
        if (c->state == SC_CONFIRMED)
            end_if_both_over(c);
        return;
    }
    AUTO_FREE char *full = words_of(sh, rc, by_peer, text);
    abort_except(c, rc ? rc : -SST_ELOST, full, sh);
}

static void on_hop_offer(struct hop *h, const Offer *o) { session_offer(shop_of(h), o); }

static void on_hop_waiting(struct hop *h, const char *text)
{
    struct schannel *c = shop_of(h)->c;
    struct shop *here = c ? c->hop[!shop_of(h)->side] : NULL; /* who attached here and has this gateway dial for him */
    log_debug("next gateway %s: %s", h->at.peer, text);
    if (here)
        hop_waiting(&here->h, text);
}

static bool is_place(const struct route *r, const char *address)
{
    for (size_t i = 0; i < r->n_places; i++)
        if (strv_has(r->place[i].addresses, address))
            return true;
    return false;
}

/* Of a made route only those addresses are used that were judged; where the next gateway has its data elsewhere, that is judged now. */
static bool may_connect(const struct schannel *c, const Answer *m)
{
    union sockaddr_any to;
    char text[ADDR_TEXT];
    if (!c->route->made || !*m->address)
        return true;
    if (addr_numeric(m->address, (uint16_t)m->port, &to) < 0)
        return false;
    return is_place(c->route, addr_format_host(&to, text)) || (c->ss->c.allows && c->ss->c.allows(c->ss->c.ev_user, c->s->grant, &to));
}

static void on_hop_answered(struct hop *h, const Answer *m)
{
    struct shop *sh = shop_of(h);
    char text[ATTACH_WHY];
    if (!sh->c || !sh->c->w)
        return;
    if (may_connect(sh->c, m)) {
        hop_connect(h, sh->c->w, &sh->c->pc, (Scistream__Worker__Side)sh->side, m);
        return;
    }
    snprintf(text, sizeof(text), "the next gateway has its data at %.64s port %u, where this session may not connect to: arrange it with an address that is allowed there, or let "
             "the policy have that one, too", m->address, m->port);
    schannel_abort(sh->c, -SST_EDENIED, text);
}

static const struct hop_events hop_events = {
    .offer = on_hop_offer, .connected = hop_offer, .waiting = on_hop_waiting, .answered = on_hop_answered, .up = on_hop_up,
    .done = on_hop_done, .confirm = on_hop_confirm, .over = on_hop_over,
};

const struct hop_events *session_hop_events(void) { return &hop_events; }

/* ------------------------------------------------------------ opening a channel */

static void on_patience(struct timer *t)
{
    struct schannel *c = container_of(t, struct schannel, patience);
    char text[160], place[SESSION_PLACE];
    if (c->state == SC_CONFIRMED) {
        end_confirmed(c);
        return;
    }
    snprintf(text, sizeof(text), "no %s came to %s in time", side_here(c, SOURCE_SIDE) ? "receiver" : "sender", session_place_name(c->s, place));
    schannel_abort(c, -SST_ERENDEZVOUS, text);
}

void schannel_wait(struct schannel *c, uint64_t ns) { loop_timer(c->ss->c.loop, &c->patience, ns); }

void schannel_follow(struct schannel *c, struct route *r)
{
    route_hold(r);
    route_drop(c->route);
    c->route = r;
    c->window = r->c->window;
}

struct schannel *schannel_new(struct session *s, uint32_t number)
{
    struct schannel *c = mem_zalloc(1, sizeof(*c));
    c->s = s;
    c->number = number;
    c->born_ns = now_ns();
    c->outcome = TALLY_ABORTED;
    schannel_follow(c, s->route);
    c->patience.fire = on_patience;
    c->pc.message = worker_message;
    c->pc.died = worker_died;
    list_init(&c->pc.node);
    defer_init(&c->gone, schannel_gone);
    list_add_tail(&s->channels, &c->node);
    take_place(c);
    return c;
}

bool schannel_adopt(struct schannel *c, struct sessions *ss)
{
    if (c->ss)
        return false;
    c->ss = ss;
    ss->n_channels++;
    return true;
}

void schannel_opened(struct schannel *c)
{
    if (c->ss->c.ev)
        c->ss->c.ev->opened(c->ss->c.ev_user, c);
}

void schannel_join(struct schannel *c, struct shop *sh, unsigned side)
{
    bool first = schannel_adopt(c, sh->ss);
    list_del(&sh->node);
    sh->c = c;
    sh->side = side;
    c->hop[side] = sh;
    if (first)
        schannel_opened(c);
}

/* What the sink's end is told as our ring, in parts of which it then tells what was consumed. A sender by link holds its bytes until
 * the far end of the path consumed them, so its ring, told along the path, is what would stand still if the news came in parts of a
 * larger one. */
static uint64_t told_window(const struct schannel *c)
{
    const struct hop *source = c->hop[SOURCE_SIDE] ? &c->hop[SOURCE_SIDE]->h : NULL;
    bool keeps = source && source->give.peer_window && str_eq(source->report.transport, "link");
    return keeps ? MIN(c->window, source->give.peer_window) : c->window;
}

/* The route says so, or who attached asked for it: then on both hops. */
static bool wants_low_latency(const struct schannel *c)
{
    bool asked = c->route->c->low_latency;
    for (unsigned side = 0; side < HOP_SIDES; side++)
        asked |= c->hop[side] && c->hop[side]->h.offer && c->hop[side]->h.offer->low_latency;
    return asked;
}

/* Choose the transport of an attached hop and let the worker prepare its end. */
static void answer_hop(struct schannel *c, unsigned side)
{
    struct shop *sh = c->hop[side];
    const struct conf_route *r = c->route->c;
    static const char *const ciphers[] = { "aes-256-gcm", "aes-128-gcm", "chacha20-poly1305" };
    char why[ATTACH_WHY];
    if (!hop_choose(&sh->h, route_transports(sh->route, side == SOURCE_SIDE), c->w, why, sizeof(why))) {
        schannel_abort(c, -SST_ENOTRANSPORT, why);
        return;
    }
    str_copy(sh->h.give.uid, sizeof(sh->h.give.uid), c->s->uid);
    sh->h.give.channel = c->number;
    sh->h.give.window = side == SINK_SIDE ? told_window(c) : 0;
    sh->h.give.plain = r->plaintext;
    sh->h.give.low_latency = wants_low_latency(c);
    sh->h.give.simplex = c->duplex && !sh->h.offer->duplex;
    sh->h.give.cipher = ciphers[c->ss->c.conf->link.cipher];
    sh->h.give.gateway = c->ss->c.name;
    str_copy(sh->h.give.advertise, sizeof(sh->h.give.advertise), c->ss->c.conf->g.advertise);
    sh->h.secret = sh->grant ? &sh->grant->secret[side == SOURCE_SIDE ? GRANT_SEND : GRANT_RECV] : &sh->route->secret;
    hop_answer(&sh->h, c->w, &c->pc, (Scistream__Worker__Side)side);
}

/* What the side that came first offered; NULL: it is a TCP peer. */
static const Offer *first_offer(const struct schannel *c) { return c->hop[c->first] ? c->hop[c->first]->h.offer : NULL; }

/* Who asked for its channel by number means that number all along the way; -1: any. */
static int64_t asked_channel(const struct schannel *c)
{
    const Offer *o = first_offer(c);
    return o && o->pick_case == SCISTREAM__GATEWAY__V1__OFFER__PICK_CHANNEL ? (int64_t)o->channel : -1;
}

/* Those towards the next gateway that can be used here now; heap. None: NULL, and why tells what is wrong with each. */
static char **dialing_transports(const struct schannel *c, char *why, size_t why_size)
{
    static struct log_gate gate = LOG_GATE;
    const struct conf_route *r = c->route->c;
    char **out = mem_zalloc(strv_len(r->connect_transports) + 1, sizeof(*out)), text[ATTACH_WHY - 160] = "";
    size_t n = 0, at = 0;
    for (char *const *t = r->connect_transports; *t; t++) {
        const char *problem = pool_transport_problem(c->w, *t);
        if (!problem)
            out[n++] = mem_strdup(*t);
        else if (at < sizeof(text))
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s: %s", at ? "; " : "", *t, problem);
    }
    if (n > 0 && at)
        log_gated(&gate, LOG_LEVEL_WARN, "route %s: not offered to %s: %s", r->name, r->connect, text);
    if (n > 0)
        return out;
    free(out);
    snprintf(why, why_size, "no transport towards %s can be used here (%s)", r->connect, text);
    return NULL;
}

/* Where the next gateway of a made route is; heap. */
static struct grpc_place *known_places(const struct route *r, size_t *n)
{
    size_t most = 0;
    for (size_t i = 0; i < r->n_places; i++)
        most += strv_len(r->place[i].addresses);
    struct grpc_place *out = mem_zalloc(most + 1, sizeof(*out));
    *n = 0;
    for (size_t i = 0; i < r->n_places; i++)
        for (char *const *a = r->place[i].addresses; *a; a++) {
            out[*n].host = r->place[i].host;
            *n += addr_numeric(*a, r->place[i].port, &out[*n].at) == 0;
        }
    return out;
}

static void dial_next(struct schannel *c)
{
    const struct route *r = c->route;
    char why[ATTACH_WHY];
    char **transports = dialing_transports(c, why, sizeof(why));
    if (!transports) {
        schannel_abort(c, -SST_ENOTRANSPORT, why);
        return;
    }
    const struct conf *conf = c->ss->c.conf;
    const Offer *o = first_offer(c);
    struct shop *sh = shop_new(c->ss);
    struct grpc_target t = { .host = r->next.host, .port = r->next.port, .tls = r->next_tls, .connect_ns = conf->g.attach_timeout,
                             .tls_name = *r->c->connect_tls_name ? r->c->connect_tls_name : NULL, .silent_ns = conf->g.peer_timeout };
    AUTO_FREE struct grpc_place *places = r->made ? known_places(r, &t.n_places) : NULL;
    t.places = places;
    sh->h.want = (struct hop_offer){ .name = mem_strdup(r->next.route), .is_session = r->made, .channel = asked_channel(c), .transports = transports,
                                     .role = c->first == SOURCE_SIDE ? SCISTREAM__GATEWAY__V1__ROLE__SEND : SCISTREAM__GATEWAY__V1__ROLE__RECV,
                                     .window = c->first == SOURCE_SIDE ? told_window(c) : c->window, .duplex = c->duplex,
                                     .size_hint = o ? o->size_hint : 0, .wait_ms = o ? o->wait_ms : 0, .low_latency = wants_low_latency(c),
                                     .software = mem_strdup("scistreamd"), .addresses = hop_own_addresses(c->w) };
    sh->route = route_hold(c->route);
    sh->h.secret = &r->next_secret;
    sh->principal = r->c->connect_pin[0] ? "pin" : "certificate";
    sh->h.step_ns = conf->g.attach_timeout;
    schannel_join(c, sh, !c->first);
    hop_dial(&sh->h, c->ss->c.loop, c->ss->c.resolver, &t, &hop_events, sh);
}

static void discard(struct schannel *c)
{
    Scistream__Worker__Hop h = SCISTREAM__WORKER__HOP__INIT;
    char null[] = "/dev/null", file[] = "file", *files[] = { null };
    h.side = SCISTREAM__WORKER__SIDE__SINK;
    h.transport = file;
    h.files = files;
    h.n_files = 1;
    pool_channel_hop(c->w, &c->pc, &h);
}

/* The other side, once: what it is told depends on the transport of the source, which is known when that is prepared. */
static void open_next(struct schannel *c)
{
    if (c->next_opened || c->state != SC_OPENING)
        return;
    c->next_opened = true;
    if (c->probe)
        discard(c);
    else if (c->route->tcp)
        splain_dial(c, !c->first);
    else if (c->route->connects)
        dial_next(c);
    else
        answer_hop(c, !c->first);
}

/* A TCP peer takes no part in the choice, so the other side may be opened with it. */
static void open_first(struct schannel *c)
{
    if (!c->plain[c->first].here) {
        answer_hop(c, c->first);
        return;
    }
    splain_adopt(c, c->first);
    open_next(c);
}

/* One side that speaks both ways is enough: what the other one cannot take is dropped. */
static bool wants_duplex(const struct schannel *c)
{
    bool asked = false;
    for (unsigned side = 0; side < HOP_SIDES; side++)
        asked |= c->plain[side].here || (c->hop[side] && c->hop[side]->h.offer->duplex);
    return asked;
}

void schannel_open(struct schannel *c)
{
    struct sessions *ss = c->ss;
    char why[ATTACH_WHY];
    loop_timer_stop(ss->c.loop, &c->patience);
    set_state(c, SC_OPENING);
    c->first = side_here(c, SOURCE_SIDE) ? SOURCE_SIDE : SINK_SIDE;
    c->duplex = wants_duplex(c);
    if (!c->w) /* a TCP peer is on the worker that accepted it */
        c->w = pool_pick(ss->c.pool);
    struct pool_open o = { .window = c->window, .duplex = c->duplex, .share = c->s->share };
    int rc = c->w ? take_memory(c, why, sizeof(why)) : -SST_EWORKER;
    bool fits = rc == 0;
    if (fits)
        rc = pool_channel_open(c->w, &c->pc, &o);
    if (rc < 0) {
        schannel_abort(c, rc, rc == -SST_ELIMIT && !fits ? why : rc == -SST_ELIMIT ? "the worker has no free channel" : err_text(rc));
        return;
    }
    open_first(c);
}

void schannel_forget(struct schannel *c)
{
    for (unsigned side = 0; side < HOP_SIDES; side++)
        if (c->hop[side])
            shop_gone(&c->hop[side]->gone);
    loop_timer_stop(c->ss->c.loop, &c->patience);
    defer_cancel(&c->gone);
    if (c->w)
        pool_channel_detach(c->w, &c->pc);
    schannel_free(c);
}
