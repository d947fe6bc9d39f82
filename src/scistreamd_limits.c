/* What sessions may take of the segments: reservations of class provisioned, and the shares of all, from the configuration in force. */
#include "ctrl/arranged.h"
#include "src/core/log.h"
#include "src/scistreamd.h"

/* A connection that comes is counted by its worker from then on: for a moment twice. */
static void on_looked(void *user)
{
    struct daemon *d = user;
    if (d->service.sessions)
        sessions_keep_memory(d->service.sessions, capacity_kept_memory(&d->limits.capacity) + doors_kept_memory(d->doors));
}

void limits_start(struct daemon *d)
{
    const struct shares_config c = { .loop = &d->loop, .board = pool_board(d->pool), .capacity = &d->limits.capacity, .looked = on_looked, .user = d };
    capacity_init(&d->limits.capacity, d->conf);
    d->limits.shares = shares_new(&c);
    d->service.capacity = &d->limits.capacity;
    d->observe.sources.capacity = &d->limits.capacity;
    d->service.shares = d->limits.shares;
    doors_use_shares(d->doors, d->limits.shares);
}

/* Sessions have what they were promised, whatever the file says now. */
static void warn_of_too_much(const struct daemon *d)
{
    char reserved[UNITS_TEXT], most[UNITS_TEXT];
    for (enum segment s = 0; s < SEGMENTS; s++)
        if (capacity_reserved(&d->limits.capacity, s) > conf_reservable(d->conf, s))
            log_warn("capacity.%s: %s are reserved by now, %s can be: nothing more is until sessions end", conf_segment_name(s),
                     units_rate(reserved, capacity_reserved(&d->limits.capacity, s)), units_rate(most, conf_reservable(d->conf, s)));
}

void limits_reloaded(struct daemon *d)
{
    capacity_follow(&d->limits.capacity);
    warn_of_too_much(d);
    shares_changed(d->limits.shares);
}

void limits_take_grants(struct daemon *d)
{
    list_for_each(n, &d->grants.all) {
        const struct grant *g = list_entry(n, struct grant, node);
        const struct capacity_terms t = { .uid = g->uid, .principal = g->by, .rate = g->arranged ? g->arranged->rate : 0,
                                          .ends_s = g->arranged ? g->arranged->ends_s : 0, .segments = conf_route_segments(g->route->c),
                                          .memory = g->channels * g->route->c->window };
        if (g->arranged && !g->arranged->beside && g->arranged->provisioned)
            service_reserve_again(&d->service, &t);
    }
}

void limits_end(struct daemon *d)
{
    shares_free(d->limits.shares);
    capacity_fini(&d->limits.capacity);
}
