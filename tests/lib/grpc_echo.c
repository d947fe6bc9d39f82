#include "tests/lib/grpc_echo.h"

#include "src/core/wire.h"

struct echo_call { uint8_t *data; size_t len; };

static struct echo_log *log_of(const struct grpc_call *c) { return grpc_server_user(c); }

static void start(struct grpc_call *c)
{
    log_of(c)->started++;
    grpc_set_user(c, mem_zalloc(1, sizeof(struct echo_call)));
}

static void on_closed(struct grpc_call *c, enum grpc_status s, const char *text)
{
    struct echo_call *e = grpc_user(c);
    struct echo_log *l = log_of(c);
    l->closed++;
    l->status = s;
    str_copy(l->text, sizeof(l->text), text);
    free(e->data);
    free(e);
}

static void send_noted(struct grpc_call *c, const void *data, size_t len)
{
    int rc = grpc_send(c, data, len);
    if (rc < 0 && log_of(c)->sent == 0)
        log_of(c)->sent = rc;
}

static void keep(struct grpc_call *c, const uint8_t *data, size_t len)
{
    struct echo_call *e = grpc_user(c);
    log_of(c)->messages++;
    free(e->data);
    e->data = mem_zalloc(1, len + 1);
    memcpy(e->data, data, len);
    e->len = len;
}

static void answer_kept(struct grpc_call *c)
{
    struct echo_call *e = grpc_user(c);
    log_of(c)->half_closed++;
    send_noted(c, e->data ? e->data : (const uint8_t *)"", e->len);
    grpc_finish(c, GRPC_OK, NULL);
}

static void echo(struct grpc_call *c, const uint8_t *data, size_t len)
{
    log_of(c)->messages++;
    send_noted(c, data, len);
}

static void finish_ok(struct grpc_call *c)
{
    log_of(c)->half_closed++;
    grpc_finish(c, GRPC_OK, "");
}

static void note_half_close(struct grpc_call *c) { log_of(c)->half_closed++; }

static void early(struct grpc_call *c, const uint8_t *data UNUSED, size_t len UNUSED)
{
    log_of(c)->messages++;
    grpc_finish(c, GRPC_OK, "early");
}

static void fail(struct grpc_call *c, const uint8_t *data, size_t len)
{
    char text[2000] = "";
    size_t n = MIN(len, sizeof(text));
    if (n > 1)
        memcpy(text, data + 1, n - 1);
    grpc_finish(c, len ? (enum grpc_status)data[0] : GRPC_UNKNOWN, text);
}

static void never(struct grpc_call *c, const uint8_t *data UNUSED, size_t len UNUSED) { log_of(c)->messages++; }

static void meta(struct grpc_call *c, const uint8_t *data UNUSED, size_t len UNUSED)
{
    const char *v = grpc_metadata(c, "x-test");
    send_noted(c, v ? v : "none", strlen(v ? v : "none"));
    grpc_finish(c, GRPC_OK, "");
}

static void burst(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const uint8_t block[1024];
    struct wire w = wire_reader(data, len);
    for (uint32_t n = wire_u32(&w); n > 0; n--)
        send_noted(c, block, sizeof(block));
}

static void cancel(struct grpc_call *c, const uint8_t *data UNUSED, size_t len UNUSED)
{
    log_of(c)->messages++;
    grpc_cancel(c);
}

static void free_server(struct grpc_call *c, const uint8_t *data UNUSED, size_t len UNUSED)
{
    struct echo_log *l = log_of(c);
    struct grpc_server *s = l->server;
    l->messages++;
    l->server = NULL;
    grpc_server_free(s);
}

static const struct grpc_handlers h_unary = { keep, answer_kept, on_closed };
static const struct grpc_handlers h_stream = { echo, finish_ok, on_closed };
static const struct grpc_handlers h_early = { early, note_half_close, on_closed };
static const struct grpc_handlers h_fail = { fail, NULL, on_closed };
static const struct grpc_handlers h_never = { never, note_half_close, on_closed };
static const struct grpc_handlers h_meta = { meta, NULL, on_closed };
static const struct grpc_handlers h_burst = { burst, finish_ok, on_closed };
static const struct grpc_handlers h_cancel = { cancel, note_half_close, on_closed };
static const struct grpc_handlers h_free = { free_server, note_half_close, on_closed };

const struct grpc_method echo_methods[] = {
    { "/test.Echo/Unary", ECHO_MESSAGE_MAX, &h_unary, start }, { "/test.Echo/Stream", ECHO_MESSAGE_MAX, &h_stream, start },
    { "/test.Echo/Early", ECHO_MESSAGE_MAX, &h_early, start }, { "/test.Echo/Fail", ECHO_MESSAGE_MAX, &h_fail, start },
    { "/test.Echo/Never", ECHO_MESSAGE_MAX, &h_never, start }, { "/test.Echo/Meta", ECHO_MESSAGE_MAX, &h_meta, start },
    { "/test.Echo/Small", ECHO_SMALL_MAX, &h_unary, start },   { "/test.Echo/Burst", ECHO_MESSAGE_MAX, &h_burst, start },
    { "/test.Echo/Cancel", ECHO_MESSAGE_MAX, &h_cancel, start }, { "/test.Echo/Free", ECHO_MESSAGE_MAX, &h_free, start },
};
const size_t echo_n_methods = ARRAY_LEN(echo_methods);
