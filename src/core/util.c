#include "src/core/util.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>

#include "src/core/err.h"

static void *or_die(void *p)
{
    static const char line[] = "scistream: out of memory\n";
    if (p)
        return p;
    if (write(STDERR_FILENO, line, sizeof(line) - 1) < 0)
        _exit(err_exit(-EIO));
    _exit(err_exit(-ENOMEM));
}

void *mem_zalloc(size_t n, size_t size)
{
    return or_die(calloc(n, size));
}

char *mem_strdup(const char *s)
{
    return or_die(strdup(s));
}

char *mem_printf(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    return or_die(n < 0 ? NULL : text);
}

int fd_scarce_from(int spare)
{
    struct rlimit n;
    bool known = getrlimit(RLIMIT_NOFILE, &n) == 0 && n.rlim_cur <= INT_MAX;
    return known ? MAX((int)n.rlim_cur - spare, spare) : INT_MAX;
}

static bool reserved[STDERR_FILENO + 1];

void fd_reserve_stdio(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
        reserved[fd] = true;
    fd_close(&fd);
}

bool fd_was_reserved(int fd) { return fd >= 0 && fd <= STDERR_FILENO && reserved[fd]; }

bool str_copy(char *to, size_t size, const char *from)
{
    size_t n = strlen(from);
    if (size == 0)
        return false;
    size_t kept = MIN(n, size - 1);
    memcpy(to, from, kept);
    to[kept] = 0;
    return kept == n;
}

size_t strv_len(char *const *v)
{
    size_t n = 0;
    while (v && v[n])
        n++;
    return n;
}

bool strv_has(char *const *v, const char *s)
{
    for (; v && *v; v++)
        if (str_eq(*v, s))
            return true;
    return false;
}

char **strv_copy(char *const *v)
{
    size_t n = strv_len(v);
    char **copy = mem_zalloc(n + 1, sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = mem_strdup(v[i]);
    return copy;
}

void strv_free(char **v)
{
    for (char **s = v; s && *s; s++)
        free(*s);
    free(v);
}
