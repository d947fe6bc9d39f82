/* Who may attach: proofs of a shared secret, bound to the TLS connection they are shown on; keys of the lanes. */
#ifndef CTRL_AUTH_H
#define CTRL_AUTH_H

#include "ctrl/gateway.pb-c.h"
#include "ctrl/grpc.h"
#include "src/core/secret.h"

#define AUTH_NONCE 16
#define AUTH_UID_KEY 16

/* The proof for role on name (a route, or the uid of a session) over this connection. 0; -SST_ETLS: no keying material; -SST_EDENIED: no TLS. */
int auth_proof(const struct secret *s, Scistream__Gateway__V1__Role role, const char *name, struct grpc_conn *conn,
               uint8_t out[TLS_KEY_SIZE]);
/* Does the offer prove the secret? secret NULL: the name is not known; takes the same time. On the local socket the caller's user decides:
 * ours and root may. */
bool auth_check(const struct secret *s, const Scistream__Gateway__V1__Offer *o, const char *name, struct grpc_conn *conn);
/* May this connection administrate (see session names)? Only the local socket, by our user or root. */
bool auth_is_local_admin(const struct grpc_conn *conn);
/* The key of a link's lanes: HKDF(secret, nonce, uid | channel). */
void auth_lane_key(const struct secret *s, const uint8_t nonce[AUTH_NONCE], const char *uid, uint32_t channel, uint8_t out[TLS_KEY_SIZE]);
/* The key of the WAN leg between two of our gateways: HKDF(secret, uid). s is a ticket's secret; NULL or empty, where there is no ticket: the uid
 * itself is the secret, which whoever guesses it has. */
void auth_wan_key(const struct secret *s, const char *uid, uint8_t out[TLS_KEY_SIZE]);
/* The key of stunnel as SciStream starts it: the uid without dashes, read as hex. False: it is not 32 digits. */
bool auth_uid_key(const char *uid, uint8_t out[AUTH_UID_KEY]);

#endif
