/* TLS contexts: certificates, pins, pre-shared keys; and the key derivations of OpenSSL that the rest of the program needs. */
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>

#include "src/core/addr.h"
#include "src/core/err.h"
#include "src/core/wire.h"
#include "tcp/tls_priv.h"

#define IDENTITY_DAYS 3650L

static const struct { const char *names; uint8_t suite[2]; } ciphers[] = {
    [TLS_CIPHER_AES256] = { "TLS_AES_256_GCM_SHA384", { 0x13, 0x02 } },
    [TLS_CIPHER_AES128] = { "TLS_AES_128_GCM_SHA256", { 0x13, 0x01 } },
    [TLS_CIPHER_CHACHA20] = { "TLS_CHACHA20_POLY1305_SHA256", { 0x13, 0x03 } },
};

/* ------------------------------------------------------------ making contexts */

static int select_alpn(SSL *ssl UNUSED, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len, void *arg)
{
    const struct tls_ctx *c = arg;
    unsigned char *picked;
    if (SSL_select_next_proto(&picked, out_len, c->alpn, c->alpn[0] + 1U, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol(120), RFC 7301 3.2 */
    *out = picked;
    return SSL_TLSEXT_ERR_OK;
}

struct tls_ctx *tls_ctx_new(bool server, const char *alpn)
{
    struct tls_ctx *c = mem_zalloc(1, sizeof(*c));
    c->users = 1;
    c->ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!c->ssl)
        abort(); /* no memory, or OpenSSL is not usable at all */
    SSL_CTX_set_min_proto_version(c->ssl, TLS1_3_VERSION);
    SSL_CTX_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(c->ssl, 1);
    SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(c->ssl, 0);
    if (alpn) {
        c->alpn[0] = (uint8_t)strlen(alpn);
        str_copy((char *)c->alpn + 1, sizeof(c->alpn) - 1, alpn);
        if (server)
            SSL_CTX_set_alpn_select_cb(c->ssl, select_alpn, c);
        else
            SSL_CTX_set_alpn_protos(c->ssl, c->alpn, c->alpn[0] + 1U);
    }
    return c;
}

void tls_ctx_free(struct tls_ctx *c)
{
    if (!c || --c->users)
        return;
    SSL_CTX_free(c->ssl);
    free(c);
}

static struct tls_ctx *give_up(struct tls_ctx *c, char *why, size_t size, const char *what)
{
    char reason[128];
    tls_reason(reason, sizeof(reason));
    snprintf(why, size, "%s: %s", what, reason);
    tls_ctx_free(c);
    return NULL;
}

struct tls_ctx *tls_ctx_server(const char *cert_file, const char *key_file, const char *alpn, char *why, size_t why_size)
{
    struct tls_ctx *c = tls_ctx_new(true, alpn);
    if (SSL_CTX_use_certificate_chain_file(c->ssl, cert_file) != 1)
        return give_up(c, why, why_size, cert_file);
    if (SSL_CTX_use_PrivateKey_file(c->ssl, key_file, SSL_FILETYPE_PEM) != 1)
        return give_up(c, why, why_size, key_file);
    if (SSL_CTX_check_private_key(c->ssl) != 1) {
        AUTO_FREE char *both = mem_printf("%s does not belong to %s", key_file, cert_file);
        return give_up(c, why, why_size, both);
    }
    return c;
}

/* ------------------------------------------------------------ own certificate */

static int add_san(X509 *x, const char *name)
{
    union sockaddr_any a;
    AUTO_FREE char *san = mem_printf("%s:%s", addr_numeric(name, 0, &a) == 0 ? "IP" : "DNS", name);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    int ok = e && X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    return ok;
}

static X509 *self_sign(const char *name, EVP_PKEY *key)
{
    X509 *x = X509_new();
    uint64_t serial;
    secret_random(&serial, sizeof(serial));
    if (!x || !X509_set_version(x, 2) || !ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) ||
        !X509_gmtime_adj(X509_getm_notBefore(x), -3600) || !X509_gmtime_adj(X509_getm_notAfter(x), IDENTITY_DAYS * 86400) ||
        !X509_set_pubkey(x, key) ||
        !X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, (const uint8_t *)name, -1, -1, 0) ||
        !X509_set_issuer_name(x, X509_get_subject_name(x)) || !add_san(x, name) || !X509_sign(x, key, EVP_sha256())) {
        X509_free(x);
        return NULL;
    }
    return x;
}

struct tls_ctx *tls_ctx_self_signed(const char *name, const char *alpn, char *why, size_t why_size)
{
    struct tls_ctx *c = tls_ctx_new(true, alpn);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = key ? self_sign(name, key) : NULL;
    bool ok = x && SSL_CTX_use_certificate(c->ssl, x) == 1 && SSL_CTX_use_PrivateKey(c->ssl, key) == 1;
    X509_free(x);
    EVP_PKEY_free(key);
    return ok ? c : give_up(c, why, why_size, "making a certificate");
}

static int write_pem(const char *file, mode_t mode, EVP_PKEY *key, X509 *x)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f) {
        int rc = -errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    int ok = x ? PEM_write_X509(f, x) : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    return fclose(f) == 0 && ok ? 0 : -EIO;
}

int tls_make_identity(const char *name, const char *cert_file, const char *key_file, char *why, size_t why_size)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = key ? self_sign(name, key) : NULL;
    int rc = -SST_ETLS;
    if (!x)
        snprintf(why, why_size, "OpenSSL could not make a key and certificate for %s", name);
    else if ((rc = write_pem(key_file, 0600, key, NULL)) < 0)
        snprintf(why, why_size, "%s: %s", key_file, strerror(-rc));
    else if ((rc = write_pem(cert_file, 0644, NULL, x)) < 0)
        snprintf(why, why_size, "%s: %s", cert_file, strerror(-rc));
    X509_free(x);
    EVP_PKEY_free(key);
    return rc;
}

/* ------------------------------------------------------------ pins */

static bool spki_hash(const X509 *x, uint8_t out[TLS_KEY_SIZE])
{
    uint8_t *der = NULL;
    int n = x ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der) : 0;
    bool ok = n > 0 && EVP_Digest(der, (size_t)n, out, NULL, EVP_sha256(), NULL);
    OPENSSL_free(der);
    return ok;
}

void tls_ctx_pin(const struct tls_ctx *c, char out[TLS_PIN_TEXT])
{
    uint8_t hash[TLS_KEY_SIZE] = { 0 };
    spki_hash(SSL_CTX_get0_certificate(c->ssl), hash);
    memcpy(out, "sha256:", 7);
    secret_hex(out + 7, hash, sizeof(hash));
}

int tls_ctx_days_left(const struct tls_ctx *c)
{
    int days = 0, seconds = 0;
    const X509 *x = SSL_CTX_get0_certificate(c->ssl);
    if (!x || !ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x)))
        return 0;
    return seconds < 0 ? days - 1 : days;
}

bool tls_ctx_same(const struct tls_ctx *a, const struct tls_ctx *b)
{
    const X509 *x = SSL_CTX_get0_certificate(a->ssl), *y = SSL_CTX_get0_certificate(b->ssl);
    return x && y && X509_cmp(x, y) == 0;
}

int64_t tls_ctx_expires(const struct tls_ctx *c)
{
    struct tm tm;
    const X509 *x = SSL_CTX_get0_certificate(c->ssl);
    return x && ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) ? (int64_t)timegm(&tm) : 0;
}

static int verify_pin(X509_STORE_CTX *store, void *arg)
{
    const struct tls_ctx *c = arg;
    uint8_t hash[TLS_KEY_SIZE];
    if (spki_hash(X509_STORE_CTX_get0_cert(store), hash))
        for (unsigned i = 0; i < c->n_pins; i++)
            if (secret_equal(hash, c->pins[i], sizeof(hash)))
                return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

static bool take_pins(struct tls_ctx *c, char *const *pins)
{
    for (; pins && *pins; pins++, c->n_pins++)
        if (c->n_pins == TLS_PINS_MAX || !str_starts(*pins, "sha256:") ||
            !secret_unhex(c->pins[c->n_pins], TLS_KEY_SIZE, *pins + 7))
            return false;
    return true;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* One for all who believe those of the system, until their file is another: reading it takes 40 ms and 800 KB, and whoever arranges a session without a pin
 * has a context made. NULL: it cannot be had. */
static X509_STORE *system_cas(void)
{
    static X509_STORE *read_already;
    static struct stat was;
    const char *named = getenv(X509_get_default_cert_file_env());
    struct stat is = { .st_size = 0 };
    (void)stat(named ? named : X509_get_default_cert_file(), &is); /* it need not be there: there is a folder, too */
    if (read_already && same_file(&was, &is))
        return read_already;
    X509_STORE *fresh = X509_STORE_new();
    if (!fresh || X509_STORE_set_default_paths(fresh) != 1) {
        X509_STORE_free(fresh);
        return NULL;
    }
    X509_STORE_free(read_already);
    was = is;
    return read_already = fresh;
}

static bool believe(struct tls_ctx *c, const char *ca_file)
{
    if (*ca_file)
        return SSL_CTX_load_verify_file(c->ssl, ca_file) == 1;
    X509_STORE *cas = system_cas();
    if (cas)
        SSL_CTX_set1_cert_store(c->ssl, cas);
    return cas;
}

struct tls_ctx *tls_ctx_client(const char *ca_file, char *const *pins, const char *alpn, char *why, size_t why_size)
{
    struct tls_ctx *c = tls_ctx_new(false, alpn);
    SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
    if (!take_pins(c, pins)) {
        snprintf(why, why_size, "a pin is sha256: and 64 hex digits, and there may be %d of them", TLS_PINS_MAX);
        tls_ctx_free(c);
        return NULL;
    }
    if (c->n_pins)
        SSL_CTX_set_cert_verify_callback(c->ssl, verify_pin, c);
    else if (!believe(c, ca_file ? ca_file : ""))
        return give_up(c, why, why_size, ca_file && *ca_file ? ca_file : "the system's CA certificates");
    return c;
}

/* ------------------------------------------------------------ pre-shared keys (RFC 8446 2.2, 4.2.11) */

/* A plain PSK callback would tie us to SHA-256; a session with its cipher set can use AES-256-GCM-SHA384. */
SSL_SESSION *tls_psk_session(SSL *ssl, const struct tls_ctx *c, const uint8_t key[TLS_KEY_SIZE])
{
    const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, c->suite);
    SSL_SESSION *s = SSL_SESSION_new();
    if (s && cipher && SSL_SESSION_set1_master_key(s, key, TLS_KEY_SIZE) && SSL_SESSION_set_cipher(s, cipher) &&
        SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION))
        return s;
    SSL_SESSION_free(s);
    return NULL;
}

static int find_psk(SSL *ssl, const unsigned char *identity, size_t n, SSL_SESSION **out)
{
    const struct tls_ctx *c = tls_of(ssl)->ctx;
    char name[TLS_IDENTITY_MAX];
    uint8_t key[TLS_KEY_SIZE];
    *out = NULL;
    if (n == 0 || n >= sizeof(name) || memchr(identity, 0, n))
        return 1; /* no such key: the handshake fails on its own */
    memcpy(name, identity, n);
    name[n] = 0;
    if (c->find(c->find_user, name, key))
        *out = tls_psk_session(ssl, c, key);
    secret_wipe(key, sizeof(key));
    return 1;
}

int tls_psk_use(SSL *ssl, const EVP_MD *md, const unsigned char **identity, size_t *n, SSL_SESSION **out)
{
    struct tls *t = tls_of(ssl);
    *out = tls_psk_session(ssl, t->ctx, t->key);
    if (!*out)
        return 0;
    if (md && SSL_CIPHER_get_handshake_digest(SSL_SESSION_get0_cipher(*out)) != md) {
        SSL_SESSION_free(*out);
        *out = NULL; /* the server chose another hash after HelloRetryRequest: no PSK, so the handshake fails */
        return 1;
    }
    *identity = (const unsigned char *)t->identity;
    *n = strlen(t->identity);
    return 1;
}

static struct tls_ctx *psk_new(bool server, const char *alpn, enum tls_cipher cipher)
{
    struct tls_ctx *c = tls_ctx_new(server, alpn);
    memcpy(c->suite, ciphers[cipher].suite, sizeof(c->suite));
    SSL_CTX_set_ciphersuites(c->ssl, ciphers[cipher].names);
    SSL_CTX_set_verify(c->ssl, server ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL); /* a client never takes a certificate instead */
    return c;
}

struct tls_ctx *tls_ctx_psk_server(tls_psk_find *find, void *user, const char *alpn, enum tls_cipher cipher)
{
    struct tls_ctx *c = psk_new(true, alpn, cipher);
    c->find = find;
    c->find_user = user;
    SSL_CTX_set_psk_find_session_callback(c->ssl, find_psk);
    return c;
}

struct tls_ctx *tls_ctx_psk_client(const char *alpn, enum tls_cipher cipher)
{
    struct tls_ctx *c = psk_new(false, alpn, cipher);
    SSL_CTX_set_psk_use_session_callback(c->ssl, tls_psk_use);
    return c;
}

/* ------------------------------------------------------------ derivations */

void tls_hmac(const void *key, size_t key_len, const struct tls_part *parts, size_t n, uint8_t out[TLS_KEY_SIZE])
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    char sha[] = "SHA256";
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha, 0), OSSL_PARAM_construct_end() };
    bool ok = ctx && EVP_MAC_init(ctx, key, key_len, params);
    for (size_t i = 0; ok && i < n; i++) {
        uint8_t len[4];
        struct wire w = wire_writer(len, sizeof(len));
        wire_put_u32(&w, (uint32_t)parts[i].len);
        ok = EVP_MAC_update(ctx, len, sizeof(len)) && EVP_MAC_update(ctx, parts[i].data, parts[i].len);
    }
    size_t got = 0;
    if (!ok || !EVP_MAC_final(ctx, out, &got, TLS_KEY_SIZE) || got != TLS_KEY_SIZE)
        abort(); /* OpenSSL without HMAC-SHA256, or no memory: nothing may go on with a key that was not derived */
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
}

void tls_hkdf(const void *secret, size_t secret_len, const void *salt, size_t salt_len, const char *info, uint8_t out[TLS_KEY_SIZE])
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    union { const void *c; void *p; } key = { .c = secret }, slt = { .c = salt }, inf = { .c = info }; /* OSSL_PARAM is not const-correct */
    char sha[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, sha, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key.p, secret_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, slt.p, salt_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, inf.p, strlen(info)),
        OSSL_PARAM_construct_end(),
    };
    if (!ctx || EVP_KDF_derive(ctx, out, TLS_KEY_SIZE, params) <= 0)
        abort(); /* as in tls_hmac */
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}
