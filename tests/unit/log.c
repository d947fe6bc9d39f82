#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "src/core/log.h"
#include "tests/lib/capture.h"
#include "tests/lib/unit.h"

static char said[20000];

#define SAID(statement) \
    do { \
        struct capture capture = capture_begin(STDERR_FILENO); \
        statement; \
        capture_end(&capture, said, sizeof(said)); \
    } while (0)

static void text_setup(enum log_level level)
{
    log_setup("prog", level, LOG_TARGET_STDERR, LOG_FORMAT_TEXT);
}

/* ------------------------------------------------------------ text */

static void test_levels(void)
{
    text_setup(LOG_LEVEL_DEBUG);
    SAID(log_error("a %d", 1); log_warn("b"); log_info("c"); log_debug("d"));
    CU_ASSERT_STRING_EQUAL(said, "prog: error: a 1\nprog: warning: b\nprog: c\nprog: debug: d\n");
    text_setup(LOG_LEVEL_INFO);
    SAID(log_debug("hidden"); log_info("shown"));
    CU_ASSERT_STRING_EQUAL(said, "prog: shown\n");
    text_setup(LOG_LEVEL_ERROR);
    SAID(log_info("hidden"); log_warn("hidden"); log_error("shown"));
    CU_ASSERT_STRING_EQUAL(said, "prog: error: shown\n");
}

/* A peer cannot begin a line of its own nor talk to the terminal. */
static void test_text_escapes(void)
{
    text_setup(LOG_LEVEL_INFO);
    SAID(log_info("%s", "a\nb\r\x1b[31m\t\x7f|\xc2\x9b|\xff|gr\xc3\xbc\xc3\x9f|\\\""));
    CU_ASSERT_STRING_EQUAL(said, "prog: a\\nb\\r\\x1b[31m\\t\\x7f|\\x9b|\\xff|gr\xc3\xbc\xc3\x9f|\\\"\n");
}

static void test_long_lines(void)
{
    char *longest = mem_zalloc(9001, 1);
    memset(longest, 'x', 9000);
    text_setup(LOG_LEVEL_INFO);
    SAID(log_info("%s", longest));
    CU_ASSERT(strlen(said) <= PIPE_BUF && strlen(said) > 3000 && said[strlen(said) - 1] == '\n');
    memset(longest, 1, 9000);
    SAID(log_info("%s", longest));
    CU_ASSERT(strlen(said) <= PIPE_BUF && strlen(said) > 4000 && said[strlen(said) - 1] == '\n');
    log_setup("prog", LOG_LEVEL_INFO, LOG_TARGET_STDERR, LOG_FORMAT_JSON);
    SAID(log_info("%s", longest));
    CU_ASSERT(strlen(said) <= PIPE_BUF && strlen(said) > 4000);
    CU_ASSERT_STRING_EQUAL(said + strlen(said) - 3, "\"}\n");
    free(longest);
}

static void test_errno_kept(void)
{
    text_setup(LOG_LEVEL_INFO);
    struct log_gate gate = LOG_GATE;
    errno = ENOENT;
    SAID(errno = EXDEV; log_info("%m"); CU_ASSERT_EQUAL(errno, EXDEV); log_gated(&gate, LOG_LEVEL_INFO, "%m");
         CU_ASSERT_EQUAL(errno, EXDEV));
    CU_ASSERT_STRING_EQUAL(said, "prog: Invalid cross-device link\nprog: Invalid cross-device link\n");
}

/* ------------------------------------------------------------ JSON */

static void test_json(void)
{
    log_setup("d\"x", LOG_LEVEL_INFO, LOG_TARGET_STDERR, LOG_FORMAT_JSON);
    SAID(log_warn("say \"%s\"", "a\nb"));
    const char *tail = "Z\",\"level\":\"warning\",\"name\":\"d\\\"x\",\"message\":\"say \\\"a\\nb\\\"\"}\n";
    CU_ASSERT_TRUE(str_starts(said, "{\"time\":\"20"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(strchr(said, 'Z'));
    CU_ASSERT_STRING_EQUAL(strchr(said, 'Z'), tail);
    for (const char *p = said + 9, *shape = "dddd-dd-ddTdd:dd:dd.ddd"; *shape; p++, shape++)
        CU_ASSERT(*shape == 'd' ? isdigit((unsigned char)*p) : *p == *shape);
}

static void check_escape(const char *in, const char *out)
{
    char to[64];
    CU_ASSERT_EQUAL(log_json_escape(to, sizeof(to), in), strlen(out));
    CU_ASSERT_STRING_EQUAL(to, out);
}

static void test_json_escape(void)
{
    check_escape("", "");
    check_escape("plain / text", "plain / text");
    check_escape("\"\\\b\f\n\r\t", "\\\"\\\\\\b\\f\\n\\r\\t");
    check_escape("\x01\x1f\x7f", "\\u0001\\u001f\\u007f");
    check_escape("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    check_escape("\xc2\x85", "\\u0085");
    check_escape("\x80|\xc3|\xe2\x82|\xf0\x9f\x98", "\\ufffd|\\ufffd|\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd");
    check_escape("\xc0\x80", "\\ufffd\\ufffd");             /* overlong */
    check_escape("\xe0\x80\x80", "\\ufffd\\ufffd\\ufffd");  /* overlong */
    check_escape("\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd");  /* a surrogate */
    check_escape("\xf4\x90\x80\x80x", "\\ufffd\\ufffd\\ufffd\\ufffdx"); /* above U+10FFFF */
}

/* Never half an escape, never half a character. */
static void test_json_cut(void)
{
    char to[8];
    CU_ASSERT_EQUAL(log_json_escape(to, 4, "ab\n"), 2);
    CU_ASSERT_STRING_EQUAL(to, "ab");
    CU_ASSERT_EQUAL(log_json_escape(to, 5, "ab\n"), 4);
    CU_ASSERT_EQUAL(log_json_escape(to, 4, "a\xe2\x82\xac"), 1);
    CU_ASSERT_EQUAL(log_json_escape(to, 1, "a"), 0);
    CU_ASSERT_STRING_EQUAL(to, "");
    CU_ASSERT_EQUAL(log_json_escape(NULL, 0, "a"), 0);
}

/* ------------------------------------------------------------ gate */

static void test_gate(void)
{
    struct log_gate gate = { .period_ns = NS_PER_S * 3600, .burst = 2 };
    text_setup(LOG_LEVEL_INFO);
    SAID(for (int i = 0; i < 5; i++) log_gated(&gate, LOG_LEVEL_WARN, "n %d", i));
    CU_ASSERT_STRING_EQUAL(said, "prog: warning: n 0\nprog: warning: n 1\n");
    gate.since_ns -= gate.period_ns; /* the next period */
    SAID(log_gated(&gate, LOG_LEVEL_WARN, "again"); log_gated(&gate, LOG_LEVEL_WARN, "once more"));
    CU_ASSERT_STRING_EQUAL(said, "prog: warning: again (and 3 like it left out)\nprog: warning: once more\n");
    SAID(log_gated(&gate, LOG_LEVEL_DEBUG, "below the threshold"));
    CU_ASSERT_STRING_EQUAL(said, "");
    CU_ASSERT_EQUAL(gate.dropped, 0);
}

/* ------------------------------------------------------------ the journal */

static char journal_path[64];

static int journal_listen(void)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    snprintf(journal_path, sizeof(journal_path), "/tmp/unit-log-%d.sock", (int)getpid());
    unlink(journal_path);
    memcpy(sun.sun_path, journal_path, sizeof(journal_path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CU_ASSERT(bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0);
    log_journal_path = journal_path;
    return fd;
}

static void check_packet(int fd, const char *expect, size_t n)
{
    char packet[8192];
    ssize_t got = recv(fd, packet, sizeof(packet), 0);
    CU_ASSERT_EQUAL(got, (ssize_t)n);
    CU_ASSERT_EQUAL(memcmp(packet, expect, n), 0);
}

static void test_journal(void)
{
    static const char one[] = "MESSAGE=hello\nPRIORITY=4\nSYSLOG_IDENTIFIER=prog\n";
    static const char two[] = "MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\nPRIORITY=6\nSYSLOG_IDENTIFIER=prog\n";
    AUTO_FD int fd = journal_listen();
    SAID(log_setup("prog", LOG_LEVEL_INFO, LOG_TARGET_JOURNAL, LOG_FORMAT_TEXT); log_warn("hello"); log_info("a\nb"));
    CU_ASSERT_STRING_EQUAL(said, "");
    check_packet(fd, one, sizeof(one) - 1);
    check_packet(fd, two, sizeof(two) - 1);
}

/* journald stops: nothing is lost; comes back: it goes on. */
static void test_journal_restart(void)
{
    int fd = journal_listen();
    log_setup("prog", LOG_LEVEL_INFO, LOG_TARGET_JOURNAL, LOG_FORMAT_TEXT);
    close(fd);
    SAID(log_info("not taken"));
    CU_ASSERT_STRING_EQUAL(said, "prog: not taken\n");
    fd = journal_listen();
    SAID(log_info("x"));
    CU_ASSERT_STRING_EQUAL(said, "");
    check_packet(fd, "MESSAGE=x\nPRIORITY=6\nSYSLOG_IDENTIFIER=prog\n", 44);
    close(fd);
}

static void test_journal_missing(void)
{
    log_journal_path = "/nonexistent/socket";
    SAID(log_setup("prog", LOG_LEVEL_INFO, LOG_TARGET_JOURNAL, LOG_FORMAT_TEXT); log_info("x"));
    CU_ASSERT_STRING_EQUAL(
        said, "prog: warning: journal at /nonexistent/socket: No such file or directory; logging to stderr\nprog: x\n");
    if (access("/dev/log", F_OK) == 0)
        return;
    SAID(log_setup("prog", LOG_LEVEL_INFO, LOG_TARGET_SYSLOG, LOG_FORMAT_TEXT); log_info("x"));
    CU_ASSERT_STRING_EQUAL(said, "prog: warning: syslog at /dev/log: No such file or directory; logging to stderr\nprog: x\n");
}

/* AUTO looks whether stderr is the socket that JOURNAL_STREAM names. */
static void test_auto(void)
{
    AUTO_FD int fd = journal_listen();
    char stream[64];
    struct stat st;
    unsetenv("JOURNAL_STREAM");
    SAID(log_setup("prog", LOG_LEVEL_INFO, LOG_TARGET_AUTO, LOG_FORMAT_TEXT); log_info("stderr"));
    CU_ASSERT_STRING_EQUAL(said, "prog: stderr\n");
    setenv("JOURNAL_STREAM", "1:2", 1);
    SAID(log_setup("prog", LOG_LEVEL_INFO, LOG_TARGET_AUTO, LOG_FORMAT_TEXT); log_info("another"));
    CU_ASSERT_STRING_EQUAL(said, "prog: another\n");
    SAID(fstat(STDERR_FILENO, &st); snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
         setenv("JOURNAL_STREAM", stream, 1); log_setup("prog", LOG_LEVEL_INFO, LOG_TARGET_AUTO, LOG_FORMAT_TEXT); log_info("y"));
    CU_ASSERT_STRING_EQUAL(said, "");
    check_packet(fd, "MESSAGE=y\nPRIORITY=6\nSYSLOG_IDENTIFIER=prog\n", 44);
    unsetenv("JOURNAL_STREAM");
    unlink(journal_path);
    text_setup(LOG_LEVEL_INFO); /* gives the socket back */
}

UNIT_MAIN("log", UNIT(test_levels), UNIT(test_text_escapes), UNIT(test_long_lines), UNIT(test_errno_kept), UNIT(test_json),
          UNIT(test_json_escape), UNIT(test_json_cut), UNIT(test_gate), UNIT(test_journal), UNIT(test_journal_restart),
          UNIT(test_journal_missing), UNIT(test_auto))
