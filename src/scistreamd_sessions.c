/* Sessions of scistream.Control go from program to program at an upgrade, with their listening sockets; connections that are open stay where they are.
 *
 * Happy path: old: retire -> all calls are told to come again -> each session: its doors, then what is known of it -> yours.
 * new: doors and session -> adopted, names of targets are looked up again -> accepts. It tells the old one of each that ends.
 * What fails: the pair of sockets is full: it goes on when there is room. One that cannot be taken is told in the log of the new program, and lost.
 * A new program that does not know of sessions, or has them switched off: they stay with the old one, see stop_look.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "ctrl/requests_arranged.h"
#include "ctrl/service_arrange.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/memfile.h"
#include "src/core/secret.h"
#include "src/handover.h"
#include "src/scistreamd.h"

typedef Scistream__Gateway__V1__Session SessionMsg;
typedef Scistream__Gateway__V1__HandedSession HandedMsg;
typedef Scistream__Gateway__V1__HandedPlace PlaceMsg;

#define MOVED "a newer program of the gateway takes over: call again"

/* ------------------------------------------------------------ giving */

static int packed(const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    int fd = -1;
    uint8_t *p = memfile_create("scistream-session", n, &fd);
    if (p)
        protobuf_c_message_pack(m, p);
    memfile_unmap(p, n);
    return fd;
}

static int memory_of(const struct daemon *d, const struct request *r)
{
    SessionMsg *m = service_request_message(&d->service, r, NULL);
    int fd = packed(&m->base);
    scistream__gateway__v1__session__free_unpacked(m, NULL);
    return fd;
}

/* Strings stay the doors' and the session's. */
static int memory_with_ticket(const struct daemon *d, const struct request *r)
{
    HandedMsg m = SCISTREAM__GATEWAY__V1__HANDED_SESSION__INIT;
    AUTO_FREE PlaceMsg *place = mem_zalloc(r->n, sizeof(*place));
    AUTO_FREE PlaceMsg **places = mem_zalloc(r->n, sizeof(PlaceMsg *));
    for (unsigned i = 0; i < r->n; i++) {
        const struct doors_target to = doors_target_of(d->doors, r->number[i]);
        scistream__gateway__v1__handed_place__init(&place[i]);
        place[i].addresses = (char **)(uintptr_t)to.addresses;
        place[i].n_addresses = to.n;
        place[i].port = to.port;
        places[i] = &place[i];
    }
    m.session = service_request_message(&d->service, r, NULL);
    m.secret = (ProtobufCBinaryData){ REQUEST_KEY, r->ticket->key };
    m.issued_s = r->ticket->issued_s;
    m.expires_s = r->ticket->expires_s;
    m.ends_s = r->ticket->ends_s;
    m.rate = r->ticket->rate;
    m.revoked = r->ticket->revoked;
    m.warned = r->ticket->warned;
    m.places = places;
    m.n_places = r->n;
    int fd = packed(&m.base);
    scistream__gateway__v1__session__free_unpacked(m.session, NULL);
    return fd;
}

/* 0; -EAGAIN, and d->giving says where it stopped; -errno. */
static int give_one(struct daemon *d, const struct request *r)
{
    char port[12];
    if (r->ticket && !d->giving.tickets)
        return -EOPNOTSUPP;
    AUTO_FD int fd = (r->ticket ? memory_with_ticket : memory_of)(d, r);
    int rc = fd < 0 ? -errno : 0;
    for (; rc == 0 && d->giving.door < r->n; d->giving.door += rc == 0) {
        snprintf(port, sizeof(port), "%u", doors_port(d->doors, r->number[d->giving.door]));
        rc = handover_say(d->heir.io.fd, "door", port, doors_fd(d->doors, r->number[d->giving.door]));
    }
    if (rc == 0)
        rc = handover_say(d->heir.io.fd, r->ticket ? "arranged" : "session", r->uid, fd);
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

static ProtobufCMessage *read_message(const ProtobufCMessageDescriptor *what, int fd)
{
    struct stat st;
    ProtobufCMessage *m = NULL;
    uint8_t *p = fd >= 0 && fstat(fd, &st) == 0 ? memfile_map(fd, (size_t)st.st_size, true) : NULL;
    if (!p)
        return NULL;
    m = protobuf_c_message_unpack(what, NULL, (size_t)st.st_size, p);
    secret_wipe(p, (size_t)st.st_size); /* of a ticket */
    memfile_unmap(p, (size_t)st.st_size);
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

/* Their session, with the doors that came before it. ticket and places: NULL, if it has none. */
struct adopting { const SessionMsg *m; const struct request_ticket *ticket; const struct request_target *places; };

static bool put_in_table(struct daemon *d, const struct adopting *a, const struct request_given *g)
{
    return a->ticket ? requests_adopt_arranged(d->service.requests, g, a->ticket, a->places) : requests_adopt(d->service.requests, g);
}

static bool adopt(struct daemon *d, const struct adopting *from)
{
    const Scistream__Gateway__V1__Arranged *a = from->m ? from->m->arranged : NULL;
    if (!a || d->taking.n == 0 || a->n_listeners != d->taking.n || requests_find(d->service.requests, from->m->uid))
        return false;
    AUTO_FREE char **listeners = words(a->listeners, a->n_listeners), **targets = words(a->targets, a->n_targets),
                   **prod = words(a->application, a->n_application);
    struct request_given g = { .uid = from->m->uid, .principal = a->principal, .cons = str_eq(a->role, "CONS"), .n = d->taking.n, .listeners = listeners,
                               .targets = targets, .prod = prod, .age_ns = from->m->age_ms * NS_PER_MS, .numbers = mem_zalloc(d->taking.n, sizeof(uint32_t)) };
    const struct doors_borrower b = { from->m->uid, a->principal, g.cons, from->ticket ? from->ticket->key : NULL, NULL };
    bool taken = doors_adopt(d->doors, &b, d->taking.fd, g.n, g.numbers) == 0;
    if (taken && !put_in_table(d, from, &g)) {
        doors_take_back(d->doors, g.numbers, g.n, -SST_EINTERNAL, NULL);
        taken = false;
    }
    if (!taken)
        free(g.numbers);
    return taken;
}

static void tell(struct daemon *d, const char *uid, bool taken)
{
    if (taken)
        log_info("session %s taken over, %u port%s", uid, d->taking.n, d->taking.n == 1 ? "" : "s");
    else
        log_error("session %s cannot be taken over, and is lost", uid);
    for (unsigned i = 0; i < d->taking.n; i++)
        fd_close(&d->taking.fd[i]);
    d->taking.n = 0;
}

void sessions_take(struct daemon *d, const char *uid, int fd)
{
    SessionMsg *m = (SessionMsg *)read_message(&scistream__gateway__v1__session__descriptor, fd);
    tell(d, uid, adopt(d, &(struct adopting){ .m = m }));
    scistream__gateway__v1__session__free_unpacked(m, NULL);
}

static bool adopt_arranged(struct daemon *d, const HandedMsg *m)
{
    struct request_target places[REQUEST_LISTENERS_MAX];
    struct request_ticket t = { .issued_s = m->issued_s, .expires_s = m->expires_s, .ends_s = m->ends_s, .rate = m->rate, .revoked = m->revoked,
                                .warned = m->warned };
    if (!m->session || m->secret.len != REQUEST_KEY || m->n_places != d->taking.n || m->n_places > ARRAY_LEN(places))
        return false;
    for (size_t i = 0; i < m->n_places; i++)
        places[i] = (struct request_target){ .addresses = m->places[i]->addresses, .n = m->places[i]->n_addresses, .port = (uint16_t)m->places[i]->port };
    memcpy(t.key, m->secret.data, REQUEST_KEY);
    t.provisioned = str_eq(m->session->class_, capacity_class(true));
    bool inbound = m->session->arranged && !str_eq(m->session->arranged->role, "CONS");
    const struct capacity_terms reserved = { .uid = m->session->uid, .principal = m->session->arranged ? m->session->arranged->principal : "", .rate = t.rate,
                                             .ends_s = t.ends_s, .segments = 1U << SEGMENT_WAN,
                                             .memory = inbound ? m->n_places * ARRANGE_WINDOW * 2 : 0 };
    if (t.provisioned)
        service_reserve_again(&d->service, &reserved);
    bool taken = adopt(d, &(struct adopting){ m->session, &t, places });
    if (!taken)
        service_give_back(&d->service, m->session->uid);
    secret_wipe(&t, sizeof(t));
    return taken;
}

void sessions_take_arranged(struct daemon *d, const char *uid, int fd)
{
    HandedMsg *m = (HandedMsg *)read_message(&scistream__gateway__v1__handed_session__descriptor, fd);
    tell(d, uid, m && adopt_arranged(d, m));
    if (m && m->secret.len)
        secret_wipe(m->secret.data, m->secret.len);
    scistream__gateway__v1__handed_session__free_unpacked(m, NULL);
}

void sessions_released(void *user, const char *uid)
{
    struct daemon *d = user;
    if (d->before.io.fd >= 0) /* a word that is lost leaves connections until their time is over */
        (void)handover_say(d->before.io.fd, "release", uid, -1);
}

bool sessions_before(void *user) { return takeover_waits(user); }
