#include "config.h"

#include "src/core/opts.h"
#include "tests/lib/capture.h"
#include "tests/lib/unit.h"

struct box {
    bool quiet, force, window_given;
    uint64_t window;
    char *output;
    int report;
    char **require, **set;
};

static const struct opts_row rows[] = {
    { { "output", VALUE_STR, offsetof(struct box, output), "-", 0, 0, NULL, "where the bytes go" }, 'o', "FILE", NULL, false, 0, NULL, NULL },
    { { "window", VALUE_SIZE, offsetof(struct box, window), "1M", 64 << 10, 4ULL << 30, NULL,
        "bytes in flight: a help text that is long enough to need more than one line on a terminal" }, 'w', "SIZE", "TEST_WINDOW", false,
      offsetof(struct box, window_given), NULL, NULL },
    { { "report", VALUE_ENUM, offsetof(struct box, report), "none", 0, 0, "none|text|json", "summary at the end" },
      0, "FORM", NULL, false, 0, NULL, NULL },
    { { "require", VALUE_LIST, offsetof(struct box, require), "", 0, 0, NULL, "transports to insist on" },
      'r', "NAMES", "TEST_REQUIRE", false, 0, NULL, NULL },
    { { "quiet", VALUE_FLAG, offsetof(struct box, quiet), "no", 0, 0, NULL, "say nothing" }, 'q', NULL, "TEST_QUIET", false, 0, NULL, NULL },
    { { "force-it-with-a-long-name", VALUE_FLAG, offsetof(struct box, force), "no", 0, 0, NULL, "go on" }, 0, NULL, NULL, false, 0, NULL, NULL },
    { { "set", VALUE_LIST, offsetof(struct box, set), "", 0, 0, NULL, "an option of something else" }, 's', "KEY=VALUE", NULL, true, 0, NULL, NULL },
};

static const struct opts_command cmd = {
    .program = "scistream-send",
    .synopsis = "[options] DEST [FILE\xe2\x80\xa6]",
    .about = "Streams files, or standard input, to a gateway, which sends them on to the other side of a wide area network. "
             "It ends well only when the last receiver has confirmed every byte.",
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
    .tail = "Exit codes: scistream(7).",
};

static struct box box;
static char said[8000];
static char *operands[16];

static const struct opts_command *parsed = &cmd;

/* Split words at spaces and parse them. Both outputs are captured. */
static enum opts_outcome parse(const char *line)
{
    static char words[400];
    char *argv[16] = { NULL }, *save = NULL;
    int argc = 0, rest = 0;
    snprintf(words, sizeof(words), "scistream-send %s", line);
    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    memset(&box, 0, sizeof(box));
    struct capture err = capture_begin(STDERR_FILENO), out = capture_begin(STDOUT_FILENO);
    enum opts_outcome outcome = opts_parse(parsed, &box, argc, argv, &rest);
    capture_end(&out, said, sizeof(said));
    size_t n = strlen(said);
    capture_end(&err, said + n, sizeof(said) - n);
    memset(operands, 0, sizeof(operands));
    for (int i = rest; outcome == OPTS_RUN && i < argc; i++)
        operands[i - rest] = argv[i];
    return outcome;
}

static void done(void)
{
    opts_free(&cmd, &box);
    CU_ASSERT(box.output == NULL && box.require == NULL);
}

static void test_defaults(void)
{
    CU_ASSERT_EQUAL(parse(""), OPTS_RUN);
    CU_ASSERT(box.window == 1 << 20 && str_eq(box.output, "-") && box.report == 0 && !box.require[0] && !box.quiet && !box.force);
    CU_ASSERT_FALSE(box.window_given);
    CU_ASSERT_PTR_NULL(operands[0]);
    done();
}

static void test_all(void)
{
    CU_ASSERT_EQUAL(parse("a -o x --window=64K b --report json -qr ucx --require link,verbs -- -c"), OPTS_RUN);
    CU_ASSERT(box.window == 65536 && box.window_given && str_eq(box.output, "x") && box.report == 2 && box.quiet);
    CU_ASSERT(str_eq(box.require[0], "ucx") && str_eq(box.require[1], "link") && str_eq(box.require[2], "verbs"));
    CU_ASSERT_PTR_NULL(box.require[3]);
    CU_ASSERT(!box.set[0]);
    CU_ASSERT(str_eq(operands[0], "a") && str_eq(operands[1], "b") && str_eq(operands[2], "-c") && !operands[3]);
    done();
    CU_ASSERT_EQUAL(parse("--output=\"q\" --force-it-with-a-long-name"), OPTS_RUN);
    CU_ASSERT(str_eq(box.output, "\"q\"") && box.force); /* the shell did the quoting */
    done();
}

static void test_whole(void)
{
    CU_ASSERT_EQUAL(parse("-s a=b,c --set=d={\"e\",\"f\"} -s ,"), OPTS_RUN);
    CU_ASSERT(str_eq(box.set[0], "a=b,c") && str_eq(box.set[1], "d={\"e\",\"f\"}") && str_eq(box.set[2], ",") && !box.set[3]);
    done();
}

static void check_usage(const char *line, const char *message)
{
    AUTO_FREE char *expect = mem_printf("scistream-send: %s\nTry 'scistream-send --help'.\n", message);
    CU_ASSERT_EQUAL(parse(line), OPTS_EXIT_USAGE);
    CU_ASSERT_STRING_EQUAL(said, expect);
    if (!str_eq(said, expect))
        printf("\n  %s", said);
    done();
}

static void test_errors(void)
{
    check_usage("--window 1K", "--window 1K: must be 64K to 4G");
    check_usage("-w1K", "--window 1K: must be 64K to 4G");
    check_usage("--report=xml", "--report xml: must be one of none|text|json");
    check_usage("-r a,,b", "--require a,,b: must be a list like a, b or {\"a\", \"b\"}");
    check_usage("-r a -r b,", "--require b,: must be a list like a, b or {\"a\", \"b\"}");
    check_usage("--nonsense", "--nonsense: no such option");
    check_usage("--nonsense=5", "--nonsense: no such option");
    check_usage("--reprot=json", "--reprot: no such option (did you mean --report?)");
    check_usage("-x", "-x: no such option");
    check_usage("-qx", "-x: no such option");
    check_usage("--window", "--window: needs a value, SIZE");
    check_usage("-o", "--output: needs a value, FILE");
    check_usage("--quiet=yes", "--quiet: takes no value");
    check_usage("--help=x", "--help: takes no value");
}

/* getopt_long would take them: a script must not break when an option is added. */
static void test_no_abbreviations(void)
{
    check_usage("--win 64K", "--win: no such option; write --window in full");
    check_usage("--win=64K", "--win: no such option; write --window in full");
    check_usage("a --qui b", "--qui: no such option; write --quiet in full");
    check_usage("--forc", "--forc: no such option; write --force-it-with-a-long-name in full");
    check_usage("--re json", "--re: no such option"); /* ambiguous besides */
    check_usage("--he", "--he: no such option; write --help in full");
}

static void test_environment(void)
{
    setenv("TEST_WINDOW", "2M", 1);
    setenv("TEST_REQUIRE", "ucx, link", 1);
    setenv("TEST_QUIET", "on", 1);
    CU_ASSERT_EQUAL(parse("--require verbs"), OPTS_RUN);
    CU_ASSERT(box.window == 2 << 20 && !box.window_given && box.quiet && str_eq(box.require[0], "verbs") && !box.require[1]);
    done();
    setenv("TEST_WINDOW", "1K", 1);
    check_usage("", "TEST_WINDOW=1K: must be 64K to 4G");
    CU_ASSERT_EQUAL(parse("-w 64K"), OPTS_RUN); /* not looked at when the option is given */
    done();
    CU_ASSERT_EQUAL(parse("--help"), OPTS_EXIT_OK);
    done();
    setenv("TEST_WINDOW", "", 1);
    unsetenv("TEST_QUIET");
    CU_ASSERT_EQUAL(parse(""), OPTS_RUN);
    CU_ASSERT(box.window == 1 << 20 && str_eq(box.require[1], "link"));
    done();
    unsetenv("TEST_WINDOW");
    unsetenv("TEST_REQUIRE");
}

static void test_version(void)
{
    CU_ASSERT_EQUAL(parse("--version"), OPTS_EXIT_OK);
    CU_ASSERT_STRING_EQUAL(said, "scistream-send (" PACKAGE_NAME ") " PACKAGE_VERSION "\n");
    done();
    CU_ASSERT_EQUAL(parse("-V --nonsense"), OPTS_EXIT_OK);
    done();
}

static void test_help(void)
{
    static const char expect[] =
        "Usage: scistream-send [options] DEST [FILE\xe2\x80\xa6]\n"
        "\n"
        "Streams files, or standard input, to a gateway, which sends them on to the other side of a wide\n"
        "area network. It ends well only when the last receiver has confirmed every byte.\n"
        "\n"
        "Options:\n"
        "  -o, --output FILE           where the bytes go (default -)\n"
        "  -w, --window SIZE           bytes in flight: a help text that is long enough to need more than\n"
        "                              one line on a terminal (64K to 4G, default 1M; or $TEST_WINDOW)\n"
        "      --report FORM           summary at the end (none|text|json, default none)\n"
        "  -r, --require NAMES         transports to insist on (or $TEST_REQUIRE)\n"
        "  -q, --quiet                 say nothing (or $TEST_QUIET)\n"
        "      --force-it-with-a-long-name\n"
        "                              go on\n"
        "  -s, --set KEY=VALUE         an option of something else\n"
        "  -h, --help                  print this and exit\n"
        "  -V, --version               print the version and exit\n"
        "\n"
        "Exit codes: scistream(7).\n";
    CU_ASSERT_EQUAL(parse("-h"), OPTS_EXIT_OK);
    CU_ASSERT_STRING_EQUAL(said, expect);
    if (!str_eq(said, expect))
        printf("\n%s", said);
    done();
}

/* ------------------------------------------------------------ commands */

static const struct opts_row verb_rows[] = {
    { .v = { .name = "output", .type = VALUE_STR, .off = offsetof(struct box, output), .def = "-", .help = "where the bytes go" }, .letter = 'o', .arg = "FILE" },
    { .v = { .name = "quiet", .type = VALUE_FLAG, .off = offsetof(struct box, quiet), .def = "no", .help = "say nothing" }, .of = "look -take" },
    { .v = { .name = "force", .type = VALUE_FLAG, .off = offsetof(struct box, force), .def = "no", .help = "go on" }, .of = "take takeaway",
      .heading = "Options of take" },
};

static const struct opts_verb verbs[] = { { "look", "", "see what is there" }, { "take", "THING", "take it" }, { "takeaway", "", "take it away" } };

static const struct opts_verb *verb_at(size_t i) { return i < ARRAY_LEN(verbs) ? &verbs[i] : NULL; }

static const struct opts_command with_verbs = {
    .program = "scistream-send", .synopsis = "COMMAND", .about = "Looks, or takes.", .rows = verb_rows, .n_rows = ARRAY_LEN(verb_rows), .verb = verb_at,
};

/* An option that is for another command is refused, unless the command says so itself. */
static void test_verbs(void)
{
    static const char refused[] = "scistream-send: look takes no --force: it is for take, takeaway\nTry 'scistream-send look --help'.\n";
    parsed = &with_verbs;
    CU_ASSERT_EQUAL(parse("look --force"), OPTS_EXIT_USAGE);
    CU_ASSERT_STRING_EQUAL(said, refused);
    CU_ASSERT_EQUAL(parse("--force -o x look"), OPTS_EXIT_USAGE);
    CU_ASSERT_EQUAL(parse("takeaway --quiet"), OPTS_EXIT_USAGE);
    const char *const taken[] = { "take --force --quiet x", "take -o look", "--quiet look", "nobody --force", "--force", "takeaway --force" };
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        CU_ASSERT_EQUAL(parse(taken[i]), OPTS_RUN);
        opts_free(parsed, &box);
    }
    parsed = &cmd;
}

static void test_find_verb(void)
{
    const char *near = NULL;
    CU_ASSERT_PTR_EQUAL(opts_find_verb(&with_verbs, "take", NULL), &verbs[1]);
    CU_ASSERT_PTR_NULL(opts_find_verb(&with_verbs, "tkae", &near));
    CU_ASSERT(near && str_eq(near, "take"));
    CU_ASSERT(!opts_find_verb(&with_verbs, "bananas", &near) && !near);
    CU_ASSERT(!opts_find_verb(&cmd, "take", &near) && !near);
}

static void test_help_of_verbs(void)
{
    static const char all[] =
        "Usage: scistream-send COMMAND\n\nLooks, or takes.\n\nCommands:\n"
        "  look                        see what is there\n"
        "  take THING                  take it\n"
        "  takeaway                    take it away\n\nOptions:\n"
        "  -o, --output FILE           where the bytes go (default -)\n"
        "      --quiet                 say nothing\n"
        "  -h, --help                  print this and exit\n"
        "  -V, --version               print the version and exit\n\nOptions of take:\n"
        "      --force                 go on\n";
    static const char take[] =
        "Usage: scistream-send [options] take THING\n\ntake it\n\nOptions:\n"
        "  -o, --output FILE           where the bytes go (default -)\n"
        "      --force                 go on\n"
        "  -h, --help                  print this and exit\n"
        "  -V, --version               print the version and exit\n";
    parsed = &with_verbs;
    CU_ASSERT_EQUAL(parse("--help"), OPTS_EXIT_OK);
    CU_ASSERT_STRING_EQUAL(said, all);
    CU_ASSERT_EQUAL(parse("--help take"), OPTS_EXIT_OK);
    CU_ASSERT_STRING_EQUAL(said, take);
    CU_ASSERT_EQUAL(parse("-o x take --help"), OPTS_EXIT_OK);
    CU_ASSERT_STRING_EQUAL(said, take);
    parsed = &cmd;
}

UNIT_MAIN("opts", UNIT(test_defaults), UNIT(test_all), UNIT(test_whole), UNIT(test_errors), UNIT(test_no_abbreviations), UNIT(test_environment),
          UNIT(test_version), UNIT(test_help), UNIT(test_verbs), UNIT(test_find_verb), UNIT(test_help_of_verbs))
