/* What people and scripts see of a stream: the line while it runs, the report at its end. */
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "src/core/err.h"
#include "src/endpoint.h"

static const char *const wait_names[WAIT_KINDS] = { "source", "credits", "sink", "rate" };

/* Of this program's worker: what the transports did. */
static const struct { const char *name; size_t at; } counters[REPORT_COUNTERS] = {
    { "work_requests", offsetof(struct stats_page, work_requests) },
    { "posts", offsetof(struct stats_page, posts) },
    { "completions", offsetof(struct stats_page, completions) },
    { "completion_events", offsetof(struct stats_page, completion_events) },
    { "copied_bytes", offsetof(struct stats_page, copied_bytes) },
};

static uint64_t counter(const struct endpoint *ep, size_t i)
{
    const char *page = (const char *)ep->local.w.stats;
    return page ? stats_get((const void *)(page + counters[i].at)) : 0;
}

void report_begin(struct endpoint *ep)
{
    memset(&ep->bar, 0, sizeof(ep->bar));
    memset(ep->wait_ns, 0, sizeof(ep->wait_ns));
    for (size_t i = 0; i < REPORT_COUNTERS; i++)
        ep->counted[i] = counter(ep, i);
}

void report_sample(struct endpoint *ep)
{
    const struct stats_channel *st = pool_channel_stats(&ep->local.w, &ep->pc);
    if (!st)
        return;
    ep->bytes = stats_get(ep->kind->sends ? &st->flow[0].sub : &st->flow[0].put);
    for (int i = 0; i < WAIT_KINDS; i++)
        ep->wait_ns[i] = stats_get(&st->flow[0].wait_ns[i]);
}

/* ------------------------------------------------------------ progress */

/* For what the flow waited most since the last look, when that was a good part of the time. */
static const char *slowest(struct endpoint *ep, uint64_t period_ns)
{
    int worst = -1;
    uint64_t most = period_ns / 5;
    for (int i = 0; i < WAIT_KINDS; i++) {
        uint64_t waited = ep->wait_ns[i] - ep->bar.wait_ns[i];
        if (waited > most) {
            most = waited;
            worst = i;
        }
        ep->bar.wait_ns[i] = ep->wait_ns[i];
    }
    return worst < 0 ? "" : wait_names[worst];
}

static void draw_bar(char *out, size_t size, double share)
{
    static const char full[] = "====================", empty[] = "                    ";
    int n = (int)(share * 20);
    snprintf(out, size, "[%.*s>%.*s] %3d %%  ", n, full, 20 - n, empty, (int)(share * 100));
}

void report_tick(struct endpoint *ep)
{
    char size[UNITS_TEXT], rate[UNITS_TEXT], eta[UNITS_TEXT], bar[80] = "", left[UNITS_TEXT + 8] = "";
    uint64_t now = now_ns(), period = now - (ep->bar.at_ns ? ep->bar.at_ns : ep->flow_ns);
    if (ep->o->quiet || (!ep->o->progress && !isatty(STDERR_FILENO)))
        return;
    report_sample(ep);
    double current = (double)(ep->bytes - ep->bar.bytes) * 8e9 / (double)MAX(period, 1);
    ep->bar.rate = ep->bar.rate > 0 ? 0.7 * ep->bar.rate + 0.3 * current : current;
    if (ep->size_hint && ep->bytes <= ep->size_hint) {
        draw_bar(bar, sizeof(bar), (double)ep->bytes / (double)ep->size_hint);
        if (ep->bar.rate > 1)
            snprintf(left, sizeof(left), "  ETA %s", units_human_time(eta, (uint64_t)((double)(ep->size_hint - ep->bytes) * 8e9 / ep->bar.rate)));
    }
    const char *slow = slowest(ep, period);
    bool tty = isatty(STDERR_FILENO);
    fprintf(stderr, "%s%s%s  %s%s%s%s%s", tty ? "\r" : "", bar, units_human_size(size, ep->bytes), units_human_rate(rate, ep->bar.rate), left,
            *slow ? "  waits for " : "", slow, tty ? "\033[K" : "\n");
    ep->bar.shown = tty;
    ep->bar.bytes = ep->bytes;
    ep->bar.at_ns = now;
}

/* ------------------------------------------------------------ the report */

static double cpu_since(const struct endpoint *ep)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6 - ep->cpu_start;
}

struct figures { double seconds, bits_per_s, share[WAIT_KINDS]; char digest[2 * DIGEST_SIZE + 1]; };

static struct figures figures_of(const struct endpoint *ep)
{
    struct figures f = { .digest = "" };
    uint64_t ns = ep->flow_ns && ep->end_ns > ep->flow_ns ? ep->end_ns - ep->flow_ns : 0;
    f.seconds = (double)ns / 1e9;
    f.bits_per_s = ns ? (double)ep->bytes * 8e9 / (double)ns : 0;
    for (int i = 0; i < WAIT_KINDS; i++)
        f.share[i] = ns ? MIN(1.0, (double)ep->wait_ns[i] / (double)ns) : 0;
    if (ep->mine.has_digest)
        secret_hex(f.digest, ep->mine.digest, DIGEST_SIZE);
    return f;
}

static const char *verdict(const struct endpoint *ep)
{
    if (ep->rc < 0)
        return "NOT complete";
    if (ep->theirs.handed_over)
        return "handed to TCP peer, not confirmed";
    if (!ep->kind->sends)
        return "complete";
    return ep->theirs.has_digest && ep->mine.has_digest ? "confirmed with digest" : "confirmed, without digest";
}

static void report_text(const struct endpoint *ep, const struct figures *f)
{
    char size[UNITS_TEXT], rate[UNITS_TEXT], paced[32] = "";
    const struct hop_report *r = &ep->report;
    endpoint_say(ep, "%s (%llu bytes) in %.3f s, %s, %s", units_human_size(size, ep->bytes), (unsigned long long)ep->bytes, f->seconds,
                 units_human_rate(rate, f->bits_per_s), verdict(ep));
    if (!ep->flow_ns || ep->rc < 0)
        return;
    endpoint_say(ep, "  %s on %s with %s, %s, session %s channel %u", r->transport, r->device, r->peer, r->security, ep->uid, ep->channel_number);
    if (ep->o->rate)
        snprintf(paced, sizeof(paced), ", rate %.0f %%", f->share[WAIT_RATE] * 100);
    endpoint_say(ep, "  waited for source %.0f %%, credits %.0f %%, sink %.0f %%%s of the time; %.2f CPU seconds", f->share[WAIT_SOURCE] * 100,
                 f->share[WAIT_CREDITS] * 100, f->share[WAIT_SINK] * 100, paced, cpu_since(ep));
    if (*f->digest)
        endpoint_say(ep, "  xxh128 %s", f->digest);
}

static void json_string(FILE *out, const char *name, const char *value)
{
    char escaped[1024];
    log_json_escape(escaped, sizeof(escaped), value);
    fprintf(out, ",\"%s\":\"%s\"", name, escaped);
}

static void report_json(const struct endpoint *ep, const struct figures *f, FILE *out)
{
    const struct hop_report *r = &ep->report;
    fprintf(out, "{\"ok\":%s,\"exit\":%d,\"retryable\":%s", ep->rc == 0 ? "true" : "false", err_exit(ep->rc),
            ep->rc < 0 && err_retryable(ep->rc) ? "true" : "false");
    json_string(out, "program", ep->kind->program);
    json_string(out, "error", ep->rc == 0 ? "" : err_name(ep->rc));
    json_string(out, "message", ep->why);
    json_string(out, "result", verdict(ep));
    fprintf(out, ",\"confirmed\":%s,\"bytes\":%llu,\"seconds\":%.6f,\"setup_seconds\":%.6f,\"goodput_bit_s\":%.0f,\"cpu_seconds\":%.3f",
            ep->confirmed && !ep->theirs.handed_over ? "true" : "false", (unsigned long long)ep->bytes, f->seconds,
            ep->flow_ns ? (double)(ep->flow_ns - ep->start_ns) / 1e9 : 0.0, f->bits_per_s, cpu_since(ep));
    json_string(out, "transport", r->transport);
    json_string(out, "device", r->device);
    json_string(out, "security", r->security);
    json_string(out, "peer", r->peer);
    json_string(out, "passed_over", r->passed_over);
    json_string(out, "session", ep->uid);
    fprintf(out, ",\"channel\":%u", ep->channel_number);
    json_string(out, "xxh128", f->digest);
    for (int i = 0; i < WAIT_KINDS; i++)
        fprintf(out, "%s\"%s\":%.4f", i ? "," : ",\"wait\":{", wait_names[i], f->share[i]);
    for (size_t i = 0; i < REPORT_COUNTERS; i++)
        fprintf(out, "%s\"%s\":%llu", i ? "," : "},\"counters\":{", counters[i].name, (unsigned long long)(counter(ep, i) - ep->counted[i]));
    fprintf(out, "}}\n");
    fflush(out);
}

void report_final(struct endpoint *ep)
{
    struct figures f = figures_of(ep);
    if (ep->bar.shown && !ep->o->quiet)
        fputc('\n', stderr);
    ep->bar.shown = false;
    if (ep->o->report == REPORT_JSON)
        report_json(ep, &f, ep->stdout_is_stream ? stderr : stdout);
    else if (ep->o->report == REPORT_TEXT && ep->flow_ns)
        report_text(ep, &f);
}
