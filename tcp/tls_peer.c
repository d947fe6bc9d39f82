/* Certificates of clients: a server that asks for them, a client that shows one, and whom one names. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "src/core/err.h"
#include "tcp/tls_priv.h"

static int give_up(char *why, size_t size, const char *file)
{
    char reason[128];
    tls_reason(reason, sizeof(reason));
    snprintf(why, size, "%s: %s", file, reason);
    return -SST_ETLS;
}

/* No SSL_VERIFY_FAIL_IF_NO_PEER_CERT: who has none may have a token. One that is shown has to verify, or the handshake fails. */
int tls_ctx_ask(struct tls_ctx *c, const char *ca_file, char *why, size_t why_size)
{
    ERR_clear_error();
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(ca_file);
    if (!names || SSL_CTX_load_verify_file(c->ssl, ca_file) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return give_up(why, why_size, ca_file);
    }
    SSL_CTX_set_client_CA_list(c->ssl, names); /* takes them */
    SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
    return 0;
}

static void note_crl(struct tls_ctx *c, const X509_CRL *list)
{
    uint8_t digest[TLS_KEY_SIZE];
    const ASN1_TIME *next = X509_CRL_get0_nextUpdate(list);
    if (X509_CRL_digest(list, EVP_sha256(), digest, NULL) == 1)
        for (size_t i = 0; i < sizeof(digest); i++)
            c->crls[i] ^= digest[i];
    c->stale_crls += next && X509_cmp_current_time(next) < 0;
}

/* By a lookup, since the store itself would trust certificates of that file. */
int tls_ctx_revoke(struct tls_ctx *c, const char *crl_file, char *why, size_t why_size)
{
    X509_STORE *store = SSL_CTX_get_cert_store(c->ssl);
    ERR_clear_error();
    X509_LOOKUP *file = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (!file || X509_load_crl_file(file, crl_file, X509_FILETYPE_PEM) < 1)
        return give_up(why, why_size, crl_file);
    const STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(store);
    for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
        const X509_CRL *list = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(all, i));
        if (list)
            note_crl(c, list);
    }
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(c->ssl), X509_V_FLAG_CRL_CHECK);
    return 0;
}

bool tls_ctx_same_crls(const struct tls_ctx *a, const struct tls_ctx *b) { return memcmp(a->crls, b->crls, sizeof(a->crls)) == 0; }
unsigned tls_ctx_stale_crls(const struct tls_ctx *c) { return c->stale_crls; }

int tls_ctx_show(struct tls_ctx *c, const char *cert_file, const char *key_file, char *why, size_t why_size)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(c->ssl, cert_file) != 1)
        return give_up(why, why_size, cert_file);
    if (SSL_CTX_use_PrivateKey_file(c->ssl, key_file, SSL_FILETYPE_PEM) != 1)
        return give_up(why, why_size, key_file);
    return 0;
}

/* ------------------------------------------------------------ whom it names */

/* Text without a NUL within, which would let a name end early. */
static bool take_text(struct tls_peer *out, const ASN1_STRING *s)
{
    unsigned char *utf8 = NULL;
    int n = s ? ASN1_STRING_to_UTF8(&utf8, s) : -1;
    bool ok = n > 0 && (size_t)n < sizeof(out->name) && memchr(utf8, 0, (size_t)n) == NULL;
    if (ok) {
        memcpy(out->name, utf8, (size_t)n);
        out->name[n] = 0;
    }
    OPENSSL_free(utf8);
    return ok;
}

static bool take_alternative(struct tls_peer *out, const GENERAL_NAMES *all, int type)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
        if (g->type == type)
            return take_text(out, g->d.ia5); /* the same for all three */
    }
    return false;
}

static bool take_common_name(struct tls_peer *out, const X509 *x)
{
    const X509_NAME *subject = X509_get_subject_name(x);
    int at = -1, last = -1;
    while ((at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0)
        last = at; /* the most specific */
    return last >= 0 && take_text(out, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
}

static bool take_name(struct tls_peer *out, const X509 *x)
{
    static const int types[] = { GEN_URI, GEN_EMAIL, GEN_DNS };
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (size_t i = 0; all && !found && i < ARRAY_LEN(types); i++)
        found = take_alternative(out, all, types[i]);
    GENERAL_NAMES_free(all);
    return found || take_common_name(out, x);
}

int tls_peer_name(const struct tls *t, struct tls_peer *out)
{
    struct tls_peer p = { .expires = 0 };
    struct tm tm;
    const X509 *x = t->up && SSL_get_verify_result(t->ssl) == X509_V_OK ? SSL_get0_peer_certificate(t->ssl) : NULL;
    if (!x)
        return -ENOENT;
    if (!take_name(&p, x) || !ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm))
        return -SST_ECERT;
    p.expires = (int64_t)timegm(&tm);
    *out = p;
    return 0;
}

/* ------------------------------------------------------------ a digest */

void tls_sha256(const char *a, const char *b, uint8_t out[TLS_KEY_SIZE])
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1 || EVP_DigestUpdate(md, a, strlen(a)) != 1 ||
        EVP_DigestUpdate(md, b, strlen(b)) != 1 || EVP_DigestFinal_ex(md, out, NULL) != 1)
        abort(); /* no memory, or OpenSSL is not usable at all */
    EVP_MD_CTX_free(md);
}
