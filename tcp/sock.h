/* A stream socket in the loop, edge-triggered, optionally with TLS on it; listening sockets (accepting from them: src/core/listener.h). */
#ifndef TCP_SOCK_H
#define TCP_SOCK_H

#include <sys/uio.h>

#include "src/core/addr.h"
#include "src/core/listener.h"
#include "src/core/loop.h"

struct tls;

struct sock {
    struct io io;
    struct loop *loop;
    struct tls *tls;         /* owned; NULL: plain */
    bool can_read, can_write; /* no -EAGAIN since the last event */
    bool connecting, answered; /* answered: the kernel has said how the connecting went, or that there is room to write */
    bool deaf;               /* input is not reported */
    bool hup, error, urgent; /* the peer has ended its direction / the socket has an error or both have ended / urgent data came: ever */
    /* Connected, readable, writable or failed: call sock_connected, sock_recv, sock_sendv … and see. May close s and free it. */
    void (*event)(struct sock *s);
};

/* Take over a connected stream socket fd (made non-blocking, TCP_NODELAY) in caller's storage. 0 or -errno (fd is closed then). */
int sock_attach(struct sock *s, struct loop *l, int fd, void (*event)(struct sock *));
/* The same for one that is non-blocking already and has the options it is to have, as accept(2) takes them from the listening socket. */
int sock_adopt(struct sock *s, struct loop *l, int fd, void (*event)(struct sock *));
/* Start connecting; event is called when that ended. 0, -errno (nothing is open then). */
int sock_connect(struct sock *s, struct loop *l, const union sockaddr_any *to, void (*event)(struct sock *));
/* The same to a plain TCP peer, from an address whose port may be 0 (NULL: any), with the options of sock_tune_peer. */
struct sock_peer_spec { const union sockaddr_any *from, *to; uint64_t keep_ns; };
int sock_connect_peer(struct sock *s, struct loop *l, const struct sock_peer_spec *p, void (*event)(struct sock *));
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
/* Plain only. The first bytes of more, which follow at once: they wait for those in the kernel. Returns as sock_sendv. */
ssize_t sock_send_more(struct sock *s, const void *from, size_t n);
/* Plain only, by splice(2). Out of a pipe: returns as sock_sendv. Into one: > 0 bytes; 0 at the end, or in front of urgent data; -EAGAIN: the
 * pipe is full or the socket empty (can_read is not touched); -errno. */
ssize_t sock_splice_out(struct sock *s, int pipe_end, size_t n);
ssize_t sock_splice_in(struct sock *s, int pipe_end, size_t n);
/* Nobody wants input for a while: it is not reported, its end and errors are. Until sock_hear, which reports at once what there is. */
void sock_deafen(struct sock *s);
void sock_hear(struct sock *s);
/* 0 everything is in the kernel; -EAGAIN; -errno. */
int sock_flush(struct sock *s);
/* Bytes that sock_recv can give without an event (TLS keeps some). */
bool sock_buffered(const struct sock *s);
/* No more bytes from us: close_notify where there is TLS, FIN. 0, -EAGAIN (call again when writable) or -errno. */
int sock_shut(struct sock *s);
/* true: a close resets (SO_LINGER{1,0}); false: it ends cleanly. */
void sock_reset_on_close(struct sock *s, bool reset);
/* Bytes, and a FIN, that our kernel, or TLS, has and the peer's has not. A socket that cannot tell is believed: 0. */
uint64_t sock_unsent(const struct sock *s);
/* Who closes may wait for a peer's kernel as long as that takes something every SOCK_LEAVE_NS, and not longer than most_ns. */
#define SOCK_LEAVE_NS (1500 * NS_PER_MS) /* time for a packet that is lost, and lost again; below what a worker has to end by itself */
struct sock_leave { uint64_t left, until_ns, end_ns; };
void sock_leave_begin(struct sock_leave *l, uint64_t most_ns);
/* left: what is unsent now. False: it has been long enough. */
bool sock_leave_waits(struct sock_leave *l, uint64_t left);
/* What a connection with a plain TCP peer is to have, or a listening socket, from which those that it accepts have it: no delay, asked after so much
 * silence whether it lives (0: never), and a reset whoever closes it, until sock_reset_on_close(false). */
void sock_tune_peer(int fd, uint64_t keep_ns);
/* The kernel sends at most so many bytes per second, evenly (SO_MAX_PACING_RATE); 0: nothing is changed. */
void sock_spread(const struct sock *s, uint64_t bytes_per_s);
/* 0, or the error that the socket waits to tell; it is told once. */
int sock_error(struct sock *s);
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
/* A listening socket that another program handed over, taken: sock_listen and sock_listen_unix return it where they would have bound its address.
 * 0; -EINVAL: it does not listen at an address (it is closed); -ENFILE: too many. */
int sock_inherit(int fd);
/* Close those that were not asked for; how many. */
unsigned sock_inherit_end(void);
/* A socket file that nobody serves is replaced; -EADDRINUSE when somebody does, -EEXIST when it is no socket. */
int sock_listen_unix(const char *path, mode_t mode);

#endif
