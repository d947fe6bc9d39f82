/* The file of tokens: a line for each, "PRINCIPAL sha256:SALT:HEX [expires 2027-01-31T12:00:00Z]", HEX being the SHA-256 of SALT's hex digits and the
 * token behind them. Empty lines and those that begin with # are left out. */
#ifndef CTRL_TOKENS_H
#define CTRL_TOKENS_H

#include "src/core/util.h"
#include "tcp/tls.h"

#define TOKENS_MAX 1000          /* all are tried each time */
#define TOKENS_FILE_MAX (1U << 20)
#define TOKEN_MAX 8192           /* bytes of one */

struct token_line { char *principal, *salt; uint8_t hash[TLS_KEY_SIZE]; int64_t expires; /* Unix time; 0: never */ };
struct tokens;

/* Read path. 0; -errno, -EPERM when others may read or write it, -EINVAL; why names file and line and says what to do. */
int tokens_load(struct tokens **out, const char *path, char *why, size_t why_size);
void tokens_free(struct tokens *t); /* null-safe */
/* The line of that token, or NULL. Takes the same time wherever it stands. */
const struct token_line *tokens_find(const struct tokens *t, const char *token);
/* Are they the same lines? NULL is no file. */
bool tokens_same(const struct tokens *a, const struct tokens *b);
/* The line for a token, with new salt; expires 0: never. Heap. */
char *tokens_line(const char *principal, const char *token, int64_t expires);

#endif
