/* scistreamctl probe: a route tried step by step; the first that fails is named. */
#include <stdio.h>

#include "src/core/err.h"
#include "src/scistreamctl.h"

static const char *failed_step = "connect";
static FILE *out; /* steps: stdout, or stderr when stdout is for JSON */

static void open_file(struct endpoint *ep)
{
    char zero[] = "/dev/zero", *files[] = { zero, NULL };
    fprintf(out, "data     ok, %s on %s, %s, %.1f ms after the offer\n", ep->hop.report.transport, ep->hop.report.device, ep->hop.report.security,
           (double)(now_ns() - ep->bar.at_ns) / 1e6);
    failed_step = "stream";
    endpoint_open_files(ep, files, -1);
}

static void moved(struct endpoint *ep)
{
    if (ep->ended && !ep->told) {
        ep->told = true;
        hop_done(&ep->hop, &ep->mine);
    }
    if (ep->confirmed && ep->state != EP_CLOSING && endpoint_same_total(ep))
        endpoint_finish(ep, 0, "");
}

static void step(struct endpoint *ep, enum endpoint_state reached)
{
    struct grpc_conn *conn = ep->hop.at.conn;
    if (reached == EP_OFFERED) {
        fprintf(out, "connect  ok, %s is %s, %.1f ms\n", ep->to.host, grpc_conn_peer(conn), (double)(now_ns() - ep->start_ns) / 1e6);
        fprintf(out, "tls      ok, %s, %s\n", tls_describe(grpc_conn_tls(conn)), ep->o->pins[0] ? "public key as pinned" : "certificate trusted");
        failed_step = "proof";
        ep->bar.at_ns = now_ns();
        return;
    }
    fprintf(out, "proof    ok, route %s lets us send, session %s\n", ep->to.route, ep->uid);
    if (grpc_conn_rtt_ns(conn))
        fprintf(out, "rtt      %.3f ms on the control connection\n", (double)grpc_conn_rtt_ns(conn) / 1e6);
    if (*ep->hop.report.passed_over)
        fprintf(out, "         passed over %s\n", ep->hop.report.passed_over);
    failed_step = "data";
}

static const struct endpoint_kind kind = {
    .program = "scistreamctl", .sends = true, .probe = true, .open_file = open_file, .moved = moved, .step = step,
};

static void print_result(const struct endpoint *ep)
{
    char rate[UNITS_TEXT], size[UNITS_TEXT];
    double ns = (double)MAX(ep->end_ns - ep->flow_ns, 1);
    fprintf(out, "stream   ok, %s in %.1f s, %s, memory to memory; waited for source %.0f %%, credits %.0f %%, sink %.0f %%\n",
           units_human_size(size, ep->bytes), ns / 1e9, units_human_rate(rate, (double)ep->bytes * 8e9 / ns),
           (double)ep->wait_ns[WAIT_SOURCE] * 100 / ns, (double)ep->wait_ns[WAIT_CREDITS] * 100 / ns, (double)ep->wait_ns[WAIT_SINK] * 100 / ns);
}

/* The names of connection steps stand at the head of the reason: "resolve: …", "tls: …". */
static const char *step_of(const struct endpoint *ep)
{
    static const char *const names[] = { "resolve", "connect", "tls", "http2" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_starts(ep->why, names[i]) && ep->why[strlen(names[i])] == ':')
            return names[i];
    return failed_step;
}

int ctl_probe(struct ctl_opts *o, int argc UNUSED, char **argv)
{
    static struct endpoint ep;
    int json = o->json || o->e.report == REPORT_JSON;
    o->e.report = json ? REPORT_JSON : REPORT_NONE;
    o->e.no_digest = true;
    out = json ? stderr : stdout;
    setvbuf(stdout, NULL, _IOLBF, 0);
    int code = endpoint_setup(&ep, &kind, &o->e, argv[0]);
    if (code == 0) {
        code = endpoint_run(&ep);
        if (ep.rc < 0)
            fprintf(out, "%-8s FAILED\n", step_of(&ep));
        else if (!json)
            print_result(&ep);
    }
    endpoint_cleanup(&ep);
    return code;
}
