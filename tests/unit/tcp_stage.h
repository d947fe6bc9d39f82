/* TCP applications on both sides of a gateway, as a test plays them: each sends the bytes of its seed, holds what comes against the other's, and ends
 * or resets when it is told to. Nothing here waits: the test turns its loop and lets them play again. */
#ifndef TESTS_UNIT_TCP_STAGE_H
#define TESTS_UNIT_TCP_STAGE_H

#include "src/core/addr.h"
#include "tcp/tls.h"

struct app {
    int fd;                  /* -1: none */
    uint64_t seed, peer_seed;
    uint64_t to_send;
    bool fin;                /* half-close when all is sent */
    bool lazy;               /* does not read */
    struct tls *tls;         /* it speaks that; ours */
    /* what was seen */
    uint64_t sent, got, wrong;
    char text[256];          /* the first bytes that came */
    bool fin_sent, eof, shaken;
    int error;               /* errno of recv or send; of TLS also a number of err.h */
};

/* A non-blocking listening socket; port 0: any. *at: where it is. -1: there is no such address on this machine. */
int stage_listen(const char *host, uint16_t port, int backlog, union sockaddr_any *at);
/* One whose queue is full: it does not answer. The sockets that fill it, n of them, are the caller's to close. */
int stage_black_hole(const char *host, uint16_t port, int fillers[8], unsigned *n);
/* A connected non-blocking socket; -1 and errno. */
int stage_connect(const union sockaddr_any *to);
/* A connection that waits there, non-blocking; -1: none yet. */
int stage_accept(int listener);

/* From now on it speaks TLS, as tls_new_wan. */
void app_tls(struct app *a, bool server, const struct psk *p);
void app_play(struct app *a);
void app_reset(struct app *a);
void app_close(struct app *a);
/* Read an end of file or an error: nothing more will come. */
static inline bool app_over(const struct app *a) { return a->eof || a->error; }

/* cond is evaluated until it is true, and not once more; before each time the applications play. */
#define STAGE_UNTIL(loop, plays, cond) \
    do { \
        bool came_; \
        for (uint64_t end_ = now_ns() + 20 * NS_PER_S; plays, !(came_ = (cond)) && now_ns() < end_;) \
            loop_turn(loop, 5 * NS_PER_MS); \
        CU_ASSERT_FATAL(came_); \
    } while (0)
/* As long as moved grows it may take its time: 20 s for each MiB. */
#define STAGE_WHILE_MOVING(loop, plays, moved, cond) \
    do { \
        for (uint64_t at_; !(cond);) { \
            at_ = (moved); \
            STAGE_UNTIL(loop, plays, (cond) || (moved) >= at_ + (1U << 20)); \
        } \
    } while (0)

#endif
