/* Keys of TLS in messages of control. */
#ifndef SRC_ENGINE_RELAY_PSK_H
#define SRC_ENGINE_RELAY_PSK_H

#include "ctrl/worker.pb-c.h"
#include "src/core/psk.h"

/* Are they keys at all (lengths, and one of both kinds)? NULL is none, and well. */
bool relay_psk_ok(const Scistream__Worker__Psk *m);
/* out, filled, for an xport_spec; NULL for NULL. Only of what is ok. Wipe it when the spec was used. */
const struct psk *relay_psk_take(const Scistream__Worker__Psk *m, struct psk *out);
void relay_psk_wipe(struct psk *p);
/* Wipe the keys in a message that was handled. NULL: there is none. */
void relay_psk_wipe_message(Scistream__Worker__Psk *m);
void relay_psk_wipe_door(Scistream__Worker__Door *m);

#endif
