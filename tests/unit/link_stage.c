#include "tests/unit/link_stage.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

#include "tcp/sock.h"

const uint8_t stage_cookie[XPORT_COOKIE] = "a cookie of 16..", stage_key[XPORT_KEY] = "thirty-two bytes of a secret key";
const struct xport_ops *const xport_list[] = { &xport_link_ops, &xport_mem_ops, NULL };

void stage_open_with(struct stage *s, uint64_t patience_ns, int cipher)
{
    static const char *const ciphers[] = { "aes-256-gcm", "aes-128-gcm", "chacha20-poly1305" };
    union sockaddr_any at;
    char why[XPORT_WHY];
    *s = (struct stage){ .near_ring = 256 << 10, .far_ring = 256 << 10, .chunk = 64 << 10, .cipher = ciphers[cipher] };
    rig_open(&s->rig);
    mem_forget();
    s->rig.conf->link.cipher = cipher;
    if (patience_ns)
        s->rig.conf->g.attach_timeout = patience_ns;
    addr_numeric("127.0.0.1", 0, &at);
    int fd = sock_listen(&at);
    socklen_t len = sizeof(at);
    CU_ASSERT_FATAL(fd >= 0 && getsockname(fd, &at.sa, &len) == 0);
    s->port = addr_port(&at);
    s->rig.env[0].link_fd = fd;
    s->rig.env[0].accepts = true;
    for (int e = 0; e < 2; e++)
        CU_ASSERT_EQUAL_FATAL(xport_link_ops.listen(&s->rig.env[e], why, sizeof(why)), 0);
}

void stage_close(struct stage *s)
{
    for (int e = 0; e < 2; e++)
        xport_link_ops.unlisten(&s->rig.env[e]);
    rig_close(&s->rig);
}

/* ------------------------------------------------------------ channels */

static void fill_spec(const struct stage *s, struct xport_spec *spec, const uint8_t cookie[XPORT_COOKIE])
{
    *spec = (struct xport_spec){ .address = "127.0.0.1", .plain = s->plain, .cipher = s->cipher, .chunk_max = s->chunk, .fd = -1 };
    memcpy(spec->cookie, cookie, XPORT_COOKIE);
    memcpy(spec->key, stage_key, XPORT_KEY);
}

/* Sender's bytes come from the source plan, the receiver's go to the sink plan. */
static void add_bytes(struct stage *s, struct watch *w, enum channel_side link_side)
{
    if (link_side == SIDE_SINK)
        watch_bytes(w, SIDE_SOURCE, "source", &s->source);
    else
        watch_bytes(w, SIDE_SINK, "sink", &s->sink);
}

void stage_accept(struct stage *s, struct watch *w, enum channel_side side, const uint8_t cookie[XPORT_COOKIE])
{
    static uint64_t id;
    const struct channel_spec c = { .id = 1 + id++ % 1000, .window = s->far_ring, .digest = true };
    struct xport_spec spec;
    struct xport_answer a;
    fill_spec(s, &spec, cookie);
    spec.peer_window = s->near_ring;
    watch_open(w, &s->rig, 0, &c);
    CU_ASSERT_EQUAL(watch_end(w, side, &xport_link_ops, &spec, &a), 0);
    CU_ASSERT(a.port == s->port && a.address[0] == 0 && a.chunk_max <= s->chunk);
    add_bytes(s, w, side);
}

int stage_dial(struct stage *s, struct watch *w, enum channel_side side, uint16_t port)
{
    const struct channel_spec c = { .id = 1, .window = s->near_ring, .digest = true };
    struct xport_spec spec;
    fill_spec(s, &spec, stage_cookie);
    spec.port = port;
    spec.peer_window = s->far_ring;
    watch_open(w, &s->rig, 1, &c);
    int rc = watch_end(w, side, &xport_link_ops, &spec, NULL);
    add_bytes(s, w, side);
    return rc;
}

void stage_stream(struct stage *s, uint64_t bytes)
{
    mem_forget();
    s->source = (struct mem_plan){ .bytes = bytes, .seed = 11, .part = s->source.part, .again = s->source.again };
    s->sink = (struct mem_plan){ .seed = 11, .part = s->sink.part, .again = s->sink.again, .lag = s->sink.lag };
    stage_accept(s, &s->far, s->reverse ? SIDE_SINK : SIDE_SOURCE, stage_cookie);
    CU_ASSERT_EQUAL(stage_dial(s, &s->near, s->reverse ? SIDE_SOURCE : SIDE_SINK, s->port), 0);
}

bool stage_over(void *arg)
{
    const struct stage *s = arg;
    return pair_over(&s->near, &s->far);
}

bool stage_whole(const struct stage *s) { return pair_whole(&s->near, &s->far, &s->source, &s->sink); }

void stage_end_stream(struct stage *s)
{
    CU_ASSERT_TRUE(pair_close(&s->near, &s->far, 0));
    CU_ASSERT(s->near.reentered == 0 && s->far.reentered == 0);
}

/* ------------------------------------------------------------ a raw peer */

int raw_dial(const struct stage *s)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(s->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
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
