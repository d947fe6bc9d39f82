/* The page of metrics, family by family. Labels are routes of the configuration, workers, and words of our own: never what a peer chose. */
#include "config.h"

#include "ctrl/metrics.h"
#include "ctrl/prom.h"
#include "ctrl/session_priv.h"
#include "src/core/err.h"

#define each_route(t, r) \
    list_for_each(r##_node, &(t)->routes) for (const struct tally_route *r = list_entry(r##_node, struct tally_route, node); r; r = NULL)

static const char *const directions[] = { "forward", "backward" };

static const char *decimal(char out[12], unsigned n)
{
    snprintf(out, 12, "%u", n);
    return out;
}

static void one(struct prom *p, const char *name, const char *type, const char *help, uint64_t value)
{
    prom_family(p, name, type, help);
    prom_number(p, value, NULL);
}

/* ------------------------------------------------------------ the gateway */

#ifdef WITH_UCX
#define UCX "yes"
#else
#define UCX "no"
#endif
#ifdef WITH_VERBS
#define VERBS "yes"
#else
#define VERBS "no"
#endif

static void put_gateway(struct prom *p, const struct metrics_sources *s)
{
    prom_family(p, "scistream_build_info", "gauge", "Always 1: version, and what was built in.");
    prom_number(p, 1, "version", PACKAGE_VERSION, "ucx", UCX, "verbs", VERBS, NULL);
    one(p, "process_start_time_seconds", "gauge", "Unix time at which scistreamd was started.", s->started_s);
    prom_family(p, "scistream_certificate_expiry_timestamp_seconds", "gauge", "Unix time at which the certificate of the control endpoint expires.");
    if (s->expiry)
        prom_number(p, expiry_at(s->expiry), NULL);
    prom_family(p, "scistream_draining", "gauge", "1 while the gateway stops and refuses new streams.");
    if (s->sessions)
        prom_number(p, sessions_draining(s->sessions), NULL);
    prom_family(p, "scistream_records_written_total", "counter", "Records of ended streams that were written.");
    prom_number(p, s->records ? s->records->written : 0, NULL);
    prom_family(p, "scistream_records_lost_total", "counter", "Records of ended streams that could not be written.");
    prom_number(p, s->records ? s->records->lost : 0, NULL);
}

static void put_memory(struct prom *p, const struct metrics_sources *s)
{
    const struct admission *a = s->sessions ? sessions_memory(s->sessions) : NULL;
    prom_family(p, "scistream_window_admitted_bytes", "gauge", "Rings of all open channels and connections together.");
    if (a)
        prom_number(p, board_reserved(a->board), NULL);
    prom_family(p, "scistream_pipe_bytes", "gauge", "What pipes of connections may hold beyond that.");
    if (a)
        prom_number(p, board_piped(a->board), NULL);
    prom_family(p, "scistream_memory_limit_bytes", "gauge", "What these rings may have together: memory_limit.");
    if (a)
        prom_number(p, a->limit, NULL);
}

/* Of those segments that have one. */
static void put_capacity_family(struct prom *p, const struct capacity *c, const char *name, const char *help,
                                uint64_t (*value)(const struct capacity *c, enum segment s))
{
    prom_family(p, name, "gauge", help);
    for (enum segment s = 0; c && s < SEGMENTS; s++)
        if (conf_capacity(c->conf, s))
            prom_number(p, value(c, s), "segment", conf_segment_name(s), NULL);
}

static uint64_t capacity_of(const struct capacity *c, enum segment s) { return conf_capacity(c->conf, s); }
static uint64_t reserved_by(const struct capacity *c, enum segment s) { return capacity_sessions(c, s); }

static void put_capacity(struct prom *p, const struct capacity *c)
{
    put_capacity_family(p, c, "scistream_capacity_bits_per_second", "What sessions may take of a segment, each way: capacity.", capacity_of);
    put_capacity_family(p, c, "scistream_reserved_bits_per_second", "What is reserved of it by sessions and routes of class provisioned.", capacity_reserved);
    put_capacity_family(p, c, "scistream_best_effort_bits_per_second", "What all others share.", capacity_left);
    put_capacity_family(p, c, "scistream_reservations", "Sessions and routes that have reserved something of it.", reserved_by);
}

/* ------------------------------------------------------------ workers */

static void put_worker_family(struct prom *p, struct pool *pool, const char *name, const char *type, const char *help,
                              uint64_t (*value)(const struct pool_worker *w))
{
    char n[12];
    prom_family(p, name, type, help);
    for (unsigned i = 0; pool && i < pool_size(pool); i++)
        prom_number(p, value(pool_at(pool, i)), "worker", decimal(n, i), NULL);
}

static uint64_t is_up(const struct pool_worker *w) { return w->started; }
static uint64_t channels_of(const struct pool_worker *w) { return w->channels; }
static uint64_t restarts_of(const struct pool_worker *w) { return w->starts ? w->starts - 1 : 0; }
static uint64_t turns_of(const struct pool_worker *w) { return w->stats ? stats_get(&w->stats->turns) : 0; }

static void put_deaths(struct prom *p, struct pool *pool)
{
    static const char *const causes[POOL_DEATHS] = { [POOL_EXITED] = "exited", [POOL_SIGNALLED] = "signal", [POOL_KILLED] = "killed" };
    uint64_t sum[POOL_DEATHS] = { 0 };
    for (unsigned i = 0; pool && i < pool_size(pool); i++)
        for (unsigned d = 0; d < POOL_DEATHS; d++)
            sum[d] += pool_at(pool, i)->deaths[d];
    prom_family(p, "scistream_worker_deaths_total", "counter",
                "Workers that ended before they were told to: by themselves, by a signal, or killed by the gateway since they did not answer.");
    for (unsigned d = 0; d < POOL_DEATHS; d++)
        prom_number(p, sum[d], "cause", causes[d], NULL);
}

static void put_workers(struct prom *p, struct pool *pool)
{
    put_worker_family(p, pool, "scistream_worker_up", "gauge", "1: this data worker runs.", is_up);
    put_worker_family(p, pool, "scistream_worker_channels", "gauge", "Channels of sessions on this worker.", channels_of);
    put_worker_family(p, pool, "scistream_worker_restarts_total", "counter", "How often this worker was started again.", restarts_of);
    put_worker_family(p, pool, "scistream_worker_turns_total", "counter", "Turns of the event loop of this worker since it was started.", turns_of);
    put_deaths(p, pool);
}

static void put_totals(struct prom *p, const struct tally_totals *t)
{
    prom_family(p, "scistream_tcp_retransmitted_segments_total", "counter", "TCP segments of data connections that were sent again.");
    prom_number(p, t->tcp_retransmits, "transport", "tcp", NULL);
    prom_number(p, t->link_retransmits, "transport", "link", NULL);
    one(p, "scistream_copied_bytes_total", "counter", "Stream bytes that were copied between transports (ucx, small messages).", t->copied_bytes);
    one(p, "scistream_verbs_work_requests_total", "counter", "Work requests given to verbs send queues.", t->work_requests);
    one(p, "scistream_verbs_posts_total", "counter", "Calls by which they were given.", t->posts);
    one(p, "scistream_verbs_completions_total", "counter", "Completions taken from verbs completion queues.", t->completions);
    one(p, "scistream_verbs_completion_events_total", "counter", "Wake-ups by verbs completion channels.", t->completion_events);
}

/* ------------------------------------------------------------ channels, by route */

static void put_channels(struct prom *p, const struct tally *t)
{
    prom_family(p, "scistream_channels", "gauge", "Channels of sessions by state.");
    each_route(t, r)
        for (unsigned s = 0; s < TALLY_STATES; s++)
            prom_number(p, r->now.channels[s], "route", r->name, "state", sc_state_name((enum sc_state)s), NULL);
    prom_family(p, "scistream_channels_ended_total", "counter", "Channels of sessions that ended, by outcome.");
    each_route(t, r)
        for (unsigned o = 0; o < TALLY_OUTCOMES; o++)
            prom_number(p, r->ended[o], "route", r->name, "outcome", tally_outcome_name((enum tally_outcome)o), NULL);
    prom_family(p, "scistream_channels_aborted_total", "counter", "Channels of sessions that were aborted, by error; only what has happened.");
    each_route(t, r)
        for (unsigned e = 1; e < TALLY_REASONS; e++)
            if (r->aborted[e])
                prom_number(p, r->aborted[e], "route", r->name, "reason", err_name(err_from_wire(e)), NULL);
}

static void put_connection_family(struct prom *p, const struct tally *t, const char *name, const char *type, const char *help, size_t offset)
{
    prom_family(p, name, type, help);
    each_route(t, r)
        prom_number(p, *(const uint64_t *)(const void *)((const char *)&r->now + offset), "route", r->name, NULL);
}

static void put_connections(struct prom *p, const struct tally *t)
{
    put_connection_family(p, t, "scistream_connections", "gauge", "TCP connections that the workers relay now.", offsetof(struct tally_sums, open));
    put_connection_family(p, t, "scistream_connections_accepted_total", "counter", "TCP connections that came, also those that were refused then.",
                          offsetof(struct tally_sums, accepted));
    put_connection_family(p, t, "scistream_connections_refused_total", "counter", "TCP connections that were refused because of a limit.",
                          offsetof(struct tally_sums, refused));
    put_connection_family(p, t, "scistream_connections_failed_total", "counter", "TCP connections that did not end cleanly.",
                          offsetof(struct tally_sums, failed));
}

static void put_flows(struct prom *p, const struct tally *t)
{
    prom_family(p, "scistream_stream_bytes_total", "counter", "Bytes that came in, forward (from who sends or connects) and backward.");
    each_route(t, r)
        for (unsigned f = 0; f < 2; f++)
            prom_number(p, r->now.moved.bytes[f], "route", r->name, "direction", directions[f], NULL);
    prom_family(p, "scistream_wait_seconds_total", "counter",
                "Time that flows waited, summed over them: for the source (nothing came), credits (the far end has no room), the sink "
                "(bytes handed over are not done with), the rate that was asked for.");
    each_route(t, r)
        for (unsigned f = 0; f < 2; f++)
            for (unsigned w = 0; w < WAIT_KINDS; w++)
                prom_seconds(p, r->now.moved.wait_ns[f][w], "route", r->name, "direction", directions[f], "for", stats_wait_name(w), NULL);
    prom_family(p, "scistream_flows_waiting", "gauge", "Flows that wait at this moment, and for what.");
    each_route(t, r)
        for (unsigned w = 0; w < WAIT_KINDS; w++)
            prom_number(p, r->now.waiting[w], "route", r->name, "for", stats_wait_name(w), NULL);
}

/* ------------------------------------------------------------ attaches */

static void put_attaches(struct prom *p, const struct tally *t)
{
    uint64_t refused = 0;
    for (unsigned e = 1; e < TALLY_REASONS; e++)
        refused += t->refused[e];
    prom_family(p, "scistream_attaches_total", "counter", "Offers of senders and receivers, by result.");
    prom_number(p, t->attached, "result", "accepted", NULL);
    prom_number(p, refused, "result", "refused", NULL);
    prom_family(p, "scistream_attach_refusals_total", "counter", "Offers that were refused, by error.");
    for (unsigned e = 1; e < TALLY_REASONS; e++)
        if (err_from_wire(e) == -(SST_ERR_BASE + (int)e))
            prom_number(p, t->refused[e], "reason", err_name(err_from_wire(e)), NULL);
}

/* ------------------------------------------------------------ all of it */

static void sum_up(const struct metrics_sources *s)
{
    tally_begin(s->tally, s->conf);
    for (unsigned i = 0; s->pool && i < pool_size(s->pool); i++)
        if (pool_at(s->pool, i)->stats)
            tally_page(s->tally, s->conf, pool_at(s->pool, i)->stats);
    if (s->sessions)
        sessions_tally(s->sessions);
    list_for_each(n, &s->tally->routes) {
        struct tally_route *r = list_entry(n, struct tally_route, node);
        stats_sum_never_back(&r->now.moved, &r->shown);
    }
}

char *metrics_page(const struct metrics_sources *s, size_t *len)
{
    struct prom p;
    if (!prom_begin(&p))
        return NULL;
    sum_up(s);
    put_gateway(&p, s);
    put_memory(&p, s);
    put_capacity(&p, s->capacity);
    put_workers(&p, s->pool);
    put_totals(&p, &s->tally->now);
    put_attaches(&p, s->tally);
    put_channels(&p, s->tally);
    put_connections(&p, s->tally);
    put_flows(&p, s->tally);
    return prom_end(&p, len);
}
