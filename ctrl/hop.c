#include "ctrl/hop_priv.h"

#include <stdio.h>

#include "config.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/ring.h"

#define GRACE_NS (1000 * NS_PER_MS) /* an ABORT that explains a broken data path comes within this, or not at all */
#define OWN_NS (300 * NS_PER_MS)    /* and what our worker knows of one that the peer lost, within this */

static struct hop *hop_of(struct attach *a) { return container_of(a, struct hop, at); }
static char *unconst(const char *s) { return (char *)(uintptr_t)s; } /* protobuf-c's strings are not const */

/* ------------------------------------------------------------ time and failure */

static void over(struct hop *h, int rc, bool by_peer, const char *text)
{
    loop_timer_stop(h->loop, &h->step);
    loop_timer_stop(h->loop, &h->grace);
    h->ev->over(h, rc, by_peer, text);
}

/* This side gives the hop up: the peer is told, then the owner. */
static void give_up(struct hop *h, int rc, const char *text)
{
    AUTO_FREE char *copy = mem_strdup(text);
    attach_abort(&h->at, rc, copy);
    over(h, rc, false, copy);
}

static void on_step_late(struct timer *t)
{
    struct hop *h = container_of(t, struct hop, step);
    char text[ATTACH_WHY];
    snprintf(text, sizeof(text), "attach with %s: %s in time", h->at.peer,
             h->at.state == ATTACH_NEW          ? "no OFFER"
             : h->at.state == ATTACH_ANSWERED ? "no data connection"
                                              : "no progress");
    give_up(h, -SST_ETIMEOUT, text);
}

static bool take_lost(struct hop *h)
{
    bool was = h->peer_lost;
    h->peer_lost = false;
    return was;
}

static void on_grace_over(struct timer *t)
{
    struct hop *h = container_of(t, struct hop, grace);
    if (take_lost(h))
        over(h, h->broken_rc, true, h->broken_text);
    else
        give_up(h, h->broken_rc, h->broken_text);
}

static void next_step(struct hop *h) { loop_timer(h->loop, &h->step, h->step_ns); }

/* Both sides register their rings within it, where an adapter wants that. */
static void data_step(struct hop *h, uint64_t window, uint64_t peer_window)
{
    loop_timer(h->loop, &h->step, h->step_ns + ring_pin_ns(window) + ring_pin_ns(peer_window));
}

/* Only failures that the peer's own end can explain are worth waiting for its words; that of our device is none. */
static bool peer_may_explain(int rc)
{
    return rc != -SST_EDEVICE && (rc == -SST_ELOST || rc == -ECONNRESET || rc == -EPIPE || rc == -SST_EABORTED || (rc < -SST_ERR_BASE && rc != -SST_EPROTO));
}

/* The peer has ended the hop since it lost our data connection: what our own worker says of that comes with the same event, and knows more. */
static void peer_lost_us(struct hop *h, const char *text)
{
    h->peer_lost = h->broken = true;
    h->broken_rc = -SST_ELOST;
    str_copy(h->broken_text, sizeof(h->broken_text), text);
    loop_timer(h->loop, &h->grace, OWN_NS);
}

static void data_failed(struct hop *h, int rc, const char *text)
{
    if (!peer_may_explain(rc) && take_lost(h)) {
        over(h, rc, false, text);
        return; /* its owner may have ended it */
    }
    if (h->broken)
        return;
    h->broken = true;
    h->broken_rc = rc;
    str_copy(h->broken_text, sizeof(h->broken_text), text);
    if (peer_may_explain(rc))
        loop_timer(h->loop, &h->grace, GRACE_NS);
    else
        give_up(h, rc, h->broken_text);
}

static void maybe_up(struct hop *h)
{
    if (h->told_up || !h->data_up || !h->ready)
        return;
    h->told_up = true;
    loop_timer_stop(h->loop, &h->step);
    h->ev->up(h);
}

bool hop_is_up(const struct hop *h) { return h->told_up; }

/* ------------------------------------------------------------ conversation, both ends */

static void on_done(struct attach *a, const struct attach_total *t) { hop_of(a)->ev->done(hop_of(a), t); }

static void on_confirm(struct attach *a, const struct attach_total *t)
{
    loop_timer_stop(hop_of(a)->loop, &hop_of(a)->grace);
    hop_of(a)->ev->confirm(hop_of(a), t);
}

static void on_over(struct attach *a, int rc, bool by_peer, const char *text)
{
    struct hop *h = hop_of(a);
    if (h->broken && !by_peer && rc != 0)
        over(h, h->broken_rc, false, h->broken_text);
    else if (by_peer && rc == -SST_ELOST && h->data_up && !h->broken)
        peer_lost_us(h, text);
    else
        over(h, rc, by_peer, text);
}

static void begin(struct hop *h, struct loop *l, const struct hop_events *ev, void *owner)
{
    h->loop = l;
    h->ev = ev;
    h->owner = owner;
    h->step.fire = on_step_late;
    h->grace.fire = on_grace_over;
}

/* ------------------------------------------------------------ server */

static Offer *copy_offer(const Offer *o)
{
    size_t n = scistream__gateway__v1__offer__get_packed_size(o);
    AUTO_FREE uint8_t *data = mem_zalloc(1, n + 1);
    scistream__gateway__v1__offer__pack(o, data);
    return scistream__gateway__v1__offer__unpack(NULL, n, data);
}

static void on_offer(struct attach *a, const Offer *o)
{
    struct hop *h = hop_of(a);
    loop_timer_stop(h->loop, &h->step);
    h->offer = copy_offer(o);
    if (!h->offer) {
        give_up(h, -ENOMEM, "no memory for the OFFER");
        return;
    }
    h->give.peer_window = o->window;
    h->ev->offer(h, o);
}

static const struct attach_events server_events = { .offer = on_offer, .done = on_done, .confirm = on_confirm, .over = on_over };

void hop_serve(struct hop *h, struct loop *l, struct grpc_call *c, const struct hop_events *ev, void *owner)
{
    begin(h, l, ev, owner);
    attach_serve(&h->at, l, c, &server_events, h);
    str_copy(h->report.peer, sizeof(h->report.peer), h->at.peer);
    next_step(h);
}

void hop_move(struct hop *to, struct hop *from, const struct hop_events *ev, void *owner)
{
    loop_timer_stop(from->loop, &from->step);
    *to = *from;
    to->ev = ev;
    to->owner = owner;
    attach_moved(&to->at, to);
    *from = (struct hop){ .at.state = ATTACH_OVER };
}

static char *const features[] = { HOP_FEATURES, NULL };

static const char *missing_feature(const Offer *o)
{
    for (size_t i = 0; i < o->n_require; i++)
        if (!strv_has(features, o->require[i]))
            return o->require[i];
    if (o->lanes > 1)
        return "lanes";
    if (o->resume)
        return "resume";
    if (o->framing && *o->framing && !str_eq(o->framing, "bytes"))
        return "framing";
    if (o->on_full && *o->on_full && !str_eq(o->on_full, "block"))
        return "on_full";
    return NULL;
}

static bool window_ok(uint64_t window) { return window == 0 || window >= HOP_WINDOW_MIN; }

int hop_check_offer(const Offer *o, char *why, size_t why_size)
{
    const char *feature = missing_feature(o);
    if (o->version_min > ATTACH_VERSION || o->version_max < ATTACH_VERSION) {
        snprintf(why, why_size, "protocol versions %u to %u are not spoken here, only %d", o->version_min, o->version_max, ATTACH_VERSION);
        return -SST_EVERSION;
    }
    if (feature) {
        snprintf(why, why_size, "required feature '%.64s' is not supported by this gateway (%s)", feature, PACKAGE_VERSION);
        return -SST_EFEATURE;
    }
    if (o->role != SCISTREAM__GATEWAY__V1__ROLE__SEND && o->role != SCISTREAM__GATEWAY__V1__ROLE__RECV) {
        snprintf(why, why_size, "OFFER has no role");
        return -SST_EPROTO;
    }
    if (!window_ok(o->window)) {
        snprintf(why, why_size, "window of %llu is below 64K", (unsigned long long)o->window);
        return -SST_EUSAGE;
    }
    return 0;
}

static void set_key(struct hop *h, Scistream__Worker__Hop *m, uint8_t key[TLS_KEY_SIZE])
{
    m->cookie = (ProtobufCBinaryData){ sizeof(h->cookie), h->cookie };
    if (m->plain || !str_eq(m->transport, "link"))
        return;
    auth_lane_key(h->secret, h->nonce, h->give.uid, h->give.channel, key);
    m->key = (ProtobufCBinaryData){ TLS_KEY_SIZE, key };
}

/* With a cookie and a nonce of its own each time: those of a transport that could not be used were told to nobody. */
static void prepare(struct hop *h)
{
    Scistream__Worker__Hop m = SCISTREAM__WORKER__HOP__INIT;
    uint8_t key[TLS_KEY_SIZE];
    char *words[HOP_PEER_ADDRESSES];
    AUTO_FREE char *storage = NULL;
    h->preparing = true;
    str_copy(h->report.transport, sizeof(h->report.transport), h->chosen);
    secret_random(h->cookie, sizeof(h->cookie));
    secret_random(h->nonce, sizeof(h->nonce));
    m.side = h->side;
    m.how = SCISTREAM__WORKER__HOP__HOW__ACCEPT;
    m.transport = h->report.transport;
    m.plain = h->give.plain;
    m.low_latency = h->give.low_latency;
    m.simplex = h->give.simplex;
    m.peer_window = h->give.peer_window;
    m.peer_addresses = words;
    m.n_peer_addresses = hop_peer_addresses(h, words, &storage);
    set_key(h, &m, key);
    pool_channel_hop(h->worker, h->client, &m);
    secret_wipe(key, sizeof(key));
    next_step(h);
}

void hop_answer(struct hop *h, struct pool_worker *w, struct pool_client *c, Scistream__Worker__Side side)
{
    h->worker = w;
    h->client = c;
    h->side = side;
    prepare(h);
}

/* The worker found that the transport does not reach the peer: the next that both have. */
static void pass_over(struct hop *h, const char *reason)
{
    char why[ATTACH_WHY];
    h->preparing = false;
    if (hop_choose_next(h, reason, why, sizeof(why)))
        prepare(h);
    else
        give_up(h, -SST_ENOTRANSPORT, why);
}

static void on_prepared(struct hop *h, const Scistream__Worker__Prepared *p)
{
    Answer m = SCISTREAM__GATEWAY__V1__ANSWER__INIT;
    Scistream__Gateway__V1__PassedOver over_one = SCISTREAM__GATEWAY__V1__PASSED_OVER__INIT, *over_list = &over_one;
    ProtobufCBinaryData cookie = { sizeof(h->cookie), h->cookie };
    const char *advertise = str_eq(h->report.transport, "link") ? h->give.advertise : "";
    h->preparing = false;
    m.version = ATTACH_VERSION;
    m.features = (char **)(uintptr_t)features;
    m.n_features = strv_len(features);
    m.session = h->give.uid;
    m.channel = h->give.channel;
    m.transport = h->report.transport;
    m.address = *p->address ? p->address : unconst(advertise);
    m.port = p->port;
    m.cookies = &cookie;
    m.n_cookies = 1;
    m.window = h->give.window ? MIN(p->window, h->give.window) : p->window;
    m.chunk_max = p->chunk_max;
    m.nonce = (ProtobufCBinaryData){ sizeof(h->nonce), h->nonce };
    m.plaintext = h->give.plain;
    m.cipher = unconst(h->give.cipher);
    m.gateway = unconst(h->give.gateway);
    over_one.transport = unconst("");
    over_one.reason = h->report.passed_over;
    m.passed_over = &over_list;
    m.n_passed_over = h->report.passed_over[0] ? 1 : 0;
    attach_answer(&h->at, &m);
    data_step(h, p->window, h->give.peer_window);
}

void hop_waiting(struct hop *h, const char *text) { attach_waiting(&h->at, text); }

/* ------------------------------------------------------------ client */

static void send_offer(struct hop *h, const uint8_t *proof)
{
    struct hop_offer *w = &h->want;
    Offer o = SCISTREAM__GATEWAY__V1__OFFER__INIT;
    Scistream__Gateway__V1__TransportOffer t[HOP_TRANSPORTS], *tp[HOP_TRANSPORTS];
    Scistream__Gateway__V1__TransportOffer__ParametersEntry parameter = SCISTREAM__GATEWAY__V1__TRANSPORT_OFFER__PARAMETERS_ENTRY__INIT,
                                                            *addresses = &parameter;
    parameter.key = unconst("addresses");
    parameter.value = w->addresses;
    o.version_min = o.version_max = ATTACH_VERSION;
    o.features = (char **)(uintptr_t)features;
    o.n_features = strv_len(features);
    *(w->is_session ? &o.session : &o.route) = w->name;
    o.role = w->role;
    o.pick_case = w->channel >= 0 ? SCISTREAM__GATEWAY__V1__OFFER__PICK_CHANNEL : SCISTREAM__GATEWAY__V1__OFFER__PICK__NOT_SET;
    o.channel = w->channel >= 0 ? (uint32_t)w->channel : 0;
    o.proof = (ProtobufCBinaryData){ proof ? TLS_KEY_SIZE : 0, (uint8_t *)(uintptr_t)proof };
    o.window = w->window;
    o.n_transports = MIN(strv_len(w->transports), HOP_TRANSPORTS);
    for (size_t i = 0; i < o.n_transports; i++) {
        scistream__gateway__v1__transport_offer__init(&t[i]);
        t[i].name = w->transports[i];
        tp[i] = &t[i];
        if (!w->addresses || !*w->addresses || !str_eq(t[i].name, "verbs"))
            continue;
        t[i].parameters = &addresses;
        t[i].n_parameters = 1;
    }
    o.transports = tp;
    o.framing = unconst("bytes");
    o.size_hint = w->size_hint;
    o.wait_ms = w->wait_ms;
    o.software = w->software;
    o.probe = w->probe;
    o.low_latency = w->low_latency;
    o.duplex = w->duplex;
    attach_offer(&h->at, &o);
}

char *hop_own_addresses(const struct pool_worker *w) { return pool_device_addresses(w, "verbs", HOP_PEER_ADDRESSES); }

static void on_connected(struct attach *a)
{
    struct hop *h = hop_of(a);
    str_copy(h->report.peer, sizeof(h->report.peer), a->peer);
    h->ev->connected(h);
}

void hop_offer(struct hop *h)
{
    uint8_t proof[TLS_KEY_SIZE];
    bool tls = h->at.conn && grpc_conn_tls(h->at.conn);
    int rc = tls && h->secret ? auth_proof(h->secret, h->want.role, h->want.name, h->at.conn, proof) : 0;
    if (rc < 0)
        give_up(h, rc, "the TLS connection gives no keying material");
    else
        send_offer(h, tls && h->secret ? proof : NULL);
    secret_wipe(proof, sizeof(proof));
}

static void on_waiting(struct attach *a, const char *text) { hop_of(a)->ev->waiting(hop_of(a), text); }

static void keep_passed_over(struct hop *h, const Answer *m)
{
    h->report.passed_over[0] = 0;
    for (size_t i = 0; i < m->n_passed_over; i++) {
        const char *name = m->passed_over[i]->transport;
        size_t n = strlen(h->report.passed_over);
        snprintf(h->report.passed_over + n, sizeof(h->report.passed_over) - n, "%s%s%s%s", n ? "; " : "", name, *name ? ": " : "",
                 m->passed_over[i]->reason);
    }
}

static bool answer_ok(const struct hop *h, const Answer *m)
{
    bool offered = false;
    for (char **t = h->want.transports; *t; t++)
        offered |= str_eq(*t, m->transport);
    return m->version == ATTACH_VERSION && offered && m->n_cookies >= 1 && m->cookies[0].len == sizeof(h->cookie) &&
           m->nonce.len == sizeof(h->nonce) && m->port > 0 && m->port <= UINT16_MAX && strlen(m->session) < sizeof(h->give.uid) && !m->redirect;
}

static void on_answer(struct attach *a, const Answer *m)
{
    struct hop *h = hop_of(a);
    if (!answer_ok(h, m) || !window_ok(m->window)) {
        give_up(h, -SST_EPROTO, answer_ok(h, m) ? "ANSWER has a window below 64K" : "ANSWER does not fit the OFFER");
        return;
    }
    memcpy(h->cookie, m->cookies[0].data, sizeof(h->cookie));
    memcpy(h->nonce, m->nonce.data, sizeof(h->nonce));
    str_copy(h->give.uid, sizeof(h->give.uid), m->session);
    h->give.channel = m->channel;
    h->give.plain = m->plaintext;
    str_copy(h->report.transport, sizeof(h->report.transport), m->transport);
    keep_passed_over(h, m);
    data_step(h, h->want.window, m->window);
    h->ev->answered(h, m);
}

static void on_ready(struct attach *a)
{
    hop_of(a)->ready = true;
    maybe_up(hop_of(a));
}

static const struct attach_events client_events = {
    .connected = on_connected, .waiting = on_waiting, .answer = on_answer, .ready = on_ready,
    .done = on_done, .confirm = on_confirm, .over = on_over,
};

void hop_dial(struct hop *h, struct loop *l, struct resolver *r, const struct grpc_target *t, const struct hop_events *ev, void *owner)
{
    begin(h, l, ev, owner);
    attach_dial(&h->at, l, r, t, &client_events, h);
}

void hop_connect(struct hop *h, struct pool_worker *w, struct pool_client *c, Scistream__Worker__Side side, const Answer *m)
{
    Scistream__Worker__Hop k = SCISTREAM__WORKER__HOP__INIT;
    uint8_t key[TLS_KEY_SIZE];
    char host[ADDR_TEXT];
    attach_peer_host(&h->at, host);
    h->worker = w;
    h->client = c;
    h->side = side;
    k.side = side;
    k.how = SCISTREAM__WORKER__HOP__HOW__CONNECT;
    k.transport = h->report.transport;
    k.address = *m->address ? m->address : host;
    k.port = m->port;
    k.plain = m->plaintext;
    k.low_latency = h->want.low_latency;
    k.cipher = m->cipher;
    k.peer_window = m->window;
    k.chunk_max = m->chunk_max;
    set_key(h, &k, key);
    pool_channel_hop(w, c, &k);
    secret_wipe(key, sizeof(key));
}

/* ------------------------------------------------------------ what the worker says */

static void on_worker_up(struct hop *h, const Scistream__Worker__Up *u)
{
    str_copy(h->report.device, sizeof(h->report.device), u->device);
    str_copy(h->report.security, sizeof(h->report.security), u->detail);
    h->data_up = true;
    if (h->at.server) {
        attach_ready(&h->at);
        h->ready = true;
    }
    maybe_up(h);
}

void hop_heard(struct hop *h, const FromWorker *m)
{
    if (h->at.state == ATTACH_OVER && !h->peer_lost)
        return;
    switch (m->what_case) {
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_PREPARED: on_prepared(h, m->prepared); break;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_UP: on_worker_up(h, m->up); break;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_FAILED:
        if (h->preparing && err_from_wire(m->failed->code) == -SST_ENOTRANSPORT)
            pass_over(h, m->failed->text);
        else
            data_failed(h, err_from_wire(m->failed->code), m->failed->text);
        break;
    default: break;
    }
}

/* ------------------------------------------------------------ the rest is handed through */

void hop_done(struct hop *h, const struct attach_total *t) { attach_done(&h->at, t); }
void hop_confirm(struct hop *h, const struct attach_total *t) { attach_confirm(&h->at, t); }
void hop_finish(struct hop *h) { attach_finish(&h->at); }

void hop_abort(struct hop *h, int rc, const char *text)
{
    if (h->loop) {
        loop_timer_stop(h->loop, &h->step);
        loop_timer_stop(h->loop, &h->grace);
        attach_abort(&h->at, rc, text);
    }
}

void hop_fini(struct hop *h)
{
    if (h->loop) {
        loop_timer_stop(h->loop, &h->step);
        loop_timer_stop(h->loop, &h->grace);
        attach_fini(&h->at);
    }
    strv_free(h->want.transports);
    free(h->want.name);
    free(h->want.software);
    free(h->want.device);
    free(h->want.addresses);
    scistream__gateway__v1__offer__free_unpacked(h->offer, NULL);
    secret_wipe(h->cookie, sizeof(h->cookie));
    *h = (struct hop){ .at.state = ATTACH_OVER };
}
