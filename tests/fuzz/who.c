/* Networks and patterns of policies, names of principals, and answers of an introspection server. */
#include "ctrl/introspect.h"
#include "tests/fuzz/fuzz.h"

static void try_network(const char *text)
{
    struct addr_net net;
    union sockaddr_any a;
    char why[400] = "";
    if (addr_net_parse(text, &net, why, sizeof(why)) < 0) {
        FUZZ_CHECK(*why);
        return;
    }
    FUZZ_CHECK(net.first >= 1 && net.first <= net.last && net.bits <= 128);
    addr_numeric("0.0.0.0", net.first, &a);
    FUZZ_CHECK(!addr_net_has(&net, &a));
    if (net.family == AF_INET) { /* its own address is in it, unless that is none */
        memcpy(&a.in.sin_addr, net.bytes, 4);
        FUZZ_CHECK(addr_net_has(&net, &a) == (a.in.sin_addr.s_addr != 0));
    }
}

/* The text in front of the first newline is the pattern. */
static void try_pattern(char *text)
{
    char *newline = strchr(text, '\n');
    if (!newline)
        return;
    *newline = 0;
    bool fits = policy_fits(text, newline + 1);
    FUZZ_CHECK(!str_eq(text, newline + 1) || fits);
    FUZZ_CHECK(policy_fits("*", newline + 1));
}

static void try_answer(const struct conf_auth *c, const uint8_t *data, size_t size)
{
    struct verdict v;
    introspect_read(c, (const char *)data, size, 1000000, &v);
    FUZZ_CHECK(v.is == VERDICT_ACTIVE ? caller_name_ok(v.principal) && (v.expires == 0 || v.expires > 1000000) : *v.why && !*v.principal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct conf *conf;
    AUTO_FREE char *text = fuzz_text(data, size);
    if (!conf)
        conf = conf_new();
    try_network(text);
    try_answer(&conf->auth, data, size);
    try_pattern(text);
    return 0;
}
