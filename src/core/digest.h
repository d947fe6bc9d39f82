/* XXH3-128 over a flow (design: guards against corruption, not against malice). */
#ifndef SRC_CORE_DIGEST_H
#define SRC_CORE_DIGEST_H

#include "src/core/util.h"

#define DIGEST_SIZE 16 /* canonical (big-endian) XXH128 */

struct digest;

struct digest *digest_new(void);
void digest_free(struct digest *d); /* null-safe */
void digest_add(struct digest *d, const void *data, size_t n);
/* Of everything added so far; more may follow. */
void digest_get(const struct digest *d, uint8_t out[DIGEST_SIZE]);

#endif
