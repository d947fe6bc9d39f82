#include "src/core/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "src/core/units.h"

/* Room for text that grows; always terminated. */
struct text { char *s; size_t n, room; };

static void text_add(struct text *t, const char *s, size_t n)
{
    if (t->n + n + 1 > t->room) {
        size_t room = 2 * t->room + n + 32;
        char *grown = mem_zalloc(room, 1);
        if (t->n)
            memcpy(grown, t->s, t->n);
        free(t->s);
        t->s = grown;
        t->room = room;
    }
    memcpy(t->s + t->n, s, n);
    t->n += n;
    t->s[t->n] = 0;
}

static void text_adds(struct text *t, const char *s)
{
    text_add(t, s, strlen(s));
}

static void *field_of(const struct value_row *row, void *base)
{
    return (char *)base + row->off;
}

static const void *const_field_of(const struct value_row *row, const void *base)
{
    return (const char *)base + row->off;
}

static bool has_limits(const struct value_row *row)
{
    return row->min != 0 || row->max != 0;
}

/* ------------------------------------------------------------ quoted strings and lists */

static const char escape_letters[] = "nrt", escape_chars[] = "\n\r\t";

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* One character behind a backslash at p, and where the next one begins. */
static const char *unescape(const char *p, char *out)
{
    const char *letter = strchr(escape_letters, *p);
    int high = *p == 'x' ? hex_digit(p[1]) : -1;
    int low = high >= 0 ? hex_digit(p[2]) : -1;
    if (low >= 0) {
        *out = (char)(16 * high + low);
        return p + 3;
    }
    *out = letter ? escape_chars[letter - escape_letters] : *p;
    return p + 1;
}

/* "…" at p into out; where it ends, or NULL when it does not or would hold a NUL. */
static const char *read_quoted(const char *p, struct text *out)
{
    text_add(out, "", 0);
    for (p++; *p && *p != '"';) {
        char c = *p;
        if (c == '\\' && !p[1])
            return NULL;
        p = c == '\\' ? unescape(p + 1, &c) : p + 1;
        if (c == 0)
            return NULL;
        text_add(out, &c, 1);
    }
    return *p == '"' ? p + 1 : NULL;
}

/* In the double quotes of libconfuse: there ${…} is expanded, so '$' is escaped too. */
static void add_quoted(struct text *t, const char *s)
{
    char hex[8];
    text_adds(t, "\"");
    for (; *s; s++) {
        const char *ctl = strchr(escape_chars, *s);
        if (ctl)
            snprintf(hex, sizeof(hex), "\\%c", escape_letters[ctl - escape_chars]);
        else if ((unsigned char)*s < 0x20 || *s == 0x7f)
            snprintf(hex, sizeof(hex), "\\x%02x", (unsigned)(unsigned char)*s);
        else
            snprintf(hex, sizeof(hex), strchr("\\\"$", *s) ? "\\%c" : "%c", *s);
        text_adds(t, hex);
    }
    text_adds(t, "\"");
}

static const char *skip_space(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

/* One element: quoted, or anything up to ',' without the space around it. NULL: malformed. */
static const char *read_element(const char *p, struct text *out)
{
    if (*p == '"') {
        p = read_quoted(p, out);
        return p ? skip_space(p) : NULL;
    }
    size_t n = strcspn(p, ",{}\"");
    const char *end = p + n;
    while (n > 0 && strchr(" \t\r\n", p[n - 1]))
        n--;
    text_add(out, p, n);
    return n > 0 ? end : NULL;
}

static void list_push(char ***list, const char *element)
{
    size_t n = strv_len(*list);
    char **grown = mem_zalloc(n + 2, sizeof(*grown));
    if (n)
        memcpy(grown, *list, n * sizeof(*grown));
    grown[n] = mem_strdup(element);
    free(*list);
    *list = grown;
}

/* Elements up to close ('}' or the end of the text); where that stands, or NULL: malformed. */
static const char *read_elements(const char *p, char close, char ***out)
{
    struct text element = { NULL, 0, 0 };
    p = skip_space(p);
    for (bool more = *p != close; more;) {
        element.n = 0;
        p = read_element(p, &element);
        if (!p)
            break;
        list_push(out, element.s);
        more = *p == ',';
        if (more)
            p = skip_space(p + 1);
    }
    free(element.s);
    return p && *p == close ? p : NULL;
}

static char **read_list(const char *text)
{
    char **list = mem_zalloc(1, sizeof(*list));
    const char *p = skip_space(text);
    bool brace = *p == '{';
    const char *end = read_elements(p + brace, brace ? '}' : 0, &list);
    if (end && *skip_space(end + brace) == 0)
        return list;
    strv_free(list);
    return NULL;
}

/* ------------------------------------------------------------ one parser a type */

static int parse_flag(const char *text, bool *out)
{
    static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!str_eq(words[i], text))
            continue;
        *out = i % 2;
        return 0;
    }
    return -EINVAL;
}

static int parse_int(const char *text, int64_t *out)
{
    char *end;
    const char *digits = text + (*text == '-');
    if (*digits < '0' || *digits > '9')
        return -EINVAL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (*end)
        return -EINVAL;
    if (errno)
        return -ERANGE;
    *out = v;
    return 0;
}

static int parse_enum(const char *choices, const char *text, int *out)
{
    size_t n = strlen(text);
    int i = 0;
    for (const char *p = choices; n > 0; p += strcspn(p, "|") + 1, i++) {
        if (strcspn(p, "|") == n && strncmp(p, text, n) == 0) {
            *out = i;
            return 0;
        }
        if (!strchr(p, '|'))
            break;
    }
    return -EINVAL;
}

static int set_number(const struct value_row *row, void *field, const char *text)
{
    uint64_t v = 0;
    int64_t i = 0;
    int rc;
    if (row->type == VALUE_INT)
        rc = parse_int(text, &i);
    else if (row->type == VALUE_SIZE)
        rc = units_parse_size(text, &v);
    else
        rc = row->type == VALUE_RATE ? units_parse_rate(text, &v) : units_parse_time(text, &v);
    if (rc < 0)
        return rc;
    if (row->type == VALUE_INT)
        v = (uint64_t)i;
    if (has_limits(row) && (row->type == VALUE_INT ? i < (int64_t)row->min || i > (int64_t)row->max : v < row->min || v > row->max))
        return -ERANGE;
    memcpy(field, &v, sizeof(v)); /* int64_t and uint64_t alike */
    return 0;
}

static int set_str(char **field, const char *text)
{
    struct text quoted = { NULL, 0, 0 };
    if (*text == '"') {
        const char *end = read_quoted(text, &quoted);
        if (!end || *end) {
            free(quoted.s);
            return -EINVAL;
        }
    }
    free(*field);
    *field = quoted.s ? quoted.s : mem_strdup(text);
    return 0;
}

static int set_list(char ***field, const char *text)
{
    char **list = read_list(text);
    if (!list)
        return -EINVAL;
    strv_free(*field);
    *field = list;
    return 0;
}

static int set_field(const struct value_row *row, void *field, const char *text)
{
    switch (row->type) {
    case VALUE_FLAG:
        return parse_flag(text, field);
    case VALUE_ENUM:
        return parse_enum(row->choices, text, field);
    case VALUE_STR:
        return set_str(field, text);
    case VALUE_LIST:
        return set_list(field, text);
    default:
        return set_number(row, field, text);
    }
}

/* ------------------------------------------------------------ what is accepted, in words */

static void number_text(char out[UNITS_TEXT], enum value_type type, uint64_t v)
{
    if (type == VALUE_SIZE)
        units_size(out, v);
    else if (type == VALUE_RATE)
        units_rate(out, v);
    else if (type == VALUE_TIME)
        units_time(out, v);
    else
        snprintf(out, UNITS_TEXT, "%" PRId64, (int64_t)v);
}

static const char *const kinds[] = {
    [VALUE_FLAG] = "yes|no", [VALUE_INT] = "number", [VALUE_SIZE] = "size", [VALUE_RATE] = "rate",
    [VALUE_TIME] = "time",   [VALUE_STR] = "text",   [VALUE_LIST] = "list",
};
static const char *const examples[] = {
    [VALUE_FLAG] = "yes or no",
    [VALUE_INT] = "a whole number",
    [VALUE_SIZE] = "a size like 4096, 64K, 16M or 1G",
    [VALUE_RATE] = "a rate like 800Mbit or 10Gbit",
    [VALUE_TIME] = "a time like 500ms, 10s, 5m or forever",
    [VALUE_STR] = "plain text, or text in double quotes with \\\" for a quote",
    [VALUE_LIST] = "a list like a, b or {\"a\", \"b\"}",
};

/* "64K to 4G", "auto|ucx|link", "yes|no", "text": heap. */
static char *range_text(const struct value_row *row)
{
    char min[UNITS_TEXT], max[UNITS_TEXT];
    if (row->type == VALUE_ENUM)
        return mem_strdup(row->choices);
    if (!has_limits(row))
        return mem_strdup(kinds[row->type]);
    number_text(min, row->type, row->min);
    number_text(max, row->type, row->max);
    return mem_printf("%s to %s", min, max);
}

static void say_reason(const struct value_row *row, int rc, char *why, size_t why_size)
{
    AUTO_FREE char *range = range_text(row);
    if (row->type == VALUE_ENUM)
        snprintf(why, why_size, "must be one of %s", range);
    else if (rc == -ERANGE && !has_limits(row))
        snprintf(why, why_size, "is too large");
    else if (rc == -ERANGE || row->type == VALUE_INT)
        snprintf(why, why_size, "must be %s", has_limits(row) ? range : examples[row->type]);
    else if (has_limits(row))
        snprintf(why, why_size, "must be %s, %s", examples[row->type], range);
    else
        snprintf(why, why_size, "must be %s", examples[row->type]);
}

char *value_describe(const struct value_row *row)
{
    AUTO_FREE char *range = range_text(row);
    return *row->def ? mem_printf("%s, default %s", range, row->def) : mem_strdup(range);
}

/* ------------------------------------------------------------ the module's own doors */

int value_parse(const struct value_row *row, void *base, const char *text, char *why, size_t why_size)
{
    int rc = set_field(row, field_of(row, base), text);
    if (rc == 0)
        return 0;
    if (why_size)
        say_reason(row, rc, why, why_size);
    return -EINVAL;
}

int value_set(const struct value_row *row, void *base, const char *text, char *why, size_t why_size)
{
    char reason[256];
    int rc = value_parse(row, base, text, reason, sizeof(reason));
    if (rc < 0 && why_size)
        snprintf(why, why_size, "%s = %s: %s", row->name, text, reason);
    return rc;
}

void value_set_string(const struct value_row *row, void *base, const char *text)
{
    char **field = field_of(row, base), *copy = mem_strdup(text);
    free(*field);
    *field = copy;
}

void value_list_add(const struct value_row *row, void *base, const char *element)
{
    list_push(field_of(row, base), element);
}

void value_list_clear(const struct value_row *row, void *base)
{
    char ***field = field_of(row, base);
    strv_free(*field);
    *field = mem_zalloc(1, sizeof(**field));
}

void value_defaults(const struct value_row *rows, size_t n, void *base)
{
    char why[320];
    for (size_t i = 0; i < n; i++) {
        if (value_set(&rows[i], base, rows[i].def, why, sizeof(why)) == 0)
            continue;
        fprintf(stderr, "default of %s\n", why);
        abort();
    }
}

void value_free(const struct value_row *rows, size_t n, void *base)
{
    for (size_t i = 0; i < n; i++) {
        void *field = field_of(&rows[i], base);
        if (rows[i].type == VALUE_STR) {
            free(*(char **)field);
            *(char **)field = NULL;
        } else if (rows[i].type == VALUE_LIST) {
            strv_free(*(char ***)field);
            *(char ***)field = NULL;
        }
    }
}

static char *print_enum(const char *choices, int index)
{
    for (; index > 0 && strchr(choices, '|'); index--)
        choices = strchr(choices, '|') + 1;
    return mem_printf("%.*s", (int)strcspn(choices, "|"), choices);
}

static char *print_list(char *const *list)
{
    struct text t = { NULL, 0, 0 };
    text_adds(&t, "{");
    for (size_t i = 0; list && list[i]; i++) {
        text_adds(&t, i ? ", " : "");
        add_quoted(&t, list[i]);
    }
    text_adds(&t, "}");
    return t.s;
}

static char *print_number(const struct value_row *row, const void *field)
{
    char out[UNITS_TEXT];
    uint64_t v;
    memcpy(&v, field, sizeof(v));
    number_text(out, row->type, v);
    return mem_strdup(out);
}

char *value_print(const struct value_row *row, const void *base)
{
    const void *field = const_field_of(row, base);
    struct text t = { NULL, 0, 0 };
    switch (row->type) {
    case VALUE_FLAG:
        return mem_strdup(*(const bool *)field ? "yes" : "no");
    case VALUE_ENUM:
        return print_enum(row->choices, *(const int *)field);
    case VALUE_LIST:
        return print_list(*(char *const *const *)field);
    case VALUE_STR:
        add_quoted(&t, *(char *const *)field ? *(char *const *)field : "");
        return t.s;
    default:
        return print_number(row, field);
    }
}

static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if ((*a == '_' ? '-' : *a) != (*b == '_' ? '-' : *b))
            return false;
    return *a == *b;
}

const struct value_row *value_find(const struct value_row *rows, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (same_name(rows[i].name, name))
            return &rows[i];
    return NULL;
}
