#include "tests/unit/tcp_stage.h"

#include <errno.h>
#include <fcntl.h>

#include "src/seam/mem.h"

#define PIECE (32U << 10)

int stage_listen(const char *host, uint16_t port, int backlog, union sockaddr_any *at)
{
    const int on = 1;
    socklen_t len = sizeof(*at);
    if (addr_numeric(host, port, at) < 0)
        abort();
    int fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, &at->sa, addr_len(at)) == 0 && listen(fd, backlog) == 0 && getsockname(fd, &at->sa, &len) == 0)
        return fd;
    close(fd);
    return -1;
}

int stage_black_hole(const char *host, uint16_t port, int fillers[8], unsigned *n)
{
    union sockaddr_any at;
    int fd = stage_listen(host, port, 0, &at);
    *n = 0;
    while (fd >= 0 && *n < 8) {
        fillers[*n] = socket(at.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(fillers[(*n)++], &at.sa, addr_len(&at)) < 0)
            usleep(50000); /* over loopback one that is answered is so at once */
    }
    return fd;
}

static int ready(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

int stage_connect(const union sockaddr_any *to)
{
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, &to->sa, addr_len(to)) == 0)
        return ready(fd);
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int stage_accept(int listener) { return ready(accept4(listener, NULL, NULL, SOCK_CLOEXEC)); }

/* ------------------------------------------------------------ bytes, plain or by TLS: -errno, -SST_E* */

static ssize_t put(struct app *a, const void *data, size_t n)
{
    ssize_t took = a->tls ? tls_write(a->tls, data, n) : send(a->fd, data, n, MSG_NOSIGNAL);
    if (!a->tls)
        return took < 0 ? -errno : took;
    int rc = tls_flush(a->tls);
    return took >= 0 && rc < 0 && rc != -EAGAIN ? rc : took;
}

static ssize_t get(struct app *a, void *data, size_t n)
{
    if (a->tls)
        return tls_read(a->tls, data, n);
    ssize_t got = recv(a->fd, data, n, 0);
    return got < 0 ? -errno : got;
}

static void finish(struct app *a)
{
    int rc = a->tls ? tls_shut(a->tls) : shutdown(a->fd, SHUT_WR) < 0 ? -errno : 0;
    a->fin_sent = rc == 0;
}

static void send_some(struct app *a)
{
    uint8_t data[PIECE];
    while (a->sent < a->to_send && !a->error) {
        size_t n = (size_t)MIN(a->to_send - a->sent, sizeof(data));
        for (size_t i = 0; i < n; i++)
            data[i] = mem_byte(a->seed, a->sent + i);
        ssize_t took = put(a, data, n);
        if (took == -EAGAIN)
            return;
        a->error = took < 0 ? (int)-took : 0;
        a->sent += took > 0 ? (uint64_t)took : 0;
    }
    if (a->fin && !a->fin_sent && !a->error)
        finish(a);
}

static void check(struct app *a, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        a->wrong += data[i] != mem_byte(a->peer_seed, a->got + i);
        if (a->got + i < sizeof(a->text))
            a->text[a->got + i] = (char)data[i];
    }
    a->got += n;
}

static void receive_all(struct app *a)
{
    uint8_t data[PIECE];
    ssize_t n = 0;
    while (!app_over(a) && (n = get(a, data, sizeof(data))) >= 0) {
        a->eof = n == 0;
        check(a, data, (size_t)n);
    }
    if (!app_over(a) && n != -EAGAIN)
        a->error = (int)-n;
}

/* True: there is none to be done, or it is done. */
static bool shake(struct app *a)
{
    int rc = a->tls && !a->shaken ? tls_handshake(a->tls) : 0;
    a->shaken = rc == 0;
    if (rc < 0 && rc != -EAGAIN)
        a->error = -rc;
    return a->shaken;
}

void app_tls(struct app *a, bool server, const struct psk *p)
{
    struct tls_ctx *c = tls_ctx_wan(server, p);
    a->tls = tls_new_wan(c, a->fd, p);
    a->shaken = false;
    tls_ctx_free(c);
}

void app_play(struct app *a)
{
    if (a->fd < 0 || a->error || !shake(a))
        return;
    if (a->tls)
        (void)tls_flush(a->tls);
    send_some(a);
    if (!a->lazy)
        receive_all(a);
}

void app_reset(struct app *a)
{
    const struct linger l = { .l_onoff = 1 };
    setsockopt(a->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    app_close(a);
}

void app_close(struct app *a)
{
    tls_free(a->tls);
    a->tls = NULL;
    fd_close(&a->fd);
}
