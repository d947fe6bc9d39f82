/* Pre-shared keys for the ends of TCP connections over the WAN.
 *
 * Between two of ours: TLS 1.3 by an identity and 32 bytes that both were given, ECDHE, AES-256-GCM-SHA384, as on link lanes.
 * Towards stunnel as SciStream starts it: identity client1 and the 16 bytes of the uid, in TLS 1.2 by PSK suites alone, modern ones first, in TLS 1.3 (of
 * a stunnel that was not held to 1.2) with SHA-256, which is what OpenSSL's older callbacks can do. Its own template offers nothing but eNULL: that is
 * refused unless null_ciphers is set, and even then only where the key counts (PSK): anonymous suites are in no list of ours.
 * One server serves both kinds. A client that has both keys says ours in TLS 1.3 and client1 in TLS 1.2, so that the server chooses.
 * TLS 1.2 has no key update: AES-GCM is good for 389 GB there, by the measure of RFC 8446 5.5. */

#include "tcp/tls_priv.h"

/* stunnel's default list has neither AES-GCM with (EC)DHE nor DHE at all, and ours is the order when we are the server. */
#define MODERN \
    "ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES256-GCM-SHA384:DHE-PSK-AES128-GCM-SHA256:DHE-PSK-CHACHA20-POLY1305:" \
    "PSK-AES256-GCM-SHA384:PSK-AES128-GCM-SHA256:PSK-CHACHA20-POLY1305"
#define CBC "ECDHE-PSK-AES256-CBC-SHA384:ECDHE-PSK-AES128-CBC-SHA256:PSK-AES256-CBC-SHA384:PSK-AES128-CBC-SHA256"
#define UNENCRYPTED \
    "ECDHE-PSK-NULL-SHA384:ECDHE-PSK-NULL-SHA256:ECDHE-PSK-NULL-SHA:DHE-PSK-NULL-SHA384:DHE-PSK-NULL-SHA256:DHE-PSK-NULL-SHA:" \
    "PSK-NULL-SHA384:PSK-NULL-SHA256:PSK-NULL-SHA"

#define OURS "TLS_AES_256_GCM_SHA384"
#define WITH_SHA256 "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"

/* ------------------------------------------------------------ keys */

static int find_ours(SSL *ssl, const unsigned char *identity, size_t n, SSL_SESSION **out)
{
    const struct tls *t = tls_of(ssl);
    *out = NULL;
    if (n > 0 && n == strlen(t->identity) && memcmp(identity, t->identity, n) == 0)
        *out = tls_psk_session(ssl, t->ctx, t->key);
    return 1;
}

/* Asked in TLS 1.3 too, where find_ours found nothing. */
static unsigned find_uid(SSL *ssl, const char *identity, unsigned char *key, unsigned max)
{
    struct tls *t = tls_of(ssl);
    if (!identity || strcmp(identity, PSK_UID_IDENTITY) != 0 || max < PSK_UID_KEY)
        return 0;
    memcpy(key, t->uid_key, PSK_UID_KEY);
    t->by_uid = true;
    return PSK_UID_KEY;
}

static int use_ours(SSL *ssl, const EVP_MD *md, const unsigned char **identity, size_t *n, SSL_SESSION **out)
{
    *out = NULL;
    return *tls_of(ssl)->identity ? tls_psk_use(ssl, md, identity, n, out) : 1;
}

static unsigned use_uid(SSL *ssl, const char *hint UNUSED, char *identity, unsigned max_identity, unsigned char *key, unsigned max)
{
    struct tls *t = tls_of(ssl);
    if (max < PSK_UID_KEY || max_identity < sizeof(PSK_UID_IDENTITY))
        return 0;
    memcpy(identity, PSK_UID_IDENTITY, sizeof(PSK_UID_IDENTITY));
    memcpy(key, t->uid_key, PSK_UID_KEY);
    return PSK_UID_KEY;
}

/* ------------------------------------------------------------ contexts */

static const char *suites_13(bool server, const struct psk *p)
{
    if (!p->legacy)
        return OURS;
    return server ? OURS ":" WITH_SHA256 : *p->identity ? OURS : WITH_SHA256;
}

static void add_legacy(struct tls_ctx *c, bool server, bool null_ciphers)
{
    SSL_CTX_set_min_proto_version(c->ssl, TLS1_2_VERSION);
    SSL_CTX_set_security_level(c->ssl, null_ciphers ? 0 : 2); /* above 0 there are none */
    if (SSL_CTX_set_cipher_list(c->ssl, null_ciphers ? MODERN ":" CBC ":" UNENCRYPTED : MODERN ":" CBC) != 1)
        abort(); /* an OpenSSL without these suites */
    if (server) {
        SSL_CTX_set_dh_auto(c->ssl, 1);
        SSL_CTX_set_psk_server_callback(c->ssl, find_uid);
    } else {
        SSL_CTX_set_psk_client_callback(c->ssl, use_uid);
    }
}

struct tls_ctx *tls_ctx_wan(bool server, const struct psk *p)
{
    static const uint8_t ours[2] = { 0x13, 0x02 };
    struct tls_ctx *c = tls_ctx_new(server, NULL);
    c->server = server;
    memcpy(c->suite, ours, sizeof(c->suite));
    SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_ciphersuites(c->ssl, suites_13(server, p));
    SSL_CTX_set_verify(c->ssl, server ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL); /* a client never takes a certificate instead */
    if (p->legacy)
        add_legacy(c, server, p->null_ciphers);
    if (server)
        SSL_CTX_set_psk_find_session_callback(c->ssl, find_ours);
    else
        SSL_CTX_set_psk_use_session_callback(c->ssl, use_ours);
    return c;
}

struct tls *tls_new_wan(struct tls_ctx *c, int fd, const struct psk *p)
{
    struct tls *t = tls_new(c, fd, c->server);
    str_copy(t->identity, sizeof(t->identity), p->identity);
    memcpy(t->key, p->key, sizeof(t->key));
    memcpy(t->uid_key, p->uid_key, sizeof(t->uid_key));
    return t;
}

/* ------------------------------------------------------------ what became of it */

/* A client has said client1 in whatever was chosen but TLS 1.3 with a key of ours. */
bool tls_by_uid(const struct tls *t)
{
    return t->server ? t->by_uid : SSL_version(t->ssl) < TLS1_3_VERSION || !*t->identity;
}

bool tls_is_null(const struct tls *t)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(t->ssl);
    return cipher && SSL_CIPHER_get_cipher_nid(cipher) == NID_undef;
}
