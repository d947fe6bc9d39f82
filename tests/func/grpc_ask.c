/* Our client as a program, for servers that are not ours:
 *   grpc_ask [-n MESSAGES] [-s SIZE] [-d DEADLINE_MS] [-c CA] [-k] TARGET METHOD
 * TARGET is a port of localhost or the path of a unix socket. Sends MESSAGES of SIZE bytes as the server reads them and half-closes
 * (not with -k), prints "STATUS MESSAGES BYTES TEXT" of what came back, or "lost STEP WHY". Exit status 0: there was a status. */
#include <stdio.h>

#include "ctrl/grpc.h"

struct ask {
    struct loop loop;
    const char *method, *ca;
    unsigned to_send, got;
    size_t size, bytes;
    uint64_t deadline_ns;
    bool keep_open;
    uint8_t *block;
    struct grpc_conn *conn;
    struct grpc_call *call;
    struct timer more;
    int status;
};

static void send_more(struct timer *t)
{
    struct ask *a = container_of(t, struct ask, more);
    while (a->to_send > 0 && grpc_send(a->call, a->block, a->size) == 0)
        a->to_send--;
    if (a->to_send > 0)
        loop_timer(&a->loop, &a->more, NS_PER_MS);
    else if (!a->keep_open)
        grpc_half_close(a->call);
}

static void on_message(struct grpc_call *c, const uint8_t *data UNUSED, size_t len)
{
    struct ask *a = grpc_user(c);
    a->got++;
    a->bytes += len;
}

static void on_closed(struct grpc_call *c, enum grpc_status s, const char *text)
{
    struct ask *a = grpc_user(c);
    printf("%s %u %zu %s\n", grpc_status_name(s), a->got, a->bytes, text);
    a->status = 0;
    loop_timer_stop(&a->loop, &a->more);
    loop_stop(&a->loop);
}

static void on_ready(struct grpc_conn *c, void *user)
{
    static const struct grpc_handlers handlers = { .message = on_message, .closed = on_closed };
    struct ask *a = user;
    a->call = grpc_call(c, a->method, &handlers, 64U << 20, a->deadline_ns, a);
    send_more(&a->more);
}

static void on_lost(struct grpc_conn *c UNUSED, void *user, const char *step, int rc UNUSED, const char *why)
{
    struct ask *a = user;
    a->conn = NULL;
    if (a->status)
        printf("lost %s %s\n", step, why);
    loop_stop(&a->loop);
}

static bool parse(struct ask *a, int argc, char **argv)
{
    for (int c; (c = getopt(argc, argv, "n:s:d:c:k")) != -1;) {
        if (c == 'n')
            a->to_send = (unsigned)atoi(optarg);
        else if (c == 's')
            a->size = (size_t)atol(optarg);
        else if (c == 'd')
            a->deadline_ns = (uint64_t)atoi(optarg) * NS_PER_MS;
        else if (c == 'c')
            a->ca = optarg;
        else if (c == 'k')
            a->keep_open = true;
        else
            return false;
    }
    return optind + 2 == argc;
}

int main(int argc, char **argv)
{
    static const struct grpc_dialer dialer = { on_ready, on_lost };
    struct ask a = { .to_send = 1, .size = 5, .status = 1, .more.fire = send_more };
    struct grpc_target t = { .host = "localhost", .connect_ns = 5 * NS_PER_S, .silent_ns = 2 * NS_PER_S };
    char why[200] = "";
    if (!parse(&a, argc, argv) || loop_init(&a.loop) < 0)
        return 64;
    if (strchr(argv[optind], '/')) {
        t.host = NULL;
        t.unix_path = argv[optind];
    }
    t.port = (uint16_t)atoi(argv[optind]);
    t.tls = a.ca ? tls_ctx_client(a.ca, NULL, "h2", why, sizeof(why)) : NULL;
    a.method = argv[optind + 1];
    a.block = mem_zalloc(1, a.size + 1);
    struct resolver *r = resolver_new(&a.loop);
    a.conn = grpc_dial(&a.loop, r, &t, &dialer, &a);
    loop_run(&a.loop);
    grpc_hang_up(a.conn);
    resolver_free(r);
    loop_fini(&a.loop);
    tls_ctx_free(t.tls);
    free(a.block);
    return a.status;
}
