/* The flow protocol, once: what may be sent next and what a message from the peer means. The carriages (link, ucx, verbs) only
 * move frames and payload.
 *
 * Sending is by pull: the carriage asks framed_next() when it can send. So control messages are never queued: they are state
 * (a limit to announce, an end to tell), and a busy carriage merges them by itself.
 */
#ifndef SRC_SEAM_FRAMED_H
#define SRC_SEAM_FRAMED_H

#include "src/core/ring.h"
#include "src/seam/frame.h"

#define FRAMED_WHY 160

struct framed {
    struct ring *rx, *tx;        /* the peer's bytes go into rx, ours come from tx; NULL: not in this direction */
    uint8_t rx_flow, tx_flow;
    bool keep;                   /* bytes of tx stay in memory until the peer consumed them, and are its end then (link); else the carriage releases */
    uint32_t chunk_max;          /* largest DATA that is taken */
    uint32_t chunk_send;         /* largest DATA that is sent; at most what the peer takes */
    bool edge;                   /* DATA lies in one piece of registered memory: it ends where the view of tx does, and at whole chunks */
    bool eager;                  /* never hold: small pieces go at once */
    bool hold;                   /* DATA is under way: let what comes meanwhile gather to a full chunk, unless it is the end */
    uint64_t peer_ring;          /* bytes the peer can hold unconsumed; 0: not known */
    uint8_t cookie[FRAME_COOKIE];
    bool hello_due, hello_seen;
    bool eos_sent, reset_due, reset_sent;
    uint32_t reset_code;
    uint64_t limit, acked;       /* the peer allows us to send up to limit and consumed up to acked */
    uint64_t told_limit, told_consumed;
    bool urge;                   /* tell the limit however little it grew */
    int rc;                      /* first failure, with its sentence */
    char why[FRAMED_WHY];
};

/* The rings may be set afterwards, before the first message. forward: our tx is the flow from SEND to RECV. */
void framed_init(struct framed *f, const uint8_t cookie[FRAME_COOKIE], uint32_t chunk_max, uint64_t peer_ring);
void framed_set_rings(struct framed *f, struct ring *rx, struct ring *tx, bool forward);

/* The most urgent message that is due: HELLO, RESET (nothing follows it), LIMIT, DATA, EOS: so the bytes of one direction never keep the
 * other waiting for its limit. False: nothing. Taking it counts as sent; for DATA the payload lies at ring_at(f->tx, out->a) and stays there
 * until released. */
bool framed_next(struct framed *f, struct frame *out);
/* A LIMIT, due or not, for a carriage that has something else to tell with it. False: there is nothing to limit, or it is too early or late. */
bool framed_again(struct framed *f, struct frame *out);
/* Is a message due other than DATA, which will be the next? For carriages that sleep while no buffer is free, or keep some for these. */
bool framed_control_due(const struct framed *f);

/* More was consumed than the peer was told, too little yet to be worth a message. A peer that keeps its bytes until then must be told after
 * a while (set urge): whoever feeds it may wait for that room, in a smaller ring. */
bool framed_lazy(const struct framed *f);

/* A message of the peer. 0, or f->rc (-SST_EPROTO, -SST_EVERSION, -SST_ECOOKIE, or what a RESET carried). After a DATA its payload range is
 * claimed in rx: bring the bytes to ring_at(f->rx, in->a) and tell by framed_filled, in parts if need be. */
int framed_input(struct framed *f, const struct frame *in);
int framed_filled(struct framed *f, uint64_t off, size_t n);
/* What came is no frame at all: sets and returns the failure, which shows the bytes. */
int framed_garbage(struct framed *f, const uint8_t head[FRAME_SIZE]);
/* The connection is closed: its half-filled claims are void. */
void framed_disconnected(struct framed *f);
/* All bytes and the EOS went out and nothing is held for the peer any more. */
bool framed_shut_done(const struct framed *f);
/* Every byte of both directions is where it belongs: a connection that ends now is no failure, though the peer may not have heard that its
 * bytes were consumed. */
bool framed_whole(const struct framed *f);
/* And it has been told so: there is nothing more to say, nor to hear. */
bool framed_finished(const struct framed *f);
/* Waiting bytes but no limit to send them. */
bool framed_blocked(const struct framed *f);
/* We can do no more before the peer says something: a limit, or that it has consumed all. */
bool framed_needs_word(const struct framed *f);
/* Tell the peer that both directions end here and are not whole. */
void framed_reset(struct framed *f, int rc);

#endif
