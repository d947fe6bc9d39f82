#include "ctrl/attach.h"

#include <stdio.h>

#include "src/core/err.h"
#include "src/core/log.h"

/* ------------------------------------------------------------ states and who may say what in which */

static const char *const state_names[] = {
    [ATTACH_NEW] = "new",   [ATTACH_OFFERED] = "offered",     [ATTACH_ANSWERED] = "answered", [ATTACH_READY] = "ready",
    [ATTACH_DONE] = "done", [ATTACH_CONFIRMED] = "confirmed", [ATTACH_OVER] = "over",
};

const char *attach_state_name(enum attach_state s) { return state_names[s]; }

enum speaker { CLIENT, SERVER, SENDER, RECEIVER, ANYONE };
#define IN(s) (1U << (s))
#define LIVE (IN(ATTACH_OFFERED) | IN(ATTACH_ANSWERED) | IN(ATTACH_READY) | IN(ATTACH_DONE))

static const struct rule {
    const char *name;
    enum speaker by;
    unsigned in;            /* states in which it may be said */
    enum attach_state next; /* ATTACH_NEW: stays */
} rules[] = {
    [SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_OFFER] = { "OFFER", CLIENT, IN(ATTACH_NEW), ATTACH_OFFERED },
    [SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_WAITING] = { "WAITING", SERVER, LIVE, ATTACH_NEW },
    [SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_ANSWER] = { "ANSWER", SERVER, IN(ATTACH_OFFERED), ATTACH_ANSWERED },
    [SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_READY] = { "READY", SERVER, IN(ATTACH_ANSWERED), ATTACH_READY },
    [SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_LANE] = { "LANE", ANYONE, 0, ATTACH_NEW },
    [SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_COOKIES] = { "COOKIES", SERVER, 0, ATTACH_NEW },
    [SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_DONE] = { "DONE", SENDER, IN(ATTACH_READY), ATTACH_DONE },
    [SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_CONFIRM] = { "CONFIRM", RECEIVER, IN(ATTACH_DONE), ATTACH_CONFIRMED },
    [SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_ABORT] = { "ABORT", ANYONE, LIVE | IN(ATTACH_NEW) | IN(ATTACH_CONFIRMED), ATTACH_OVER },
};

static bool may_say(const struct attach *a, const struct rule *r, bool peer)
{
    switch (r->by) {
    case CLIENT: return a->server == peer;
    case SERVER: return a->server != peer;
    case SENDER: return a->sender != peer;
    case RECEIVER: return a->sender == peer;
    default: return true;
    }
}

/* Move on by one message, said by the peer or by us. False: it may not be said now. */
static bool step(struct attach *a, unsigned what, bool peer)
{
    const struct rule *r = what < ARRAY_LEN(rules) && rules[what].name ? &rules[what] : NULL;
    if (!r || !(r->in & IN(a->state)) || !may_say(a, r, peer))
        return false;
    if (r->next != ATTACH_NEW)
        a->state = r->next;
    return true;
}

/* ------------------------------------------------------------ the end */

static void on_end(struct defer *d)
{
    struct attach *a = container_of(d, struct attach, end);
    a->ev->over(a, a->end_rc, a->end_by_peer, a->end_text);
}

static void end(struct attach *a, int rc, bool by_peer, const char *text)
{
    if (a->ended)
        return;
    a->ended = true;
    a->state = ATTACH_OVER;
    a->end_rc = rc;
    a->end_by_peer = by_peer;
    str_copy(a->end_text, sizeof(a->end_text), text);
    loop_defer(a->loop, &a->end);
}

enum grpc_status attach_status(int rc)
{
    switch (-rc) {
    case 0: return GRPC_OK;
    case SST_EAUTH: return GRPC_UNAUTHENTICATED;
    case SST_EDENIED: return GRPC_PERMISSION_DENIED;
    case SST_EBUSY:
    case SST_ELIMIT:
    case ENOMEM: return GRPC_RESOURCE_EXHAUSTED;
    case SST_EVERSION:
    case SST_EFEATURE:
    case SST_ENOTRANSPORT: return GRPC_FAILED_PRECONDITION;
    case SST_EPROTO:
    case SST_EUSAGE: return GRPC_INVALID_ARGUMENT;
    case SST_ERENDEZVOUS: return GRPC_DEADLINE_EXCEEDED;
    case SST_EDRAINING:
    case SST_EMOVED:
    case SST_EWORKER: return GRPC_UNAVAILABLE;
    case SST_EDIGEST:
    case SST_ELENGTH: return GRPC_DATA_LOSS;
    default: return GRPC_ABORTED;
    }
}

/* A call that ended without an ABORT. */
static int rc_of_status(enum grpc_status s)
{
    switch (s) {
    case GRPC_UNAUTHENTICATED: return -SST_EAUTH;
    case GRPC_PERMISSION_DENIED: return -SST_EDENIED;
    case GRPC_RESOURCE_EXHAUSTED: return -SST_ELIMIT;
    case GRPC_UNAVAILABLE: return -SST_ELOST;
    case GRPC_UNIMPLEMENTED: return -SST_EVERSION;
    case GRPC_CANCELLED: return -SST_EABORTED;
    default: return -SST_EPROTO;
    }
}

/* ------------------------------------------------------------ saying */

static void say(struct attach *a, const AttachMessage *m)
{
    size_t n = scistream__gateway__v1__attach_message__get_packed_size(m);
    AUTO_FREE uint8_t *data = mem_zalloc(1, n + 1);
    scistream__gateway__v1__attach_message__pack(m, data);
    if (grpc_send(a->call, data, n) < 0)
        end(a, -SST_EPEERDEAD, false, "the peer does not read its control connection");
}

#define SAY(a, CASE, field, ptr) \
    do { \
        AttachMessage m_ = SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__INIT; \
        m_.what_case = SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_##CASE; \
        m_.field = (ptr); \
        if ((a)->call && step(a, m_.what_case, false)) \
            say(a, &m_); \
    } while (0)

void attach_offer(struct attach *a, const Offer *o)
{
    a->sender = o->role == SCISTREAM__GATEWAY__V1__ROLE__SEND;
    SAY(a, OFFER, offer, (Offer *)(uintptr_t)o);
}

void attach_waiting(struct attach *a, const char *text)
{
    Scistream__Gateway__V1__Waiting w = SCISTREAM__GATEWAY__V1__WAITING__INIT;
    w.text = (char *)(uintptr_t)text;
    SAY(a, WAITING, waiting, &w);
}

void attach_answer(struct attach *a, const Answer *m) { SAY(a, ANSWER, answer, (Answer *)(uintptr_t)m); }

void attach_ready(struct attach *a)
{
    Scistream__Gateway__V1__Ready r = SCISTREAM__GATEWAY__V1__READY__INIT;
    SAY(a, READY, ready, &r);
}

static ProtobufCBinaryData digest_field(const struct attach_total *t)
{
    return (ProtobufCBinaryData){ t->has_digest ? DIGEST_SIZE : 0, (uint8_t *)(uintptr_t)t->digest };
}

void attach_done(struct attach *a, const struct attach_total *t)
{
    Scistream__Gateway__V1__Done d = SCISTREAM__GATEWAY__V1__DONE__INIT;
    d.total = t->total;
    d.digest = digest_field(t);
    SAY(a, DONE, done, &d);
}

void attach_confirm(struct attach *a, const struct attach_total *t)
{
    Scistream__Gateway__V1__Confirm c = SCISTREAM__GATEWAY__V1__CONFIRM__INIT;
    c.total = t->total;
    c.digest = digest_field(t);
    c.handed_over = t->handed_over;
    SAY(a, CONFIRM, confirm, &c);
}

void attach_finish(struct attach *a)
{
    if (!a->call)
        return;
    if (a->server)
        grpc_finish(a->call, GRPC_OK, "");
    else
        grpc_half_close(a->call);
}

void attach_abort(struct attach *a, int rc, const char *text)
{
    Scistream__Gateway__V1__Abort m = SCISTREAM__GATEWAY__V1__ABORT__INIT;
    m.code = err_to_wire(rc);
    m.text = (char *)(uintptr_t)text;
    m.retryable = err_retryable(rc);
    if (a->state == ATTACH_OVER)
        return;
    SAY(a, ABORT, abort, &m);
    a->state = ATTACH_OVER;
    a->ended = true; /* no event: the owner knows */
    if (a->call && a->server)
        grpc_finish(a->call, attach_status(rc), text);
    else if (a->call)
        grpc_half_close(a->call);
}

/* ------------------------------------------------------------ hearing */

static bool take_total(uint64_t total, const ProtobufCBinaryData *digest, struct attach_total *t)
{
    *t = (struct attach_total){ .total = total, .has_digest = digest->len == DIGEST_SIZE };
    if (t->has_digest)
        memcpy(t->digest, digest->data, DIGEST_SIZE);
    return digest->len == 0 || digest->len == DIGEST_SIZE;
}

static void hear_abort(struct attach *a, const Scistream__Gateway__V1__Abort *m)
{
    int rc = err_from_wire(m->code);
    end(a, rc == 0 ? -SST_EABORTED : rc, true, m->text && *m->text ? m->text : "the peer gave no reason");
}

static bool hear(struct attach *a, const AttachMessage *m)
{
    struct attach_total t;
    switch (m->what_case) {
    case SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_OFFER:
        a->sender = m->offer->role == SCISTREAM__GATEWAY__V1__ROLE__RECV;
        a->ev->offer(a, m->offer);
        return true;
    case SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_WAITING: a->ev->waiting(a, m->waiting->text); return true;
    case SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_ANSWER: a->ev->answer(a, m->answer); return true;
    case SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_READY: a->ev->ready(a); return true;
    case SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_DONE:
        if (!take_total(m->done->total, &m->done->digest, &t))
            return false;
        a->ev->done(a, &t);
        return true;
    case SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_CONFIRM:
        if (!take_total(m->confirm->total, &m->confirm->digest, &t))
            return false;
        t.handed_over = m->confirm->handed_over;
        a->ev->confirm(a, &t);
        return true;
    case SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT_ABORT: hear_abort(a, m->abort); return true;
    default: return false;
    }
}

static void protocol_error(struct attach *a, unsigned what)
{
    char text[160];
    snprintf(text, sizeof(text), "%s in state %s is not part of the protocol",
             what < ARRAY_LEN(rules) && rules[what].name ? rules[what].name : "an unknown message", attach_state_name(a->state));
    attach_abort(a, -SST_EPROTO, text);
    a->ended = false;
    end(a, -SST_EPROTO, false, text);
}

static void on_message(struct grpc_call *c, const uint8_t *data, size_t len)
{
    struct attach *a = grpc_user(c);
    if (!a || a->state == ATTACH_OVER)
        return;
    AttachMessage *m = scistream__gateway__v1__attach_message__unpack(NULL, len, data);
    unsigned what = m ? m->what_case : 0;
    if (m && what == SCISTREAM__GATEWAY__V1__ATTACH_MESSAGE__WHAT__NOT_SET)
        log_debug("attach with %s: message of a newer version ignored", a->peer);
    else if (!m || !step(a, what, true) || !hear(a, m))
        protocol_error(a, what);
    scistream__gateway__v1__attach_message__free_unpacked(m, NULL);
}

static void on_half_closed(struct grpc_call *c)
{
    struct attach *a = grpc_user(c);
    if (a && a->state != ATTACH_OVER && a->state != ATTACH_CONFIRMED) {
        attach_abort(a, -SST_EPROTO, "the client half-closed before the end");
        a->ended = false;
        end(a, -SST_ELOST, false, "the client ended its side of the attach before the end");
    } else {
        grpc_finish(c, GRPC_OK, "");
    }
}

static void on_closed(struct grpc_call *c, enum grpc_status s, const char *text)
{
    struct attach *a = grpc_user(c);
    if (!a)
        return;
    a->call = NULL;
    if (a->server)
        a->conn = NULL;
    if (a->state == ATTACH_CONFIRMED && s == GRPC_OK)
        end(a, 0, false, "");
    else
        end(a, s == GRPC_OK ? -SST_ELOST : rc_of_status(s), false, *text ? text : grpc_status_name(s));
}

const struct grpc_handlers attach_call_handlers = { .message = on_message, .half_closed = on_half_closed, .closed = on_closed };

/* ------------------------------------------------------------ beginning and forgetting */

static void begin(struct attach *a, struct loop *l, const struct attach_events *ev, void *user)
{
    *a = (struct attach){ .loop = l, .ev = ev, .user = user };
    defer_init(&a->end, on_end);
}

static void on_conn_ready(struct grpc_conn *conn, void *user)
{
    struct attach *a = user;
    str_copy(a->peer, sizeof(a->peer), grpc_conn_peer(conn));
    a->call = grpc_call(conn, ATTACH_PATH, &attach_call_handlers, ATTACH_MESSAGE_MAX, 0, a);
    a->ev->connected(a);
}

static void on_conn_lost(struct grpc_conn *conn UNUSED, void *user, const char *at, int rc, const char *why)
{
    struct attach *a = user;
    char text[ATTACH_WHY];
    a->conn = NULL;
    snprintf(text, sizeof(text), "%s%s%s", at, *at ? ": " : "", why);
    end(a, rc, false, text);
}

static const struct grpc_dialer dialer = { .ready = on_conn_ready, .lost = on_conn_lost };

void attach_dial(struct attach *a, struct loop *l, struct resolver *r, const struct grpc_target *t, const struct attach_events *ev, void *user)
{
    begin(a, l, ev, user);
    str_copy(a->peer, sizeof(a->peer), t->host ? t->host : t->unix_path);
    a->conn = grpc_dial(l, r, t, &dialer, a);
}

void attach_serve(struct attach *a, struct loop *l, struct grpc_call *c, const struct attach_events *ev, void *user)
{
    begin(a, l, ev, user);
    a->server = true;
    a->call = c;
    a->conn = grpc_call_conn(c);
    str_copy(a->peer, sizeof(a->peer), grpc_conn_peer(a->conn));
    grpc_set_user(c, a);
}

void attach_moved(struct attach *a, void *user)
{
    a->user = user;
    defer_init(&a->end, on_end);
    if (a->call)
        grpc_set_user(a->call, a);
}

void attach_fini(struct attach *a)
{
    if (!a->loop)
        return;
    defer_cancel(&a->end);
    if (a->call) {
        grpc_set_user(a->call, NULL);
        if (!a->ended && a->server)
            grpc_cancel(a->call);
    }
    if (!a->server)
        grpc_hang_up(a->conn);
    *a = (struct attach){ .state = ATTACH_OVER };
}

void attach_peer_host(const struct attach *a, char out[ADDR_TEXT])
{
    char host[ADDR_HOST_MAX + 1], why[128];
    uint16_t port;
    bool numeric = addr_parse_hostport(a->peer, 1, host, &port, why, sizeof(why)) == 0;
    str_copy(out, ADDR_TEXT, numeric && !str_starts(a->peer, "unix") ? host : "127.0.0.1");
}
