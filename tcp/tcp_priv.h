/* What tcp.c and tcp_tls.c share: one end of a channel at a TCP socket, plain or with TLS on it. */
#ifndef TCP_TCP_PRIV_H
#define TCP_TCP_PRIV_H

#include "src/seam/xport.h"
#include "tcp/proxy.h"
#include "tcp/sock.h"

struct tcp {
    struct xport x;
    struct sock s;
    struct timer patience;       /* connect; later: settle; closing: until the next look */
    union sockaddr_any *to;      /* to dial, heap; at: the one that is tried */
    size_t n_to, at;
    union sockaddr_any source;   /* sa_family 0: any */
    uint64_t connect_ns, keep_ns, spread;
    uint8_t head[PROXY_MAX];     /* still to be sent before anything else */
    size_t head_len, head_at;
    bool fin_sent, settle, fin_seen;
    bool fin_first;              /* failed: its end of file came before, and is behind what it said */
    bool stuffed;                /* the pipe took nothing when it was last tried, and has bytes: nobody reads behind them */
    struct sock_leave leaving;   /* closing */
    uint64_t look_ns;            /* closing: the next pause */
    char peer[ADDR_TEXT];
    struct psk *psk;             /* heap: of a TLS handshake that is not done */
    int tls_rc;                  /* TLS: why reading ended; told when the ring, which has what came before, is empty */
};

static inline struct tcp *tcp_of(struct xport *x) { return container_of(x, struct tcp, x); }

/* It failed in use by rc of a sock_* function; returns what xport_fail does. */
int tcp_broken(struct tcp *t, int rc);
/* Connecting, and what goes before all else: 0 done; -EAGAIN; < 0: the next address is tried, or it has failed. */
int tcp_open_step(struct tcp *t);
/* detail: "plaintext", or cipher and kind of key. */
void tcp_become_up(struct tcp *t, const char *detail);
/* Tell an error that nobody would meet by reading. True: it has failed by that. */
bool tcp_failed_unread(struct tcp *t);
/* The end of shut: 0; -EAGAIN: spec.settle, and the peer's kernel has not got everything yet. */
int tcp_settle(struct tcp *t);
void tcp_close(struct xport *x, int rc);
enum stats_wait tcp_blocked(const struct xport *x);

/* TLS (tcp_tls.c): from now on t is that kind of end. */
void tcp_tls_prepare(struct tcp *t, const struct psk *p);
/* The time for the handshake is over. */
void tcp_tls_late(struct tcp *t);
/* Wipe the keys; also of one that has none. */
void tcp_tls_forget(struct tcp *t);
void tcp_tls_unlisten(struct xport_env *env);

#endif
