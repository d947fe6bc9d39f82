#include "tests/unit/link_stage.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

#include "tcp/sock.h"

const uint8_t stage_key[XPORT_KEY] = "thirty-two bytes of a secret key";
const struct xport_ops *const xport_list[] = { &xport_link_ops, &xport_mem_ops, NULL };

void stage_open_with(struct stage *s, uint64_t patience_ns, int cipher)
{
    static const char *const ciphers[] = { "aes-256-gcm", "aes-128-gcm", "chacha20-poly1305" };
    union sockaddr_any at;
    stage_init(s, &xport_link_ops, patience_ns);
    s->near_ring = s->far_ring = 256 << 10;
    s->spec.chunk_max = 64 << 10;
    s->spec.cipher = ciphers[cipher];
    memcpy(s->spec.key, stage_key, XPORT_KEY);
    s->rig.conf->link.cipher = cipher;
    addr_numeric("127.0.0.1", 0, &at);
    int fd = sock_listen(&at);
    socklen_t len = sizeof(at);
    CU_ASSERT_FATAL(fd >= 0 && getsockname(fd, &at.sa, &len) == 0);
    s->spec.port = addr_port(&at);
    s->rig.env[0].link_fd = fd;
    stage_listen(s);
}

/* ------------------------------------------------------------ a raw peer */

int raw_dial(const struct stage *s)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(s->spec.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    return fd;
}

void raw_send(int fd, const void *data, size_t n) { CU_ASSERT_EQUAL(send(fd, data, n, MSG_NOSIGNAL), (ssize_t)n); }

void raw_frame(int fd, const struct frame *f)
{
    uint8_t raw[FRAME_SIZE];
    frame_encode(f, raw);
    raw_send(fd, raw, sizeof(raw));
}

void raw_hello(int fd)
{
    const struct frame hello = frame_hello(stage_cookie);
    raw_frame(fd, &hello);
}

struct reading { int fd; uint8_t *to; size_t n; bool ended; };

static bool has_read(void *arg)
{
    struct reading *r = arg;
    ssize_t k = r->n ? recv(r->fd, r->to, r->n, MSG_DONTWAIT) : 0;
    r->ended = k == 0 || (k < 0 && errno != EAGAIN);
    if (k > 0) {
        r->to += k;
        r->n -= (size_t)k;
    }
    return r->n == 0 || r->ended;
}

bool raw_read(struct stage *s, int fd, void *to, size_t n)
{
    struct reading r = { fd, to, n, false };
    CU_ASSERT_TRUE(rig_until(&s->rig, has_read, &r));
    return r.n == 0;
}

bool raw_read_frame(struct stage *s, int fd, struct frame *f)
{
    uint8_t raw[FRAME_SIZE];
    return raw_read(s, fd, raw, sizeof(raw)) && frame_decode(raw, f) == 0;
}

void raw_await_close(struct stage *s, int fd)
{
    uint8_t dropped[1000];
    while (raw_read(s, fd, dropped, sizeof(dropped)))
        ;
}

bool raw_greet(struct stage *s, int fd)
{
    struct frame f;
    raw_hello(fd);
    return raw_read_frame(s, fd, &f) && f.type == FRAME_HELLO;
}
