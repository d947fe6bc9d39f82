/* The end of a certificate is told at the start and every day; the days are made short here. */
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "ctrl/expiry.h"
#include "src/core/log.h"
#include "tests/lib/capture.h"
#include "tests/lib/unit.h"

static char dir[] = "/tmp/unit_expiry.XXXXXX", cert[64], key[64], why[400], said[4000];

/* A server context whose certificate ends so many seconds from now. */
static struct tls_ctx *expires_in(long seconds)
{
    CU_ASSERT_EQUAL_FATAL(tls_make_identity("gw.example.org", cert, key, why, sizeof(why)), 0);
    FILE *c = fopen(cert, "r"), *k = fopen(key, "r");
    X509 *x = PEM_read_X509(c, NULL, NULL, NULL);
    EVP_PKEY *p = PEM_read_PrivateKey(k, NULL, NULL, NULL);
    fclose(c);
    fclose(k);
    X509_gmtime_adj(X509_getm_notBefore(x), -20 * 86400);
    X509_gmtime_adj(X509_getm_notAfter(x), seconds);
    CU_ASSERT(X509_sign(x, p, EVP_sha256()) > 0);
    c = fopen(cert, "w");
    CU_ASSERT_EQUAL(PEM_write_X509(c, x), 1);
    fclose(c);
    X509_free(x);
    EVP_PKEY_free(p);
    struct tls_ctx *t = tls_ctx_server(cert, key, NULL, why, sizeof(why));
    unlink(cert);
    unlink(key);
    return t;
}

static const char *say(long seconds)
{
    struct tls_ctx *t = expires_in(seconds);
    struct capture c = capture_begin(STDERR_FILENO);
    expiry_say(t, "FILE");
    capture_end(&c, said, sizeof(said));
    tls_ctx_free(t);
    return said;
}

static void test_say(void)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(cert, sizeof(cert), "%s/cert", dir);
    snprintf(key, sizeof(key), "%s/key", dir);
    CU_ASSERT_STRING_EQUAL(say(31 * 86400), "");
    CU_ASSERT_PTR_NOT_NULL(strstr(say(20 * 86400 + 60), "warning: certificate FILE expires in 20 days\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(say(5 * 86400 + 60), "error: certificate FILE expires in 5 days: renew it now"));
    CU_ASSERT_PTR_NOT_NULL(strstr(say(86400 + 60), "error: certificate FILE expires in 1 day: renew it now"));
    CU_ASSERT_PTR_NOT_NULL(strstr(say(3600), "error: certificate FILE expires within a day"));
    CU_ASSERT_PTR_NOT_NULL(strstr(say(-3600), "error: certificate FILE has expired"));
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *s = text; (s = strstr(s, what)); s++)
        n++;
    return n;
}

static void test_daily(void)
{
    struct loop l = { .epfd = -1, .sigfd = -1 };
    struct expiry e = { .loop = NULL };
    struct conf *conf = conf_new();
    const struct conf *in_use = conf;
    struct tls_ctx *soon = expires_in(5 * 86400 + 60), *late = expires_in(300 * 86400L), *tls = soon;
    expiry_stop(&e);
    CU_ASSERT_EQUAL_FATAL(loop_init(&l), 0);
    free(conf->g.certificate);
    conf->g.certificate = mem_strdup("SOON");
    expiry_start(&e, &l, &tls, &in_use, 2 * NS_PER_MS);
    uint64_t at = expiry_at(&e), now = (uint64_t)time(NULL);
    CU_ASSERT(at > now + 5 * 86400 && at < now + 5 * 86400 + 120);
    struct capture c = capture_begin(STDERR_FILENO);
    for (int i = 0; i < 10; i++)
        loop_turn(&l, NS_PER_S);
    capture_end(&c, said, sizeof(said));
    CU_ASSERT(count(said, "certificate SOON expires in 5 days") >= 3);
    tls = late; /* renewed */
    c = capture_begin(STDERR_FILENO);
    for (int i = 0; i < 5; i++)
        loop_turn(&l, NS_PER_S);
    capture_end(&c, said, sizeof(said));
    CU_ASSERT_STRING_EQUAL(said, "");
    expiry_stop(&e);
    tls_ctx_free(soon);
    tls_ctx_free(late);
    conf_free(conf);
    loop_fini(&l);
    CU_ASSERT_EQUAL(rmdir(dir), 0);
}

UNIT_MAIN("expiry", UNIT(test_say), UNIT(test_daily))
