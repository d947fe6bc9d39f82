#include "tests/lib/tls_pair.h"

#include <errno.h>
#include <sys/socket.h>

#define ROUNDS_MAX 200000
#define PART 50000U

static void open_sockets(struct tls_pair *p)
{
    *p = (struct tls_pair){ .rc = { -EAGAIN, -EAGAIN } };
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p->fd) < 0)
        abort();
}

void tls_pair_open(struct tls_pair *p, struct tls_ctx *client, struct tls_ctx *server, const char *name)
{
    open_sockets(p);
    p->t[CLIENT] = tls_new_client(client, p->fd[CLIENT], name);
    p->t[SERVER] = tls_new_server(server, p->fd[SERVER]);
}

void tls_pair_open_psk(struct tls_pair *p, struct tls_ctx *client, struct tls_ctx *server, const char *identity, const uint8_t *key)
{
    open_sockets(p);
    p->t[CLIENT] = tls_new_psk_client(client, p->fd[CLIENT], identity, key);
    p->t[SERVER] = tls_new_server(server, p->fd[SERVER]);
}

void tls_pair_open_wan(struct tls_pair *p, const struct psk *client, const struct psk *server)
{
    struct tls_ctx *c = tls_ctx_wan(false, client), *s = tls_ctx_wan(true, server);
    open_sockets(p);
    p->t[CLIENT] = tls_new_wan(c, p->fd[CLIENT], client);
    p->t[SERVER] = tls_new_wan(s, p->fd[SERVER], server);
    tls_ctx_free(c);
    tls_ctx_free(s);
}

void tls_pair_small_buffers(struct tls_pair *p)
{
    int least = 1;
    for (int i = 0; i < 2; i++) {
        setsockopt(p->fd[i], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
        setsockopt(p->fd[i], SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
    }
}

bool tls_pair_shake(struct tls_pair *p)
{
    for (int round = 0; round < 100 && (p->rc[0] == -EAGAIN || p->rc[1] == -EAGAIN); round++)
        for (int i = 0; i < 2; i++)
            if (p->rc[i] == -EAGAIN && (p->rc[i] = tls_handshake(p->t[i])) < 0 && p->rc[i] != -EAGAIN)
                shutdown(p->fd[i], SHUT_WR); /* as who closes it: the other end must not wait */
    return p->rc[CLIENT] == 0 && p->rc[SERVER] == 0;
}

static uint8_t byte_of(int from, size_t at) { return (uint8_t)(at * 31 + (at >> 8) + (size_t)from * 7); }

static bool write_some(struct tls_pair *p, int i, size_t n)
{
    static uint8_t data[PART];
    size_t part = MIN(n - p->moved[i], 1 + p->moved[i] * 7919 % PART);
    for (size_t k = 0; k < part; k++)
        data[k] = byte_of(i, p->moved[i] + k);
    ssize_t took = part ? tls_write(p->t[i], data, part) : 0;
    p->moved[i] += took > 0 ? (size_t)took : 0;
    int rc = tls_flush(p->t[i]);
    return (took >= 0 || took == -EAGAIN) && (rc == 0 || rc == -EAGAIN);
}

static bool read_some(struct tls_pair *p, int i, size_t *got)
{
    static uint8_t data[PART];
    ssize_t n = tls_read(p->t[i], data, 1 + *got % PART);
    for (ssize_t k = 0; k < n; k++)
        p->wrong += data[k] != byte_of(!i, *got + (size_t)k);
    *got += n > 0 ? (size_t)n : 0;
    return n > 0 || n == -EAGAIN;
}

bool tls_pair_exchange(struct tls_pair *p, size_t n)
{
    size_t got[2] = { 0, 0 };
    p->moved[0] = p->moved[1] = 0;
    for (int round = 0; round < ROUNDS_MAX && (got[0] < n || got[1] < n); round++)
        for (int i = 0; i < 2; i++)
            if (!write_some(p, i, n) || !read_some(p, i, &got[i]))
                return false;
    return got[0] == n && got[1] == n && p->wrong == 0;
}

void tls_pair_close(struct tls_pair *p)
{
    for (int i = 0; i < 2; i++) {
        tls_free(p->t[i]);
        if (p->fd[i] >= 0)
            close(p->fd[i]);
    }
}
