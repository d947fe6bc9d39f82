/* One side of the flow protocol on real rings, for targets whose input is what the peer says. What the protocol promises is checked. */
#ifndef TESTS_FUZZ_SIDE_H
#define TESTS_FUZZ_SIDE_H

#include "src/seam/framed.h"

#define SIDE_CAP 65536
#define SIDE_CHUNK 16384

struct side { struct ring rx, tx; struct framed f; };

extern const uint8_t side_cookie[FRAME_COOKIE];

/* whims: 1 receives, 2 sends, 4 or 8 the peer's ring is as large or small (else not known), 16 ours is the flow from SEND, 32 keeps. */
void side_begin(struct side *s, uint8_t whims);
/* A frame of the peer; of a DATA all bytes come, in parts if so wanted. 0, or s->f.rc. */
int side_take(struct side *s, const struct frame *in, bool in_parts);
/* Our side consumes a part of what it has (0 to 7 sevenths), and sends what is due; ends: its bytes end here. */
void side_consume(struct side *s, unsigned sevenths);
void side_send(struct side *s, bool ends);
void side_end(struct side *s);

#endif
