#include "src/core/conf_text.h"

#include <fcntl.h>
#include <stdio.h>

#include "src/core/err.h"

#define WORD_END " #\"'\t\n\r={}()+,*"

struct scan {
    char *p;
    unsigned line;
    unsigned depth, open_line; /* braces that are open, and where the outermost stands */
    struct conf_fault *fault;
};

static int fail(struct conf_fault *fault, unsigned line, const char *what)
{
    fault->line = line;
    str_copy(fault->what, sizeof(fault->what), what);
    return -SST_ECONF;
}

/* ------------------------------------------------------------ reading */

static int check_bytes(const char *text, size_t n, struct conf_fault *fault)
{
    unsigned line = 1;
    if (n > CONF_TEXT_MAX)
        return fail(fault, 1, "a configuration has at most 1 MiB");
    for (const char *p = text; p < text + n; p++) {
        if (*p == 0)
            return fail(fault, line, "a NUL byte: is this a text file?");
        line += *p == '\n';
    }
    return 0;
}

/* One more piece behind the n bytes in *text, which grows. 0 at the end, or -errno. */
static ssize_t read_piece(int fd, char **text, size_t *room, size_t n)
{
    if (n + 1 >= *room) {
        char *grown = mem_zalloc(4 * *room, 1);
        memcpy(grown, *text, n);
        free(*text);
        *text = grown;
        *room *= 4;
    }
    ssize_t got;
    do
        got = read(fd, *text + n, *room - n - 1);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

int conf_text_load(const char *path, char **out, struct conf_fault *fault)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    size_t n = 0, room = 16 << 10;
    char *text = mem_zalloc(room, 1);
    ssize_t got = 1;
    while (got > 0 && n <= CONF_TEXT_MAX) {
        got = read_piece(fd, &text, &room, n);
        n += got > 0 ? (size_t)got : 0;
    }
    text[n] = 0;
    int rc = got < 0 ? (int)got : check_bytes(text, n, fault);
    if (rc == 0)
        *out = text;
    else
        free(text);
    return rc;
}

/* ------------------------------------------------------------ one token each: s->p is moved behind it */

static void blank(struct scan *s)
{
    if (*s->p == '\n')
        s->line++;
    else
        *s->p = ' ';
    s->p++;
}

static int line_comment(struct scan *s)
{
    while (*s->p && *s->p != '\n')
        blank(s);
    return 0;
}

static int block_comment(struct scan *s)
{
    unsigned start = s->line;
    blank(s);
    blank(s);
    while (*s->p && !str_starts(s->p, "*/"))
        blank(s);
    if (!*s->p)
        return fail(s->fault, start, "this comment is not closed");
    blank(s);
    blank(s);
    return 0;
}

static int variable(struct scan *s)
{
    char *end = s->p + strcspn(s->p, "}\"\n");
    if (*end != '}')
        return fail(s->fault, s->line, "'${' without '}'; for the characters themselves write \"\\${\"");
    s->p = end + 1;
    return 0;
}

static int quoted(struct scan *s)
{
    unsigned start = s->line;
    char quote = *s->p++;
    int rc = 0;
    while (*s->p && *s->p != quote && rc == 0) {
        if (quote == '"' && str_starts(s->p, "${")) {
            rc = variable(s);
            continue;
        }
        if (*s->p == '\\' && s->p[1])
            s->p++;
        s->line += *s->p++ == '\n';
    }
    if (rc == 0 && !*s->p)
        rc = fail(s->fault, start, "this string is not closed");
    if (rc == 0)
        s->p++;
    return rc;
}

static int brace(struct scan *s)
{
    if (*s->p++ == '{') {
        if (s->depth++ == 0)
            s->open_line = s->line;
        return 0;
    }
    if (s->depth == 0)
        return fail(s->fault, s->line, "'}' without '{'");
    s->depth--;
    return 0;
}

/* A maximal run, as libconfuse sees it: "//" and "/" followed by "*" begin a comment only at its start. */
static int word(struct scan *s)
{
    size_t n = strcspn(s->p, WORD_END);
    s->p += n ? n : 1;
    return 0;
}

static int token(struct scan *s)
{
    switch (*s->p) {
    case '\n':
        s->line++;
        s->p++;
        return 0;
    case '#':
        return line_comment(s);
    case '/':
        return s->p[1] == '/' ? line_comment(s) : s->p[1] == '*' ? block_comment(s) : word(s);
    case '"':
    case '\'':
        return quoted(s);
    case '{':
    case '}':
        return brace(s);
    case '$':
        return s->p[1] == '{' ? variable(s) : word(s);
    case '*':
        return fail(s->fault, s->line, "a value with '*' must stand in quotes");
    case '+':
        return s->p[1] == '=' ? word(s) : fail(s->fault, s->line, "a value with '+' must stand in quotes");
    default:
        return word(s);
    }
}

/* ------------------------------------------------------------ words behind a value */

/* Where we are in "name = value", and on which line the value ended. */
struct assignment { enum { NOWHERE, NAME, EQUAL, VALUE } at; const char *name; size_t name_len; unsigned line; };

/* Does a word, which ends at p, begin something: name =, name +=, section {, section title {? */
static bool begins_something(const char *p)
{
    const char *same_line = p + strspn(p, " \t\r"), *next = same_line + strspn(same_line, " \t\r\n");
    if (*next == '=' || *next == '{' || str_starts(next, "+=") || *same_line == '"' || *same_line == '\'')
        return true;
    same_line += strcspn(same_line, WORD_END);
    return same_line[strspn(same_line, " \t\r\n")] == '{';
}

static int refuse_word(const struct scan *s, const struct assignment *a, const char *text, size_t n)
{
    char what[sizeof(s->fault->what)];
    bool secret = n > CONF_WORD_SHOWN;
    snprintf(what, sizeof(what), "'%.*s%s' after the value of %.*s: a value with spaces needs quotes", (int)(secret ? 8 : n), text,
             secret ? "..." : "", (int)MIN(a->name_len, CONF_WORD_SHOWN), a->name);
    return fail(s->fault, s->line, what);
}

static int follow_word(const struct scan *s, struct assignment *a, const char *text, size_t n)
{
    if (a->at == VALUE && a->line == s->line && !begins_something(s->p))
        return refuse_word(s, a, text, n);
    if (a->at == EQUAL) {
        a->at = VALUE;
        a->line = s->line;
    } else {
        *a = (struct assignment){ .at = NAME, .name = text, .name_len = n };
    }
    return 0;
}

/* The token from text to s->p. */
static int follow(const struct scan *s, struct assignment *a, const char *text)
{
    size_t n = (size_t)(s->p - text);
    bool value = *text == '"' || *text == '\'' || str_starts(text, "${");
    if (strchr(" \t\r\n+", *text))
        return 0;
    if (*text == '=' || value) {
        a->at = *text == '=' ? (a->at == NAME ? EQUAL : NOWHERE) : a->at == EQUAL ? VALUE : NOWHERE;
        a->line = s->line;
        return 0;
    }
    if (!strchr("{}(),", *text))
        return follow_word(s, a, text, n);
    a->at = NOWHERE;
    return 0;
}

/* Once comments are blank, so that the words on both sides of one are neighbours. */
static int check_words(char *text, struct conf_fault *fault)
{
    struct scan s = { .p = text, .line = 1, .fault = fault };
    struct assignment a = { .at = NOWHERE };
    int rc = 0;
    while (*s.p && rc == 0) {
        const char *start = s.p;
        rc = token(&s);
        if (rc == 0)
            rc = follow(&s, &a, start);
    }
    return rc;
}

int conf_text_clean(char *text, struct conf_fault *fault)
{
    struct scan s = { .p = text, .line = 1, .fault = fault };
    int rc = 0;
    while (*s.p && rc == 0)
        rc = token(&s);
    if (rc == 0 && s.depth > 0)
        rc = fail(fault, s.open_line, "'{' without '}'");
    return rc == 0 ? check_words(text, fault) : rc;
}
