/* The table of scistreamctl watch: events go in, text of a given size comes out. */
#ifndef SRC_CTL_TABLE_H
#define SRC_CTL_TABLE_H

#include "ctrl/gateway.pb-c.h"
#include "src/core/list.h"

typedef Scistream__Gateway__V1__WatchEvent WatchEvent;

#define TABLE_NOTES 4
#define TABLE_BUCKETS 256

struct table {
    struct list buckets[TABLE_BUCKETS]; /* rows by session and channel */
    size_t n;
    char notes[TABLE_NOTES][200];       /* what happened last, newest first */
    struct row *relayed;                /* of connections that workers relay: by route, and the fastest; heap */
    size_t n_relayed;
    uint64_t open, slower;              /* how many there are; that are not among the fastest */
    uint64_t dropped;
};

void table_init(struct table *t);
void table_fini(struct table *t);
void table_take(struct table *t, const WatchEvent *e);
/* At most `lines` lines, each of at most `columns` characters and a newline; the fastest first. Heap. */
char *table_draw(const struct table *t, unsigned lines, unsigned columns);
/* An event as one line for people, without the newline. Heap. */
char *table_line(const WatchEvent *e);
/* One of connections, which has some lines: for each route, and for each of the fastest. The last newline is left out. Heap. */
char *table_connections(const WatchEvent *e);

#endif
