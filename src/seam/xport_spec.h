/* What an end of a channel is given: the environment of its worker, and how it is to be opened. */
#ifndef SRC_SEAM_XPORT_SPEC_H
#define SRC_SEAM_XPORT_SPEC_H

#include "src/core/conf.h"
#include "src/core/loop.h"
#include "src/core/offload.h"
#include "src/core/stats.h"

#define XPORT_COOKIE 16
#define XPORT_KEY 32
#define XPORT_WHY 256
#define XPORT_TEXT 96
#define XPORT_KINDS_MAX 8

/* What all channels of one worker share; lives as long as the worker. */
struct xport_env {
    struct loop *loop;
    const struct conf *conf;
    struct offload *offload;
    struct stats_page *stats;
    unsigned index;                  /* of the worker */
    bool accepts;                    /* peers attach to us: listeners are wanted */
    int link_fd;                     /* listening socket for link lanes, or -1; the link transport takes it */
    void *shared[XPORT_KINDS_MAX];   /* each transport's own, at xport_ops.kind */
};

enum xport_kind { XPORT_FILE, XPORT_LINK, XPORT_UCX, XPORT_VERBS, XPORT_TCP, XPORT_MEM };

/* How one end of a channel is to be opened. Pointers need to live only during the call. */
struct xport_spec {
    const char *address;             /* connect: numeric host of the peer */
    uint16_t port;
    uint8_t cookie[XPORT_COOKIE];    /* both: ties the data connection to its attach */
    uint8_t key[XPORT_KEY];          /* link: pre-shared key of the lanes */
    bool plain;                      /* link: no TLS */
    const char *cipher;              /* link, connect: what the acceptor asked for */
    uint64_t peer_window;            /* bytes of the peer's ring; 0: not known */
    uint32_t chunk_max;              /* largest DATA either side sends */
    char *const *files;              /* file: paths, "-" = standard input or output */
    int fd;                          /* file: this open descriptor instead of files (taken), or -1 */
    bool sync;                       /* file, sink: fsync before it counts as done */
    uint64_t stop_after_ns;          /* file, source: end of file after this time; 0: never */
};

/* What accept tells, for the ANSWER. */
struct xport_answer {
    char address[XPORT_TEXT];        /* numeric; "": the one the peer reached us at */
    uint16_t port;
    uint32_t chunk_max;
};

#endif
