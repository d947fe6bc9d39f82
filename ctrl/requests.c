#include "ctrl/requests.h"

#include <errno.h>
#include <stdio.h>

#include "ctrl/requests_priv.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/secret.h"

#define NO_TICKET "sessions are arranged with tickets here (require_ticket): scistreamctl inbound and outbound do that"

uint64_t requests_held_ns = 5 * NS_PER_S;

/* A hello that waits for its req. */
struct held { struct list node; void *call; char *principal, *from; char **prod; };

enum event { REQ, HELLO, UPDATE, RELEASE, EVENTS };
static const char *const event_names[EVENTS] = { "req", "hello", "update", "release" };

const char *request_state_name(enum request_state s)
{
    static const char *const names[REQUEST_STATES] = { "Idle", "Reserving", "Listening", "Updating", "Closing", "Releasing" };
    return names[s];
}

const char *request_waits_for(const struct request *r)
{
    switch (r->state) {
    case REQUEST_IDLE: return "waits for req";
    case REQUEST_RESERVING: return "waits for hello";
    case REQUEST_UPDATING: return "looks names up";
    case REQUEST_LISTENING: return r->aimed ? "takes connections" : "waits for update";
    case REQUEST_CLOSING: return "takes no new connections";
    default: return "ends";
    }
}

/* ------------------------------------------------------------ finding */

static struct list *bucket(const struct requests *rq, const char *uid)
{
    uint32_t h = 2166136261U; /* FNV-1a */
    for (; *uid; uid++)
        h = (h ^ (unsigned char)*uid) * 16777619U;
    return (struct list *)(uintptr_t)&rq->bucket[h % REQUEST_BUCKETS];
}

struct request *requests_lookup(const struct requests *rq, const char *uid)
{
    struct list *b = bucket(rq, uid);
    list_for_each(n, b)
        if (str_eq(list_entry(n, struct request, node)->uid, uid))
            return list_entry(n, struct request, node);
    return NULL;
}

const struct request *requests_find(const struct requests *rq, const char *uid)
{
    const struct request *r = requests_lookup(rq, uid);
    return r && r->state != REQUEST_IDLE ? r : NULL;
}

unsigned requests_count(const struct requests *rq) { return rq->n; }

void requests_each(const struct requests *rq, void (*each)(void *user, const struct request *r), void *user)
{
    for (unsigned i = 0; i < REQUEST_BUCKETS; i++)
        list_for_each(n, &rq->bucket[i])
            if (list_entry(n, struct request, node)->state != REQUEST_IDLE)
                each(user, list_entry(n, struct request, node));
}

/* ------------------------------------------------------------ answers, each a line of the log */

static void answer(struct requests *rq, void *call, const struct request_answer *a)
{
    if (call)
        rq->ops->answer(rq->user, call, a);
}

/* uid: one that was found to be well-formed, or "?". Nobody knows who anonymous is, so lines of his are left out when there are too many. */
static void refuse(struct requests *rq, enum event e, const struct request_ask *a, enum grpc_status s, const char *text)
{
    static struct log_gate gate = { .period_ns = 10 * NS_PER_S, .burst = 100 };
    const struct request_answer no = { .status = s, .text = text };
    const char *uid = requests_uid_ok(a->uid) ? a->uid : "?";
#define REFUSED "scistream: %s of %s by %s from %s: refused: %s: %s"
    if (str_eq(a->principal, "anonymous"))
        log_gated(&gate, LOG_LEVEL_WARN, REFUSED, event_names[e], uid, a->principal, a->from, grpc_status_name(s), text);
    else
        log_warn(REFUSED, event_names[e], uid, a->principal, a->from, grpc_status_name(s), text);
    answer(rq, a->call, &no);
}

static void say(const struct request *r, enum event e, const char *principal, const char *from, const char *text)
{
    log_info("scistream: %s of %s by %s from %s: allowed: %s", event_names[e], r->uid, principal, from, text);
}

static void accept_call(struct request *r, void *call)
{
    const struct request_answer yes = { .listeners = r->listeners, .prod = r->prod };
    answer(r->rq, call, &yes);
}

/* ------------------------------------------------------------ life of one */

static void on_patience(struct timer *t);
static void on_life(struct timer *t);

struct request *requests_add(struct requests *rq, const struct request_ask *a)
{
    struct request *r = mem_zalloc(1, sizeof(*r));
    r->rq = rq;
    r->uid = mem_strdup(a->uid);
    r->principal = mem_strdup(a->principal);
    r->from = mem_strdup(a->from);
    r->born_ns = r->since_ns = now_ns();
    r->patience.fire = on_patience;
    r->life.fire = on_life;
    list_init(&r->held);
    list_add_tail(bucket(rq, r->uid), &r->node);
    rq->n_idle++;
    return r;
}

static void free_held(struct held *h)
{
    list_del(&h->node);
    strv_free(h->prod);
    free(h->principal);
    free(h->from);
    free(h);
}

static void free_request(struct request *r)
{
    loop_timer_stop(r->rq->loop, &r->patience);
    loop_timer_stop(r->rq->loop, &r->life);
    requests_stop_lookups(r);
    list_for_each_safe(n, &r->held)
        free_held(list_entry(n, struct held, node));
    list_del(&r->node);
    strv_free(r->listeners);
    strv_free(r->prod);
    strv_free(r->targets);
    if (r->ticket)
        secret_wipe(r->ticket, sizeof(*r->ticket));
    free(r->ticket);
    free(r->number);
    free(r->uid);
    free(r->principal);
    free(r->from);
    free(r);
}

void requests_enter(struct request *r, enum request_state s, const char *text)
{
    r->state = s;
    r->since_ns = now_ns();
    r->rq->ops->changed(r->rq->user, r, request_state_name(s), text);
}

static void wait(struct request *r, uint64_t ns) { loop_timer(r->rq->loop, &r->patience, ns); }

void requests_finish(struct request *r, enum grpc_status s, int rc, const char *text)
{
    struct requests *rq = r->rq;
    const struct request_answer no = { .status = s, .text = text };
    void *call = r->call;
    r->call = NULL;
    requests_stop_lookups(r);
    requests_enter(r, REQUEST_RELEASING, text);
    AUTO_FREE char *had = rq->ops->give_back(rq->user, r, rc, text);
    log_info("scistream: session %s of %s has ended: %s; %s", r->uid, r->principal, text, had);
    rq->n--;
    rq->ops->changed(rq->user, r, "ended", had);
    free_request(r);
    answer(rq, call, &no);
}

void requests_forget_idle(struct request *r)
{
    r->rq->n_idle--;
    free_request(r);
}

/* ------------------------------------------------------------ time */

/* The next of them, one at a time: whoever is answered may be the last word that others hear, too. NULL: there is none. */
static struct held *pop_held(struct requests *rq, const char *uid)
{
    struct request *r = requests_lookup(rq, uid);
    struct list *n = r ? list_pop(&r->held) : NULL;
    return n ? list_entry(n, struct held, node) : NULL;
}

/* No req came: whoever said hello is told so. */
static void hellos_over(struct request *r)
{
    struct requests *rq = r->rq;
    AUTO_FREE char *uid = mem_strdup(r->uid);
    for (struct held *h; (h = pop_held(rq, uid)); free_held(h)) {
        const struct request_ask a = { .call = h->call, .uid = uid, .principal = h->principal, .from = h->from };
        refuse(rq, HELLO, &a, GRPC_NOT_FOUND, "uid: there is no request with it");
    }
    r = requests_lookup(rq, uid);
    if (r && r->state == REQUEST_IDLE)
        requests_forget_idle(r);
}

static void on_patience(struct timer *t)
{
    struct request *r = container_of(t, struct request, patience);
    char time[UNITS_TEXT];
    units_human_time(time, r->rq->conf->scistream.hello_timeout);
    AUTO_FREE char *no_hello = mem_printf("no hello came within %s", time), *no_update = mem_printf("no update came within %s", time);
    if (r->state == REQUEST_IDLE)
        hellos_over(r);
    else if (r->state == REQUEST_RESERVING)
        requests_finish(r, GRPC_DEADLINE_EXCEEDED, -SST_ERELEASED, no_hello);
    else if (r->state == REQUEST_LISTENING && !r->aimed)
        requests_finish(r, GRPC_DEADLINE_EXCEEDED, -SST_ERELEASED, no_update);
}

static void on_life(struct timer *t)
{
    requests_finish(container_of(t, struct request, life), GRPC_DEADLINE_EXCEEDED, -SST_ERELEASED, "the lifetime that its policy allows is over");
}

/* ------------------------------------------------------------ hello */

/* Its application is there: req is answered. */
static void be_heard(struct request *r, char *const *prod, const char *principal, const char *from)
{
    void *call = r->call;
    AUTO_FREE char *text = mem_printf("%zu listener%s of its application", strv_len(prod), strv_len(prod) == 1 ? "" : "s");
    r->call = NULL;
    r->prod = strv_copy(prod);
    say(r, HELLO, principal, from, text);
    wait(r, r->rq->conf->scistream.hello_timeout);
    requests_enter(r, REQUEST_LISTENING, text);
    accept_call(r, call);
}

static void heard(struct requests *rq, struct request *r, const struct request_ask *a)
{
    char **prod = requests_words(a->listeners, a->n_listeners);
    be_heard(r, prod, a->principal, a->from);
    strv_free(prod);
    r = requests_lookup(rq, a->uid); /* the caller of req may have gone */
    if (r)
        accept_call(r, a->call);
    else
        refuse(rq, HELLO, a, GRPC_NOT_FOUND, "the request has ended");
}

/* It is sent again and again: it says nothing new. */
static void heard_again(struct requests *rq UNUSED, struct request *r, const struct request_ask *a) { accept_call(r, a->call); }

static size_t count_held(const struct request *r)
{
    size_t n = 0;
    list_for_each(i, &r->held)
        n++;
    return n;
}

static void hold(struct requests *rq, struct request *r, const struct request_ask *a)
{
    if (!r && rq->n_idle >= (unsigned)rq->conf->scistream.sessions)
        return refuse(rq, HELLO, a, GRPC_RESOURCE_EXHAUSTED, "too many hellos wait for their requests: try again");
    if (!r)
        r = requests_add(rq, a);
    if (count_held(r) >= REQUEST_HELD_MAX)
        return refuse(rq, HELLO, a, GRPC_RESOURCE_EXHAUSTED, "uid: enough hellos wait for the request with it");
    struct held *h = mem_zalloc(1, sizeof(*h));
    h->call = a->call;
    h->principal = mem_strdup(a->principal);
    h->from = mem_strdup(a->from);
    h->prod = requests_words(a->listeners, a->n_listeners);
    list_add_tail(&r->held, &h->node);
    if (!timer_pending(&r->patience))
        wait(r, requests_held_ns);
}

/* The first that is his is taken, the others are told the same. What somebody else said under this uid does not count. */
static void use_held(struct requests *rq, const char *uid)
{
    for (struct held *h; (h = pop_held(rq, uid)); free_held(h)) {
        const struct request_ask a = { .call = h->call, .uid = uid, .principal = h->principal, .from = h->from, .listeners = h->prod,
                                       .n_listeners = strv_len(h->prod) };
        requests_hello(rq, &a);
    }
}

/* ------------------------------------------------------------ req */

enum grpc_status requests_room(const struct requests *rq, uint64_t others, char *why, size_t size)
{
    if (rq->moved || rq->draining) {
        snprintf(why, size, "%s", rq->moved ? rq->moved : rq->draining);
        return GRPC_UNAVAILABLE;
    }
    if (rq->n + others < (uint64_t)rq->conf->scistream.sessions)
        return GRPC_OK;
    snprintf(why, size, "the gateway has its %lld sessions: try again later", (long long)rq->conf->scistream.sessions);
    return GRPC_RESOURCE_EXHAUSTED;
}

static bool may_have(struct requests *rq, const struct request_ask *a, uint64_t *lifetime_ns)
{
    char why[300] = "";
    enum grpc_status s = rq->draining ? GRPC_OK : rq->ops->allows(rq->user, a, lifetime_ns, why, sizeof(why));
    if (s == GRPC_OK)
        s = requests_room(rq, 0, why, sizeof(why));
    if (s != GRPC_OK)
        refuse(rq, REQ, a, s, why);
    return s == GRPC_OK;
}

char **requests_listeners_at(const char *address, const uint16_t *ports, unsigned n)
{
    char **words = mem_zalloc(n + 1, sizeof(*words));
    for (unsigned i = 0; i < n; i++)
        words[i] = mem_printf(strchr(address, ':') ? "[%s]:%u" : "%s:%u", address, ports[i]);
    return words;
}

/* r: hellos wait for it; NULL: none. */
static void reserve(struct requests *rq, struct request *r, const struct request_ask *a)
{
    char why[300] = "";
    uint64_t lifetime_ns = TIME_FOREVER;
    if (!may_have(rq, a, &lifetime_ns))
        return;
    if (!r)
        r = requests_add(rq, a);
    free(r->principal);
    free(r->from);
    r->principal = mem_strdup(a->principal);
    r->from = mem_strdup(a->from);
    r->cons = str_eq(a->role, "CONS");
    r->n = (unsigned)a->num_conn;
    r->number = mem_zalloc(r->n, sizeof(*r->number));
    AUTO_FREE uint16_t *ports = mem_zalloc(r->n, sizeof(*ports));
    int rc = rq->ops->reserve(rq->user, r, ports, why, sizeof(why));
    if (rc < 0) {
        free(r->number);
        r->number = NULL;
        if (list_empty(&r->held))
            requests_forget_idle(r);
        return refuse(rq, REQ, a, GRPC_RESOURCE_EXHAUSTED, why);
    }
    rq->n_idle--;
    rq->n++;
    r->listeners = requests_listeners_at(a->address, ports, r->n);
    r->call = a->call;
    r->born_ns = now_ns();
    wait(r, rq->conf->scistream.hello_timeout);
    if (lifetime_ns != TIME_FOREVER)
        loop_timer(rq->loop, &r->life, lifetime_ns);
    AUTO_FREE char *text = mem_printf("%s, %u port%s from %u: waits for its hello", a->role, r->n, r->n == 1 ? "" : "s", ports[0]);
    say(r, REQ, a->principal, a->from, text);
    requests_enter(r, REQUEST_RESERVING, text);
    use_held(rq, a->uid);
}

static void exists(struct requests *rq, struct request *r UNUSED, const struct request_ask *a)
{
    refuse(rq, REQ, a, GRPC_ALREADY_EXISTS, "uid: there is a session with it");
}

/* ------------------------------------------------------------ update */

static void no_session(struct requests *rq, enum event e, const struct request_ask *a)
{
    refuse(rq, e, a, GRPC_NOT_FOUND, "uid: there is no session with it");
}

static void update_nobody(struct requests *rq, struct request *r UNUSED, const struct request_ask *a) { no_session(rq, UPDATE, a); }
static void release_nobody(struct requests *rq, struct request *r UNUSED, const struct request_ask *a) { no_session(rq, RELEASE, a); }
static void hello_nobody(struct requests *rq, struct request *r UNUSED, const struct request_ask *a) { no_session(rq, HELLO, a); }

static void too_early(struct requests *rq, struct request *r UNUSED, const struct request_ask *a)
{
    refuse(rq, UPDATE, a, GRPC_FAILED_PRECONDITION, "the session waits for its hello: update comes after that");
}

static void busy(struct requests *rq, struct request *r UNUSED, const struct request_ask *a)
{
    refuse(rq, UPDATE, a, GRPC_FAILED_PRECONDITION, "an update of the session is under way");
}

static void look_up(struct requests *rq, struct request *r, const struct request_ask *a)
{
    r->call = a->call;
    loop_timer_stop(rq->loop, &r->patience);
    requests_enter(r, REQUEST_UPDATING, "");
    requests_start_lookups(r, a);
}

enum grpc_status requests_allows_target(const struct request *r, const struct request_target *t, char *why, size_t size)
{
    return r->rq->ops->allows_target(r->rq->user, r, t, why, size);
}

/* Without new targets: as before. */
static void back_to_listening(struct request *r, const char *text)
{
    r->call = NULL;
    requests_stop_lookups(r);
    if (!r->aimed)
        wait(r, r->rq->conf->scistream.hello_timeout);
    requests_enter(r, REQUEST_LISTENING, text);
}

void requests_no_target(struct request *r, const struct request_ask *a, enum grpc_status s, const char *why)
{
    struct request_ask asked = *a;
    struct requests *rq = r->rq;
    asked.call = r->call;
    asked.uid = r->uid;
    back_to_listening(r, why);
    refuse(rq, UPDATE, &asked, s, why);
}

void requests_found(struct request *r, const struct request_ask *a, const struct request_target *t, size_t n)
{
    void *call = r->call;
    AUTO_FREE char *text = mem_printf("%s -> %s%s", r->listeners[0], r->targets[0], n > 1 || r->n > 1 ? " …" : "");
    for (unsigned i = 0; i < r->n; i++)
        r->rq->ops->aim(r->rq->user, r, i, &t[i % n]);
    r->aimed = true;
    say(r, UPDATE, a->principal, a->from, text);
    back_to_listening(r, text);
    accept_call(r, call);
}

/* ------------------------------------------------------------ release, and the end by others */

static void release(struct requests *rq, struct request *r, const struct request_ask *a)
{
    void *call = a->call;
    say(r, RELEASE, a->principal, a->from, "released");
    requests_finish(r, GRPC_ABORTED, -SST_ERELEASED, "released by its owner");
    answer(rq, call, &(struct request_answer){ .status = GRPC_OK });
}

int requests_end(struct requests *rq, const char *uid, const char *text)
{
    struct request *r = requests_lookup(rq, uid);
    if (!r || r->state == REQUEST_IDLE || r->state == REQUEST_RELEASING)
        return -ENOENT;
    requests_finish(r, GRPC_ABORTED, -SST_ERELEASED, text);
    return 0;
}

/* The first that is as wanted; ends may call back and change the lists. */
static struct request *first(const struct requests *rq, bool reserving_only)
{
    for (unsigned i = 0; i < REQUEST_BUCKETS; i++)
        list_for_each(n, &rq->bucket[i]) {
            struct request *r = list_entry(n, struct request, node);
            if (r->state == REQUEST_RESERVING || (!reserving_only && r->state != REQUEST_IDLE && r->state != REQUEST_RELEASING))
                return r;
        }
    return NULL;
}

unsigned requests_end_all(struct requests *rq, int rc, const char *text)
{
    struct request *r;
    unsigned n = 0;
    for (; (r = first(rq, false)); n++)
        requests_finish(r, GRPC_UNAVAILABLE, rc, text);
    return n;
}

void requests_drain(struct requests *rq, const char *text)
{
    struct request *r;
    rq->draining = text;
    while (text && (r = first(rq, true)))
        requests_finish(r, GRPC_UNAVAILABLE, -SST_EDRAINING, text);
}

/* ------------------------------------------------------------ from program to program */

/* Whatever the policy says now of what it may have: it has it. But not for longer. */
static void go_on_living(struct request *r, uint64_t age_ns)
{
    const struct request_ask a = { .uid = r->uid, .principal = r->principal, .from = r->from, .role = r->cons ? "CONS" : "PROD", .num_conn = (int32_t)r->n };
    uint64_t lifetime_ns = TIME_FOREVER;
    char why[300];
    (void)r->rq->ops->allows(r->rq->user, &a, &lifetime_ns, why, sizeof(why));
    if (lifetime_ns != TIME_FOREVER)
        loop_timer(r->rq->loop, &r->life, lifetime_ns > age_ns ? lifetime_ns - age_ns : 0);
}

bool requests_adopt(struct requests *rq, const struct request_given *g)
{
    const struct request_ask a = { .uid = g->uid, .principal = g->principal, .from = "the program before", .listeners = g->targets,
                                   .n_listeners = strv_len(g->targets) };
    char why[300];
    if (!requests_well_formed(&a, false, a.n_listeners > 0, why, sizeof(why)) || requests_lookup(rq, g->uid))
        return false;
    struct request *r = requests_add(rq, &a);
    rq->n_idle--;
    rq->n++;
    r->cons = g->cons;
    r->n = g->n;
    r->number = g->numbers;
    r->listeners = strv_copy(g->listeners);
    r->prod = strv_copy(g->prod);
    r->born_ns -= MIN(g->age_ns, r->born_ns);
    go_on_living(r, g->age_ns);
    requests_enter(r, REQUEST_LISTENING, "taken over");
    if (a.n_listeners == 0) {
        wait(r, rq->conf->scistream.hello_timeout);
        return true;
    }
    requests_enter(r, REQUEST_UPDATING, "");
    requests_start_lookups(r, &a);
    return true;
}

static struct request *first_updating(const struct requests *rq)
{
    for (unsigned i = 0; i < REQUEST_BUCKETS; i++)
        list_for_each(n, &rq->bucket[i])
            if (list_entry(n, struct request, node)->state == REQUEST_UPDATING)
                return list_entry(n, struct request, node);
    return NULL;
}

/* Hellos that wait hear that there is no request, when their time is over. */
void requests_moved(struct requests *rq, const char *text)
{
    const struct request_answer no = { .status = GRPC_UNAVAILABLE, .text = text };
    rq->moved = text;
    requests_drain(rq, text);
    for (struct request *r; text && (r = first_updating(rq));) {
        void *call = r->call;
        back_to_listening(r, text);
        answer(rq, call, &no);
    }
}

/* ------------------------------------------------------------ callers that go away */

static bool gone_held(struct request *r, void *call)
{
    list_for_each(n, &r->held) {
        struct held *h = list_entry(n, struct held, node);
        if (h->call != call)
            continue;
        free_held(h);
        if (r->state == REQUEST_IDLE && list_empty(&r->held))
            requests_forget_idle(r);
        return true;
    }
    return false;
}

/* True: it was of r. */
static bool gone(struct request *r, void *call)
{
    if (r->call != call)
        return gone_held(r, call);
    r->call = NULL;
    if (r->state == REQUEST_RESERVING)
        requests_finish(r, GRPC_CANCELLED, -SST_ERELEASED, "its caller went away before the hello came");
    else if (r->state == REQUEST_UPDATING)
        back_to_listening(r, "the caller of update went away");
    return true;
}

void requests_gone(struct requests *rq, void *call)
{
    for (unsigned i = 0; i < REQUEST_BUCKETS; i++)
        list_for_each(n, &rq->bucket[i])
            if (gone(list_entry(n, struct request, node), call))
                return;
}

/* ------------------------------------------------------------ the table */

typedef void act(struct requests *rq, struct request *r, const struct request_ask *a);
static act *const table[REQUEST_STATES][EVENTS] = {
    /*                       REQ       HELLO         UPDATE         RELEASE */
    [REQUEST_IDLE]      = { reserve, hold,         update_nobody, release_nobody },
    [REQUEST_RESERVING] = { exists,  heard,        too_early,     release },
    [REQUEST_LISTENING] = { exists,  heard_again,  look_up,       release },
    [REQUEST_UPDATING]  = { exists,  heard_again,  busy,          release },
    [REQUEST_CLOSING]   = { exists,  hello_nobody, update_nobody,  release },
    [REQUEST_RELEASING] = { exists,  hello_nobody, update_nobody, release_nobody },
};

/* A session is whose req it was. */
static void step(struct requests *rq, enum event e, const struct request_ask *a)
{
    char why[300];
    struct request *r = NULL;
    if (rq->moved)
        return refuse(rq, e, a, GRPC_UNAVAILABLE, rq->moved);
    if (requests_well_formed(a, e == REQ, e == UPDATE, why, sizeof(why)))
        r = requests_lookup(rq, a->uid);
    else
        return refuse(rq, e, a, GRPC_INVALID_ARGUMENT, why);
    if (r && r->state != REQUEST_IDLE && e != REQ && !str_eq(r->principal, a->principal))
        return refuse(rq, e, a, GRPC_PERMISSION_DENIED, "uid: the session is somebody else's");
    if (!r && rq->conf->scistream.require_ticket && (e == REQ || e == HELLO))
        return refuse(rq, e, a, GRPC_FAILED_PRECONDITION, NO_TICKET);
    if (r && r->ticket && (e == HELLO || e == UPDATE))
        return refuse(rq, e, a, GRPC_FAILED_PRECONDITION, "uid: the session was arranged with a ticket: where its connections go is settled");
    table[r ? r->state : REQUEST_IDLE][e](rq, r, a);
}

void requests_req(struct requests *rq, const struct request_ask *a) { step(rq, REQ, a); }
void requests_hello(struct requests *rq, const struct request_ask *a) { step(rq, HELLO, a); }
void requests_update(struct requests *rq, const struct request_ask *a) { step(rq, UPDATE, a); }
void requests_release(struct requests *rq, const struct request_ask *a) { step(rq, RELEASE, a); }

/* ------------------------------------------------------------ all of them */

struct requests *requests_new(struct loop *l, const struct conf *conf, struct resolver *r, const struct requests_ops *ops, void *user)
{
    struct requests *rq = mem_zalloc(1, sizeof(*rq));
    rq->loop = l;
    rq->conf = conf;
    rq->resolver = r;
    rq->ops = ops;
    rq->user = user;
    for (unsigned i = 0; i < REQUEST_BUCKETS; i++)
        list_init(&rq->bucket[i]);
    return rq;
}

void requests_free(struct requests *rq)
{
    for (unsigned i = 0; rq && i < REQUEST_BUCKETS; i++)
        list_for_each_safe(n, &rq->bucket[i])
            free_request(list_entry(n, struct request, node));
    free(rq);
}
