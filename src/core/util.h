/* Small things every file needs: macros, clean-up attributes, the clock. */
#ifndef SRC_CORE_UTIL_H
#define SRC_CORE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED __attribute__((unused))

#define NS_PER_US 1000ULL
#define NS_PER_MS 1000000ULL
#define NS_PER_S 1000000000ULL

/* AUTO_FREE char *s = …; AUTO_FD int fd = …; are given back when they go out of scope. */
static inline void util_free_ptr(void *p) { free(*(void **)p); }
static inline void util_close_fd(const int *fd) { if (*fd >= 0) close(*fd); }
#define AUTO_FREE __attribute__((cleanup(util_free_ptr)))
#define AUTO_FD __attribute__((cleanup(util_close_fd)))

/* Hand an AUTO_FD or a field's descriptor over: returns it and leaves -1. */
static inline int fd_take(int *fd) { int taken = *fd; *fd = -1; return taken; }
static inline void fd_close(int *fd) { if (*fd >= 0) close(fd_take(fd)); }
/* Before anything is opened: /dev/null in the place of descriptors 0 to 2 that are closed, or files and sockets of ours would get these
 * numbers, and with them what goes to standard output and error. */
void fd_reserve_stdio(void);
bool fd_was_reserved(int fd); /* it was closed when the program began */
/* The first number of which, since the kernel gives the lowest that is free, fewer than `spare` descriptors are left. INT_MAX: there is no limit. */
int fd_scarce_from(int spare);

/* CLOCK_MONOTONIC [ns]. */
static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Zeroed heap memory, or the process ends with one line: for small objects of our own only, never for a size a peer chose. */
void *mem_zalloc(size_t n, size_t size);
char *mem_strdup(const char *s);
char *mem_printf(const char *fmt, ...) PRINTF(1, 2);

/* Copy with truncation; always terminated. True: all of it fitted. */
bool str_copy(char *to, size_t size, const char *from);
static inline bool str_eq(const char *a, const char *b) { return strcmp(a, b) == 0; }
static inline bool str_starts(const char *s, const char *head) { return strncmp(s, head, strlen(head)) == 0; }

/* NULL-terminated arrays of strings; NULL is an empty one. Copies are heap and the caller's. */
size_t strv_len(char *const *v);
bool strv_has(char *const *v, const char *s);
char **strv_copy(char *const *v);
void strv_free(char **v);

#endif
