#include "src/seam/xport.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BULK_MIN (64U << 10)
#define CALM 32 /* times of less in a row, after which it is no bulk any more */

const struct xport_ops *xport_find(const char *name)
{
    for (const struct xport_ops *const *o = xport_list; *o; o++)
        if (str_eq((*o)->name, name))
            return *o;
    return NULL;
}

int xport_fail(struct xport *x, int rc, const char *fmt, ...)
{
    if (x->state == XPORT_FAILED || x->state == XPORT_CLOSING)
        return rc;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(x->why, sizeof(x->why), fmt, ap);
    va_end(ap);
    x->rc = rc;
    x->state = XPORT_FAILED;
    x->host->failed(x);
    return rc;
}

void xport_brought(struct xport *x, size_t n)
{
    if (n >= BULK_MIN)
        x->calm = 0;
    else if (x->calm < CALM)
        x->calm++;
    x->bulk = x->splices && (n >= BULK_MIN || (x->bulk && x->calm < CALM));
}

void xport_set_up(struct xport *x)
{
    if (x->state != XPORT_OPENING)
        return;
    x->state = XPORT_UP;
    x->host->up(x);
    xport_kick(x);
}

int xport_take_ring(struct xport *x, struct ring *r, bool in)
{
    *(in ? &x->in : &x->out) = r;
    return 0;
}

uint64_t xport_patience(const struct xport *x, uint64_t peer_window)
{
    uint64_t peer = ring_pin_ns(peer_window), ours = ring_pin_ns(x->in ? x->in->cap : 0) + ring_pin_ns(x->out ? x->out->cap : 0);
    return x->env->conf->g.attach_timeout + ours + (x->in && x->out ? 2 * peer : peer);
}

void xport_close(struct xport *x, int rc, void (*done)(struct xport *x))
{
    x->closed = done;
    x->state = XPORT_CLOSING;
    x->ops->close(x, rc);
}

void xport_env_init(struct xport_env *env, struct loop *loop, const struct conf *conf)
{
    *env = (struct xport_env){ .loop = loop, .conf = conf, .link_fd = -1 };
    list_init(&env->devices);
}

void xport_env_fini(struct xport_env *env)
{
    for (struct list *n; (n = list_pop(&env->devices));)
        free(list_entry(n, struct xport_device, node));
}

static void say_bye(struct defer *d)
{
    struct xport *x = container_of(d, struct xport, bye);
    x->closed(x);
    free(x);
}

void xport_init(struct xport *x, const struct xport_ops *ops, struct xport_env *env)
{
    x->ops = ops;
    x->env = env;
    defer_init(&x->bye, say_bye);
}

void xport_bye(struct xport *x) { loop_defer(x->env->loop, &x->bye); }
