/* Typed values by table: one row per option, whether it stands in the configuration, behind -o or on a command line. */
#ifndef SRC_CORE_VALUE_H
#define SRC_CORE_VALUE_H

#include "src/core/util.h"

enum value_type {
    VALUE_FLAG, /* bool            yes|no|true|false|on|off|1|0 */
    VALUE_INT,  /* int64_t         */
    VALUE_SIZE, /* uint64_t bytes  */
    VALUE_RATE, /* uint64_t bit/s  */
    VALUE_TIME, /* uint64_t ns     */
    VALUE_ENUM, /* int             index into choices */
    VALUE_STR,  /* char *          never NULL, "" = not set */
    VALUE_LIST, /* char **         NULL-terminated, never NULL itself */
};

struct value_row {
    const char *name;    /* window, peer_timeout … ; '-' and '_' are one in look-ups */
    enum value_type type;
    size_t off;          /* of the field in its struct */
    const char *def;     /* default, as text */
    uint64_t min, max;   /* numbers only, in the type's unit (INT: as int64_t); both 0 = no limits */
    const char *choices; /* ENUM: "auto|ucx|link" */
    const char *help;    /* one line, no full stop */
};

/* Set the field from text. 0 or -EINVAL with why naming option, value and what is accepted with units:
 * «window = 1K: must be 64K to 4G». A list: a, b or {"a", "b"}, or nothing at all. Text that begins with a double quote is a
 * quoted string, as value_print makes it. What was there before is freed or kept, never lost. */
int value_set(const struct value_row *row, void *base, const char *text, char *why, size_t why_size);
/* The same, but why is only the reason, «must be 64K to 4G», for callers that name the option in their own way. */
int value_parse(const struct value_row *row, void *base, const char *text, char *why, size_t why_size);
/* Set a STR field to text as it is, quotes being characters like any other. Never fails. */
void value_set_string(const struct value_row *row, void *base, const char *text);
/* Add one element to a LIST field; drop all. Never fail. */
void value_list_add(const struct value_row *row, void *base, const char *element);
void value_list_clear(const struct value_row *row, void *base);
/* Set n rows to their defaults; base is zeroed memory. A default that does not parse is a bug and ends the process. */
void value_defaults(const struct value_row *rows, size_t n, void *base);
void value_free(const struct value_row *rows, size_t n, void *base);
/* The text that value_set accepts for what is there now; heap, the caller's. Strings are quoted as libconfuse needs them. */
char *value_print(const struct value_row *row, const void *base);
/* "64K to 4G, default 1M", "auto|ucx|link, default auto", "yes|no, default no": for help and manuals; heap, the caller's. */
char *value_describe(const struct value_row *row);
const struct value_row *value_find(const struct value_row *rows, size_t n, const char *name);

#endif
