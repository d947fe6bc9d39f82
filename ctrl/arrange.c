#include "ctrl/arrange.h"

#include <stdarg.h>
#include <stdio.h>

#include "ctrl/capacity.h"
#include "ctrl/grants.h"
#include "src/core/ticket.h"

#define RATE_MAX 1000000000000000ULL /* as in the configuration: sums of them are no small numbers again */

typedef Scistream__Gateway__V1__Dial Dial;

static bool bad(struct request_refusal *no, const char *fmt, ...) PRINTF(2, 3);
static bool bad(struct request_refusal *no, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(no->why, sizeof(no->why), fmt, args);
    va_end(args);
    no->status = GRPC_INVALID_ARGUMENT;
    return false;
}

/* ------------------------------------------------------------ which of the cells */

/* Who begins must be clear: of two sides that both wait, or both connect, nothing comes. */
static bool read_cell(const ArrangeRequest *q, struct arrange *a, struct request_refusal *no)
{
    bool attach = q->attach != SCISTREAM__GATEWAY__V1__ROLE__ROLE_UNSPECIFIED;
    if ((q->n_targets > 0) + (q->listen != NULL) + attach != 1)
        return bad(no, "one of targets, listen and attach is expected: how the application here takes part");
    if (q->listen && !q->dial)
        return bad(no, "listen: the other gateway would come to this one, and so would the application: nobody connects; arrange the other gateway first, "
                       "and give its ticket as dial");
    if (q->n_targets && q->dial)
        return bad(no, "dial: this gateway would connect to both sides, and nobody begins: arrange this one without dial, and let the other gateway dial it");
    if (attach && q->attach != SCISTREAM__GATEWAY__V1__ROLE__SEND && q->attach != SCISTREAM__GATEWAY__V1__ROLE__RECV)
        return bad(no, "attach: is %d, must be SEND or RECV", (int)q->attach);
    a->cell = q->n_targets ? ARRANGE_INBOUND : q->listen ? ARRANGE_OUTBOUND : q->dial ? ARRANGE_ATTACHING : ARRANGE_ATTACHED;
    a->role = q->n_targets ? ROLE_PROD : q->listen ? ROLE_CONS : q->attach == SCISTREAM__GATEWAY__V1__ROLE__SEND ? ROLE_SEND : ROLE_RECV;
    return true;
}

static bool read_uid(const ArrangeRequest *q, const struct arrange *a, struct request_refusal *no)
{
    bool hex = strlen(q->uid) == GRANT_UID - 1 && strspn(q->uid, "0123456789abcdef") == GRANT_UID - 1;
    if (!q->dial) /* who draws it himself can take back what he got no answer about */
        return !*q->uid || hex || bad(no, "uid: must be 32 lower-case hex digits, drawn at random, or nothing");
    if (a->cell == ARRANGE_ATTACHING) /* in one spelling alone: by that all of it is given back */
        return hex || bad(no, "uid: must be that of the other gateway's ticket: 32 lower-case hex digits");
    return addr_route_ok(q->uid) || bad(no, "uid: must be that of the other gateway's ticket: 1 to %d letters, digits, '.', '_' and '-'", ADDR_ROUTE_MAX);
}

/* ------------------------------------------------------------ addresses and ports */

static bool read_names(char *const *words, size_t n, const char *field, struct arrange *a, struct request_refusal *no)
{
    char host[ADDR_HOST_MAX + 1], why[200];
    uint16_t port;
    for (size_t i = 0; i < n; i++) {
        *why = 0;
        if (addr_parse_hostport(words[i], 0, host, &port, why, sizeof(why)) < 0 || !*host)
            return bad(no, "%s: %s", field, *words[i] && *why ? why : "each must be HOST:PORT, like 192.0.2.7:5100");
    }
    a->names = mem_zalloc(n + 1, sizeof(*a->names));
    for (size_t i = 0; i < n; i++)
        a->names[i] = mem_strdup(words[i]);
    return true;
}

struct wanted { const char *field; const uint32_t *port; size_t n; };

static bool read_ports(const struct wanted *w, uint16_t *out, struct request_refusal *no)
{
    if (w->n > REQUEST_LISTENERS_MAX)
        return bad(no, "%s: %zu are too many, %d are allowed", w->field, w->n, REQUEST_LISTENERS_MAX);
    for (size_t i = 0; i < w->n; i++) {
        if (w->port[i] < 1 || w->port[i] > UINT16_MAX)
            return bad(no, "%s: %u is no port", w->field, w->port[i]);
        for (size_t k = 0; k < i; k++)
            if (w->port[k] == w->port[i])
                return bad(no, "%s: %u is there twice", w->field, w->port[i]);
        out[i] = (uint16_t)w->port[i];
    }
    return true;
}

static bool read_targets(const ArrangeRequest *q, struct arrange *a, struct request_refusal *no)
{
    if (q->n_targets > REQUEST_LISTENERS_MAX)
        return bad(no, "targets: %zu are too many, %d are allowed", q->n_targets, REQUEST_LISTENERS_MAX);
    return read_names(q->targets, q->n_targets, "targets", a, no);
}

static bool read_listen(const ArrangeRequest *q, struct arrange *a, struct request_refusal *no)
{
    const struct wanted w = { "listen.ports", q->listen->ports, q->listen->n_ports };
    a->n_ports = (unsigned)w.n;
    return read_ports(&w, a->ports, no);
}

/* ------------------------------------------------------------ the other gateway */

static bool read_secret(const Dial *d, struct request_refusal *no)
{
    uint8_t any = 0;
    for (size_t i = 0; i < d->secret.len; i++)
        any |= d->secret.data[i];
    if (d->secret.len != REQUEST_KEY)
        return bad(no, "dial.secret: has %zu bytes, that of a ticket has %d", d->secret.len, REQUEST_KEY);
    return any || bad(no, "dial.secret: is all zero, which no ticket's is");
}

static bool read_role(const ArrangeRequest *q, const struct arrange *a, struct request_refusal *no)
{
    if (a->cell == ARRANGE_OUTBOUND)
        return a->n_dial_ports > 0 || bad(no, "dial.ports: there are none, so the application of the other gateway attaches: attach here, too, instead of listen");
    return q->dial->role == q->attach || bad(no, "dial.role: must be the same as attach: what a sender brings here this gateway sends on, and the other way round");
}

static bool read_tls_name(const Dial *d, struct request_refusal *no)
{
    bool ok = strlen(d->tls_name) <= ADDR_HOST_MAX;
    for (const char *c = d->tls_name; ok && *c; c++)
        ok = *c > 0x20 && *c < 0x7f;
    return ok || bad(no, "dial.tls_name: must be a name in a certificate, of at most %d characters", ADDR_HOST_MAX);
}

static bool read_dial(const ArrangeRequest *q, struct arrange *a, struct request_refusal *no)
{
    const Dial *d = q->dial;
    const struct wanted w = { "dial.ports", d->ports, d->n_ports };
    a->n_dial_ports = (unsigned)w.n;
    if (d->n_addresses < 1 || d->n_addresses > ARRANGE_DIALED)
        return bad(no, "dial.addresses: %zu are there, 1 to %d are expected", d->n_addresses, ARRANGE_DIALED);
    if (d->n_pins > TICKET_PINS)
        return bad(no, "dial.pins: %zu are too many, %d are allowed", d->n_pins, TICKET_PINS);
    return read_names(d->addresses, d->n_addresses, "dial.addresses", a, no) && read_tls_name(d, no) && read_secret(d, no) &&
           read_ports(&w, a->dial_ports, no) && read_role(q, a, no);
}

/* ------------------------------------------------------------ how much, for how long */

static bool read_channels(const ArrangeRequest *q, struct arrange *a, struct request_refusal *no)
{
    size_t named = MAX(q->n_targets, MAX(a->n_ports, a->n_dial_ports)), most = a->cell <= ARRANGE_OUTBOUND ? REQUEST_LISTENERS_MAX : TICKET_CHANNELS;
    a->channels = q->channels ? q->channels : (uint32_t)MAX(named, 1);
    if (a->channels > most)
        return bad(no, "channels: is %u, at most %zu are allowed", a->channels, most);
    if (a->n_ports && a->n_ports != a->channels)
        return bad(no, "listen.ports: %u are named for %u channels: name one for each, or none", a->n_ports, a->channels);
    if (q->n_targets > a->channels)
        return bad(no, "targets: %zu are named for %u channel%s: the last would never be used", q->n_targets, a->channels, a->channels == 1 ? "" : "s");
    return true;
}

static bool read_class(const ArrangeRequest *q, struct arrange *a, struct request_refusal *no)
{
    a->provisioned = str_eq(q->class_, capacity_class(true));
    a->rate = q->rate;
    if (*q->class_ && !a->provisioned && !str_eq(q->class_, capacity_class(false)))
        return bad(no, "class: must be \"best effort\" or \"provisioned\"");
    if (q->rate > RATE_MAX)
        return bad(no, "rate: is %llu bit/s, at most %llu are allowed", (unsigned long long)q->rate, RATE_MAX);
    return a->provisioned == (q->rate > 0) || bad(no, "rate: goes with class provisioned, which needs one");
}

static bool read_times(const ArrangeRequest *q, uint64_t now_s, struct arrange *a, struct request_refusal *no)
{
    uint64_t ends_s = q->dial ? q->dial->expires_s : 0;
    if (q->ticket_s > GRANT_LIFE_MAX_S)
        return bad(no, "ticket_s: 366 days at most");
    if (q->lifetime_s > GRANT_LIFE_MAX_S)
        return bad(no, "lifetime_s: 366 days at most, or 0 for no end");
    if (ends_s && ends_s <= now_s)
        return bad(no, "dial.expires_s: the ticket of the other gateway has expired");
    a->life_s = q->lifetime_s;
    a->ticket_s = q->ticket_s ? q->ticket_s : ends_s ? GRANT_LIFE_MAX_S : ARRANGE_TICKET_S;
    if (ends_s)
        a->ticket_s = MIN(a->ticket_s, ends_s - now_s);
    return true;
}

bool arrange_read(const ArrangeRequest *q, uint64_t now_s, struct arrange *a, struct request_refusal *no)
{
    *a = (struct arrange){ .cell = ARRANGE_INBOUND };
    return read_cell(q, a, no) && read_uid(q, a, no) && (!q->n_targets || read_targets(q, a, no)) && (!q->listen || read_listen(q, a, no)) &&
           (!q->dial || read_dial(q, a, no)) && read_channels(q, a, no) && read_class(q, a, no) && read_times(q, now_s, a, no);
}
