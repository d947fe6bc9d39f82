/* Sessions of scistream.Control go from program to program at an upgrade, with their listening sockets; connections that are open stay where they are.
 *
 * Happy path: old: retire -> all calls are told to come again -> each session: its doors, then what is known of it -> yours.
 * new: doors and session -> adopted, names of targets are looked up again -> accepts. It tells the old one of each that ends.
 * What fails: the pair of sockets is full: it goes on when there is room. One that cannot be taken is told in the log of the new program, and lost.
 * A new program that does not know of sessions, or has them switched off: they stay with the old one, see stop_look.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/memfile.h"
#include "src/handover.h"
#include "src/scistreamd.h"

typedef Scistream__Gateway__V1__Session SessionMsg;

#define MOVED "a newer program of the gateway takes over: call again"

/* ------------------------------------------------------------ giving */

static int memory_of(const struct daemon *d, const struct request *r)
{
    SessionMsg *m = service_request_message(&d->service, r, NULL);
    size_t n = scistream__gateway__v1__session__get_packed_size(m);
    int fd = -1;
    uint8_t *p = memfile_create("scistream-session", n, &fd);
    if (p)
        scistream__gateway__v1__session__pack(m, p);
    memfile_unmap(p, n);
    scistream__gateway__v1__session__free_unpacked(m, NULL);
    return fd;
}

/* 0; -EAGAIN, and d->giving says where it stopped; -errno. */
static int give_one(struct daemon *d, const struct request *r)
{
    char port[12];
    AUTO_FD int fd = memory_of(d, r);
    int rc = fd < 0 ? -errno : 0;
    for (; rc == 0 && d->giving.door < r->n; d->giving.door += rc == 0) {
        snprintf(port, sizeof(port), "%u", doors_port(d->doors, r->number[d->giving.door]));
        rc = handover_say(d->heir.io.fd, "door", port, doors_fd(d->doors, r->number[d->giving.door]));
    }
    if (rc == 0)
        rc = handover_say(d->heir.io.fd, "session", r->uid, fd);
    if (rc == 0)
        doors_hand_over(d->doors, r->number, r->n);
    return rc == -ENOBUFS || rc == -ETOOMANYREFS ? -EAGAIN : rc;
}

int sessions_give(struct daemon *d)
{
    for (; d->giving.uid && d->giving.uid[d->giving.at]; d->giving.at++, d->giving.door = 0) {
        const struct request *r = requests_find(d->service.requests, d->giving.uid[d->giving.at]);
        int rc = r ? give_one(d, r) : 0;
        if (rc == -EAGAIN)
            return rc;
        if (rc < 0)
            log_error("session %s stays with this program: %s", r->uid, err_text(rc));
        d->giving.kept += rc < 0;
    }
    strv_free(d->giving.uid);
    d->giving.uid = NULL;
    return 0;
}

static void note(void *user, const struct request *r)
{
    struct daemon *d = user;
    d->giving.uid[d->giving.at++] = mem_strdup(r->uid);
}

void sessions_give_begin(struct daemon *d)
{
    if (!d->giving.wanted)
        return;
    requests_moved(d->service.requests, MOVED);
    d->giving.uid = mem_zalloc(requests_count(d->service.requests) + 1, sizeof(char *));
    requests_each(d->service.requests, note, d);
    d->giving.at = 0;
}

bool sessions_stay(const struct daemon *d)
{
    return d->retired && (d->giving.wanted ? d->giving.kept : requests_count(d->service.requests)) > 0;
}

/* ------------------------------------------------------------ taking */

void sessions_take_door(struct daemon *d, int fd)
{
    if (d->taking.n < ARRAY_LEN(d->taking.fd) && fd >= 0)
        d->taking.fd[d->taking.n++] = fd;
    else if (fd >= 0)
        close(fd);
}

static SessionMsg *read_session(int fd)
{
    struct stat st;
    SessionMsg *m = NULL;
    const uint8_t *p = fd >= 0 && fstat(fd, &st) == 0 ? memfile_map(fd, (size_t)st.st_size, false) : NULL;
    if (p)
        m = scistream__gateway__v1__session__unpack(NULL, (size_t)st.st_size, p);
    if (p)
        munmap((void *)(uintptr_t)p, (size_t)st.st_size);
    return m;
}

/* NULL-terminated; the strings stay the message's. */
static char **words(char *const *w, size_t n)
{
    char **out = mem_zalloc(n + 1, sizeof(*out));
    for (size_t i = 0; i < n; i++)
        out[i] = w[i];
    return out;
}

static bool adopt(struct daemon *d, const SessionMsg *m)
{
    const Scistream__Gateway__V1__Arranged *a = m->arranged;
    if (!a || d->taking.n == 0 || a->n_listeners != d->taking.n || requests_find(d->service.requests, m->uid))
        return false;
    AUTO_FREE char **listeners = words(a->listeners, a->n_listeners), **targets = words(a->targets, a->n_targets),
                   **prod = words(a->application, a->n_application);
    struct request_given g = { .uid = m->uid, .principal = a->principal, .cons = str_eq(a->role, "CONS"), .n = d->taking.n, .listeners = listeners,
                               .targets = targets, .prod = prod, .age_ns = m->age_ms * NS_PER_MS, .numbers = mem_zalloc(d->taking.n, sizeof(uint32_t)) };
    bool taken = doors_adopt(d->doors, &(struct doors_borrower){ m->uid, a->principal, str_eq(a->role, "CONS") }, d->taking.fd, g.n, g.numbers) == 0;
    if (taken && !requests_adopt(d->service.requests, &g)) {
        doors_take_back(d->doors, g.numbers, g.n, -SST_EINTERNAL, NULL);
        taken = false;
    }
    if (!taken)
        free(g.numbers);
    return taken;
}

void sessions_take(struct daemon *d, const char *uid, int fd)
{
    SessionMsg *m = read_session(fd);
    if (m && adopt(d, m))
        log_info("session %s taken over, %u port%s", uid, d->taking.n, d->taking.n == 1 ? "" : "s");
    else
        log_error("session %s cannot be taken over, and is lost", uid);
    for (unsigned i = 0; i < d->taking.n; i++)
        fd_close(&d->taking.fd[i]);
    d->taking.n = 0;
    scistream__gateway__v1__session__free_unpacked(m, NULL);
}

void sessions_released(void *user, const char *uid)
{
    struct daemon *d = user;
    if (d->before.io.fd >= 0) /* a word that is lost leaves connections until their time is over */
        (void)handover_say(d->before.io.fd, "release", uid, -1);
}
