/* util.h, list.h and err.h */
#include <sys/wait.h>

#include "config.h"

#include "src/core/err.h"
#include "src/core/list.h"
#include "tests/lib/capture.h"
#include "tests/lib/unit.h"

/* ------------------------------------------------------------ util */

static void test_memory(void)
{
    AUTO_FREE char *zeros = mem_zalloc(3, 7);
    AUTO_FREE char *copy = mem_strdup("copy");
    AUTO_FREE char *text = mem_printf("%s-%d", "a", 7);
    for (size_t i = 0; i < 21; i++)
        CU_ASSERT(zeros[i] == 0);
    CU_ASSERT_STRING_EQUAL(copy, "copy");
    CU_ASSERT_STRING_EQUAL(text, "a-7");
}

#ifndef WITH_SANITIZER /* there the allocator itself ends the process */
static void test_out_of_memory(void)
{
    char said[128];
    int status = -1;
    volatile size_t huge = SIZE_MAX / 4;
    struct capture c = capture_begin(STDERR_FILENO);
    pid_t pid = fork();
    if (pid == 0) {
        free(mem_zalloc(huge, 8));
        _exit(0);
    }
    waitpid(pid, &status, 0);
    capture_end(&c, said, sizeof(said));
    CU_ASSERT(WIFEXITED(status));
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 75);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "out of memory\n"));
}
#endif

static void test_str(void)
{
    char to[4] = "???";
    CU_ASSERT_TRUE(str_copy(to, sizeof(to), "abc"));
    CU_ASSERT_STRING_EQUAL(to, "abc");
    CU_ASSERT_FALSE(str_copy(to, sizeof(to), "abcd"));
    CU_ASSERT_STRING_EQUAL(to, "abc");
    CU_ASSERT_TRUE(str_copy(to, sizeof(to), ""));
    CU_ASSERT_STRING_EQUAL(to, "");
    CU_ASSERT_FALSE(str_copy(to, 0, "x"));
    CU_ASSERT_TRUE(str_eq("a", "a") && !str_eq("a", "ab"));
    CU_ASSERT_TRUE(str_starts("gateway://x", "gateway://") && !str_starts("gate", "gateway"));
}

static void test_strv(void)
{
    char a[] = "a", b[] = "b", *v[] = { a, b, NULL };
    char **copy = strv_copy(v), **none = strv_copy(NULL);
    CU_ASSERT(strv_len(copy) == 2 && copy[0] != a && str_eq(copy[0], "a") && str_eq(copy[1], "b"));
    CU_ASSERT_TRUE(strv_has(copy, "b") && !strv_has(copy, "c"));
    CU_ASSERT(none && strv_len(none) == 0 && strv_len(NULL) == 0 && !strv_has(NULL, "a"));
    strv_free(copy);
    strv_free(none);
    strv_free(NULL);
}

static bool is_open(int fd)
{
    int copy = dup(fd);
    if (copy >= 0)
        close(copy);
    return copy >= 0;
}

static void test_descriptors(void)
{
    int inner, field = dup(0);
    {
        AUTO_FD int fd = dup(0);
        AUTO_FD int none = -1;
        inner = fd;
        CU_ASSERT(is_open(inner));
        CU_ASSERT(none == -1);
    }
    CU_ASSERT_FALSE(is_open(inner));
    int taken = fd_take(&field);
    CU_ASSERT(field == -1 && is_open(taken));
    fd_close(&taken);
    CU_ASSERT(taken == -1);
    fd_close(&taken);
}

static void test_clock(void)
{
    uint64_t before = now_ns(), after = now_ns();
    CU_ASSERT(before > 0 && after >= before);
}

/* ------------------------------------------------------------ list */

struct element { int value; struct list node; };

static int values(struct list *head)
{
    int digits = 0;
    list_for_each(n, head)
        digits = 10 * digits + list_entry(n, struct element, node)->value;
    return digits;
}

static void test_list(void)
{
    struct list head, other;
    struct element e[5];
    list_init(&head);
    list_init(&other);
    CU_ASSERT_TRUE(list_empty(&head));
    CU_ASSERT_PTR_NULL(list_pop(&head));
    for (int i = 0; i < 5; i++) {
        e[i].value = i + 1;
        list_add_tail(i < 3 ? &head : &other, &e[i].node);
    }
    CU_ASSERT_EQUAL(values(&head), 123);
    list_splice_tail(&head, &other);
    CU_ASSERT_EQUAL(values(&head), 12345);
    CU_ASSERT_TRUE(list_empty(&other));
    list_splice_tail(&head, &other);
    list_del(&e[2].node);
    list_del(&e[2].node);
    CU_ASSERT_EQUAL(values(&head), 1245);
    CU_ASSERT_PTR_EQUAL(list_pop(&head), &e[0].node);
    list_for_each_safe(n, &head)
        if (list_entry(n, struct element, node)->value == 4)
            list_del(n);
    CU_ASSERT_EQUAL(values(&head), 25);
}

/* ------------------------------------------------------------ err */

static const struct { int rc; const char *name; } all[] = {
#define X(name, n, text, exit, retry) { -SST_##name, #name },
    SST_ERRORS(X)
#undef X
};

static void test_err_rows(void)
{
    static const int exits[] = { 64, 65, 67, 69, 74, 75, 76, 78 };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        bool known = false;
        CU_ASSERT_STRING_EQUAL(err_name(all[i].rc), all[i].name);
        CU_ASSERT(strlen(err_text(all[i].rc)) > 3);
        for (size_t k = 0; k < ARRAY_LEN(exits); k++)
            known |= err_exit(all[i].rc) == exits[k];
        CU_ASSERT_TRUE(known);
        CU_ASSERT_EQUAL(err_to_wire(all[i].rc), i + 1); /* never renumber */
        CU_ASSERT_EQUAL(err_from_wire(err_to_wire(all[i].rc)), all[i].rc);
    }
}

static void test_err_errno(void)
{
    static const int local[] = { ENOSPC, EIO, EPIPE, EACCES, ENOENT, EROFS }, net[] = { ECONNREFUSED, ENETUNREACH, EHOSTUNREACH,
        ETIMEDOUT, ECONNRESET }, later[] = { ENOMEM, EMFILE, ENFILE, EAGAIN };
    for (size_t i = 0; i < ARRAY_LEN(local); i++) {
        CU_ASSERT_EQUAL(err_exit(-local[i]), 74);
        CU_ASSERT_FALSE(err_retryable(-local[i]));
        CU_ASSERT_EQUAL(err_from_wire(err_to_wire(-local[i])), -SST_EIO);
    }
    for (size_t i = 0; i < ARRAY_LEN(net); i++) {
        CU_ASSERT_EQUAL(err_exit(-net[i]), 69);
        CU_ASSERT_TRUE(err_retryable(-net[i]));
        CU_ASSERT_EQUAL(err_exit(err_from_wire(err_to_wire(-net[i]))), 69);
    }
    for (size_t i = 0; i < ARRAY_LEN(later); i++) {
        CU_ASSERT_EQUAL(err_exit(-later[i]), 75);
        CU_ASSERT_TRUE(err_retryable(-later[i]));
        CU_ASSERT_EQUAL(err_exit(err_from_wire(err_to_wire(-later[i]))), 75);
    }
    CU_ASSERT_STRING_EQUAL(err_name(-ECONNRESET), "ECONNRESET");
    CU_ASSERT_STRING_EQUAL(err_text(-ENOENT), "No such file or directory");
}

static void test_err_samples(void)
{
    CU_ASSERT_EQUAL(err_exit(-SST_EDIGEST), 65);
    CU_ASSERT_EQUAL(err_exit(-SST_EAUTH), 67);
    CU_ASSERT_EQUAL(err_exit(-SST_EBUSY), 75);
    CU_ASSERT_TRUE(err_retryable(-SST_EPEERDEAD));
    CU_ASSERT_FALSE(err_retryable(-SST_EPROTO));
    CU_ASSERT_EQUAL(err_exit(SST_EDIGEST), 65); /* the positive twin means the same */
}

static void test_err_edges(void)
{
    static const int odd[] = { -9999, -10000, -10063, -10064, -20000, INT32_MIN, INT32_MAX, -INT32_MAX };
    CU_ASSERT_STRING_EQUAL(err_text(0), "success");
    CU_ASSERT_STRING_EQUAL(err_name(0), "OK");
    CU_ASSERT_EQUAL(err_exit(0), 0);
    CU_ASSERT_FALSE(err_retryable(0));
    CU_ASSERT_EQUAL(err_to_wire(0), 0);
    CU_ASSERT_EQUAL(err_from_wire(0), -SST_EABORTED);
    CU_ASSERT_EQUAL(err_from_wire(ARRAY_LEN(all) + 1), -SST_EABORTED);
    CU_ASSERT_EQUAL(err_from_wire(UINT32_MAX), -SST_EABORTED);
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        CU_ASSERT_STRING_EQUAL(err_text(odd[i]), "unknown error");
        CU_ASSERT_STRING_EQUAL(err_name(odd[i]), "EUNKNOWN");
        CU_ASSERT_EQUAL(err_exit(odd[i]), 74);
    }
}

UNIT_MAIN("util", UNIT(test_memory),
#ifndef WITH_SANITIZER
          UNIT(test_out_of_memory),
#endif
          UNIT(test_str), UNIT(test_strv), UNIT(test_descriptors), UNIT(test_clock), UNIT(test_list), UNIT(test_err_rows),
          UNIT(test_err_errno), UNIT(test_err_samples), UNIT(test_err_edges))
