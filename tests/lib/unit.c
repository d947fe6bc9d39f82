#include <stdio.h>

#include "tests/lib/unit.h"

/* CU_basic_run_tests() returns 0 even when an assertion failed: only the counter tells. */
int unit_run(const char *suite, const struct unit *units, size_t n)
{
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    CU_pSuite s = CU_add_suite(suite, NULL, NULL);
    for (size_t i = 0; s && i < n; i++)
        if (!CU_add_test(s, units[i].name, units[i].run))
            s = NULL;
    if (!s)
        return 1;
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures(), asserts = CU_get_number_of_asserts();
    printf("totals: suite %s: %zu tests, %u assertions, %u failed\n", suite, n, asserts, failures);
    CU_cleanup_registry();
    return failures != 0;
}
