/* Records: the line, any bytes in it; a file that is renamed, full, or cannot be written. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "ctrl/record.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "tests/lib/capture.h"
#include "tests/lib/unit.h"

static char dir[] = "/tmp/unit_record.XXXXXX", file[64], moved[64], why[400];

static struct record example(void)
{
    struct record e = { .uid = "6c8d", .route = "detector", .channel = 3, .ns = 2 * NS_PER_S, .digest = "95aa", .outcome = "confirmed",
                        .reason = "confirmed" };
    e.source = (struct record_end){ .peer = "10.0.0.7:4000", .principal = "secret", .transport = "ucx", .device = "ib0", .security = "unencrypted" };
    e.moved.bytes[0] = 1000000000;
    e.moved.wait_ns[0][WAIT_CREDITS] = 1500 * NS_PER_MS;
    e.moved.wait_ns[0][WAIT_SINK] = NS_PER_MS;
    return e;
}

static size_t slurp(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(out, 1, size - 1, f) : 0;
    out[n] = 0;
    if (f)
        fclose(f);
    return n;
}

static unsigned lines_of(const char *path)
{
    char text[65536];
    unsigned n = 0;
    slurp(path, text, sizeof(text));
    for (const char *s = text; *s; s++)
        n += *s == '\n';
    return n;
}

static void test_line(void)
{
    struct record e = example();
    char *line = record_text(&e, "gw-a");
    CU_ASSERT_PTR_NOT_NULL_FATAL(line);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "{\"time\":\"20"));
    CU_ASSERT_STRING_EQUAL(strstr(line, "\"gateway\""),
                           "\"gateway\":\"gw-a\",\"uid\":\"6c8d\",\"route\":\"detector\",\"principal\":\"secret\",\"channel\":3,"
                           "\"source\":{\"peer\":\"10.0.0.7:4000\",\"principal\":\"secret\",\"transport\":\"ucx\",\"device\":\"ib0\",\"security\":\"unencrypted\"},"
                           "\"sink\":{\"peer\":\"\",\"principal\":\"\",\"transport\":\"\",\"device\":\"\",\"security\":\"\"},"
                           "\"bytes\":1000000000,\"bytes_backward\":0,\"seconds\":2.000000,\"gbit_s\":4.000000,\"digest\":\"95aa\","
                           "\"wait_seconds\":{\"source\":0.000000,\"credits\":1.500000,\"sink\":0.001000,\"rate\":0.000000},"
                           "\"wait_seconds_backward\":{\"source\":0.000000,\"credits\":0.000000,\"sink\":0.000000,\"rate\":0.000000},"
                           "\"slow\":\"credits\",\"outcome\":\"confirmed\",\"code\":\"OK\",\"reason\":\"confirmed\"}");
    free(line);
}

static void test_any_bytes(void)
{
    struct record e = example();
    e.reason = "say \"no\" \\ \n\t\x01 \xff\xfe \xc3\xa4 end";
    e.rc = -SST_EAUTH;
    e.ns = 0;
    char *line = record_text(&e, "g\"w");
    CU_ASSERT_PTR_NULL(strchr(line, '\n'));
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"gateway\":\"g\\\"w\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"gbit_s\":0.000000"));
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"code\":\"EAUTH\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "say \\\"no\\\" \\\\ \\n\\t\\u0001"));
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "\xc3\xa4 end\"}"));
    CU_ASSERT_PTR_NULL(strchr(line, '\xff'));
    free(line);
}

static void test_file(void)
{
    struct records r;
    struct record e = example();
    struct stat st;
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/records", dir);
    snprintf(moved, sizeof(moved), "%s/records.1", dir);
    CU_ASSERT_EQUAL_FATAL(records_open(&r, file, "gw", why, sizeof(why)), 0);
    CU_ASSERT(stat(file, &st) == 0 && (st.st_mode & 0137) == 0);
    records_write(&r, &e);
    records_write(&r, &e);
    CU_ASSERT(lines_of(file) == 2 && r.written == 2 && r.lost == 0);
    CU_ASSERT_EQUAL(rename(file, moved), 0);
    records_write(&r, &e);
    CU_ASSERT(lines_of(file) == 1 && lines_of(moved) == 2);
    unlink(file);
    records_write(&r, &e);
    CU_ASSERT_EQUAL(lines_of(file), 1);
    records_close(&r);
    records_close(&r);
    CU_ASSERT_EQUAL_FATAL(records_open(&r, file, "gw", why, sizeof(why)), 0);
    records_write(&r, &e);
    CU_ASSERT_EQUAL(lines_of(file), 2); /* appended */
    records_close(&r);
}

/* The folder is gone: what was opened is still written. */
static void test_folder_gone(void)
{
    struct records r;
    struct record e = example();
    char sub[64], path[80];
    snprintf(sub, sizeof(sub), "%s/sub", dir);
    snprintf(path, sizeof(path), "%s/records", sub);
    mkdir(sub, 0700);
    CU_ASSERT_EQUAL_FATAL(records_open(&r, path, "gw", why, sizeof(why)), 0);
    unlink(path);
    rmdir(sub);
    records_write(&r, &e);
    CU_ASSERT(r.written == 1 && r.lost == 0);
    mkdir(sub, 0700);
    records_write(&r, &e);
    CU_ASSERT_EQUAL(lines_of(path), 1);
    records_close(&r);
    unlink(path);
    rmdir(sub);
}

/* A limit of the size of files stands for a full disk: a write is cut short, then none is possible; said once, counted, and mended. */
static void test_disk_full(void)
{
    struct records r;
    struct record e = example();
    struct rlimit old, small;
    char said[2000], text[65536];
    unlink(file);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){ .rlim_cur = 1000, .rlim_max = old.rlim_max };
    CU_ASSERT_EQUAL_FATAL(records_open(&r, file, "gw", why, sizeof(why)), 0);
    struct capture c = capture_begin(STDERR_FILENO);
    records_write(&r, &e);
    setrlimit(RLIMIT_FSIZE, &small);
    for (int i = 0; i < 5; i++)
        records_write(&r, &e);
    setrlimit(RLIMIT_FSIZE, &old);
    records_write(&r, &e);
    capture_end(&c, said, sizeof(said));
    CU_ASSERT(r.written == 2 && r.lost == 5);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, ": they are lost until"));
    const char *first = strstr(said, "they are lost");
    CU_ASSERT(first && !strstr(first + 1, "they are lost"));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "are written again, 5 were lost"));
    /* the last line begins on its own */
    size_t n = slurp(file, text, sizeof(text));
    CU_ASSERT_FATAL(n > 2 && text[n - 1] == '\n');
    text[n - 1] = 0;
    const char *last = strrchr(text, '\n');
    CU_ASSERT(last && str_starts(last + 1, "{\"time\"") && text[n - 2] == '}');
    records_close(&r);
}

static void test_cannot_open(void)
{
    struct records r;
    struct record e = example();
    char fifo[64];
    CU_ASSERT(records_open(&r, "/nowhere/at/all", "gw", why, sizeof(why)) < 0 && strstr(why, "records = /nowhere/at/all: cannot be opened"));
    snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
    mkfifo(fifo, 0600);
    CU_ASSERT(records_open(&r, fifo, "gw", why, sizeof(why)) < 0); /* and it has not waited for a reader */
    unlink(fifo);
    CU_ASSERT_EQUAL(records_open(&r, "", "gw", why, sizeof(why)), 0);
    records_write(&r, &e);
    CU_ASSERT_EQUAL(r.written, 0);
    records_close(&r);
}

static void test_log(void)
{
    struct records r;
    struct record e = example();
    char said[4000];
    CU_ASSERT_EQUAL(records_open(&r, "log", "gw", why, sizeof(why)), 0);
    struct capture c = capture_begin(STDERR_FILENO);
    records_write(&r, &e);
    capture_end(&c, said, sizeof(said));
    CU_ASSERT(strstr(said, "record {\"time\":") && strstr(said, "\"reason\":\"confirmed\"}\n"));
    CU_ASSERT_EQUAL(r.written, 1);
    records_close(&r);
    unlink(file);
    unlink(moved);
    CU_ASSERT_EQUAL(rmdir(dir), 0);
}

UNIT_MAIN("record", UNIT(test_line), UNIT(test_any_bytes), UNIT(test_file), UNIT(test_folder_gone), UNIT(test_disk_full), UNIT(test_cannot_open),
          UNIT(test_log))
