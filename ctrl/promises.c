#include "ctrl/promises.h"

#include <stdio.h>
#include <sys/resource.h>

#include "ctrl/admission.h"
#include "ctrl/requests.h"
#include "src/core/board.h"
#include "src/core/ring.h"

#define FDS_OF_WORKER 64   /* its own: control, loop, devices, links; and those that listeners and pipes leave free */
#define FDS_OF_UCX 7       /* an end by ucx, at most; by others one */
#define MAPS_OF_WORKER 512 /* libraries, heap, pages that are shared, rings that are kept for the next */

/* What routes and sessions promise over all workers, when all of it is used at once; not more than memory_limit lets in. */
struct promise {
    uint64_t relays, streams, fds, rings, doors;
    bool cut;          /* by memory_limit */
    const char *whose; /* "the routes promise" */
    char lower[128];   /* what to lower, of the one that needs most descriptors: "connections of route app" */
    uint64_t most_fds;
};

static uint64_t read_number(const char *path)
{
    unsigned long long n;
    FILE *f = fopen(path, "r");
    bool known = f && fscanf(f, "%llu", &n) == 1;
    if (f)
        fclose(f);
    return known ? n : UINT64_MAX;
}

void promises_machine(struct promises_machine *m, const struct conf *c, unsigned workers)
{
    struct rlimit n;
    bool limited = getrlimit(RLIMIT_NOFILE, &n) == 0 && n.rlim_max != RLIM_INFINITY;
    *m = (struct promises_machine){ .descriptors = limited ? n.rlim_max : UINT64_MAX, .workers = MAX(workers, 1),
                                    .mappings = read_number("/proc/sys/vm/max_map_count"), .memory = admission_limit(c) };
}

/* ------------------------------------------------------------ what is promised */

static unsigned doors_of(const struct conf_route *r)
{
    unsigned n = 0;
    for (char *const *t = r->accept; *t; t++)
        n += str_starts(*t, CONF_TCP);
    return n;
}

static unsigned fds_of(char *const *transports) { return strv_has(transports, "ucx") ? FDS_OF_UCX : 1; }

static uint64_t fitting(struct promise *p, uint64_t n, uint64_t bytes_each, uint64_t memory)
{
    uint64_t most = MAX(memory / bytes_each, 1);
    p->cut |= n > most;
    return MIN(n, most);
}

/* What to lower: channels are as many as connections where they are not set. */
static const char *option_of(const struct conf_route *r)
{
    return doors_of(r) && (!r->channels || str_starts(r->connect, CONF_TCP)) ? "connections" : "channels";
}

static bool needs_most(struct promise *p, uint64_t fds)
{
    bool most = fds > p->most_fds;
    p->most_fds = MAX(fds, p->most_fds);
    return most;
}

/* Connections to a door are relays where they leave as TCP again; whatever else the route has are channels. */
static void add_route(struct promise *p, const struct conf_route *r, uint64_t memory)
{
    unsigned doors = doors_of(r), rings = conf_route_has_tcp(r) ? 2 : 1;
    bool to_tcp = str_starts(r->connect, CONF_TCP), all_relayed = to_tcp && doors == strv_len(r->accept);
    uint64_t relays = to_tcp ? fitting(p, doors * (uint64_t)r->connections, 2 * BOARD_RELAY_RING, memory) : 0;
    uint64_t streams = all_relayed ? 0 : fitting(p, conf_route_channels(r), rings * r->window, memory);
    unsigned out = to_tcp ? 1 : *r->connect ? fds_of(r->connect_transports) : fds_of(r->deliver);
    uint64_t fds = 2 * relays + (fds_of(r->accept) + out) * streams;
    p->relays += relays;
    p->streams += streams;
    p->fds += fds;
    p->rings += 2 * relays + rings * streams;
    p->doors += doors;
    if (needs_most(p, fds))
        snprintf(p->lower, sizeof(p->lower), "%s of route %s", option_of(r), r->name);
}

/* Each port of data_ports can be a listener, whose connections are relays. */
static void add_sessions(struct promise *p, const struct conf_scistream *s, uint64_t memory)
{
    uint16_t first, last;
    addr_parse_ports(s->data_ports, &first, &last);
    uint64_t doors = MIN(MIN(last - first + 1U, (uint64_t)BOARD_DOORS - BOARD_ROUTE_DOORS), (uint64_t)s->sessions * REQUEST_LISTENERS_MAX);
    uint64_t relays = fitting(p, doors * (uint64_t)s->connections, 2 * BOARD_RELAY_RING, memory);
    p->whose = *p->lower ? "the routes and sessions promise" : "the sessions promise";
    p->relays += relays;
    p->fds += 2 * relays;
    p->rings += 2 * relays;
    p->doors += doors;
    if (needs_most(p, 2 * relays))
        str_copy(p->lower, sizeof(p->lower), "scistream.connections");
}

/* Of n, what the worker with most has: who has BOARD_LEAN relays more than another hands on. */
static uint64_t share(uint64_t n, unsigned each, const struct promises_machine *m)
{
    return m->workers == 1 ? n : MIN(n, (n + m->workers - 1) / m->workers + (uint64_t)each * BOARD_LEAN);
}

/* ------------------------------------------------------------ what is told */

/* "20000 connections and 16 streams, as many as memory_limit has room for," */
static const char *describe(const struct promise *p, char *out, size_t size)
{
    char relays[48] = "", streams[48] = "";
    if (p->relays)
        snprintf(relays, sizeof(relays), "%llu connection%s", (unsigned long long)p->relays, p->relays == 1 ? "" : "s");
    if (p->streams)
        snprintf(streams, sizeof(streams), "%llu stream%s", (unsigned long long)p->streams, p->streams == 1 ? "" : "s");
    snprintf(out, size, "%s%s%s%s", relays, *relays && *streams ? " and " : "", streams, p->cut ? " (as many as memory_limit has room for)" : "");
    return out;
}

static bool check_descriptors(const struct promise *p, const struct promises_machine *m, char why[PROMISES_WHY])
{
    char what[160];
    uint64_t need = share(p->fds, 2, m) + p->doors + FDS_OF_WORKER;
    if (need <= m->descriptors)
        return true;
    snprintf(why, PROMISES_WHY,
             "%s %s, which need %llu descriptors in a worker, RLIMIT_NOFILE is %llu: raise LimitNOFILE in the unit (ulimit -n) or "
             "workers, or lower %s; until then the last ones wait to be accepted",
             p->whose, describe(p, what, sizeof(what)), (unsigned long long)need, (unsigned long long)m->descriptors, p->lower);
    return false;
}

static bool check_mappings(const struct promise *p, const struct promises_machine *m, char why[PROMISES_WHY])
{
    char what[160];
    uint64_t need = RING_MAPPINGS * share(p->rings, 2, m) + MAPS_OF_WORKER;
    if (need <= m->mappings)
        return true;
    snprintf(why, PROMISES_WHY,
             "%s %s, which need up to %llu mappings in a worker when bytes wait in all their rings, vm.max_map_count is %llu: raise it "
             "(sysctl) or workers, or lower %s; until then the last ones are reset",
             p->whose, describe(p, what, sizeof(what)), (unsigned long long)need, (unsigned long long)m->mappings, p->lower);
    return false;
}

static bool check_places(const struct promise *p, const struct promises_machine *m, char why[PROMISES_WHY])
{
    uint64_t workers = (p->relays + STATS_RELAYS - 1) / STATS_RELAYS;
    if (workers <= m->workers)
        return true;
    snprintf(why, PROMISES_WHY,
             "%s %llu connections, and %u worker%s %llu places: raise workers to %llu, or lower %s; until then one more "
             "is reset",
             p->whose, (unsigned long long)p->relays, m->workers, m->workers == 1 ? " has" : "s have", (unsigned long long)m->workers * STATS_RELAYS,
             (unsigned long long)workers, p->lower);
    return false;
}

unsigned promises_check(const struct conf *c, const struct promises_machine *m, char why[PROMISES_MAX][PROMISES_WHY])
{
    static bool (*const checks[])(const struct promise *, const struct promises_machine *, char[PROMISES_WHY]) = { check_descriptors,
                                                                                                                   check_mappings, check_places };
    struct promise p = { .whose = "the routes promise" };
    unsigned n = 0;
    for (size_t i = 0; i < c->n_routes; i++)
        add_route(&p, c->routes[i], m->memory);
    if (c->scistream.enable)
        add_sessions(&p, &c->scistream, m->memory);
    for (size_t i = 0; i < ARRAY_LEN(checks) && *p.lower; i++)
        n += !checks[i](&p, m, why[n]);
    return n;
}
