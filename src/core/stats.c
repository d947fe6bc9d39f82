#include "src/core/stats.h"

#include <fcntl.h>

#include "src/core/memfile.h"

struct stats_page *stats_create(int *fd_out) { return memfile_create("scistream-stats", sizeof(struct stats_page), fd_out); }
struct stats_page *stats_map(int fd, bool writable) { return memfile_map(fd, sizeof(struct stats_page), writable); }
void stats_clear(int fd) { (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)sizeof(struct stats_page)); }
void stats_unmap(struct stats_page *p) { memfile_unmap(p, sizeof(*p)); }
