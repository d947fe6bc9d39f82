/* Log: levels, to stderr, syslog or the journal, as text or JSON lines. One line a call. */
#ifndef SRC_CORE_LOG_H
#define SRC_CORE_LOG_H

#include "src/core/util.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_target { LOG_TARGET_AUTO, LOG_TARGET_STDERR, LOG_TARGET_SYSLOG, LOG_TARGET_JOURNAL };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

extern enum log_level log_threshold;
extern const char *log_journal_path; /* where journald listens; a test puts a socket of its own here */

/* Before the first line. name is the program or "scistreamd[worker 1]"; copied. AUTO: the journal when stderr is its socket
 * (JOURNAL_STREAM), else stderr. Never fails: what cannot be reached falls back to stderr with a line that says so. */
void log_setup(const char *name, enum log_level level, enum log_target target, enum log_format format);
void log_write(enum log_level level, const char *fmt, ...) PRINTF(2, 3);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) do { if (log_threshold >= LOG_LEVEL_DEBUG) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__); } while (0)

/* For what a peer can cause: at most `burst` lines in each `period_ns`; the first line of the next period says how many
 * were left out. Static storage, one per place: static struct log_gate gate = LOG_GATE; log_gated(&gate, LOG_LEVEL_WARN, …). */
struct log_gate { uint64_t period_ns, since_ns; unsigned burst, used, dropped; };
#define LOG_GATE { .period_ns = 10 * NS_PER_S, .burst = 10 }
void log_gated(struct log_gate *g, enum log_level level, const char *fmt, ...) PRINTF(3, 4);

/* Write s as the inside of a JSON string (control characters, quotes and broken UTF-8 escaped); returns the length, cut to fit. */
size_t log_json_escape(char *to, size_t size, const char *s);

#endif
