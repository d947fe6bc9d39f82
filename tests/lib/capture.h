/* What a function writes to standard output or error, as text. */
#ifndef TESTS_LIB_CAPTURE_H
#define TESTS_LIB_CAPTURE_H

#include <stdio.h>
#include <sys/mman.h>

#include "src/core/util.h"

struct capture { int fd, saved, file; };

static inline struct capture capture_begin(int fd)
{
    fflush(NULL);
    struct capture c = { .fd = fd, .saved = dup(fd), .file = memfd_create("capture", MFD_CLOEXEC) };
    dup2(c.file, fd);
    return c;
}

static inline void capture_end(struct capture *c, char *out, size_t size)
{
    fflush(NULL);
    dup2(c->saved, c->fd);
    ssize_t n = pread(c->file, out, size - 1, 0);
    out[n > 0 ? n : 0] = 0;
    close(c->saved);
    close(c->file);
}

#endif
