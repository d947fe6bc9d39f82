/* HTTP/2 for gRPC: one side of one connection, bytes in and bytes out, no socket of its own. The only users of nghttp2 are h2*.c.
 *
 * h2_feed and h2_output call the events below; those may call everything here but h2_feed, h2_output and h2_free.
 */
#ifndef CTRL_H2_H
#define CTRL_H2_H

#include "src/core/util.h"

#define H2_HEADERS_MAX 64           /* of one message, pseudo headers counted */
#define H2_HEADER_BYTES (16U << 10) /* as RFC 9113 6.5.2 counts: name + value + 32 each */
#define H2_WINDOW (1 << 20)         /* of each stream, towards us [bytes] */
#define H2_CONNECTION_WINDOW (2 << 20)

/* RFC 9113 section 7 */
enum h2_code {
    H2_NO_ERROR = 0, H2_PROTOCOL_ERROR = 1, H2_INTERNAL_ERROR = 2, H2_FLOW_CONTROL_ERROR = 3, H2_SETTINGS_TIMEOUT = 4,
    H2_STREAM_CLOSED = 5, H2_FRAME_SIZE_ERROR = 6, H2_REFUSED_STREAM = 7, H2_CANCEL = 8, H2_COMPRESSION_ERROR = 9,
    H2_CONNECT_ERROR = 10, H2_ENHANCE_YOUR_CALM = 11, H2_INADEQUATE_SECURITY = 12, H2_HTTP_1_1_REQUIRED = 13,
};

struct h2;
/* Embedded in what its owner has for each stream. Once closed or detached h2 does not know it any more. */
struct h2_stream { struct h2 *h2; int32_t id; size_t header_bytes; unsigned headers; bool too_big; uint64_t born_ns; };
struct h2_header { const char *name, *value; };

/* What a body source says beside the number of bytes. */
enum h2_more { H2_MORE, H2_WAIT, H2_END, H2_END_TRAILERS }; /* WAIT: until h2_resume. END_TRAILERS: h2_trailers was called */

struct h2_events {
    struct h2_stream *(*opened)(void *user);           /* server: a request begins; its new stream, never NULL */
    void (*header)(struct h2_stream *s, const char *name, const char *value);
    void (*headers_end)(struct h2_stream *s);          /* one block is complete; s->too_big: it broke a limit above */
    void (*data)(struct h2_stream *s, const uint8_t *data, size_t n); /* give room back by h2_consume */
    void (*ended)(struct h2_stream *s);                /* END_STREAM came */
    size_t (*body)(struct h2_stream *s, uint8_t *to, size_t room, enum h2_more *more);
    void (*sent_end)(struct h2_stream *s);             /* END_STREAM left with headers or trailers */
    void (*closed)(struct h2_stream *s, uint32_t code); /* h2 forgets s */
    void (*up)(void *user);                            /* the peer's first SETTINGS are here */
    void (*pong)(void *user, uint64_t mark);
    void (*goaway)(void *user, uint32_t code, const char *text);
};

struct h2_config { bool server; uint32_t streams; };

/* Settings are queued at once. NULL: out of memory. */
struct h2 *h2_new(const struct h2_config *c, const struct h2_events *ev, void *user);
void h2_free(struct h2 *h); /* null-safe */
/* 0; -SST_EPROTO: not HTTP/2; -SST_ELIMIT: the peer floods us; -ENOMEM. h2_why has the sentence. What is queued may still leave.
 * Other errors of the protocol: 0, GOAWAY is queued, and h2_alive becomes false when that has left. */
int h2_feed(struct h2 *h, const uint8_t *data, size_t n);
/* The next bytes to send, valid until the next call: > 0, 0 nothing, -ENOMEM. */
ssize_t h2_output(struct h2 *h, const uint8_t **data);
/* False: nothing more will come or go (after GOAWAY): close. */
bool h2_alive(const struct h2 *h);
/* Sentence about the last failure; never NULL. */
const char *h2_why(const struct h2 *h);

/* Headers are copied. body: the body event is asked for bytes; else END_STREAM goes with the headers.
 * 0, -ENOBUFS: no stream is left, -ENOMEM. */
int h2_request(struct h2 *h, struct h2_stream *s, const struct h2_header *hd, size_t n);
int h2_respond(struct h2_stream *s, const struct h2_header *hd, size_t n, bool body);
/* Server, with the body's end (H2_END_TRAILERS) or instead of what was left of it. */
int h2_trailers(struct h2_stream *s, const struct h2_header *hd, size_t n);
void h2_resume(struct h2_stream *s);
void h2_consume(struct h2_stream *s, size_t n);
/* RST_STREAM and forget s. */
void h2_reset(struct h2_stream *s, enum h2_code code);
/* Forget s without a word: what is queued still leaves. */
void h2_detach(struct h2_stream *s);
void h2_ping(struct h2 *h, uint64_t mark);
void h2_goaway(struct h2 *h, enum h2_code code, const char *text);

#endif
