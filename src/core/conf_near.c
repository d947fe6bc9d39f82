#include "src/core/conf_near.h"

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

struct nearest { const char *name; size_t far; };

static void look_at(struct nearest *best, const char *name, const char *candidate)
{
    size_t far = distance(name, candidate);
    if (far < best->far)
        *best = (struct nearest){ candidate, far };
}

const char *conf_near(const struct conf_section *s, const char *name)
{
    size_t n;
    const struct conf_section *all = conf_sections(&n);
    struct nearest best = { NULL, MIN(NEAR + 1, strlen(name)) }; /* of a word of one or two letters something must be left */
    if (strlen(name) > LETTERS_MAX)
        return NULL;
    for (size_t i = 0; i < s->n; i++)
        look_at(&best, name, s->rows[i].name);
    for (size_t i = 0; s == all && i < n; i++)
        if (*all[i].name)
            look_at(&best, name, all[i].name);
    return best.name;
}
