/* What tls.c and tls_ctx.c share. */
#ifndef TCP_TLS_PRIV_H
#define TCP_TLS_PRIV_H

#include <openssl/ssl.h>

#include "tcp/tls.h"

#define TLS_PINS_MAX 2

struct tls_ctx {
    unsigned users; /* its owner, and each connection */
    SSL_CTX *ssl;
    uint8_t pins[TLS_PINS_MAX][TLS_KEY_SIZE]; /* client: SHA-256 of the SubjectPublicKeyInfo */
    unsigned n_pins;
    uint8_t alpn[32]; /* length byte + name, as on the wire */
    tls_psk_find *find;
    void *find_user;
    uint8_t crls[TLS_KEY_SIZE]; /* the exclusive or of the SHA-256 of each revocation list */
    unsigned stale_crls;
    bool server;      /* of tls_ctx_wan only: certificates and link lanes tell with the connection */
    uint8_t suite[2]; /* PSK: the cipher suite's code point (RFC 8446 B.4) */
};

struct tls {
    SSL *ssl;
    struct tls_ctx *ctx;
    int fd;
    bool server, up;
    uint8_t *out; /* ciphertext gathered for one send */
    size_t out_cap, out_at, out_end;
    uint64_t records; /* since the last key update */
    char identity[TLS_IDENTITY_MAX];
    uint8_t key[TLS_KEY_SIZE], uid_key[PSK_UID_KEY];
    bool by_uid;
    char name[64];
    char why[192];
};

/* The method of our BIO: reads straight from the descriptor, writes into tls.out. NULL: no memory. */
const BIO_METHOD *tls_bio_method(void);
/* A context with what all have in common: TLS 1.3 alone, no tickets. */
struct tls_ctx *tls_ctx_new(bool server, const char *alpn);
/* A session of c's cipher suite with that key, for find and use callbacks; NULL: no memory. The callback that a PSK client uses. */
SSL_SESSION *tls_psk_session(SSL *ssl, const struct tls_ctx *c, const uint8_t key[TLS_KEY_SIZE]);
int tls_psk_use(SSL *ssl, const EVP_MD *md, const unsigned char **identity, size_t *n, SSL_SESSION **out);
/* The connection of a context, server or client. */
struct tls *tls_new(struct tls_ctx *c, int fd, bool server);
/* Callbacks that tls_ctx.c installs and that need the connection. */
struct tls *tls_of(const SSL *ssl);
/* Sentence for the newest OpenSSL error; empties its queue. */
void tls_reason(char *out, size_t size);

#endif
