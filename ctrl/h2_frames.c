#include "ctrl/h2_frames.h"

#define MAGIC 24U /* "PRI * HTTP/2.0…" */

enum { FRAME_HEADERS = 1, FRAME_RST_STREAM = 3, RST_STREAM_LEN = 4 };

static uint32_t number(const uint8_t *p, unsigned n)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static struct h2_piece take(const uint8_t **data, size_t *n, size_t part)
{
    struct h2_piece p = { .data = *data, .n = part };
    *data += part;
    *n -= part;
    return p;
}

/* A frame's head is whole. */
static void begin_frame(struct h2_frames *f)
{
    uint32_t stream = number(f->head + 5, 4) & INT32_MAX;
    f->left = number(f->head, 3);
    f->skip = f->head[3] == FRAME_RST_STREAM && f->left == RST_STREAM_LEN && stream % 2 == 1 && stream > f->last;
    if (f->head[3] == FRAME_HEADERS)
        f->last = MAX(f->last, stream);
    f->head_n = 0;
}

/* A head may come in parts: all of it is passed on, or none. */
static struct h2_piece take_head(struct h2_frames *f, const uint8_t **data, size_t *n)
{
    struct h2_piece p = take(data, n, MIN(*n, H2_FRAME_HEAD - f->head_n));
    memcpy(f->head + f->head_n, p.data, p.n);
    f->head_n += (unsigned)p.n;
    p.n = 0;
    if (f->head_n < H2_FRAME_HEAD)
        return p;
    begin_frame(f);
    return (struct h2_piece){ .data = f->head, .n = f->skip ? 0 : H2_FRAME_HEAD, .skipped = f->skip };
}

bool h2_frames_next(struct h2_frames *f, const uint8_t **data, size_t *n, struct h2_piece *out)
{
    if (*n == 0)
        return false;
    if (f->magic < MAGIC) {
        *out = take(data, n, MIN(*n, MAGIC - f->magic));
        f->magic += (unsigned)out->n;
    } else if (f->left > 0) {
        *out = take(data, n, MIN(*n, f->left));
        f->left -= (uint32_t)out->n;
        out->n = f->skip ? 0 : out->n;
    } else {
        *out = take_head(f, data, n);
    }
    return true;
}
