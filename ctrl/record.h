/* Records: one JSON line for each stream that has ended, for accounting. scistreamd(8) has the fields.
 *
 * A line is appended by one write to a file that is opened again when it was renamed or removed (logrotate), or goes to the log.
 * What cannot be written is counted and said once; no stream suffers. */
#ifndef CTRL_RECORD_H
#define CTRL_RECORD_H

#include "src/core/stats_sum.h"

/* One end of a stream; strings may be NULL: not known. */
struct record_end { const char *peer, *principal, *transport, *device, *security; };

struct record {
    const char *uid, *route;
    uint32_t channel;
    struct record_end source, sink;
    struct stats_sum moved;
    uint64_t ns;             /* from the moment it flowed to its end; 0: it never did */
    const char *digest;      /* hex; NULL, "": none */
    const char *outcome;     /* "confirmed", "handed_over", "probed", "aborted" … */
    int rc;                  /* why it was aborted; 0 */
    const char *reason;      /* in words */
};

struct records {
    char *path;              /* NULL: none, or the log */
    const char *gateway;
    bool to_log;
    int fd;
    bool torn, complained;   /* the file ends within a line / not all is well, and it was said */
    uint64_t written, lost;
};

/* where: "" none, "log", or a path. gateway must outlive r. 0; -errno and why (what to do). */
int records_open(struct records *r, const char *where, const char *gateway, char *why, size_t why_size);
void records_close(struct records *r); /* accepts zeroed memory */
void records_write(struct records *r, const struct record *e);
/* The line of e without its newline, heap; NULL: no memory. */
char *record_text(const struct record *e, const char *gateway);

#endif
