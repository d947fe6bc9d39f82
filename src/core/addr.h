/* Addresses as users type them, and socket addresses as text. */
#ifndef SRC_CORE_ADDR_H
#define SRC_CORE_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "src/core/util.h"

enum addr_kind {
    ADDR_GATEWAY, /* gateway://host[:port]/route */
    ADDR_DIRECT,  /* direct://host:port */
    ADDR_TCP,     /* tcp://host:port */
    ADDR_UNIX,    /* unix:path */
    ADDR_FILE,    /* file:path, or any other text without "://" */
    ADDR_STDIO,   /* - */
};

#define ADDR_PORT_DEFAULT 5000
#define ADDR_HOST_MAX 253  /* RFC 1035 name */
#define ADDR_ROUTE_MAX 64
#define ADDR_TEXT 320

struct addr {
    enum addr_kind kind;
    char host[ADDR_HOST_MAX + 1];   /* without brackets */
    uint16_t port;
    char route[ADDR_ROUTE_MAX + 1]; /* gateway only */
    const char *path;               /* unix, file: points into the text parsed */
};

/* Parse any of the forms above. 0, or -EINVAL with why set to a sentence that quotes what is wrong. */
int addr_parse(const char *text, struct addr *out, char *why, size_t why_size);
/* "host:port", "[v6]:port", ":port" (any) or, when port_default is not 0, "host". Same returns. */
int addr_parse_hostport(const char *text, uint16_t port_default, char host[ADDR_HOST_MAX + 1], uint16_t *port, char *why,
                        size_t why_size);
/* "5010" or "5010-5041": 1 <= first <= last <= 65535. 0 or -EINVAL. */
int addr_parse_ports(const char *text, uint16_t *first, uint16_t *last);
/* The n-th try, from 0 on, of who has a place in such a range (index, its own port first, then the others), or any port where it is "0"; false: there are
 * no more. */
bool addr_ports_try(const char *text, unsigned index, unsigned n, uint16_t *port);
/* Route names: 1..64 of letters, digits, '.', '_', '-'; the first a letter or digit. */
bool addr_route_ok(const char *name);

union sockaddr_any {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage ss;
};

/* A numeric host ("::" or "" = any) and port into a socket address. 0 or -EINVAL when host is a name. */
int addr_numeric(const char *host, uint16_t port, union sockaddr_any *out);
/* First IPv4, else first global IPv6, address of a network interface; of an InfiniBand port ("mlx5_0:1") that of the interface on it
 * (/sys/class/infiniband/mlx5_0/device/net). 0 or -ENODEV. */
int addr_of_device(const char *device, uint16_t port, union sockaddr_any *out);
/* Name of the network interface that owns the local address a; the way from "which device routes to the gateway". 0 or -ENODEV. */
int addr_device_of(const union sockaddr_any *a, char *out, size_t size);
socklen_t addr_len(const union sockaddr_any *a);
uint16_t addr_port(const union sockaddr_any *a);
void addr_set_port(union sockaddr_any *a, uint16_t port);
/* "10.0.0.5:5000", "[::1]:5000", "unix:"; always terminated. Returns out. v4-mapped v6 prints as v4. */
const char *addr_format(const union sockaddr_any *a, char out[ADDR_TEXT]);
/* The same without the port, as needed in ANSWER's address. */
const char *addr_format_host(const union sockaddr_any *a, char out[ADDR_TEXT]);

#endif
