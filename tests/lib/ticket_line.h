/* Fields of a ticket, sensible or not, as its line, for tests of what reads it. */
#ifndef TESTS_LIB_TICKET_LINE_H
#define TESTS_LIB_TICKET_LINE_H

#include "src/core/base64url.h"
#include "src/core/digest.h"
#include "src/core/ticket.h"

/* Heap. */
static inline char *ticket_line(const void *fields, size_t n)
{
    uint8_t sum[DIGEST_SIZE], *body = mem_zalloc(n + 8, 1);
    struct digest *d = digest_new();
    digest_add(d, fields, n);
    digest_get(d, sum);
    digest_free(d);
    if (n > 0)
        memcpy(body, fields, n);
    memcpy(body + n, sum, 8);
    char *line = mem_zalloc(5 + BASE64URL_CHARS(n + 8) + 1, 1);
    memcpy(line, "sst1.", 5);
    base64url_encode(line + 5, body, n + 8);
    free(body);
    return line;
}

#endif
