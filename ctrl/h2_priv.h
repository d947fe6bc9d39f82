/* Shared by h2.c (life, what we submit) and h2_events.c (what nghttp2 calls). */
#ifndef CTRL_H2_PRIV_H
#define CTRL_H2_PRIV_H

#include <nghttp2/nghttp2.h>

#include "ctrl/h2.h"
#include "ctrl/h2_frames.h"
#include "ctrl/h2_guard.h"

struct h2 {
    nghttp2_session *session;
    const struct h2_events *ev;
    void *user;
    struct h2_guard guard;
    struct h2_frames frames; /* of a client */
    uint64_t now; /* clock at the last h2_feed */
    bool server, up, flooded;
    char why[160];
};

struct h2_stream *h2_stream_of(struct h2 *h, int32_t id);
/* GOAWAY(ENHANCE_YOUR_CALM); h2_feed fails from now on. */
void h2_flooded(struct h2 *h, const char *what);
/* One of that kind: maybe one too many. */
void h2_guard_frame(struct h2 *h, enum h2_guard_kind k);
void h2_set_callbacks(nghttp2_session_callbacks *cbs);
/* The data provider of every message with a body. */
ssize_t h2_read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags, nghttp2_data_source *src,
                     void *user);

#endif
