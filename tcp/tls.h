/* TLS 1.3 by OpenSSL: contexts, connections over a non-blocking descriptor, and the few primitives the rest needs. */
#ifndef TCP_TLS_H
#define TCP_TLS_H

#include "src/core/psk.h"
#include "src/core/secret.h"

#define TLS_PIN_TEXT 72       /* "sha256:" + 64 hex digits + 0 */
#define TLS_KEY_SIZE 32       /* exporters, PSKs, HMAC-SHA256 */
#define TLS_IDENTITY_MAX 64
#define TLS_NAME_MAX 257      /* of who shows a certificate */

struct tls_ctx;
struct tls;

enum tls_cipher { TLS_CIPHER_AES256, TLS_CIPHER_AES128, TLS_CIPHER_CHACHA20 };

/* Server with a certificate. alpn: one protocol ("h2"): a client that offers others is refused. NULL and why (what, on which file, what to do). */
struct tls_ctx *tls_ctx_server(const char *cert_file, const char *key_file, const char *alpn, char *why, size_t why_size);
/* The same with a new self-signed P-256 certificate that lives in memory only; its pin by tls_ctx_pin. */
struct tls_ctx *tls_ctx_self_signed(const char *name, const char *alpn, char *why, size_t why_size);
/* Client. pins: NULL-terminated "sha256:HEX", when there are any they alone decide; else ca_file, else the system's CAs, with the name checked. */
struct tls_ctx *tls_ctx_client(const char *ca_file, char *const *pins, const char *alpn, char *why, size_t why_size);
/* Server: ask clients for a certificate. They may have none; one that is shown must be of a CA in ca_file. 0; -SST_ETLS and why. */
int tls_ctx_ask(struct tls_ctx *c, const char *ca_file, char *why, size_t why_size);
/* Server that asks: nor may it be in the revocation list of its CA, of which there must be one in crl_file (PEM). Same returns. */
int tls_ctx_revoke(struct tls_ctx *c, const char *crl_file, char *why, size_t why_size);
/* Client: what it shows to servers that ask. Same returns. */
int tls_ctx_show(struct tls_ctx *c, const char *cert_file, const char *key_file, char *why, size_t why_size);
/* External PSK, ECDHE, no certificate, no tickets. The server finds the key: true and key filled, or false. */
typedef bool tls_psk_find(void *user, const char *identity, uint8_t key[TLS_KEY_SIZE]);
struct tls_ctx *tls_ctx_psk_server(tls_psk_find *find, void *user, const char *alpn, enum tls_cipher cipher);
struct tls_ctx *tls_ctx_psk_client(const char *alpn, enum tls_cipher cipher);
/* For the ends of TCP connections over the WAN, each with keys of its own (tls_new_wan); which kinds of keys and ciphers, p says: legacy, null_ciphers,
 * and whether there is an identity. Certificates and anonymous suites are never taken. */
struct tls_ctx *tls_ctx_wan(bool server, const struct psk *p);
/* Null-safe. Connections that were made of it live on with it. */
void tls_ctx_free(struct tls_ctx *c);
/* SPKI pin of a server context's own certificate. */
void tls_ctx_pin(const struct tls_ctx *c, char out[TLS_PIN_TEXT]);
/* Days until the server context's certificate expires; negative: expired. */
int tls_ctx_days_left(const struct tls_ctx *c);
/* Do both show the same certificate? */
bool tls_ctx_same(const struct tls_ctx *a, const struct tls_ctx *b);
/* Do both have the same revocation lists? */
bool tls_ctx_same_crls(const struct tls_ctx *a, const struct tls_ctx *b);
/* Those of its revocation lists whose time for the next one has passed: the certificates of their CAs are refused until there is one. */
unsigned tls_ctx_stale_crls(const struct tls_ctx *c);
/* Unix time at which it expires; 0: there is none. */
int64_t tls_ctx_expires(const struct tls_ctx *c);

/* name: SNI and the name to verify (client with CA), or NULL. Does not take fd. */
struct tls *tls_new_server(struct tls_ctx *c, int fd);
struct tls *tls_new_client(struct tls_ctx *c, int fd, const char *name);
/* identity: at most TLS_IDENTITY_MAX - 1 characters. */
struct tls *tls_new_psk_client(struct tls_ctx *c, int fd, const char *identity, const uint8_t key[TLS_KEY_SIZE]);
/* c: of tls_ctx_wan for the same kind. p is copied. */
struct tls *tls_new_wan(struct tls_ctx *c, int fd, const struct psk *p);
void tls_free(struct tls *t); /* null-safe */

/* 0; -EAGAIN; -SST_ETLS; -SST_ECERT. */
int tls_handshake(struct tls *t);
/* > 0; 0 close_notify; -EAGAIN; -SST_ELOST cut; -SST_ETLS. */
ssize_t tls_read(struct tls *t, void *to, size_t n);
/* > 0 plain bytes taken into records (they leave by batches: tls_flush); -EAGAIN; -errno. Rekeys every 2^23 records. */
ssize_t tls_write(struct tls *t, const void *from, size_t n);
int tls_flush(struct tls *t);
bool tls_buffered(const struct tls *t);
/* Bytes of records that wait for tls_flush. */
size_t tls_unsent(const struct tls *t);
/* Give back the memory in which records gather, when none waits there: for connections that rest. */
void tls_trim(struct tls *t);
/* Bytes of records that are gathered before a system call sends them; 64K unless set. Before the handshake. */
void tls_set_batch(struct tls *t, size_t bytes);
/* Send close_notify. 0 or -EAGAIN. */
int tls_shut(struct tls *t);
/* Sentence about the last failure; never NULL. */
const char *tls_why(const struct tls *t);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384"; lives as long as t. */
const char *tls_describe(const struct tls *t);
/* Was it the key of PSK_UID_IDENTITY that let the peer in; does the cipher not encrypt? After the handshake. */
bool tls_by_uid(const struct tls *t);
bool tls_is_null(const struct tls *t);
/* Records after which each direction gets a new key: 2^23 (RFC 8446 5.5: AES-GCM allows 2^24.5). A variable for the tests. */
extern uint64_t tls_rekey_records;
/* Keying material of this connection (RFC 5705/8446 7.5). 0 or -SST_ETLS. */
int tls_exporter(struct tls *t, const char *label, uint8_t out[TLS_KEY_SIZE]);

/* Whom the peer's verified certificate names: its first alternative name that is a URI, else an e-mail address, else a DNS name; without any of them
 * the last common name. 0; -ENOENT: it showed none; -SST_ECERT: that names nobody, or not in a way that can be taken. */
struct tls_peer { char name[TLS_NAME_MAX]; int64_t expires; /* Unix time */ };
int tls_peer_name(const struct tls *t, struct tls_peer *out);

/* SHA-256 of two texts, one behind the other. */
void tls_sha256(const char *a, const char *b, uint8_t out[TLS_KEY_SIZE]);
/* HMAC-SHA256 over the concatenation of n parts, each preceded by its length (u32 big-endian), so that parts cannot run into each other. */
struct tls_part { const void *data; size_t len; };
void tls_hmac(const void *key, size_t key_len, const struct tls_part *parts, size_t n, uint8_t out[TLS_KEY_SIZE]);
/* HKDF-SHA256 (RFC 5869) of secret with salt and info. */
void tls_hkdf(const void *secret, size_t secret_len, const void *salt, size_t salt_len, const char *info, uint8_t out[TLS_KEY_SIZE]);
/* Make a P-256 key (0600) and a self-signed certificate (10 years, name as SAN) in files that must not exist. 0 or -errno / -SST_ETLS and why. */
int tls_make_identity(const char *name, const char *cert_file, const char *key_file, char *why, size_t why_size);

#endif
