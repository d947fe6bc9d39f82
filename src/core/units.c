#include "src/core/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

struct unit { const char *name; uint64_t factor; };

static const struct unit size_units[] = {
    { "P", 1ULL << 50 }, { "T", 1ULL << 40 }, { "G", 1ULL << 30 }, { "M", 1ULL << 20 }, { "K", 1ULL << 10 },
};
static const struct unit rate_units[] = {
    { "Tbit", 1000000000000 }, { "Gbit", 1000000000 }, { "Mbit", 1000000 }, { "kbit", 1000 }, { "Kbit", 1000 }, { "bit", 1 },
};
static const struct unit time_units[] = {
    { "d", 86400 * NS_PER_S }, { "h", 3600 * NS_PER_S }, { "m", 60 * NS_PER_S }, { "s", NS_PER_S },
    { "ms", NS_PER_MS },       { "us", NS_PER_US },      { "ns", 1 },
};

/* ------------------------------------------------------------ reading */

/* Digits at *s, which is moved behind them. */
static int read_number(const char **s, uint64_t *out)
{
    const char *p = *s;
    uint64_t v = 0;
    bool over = false;
    for (; *p >= '0' && *p <= '9'; p++)
        over = over || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v);
    if (p == *s)
        return -EINVAL;
    *s = p;
    *out = v;
    return over ? -ERANGE : 0;
}

static const struct unit *find_unit(const struct unit *units, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(units[i].name, name))
            return &units[i];
    return NULL;
}

/* An -ERANGE of the digits stands only when the rest is well formed. */
static int scale(uint64_t v, uint64_t factor, int rc, uint64_t *out)
{
    if (rc == 0 && __builtin_mul_overflow(v, factor, &v))
        rc = -ERANGE;
    if (rc == 0)
        *out = v;
    return rc;
}

int units_parse_size(const char *s, uint64_t *out)
{
    uint64_t v = 0, factor = 1;
    int rc = read_number(&s, &v);
    if (rc == -EINVAL)
        return rc;
    if (*s) {
        char letter[2] = { (char)(*s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s), 0 };
        const struct unit *u = find_unit(size_units, ARRAY_LEN(size_units), letter);
        if (!u || (s[1] && strcasecmp(s + 1, "B") != 0 && strcasecmp(s + 1, "iB") != 0))
            return -EINVAL;
        factor = u->factor;
    }
    return scale(v, factor, rc, out);
}

/* ".5" of a factor, exactly: -EINVAL when digits are lost. At most 9 digits, so nothing overflows. */
static int read_fraction(const char **s, uint64_t *billionths)
{
    uint64_t v = 0;
    int digits = 0;
    *billionths = 0;
    if (**s != '.')
        return 0;
    for ((*s)++; **s >= '0' && **s <= '9'; (*s)++, digits++) {
        if (digits == 9)
            return -EINVAL;
        v = 10 * v + (uint64_t)(**s - '0');
    }
    if (digits == 0)
        return -EINVAL;
    for (; digits < 9; digits++)
        v *= 10;
    *billionths = v;
    return 0;
}

static int rate_factor(const char *s, uint64_t *out)
{
    char name[8];
    size_t n = strlen(s);
    if (n >= 2 && str_eq(s + n - 2, "/s"))
        n -= 2;
    if (n >= sizeof(name))
        return -EINVAL;
    memcpy(name, s, n);
    name[n] = 0;
    const struct unit *u = find_unit(rate_units, ARRAY_LEN(rate_units), name);
    if (!u && *s)
        return -EINVAL;
    *out = u ? u->factor : 1;
    return 0;
}

int units_parse_rate(const char *s, uint64_t *out)
{
    uint64_t v = 0, billionths, factor;
    int rc = read_number(&s, &v);
    if (rc == -EINVAL || read_fraction(&s, &billionths) < 0 || rate_factor(s, &factor) < 0)
        return -EINVAL;
    unsigned __int128 part = (unsigned __int128)billionths * factor;
    if (part % 1000000000 != 0)
        return -EINVAL;
    rc = scale(v, factor, rc, &v);
    if (rc == 0 && __builtin_add_overflow(v, (uint64_t)(part / 1000000000), &v))
        rc = -ERANGE;
    if (rc == 0)
        *out = v;
    return rc;
}

int units_parse_time(const char *s, uint64_t *out)
{
    uint64_t v = 0;
    if (str_eq(s, "forever")) {
        *out = TIME_FOREVER;
        return 0;
    }
    int rc = read_number(&s, &v);
    const struct unit *u = find_unit(time_units, ARRAY_LEN(time_units), *s ? s : "s");
    if (rc == -EINVAL || !u)
        return -EINVAL;
    return scale(v, u->factor, rc, out);
}

/* ------------------------------------------------------------ printing, exactly */

/* The largest unit that divides v; units go from large to small. */
static const char *print_exact(char *out, uint64_t v, const struct unit *units, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (v == 0 || v % units[i].factor != 0)
            continue;
        snprintf(out, UNITS_TEXT, "%" PRIu64 "%s", v / units[i].factor, units[i].name);
        return out;
    }
    snprintf(out, UNITS_TEXT, "%" PRIu64, v);
    return out;
}

const char *units_size(char out[UNITS_TEXT], uint64_t bytes)
{
    return print_exact(out, bytes, size_units, ARRAY_LEN(size_units));
}

const char *units_rate(char out[UNITS_TEXT], uint64_t bits_per_s)
{
    return print_exact(out, bits_per_s, rate_units, ARRAY_LEN(rate_units));
}

const char *units_time(char out[UNITS_TEXT], uint64_t ns)
{
    if (ns != TIME_FOREVER)
        return print_exact(out, ns, time_units, ARRAY_LEN(time_units));
    str_copy(out, UNITS_TEXT, "forever");
    return out;
}

/* ------------------------------------------------------------ printing, for people */

/* Three digits and a unit; the last unit takes whatever is left. */
static const char *print_human(char *out, double v, double step, const char *const *names)
{
    while (v >= step - 0.5 && names[1]) {
        v /= step;
        names++;
    }
    snprintf(out, UNITS_TEXT, v < 999.5 ? "%.3g %s" : "%.0f %s", v, *names);
    return out;
}

const char *units_human_size(char out[UNITS_TEXT], uint64_t bytes)
{
    static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", NULL };
    return print_human(out, (double)bytes, 1024, names);
}

const char *units_human_rate(char out[UNITS_TEXT], double bits_per_s)
{
    static const char *const names[] = { "bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s", "Ebit/s", NULL };
    double v = bits_per_s > 0 ? MIN(bits_per_s, 1e24) : 0; /* also when it is no number */
    return print_human(out, v, 1000, names);
}

const char *units_human_time(char out[UNITS_TEXT], uint64_t ns)
{
    static const char *const names[] = { "ns", "us", "ms", "s", NULL };
    uint64_t s = ns / NS_PER_S;
    if (ns == TIME_FOREVER)
        return units_time(out, ns);
    if (s < 60)
        return print_human(out, (double)ns, 1000, names);
    snprintf(out, UNITS_TEXT, "%" PRIu64 ":%02u:%02u", s / 3600, (unsigned)(s / 60 % 60), (unsigned)(s % 60));
    return out;
}

char *units_streams(const char *how, uint64_t channels, uint64_t connections)
{
    const char *s = channels == 1 ? "" : "s", *t = connections == 1 ? "" : "s";
    if (channels && connections)
        return mem_printf("%" PRIu64 " %schannel%s and %" PRIu64 " connection%s", channels, how, s, connections, t);
    return connections ? mem_printf("%" PRIu64 " %sconnection%s", connections, how, t) : mem_printf("%" PRIu64 " %schannel%s", channels, how, s);
}

/* ------------------------------------------------------------ dates */

/* "Z", "+01:00": seconds east of UTC. */
static int parse_offset(const char *s, int64_t *seconds)
{
    unsigned h, m;
    char sign, rest;
    *seconds = 0;
    if (str_eq(s, "Z"))
        return 0;
    if (strlen(s) != 6 || sscanf(s, "%c%2u:%2u%c", &sign, &h, &m, &rest) != 3 || (sign != '+' && sign != '-') || h > 23 || m > 59)
        return -EINVAL;
    *seconds = (sign == '-' ? -1 : 1) * (int64_t)(3600 * h + 60 * m);
    return 0;
}

/* timegm() takes the 31st of February, too: then the day comes out as another one. */
int units_parse_date(const char *s, int64_t *unix_s)
{
    struct tm tm = { .tm_year = 0 }, back;
    int64_t offset;
    const char *rest = strlen(s) < 20 ? NULL : strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest || rest != s + 19 || parse_offset(rest, &offset) < 0)
        return -EINVAL;
    struct tm given = tm;
    time_t t = timegm(&tm);
    if (!gmtime_r(&t, &back) || back.tm_mday != given.tm_mday || back.tm_sec != given.tm_sec)
        return -EINVAL;
    *unix_s = (int64_t)t - offset;
    return 0;
}

const char *units_date(char out[UNITS_TEXT], int64_t unix_s)
{
    time_t t = (time_t)unix_s;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(out, UNITS_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        str_copy(out, UNITS_TEXT, "?");
    return out;
}
