#include <errno.h>
#include <stdio.h>

#include "src/core/units.h"
#include "src/core/value.h"
#include "tests/lib/unit.h"

struct box {
    bool flag;
    int64_t count, any;
    uint64_t window, size, rate, wait;
    int mode;
    char *name;
    char **list;
};

enum { FLAG, COUNT, ANY, WINDOW, SIZE, RATE, WAIT, MODE, NAME, LIST };
static const struct value_row rows[] = {
    [FLAG] = { "flag", VALUE_FLAG, offsetof(struct box, flag), "no", 0, 0, NULL, "a flag" },
    [COUNT] = { "count", VALUE_INT, offsetof(struct box, count), "4", 0, 256, NULL, "a count" },
    [ANY] = { "any", VALUE_INT, offsetof(struct box, any), "-7", 0, 0, NULL, "a number" },
    [WINDOW] = { "window", VALUE_SIZE, offsetof(struct box, window), "1M", 64 << 10, 4ULL << 30, NULL, "a size" },
    [SIZE] = { "size", VALUE_SIZE, offsetof(struct box, size), "0", 0, 0, NULL, "any size" },
    [RATE] = { "rate", VALUE_RATE, offsetof(struct box, rate), "10Gbit", 1000, 1000000000000, NULL, "a rate" },
    [WAIT] = { "peer_wait", VALUE_TIME, offsetof(struct box, wait), "10s", NS_PER_S, TIME_FOREVER, NULL, "a time" },
    [MODE] = { "mode", VALUE_ENUM, offsetof(struct box, mode), "ucx", 0, 0, "auto|ucx|link", "a choice" },
    [NAME] = { "name", VALUE_STR, offsetof(struct box, name), "", 0, 0, NULL, "a text" },
    [LIST] = { "list", VALUE_LIST, offsetof(struct box, list), "a, b", 0, 0, NULL, "some texts" },
};

static struct box box;
static char why[400];

static int set(int row, const char *text)
{
    *why = 0;
    return value_set(&rows[row], &box, text, why, sizeof(why));
}

static void open_box(void)
{
    memset(&box, 0, sizeof(box));
    value_defaults(rows, ARRAY_LEN(rows), &box);
}

static void close_box(void)
{
    value_free(rows, ARRAY_LEN(rows), &box);
    CU_ASSERT(box.name == NULL && box.list == NULL);
    value_free(rows, ARRAY_LEN(rows), &box);
}

static size_t list_len(void)
{
    size_t n = 0;
    while (box.list[n])
        n++;
    return n;
}

static void test_defaults(void)
{
    open_box();
    CU_ASSERT(!box.flag && box.count == 4 && box.any == -7 && box.window == 1 << 20 && box.size == 0);
    CU_ASSERT(box.rate == 10000000000 && box.wait == 10 * NS_PER_S && box.mode == 1);
    CU_ASSERT_STRING_EQUAL(box.name, "");
    CU_ASSERT(list_len() == 2 && str_eq(box.list[0], "a") && str_eq(box.list[1], "b"));
    close_box();
}

static void test_good(void)
{
    static const char *const yes[] = { "yes", "true", "on", "1" }, *const no[] = { "no", "false", "off", "0" };
    open_box();
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT(set(FLAG, yes[i]) == 0 && box.flag);
        CU_ASSERT(set(FLAG, no[i]) == 0 && !box.flag);
    }
    CU_ASSERT(set(COUNT, "256") == 0 && box.count == 256);
    CU_ASSERT(set(ANY, "-9223372036854775808") == 0 && box.any == INT64_MIN);
    CU_ASSERT(set(WINDOW, "64K") == 0 && box.window == 65536);
    CU_ASSERT(set(WINDOW, "4G") == 0 && box.window == 4ULL << 30);
    CU_ASSERT(set(RATE, "1.5Gbit") == 0 && box.rate == 1500000000);
    CU_ASSERT(set(WAIT, "forever") == 0 && box.wait == TIME_FOREVER);
    CU_ASSERT(set(MODE, "auto") == 0 && box.mode == 0);
    CU_ASSERT(set(MODE, "link") == 0 && box.mode == 2);
    CU_ASSERT(set(NAME, "plain 'text'") == 0 && str_eq(box.name, "plain 'text'"));
    CU_ASSERT(set(NAME, "\"a\\\"b\\\\c\\n\\x41\\$\"") == 0 && str_eq(box.name, "a\"b\\c\nA$"));
    CU_ASSERT_STRING_EQUAL(why, "");
    close_box();
}

static void check_bad(int row, const char *text, const char *expect)
{
    AUTO_FREE char *before = value_print(&rows[row], &box);
    CU_ASSERT_EQUAL(set(row, text), -EINVAL);
    CU_ASSERT_STRING_EQUAL(why, expect);
    if (!str_eq(why, expect))
        printf("\n  %s", why);
    AUTO_FREE char *after = value_print(&rows[row], &box);
    CU_ASSERT_STRING_EQUAL(before, after);
}

static void test_bad(void)
{
    open_box();
    check_bad(FLAG, "maybe", "flag = maybe: must be yes or no");
    check_bad(FLAG, "", "flag = : must be yes or no");
    check_bad(COUNT, "257", "count = 257: must be 0 to 256");
    check_bad(COUNT, "-1", "count = -1: must be 0 to 256");
    check_bad(COUNT, "4x", "count = 4x: must be 0 to 256");
    check_bad(COUNT, " 4", "count =  4: must be 0 to 256");
    check_bad(COUNT, "99999999999999999999", "count = 99999999999999999999: must be 0 to 256");
    check_bad(ANY, "many", "any = many: must be a whole number");
    check_bad(ANY, "9223372036854775808", "any = 9223372036854775808: is too large");
    check_bad(WINDOW, "1K", "window = 1K: must be 64K to 4G");
    check_bad(WINDOW, "5G", "window = 5G: must be 64K to 4G");
    check_bad(WINDOW, "9999999P", "window = 9999999P: must be 64K to 4G");
    check_bad(WINDOW, "big", "window = big: must be a size like 4096, 64K, 16M or 1G, 64K to 4G");
    check_bad(SIZE, "16384P", "size = 16384P: is too large");
    check_bad(SIZE, "-1", "size = -1: must be a size like 4096, 64K, 16M or 1G");
    check_bad(RATE, "10G", "rate = 10G: must be a rate like 800Mbit or 10Gbit, 1kbit to 1Tbit");
    check_bad(RATE, "10", "rate = 10: must be 1kbit to 1Tbit");
    check_bad(WAIT, "10ms", "peer_wait = 10ms: must be 1s to forever");
    check_bad(WAIT, "soon", "peer_wait = soon: must be a time like 500ms, 10s, 5m or forever, 1s to forever");
    check_bad(MODE, "tcp", "mode = tcp: must be one of auto|ucx|link");
    check_bad(MODE, "", "mode = : must be one of auto|ucx|link");
    check_bad(MODE, "uc", "mode = uc: must be one of auto|ucx|link");
    check_bad(MODE, "auto|ucx", "mode = auto|ucx: must be one of auto|ucx|link");
    check_bad(NAME, "\"open", "name = \"open: must be plain text, or text in double quotes with \\\" for a quote");
    check_bad(NAME, "\"a\" b", "name = \"a\" b: must be plain text, or text in double quotes with \\\" for a quote");
    check_bad(NAME, "\"a\\x00b\"", "name = \"a\\x00b\": must be plain text, or text in double quotes with \\\" for a quote");
    check_bad(NAME, "\"a\\", "name = \"a\\: must be plain text, or text in double quotes with \\\" for a quote");
    close_box();
}

static void test_reason_alone(void)
{
    open_box();
    CU_ASSERT_EQUAL(value_parse(&rows[WINDOW], &box, "1K", why, sizeof(why)), -EINVAL);
    CU_ASSERT_STRING_EQUAL(why, "must be 64K to 4G");
    CU_ASSERT_EQUAL(value_parse(&rows[WINDOW], &box, "1K", NULL, 0), -EINVAL);
    CU_ASSERT_EQUAL(value_set(&rows[WINDOW], &box, "1K", NULL, 0), -EINVAL);
    close_box();
}

/* ------------------------------------------------------------ lists */

/* The elements, each followed by ';'. */
static const char *joined(void)
{
    static char out[200];
    size_t len = 0;
    out[0] = 0;
    for (size_t i = 0; box.list[i]; i++)
        len += (size_t)snprintf(out + len, sizeof(out) - len, "%s;", box.list[i]);
    return out;
}

static void check_list(const char *text, const char *expect)
{
    CU_ASSERT_EQUAL(set(LIST, text), 0);
    CU_ASSERT_STRING_EQUAL(joined(), expect);
}

static void test_lists(void)
{
    static const char *const bad[] = { ",", "a,", ",a", "a,,b", "{a", "a}", "{a,}", "{,}", "{a} b", "\"a", "\"a\" b", "a\"b\"",
        "{{a}}", "{a}," };
    open_box();
    check_list("", "");
    check_list("  ", "");
    check_list("{}", "");
    check_list(" { } ", "");
    check_list("a", "a;");
    check_list("a,b", "a;b;");
    check_list(" a b , c ", "a b;c;");
    check_list("{a,b}", "a;b;");
    check_list("{ \"a\", \"b\" }", "a;b;");
    check_list("\"a,b\", \"\"", "a,b;;");
    check_list("{\"}\" , c}", "};c;");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CU_ASSERT_EQUAL(set(LIST, bad[i]), -EINVAL);
        CU_ASSERT_STRING_EQUAL(joined(), "};c;");
        CU_ASSERT_PTR_NOT_NULL(strstr(why, "must be a list like a, b or {\"a\", \"b\"}"));
    }
    value_list_add(&rows[LIST], &box, "more");
    CU_ASSERT_STRING_EQUAL(joined(), "};c;more;");
    value_list_clear(&rows[LIST], &box);
    CU_ASSERT_STRING_EQUAL(joined(), "");
    close_box();
}

/* ------------------------------------------------------------ text */

static void check_round_trip(int row, const char *text)
{
    CU_ASSERT_EQUAL(set(row, text), 0);
    AUTO_FREE char *once = value_print(&rows[row], &box);
    CU_ASSERT_EQUAL(set(row, once), 0);
    AUTO_FREE char *twice = value_print(&rows[row], &box);
    CU_ASSERT_STRING_EQUAL(once, twice);
}

static void test_round_trip(void)
{
    open_box();
    check_round_trip(FLAG, "on");
    check_round_trip(COUNT, "017");
    check_round_trip(ANY, "-5");
    check_round_trip(WINDOW, "65537");
    check_round_trip(RATE, "1.5Gbit");
    check_round_trip(WAIT, "90s");
    check_round_trip(WAIT, "forever");
    check_round_trip(MODE, "link");
    check_round_trip(LIST, "{\"a b\", \"c,d\", \"\", \"${HOME}\", \"\\\\\\\"\"}");
    for (int c = 1; c < 256; c++) {
        char text[4] = { 'x', (char)c, 'y', 0 };
        value_set_string(&rows[NAME], &box, text);
        AUTO_FREE char *printed = value_print(&rows[NAME], &box);
        CU_ASSERT_EQUAL(set(NAME, printed), 0);
        CU_ASSERT_STRING_EQUAL(box.name, text);
    }
    close_box();
}

static void test_print(void)
{
    open_box();
    value_set_string(&rows[NAME], &box, "\"a\" $b\n\x01");
    AUTO_FREE char *name = value_print(&rows[NAME], &box);
    AUTO_FREE char *list = value_print(&rows[LIST], &box);
    AUTO_FREE char *mode = value_print(&rows[MODE], &box);
    AUTO_FREE char *rate = value_print(&rows[RATE], &box);
    CU_ASSERT_STRING_EQUAL(name, "\"\\\"a\\\" \\$b\\n\\x01\"");
    CU_ASSERT_STRING_EQUAL(list, "{\"a\", \"b\"}");
    CU_ASSERT_STRING_EQUAL(mode, "ucx");
    CU_ASSERT_STRING_EQUAL(rate, "10Gbit");
    close_box();
}

static void test_describe(void)
{
    static const struct { int row; const char *text; } expect[] = {
        { FLAG, "yes|no, default no" }, { COUNT, "0 to 256, default 4" }, { WINDOW, "64K to 4G, default 1M" },
        { WAIT, "1s to forever, default 10s" }, { MODE, "auto|ucx|link, default ucx" }, { NAME, "text" },
        { LIST, "list, default a, b" }, { SIZE, "size, default 0" }, { RATE, "1kbit to 1Tbit, default 10Gbit" },
    };
    for (size_t i = 0; i < ARRAY_LEN(expect); i++) {
        AUTO_FREE char *text = value_describe(&rows[expect[i].row]);
        CU_ASSERT_STRING_EQUAL(text, expect[i].text);
    }
}

static void test_find(void)
{
    CU_ASSERT_PTR_EQUAL(value_find(rows, ARRAY_LEN(rows), "peer_wait"), &rows[WAIT]);
    CU_ASSERT_PTR_EQUAL(value_find(rows, ARRAY_LEN(rows), "peer-wait"), &rows[WAIT]);
    CU_ASSERT_PTR_NULL(value_find(rows, ARRAY_LEN(rows), "peer"));
    CU_ASSERT_PTR_NULL(value_find(rows, ARRAY_LEN(rows), "peer_wait_"));
    CU_ASSERT_PTR_NULL(value_find(rows, ARRAY_LEN(rows), ""));
}

UNIT_MAIN("value", UNIT(test_defaults), UNIT(test_good), UNIT(test_bad), UNIT(test_reason_alone), UNIT(test_lists),
          UNIT(test_round_trip), UNIT(test_print), UNIT(test_describe), UNIT(test_find))
