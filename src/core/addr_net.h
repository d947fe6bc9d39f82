/* Networks with ports, as a policy names them: where streams may go. */
#ifndef SRC_CORE_ADDR_NET_H
#define SRC_CORE_ADDR_NET_H

#include "src/core/addr.h"

struct addr_net {
    int family;                  /* AF_INET, AF_INET6; AF_UNSPEC: any address */
    uint8_t bytes[16];
    unsigned bits;
    uint16_t first, last;        /* ports, both of them too */
};

/* "10.0.0.0/8:5000-6000", "[2001:db8::]/32:*", "192.0.2.7:22", "*:443". 0, or -EINVAL and why, a sentence that quotes what is wrong. */
int addr_net_parse(const char *text, struct addr_net *out, char *why, size_t why_size);
/* Does the network hold that address and port? An IPv4 address mapped into IPv6 is one of IPv4. An unspecified address (0.0.0.0, ::), which the
 * kernel takes for this machine, is in no network. */
bool addr_net_has(const struct addr_net *net, const union sockaddr_any *a);

#endif
