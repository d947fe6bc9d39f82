#include <sys/mman.h>

#include "src/core/conf.h"
#include "src/core/err.h"
#include "tests/fuzz/fuzz.h"

static char why[600];

static int read_bytes(struct conf *c, const void *bytes, size_t size)
{
    char path[40];
    AUTO_FD int fd = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    *why = 0;
    int rc = conf_read(c, path, why, sizeof(why));
    FUZZ_CHECK(rc == 0 || (rc == -SST_ECONF && str_starts(why, path)));
    return rc;
}

static char *printed(const struct conf *c, bool commented)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    conf_print(c, out, commented);
    fclose(out);
    return text;
}

/* What is printed reads back to the same. */
static void try_print(const struct conf *c)
{
    struct conf *again = conf_new();
    AUTO_FREE char *text = printed(c, true);
    AUTO_FREE char *plain = printed(c, false);
    FUZZ_CHECK(read_bytes(again, text, strlen(text)) == 0);
    AUTO_FREE char *back = printed(again, false);
    FUZZ_CHECK(str_eq(back, plain));
    conf_free(again);
}

static void try_export(const struct conf *c)
{
    struct conf *again = conf_new();
    char **all = conf_export(c);
    for (char **a = all; *a; a++) {
        FUZZ_CHECK(conf_set(again, *a, why, sizeof(why)) == 0);
        free(*a);
    }
    free(all);
    AUTO_FREE char *here = printed(c, false);
    AUTO_FREE char *there = printed(again, false);
    FUZZ_CHECK(str_starts(here, there)); /* all but the routes */
    conf_free(again);
}

static void try_assignment(const uint8_t *data, size_t size)
{
    struct conf *c = conf_new();
    AUTO_FREE char *text = fuzz_text(data, size);
    if (conf_set(c, text, why, sizeof(why)) == 0)
        try_print(c);
    conf_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf *c = conf_new();
    if (read_bytes(c, data, size) == 0) {
        int rc = conf_check(c, why, sizeof(why));
        FUZZ_CHECK(rc == 0 || (rc == -SST_ECONF && *why));
        try_print(c);
        if (conf_check_ucx(c, why, sizeof(why)) == 0)
            try_export(c);
    }
    conf_free(c);
    try_assignment(data, size);
    return 0;
}
