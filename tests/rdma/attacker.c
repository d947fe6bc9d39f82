#include "tests/rdma/attacker.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rdma/verbs.h"

static struct evil *evil_of(struct xport *x) { return container_of(x, struct evil, x); }

void evil_say(const struct evil *e, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fprintf(stderr, "attacker: %s: %s\n", e->attack->name, text);
}

/* ------------------------------------------------------------ as it should be */

int evil_tell(struct evil *e, struct frame f)
{
    uint8_t message[VERBS_MESSAGE];
    verbs_message_encode(&f, RAW_RECEIVES, message);
    return raw_send(&e->r, message, sizeof(message));
}

bool evil_hello(struct evil *e)
{
    struct frame f;
    if (evil_tell(e, frame_hello(e->cookie)) != 0 || !raw_take(&e->r, &f, RAW_WAIT_MS) || f.type != FRAME_HELLO) {
        evil_say(e, "no HELLO came");
        return false;
    }
    eventfd_write(e->io.fd, 1);
    if (!e->x.out)
        return true;
    if (!raw_take(&e->r, &f, RAW_WAIT_MS) || f.type != FRAME_LIMIT) {
        evil_say(e, "no LIMIT came");
        return false;
    }
    e->limit = f.a;
    return true;
}

struct frame evil_data(uint64_t off, uint32_t len) { return (struct frame){ .type = FRAME_DATA, .len = len, .a = off }; }

void evil_aftermath(struct evil *e)
{
    char text[80];
    struct frame f;
    unsigned data = 0;
    while (raw_take(&e->r, &f, RAW_WAIT_MS)) {
        data += f.type == FRAME_DATA;
        if (f.type != FRAME_DATA)
            evil_say(e, "was told %s", frame_text(&f, text));
    }
    evil_say(e, "%s, %u DATA, %s", e->r.over ? "disconnected" : "still connected", data, ibv_wc_status_str(e->r.bad));
}

/* ------------------------------------------------------------ the connection, in a thread of its own */

const char *evil_meet(struct evil *e)
{
    const struct attack *a = e->attack;
    uint8_t private[VERBS_PRIVATE];
    const char *why;
    e->mine = (struct verbs_intro){ .receives = RAW_RECEIVES, .chunk_max = 1 << 18 };
    memcpy(e->mine.cookie, e->cookie, FRAME_COOKIE);
    if (e->accepts && *(why = raw_prepare(&e->r)))
        return why;
    if (e->x.in)
        raw_ring(&e->r, &e->mine);
    if (a->spoil)
        a->spoil(&e->mine);
    verbs_intro_encode(&e->mine, private);
    if (a->value)
        private[a->at] = a->value;
    if (!e->accepts && a->early)
        return raw_request(&e->r, private, sizeof(private));
    why = e->accepts ? raw_accept(&e->r, private, sizeof(private)) : raw_connect(&e->r, private, sizeof(private));
    if (!*why && !e->accepts && verbs_intro_decode(e->r.told, e->r.n_told, &e->peer) < 0)
        return "its intro is none";
    return why;
}

static void *attack_thread(void *arg)
{
    struct evil *e = arg;
    const char *why = e->accepts ? raw_await(&e->r) : raw_resolve(&e->r, e->host, e->port);
    if (!*why && !(e->accepts && e->attack->early))
        why = evil_meet(e);
    if (*why)
        evil_say(e, "%s", why);
    else if (e->attack->act)
        e->attack->act(e);
    else
        evil_aftermath(e);
    return NULL;
}

static int begin(struct evil *e, const struct attack *attacks, const struct xport_spec *s)
{
    const char *name = getenv("ATTACK");
    for (e->attack = attacks; e->attack->name; e->attack++)
        if (name && str_eq(e->attack->name, name))
            break;
    e->x.state = XPORT_OPENING;
    memcpy(e->cookie, s->cookie, FRAME_COOKIE);
    return e->attack->name ? 0 : xport_fail(&e->x, -EINVAL, "$ATTACK names no attack");
}

static void on_hello(struct io *io, uint32_t events UNUSED)
{
    eventfd_t n;
    if (eventfd_read(io->fd, &n) == 0)
        xport_set_up(&container_of(io, struct evil, io)->x);
}

static int go(struct evil *e)
{
    e->io.ready = on_hello;
    loop_add(e->x.env->loop, &e->io, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), EPOLLIN);
    e->started = pthread_create(&e->thread, NULL, attack_thread, e) == 0;
    return e->started ? 0 : xport_fail(&e->x, -EAGAIN, "no thread");
}

/* ------------------------------------------------------------ the seam */

static struct xport_ops spy_ops;

static int evil_connect(struct xport *x, const struct xport_spec *s)
{
    struct evil *e = evil_of(x);
    if (x->ops == &spy_ops)
        return xport_verbs_ops.connect(x, s);
    if (begin(e, x->out ? attacks_send : attacks_recv, s) < 0)
        return x->rc;
    str_copy(e->host, sizeof(e->host), s->address);
    e->port = s->port;
    return go(e);
}

static int evil_accept(struct xport *x, const struct xport_spec *s, struct xport_answer *a)
{
    struct evil *e = evil_of(x);
    const char *other = getenv("ATTACK_PORT");
    if (begin(e, attacks_accept, s) < 0)
        return x->rc;
    e->accepts = true;
    str_copy(a->address, sizeof(a->address), x->env->conf->rdma.listen);
    a->chunk_max = 1 << 18;
    a->port = other ? (uint16_t)atoi(other) : raw_listen(&e->r, a->address);
    return other ? 0 : a->port ? go(e) : xport_fail(x, -EIO, "cannot listen");
}

static void evil_close(struct xport *x, int rc UNUSED)
{
    struct evil *e = evil_of(x);
    if (e->started) {
        int fd = e->io.fd;
        pthread_join(e->thread, NULL); /* all that it waits for is bounded */
        loop_del(x->env->loop, &e->io);
        close(fd);
    }
    xport_bye(x);
}

static int nothing(struct xport *x UNUSED, struct ring *r UNUSED) { return -EAGAIN; }
static int idle(struct xport *x UNUSED) { return 0; }
static enum stats_wait blocked(const struct xport *x UNUSED) { return WAIT_SINK; }

/* ------------------------------------------------------------ a victim: everything is right, but $ATTACK_FILE gets what it was told */

static int spy_progress(struct xport *x)
{
    const char *file = getenv("ATTACK_FILE");
    uint8_t told[VERBS_PRIVATE];
    int did = xport_verbs_ops.progress(x);
    if (x->state != XPORT_UP || !file)
        return did;
    AUTO_FREE char *part = mem_printf("%s.part", file);
    FILE *f = fopen(part, "w");
    verbs_intro_encode(&verbs_of(x)->q.peer, told);
    if (f && fwrite(told, sizeof(told), 1, f) == 1 && fclose(f) == 0)
        rename(part, file);
    unsetenv("ATTACK_FILE");
    return did;
}

static struct xport *create(struct xport_env *env)
{
    struct xport *x;
    if (str_eq(getenv("ATTACK") ? getenv("ATTACK") : "", "publish")) {
        spy_ops = xport_verbs_ops;
        spy_ops.progress = spy_progress;
        x = xport_verbs_ops.create(env);
        x->ops = &spy_ops;
        return x;
    }
    struct evil *e = mem_zalloc(1, sizeof(*e));
    xport_init(&e->x, xport_list[0], env);
    e->io.fd = -1;
    return &e->x;
}

static int listen_verbs(struct xport_env *env, char *why, size_t size) { return xport_verbs_ops.listen(env, why, size); }
static void unlisten_verbs(struct xport_env *env) { xport_verbs_ops.unlisten(env); }

static const struct xport_ops evil_ops = {
    .name = "verbs", .kind = XPORT_VERBS, .listen = listen_verbs, .unlisten = unlisten_verbs, .create = create,
    .connect = evil_connect, .accept = evil_accept, .mem_add = xport_take_ring, .fill = nothing, .drain = nothing, .shut = nothing,
    .progress = idle, .arm = idle, .close = evil_close, .blocked = blocked,
};

const struct xport_ops *const xport_list[] = { &evil_ops, &xport_link_ops, &xport_file_ops, NULL };
