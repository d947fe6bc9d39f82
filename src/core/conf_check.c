/* What no single row of the configuration can see. */
#include "src/core/conf.h"

#include <stdarg.h>
#include <strings.h>

#include "src/core/addr_net.h"
#include "src/core/err.h"
#include "src/core/secret.h"

#define PIN_HEAD "sha256:"
#define PINS_MAX 2
#define CAPACITY_MIN 1000000 /* [bit/s] */

static const char *const transports[] = { "verbs", "ucx", "link" };
#define TRANSPORTS "verbs, ucx, link"

/* One conf_check: where the answer goes, and what its words begin with. */
struct check {
    const struct conf *c;
    const struct conf_route *route;   /* NULL: another part */
    const struct conf_policy *policy; /* likewise */
    char *why;
    size_t size;
};

static int refuse(const struct check *k, const char *fmt, ...) PRINTF(2, 3);
static int refuse(const struct check *k, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (k->size && k->route)
        snprintf(k->why, k->size, "route \"%s\": %s", k->route->name, text);
    else if (k->size && k->policy)
        snprintf(k->why, k->size, "policy \"%s\": %s", k->policy->name, text);
    else if (k->size)
        snprintf(k->why, k->size, "%s", text);
    return -SST_ECONF;
}

/* ------------------------------------------------------------ global */

static int check_hostport(const struct check *k, const char *option, const char *text)
{
    char host[ADDR_HOST_MAX + 1], reason[400];
    uint16_t port;
    if (addr_parse_hostport(text, ADDR_PORT_DEFAULT, host, &port, reason, sizeof(reason)) < 0)
        return refuse(k, "%s: %s", option, reason);
    return 0;
}

/* Where sockets are bound, and what peers are told: names are not looked up for it. */
static int check_numeric(const struct check *k, const char *option, const char *text)
{
    union sockaddr_any at;
    if (!*text || addr_numeric(text, 1, &at) == 0)
        return 0;
    return refuse(k, "%s = %s: must be a numeric address, like 192.0.2.1 or 2001:db8::1", option, text);
}

static int check_listen(const struct check *k)
{
    char host[ADDR_HOST_MAX + 1], reason[400];
    uint16_t port;
    int rc = check_hostport(k, "listen", k->c->g.listen);
    if (rc == 0 && addr_parse_hostport(k->c->g.listen, ADDR_PORT_DEFAULT, host, &port, reason, sizeof(reason)) == 0)
        rc = check_numeric(k, "listen", host);
    return rc;
}

static int check_addresses(const struct check *k)
{
    const struct { const char *option, *text; } rows[] = {
        { "advertise", k->c->g.advertise }, { "link_address", k->c->g.link_address },
        { "ucx.listen", k->c->ucx.listen }, { "ucx.advertise", k->c->ucx.advertise },
        { "rdma.listen", k->c->rdma.listen }, { "rdma.advertise", k->c->rdma.advertise },
        { "scistream.data_address", k->c->scistream.data_address }, { "scistream.data_advertise", k->c->scistream.data_advertise },
    };
    int rc = check_listen(k);
    for (size_t i = 0; i < ARRAY_LEN(rows) && rc == 0; i++)
        rc = check_numeric(k, rows[i].option, rows[i].text);
    return rc;
}

/* "0" is any free port, where that is allowed; a range has one port for each worker at least, when `each`. */
static int check_ports(const struct check *k, const char *option, const char *text, bool each)
{
    uint16_t first, last;
    bool link = str_eq(option, "link_ports");
    if (!link && str_eq(text, "0"))
        return 0;
    if (addr_parse_ports(text, &first, &last) < 0)
        return refuse(k, "%s = %s: must be a port or a range like 5010-5041%s", option, text, link ? "" : ", or 0 for any");
    if (each && k->c->g.workers > last - first + 1)
        return refuse(k, "%s = %s: %d port%s for workers = %lld, one each is needed", option, text, last - first + 1,
                      first == last ? "" : "s", (long long)k->c->g.workers);
    return 0;
}

static int check_certificate(const struct check *k)
{
    bool certificate = *k->c->g.certificate, key = *k->c->g.key;
    if (certificate == key)
        return 0;
    return refuse(k, "%s is set and %s is not: both are needed", certificate ? "certificate" : "key",
                  certificate ? "key" : "certificate");
}

static int check_control_socket(const struct check *k)
{
    const char *path = k->c->g.control_socket;
    if (!*path || *path == '/')
        return 0;
    return refuse(k, "control_socket = %s: must be an absolute path", path); /* scistreamctl looks for it from anywhere */
}

/* A name would be looked up, and the answer may change: where it is bound is said by number. */
static int check_bound(const struct check *k, const char *option, const char *text, uint16_t like)
{
    char host[ADDR_HOST_MAX + 1], reason[400];
    uint16_t port;
    union sockaddr_any at;
    if (!*text)
        return 0;
    if (addr_parse_hostport(text, 0, host, &port, reason, sizeof(reason)) < 0)
        return refuse(k, "%s: %s", option, reason);
    if (addr_numeric(host, port, &at) < 0)
        return refuse(k, "%s = %s: must be a numeric address and a port, like 127.0.0.1:%u or [::]:%u, or \"\" for none", option, text, like, like);
    return 0;
}

/* What has no default that suits everybody has to be said by who enables it. */
static int check_scistream(const struct check *k)
{
    const struct conf_scistream *s = &k->c->scistream;
    uint16_t first, last;
    if (addr_parse_ports(s->data_ports, &first, &last) < 0)
        return refuse(k, "scistream.data_ports = %s: must be a port or a range like 5100-5200", s->data_ports);
    int rc = check_bound(k, "scistream.plaintext_listen", s->plaintext_listen, 5001);
    if (rc < 0 || !s->enable)
        return rc;
    if (s->auth == CONF_AUTH_UNSET)
        return refuse(k, "scistream.auth is not set: say who may arrange sessions: auth = policy goes by the sections auth and policy, auth = none lets anybody who "
                         "reaches the endpoint, to any target");
    return 0;
}

static int check_records(const struct check *k)
{
    const char *where = k->c->g.records;
    if (!*where || *where == '/' || str_eq(where, "log"))
        return 0;
    return refuse(k, "records = %s: must be an absolute path, log, or \"\" for none", where);
}

int conf_check_ucx(const struct conf *c, char *why, size_t why_size)
{
    const struct check k = { .c = c, .why = why, .size = why_size };
    for (char *const *d = c->ucx.devices; *d; d++)
        if (strcasecmp(*d, "all") == 0) /* UCX's own word for it */
            return refuse(&k, "ucx.devices = %s: name the devices: all would also open ports on networks you did not mean", *d);
    return 0;
}

static int check_global(const struct check *k)
{
    int rc = check_addresses(k);
    if (rc == 0)
        rc = check_control_socket(k);
    if (rc == 0)
        rc = check_bound(k, "metrics", k->c->g.metrics, 9500);
    if (rc == 0)
        rc = check_scistream(k);
    if (rc == 0)
        rc = check_records(k);
    if (rc == 0)
        rc = conf_check_ucx(k->c, k->why, k->size);
    if (rc == 0)
        rc = check_ports(k, "link_ports", k->c->g.link_ports, true);
    if (rc == 0)
        rc = check_ports(k, "ucx.ports", k->c->ucx.ports, true);
    if (rc == 0)
        rc = check_ports(k, "ucx.port_range", k->c->ucx.port_range, false);
    if (rc == 0)
        rc = check_ports(k, "rdma.ports", k->c->rdma.ports, true);
    return rc == 0 ? check_certificate(k) : rc;
}

/* ------------------------------------------------------------ one route */

static bool list_has(char *const *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], name))
            return true;
    return false;
}

static int check_transport(const struct check *k, const char *option, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(transports); i++) {
        if (!str_eq(transports[i], name))
            continue;
        if (str_eq(name, "ucx") && !k->c->ucx.devices[0])
            return refuse(k, "%s has ucx, but no device is given to it: add devices = {\"ib0\"} (or another name) to section ucx",
                          option);
        if (str_eq(name, "verbs") && !*k->c->rdma.listen && !str_eq(option, "connect_transports"))
            return refuse(k, "%s has verbs, but no address is given to it: add listen = ADDRESS of an RDMA device to section rdma", option);
        return 0;
    }
    return refuse(k, "%s = %s: no such transport, there are " TRANSPORTS, option, name);
}

/* A place where TCP peers connect: "tcp://192.0.2.1:7000", "tcp://[::]:7000". */
static int check_door(const struct check *k, const char *option, const char *text)
{
    char reason[400];
    struct addr at;
    union sockaddr_any numeric;
    if (!str_eq(option, "accept"))
        return refuse(k, "%s = %s: only accept has places for TCP peers; a TCP peer that is connected to is connect = \"%s\"", option, text, text);
    if (addr_parse(text, &at, reason, sizeof(reason)) < 0)
        return refuse(k, "%s: %s", option, reason);
    if (addr_numeric(at.host, at.port, &numeric) < 0)
        return refuse(k, "%s = %s: must have a numeric address of this machine, like tcp://0.0.0.0:%u", option, text, at.port);
    return 0;
}

static int check_transports(const struct check *k, const char *option, char *const *list)
{
    int rc = 0;
    if (!list[0])
        return refuse(k, "%s is empty: name at least one of " TRANSPORTS, option);
    for (size_t i = 0; list[i] && rc == 0; i++) {
        rc = str_starts(list[i], CONF_TCP) ? check_door(k, option, list[i]) : check_transport(k, option, list[i]);
        if (rc == 0 && list_has(list, i, list[i]))
            rc = refuse(k, "%s has %s twice", option, list[i]);
    }
    return rc;
}

static int check_pins(const struct check *k)
{
    uint8_t pin[32];
    size_t n = 0;
    for (char *const *p = k->route->connect_pin; *p; p++, n++)
        if (!str_starts(*p, PIN_HEAD) || !secret_unhex(pin, sizeof(pin), *p + strlen(PIN_HEAD)))
            return refuse(k, "connect_pin = %s: must be " PIN_HEAD " and 64 hex digits", *p);
    return n > PINS_MAX ? refuse(k, "connect_pin: %zu pins, at most %d are allowed (two for a renewal)", n, PINS_MAX) : 0;
}

static int check_connect(const struct check *k)
{
    char reason[400];
    struct addr to;
    if (addr_parse(k->route->connect, &to, reason, sizeof(reason)) < 0)
        return refuse(k, "connect: %s", reason);
    if (to.kind == ADDR_TCP)
        return 0;
    if (to.kind != ADDR_GATEWAY)
        return refuse(k, "connect = %s: must be gateway://HOST[:PORT]/ROUTE or tcp://HOST:PORT", k->route->connect);
    int rc = check_transports(k, "connect_transports", k->route->connect_transports);
    return rc == 0 ? check_pins(k) : rc;
}

static bool has_door(const struct conf_route *r)
{
    for (char *const *t = r->accept; *t; t++)
        if (str_starts(*t, CONF_TCP))
            return true;
    return false;
}

bool conf_route_attaches(const struct conf_route *r)
{
    for (char *const *t = r->accept; *t; t++)
        if (!str_starts(*t, CONF_TCP))
            return true;
    return r->deliver[0] || (*r->connect && !str_starts(r->connect, CONF_TCP));
}

bool conf_route_has_tcp(const struct conf_route *r) { return has_door(r) || str_starts(r->connect, CONF_TCP); }

static bool links_alone(char *const *words)
{
    for (; *words; words++)
        if (!str_eq(*words, "link") && !str_starts(*words, CONF_TCP))
            return false;
    return true;
}

/* Many connections come to a place for TCP peers; but memory is locked for every channel of an RDMA transport, so there many have to be asked for. */
uint32_t conf_route_channels(const struct conf_route *r)
{
    if (r->channels)
        return (uint32_t)(has_door(r) ? MIN(r->channels, r->connections) : r->channels);
    return conf_route_has_tcp(r) && links_alone(r->accept) && links_alone(r->deliver) && links_alone(r->connect_transports) ? (uint32_t)r->connections : 1;
}

/* Which options of a route speak of a side that it does not have. */
static int check_tcp(const struct check *k)
{
    const struct conf_route *r = k->route;
    bool out = str_starts(r->connect, CONF_TCP);
    int rc = check_numeric(k, "source_address", r->source_address);
    if (rc == 0 && r->proxy_protocol && !out)
        rc = refuse(k, "proxy_protocol is for routes with connect = \"tcp://HOST:PORT\"");
    if (rc == 0 && r->dial && (out || !*r->connect))
        rc = refuse(k, "dial = recv is for routes with connect = \"gateway://HOST/ROUTE\"");
    return rc;
}

static int check_class(const struct check *k);

static int check_route(const struct check *k)
{
    const struct conf_route *r = k->route;
    bool connects = *r->connect, delivers = r->deliver[0];
    if (!addr_route_ok(r->name))
        return refuse(k, "a route name has 1 to %d letters, digits, '.', '_', '-' and begins with a letter or digit",
                      ADDR_ROUTE_MAX);
    if (connects && delivers && !r->dial)
        return refuse(k, "connect and deliver exclude each other: a route ends here or goes on (with dial = recv it comes from there)");
    if (r->dial && !delivers && !has_door(r))
        return refuse(k, "dial = recv brings a stream from the next gateway: name by deliver how receivers attach here");
    if (!connects && !delivers)
        return refuse(k, "add connect = \"gateway://HOST/ROUTE\" or \"tcp://HOST:PORT\" (it goes on) or deliver = {\"ucx\"} (it ends here)");
    if (!*r->secret_file && conf_route_attaches(r))
        return refuse(k, "secret_file is missing: who may attach is known by a shared secret");
    int rc = check_transports(k, "accept", r->accept);
    if (rc == 0 && connects)
        rc = check_connect(k);
    if (rc == 0 && delivers)
        rc = check_transports(k, "deliver", r->deliver);
    if (rc == 0)
        rc = check_tcp(k);
    return rc == 0 ? check_class(k) : rc;
}

/* A connection comes to one route: two cannot have the same place for TCP peers. */
static int check_doors(struct check *k)
{
    const struct conf *c = k->c;
    for (size_t i = 0; i < c->n_routes; i++)
        for (char *const *t = c->routes[i]->accept; *t; t++)
            for (size_t other = 0; other < i && str_starts(*t, CONF_TCP); other++) {
                k->route = c->routes[i];
                if (strv_has(c->routes[other]->accept, *t))
                    return refuse(k, "accept has %s, and so has route \"%s\": each needs a port of its own", *t, c->routes[other]->name);
            }
    return 0;
}

/* ------------------------------------------------------------ capacity */

const char *conf_segment_name(enum segment s) { return s == SEGMENT_WAN ? "wan" : "rdma"; }
uint64_t conf_capacity(const struct conf *c, enum segment s) { return s == SEGMENT_WAN ? c->capacity.wan : c->capacity.rdma; }

uint64_t conf_reservable(const struct conf *c, enum segment s)
{
    return conf_capacity(c, s) / 100 * (100 - (uint64_t)c->capacity.best_effort_percent);
}

static unsigned segments_of(char *const *words)
{
    unsigned bits = 0;
    for (; *words; words++)
        bits |= 1U << (str_eq(*words, "link") || str_starts(*words, CONF_TCP) ? SEGMENT_WAN : SEGMENT_RDMA);
    return bits;
}

unsigned conf_route_segments(const struct conf_route *r)
{
    unsigned next = str_starts(r->connect, CONF_TCP) ? 1U << SEGMENT_WAN : *r->connect ? segments_of(r->connect_transports) : 0;
    return segments_of(r->accept) | segments_of(r->deliver) | next;
}

uint32_t conf_route_promised(const struct conf_route *r) { return r->channels ? conf_route_channels(r) : 1; }

static int check_class(const struct check *k)
{
    const struct conf_route *r = k->route;
    bool provisioned = r->class == CONF_PROVISIONED;
    if (!provisioned && r->rate)
        return refuse(k, "rate is for routes with class = provisioned");
    if (provisioned && !r->rate)
        return refuse(k, "class = provisioned needs a rate, like 2Gbit");
    for (enum segment s = 0; s < SEGMENTS; s++)
        if (provisioned && conf_route_segments(r) & 1U << s && !conf_capacity(k->c, s))
            return refuse(k, "class = provisioned: nothing can be reserved of the %s segment, which it uses, while capacity.%s is not set", conf_segment_name(s),
                          conf_segment_name(s));
    return 0;
}

/* A number without its unit, 10 for 10Gbit, would bring all to a stop. */
static int check_capacity(const struct check *k)
{
    char text[UNITS_TEXT];
    for (enum segment s = 0; s < SEGMENTS; s++)
        if (conf_capacity(k->c, s) && conf_capacity(k->c, s) < CAPACITY_MIN)
            return refuse(k, "capacity.%s = %s is less than 1Mbit: write the unit, like 10Gbit", conf_segment_name(s), units_rate(text, conf_capacity(k->c, s)));
    return 0;
}

/* Routes have theirs from the start on, so together they must fit. */
static int check_reserved(struct check *k)
{
    char sum[UNITS_TEXT], most[UNITS_TEXT];
    uint64_t reserved[SEGMENTS] = { 0 };
    for (size_t i = 0; i < k->c->n_routes; i++)
        for (enum segment s = 0; s < SEGMENTS; s++) {
            k->route = k->c->routes[i];
            reserved[s] += conf_route_segments(k->route) & 1U << s ? k->route->rate : 0;
            if (k->route->rate && reserved[s] > conf_reservable(k->c, s))
                return refuse(k, "rate: with it the routes of class provisioned reserve %s of the %s segment, and %s of it can be: raise capacity.%s, or lower "
                              "rates or capacity.best_effort_percent", units_rate(sum, reserved[s]), conf_segment_name(s),
                              units_rate(most, conf_reservable(k->c, s)), conf_segment_name(s));
        }
    return 0;
}

/* ------------------------------------------------------------ who may do what */

bool conf_auth_asks(const struct conf_auth *a) { return *a->client_ca || *a->token_file || *a->introspection_url; }

/* Tokens and credentials go there: never in the clear. */
static int check_auth(const struct check *k)
{
    const struct conf_auth *a = &k->c->auth;
    if (*a->client_crl && !*a->client_ca)
        return refuse(k, "auth.client_crl = %s without auth.client_ca: name the CAs whose certificates it revokes", a->client_crl);
    if (*a->introspection_url && !str_starts(a->introspection_url, "https://"))
        return refuse(k, "auth.introspection_url = %s: must begin with https://", a->introspection_url);
    if (*a->introspection_url && !*a->introspection_credentials_file)
        return refuse(k, "auth.introspection_credentials_file is missing: %s is asked with a client's credentials", a->introspection_url);
    if (*a->introspection_url && !*a->principal_field)
        return refuse(k, "auth.principal_field is empty: name the field of the answer that says who it is, like username");
    return 0;
}

/* Each of them one of those, and there is one at least. */
static int check_words(const struct check *k, const char *option, char *const *list, const char *const *words, const char *all)
{
    if (!list[0])
        return refuse(k, "%s is empty: name at least one of %s", option, all);
    for (; *list; list++) {
        const char *const *w = words;
        while (*w && !str_eq(*w, *list))
            w++;
        if (!*w)
            return refuse(k, "%s = %s: must be one of %s", option, *list, all);
    }
    return 0;
}

static int check_policy(const struct check *k)
{
    static const char *const roles[] = { CONF_ROLES, NULL }, *const classes[] = { CONF_CLASSES, NULL };
    const struct conf_policy *p = k->policy;
    struct addr_net net;
    char reason[400];
    if (!p->principals[0])
        return refuse(k, "principals is empty: name who it is for, like {\"*@example.org\"}");
    int rc = check_words(k, "roles", p->roles, roles, "PROD, CONS, SEND, RECV, ADMIN");
    if (rc == 0)
        rc = check_words(k, "classes", p->classes, classes, "best_effort, provisioned");
    for (char *const *t = p->targets; *t && rc == 0; t++)
        if (addr_net_parse(*t, &net, reason, sizeof(reason)) < 0)
            rc = refuse(k, "targets: %s", reason);
    return rc;
}

static int check_policies(struct check *k)
{
    int rc = 0;
    k->route = NULL;
    for (size_t i = 0; i < k->c->n_policies && rc == 0; i++) {
        k->policy = k->c->policies[i];
        rc = check_policy(k);
    }
    return rc;
}

int conf_check(const struct conf *c, char *why, size_t why_size)
{
    struct check k = { .c = c, .why = why, .size = why_size };
    int rc = check_global(&k);
    if (rc == 0)
        rc = check_auth(&k);
    if (rc == 0)
        rc = check_capacity(&k);
    for (size_t i = 0; i < c->n_routes && rc == 0; i++) {
        k.route = c->routes[i];
        rc = check_route(&k);
    }
    if (rc == 0)
        rc = check_doors(&k);
    if (rc == 0)
        rc = check_reserved(&k);
    return rc == 0 ? check_policies(&k) : rc;
}
