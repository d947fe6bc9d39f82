#include "tests/unit/stage.h"

#include <stdio.h>

const uint8_t stage_cookie[XPORT_COOKIE] = "a cookie of 16..";

void stage_init(struct stage *s, const struct xport_ops *ops, uint64_t patience_ns)
{
    *s = (struct stage){ .on = &s->rig, .ops = ops, .near_ring = 1 << 20, .far_ring = 1 << 20, .names = { "source", "sink" },
                         .spec = { .address = "127.0.0.1", .chunk_max = 256 << 10, .fd = -1 } };
    memcpy(s->spec.cookie, stage_cookie, XPORT_COOKIE);
    rig_open(&s->rig);
    mem_forget();
    if (patience_ns)
        s->rig.conf->g.attach_timeout = patience_ns;
    s->rig.env[0].accepts = true;
}

void stage_listen(struct stage *s)
{
    char why[XPORT_WHY] = "";
    for (int e = 0; e < 2; e++)
        if (s->ops->listen(&s->rig.env[e], why, sizeof(why)) < 0) {
            printf("\n  %s\n", why);
            CU_FAIL_FATAL("this transport cannot be used on this machine");
        }
}

void stage_close(struct stage *s)
{
    for (int e = 0; e < 2; e++)
        s->ops->unlisten(&s->rig.env[e]);
    rig_close(&s->rig);
}

void stage_further(struct stage *out, struct stage *s, unsigned number)
{
    *out = (struct stage){ .on = s->on, .ops = s->ops, .spec = s->spec, .near_ring = s->near_ring, .far_ring = s->far_ring,
                           .reverse = s->reverse, .number = number };
    memcpy(out->spec.cookie + XPORT_COOKIE - sizeof(number), &number, sizeof(number));
    snprintf(out->names[0], sizeof(out->names[0]), "source %u", number);
    snprintf(out->names[1], sizeof(out->names[1]), "sink %u", number);
}

/* ------------------------------------------------------------ channels */

static void add_bytes(struct stage *s, struct watch *w, enum channel_side xport_side)
{
    if (xport_side == SIDE_SINK)
        watch_bytes(w, SIDE_SOURCE, s->names[0], &s->source);
    else
        watch_bytes(w, SIDE_SINK, s->names[1], &s->sink);
}

void stage_accept(struct stage *s)
{
    const struct channel_spec c = { .id = 1 + s->number, .window = s->far_ring, .digest = true };
    s->spec.peer_window = s->near_ring;
    watch_open(&s->far, s->on, 0, &c);
    CU_ASSERT_EQUAL_FATAL(watch_end(&s->far, stage_far_side(s), s->ops, &s->spec, &s->answer), 0);
    CU_ASSERT(s->answer.port != 0 && s->answer.chunk_max > 0 && s->answer.chunk_max <= s->spec.chunk_max);
    s->spec.port = s->answer.port;
    if (*s->answer.address)
        s->spec.address = s->answer.address;
    add_bytes(s, &s->far, stage_far_side(s));
}

int stage_dial(struct stage *s)
{
    const struct channel_spec c = { .id = 1 + s->number, .window = s->near_ring, .digest = true };
    s->spec.peer_window = s->far_ring;
    watch_open(&s->near, s->on, 1, &c);
    int rc = watch_end(&s->near, stage_near_side(s), s->ops, &s->spec, NULL);
    add_bytes(s, &s->near, stage_near_side(s));
    return rc;
}

void stage_stream(struct stage *s, uint64_t bytes)
{
    if (s->number == 0)
        mem_forget();
    s->source = (struct mem_plan){ .bytes = bytes, .seed = 11, .part = s->source.part, .again = s->source.again };
    s->sink = (struct mem_plan){ .seed = 11, .part = s->sink.part, .again = s->sink.again, .lag = s->sink.lag };
    stage_accept(s);
    CU_ASSERT_EQUAL(stage_dial(s), 0);
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

void stage_run_whole(struct stage *s, uint64_t bytes)
{
    stage_stream(s, bytes);
    CU_ASSERT_TRUE(rig_until(s->on, stage_over, s));
    CU_ASSERT_TRUE(stage_whole(s));
    stage_end_stream(s);
}

void stage_boundary_sizes(struct stage *s)
{
    static const size_t rings[][2] = { { 64 << 10, 64 << 10 }, { 64 << 10, 1 << 20 }, { 1 << 20, 64 << 10 } };
    for (size_t i = 0; i < ARRAY_LEN(rings); i++) {
        const uint64_t a = s->near_ring = rings[i][0], b = s->far_ring = rings[i][1];
        const uint64_t sizes[] = { 0, 1, a - 1, a, a + 1, b - 1, b, b + 1, a + b + 1 };
        for (size_t j = 0; j < ARRAY_LEN(sizes); j++)
            stage_run_whole(s, sizes[j]);
    }
}

void stage_close_at_once(struct stage *s, uint64_t bytes)
{
    stage_stream(s, bytes);
    s->near.close_on_finish = s->far.close_on_finish = true;
    CU_ASSERT_TRUE(rig_until(s->on, stage_over, s));
    CU_ASSERT_TRUE(stage_whole(s));
    stage_end_stream(s);
}
