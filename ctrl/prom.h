/* Text for Prometheus, exposition format 0.0.4, family by family. */
#ifndef CTRL_PROM_H
#define CTRL_PROM_H

#include <stdio.h>

#include "src/core/util.h"

struct prom { FILE *out; char *text; size_t len; const char *name; };

/* False: there is no memory. */
bool prom_begin(struct prom *p);
/* The text, heap; NULL: there was no memory. */
char *prom_end(struct prom *p, size_t *len);
/* The next family: its samples follow. type: "counter" (then name ends in _total), "gauge". */
void prom_family(struct prom *p, const char *name, const char *type, const char *help);
/* A sample of it; the labels are pairs of name and value, closed by NULL. */
void prom_number(struct prom *p, uint64_t value, ...) __attribute__((sentinel));
void prom_seconds(struct prom *p, uint64_t ns, ...) __attribute__((sentinel)); /* exact to the nanosecond, so sums never go back */

#endif
