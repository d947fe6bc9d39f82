#include "src/core/near.h"

#define NEAR 2      /* letters put in, left out or taken for another; two that changed places are two */
#define LETTERS_MAX 40 /* longer than any of ours */

/* Levenshtein's distance, row by row. */
static size_t distance(const char *a, const char *b)
{
    size_t row[LETTERS_MAX + 1], n = strlen(b);
    for (size_t k = 0; k <= n; k++)
        row[k] = k;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0]++;
        for (size_t k = 1; k <= n; k++) {
            size_t other = diagonal + (a[i] != b[k - 1]);
            diagonal = row[k];
            row[k] = MIN(other, MIN(row[k], row[k - 1]) + 1);
        }
    }
    return row[n];
}

struct near near_begin(const char *name)
{
    size_t n = strlen(name);
    return (struct near){ name, NULL, n > LETTERS_MAX ? 0 : MIN(NEAR + 1, n) }; /* of a word of one or two letters something must be left */
}

void near_look_at(struct near *n, const char *candidate)
{
    size_t far = n->far && strlen(candidate) <= LETTERS_MAX ? distance(n->name, candidate) : n->far;
    if (far < n->far) {
        n->best = candidate;
        n->far = far;
    }
}
