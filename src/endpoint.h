/* What scistream-send, scistream-recv and scistreamctl probe have in common: one hop, one channel of their own worker, one file end.
 *
 * Happy path: endpoint_setup -> endpoint_run: dial (or be attached to, src/listen.c) -> OFFER/ANSWER -> channel and hop open -> both
 * up -> kind->open_file -> bytes -> kind->moved decides -> confirmation -> channel closed -> outcome.
 * Any failure before the first byte may be tried again (--retry); any later one is final. The outcome is one of err.h, with a sentence.
 */
#ifndef SRC_ENDPOINT_H
#define SRC_ENDPOINT_H

#include "ctrl/hop.h"
#include "src/core/opts.h"
#include "src/core/units.h"
#include "src/local.h"

struct endpoint_opts {
    /* both */
    int transport, report;
    char *require, *secret_file, *ca, *tls_name;
    char **devices, **pins;
    uint64_t window, chunk, wait, retry;
    int64_t channel;
    bool progress, quiet, verbose, no_digest;
    /* send */
    uint64_t rate, size;
    /* recv */
    char *output, *listen;
    bool keep, plaintext, no_sync;
    int64_t data_port;
    /* probe */
    uint64_t probe_time;
};

/* Rows both utilities share; T is the struct that holds the fields. */
#define ENDPOINT_ROW(field, long_name, letter_, type_, def_, min_, max_, choices_, arg_, env_, help_) \
    { .v = { .name = long_name, .type = type_, .off = offsetof(struct endpoint_opts, field), .def = def_, .min = min_, .max = max_, \
             .choices = choices_, .help = help_ }, .letter = letter_, .arg = arg_, .env = env_ }
#define ENDPOINT_ROWS \
    ENDPOINT_ROW(transport, "transport", 't', VALUE_ENUM, "auto", 0, 0, "auto|ucx|link", "T", NULL, \
                 "how the bytes travel; auto: ucx where both ends can, else link"), \
    ENDPOINT_ROW(require, "require", 'R', VALUE_STR, "", 0, 0, NULL, "T", NULL, "fail unless this transport is used"), \
    ENDPOINT_ROW(devices, "device", 'd', VALUE_LIST, "", 0, 0, NULL, "DEV", NULL, \
                 "device ucx may use (lo, ib0, mlx5_0:1); may be repeated; default: the one that routes to the gateway"), \
    ENDPOINT_ROW(window, "window", 'w', VALUE_SIZE, "1M", 64 << 10, 4ULL << 30, NULL, "SIZE", NULL, "ring of this program: bytes in flight"), \
    ENDPOINT_ROW(chunk, "chunk", 0, VALUE_SIZE, "256K", 4 << 10, 64 << 20, NULL, "SIZE", NULL, "largest piece on a link"), \
    ENDPOINT_ROW(wait, "wait", 'W', VALUE_TIME, "10m", 0, TIME_FOREVER, NULL, "TIME", NULL, "how long to wait for the other side"), \
    ENDPOINT_ROW(retry, "retry", 0, VALUE_TIME, "0", 0, TIME_FOREVER, NULL, "TIME", NULL, \
                 "attach again for this long when it fails before the first byte"), \
    ENDPOINT_ROW(channel, "channel", 'c', VALUE_INT, "-1", 0, 0, NULL, "N", NULL, "channel of the route; default: the next that is free"), \
    ENDPOINT_ROW(secret_file, "secret-file", 's', VALUE_STR, "", 0, 0, NULL, "FILE", "SCISTREAM_SECRET_FILE", \
                 "the secret shared with the gateway; default ~/.config/scistream/secret"), \
    ENDPOINT_ROW(pins, "pin", 'p', VALUE_LIST, "", 0, 0, NULL, "PIN", NULL, \
                 "public key of the gateway (sha256:HEX), instead of a CA; at most two"), \
    ENDPOINT_ROW(ca, "ca", 0, VALUE_STR, "", 0, 0, NULL, "FILE", NULL, "CA that signed the gateway's certificate; default: the system's"), \
    ENDPOINT_ROW(tls_name, "tls-name", 0, VALUE_STR, "", 0, 0, NULL, "NAME", NULL, "name in the gateway's certificate; default: its host"), \
    ENDPOINT_ROW(no_digest, "no-digest", 0, VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL, "do not compute the XXH3-128 of the stream"), \
    ENDPOINT_ROW(progress, "progress", 'P', VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL, "show progress even when stderr is no terminal"), \
    ENDPOINT_ROW(report, "report", 'r', VALUE_ENUM, "text", 0, 0, "text|json|none", "FORM", NULL, \
                 "report at the end: text on stderr, or one JSON object on stdout (stderr when stdout carries the stream)"), \
    ENDPOINT_ROW(quiet, "quiet", 'q', VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL, "neither progress nor text report, only errors"), \
    ENDPOINT_ROW(verbose, "verbose", 'v', VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL, "say every step")

enum endpoint_report { REPORT_TEXT, REPORT_JSON, REPORT_NONE };

enum endpoint_state { EP_IDLE, EP_DIALING, EP_OFFERED, EP_OPENING, EP_FLOWING, EP_CONFIRMED, EP_CLOSING };

struct endpoint;

struct endpoint_kind {
    const char *program;
    bool sends, probe;
    void (*open_file)(struct endpoint *ep); /* the hop is up: open the other end of the channel */
    void (*moved)(struct endpoint *ep);     /* ended, finished, told or confirmed: what now? */
    void (*failed)(struct endpoint *ep);    /* clean up what open_file made; may be NULL */
    void (*step)(struct endpoint *ep, enum endpoint_state reached); /* EP_OFFERED: connected; EP_OPENING: answered; may be NULL */
};

struct listening; /* src/listen.c */

struct endpoint {
    const struct endpoint_kind *kind;
    struct endpoint_opts *o;
    struct loop loop;
    struct conf *conf;
    struct resolver *resolver;
    struct addr to;
    struct secret secret;
    struct tls_ctx *tls;
    struct local local;
    struct listening *listening;
    struct hop hop;
    struct pool_client pc;
    enum endpoint_state state;
    /* what is known of the stream */
    bool ended, finished, told, confirmed;     /* our ring has all; our sink took all; DONE came; CONFIRM came or was sent */
    struct attach_total mine, theirs;
    /* outcome */
    int rc;
    bool by_peer, interrupted;
    char why[ATTACH_WHY + 64];
    char uid[40];
    uint32_t channel_number;
    uint64_t start_ns, flow_ns, end_ns, retry_until_ns;
    double cpu_start;
    unsigned backoff_ms, served;
    struct timer patience, retry, linger, tick;
    struct defer stop;
    uint64_t size_hint;
    bool stdout_is_stream;
    struct hop_report report;                  /* copied from the hop at its end */
    uint64_t wait_ns[WAIT_KINDS], bytes;       /* copied from the statistics page before the channel goes */
    struct { uint64_t bytes, at_ns, wait_ns[WAIT_KINDS]; double rate; bool shown; } bar;
};

/* Common beginning: signals, secret, TLS, address. 0, or exit code after one line on stderr. */
int endpoint_setup(struct endpoint *ep, const struct endpoint_kind *k, struct endpoint_opts *o, const char *to);
/* One stream; returns the exit code after error line or report. May be called again (--keep). */
int endpoint_run(struct endpoint *ep);
void endpoint_cleanup(struct endpoint *ep);
/* One line "program: sentence" on stderr, and the exit code of rc. */
int endpoint_complain(const struct endpoint *ep, int rc, const char *fmt, ...) PRINTF(3, 4);
/* A line for people, unless --quiet. */
void endpoint_say(const struct endpoint *ep, const char *fmt, ...) PRINTF(2, 3);

/* For the kinds. Open the file side of the channel. */
void endpoint_open_files(struct endpoint *ep, char **files, int fd);
/* The stream ends here: rc 0 success. Tells the peer when it is our failure. */
void endpoint_finish(struct endpoint *ep, int rc, const char *why);
bool endpoint_same_total(const struct endpoint *ep);

/* Hop events and channel, for src/listen.c as well. */
const struct hop_events *endpoint_hop_events(void);
int endpoint_open_channel(struct endpoint *ep);
char **endpoint_transports(const struct endpoint *ep); /* heap; those that work here, best first */

/* src/listen.c: be attached to instead of dialing. 0 or -errno with why. */
int listen_start(struct endpoint *ep, char *why, size_t why_size);
void listen_stop(struct endpoint *ep);
void listen_next(struct endpoint *ep);     /* ready for a stream */

/* src/report.c */
void report_tick(struct endpoint *ep);     /* redraw the progress line */
void report_sample(struct endpoint *ep);   /* keep the counters */
void report_final(struct endpoint *ep);

#endif
