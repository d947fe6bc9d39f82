#include "config.h"

#include "src/core/opts.h"

#include <getopt.h>
#include <stdarg.h>

#include "src/core/near.h"

#define HELP_COLUMN 30 /* where help texts begin */
#define HELP_WIDTH 96

enum { CODE_HELP = 256, CODE_VERSION, CODE_ROW }; /* above every letter */

/* One opts_parse. */
struct parser {
    const struct opts_command *cmd;
    void *base;
    struct option *longs;
    char *shorts;
    bool *given; /* on the command line, a flag a row */
};

static const struct opts_row own_rows[] = {
    { .v = { .name = "help", .type = VALUE_FLAG, .help = "print this and exit" }, .letter = 'h' },
    { .v = { .name = "version", .type = VALUE_FLAG, .help = "print the version and exit" }, .letter = 'V' },
};

/* ------------------------------------------------------------ what getopt wants */

static struct option long_option(const struct opts_row *row, int code)
{
    int has_arg = row->v.type == VALUE_FLAG ? no_argument : required_argument;
    return (struct option){ .name = row->v.name, .has_arg = has_arg, .val = code };
}

static void add_short(struct parser *p, const struct opts_row *row)
{
    char letter[3] = { row->letter, row->v.type == VALUE_FLAG ? 0 : ':', 0 };
    if (row->letter && !strchr(p->shorts + 1, row->letter))
        strcat(p->shorts, letter);
}

static void parser_init(struct parser *p)
{
    size_t n = p->cmd->n_rows, own = ARRAY_LEN(own_rows);
    p->longs = mem_zalloc(n + own + 1, sizeof(*p->longs));
    p->shorts = mem_zalloc(2 * (n + own) + 2, 1);
    p->given = mem_zalloc(n + 1, sizeof(*p->given));
    p->shorts[0] = ':'; /* a missing argument is told from an unknown option */
    for (size_t i = 0; i < n; i++) {
        p->longs[i] = long_option(&p->cmd->rows[i], CODE_ROW + (int)i);
        add_short(p, &p->cmd->rows[i]);
    }
    for (size_t i = 0; i < own; i++) {
        p->longs[n + i] = long_option(&own_rows[i], CODE_HELP + (int)i);
        add_short(p, &own_rows[i]);
    }
}

static void parser_fini(struct parser *p)
{
    free(p->longs);
    free(p->shorts);
    free(p->given);
}

/* ------------------------------------------------------------ commands */

const struct opts_verb *opts_find_verb(const struct opts_command *cmd, const char *name, const char **near)
{
    struct near n = near_begin(name);
    const struct opts_verb *v;
    for (size_t i = 0; cmd->verb && (v = cmd->verb(i)); i++) {
        if (str_eq(v->name, name))
            return v;
        near_look_at(&n, v->name);
    }
    if (near)
        *near = n.best;
    return NULL;
}

/* The first word of a command line that is a command, or NULL. */
static const struct opts_verb *verb_of_line(const struct opts_command *cmd, char *const *argv)
{
    const struct opts_verb *v = NULL;
    while (!v && *++argv)
        v = opts_find_verb(cmd, *argv, NULL);
    return v;
}

/* Is the name among the words of such a list? sign: behind "-". */
static bool is_of(const char *of, const char *name, bool sign)
{
    size_t n = strlen(name);
    for (; of && *of; of += strcspn(of, " "), of += *of == ' ') {
        bool signed_ = *of == '-';
        if (signed_ == sign && strncmp(of + signed_, name, n) == 0 && strchr(" ", of[signed_ + n]))
            return true;
    }
    return !of;
}

/* ------------------------------------------------------------ errors */

static enum opts_outcome usage(const struct parser *p, const char *fmt, ...) PRINTF(2, 3);
static enum opts_outcome usage(const struct parser *p, const char *fmt, ...)
{
    va_list args;
    fprintf(stderr, "%s: ", p->cmd->program);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nTry '%s --help'.\n", p->cmd->program);
    return OPTS_EXIT_USAGE;
}

static const struct opts_row *row_of_code(const struct parser *p, int code)
{
    if (code >= CODE_ROW)
        return &p->cmd->rows[code - CODE_ROW];
    if (code >= CODE_HELP)
        return &own_rows[code - CODE_HELP];
    for (size_t i = 0; i < p->cmd->n_rows; i++)
        if (p->cmd->rows[i].letter == code)
            return &p->cmd->rows[i];
    for (size_t i = 0; i < ARRAY_LEN(own_rows); i++)
        if (own_rows[i].letter == code)
            return &own_rows[i];
    return NULL;
}

static enum opts_outcome unknown(const struct parser *p, char *const *argv)
{
    const struct opts_row *row = optopt ? row_of_code(p, optopt) : NULL;
    if (row)
        return usage(p, "--%s: takes no value", row->v.name);
    if (optopt)
        return usage(p, "-%c: no such option", optopt);
    const char *word = argv[optind - 1];
    AUTO_FREE char *name = mem_printf("%.*s", (int)strcspn(word, "="), word);
    struct near near = near_begin(name + 2);
    for (const struct option *l = p->longs; l->name; l++)
        near_look_at(&near, l->name);
    return near.best ? usage(p, "%s: no such option (did you mean --%s?)", name, near.best) : usage(p, "%s: no such option", name);
}

/* "grant, inbound, stream" */
static char *commands_of(const char *of)
{
    char *all = mem_strdup("");
    for (; *of; of += strcspn(of, " "), of += *of == ' ') {
        char *more = *of == '-' ? NULL : mem_printf("%s%s%.*s", all, *all ? ", " : "", (int)strcspn(of, " "), of);
        if (more) {
            free(all);
            all = more;
        }
    }
    return all;
}

/* Options that the command does not take would be without effect, and nobody would know. */
static enum opts_outcome check_verb(const struct parser *p, const char *name)
{
    const struct opts_verb *v = name ? opts_find_verb(p->cmd, name, NULL) : NULL;
    for (size_t i = 0; v && i < p->cmd->n_rows; i++) {
        const struct opts_row *row = &p->cmd->rows[i];
        if (!p->given[i] || is_of(row->of, v->name, false) || is_of(row->of, v->name, true))
            continue;
        AUTO_FREE char *takers = commands_of(row->of);
        fprintf(stderr, "%s: %s takes no --%s: it is for %s\nTry '%s %s --help'.\n", p->cmd->program, v->name, row->v.name, takers, p->cmd->program, v->name);
        return OPTS_EXIT_USAGE;
    }
    return OPTS_RUN;
}

static enum opts_outcome incomplete(const struct parser *p)
{
    const struct opts_row *row = row_of_code(p, optopt);
    return usage(p, "--%s: needs a value, %s", row->v.name, row->arg ? row->arg : "VALUE");
}

/* ------------------------------------------------------------ values */

/* One more occurrence of a LIST: its elements behind those that are there. */
static int append_list(const struct value_row *row, void *base, const char *text, char *why, size_t why_size)
{
    char **more = NULL;
    struct value_row alone = *row;
    alone.off = 0;
    int rc = value_parse(&alone, &more, text, why, why_size);
    for (char **e = more; e && *e; e++)
        value_list_add(row, base, *e);
    value_free(&alone, 1, &more);
    return rc;
}

static int set_value(const struct parser *p, const struct opts_row *row, const char *text, char why[256])
{
    bool again = p->given[row - p->cmd->rows];
    if (row->whole) {
        if (!again)
            value_list_clear(&row->v, p->base);
        value_list_add(&row->v, p->base, text);
        return 0;
    }
    if (row->v.type == VALUE_LIST && again)
        return append_list(&row->v, p->base, text, why, 256);
    if (row->v.type != VALUE_STR)
        return value_parse(&row->v, p->base, text, why, 256);
    value_set_string(&row->v, p->base, text); /* the shell did the quoting */
    return 0;
}

/* The long option as it was typed: the word before optind, or the one before its value. */
static const char *typed(char *const *argv)
{
    return argv[optind - (optarg && optarg == argv[optind - 1] ? 2 : 1)];
}

/* getopt_long takes any unambiguous beginning of a name, we do not. */
static bool abbreviated(const char *word, const char *name)
{
    size_t n = strlen(name);
    return strncmp(word + 2, name, n) != 0 || (word[2 + n] && word[2 + n] != '=');
}

static enum opts_outcome take_option(const struct parser *p, int code, char *const *argv)
{
    const struct opts_row *row = row_of_code(p, code);
    char why[256];
    if (row == &own_rows[0]) {
        opts_help(p->cmd, verb_of_line(p->cmd, argv), stdout);
        return OPTS_EXIT_OK;
    }
    if (row == &own_rows[1]) {
        printf("%s (%s) %s\n", p->cmd->program, PACKAGE_NAME, PACKAGE_VERSION);
        return OPTS_EXIT_OK;
    }
    if (set_value(p, row, row->v.type == VALUE_FLAG ? "yes" : optarg, why) < 0)
        return usage(p, "--%s %s: %s", row->v.name, optarg, why);
    p->given[row - p->cmd->rows] = true;
    if (row->given)
        *(bool *)(void *)((char *)p->base + row->given) = true;
    return OPTS_RUN;
}

static enum opts_outcome read_line(const struct parser *p, int argc, char **argv)
{
    enum opts_outcome outcome = OPTS_RUN;
    opterr = 0;
    optind = 0; /* glibc: start over, even after an earlier command line */
    while (outcome == OPTS_RUN) {
        int index = -1, code = getopt_long(argc, argv, p->shorts, p->longs, &index);
        if (code == -1)
            break;
        if (code == '?')
            outcome = unknown(p, argv);
        else if (code == ':')
            outcome = incomplete(p);
        else if (index >= 0 && abbreviated(typed(argv), p->longs[index].name))
            outcome = usage(p, "%.*s: no such option; write --%s in full", (int)strcspn(typed(argv), "="), typed(argv),
                            p->longs[index].name);
        else
            outcome = take_option(p, code, argv);
    }
    return outcome;
}

static enum opts_outcome read_environment(const struct parser *p)
{
    char why[256];
    for (size_t i = 0; i < p->cmd->n_rows; i++) {
        const struct opts_row *row = &p->cmd->rows[i];
        const char *text = row->env && !p->given[i] ? getenv(row->env) : NULL;
        if (text && *text && set_value(p, row, text, why) < 0)
            return usage(p, "%s=%s: %s", row->env, text, why);
    }
    return OPTS_RUN;
}

enum opts_outcome opts_parse(const struct opts_command *cmd, void *base, int argc, char **argv, int *rest)
{
    struct parser p = { .cmd = cmd, .base = base };
    parser_init(&p);
    for (size_t i = 0; i < cmd->n_rows; i++)
        value_defaults(&cmd->rows[i].v, 1, base);
    enum opts_outcome outcome = read_line(&p, argc, argv);
    if (outcome == OPTS_RUN)
        outcome = check_verb(&p, argv[optind]);
    if (outcome == OPTS_RUN)
        outcome = read_environment(&p);
    if (outcome == OPTS_RUN)
        *rest = optind;
    else
        opts_free(cmd, base);
    parser_fini(&p);
    return outcome;
}

void opts_free(const struct opts_command *cmd, void *base)
{
    for (size_t i = 0; i < cmd->n_rows; i++)
        value_free(&cmd->rows[i].v, 1, base);
}

/* ------------------------------------------------------------ help */

/* Columns that n bytes of UTF-8 take. */
static int columns(const char *s, size_t n)
{
    int wide = 0;
    for (size_t i = 0; i < n; i++)
        wide += ((unsigned char)s[i] & 0xc0) != 0x80;
    return wide;
}

/* Words from column `at` on, further lines indented. */
static void print_wrapped(FILE *out, const char *text, int at, int indent)
{
    bool first = true;
    for (text += strspn(text, " \n"); *text; text += strspn(text, " \n")) {
        size_t n = strcspn(text, " \n");
        int wide = columns(text, n);
        if (!first && at + 1 + wide > HELP_WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
        } else if (!first) {
            at += fprintf(out, " ");
        }
        fprintf(out, "%.*s", (int)n, text);
        at += wide;
        text += n;
        first = false;
    }
    fprintf(out, "\n");
}

/* "(64K to 4G, default 1M; or $SCISTREAM_WINDOW)", or nothing. */
static char *details(const struct opts_row *row)
{
    AUTO_FREE char *range = row->v.type == VALUE_FLAG ? mem_strdup("") : value_describe(&row->v);
    const char *said = range;
    if (row->v.type == VALUE_STR || row->v.type == VALUE_LIST)
        said = strchr(range, ',') ? strchr(range, ',') + 2 : "";
    if (!*said && !row->env)
        return mem_strdup("");
    return mem_printf(" (%s%s%s%s)", said, *said && row->env ? "; " : "", row->env ? "or $" : "", row->env ? row->env : "");
}

static void print_entry(FILE *out, const char *left, const char *help)
{
    int at = columns(left, strlen(left));
    fprintf(out, "%s", left);
    if (at + 2 > HELP_COLUMN)
        fprintf(out, "\n%*s", HELP_COLUMN, "");
    else
        fprintf(out, "%*s", HELP_COLUMN - at, "");
    print_wrapped(out, help, HELP_COLUMN, HELP_COLUMN);
}

static void print_row(FILE *out, const struct opts_row *row)
{
    char letter[8] = "    ";
    if (row->letter)
        snprintf(letter, sizeof(letter), "-%c, ", row->letter);
    AUTO_FREE char *left = mem_printf("  %s--%s%s%s", letter, row->v.name, row->arg ? " " : "", row->arg ? row->arg : "");
    AUTO_FREE char *more = details(row);
    AUTO_FREE char *help = mem_printf("%s%s", row->v.help, more);
    print_entry(out, left, help);
}

static void print_verbs(FILE *out, const struct opts_command *cmd)
{
    const struct opts_verb *v;
    fprintf(out, "\nCommands:\n");
    for (size_t i = 0; (v = cmd->verb(i)); i++) {
        AUTO_FREE char *left = mem_printf("  %s%s%s", v->name, *v->operands ? " " : "", v->operands);
        print_entry(out, left, v->help);
    }
}

static void print_own(FILE *out)
{
    for (size_t i = 0; i < ARRAY_LEN(own_rows); i++)
        print_row(out, &own_rows[i]);
}

/* All, below their headings, or those that a command takes. */
static void print_options(FILE *out, const struct opts_command *cmd, const struct opts_verb *verb)
{
    bool own = false;
    fprintf(out, "\nOptions:\n");
    for (size_t i = 0; i < cmd->n_rows; i++) {
        const struct opts_row *row = &cmd->rows[i];
        if (!verb && row->heading) {
            if (!own)
                print_own(out);
            own = true;
            fprintf(out, "\n%s:\n", row->heading);
        }
        if (!verb || is_of(row->of, verb->name, false))
            print_row(out, row);
    }
    if (!own)
        print_own(out);
}

void opts_help(const struct opts_command *cmd, const struct opts_verb *verb, FILE *out)
{
    if (verb)
        fprintf(out, "Usage: %s [options] %s%s%s\n\n", cmd->program, verb->name, *verb->operands ? " " : "", verb->operands);
    else
        fprintf(out, "Usage: %s %s\n\n", cmd->program, cmd->synopsis);
    print_wrapped(out, verb ? verb->help : cmd->about, 0, 0);
    if (cmd->verb && !verb)
        print_verbs(out, cmd);
    print_options(out, cmd, verb);
    if (cmd->tail)
        fprintf(out, "\n%s%s", cmd->tail, *cmd->tail && cmd->tail[strlen(cmd->tail) - 1] == '\n' ? "" : "\n");
}
