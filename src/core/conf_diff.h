/* Two configurations compared, and one brought to what the other says: for a daemon that reads its file again while it runs. */
#ifndef SRC_CORE_CONF_DIFF_H
#define SRC_CORE_CONF_DIFF_H

#include "src/core/conf.h"

/* Names, NULL-terminated, NULL when there is none: options as "peer_timeout" or "link.chunk", routes by their name. */
struct conf_diff {
    char **now;                       /* options that take effect while the daemon runs */
    char **later;                     /* those that need a restart */
    char **added, **removed, **changed; /* routes */
};

/* What `to` has otherwise than `from`. Contents of files that they name are not looked at: see conf_diff_add. */
void conf_diff_make(const struct conf *from, const struct conf *to, struct conf_diff *out);
void conf_diff_free(struct conf_diff *d); /* accepts zeroed memory */
bool conf_diff_empty(const struct conf_diff *d);
/* Add a name to one of the lists, unless it is there. */
void conf_diff_add(char ***list, const char *name);
/* "peer_timeout, link.chunk; routes: added a, b; removed c; changed d; after a restart: listen", or "nothing changed". Heap. */
char *conf_diff_text(const struct conf_diff *d);
/* c takes from `from` the routes and the options that need no restart; `from` gets what c had of them. What others keep is the address of c:
 * pointers to its strings and routes end here. */
void conf_adopt(struct conf *c, struct conf *from);
/* The options of c that stand in d->now, as "key=value" for conf_set. Heap array of heap strings, NULL-terminated. */
char **conf_diff_settings(const struct conf *c, const struct conf_diff *d);

/* A route of one's own, which outlives its configuration; the first has all defaults. */
struct conf_route *conf_route_new(const char *name);
struct conf_route *conf_route_copy(const struct conf_route *r);
void conf_route_free(struct conf_route *r); /* null-safe */
bool conf_route_same(const struct conf_route *a, const struct conf_route *b);

#endif
