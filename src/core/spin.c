#include "src/core/spin.h"

#include <fcntl.h>
#include <stdio.h>

#define ASK_NS (20 * NS_PER_MS)
#define DELAY_PART 6 /* delayed for more than this part of the time: contended */

void spin_init(struct spin *s)
{
    *s = (struct spin){ .fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC), .contended = true };
}

void spin_fini(struct spin *s) { fd_close(&s->fd); }

/* The second number is the delay in nanoseconds (Documentation/scheduler/sched-stats.rst of the kernel). */
static bool read_delay(int fd, uint64_t *ns)
{
    char text[80];
    unsigned long long run, delay = 0;
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = 0;
    if (sscanf(text, "%llu %llu", &run, &delay) != 2)
        return false;
    *ns = delay;
    return true;
}

bool spin_pays(struct spin *s, uint64_t now)
{
    uint64_t delay = 0;
    if (!s->short_wait || s->fd < 0)
        return false;
    if (now - s->asked_ns < ASK_NS)
        return !s->contended;
    s->contended = !read_delay(s->fd, &delay) || (delay - s->delayed_ns) * DELAY_PART > now - s->asked_ns;
    s->delayed_ns = delay;
    s->asked_ns = now;
    return !s->contended;
}
