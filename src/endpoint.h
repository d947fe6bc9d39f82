/* What scistream-send, scistream-recv and scistreamctl probe have in common: one hop, one channel of their own worker, one file end.
 *
 * Happy path: endpoint_setup -> endpoint_run: dial (or be attached to, src/listen.c) -> OFFER/ANSWER -> channel and hop open -> both
 * up -> kind->open_file -> bytes -> kind->moved decides -> confirmation -> channel closed -> outcome.
 * Any failure before the first byte may be tried again (--retry); any later one is final. The outcome is one of err.h, with a sentence.
 */
#ifndef SRC_ENDPOINT_H
#define SRC_ENDPOINT_H

#include "ctrl/hop.h"
#include "src/core/ticket.h"
#include "src/endpoint_opts.h"
#include "src/local.h"

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

#define REPORT_COUNTERS 5

struct listening; /* src/listen.c */

struct endpoint {
    const struct endpoint_kind *kind;
    struct endpoint_opts *o;
    struct loop loop;
    struct conf *conf;
    struct resolver *resolver;
    struct addr to;
    struct secret secret;
    struct ticket ticket;                      /* --ticket-file: with addresses in the place of `to` */
    unsigned address;                          /* of them, the one that `to` is now */
    bool reached;                              /* the other side has answered in this attempt, so another address is none of its troubles */
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
    bool by_peer;
    int interrupted;            /* by this signal; 0: not */
    char why[ATTACH_WHY + 64];
    char uid[40];
    uint32_t channel_number;
    uint64_t start_ns, flow_ns, end_ns, retry_until_ns;
    double cpu_start;
    unsigned backoff_ms, served, moves;
    struct timer patience, retry, linger, tick;
    struct defer stop;
    uint64_t size_hint;
    bool stdout_is_stream;
    struct hop_report report;                  /* copied from the hop at its end */
    uint64_t counted[REPORT_COUNTERS];         /* of the worker, when the stream began */
    uint64_t wait_ns[WAIT_KINDS], bytes;       /* copied from the statistics page before the channel goes */
    struct { uint64_t bytes, at_ns, wait_ns[WAIT_KINDS]; double rate; bool shown; } bar;
};

/* Common beginning: signals, secret, TLS, address; to NULL: by a ticket, or to be attached to. 0, or exit code after one line on stderr. */
int endpoint_setup(struct endpoint *ep, const struct endpoint_kind *k, struct endpoint_opts *o, const char *to);
/* One stream; returns the exit code after error line or report. May be called again (--keep). */
int endpoint_run(struct endpoint *ep);
/* After a stream, with --keep: wait until its channel is closed, pause after a failure, and say whether another may do better. */
bool endpoint_go_on(struct endpoint *ep);
void endpoint_cleanup(struct endpoint *ep);
/* One line "program: sentence" on stderr, and the exit code of rc. */
int endpoint_complain(const struct endpoint *ep, int rc, const char *fmt, ...) PRINTF(3, 4);
/* The same of the signal that came. */
int endpoint_complain_interrupted(const struct endpoint *ep);
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
enum { ENDPOINT_AUTO, ENDPOINT_VERBS, ENDPOINT_UCX, ENDPOINT_LINK, ENDPOINT_TRANSPORTS = ENDPOINT_LINK }; /* --transport */
extern char *const endpoint_transport_names[ENDPOINT_TRANSPORTS + 1]; /* best first, NULL-terminated */
void endpoint_be_patient(struct endpoint *ep, uint64_t wait_ns); /* the end by ERENDEZVOUS when the hop is not up by then */
bool endpoint_wants(const struct endpoint *ep, const char *transport); /* by --transport and --require */
bool endpoint_asked(const struct endpoint *ep); /* one of them names a transport */
void endpoint_finish_unusable(struct endpoint *ep); /* the transport asked for, or any, does not work here */
char **endpoint_transports(const struct endpoint *ep); /* heap; those of them that work here, best first */

/* src/endpoint_ticket.c. Is it a ticket that says where to go, with so many operands behind the options? */
bool endpoint_takes_ticket(struct endpoint_opts *o, int operands);
/* The ticket in the place of address, pins and secret. 0, or exit code after one line on stderr. */
int endpoint_use_ticket(struct endpoint *ep);
/* After an attempt: an address of the ticket could not be reached, and another is left to be tried at once. */
bool endpoint_next_address(struct endpoint *ep);

/* src/listen.c: be attached to instead of dialing. 0 or -errno with why. */
int listen_start(struct endpoint *ep, char *why, size_t why_size);
void listen_stop(struct endpoint *ep);
void listen_next(struct endpoint *ep);     /* ready for a stream */

/* src/report.c */
void report_begin(struct endpoint *ep);    /* from here on it is counted */
void report_tick(struct endpoint *ep);     /* redraw the progress line */
void report_sample(struct endpoint *ep);   /* keep the counters */
void report_final(struct endpoint *ep);

#endif
