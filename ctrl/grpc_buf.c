#include "ctrl/grpc_buf.h"

#include <errno.h>

#include "src/core/secret.h"

#define ROOM_MIN 256U
#define KEEP_MAX 4096U /* larger memory is given back when the queue is empty */

/* What was eaten is wiped already. */
static void give_back(struct grpc_buf *b)
{
    if (b->mem)
        secret_wipe(b->mem + b->at, b->len);
    free(b->mem);
}

/* The front is moved away only when that wins at least as much as is moved, so each byte moves once on average. */
uint8_t *grpc_buf_room(struct grpc_buf *b, size_t n)
{
    if (b->mem && b->room - b->at - b->len >= n)
        return b->mem + b->at + b->len;
    if (!b->mem || b->at < b->len || b->room - b->len < n) {
        size_t need = b->len + n, room = MAX(ROOM_MIN, b->room);
        while (room < need)
            room *= 2;
        uint8_t *mem = malloc(room);
        if (!mem)
            return NULL;
        if (b->len)
            memcpy(mem, b->mem + b->at, b->len);
        give_back(b);
        b->mem = mem;
        b->room = room;
    } else if (b->len) {
        memcpy(b->mem, b->mem + b->at, b->len); /* at >= len: they do not overlap */
        secret_wipe(b->mem + b->at, b->len);
    }
    b->at = 0;
    return b->mem + b->len;
}

int grpc_buf_add(struct grpc_buf *b, const void *data, size_t n)
{
    if (n == 0)
        return 0;
    uint8_t *to = grpc_buf_room(b, n);
    if (!to)
        return -ENOMEM;
    memcpy(to, data, n);
    b->len += n;
    return 0;
}

void grpc_buf_eat(struct grpc_buf *b, size_t n)
{
    if (n > 0)
        secret_wipe(b->mem + b->at, n);
    b->at += n;
    b->len -= n;
    if (b->len)
        return;
    b->at = 0;
    if (b->room > KEEP_MAX)
        grpc_buf_free(b);
}

void grpc_buf_free(struct grpc_buf *b)
{
    give_back(b);
    *b = (struct grpc_buf){ 0 };
}
