#include "config.h"

#include "src/core/digest.h"

#ifdef HAVE_XXH_DISPATCH
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

#include "src/core/err.h"

struct digest { XXH3_state_t *state; }; /* 64-byte aligned, as only XXH3_createState promises */

struct digest *digest_new(void)
{
    struct digest *d = mem_zalloc(1, sizeof(*d));
    d->state = XXH3_createState();
    if (!d->state)
        _exit(err_exit(-ENOMEM));
    XXH3_128bits_reset(d->state);
    return d;
}

void digest_free(struct digest *d)
{
    if (d)
        XXH3_freeState(d->state);
    free(d);
}

void digest_add(struct digest *d, const void *data, size_t n)
{
    if (n > 0)
        XXH3_128bits_update(d->state, data, n);
}

void digest_get(const struct digest *d, uint8_t out[DIGEST_SIZE])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(d->state));
    memcpy(out, canonical.digest, DIGEST_SIZE);
}
