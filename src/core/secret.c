#include "src/core/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "src/core/err.h"

#define CREATED_BYTES 32

int64_t secret_user = -1;

void secret_random(void *to, size_t n)
{
    static const char line[] = "scistream: the kernel gives no random bytes\n";
    uint8_t *p = to;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno != EINTR) {
            if (write(STDERR_FILENO, line, sizeof(line) - 1) < 0)
                abort();
            abort();
        }
        size_t took = got > 0 ? (size_t)got : 0;
        p += took;
        n -= took;
    }
}

bool secret_equal(const void *a, const void *b, size_t n)
{
    const volatile uint8_t *x = a, *y = b;
    unsigned differ = 0;
    for (size_t i = 0; i < n; i++)
        differ |= (unsigned)(x[i] ^ y[i]);
    return differ == 0;
}

void secret_wipe(void *p, size_t n)
{
    if (n > 0)
        explicit_bzero(p, n);
}

void secret_free(struct secret *s)
{
    if (!s)
        return;
    secret_wipe(s->data, s->len);
    free(s->data);
    *s = (struct secret){ NULL, 0 };
}

/* ------------------------------------------------------------ files */

struct reason { const char *path; char *text; size_t size; };

static int refuse(const struct reason *why, int rc, const char *fmt, ...) PRINTF(3, 4);
static int refuse(const struct reason *why, int rc, const char *fmt, ...)
{
    va_list args;
    char text[200];
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (why->size)
        snprintf(why->text, why->size, "%s: %s", why->path, text);
    return rc;
}

static int check_file(int fd, const struct reason *why)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return refuse(why, -errno, "%s", err_text(-errno));
    if (!S_ISREG(st.st_mode))
        return refuse(why, -EINVAL, "a secret must be a regular file");
    if (st.st_uid != geteuid() && st.st_uid != 0 && (int64_t)st.st_uid != secret_user)
        return refuse(why, -EPERM, "belongs to user %u: chown it to user %u", st.st_uid, geteuid());
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return refuse(why, -EPERM, "others may use it (mode %04o): chmod 600 %.120s", st.st_mode & 07777, why->path);
    return 0;
}

ssize_t secret_read_all(int fd, void *to, size_t size)
{
    size_t n = 0;
    while (n < size) {
        ssize_t got = read(fd, (uint8_t *)to + n, size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

static int take_content(int fd, struct secret *out, const struct reason *why)
{
    uint8_t buf[SECRET_MAX + 2];
    ssize_t n = secret_read_all(fd, buf, sizeof(buf));
    int rc = 0;
    if (n > 0 && buf[n - 1] == '\n')
        n--;
    if (n < 0)
        rc = refuse(why, (int)n, "%s", err_text((int)n));
    else if (n < SECRET_MIN)
        rc = refuse(why, -EINVAL, "holds %zd bytes, a secret has %d at least", n, SECRET_MIN);
    else if (n > SECRET_MAX)
        rc = refuse(why, -EINVAL, "a secret has at most %d bytes", SECRET_MAX);
    if (rc == 0) {
        *out = (struct secret){ .data = mem_zalloc(1, (size_t)n), .len = (size_t)n };
        memcpy(out->data, buf, out->len);
    }
    secret_wipe(buf, sizeof(buf));
    return rc;
}

int secret_open(const char *path, char *why, size_t why_size)
{
    struct reason reason = { path, why, why_size };
    /* O_NONBLOCK: a FIFO in its place must not hold us up */
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return refuse(&reason, -errno, "%s", err_text(-errno));
    int rc = check_file(fd, &reason);
    return rc < 0 ? rc : fd_take(&fd);
}

int secret_read(const char *path, struct secret *out, char *why, size_t why_size)
{
    AUTO_FD int fd = secret_open(path, why, why_size);
    return fd < 0 ? fd : take_content(fd, out, &(struct reason){ path, why, why_size });
}

static int take_text(int fd, size_t max, char **text, const struct reason *why)
{
    AUTO_FREE char *buf = mem_zalloc(1, max + 2);
    ssize_t n = secret_read_all(fd, buf, max + 1);
    int rc = n < 0                         ? refuse(why, (int)n, "%s", err_text((int)n))
             : (size_t)n > max             ? refuse(why, -EINVAL, "has more than %zu bytes", max)
             : memchr(buf, 0, (size_t)n) ? refuse(why, -EINVAL, "is no text: it holds a zero byte")
                                           : 0;
    if (rc == 0)
        *text = mem_strdup(buf);
    secret_wipe(buf, max + 2);
    return rc;
}

int secret_read_text(const char *path, size_t max, char **text, char *why, size_t why_size)
{
    const struct reason reason = { path, why, why_size };
    AUTO_FD int fd = secret_open(path, why, why_size);
    return fd < 0 ? fd : take_text(fd, max, text, &reason);
}

static int write_secret(int fd)
{
    uint8_t random[CREATED_BYTES];
    char line[2 * CREATED_BYTES + 1];
    secret_random(random, sizeof(random));
    secret_hex(line, random, sizeof(random));
    line[2 * CREATED_BYTES] = '\n';
    ssize_t n = write(fd, line, sizeof(line));
    int rc = n == (ssize_t)sizeof(line) ? 0 : n < 0 ? -errno : -ENOSPC;
    if (rc == 0 && fsync(fd) < 0 && errno != EINVAL)
        rc = -errno;
    secret_wipe(random, sizeof(random));
    secret_wipe(line, sizeof(line));
    return rc;
}

int secret_create(const char *path, char *why, size_t why_size)
{
    struct reason reason = { path, why, why_size };
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return refuse(&reason, -errno, "%s", errno == EEXIST ? "exists already and is not overwritten" : err_text(-errno));
    int rc = write_secret(fd);
    if (rc < 0) {
        unlink(path);
        return refuse(&reason, rc, "%s", err_text(rc));
    }
    return 0;
}

/* ------------------------------------------------------------ hex */

void secret_hex(char *out, const void *data, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[p[i] >> 4];
        *out++ = digits[p[i] & 15];
    }
    *out = 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool secret_unhex(void *out, size_t n, const char *hex)
{
    uint8_t *to = out;
    if (strlen(hex) != 2 * n)
        return false;
    for (size_t i = 0; i < 2 * n; i++)
        if (hex_value(hex[i]) < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(16 * hex_value(hex[2 * i]) + hex_value(hex[2 * i + 1]));
    return true;
}
