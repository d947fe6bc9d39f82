/* Both ends of a hop in one process, with workers that are this test: which transport is prepared, what becomes of one that does not reach
 * the peer, and what the OFFER says of addresses. */
#include <stdio.h>

#include "ctrl/hop.h"
#include "src/core/err.h"
#include "tcp/sock.h"
#include "tests/lib/unit.h"

typedef Scistream__Worker__Hop Hop;

#define CHANNEL STATS_CHANNELS
#define HOPS_MAX 8

static char verbs[] = "verbs", ucx[] = "ucx", links[] = "link", carrier[] = "carrier";
static char *const ours[] = { verbs, ucx, links, NULL };

/* ------------------------------------------------------------ the stage */

static struct loop loop;
static struct resolver *resolver;
static struct grpc_server *server_end;
static char path[64];
static struct pool_worker worker;      /* of the server */
static struct pool_client client_of;
static struct hop server, client;
static Hop *hops[HOPS_MAX];            /* what the worker was told */
static uint8_t cookies[HOPS_MAX][16], nonces[HOPS_MAX][AUTH_NONCE];
static unsigned n_hops;
static bool answered, refused;
static char reason[ATTACH_WHY], passed_over[ATTACH_WHY], chosen[16];
static int over_rc;
static const char *no_choice; /* why hop_choose chose none */

static int on_told(struct pool_worker *w UNUSED, const ToWorker *m, int fd UNUSED)
{
    uint8_t data[2000];
    CU_ASSERT_FATAL(m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_HOP && n_hops < HOPS_MAX);
    size_t n = scistream__worker__hop__pack(m->hop, data);
    memcpy(cookies[n_hops], server.cookie, sizeof(server.cookie));
    memcpy(nonces[n_hops], server.nonce, sizeof(server.nonce));
    hops[n_hops++] = scistream__worker__hop__unpack(NULL, n, data);
    return 0;
}

static void on_worker(struct pool_client *c UNUSED, const FromWorker *m) { hop_heard(&server, m); }

static void on_offer(struct hop *h, const Offer *o)
{
    static char why[ATTACH_WHY];
    CU_ASSERT(hop_check_offer(o, why, sizeof(why)) == 0);
    str_copy(h->give.uid, sizeof(h->give.uid), "a session");
    h->give.plain = true;
    h->give.cipher = h->give.gateway = "";
    str_copy(h->give.advertise, sizeof(h->give.advertise), "192.0.2.1");
    if (hop_choose(h, ours, &worker, why, sizeof(why)))
        hop_answer(h, &worker, &client_of, SCISTREAM__WORKER__SIDE__SOURCE);
    else
        hop_abort(h, -SST_ENOTRANSPORT, no_choice = why);
}

static void on_connected(struct hop *h) { hop_offer(h); }

static void on_answered(struct hop *h, const Answer *m)
{
    answered = true;
    str_copy(chosen, sizeof(chosen), m->transport);
    str_copy(passed_over, sizeof(passed_over), h->report.passed_over);
    CU_ASSERT(m->n_cookies == 1 && memcmp(m->cookies[0].data, cookies[n_hops - 1], sizeof(cookies[0])) == 0); /* the last one counts */
    CU_ASSERT(m->nonce.len == AUTH_NONCE && memcmp(m->nonce.data, nonces[n_hops - 1], AUTH_NONCE) == 0);
}

static struct { unsigned times; int rc; bool by_peer, ends; char text[ATTACH_WHY]; } server_over; /* ends: from within, as an owner may */

static void on_server_over(int rc, bool by_peer, const char *text)
{
    server_over.times++;
    server_over.rc = rc;
    server_over.by_peer = by_peer;
    str_copy(server_over.text, sizeof(server_over.text), text);
    if (server_over.ends)
        hop_fini(&server);
}

static void on_over(struct hop *h, int rc, bool by_peer, const char *text)
{
    if (h != &client) {
        on_server_over(rc, by_peer, text);
        return;
    }
    refused = true;
    over_rc = rc;
    str_copy(reason, sizeof(reason), text);
}

static void on_up(struct hop *h UNUSED) {}

static const struct hop_events events = { .offer = on_offer, .connected = on_connected, .answered = on_answered, .up = on_up, .over = on_over };

static void on_attach(struct grpc_call *c)
{
    server.step_ns = 10 * NS_PER_S;
    hop_serve(&server, &loop, c, &events, NULL);
}

static const struct grpc_method methods[] = { { ATTACH_PATH, ATTACH_MESSAGE_MAX, &attach_call_handlers, on_attach } };

static void say_started(const char *verbs_problem)
{
    Scistream__Worker__Started s = SCISTREAM__WORKER__STARTED__INIT;
    Scistream__Worker__Started__Transport t[3], *all[3];
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    for (size_t i = 0; i < 3; i++) {
        scistream__worker__started__transport__init(&t[i]);
        t[i].name = ours[i];
        all[i] = &t[i];
    }
    t[0].problem = (char *)(uintptr_t)verbs_problem;
    s.transports = all;
    s.n_transports = 3;
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_STARTED;
    m.started = &s;
    CU_ASSERT_PTR_NULL(pool_worker_heard(&worker, &m));
}

static void begin(void)
{
    static const struct grpc_limits limits = { .connections = 10, .streams = 10, .handshake_ns = NS_PER_S, .silent_ns = 10 * NS_PER_S };
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
    snprintf(path, sizeof(path), "/tmp/sst-unit-hop-%d", (int)getpid());
    server_end = grpc_server_new(&loop, methods, ARRAY_LEN(methods), &limits, NULL);
    CU_ASSERT_EQUAL_FATAL(grpc_server_listen(server_end, sock_listen_unix(path, 0600), NULL, "test"), 0);
    resolver = resolver_new(&loop);
    pool_worker_init(&worker, 0);
    worker.send = on_told;
    client_of = (struct pool_client){ .channel = CHANNEL, .message = on_worker };
    pool_channel_attach(&worker, &client_of);
    say_started("");
    n_hops = 0;
    answered = refused = false;
    no_choice = NULL;
    memset(&server_over, 0, sizeof(server_over));
    reason[0] = passed_over[0] = chosen[0] = 0;
}

static void end(void)
{
    hop_fini(&client);
    hop_fini(&server);
    list_del(&client_of.node);
    pool_worker_fini(&worker);
    grpc_server_free(server_end);
    resolver_free(resolver);
    loop_fini(&loop);
    unlink(path);
    for (unsigned i = 0; i < n_hops; i++)
        scistream__worker__hop__free_unpacked(hops[i], NULL);
}

static bool turn_until(const bool *done)
{
    for (uint64_t until = now_ns() + 10 * NS_PER_S; !*done && now_ns() < until;)
        loop_turn(&loop, 10 * NS_PER_MS);
    return *done;
}

static bool turn_until_told(unsigned n)
{
    for (uint64_t until = now_ns() + 10 * NS_PER_S; n_hops < n && now_ns() < until;)
        loop_turn(&loop, 10 * NS_PER_MS);
    return n_hops == n;
}

/* The client offers these, with these addresses of its own. */
static void dial(char *const *transports, const char *addresses)
{
    struct grpc_target t = { .unix_path = path, .connect_ns = 10 * NS_PER_S, .silent_ns = 10 * NS_PER_S };
    client = (struct hop){ .step_ns = 10 * NS_PER_S };
    client.want = (struct hop_offer){ .name = mem_strdup("route"), .role = SCISTREAM__GATEWAY__V1__ROLE__SEND, .channel = -1,
                                      .transports = strv_copy(transports), .software = mem_strdup("test"),
                                      .addresses = addresses ? mem_strdup(addresses) : NULL };
    hop_dial(&client, &loop, resolver, &t, &events, NULL);
}

/* The server's worker says so of the end that it prepares. */
static void say_failed(int rc, const char *text)
{
    Scistream__Worker__Failed f = SCISTREAM__WORKER__FAILED__INIT;
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    f.channel = CHANNEL;
    f.code = err_to_wire(rc);
    f.text = (char *)(uintptr_t)text;
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_FAILED;
    m.failed = &f;
    CU_ASSERT_PTR_NULL(pool_worker_heard(&worker, &m));
}

static void say_prepared(const char *address)
{
    Scistream__Worker__Prepared p = SCISTREAM__WORKER__PREPARED__INIT;
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    p.channel = CHANNEL;
    p.address = (char *)(uintptr_t)address;
    p.port = 7;
    p.chunk_max = 1000;
    p.window = 65536;
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_PREPARED;
    m.prepared = &p;
    CU_ASSERT_PTR_NULL(pool_worker_heard(&worker, &m));
}

static void expect_answer(const char *transport, const char *over)
{
    CU_ASSERT_TRUE(turn_until(&answered));
    CU_ASSERT_STRING_EQUAL(chosen, transport);
    CU_ASSERT_STRING_EQUAL(passed_over, over);
}

static void expect_refusal(int rc, const char *why)
{
    CU_ASSERT_TRUE(turn_until(&refused));
    CU_ASSERT(over_rc == rc && !answered);
    CU_ASSERT_STRING_EQUAL(reason, why);
}

/* ------------------------------------------------------------ the choice */

static void test_best_is_taken(void)
{
    begin();
    dial(ours, "10.0.0.1 10.0.0.2");
    CU_ASSERT_TRUE_FATAL(turn_until_told(1));
    CU_ASSERT(str_eq(hops[0]->transport, "verbs") && hops[0]->how == SCISTREAM__WORKER__HOP__HOW__ACCEPT && !answered);
    CU_ASSERT(hops[0]->n_peer_addresses == 2 && str_eq(hops[0]->peer_addresses[0], "10.0.0.1") && str_eq(hops[0]->peer_addresses[1], "10.0.0.2"));
    CU_ASSERT_EQUAL(hops[0]->key.len, 0);
    say_prepared("10.0.0.9");
    expect_answer("verbs", "");
    end();
}

/* verbs does not reach, ucx neither: link it is, and the ANSWER says why; each try with a cookie of its own. */
static void test_passed_over(void)
{
    begin();
    dial(ours, "10.0.0.1");
    CU_ASSERT_TRUE_FATAL(turn_until_told(1));
    say_failed(-SST_ENOTRANSPORT, "verbs: 10.0.0.1 is not reached from rxe0:1 (10.1.0.1)");
    CU_ASSERT_TRUE_FATAL(turn_until_told(2));
    CU_ASSERT(str_eq(hops[1]->transport, "ucx") && hops[1]->n_peer_addresses == 0 && !answered);
    CU_ASSERT(memcmp(cookies[0], cookies[1], sizeof(cookies[0])) != 0 && memcmp(nonces[0], nonces[1], sizeof(nonces[0])) != 0);
    CU_ASSERT(hops[1]->cookie.len == 16 && memcmp(hops[1]->cookie.data, cookies[1], 16) == 0);
    say_failed(-SST_ENOTRANSPORT, "no way there");
    CU_ASSERT_TRUE_FATAL(turn_until_told(3));
    CU_ASSERT_STRING_EQUAL(hops[2]->transport, "link");
    say_prepared("");
    expect_answer("link", "verbs: 10.0.0.1 is not reached from rxe0:1 (10.1.0.1); ucx: no way there");
    end();
}

static void test_next_is_not_usable(void)
{
    char *few[] = { verbs, links, NULL };
    begin();
    dial(few, NULL);
    CU_ASSERT_TRUE_FATAL(turn_until_told(1));
    say_failed(-SST_ENOTRANSPORT, "not reached");
    CU_ASSERT_TRUE_FATAL(turn_until_told(2));
    CU_ASSERT_STRING_EQUAL(hops[1]->transport, "link"); /* ucx was not offered */
    say_prepared("");
    expect_answer("link", "verbs: not reached; ucx: not offered by the client");
    end();
}

static void test_none_is_left(void)
{
    char *require[] = { verbs, NULL }, *strange[] = { verbs, carrier, NULL };
    begin();
    dial(require, "10.0.0.1");
    CU_ASSERT_TRUE_FATAL(turn_until_told(1));
    say_failed(-SST_ENOTRANSPORT, "not reached");
    expect_refusal(-SST_ENOTRANSPORT, "no common transport (verbs: not reached; ucx: not offered by the client; link: not offered by the client)");
    end();
    begin();
    dial(strange, "10.0.0.1");
    CU_ASSERT_TRUE_FATAL(turn_until_told(1));
    say_failed(-SST_ENOTRANSPORT, "not reached");
    expect_refusal(-SST_ENOTRANSPORT, "no common transport (verbs: not reached; ucx: not offered by the client; link: not offered by the client; "
                                      "carrier: not accepted by this route)");
    end();
    begin();
    say_started("this machine has no RDMA device");
    dial(require, NULL);
    expect_refusal(-SST_ENOTRANSPORT, "no common transport (verbs: this machine has no RDMA device; ucx: not offered by the client; "
                                      "link: not offered by the client)");
    CU_ASSERT(n_hops == 0 && no_choice);
    end();
}

/* Any other failure ends the hop, and that one too once the ANSWER is out. */
static void test_other_failures(void)
{
    begin();
    dial(ours, NULL);
    CU_ASSERT_TRUE_FATAL(turn_until_told(1));
    say_failed(-ENOMEM, "no memory");
    expect_refusal(err_from_wire(err_to_wire(-ENOMEM)), "no memory");
    CU_ASSERT_EQUAL(n_hops, 1);
    end();
    begin();
    dial(ours, NULL);
    CU_ASSERT_TRUE_FATAL(turn_until_told(1));
    say_prepared("10.0.0.9");
    expect_answer("verbs", "");
    say_failed(-SST_ENOTRANSPORT, "too late");
    CU_ASSERT_TRUE(turn_until(&refused));
    CU_ASSERT(n_hops == 1 && over_rc == -SST_ENOTRANSPORT && str_eq(reason, "too late"));
    end();
}

/* ------------------------------------------------------------ the peer lost the data connection, and says so before our worker does */

static void say_up(void)
{
    Scistream__Worker__Up u = SCISTREAM__WORKER__UP__INIT;
    FromWorker m = SCISTREAM__WORKER__FROM_WORKER__INIT;
    u.channel = CHANNEL;
    m.what_case = SCISTREAM__WORKER__FROM_WORKER__WHAT_UP;
    m.up = &u;
    CU_ASSERT_PTR_NULL(pool_worker_heard(&worker, &m));
}

static void turn_for(uint64_t ns)
{
    for (uint64_t until = now_ns() + ns; now_ns() < until;)
        loop_turn(&loop, 10 * NS_PER_MS);
}

/* The client gives the hop up with that code; the server's end has its data connection, or has not. */
static void peer_aborts(bool up, int rc)
{
    begin();
    dial(ours, NULL);
    CU_ASSERT_TRUE_FATAL(turn_until_told(1));
    say_prepared("10.0.0.9");
    CU_ASSERT_TRUE_FATAL(turn_until(&answered));
    if (up)
        say_up();
    turn_for(20 * NS_PER_MS);
    hop_abort(&client, rc, "the peer's words");
}

static void expect_over(int rc, bool by_peer, const char *text)
{
    for (uint64_t until = now_ns() + 10 * NS_PER_S; server_over.times == 0 && now_ns() < until;)
        loop_turn(&loop, 10 * NS_PER_MS);
    CU_ASSERT(server_over.times == 1 && server_over.rc == rc && server_over.by_peer == by_peer);
    CU_ASSERT_STRING_EQUAL(server_over.text, text);
    turn_for(400 * NS_PER_MS); /* once */
    CU_ASSERT_EQUAL(server_over.times, 1);
    end();
}

static void peer_lost(void)
{
    peer_aborts(true, -SST_ELOST);
    for (uint64_t until = now_ns() + 10 * NS_PER_S; !server.peer_lost && !server_over.times && now_ns() < until;)
        loop_turn(&loop, 10 * NS_PER_MS);
    CU_ASSERT(server.peer_lost && server_over.times == 0);
}

static void test_own_worker_knows_more(void)
{
    for (int ends = 0; ends < 2; ends++) {
        peer_lost();
        server_over.ends = ends;
        say_failed(-SST_EDEVICE, "our cable is out");
        expect_over(-SST_EDEVICE, false, "our cable is out");
    }
}

static void test_own_worker_knows_nothing(void)
{
    peer_lost();
    expect_over(-SST_ELOST, true, "the peer's words");
    peer_lost();
    say_failed(-SST_ELOST, "lost"); /* no more than the peer said */
    expect_over(-SST_ELOST, true, "the peer's words");
    peer_lost();
    server_over.ends = true;
    expect_over(-SST_ELOST, true, "the peer's words");
}

static void test_own_worker_is_not_asked(void)
{
    peer_aborts(true, -SST_EINTERRUPTED);
    expect_over(-SST_EINTERRUPTED, true, "the peer's words");
    peer_aborts(false, -SST_ELOST); /* before there was a connection */
    expect_over(-SST_ELOST, true, "the peer's words");
}

/* The owner ends the hop while it waits. */
static void test_ended_while_peer_is_lost(void)
{
    peer_lost();
    hop_abort(&server, -SST_EDRAINING, "stop");
    hop_fini(&server);
    turn_for(400 * NS_PER_MS);
    CU_ASSERT_EQUAL(server_over.times, 0);
    end();
}

/* ------------------------------------------------------------ addresses of a stranger */

static void offers(const char *addresses, size_t n, const char *first)
{
    begin();
    dial(ours, addresses);
    CU_ASSERT_TRUE_FATAL(turn_until_told(1));
    CU_ASSERT_EQUAL(hops[0]->n_peer_addresses, n);
    if (n && hops[0]->n_peer_addresses)
        CU_ASSERT_STRING_EQUAL(hops[0]->peer_addresses[0], first);
    end();
}

static void test_addresses(void)
{
    AUTO_FREE char *digits = mem_printf("%0500d fd00::1", 1);
    offers(NULL, 0, "");
    offers("", 0, "");
    offers("   ", 0, "");
    offers(" fd00::1  10.0.0.1 ", 2, "fd00::1");
    offers("example.org 10.0.0.1:80 [::1] 10.0.0.256 10.0.0.3", 1, "10.0.0.3");
    offers("fe80::1%lo 10.0.0.4", 1, "10.0.0.4"); /* a scope of his machine */
    offers("10.0.0.5\n10.0.0.6", 0, "");
    offers("1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 1.1.1.9", HOP_PEER_ADDRESSES, "1.1.1.1");
    offers(digits, 1, "fd00::1");
}

UNIT_MAIN("hop", UNIT(test_best_is_taken), UNIT(test_passed_over), UNIT(test_next_is_not_usable), UNIT(test_none_is_left),
          UNIT(test_other_failures), UNIT(test_own_worker_knows_more), UNIT(test_own_worker_knows_nothing), UNIT(test_own_worker_is_not_asked),
          UNIT(test_ended_while_peer_is_lost), UNIT(test_addresses))
