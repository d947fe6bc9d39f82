#include "tcp/proxy.h"

#define VERSION_LOCAL 0x20
#define VERSION_PROXY 0x21
#define TCP4 0x11
#define TCP6 0x21

static const uint8_t signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

/* As v4, if it is one or wears the prefix of one. */
static bool as_v4(const union sockaddr_any *a, uint8_t ip[4])
{
    bool mapped = a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
    if (a->sa.sa_family != AF_INET && !mapped)
        return false;
    memcpy(ip, mapped ? &a->in6.sin6_addr.s6_addr[12] : (const uint8_t *)&a->in.sin_addr, 4);
    return true;
}

static size_t put_ports(const union sockaddr_any *from, const union sockaddr_any *to, uint8_t *out)
{
    const uint16_t ports[] = { addr_port(from), addr_port(to) };
    for (int i = 0; i < 2; i++) {
        out[2 * i] = (uint8_t)(ports[i] >> 8);
        out[2 * i + 1] = (uint8_t)ports[i];
    }
    return 4;
}

size_t proxy_header(const union sockaddr_any *from, const union sockaddr_any *to, uint8_t out[PROXY_MAX])
{
    uint8_t *body = out + 16;
    size_t n = 0;
    memcpy(out, signature, sizeof(signature));
    out[12] = from ? VERSION_PROXY : VERSION_LOCAL;
    out[13] = 0;
    if (!from) {
        n = 0;
    } else if (as_v4(from, body) && as_v4(to, body + 4)) {
        out[13] = TCP4;
        n = 8 + put_ports(from, to, body + 8);
    } else if (from->sa.sa_family == AF_INET6 && to->sa.sa_family == AF_INET6) {
        out[13] = TCP6;
        memcpy(body, &from->in6.sin6_addr, 16);
        memcpy(body + 16, &to->in6.sin6_addr, 16);
        n = 32 + put_ports(from, to, body + 32);
    }
    out[14] = 0;
    out[15] = (uint8_t)n;
    return 16 + n;
}
