#include "src/core/log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>

#include "src/core/err.h"

#define LINE_MAX_BYTES PIPE_BUF /* one write(2) up to this size does not mix with other writers' */
#define MESSAGE_MAX 3072

static const struct { const char *word; int priority; } levels[] = {
    [LOG_LEVEL_ERROR] = { "error", LOG_ERR },
    [LOG_LEVEL_WARN] = { "warning", LOG_WARNING },
    [LOG_LEVEL_INFO] = { "info", LOG_INFO },
    [LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
};

enum log_level log_threshold = LOG_LEVEL_INFO;
const char *log_journal_path = "/run/systemd/journal/socket";

static char log_name[64] = "scistream";
static enum log_target log_where = LOG_TARGET_STDERR;
static enum log_format log_shape = LOG_FORMAT_TEXT;
static int journal_fd = -1;

/* ------------------------------------------------------------ escaping */

/* Bytes that the first byte of a UTF-8 sequence announces, 0: none begins so. */
static size_t utf8_announced(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Bytes of the well-formed sequence at s, 0 when there is none: no overlong forms, surrogates, or beyond U+10FFFF. */
static size_t utf8_len(const unsigned char *s)
{
    size_t n = utf8_announced(s[0]);
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool beyond = (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f);
    return overlong || beyond ? 0 : n;
}

/* C0, DEL and C1, which some terminals obey too. */
static bool is_control(const unsigned char *s, size_t n)
{
    return s[0] < 0x20 || s[0] == 0x7f || (n == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}

/* The escape for what stands at s, into out (8 bytes); returns how many bytes of s it covers. Empty: copy them as they are. */
static size_t escape_one(const unsigned char *s, bool json, char out[8])
{
    static const char letters[] = "btnfr", chars[] = "\b\t\n\f\r";
    size_t n = utf8_len(s);
    const char *ctl = strchr(chars, *s);
    out[0] = 0;
    if (ctl)
        snprintf(out, 8, "\\%c", letters[ctl - chars]);
    else if (n == 0)
        snprintf(out, 8, json ? "\\ufffd" : "\\x%02x", s[0]);
    else if (is_control(s, n))
        snprintf(out, 8, json ? "\\u%04x" : "\\x%02x", s[n - 1]);
    else if (json && (*s == '"' || *s == '\\'))
        snprintf(out, 8, "\\%c", *s);
    return MAX(n, (size_t)1);
}

/* Escaped copy, cut between characters to fit; always terminated when size > 0. */
static size_t escape_into(char *to, size_t size, const char *from, bool json)
{
    const unsigned char *s = (const unsigned char *)from;
    size_t len = 0, covers;
    char escape[8];
    for (; *s && size > 0; s += covers) {
        covers = escape_one(s, json, escape);
        size_t add = *escape ? strlen(escape) : covers;
        if (len + add >= size)
            break;
        memcpy(to + len, *escape ? escape : (const char *)s, add);
        len += add;
    }
    if (size > 0)
        to[len] = 0;
    return len;
}

size_t log_json_escape(char *to, size_t size, const char *s)
{
    return escape_into(to, size, s, true);
}

/* ------------------------------------------------------------ lines */

static size_t text_line(char *to, size_t size, enum log_level level, const char *message)
{
    int n = snprintf(to, size, level == LOG_LEVEL_INFO ? "%s: " : "%s: %s: ", log_name, levels[level].word);
    size_t len = MIN((size_t)MAX(n, 0), size - 2);
    len += escape_into(to + len, size - len - 1, message, false);
    to[len++] = '\n';
    return len;
}

static size_t json_line(char *to, size_t size, enum log_level level, const char *message)
{
    static const char tail[] = "\"}\n";
    char name[6 * sizeof(log_name)];
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    log_json_escape(name, sizeof(name), log_name);
    size_t len = strftime(to, size, "{\"time\":\"%Y-%m-%dT%H:%M:%S", &tm);
    int n = snprintf(to + len, size - len, ".%03dZ\",\"level\":\"%s\",\"name\":\"%s\",\"message\":\"", (int)(t.tv_nsec / 1000000),
                     levels[level].word, name);
    len += (size_t)MAX(n, 0);
    len += log_json_escape(to + len, size - len - sizeof(tail), message);
    memcpy(to + len, tail, sizeof(tail));
    return len + sizeof(tail) - 1;
}

static size_t make_line(char *to, size_t size, enum log_level level, const char *message)
{
    return (log_shape == LOG_FORMAT_JSON ? json_line : text_line)(to, size, level, message);
}

static void to_stderr(enum log_level level, const char *message)
{
    char line[LINE_MAX_BYTES];
    size_t len = make_line(line, sizeof(line), level, message);
    while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
        ;
}

static void to_syslog(enum log_level level, const char *message)
{
    char line[LINE_MAX_BYTES];
    if (log_shape == LOG_FORMAT_JSON)
        line[json_line(line, sizeof(line), level, message) - 1] = 0;
    else
        escape_into(line, sizeof(line), message, false);
    syslog(levels[level].priority, "%s", line);
}

/* ------------------------------------------------------------ the journal's own protocol */

/* NAME=value, or for a value of several lines: NAME, newline, 64-bit little-endian length, value. */
static size_t journal_field(char *to, const char *name, const char *value)
{
    size_t n = strlen(value), len = strlen(name);
    uint64_t le = htole64(n);
    memcpy(to, name, len);
    if (strchr(value, '\n')) {
        to[len++] = '\n';
        memcpy(to + len, &le, sizeof(le));
        len += sizeof(le);
    } else {
        to[len++] = '=';
    }
    memcpy(to + len, value, n);
    to[len + n] = '\n';
    return len + n + 1;
}

static bool to_journal(enum log_level level, const char *message)
{
    char packet[MESSAGE_MAX + sizeof(log_name) + 128], priority[12];
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    str_copy(sun.sun_path, sizeof(sun.sun_path), log_journal_path);
    snprintf(priority, sizeof(priority), "%d", levels[level].priority);
    size_t len = journal_field(packet, "MESSAGE", message);
    len += journal_field(packet + len, "PRIORITY", priority);
    len += journal_field(packet + len, "SYSLOG_IDENTIFIER", log_name);
    ssize_t n = sendto(journal_fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&sun, sizeof(sun));
    return n == (ssize_t)len;
}

/* A line the journal does not take now is not lost: it goes to stderr. */
static void emit(enum log_level level, const char *message)
{
    if (log_where == LOG_TARGET_SYSLOG)
        to_syslog(level, message);
    else if (log_where != LOG_TARGET_JOURNAL || !to_journal(level, message))
        to_stderr(level, message);
}

/* JOURNAL_STREAM=device:inode names the socket that systemd gave us as stderr. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;
    return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev &&
           st.st_ino == ino;
}

static int open_journal(void)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    AUTO_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || !str_copy(sun.sun_path, sizeof(sun.sun_path), log_journal_path))
        return -1;
    AUTO_FD int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (probe < 0 || connect(probe, (const struct sockaddr *)&sun, sizeof(sun)) < 0)
        return -1;
    return fd_take(&fd);
}

/* ------------------------------------------------------------ the module's own doors */

static void fall_back(const char *what, const char *path, int saved)
{
    log_where = LOG_TARGET_STDERR;
    log_warn("%s at %s: %s; logging to stderr", what, path, err_text(-saved));
}

static void open_target(void)
{
    if (log_where == LOG_TARGET_JOURNAL) {
        journal_fd = open_journal();
        if (journal_fd < 0)
            fall_back("journal", log_journal_path, errno);
    } else if (log_where == LOG_TARGET_SYSLOG) {
        openlog(log_name, LOG_PID | LOG_NDELAY, LOG_DAEMON);
        if (access(_PATH_LOG, F_OK) < 0) /* syslog(3) itself never tells */
            fall_back("syslog", _PATH_LOG, errno);
    }
}

void log_setup(const char *name, enum log_level level, enum log_target target, enum log_format format)
{
    str_copy(log_name, sizeof(log_name), name);
    log_threshold = level;
    log_shape = format;
    log_where = target == LOG_TARGET_AUTO ? (stderr_is_journal() ? LOG_TARGET_JOURNAL : LOG_TARGET_STDERR) : target;
    fd_close(&journal_fd);
    closelog();
    open_target();
}

static void PRINTF(2, 0) log_vwrite(enum log_level level, const char *fmt, va_list args)
{
    char message[MESSAGE_MAX];
    int saved = errno;
    if (level > log_threshold)
        return;
    vsnprintf(message, sizeof(message), fmt, args);
    emit(level, message);
    errno = saved;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_vwrite(level, fmt, args);
    va_end(args);
}

/* True: this line may go out; *left_out is how many of the period before did not. */
static bool gate_open(struct log_gate *g, unsigned *left_out)
{
    uint64_t now = now_ns();
    *left_out = 0;
    if (g->used == 0 || now - g->since_ns >= g->period_ns) {
        *left_out = g->dropped;
        g->since_ns = now;
        g->used = g->dropped = 0;
    }
    if (g->used >= g->burst) {
        g->dropped++;
        return false;
    }
    g->used++;
    return true;
}

void log_gated(struct log_gate *g, enum log_level level, const char *fmt, ...)
{
    char message[MESSAGE_MAX];
    unsigned left_out;
    int saved = errno;
    if (level > log_threshold || !gate_open(g, &left_out))
        return;
    va_list args;
    va_start(args, fmt);
    errno = saved;
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    if (left_out)
        log_write(level, "%s (and %u like it left out)", message, left_out);
    else
        log_write(level, "%s", message);
    errno = saved;
}
