/* Command lines by table: parsing, --help and shell completion come from the same rows. */
#ifndef SRC_CORE_OPTS_H
#define SRC_CORE_OPTS_H

#include <stdio.h>

#include "src/core/value.h"

struct opts_row {
    struct value_row v;  /* v.name is the long option with dashes */
    char letter;         /* short form or 0 */
    const char *arg;     /* metavariable, NULL for a flag */
    const char *env;     /* environment variable that gives the default, or NULL */
    bool whole;          /* a LIST: each occurrence is one element as it stands, commas and all */
    size_t given;        /* offset of a bool that becomes true when the option stands on the command line; 0: none */
    const char *of;      /* the commands that take it, with spaces between them; -NAME is one that says itself why it does not. NULL: all */
    const char *heading; /* in the help of the program this row, and those behind it, stand below it; or NULL */
};

/* A program's first operand may be one of several commands. */
struct opts_verb { const char *name, *operands, *help; };

struct opts_command {
    const char *program;       /* scistream-send */
    const char *synopsis;      /* "[options] DEST [FILE…]" */
    const char *about;         /* what it does: one paragraph */
    const struct opts_row *rows;
    size_t n_rows;
    const char *tail;          /* examples and exit codes, printed below the options; or NULL */
    const struct opts_verb *(*verb)(size_t i); /* its commands, NULL behind the last; or NULL: it has none */
};

enum opts_outcome { OPTS_RUN, OPTS_EXIT_OK, OPTS_EXIT_USAGE };

/* Fill base (zeroed) from defaults, then the environment, then argv (getopt_long order: options may stand anywhere before "--").
 * --help (of the command that stands anywhere on the line, if one does) and --version print to stdout and give OPTS_EXIT_OK; an error prints one line and a hint to stderr and gives
 * OPTS_EXIT_USAGE. On OPTS_RUN *rest is the first operand in argv. Abbreviated long options are refused, and those that the command does not take.
 * A LIST option may be repeated. */
enum opts_outcome opts_parse(const struct opts_command *cmd, void *base, int argc, char **argv, int *rest);
void opts_free(const struct opts_command *cmd, void *base);
/* Of the program, or of one of its commands (NULL: none). */
void opts_help(const struct opts_command *cmd, const struct opts_verb *verb, FILE *out);
/* The command with that name, or NULL; *near, if not NULL: one that may have been meant, or NULL. */
const struct opts_verb *opts_find_verb(const struct opts_command *cmd, const char *name, const char **near);

#endif
