/* One CUnit suite per program: UNIT_MAIN("ring", UNIT(test_wrap), UNIT(test_claims)). Prints totals; exit status 1 on any failure. */
#ifndef TESTS_LIB_UNIT_H
#define TESTS_LIB_UNIT_H

#include <CUnit/Basic.h>

#include "src/core/util.h"

struct unit { const char *name; CU_TestFunc run; };
#define UNIT(f) { #f, f }
#define UNIT_MAIN(suite, ...) \
    int main(void) { static const struct unit units[] = { __VA_ARGS__ }; return unit_run(suite, units, ARRAY_LEN(units)); }

int unit_run(const char *suite, const struct unit *units, size_t n);

#endif
