#include "src/core/addr.h"
#include "tests/fuzz/fuzz.h"

static char *host_text(const struct addr *a)
{
    return mem_printf(strchr(a->host, ':') ? "[%s]:%u" : "%s:%u", a->host, a->port);
}

/* An address as a user would type it. */
static char *addr_text(const struct addr *a)
{
    AUTO_FREE char *host = host_text(a);
    switch (a->kind) {
    case ADDR_GATEWAY:
        return mem_printf("gateway://%s/%s", host, a->route);
    case ADDR_DIRECT:
        return mem_printf("direct://%s", host);
    case ADDR_TCP:
        return mem_printf("tcp://%s", host);
    case ADDR_UNIX:
        return mem_printf("unix:%s", a->path);
    case ADDR_FILE:
        return mem_printf("file:%s", a->path);
    default:
        return mem_strdup("-");
    }
}

static void try_addr(const char *text)
{
    struct addr a, b;
    char why[300] = "";
    if (addr_parse(text, &a, why, sizeof(why)) < 0) {
        FUZZ_CHECK(*why);
        return;
    }
    AUTO_FREE char *again = addr_text(&a);
    FUZZ_CHECK(addr_parse(again, &b, why, sizeof(why)) == 0);
    FUZZ_CHECK(a.kind == b.kind && str_eq(a.host, b.host) && a.port == b.port && str_eq(a.route, b.route));
    FUZZ_CHECK((a.path == NULL) == (b.path == NULL) && (!a.path || str_eq(a.path, b.path)));
    FUZZ_CHECK(a.kind != ADDR_GATEWAY || (*a.host && a.port && addr_route_ok(a.route)));
}

static void try_numeric(const char *host, uint16_t port)
{
    union sockaddr_any a, b;
    char text[ADDR_TEXT], again[ADDR_TEXT], why[300], back[ADDR_HOST_MAX + 1];
    if (addr_numeric(host, port, &a) < 0)
        return;
    addr_format(&a, text);
    FUZZ_CHECK(port == 0 || addr_parse_hostport(text, 0, back, &port, why, sizeof(why)) == 0);
    FUZZ_CHECK(addr_numeric(addr_format_host(&a, again), port, &b) == 0 && addr_port(&b) == addr_port(&a));
    FUZZ_CHECK(str_eq(addr_format(&b, again), text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *text = fuzz_text(data, size);
    char host[ADDR_HOST_MAX + 1], why[300];
    uint16_t first, last;
    try_addr(text);
    try_numeric(text, 0);
    if (addr_parse_hostport(text, size % 2 ? 5000 : 0, host, &first, why, sizeof(why)) == 0) {
        FUZZ_CHECK(first > 0);
        try_numeric(host, first);
    }
    FUZZ_CHECK(addr_parse_ports(text, &first, &last) < 0 || (0 < first && first <= last));
    return 0;
}
