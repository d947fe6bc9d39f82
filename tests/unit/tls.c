/* TLS with certificates: whom a client believes, ALPN, contexts from files. */
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>

#include "src/core/err.h"
#include "tcp/tls_priv.h"
#include "tests/lib/tls_pair.h"
#include "tests/lib/unit.h"

static char dir[] = "/tmp/unit_tls.XXXXXX", cert[64], key[64], cert2[64], key2[64], old_cert[64], old_key[64], junk[64];
static char why[400];

/* ------------------------------------------------------------ identities */

static void in_dir(char out[64], const char *name) { snprintf(out, 64, "%s/%s", dir, name); }

/* A certificate whose time is over: re-signed from a good one. */
static void make_expired(void)
{
    CU_ASSERT_EQUAL(tls_make_identity("gw.example.org", old_cert, old_key, why, sizeof(why)), 0);
    FILE *c = fopen(old_cert, "r"), *k = fopen(old_key, "r");
    X509 *x = PEM_read_X509(c, NULL, NULL, NULL);
    EVP_PKEY *p = PEM_read_PrivateKey(k, NULL, NULL, NULL);
    fclose(c);
    fclose(k);
    X509_gmtime_adj(X509_getm_notBefore(x), -10 * 86400);
    X509_gmtime_adj(X509_getm_notAfter(x), -86400);
    CU_ASSERT(X509_sign(x, p, EVP_sha256()) > 0);
    c = fopen(old_cert, "w");
    CU_ASSERT_EQUAL(PEM_write_X509(c, x), 1);
    fclose(c);
    X509_free(x);
    EVP_PKEY_free(p);
}

static void test_make_identity(void)
{
    struct stat st;
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    in_dir(cert, "cert");
    in_dir(key, "key");
    in_dir(cert2, "cert2");
    in_dir(key2, "key2");
    in_dir(old_cert, "old_cert");
    in_dir(old_key, "old_key");
    in_dir(junk, "junk");
    CU_ASSERT_EQUAL(tls_make_identity("gw.example.org", cert, key, why, sizeof(why)), 0);
    CU_ASSERT_EQUAL(tls_make_identity("127.0.0.1", cert2, key2, why, sizeof(why)), 0);
    CU_ASSERT(stat(key, &st) == 0 && (st.st_mode & 0777) == 0600);
    CU_ASSERT(stat(cert, &st) == 0 && (st.st_mode & 0777) == (0644 & ~022));
    make_expired();
    FILE *f = fopen(junk, "w");
    fputs("no PEM at all\n", f);
    fclose(f);
}

static void test_identity_refused(void)
{
    CU_ASSERT_EQUAL(tls_make_identity("x", junk, key, why, sizeof(why)), -EEXIST);
    CU_ASSERT(str_starts(why, key) && strstr(why, "File exists"));
    CU_ASSERT_EQUAL(tls_make_identity("x", "/nonexistent/c", "/nonexistent/k", why, sizeof(why)), -ENOENT);
}

static void test_context_refused(void)
{
    CU_ASSERT_PTR_NULL(tls_ctx_server("/nonexistent", key, "h2", why, sizeof(why)));
    CU_ASSERT_STRING_EQUAL(why, "/nonexistent: No such file or directory");
    CU_ASSERT_PTR_NULL(tls_ctx_server(cert, "/nonexistent", "h2", why, sizeof(why)));
    CU_ASSERT_STRING_EQUAL(why, "/nonexistent: No such file or directory");
    CU_ASSERT_PTR_NULL(tls_ctx_server(junk, key, "h2", why, sizeof(why)));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, junk));
    CU_ASSERT_PTR_NULL(tls_ctx_server(cert, junk, "h2", why, sizeof(why)));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, junk));
    CU_ASSERT_PTR_NULL(tls_ctx_server(cert, key2, "h2", why, sizeof(why)));
    CU_ASSERT(strstr(why, key2) != NULL);
    CU_ASSERT_PTR_NULL(tls_ctx_client("/nonexistent", NULL, "h2", why, sizeof(why)));
    CU_ASSERT_STRING_EQUAL(why, "/nonexistent: No such file or directory");
    tls_ctx_free(NULL);
    tls_free(NULL);
}

static void test_days_left(void)
{
    struct tls_ctx *c = tls_ctx_server(cert, key, "h2", why, sizeof(why)), *old = tls_ctx_server(old_cert, old_key, "h2", why, sizeof(why)),
                   *self = tls_ctx_self_signed("me", "h2", why, sizeof(why));
    CU_ASSERT(tls_ctx_days_left(c) >= 3649 && tls_ctx_days_left(c) <= 3650);
    CU_ASSERT(tls_ctx_days_left(self) >= 3649);
    CU_ASSERT(tls_ctx_expires(c) / 86400 - time(NULL) / 86400 >= 3649 && tls_ctx_expires(old) < time(NULL));
    CU_ASSERT(tls_ctx_days_left(old) == -1 || tls_ctx_days_left(old) == -2);
    tls_ctx_free(c);
    tls_ctx_free(old);
    tls_ctx_free(self);
}

/* ------------------------------------------------------------ whom a client believes */

struct belief { const char *cert, *key, *ca, *pins[3], *name; int rc; const char *why; };

static void check_belief(const struct belief *b)
{
    struct tls_pair p;
    char *pins[3];
    for (int i = 0; i < 3; i++)
        pins[i] = b->pins[i] ? mem_strdup(b->pins[i]) : NULL;
    struct tls_ctx *server = tls_ctx_server(b->cert, b->key, "h2", why, sizeof(why)), *client = tls_ctx_client(b->ca, pins, "h2", why, sizeof(why));
    CU_ASSERT_FATAL(server && client);
    tls_pair_open(&p, client, server, b->name);
    CU_ASSERT_EQUAL(tls_pair_shake(&p), b->rc == 0);
    CU_ASSERT_EQUAL(p.rc[CLIENT], b->rc);
    CU_ASSERT(b->rc == 0 || p.rc[SERVER] < 0); /* the alert reached the server */
    CU_ASSERT_PTR_NOT_NULL(strstr(tls_why(p.t[CLIENT]), b->why));
    if (b->rc == 0)
        CU_ASSERT_TRUE(tls_pair_exchange(&p, 1000));
    tls_pair_close(&p);
    tls_ctx_free(server);
    tls_ctx_free(client);
    for (int i = 0; i < 3; i++)
        free(pins[i]);
}

static void pin_of(const char *c, const char *k, char out[TLS_PIN_TEXT])
{
    struct tls_ctx *x = tls_ctx_server(c, k, "h2", why, sizeof(why));
    tls_ctx_pin(x, out);
    tls_ctx_free(x);
}

static void test_beliefs(void)
{
    char pin[TLS_PIN_TEXT], pin2[TLS_PIN_TEXT], old_pin[TLS_PIN_TEXT];
    pin_of(cert, key, pin);
    pin_of(cert2, key2, pin2);
    pin_of(old_cert, old_key, old_pin);
    const struct belief all[] = {
        { cert, key, cert, { NULL }, "gw.example.org", 0, "no failure" },
        { cert2, key2, cert2, { NULL }, "127.0.0.1", 0, "no failure" },
        { cert, key, cert, { NULL }, "other.example.org", -SST_ECERT, "ostname mismatch" },
        { cert2, key2, cert2, { NULL }, "127.0.0.2", -SST_ECERT, "IP address mismatch" },
        { cert, key, cert2, { NULL }, "gw.example.org", -SST_ECERT, "self" },
        { cert, key, NULL, { NULL }, "gw.example.org", -SST_ECERT, "self" },
        { old_cert, old_key, old_cert, { NULL }, "gw.example.org", -SST_ECERT, "expired" },
        { cert, key, NULL, { pin }, "any.name", 0, "no failure" },
        { cert, key, NULL, { pin2, pin }, NULL, 0, "no failure" },
        { old_cert, old_key, NULL, { old_pin }, NULL, 0, "no failure" }, /* who pins, decides by the key alone */
        { cert, key, NULL, { pin2 }, "gw.example.org", -SST_ECERT, "matches no given pin" },
        { cert, key, cert, { pin2 }, "gw.example.org", -SST_ECERT, "matches no given pin" }, /* a good CA does not help */
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        check_belief(&all[i]);
}

static void test_pins_refused(void)
{
    char good[TLS_PIN_TEXT], cut[TLS_PIN_TEXT], letter[TLS_PIN_TEXT], bare[TLS_PIN_TEXT], longer[TLS_PIN_TEXT + 2];
    pin_of(cert, key, good);
    str_copy(cut, sizeof(cut), good);
    cut[70] = 0;
    str_copy(letter, sizeof(letter), good);
    letter[30] = 'g';
    str_copy(bare, sizeof(bare), good + 7);
    snprintf(longer, sizeof(longer), "%s0", good);
    char *const bad[][4] = { { cut }, { letter }, { bare }, { longer }, { "" }, { good, cut }, { good, good, good } };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        *why = 0;
        CU_ASSERT_PTR_NULL(tls_ctx_client(NULL, bad[i], "h2", why, sizeof(why)));
        CU_ASSERT_PTR_NOT_NULL(strstr(why, "64 hex digits"));
    }
}

static void test_self_signed(void)
{
    struct tls_pair p;
    char pin[TLS_PIN_TEXT];
    struct tls_ctx *server = tls_ctx_self_signed("here", "h2", why, sizeof(why));
    tls_ctx_pin(server, pin);
    CU_ASSERT(strlen(pin) == 71 && str_starts(pin, "sha256:"));
    struct tls_ctx *client = tls_ctx_client(NULL, (char *[]){ pin, NULL }, "h2", why, sizeof(why));
    tls_pair_open(&p, client, server, NULL);
    CU_ASSERT_TRUE(tls_pair_shake(&p));
    CU_ASSERT_STRING_EQUAL(tls_describe(p.t[CLIENT]), "TLSv1.3 TLS_AES_256_GCM_SHA384");
    tls_pair_close(&p);
    tls_ctx_free(client);
    tls_ctx_free(server);
}

static void copy(const char *from, const char *to)
{
    char text[4096];
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    size_t n = fread(text, 1, sizeof(text), in);
    CU_ASSERT(n > 0 && fwrite(text, 1, n, out) == n);
    fclose(in);
    fclose(out);
}

static bool believed(struct tls_ctx *server, struct tls_ctx *client)
{
    struct tls_pair p;
    tls_pair_open(&p, client, server, "gw.example.org");
    bool ok = tls_pair_shake(&p);
    tls_pair_close(&p);
    return ok;
}

/* Those of the system: read once, and again when their file is another; who has a context keeps what it was made with. */
static void test_system_cas(void)
{
    char bundle[80];
    in_dir(bundle, "bundle");
    copy(cert, bundle);
    setenv("SSL_CERT_FILE", bundle, 1);
    struct tls_ctx *server = tls_ctx_server(cert, key, "h2", why, sizeof(why)), *client = tls_ctx_client("", NULL, "h2", why, sizeof(why)),
                   *another = tls_ctx_client(NULL, NULL, "h2", why, sizeof(why));
    CU_ASSERT_PTR_EQUAL(SSL_CTX_get_cert_store(client->ssl), SSL_CTX_get_cert_store(another->ssl));
    CU_ASSERT(believed(server, client) && believed(server, another));
    tls_ctx_free(another);
    CU_ASSERT_EQUAL(remove(bundle), 0);
    copy(cert2, bundle);
    another = tls_ctx_client("", NULL, "h2", why, sizeof(why));
    CU_ASSERT(believed(server, client) && !believed(server, another));
    unsetenv("SSL_CERT_FILE");
    CU_ASSERT_EQUAL(remove(bundle), 0);
    tls_ctx_free(client);
    tls_ctx_free(another);
    tls_ctx_free(server);
}

/* ------------------------------------------------------------ versions and protocols */

static void check_alpn(const char *client_alpn, const char *server_alpn, int client_rc, int server_rc)
{
    struct tls_pair p;
    struct tls_ctx *server = tls_ctx_server(cert, key, server_alpn, why, sizeof(why)),
                   *client = tls_ctx_client(cert, NULL, client_alpn, why, sizeof(why));
    tls_pair_open(&p, client, server, "gw.example.org");
    tls_pair_shake(&p);
    CU_ASSERT_EQUAL(p.rc[CLIENT], client_rc);
    CU_ASSERT_EQUAL(p.rc[SERVER], server_rc);
    if (client_rc == 0 && server_rc < 0)
        CU_ASSERT_PTR_NOT_NULL(strstr(tls_why(p.t[SERVER]), "does not speak ALPN"));
    tls_pair_close(&p);
    tls_ctx_free(client);
    tls_ctx_free(server);
}

static void test_alpn(void)
{
    check_alpn("h2", "h2", 0, 0);
    check_alpn(NULL, NULL, 0, 0);
    check_alpn("http/1.1", "h2", -SST_ETLS, -SST_ETLS); /* alert 120 */
    check_alpn(NULL, "h2", 0, -SST_ETLS);               /* nothing offered: only our own check notices */
    check_alpn("h2", NULL, -SST_ETLS, 0);
}

static void test_old_versions(void)
{
    struct tls_pair p;
    struct tls_ctx *server = tls_ctx_server(cert, key, "h2", why, sizeof(why)), *client = tls_ctx_client(cert, NULL, "h2", why, sizeof(why));
    SSL_CTX_set_min_proto_version(client->ssl, TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(client->ssl, TLS1_2_VERSION);
    tls_pair_open(&p, client, server, "gw.example.org");
    CU_ASSERT_FALSE(tls_pair_shake(&p));
    CU_ASSERT_EQUAL(p.rc[SERVER], -SST_ETLS);
    CU_ASSERT_PTR_NOT_NULL(strstr(tls_why(p.t[SERVER]), "unsupported protocol"));
    tls_pair_close(&p);
    tls_ctx_free(client);
    tls_ctx_free(server);
}

static void test_not_tls(void)
{
    static const struct { const char *bytes; size_t n; } said[] = {
        { "GET / HTTP/1.1\r\n\r\n", 18 }, { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24 }, { "\1\0\0\0\0\0\0", 7 }, { "\x16\x03\x01\xff\xff", 5 },
    };
    struct tls_ctx *server = tls_ctx_server(cert, key, "h2", why, sizeof(why)), *client = tls_ctx_client(cert, NULL, "h2", why, sizeof(why));
    for (size_t i = 0; i < ARRAY_LEN(said); i++) {
        struct tls_pair p;
        tls_pair_open(&p, client, server, "gw.example.org");
        CU_ASSERT(write(p.fd[CLIENT], said[i].bytes, said[i].n) > 0);
        close(p.fd[CLIENT]);
        p.fd[CLIENT] = -1;
        int rc = tls_handshake(p.t[SERVER]);
        CU_ASSERT(rc == -SST_ETLS || rc == -SST_ELOST || rc == -EPIPE);
        CU_ASSERT_STRING_NOT_EQUAL(tls_why(p.t[SERVER]), "no failure");
        tls_pair_close(&p);
    }
    tls_ctx_free(client);
    tls_ctx_free(server);
}

static void test_remove(void)
{
    const char *const files[] = { cert, key, cert2, key2, old_cert, old_key, junk };
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        CU_ASSERT_EQUAL(remove(files[i]), 0);
    CU_ASSERT_EQUAL(rmdir(dir), 0);
}

UNIT_MAIN("tls", UNIT(test_make_identity), UNIT(test_identity_refused), UNIT(test_context_refused), UNIT(test_days_left), UNIT(test_beliefs),
          UNIT(test_pins_refused), UNIT(test_self_signed), UNIT(test_system_cas), UNIT(test_alpn), UNIT(test_old_versions), UNIT(test_not_tls), UNIT(test_remove))
