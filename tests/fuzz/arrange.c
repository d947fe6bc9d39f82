/* Gateway.Arrange: the message of a caller, and what is made of it. Whatever it is, it is refused with a reason, or all that comes of it is within limits. */
#include "ctrl/arrange.h"
#include "ctrl/grants.h"
#include "tests/fuzz/fuzz.h"

static void check(const struct arrange *a)
{
    char host[ADDR_HOST_MAX + 1], why[200];
    uint16_t port;
    bool transparent = a->cell == ARRANGE_INBOUND || a->cell == ARRANGE_OUTBOUND;
    FUZZ_CHECK(a->channels >= 1 && a->channels <= (transparent ? REQUEST_LISTENERS_MAX : 65536U) && a->role < ROLE_ADMIN);
    FUZZ_CHECK(a->ticket_s >= 1 && a->ticket_s <= GRANT_LIFE_MAX_S && a->life_s <= GRANT_LIFE_MAX_S && a->provisioned == (a->rate > 0));
    FUZZ_CHECK(a->n_ports == 0 || a->n_ports == a->channels);
    FUZZ_CHECK(a->cell == ARRANGE_ATTACHED || a->names[0]);
    FUZZ_CHECK(a->cell != ARRANGE_OUTBOUND || a->n_dial_ports >= 1);
    for (unsigned i = 0; i < a->n_dial_ports; i++)
        FUZZ_CHECK(a->dial_ports[i] >= 1);
    for (char *const *w = a->names; w && *w; w++)
        FUZZ_CHECK(addr_parse_hostport(*w, 0, host, &port, why, sizeof(why)) == 0 && *host && port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t now_s = 1700000000;
    ArrangeRequest *q = scistream__gateway__v1__arrange_request__unpack(NULL, size, data);
    struct request_refusal no = { .status = GRPC_OK };
    struct arrange a;
    if (!q)
        return 0;
    if (arrange_read(q, now_s, &a, &no))
        check(&a);
    else
        FUZZ_CHECK(no.status == GRPC_INVALID_ARGUMENT && *no.why);
    strv_free(a.names);
    scistream__gateway__v1__arrange_request__free_unpacked(q, NULL);
    return 0;
}
