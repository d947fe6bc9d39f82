/* scistreamctl firewall: what the firewalls of both sites have to let through for a stream, from a ticket, from the gateways, or from both. All of it is
 * TCP. Gateways are asked for their ranges of ports; of one that does not answer they are taken to be the defaults, and that is said. */
#include <stdio.h>

#include "src/ctl_sides.h"
#include "src/ctl_ticket_out.h"

#define RULES 16
#define PORTS_TEXT 160
#define LINK_PORTS "5010-5041"
#define DATA_PORTS "5100-5200"
#define USER "user"

typedef Scistream__Gateway__V1__InfoReply InfoReply;

/* A gateway, as firewalls see it. */
struct site {
    struct ctl_opts o;               /* to ask it */
    char host[ADDR_HOST_MAX + 1];
    uint16_t port;
    char link[PORTS_TEXT], data[PORTS_TEXT];
    bool known;                      /* what is above */
};

struct rule {
    const char *direction;           /* "in", "out", "inside" */
    char site[ADDR_HOST_MAX + 1], from[ADDR_HOST_MAX + 1], to[ADDR_HOST_MAX + 1], ports[PORTS_TEXT];
    const char *purpose;
};

struct rules { struct rule rule[RULES]; size_t n; };

/* ------------------------------------------------------------ asking */

static int keep_info(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    struct site *s = container_of((struct ctl_opts *)(uintptr_t)o, struct site, o);
    InfoReply *r = scistream__gateway__v1__info_reply__unpack(NULL, len, data);
    s->known = r && *r->link_ports;
    if (s->known) {
        str_copy(s->link, sizeof(s->link), r->link_ports);
        str_copy(s->data, sizeof(s->data), r->data_ports);
    }
    scistream__gateway__v1__info_reply__free_unpacked(r, NULL);
    return 0;
}

static void ask_site(struct site *s)
{
    Scistream__Gateway__V1__InfoRequest q = SCISTREAM__GATEWAY__V1__INFO_REQUEST__INIT;
    struct ctl_asked asked = { .reply = keep_info };
    str_copy(s->link, sizeof(s->link), LINK_PORTS);
    str_copy(s->data, sizeof(s->data), DATA_PORTS);
    ctl_ask(&s->o, "/scistream.gateway.v1.Gateway/Info", &q.base, &asked);
    if (!s->known)
        fprintf(stderr, "scistreamctl: %s does not tell its ports%s%s: link_ports and scistream.data_ports are taken to be the defaults\n", s->host,
                *asked.why ? ", " : "", asked.why);
}

static bool is_here(const char *host) { return str_eq(host, "localhost") || str_starts(host, "127.") || str_eq(host, "::1"); }

/* By which address and port others know it: not those of a port forward of ours. */
static void find_host(struct site *s)
{
    char why[200], host[ADDR_HOST_MAX + 1];
    const char *first = s->o.address[0] ? s->o.address[0] : s->o.gateway;
    addr_parse_hostport(first, ADDR_PORT_DEFAULT, host, &s->port, why, sizeof(why));
    bool named = !s->o.address[0] && *s->o.e.tls_name;
    str_copy(s->host, sizeof(s->host), named ? s->o.e.tls_name : host);
    if (named && is_here(host))
        s->port = ADDR_PORT_DEFAULT;
}

static void site_of_side(struct site *s, const struct side *side)
{
    s->o = side->o;
    find_host(s);
    ask_site(s);
}

/* ------------------------------------------------------------ rules */

struct way { const char *from, *to, *ports, *purpose; };

static void add(struct rules *rs, const char *site, const char *direction, const struct way *w)
{
    struct rule *r = &rs->rule[rs->n++];
    *r = (struct rule){ .direction = direction, .purpose = w->purpose };
    str_copy(r->site, sizeof(r->site), site);
    str_copy(r->from, sizeof(r->from), w->from);
    str_copy(r->to, sizeof(r->to), w->to);
    str_copy(r->ports, sizeof(r->ports), w->ports);
}

/* From one site to the other: out there, in here. */
static void add_across(struct rules *rs, const struct way *w)
{
    add(rs, w->from, "out", w);
    add(rs, w->to, "in", w);
}

static void add_users(struct rules *rs, const struct site *s)
{
    AUTO_FREE char *port = mem_printf("%u", s->port);
    add(rs, s->host, "in", &(struct way){ USER, s->host, port, "scistreamctl arranges" });
}

static void add_attach(struct rules *rs, const char *from, const struct site *to, bool across)
{
    AUTO_FREE char *ports = mem_printf("%u,%s", to->port, to->link);
    const struct way w = { from, to->host, ports, across ? "the other gateway attaches" : "the application attaches (by link)" };
    if (across)
        add_across(rs, &w);
    else
        add(rs, to->host, "inside", &w);
}

/* Between an application and its gateway, in one site. */
static void add_application(struct rules *rs, const struct side *side, const struct site *s)
{
    char host[ADDR_HOST_MAX + 1], why[200];
    uint16_t port;
    if (side->app == APP_ATTACHES)
        add_attach(rs, "application", s, false);
    else if (side->app == APP_CONNECTS)
        add(rs, s->host, "inside", &(struct way){ "application", s->host, s->data, "the application connects" });
    for (char **t = side->targets; t && *t && rs->n < RULES - 2; t++)
        if (addr_parse_hostport(*t, 0, host, &port, why, sizeof(why)) == 0) {
            AUTO_FREE char *at = mem_printf("%u", port);
            add(rs, s->host, "inside", &(struct way){ s->host, host, at, "the application listens" });
        }
}

static void rules_of_sides(struct rules *rs, const struct sides *s)
{
    struct site from = { .known = false }, to = { .known = false };
    site_of_side(&from, &s->from);
    site_of_side(&to, &s->to);
    const struct site *dialed = s->dialed == &s->from ? &from : &to, *dials = dialed == &from ? &to : &from;
    add_users(rs, &from);
    add_users(rs, &to);
    if (s->dials->app == APP_ATTACHES)
        add_attach(rs, dials->host, dialed, true);
    else
        add_across(rs, &(struct way){ dials->host, dialed->host, dialed->data, "the other gateway connects" });
    add_application(rs, &s->from, &from);
    add_application(rs, &s->to, &to);
}

/* "5100,5101" */
static char *ports_of(const struct ticket *t)
{
    char *all = mem_strdup("");
    for (unsigned i = 0, to; i < t->n_ports; i = to) {
        for (to = i + 1; to < t->n_ports && t->port[to] == t->port[to - 1] + 1; to++)
            ;
        char *more = to - i > 1 ? mem_printf("%s%s%u-%u", all, i ? "," : "", t->port[i], t->port[to - 1]) : mem_printf("%s%s%u", all, i ? "," : "", t->port[i]);
        free(all);
        all = more;
    }
    return all;
}

/* The gateway of the ticket, and the other one, which may not be known. */
static void rules_of_ticket(struct rules *rs, const struct ticket *t, const struct site *dialed, const struct site *other)
{
    const char *from = other ? other->host : ticket_is_transparent(t) ? "other gateway" : "other gateway, or application";
    AUTO_FREE char *ports = ports_of(t);
    add_users(rs, dialed);
    if (other)
        add_users(rs, other);
    if (t->n_ports)
        add_across(rs, &(struct way){ from, dialed->host, ports, "the other gateway connects" });
    add_attach(rs, from, dialed, true);
    if (other) {
        add_attach(rs, "application", other, false);
        if (t->n_ports)
            add(rs, other->host, "inside", &(struct way){ "application", other->host, other->data, "the application connects" });
    }
}

static void rules_of_gateway(struct rules *rs, const struct site *s)
{
    add_users(rs, s);
    add_attach(rs, "other gateway", s, true);
    add_across(rs, &(struct way){ "other gateway", s->host, s->data, "the other gateway connects" });
    add_attach(rs, "application", s, false);
    add(rs, s->host, "inside", &(struct way){ "application", s->host, s->data, "the application connects" });
}

/* ------------------------------------------------------------ printing */

enum { SITE, DIRECTION, PROTOCOL, FROM, TO, PORTS, PURPOSE, COLUMNS };

static const char *cell(const struct rule *r, int column)
{
    const char *const all[COLUMNS] = { r->site, r->direction, "tcp", r->from, r->to, r->ports, r->purpose };
    return all[column];
}

static void print_text(const struct rules *rs)
{
    static const struct rule heads = { .site = "SITE OF", .direction = "DIRECTION", .from = "FROM", .to = "TO", .ports = "PORTS", .purpose = "WHAT FOR" };
    size_t width[COLUMNS] = { [PROTOCOL] = strlen("PROTOCOL") };
    for (int c = 0; c < COLUMNS; c++)
        for (size_t i = 0; i <= rs->n; i++)
            width[c] = MAX(width[c], strlen(cell(i ? &rs->rule[i - 1] : &heads, c)));
    for (size_t i = 0; i <= rs->n; i++) {
        const struct rule *r = i ? &rs->rule[i - 1] : &heads;
        for (int c = 0; c < PURPOSE; c++)
            printf("%-*s  ", (int)width[c], i == 0 && c == PROTOCOL ? "PROTOCOL" : cell(r, c));
        printf("%s\n", r->purpose);
    }
}

static void print_json(const struct rules *rs)
{
    static const char *const name[COLUMNS] = { "site", "direction", "protocol", "from", "to", "ports", "purpose" };
    printf("{\"rules\":[");
    for (size_t i = 0; i < rs->n; i++) {
        printf("%s{", i ? "," : "");
        for (int c = 0; c < COLUMNS; c++)
            ctl_json_text(name[c], cell(&rs->rule[i], c), c == PURPOSE ? "}" : ",");
    }
    printf("]}\n");
}

/* ------------------------------------------------------------ the command */

/* The gateway of a ticket can be asked by what stands in it. */
static int by_ticket(struct rules *rs, const struct ctl_opts *o)
{
    struct ticket t;
    struct site dialed = { .o = *o }, other = { .o = *o };
    char *none[] = { NULL }, pin[TICKET_PINS][TICKET_PIN_TEXT], *pins[TICKET_PINS + 1] = { NULL }, empty[] = "", at[ADDR_TEXT];
    int code = ctl_ticket_read(*o->e.ticket_file ? o->e.ticket_file : NULL, &t);
    if (code)
        return code;
    for (unsigned i = 0; i < t.n_pins; i++)
        pins[i] = ticket_pin_text(pin[i], t.pin[i]);
    dialed.o.gateway = (char *)(uintptr_t)ticket_address_text(at, &t, 0);
    dialed.o.e.pins = pins;
    dialed.o.e.tls_name = t.tls_name;
    dialed.o.token_file = dialed.o.cert = dialed.o.e.ca = empty;
    dialed.o.address = none;
    find_host(&dialed);
    ask_site(&dialed);
    if (*o->gateway) {
        find_host(&other);
        ask_site(&other);
    }
    rules_of_ticket(rs, &t, &dialed, *o->gateway ? &other : NULL);
    ticket_wipe(&t);
    return 0;
}

static int by_sides(struct rules *rs, const struct ctl_opts *o)
{
    struct sides s = { .dials = NULL };
    int code = sides_parse(&s, o);
    if (code == 0)
        rules_of_sides(rs, &s);
    sides_free(&s);
    return code;
}

static int by_gateway(struct rules *rs, const struct ctl_opts *o)
{
    struct site s = { .o = *o };
    find_host(&s);
    if (!*s.host) {
        fprintf(stderr, "scistreamctl: --gateway %s: must be HOST[:PORT]\n", o->gateway);
        return 64;
    }
    ask_site(&s);
    rules_of_gateway(rs, &s);
    return 0;
}

int ctl_firewall(struct ctl_opts *o, int argc UNUSED, char **argv UNUSED)
{
    static struct rules rs;
    bool sides = o->from[0] || o->to[0], ticket = *o->e.ticket_file || (!sides && !*o->gateway);
    if (!sides && !*o->gateway && !*o->e.ticket_file && !getenv("SCISTREAM_TICKET_FILE")) {
        fprintf(stderr, "scistreamctl: firewall: of what? Give --from and --to, --ticket-file FILE, or --gateway HOST\n");
        return 64;
    }
    if (sides && ticket) {
        fprintf(stderr, "scistreamctl: firewall: either --from and --to, or --ticket-file\n");
        return 64;
    }
    int code = sides ? by_sides(&rs, o) : ticket ? by_ticket(&rs, o) : by_gateway(&rs, o);
    if (code == 0)
        (o->json ? print_json : print_text)(&rs);
    return code;
}
