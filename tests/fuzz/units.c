#include "src/core/units.h"
#include "src/core/value.h"
#include "tests/fuzz/fuzz.h"

typedef int parse_fn(const char *, uint64_t *);
typedef const char *print_fn(char[UNITS_TEXT], uint64_t);

static void try_unit(const char *text, parse_fn *parse, print_fn *print, print_fn *human)
{
    char out[UNITS_TEXT];
    uint64_t v, back;
    if (parse(text, &v) < 0)
        return;
    FUZZ_CHECK(parse(print(out, v), &back) == 0 && back == v);
    FUZZ_CHECK(strlen(human(out, v)) < UNITS_TEXT - 1);
}

static const char *human_rate(char out[UNITS_TEXT], uint64_t v)
{
    return units_human_rate(out, (double)v);
}

/* Strings and lists go through the same kind of table. */
static void try_value(const char *text, enum value_type type)
{
    struct value_row row = { .name = "x", .type = type, .def = "", .help = "" };
    void *one = NULL, *two = NULL;
    char why[200];
    if (value_set(&row, &one, text, why, sizeof(why)) == 0) {
        AUTO_FREE char *printed = value_print(&row, &one);
        FUZZ_CHECK(value_set(&row, &two, printed, why, sizeof(why)) == 0);
        AUTO_FREE char *again = value_print(&row, &two);
        FUZZ_CHECK(str_eq(printed, again));
    }
    value_free(&row, 1, &one);
    value_free(&row, 1, &two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *text = fuzz_text(data, size);
    try_unit(text, units_parse_size, units_size, units_human_size);
    try_unit(text, units_parse_rate, units_rate, human_rate);
    try_unit(text, units_parse_time, units_time, units_human_time);
    try_value(text, VALUE_STR);
    try_value(text, VALUE_LIST);
    return 0;
}
