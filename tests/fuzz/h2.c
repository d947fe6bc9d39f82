/* Bytes of a client (behind the magic) into a server's session whose owner answers, waits, ends and resets by stream number. */
#include "ctrl/h2.h"
#include "tests/fuzz/fuzz.h"

#define STREAMS 8

static const char magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct owner { struct h2_stream streams[200]; bool open[200]; unsigned n; size_t waiting; };
static struct owner O;

static unsigned place(const struct h2_stream *s) { return (unsigned)(s - O.streams); }

static struct h2_stream *on_opened(void *user UNUSED)
{
    unsigned i = O.n++ % ARRAY_LEN(O.streams);
    FUZZ_CHECK(!O.open[i]); /* more streams at once than we announced */
    O.open[i] = true;
    return &O.streams[i];
}

static void on_header(struct h2_stream *s, const char *name, const char *value)
{
    FUZZ_CHECK(O.open[place(s)] && s->headers <= H2_HEADERS_MAX);
    FUZZ_CHECK(strlen(name) + strlen(value) <= H2_HEADER_BYTES);
}

static void on_headers_end(struct h2_stream *s)
{
    const struct h2_header hd[] = { { ":status", "200" }, { "grpc-status", "0" } };
    if (s->id % 5 == 3) {
        h2_reset(s, H2_CANCEL);
        O.open[place(s)] = false;
    } else {
        h2_respond(s, hd, 2, s->id % 3 != 0);
    }
}

static void on_data(struct h2_stream *s, const uint8_t *data, size_t n)
{
    FUZZ_CHECK(O.open[place(s)] && (n == 0 || data));
    h2_consume(s, n);
    h2_resume(s);
}

static void on_ended(struct h2_stream *s) { h2_resume(s); }

static size_t on_body(struct h2_stream *s, uint8_t *to, size_t room, enum h2_more *more)
{
    const struct h2_header hd[] = { { "grpc-status", "0" } };
    size_t n = MIN(room, (size_t)s->id);
    FUZZ_CHECK(O.open[place(s)]);
    memset(to, 0, n);
    *more = s->id % 4 == 1 ? H2_WAIT : H2_END_TRAILERS;
    if (*more == H2_END_TRAILERS)
        h2_trailers(s, hd, 1);
    return *more == H2_WAIT ? 0 : n;
}

static void on_closed(struct h2_stream *s, uint32_t code UNUSED)
{
    FUZZ_CHECK(O.open[place(s)] && s->id == 0);
    O.open[place(s)] = false;
}

static void on_sent_end(struct h2_stream *s) { FUZZ_CHECK(O.open[place(s)]); }
static void on_up(void *user UNUSED) {}
static void on_pong(void *user UNUSED, uint64_t mark UNUSED) {}
static void on_goaway(void *user UNUSED, uint32_t code UNUSED, const char *text) { FUZZ_CHECK(strlen(text) < 100); }

static const struct h2_events events = {
    on_opened, on_header, on_headers_end, on_data, on_ended, on_body, on_sent_end, on_closed, on_up, on_pong, on_goaway,
};

static void drain(struct h2 *h)
{
    const uint8_t *out;
    while (h2_output(h, &out) > 0)
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct h2_config conf = { .server = true, .streams = STREAMS };
    memset(&O, 0, sizeof(O));
    struct h2 *h = h2_new(&conf, &events, &O);
    int rc = h2_feed(h, (const uint8_t *)magic, sizeof(magic) - 1);
    for (size_t step = 1; rc == 0 && size > 0; step = step * 2 % 509 + 1) {
        size_t n = MIN(step, size);
        rc = h2_feed(h, data, n);
        drain(h);
        data += n;
        size -= n;
    }
    FUZZ_CHECK(h2_why(h)[0]);
    h2_free(h);
    return 0;
}
