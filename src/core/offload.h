/* One helper thread for system calls that may take long (disk reads and writes, fsync, touching pages): it runs one job at a time,
 * in order, and touches nothing but the job. Completions come back through the loop. */
#ifndef SRC_CORE_OFFLOAD_H
#define SRC_CORE_OFFLOAD_H

#include "src/core/loop.h"

struct offload;

struct job {
    struct list node;
    void (*run)(struct job *j);  /* in the thread: only what hangs on j and is touched by nobody else until done */
    void (*done)(struct job *j); /* in the loop */
    bool queued;                 /* between offload_submit and done; the loop's */
};

/* The thread starts with the first job. NULL and errno when the eventfd cannot be had. */
struct offload *offload_new(struct loop *l);
/* Queue j; it must stay until done was called. -EAGAIN when the thread cannot be started (then nothing is queued). */
int offload_submit(struct offload *o, struct job *j);
/* Waits for the job that runs now, drops the others without done(). Null-safe. */
void offload_free(struct offload *o);

#endif
