/* A peer that speaks HTTP/2 but not necessarily gRPC: what our client and our server must stand. */
#ifndef TESTS_UNIT_H2_RAW_H
#define TESTS_UNIT_H2_RAW_H

#include "ctrl/grpc_buf.h"
#include "ctrl/h2.h"
#include "tcp/sock.h"

struct raw_stream {
    struct h2_stream s;
    struct raw *r;
    const uint8_t *body;   /* sent, then the stream ends or (open_end) stays as it is */
    size_t left;
    bool open_end;
    char headers[4096];    /* "name: value\n" of all blocks */
    size_t received, unread; /* bytes of DATA */
    bool ended, closed;
    uint32_t code;
};

struct raw {
    struct sock sock;
    struct h2 *h2;
    struct grpc_buf out;
    struct raw_stream streams[8]; /* in order of their coming */
    unsigned n;
    bool lazy, up, gone;          /* lazy: never opens its window again */
    uint32_t goaway;              /* 1 + code of the peer's GOAWAY */
    void (*request)(struct raw *r, struct raw_stream *s); /* server: its headers are here */
};

/* Client: connect to 127.0.0.1:port. */
void raw_connect(struct raw *r, struct loop *l, uint16_t port);
/* Server: takes an accepted descriptor. */
void raw_accept(struct raw *r, struct loop *l, int fd);
/* Any request; the body is not copied. */
struct raw_stream *raw_request(struct raw *r, const struct h2_header *hd, size_t n);
void raw_body(struct raw_stream *s, const void *data, size_t n, bool open_end);
/* Send what is queued. */
void raw_flush(struct raw *r);
void raw_close(struct raw *r);

#endif
