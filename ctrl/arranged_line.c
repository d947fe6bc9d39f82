/* Arranged sessions go from program to program: each a line with a message of ctrl/arranged.proto in hex. Whatever held a secret is wiped. */
#include "ctrl/arranged.h"
#include "ctrl/arranged.pb-c.h"
#include "src/core/ticket.h"

#define LINE_BYTES (1 << 20) /* of a message: more than 256 targets with eight addresses each have */

typedef Scistream__Arranged__Session SessionMsg;
typedef Scistream__Arranged__Place PlaceMsg;
typedef Scistream__Arranged__Dial DialMsg;

static char *unconst(const char *s) { return (char *)(uintptr_t)s; } /* protobuf-c's strings are not const */
static ProtobufCBinaryData bytes_of(const struct secret *s) { return (ProtobufCBinaryData){ s->len, s->data }; }

/* ------------------------------------------------------------ writing */

/* Their strings stay the route's. Heap, both arrays in one piece. */
static PlaceMsg **places_of(const struct route *r, size_t *n)
{
    PlaceMsg **out = mem_zalloc(1, r->n_places * (sizeof(PlaceMsg *) + sizeof(PlaceMsg)) + 1), *m = (void *)(out + r->n_places);
    for (size_t i = 0; i < r->n_places; i++, m++) {
        scistream__arranged__place__init(m);
        m->name = r->place[i].name;
        m->addresses = r->place[i].addresses;
        m->n_addresses = strv_len(r->place[i].addresses);
        m->port = r->place[i].port;
        out[i] = m;
    }
    *n = r->n_places;
    return out;
}

static void set_dial(DialMsg *d, const struct route *r)
{
    d->tls_name = r->c->connect_tls_name;
    d->pins = r->c->connect_pin;
    d->n_pins = strv_len(r->c->connect_pin);
    d->secret = bytes_of(&r->next_secret);
    d->recv = r->c->dial;
}

static void set_session(SessionMsg *m, const struct grant *g)
{
    const struct arranged *a = g->arranged;
    m->uid = unconst(g->uid);
    m->channels = g->channels;
    m->issued_s = g->issued_s;
    m->expires_s = g->expires_s;
    m->ends_s = a->ends_s;
    m->send_secret = bytes_of(&g->secret[GRANT_SEND]);
    m->recv_secret = bytes_of(&g->secret[GRANT_RECV]);
    m->by = unconst(g->by);
    m->from = unconst(g->from);
    m->provisioned = a->provisioned;
    m->rate = a->rate;
    m->window = g->route->c->window;
    m->attach = a->attach;
    m->beside = a->beside;
    m->warned = a->warned;
    m->closed = a->closed;
    m->revoked = a->revoked;
}

static char *line_of(const SessionMsg *m)
{
    size_t n = scistream__arranged__session__get_packed_size(m);
    uint8_t *data = mem_zalloc(1, n + 1);
    char *hex = mem_zalloc(1, 2 * n + 1);
    scistream__arranged__session__pack(m, data);
    secret_hex(hex, data, n);
    char *line = mem_printf(ARRANGED_LINE "%s\n", hex);
    secret_wipe(data, n);
    secret_wipe(hex, 2 * n);
    free(data);
    free(hex);
    return line;
}

char *arranged_line(const struct grant *g)
{
    SessionMsg m = SCISTREAM__ARRANGED__SESSION__INIT;
    DialMsg d = SCISTREAM__ARRANGED__DIAL__INIT;
    size_t n;
    AUTO_FREE PlaceMsg **places = places_of(g->route, &n);
    set_session(&m, g);
    if (arranged_dials(g)) {
        set_dial(&d, g->route);
        d.gateways = places;
        d.n_gateways = n;
        m.dial = &d;
    } else {
        m.targets = places;
        m.n_targets = n;
    }
    return line_of(&m);
}

/* ------------------------------------------------------------ reading */

static void free_places(struct arranged_place *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)p[i].at);
    free(p);
}

/* Heap. An address that makes no sense is left out. */
static struct arranged_place *read_places(PlaceMsg *const *m, size_t n)
{
    struct arranged_place *out = mem_zalloc(n + 1, sizeof(*out));
    for (size_t i = 0; i < n; i++) {
        union sockaddr_any *at = mem_zalloc(m[i]->n_addresses + 1, sizeof(*at));
        for (size_t k = 0; k < m[i]->n_addresses && m[i]->port && m[i]->port <= UINT16_MAX; k++)
            out[i].n += addr_numeric(m[i]->addresses[k], (uint16_t)m[i]->port, &at[out[i].n]) == 0;
        out[i].name = m[i]->name;
        out[i].at = at;
    }
    return out;
}

static bool key_ok(const ProtobufCBinaryData *k) { return k->len == 0 || k->len == GRANT_KEY; }

static bool can_be(const SessionMsg *m, uint64_t now_s)
{
    uint8_t uid[(GRANT_UID - 1) / 2];
    return secret_unhex(uid, sizeof(uid), m->uid) && key_ok(&m->send_secret) && key_ok(&m->recv_secret) && m->attach >= -1 && m->attach < GRANT_ROLES &&
           (!m->ends_s || m->ends_s > now_s) && (!m->dial || m->dial->secret.len == GRANT_KEY);
}

/* NULL-terminated; the strings stay the message's. */
static char **words(char *const *w, size_t n)
{
    char **out = mem_zalloc(n + 1, sizeof(*out));
    for (size_t i = 0; i < n; i++)
        out[i] = w[i];
    return out;
}

static bool fill(const struct grants *gs, struct grant *g, const SessionMsg *m)
{
    char why[200];
    struct arranged_place *targets = read_places(m->targets, m->n_targets), *gateways = m->dial ? read_places(m->dial->gateways, m->dial->n_gateways) : NULL;
    struct arranged_terms t = { .channels = m->channels, .role = { m->send_secret.len > 0, m->recv_secret.len > 0 }, .attach = m->attach, .target = targets,
                                .n_targets = m->n_targets, .beside = m->beside, .ends_s = m->ends_s, .window = m->window, .provisioned = m->provisioned, .rate = m->rate };
    AUTO_FREE char **pins = m->dial ? words(m->dial->pins, m->dial->n_pins) : NULL;
    struct arranged_dial d = { .gateway = gateways, .n = m->dial ? m->dial->n_gateways : 0, .pins = pins };
    if (m->dial) {
        d.tls_name = m->dial->tls_name;
        d.secret = m->dial->secret.data;
        d.recv = m->dial->recv;
        t.dial = &d;
    }
    str_copy(g->uid, sizeof(g->uid), m->uid);
    bool ok = arranged_fill(gs, g, &t, why, sizeof(why)) == 0;
    free_places(targets, m->n_targets);
    free_places(gateways, d.n);
    return ok;
}

static void take_rest(struct grant *g, const SessionMsg *m)
{
    const ProtobufCBinaryData *key[GRANT_ROLES] = { &m->send_secret, &m->recv_secret };
    g->issued_s = m->issued_s;
    g->expires_s = m->expires_s;
    g->arranged->warned = m->warned;
    g->arranged->closed = m->closed;
    g->arranged->revoked = m->revoked;
    str_copy(g->by, sizeof(g->by), m->by);
    str_copy(g->from, sizeof(g->from), m->from);
    for (unsigned role = 0; role < GRANT_ROLES; role++)
        if (key[role]->len)
            grant_set_key(g, role, key[role]->data);
}

static void wipe(SessionMsg *m)
{
    secret_wipe(m->send_secret.data, m->send_secret.len);
    secret_wipe(m->recv_secret.data, m->recv_secret.len);
    if (m->dial)
        secret_wipe(m->dial->secret.data, m->dial->secret.len);
    scistream__arranged__session__free_unpacked(m, NULL);
}

bool arranged_take_line(const struct grants *gs, struct grant *g, const char *line, uint64_t now_s)
{
    const char *hex = line + strlen(ARRANGED_LINE);
    size_t n = strlen(hex) / 2;
    if (n > LINE_BYTES)
        return false;
    uint8_t *data = mem_zalloc(1, n + 1);
    SessionMsg *m = secret_unhex(data, n, hex) ? scistream__arranged__session__unpack(NULL, n, data) : NULL;
    bool ok = m && can_be(m, now_s) && fill(gs, g, m);
    if (ok)
        take_rest(g, m);
    if (m)
        wipe(m);
    secret_wipe(data, n);
    free(data);
    return ok;
}
