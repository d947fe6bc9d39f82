/* gRPC's small formats as pure functions: message prefix, grpc-timeout, grpc-message, grpc-status and the mappings to it.
 * (github.com/grpc/grpc doc/PROTOCOL-HTTP2.md, doc/http-grpc-status-mapping.md) */
#ifndef CTRL_GRPC_WIRE_H
#define CTRL_GRPC_WIRE_H

#include "ctrl/grpc.h"

#define GRPC_PREFIX 5           /* compressed flag, length (big-endian) */
#define GRPC_TEXT_MAX 1024      /* of a status; longer ones are cut */
#define GRPC_TEXT_ENCODED (3 * GRPC_TEXT_MAX + 1)
#define GRPC_TIMEOUT_TEXT 16

enum grpc_frame_kind { GRPC_FRAME_PART, GRPC_FRAME_WHOLE, GRPC_FRAME_COMPRESSED, GRPC_FRAME_TOO_BIG, GRPC_FRAME_BAD };
struct grpc_frame { const uint8_t *data; uint32_t len; };

/* What begins at p: len is set as soon as the prefix is there, data when it is whole. A prefix is enough to know
 * one larger than max. */
enum grpc_frame_kind grpc_frame_parse(const uint8_t *p, size_t n, size_t max, struct grpc_frame *out);
void grpc_frame_prefix(uint8_t to[GRPC_PREFIX], uint32_t len);

/* Percent-encoding: to has GRPC_TEXT_ENCODED. Decoding takes what is no valid escape as it stands, and
 * '?' for control characters. */
void grpc_text_encode(char *to, const char *text);
void grpc_text_decode(char *to, size_t size, const char *text);

/* "100m" -> ns; 1..8 digits and one of HMSmun. 0 or -EINVAL. */
int grpc_timeout_parse(const char *s, uint64_t *ns);
/* The finest unit in which ns fits eight digits, rounded up. */
void grpc_timeout_format(char out[GRPC_TIMEOUT_TEXT], uint64_t ns);

/* "0".."16"; anything else is GRPC_UNKNOWN. */
enum grpc_status grpc_status_parse(const char *s);
enum grpc_status grpc_status_of_http(int code);
enum grpc_status grpc_status_of_reset(uint32_t h2_code);
/* application/grpc, application/grpc+proto, application/grpc;… */
bool grpc_content_ok(const char *type);

#endif
