#include "ctrl/auth.h"

#include <stdio.h>

#include "src/core/err.h"

#define LABEL "scistream attach v1"
#define EXPORTER "EXPORTER-scistream-attach-v1" /* RFC 8446 7.5; not registered */

int auth_proof(const struct secret *s, Scistream__Gateway__V1__Role role, const char *name, struct grpc_conn *conn,
               uint8_t out[TLS_KEY_SIZE])
{
    uint8_t binding[TLS_KEY_SIZE], who = (uint8_t)role;
    if (!grpc_conn_tls(conn))
        return -SST_EDENIED;
    int rc = tls_exporter(grpc_conn_tls(conn), EXPORTER, binding);
    if (rc < 0)
        return rc;
    struct tls_part parts[] = { { LABEL, strlen(LABEL) }, { &who, 1 }, { name, strlen(name) }, { binding, sizeof(binding) } };
    tls_hmac(s->data, s->len, parts, ARRAY_LEN(parts), out);
    secret_wipe(binding, sizeof(binding));
    return 0;
}

bool auth_is_local_admin(const struct grpc_conn *conn)
{
    int64_t uid = grpc_conn_uid(conn);
    return uid == 0 || (uid >= 0 && uid == (int64_t)geteuid());
}

bool auth_check(const struct secret *s, const Scistream__Gateway__V1__Offer *o, const char *name, struct grpc_conn *conn)
{
    static uint8_t nobody[TLS_KEY_SIZE];
    uint8_t want[TLS_KEY_SIZE];
    struct secret dummy = { nobody, sizeof(nobody) };
    if (nobody[0] == 0 && nobody[1] == 0)
        secret_random(nobody, sizeof(nobody));
    if (s && s->len == 0) /* of a route between TCP peers, to which nobody attaches */
        s = NULL;
    if (!grpc_conn_tls(conn))
        return s && auth_is_local_admin(conn);
    if (auth_proof(s ? s : &dummy, o->role, name, conn, want) < 0)
        return false;
    bool right = o->proof.len == sizeof(want) && secret_equal(want, o->proof.data, sizeof(want));
    secret_wipe(want, sizeof(want));
    return right && s;
}

void auth_lane_key(const struct secret *s, const uint8_t nonce[AUTH_NONCE], const char *uid, uint32_t channel, uint8_t out[TLS_KEY_SIZE])
{
    AUTO_FREE char *info = mem_printf("scistream lane v1|%s|%u", uid, channel);
    tls_hkdf(s->data, s->len, nonce, AUTH_NONCE, info, out);
}

void auth_wan_key(const struct secret *s, const char *uid, uint8_t out[TLS_KEY_SIZE])
{
    AUTO_FREE char *info = mem_printf("scistream wan v1|%s", uid);
    if (s && s->len)
        tls_hkdf(s->data, s->len, "", 0, info, out);
    else
        tls_hkdf(uid, strlen(uid), "", 0, info, out);
}

bool auth_uid_key(const char *uid, uint8_t out[AUTH_UID_KEY])
{
    char hex[2 * AUTH_UID_KEY + 1];
    size_t n = 0;
    for (; *uid; uid++)
        if (*uid != '-' && n < sizeof(hex))
            hex[n++] = *uid;
    if (n != 2 * AUTH_UID_KEY)
        return false;
    hex[n] = 0;
    bool ok = secret_unhex(out, AUTH_UID_KEY, hex);
    secret_wipe(hex, sizeof(hex));
    return ok;
}
