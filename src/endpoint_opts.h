/* Options of scistream-send, scistream-recv and scistreamctl probe: the rows they share, and one struct for all. */
#ifndef SRC_ENDPOINT_OPTS_H
#define SRC_ENDPOINT_OPTS_H

#include "src/core/opts.h"
#include "src/core/units.h"

struct endpoint_opts {
    /* both */
    int transport, report;
    char *require, *secret_file, *ca, *tls_name, *ticket_file;
    char **devices, **pins;
    uint64_t window, chunk, wait, retry;
    bool wait_given; /* --listen waits without a limit unless it was */
    int64_t channel;
    bool ticket_given, by_ticket; /* on the command line; it is used */
    bool progress, quiet, verbose, no_digest, low_latency;
    /* send */
    uint64_t rate, size;
    /* recv */
    char *output, *listen;
    bool keep, plaintext, no_sync;
    int64_t data_port;
    /* probe */
    uint64_t probe_time;
};

/* Rows both utilities share; of: the commands of scistreamctl that take it. */
#define ENDPOINT_ROW_OF(of_, field, long_name, letter_, type_, def_, min_, max_, choices_, arg_, env_, help_) \
    { .v = { .name = long_name, .type = type_, .off = offsetof(struct endpoint_opts, field), .def = def_, .min = min_, .max = max_, \
             .choices = choices_, .help = help_ }, .letter = letter_, .arg = arg_, .env = env_, .of = of_ }
#define ENDPOINT_ROW(...) ENDPOINT_ROW_OF("probe", __VA_ARGS__)
#define ENDPOINT_ROWS ENDPOINT_ATTACH_ROWS, ENDPOINT_TRUST_ROWS, ENDPOINT_STREAM_ROWS, ENDPOINT_SAY_ROWS
#define ENDPOINT_ATTACH_ROWS \
    ENDPOINT_ROW(transport, "transport", 't', VALUE_ENUM, "auto", 0, 0, "auto|verbs|ucx|link", "T", NULL, \
                 "how the bytes travel; auto: verbs, else ucx, where both ends can, else link"), \
    ENDPOINT_ROW(require, "require", 'R', VALUE_STR, "", 0, 0, NULL, "T", NULL, "fail unless this transport is used"), \
    ENDPOINT_ROW(devices, "device", 'd', VALUE_LIST, "", 0, 0, NULL, "DEV", NULL, \
                 "device verbs (mlx5_0:1) and ucx (lo, ib0, mlx5_0:1) may use; may be repeated; default: the one that leads to the peer; " \
                 "scistream-recv --listen: none"), \
    ENDPOINT_ROW(window, "window", 'w', VALUE_SIZE, "4M", 64 << 10, 4ULL << 30, NULL, "SIZE", NULL, "ring of this program: bytes in flight"), \
    ENDPOINT_ROW(chunk, "chunk", 0, VALUE_SIZE, "256K", 4 << 10, 64 << 20, NULL, "SIZE", NULL, "largest piece on a link"), \
    { .v = { .name = "wait", .type = VALUE_TIME, .off = offsetof(struct endpoint_opts, wait), .def = "10m", .max = TIME_FOREVER, \
             .help = "how long to wait for the other side; scistream-recv --listen: for a sender, without a limit unless given" }, \
      .letter = 'W', .arg = "TIME", .of = "probe", .given = offsetof(struct endpoint_opts, wait_given) }, \
    ENDPOINT_ROW(retry, "retry", 0, VALUE_TIME, "0", 0, TIME_FOREVER, NULL, "TIME", NULL, \
                 "attach again for this long when it fails before the first byte"), \
    ENDPOINT_ROW(channel, "channel", 'c', VALUE_INT, "-1", (uint64_t)-1, 65535, NULL, "N", NULL, \
                 "channel of the route; -1: the next that is free"), \
    ENDPOINT_ROW(secret_file, "secret-file", 's', VALUE_STR, "", 0, 0, NULL, "FILE", "SCISTREAM_SECRET_FILE", \
                 "the secret shared with the gateway; default ~/.config/scistream/secret")
#define ENDPOINT_TRUST_ROWS \
    ENDPOINT_ROW_OF(NULL, pins, "pin", 'p', VALUE_LIST, "", 0, 0, NULL, "PIN", NULL, \
                 "public key of the gateway (sha256:HEX), instead of a CA; at most two"), \
    ENDPOINT_ROW_OF(NULL, ca, "ca", 0, VALUE_STR, "", 0, 0, NULL, "FILE", NULL, "CA that signed the gateway's certificate; default: the system's"), \
    ENDPOINT_ROW_OF(NULL, tls_name, "tls-name", 0, VALUE_STR, "", 0, 0, NULL, "NAME", NULL, "name in the gateway's certificate; default: its host")
#define ENDPOINT_STREAM_ROWS \
    ENDPOINT_ROW(low_latency, "low-latency", 'l', VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL, \
                 "small pieces go at once on every hop, they are not gathered while others are under way"), \
    ENDPOINT_ROW(no_digest, "no-digest", 0, VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL, "do not compute the XXH3-128 of the stream"), \
    ENDPOINT_ROW(progress, "progress", 'P', VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL, "show progress even when stderr is no terminal"), \
    ENDPOINT_ROW(report, "report", 'r', VALUE_ENUM, "text", 0, 0, "text|json|none", "FORM", NULL, \
                 "report at the end: text on stderr, or one JSON object on stdout (stderr when stdout carries the stream)")
#define ENDPOINT_SAY_ROWS \
    ENDPOINT_ROW_OF("probe inbound outbound stream login", quiet, "quiet", 'q', VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL, "neither progress nor text report, only errors"), \
    ENDPOINT_ROW_OF(NULL, verbose, "verbose", 'v', VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL, "say every step")

/* scistream-send and scistream-recv: what a gateway has issued, in place of an address */
#define ENDPOINT_TICKET_ROW \
    { .v = { .name = "ticket-file", .type = VALUE_STR, .off = offsetof(struct endpoint_opts, ticket_file), .def = "", \
             .help = "a ticket, in the place of address, secret and pin; - for standard input" }, \
      .letter = 'T', .arg = "FILE", .env = "SCISTREAM_TICKET_FILE", .given = offsetof(struct endpoint_opts, ticket_given) }

enum endpoint_report { REPORT_TEXT, REPORT_JSON, REPORT_NONE };

#endif
