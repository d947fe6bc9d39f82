/* For fuzz targets. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdio.h>

#include "src/core/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever the input. */
#define FUZZ_CHECK(x) \
    do { \
        if (!(x)) { \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #x); \
            abort(); \
        } \
    } while (0)

/* The input as a string of its own, up to its first NUL. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = mem_zalloc(size + 1, 1);
    if (size)
        memcpy(text, data, size);
    return text;
}

#endif
