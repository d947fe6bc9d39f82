/* Bytes as they come on a plaintext lane: through a socket, in pieces, into lane_recv and the ring; with answers going out.
 *
 * The first byte: HELLO is put before the rest or not, and the size of the pieces. */
#include <errno.h>
#include <sys/socket.h>

#include "src/core/err.h"
#include "tcp/lane.h"
#include "tests/fuzz/fuzz.h"

#define CAP 65536
#define CHUNK 16384

static struct loop loop;
static struct ring rx;
static struct framed f;
static struct lane *lane;
static int peer;
static const uint8_t cookie[FRAME_COOKIE] = "0123456789abcdef";

static void on_event(struct sock *s UNUSED) {}

static void begin(void)
{
    int fd[2];
    if (!rx.base) {
        FUZZ_CHECK(loop_init(&loop) == 0 && ring_init(&rx, CAP, RING_PAGES_AUTO) == 0);
    }
    rx.put = rx.sub = rx.rel = 0;
    rx.total = RING_NO_TOTAL;
    rx.n_ext = 0;
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) == 0);
    peer = fd[1];
    lane = lane_new(NULL);
    framed_init(&f, cookie, CHUNK, CAP);
    framed_set_rings(&f, &rx, NULL, false);
    lane->f = &f;
    FUZZ_CHECK(sock_attach(&lane->s, &loop, fd[0], on_event) == 0);
}

/* As the link does: receive until nothing is there, send what is due, consume. Negative: the lane is of no use any more. */
static int turn(void)
{
    uint8_t answer[4096];
    int rc;
    lane->s.can_read = true;
    while ((rc = lane_recv(lane)) > 0)
        ;
    FUZZ_CHECK(rx.rel <= rx.sub && rx.sub <= rx.put && rx.put <= rx.rel + rx.cap && rx.put <= rx.total);
    FUZZ_CHECK(rc == 0 || rc == -SST_ELOST || rc == f.rc);
    if (rc < 0)
        return rc;
    ring_submit(&rx, ring_waiting(&rx));
    ring_release_to(&rx, rx.sub);
    rc = lane_send(lane);
    while (recv(peer, answer, sizeof(answer), 0) > 0)
        ;
    return rc;
}

static void put(const uint8_t *data, size_t n, size_t piece)
{
    while (n) {
        size_t k = MIN(n, piece);
        if (send(peer, data, k, MSG_NOSIGNAL) != (ssize_t)k || turn() < 0)
            return;
        data += k;
        n -= k;
    }
    shutdown(peer, SHUT_WR);
    int rc = turn();
    FUZZ_CHECK(rc < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = { 4096, 1, 7, 31, 32, 33, 100, 1000 };
    const struct frame hello = frame_hello(cookie);
    if (size < 1)
        return 0;
    begin();
    AUTO_FREE uint8_t *all = mem_zalloc(size + FRAME_SIZE, 1);
    size_t head = data[0] & 8 ? 0 : FRAME_SIZE;
    frame_encode(&hello, all);
    memcpy(all + head, data + 1, size - 1);
    put(all, head + size - 1, pieces[data[0] & 7]);
    framed_disconnected(&f);
    lane_free(lane);
    close(peer);
    return 0;
}
