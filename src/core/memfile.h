/* Memory that processes share: a sealed memfd. */
#ifndef SRC_CORE_MEMFILE_H
#define SRC_CORE_MEMFILE_H

#include "src/core/util.h"

/* Zeroed: *fd_out (close-on-exec, may be passed on) or, when fd_out is NULL, private memory. NULL and errno on failure. */
void *memfile_create(const char *name, size_t size, int *fd_out);
/* Map one that was passed. NULL and errno: EINVAL when it is smaller than size. Does not take fd. */
void *memfile_map(int fd, size_t size, bool writable);
void memfile_unmap(void *p, size_t size); /* null-safe */

#endif
