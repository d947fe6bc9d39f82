#include "ctrl/requests_arranged.h"

#include <errno.h>
#include <stdio.h>

#include "ctrl/requests_priv.h"
#include "src/core/err.h"
#include "src/core/log.h"

#define LOOK_S 60 /* at least that often: the wall clock may be set */
#define GONE_NS (250 * NS_PER_MS) /* between two looks whether the last connection has gone */

static uint64_t wall_s(void) { return (uint64_t)time(NULL); }

/* ------------------------------------------------------------ time */

static uint64_t until(uint64_t s, uint64_t now_s) { return s > now_s ? s - now_s : 1; }

static void look_again(struct request *r, uint64_t now_s)
{
    const struct request_ticket *t = r->ticket;
    uint64_t s = LOOK_S;
    if (r->state == REQUEST_LISTENING)
        s = MIN(s, until(t->expires_s, now_s));
    if (t->ends_s)
        s = MIN(s, until(t->warned || t->ends_s < REQUEST_SOON_S ? t->ends_s : t->ends_s - REQUEST_SOON_S, now_s));
    loop_timer(r->rq->loop, &r->life, r->state == REQUEST_CLOSING ? GONE_NS : s * NS_PER_S);
}

static void tell_of_end(struct request *r, uint64_t now_s)
{
    struct request_ticket *t = r->ticket;
    uint64_t left_s = t->ends_s - now_s, minutes = (left_s + 59) / 60;
    if (!t->ends_s || t->warned || left_s > REQUEST_SOON_S)
        return;
    t->warned = true;
    AUTO_FREE char *text = mem_printf("ends in %llu minute%s", (unsigned long long)minutes, minutes == 1 ? "" : "s");
    log_info("scistream: session %s of %s %s", r->uid, r->principal, text);
    r->rq->ops->changed(r->rq->user, r, request_state_name(r->state), text);
}

/* Who is there stays. */
static void close_doors(struct request *r, const char *text)
{
    log_info("scistream: session %s of %s takes no new connections: %s", r->uid, r->principal, text);
    r->rq->ops->shut(r->rq->user, r, true);
    requests_enter(r, REQUEST_CLOSING, text);
}

static void look(struct request *r)
{
    uint64_t now_s = wall_s();
    if (r->ticket->ends_s && now_s >= r->ticket->ends_s)
        return requests_finish(r, GRPC_DEADLINE_EXCEEDED, -SST_ERELEASED, "its lifetime is over");
    tell_of_end(r, now_s);
    if (r->state == REQUEST_LISTENING && now_s >= r->ticket->expires_s)
        close_doors(r, "its ticket has expired");
    if (r->state == REQUEST_CLOSING && !r->rq->ops->busy(r->rq->user, r))
        return requests_finish(r, GRPC_DEADLINE_EXCEEDED, -SST_ERELEASED, r->ticket->revoked ? "it was revoked, and no connection is left"
                                                                                           : "its ticket has expired, and no connection is left");
    look_again(r, now_s);
}

static void on_life(struct timer *t) { look(container_of(t, struct request, life)); }

/* ------------------------------------------------------------ arranging */

static const struct request *refuse(struct request_refusal *no, enum grpc_status s, const char *why)
{
    no->status = s;
    if (why != no->why)
        snprintf(no->why, sizeof(no->why), "%s", why);
    return NULL;
}

/* A ticket is not good for longer than the session. */
static void set_expiry(struct request_ticket *t, uint64_t expires_s) { t->expires_s = t->ends_s ? MIN(expires_s, t->ends_s) : expires_s; }

static void keep_ticket(struct request *r, const struct request_ticket *t)
{
    r->ticket = mem_zalloc(1, sizeof(*r->ticket));
    *r->ticket = *t;
    set_expiry(r->ticket, t->expires_s);
    r->life.fire = on_life;
}

/* It has its listeners by now. */
static void begin(struct request *r, const char *text)
{
    r->rq->n_idle--;
    r->rq->n++;
    r->aimed = true;
    requests_enter(r, REQUEST_LISTENING, text);
}

/* Its ports, wanted ones or any. */
static int reserve(struct request *r, const struct request_terms *t, struct request_refusal *no)
{
    AUTO_FREE uint16_t *ports = mem_zalloc(t->n, sizeof(*ports));
    if (t->ports)
        memcpy(ports, t->ports, t->n * sizeof(*ports));
    r->n = t->n;
    r->number = mem_zalloc(t->n, sizeof(*r->number));
    int rc = r->rq->ops->reserve(r->rq->user, r, ports, no->why, sizeof(no->why));
    if (rc == 0)
        r->listeners = requests_listeners_at(t->address, ports, t->n);
    return rc;
}

static enum grpc_status status_of(int rc)
{
    return rc == -EADDRINUSE ? GRPC_ALREADY_EXISTS : rc == -EINVAL ? GRPC_INVALID_ARGUMENT : GRPC_RESOURCE_EXHAUSTED;
}

static char *in_words(const struct request *r)
{
    char expires[UNITS_TEXT], ends[UNITS_TEXT];
    const struct request_ticket *t = r->ticket;
    uint64_t now_s = wall_s();
    units_human_time(expires, until(t->expires_s, now_s) * NS_PER_S);
    units_human_time(ends, until(t->ends_s, now_s) * NS_PER_S);
    return mem_printf("%s, %s -> %s%s, ticket for %s%s%s", r->cons ? "CONS" : "PROD", r->listeners[0], r->targets[0], r->n > 1 ? " …" : "", expires,
                      t->ends_s ? ", ends in " : "", t->ends_s ? ends : "");
}

const struct request *requests_arrange(struct requests *rq, const struct request_terms *t, struct request_refusal *no)
{
    const struct request_ask a = { .uid = t->uid, .principal = t->principal, .from = t->from };
    enum grpc_status s = requests_room(rq, 0, no->why, sizeof(no->why));
    if (s != GRPC_OK)
        return refuse(no, s, no->why);
    if (requests_lookup(rq, t->uid))
        return refuse(no, GRPC_ALREADY_EXISTS, REQUEST_IN_USE);
    struct request *r = requests_add(rq, &a);
    r->cons = t->cons;
    keep_ticket(r, t->ticket);
    int rc = reserve(r, t, no);
    if (rc < 0) {
        requests_forget_idle(r);
        return refuse(no, status_of(rc), no->why);
    }
    r->targets = requests_texts(t->targets, t->n_targets);
    for (unsigned i = 0; i < r->n; i++)
        rq->ops->aim(rq->user, r, i, &t->targets[i % t->n_targets]);
    AUTO_FREE char *text = in_words(r);
    log_info("scistream: session %s arranged for %s from %s: %s", r->uid, r->principal, r->from, text);
    begin(r, text);
    look_again(r, wall_s());
    return r;
}

/* ------------------------------------------------------------ what becomes of it */

static struct request *arranged(const struct requests *rq, const char *uid)
{
    struct request *r = requests_lookup(rq, uid);
    return r && r->ticket && r->state != REQUEST_RELEASING ? r : NULL;
}

const struct request *requests_arranged(const struct requests *rq, const char *uid) { return arranged(rq, uid); }

bool requests_renew(struct requests *rq, const char *uid, uint64_t ticket_s)
{
    struct request *r = arranged(rq, uid);
    if (!r || r->ticket->revoked)
        return false;
    set_expiry(r->ticket, wall_s() + ticket_s);
    if (r->state == REQUEST_CLOSING) {
        rq->ops->shut(rq->user, r, false);
        requests_enter(r, REQUEST_LISTENING, "renewed");
    }
    look_again(r, wall_s());
    return true;
}

void requests_revoke(struct requests *rq, const char *uid)
{
    struct request *r = arranged(rq, uid);
    if (!r)
        return;
    r->ticket->revoked = true;
    if (r->state == REQUEST_LISTENING)
        close_doors(r, "it was revoked");
    look(r);
}

/* ------------------------------------------------------------ from program to program */

bool requests_adopt_arranged(struct requests *rq, const struct request_given *g, const struct request_ticket *t, const struct request_target *to)
{
    const struct request_ask a = { .uid = g->uid, .principal = g->principal, .from = "the program before" };
    if (!requests_uid_ok(g->uid) || requests_lookup(rq, g->uid))
        return false;
    struct request *r = requests_add(rq, &a);
    keep_ticket(r, t);
    r->cons = g->cons;
    r->n = g->n;
    r->number = g->numbers;
    r->listeners = strv_copy(g->listeners);
    r->targets = strv_copy(g->targets);
    r->born_ns -= MIN(g->age_ns, r->born_ns);
    for (unsigned i = 0; i < r->n; i++)
        rq->ops->aim(rq->user, r, i, &to[i]);
    begin(r, "taken over");
    if (t->revoked || wall_s() >= t->expires_s)
        close_doors(r, t->revoked ? "it was revoked" : "its ticket has expired");
    look_again(r, wall_s());
    return true;
}

/* ------------------------------------------------------------ counting */

struct sums_of { const char *principal; struct request_sums sums; };

static void add_one(void *user, const struct request *r)
{
    struct sums_of *o = user;
    if (o->principal && !str_eq(o->principal, r->principal))
        return;
    o->sums.sessions++;
    o->sums.listeners += r->n;
    o->sums.rate += r->ticket ? r->ticket->rate : 0;
}

struct request_sums requests_sums(const struct requests *rq, const char *principal)
{
    struct sums_of o = { .principal = principal };
    requests_each(rq, add_one, &o);
    return o.sums;
}
