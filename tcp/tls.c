/* TLS connections over a non-blocking descriptor.
 *
 * Happy path: tls_new_* -> tls_handshake until 0 -> tls_read / tls_write + tls_flush -> tls_shut -> tls_free.
 * Failures: the first one leaves its sentence in why; the connection is of no use afterwards.
 * Writing: a record costs no system call; records gather in `out` and leave by one send when it is full or tls_flush is called.
 * Reading: OpenSSL reads ahead as much as its buffer holds, so one recv brings many records.
 */
#include "tcp/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <sys/socket.h>

#include "src/core/err.h"
#include "tcp/tls_priv.h"

#define RECORD_PLAIN 16384U
#define RECORD_ROOM (RECORD_PLAIN + 256U) /* RFC 8446 5.2: at most 256 bytes of expansion */
#define KEY_UPDATE_ROOM 64U
#define BATCH_DEFAULT (64U << 10)

uint64_t tls_rekey_records = 1ULL << 23;

/* ------------------------------------------------------------ the BIO */

static int send_out(struct tls *t)
{
    while (t->out_at < t->out_end) {
        ssize_t n = send(t->fd, t->out + t->out_at, t->out_end - t->out_at, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EINTR ? 0 : -errno;
        t->out_at += (size_t)n;
    }
    t->out_at = t->out_end = 0;
    return 0;
}

static size_t out_room(const struct tls *t) { return t->out_cap - t->out_end; }

static bool out_alloc(struct tls *t)
{
    if (!t->out)
        t->out = malloc(t->out_cap);
    return t->out;
}

static int bio_write(BIO *b, const char *data, int n)
{
    struct tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (!out_alloc(t))
        return -1;
    if (out_room(t) < (size_t)n) {
        int rc = send_out(t);
        if (out_room(t) < (size_t)n) {
            if (rc == -EAGAIN || rc == 0)
                BIO_set_retry_write(b);
            return -1;
        }
    }
    memcpy(t->out + t->out_end, data, (size_t)n);
    t->out_end += (size_t)n;
    return n;
}

static int bio_read(BIO *b, char *to, int n)
{
    struct tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    ssize_t got = recv(t->fd, to, (size_t)n, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(b);
    if (got == 0)
        BIO_set_flags(b, BIO_FLAGS_IN_EOF);
    return (int)got;
}

static long bio_ctrl(BIO *b, int cmd, long num UNUSED, void *ptr UNUSED)
{
    if (cmd == BIO_CTRL_EOF)
        return BIO_test_flags(b, BIO_FLAGS_IN_EOF) != 0;
    return cmd == BIO_CTRL_FLUSH; /* "done": tls_flush sends */
}

static int bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

const BIO_METHOD *tls_bio_method(void)
{
    static BIO_METHOD *m;
    if (m)
        return m;
    m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "scistream");
    if (m) {
        BIO_meth_set_write(m, bio_write);
        BIO_meth_set_read(m, bio_read);
        BIO_meth_set_ctrl(m, bio_ctrl);
        BIO_meth_set_create(m, bio_create);
    }
    return m;
}

/* ------------------------------------------------------------ life */

struct tls *tls_of(const SSL *ssl) { return SSL_get_app_data(ssl); }

struct tls *tls_new(struct tls_ctx *c, int fd, bool server)
{
    struct tls *t = mem_zalloc(1, sizeof(*t));
    BIO *b = BIO_new(tls_bio_method());
    t->ctx = c;
    c->users++;
    t->fd = fd;
    t->server = server;
    t->out_cap = BATCH_DEFAULT;
    t->ssl = SSL_new(c->ssl);
    if (!t->ssl || !b)
        abort(); /* out of memory for a small object */
    BIO_set_data(b, t);
    SSL_set_bio(t->ssl, b, b);
    SSL_set_app_data(t->ssl, t);
    if (server)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    return t;
}

struct tls *tls_new_server(struct tls_ctx *c, int fd) { return tls_new(c, fd, true); }

struct tls *tls_new_client(struct tls_ctx *c, int fd, const char *name)
{
    struct tls *t = tls_new(c, fd, false);
    if (!name || c->n_pins) {
        if (name)
            SSL_set_tlsext_host_name(t->ssl, name);
        return t;
    }
    if (!X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), name)) {
        SSL_set1_host(t->ssl, name);
        SSL_set_tlsext_host_name(t->ssl, name);
    }
    return t;
}

struct tls *tls_new_psk_client(struct tls_ctx *c, int fd, const char *identity, const uint8_t key[TLS_KEY_SIZE])
{
    struct tls *t = tls_new(c, fd, false);
    str_copy(t->identity, sizeof(t->identity), identity);
    memcpy(t->key, key, TLS_KEY_SIZE);
    return t;
}

static void wipe_keys(struct tls *t)
{
    secret_wipe(t->key, sizeof(t->key));
    secret_wipe(t->uid_key, sizeof(t->uid_key));
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    tls_ctx_free(t->ctx);
    wipe_keys(t);
    free(t->out);
    free(t);
}

void tls_set_batch(struct tls *t, size_t bytes)
{
    t->out_cap = MAX(bytes, 2U * RECORD_ROOM);
    SSL_set_default_read_buffer_len(t->ssl, bytes);
}

/* ------------------------------------------------------------ failures */

void tls_reason(char *out, size_t size)
{
    unsigned long e, last = 0;
    const char *data = NULL, *d;
    int flags, sys = 0;
    while ((e = ERR_get_error_all(NULL, NULL, NULL, &d, &flags))) {
        last = e;
        data = flags & ERR_TXT_STRING ? d : NULL;
        if (ERR_SYSTEM_ERROR(e))
            sys = ERR_GET_REASON(e);
    }
    const char *text = last ? ERR_reason_error_string(last) : NULL;
    if (sys) /* what OpenSSL adds to it is only "system lib" */
        snprintf(out, size, "%s", strerror(sys));
    else if (!text)
        snprintf(out, size, "unknown reason");
    else if (data && *data)
        snprintf(out, size, "%s (%.80s)", text, data);
    else
        snprintf(out, size, "%s", text);
}

static int fail(struct tls *t, int rc, const char *text)
{
    if (!t->why[0])
        str_copy(t->why, sizeof(t->why), text);
    return rc;
}

static int fail_ssl(struct tls *t)
{
    char reason[128];
    long verify = SSL_get_verify_result(t->ssl);
    tls_reason(reason, sizeof(reason));
    if (t->server && !t->up && SSL_get_verify_mode(t->ssl) != SSL_VERIFY_NONE && verify != X509_V_OK) {
        snprintf(t->why, sizeof(t->why), "the client's certificate: %s", X509_verify_cert_error_string(verify));
        return -SST_ECERT;
    }
    if (!t->server && !t->up && verify != X509_V_OK) {
        snprintf(t->why, sizeof(t->why), "%s",
                 t->ctx->n_pins ? "the server's public key matches no given pin" : X509_verify_cert_error_string(verify));
        return -SST_ECERT;
    }
    return fail(t, -SST_ETLS, reason);
}

/* What an SSL_* call that returned ret means to our callers. */
static int outcome(struct tls *t, int ret)
{
    int saved = errno;
    switch (SSL_get_error(t->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        ERR_clear_error();
        return saved ? fail(t, -saved, strerror(saved)) : fail(t, -SST_ELOST, "connection closed");
    default:
        if (ERR_GET_REASON(ERR_peek_error()) != SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return fail_ssl(t);
        ERR_clear_error();
        return fail(t, -SST_ELOST, t->up ? "connection cut without close_notify" : "peer closed the connection during the handshake");
    }
}

const char *tls_why(const struct tls *t) { return t->why[0] ? t->why : "no failure"; }

/* ------------------------------------------------------------ handshake, reading, writing */

static int check_alpn(struct tls *t)
{
    const uint8_t *got;
    unsigned n;
    SSL_get0_alpn_selected(t->ssl, &got, &n);
    if (t->ctx->alpn[0] == 0 || (n == t->ctx->alpn[0] && memcmp(got, t->ctx->alpn + 1, n) == 0))
        return 0;
    snprintf(t->why, sizeof(t->why), "peer does not speak ALPN %s", (const char *)t->ctx->alpn + 1);
    return -SST_ETLS;
}

int tls_handshake(struct tls *t)
{
    if (t->up)
        return 0;
    ERR_clear_error();
    errno = 0;
    int ret = SSL_do_handshake(t->ssl);
    int rc = ret == 1 ? 0 : outcome(t, ret);
    int sent = send_out(t); /* also the alert that tells the peer why */
    if (ret != 1)
        return rc == 0 ? fail(t, -SST_ELOST, "peer closed the connection during the handshake") : rc;
    if (sent < 0 && sent != -EAGAIN)
        return fail(t, sent, strerror(-sent));
    rc = check_alpn(t);
    if (rc < 0)
        return rc;
    t->up = true;
    snprintf(t->name, sizeof(t->name), "%s %s", SSL_get_version(t->ssl), SSL_get_cipher_name(t->ssl));
    wipe_keys(t);
    return 0;
}

ssize_t tls_read(struct tls *t, void *to, size_t n)
{
    size_t got = 0;
    ERR_clear_error();
    errno = 0;
    if (SSL_read_ex(t->ssl, to, n, &got))
        return (ssize_t)got;
    return outcome(t, 0);
}

bool tls_buffered(const struct tls *t) { return SSL_has_pending(t->ssl); }
size_t tls_unsent(const struct tls *t) { return t->out_end - t->out_at; }

void tls_trim(struct tls *t)
{
    if (tls_unsent(t))
        return;
    free(t->out);
    t->out = NULL;
}

/* One record of at most RECORD_PLAIN bytes into out; the caller made room, so OpenSSL never has to keep half a record. */
static int write_record(struct tls *t, const uint8_t *p, size_t n)
{
    size_t took = 0;
    if (t->records++ == tls_rekey_records) {
        t->records = 0;
        SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
    }
    ERR_clear_error();
    errno = 0;
    return SSL_write_ex(t->ssl, p, n, &took) ? 0 : outcome(t, 0);
}

ssize_t tls_write(struct tls *t, const void *from, size_t n)
{
    const uint8_t *p = from;
    size_t done = 0;
    int rc = 0;
    while (done < n) {
        if (t->out && out_room(t) < RECORD_ROOM + KEY_UPDATE_ROOM && (rc = tls_flush(t)) < 0)
            break;
        size_t part = MIN(n - done, RECORD_PLAIN);
        if ((rc = write_record(t, p + done, part)) < 0)
            break;
        done += part;
    }
    return done ? (ssize_t)done : rc;
}

int tls_flush(struct tls *t)
{
    int rc = send_out(t);
    return rc < 0 && rc != -EAGAIN ? fail(t, rc, strerror(-rc)) : rc;
}

int tls_shut(struct tls *t)
{
    if (t->up && !(SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN)) {
        ERR_clear_error();
        SSL_shutdown(t->ssl);
    }
    return tls_flush(t);
}

const char *tls_describe(const struct tls *t) { return t->name; }

int tls_exporter(struct tls *t, const char *label, uint8_t out[TLS_KEY_SIZE])
{
    return SSL_export_keying_material(t->ssl, out, TLS_KEY_SIZE, label, strlen(label), NULL, 0, 0) == 1 ? 0 : fail_ssl(t);
}
