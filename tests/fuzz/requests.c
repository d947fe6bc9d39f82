/* scistream.Control: the messages of its callers, and the table of sessions that they drive, with those that have tickets. Input: calls, each a byte that chooses one, a byte with the
 * length of its message, the message. Every caller is answered once at most, and what was reserved is given back. */
#include "ctrl/requests_arranged.h"
#include "ctrl/scistream.pb-c.h"
#include "ctrl/strings.h"
#include "src/core/err.h"
#include "tcp/resolve.h"
#include "tests/fuzz/fuzz.h"

#define CALLS 64

static struct loop loop;
static struct resolver *resolver;
static struct conf *conf;
static struct requests *rq;
static struct caller { bool waits; } caller[CALLS];
static unsigned n_calls;
static int64_t reserved;

static enum grpc_status allows(void *user UNUSED, const struct request_ask *a, uint64_t *lifetime_ns UNUSED, char *why, size_t size)
{
    str_copy(why, size, "not for you");
    return str_eq(a->uid, "no") ? GRPC_PERMISSION_DENIED : GRPC_OK;
}

static enum grpc_status allows_target(void *user UNUSED, const struct request *r UNUSED, const struct request_target *t, char *why, size_t size)
{
    str_copy(why, size, "not for you");
    return t->port == 22 ? GRPC_PERMISSION_DENIED : GRPC_OK;
}

static int reserve(void *user UNUSED, struct request *r, uint16_t *ports, char *why, size_t size)
{
    str_copy(why, size, "no ports");
    if (reserved + r->n > 20)
        return -SST_ELIMIT;
    for (unsigned i = 0; i < r->n; i++)
        ports[i] = (uint16_t)(r->number[i] = 100 + i);
    reserved += r->n;
    return 0;
}

static void aim(void *user UNUSED, struct request *r, unsigned listener, const struct request_target *to)
{
    FUZZ_CHECK(listener < r->n && to->n >= 1 && to->port >= 1 && to->addresses[0]);
}

static char *give_back(void *user UNUSED, struct request *r, int rc UNUSED, const char *text)
{
    FUZZ_CHECK(*text && r->state == REQUEST_RELEASING);
    reserved -= r->n;
    return mem_strdup("");
}

static void shut(void *user UNUSED, const struct request *r, bool shut_them UNUSED) { FUZZ_CHECK(r->ticket); }
static bool busy(void *user UNUSED, const struct request *r) { return r->n % 2; }

static void answer(void *user UNUSED, void *call, const struct request_answer *a)
{
    struct caller *c = call;
    FUZZ_CHECK(c->waits && (a->status == GRPC_OK || *a->text));
    c->waits = false;
}

static void changed(void *user UNUSED, const struct request *r, const char *what, const char *text)
{
    FUZZ_CHECK(*what && text && *request_waits_for(r) && strlen(r->uid) <= REQUEST_UID_MAX && !strpbrk(r->uid, "/\n\033\177"));
}

static const struct requests_ops ops = { .allows = allows, .allows_target = allows_target, .reserve = reserve, .aim = aim, .give_back = give_back, .shut = shut, .busy = busy,
                                          .answer = answer,
                                          .changed = changed };

/* Names would be asked of a server. */
static bool numeric(char *const *words, size_t n)
{
    char host[ADDR_HOST_MAX + 1], why[200];
    uint16_t port;
    union sockaddr_any a;
    for (size_t i = 0; i < n; i++)
        if (addr_parse_hostport(words[i], 0, host, &port, why, sizeof(why)) == 0 && addr_numeric(host, port, &a) < 0)
            return false;
    return true;
}

static struct request_ask ask(const char *uid, const char *role)
{
    struct caller *c = &caller[n_calls++];
    c->waits = true;
    return (struct request_ask){ .call = c, .principal = n_calls % 5 ? "anna" : "bert", .from = "nowhere", .uid = uid, .role = role, .address = "::1" };
}

static void do_req(const uint8_t *data, size_t len)
{
    Scistream__Request *m = scistream__request__unpack(NULL, len, data);
    if (m) {
        struct request_ask a = ask(m->uid, m->role);
        a.num_conn = m->num_conn;
        requests_req(rq, &a);
    }
    scistream__request__free_unpacked(m, NULL);
}

static void do_hello(const uint8_t *data, size_t len)
{
    Scistream__Hello *m = scistream__hello__unpack(NULL, len, data);
    if (m) {
        struct request_ask a = ask(m->uid, m->role);
        a.listeners = m->prod_listeners;
        a.n_listeners = m->n_prod_listeners;
        requests_hello(rq, &a);
    }
    scistream__hello__free_unpacked(m, NULL);
}

static void do_update(const uint8_t *data, size_t len)
{
    Scistream__UpdateTargets *m = scistream__update_targets__unpack(NULL, len, data);
    if (m && numeric(m->remote_listeners, m->n_remote_listeners)) {
        struct request_ask a = ask(m->uid, m->role);
        a.listeners = m->remote_listeners;
        a.n_listeners = m->n_remote_listeners;
        requests_update(rq, &a);
    }
    scistream__update_targets__free_unpacked(m, NULL);
}

static void do_release(const uint8_t *data, size_t len)
{
    Scistream__Release *m = scistream__release__unpack(NULL, len, data);
    if (m) {
        struct request_ask a = ask(m->uid, NULL);
        requests_release(rq, &a);
    }
    scistream__release__free_unpacked(m, NULL);
}

static void do_gone(const uint8_t *data, size_t len)
{
    struct caller *c = len ? &caller[data[0] % CALLS] : caller;
    if (c->waits)
        requests_gone(rq, c);
    c->waits = false;
}

static void do_drain(const uint8_t *data UNUSED, size_t len) { requests_drain(rq, len % 2 ? "draining" : NULL); }

/* data: n, then the uid. */
static void do_arrange(const uint8_t *data, size_t len)
{
    static char *const at[] = { "192.0.2.1", NULL };
    static const union sockaddr_any where;
    const struct request_target to = { "a:1", at, 1, 1, &where, NULL };
    const struct request_ticket ticket = { .expires_s = UINT64_MAX };
    struct request_refusal no = { .status = GRPC_OK };
    AUTO_FREE char *uid = len ? fuzz_text(data + 1, len - 1) : NULL;
    if (!uid || !addr_route_ok(uid))
        return;
    const struct request_terms t = { .uid = uid, .principal = "anna", .from = "nowhere", .address = "::1", .cons = data[0] & 1, .n = 1 + data[0] % 16,
                                     .targets = &to, .n_targets = 1, .ticket = &ticket };
    const struct request *r = requests_arrange(rq, &t, &no);
    FUZZ_CHECK(r ? r == requests_arranged(rq, uid) && r->aimed : no.status != GRPC_OK && *no.why);
}

static void do_revoke(const uint8_t *data, size_t len)
{
    AUTO_FREE char *uid = fuzz_text(data, len);
    requests_revoke(rq, uid);
    FUZZ_CHECK(!requests_renew(rq, uid, 1));
}

static void do_renew(const uint8_t *data, size_t len)
{
    AUTO_FREE char *uid = fuzz_text(data, len);
    FUZZ_CHECK(!requests_renew(rq, uid, 3600) || requests_arranged(rq, uid)->state == REQUEST_LISTENING);
}

static void begin(void)
{
    static bool once;
    log_threshold = LOG_LEVEL_ERROR;
    if (!once) {
        FUZZ_CHECK(loop_init(&loop) == 0);
        resolver = resolver_new(&loop);
        conf = conf_new();
        once = true;
    }
    memset(caller, 0, sizeof(caller));
    n_calls = 0;
    rq = requests_new(&loop, conf, resolver, &ops, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const kinds[])(const uint8_t *, size_t) = { do_req, do_hello, do_update, do_release, do_gone, do_drain, do_arrange, do_revoke, do_renew };
    begin();
    for (size_t at = 0; at + 2 <= size && n_calls < CALLS;) {
        const uint8_t *m = data + at + 2;
        size_t len = MIN(data[at + 1], size - at - 2);
        if (strings_whole(m, len) || data[at] % ARRAY_LEN(kinds) >= 4)
            kinds[data[at] % ARRAY_LEN(kinds)](m, len);
        loop_turn(&loop, 0);
        at += 2 + len;
    }
    requests_end_all(rq, -SST_ERELEASED, "the end");
    FUZZ_CHECK(reserved == 0 && requests_count(rq) == 0);
    requests_free(rq);
    loop_turn(&loop, 0);
    return 0;
}
