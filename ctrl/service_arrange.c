/* Gateway.Arrange: sessions that users arrange between two gateways.
 *
 * Happy path: who is it (service_allow.c) -> what does he ask for (arrange.h) -> may he (policy.c) -> names are looked up -> may he, with these addresses ->
 * it is made, in ctrl/requests.h or ctrl/arranged.h -> the reply has what goes into the tickets.
 * What fails: each of these ends the call, with a line of the audit that says why; nothing is left then. A caller that goes away while names are looked up
 * is forgotten.
 */
#include "ctrl/service_arrange.h"

#include <errno.h>
#include <stdio.h>

#include "ctrl/arrange.h"
#include "ctrl/service_arranged.h"
#include "ctrl/service_scistream.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/ticket.h"

#define NAMES_AT_ONCE 16 /* calls of one principal that wait for names */

/* A call. */
struct arranging {
    struct list node; /* of the service, while it waits for names */
    struct grpc_call *call;
    struct service *s;
    struct caller who;
    ArrangeRequest *q;
    struct arrange a;
    char uid[ADDR_ROUTE_MAX + 1]; /* that it gets, or has at the other gateway */
    struct lookups *lookups; /* NULL: it does not wait for them */
};

static uint64_t wall_s(void) { return (uint64_t)time(NULL); }

/* ------------------------------------------------------------ the end of a call */

static void arranging_free(struct arranging *x)
{
    if (!x)
        return;
    lookups_drop(x->lookups);
    list_del(&x->node);
    if (x->q && x->q->dial && x->q->dial->secret.len)
        secret_wipe(x->q->dial->secret.data, x->q->dial->secret.len);
    scistream__gateway__v1__arrange_request__free_unpacked(x->q, NULL);
    strv_free(x->a.names);
    free(x);
}

static void on_arrange_closed(struct grpc_call *c, enum grpc_status status, const char *text)
{
    service_gone(c, status, text);
    arranging_free(grpc_user(c));
}

static void refuse(const struct arranging *x, const struct request_refusal *no)
{
    who_audit(&x->who, "", "Arrange", x->q ? x->q->uid : "", no->why);
    grpc_finish(x->call, no->status, no->why);
}

/* ------------------------------------------------------------ where it leads */

/* n_where: all addresses, with their ports. */
struct goals { struct request_target *t; char **texts, **addresses; union sockaddr_any *where; size_t n, n_where; };

static void goals_free(struct goals *g)
{
    strv_free(g->texts);
    strv_free(g->addresses);
    free(g->where);
    free(g->t);
}

static size_t count_addresses(const struct request_target *t, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += t[i].n;
    return count;
}

/* As they were named. */
static void take_targets(const struct request_target *t, size_t n, struct goals *g)
{
    g->t = mem_zalloc(n + 1, sizeof(*g->t));
    g->where = mem_zalloc(count_addresses(t, n) + 1, sizeof(*g->where));
    for (size_t i = 0; i < n; i++) {
        if (t[i].n == 0)
            continue;
        g->t[g->n++] = t[i];
        memcpy(&g->where[g->n_where], t[i].where, t[i].n * sizeof(*g->where));
        g->n_where += t[i].n;
    }
}

static void set_port(union sockaddr_any *a, uint16_t port)
{
    *(a->sa.sa_family == AF_INET6 ? &a->in6.sin6_port : &a->in.sin_port) = htons(port);
}

/* Each port of the other gateway, at any of its addresses. */
static void take_dial_ports(const struct arrange *a, const struct request_target *t, size_t n, struct goals *g)
{
    char host[ADDR_HOST_MAX + 1], why[200];
    size_t count = count_addresses(t, n), k = 0;
    g->t = mem_zalloc(a->n_dial_ports, sizeof(*g->t));
    g->texts = mem_zalloc(a->n_dial_ports + 1, sizeof(*g->texts));
    g->addresses = mem_zalloc(count + 1, sizeof(*g->addresses));
    g->where = mem_zalloc(a->n_dial_ports * count + 1, sizeof(*g->where));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < t[i].n; j++)
            g->addresses[k++] = mem_strdup(t[i].addresses[j]);
    addr_parse_hostport(a->names[0], 0, host, &(uint16_t){ 0 }, why, sizeof(why));
    for (; g->n < a->n_dial_ports; g->n++) {
        union sockaddr_any *here = &g->where[g->n_where];
        g->texts[g->n] = mem_printf(strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, a->dial_ports[g->n]);
        g->t[g->n] = (struct request_target){ .text = g->texts[g->n], .addresses = g->addresses, .n = count, .port = a->dial_ports[g->n], .where = here };
        for (size_t i = 0; i < n; here += t[i++].n) {
            memcpy(here, t[i].where, t[i].n * sizeof(*here));
            for (size_t j = 0; j < t[i].n; j++)
                set_port(&here[j], a->dial_ports[g->n]);
        }
        g->n_where += count;
    }
}

/* Every target must be there; of the other gateway's addresses one. */
static bool all_found(const struct arranging *x, const struct request_target *t, size_t n, struct request_refusal *no)
{
    for (size_t i = 0; i < n; i++) {
        if (t[i].n > 0 || (x->a.cell != ARRANGE_INBOUND && count_addresses(t, n) > 0))
            continue;
        no->status = GRPC_INVALID_ARGUMENT;
        snprintf(no->why, sizeof(no->why), "%s: %s", x->a.cell == ARRANGE_INBOUND ? "targets" : "dial.addresses", t[i].why);
        return false;
    }
    return true;
}

/* ------------------------------------------------------------ may he */

static uint64_t rates_of(const struct grants *gs, const char *by)
{
    uint64_t sum = 0;
    list_for_each(n, &gs->all) {
        const struct grant *g = list_entry(n, struct grant, node);
        sum += g->arranged && !g->arranged->beside && str_eq(g->by, by) ? g->arranged->rate : 0;
    }
    return sum;
}

/* That bounds what he asks for; NULL: nothing does. */
static const struct policy_row *row_of(const struct arranging *x)
{
    const struct service *s = x->s;
    return s->conf->scistream.auth == CONF_AUTH_POLICY && !x->who.admin ? policy_row(who_policy(s->who), &x->who, x->a.role) : NULL;
}

/* Ring of each channel that is attached to: as a route has it by default, or so much less that he may have it. */
static uint64_t window_of(const struct arranging *x)
{
    const struct policy_row *row = row_of(x);
    return row && row->window ? MAX(MIN(row->window, ARRANGE_WINDOW), HOP_WINDOW_MIN) : ARRANGE_WINDOW;
}

static struct demand demand_of(const struct arranging *x, const struct goals *g)
{
    const struct request_sums own = requests_sums(x->s->requests, x->who.principal);
    bool listens = x->a.cell <= ARRANGE_OUTBOUND;
    uint64_t rings = x->a.channels * (listens ? 2 * (uint64_t)BOARD_RELAY_RING : window_of(x));
    return (struct demand){ .role = x->a.role, .targets = g->where, .n_targets = g->n_where, .provisioned = x->a.provisioned, .channels = x->a.channels,
                            .sessions = own.sessions + arranged_count(x->s->grants, x->who.principal) + 1,
                            .rate = x->a.provisioned ? own.rate + rates_of(x->s->grants, x->who.principal) + x->a.rate : 0,
                            .window = listens ? BOARD_RELAY_RING : window_of(x), .ring_memory = scistream_ring_memory(x->s, x->who.principal) + rings,
                            .lifetime_ns = x->a.life_s * NS_PER_S };
}

/* Since 1970; 0: never. Who did not say how long gets as long as he may have. */
static uint64_t ends_s(const struct arranging *x, uint64_t now_s)
{
    const struct policy_row *row = row_of(x);
    uint64_t most = row && row->lifetime_ns != TIME_FOREVER ? row->lifetime_ns / NS_PER_S : 0, life_s = x->a.life_s ? x->a.life_s : most;
    return life_s ? now_s + life_s : 0;
}

/* Where the other gateway dials, it may attach in place of coming to the ports: there are rings for that, too. */
static struct capacity_terms reservation_of(const struct arranging *x)
{
    const struct conf *c = x->s->conf;
    bool listens = x->a.cell <= ARRANGE_OUTBOUND, rdma = !listens && (*c->rdma.listen || c->ucx.devices[0]);
    return (struct capacity_terms){ .uid = x->uid, .principal = x->who.principal, .rate = x->a.rate, .ends_s = ends_s(x, wall_s()),
                                    .segments = 1U << SEGMENT_WAN | (rdma ? 1U << SEGMENT_RDMA : 0),
                                    .memory = x->a.cell == ARRANGE_OUTBOUND ? 0 : x->a.channels * window_of(x) * (listens ? 2 : 1) };
}

/* The one place where a session that may be had is let in, or there is no room for it. */
static bool admit(const struct arranging *x, struct request_refusal *no)
{
    const struct capacity_terms t = reservation_of(x);
    no->status = scistream_room(x->s, no->why, sizeof(no->why));
    if (no->status == GRPC_OK && x->a.provisioned)
        no->status = service_reserve(x->s, &t, x->a.cell <= ARRANGE_OUTBOUND ? x->a.channels : 0, no->why, sizeof(no->why));
    return no->status == GRPC_OK;
}

/* The one place where such a session ends; one that is attached to: service_arranged.c. */
void service_arranged_over(const struct service *s, const struct request *r, const char *text)
{
    service_give_back(s, r->uid);
    struct grant *g = r->ticket ? service_beside(s, r->uid) : NULL;
    if (g)
        grants_end(s->grants, g, "is over", text);
}

/* ------------------------------------------------------------ making it */

static void fill_ticket(const struct arranging *x, struct request_ticket *t)
{
    uint64_t now_s = wall_s();
    *t = (struct request_ticket){ .issued_s = now_s, .expires_s = now_s + x->a.ticket_s, .ends_s = ends_s(x, now_s), .rate = x->a.rate,
                                  .provisioned = x->a.provisioned };
    if (x->a.cell == ARRANGE_OUTBOUND)
        memcpy(t->key, x->q->dial->secret.data, REQUEST_KEY);
    else
        secret_random(t->key, REQUEST_KEY);
}

static struct arranged_place *places_of(const struct goals *g)
{
    struct arranged_place *p = mem_zalloc(g->n + 1, sizeof(*p));
    for (size_t i = 0; i < g->n; i++)
        p[i] = (struct arranged_place){ g->t[i].text, g->t[i].where, g->t[i].n };
    return p;
}

static struct arranged_terms terms_of(const struct arranging *x, int attach)
{
    return (struct arranged_terms){ .uid = x->uid, .channels = x->a.channels, .attach = attach, .ticket_s = x->a.ticket_s, .ends_s = ends_s(x, wall_s()),
                                    .window = window_of(x), .by = x->who.principal, .from = x->who.from,
                                    .provisioned = x->a.provisioned, .rate = x->a.rate };
}

static struct grant *add_attached(const struct arranging *x, const struct arranged_terms *t, struct request_refusal *no)
{
    struct arranged_made made = { .g = NULL };
    int rc = arranged_add(x->s->grants, t, wall_s(), &made);
    if (rc == 0)
        return made.g;
    no->status = rc == -EEXIST ? GRPC_ALREADY_EXISTS : rc == -EINVAL ? GRPC_INVALID_ARGUMENT : GRPC_RESOURCE_EXHAUSTED;
    snprintf(no->why, sizeof(no->why), "%s", made.why);
    return NULL;
}

/* By which the other gateway attaches, when its application does, instead of coming to the ports. */
static bool add_beside(const struct arranging *x, const struct request *r, const struct goals *g, struct request_refusal *no)
{
    AUTO_FREE struct arranged_place *places = places_of(g);
    struct arranged_terms t = terms_of(x, -1);
    t.role[GRANT_SEND] = t.role[GRANT_RECV] = t.beside = true;
    t.secret = r->ticket->key;
    t.target = places;
    t.n_targets = g->n;
    return add_attached(x, &t, no);
}

static const struct request *add_transparent(const struct arranging *x, const struct goals *g, struct request_refusal *no)
{
    char address[ADDR_TEXT];
    struct request_ticket ticket;
    bool outbound = x->a.cell == ARRANGE_OUTBOUND;
    fill_ticket(x, &ticket);
    const struct request_terms t = { .uid = x->uid, .principal = x->who.principal, .from = x->who.from, .cons = outbound, .n = x->a.channels,
                                     .address = scistream_address(x->s, grpc_call_conn(x->call), address), .ports = x->a.n_ports ? x->a.ports : NULL,
                                     .targets = g->t, .n_targets = g->n, .ticket = &ticket };
    const struct request *r = requests_arrange(x->s->requests, &t, no);
    secret_wipe(&ticket, sizeof(ticket));
    return r;
}

/* Nothing is left of it where it is refused. */
static const struct request *make_transparent(const struct arranging *x, const struct goals *g, struct request_refusal *no)
{
    const struct request *r = add_transparent(x, g, no);
    if (!r || x->a.cell == ARRANGE_OUTBOUND || add_beside(x, r, g, no))
        return r;
    (void)requests_end(x->s->requests, r->uid, no->why);
    return NULL;
}

static struct grant *make_attached(const struct arranging *x, const struct goals *g, struct request_refusal *no)
{
    bool recv = x->q->attach == SCISTREAM__GATEWAY__V1__ROLE__RECV, dials = x->a.cell == ARRANGE_ATTACHING;
    AUTO_FREE struct arranged_place *places = places_of(g);
    AUTO_FREE char **pins = mem_zalloc(TICKET_PINS + 1, sizeof(*pins));
    struct arranged_terms t = terms_of(x, recv ? GRANT_RECV : GRANT_SEND);
    struct arranged_dial dial = { .gateway = places, .n = g->n, .pins = pins, .recv = recv };
    t.role[GRANT_SEND] = !dials || !recv;
    t.role[GRANT_RECV] = !dials || recv;
    if (dials) {
        for (size_t i = 0; i < x->q->dial->n_pins; i++)
            pins[i] = x->q->dial->pins[i];
        dial.tls_name = x->q->dial->tls_name;
        dial.secret = x->q->dial->secret.data;
        t.dial = &dial;
    }
    struct grant *made = add_attached(x, &t, no);
    if (made)
        log_info("session %s arranged for %s from %s: %s, %u channel%s%s%s", made->uid, x->who.principal, x->who.from, recv ? "RECV" : "SEND", t.channels,
                 t.channels == 1 ? "" : "s", dials ? ", attaches at " : "", dials ? places[0].name : "");
    return made;
}

static void draw_uid(struct arranging *x)
{
    uint8_t random[(GRANT_UID - 1) / 2];
    secret_random(random, sizeof(random));
    secret_hex(x->uid, random, sizeof(random));
    if (*x->q->uid)
        str_copy(x->uid, sizeof(x->uid), x->q->uid);
}

static void make(struct arranging *x, const struct goals *g)
{
    struct request_refusal no = { .status = GRPC_ALREADY_EXISTS, .why = REQUEST_IN_USE };
    draw_uid(x);
    bool transparent = x->a.cell <= ARRANGE_OUTBOUND;
    bool in_use = requests_find(x->s->requests, x->uid) || arranged_find(x->s->grants, x->uid), admitted = !in_use && admit(x, &no);
    const struct request *r = transparent && admitted ? make_transparent(x, g, &no) : NULL;
    const struct grant *made = !transparent && admitted ? make_attached(x, g, &no) : NULL;
    if (!r && !made) {
        if (admitted)
            service_give_back(x->s, x->uid);
        refuse(x, &no);
        return;
    }
    who_audit(&x->who, "", "Arrange", r ? r->uid : made->uid, NULL);
    if (r)
        service_reply_request(x->call, r);
    else
        service_reply_grant(x->call, made);
}

static bool may(const struct arranging *x, const struct goals *g, struct request_refusal *no)
{
    const struct demand d = demand_of(x, g);
    no->status = scistream_judge(x->s, &x->who, &d, no->why, sizeof(no->why));
    return no->status == GRPC_OK;
}

/* Another program may have been given all that there is while names were looked up: it would not know of this one. */
static bool still_changes(const struct arranging *x, struct request_refusal *no)
{
    if (!x->s->grants->frozen)
        return true;
    no->status = GRPC_UNAVAILABLE;
    snprintf(no->why, sizeof(no->why), "%s", x->s->grants->frozen);
    return false;
}

static void decide(struct arranging *x, const struct request_target *t, size_t n)
{
    struct request_refusal no;
    struct goals g = { .n = 0 };
    list_del(&x->node);
    if (!still_changes(x, &no) || !all_found(x, t, n, &no))
        return refuse(x, &no);
    if (x->a.cell == ARRANGE_OUTBOUND)
        take_dial_ports(&x->a, t, n, &g);
    else
        take_targets(t, n, &g);
    if (may(x, &g, &no))
        make(x, &g);
    else
        refuse(x, &no);
    goals_free(&g);
}

static void on_known(void *user, const struct request_target *t, size_t n) { decide(user, t, n); }

/* ------------------------------------------------------------ the beginning of a call */

/* Where nobody is asked who he is, everybody is the same, as in scistream.Control. */
static void take_caller(struct arranging *x, const struct caller *who)
{
    x->who = *who;
    if (x->s->conf->scistream.auth == CONF_AUTH_NONE) {
        str_copy(x->who.principal, sizeof(x->who.principal), "anonymous");
        x->who.how = CALLER_ANONYMOUS;
    }
}

static bool has_names(char *const *words)
{
    char host[ADDR_HOST_MAX + 1], why[200];
    uint16_t port;
    for (; *words; words++)
        if (addr_parse_hostport(*words, 0, host, &port, why, sizeof(why)) == 0 && addr_numeric(host, port, &(union sockaddr_any){ 0 }) < 0)
            return true;
    return false;
}

/* Who has more calls under way than that would keep the name servers, and this process, from others. */
static bool may_look_up(const struct arranging *x, struct request_refusal *no)
{
    unsigned own = 0;
    list_for_each(n, &x->s->arranging)
        own += str_eq(list_entry(n, struct arranging, node)->who.principal, x->who.principal);
    if (own < NAMES_AT_ONCE)
        return true;
    no->status = GRPC_RESOURCE_EXHAUSTED;
    snprintf(no->why, sizeof(no->why), "%u requests of %s wait for names to be looked up: try again when they are answered", own, x->who.principal);
    return false;
}

static void look_up(struct arranging *x)
{
    struct request_refusal no;
    bool asks = has_names(x->a.names);
    if (!may(x, &(struct goals){ .n = 0 }, &no) || (asks && !may_look_up(x, &no)))
        return refuse(x, &no);
    if (asks)
        list_add_tail(&x->s->arranging, &x->node);
    x->lookups = lookups_start(x->s->resolver, x->a.names, on_known, x);
}

static void run_arrange(struct grpc_call *c, const struct caller *who, const uint8_t *data, size_t len)
{
    struct request_refusal no;
    if (!service_may_change(c))
        return;
    struct arranging *x = mem_zalloc(1, sizeof(*x));
    list_init(&x->node);
    x->call = c;
    x->s = grpc_server_user(c);
    take_caller(x, who);
    x->q = scistream__gateway__v1__arrange_request__unpack(NULL, len, data);
    grpc_set_user(c, x);
    if (!x->q)
        refuse(x, &(struct request_refusal){ GRPC_INVALID_ARGUMENT, "ArrangeRequest cannot be read" });
    else if (!arrange_read(x->q, wall_s(), &x->a, &no))
        refuse(x, &no);
    else if (x->a.names)
        look_up(x);
    else
        decide(x, NULL, 0);
}

static void on_arrange(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Arrange", .audience = SERVICE_ANYBODY, .run = run_arrange };
    const struct service *s = grpc_server_user(c);
    if (!s->conf->scistream.enable)
        grpc_finish(c, GRPC_UNIMPLEMENTED, "sessions are not arranged here (scistream { enable = yes } in scistreamd.conf)");
    else if (grpc_user(c))
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "one message is expected");
    else
        service_allow(c, &what, data, len);
}

const struct grpc_handlers service_arrange_handlers = { .message = on_arrange, .closed = on_arrange_closed };
