/* A stream socket in the loop, edge-triggered, optionally with TLS on it; listening sockets. */
#ifndef TCP_SOCK_H
#define TCP_SOCK_H

#include <sys/uio.h>

#include "src/core/addr.h"
#include "src/core/loop.h"

struct tls;

struct sock {
    struct io io;
    struct loop *loop;
    struct tls *tls;         /* owned; NULL: plain */
    bool can_read, can_write; /* no -EAGAIN since the last event */
    bool connecting;
    /* Connected, readable, writable or failed: call sock_connected, sock_recv, sock_sendv … and see. May close s and free it. */
    void (*event)(struct sock *s);
};

/* Take over a connected stream socket fd (made non-blocking, TCP_NODELAY) in caller's storage. 0 or -errno (fd is closed then). */
int sock_attach(struct sock *s, struct loop *l, int fd, void (*event)(struct sock *));
/* Start connecting; event is called when that ended. 0, -errno (nothing is open then). */
int sock_connect(struct sock *s, struct loop *l, const union sockaddr_any *to, void (*event)(struct sock *));
/* After the first event: 0 connected, -EAGAIN still trying, -errno why not. */
int sock_connected(struct sock *s);
/* Put TLS on it (takes t, even on failure later). The handshake is driven by sock_handshake. */
void sock_start_tls(struct sock *s, struct tls *t);
/* 0 done (or plain); -EAGAIN; -SST_ETLS, -SST_ECERT, -errno: tls_why(s->tls) has the sentence. */
int sock_handshake(struct sock *s);

/* > 0 bytes; 0 the peer ended cleanly (with TLS: close_notify); -EAGAIN; -errno; -SST_ELOST: TLS cut without close_notify. */
ssize_t sock_recv(struct sock *s, void *to, size_t n);
/* Plain: one recvmsg. TLS: only iov[0] is filled. */
ssize_t sock_recvv(struct sock *s, struct iovec *iov, int n);
/* > 0 bytes taken (with TLS they may still wait in its buffer: sock_flush); -EAGAIN; -errno. Never SIGPIPE. */
ssize_t sock_sendv(struct sock *s, const struct iovec *iov, int n);
/* 0 everything is in the kernel; -EAGAIN; -errno. */
int sock_flush(struct sock *s);
/* Bytes that sock_recv can give without an event (TLS keeps some). */
bool sock_buffered(const struct sock *s);
/* No more bytes from us: close_notify where there is TLS, FIN. 0, -EAGAIN (call again when writable) or -errno. */
int sock_shut(struct sock *s);
/* true: a close resets (SO_LINGER{1,0}); false: it ends cleanly. */
void sock_reset_on_close(struct sock *s, bool reset);
/* Null-safe for a zeroed struct with io.fd = -1; may be called twice. */
void sock_close(struct sock *s);

/* Addresses of a connected socket. */
void sock_peer(const struct sock *s, union sockaddr_any *out);
void sock_local(const struct sock *s, union sockaddr_any *out);
/* TCP segments that were sent again so far; 0 when it is no TCP. */
uint32_t sock_retransmits(const struct sock *s);

/* A bound, listening, non-blocking, close-on-exec socket (SO_REUSEADDR; "::" takes IPv4 too, and only that where the kernel has no
 * IPv6). port 0: any. >= 0, or -errno. */
int sock_listen(const union sockaddr_any *at);
/* A socket file that nobody serves is replaced; -EADDRINUSE when somebody does, -EEXIST when it is no socket. */
int sock_listen_unix(const char *path, mode_t mode);

/* Accepts in the loop; when descriptors run out it pauses, says so once, and goes on when one is free. */
struct listener {
    struct io io;
    int fd; /* -1: stopped; io.fd is -1 while it pauses, too */
    struct loop *loop;
    struct timer retry;
    bool paused;
    const char *what; /* for the log: "control endpoint" */
    /* Takes fd (non-blocking, close-on-exec). May stop l, but its storage must stay until the loop's next turn. */
    void (*accepted)(struct listener *l, int fd, const union sockaddr_any *peer);
};

/* Takes fd. 0 or -errno. */
int listener_start(struct listener *l, struct loop *loop, int fd, const char *what,
                   void (*accepted)(struct listener *, int, const union sockaddr_any *));
void listener_stop(struct listener *l); /* closes; may be called twice, and on a zeroed one that was never started */
/* Take it out of the loop but leave the descriptor open. */
int listener_detach(struct listener *l);

#endif
