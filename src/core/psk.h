/* The pre-shared keys of one end of a TCP connection that is TLS over the WAN (scistream-protocol(7)). */
#ifndef SRC_CORE_PSK_H
#define SRC_CORE_PSK_H

#include <stdbool.h>
#include <stdint.h>

#define PSK_KEY 32
#define PSK_UID_KEY 16
#define PSK_IDENTITY 64
#define PSK_UID_IDENTITY "client1" /* of stunnel as SciStream starts it */

struct psk {
    char identity[PSK_IDENTITY];   /* ours, for TLS 1.3; "": none */
    uint8_t key[PSK_KEY];
    bool legacy;                   /* stunnel's, too: TLS 1.2, and where there is none of ours TLS 1.3, by PSK_UID_IDENTITY and uid_key */
    bool null_ciphers;             /* legacy: rather unencrypted than not at all */
    uint8_t uid_key[PSK_UID_KEY];
};

#endif
