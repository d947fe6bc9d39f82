/* Which frames of a client nghttp2 is not to see: RST_STREAM for a stream that nobody opened. gRPC's own library sends one when a call is given up at the
 * moment when its headers were to leave, and its servers overlook that; nghttp2 ends the connection, with all the other calls on it (RFC 9113 5.1). */
#ifndef CTRL_H2_FRAMES_H
#define CTRL_H2_FRAMES_H

#include "src/core/util.h"

#define H2_FRAME_HEAD 9

struct h2_frames {
    unsigned magic;              /* bytes that have come of the client's magic */
    uint8_t head[H2_FRAME_HEAD];
    unsigned head_n;
    uint32_t left, last;         /* bytes of the payload that are to come; the highest stream of which headers came */
    bool skip;
}; /* zeroed memory is ready */

struct h2_piece { const uint8_t *data; size_t n; bool skipped; };

/* The next piece of data, which advances: bytes that are to be passed on, none while a frame's head is not whole; skipped: a whole frame was left out with
 * this one. Pieces are valid until the next call. False: nothing is left. */
bool h2_frames_next(struct h2_frames *f, const uint8_t **data, size_t *n, struct h2_piece *out);

#endif
