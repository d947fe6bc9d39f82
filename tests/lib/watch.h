/* A channel as a test sees it: what was reported, how often; and whole chains of channels between ends in memory. */
#ifndef TESTS_LIB_WATCH_H
#define TESTS_LIB_WATCH_H

#include "src/engine/channel.h"
#include "src/seam/mem.h"
#include "tests/lib/rig.h"

struct watch {
    struct rig *rig;
    struct channel *c; /* NULL once closed */
    unsigned prepared[SIDES], unusable[SIDES], up[SIDES], ended, ended_back, finished, failed[SIDES], closed;
    int rc[SIDES];
    char why[SIDES][XPORT_WHY]; /* of failed, or of unusable */
    struct xport_answer answer; /* of prepared */
    uint64_t total, total_back;
    uint8_t digest[DIGEST_SIZE], digest_back[DIGEST_SIZE];
    bool has_digest, busy; /* busy: a function of channel.h runs */
    unsigned reentered;    /* events that came from within one */
    bool close_on_finish, close_on_failure, close_on_unusable; /* as control might, from within the event */
};

/* A channel in environment e of the rig. */
void watch_open(struct watch *w, struct rig *r, unsigned e, const struct channel_spec *s);
/* Open an end on mem, link, ucx …; answer NULL: connect. Returns as channel_open_end; a refusal that leaves no end counts as failed. */
int watch_end(struct watch *w, enum channel_side side, const struct xport_ops *ops, const struct xport_spec *s, struct xport_answer *a);
/* A byte end of mem. */
int watch_bytes(struct watch *w, enum channel_side side, const char *name, struct mem_plan *p);
/* Close and turn until closed; false: it hangs. */
bool watch_close(struct watch *w, int rc);
static inline bool watch_failed(const struct watch *w) { return w->failed[SIDE_SOURCE] || w->failed[SIDE_SINK]; }
/* For rig_until: finished or failed. */
bool watch_over(void *watch);

/* Two channels in a row, near's bytes go on to far; far NULL: one alone. Over: all finished, or one failed. Whole: all bytes, all right,
 * finished everywhere, each thing reported once; duplex (the plans have a back): of both directions; else it is shown. Close: false, it hangs. */
bool pair_over(const struct watch *near, const struct watch *far);
bool pair_whole(const struct watch *near, const struct watch *far, const struct mem_plan *source, const struct mem_plan *sink);
bool pair_close(struct watch *near, struct watch *far, int rc);

/* source -> ring -> wire -> ring -> sink: two channels. wire NULL: one channel, no wire. */
struct chain {
    struct rig *rig;
    struct watch near, far;
    struct mem_plan source, sink;
    bool duplex;
    struct mem_plan back_source, back_sink; /* duplex: from the sink's end to the source's */
    struct mem_wire *wire;
    size_t near_ring, far_ring;
    uint32_t chunk;
    uint64_t rate;
    bool blind; /* the two sides are not told each other's ring */
};

void chain_open(struct chain *c);
/* Run until both channels are finished or one has failed; false: hang. */
bool chain_run(struct chain *c);
/* All bytes, all right, finished everywhere, each thing reported once. */
bool chain_whole(const struct chain *c);
/* Close both; false: hang. */
bool chain_close(struct chain *c, int rc);

#endif
