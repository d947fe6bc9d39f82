#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "src/core/secret.h"
#include "tests/lib/unit.h"

static char dir[] = "/tmp/unit-secret-XXXXXX";
static char path[64];
static char why[400];

/* A file of n bytes 'k' and then a tail. */
static void put(mode_t mode, size_t n, const char *tail)
{
    unlink(path);
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    for (size_t i = 0; i < n; i++)
        CU_ASSERT(write(fd, "k", 1) == 1);
    CU_ASSERT(write(fd, tail, strlen(tail)) == (ssize_t)strlen(tail));
    CU_ASSERT(fchmod(fd, mode) == 0);
}

static int read_now(struct secret *s)
{
    *why = 0;
    return secret_read(path, s, why, sizeof(why));
}

static void setup(void)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/key", dir);
}

static void cleanup(void)
{
    unlink(path);
    CU_ASSERT_EQUAL(rmdir(dir), 0);
}

static void test_random(void)
{
    uint8_t a[64] = { 0 }, b[64] = { 0 };
    secret_random(a, sizeof(a));
    secret_random(b, sizeof(b));
    CU_ASSERT_FALSE(secret_equal(a, b, sizeof(a)));
    secret_random(NULL, 0);
}

static void test_equal(void)
{
    uint8_t a[32] = { 0 }, b[32] = { 0 };
    CU_ASSERT_TRUE(secret_equal(a, b, sizeof(a)));
    for (size_t i = 0; i < sizeof(a); i++) {
        b[i] = 0x80;
        CU_ASSERT_FALSE(secret_equal(a, b, sizeof(a)));
        CU_ASSERT_TRUE(secret_equal(a, b, i));
        b[i] = 0;
    }
    CU_ASSERT_TRUE(secret_equal(NULL, NULL, 0));
    memset(a, 7, sizeof(a));
    secret_wipe(a, sizeof(a));
    CU_ASSERT_TRUE(secret_equal(a, b, sizeof(a)));
    secret_wipe(NULL, 0);
}

static void test_read(void)
{
    struct secret s;
    put(0600, SECRET_MIN, "\n");
    CU_ASSERT_EQUAL_FATAL(read_now(&s), 0);
    CU_ASSERT_EQUAL(s.len, SECRET_MIN);
    CU_ASSERT_EQUAL(s.data[SECRET_MIN - 1], 'k');
    secret_free(&s);
    CU_ASSERT(s.data == NULL && s.len == 0);
    secret_free(&s);
    secret_free(NULL);
    put(0400, SECRET_MIN, "\n\n"); /* one newline only is stripped */
    CU_ASSERT_EQUAL_FATAL(read_now(&s), 0);
    CU_ASSERT_EQUAL(s.len, SECRET_MIN + 1);
    secret_free(&s);
    put(0600, SECRET_MAX, "\n");
    CU_ASSERT_EQUAL_FATAL(read_now(&s), 0);
    CU_ASSERT_EQUAL(s.len, SECRET_MAX);
    secret_free(&s);
}

static void check_refused(int rc, const char *word)
{
    struct secret s = { NULL, 4711 };
    CU_ASSERT_EQUAL(read_now(&s), rc);
    CU_ASSERT_EQUAL(s.len, 4711);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, word));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, path));
}

static void test_sizes(void)
{
    put(0600, SECRET_MIN - 1, "");
    check_refused(-EINVAL, "holds 15 bytes");
    put(0600, SECRET_MIN - 1, "\n");
    check_refused(-EINVAL, "holds 15 bytes");
    put(0600, 0, "");
    check_refused(-EINVAL, "holds 0 bytes");
    put(0600, SECRET_MAX + 1, "");
    check_refused(-EINVAL, "at most 4096");
    put(0600, SECRET_MAX + 5, "\n");
    check_refused(-EINVAL, "at most 4096");
}

static void test_permissions(void)
{
    static const mode_t bad[] = { 0640, 0604, 0660, 0610, 0601, 0644 };
    char fix[100];
    snprintf(fix, sizeof(fix), "chmod 600 %s", path);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        put(bad[i], SECRET_MIN, "");
        check_refused(-EPERM, fix);
    }
    if (geteuid() != 0)
        return;
    put(0600, SECRET_MIN, "");
    CU_ASSERT(chown(path, 12345, 0) == 0);
    check_refused(-EPERM, "belongs to user 12345");
}

static void test_no_file(void)
{
    unlink(path);
    check_refused(-ENOENT, "No such file");
    CU_ASSERT(mkfifo(path, 0600) == 0); /* must not hang */
    check_refused(-EINVAL, "regular file");
    unlink(path);
    CU_ASSERT(mkdir(path, 0700) == 0);
    check_refused(-EINVAL, "regular file");
    rmdir(path);
}

static void test_symlink(void)
{
    char other[80];
    struct secret s;
    snprintf(other, sizeof(other), "%s.real", path);
    put(0600, SECRET_MIN, "");
    CU_ASSERT(rename(path, other) == 0 && symlink(other, path) == 0);
    CU_ASSERT_EQUAL_FATAL(read_now(&s), 0);
    secret_free(&s);
    unlink(other);
}

static void test_create(void)
{
    struct secret s;
    struct stat st;
    uint8_t raw[32];
    unlink(path);
    mode_t old = umask(0);
    CU_ASSERT_EQUAL_FATAL(secret_create(path, why, sizeof(why)), 0);
    umask(old);
    CU_ASSERT(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600 && st.st_size == 65);
    CU_ASSERT_EQUAL_FATAL(read_now(&s), 0);
    CU_ASSERT_EQUAL(s.len, 64);
    char hex[65] = "";
    memcpy(hex, s.data, MIN(s.len, (size_t)64));
    CU_ASSERT_TRUE(secret_unhex(raw, sizeof(raw), hex));
    secret_free(&s);
    CU_ASSERT_EQUAL(secret_create(path, why, sizeof(why)), -EEXIST);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "not overwritten"));
    CU_ASSERT_EQUAL(secret_create("/nonexistent/key", why, sizeof(why)), -ENOENT);
    CU_ASSERT_EQUAL(secret_create("/nonexistent/key", NULL, 0), -ENOENT);
}

/* A file that could not be written whole is not left behind. */
static void test_create_fails(void)
{
    struct rlimit old, small;
    unlink(path);
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){ 10, old.rlim_max };
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    int rc = secret_create(path, why, sizeof(why));
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    CU_ASSERT_EQUAL(rc, -ENOSPC);
    CU_ASSERT(access(path, F_OK) < 0 && errno == ENOENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, path));
}

static void test_text(void)
{
    char *text = NULL;
    put(0600, 3, "\nmore\n");
    CU_ASSERT_EQUAL_FATAL(secret_read_text(path, 9, &text, why, sizeof(why)), 0);
    CU_ASSERT_STRING_EQUAL(text, "kkk\nmore\n");
    free(text);
    text = NULL;
    CU_ASSERT_EQUAL(secret_read_text(path, 8, &text, why, sizeof(why)), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "has more than 8 bytes"));
    put(0600, 0, "");
    CU_ASSERT_EQUAL_FATAL(secret_read_text(path, 8, &text, why, sizeof(why)), 0);
    CU_ASSERT_STRING_EQUAL(text, "");
    free(text);
    text = NULL;
    AUTO_FD int fd = open(path, O_WRONLY);
    CU_ASSERT(write(fd, "a\0b", 3) == 3);
    CU_ASSERT_EQUAL(secret_read_text(path, 8, &text, why, sizeof(why)), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "is no text"));
    put(0640, 3, "");
    CU_ASSERT_EQUAL(secret_read_text(path, 8, &text, why, sizeof(why)), -EPERM);
    unlink(path);
    CU_ASSERT_EQUAL(secret_read_text(path, 8, &text, why, sizeof(why)), -ENOENT);
    CU_ASSERT_PTR_NULL(text);
}

static void test_hex(void)
{
    static const char *const bad[] = { "", "00ff", "00ff1", "00ff1x", "00ff1122", "0x00ff", " 00ff1" };
    uint8_t raw[3] = { 0x00, 0xff, 0x1a }, back[3] = { 9, 9, 9 };
    char hex[7];
    secret_hex(hex, raw, 3);
    CU_ASSERT_STRING_EQUAL(hex, "00ff1a");
    CU_ASSERT_TRUE(secret_unhex(back, 3, "00FF1a"));
    CU_ASSERT_EQUAL(memcmp(raw, back, 3), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_FALSE(secret_unhex(back, 3, bad[i]));
    CU_ASSERT_EQUAL(memcmp(raw, back, 3), 0); /* only on success */
    secret_hex(hex, NULL, 0);
    CU_ASSERT_STRING_EQUAL(hex, "");
    CU_ASSERT_TRUE(secret_unhex(back, 0, ""));
}

UNIT_MAIN("secret", UNIT(setup), UNIT(test_random), UNIT(test_equal), UNIT(test_read), UNIT(test_sizes), UNIT(test_permissions),
          UNIT(test_no_file), UNIT(test_symlink), UNIT(test_create), UNIT(test_create_fails), UNIT(test_text), UNIT(test_hex), UNIT(cleanup))
