#include "src/engine/relay_psk.h"

#include "src/core/secret.h"

bool relay_psk_ok(const Scistream__Worker__Psk *m)
{
    if (!m)
        return true;
    size_t n = strlen(m->identity);
    bool ours = n > 0 && n < PSK_IDENTITY && m->key.len == PSK_KEY, none = n == 0 && m->key.len == 0;
    return (ours || (none && m->legacy)) && m->uid_key.len == (m->legacy ? PSK_UID_KEY : 0) && (m->legacy || !m->null_ciphers);
}

const struct psk *relay_psk_take(const Scistream__Worker__Psk *m, struct psk *out)
{
    if (!m)
        return NULL;
    *out = (struct psk){ .legacy = m->legacy, .null_ciphers = m->null_ciphers };
    str_copy(out->identity, sizeof(out->identity), m->identity);
    if (m->key.len == PSK_KEY)
        memcpy(out->key, m->key.data, PSK_KEY);
    if (m->uid_key.len == PSK_UID_KEY)
        memcpy(out->uid_key, m->uid_key.data, PSK_UID_KEY);
    return out;
}

void relay_psk_wipe(struct psk *p) { secret_wipe(p, sizeof(*p)); }

void relay_psk_wipe_message(Scistream__Worker__Psk *m)
{
    if (m && m->key.len)
        secret_wipe(m->key.data, m->key.len);
    if (m && m->uid_key.len)
        secret_wipe(m->uid_key.data, m->uid_key.len);
}

void relay_psk_wipe_door(Scistream__Worker__Door *m)
{
    relay_psk_wipe_message(m->psk);
    if (m->to)
        relay_psk_wipe_message(m->to->psk);
}
