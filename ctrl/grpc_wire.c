#include "ctrl/grpc_wire.h"

#include <errno.h>
#include <stdio.h>

#include "ctrl/h2.h"
#include "src/core/wire.h"

/* ------------------------------------------------------------ messages */

enum grpc_frame_kind grpc_frame_parse(const uint8_t *p, size_t n, size_t max, struct grpc_frame *out)
{
    struct wire w = wire_reader(p, n);
    uint8_t compressed = wire_u8(&w);
    uint32_t len = wire_u32(&w);
    *out = (struct grpc_frame){ 0 };
    if (n > 0 && compressed)
        return compressed == 1 ? GRPC_FRAME_COMPRESSED : GRPC_FRAME_BAD;
    if (w.bad)
        return GRPC_FRAME_PART;
    out->len = len;
    if (len > max)
        return GRPC_FRAME_TOO_BIG;
    if (wire_left(&w) < len)
        return GRPC_FRAME_PART;
    out->data = w.p;
    return GRPC_FRAME_WHOLE;
}

void grpc_frame_prefix(uint8_t to[GRPC_PREFIX], uint32_t len)
{
    struct wire w = wire_writer(to, GRPC_PREFIX);
    wire_put_u8(&w, 0);
    wire_put_u32(&w, len);
}

/* ------------------------------------------------------------ grpc-message */

void grpc_text_encode(char *to, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t n = 0; *text && n < GRPC_TEXT_MAX; text++, n++) {
        uint8_t c = (uint8_t)*text;
        if (c >= ' ' && c <= '~' && c != '%') {
            *to++ = (char)c;
            continue;
        }
        *to++ = '%';
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
    }
    *to = 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void grpc_text_decode(char *to, size_t size, const char *text)
{
    for (size_t n = 0; *text && n + 1 < size; n++) {
        int hi = *text == '%' ? hex_digit(text[1]) : -1, lo = hi < 0 ? -1 : hex_digit(text[2]);
        int c = lo < 0 ? (uint8_t)*text : hi << 4 | lo;
        text += lo < 0 ? 1 : 3;
        *to++ = c < ' ' || c == 0x7f ? '?' : (char)c;
    }
    *to = 0;
}

/* ------------------------------------------------------------ grpc-timeout */

#define TIMEOUT_MOST 99999999U

static const struct { char unit; uint64_t ns; } units[] = {
    { 'n', 1 }, { 'u', NS_PER_US }, { 'm', NS_PER_MS }, { 'S', NS_PER_S }, { 'M', 60 * NS_PER_S }, { 'H', 3600 * NS_PER_S },
};

int grpc_timeout_parse(const char *s, uint64_t *ns)
{
    uint64_t v = 0;
    size_t digits = 0;
    for (; s[digits] >= '0' && s[digits] <= '9' && digits <= 8; digits++)
        v = v * 10 + (uint64_t)(s[digits] - '0');
    if (digits == 0 || digits > 8 || !s[digits] || s[digits + 1])
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (units[i].unit == s[digits]) {
            *ns = v > UINT64_MAX / units[i].ns ? UINT64_MAX : v * units[i].ns; /* 99999999 h is more than fits */
            return 0;
        }
    return -EINVAL;
}

static uint64_t round_up(uint64_t ns, uint64_t unit) { return ns / unit + (ns % unit != 0); }

void grpc_timeout_format(char out[GRPC_TIMEOUT_TEXT], uint64_t ns)
{
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(units) && round_up(ns, units[i].ns) > TIMEOUT_MOST)
        i++;
    snprintf(out, GRPC_TIMEOUT_TEXT, "%u%c", (unsigned)MIN(round_up(ns, units[i].ns), TIMEOUT_MOST), units[i].unit);
}

/* ------------------------------------------------------------ status */

const char *grpc_status_name(enum grpc_status s)
{
    static const char *const names[] = {
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED",
    };
    return (unsigned)s < ARRAY_LEN(names) ? names[s] : "UNKNOWN";
}

enum grpc_status grpc_status_parse(const char *s)
{
    int v = 0, digits = 0;
    for (; s[digits] >= '0' && s[digits] <= '9' && digits < 3; digits++)
        v = v * 10 + (s[digits] - '0');
    return digits == 0 || s[digits] || v > GRPC_UNAUTHENTICATED ? GRPC_UNKNOWN : (enum grpc_status)v;
}

enum grpc_status grpc_status_of_http(int code)
{
    switch (code) {
    case 400: return GRPC_INTERNAL;
    case 401: return GRPC_UNAUTHENTICATED;
    case 403: return GRPC_PERMISSION_DENIED;
    case 404: return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504: return GRPC_UNAVAILABLE;
    default: return GRPC_UNKNOWN;
    }
}

enum grpc_status grpc_status_of_reset(uint32_t h2_code)
{
    switch (h2_code) {
    case H2_STREAM_CLOSED:
    case H2_HTTP_1_1_REQUIRED: return GRPC_UNKNOWN;
    case H2_REFUSED_STREAM: return GRPC_UNAVAILABLE;
    case H2_CANCEL: return GRPC_CANCELLED;
    case H2_ENHANCE_YOUR_CALM: return GRPC_RESOURCE_EXHAUSTED;
    case H2_INADEQUATE_SECURITY: return GRPC_PERMISSION_DENIED;
    default: return h2_code <= H2_HTTP_1_1_REQUIRED ? GRPC_INTERNAL : GRPC_UNKNOWN;
    }
}

bool grpc_content_ok(const char *type)
{
    static const char want[] = "application/grpc";
    if (!str_starts(type, want))
        return false;
    char next = type[sizeof(want) - 1];
    return next == 0 || next == '+' || next == ';';
}
