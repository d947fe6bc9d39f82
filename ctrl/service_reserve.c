/* Sessions of class provisioned: all that one needs is reserved before it begins, or it is refused. */
#include "ctrl/service.h"

#include "src/core/err.h"

enum grpc_status service_reserve(const struct service *s, const struct capacity_terms *t, unsigned doors, char *why, size_t size)
{
    int rc = admission_fits(sessions_memory(s->sessions), t->memory + doors * 2ULL * BOARD_RELAY_RING, why, size);
    if (rc == 0)
        rc = capacity_admit(s->capacity, t, why, size);
    if (rc == 0)
        shares_changed(s->shares);
    return rc == 0 ? GRPC_OK : rc == -SST_ELIMIT ? GRPC_RESOURCE_EXHAUSTED : GRPC_FAILED_PRECONDITION;
}

void service_reserve_again(const struct service *s, const struct capacity_terms *t)
{
    capacity_keep(s->capacity, t);
    shares_changed(s->shares);
}

void service_give_back(const struct service *s, const char *uid)
{
    if (!capacity_find(s->capacity, uid, false))
        return;
    capacity_give_back(s->capacity, uid);
    shares_changed(s->shares);
}

/* ------------------------------------------------------------ Info */

void service_add_segments(Scistream__Gateway__V1__InfoReply *r, const struct service *s)
{
    const struct capacity *c = s->capacity;
    r->segments = mem_zalloc(SEGMENTS, sizeof(*r->segments));
    for (enum segment k = 0; k < SEGMENTS; k++) {
        if (!conf_capacity(s->conf, k))
            continue;
        Scistream__Gateway__V1__SegmentState *m = r->segments[r->n_segments++] = mem_zalloc(1, sizeof(*m));
        scistream__gateway__v1__segment_state__init(m);
        m->name = (char *)(uintptr_t)conf_segment_name(k);
        m->capacity = conf_capacity(s->conf, k);
        m->reserved = capacity_reserved(c, k);
        m->best_effort = capacity_left(c, k);
        m->reservable = conf_reservable(s->conf, k);
        m->sessions = capacity_sessions(c, k);
    }
}

void service_free_segments(Scistream__Gateway__V1__InfoReply *r)
{
    for (size_t i = 0; i < r->n_segments; i++)
        free(r->segments[i]);
    free(r->segments);
}
