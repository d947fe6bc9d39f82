/* Ends in memory: byte ends here, framed ones in mem_wire.c; both count their calls for the planned faults. */
#include "src/seam/mem_priv.h"

#include <stdio.h>

#define NAMES_MAX 1024

static struct mem *mem_of(struct xport *x) { return container_of(x, struct mem, x); }

/* ------------------------------------------------------------ names */

static struct { const char *name; struct mem_plan *plan; struct mem_wire *wire; } names[NAMES_MAX];
static unsigned n_names;

static void add(const char *name, struct mem_plan *p, struct mem_wire *w)
{
    if (n_names == NAMES_MAX)
        abort(); /* a test that forgets mem_forget */
    names[n_names].name = name;
    names[n_names].plan = p;
    names[n_names++].wire = w;
}

void mem_plan_add(const char *name, struct mem_plan *p) { add(name, p, NULL); }
void mem_wire_add(const char *name, struct mem_wire *w) { add(name, NULL, w); }
void mem_forget(void) { n_names = 0; }

static int find(struct mem *m, const char *name)
{
    for (unsigned i = 0; i < n_names; i++)
        if (name && str_eq(names[i].name, name)) {
            m->plan = names[i].plan;
            m->wire = names[i].wire;
            if (m->plan)
                m->plan->opens++;
            return 0;
        }
    return xport_fail(&m->x, -SST_ERESOLVE, "mem: '%s' was not planned", name ? name : "");
}

/* ------------------------------------------------------------ faults */

static struct { bool armed, fired; unsigned left; int rc; const char *entry; } fault;

bool mem_fault_arm(unsigned n, int rc)
{
    fault.armed = true;
    fault.fired = false;
    fault.left = n;
    fault.rc = rc;
    fault.entry = "none";
    return true;
}

bool mem_fault_fired(const char **entry)
{
    fault.armed = false;
    if (entry)
        *entry = fault.entry;
    return fault.fired;
}

static bool faulty(const char *entry)
{
    if (!fault.armed || fault.fired || fault.left-- > 0)
        return false;
    fault.fired = true;
    fault.entry = entry;
    return true;
}

static int entry_check(struct mem *m, const char *entry)
{
    return faulty(entry) ? xport_fail(&m->x, fault.rc, "mem: planned fault in %s", entry) : 0;
}

/* ------------------------------------------------------------ later */

void mem_later(struct mem *m, uint64_t ns)
{
    if (ns == 0)
        loop_defer(m->x.env->loop, &m->soon);
    else if (!timer_pending(&m->later))
        loop_timer(m->x.env->loop, &m->later, ns);
}

static uint64_t later_ns(const struct mem *m) { return m->plan ? m->plan->later_ns : m->wire->delay_ns; }

/* The plan of what it brings, or takes. */
static struct mem_plan *plan_of(const struct mem *m, bool brings)
{
    return m->plan->back && brings == m->x.forward ? m->plan->back : m->plan;
}

static bool fails_now(struct mem *m, const struct mem_plan *p)
{
    if (!p->fail_later || !p->fail_at || p->calls < p->fail_at)
        return false;
    xport_fail(&m->x, p->fail_rc, "mem: planned failure between calls");
    return true;
}

static void promised(struct mem *m)
{
    m->deaf = false;
    if (m->bye_due) {
        xport_bye(&m->x);
        return;
    }
    if (m->x.state != XPORT_OPENING && m->x.state != XPORT_UP)
        return;
    if (m->answer_due && mem_wire_answer(m) < 0)
        return;
    if (m->up_due) {
        m->up_due = false;
        xport_set_up(&m->x);
    }
    if (m->plan && (fails_now(m, m->plan) || (m->plan->back && fails_now(m, m->plan->back))))
        return;
    if (m->x.out && m->plan && plan_of(m, false)->lag)
        ring_release_to(m->x.out, m->x.out->sub);
    xport_kick(&m->x);
}

static void on_later(struct timer *t) { promised(container_of(t, struct mem, later)); }
static void on_soon(struct defer *d) { promised(container_of(d, struct mem, soon)); }

int mem_hiccup(struct mem *m)
{
    m->deaf = true;
    mem_later(m, later_ns(m));
    return -EAGAIN;
}

/* ------------------------------------------------------------ byte ends */

/* 0: this call may do its work. */
static int byte_call(struct mem *m, struct mem_plan *p, const char *entry)
{
    int rc = entry_check(m, entry);
    if (rc < 0 || m->deaf)
        return rc < 0 ? rc : -EAGAIN;
    p->calls++;
    if (p->fail_at && p->calls == p->fail_at && !p->fail_later)
        return xport_fail(&m->x, p->fail_rc, "mem: planned failure of call %u (%s)", p->calls, entry);
    if (p->fail_at && p->calls == p->fail_at)
        return mem_hiccup(m);
    return p->again && p->calls % p->again == 0 ? mem_hiccup(m) : 0;
}

static size_t part_of(size_t n, const struct mem_plan *p)
{
    if (p->held)
        n = (size_t)MIN(n, p->held_at - MIN(p->held_at, p->moved));
    return p->part ? MIN(n, p->part) : n;
}

static int byte_fill(struct mem *m, struct ring *r)
{
    struct mem_plan *p = plan_of(m, true);
    int rc = byte_call(m, p, "fill");
    if (rc < 0)
        return rc;
    if (p->quarter && ring_room(r) < r->cap / 4)
        return -EAGAIN;
    size_t n = part_of((size_t)MIN(ring_room(r), p->bytes - p->moved), p);
    uint8_t *to = ring_at(r, r->put);
    for (size_t i = 0; i < n; i++)
        to[i] = mem_byte(p->seed, r->put + i);
    ring_commit(r, n);
    p->moved += n;
    if (p->moved == p->bytes && !p->held)
        ring_end(r, r->put);
    return n || ring_ended(r) ? 0 : -EAGAIN;
}

static void compare(struct mem *m, struct mem_plan *p, const uint8_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p->wrong += from[i] != mem_byte(p->seed, m->content + i);
    m->content += n;
    p->moved += n;
}

static int byte_drain(struct mem *m, struct ring *r)
{
    struct mem_plan *p = plan_of(m, false);
    int rc = byte_call(m, p, "drain");
    size_t n = rc < 0 ? 0 : part_of(ring_waiting(r), p);
    if (n == 0)
        return rc < 0 ? rc : -EAGAIN;
    compare(m, p, ring_at(r, r->sub), n);
    ring_submit(r, n);
    if (p->lag)
        mem_later(m, later_ns(m));
    else
        ring_release_to(r, r->sub);
    return 0;
}

static int byte_shut(struct mem *m, struct ring *r)
{
    struct mem_plan *p = plan_of(m, false);
    int rc = byte_call(m, p, "shut");
    if (rc < 0 || !ring_all_released(r) || p->held)
        return rc < 0 ? rc : -EAGAIN;
    p->shut = true;
    return 0;
}

static int byte_connect(struct mem *m)
{
    m->x.state = XPORT_OPENING;
    m->up_due = true;
    str_copy(m->x.device, sizeof(m->x.device), "mem");
    str_copy(m->x.detail, sizeof(m->x.detail), "a plan");
    if (m->plan->up_later)
        mem_later(m, later_ns(m));
    else
        promised(m);
    return 0;
}

/* ------------------------------------------------------------ the seam */

static int mem_connect(struct xport *x, const struct xport_spec *s)
{
    struct mem *m = mem_of(x);
    if (entry_check(m, "connect") < 0 || find(m, s->address) < 0)
        return x->rc;
    return m->plan ? byte_connect(m) : mem_wire_connect(m, s);
}

static int mem_accept(struct xport *x, const struct xport_spec *s, struct xport_answer *a)
{
    struct mem *m = mem_of(x);
    if (entry_check(m, "accept") < 0 || find(m, s->address) < 0)
        return x->rc;
    return m->plan ? xport_fail(x, -EADDRINUSE, "mem: '%s' is a byte end", s->address) : mem_wire_accept(m, s, a);
}

static int mem_add(struct xport *x, struct ring *r, bool in)
{
    if (entry_check(mem_of(x), "mem_add") < 0)
        return x->rc;
    *(in ? &x->in : &x->out) = r;
    return 0;
}

static int wire_move(struct mem *m, const char *entry)
{
    int rc = entry_check(m, entry);
    if (rc < 0)
        return rc;
    return mem_wire_send(m) ? 0 : -EAGAIN;
}

static int mem_fill(struct xport *x, struct ring *r)
{
    struct mem *m = mem_of(x);
    return m->plan ? byte_fill(m, r) : wire_move(m, "fill");
}

static int mem_drain(struct xport *x, struct ring *r)
{
    struct mem *m = mem_of(x);
    return m->plan ? byte_drain(m, r) : wire_move(m, "drain");
}

static int mem_shut(struct xport *x, struct ring *r)
{
    struct mem *m = mem_of(x);
    if (m->plan)
        return byte_shut(m, r);
    int rc = wire_move(m, "shut");
    return rc < 0 && rc != -EAGAIN ? rc : framed_shut_done(&m->f) ? 0 : -EAGAIN;
}

static int mem_progress(struct xport *x)
{
    struct mem *m = mem_of(x);
    return entry_check(m, "progress") < 0 ? 1 : mem_wire_progress(m);
}

static int mem_arm(struct xport *x) { return mem_wire_arm(mem_of(x)); }

static void mem_close(struct xport *x, int rc)
{
    struct mem *m = mem_of(x);
    loop_timer_stop(x->env->loop, &m->later);
    defer_cancel(&m->soon);
    if (m->plan) {
        m->plan->closes++;
        m->plan->close_rc = rc;
    } else if (m->wire) {
        m->wire->closes++;
        if (m->wire->end[m->side] == m)
            mem_wire_close(m, rc);
    }
    m->bye_due = true;
    if (m->plan ? m->plan->close_later : m->wire && m->wire->close_later)
        mem_later(m, later_ns(m));
    else
        promised(m);
}

static struct xport *mem_create(struct xport_env *env)
{
    if (faulty("create"))
        return NULL;
    struct mem *m = mem_zalloc(1, sizeof(*m));
    xport_init(&m->x, &xport_mem_ops, env);
    list_init(&m->inbox);
    list_init(&m->sent);
    m->later.fire = on_later;
    defer_init(&m->soon, on_soon);
    return &m->x;
}

static int mem_listen(struct xport_env *env UNUSED, char *why UNUSED, size_t n UNUSED) { return 0; }
static void mem_unlisten(struct xport_env *env UNUSED) {}
static enum stats_wait mem_blocked(const struct xport *x)
{
    const struct mem *m = container_of(x, const struct mem, x);
    return m->wire && framed_blocked(&m->f) ? WAIT_CREDITS : WAIT_SINK;
}

const struct xport_ops xport_mem_ops = {
    .name = "mem", .kind = XPORT_MEM, .listen = mem_listen, .unlisten = mem_unlisten, .create = mem_create,
    .connect = mem_connect, .accept = mem_accept, .mem_add = mem_add, .fill = mem_fill, .drain = mem_drain,
    .shut = mem_shut, .progress = mem_progress, .arm = mem_arm, .close = mem_close, .blocked = mem_blocked,
};
