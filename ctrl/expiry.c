#include "ctrl/expiry.h"

#include "src/core/log.h"

void expiry_say(const struct tls_ctx *tls, const char *file)
{
    int days = tls_ctx_days_left(tls);
    if (days >= EXPIRY_WARN_DAYS)
        return;
    if (days < 0)
        log_error("certificate %s has expired: peers that do not pin its key refuse it; renew it", file);
    else if (days == 0)
        log_error("certificate %s expires within a day: renew it now", file);
    else
        log_write(days < EXPIRY_ALARM_DAYS ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "certificate %s expires in %d day%s%s", file, days,
                  days == 1 ? "" : "s", days < EXPIRY_ALARM_DAYS ? ": renew it now" : "");
}

static void on_look(struct timer *t)
{
    struct expiry *e = container_of(t, struct expiry, look);
    expiry_say(*e->tls, (*e->conf)->g.certificate);
    loop_timer(e->loop, &e->look, e->every_ns);
}

void expiry_start(struct expiry *e, struct loop *l, struct tls_ctx *const *tls, const struct conf *const *conf, uint64_t every_ns)
{
    *e = (struct expiry){ .loop = l, .look.fire = on_look, .tls = tls, .conf = conf, .every_ns = every_ns };
    loop_timer(l, &e->look, every_ns);
}

void expiry_stop(struct expiry *e)
{
    if (e->loop)
        loop_timer_stop(e->loop, &e->look);
}

uint64_t expiry_at(const struct expiry *e) { return (uint64_t)MAX(tls_ctx_expires(*e->tls), 0); }
