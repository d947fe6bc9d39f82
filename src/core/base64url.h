/* base64url without padding (RFC 4648 5): bytes as one printable word. */
#ifndef SRC_CORE_BASE64URL_H
#define SRC_CORE_BASE64URL_H

#include "src/core/util.h"

#define BASE64URL_CHARS(n) (((n) * 4 + 2) / 3) /* that n bytes make, no NUL counted */
#define BASE64URL_BYTES(n) ((n) / 4 * 3 + (n) % 4 * 3 / 4)

/* out has BASE64URL_CHARS(n) + 1. */
void base64url_encode(char *out, const void *data, size_t n);
/* n characters. How many bytes they make, or -EINVAL: another character, a length that no bytes have, bits behind the last byte, so that each
 * word is that of exactly one run of bytes; or more bytes than size. On failure what is in out has no meaning. */
ssize_t base64url_decode(void *out, size_t size, const char *text, size_t n);

#endif
