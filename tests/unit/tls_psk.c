/* TLS with a pre-shared key, and what is the same for both kinds: transfers, key updates, the end, exporters, derivations. */
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "src/core/err.h"
#include "tcp/tls_priv.h"
#include "tests/lib/tls_pair.h"
#include "tests/lib/unit.h"

#define ALPN "scistream-link/1"

static const uint8_t key[TLS_KEY_SIZE] = "thirty-two bytes of a secret key";
static unsigned asked;

static bool find(void *user UNUSED, const char *identity, uint8_t out[TLS_KEY_SIZE])
{
    asked++;
    if (!str_eq(identity, "0123456789abcdef") && strlen(identity) != TLS_IDENTITY_MAX - 1)
        return false;
    memcpy(out, key, TLS_KEY_SIZE);
    return true;
}

static struct tls_ctx *client, *server;
static struct tls_pair p;

static void begin(enum tls_cipher c, enum tls_cipher s)
{
    asked = 0;
    client = tls_ctx_psk_client(ALPN, c);
    server = tls_ctx_psk_server(find, NULL, ALPN, s);
    tls_pair_open_psk(&p, client, server, "0123456789abcdef", key);
}

static void end(void)
{
    tls_pair_close(&p);
    tls_ctx_free(client);
    tls_ctx_free(server);
}

static void begin_up(void)
{
    begin(TLS_CIPHER_AES256, TLS_CIPHER_AES256);
    CU_ASSERT_TRUE_FATAL(tls_pair_shake(&p));
}

/* ------------------------------------------------------------ keys */

static void test_ciphers(void)
{
    static const char *const names[] = { "TLSv1.3 TLS_AES_256_GCM_SHA384", "TLSv1.3 TLS_AES_128_GCM_SHA256",
                                         "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256" };
    for (unsigned c = 0; c < ARRAY_LEN(names); c++) {
        begin(c, c);
        CU_ASSERT_TRUE(tls_pair_shake(&p));
        CU_ASSERT_STRING_EQUAL(tls_describe(p.t[CLIENT]), names[c]);
        CU_ASSERT_STRING_EQUAL(tls_describe(p.t[SERVER]), names[c]);
        CU_ASSERT(asked >= 1 && tls_pair_exchange(&p, 100000));
        for (int i = 0; i < 2; i++) /* ECDHE on top of the key, or who learns it could read what was recorded */
            CU_ASSERT(SSL_get_peer_certificate(p.t[i]->ssl) == NULL && SSL_get_negotiated_group(p.t[i]->ssl) != NID_undef);
        end();
    }
}

static void test_other_cipher(void)
{
    for (unsigned c = 0; c < 9; c++) {
        begin(c / 3, c % 3);
        CU_ASSERT_EQUAL(tls_pair_shake(&p), c / 3 == c % 3);
        CU_ASSERT(c / 3 == c % 3 || (p.rc[CLIENT] < 0 && p.rc[SERVER] < 0));
        end();
    }
}

static void refused(const char *identity, const uint8_t *k)
{
    client = tls_ctx_psk_client(ALPN, TLS_CIPHER_AES256);
    server = tls_ctx_psk_server(find, NULL, ALPN, TLS_CIPHER_AES256);
    tls_pair_open_psk(&p, client, server, identity, k);
    CU_ASSERT_FALSE(tls_pair_shake(&p));
    CU_ASSERT_EQUAL(p.rc[SERVER], -SST_ETLS);
    CU_ASSERT_EQUAL(p.rc[CLIENT], -SST_ETLS);
    CU_ASSERT_STRING_NOT_EQUAL(tls_why(p.t[SERVER]), "no failure");
    CU_ASSERT_STRING_NOT_EQUAL(tls_why(p.t[CLIENT]), "no failure");
    end();
}

static void test_refused(void)
{
    for (size_t i = 0; i < TLS_KEY_SIZE; i += 31) {
        uint8_t wrong[TLS_KEY_SIZE];
        memcpy(wrong, key, sizeof(wrong));
        wrong[i] ^= 0x80;
        refused("0123456789abcdef", wrong);
    }
    refused("0123456789abcdeF", key);
    refused("0123456789abcde", key);
    refused("x", key);
}

static void test_longest_identity(void)
{
    char name[TLS_IDENTITY_MAX];
    memset(name, 'i', sizeof(name));
    name[sizeof(name) - 1] = 0;
    client = tls_ctx_psk_client(ALPN, TLS_CIPHER_AES256);
    server = tls_ctx_psk_server(find, NULL, ALPN, TLS_CIPHER_AES256);
    tls_pair_open_psk(&p, client, server, name, key);
    CU_ASSERT_TRUE(tls_pair_shake(&p));
    end();
}

/* Neither kind falls back to the other. */
static void test_no_mixing(void)
{
    char why[200], pin[TLS_PIN_TEXT];
    struct tls_ctx *with_cert = tls_ctx_self_signed("x", ALPN, why, sizeof(why));
    asked = 0;
    client = tls_ctx_psk_client(ALPN, TLS_CIPHER_AES256);
    server = tls_ctx_psk_server(find, NULL, ALPN, TLS_CIPHER_AES256);
    tls_pair_open_psk(&p, client, with_cert, "0123456789abcdef", key);
    CU_ASSERT_FALSE(tls_pair_shake(&p));
    CU_ASSERT_EQUAL(p.rc[CLIENT], -SST_ECERT);
    tls_pair_close(&p);
    tls_ctx_pin(with_cert, pin);
    struct tls_ctx *pins = tls_ctx_client(NULL, (char *[]){ pin, NULL }, ALPN, why, sizeof(why));
    tls_pair_open(&p, pins, server, NULL);
    CU_ASSERT_FALSE(tls_pair_shake(&p));
    CU_ASSERT_EQUAL(p.rc[SERVER], -SST_ETLS);
    CU_ASSERT_EQUAL(asked, 0);
    end();
    tls_ctx_free(with_cert);
    tls_ctx_free(pins);
}

static void test_alpn_refused(void)
{
    client = tls_ctx_psk_client("h2", TLS_CIPHER_AES256);
    server = tls_ctx_psk_server(find, NULL, ALPN, TLS_CIPHER_AES256);
    tls_pair_open_psk(&p, client, server, "0123456789abcdef", key);
    CU_ASSERT_FALSE(tls_pair_shake(&p));
    CU_ASSERT(p.rc[CLIENT] == -SST_ETLS && p.rc[SERVER] == -SST_ETLS);
    end();
}

/* ------------------------------------------------------------ bytes */

static void test_small_buffers(void)
{
    begin(TLS_CIPHER_AES256, TLS_CIPHER_AES256);
    tls_pair_small_buffers(&p);
    CU_ASSERT_TRUE(tls_pair_shake(&p));
    CU_ASSERT_TRUE(tls_pair_exchange(&p, 3 << 20));
    end();
}

static void test_large_batch(void)
{
    begin(TLS_CIPHER_AES128, TLS_CIPHER_AES128);
    tls_set_batch(p.t[CLIENT], 256 << 10);
    tls_set_batch(p.t[SERVER], 1); /* never less than a record takes */
    CU_ASSERT_TRUE(tls_pair_shake(&p));
    CU_ASSERT_TRUE(tls_pair_exchange(&p, 3 << 20));
    end();
}

/* What a write took is not sent before the flush, and then as one. */
static void test_flush(void)
{
    uint8_t data[100] = { 1 }, got[300];
    begin_up();
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(tls_write(p.t[CLIENT], data, sizeof(data)), 100);
    CU_ASSERT_EQUAL(tls_read(p.t[SERVER], got, sizeof(got)), -EAGAIN);
    CU_ASSERT_EQUAL(tls_flush(p.t[CLIENT]), 0);
    CU_ASSERT_EQUAL(tls_read(p.t[SERVER], got, 50), 50);
    CU_ASSERT_TRUE(tls_buffered(p.t[SERVER])); /* no event will come for these */
    for (int left = 250; left > 0; left -= 50)
        CU_ASSERT_EQUAL(tls_read(p.t[SERVER], got, 50), 50);
    CU_ASSERT_EQUAL(tls_read(p.t[SERVER], got, 50), -EAGAIN);
    end();
}

static unsigned updates;

static void on_message(int sent, int version UNUSED, int type, const void *data, size_t n, SSL *ssl UNUSED, void *arg UNUSED)
{
    updates += sent && type == SSL3_RT_HANDSHAKE && n > 0 && *(const uint8_t *)data == SSL3_MT_KEY_UPDATE;
}

static void test_key_update(void)
{
    uint64_t before = tls_rekey_records;
    CU_ASSERT_EQUAL(before, 1ULL << 23);
    for (uint64_t every = 1; every < 100; every += 2) {
        begin_up();
        updates = 0;
        tls_rekey_records = every;
        SSL_set_msg_callback(p.t[CLIENT]->ssl, on_message);
        CU_ASSERT_TRUE(tls_pair_exchange(&p, 500000));
        CU_ASSERT(updates >= 500000 / 16384 / (every + 1) && (every > 3 || updates > 5));
        end();
    }
    tls_rekey_records = before;
}

static void test_key_update_small_buffers(void)
{
    uint64_t before = tls_rekey_records;
    tls_rekey_records = 3;
    begin(TLS_CIPHER_CHACHA20, TLS_CIPHER_CHACHA20);
    tls_pair_small_buffers(&p);
    CU_ASSERT_TRUE(tls_pair_shake(&p));
    CU_ASSERT_TRUE(tls_pair_exchange(&p, 1 << 20));
    tls_rekey_records = before;
    end();
}

/* ------------------------------------------------------------ the end */

static void test_close_notify(void)
{
    uint8_t byte = 9;
    begin_up();
    CU_ASSERT_EQUAL(tls_write(p.t[CLIENT], &byte, 1), 1);
    CU_ASSERT_EQUAL(tls_shut(p.t[CLIENT]), 0);
    CU_ASSERT_EQUAL(tls_shut(p.t[CLIENT]), 0);
    CU_ASSERT_EQUAL(tls_read(p.t[SERVER], &byte, 1), 1); /* what was said before still arrives */
    CU_ASSERT_EQUAL(tls_read(p.t[SERVER], &byte, 1), 0);
    CU_ASSERT_EQUAL(tls_write(p.t[SERVER], &byte, 1), 1); /* and only that direction ended */
    CU_ASSERT_EQUAL(tls_flush(p.t[SERVER]), 0);
    CU_ASSERT_EQUAL(tls_read(p.t[CLIENT], &byte, 1), 1);
    end();
}

static void test_cut(void)
{
    uint8_t byte = 9;
    begin_up();
    shutdown(p.fd[CLIENT], SHUT_WR);
    CU_ASSERT_EQUAL(tls_read(p.t[SERVER], &byte, 1), -SST_ELOST);
    CU_ASSERT_STRING_EQUAL(tls_why(p.t[SERVER]), "connection cut without close_notify");
    end();
    begin(TLS_CIPHER_AES256, TLS_CIPHER_AES256);
    CU_ASSERT_EQUAL(tls_handshake(p.t[CLIENT]), -EAGAIN);
    shutdown(p.fd[SERVER], SHUT_WR);
    CU_ASSERT_EQUAL(tls_handshake(p.t[CLIENT]), -SST_ELOST);
    CU_ASSERT_STRING_EQUAL(tls_why(p.t[CLIENT]), "peer closed the connection during the handshake");
    end();
}

static void test_peer_gone(void)
{
    uint8_t data[1000] = { 0 };
    begin_up();
    close(p.fd[SERVER]);
    p.fd[SERVER] = -1;
    CU_ASSERT_EQUAL(tls_write(p.t[CLIENT], data, sizeof(data)), 1000);
    CU_ASSERT_EQUAL(tls_flush(p.t[CLIENT]), -EPIPE);
    CU_ASSERT_STRING_EQUAL(tls_why(p.t[CLIENT]), "Broken pipe");
    end();
}

/* One bit of a record changed on the way. */
static void test_tampered(void)
{
    uint8_t data[1000] = { 0 }, raw[2000];
    begin_up();
    CU_ASSERT_EQUAL(tls_write(p.t[CLIENT], data, sizeof(data)), 1000);
    CU_ASSERT_EQUAL(tls_flush(p.t[CLIENT]), 0);
    ssize_t n = recv(p.fd[SERVER], raw, sizeof(raw), 0);
    CU_ASSERT_FATAL(n > 1000);
    raw[500] ^= 1;
    CU_ASSERT_EQUAL(send(p.fd[CLIENT], raw, (size_t)n, 0), n);
    CU_ASSERT_EQUAL(tls_read(p.t[SERVER], data, sizeof(data)), -SST_ETLS);
    CU_ASSERT_PTR_NOT_NULL(strstr(tls_why(p.t[SERVER]), "bad record mac"));
    end();
}

/* ------------------------------------------------------------ exporters and derivations */

static void test_exporter(void)
{
    uint8_t a[TLS_KEY_SIZE], b[TLS_KEY_SIZE], other[TLS_KEY_SIZE], next[TLS_KEY_SIZE];
    begin_up();
    CU_ASSERT(tls_exporter(p.t[CLIENT], "EXPORTER-one", a) == 0 && tls_exporter(p.t[SERVER], "EXPORTER-one", b) == 0);
    CU_ASSERT(tls_exporter(p.t[SERVER], "EXPORTER-two", other) == 0);
    CU_ASSERT(memcmp(a, b, sizeof(a)) == 0 && memcmp(a, other, sizeof(a)) != 0);
    end();
    begin_up();
    CU_ASSERT(tls_exporter(p.t[CLIENT], "EXPORTER-one", next) == 0 && memcmp(a, next, sizeof(a)) != 0);
    end();
    begin(TLS_CIPHER_AES256, TLS_CIPHER_AES256);
    CU_ASSERT_EQUAL(tls_exporter(p.t[CLIENT], "EXPORTER-one", a), -SST_ETLS); /* not before the handshake */
    end();
}

static void test_hmac(void)
{
    static const struct tls_part parts[] = { { "label", 5 }, { "", 0 }, { "route", 5 } }, other[] = { { "labelr", 6 }, { "", 0 }, { "oute", 4 } };
    static const uint8_t joined[] = "\0\0\0\5label\0\0\0\0\0\0\0\5route";
    uint8_t got[TLS_KEY_SIZE], want[TLS_KEY_SIZE], moved[TLS_KEY_SIZE];
    HMAC(EVP_sha256(), "secret", 6, joined, sizeof(joined) - 1, want, NULL);
    tls_hmac("secret", 6, parts, ARRAY_LEN(parts), got);
    CU_ASSERT_EQUAL(memcmp(got, want, sizeof(got)), 0);
    tls_hmac("secret", 6, other, ARRAY_LEN(other), moved);
    CU_ASSERT_NOT_EQUAL(memcmp(got, moved, sizeof(got)), 0);
    HMAC(EVP_sha256(), "secret", 6, (const uint8_t *)"", 0, want, NULL);
    tls_hmac("secret", 6, NULL, 0, got);
    CU_ASSERT_EQUAL(memcmp(got, want, sizeof(got)), 0);
}

/* RFC 5869 appendix A: the first 32 bytes of its keying material. */
static void test_hkdf(void)
{
    uint8_t ikm[80], salt[80], want[TLS_KEY_SIZE], got[TLS_KEY_SIZE];
    memset(ikm, 0x0b, 22);
    secret_unhex(salt, 13, "000102030405060708090a0b0c");
    tls_hkdf(ikm, 22, salt, 13, "\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9", got);
    secret_unhex(want, sizeof(want), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
    CU_ASSERT_EQUAL(memcmp(got, want, sizeof(got)), 0); /* case 1 */
    char info[81] = "";
    for (int i = 0; i < 80; i++) {
        ikm[i] = (uint8_t)i;
        salt[i] = (uint8_t)(0x60 + i);
        info[i] = (char)(0xb0 + i);
    }
    tls_hkdf(ikm, 80, salt, 80, info, got);
    secret_unhex(want, sizeof(want), "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c");
    CU_ASSERT_EQUAL(memcmp(got, want, sizeof(got)), 0); /* case 2 */
    memset(ikm, 0x0b, 22);
    tls_hkdf(ikm, 22, salt, 0, "", got);
    secret_unhex(want, sizeof(want), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
    CU_ASSERT_EQUAL(memcmp(got, want, sizeof(got)), 0); /* case 3 */
}

UNIT_MAIN("tls_psk", UNIT(test_ciphers), UNIT(test_other_cipher), UNIT(test_refused), UNIT(test_longest_identity), UNIT(test_no_mixing),
          UNIT(test_alpn_refused), UNIT(test_small_buffers), UNIT(test_large_batch), UNIT(test_flush), UNIT(test_key_update),
          UNIT(test_key_update_small_buffers), UNIT(test_close_notify), UNIT(test_cut), UNIT(test_peer_gone), UNIT(test_tampered),
          UNIT(test_exporter), UNIT(test_hmac), UNIT(test_hkdf))
