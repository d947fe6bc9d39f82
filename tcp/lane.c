#include "tcp/lane.h"

#include <errno.h>
#include <sys/socket.h>

#include "src/core/err.h"

#define SCRATCH (64U << 10)
#define TURN_CALLS 8 /* system calls (plain) or records (TLS) one call may make: others want their turn too */

struct lane *lane_new(void *owner)
{
    struct lane *l = mem_zalloc(1, sizeof(*l));
    l->s.io.fd = -1;
    l->owner = owner;
    list_init(&l->node);
    return l;
}

void lane_free(struct lane *l)
{
    if (!l)
        return;
    list_del(&l->node);
    sock_close(&l->s);
    free(l);
}

/* ------------------------------------------------------------ sending */

static bool next_frame(struct lane *l)
{
    struct frame out;
    if (!framed_next(l->f, &out))
        return false;
    frame_encode(&out, l->tx_head);
    l->tx_head_at = 0;
    l->tx_off = out.a;
    l->tx_left = out.type == FRAME_DATA ? out.len : 0;
    l->tx_piped = l->tx_left && l->f->tx->piped && out.a < l->f->tx->pipe_end;
    l->tx_busy = true;
    return true;
}

static void sent(struct lane *l, size_t n)
{
    size_t head = MIN(n, FRAME_SIZE - l->tx_head_at);
    l->tx_head_at += head;
    l->tx_off += n - head;
    l->tx_left -= n - head;
    l->tx_busy = l->tx_head_at < FRAME_SIZE || l->tx_left > 0;
}

/* The header waits in the kernel for the bytes behind it. */
static ssize_t send_piped(struct lane *l)
{
    struct ring *r = l->f->tx;
    if (l->tx_head_at < FRAME_SIZE)
        return sock_send_more(&l->s, l->tx_head + l->tx_head_at, FRAME_SIZE - l->tx_head_at);
    ssize_t n = sock_splice_out(&l->s, r->pipe[0], l->tx_left);
    if (n > 0) {
        ring_piped_out(r, (size_t)n);
        ring_release_to(r, MAX(r->rel, l->tx_off + (size_t)n));
    }
    return n;
}

static ssize_t send_once(struct lane *l)
{
    struct iovec iov[2];
    int n = 0;
    if (l->tx_piped)
        return send_piped(l);
    if (l->tx_head_at < FRAME_SIZE)
        iov[n++] = (struct iovec){ l->tx_head + l->tx_head_at, FRAME_SIZE - l->tx_head_at };
    if (l->tx_left)
        iov[n++] = (struct iovec){ ring_at(l->f->tx, l->tx_off), l->tx_left };
    return sock_sendv(&l->s, iov, n);
}

int lane_send(struct lane *l)
{
    int moved = 0;
    for (int i = 0; i < TURN_CALLS && l->s.can_write && (l->tx_busy || next_frame(l)); i++) {
        ssize_t n = send_once(l);
        if (n == -EAGAIN)
            break;
        if (n < 0)
            return (int)n;
        sent(l, (size_t)n);
        moved = 1;
    }
    int rc = moved || l->s.can_write ? sock_flush(&l->s) : 0;
    return rc < 0 && rc != -EAGAIN ? rc : moved;
}

/* ------------------------------------------------------------ receiving */

static int take_payload(struct lane *l, size_t n, bool piped)
{
    int rc = framed_filled(l->f, l->rx_off, n);
    if (piped)
        ring_piped_in(l->f->rx, n);
    l->rx_done += n;
    l->rx_left -= n;
    return rc;
}

static int take_head(struct lane *l)
{
    struct frame in;
    l->rx_head_got = 0;
    if (frame_decode(l->rx_head, &in) < 0) {
        framed_garbage(l->f, l->rx_head);
        return l->f->rc;
    }
    int rc = framed_input(l->f, &in);
    if (rc == 0 && in.type == FRAME_DATA) {
        l->rx_off = in.a;
        l->rx_left = in.len;
        l->rx_most = MAX(l->rx_most, in.len);
        l->rx_done = 0;
    }
    return rc;
}

/* One read: the rest of the payload straight into the ring, and the next header behind it. */
static ssize_t recv_once(struct lane *l)
{
    struct iovec iov[2];
    int n = 0;
    if (l->rx_left)
        iov[n++] = (struct iovec){ ring_at(l->f->rx, l->rx_off + l->rx_done), l->rx_left };
    iov[n++] = (struct iovec){ l->rx_head + l->rx_head_got, FRAME_SIZE - l->rx_head_got };
    return sock_recvv(&l->s, iov, n);
}

bool lane_stuffed(const struct lane *l) { return l->rx_stuffed && !l->s.hup && !l->s.error && !framed_needs_word(l->f); }

/* Into the pipe: in order, and while no byte waits behind it in memory. */
static bool takes_pipe(const struct lane *l)
{
    struct ring *r = l->rx_left ? l->f->rx : NULL;
    return r && ring_pipe_open(r) && r->put == l->rx_off + l->rx_done;
}

/* -EAGAIN is said of an empty socket and of a full pipe. What waits behind a full one waits for the sink, unless it may be word of the other
 * direction that we need, or the end: then the bytes go on into memory. */
static ssize_t recv_some(struct lane *l, bool *piped)
{
    struct ring *r = l->f->rx;
    *piped = takes_pipe(l);
    bool full = *piped && ring_clogged(r);
    ssize_t n = full ? -EAGAIN : *piped ? sock_splice_in(&l->s, r->pipe[1], l->rx_left) : 0;
    if (*piped)
        loop_patient(l->s.loop);
    if (n > 0 || (n < 0 && n != -EAGAIN))
        return n;
    if (n == -EAGAIN && r->pipe_held == 0) {
        l->s.can_read = false;
        return n;
    }
    l->rx_stuffed = n == -EAGAIN;
    if (lane_stuffed(l))
        return n;
    *piped = false;
    return recv_once(l);
}

static int took(struct lane *l, size_t n, bool piped)
{
    l->rx_stuffed = false;
    size_t payload = MIN(n, l->rx_left);
    int rc = payload ? take_payload(l, payload, piped) : 0;
    l->rx_head_got += n - payload;
    if (rc == 0 && l->rx_head_got == FRAME_SIZE)
        rc = take_head(l);
    return rc;
}

static int recv_turn(struct lane *l)
{
    int moved = 0;
    for (int i = 0; i < TURN_CALLS && l->s.can_read; i++) {
        bool piped;
        ssize_t n = recv_some(l, &piped);
        if (n == -EAGAIN)
            break;
        if (n <= 0)
            return n == 0 ? -SST_ELOST : (int)n;
        int rc = took(l, (size_t)n, piped);
        if (rc < 0)
            return rc;
        moved = 1;
    }
    return moved;
}

int lane_recv(struct lane *l)
{
    int moved = recv_turn(l);
    if (l->s.deaf && !l->s.can_read)
        sock_hear(&l->s);
    return moved;
}

int lane_recv_head(struct lane *l, struct frame *out)
{
    while (l->rx_head_got < FRAME_SIZE) {
        ssize_t n = sock_recv(&l->s, l->rx_head + l->rx_head_got, FRAME_SIZE - l->rx_head_got);
        if (n <= 0)
            return n == 0 ? -SST_ELOST : (int)n;
        l->rx_head_got += (size_t)n;
    }
    l->rx_head_got = 0;
    return frame_decode(l->rx_head, out);
}

bool lane_busy(const struct lane *l)
{
    bool to_send = l->tx_busy || framed_control_due(l->f) || (l->f->tx && ring_waiting(l->f->tx) && !framed_blocked(l->f));
    return (l->s.can_read && !lane_stuffed(l)) || (l->s.can_write && to_send);
}

/* ------------------------------------------------------------ the end */

/* A socket that is closed with bytes unread resets the connection at once, and what we said last is lost with it. */
static bool throw_away(int fd)
{
    static uint8_t scratch[SCRATCH];
    ssize_t n = 1;
    for (int i = 0; i < TURN_CALLS && n > 0; i++)
        n = recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT);
    return n >= 0 || errno == EAGAIN || errno == EINTR;
}

bool lane_leave(struct lane *l, uint64_t *left)
{
    if (!throw_away(l->s.io.fd) || lane_send(l) < 0)
        return true;
    bool ours = l->tx_busy || framed_control_due(l->f) || sock_flush(&l->s) == -EAGAIN;
    *left = sock_unsent(&l->s);
    return !ours && *left == 0;
}
