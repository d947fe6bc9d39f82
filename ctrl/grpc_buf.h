/* Bytes that wait: a queue that grows at its end and is eaten from its front. Messages have secrets in them (tokens, tickets, proofs): what was eaten,
 * moved or given back is wiped. */
#ifndef CTRL_GRPC_BUF_H
#define CTRL_GRPC_BUF_H

#include "src/core/util.h"

struct grpc_buf { uint8_t *mem; size_t at, len, room; }; /* zeroed memory is an empty one */

static inline const uint8_t *grpc_buf_data(const struct grpc_buf *b) { return b->mem + b->at; }
/* Room for n more bytes behind what is there; NULL: out of memory, nothing has changed. Add what was filled to len. */
uint8_t *grpc_buf_room(struct grpc_buf *b, size_t n);
/* 0 or -ENOMEM. */
int grpc_buf_add(struct grpc_buf *b, const void *data, size_t n);
/* Gives large memory back when it becomes empty. */
void grpc_buf_eat(struct grpc_buf *b, size_t n);
void grpc_buf_free(struct grpc_buf *b); /* may be called twice */

#endif
