/* A lane: one TCP connection of a link, plain or TLS, that carries frames; payload goes straight between ring and socket. */
#ifndef TCP_LANE_H
#define TCP_LANE_H

#include "src/core/list.h"
#include "src/seam/framed.h"
#include "tcp/sock.h"

struct lane {
    struct sock s;
    struct framed *f;         /* NULL until it belongs to a channel */
    struct list node;         /* the owner's */
    void *owner;
    /* sending: one frame at a time */
    uint8_t tx_head[FRAME_SIZE];
    size_t tx_head_at, tx_left; /* header bytes sent, payload bytes to send */
    uint64_t tx_off;
    bool tx_busy, tx_piped;     /* tx_piped: the payload is in the pipe of f->tx */
    /* receiving */
    uint8_t rx_head[FRAME_SIZE];
    size_t rx_head_got, rx_left, rx_done; /* payload bytes missing from / already in the claim at rx_off */
    uint64_t rx_off;
    uint32_t rx_most;           /* the largest payload announced since the owner last looked */
    bool rx_stuffed;            /* the pipe of f->rx took nothing when it was last tried */
};

/* Heap; the socket is not open yet. */
struct lane *lane_new(void *owner);
/* Closes and frees; null-safe. Not from within lane_recv or lane_send. */
void lane_free(struct lane *l);
/* Send what is due until the socket is full or the turn's share is used. > 0: sent something; 0: nothing was due or possible; < 0: the lane is broken. */
int lane_send(struct lane *l);
/* Take in frames and payload likewise. -SST_ELOST: the peer closed; a protocol error stands in f->why. */
int lane_recv(struct lane *l);
/* Gather the next 32 bytes, for whoever must see the HELLO before the lane has an owner. 0: *out is it; -EAGAIN; < 0 broken. */
int lane_recv_head(struct lane *l, struct frame *out);
/* For who aborts: what comes is thrown away, the chunk that was begun and the RESET behind it go out. True: the peer's machine has them,
 * or the lane is broken; until then call again, at events and after a while; *left: bytes in the kernel that it has not taken. */
bool lane_leave(struct lane *l, uint64_t *left);
/* Could either do something right now? */
bool lane_busy(const struct lane *l);
/* It reads no further until its sink has taken something. */
bool lane_stuffed(const struct lane *l);

#endif
