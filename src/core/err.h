/* Errors: 0, -errno, or -SST_E*. One table holds number, text, exit code of the utilities and whether a retry can help. */
#ifndef SRC_CORE_ERR_H
#define SRC_CORE_ERR_H

#include <errno.h>

#include "src/core/util.h"

/* The numbers travel in ABORT and RESET (scistream-protocol(7)): add rows at the end, never renumber.
 *   name, text, exit code (scistream(7)), retryable */
#define SST_ERRORS(X) \
    X(EPROTO, 1, "protocol error", 76, false) \
    X(EABORTED, 2, "aborted by the peer", 76, false) \
    X(EPEERDEAD, 3, "peer does not answer", 69, true) \
    X(ELOST, 4, "connection lost", 69, true) \
    X(EAUTH, 5, "no such route, or wrong secret", 67, false) \
    X(EDENIED, 6, "not allowed", 67, false) \
    X(ECERT, 7, "certificate not trusted", 67, false) \
    X(ETLS, 8, "TLS failure", 76, false) \
    X(EVERSION, 9, "no common protocol version", 76, false) \
    X(EFEATURE, 10, "required feature not supported", 76, false) \
    X(ENOTRANSPORT, 11, "no common transport", 76, false) \
    X(EBUSY, 12, "all channels are taken", 75, true) \
    X(ERENDEZVOUS, 13, "the other side did not come in time", 75, true) \
    X(ELIMIT, 14, "a configured limit is reached", 75, true) \
    X(EDRAINING, 15, "gateway is shutting down", 75, true) \
    X(EDIGEST, 16, "digest mismatch", 65, false) \
    X(ELENGTH, 17, "length mismatch", 65, false) \
    X(EIO, 18, "local input or output failed", 74, false) \
    X(ECONF, 19, "configuration error", 78, false) \
    X(EUSAGE, 20, "usage error", 64, false) \
    X(ERESOLVE, 21, "host name cannot be resolved", 69, true) \
    X(ECOOKIE, 22, "data connection without a valid cookie", 76, false) \
    X(EWORKER, 23, "gateway worker died", 75, true) \
    X(EDEVICE, 24, "device not usable", 78, false) \
    X(EINTERRUPTED, 25, "interrupted", 76, false) \
    X(ETIMEOUT, 26, "timed out", 69, true) \
    X(EINTERNAL, 27, "internal error", 76, false) \
    X(ERESET, 28, "reset by the TCP peer", 76, false) \
    X(ERELEASED, 29, "released by an administrator", 76, false) \
    X(EMOVED, 30, "gateway is upgraded, attach again", 75, true)

#define SST_ERR_BASE 10000 /* above every errno */
enum sst_err {
#define X(name, n, text, exit, retry) SST_##name = SST_ERR_BASE + (n),
    SST_ERRORS(X)
#undef X
};

/* Text for 0, -errno or -SST_E*; never NULL, lives for ever. */
const char *err_text(int rc);
/* Name ("ECONNRESET", "EAUTH") for logs and --report json; never NULL. */
const char *err_name(int rc);
/* Exit code of a utility that ends with rc (sysexits-like, scistream(7)). */
int err_exit(int rc);
/* May the same command succeed when it is simply run again later? */
bool err_retryable(int rc);
/* The number that goes on the wire for rc (an errno becomes the nearest SST_E*), and back. From the wire always an error: a number
 * this side does not know, and 0, become -SST_EABORTED. */
uint32_t err_to_wire(int rc);
int err_from_wire(uint32_t code);

#endif
