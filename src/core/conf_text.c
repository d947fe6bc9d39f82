#include "src/core/conf_text.h"

#include <fcntl.h>

#include "src/core/err.h"

struct scan {
    char *p;
    unsigned line;
    unsigned depth, open_line; /* braces that are open, and where the outermost stands */
    struct conf_fault *fault;
};

static int fail(struct conf_fault *fault, unsigned line, const char *what)
{
    *fault = (struct conf_fault){ line, what };
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
    size_t n = strcspn(s->p, " #\"'\t\n\r={}()+,*");
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

int conf_text_clean(char *text, struct conf_fault *fault)
{
    struct scan s = { .p = text, .line = 1, .fault = fault };
    int rc = 0;
    while (*s.p && rc == 0)
        rc = token(&s);
    if (rc == 0 && s.depth > 0)
        rc = fail(fault, s.open_line, "'{' without '}'");
    return rc;
}
