/* Two gateways' link transports in one process, over loopback; and a raw peer that says what it likes. */
#ifndef TESTS_UNIT_LINK_STAGE_H
#define TESTS_UNIT_LINK_STAGE_H

#include "src/core/err.h"
#include "tests/lib/unit.h"
#include "tests/lib/watch.h"

struct stage {
    struct rig rig;          /* env[0] listens, env[1] dials */
    uint16_t port;
    struct watch near, far;  /* near dials */
    struct mem_plan source, sink;
    bool plain, reverse;     /* reverse: who dials receives */
    uint32_t chunk;
    size_t near_ring, far_ring;
    const char *cipher;
};

extern const uint8_t stage_cookie[XPORT_COOKIE], stage_key[XPORT_KEY];

/* patience_ns 0: the default. cipher: index in link.cipher. */
void stage_open_with(struct stage *s, uint64_t patience_ns, int cipher);
static inline void stage_open(struct stage *s) { stage_open_with(s, 0, 0); }
void stage_close(struct stage *s);

/* A channel of env[0] that waits for a peer: side is the end that is the link, the other is bytes in memory. */
void stage_accept(struct stage *s, struct watch *w, enum channel_side side, const uint8_t cookie[XPORT_COOKIE]);
/* A channel of env[1] that dials; returns as channel_open_end. */
int stage_dial(struct stage *s, struct watch *w, enum channel_side side, uint16_t port);
/* Both, with bytes to send. */
void stage_stream(struct stage *s, uint64_t bytes);
bool stage_over(void *stage); /* both finished, or one failed */
bool stage_whole(const struct stage *s);
/* Close both. */
void stage_end_stream(struct stage *s);

/* ------------------------------------------------------------ a raw peer */

/* A blocking connection to the link port. */
int raw_dial(const struct stage *s);
void raw_send(int fd, const void *data, size_t n);
void raw_frame(int fd, const struct frame *f);
void raw_hello(int fd);
/* Turn the loop until n bytes came (true) or the connection ended. */
bool raw_read(struct stage *s, int fd, void *to, size_t n);
bool raw_read_frame(struct stage *s, int fd, struct frame *f);
/* Turn until the other side closed it; what comes until then is dropped. */
void raw_await_close(struct stage *s, int fd);
/* HELLO both ways; false: it was not answered. */
bool raw_greet(struct stage *s, int fd);

#endif
