/* The five messages of the flow protocol as 32 bytes on the wire (scistream-protocol(7)); the same image on every carriage.
 *
 *   0 type u8 | 1 flow u8 | 2 flags u16 = 0 | 4 len u32 | 8 a u64 | 16 b u64 | 24 c u64          all big-endian
 *
 *   HELLO  a = version (high 32 bits) and 0     b, c = the 16 bytes of the cookie
 *   DATA   len = payload bytes that follow      a = offset            b = c = 0
 *   LIMIT  a = limit                            b = consumed          c = 0
 *   EOS    a = total                            RESET  a = code (err.h)
 */
#ifndef SRC_SEAM_FRAME_H
#define SRC_SEAM_FRAME_H

#include "src/core/util.h"

#define FRAME_SIZE 32
#define FRAME_VERSION 1
#define FRAME_COOKIE 16

/* Values above 0x15 would look like TLS records to a listener that takes both. */
enum frame_type { FRAME_HELLO = 1, FRAME_DATA = 2, FRAME_LIMIT = 3, FRAME_EOS = 4, FRAME_RESET = 5 };

struct frame {
    uint8_t type, flow; /* flow 0: from the SEND end to the RECV end of the hop; 1: the other way (duplex) */
    uint32_t len;
    uint64_t a, b, c;
};

void frame_encode(const struct frame *f, uint8_t out[FRAME_SIZE]);
/* 0, or -SST_EPROTO: unknown type, flow above 1, bits that must be 0, a payload where none belongs or an empty DATA. */
int frame_decode(const uint8_t in[FRAME_SIZE], struct frame *f);
struct frame frame_hello(const uint8_t cookie[FRAME_COOKIE]);
/* The cookie of a HELLO. */
void frame_cookie(const struct frame *f, uint8_t out[FRAME_COOKIE]);
/* "DATA [4096, +65536)" for logs. */
const char *frame_text(const struct frame *f, char out[80]);

#endif
