/* Stream sockets in the loop.
 *
 * Happy path: sock_connect -> event, sock_connected 0 -> (sock_start_tls, sock_handshake until 0) -> sock_recv / sock_sendv until
 * -EAGAIN, again at the next event -> sock_shut -> sock_close.
 * The socket is registered once, edge-triggered: whoever stops before -EAGAIN must come back by himself.
 * Failures come as the result of the next call; nothing is logged and nothing closes itself here.
 */
#include "tcp/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "src/core/err.h"
#include "tcp/tls.h"

#define KEEP_IDLE_S 30
#define KEEP_INTERVAL_S 10
#define KEEP_COUNT 3

static void set_int(int fd, int level, int name, int value) { (void)setsockopt(fd, level, name, &value, sizeof(value)); }

static void set_keepalive(int fd, uint64_t idle_ns)
{
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, idle_ns != 0);
    if (idle_ns == 0)
        return;
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)MIN(MAX(idle_ns / NS_PER_S, 1), 32767)); /* as tcp(7) allows */
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT);
}

static void set_linger(int fd, bool reset)
{
    struct linger l = { .l_onoff = reset, .l_linger = 0 };
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

static void tune_tcp(int fd, sa_family_t family)
{
    if (family != AF_INET && family != AF_INET6)
        return;
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_keepalive(fd, KEEP_IDLE_S * NS_PER_S);
}

void sock_tune_peer(int fd, uint64_t keep_ns)
{
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_keepalive(fd, keep_ns);
    set_linger(fd, true);
}

static socklen_t address_len(const union sockaddr_any *a)
{
    return a->sa.sa_family == AF_UNIX ? (socklen_t)sizeof(struct sockaddr_un) : addr_len(a);
}

/* ------------------------------------------------------------ life */

/* TLS may have to write in order to read and the other way round: there each event is worth a try of both. */
static void on_ready(struct io *io, uint32_t events)
{
    struct sock *s = container_of(io, struct sock, io);
    const uint32_t broken = EPOLLERR | EPOLLHUP;
    if (s->tls || events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | broken))
        s->can_read = true;
    if (s->tls || events & (EPOLLOUT | broken))
        s->can_write = true;
    s->answered |= (events & (EPOLLOUT | broken)) != 0;
    s->hup |= (events & (EPOLLRDHUP | broken)) != 0;
    s->error |= (events & broken) != 0;
    s->urgent |= (events & EPOLLPRI) != 0;
    s->event(s);
}

#define INPUT (EPOLLIN | EPOLLPRI)
#define OUTPUT (EPOLLOUT | EPOLLRDHUP | EPOLLET)

static int enter(struct sock *s, struct loop *l, int fd, void (*event)(struct sock *))
{
    *s = (struct sock){ .io = { .fd = -1, .ready = on_ready }, .loop = l, .event = event, .can_write = true };
    int rc = loop_add(l, &s->io, fd, OUTPUT | INPUT);
    if (rc < 0)
        close(fd);
    return rc;
}

int sock_adopt(struct sock *s, struct loop *l, int fd, void (*event)(struct sock *)) { return enter(s, l, fd, event); }

void sock_deafen(struct sock *s)
{
    s->deaf = s->deaf || loop_change(s->loop, &s->io, OUTPUT) == 0;
}

void sock_hear(struct sock *s)
{
    s->deaf = s->deaf && loop_change(s->loop, &s->io, OUTPUT | INPUT) < 0;
}

int sock_attach(struct sock *s, struct loop *l, int fd, void (*event)(struct sock *))
{
    union sockaddr_any a = { 0 };
    socklen_t len = sizeof(a);
    s->io.fd = -1;
    if (getsockname(fd, &a.sa, &len) < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    tune_tcp(fd, a.sa.sa_family);
    return enter(s, l, fd, event);
}

/* The port is chosen with the connection, so that all of them serve each destination. */
static int bind_source(int fd, const union sockaddr_any *from)
{
    if (!from)
        return 0;
    set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    return bind(fd, &from->sa, addr_len(from)) < 0 ? -errno : 0;
}

/* Takes fd, which has its options. */
static int start_connecting(struct sock *s, struct loop *l, int fd, const union sockaddr_any *to, void (*event)(struct sock *))
{
    if (connect(fd, &to->sa, address_len(to)) < 0 && errno != EINPROGRESS) {
        int rc = errno == EAGAIN ? -ECONNREFUSED : -errno; /* unix: its queue is full */
        close(fd);
        return rc;
    }
    int rc = enter(s, l, fd, event);
    s->connecting = rc == 0;
    s->can_write = false;
    return rc;
}

static int new_socket(const union sockaddr_any *to)
{
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int sock_connect(struct sock *s, struct loop *l, const union sockaddr_any *to, void (*event)(struct sock *))
{
    int fd = new_socket(to);
    s->io.fd = -1;
    if (fd < 0)
        return fd;
    tune_tcp(fd, to->sa.sa_family);
    return start_connecting(s, l, fd, to, event);
}

int sock_connect_peer(struct sock *s, struct loop *l, const struct sock_peer_spec *p, void (*event)(struct sock *))
{
    int fd = new_socket(p->to);
    s->io.fd = -1;
    if (fd < 0)
        return fd;
    sock_tune_peer(fd, p->keep_ns);
    int rc = bind_source(fd, p->from);
    if (rc == 0)
        return start_connecting(s, l, fd, p->to, event);
    close(fd);
    return rc;
}

int sock_connected(struct sock *s)
{
    if (!s->connecting)
        return 0;
    if (!s->answered)
        return -EAGAIN;
    int rc = sock_error(s);
    if (rc < 0)
        return rc;
    s->connecting = false;
    s->can_write = true;
    return 0;
}

void sock_start_tls(struct sock *s, struct tls *t) { s->tls = t; }

int sock_handshake(struct sock *s)
{
    if (!s->tls)
        return 0;
    int rc = tls_handshake(s->tls);
    s->can_read = s->can_write = rc != -EAGAIN;
    return rc;
}

void sock_reset_on_close(struct sock *s, bool reset) { set_linger(s->io.fd, reset); }

int sock_error(struct sock *s)
{
    int error = 0;
    socklen_t len = sizeof(error);
    return getsockopt(s->io.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? -errno : -error;
}

void sock_close(struct sock *s)
{
    int fd = s->io.fd;
    tls_free(s->tls);
    s->tls = NULL;
    if (fd < 0)
        return;
    loop_del(s->loop, &s->io);
    close(fd);
}

uint64_t sock_unsent(const struct sock *s)
{
    int n = 0;
    return (ioctl(s->io.fd, SIOCOUTQ, &n) < 0 ? 0 : (uint64_t)n) + (s->tls ? tls_unsent(s->tls) : 0);
}

void sock_leave_begin(struct sock_leave *l, uint64_t most_ns)
{
    *l = (struct sock_leave){ .left = UINT64_MAX, .end_ns = now_ns() + most_ns };
}

bool sock_leave_waits(struct sock_leave *l, uint64_t left)
{
    uint64_t now = now_ns();
    if (left < l->left)
        l->until_ns = MIN(now + SOCK_LEAVE_NS, l->end_ns);
    l->left = left;
    return now < l->until_ns;
}

void sock_peer(const struct sock *s, union sockaddr_any *out)
{
    socklen_t len = sizeof(*out);
    memset(out, 0, sizeof(*out));
    (void)getpeername(s->io.fd, &out->sa, &len);
}

void sock_local(const struct sock *s, union sockaddr_any *out)
{
    socklen_t len = sizeof(*out);
    memset(out, 0, sizeof(*out));
    (void)getsockname(s->io.fd, &out->sa, &len);
}

void sock_spread(const struct sock *s, uint64_t bytes_per_s)
{
    if (bytes_per_s) /* a socket that cannot sends in bursts of what the ring lets through */
        (void)setsockopt(s->io.fd, SOL_SOCKET, SO_MAX_PACING_RATE, &bytes_per_s, sizeof(bytes_per_s));
}

uint32_t sock_retransmits(const struct sock *s)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    if (s->io.fd < 0 || getsockopt(s->io.fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 || len < offsetof(struct tcp_info, tcpi_total_retrans) + 4)
        return 0;
    return info.tcpi_total_retrans;
}

/* ------------------------------------------------------------ bytes */

static ssize_t saw_read(struct sock *s, ssize_t n)
{
    if (n == -EAGAIN)
        s->can_read = false;
    return n;
}

static ssize_t saw_write(struct sock *s, ssize_t n)
{
    if (n == -EAGAIN)
        s->can_write = false;
    return n;
}

ssize_t sock_recv(struct sock *s, void *to, size_t n)
{
    ssize_t got;
    if (s->tls)
        return saw_read(s, tls_read(s->tls, to, n));
    do
        got = recv(s->io.fd, to, n, 0);
    while (got < 0 && errno == EINTR);
    return saw_read(s, got < 0 ? -errno : got);
}

ssize_t sock_recvv(struct sock *s, struct iovec *iov, int n)
{
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)n };
    ssize_t got;
    if (s->tls)
        return sock_recv(s, iov[0].iov_base, iov[0].iov_len);
    do
        got = recvmsg(s->io.fd, &m, 0);
    while (got < 0 && errno == EINTR);
    return saw_read(s, got < 0 ? -errno : got);
}

static ssize_t tls_sendv(struct tls *t, const struct iovec *iov, int n)
{
    size_t sum = 0;
    for (int i = 0; i < n; i++) {
        if (iov[i].iov_len == 0)
            continue;
        ssize_t took = tls_write(t, iov[i].iov_base, iov[i].iov_len);
        if (took < 0)
            return sum ? (ssize_t)sum : took;
        sum += (size_t)took;
        if ((size_t)took < iov[i].iov_len)
            break;
    }
    return (ssize_t)sum;
}

ssize_t sock_sendv(struct sock *s, const struct iovec *iov, int n)
{
    union { const struct iovec *c; struct iovec *v; } u = { .c = iov }; /* sendmsg does not write there */
    struct msghdr m = { .msg_iov = u.v, .msg_iovlen = (size_t)n };
    ssize_t sent;
    if (s->tls)
        return saw_write(s, tls_sendv(s->tls, iov, n));
    do
        sent = sendmsg(s->io.fd, &m, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return saw_write(s, sent < 0 ? -errno : sent);
}

ssize_t sock_send_more(struct sock *s, const void *from, size_t n)
{
    ssize_t sent;
    do
        sent = send(s->io.fd, from, n, MSG_NOSIGNAL | MSG_MORE);
    while (sent < 0 && errno == EINTR);
    return saw_write(s, sent < 0 ? -errno : sent);
}

ssize_t sock_splice_out(struct sock *s, int pipe_end, size_t n)
{
    ssize_t sent;
    do
        sent = splice(pipe_end, NULL, s->io.fd, NULL, n, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    while (sent < 0 && errno == EINTR);
    return saw_write(s, sent > 0 ? sent : sent == 0 ? -EIO : -errno);
}

ssize_t sock_splice_in(struct sock *s, int pipe_end, size_t n)
{
    ssize_t got;
    do
        got = splice(s->io.fd, NULL, pipe_end, NULL, n, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

int sock_flush(struct sock *s) { return s->tls ? (int)saw_write(s, tls_flush(s->tls)) : 0; }
bool sock_buffered(const struct sock *s) { return s->tls && tls_buffered(s->tls); }

int sock_shut(struct sock *s)
{
    if (s->tls) {
        int rc = (int)saw_write(s, tls_shut(s->tls));
        if (rc < 0)
            return rc;
    }
    return shutdown(s->io.fd, SHUT_WR) < 0 ? -errno : 0;
}
