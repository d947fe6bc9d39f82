/* The certificate of the control endpoint: its end is told 30 days ahead, at the start and every day from then on. */
#ifndef CTRL_EXPIRY_H
#define CTRL_EXPIRY_H

#include "src/core/conf.h"
#include "src/core/loop.h"
#include "tcp/tls.h"

#define EXPIRY_WARN_DAYS 30
#define EXPIRY_ALARM_DAYS 7
#define EXPIRY_LOOK_NS (24 * 3600 * NS_PER_S)

struct expiry {
    struct loop *loop;
    struct timer look;
    struct tls_ctx *const *tls; /* the context in use, which may be replaced */
    const struct conf *const *conf; /* the configuration in use, likewise: it names the file */
    uint64_t every_ns;
};

/* One line about a certificate that expires soon (a warning; an error in the last week, or when it has expired), or none. */
void expiry_say(const struct tls_ctx *tls, const char *file);
/* Say it every every_ns. Pointers must stay valid; nothing is said now. */
void expiry_start(struct expiry *e, struct loop *l, struct tls_ctx *const *tls, const struct conf *const *conf, uint64_t every_ns);
void expiry_stop(struct expiry *e); /* accepts zeroed memory */
/* Unix time at which it expires; 0: not known. */
uint64_t expiry_at(const struct expiry *e);

#endif
