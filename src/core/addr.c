#include "src/core/addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/un.h>

#include "src/core/reason.h"

#define PATH_TEXT_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

#define refuse(why, ...) reason_set(why, -EINVAL, __VA_ARGS__)

/* ------------------------------------------------------------ hosts and ports */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Decimal digits only, 1..65535; *end is what follows. */
static bool read_port(const char *s, const char **end, uint16_t *port)
{
    unsigned v = 0;
    const char *p = s;
    for (; *p >= '0' && *p <= '9' && v <= UINT16_MAX; p++)
        v = 10 * v + (unsigned)(*p - '0');
    if (p == s || v == 0 || v > UINT16_MAX)
        return false;
    *port = (uint16_t)v;
    *end = p;
    return true;
}

int addr_parse_ports(const char *text, uint16_t *first, uint16_t *last)
{
    uint16_t a, b;
    const char *p;
    if (!read_port(text, &p, &a))
        return -EINVAL;
    b = a;
    if (*p == '-' && !read_port(p + 1, &p, &b))
        return -EINVAL;
    if (*p || b < a)
        return -EINVAL;
    *first = a;
    *last = b;
    return 0;
}

bool addr_ports_try(const char *text, unsigned index, unsigned n, uint16_t *port)
{
    uint16_t first = 0, last = 0;
    if (addr_parse_ports(text, &first, &last) < 0 || first == 0)
        *port = 0;
    else
        *port = (uint16_t)(first + (index + n) % (last - first + 1U));
    return n <= (unsigned)(last - first);
}

/* Letters, digits, '_' and '-' in labels joined by single dots (one may end the name). */
static bool name_ok(const char *host)
{
    for (const char *p = host; *p; p++) {
        bool label_start = p == host || p[-1] == '.';
        if (!is_alnum(*p) && *p != '_' && (label_start || (*p != '-' && *p != '.')))
            return false;
    }
    return *host != 0;
}

static int parse_scope(const char *scope, uint32_t *id)
{
    char *end;
    unsigned long v = strtoul(scope, &end, 10);
    bool digits = isdigit((unsigned char)*scope) && *end == 0 && v <= UINT32_MAX;
    *id = digits ? (uint32_t)v : if_nametoindex(scope);
    return *id ? 0 : -EINVAL;
}

static int numeric_v6(const char *host, struct sockaddr_in6 *out)
{
    char bare[INET6_ADDRSTRLEN];
    const char *scope = strchr(host, '%');
    size_t n = scope ? (size_t)(scope - host) : strlen(host);
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
    if (n >= sizeof(bare))
        return -EINVAL;
    memcpy(bare, host, n);
    bare[n] = 0;
    if (inet_pton(AF_INET6, bare, &in6.sin6_addr) != 1)
        return -EINVAL;
    if (scope && parse_scope(scope + 1, &in6.sin6_scope_id) < 0)
        return -EINVAL;
    *out = in6;
    return 0;
}

int addr_numeric(const char *host, uint16_t port, union sockaddr_any *out)
{
    union sockaddr_any a = { .ss = { 0 } };
    if (inet_pton(AF_INET, host, &a.in.sin_addr) == 1) {
        a.in.sin_family = AF_INET;
        a.in.sin_port = htons(port);
    } else if (numeric_v6(*host ? host : "::", &a.in6) == 0) {
        a.in6.sin6_port = htons(port);
    } else {
        return -EINVAL;
    }
    *out = a;
    return 0;
}

/* The part in front of the port, into host; *rest is what follows it: ":port" or nothing. */
static int split_host(const char *text, char host[ADDR_HOST_MAX + 1], const char **rest, const struct reason *why)
{
    bool bracket = *text == '[';
    const char *start = text + bracket, *end = bracket ? strchr(start, ']') : start + strcspn(start, ":");
    struct sockaddr_in6 v6;
    if (!end)
        return refuse(why, "'%.100s': ']' is missing", text);
    size_t n = (size_t)(end - start);
    if (n > ADDR_HOST_MAX)
        return refuse(why, "'%.100s': the host is longer than %d characters", text, ADDR_HOST_MAX);
    memcpy(host, start, n);
    host[n] = 0;
    if (bracket && numeric_v6(host, &v6) < 0)
        return refuse(why, "'%.100s': '%.100s' is not an IPv6 address", text, host);
    if (!bracket && *end && strchr(end + 1, ':'))
        return refuse(why, "'%.100s': write an IPv6 address in brackets, like [::1]:5000", text);
    if (!bracket && n > 0 && !name_ok(host))
        return refuse(why, "'%.100s': '%.100s' is neither a host name nor an address", text, host);
    *rest = end + bracket;
    return 0;
}

static int parse_hostport(const char *text, uint16_t port_default, struct addr *out, const struct reason *why)
{
    char host[ADDR_HOST_MAX + 1];
    const char *rest = text, *end;
    uint16_t port = port_default;
    int rc = split_host(text, host, &rest, why);
    if (rc < 0)
        return rc;
    if (!*rest && (port_default == 0 || rest == text))
        return refuse(why, "'%.100s': a port is missing, write %.100s:PORT", text, rest == text ? "HOST" : text);
    if (*rest && (*rest != ':' || !read_port(rest + 1, &end, &port) || *end))
        return refuse(why, "'%.100s': the port must be 1 to 65535", text);
    memcpy(out->host, host, sizeof(host));
    out->port = port;
    return 0;
}

int addr_parse_hostport(const char *text, uint16_t port_default, char host[ADDR_HOST_MAX + 1], uint16_t *port, char *why,
                        size_t why_size)
{
    struct addr a = { .port = 0 };
    int rc = parse_hostport(text, port_default, &a, &(struct reason){ why, why_size });
    if (rc < 0)
        return rc;
    memcpy(host, a.host, sizeof(a.host));
    *port = a.port;
    return 0;
}

bool addr_route_ok(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > ADDR_ROUTE_MAX || !is_alnum(*name))
        return false;
    for (const char *p = name; *p; p++)
        if (!is_alnum(*p) && !strchr("._-", *p))
            return false;
    return true;
}

/* ------------------------------------------------------------ what users type */

static int parse_gateway(const char *text, struct addr *out, const struct reason *why)
{
    char hostport[ADDR_HOST_MAX + 16];
    const char *slash = strchr(text, '/');
    if (!slash)
        return refuse(why, "'gateway://%.100s': a route is missing, write gateway://HOST[:PORT]/ROUTE", text);
    if (!addr_route_ok(slash + 1))
        return refuse(why, "'%.100s': a route name has 1 to %d letters, digits, '.', '_', '-' and begins with a letter or digit",
                      slash + 1, ADDR_ROUTE_MAX);
    size_t n = (size_t)(slash - text);
    if (n >= sizeof(hostport))
        return refuse(why, "'%.100s': the host is longer than %d characters", text, ADDR_HOST_MAX);
    memcpy(hostport, text, n);
    hostport[n] = 0;
    int rc = parse_hostport(hostport, ADDR_PORT_DEFAULT, out, why);
    if (rc < 0)
        return rc;
    if (!*out->host)
        return refuse(why, "'gateway://%.100s': a host is missing", text);
    str_copy(out->route, sizeof(out->route), slash + 1);
    return 0;
}

static int parse_direct(const char *text, struct addr *out, const struct reason *why)
{
    return parse_hostport(text, 0, out, why);
}

static int parse_unix(const char *text, struct addr *out, const struct reason *why)
{
    if (!*text)
        return refuse(why, "'unix:': a path is missing");
    if (strlen(text) > PATH_TEXT_MAX)
        return refuse(why, "'unix:%.100s': the path is longer than %zu bytes", text, PATH_TEXT_MAX);
    out->path = text;
    return 0;
}

static int parse_file(const char *text, struct addr *out, const struct reason *why)
{
    if (!*text)
        return refuse(why, "'file:': a path is missing");
    out->path = text;
    return 0;
}

static const struct scheme {
    const char *head;
    enum addr_kind kind;
    int (*parse)(const char *text, struct addr *out, const struct reason *why);
} schemes[] = {
    { "gateway://", ADDR_GATEWAY, parse_gateway }, { "direct://", ADDR_DIRECT, parse_direct }, { "tcp://", ADDR_TCP, parse_direct },
    { "unix:", ADDR_UNIX, parse_unix },            { "file:", ADDR_FILE, parse_file },
};

static int parse_plain(const char *text, struct addr *out, const struct reason *why)
{
    const char *colon = strstr(text, "://");
    if (!*text)
        return refuse(why, "'': an address is missing");
    if (colon)
        return refuse(why, "'%.*s://' is not known: use gateway://, direct://, tcp://, unix: or file:", (int)MIN(colon - text, 64),
                      text);
    out->kind = str_eq(text, "-") ? ADDR_STDIO : ADDR_FILE;
    out->path = out->kind == ADDR_FILE ? text : NULL;
    return 0;
}

int addr_parse(const char *text, struct addr *out, char *why, size_t why_size)
{
    struct reason reason = { why, why_size };
    struct addr a = { .port = 0 };
    const struct scheme *s = schemes, *end = schemes + ARRAY_LEN(schemes);
    while (s < end && !str_starts(text, s->head))
        s++;
    if (s < end)
        a.kind = s->kind;
    int rc = s < end ? s->parse(text + strlen(s->head), &a, &reason) : parse_plain(text, &a, &reason);
    if (rc == 0)
        *out = a;
    return rc;
}

/* ------------------------------------------------------------ as text */

socklen_t addr_len(const union sockaddr_any *a)
{
    switch (a->sa.sa_family) {
    case AF_INET:
        return sizeof(a->in);
    case AF_INET6:
        return sizeof(a->in6);
    default:
        return sizeof(a->ss);
    }
}

uint16_t addr_port(const union sockaddr_any *a)
{
    if (a->sa.sa_family == AF_INET)
        return ntohs(a->in.sin_port);
    return a->sa.sa_family == AF_INET6 ? ntohs(a->in6.sin6_port) : 0;
}

void addr_set_port(union sockaddr_any *a, uint16_t port)
{
    if (a->sa.sa_family == AF_INET6)
        a->in6.sin6_port = htons(port);
    else
        a->in.sin_port = htons(port);
}

static const char *format_v6(const struct sockaddr_in6 *in6, char out[ADDR_TEXT])
{
    char scope[IF_NAMESIZE];
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        return inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], out, ADDR_TEXT);
    inet_ntop(AF_INET6, &in6->sin6_addr, out, ADDR_TEXT);
    if (in6->sin6_scope_id == 0)
        return out;
    size_t n = strlen(out);
    if (if_indextoname(in6->sin6_scope_id, scope))
        snprintf(out + n, ADDR_TEXT - n, "%%%s", scope);
    else
        snprintf(out + n, ADDR_TEXT - n, "%%%u", in6->sin6_scope_id);
    return out;
}

const char *addr_format_host(const union sockaddr_any *a, char out[ADDR_TEXT])
{
    switch (a->sa.sa_family) {
    case AF_INET:
        return inet_ntop(AF_INET, &a->in.sin_addr, out, ADDR_TEXT);
    case AF_INET6:
        return format_v6(&a->in6, out);
    case AF_UNIX:
        return strcpy(out, "unix:");
    default:
        return strcpy(out, "?");
    }
}

const char *addr_format(const union sockaddr_any *a, char out[ADDR_TEXT])
{
    char host[ADDR_TEXT];
    addr_format_host(a, host);
    if (a->sa.sa_family != AF_INET && a->sa.sa_family != AF_INET6)
        str_copy(out, ADDR_TEXT, host);
    else
        snprintf(out, ADDR_TEXT, strchr(host, ':') ? "[%.100s]:%u" : "%.100s:%u", host, addr_port(a));
    return out;
}
