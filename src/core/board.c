#include "src/core/board.h"

#include "src/core/memfile.h"

struct board *board_create(int *fd_out) { return memfile_create("scistream-board", sizeof(struct board), fd_out); }
struct board *board_map(int fd) { return memfile_map(fd, sizeof(struct board), true); }
void board_unmap(struct board *b) { memfile_unmap(b, sizeof(*b)); }

static unsigned workers(const struct board *b) { return (unsigned)MIN(stats_get(&b->workers), BOARD_WORKERS); }

uint64_t board_reserved(const struct board *b)
{
    uint64_t sum = stats_get(&b->control.reserved);
    for (unsigned i = 0; i < workers(b); i++)
        sum += stats_get(&b->row[i].reserved);
    return sum;
}

uint64_t board_piped(const struct board *b)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < workers(b); i++)
        sum += stats_get(&b->row[i].piped);
    return sum;
}

uint64_t board_open(const struct board *b, unsigned place)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < workers(b); i++)
        sum += stats_get(&b->row[i].open[place]);
    return sum;
}

void board_clear_row(const struct board *b, struct board_row *r)
{
    uint64_t places = MAX(MIN(stats_get(&b->places), BOARD_DOORS), BOARD_ROUTE_DOORS);
    memset(r, 0, offsetof(struct board_row, open) + places * sizeof(r->open[0]));
}

unsigned board_least(const struct board *b)
{
    unsigned least = 0;
    for (unsigned i = 1; i < workers(b); i++)
        if (!stats_get(&b->row[i].away) && (stats_get(&b->row[least].away) || stats_get(&b->row[i].relays) < stats_get(&b->row[least].relays)))
            least = i;
    return least;
}
