#include <errno.h>
#include <math.h>

#include "src/core/units.h"
#include "tests/lib/unit.h"

typedef int parse_fn(const char *, uint64_t *);
typedef const char *print_fn(char[UNITS_TEXT], uint64_t);

struct row { const char *text; int rc; uint64_t value; };

static void check_rows(parse_fn *parse, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v = 4711;
        int rc = parse(rows[i].text, &v);
        CU_ASSERT_EQUAL(rc, rows[i].rc);
        CU_ASSERT_EQUAL(v, rows[i].rc == 0 ? rows[i].value : 4711); /* set only on success */
        if (rc != rows[i].rc || (rc == 0 && v != rows[i].value))
            printf("\n  '%s': rc %d, value %ju", rows[i].text, rc, (uintmax_t)v);
    }
}

static void test_parse_size(void)
{
    static const struct row rows[] = {
        { "0", 0, 0 }, { "4096", 0, 4096 }, { "64K", 0, 65536 }, { "64k", 0, 65536 }, { "64KiB", 0, 65536 }, { "64kb", 0, 65536 },
        { "16M", 0, 16 << 20 }, { "1G", 0, 1 << 30 }, { "2T", 0, 2ULL << 40 }, { "3P", 0, 3ULL << 50 }, { "007", 0, 7 },
        { "1mIb", 0, 1 << 20 }, { "18446744073709551615", 0, UINT64_MAX }, { "16383P", 0, 16383ULL << 50 },
        { "18446744073709551616", -ERANGE, 0 }, { "16384P", -ERANGE, 0 }, { "99999999999999999999999", -ERANGE, 0 },
        { "", -EINVAL, 0 }, { "K", -EINVAL, 0 }, { "1.5K", -EINVAL, 0 }, { "-1", -EINVAL, 0 }, { "+1", -EINVAL, 0 },
        { " 1", -EINVAL, 0 }, { "1 K", -EINVAL, 0 }, { "1K ", -EINVAL, 0 }, { "1X", -EINVAL, 0 }, { "1KK", -EINVAL, 0 },
        { "1KiBs", -EINVAL, 0 }, { "1Ki", -EINVAL, 0 }, { "1B", -EINVAL, 0 },
        { "0x10", -EINVAL, 0 }, { "99999999999999999999999x", -EINVAL, 0 },
    };
    check_rows(units_parse_size, rows, ARRAY_LEN(rows));
}

static void test_parse_rate(void)
{
    static const struct row rows[] = {
        { "0", 0, 0 }, { "9600", 0, 9600 }, { "9600bit", 0, 9600 }, { "64kbit", 0, 64000 }, { "64Kbit", 0, 64000 },
        { "800Mbit", 0, 800000000 }, { "10Gbit", 0, 10000000000 }, { "10Gbit/s", 0, 10000000000 }, { "1.5Gbit", 0, 1500000000 },
        { "1Tbit", 0, 1000000000000 }, { "0.000000001Gbit", 0, 1 }, { "1.000000001Tbit", 0, 1000000001000 },
        { "2.50kbit", 0, 2500 }, { "3.0", 0, 3 }, { "5/s", -EINVAL, 0 }, { "18446744073709551615", 0, UINT64_MAX },
        { "18446744.073709551Tbit", 0, 18446744073709551000ULL },
        { "18446744.073709552Tbit", -ERANGE, 0 }, { "18446745Tbit", -ERANGE, 0 }, { "18446744073709551616", -ERANGE, 0 },
        { "", -EINVAL, 0 }, { ".5Gbit", -EINVAL, 0 }, { "1.Gbit", -EINVAL, 0 }, { "1.5", -EINVAL, 0 }, { "1.5bit", -EINVAL, 0 },
        { "1.0001kbit", -EINVAL, 0 }, { "1.0000000001Gbit", -EINVAL, 0 }, { "1G", -EINVAL, 0 }, { "1Gb", -EINVAL, 0 },
        { "1gbit", -EINVAL, 0 }, { "1mbit", -EINVAL, 0 }, { "1Gbit/", -EINVAL, 0 }, { "1Gbit/s/s", -EINVAL, 0 },
        { "1Gbits", -EINVAL, 0 }, { "1 Gbit", -EINVAL, 0 }, { "-1", -EINVAL, 0 }, { "1e9", -EINVAL, 0 }, { "1/ss", -EINVAL, 0 },
        { "1Gigabitpersecond", -EINVAL, 0 },
    };
    check_rows(units_parse_rate, rows, ARRAY_LEN(rows));
}

static void test_parse_time(void)
{
    static const struct row rows[] = {
        { "0", 0, 0 }, { "10", 0, 10 * NS_PER_S }, { "10s", 0, 10 * NS_PER_S }, { "500ms", 0, 500 * NS_PER_MS },
        { "20us", 0, 20000 }, { "7ns", 0, 7 }, { "5m", 0, 300 * NS_PER_S }, { "8h", 0, 28800 * NS_PER_S },
        { "2d", 0, 172800 * NS_PER_S },
        { "forever", 0, TIME_FOREVER }, { "18446744073709551615ns", 0, UINT64_MAX }, { "18446744073s", 0, 18446744073 * NS_PER_S },
        { "18446744074s", -ERANGE, 0 }, { "213504d", -ERANGE, 0 }, { "18446744073709551616ns", -ERANGE, 0 },
        { "", -EINVAL, 0 }, { "s", -EINVAL, 0 }, { "1.5s", -EINVAL, 0 }, { "1S", -EINVAL, 0 }, { "1min", -EINVAL, 0 },
        { "1 s", -EINVAL, 0 }, { "-1s", -EINVAL, 0 }, { "Forever", -EINVAL, 0 }, { "forever ", -EINVAL, 0 },
        { "1w", -EINVAL, 0 }, { "10sec", -EINVAL, 0 },
    };
    check_rows(units_parse_time, rows, ARRAY_LEN(rows));
}

static void test_print(void)
{
    char out[UNITS_TEXT];
    CU_ASSERT_STRING_EQUAL(units_size(out, 0), "0");
    CU_ASSERT_STRING_EQUAL(units_size(out, 65536), "64K");
    CU_ASSERT_STRING_EQUAL(units_size(out, 65537), "65537");
    CU_ASSERT_STRING_EQUAL(units_size(out, 1536ULL << 20), "1536M");
    CU_ASSERT_STRING_EQUAL(units_size(out, 1ULL << 50), "1P");
    CU_ASSERT_STRING_EQUAL(units_rate(out, 10000000000), "10Gbit");
    CU_ASSERT_STRING_EQUAL(units_rate(out, 1500000000), "1500Mbit");
    CU_ASSERT_STRING_EQUAL(units_rate(out, 64000), "64kbit");
    CU_ASSERT_STRING_EQUAL(units_rate(out, 9601), "9601bit");
    CU_ASSERT_STRING_EQUAL(units_time(out, 1500 * NS_PER_MS), "1500ms");
    CU_ASSERT_STRING_EQUAL(units_time(out, 90 * NS_PER_S), "90s");
    CU_ASSERT_STRING_EQUAL(units_time(out, 600 * NS_PER_S), "10m");
    CU_ASSERT_STRING_EQUAL(units_time(out, 48 * 3600 * NS_PER_S), "2d");
    CU_ASSERT_STRING_EQUAL(units_time(out, 1001), "1001ns");
    CU_ASSERT_STRING_EQUAL(units_time(out, TIME_FOREVER), "forever");
}

static void check_round_trip(parse_fn *parse, print_fn *print, uint64_t v)
{
    char out[UNITS_TEXT];
    uint64_t back = ~v;
    CU_ASSERT_EQUAL(parse(print(out, v), &back), 0);
    CU_ASSERT_EQUAL(back, v);
}

static void test_round_trip(void)
{
    uint64_t x = 88172645463325252ULL;
    for (int i = 0; i < 20000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        uint64_t v = i < 64 ? 1ULL << i : i < 128 ? ~0ULL >> (i - 64) : x >> (x % 61);
        v = i % 3 == 0 ? v : i % 3 == 1 ? v / 1000 * 1000 : v & ~1023ULL;
        check_round_trip(units_parse_size, units_size, v);
        check_round_trip(units_parse_rate, units_rate, v);
        check_round_trip(units_parse_time, units_time, v);
    }
}

static void test_human(void)
{
    char out[UNITS_TEXT];
    CU_ASSERT_STRING_EQUAL(units_human_size(out, 0), "0 B");
    CU_ASSERT_STRING_EQUAL(units_human_size(out, 1023), "1023 B");
    CU_ASSERT_STRING_EQUAL(units_human_size(out, 1024), "1 KiB");
    CU_ASSERT_STRING_EQUAL(units_human_size(out, 1320702444), "1.23 GiB");
    CU_ASSERT_STRING_EQUAL(units_human_size(out, 1024 * 1024 - 1), "1 MiB");
    CU_ASSERT_STRING_EQUAL(units_human_size(out, 1000 * 1024), "1000 KiB");
    CU_ASSERT_STRING_EQUAL(units_human_size(out, UINT64_MAX), "16 EiB");
    CU_ASSERT_STRING_EQUAL(units_human_rate(out, 9.87e9), "9.87 Gbit/s");
    CU_ASSERT_STRING_EQUAL(units_human_rate(out, 999.4), "999 bit/s");
    CU_ASSERT_STRING_EQUAL(units_human_rate(out, 999.6), "1 kbit/s");
    CU_ASSERT_STRING_EQUAL(units_human_rate(out, 0), "0 bit/s");
    CU_ASSERT_STRING_EQUAL(units_human_rate(out, -5), "0 bit/s");
    CU_ASSERT_STRING_EQUAL(units_human_rate(out, (double)NAN), "0 bit/s");
    CU_ASSERT_STRING_EQUAL(units_human_rate(out, (double)INFINITY), "1000000 Ebit/s");
}

static void test_human_time(void)
{
    char out[UNITS_TEXT];
    CU_ASSERT_STRING_EQUAL(units_human_time(out, 0), "0 ns");
    CU_ASSERT_STRING_EQUAL(units_human_time(out, 1500 * NS_PER_MS), "1.5 s");
    CU_ASSERT_STRING_EQUAL(units_human_time(out, 12345), "12.3 us");
    CU_ASSERT_STRING_EQUAL(units_human_time(out, 90 * NS_PER_S), "0:01:30");
    CU_ASSERT_STRING_EQUAL(units_human_time(out, 7384 * NS_PER_S), "2:03:04");
    CU_ASSERT_STRING_EQUAL(units_human_time(out, 360000 * NS_PER_S), "100:00:00");
    CU_ASSERT_STRING_EQUAL(units_human_time(out, UINT64_MAX - 1), "5124095:34:33");
    CU_ASSERT_STRING_EQUAL(units_human_time(out, TIME_FOREVER), "forever");
}

static void test_streams(void)
{
    const struct { uint64_t channels, connections; const char *how, *text; } all[] = {
        { 0, 0, "open ", "0 open channels" }, { 1, 0, "", "1 channel" }, { 2, 0, "open ", "2 open channels" }, { 0, 1, "open ", "1 open connection" },
        { 0, 5, "", "5 connections" }, { 1, 1, "open ", "1 open channel and 1 connection" }, { 2, 5, "", "2 channels and 5 connections" },
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        AUTO_FREE char *text = units_streams(all[i].how, all[i].channels, all[i].connections);
        CU_ASSERT_STRING_EQUAL(text, all[i].text);
    }
}

static void test_dates(void)
{
    static const char *const bad[] = {
        "", "2027-01-31", "2027-01-31T12:00:00", "2027-01-31 12:00:00Z", "2027-02-29T00:00:00Z", "2027-13-01T00:00:00Z", "2027-01-31T12:00:00+0100",
        "2027-01-31T12:00:00+24:00", "2027-01-31T12:00:00ZZ", "2027-1-31T12:00:00Z", "2027-01-31T24:30:00Z", "2027-01-31T12:00:61Z", "2027-01-31T12:00:00.5Z",
    };
    char out[UNITS_TEXT];
    int64_t t = 7;
    CU_ASSERT(units_parse_date("1970-01-01T00:00:00Z", &t) == 0 && t == 0);
    CU_ASSERT(units_parse_date("2033-05-18T03:33:20Z", &t) == 0 && t == 2000000000);
    CU_ASSERT(units_parse_date("2033-05-18T05:03:20+01:30", &t) == 0 && t == 2000000000);
    CU_ASSERT(units_parse_date("2033-05-17T22:33:20-05:00", &t) == 0 && t == 2000000000);
    CU_ASSERT(units_parse_date("2028-02-29T00:00:00Z", &t) == 0);
    CU_ASSERT_STRING_EQUAL(units_date(out, 2000000000), "2033-05-18T03:33:20Z");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (units_parse_date(bad[i], &t) != -EINVAL)
            CU_FAIL(bad[i]);
}

UNIT_MAIN("units", UNIT(test_parse_size), UNIT(test_parse_rate), UNIT(test_parse_time), UNIT(test_print), UNIT(test_round_trip),
          UNIT(test_human), UNIT(test_human_time), UNIT(test_streams), UNIT(test_dates))
