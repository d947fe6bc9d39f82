/* Secrets: random bytes, constant-time comparison, wiping, files that others may not read. */
#ifndef SRC_CORE_SECRET_H
#define SRC_CORE_SECRET_H

#include "src/core/util.h"

#define SECRET_MIN 16   /* bytes a shared secret must have */
#define SECRET_MAX 4096

struct secret { uint8_t *data; size_t len; }; /* len 0: none */

/* n bytes from getrandom(2). Ends the process when the kernel has none: nothing may go on with a weak key. */
void secret_random(void *to, size_t n);
/* Constant time in n. */
bool secret_equal(const void *a, const void *b, size_t n);
void secret_wipe(void *p, size_t n);
/* Wipes and frees; null-safe, may be called twice. */
void secret_free(struct secret *s);
/* The user that a process of root will become: a file of his is as good as root's, and can be read again later. -1: none. */
extern int64_t secret_user;
/* Open a file with a secret in it for reading. The descriptor, the caller's; -errno of open; -EPERM when group or others can read it or it belongs
 * to another user than us or root; -EINVAL when it is no regular file. why begins with the path and says what to do. */
int secret_open(const char *path, char *why, size_t why_size);
/* From fd up to its end, size bytes at most. How many, or -errno. The caller wipes them. */
ssize_t secret_read_all(int fd, void *to, size_t size);
/* Take all of the file, one trailing newline stripped. 0; as secret_open; -errno of read; -EINVAL when shorter than SECRET_MIN, longer than
 * SECRET_MAX. */
int secret_read(const char *path, struct secret *out, char *why, size_t why_size);
/* The same for a file of at most max bytes in many lines, which may be empty: text is heap and terminated, a NUL in it being -EINVAL. */
int secret_read_text(const char *path, size_t max, char **text, char *why, size_t why_size);
/* Create path (0600, never overwriting) with 256 random bits as one line of hex. 0, -EEXIST, -errno; why as above. */
int secret_create(const char *path, char *why, size_t why_size);
/* Lower-case hex of n bytes; out has 2n + 1. */
void secret_hex(char *out, const void *data, size_t n);
/* Exactly n bytes from 2n hex digits; false when it is anything else. */
bool secret_unhex(void *out, size_t n, const char *hex);

#endif
