/* A peer with the right cookie that breaks the rules, in each way: its channel fails with the numbers, it is told, and a neighbour's
 * stream goes on. */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

#include "tests/unit/link_stage.h"

#define RING (64 << 10)
#define CHUNK 8192
#define NEIGHBOUR_BYTES 2000000

static struct stage s;
static struct watch other_near, other_far; /* the neighbours */
static struct mem_plan other_source, other_sink;
static int fd;
static bool duplex;
static uint64_t back_bytes;

static const uint8_t other_cookie[XPORT_COOKIE] = "the neighbour's.";

/* A stream beside it, which must not notice anything. */
static void start_neighbour(void)
{
    const struct channel_spec c = { .id = 900, .window = RING, .digest = true };
    struct xport_spec spec = { .address = "127.0.0.1", .port = s.spec.port, .cipher = s.spec.cipher, .chunk_max = CHUNK, .peer_window = RING };
    struct xport_answer a;
    memcpy(spec.cookie, other_cookie, sizeof(other_cookie));
    memcpy(spec.key, stage_key, XPORT_KEY);
    other_source = (struct mem_plan){ .bytes = NEIGHBOUR_BYTES, .seed = 5, .part = 3000 };
    other_sink = (struct mem_plan){ .seed = 5 };
    watch_open(&other_far, &s.rig, 0, &c);
    watch_open(&other_near, &s.rig, 1, &c);
    CU_ASSERT_EQUAL(watch_end(&other_far, SIDE_SOURCE, &xport_link_ops, &spec, &a), 0);
    CU_ASSERT_EQUAL(watch_end(&other_near, SIDE_SINK, &xport_link_ops, &spec, NULL), 0);
    watch_bytes(&other_far, SIDE_SINK, "other sink", &other_sink);
    watch_bytes(&other_near, SIDE_SOURCE, "other source", &other_source);
}

static void check_neighbour(void)
{
    CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &other_far));
    CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &other_near));
    CU_ASSERT(other_far.finished == 1 && other_near.finished == 1 && other_sink.moved == NEIGHBOUR_BYTES && other_sink.wrong == 0);
    CU_ASSERT_TRUE(watch_close(&other_far, 0));
    CU_ASSERT_TRUE(watch_close(&other_near, 0));
}

/* The raw peer has greeted; side is what the gateway's end is: SOURCE takes from it, SINK sends to it. */
static void begin(enum channel_side side)
{
    struct frame f;
    stage_open(&s);
    s.spec.plain = true;
    s.spec.chunk_max = CHUNK;
    s.far_ring = s.near_ring = RING;
    mem_forget();
    s.sink = (struct mem_plan){ .seed = 11, .later_ns = 3600 * NS_PER_S, .lag = true }; /* nothing is consumed meanwhile */
    s.source = (struct mem_plan){ .bytes = 10 * RING, .seed = 11 };
    s.reverse = side == SIDE_SINK;
    s.duplex = duplex;
    s.back_source = (struct mem_plan){ .bytes = back_bytes, .seed = 12 };
    stage_accept(&s);
    s.spec.plain = false;
    start_neighbour();
    fd = raw_dial(&s);
    CU_ASSERT_TRUE_FATAL(raw_greet(&s, fd));
    if (side == SIDE_SOURCE)
        CU_ASSERT(raw_read_frame(&s, fd, &f) && f.type == FRAME_LIMIT && f.a == RING && f.b == 0);
}

/* The gateway's end takes flow 0 and sends flow 1. */
static void begin_duplex(uint64_t back)
{
    duplex = true;
    back_bytes = back;
    begin(SIDE_SOURCE);
    duplex = false;
}

static void finish(void)
{
    check_neighbour();
    CU_ASSERT_TRUE(watch_close(&s.far, 0));
    close(fd);
    stage_close(&s);
}

/* It failed so; the peer reads RESET with the code, then the end of the connection. */
static void check(enum channel_side side, int rc, const char *why, bool told)
{
    struct frame f = { 0 };
    CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.far));
    CU_ASSERT(s.far.failed[side] == 1 && s.far.failed[!side] == 0 && s.far.finished == 0);
    CU_ASSERT_EQUAL(s.far.rc[side], rc);
    if (!strstr(s.far.why[side], why))
        printf("\n  '%s' is not in '%s'\n", why, s.far.why[side]);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.far.why[side], why));
    CU_ASSERT_TRUE(str_starts(s.far.why[side], "link with 127.0.0.1:"));
    CU_ASSERT_TRUE(watch_close(&s.far, rc));
    while (told && f.type != FRAME_RESET && raw_read_frame(&s, fd, &f)) {
        uint8_t payload[CHUNK];
        if (f.type == FRAME_DATA)
            CU_ASSERT_TRUE(raw_read(&s, fd, payload, f.len));
    }
    CU_ASSERT(!told || (f.type == FRAME_RESET && f.a == err_to_wire(rc)));
    raw_await_close(&s, fd);
    finish();
}

/* ------------------------------------------------------------ towards a gateway that takes */

struct saying { struct frame f; size_t payload; };

static void say(const struct saying *say)
{
    uint8_t payload[CHUNK + 1];
    memset(payload, 0x5a, sizeof(payload));
    raw_frame(fd, &say->f);
    raw_send(fd, payload, say->payload);
}

#define DATA(off, n) { { .type = FRAME_DATA, .a = (off), .len = (n) }, (n) }
#define MESSAGE(t, value) { { .type = FRAME_##t, .a = (value) }, 0 }

static const struct { struct saying said[3]; int rc; const char *why; } broken[] = {
    { { { { .type = FRAME_DATA, .len = CHUNK + 1 }, 0 } }, -SST_EPROTO, "DATA of 8193 bytes, at most 8192 were agreed" },
    { { { { .type = FRAME_DATA, .a = RING - 1, .len = 2 }, 0 } }, -SST_EPROTO, "DATA [65535, +2) goes beyond the limit 65536" },
    { { { { .type = FRAME_DATA, .a = UINT64_MAX, .len = 2 }, 0 } }, -SST_EPROTO, "goes beyond the limit 65536" },
    { { DATA(0, 100), { { .type = FRAME_DATA, .len = 100 }, 0 } }, -SST_EPROTO, "DATA [0, +100) overlaps what was sent before (complete up to 100)" },
    { { DATA(100, 100), { { .type = FRAME_DATA, .a = 50, .len = 51 }, 0 } }, -SST_EPROTO, "DATA [50, +51) overlaps" },
    { { MESSAGE(EOS, 50), { { .type = FRAME_DATA, .len = 51 }, 0 } }, -SST_EPROTO, "DATA [0, +51) after EOS at 50" },
    { { DATA(0, 100), MESSAGE(EOS, 99) }, -SST_EPROTO, "EOS at 99, but 100 bytes are here" },
    { { MESSAGE(EOS, RING + 1) }, -SST_EPROTO, "the limit is 65536" },
    { { MESSAGE(EOS, 50), MESSAGE(EOS, 50) }, -SST_EPROTO, "second EOS" },
    { { DATA(0, 100), MESSAGE(EOS, 100), { { .type = FRAME_DATA, .a = 100, .len = 1 }, 0 } }, -SST_EPROTO, "DATA [100, +1) after EOS at 100" },
    { { DATA(0, 100), MESSAGE(EOS, 100), MESSAGE(EOS, 100) }, -SST_EPROTO, "second EOS" },
    { { MESSAGE(LIMIT, 5) }, -SST_EPROTO, "LIMIT 5, consumed 0 about flow 0" },
    { { { { .type = FRAME_DATA, .flow = 1, .len = 5 }, 0 } }, -SST_EPROTO, "about flow 1, which does not exist" },
    { { { { .type = FRAME_HELLO, .a = 1ULL << 32 }, 0 } }, -SST_EPROTO, "second HELLO" },
    { { { { .type = 9 }, 0 } }, -SST_EPROTO, "no frame of the flow protocol: 0900" },
    { { { { .type = FRAME_EOS, .len = 7 }, 0 } }, -SST_EPROTO, "no frame of the flow protocol: 0400" },
    { { { { .type = FRAME_DATA }, 0 } }, -SST_EPROTO, "no frame of the flow protocol: 0200" },
    { { MESSAGE(RESET, 25) }, -SST_EINTERRUPTED, "peer reset the flow: interrupted" },
    { { MESSAGE(RESET, 99999) }, -SST_EABORTED, "peer reset the flow: aborted by the peer" },
};

static void test_broken_rules(void)
{
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        begin(SIDE_SOURCE);
        for (size_t k = 0; k < 3 && broken[i].said[k].f.type; k++)
            say(&broken[i].said[k]);
        check(SIDE_SOURCE, broken[i].rc, broken[i].why, true);
    }
}

/* ------------------------------------------------------------ connections that break */

static void close_how(bool reset)
{
    const struct linger now = { 1, 0 };
    if (reset)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    shutdown(fd, reset ? SHUT_RD : SHUT_WR);
    if (reset) {
        close(fd);
        fd = -1;
    }
}

/* Within a header, between frames, within a chunk; by FIN and by RST. */
static void test_lost(void)
{
    static const size_t lengths[] = { 0, 10, FRAME_SIZE, FRAME_SIZE + 1000, FRAME_SIZE + CHUNK };
    uint8_t raw[FRAME_SIZE + CHUNK] = { 0 };
    const struct frame data = { .type = FRAME_DATA, .len = CHUNK };
    frame_encode(&data, raw);
    for (size_t i = 0; i < 2 * ARRAY_LEN(lengths); i++) {
        begin(SIDE_SOURCE);
        raw_send(fd, raw, lengths[i / 2]);
        rig_wait(&s.rig, NS_PER_MS);
        close_how(i % 2);
        CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.far));
        CU_ASSERT(s.far.failed[SIDE_SOURCE] == 1 && s.far.rc[SIDE_SOURCE] == (i % 2 ? -ECONNRESET : -SST_ELOST));
        CU_ASSERT_EQUAL(s.far.c->flow[0].ring.put, lengths[i / 2] > FRAME_SIZE ? lengths[i / 2] - FRAME_SIZE : 0);
        finish();
    }
}

/* ------------------------------------------------------------ a peer that does everything right */

/* Chunks at absolute offsets in any order, EOS before the last of them. */
static void test_any_order(void)
{
    static const unsigned order[] = { 3, 1, 0, 7, 2, 6, 5, 4 };
    struct frame f;
    begin(SIDE_SOURCE);
    s.sink.lag = false;
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        uint8_t payload[CHUNK];
        const struct frame data = { .type = FRAME_DATA, .a = order[i] * CHUNK, .len = CHUNK }, eos = { .type = FRAME_EOS, .a = RING };
        for (size_t k = 0; k < CHUNK; k++)
            payload[k] = mem_byte(11, data.a + k);
        if (i == 7)
            raw_frame(fd, &eos);
        raw_frame(fd, &data);
        raw_send(fd, payload, CHUNK / 3);
        rig_wait(&s.rig, NS_PER_MS);
        raw_send(fd, payload + CHUNK / 3, CHUNK - CHUNK / 3);
    }
    for (f.b = 0; f.b < RING;)
        CU_ASSERT_TRUE_FATAL(raw_read_frame(&s, fd, &f) && f.type == FRAME_LIMIT);
    CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.far));
    CU_ASSERT(s.far.finished == 1 && s.sink.moved == RING && s.sink.wrong == 0);
    shutdown(fd, SHUT_WR); /* it may close first now */
    rig_wait(&s.rig, 5 * NS_PER_MS);
    CU_ASSERT(!watch_failed(&s.far));
    finish();
}

/* ------------------------------------------------------------ towards a gateway that sends */

static const struct { struct saying said[3]; int rc; const char *why; } broken_takers[] = {
    { { { { .type = FRAME_LIMIT, .a = 1000 }, 0 }, { { .type = FRAME_LIMIT, .a = 999 }, 0 } }, -SST_EPROTO, "LIMIT shrinks: 999, 0 after 1000, 0" },
    { { { { .type = FRAME_LIMIT, .a = 1000, .b = 1 }, 0 } }, -SST_EPROTO, "LIMIT says 1 consumed, 0 were sent" },
    { { { { .type = FRAME_LIMIT, .a = UINT64_MAX, .b = UINT64_MAX }, 0 } }, -SST_EPROTO, "18446744073709551615 consumed, 0 were sent" },
    { { MESSAGE(EOS, 0) }, -SST_EPROTO, "EOS 0 about flow 0" },
    { { { { .type = FRAME_DATA, .len = 1 }, 0 } }, -SST_EPROTO, "DATA [0, +1) about flow 0" },
    { { { { .type = FRAME_LIMIT, .flow = 1, .a = 5 }, 0 } }, -SST_EPROTO, "about flow 1" },
    { { MESSAGE(RESET, 16) }, -SST_EDIGEST, "peer reset the flow: digest mismatch" },
    { { { { .type = 200 }, 0 } }, -SST_EPROTO, "no frame of the flow protocol: c800" },
};

static void test_broken_takers(void)
{
    for (size_t i = 0; i < ARRAY_LEN(broken_takers); i++) {
        begin(SIDE_SINK);
        for (size_t k = 0; k < 3 && broken_takers[i].said[k].f.type; k++)
            say(&broken_takers[i].said[k]);
        check(SIDE_SINK, broken_takers[i].rc, broken_takers[i].why, true);
    }
}

static bool first_released(void *arg UNUSED) { return s.far.c->flow[0].ring.rel >= CHUNK; }

/* It may consume less than was sent, and then leave. */
static void test_taker_leaves(void)
{
    struct frame f;
    uint8_t payload[CHUNK];
    begin(SIDE_SINK);
    raw_frame(fd, &(struct frame){ .type = FRAME_LIMIT, .a = 3 * CHUNK });
    for (uint64_t i = 0; i < 3; i++) {
        CU_ASSERT(raw_read_frame(&s, fd, &f) && f.type == FRAME_DATA && f.a == i * CHUNK && f.len == CHUNK);
        CU_ASSERT_TRUE(raw_read(&s, fd, payload, CHUNK));
        CU_ASSERT(payload[0] == mem_byte(11, f.a) && payload[CHUNK - 1] == mem_byte(11, f.a + CHUNK - 1));
    }
    raw_frame(fd, &(struct frame){ .type = FRAME_LIMIT, .a = 3 * CHUNK, .b = CHUNK });
    CU_ASSERT_TRUE(rig_until(&s.rig, first_released, NULL));
    CU_ASSERT(s.far.c->flow[0].ring.rel == CHUNK && s.far.c->flow[0].ring.sub == 3 * CHUNK);
    shutdown(fd, SHUT_WR);
    check(SIDE_SINK, -SST_ELOST, "closed by the peer before the end", false);
}

/* ------------------------------------------------------------ a duplex hop */

#define ABOUT(t, on, value) { { .type = FRAME_##t, .flow = (on), .a = (value) }, 0 }

static const struct { struct saying said[3]; int rc; const char *why; } broken_duplex[] = {
    { { { { .type = FRAME_DATA, .flow = 1, .len = 5 }, 0 } }, -SST_EPROTO, "about flow 1, which does not exist in that direction" },
    { { ABOUT(EOS, 1, 0) }, -SST_EPROTO, "about flow 1" },
    { { ABOUT(LIMIT, 0, 5) }, -SST_EPROTO, "about flow 0" },
    { { ABOUT(LIMIT, 1, 50), ABOUT(LIMIT, 1, 49) }, -SST_EPROTO, "LIMIT shrinks" },
    { { ABOUT(EOS, 0, 0), { { .type = FRAME_DATA, .len = 1 }, 0 } }, -SST_EPROTO, "after EOS at 0" },
    { { ABOUT(RESET, 0, 25) }, -SST_EINTERRUPTED, "peer reset the flow: interrupted" },
    { { ABOUT(RESET, 1, 16) }, -SST_EDIGEST, "peer reset the flow: digest mismatch" },
    { { ABOUT(EOS, 0, 0), ABOUT(RESET, 0, 25) }, -SST_EINTERRUPTED, "peer reset the flow: interrupted" },
};

static void test_broken_duplex(void)
{
    for (size_t i = 0; i < ARRAY_LEN(broken_duplex); i++) {
        begin_duplex(1000);
        for (size_t k = 0; k < 3 && broken_duplex[i].said[k].f.type; k++)
            say(&broken_duplex[i].said[k]);
        check(SIDE_SOURCE, broken_duplex[i].rc, broken_duplex[i].why, true);
    }
}

/* Its bytes and its EOS, and ours taken: all of them, or one byte less is told; and it leaves in one breath, while our sink stands still. */
static void leave_at(uint64_t consumed)
{
    struct frame f;
    uint8_t payload[1000] = { 0 };
    begin_duplex(sizeof(payload));
    raw_frame(fd, &(struct frame){ .type = FRAME_LIMIT, .flow = 1, .a = RING });
    CU_ASSERT(raw_read_frame(&s, fd, &f) && f.type == FRAME_DATA && f.flow == 1 && f.len == sizeof(payload));
    CU_ASSERT_TRUE(raw_read(&s, fd, payload, sizeof(payload)));
    CU_ASSERT(payload[999] == mem_byte(12, 999) && raw_read_frame(&s, fd, &f) && f.type == FRAME_EOS && f.flow == 1 && f.a == 1000);
    for (size_t i = 0; i < sizeof(payload); i++)
        payload[i] = mem_byte(11, i);
    raw_frame(fd, &(struct frame){ .type = FRAME_DATA, .len = sizeof(payload) });
    raw_send(fd, payload, sizeof(payload));
    raw_frame(fd, &(struct frame){ .type = FRAME_EOS, .a = sizeof(payload) });
    raw_frame(fd, &(struct frame){ .type = FRAME_LIMIT, .flow = 1, .a = RING, .b = consumed });
    shutdown(fd, SHUT_WR);
}

static bool has_ended(void *arg UNUSED) { return watch_failed(&s.far) || s.far.ended == 1; }

static void test_duplex_peer_leaves(void)
{
    leave_at(1000);
    CU_ASSERT_TRUE(rig_until(&s.rig, has_ended, NULL));
    rig_wait(&s.rig, 5 * NS_PER_MS);
    CU_ASSERT(!watch_failed(&s.far) && !s.far.finished); /* the sink lags by an hour */
    ring_release_to(&s.far.c->flow[FORWARD].ring, 1000);
    xport_kick(s.far.c->end[SIDE_SINK]);
    CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.far));
    CU_ASSERT(s.far.finished == 1 && s.sink.moved == 1000 && s.sink.wrong == 0);
    finish();
    leave_at(999);
    check(SIDE_SOURCE, -SST_ELOST, "closed by the peer before the end", false);
}

/* ------------------------------------------------------------ an acceptor that is none */

static int raw_listen(uint16_t *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(bind(l, (struct sockaddr *)&at, len) == 0 && listen(l, 5) == 0 && getsockname(l, (struct sockaddr *)&at, &len) == 0);
    *port = ntohs(at.sin_port);
    return l;
}

/* near dials someone who answers with these bytes; NULL: ends at once. */
static void false_acceptor(bool plain, const void *bytes, size_t n, int rc, const char *why)
{
    uint16_t port;
    int l = raw_listen(&port);
    stage_open_with(&s, 200 * NS_PER_MS, 0);
    s.spec.plain = plain;
    s.source = (struct mem_plan){ .bytes = 1000, .seed = 11 };
    s.spec.port = port;
    CU_ASSERT_EQUAL(stage_dial(&s), 0);
    int peer = accept(l, NULL, NULL);
    rig_wait(&s.rig, NS_PER_MS);
    if (bytes)
        raw_send(peer, bytes, n);
    else
        shutdown(peer, SHUT_WR);
    CU_ASSERT_TRUE(rig_until(&s.rig, watch_over, &s.near));
    CU_ASSERT(s.near.failed[SIDE_SINK] == 1 && s.near.up[SIDE_SINK] == 0);
    CU_ASSERT_EQUAL(s.near.rc[SIDE_SINK], rc);
    if (!strstr(s.near.why[SIDE_SINK], why))
        printf("\n  '%s' is not in '%s'\n", why, s.near.why[SIDE_SINK]);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.near.why[SIDE_SINK], why));
    CU_ASSERT_TRUE(watch_close(&s.near, rc));
    close(peer);
    close(l);
    stage_close(&s);
}

static void test_false_acceptors(void)
{
    uint8_t raw[FRAME_SIZE], eos[FRAME_SIZE];
    struct frame hello = frame_hello(other_cookie), end = { .type = FRAME_EOS };
    frame_encode(&hello, raw);
    frame_encode(&end, eos);
    false_acceptor(true, NULL, 0, -SST_ELOST, "closed by the peer before the end");
    false_acceptor(true, raw, sizeof(raw), -SST_ECOOKIE, "wrong cookie in HELLO");
    false_acceptor(true, eos, sizeof(eos), -SST_EPROTO, "EOS 0 before HELLO");
    false_acceptor(true, "HTTP/1.1 400 Bad Request\r\n\r\n1234567", 35, -SST_EPROTO, "no frame of the flow protocol: 48545450");
    hello = frame_hello(stage_cookie);
    hello.a = 2ULL << 32;
    frame_encode(&hello, raw);
    false_acceptor(true, raw, sizeof(raw), -SST_EVERSION, "peer speaks version 2 of the flow protocol, this side 1");
    false_acceptor(true, "", 0, -SST_ETIMEOUT, "no answer in time");
    false_acceptor(false, "", 0, -SST_ETIMEOUT, "no answer in time");
    false_acceptor(false, NULL, 0, -SST_ELOST, "TLS: peer closed the connection during the handshake");
    false_acceptor(false, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, -SST_ETLS, "TLS: ");
}

static void test_footprint(void)
{
    test_false_acceptors();
    test_lost();
    struct footprint before = footprint();
    test_false_acceptors();
    test_lost();
    test_broken_rules();
    test_taker_leaves();
    CU_ASSERT_TRUE(footprint_same(&before));
}

UNIT_MAIN("link_peer", UNIT(test_broken_rules), UNIT(test_lost), UNIT(test_any_order), UNIT(test_broken_takers), UNIT(test_taker_leaves),
          UNIT(test_broken_duplex), UNIT(test_duplex_peer_leaves),
          UNIT(test_false_acceptors), UNIT(test_footprint))
