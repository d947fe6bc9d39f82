/* What an end of a channel is given: the environment of its worker, and how it is to be opened. */
#ifndef SRC_SEAM_XPORT_SPEC_H
#define SRC_SEAM_XPORT_SPEC_H

#include "src/core/addr.h"
#include "src/core/conf.h"
#include "src/core/loop.h"
#include "src/core/offload.h"
#include "src/core/psk.h"
#include "src/core/stats.h"

#define XPORT_COOKIE 16
#define XPORT_KEY 32
#define XPORT_WHY 256
#define XPORT_TEXT 96
#define XPORT_KINDS_MAX 8

enum xport_kind { XPORT_FILE, XPORT_LINK, XPORT_UCX, XPORT_VERBS, XPORT_TCP, XPORT_MEM };

/* What all channels of one worker share; lives as long as the worker. */
struct xport_env {
    struct loop *loop;
    const struct conf *conf;
    struct offload *offload;
    struct stats_page *stats;
    struct board *board;             /* shared with the other workers; never NULL in a worker that has doors */
    unsigned index;                  /* of the worker */
    bool accepts;                    /* peers attach to us: listeners are wanted */
    int link_fd;                     /* listening socket for link lanes, or -1; the link transport takes it */
    void *shared[XPORT_KINDS_MAX];   /* each transport's own, at xport_ops.kind */
    struct list devices;             /* struct xport_device: the ports that transports looked at */
    bool ending;                     /* the process is about to: no end that closes waits for a peer that takes its time */
    /* A transport that could not be used now can (why empty), or the other way round; or env->devices changed. Set by the worker; NULL: nobody asks. */
    void (*changed)(struct xport_env *env, enum xport_kind kind, const char *why);
};

/* A port of a device that a transport can use, or could: for people, and for peers to find out whether they reach it. Heap; env->devices. */
struct xport_device {
    struct list node;
    const char *transport;           /* "verbs"; static */
    char name[XPORT_TEXT];           /* "mlx5_0:1" */
    char netdev[32], link_layer[16], state[16], gid[48];
    char addresses[160];             /* numeric, separated by spaces */
    int gid_index, numa_node;        /* -1: none, not known */
    unsigned mtu, mtu_max;           /* bytes */
    uint64_t rate;                   /* bit/s; 0: not known */
    bool listens;
};

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
    int fd;                          /* file: this open descriptor instead of files; tcp: this connection instead of a new one (taken); or -1 */
    bool tuned;                      /* tcp: fd is non-blocking and has its options, from the door that accepted it */
    const union sockaddr_any *from;  /* tcp: whose connection fd is; NULL: it is asked */
    char *const *addresses;          /* tcp: numeric hosts of the peer, tried in this order; port is of all */
    const char *source;              /* tcp: numeric address to come from; NULL, "": any */
    uint64_t connect_ns, keep_ns;    /* tcp: time for each address to answer; after how much silence the peer is asked whether it lives, 0: never */
    bool settle;                     /* tcp, sink: it counts as done when the peer's kernel has everything, not when ours has */
    bool proxy;                      /* tcp: a PROXY header first, about a connection of proxy_from to proxy_to; NULL: of our own */
    const union sockaddr_any *proxy_from, *proxy_to;
    const struct psk *psk;           /* tcp: TLS, as the server where fd is given, else as the client; NULL: plaintext */
    bool sync;                       /* file, sink: fsync before it counts as done */
    uint64_t stop_after_ns;          /* file, source: end of file after this time; 0: never */
    uint64_t spread;                 /* tcp, link: bytes per second at which the kernel is to send; 0: as it likes */
    bool simplex;                    /* the channel is duplex and this end is not: it takes only, or brings only */
    bool low_latency;                /* framed: small pieces go at once, they are not gathered */
    char *const *peer_addresses;     /* accept, verbs: of the peer's RDMA ports; one must be reached, or failed() with -SST_ENOTRANSPORT; NULL: not looked at */
};

/* What accept tells, for the ANSWER. */
struct xport_answer {
    char address[XPORT_TEXT];        /* numeric; "": the one the peer reached us at */
    uint16_t port;
    uint32_t chunk_max;
};

#endif
