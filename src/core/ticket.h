/* Tickets: one printable line that lets who holds it take one role in one session. scistream-protocol(7) has the format.
 *
 *   sst1.  base64url( field, field, … , checksum 8 )        field: number 1, length 2, value; in the order of their numbers
 *
 * The checksum finds a line that was cut or miscopied. It is no protection: a ticket holds a secret and goes where only its user can read it.
 */
#ifndef SRC_CORE_TICKET_H
#define SRC_CORE_TICKET_H

#include "src/core/addr.h"

#define TICKET_TEXT 4097 /* room for any ticket, with NUL; those made here have 2713 characters at most */
#define TICKET_VERSION 1
#define TICKET_ADDRESSES 4
#define TICKET_PINS 2
#define TICKET_PORTS 256
#define TICKET_CHANNELS 65536
#define TICKET_KEY 32    /* bytes of the secret, and of a pin (SHA-256 of a public key) */
#define TICKET_TIME 21   /* room for a point in time as text */

/* What its holder becomes. The numbers travel. */
enum ticket_role {
    TICKET_SEND = 1, /* attaches as a sender */
    TICKET_RECV,     /* attaches as a receiver */
    TICKET_CONS,     /* the consumer's side of transparent channels: connects to the gateway for each connection of an application */
    TICKET_PROD,     /* the producer's side of them */
};

enum ticket_class { TICKET_BEST_EFFORT, TICKET_PROVISIONED };

struct ticket {
    char uid[ADDR_ROUTE_MAX + 1];         /* of the session; spelled like the name of a route */
    enum ticket_role role;
    uint32_t channels;                    /* at least 1 */
    struct { char host[ADDR_HOST_MAX + 1]; uint16_t port; } address[TICKET_ADDRESSES]; /* of the gateway, to be tried in this order; at least 1 */
    char tls_name[ADDR_HOST_MAX + 1];     /* in its certificate; "": the host */
    uint8_t pin[TICKET_PINS][TICKET_KEY]; /* of its public key; none: a CA decides */
    uint8_t secret[TICKET_KEY];           /* never all zero */
    uint64_t issued_s, expires_s;         /* since 1970, up to the year 9999; issued first */
    uint16_t port[TICKET_PORTS];          /* transparent roles: of each channel, at the same hosts; none, or as many as there are channels */
    uint8_t class_;                       /* enum ticket_class, or one that a later version knows; for people: the gateway decides */
    uint64_t rate;                        /* [bit/s], 0: none was agreed */
    unsigned n_addresses, n_pins, n_ports;
};

/* 0, or -EINVAL with why set to a sentence that has nothing of the secret: no ticket, of a later version, wrapped, cut, altered, with a
 * field that must be known and is not. White space around it does not matter. *out, set on success only, holds the secret: ticket_wipe it. */
int ticket_parse(const char *text, struct ticket *out, char *why, size_t why_size);
/* The line, without a newline; wipe it. 0, or -EINVAL when t is none that could be parsed again. */
int ticket_print(const struct ticket *t, char out[TICKET_TEXT]);
void ticket_wipe(struct ticket *t);

/* One from a file that nobody else may use (secret_open), or "-", from all of standard input. The same returns, and -errno, -EPERM; why
 * begins with the file. */
int ticket_read(const char *path, struct ticket *out, char *why, size_t why_size);
/* Does text begin like a ticket of any version? Such an argument is no file. */
bool ticket_resembles(const char *text);

/* May it still be used at now_s (since 1970)? 0, or -SST_EDENIED from the second on in which it expires, why saying when that was. */
int ticket_check_time(const struct ticket *t, uint64_t now_s, char *why, size_t why_size);
/* "2026-11-27T00:10:00Z", of a time up to the year 9999. Returns out. */
const char *ticket_time(char out[TICKET_TIME], uint64_t s);
const char *ticket_role_name(enum ticket_role role); /* "send"; NULL: there is none */
static inline bool ticket_is_transparent(const struct ticket *t) { return t->role == TICKET_CONS || t->role == TICKET_PROD; }

#endif
