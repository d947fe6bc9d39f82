/* The header of the PROXY protocol, version 2, that tells a TCP peer whose connection we hand on (haproxy's proxy-protocol.txt, section 2.2). */
#ifndef TCP_PROXY_H
#define TCP_PROXY_H

#include "src/core/addr.h"

#define PROXY_MAX 52 /* 16 bytes, and two IPv6 addresses with their ports */

/* from: who came to us, to: where he came; NULL: nobody did, the connection is our own (LOCAL). Returns the length. Where the families differ, or are neither IPv4 nor IPv6, the header says UNSPEC. */
size_t proxy_header(const union sockaddr_any *from, const union sockaddr_any *to, uint8_t out[PROXY_MAX]);

#endif
