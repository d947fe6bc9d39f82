/* The two ends of one TLS connection in one process, over a socket pair. */
#ifndef TESTS_LIB_TLS_PAIR_H
#define TESTS_LIB_TLS_PAIR_H

#include "tcp/tls.h"

struct tls_pair {
    int fd[2];          /* client, server */
    struct tls *t[2];
    int rc[2];          /* of the handshakes */
    size_t moved[2];    /* plain bytes written by each */
    unsigned wrong;     /* of those read */
};

enum { CLIENT, SERVER };

/* Sockets and ends, with certificates (name as in tls_new_client) or with a key. */
void tls_pair_open(struct tls_pair *p, struct tls_ctx *client, struct tls_ctx *server, const char *name);
void tls_pair_open_psk(struct tls_pair *p, struct tls_ctx *client, struct tls_ctx *server, const char *identity, const uint8_t *key);
/* Both by tls_ctx_wan. */
void tls_pair_open_wan(struct tls_pair *p, const struct psk *client, const struct psk *server);
void tls_pair_small_buffers(struct tls_pair *p);
/* Both handshakes, until each is done or failed. True: both done. */
bool tls_pair_shake(struct tls_pair *p);
/* n bytes from each end to the other at once, compared on arrival. True: all arrived and were right. */
bool tls_pair_exchange(struct tls_pair *p, size_t n);
void tls_pair_close(struct tls_pair *p);

#endif
