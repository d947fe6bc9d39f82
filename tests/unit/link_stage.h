/* Two gateways' link transports in one process, over loopback; and a raw peer that says what it likes. */
#ifndef TESTS_UNIT_LINK_STAGE_H
#define TESTS_UNIT_LINK_STAGE_H

#include "tests/unit/stage.h"

extern const uint8_t stage_key[XPORT_KEY];

/* patience_ns 0: the default. cipher: index in link.cipher. */
void stage_open_with(struct stage *s, uint64_t patience_ns, int cipher);
static inline void stage_open(struct stage *s) { stage_open_with(s, 0, 0); }

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
