#include "src/core/addr_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define BITS(family) ((family) == AF_INET ? 32U : 128U)

struct reason { const char *text; char *why; size_t size; };

static int refuse(const struct reason *r, const char *fmt, ...) PRINTF(2, 3);
static int refuse(const struct reason *r, const char *fmt, ...)
{
    char what[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    if (r->size)
        snprintf(r->why, r->size, "'%.100s': %s", r->text, what);
    return -EINVAL;
}

/* ------------------------------------------------------------ text */

/* The host in front of "/BITS:PORTS" or ":PORTS"; *rest is what follows it. */
static int split_host(const char *text, char *host, size_t size, const char **rest, const struct reason *r)
{
    bool bracket = *text == '[';
    const char *start = text + bracket, *end = bracket ? strchr(start, ']') : start + strcspn(start, "/:");
    if (!end || (size_t)(end - start) >= size)
        return refuse(r, bracket ? "']' is missing" : "no numeric address");
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = 0;
    *rest = end + bracket;
    if (bracket != (strchr(host, ':') != NULL))
        return refuse(r, "an IPv6 address stands in brackets, like [2001:db8::]/32:*, and no other");
    return 0;
}

static int take_address(struct addr_net *n, const char *host, const struct reason *r)
{
    if (str_eq(host, "*"))
        n->family = AF_UNSPEC;
    else if (inet_pton(AF_INET, host, n->bytes) == 1)
        n->family = AF_INET;
    else if (inet_pton(AF_INET6, host, n->bytes) == 1)
        n->family = AF_INET6;
    else
        return refuse(r, "'%.60s' is no numeric address: names are looked up, and the answer may change", host);
    n->bits = n->family == AF_UNSPEC ? 0 : BITS(n->family);
    return 0;
}

/* A number of digits alone, at most max; *end is behind it. */
static bool read_number(const char *p, unsigned long max, const char **end, unsigned *out)
{
    unsigned long v = 0;
    const char *start = p;
    for (; *p >= '0' && *p <= '9' && v <= max; p++)
        v = 10 * v + (unsigned long)(*p - '0');
    *end = p;
    *out = (unsigned)v;
    return p > start && v <= max;
}

static bool has_stray_bits(const struct addr_net *n)
{
    for (unsigned i = n->bits; i < BITS(n->family); i++)
        if (n->bytes[i / 8] & (0x80U >> (i % 8)))
            return true;
    return false;
}

static int take_bits(struct addr_net *n, const char **p, const struct reason *r)
{
    if (**p != '/')
        return 0;
    if (n->family == AF_UNSPEC)
        return refuse(r, "* has no bits: it is any address");
    if (!read_number(*p + 1, BITS(n->family), p, &n->bits))
        return refuse(r, "the bits of the network must be 0 to %u", BITS(n->family));
    if (has_stray_bits(n))
        return refuse(r, "the address has bits set behind the first %u", n->bits);
    return 0;
}

static int take_ports(struct addr_net *n, const char *p, const struct reason *r)
{
    n->first = 1;
    n->last = 65535;
    if (*p == ':' && (str_eq(p + 1, "*") || addr_parse_ports(p + 1, &n->first, &n->last) == 0))
        return 0;
    return refuse(r, *p ? "the ports must be like :22, :5000-6000 or :*" : "ports are missing: add :22, :5000-6000 or :*");
}

int addr_net_parse(const char *text, struct addr_net *out, char *why, size_t why_size)
{
    const struct reason r = { text, why, why_size };
    struct addr_net n = { .family = AF_UNSPEC };
    char host[INET6_ADDRSTRLEN];
    const char *rest = text;
    int rc = split_host(text, host, sizeof(host), &rest, &r);
    if (rc == 0)
        rc = take_address(&n, host, &r);
    if (rc == 0)
        rc = take_bits(&n, &rest, &r);
    if (rc == 0)
        rc = take_ports(&n, rest, &r);
    if (rc == 0)
        *out = n;
    return rc;
}

/* ------------------------------------------------------------ addresses */

/* The bytes of an address, an IPv4 one that is mapped being of IPv4; its family. */
static int bytes_of(const union sockaddr_any *a, const uint8_t **bytes)
{
    if (a->sa.sa_family == AF_INET) {
        *bytes = (const uint8_t *)&a->in.sin_addr;
        return AF_INET;
    }
    if (a->sa.sa_family != AF_INET6)
        return AF_UNSPEC;
    bool mapped = IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
    *bytes = a->in6.sin6_addr.s6_addr + (mapped ? 12 : 0);
    return mapped ? AF_INET : AF_INET6;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool addr_net_has(const struct addr_net *net, const union sockaddr_any *a)
{
    static const uint8_t unspecified[16];
    const uint8_t *bytes;
    uint16_t port = addr_port(a);
    int family = bytes_of(a, &bytes);
    if (family == AF_UNSPEC || same_bits(bytes, unspecified, BITS(family)) || port < net->first || port > net->last)
        return false;
    return net->family == AF_UNSPEC || (net->family == family && same_bits(bytes, net->bytes, net->bits));
}
