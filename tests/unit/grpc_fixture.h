/* A server with tests/lib/grpc_echo and a client of it in one loop. */
#ifndef TESTS_UNIT_GRPC_FIXTURE_H
#define TESTS_UNIT_GRPC_FIXTURE_H

#include "ctrl/grpc.h"
#include "src/core/err.h"
#include "tests/lib/grpc_echo.h"
#include "tests/lib/unit.h"

enum over { OVER_TCP, OVER_UNIX, OVER_TLS, OVER_KINDS };

/* A connection of the client's side, and how it ended. */
struct peer { struct grpc_conn *conn; bool ready; unsigned lost; int rc; char step[20], why[400]; };

struct fixture {
    struct loop loop;
    struct resolver *resolver;
    struct grpc_server *server;
    struct echo_log log;
    enum over over;
    struct tls_ctx *server_tls, *client_tls;
    char path[64], pin[TLS_PIN_TEXT];
    uint16_t port;
    struct peer c;
};

/* A call of the client's side, and what came of it. */
struct answer {
    unsigned messages, closed;
    size_t bytes;
    enum grpc_status status;
    char text[1100];
    uint8_t *last;
    size_t last_len;
    void (*then)(struct answer *a, struct grpc_call *c); /* within message() */
    struct grpc_call *call;
    struct fixture *f;
};
extern const struct grpc_handlers answer_handlers;

extern const struct grpc_limits fixture_limits;
/* limits NULL: fixture_limits. Server listening, nothing dialled. */
void fixture_open(struct fixture *f, enum over over, const struct grpc_limits *limits);
void fixture_close(struct fixture *f);
/* Where the fixture's server is. */
struct grpc_target fixture_target(struct fixture *f);
void fixture_dial(struct fixture *f, struct peer *p, const struct grpc_target *t);
/* The usual: dial f->c and wait until it is ready. */
void fixture_connect(struct fixture *f);
void answer_start(struct fixture *f, struct answer *a, const char *path, uint64_t deadline_ns);
/* One message and half close. */
void answer_ask(struct fixture *f, struct answer *a, const char *path, const void *data, size_t len);
void answer_free(struct answer *a);

/* Turn the loop until cond, at most 20 s (valgrind is slow); asserts that it came. */
#define UNTIL(f, cond) \
    do { \
        bool came; \
        for (uint64_t give_up = now_ns() + 20 * NS_PER_S; !(came = (cond)) && now_ns() < give_up;) \
            loop_turn(&(f)->loop, 10 * NS_PER_MS); \
        CU_ASSERT(came); \
    } while (0)
void fixture_run(struct fixture *f, uint64_t ns);
/* A descriptor connected to the server, blocking, that has said nothing. */
int fixture_plain_connect(struct fixture *f);

#endif
