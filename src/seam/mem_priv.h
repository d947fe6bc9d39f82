/* What mem.c and mem_wire.c share. */
#ifndef SRC_SEAM_MEM_PRIV_H
#define SRC_SEAM_MEM_PRIV_H

#include "src/seam/mem.h"

struct mem {
    struct xport x;
    struct mem_plan *plan;   /* a byte end has this */
    struct mem_wire *wire;   /* a framed end has this */
    int side;                /* in wire->end */
    struct framed f;
    struct list inbox, sent; /* struct message */
    unsigned under_way;      /* length of sent */
    unsigned looks;          /* at the inbox */
    bool lost;               /* the connection is gone: nothing is sent any more, and what is in the inbox is the last */
    bool deaf;               /* a hiccup: nothing until the kick that was promised */
    bool up_due, bye_due, answer_due;
    struct xport_answer answer;
    uint64_t content;        /* how far the sink has compared */
    struct timer later;
    struct defer soon;
};

/* Kick after ns, or in the loop's next turn. */
void mem_later(struct mem *m, uint64_t ns);
/* Nothing goes until then. Returns -EAGAIN. */
int mem_hiccup(struct mem *m);

int mem_wire_connect(struct mem *m, const struct xport_spec *s);
int mem_wire_accept(struct mem *m, const struct xport_spec *s, struct xport_answer *a);
int mem_wire_answer(struct mem *m); /* what accept put off */
int mem_wire_send(struct mem *m); /* > 0: sent something */
int mem_wire_progress(struct mem *m);
int mem_wire_arm(struct mem *m);
void mem_wire_close(struct mem *m, int rc);

#endif
