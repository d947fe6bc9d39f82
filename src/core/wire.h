/* Cursor over bytes of the network, big-endian, with a sticky error: read everything, then look at `bad` once. */
#ifndef SRC_CORE_WIRE_H
#define SRC_CORE_WIRE_H

#include "src/core/util.h"

struct wire { uint8_t *p, *end; bool bad; };

static inline struct wire wire_reader(const void *data, size_t n)
{
    union { const void *c; uint8_t *p; } u = { .c = data }; /* readers never write through p */
    return (struct wire){ .p = u.p, .end = u.p + n };
}

static inline struct wire wire_writer(void *data, size_t n) { return (struct wire){ .p = data, .end = (uint8_t *)data + n }; }
static inline size_t wire_left(const struct wire *w) { return (size_t)(w->end - w->p); }

/* n bytes in place, or NULL and bad. */
uint8_t *wire_take(struct wire *w, size_t n);
/* 0 when bad. */
uint8_t wire_u8(struct wire *w);
uint16_t wire_u16(struct wire *w);
uint32_t wire_u32(struct wire *w);
uint64_t wire_u64(struct wire *w);
/* Copies n bytes out; zeros when bad. */
void wire_bytes(struct wire *w, void *to, size_t n);

void wire_put_u8(struct wire *w, uint8_t v);
void wire_put_u16(struct wire *w, uint16_t v);
void wire_put_u32(struct wire *w, uint32_t v);
void wire_put_u64(struct wire *w, uint64_t v);
void wire_put_bytes(struct wire *w, const void *from, size_t n);

#endif
