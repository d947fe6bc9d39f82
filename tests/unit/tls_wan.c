/* TLS by pre-shared keys over the WAN: which keys and suites two ends agree on, in each mix of ours and stunnel's, and whom they refuse. */
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "src/core/err.h"
#include "tcp/tls_priv.h"
#include "tests/lib/tls_pair.h"
#include "tests/lib/unit.h"

#define OURS { .identity = "session 7", .key = "thirty-two bytes of a secret key" }
#define UID { .legacy = true, .uid_key = "sixteen bytes .." }
#define BOTH { .identity = "session 7", .key = "thirty-two bytes of a secret key", .legacy = true, .uid_key = "sixteen bytes .." }

static const struct psk ours = OURS, uid = UID, both = BOTH;
static struct tls_pair p;

static void expect_up(const struct psk *client, const struct psk *server, const char *cipher, bool by_uid)
{
    tls_pair_open_wan(&p, client, server);
    CU_ASSERT_TRUE_FATAL(tls_pair_shake(&p));
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_STRING_EQUAL(tls_describe(p.t[i]), cipher);
        CU_ASSERT(tls_by_uid(p.t[i]) == by_uid && !tls_is_null(p.t[i]) && SSL_get_peer_certificate(p.t[i]->ssl) == NULL);
        for (size_t k = 0; k < TLS_KEY_SIZE; k++)
            CU_ASSERT(p.t[i]->key[k] == 0 && p.t[i]->uid_key[k % PSK_UID_KEY] == 0);
    }
    CU_ASSERT_TRUE(tls_pair_exchange(&p, 300000));
    tls_pair_close(&p);
}

static void refused(void)
{
    CU_ASSERT_FALSE(tls_pair_shake(&p));
    CU_ASSERT(p.rc[SERVER] < 0 && p.rc[SERVER] != -EAGAIN && p.rc[CLIENT] < 0 && p.rc[CLIENT] != -EAGAIN);
    CU_ASSERT_STRING_NOT_EQUAL(tls_why(p.t[SERVER]), "no failure");
    tls_pair_close(&p);
}

static void expect_refused(const struct psk *client, const struct psk *server)
{
    tls_pair_open_wan(&p, client, server);
    refused();
}

/* ------------------------------------------------------------ who meets whom */

#define BEST "TLSv1.3 TLS_AES_256_GCM_SHA384"

static void test_ours(void)
{
    expect_up(&ours, &ours, BEST, false);
    expect_up(&ours, &both, BEST, false);
    expect_up(&both, &ours, BEST, false);
    expect_up(&both, &both, BEST, false);
    tls_pair_open_wan(&p, &ours, &ours);
    CU_ASSERT_TRUE(tls_pair_shake(&p));
    CU_ASSERT_NOT_EQUAL(SSL_get_negotiated_group(p.t[CLIENT]->ssl), NID_undef); /* ECDHE: who learns the key cannot read what was recorded */
    tls_pair_close(&p);
}

static void test_by_uid(void)
{
    expect_up(&uid, &uid, "TLSv1.3 TLS_AES_128_GCM_SHA256", true);
    expect_up(&uid, &both, "TLSv1.3 TLS_AES_128_GCM_SHA256", true);
}

static void test_no_common_kind(void)
{
    expect_refused(&ours, &uid);
    expect_refused(&uid, &ours);
}

static void hold_to_12(int at, const char *list)
{
    SSL *ssl = p.t[at]->ssl;
    SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
    if (list)
        CU_ASSERT_EQUAL(SSL_set_cipher_list(ssl, list), 1);
}

/* As an stunnel whose sslVersionMax is TLSv1.2, and whose `ciphers` is that list. */
static void expect_12(const struct psk *client, const struct psk *server, int at, const char *list, const char *cipher)
{
    char name[80];
    tls_pair_open_wan(&p, client, server);
    hold_to_12(at, list);
    CU_ASSERT_TRUE_FATAL(tls_pair_shake(&p));
    snprintf(name, sizeof(name), "TLSv1.2 %s", cipher);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_STRING_EQUAL(tls_describe(p.t[i]), name);
        CU_ASSERT_TRUE(tls_by_uid(p.t[i]));
    }
    CU_ASSERT_TRUE(tls_pair_exchange(&p, 300000));
    tls_pair_close(&p);
}

static void test_12(void)
{
    static const char *const suites[] = { "ECDHE-PSK-CHACHA20-POLY1305", "DHE-PSK-AES256-GCM-SHA384", "DHE-PSK-AES128-GCM-SHA256",
                                          "PSK-AES256-GCM-SHA384", "PSK-AES128-GCM-SHA256", "PSK-CHACHA20-POLY1305",
                                          "ECDHE-PSK-AES256-CBC-SHA384", "ECDHE-PSK-AES128-CBC-SHA256", "PSK-AES256-CBC-SHA384",
                                          "PSK-AES128-CBC-SHA256" };
    const struct psk *kinds[] = { &uid, &both };
    for (size_t k = 0; k < 2; k++)
        for (int at = CLIENT; at <= SERVER; at++) {
            expect_12(kinds[k], kinds[!k], at, NULL, suites[0]);
            for (size_t i = 0; i < ARRAY_LEN(suites); i++)
                expect_12(kinds[k], kinds[!k], at, suites[i], suites[i]);
        }
    /* whatever the peer prefers, the server takes what is better */
    expect_12(&uid, &uid, CLIENT, "PSK-AES128-CBC-SHA256:PSK-AES256-GCM-SHA384:ECDHE-PSK-CHACHA20-POLY1305", suites[0]);
}

/* ------------------------------------------------------------ no encryption */

static void test_null(void)
{
    struct psk null = both;
    null.null_ciphers = true;
    expect_12(&null, &null, CLIENT, NULL, "ECDHE-PSK-CHACHA20-POLY1305"); /* it is the last that is taken */
    for (int at = CLIENT; at <= SERVER; at++) {
        tls_pair_open_wan(&p, &null, &null);
        hold_to_12(at, "eNULL:@SECLEVEL=0");
        CU_ASSERT_TRUE_FATAL(tls_pair_shake(&p));
        CU_ASSERT_STRING_EQUAL(tls_describe(p.t[CLIENT]), "TLSv1.2 ECDHE-PSK-NULL-SHA384");
        CU_ASSERT(tls_is_null(p.t[CLIENT]) && tls_is_null(p.t[SERVER]));
        CU_ASSERT_TRUE(tls_pair_exchange(&p, 300000));
        tls_pair_close(&p);
        tls_pair_open_wan(&p, at == CLIENT ? &null : &both, at == CLIENT ? &both : &null);
        hold_to_12(at, "eNULL:@SECLEVEL=0");
        refused();
    }
}

/* Not even where NULL is taken: who is at the other end would be anybody. */
static void test_anonymous(void)
{
    struct psk null = both;
    null.null_ciphers = true;
    for (int at = CLIENT; at <= SERVER; at++) {
        tls_pair_open_wan(&p, &null, &null);
        hold_to_12(at, "AECDH-NULL-SHA:AECDH-AES256-SHA:ADH-AES256-GCM-SHA384:@SECLEVEL=0");
        refused();
    }
}

/* ------------------------------------------------------------ refusals */

static void test_wrong_keys(void)
{
    for (int i = 0; i < 32; i += 31) {
        struct psk other = both;
        other.key[i] ^= 1;
        expect_refused(&other, &ours);
        expect_refused(&other, &both);
        expect_refused(&ours, &other);
        other = uid;
        other.uid_key[i / 2] ^= 0x80;
        expect_refused(&other, &uid);
        expect_refused(&uid, &other);
        tls_pair_open_wan(&p, &other, &both);
        hold_to_12(CLIENT, NULL);
        refused();
        tls_pair_open_wan(&p, &both, &other);
        hold_to_12(SERVER, NULL);
        refused();
    }
}

static unsigned say_client2(SSL *ssl UNUSED, const char *hint UNUSED, char *identity, unsigned max UNUSED, unsigned char *key, unsigned n UNUSED)
{
    memcpy(identity, "client2", 8);
    memcpy(key, uid.uid_key, PSK_UID_KEY);
    return PSK_UID_KEY;
}

static void test_wrong_identity(void)
{
    struct psk other = ours;
    other.identity[0] = 'S';
    expect_refused(&other, &ours);
    other.identity[0] = 0;
    strcat(other.identity, PSK_UID_IDENTITY); /* with a key that is not the uid's */
    expect_refused(&other, &both);
    for (int old = 0; old < 2; old++) {
        tls_pair_open_wan(&p, &uid, &both);
        SSL_set_psk_client_callback(p.t[CLIENT]->ssl, say_client2);
        if (old)
            hold_to_12(CLIENT, NULL);
        refused();
    }
}

static void test_certificate(void)
{
    char why[200];
    struct tls_ctx *cert = tls_ctx_self_signed("x", NULL, why, sizeof(why));
    tls_pair_open_wan(&p, &both, &both);
    tls_free(p.t[SERVER]);
    p.t[SERVER] = tls_new_server(cert, p.fd[SERVER]);
    CU_ASSERT_FALSE(tls_pair_shake(&p));
    CU_ASSERT_EQUAL(p.rc[CLIENT], -SST_ECERT);
    tls_pair_close(&p);
    tls_ctx_free(cert);
}

static void speak(const void *data, size_t n)
{
    uint8_t got[100];
    tls_pair_open_wan(&p, &both, &both);
    CU_ASSERT_EQUAL(send(p.fd[CLIENT], data, n, 0), (ssize_t)n);
    shutdown(p.fd[CLIENT], SHUT_WR);
    int rc = tls_handshake(p.t[SERVER]);
    CU_ASSERT(rc == -SST_ETLS || rc == -SST_ELOST);
    CU_ASSERT(recv(p.fd[CLIENT], got, sizeof(got), 0) < 100); /* an alert at most */
    tls_pair_close(&p);
}

static void test_garbage(void)
{
    uint8_t data[5000];
    speak("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    speak("", 0);
    for (unsigned i = 0; i < 300; i++) {
        secret_random(data, sizeof(data));
        if (i % 2)
            memcpy(data, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
        speak(data, 1 + i * 13);
    }
}

/* A client that goes away after each number of bytes of its first flight. */
static void test_cut_anywhere(void)
{
    uint8_t flight[2000];
    tls_pair_open_wan(&p, &both, &both);
    CU_ASSERT_EQUAL(tls_handshake(p.t[CLIENT]), -EAGAIN);
    ssize_t n = recv(p.fd[SERVER], flight, sizeof(flight), 0);
    tls_pair_close(&p);
    CU_ASSERT_FATAL(n > 100);
    for (ssize_t i = 0; i < n; i++)
        speak(flight, (size_t)i);
}

/* ------------------------------------------------------------ bytes */

static void test_small_buffers(void)
{
    const struct psk *kinds[] = { &ours, &uid };
    for (size_t i = 0; i < 2; i++)
        for (int old = 0; old < 2; old++) {
            tls_pair_open_wan(&p, kinds[i], &both);
            tls_pair_small_buffers(&p);
            if (old && i)
                hold_to_12(CLIENT, "PSK-AES256-CBC-SHA384"); /* its records grow the most */
            CU_ASSERT_TRUE_FATAL(tls_pair_shake(&p));
            CU_ASSERT_TRUE(tls_pair_exchange(&p, 2 << 20));
            tls_pair_close(&p);
        }
}

/* Where there are no key updates, what asks for one does no harm. */
static void test_many_records(void)
{
    uint64_t before = tls_rekey_records;
    tls_rekey_records = 3;
    tls_pair_open_wan(&p, &uid, &uid);
    hold_to_12(CLIENT, NULL);
    CU_ASSERT_TRUE_FATAL(tls_pair_shake(&p));
    CU_ASSERT_TRUE(tls_pair_exchange(&p, 1 << 20));
    tls_pair_close(&p);
    tls_rekey_records = before;
}

static void test_trim(void)
{
    uint8_t data[1000] = { 1 };
    tls_pair_open_wan(&p, &ours, &ours);
    CU_ASSERT_TRUE_FATAL(tls_pair_shake(&p));
    CU_ASSERT_EQUAL(tls_write(p.t[CLIENT], data, sizeof(data)), 1000);
    CU_ASSERT(tls_unsent(p.t[CLIENT]) > 1000);
    tls_trim(p.t[CLIENT]); /* not while something waits there */
    CU_ASSERT_EQUAL(tls_flush(p.t[CLIENT]), 0);
    CU_ASSERT_EQUAL(tls_unsent(p.t[CLIENT]), 0);
    tls_trim(p.t[CLIENT]);
    CU_ASSERT_PTR_NULL(p.t[CLIENT]->out);
    CU_ASSERT_EQUAL(tls_read(p.t[SERVER], data, sizeof(data)), 1000);
    CU_ASSERT_TRUE(tls_pair_exchange(&p, 300000));
    tls_pair_close(&p);
}

/* TLS 1.2 too: one direction ends, the other goes on. */
static void test_close_notify(void)
{
    uint8_t byte = 9;
    for (int old = 0; old < 2; old++) {
        tls_pair_open_wan(&p, &uid, &uid);
        if (old)
            hold_to_12(CLIENT, NULL);
        CU_ASSERT_TRUE_FATAL(tls_pair_shake(&p));
        CU_ASSERT_EQUAL(tls_shut(p.t[SERVER]), 0);
        CU_ASSERT_EQUAL(tls_read(p.t[CLIENT], &byte, 1), 0);
        CU_ASSERT_EQUAL(tls_write(p.t[CLIENT], &byte, 1), 1);
        CU_ASSERT_EQUAL(tls_flush(p.t[CLIENT]), 0);
        CU_ASSERT_EQUAL(tls_read(p.t[SERVER], &byte, 1), 1);
        CU_ASSERT_EQUAL(tls_shut(p.t[CLIENT]), 0);
        CU_ASSERT_EQUAL(tls_read(p.t[SERVER], &byte, 1), 0);
        tls_pair_close(&p);
    }
}

UNIT_MAIN("tls_wan", UNIT(test_ours), UNIT(test_by_uid), UNIT(test_no_common_kind), UNIT(test_12), UNIT(test_null), UNIT(test_anonymous),
          UNIT(test_wrong_keys), UNIT(test_wrong_identity), UNIT(test_certificate), UNIT(test_garbage), UNIT(test_cut_anywhere),
          UNIT(test_small_buffers), UNIT(test_many_records), UNIT(test_trim), UNIT(test_close_notify))
