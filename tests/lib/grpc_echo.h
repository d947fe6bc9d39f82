/* A gRPC service for tests: used by the unit tests and by the program that other implementations are tried against. */
#ifndef TESTS_LIB_GRPC_ECHO_H
#define TESTS_LIB_GRPC_ECHO_H

#include "ctrl/grpc.h"

#define ECHO_MESSAGE_MAX (8U << 20)
#define ECHO_SMALL_MAX 1000U

/* /test.Echo/…
 *   Unary   answers with the last message at half close      Stream  answers each message with itself
 *   Early   finishes at the first message (OK, "early")      Never   does not answer
 *   Fail    finishes with the status in the message's first byte and the rest as text
 *   Meta    answers with the metadata "x-test"               Small   like Unary, messages of at most ECHO_SMALL_MAX
 *   Burst   answers a message of one u32 (big-endian) with so many messages of 1 KiB, and notes what grpc_send returned
 *   Cancel  cancels itself within message()                  Free    frees the server within message()
 */
extern const struct grpc_method echo_methods[];
extern const size_t echo_n_methods;

/* The server's user. */
struct echo_log {
    struct grpc_server *server;
    unsigned started, messages, half_closed, closed;
    enum grpc_status status; /* of the last closed */
    char text[200];
    int sent;                /* first failure of grpc_send, else 0 */
};

#endif
