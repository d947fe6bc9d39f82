#include "src/endpoint.h"

#include "config.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "src/config_file.h"
#include "src/core/err.h"
#include "src/core/log.h"

#define CONNECT_NS (10 * NS_PER_S)
#define SILENT_NS (10 * NS_PER_S)
#define LINGER_NS (2 * NS_PER_S)         /* for the peer's end of the call, and for the transports to close */
#define TICK_NS (200 * NS_PER_MS)
#define BACKOFF_MAX_MS 2000
#define MOVES_MAX 5 /* attempts more, where a gateway was upgraded meanwhile */

static struct endpoint *self; /* the one of this process, for signals */

static struct endpoint *ep_of(struct hop *h) { return container_of(h, struct endpoint, hop); }

/* ------------------------------------------------------------ words */

/* Some of the text comes from peers: nothing in it may move the cursor. */
static void print_line(const struct endpoint *ep, const char *fmt, va_list ap)
{
    char text[1024];
    vsnprintf(text, sizeof(text), fmt, ap);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    fprintf(stderr, "%s%s: %s\n", ep->bar.shown ? "\n" : "", ep->kind->program, text);
}

int endpoint_complain(const struct endpoint *ep, int rc, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    print_line(ep, fmt, ap);
    va_end(ap);
    return err_exit(rc);
}

void endpoint_say(const struct endpoint *ep, const char *fmt, ...)
{
    va_list ap;
    if (ep->o->quiet)
        return;
    va_start(ap, fmt);
    print_line(ep, fmt, ap);
    va_end(ap);
}

/* ------------------------------------------------------------ the end */

static void stop_loop(struct defer *d) { loop_stop(&container_of(d, struct endpoint, stop)->loop); }
static void stop_later(struct endpoint *ep) { loop_defer(&ep->loop, &ep->stop); }

static void on_linger(struct timer *t)
{
    struct endpoint *ep = container_of(t, struct endpoint, linger);
    if (ep->state == EP_CONFIRMED)
        endpoint_finish(ep, 0, "");
    else
        stop_later(ep); /* a transport did not close in time: a process that ends need not wait for it, one that goes on does (wait_closed) */
}

/* The peer as it is reported: the port is that of the control connection, and the bytes went another way. */
static void without_port(char *peer)
{
    char *colon = strrchr(peer, ':');
    if (!colon)
        return;
    *colon = 0;
    size_t n = strlen(peer);
    if (n > 1 && peer[0] == '[' && peer[n - 1] == ']') {
        memmove(peer, peer + 1, n - 2);
        peer[n - 2] = 0;
    }
}

static void close_channel(struct endpoint *ep)
{
    ep->state = EP_CLOSING;
    loop_timer_stop(&ep->loop, &ep->patience);
    report_sample(ep);
    ep->report = ep->hop.report;
    without_port(ep->report.peer);
    if (ep->pc.channel) {
        pool_channel_close(&ep->local.w, &ep->pc, ep->rc);
        loop_timer(&ep->loop, &ep->linger, LINGER_NS);
    } else {
        stop_later(ep);
    }
}

/* What an abort by the peer means here: its disk or its command line is not ours. Before the ANSWER it is ours that was judged. */
static int translate(const struct endpoint *ep, int rc)
{
    int code = err_exit(rc);
    if (rc == -SST_EUSAGE && ep->state == EP_OFFERED)
        return rc;
    return code == 64 || code == 74 || code == 78 ? -SST_EABORTED : rc;
}

static void end(struct endpoint *ep, int rc, bool by_peer, const char *why)
{
    if (ep->state == EP_CLOSING)
        return;
    ep->rc = by_peer ? translate(ep, rc) : rc;
    ep->by_peer = by_peer;
    ep->end_ns = now_ns();
    const char *what = ep->o->by_ticket ? "session" : "route", *name = ep->o->by_ticket ? ep->ticket.uid : *ep->to.route ? ep->to.route : "direct";
    const char *hint = rc == -SST_ECERT && !ep->o->pins[0] ? "; a gateway with a certificate of its own needs --pin" : "";
    if (rc == -SST_EAUTH)
        snprintf(ep->why, sizeof(ep->why), "%s:%u, %s %s: %s", ep->to.host, ep->to.port, what, name, why);
    else
        snprintf(ep->why, sizeof(ep->why), "%s%s%s", by_peer ? "aborted by the other side: " : "", why, hint);
    close_channel(ep);
}

void endpoint_finish(struct endpoint *ep, int rc, const char *why)
{
    char host[64] = "", text[ATTACH_WHY];
    if (rc < 0 && ep->state != EP_CLOSING) {
        gethostname(host, sizeof(host) - 1);
        snprintf(text, sizeof(text), "%s on %s: %s", ep->kind->program, host, why);
        hop_abort(&ep->hop, rc, text);
    }
    end(ep, rc, false, why);
}

static const char *signal_name(int signo) { return signo == SIGINT ? "SIGINT" : signo == SIGTERM ? "SIGTERM" : "SIGHUP"; }

int endpoint_complain_interrupted(const struct endpoint *ep)
{
    return endpoint_complain(ep, -SST_EINTERRUPTED, "interrupted by %s", signal_name(ep->interrupted));
}

static void interrupt(struct loop *l UNUSED, int signo)
{
    struct endpoint *ep = self;
    char text[64];
    ep->interrupted = signo;
    if (ep->state == EP_CONFIRMED) { /* the stream is whole and the sender told so: there is nothing left to interrupt */
        endpoint_finish(ep, 0, "");
        return;
    }
    snprintf(text, sizeof(text), "interrupted by %s", signal_name(signo));
    if (ep->state == EP_IDLE) { /* between attempts, or waiting for a sender */
        ep->rc = -SST_EINTERRUPTED;
        str_copy(ep->why, sizeof(ep->why), text);
        loop_timer_stop(&ep->loop, &ep->retry);
        stop_later(ep);
    } else {
        endpoint_finish(ep, -SST_EINTERRUPTED, text);
    }
}

/* ------------------------------------------------------------ what the worker says */

static void flow_started(struct endpoint *ep)
{
    ep->state = EP_FLOWING;
    ep->flow_ns = now_ns();
    loop_timer_stop(&ep->loop, &ep->patience);
    ep->kind->open_file(ep);
}

static void take_ended(struct endpoint *ep, const Scistream__Worker__Ended *e)
{
    ep->ended = true;
    ep->mine = (struct attach_total){ .total = e->total, .has_digest = e->digest.len == DIGEST_SIZE };
    if (ep->mine.has_digest)
        memcpy(ep->mine.digest, e->digest.data, DIGEST_SIZE);
    ep->kind->moved(ep);
}

static bool about_hop(const struct endpoint *ep, Scistream__Worker__Side side)
{
    return (side == SCISTREAM__WORKER__SIDE__SINK) == ep->kind->sends;
}

static void take_failed(struct endpoint *ep, const FromWorker *m)
{
    if (ep->state == EP_CONFIRMED || ep->state == EP_CLOSING)
        return;
    if (about_hop(ep, m->failed->side))
        hop_heard(&ep->hop, m);
    else
        endpoint_finish(ep, err_from_wire(m->failed->code), m->failed->text);
}

static void on_worker(struct pool_client *pc, const FromWorker *m)
{
    struct endpoint *ep = container_of(pc, struct endpoint, pc);
    if (ep->state == EP_IDLE && m->what_case != SCISTREAM__WORKER__FROM_WORKER__WHAT_CLOSED)
        return; /* of a stream that is over */
    switch (m->what_case) {
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_PREPARED: hop_heard(&ep->hop, m); break;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_UP:
        if (about_hop(ep, m->up->side))
            hop_heard(&ep->hop, m);
        break;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_ENDED: take_ended(ep, m->ended); break;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_FINISHED:
        ep->finished = true;
        ep->kind->moved(ep);
        break;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_FAILED: take_failed(ep, m); break;
    case SCISTREAM__WORKER__FROM_WORKER__WHAT_CLOSED:
        pool_channel_detach(&ep->local.w, pc);
        loop_timer_stop(&ep->loop, &ep->linger);
        stop_later(ep);
        break;
    default: break;
    }
}

static void on_worker_died(struct pool_client *pc UNUSED, const char *why UNUSED) {}

void endpoint_open_files(struct endpoint *ep, char **files, int fd)
{
    Scistream__Worker__Hop h = SCISTREAM__WORKER__HOP__INIT;
    char name[] = "file";
    h.side = ep->kind->sends ? SCISTREAM__WORKER__SIDE__SOURCE : SCISTREAM__WORKER__SIDE__SINK;
    h.transport = name;
    h.files = files;
    h.n_files = strv_len(files);
    h.fd_plus_1 = (uint32_t)(fd + 1);
    h.sync = !ep->o->no_sync;
    h.stop_after_ns = ep->o->probe_time;
    pool_channel_hop(&ep->local.w, &ep->pc, &h);
}

int endpoint_open_channel(struct endpoint *ep)
{
    struct pool_open o = { .window = ep->o->window, .rate = ep->o->rate, .digest = !ep->o->no_digest };
    ep->pc.message = on_worker;
    ep->pc.died = on_worker_died;
    return pool_channel_open(&ep->local.w, &ep->pc, &o);
}

/* ------------------------------------------------------------ what the hop says */

static char verbs[] = "verbs", ucx[] = "ucx", links[] = "link"; /* link is a system call */
char *const endpoint_transport_names[ENDPOINT_TRANSPORTS + 1] = { verbs, ucx, links, NULL };

bool endpoint_wants(const struct endpoint *ep, const char *transport)
{
    if (*ep->o->require)
        return str_eq(ep->o->require, transport);
    return ep->o->transport == ENDPOINT_AUTO || str_eq(transport, endpoint_transport_names[ep->o->transport - 1]);
}

bool endpoint_asked(const struct endpoint *ep) { return *ep->o->require || ep->o->transport != ENDPOINT_AUTO; }

char **endpoint_transports(const struct endpoint *ep)
{
    char **out = mem_zalloc(ENDPOINT_TRANSPORTS + 1, sizeof(*out));
    size_t n = 0;
    for (char *const *t = endpoint_transport_names; *t; t++) {
        const char *problem = pool_transport_problem(&ep->local.w, *t);
        if (!endpoint_wants(ep, *t))
            continue;
        if (!problem)
            out[n++] = mem_strdup(*t);
        else if (!endpoint_asked(ep) && (!str_eq(*t, verbs) || pool_has_device(&ep->local.w, verbs))) /* most machines have no such device */
            endpoint_say(ep, "%s cannot be used here: %s", *t, problem);
    }
    return out;
}

void endpoint_finish_unusable(struct endpoint *ep)
{
    char text[ATTACH_WHY] = "no transport can be used on this machine";
    for (char *const *t = endpoint_transport_names; *t; t++)
        if (endpoint_asked(ep) && endpoint_wants(ep, *t))
            snprintf(text, sizeof(text), "%s cannot be used on this machine: %s", *t, pool_transport_problem(&ep->local.w, *t));
    endpoint_finish(ep, -SST_ENOTRANSPORT, text);
}

static void on_local_started(struct local *l)
{
    struct endpoint *ep = container_of(l, struct endpoint, local);
    if (ep->listening) {
        listen_next(ep);
        return;
    }
    strv_free(ep->hop.want.transports);
    ep->hop.want.transports = endpoint_transports(ep);
    free(ep->hop.want.addresses);
    ep->hop.want.addresses = hop_own_addresses(&ep->local.w);
    if (!ep->hop.want.transports[0]) {
        endpoint_finish_unusable(ep);
        return;
    }
    ep->state = EP_OFFERED;
    if (ep->kind->step)
        ep->kind->step(ep, EP_OFFERED);
    hop_offer(&ep->hop);
}

/* "The device that routes to the gateway": the interface of our address on the control connection. Never "all". */
static void choose_device(struct endpoint *ep, const union sockaddr_any *local)
{
    char device[64], why[160];
    if (ep->o->devices[0] || !endpoint_wants(ep, ucx))
        return;
    if (local && addr_device_of(local, device, sizeof(device)) == 0) {
        AUTO_FREE char *setting = mem_printf("ucx.devices=%s", device);
        conf_set(ep->conf, setting, why, sizeof(why));
    }
}

static void on_connected(struct hop *h)
{
    struct endpoint *ep = ep_of(h);
    ep->reached = true;
    log_debug("connected to %s, %s", h->at.peer, grpc_conn_tls(h->at.conn) ? tls_describe(grpc_conn_tls(h->at.conn)) : "plaintext");
    if (ep->local.worker) {
        on_local_started(&ep->local);
        return;
    }
    choose_device(ep, grpc_conn_local(h->at.conn));
    if (local_start(&ep->local, &ep->loop, ep->conf, -1, on_local_started) < 0)
        endpoint_finish(ep, -errno, "cannot start the data engine: out of descriptors or memory");
}

static void on_waiting(struct hop *h, const char *text) { endpoint_say(ep_of(h), "%s", text); }

static void note_session(struct endpoint *ep)
{
    str_copy(ep->uid, sizeof(ep->uid), ep->hop.give.uid);
    ep->channel_number = ep->hop.give.channel;
}

static void on_answered(struct hop *h, const Answer *m)
{
    struct endpoint *ep = ep_of(h);
    note_session(ep);
    if (*ep->o->require && !str_eq(ep->o->require, m->transport)) {
        endpoint_finish(ep, -SST_ENOTRANSPORT, "the gateway chose another transport than the required one");
        return;
    }
    if (*h->report.passed_over)
        endpoint_say(ep, "by %s; passed over %s", m->transport, h->report.passed_over);
    ep->state = EP_OPENING;
    if (ep->kind->step)
        ep->kind->step(ep, EP_OPENING);
    int rc = endpoint_open_channel(ep);
    if (rc < 0)
        endpoint_finish(ep, rc, err_text(rc));
    else
        hop_connect(h, &ep->local.w, &ep->pc, ep->kind->sends ? SCISTREAM__WORKER__SIDE__SINK : SCISTREAM__WORKER__SIDE__SOURCE, m);
}

static void on_up(struct hop *h) { flow_started(ep_of(h)); }

static void on_done(struct hop *h, const struct attach_total *t)
{
    struct endpoint *ep = ep_of(h);
    ep->told = true;
    ep->theirs = *t;
    ep->kind->moved(ep);
}

static void on_confirm(struct hop *h, const struct attach_total *t)
{
    struct endpoint *ep = ep_of(h);
    ep->confirmed = true;
    ep->theirs = *t;
    ep->kind->moved(ep);
}

static bool is_loss(int rc)
{
    return rc == -SST_ELOST || rc == -SST_EPEERDEAD || rc == -SST_ETIMEOUT || rc == -ECONNRESET || rc == -EPIPE;
}

/* The layer that saw the connection go does not know whose it was. */
static void end_lost(struct endpoint *ep, int rc, const char *text)
{
    char named[ATTACH_WHY + 32], who[ADDR_TEXT + 16];
    bool v6 = strchr(ep->to.host, ':') != NULL;
    if (ep->listening)
        snprintf(who, sizeof(who), "sender %s", ep->hop.at.peer);
    else
        snprintf(who, sizeof(who), "%s %s%s%s:%u", ep->to.kind == ADDR_DIRECT ? "receiver" : "gateway", v6 ? "[" : "", ep->to.host, v6 ? "]" : "",
                 ep->to.port);
    snprintf(named, sizeof(named), ep->flow_ns ? "%s: connection lost (%s): the stream is not confirmed" : "%s: %s", who, text);
    end(ep, rc, false, named);
}

static void on_over(struct hop *h, int rc, bool by_peer, const char *text)
{
    struct endpoint *ep = ep_of(h);
    rc = rc ? rc : -SST_ELOST;
    if (ep->state == EP_CONFIRMED)
        endpoint_finish(ep, 0, "");
    else if (!by_peer && is_loss(rc) && ep->state > EP_DIALING)
        end_lost(ep, rc, *text ? text : err_text(rc));
    else
        end(ep, rc, by_peer, text);
}

static const struct hop_events hop_events = {
    .connected = on_connected, .waiting = on_waiting, .answered = on_answered, .up = on_up,
    .done = on_done, .confirm = on_confirm, .over = on_over,
};

const struct hop_events *endpoint_hop_events(void) { return &hop_events; }

bool endpoint_same_total(const struct endpoint *ep)
{
    char text[160];
    const struct attach_total *a = &ep->mine, *b = &ep->theirs;
    if (a->total != b->total) {
        snprintf(text, sizeof(text), "length mismatch: %llu bytes here, %llu at the other end", (unsigned long long)a->total,
                 (unsigned long long)b->total);
        endpoint_finish((struct endpoint *)(uintptr_t)ep, -SST_ELENGTH, text);
        return false;
    }
    if (a->has_digest && b->has_digest && memcmp(a->digest, b->digest, DIGEST_SIZE) != 0) {
        endpoint_finish((struct endpoint *)(uintptr_t)ep, -SST_EDIGEST, "digest mismatch: the bytes were altered on the way");
        return false;
    }
    return true;
}

/* ------------------------------------------------------------ one attempt */

static void on_patience(struct timer *t)
{
    struct endpoint *ep = container_of(t, struct endpoint, patience);
    endpoint_finish(ep, -SST_ERENDEZVOUS, ep->listening ? "no sender came in time (--wait)" : "the other side did not come in time (--wait)");
}

void endpoint_be_patient(struct endpoint *ep, uint64_t wait_ns)
{
    if (wait_ns != TIME_FOREVER)
        loop_timer(&ep->loop, &ep->patience, wait_ns);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void reset_attempt(struct endpoint *ep)
{
    ep->ended = ep->finished = ep->told = ep->confirmed = ep->by_peer = ep->reached = false;
    ep->mine = ep->theirs = (struct attach_total){ 0 };
    ep->rc = 0;
    ep->why[0] = 0;
    ep->flow_ns = ep->end_ns = ep->bytes = 0;
    report_begin(ep);
    ep->start_ns = now_ns();
    ep->cpu_start = cpu_seconds();
}

static void dial(struct endpoint *ep)
{
    struct grpc_target t = { .host = ep->to.host, .port = ep->to.port, .tls = ep->tls, .connect_ns = CONNECT_NS, .silent_ns = SILENT_NS,
                             .tls_name = *ep->o->tls_name ? ep->o->tls_name : NULL };
    ep->state = EP_DIALING;
    ep->hop.want = (struct hop_offer){
        .name = mem_strdup(ep->o->by_ticket ? ep->ticket.uid : ep->to.kind == ADDR_DIRECT ? "direct" : ep->to.route),
        .is_session = ep->o->by_ticket,
        .role = ep->kind->sends ? SCISTREAM__GATEWAY__V1__ROLE__SEND : SCISTREAM__GATEWAY__V1__ROLE__RECV,
        .channel = ep->o->channel, .window = ep->o->window, .size_hint = ep->size_hint, .probe = ep->kind->probe, .low_latency = ep->o->low_latency,
        .wait_ms = ep->o->wait == TIME_FOREVER ? 0 : ep->o->wait / NS_PER_MS,
        .software = mem_printf("%s %s", ep->kind->program, PACKAGE_VERSION),
    };
    ep->hop.secret = &ep->secret;
    ep->hop.step_ns = CONNECT_NS;
    endpoint_be_patient(ep, ep->o->wait);
    hop_dial(&ep->hop, &ep->loop, ep->resolver, &t, &hop_events, ep);
}

static void on_tick(struct timer *t)
{
    struct endpoint *ep = container_of(t, struct endpoint, tick);
    if (ep->state == EP_FLOWING)
        report_tick(ep);
    loop_timer(&ep->loop, &ep->tick, TICK_NS);
}

static void on_retry(struct timer *t) { stop_later(container_of(t, struct endpoint, retry)); }

static void attempt(struct endpoint *ep)
{
    reset_attempt(ep);
    if (ep->listening) {
        listen_next(ep);
        endpoint_be_patient(ep, ep->o->wait_given ? ep->o->wait : TIME_FOREVER);
    } else {
        dial(ep);
    }
    loop_timer(&ep->loop, &ep->tick, TICK_NS);
    loop_run(&ep->loop);
    loop_timer_stop(&ep->loop, &ep->tick);
    loop_timer_stop(&ep->loop, &ep->patience);
    loop_timer_stop(&ep->loop, &ep->linger);
    hop_fini(&ep->hop);
    ep->state = EP_IDLE;
}

/* The channel of the attempt before may still be closing, as long as a disk takes for what it was given: only one can be open. */
static void wait_closed(struct endpoint *ep)
{
    if (ep->pc.channel && !ep->interrupted)
        endpoint_say(ep, "waiting until the last stream is closed: its file or connection takes long");
    while (ep->pc.channel && !ep->interrupted)
        loop_run(&ep->loop);
}

static void pause_a_little(struct endpoint *ep)
{
    ep->backoff_ms = MIN(MAX(2 * ep->backoff_ms, 100), BACKOFF_MAX_MS);
    loop_timer(&ep->loop, &ep->retry, ep->backoff_ms * NS_PER_MS);
    loop_run(&ep->loop);
}

bool endpoint_go_on(struct endpoint *ep)
{
    bool nobody = ep->listening && ep->rc == -SST_ERENDEZVOUS;
    if (ep->interrupted || nobody || (ep->rc < 0 && !ep->flow_ns && !err_retryable(ep->rc)))
        return false;
    wait_closed(ep);
    if (ep->rc < 0 && !ep->listening && !ep->interrupted)
        pause_a_little(ep);
    return !ep->interrupted;
}

/* Nothing was read from the source yet, the failure may pass, and there is time left. */
static bool try_again(struct endpoint *ep)
{
    uint64_t now = now_ns();
    bool forever = ep->o->wait == TIME_FOREVER && ep->rc == -SST_ERENDEZVOUS;
    bool moved = ep->rc == -SST_EMOVED && ep->moves++ < MOVES_MAX; /* to the same address, where another program is by now */
    if (ep->rc == 0 || ep->interrupted || ep->flow_ns || ep->listening || (!forever && !moved && (!err_retryable(ep->rc) || now >= ep->retry_until_ns)))
        return false;
    endpoint_say(ep, "%s; trying again", ep->why);
    wait_closed(ep);
    if (!ep->interrupted)
        pause_a_little(ep);
    return !ep->interrupted;
}

int endpoint_run(struct endpoint *ep)
{
    uint64_t now = now_ns();
    ep->retry_until_ns = ep->o->retry > UINT64_MAX - now ? UINT64_MAX : now + ep->o->retry;
    do
        attempt(ep);
    while (endpoint_next_address(ep) || try_again(ep));
    if (ep->flow_ns)
        ep->backoff_ms = 0;
    if (ep->rc < 0 && ep->kind->failed)
        ep->kind->failed(ep);
    if (ep->rc < 0)
        endpoint_complain(ep, ep->rc, "%s", ep->why);
    report_final(ep);
    return err_exit(ep->rc);
}

/* ------------------------------------------------------------ beginning and end */

/* A listener without a secret makes one, so that the first try between two machines needs nothing but copying a file. */
static int load_secret(struct endpoint *ep)
{
    char why[512];
    AUTO_FREE char *path = *ep->o->secret_file ? mem_strdup(ep->o->secret_file) : config_file("secret");
    if (ep->o->listen && *ep->o->listen && access(path, F_OK) < 0) {
        int made = *ep->o->secret_file ? 0 : config_make_folders(path);
        if (made < 0)
            return endpoint_complain(ep, made, "%s: %s", path, err_text(made));
        if (secret_create(path, why, sizeof(why)) < 0)
            return endpoint_complain(ep, -SST_EIO, "%s", why);
        endpoint_say(ep, "new secret written to %s: copy it to the sending machine", path);
    }
    int rc = secret_read(path, &ep->secret, why, sizeof(why));
    if (rc < 0)
        return endpoint_complain(ep, -SST_ECONF, "%s%s", why, *ep->o->secret_file ? "" : " (or name another file with --secret-file)");
    if (!*ep->o->secret_file) {
        free(ep->o->secret_file);
        ep->o->secret_file = mem_strdup(path);
    }
    return 0;
}

static int apply(struct endpoint *ep, char *setting)
{
    char why[256];
    AUTO_FREE char *s = setting;
    return conf_set(ep->conf, s, why, sizeof(why)) < 0 ? endpoint_complain(ep, -SST_EUSAGE, "%s", why) : 0;
}

static char *joined(char *const *v)
{
    char *all = mem_strdup("");
    for (; *v; v++) {
        char *longer = mem_printf("%s%s%s", all, *all ? "," : "", *v);
        free(all);
        all = longer;
    }
    return all;
}

static int apply_options(struct endpoint *ep)
{
    AUTO_FREE char *devices = joined(ep->o->devices);
    int code = apply(ep, mem_printf("link.chunk=%llu", (unsigned long long)ep->o->chunk));
    if (code == 0 && *devices)
        code = apply(ep, mem_printf("ucx.devices=%s", devices));
    if (code == 0 && *devices && strchr(ep->o->devices[0], ':')) /* "mlx5_0:1" is a port of an RDMA device */
        code = apply(ep, mem_printf("rdma.device=%s", ep->o->devices[0]));
    if (code == 0 && *ep->o->require && !strv_has(endpoint_transport_names, ep->o->require))
        code = endpoint_complain(ep, -SST_EUSAGE, "--require %s: must be verbs, ucx or link", ep->o->require);
    return code;
}

static int parse_to(struct endpoint *ep, const char *to)
{
    char why[320];
    const char *gateway = getenv("SCISTREAM_GATEWAY");
    AUTO_FREE char *full = NULL;
    if (*to == '/' && gateway && *gateway)
        full = mem_printf("%s%s%s", strstr(gateway, "://") ? "" : "gateway://", gateway, to);
    else if (*to == '/')
        return endpoint_complain(ep, -SST_EUSAGE, "'%s' is a route of the gateway in SCISTREAM_GATEWAY, which is not set", to);
    if (addr_parse(full ? full : to, &ep->to, why, sizeof(why)) < 0)
        return endpoint_complain(ep, -SST_EUSAGE, "%s", why);
    if (ep->to.kind != ADDR_GATEWAY && ep->to.kind != ADDR_DIRECT)
        return endpoint_complain(ep, -SST_EUSAGE, "'%s' is neither gateway://HOST/ROUTE nor direct://HOST:PORT", to);
    return 0;
}

static int make_tls(struct endpoint *ep)
{
    char why[320];
    ep->tls = tls_ctx_client(ep->o->ca, ep->o->pins, "h2", why, sizeof(why));
    return ep->tls ? 0 : endpoint_complain(ep, -SST_ECONF, "%s", why);
}

static int setup_loop(struct endpoint *ep)
{
    int rc = loop_init(&ep->loop);
    if (rc == 0)
        rc = loop_on_signal(&ep->loop, SIGINT, interrupt);
    if (rc == 0)
        rc = loop_on_signal(&ep->loop, SIGTERM, interrupt);
    if (rc == 0)
        rc = loop_on_signal(&ep->loop, SIGHUP, interrupt);
    if (rc < 0)
        return endpoint_complain(ep, rc, "cannot start: %s", err_text(rc));
    ep->resolver = resolver_new(&ep->loop);
    return ep->resolver ? 0 : endpoint_complain(ep, -SST_ERESOLVE, "the resolver cannot start: see /etc/resolv.conf");
}

int endpoint_setup(struct endpoint *ep, const struct endpoint_kind *k, struct endpoint_opts *o, const char *to)
{
    *ep = (struct endpoint){ .kind = k, .o = o, .loop = { .epfd = -1 } };
    self = ep;
    signal(SIGPIPE, SIG_IGN);
    log_setup(k->program, o->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, LOG_TARGET_STDERR, LOG_FORMAT_TEXT);
    ep->conf = conf_new();
    ep->patience.fire = on_patience;
    ep->retry.fire = on_retry;
    ep->linger.fire = on_linger;
    ep->tick.fire = on_tick;
    defer_init(&ep->stop, stop_loop);
    list_init(&ep->pc.node);
    int code = apply_options(ep);
    if (code == 0 && to)
        code = parse_to(ep, to);
    if (code == 0)
        code = o->by_ticket ? endpoint_use_ticket(ep) : load_secret(ep);
    if (code == 0 && (to || o->by_ticket))
        code = make_tls(ep);
    return code == 0 ? setup_loop(ep) : code;
}

void endpoint_cleanup(struct endpoint *ep)
{
    listen_stop(ep);
    if (!ep->pc.channel)
        local_stop(&ep->local);
    resolver_free(ep->resolver);
    tls_ctx_free(ep->tls);
    secret_free(&ep->secret);
    ticket_wipe(&ep->ticket);
    conf_free(ep->conf);
    loop_fini(&ep->loop);
}
