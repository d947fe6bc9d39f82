/* Who is it: the file of tokens, what answers of an introspection server say, what is remembered of them, and calls that wait for them. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "ctrl/tokens.h"
#include "ctrl/verdicts.h"
#include "ctrl/who.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "tcp/sock.h"
#include "tests/lib/capture.h"
#include "tests/lib/unit.h"

static char dir[] = "/tmp/unit_who.XXXXXX", file[64], why[600], logged[4000];

static void test_begin(void)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    log_setup("unit_who", LOG_LEVEL_INFO, LOG_TARGET_STDERR, LOG_FORMAT_TEXT);
}

static const char *put(const char *name, const char *text, mode_t mode)
{
    snprintf(file, sizeof(file), "%s/%s", dir, name);
    unlink(file);
    FILE *f = fopen(file, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(text, f);
    fclose(f);
    CU_ASSERT_EQUAL(chmod(file, mode), 0);
    return file;
}

/* ------------------------------------------------------------ the file of tokens */

/* printf '%s%s' 00112233445566778899aabbccddeeff opensesame | sha256sum */
#define SALT "00112233445566778899aabbccddeeff"
#define HASH "0aaba985519c26857fef8f2f915ac0612c32641054283a96ca411bb9a722bfce"

static void test_tokens(void)
{
    AUTO_FREE char *alice = tokens_line("alice@anl.gov", "token of alice", 0), *bob = tokens_line("bob", "token of bob", 2000000000);
    AUTO_FREE char *text = mem_printf("# people\n\n%s\n  \t%s\r\n", alice, bob);
    struct tokens *t, *other;
    CU_ASSERT_EQUAL_FATAL(tokens_load(&t, put("tokens", text, 0600), why, sizeof(why)), 0);
    const struct token_line *l = tokens_find(t, "token of alice");
    CU_ASSERT(l && str_eq(l->principal, "alice@anl.gov") && l->expires == 0);
    l = tokens_find(t, "token of bob");
    CU_ASSERT(l && str_eq(l->principal, "bob") && l->expires == 2000000000);
    CU_ASSERT(!tokens_find(t, "") && !tokens_find(t, "token of bobby") && !tokens_find(t, "token of Bob"));
    CU_ASSERT_PTR_NOT_NULL(strstr(bob, " expires 2033-05-18T03:33:20Z"));
    CU_ASSERT_EQUAL_FATAL(tokens_load(&other, put("tokens", text, 0400), why, sizeof(why)), 0);
    CU_ASSERT(tokens_same(t, other) && tokens_same(NULL, NULL) && !tokens_same(t, NULL) && !tokens_same(NULL, t));
    tokens_free(other);
    CU_ASSERT_EQUAL_FATAL(tokens_load(&other, put("tokens", alice, 0600), why, sizeof(why)), 0);
    CU_ASSERT(!tokens_same(t, other) && !tokens_find(other, "token of bob"));
    tokens_free(other);
    tokens_free(t);
    tokens_free(NULL);
}

static void test_token_of_other_tools(void)
{
    struct tokens *t;
    CU_ASSERT_EQUAL_FATAL(tokens_load(&t, put("tokens", "carol sha256:" SALT ":" HASH " expires 2030-01-01T01:00:00+01:00", 0600), why, sizeof(why)), 0);
    const struct token_line *l = tokens_find(t, "opensesame");
    CU_ASSERT(l && str_eq(l->principal, "carol") && l->expires == 1893456000);
    tokens_free(t);
    CU_ASSERT_EQUAL(tokens_load(&t, put("tokens", "", 0600), why, sizeof(why)), 0);
    CU_ASSERT_PTR_NULL(tokens_find(t, "opensesame"));
    tokens_free(t);
}

static void test_tokens_refused(void)
{
    static const struct { const char *text, *why; } all[] = {
        { "alice", ":1: a line is PRINCIPAL sha256:SALT:HEX" }, { "# x\nalice md5:1:2", ":2: a line is" }, { "alice sha256:" SALT, "a line is" },
        { "alice sha256:0011:" HASH, "salt must be 32 hex" }, { "alice sha256:" SALT ":0011", "hash must be 64 hex" },
        { "alice sha256:" SALT ":" HASH " until 2030", "only 'expires'" }, { "alice sha256:" SALT ":" HASH " expires", "only 'expires'" },
        { "alice sha256:" SALT ":" HASH " expires tomorrow", "only 'expires'" },
        { "alice sha256:" SALT ":" HASH " expires 2030-01-01T00:00:00Z more", "only 'expires'" },
        { "anonymous sha256:" SALT ":" HASH, "cannot be a principal" }, { "local:0 sha256:" SALT ":" HASH, "cannot be a principal" },
    };
    struct tokens *t = NULL;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        CU_ASSERT_EQUAL(tokens_load(&t, put("tokens", all[i].text, 0600), why, sizeof(why)), -EINVAL);
        if (!str_starts(why, file) || !strstr(why, all[i].why))
            CU_FAIL(why);
    }
    CU_ASSERT_EQUAL(tokens_load(&t, put("tokens", "", 0640), why, sizeof(why)), -EPERM);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "chmod 600"));
    CU_ASSERT_EQUAL(tokens_load(&t, put("tokens", "", 0602), why, sizeof(why)), -EPERM);
    CU_ASSERT_EQUAL(tokens_load(&t, "/nonexistent/tokens", why, sizeof(why)), -ENOENT);
    CU_ASSERT_EQUAL(tokens_load(&t, dir, why, sizeof(why)), -EINVAL);
    CU_ASSERT_PTR_NULL(t);
}

static void test_token_limit(void)
{
    static const char line[] = "x sha256:" SALT ":" HASH "\n";
    struct tokens *t;
    AUTO_FREE char *many = mem_zalloc(TOKENS_MAX + 2, sizeof(line));
    for (int i = 0; i < TOKENS_MAX; i++)
        memcpy(many + (size_t)i * (sizeof(line) - 1), line, sizeof(line));
    CU_ASSERT_EQUAL_FATAL(tokens_load(&t, put("tokens", many, 0600), why, sizeof(why)), 0);
    tokens_free(t);
    memcpy(many + (size_t)TOKENS_MAX * (sizeof(line) - 1), line, sizeof(line));
    CU_ASSERT_EQUAL(tokens_load(&t, put("tokens", many, 0600), why, sizeof(why)), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, ":1001: there are 1000 tokens at most"));
}

/* ------------------------------------------------------------ answers of an introspection server */

#define NOW 1000000

static struct conf *conf;

static enum verdict_is reads(const char *json, struct verdict *v)
{
    introspect_read(&conf->auth, json, strlen(json), NOW, v);
    return v->is;
}

static void test_answers(void)
{
    struct verdict v;
    conf = conf_new();
    CU_ASSERT_EQUAL(reads("{\"active\": true, \"username\": \"alice@anl.gov\", \"exp\": 1000001}", &v), VERDICT_ACTIVE);
    CU_ASSERT(str_eq(v.principal, "alice@anl.gov") && v.expires == 1000001);
    CU_ASSERT(reads("{\"active\":true,\"username\":\"a\",\"extra\":{\"deep\":[1,null]}}", &v) == VERDICT_ACTIVE && v.expires == 0);
    CU_ASSERT_EQUAL(reads("{\"active\": false}", &v), VERDICT_INACTIVE);
    CU_ASSERT_EQUAL(reads("{\"active\":false,\"username\":\"a\"}", &v), VERDICT_INACTIVE);
    CU_ASSERT_EQUAL(reads("{\"active\":true,\"username\":\"a\",\"exp\":1000000}", &v), VERDICT_INACTIVE);
    CU_ASSERT_STRING_EQUAL(v.why, "the token has expired");
    CU_ASSERT_EQUAL(reads("{\"active\":true,\"username\":\"a\",\"nbf\":1000001}", &v), VERDICT_INACTIVE);
    CU_ASSERT_EQUAL(reads("{\"active\":true,\"sub\":\"a\"}", &v), VERDICT_INACTIVE);
    CU_ASSERT_PTR_NOT_NULL(strstr(v.why, "its field username"));
    CU_ASSERT_EQUAL(reads("{\"active\":true,\"username\":7}", &v), VERDICT_INACTIVE);
    CU_ASSERT_EQUAL(reads("{\"active\":true,\"username\":\"local:0\"}", &v), VERDICT_INACTIVE);
    CU_ASSERT_EQUAL(reads("{\"active\":true,\"username\":\"a\\nb\"}", &v), VERDICT_INACTIVE);
    conf_free(conf);
}

static void test_answers_that_are_none(void)
{
    static const char *const all[] = {
        "", "null", "[]", "{", "true", "{}", "{\"active\":1}", "{\"active\":\"true\"}", "{\"active\":null}", "<html>no</html>", "{\"active\":true}x",
        "{\"active\":false,\"active\":true,\"username\":\"a\"}", "{\"active\":true,\"username\":\"a\",\"exp\":\"never\"}",
        "{\"active\":true,\"username\":\"a\",\"exp\":-1}", "{\"active\":true,\"username\":\"a\",\"exp\":1e300}", "{\"active\":true,\"username\":\"\xff\"}",
        "{\"active\":true,\"username\":\"a\\u0000b\"}",
    };
    struct verdict v;
    conf = conf_new();
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (reads(all[i], &v) != VERDICT_UNKNOWN || !*v.why || *v.principal)
            CU_FAIL(all[i]);
    AUTO_FREE char *deep = mem_zalloc(1, 60001);
    memset(deep, '[', 60000);
    CU_ASSERT_EQUAL(reads(deep, &v), VERDICT_UNKNOWN);
    conf_free(conf);
}

static void test_what_answers_must_have(void)
{
    static const char *const set[] = { "auth.principal_field=email", "auth.required_scope=stream:all", "auth.required_audience=gw1" };
    struct verdict v;
    conf = conf_new();
    for (size_t i = 0; i < ARRAY_LEN(set); i++)
        CU_ASSERT_EQUAL(conf_set(conf, set[i], why, sizeof(why)), 0);
#define ANSWER(scope, aud) "{\"active\":true,\"email\":\"a@b\",\"username\":\"other\",\"scope\":" scope ",\"aud\":" aud "}"
    CU_ASSERT(reads(ANSWER("\"openid stream:all\"", "\"gw1\""), &v) == VERDICT_ACTIVE && str_eq(v.principal, "a@b"));
    CU_ASSERT_EQUAL(reads(ANSWER("\"stream:all\"", "[\"x\", 7, \"gw1\"]"), &v), VERDICT_ACTIVE);
    CU_ASSERT_EQUAL(reads(ANSWER("\"stream:allx xstream:all stream\"", "\"gw1\""), &v), VERDICT_INACTIVE);
    CU_ASSERT_PTR_NOT_NULL(strstr(v.why, "lacks the scope stream:all"));
    CU_ASSERT_EQUAL(reads(ANSWER("7", "\"gw1\""), &v), VERDICT_INACTIVE);
    CU_ASSERT_EQUAL(reads(ANSWER("\"stream:all\"", "\"gw2\""), &v), VERDICT_INACTIVE);
    CU_ASSERT_EQUAL(reads(ANSWER("\"stream:all\"", "[]"), &v), VERDICT_INACTIVE);
    CU_ASSERT_EQUAL(reads("{\"active\":true,\"email\":\"a@b\"}", &v), VERDICT_INACTIVE);
    conf_free(conf);
}

/* ------------------------------------------------------------ what is remembered */

static struct { unsigned asked, cancelled, under_way; introspect_done *done; void *user; char token[80]; } server; /* the last question */

static void *server_start(void *of UNUSED, const char *token, introspect_done *done, void *user)
{
    server.asked++;
    server.under_way++;
    server.done = done;
    server.user = user;
    str_copy(server.token, sizeof(server.token), token);
    return &server;
}

static void server_cancel(void *inquiry)
{
    CU_ASSERT_PTR_EQUAL(inquiry, &server);
    server.cancelled++;
    server.under_way--;
}

static void server_says(enum verdict_is is, const char *principal, int64_t expires)
{
    struct verdict v = { .is = is, .expires = expires };
    str_copy(v.principal, sizeof(v.principal), principal);
    server.under_way--;
    server.done(server.user, &v);
}

static const struct verdicts_source source = { .start = server_start, .cancel = server_cancel };
static struct verdicts *verdicts;
static unsigned told;
static struct verdict heard;
static struct verdicts_waiter waiters[1000];

static void on_told(struct verdicts_waiter *w, const struct verdict *v)
{
    told++;
    heard = *v;
    if (w == &waiters[0] && str_eq(v->principal, "canceller")) /* others go away because of it */
        verdicts_cancel(verdicts, &waiters[1]);
}

static int ask(const char *token, struct verdicts_waiter *w, struct verdict *v)
{
    w->told = on_told;
    return verdicts_ask(verdicts, token, NOW, w, v);
}

static void begin(uint64_t keep_ns)
{
    memset(&server, 0, sizeof(server));
    told = 0;
    verdicts = verdicts_new(&source, keep_ns);
}

static void test_many_ask_once(void)
{
    struct verdict v;
    begin(60 * NS_PER_S);
    for (size_t i = 0; i < ARRAY_LEN(waiters); i++)
        CU_ASSERT_EQUAL(ask("token", &waiters[i], &v), 0);
    CU_ASSERT(server.asked == 1 && told == 0 && str_eq(server.token, "token"));
    server_says(VERDICT_ACTIVE, "alice", 0);
    CU_ASSERT(told == ARRAY_LEN(waiters) && str_eq(heard.principal, "alice"));
    CU_ASSERT(ask("token", &waiters[0], &v) == 1 && str_eq(v.principal, "alice") && server.asked == 1);
    CU_ASSERT(ask("another", &waiters[0], &v) == 0 && server.asked == 2);
    verdicts_free(verdicts);
    CU_ASSERT(server.cancelled == 1 && told == ARRAY_LEN(waiters));
}

static void test_what_is_not_kept(void)
{
    struct verdict v;
    begin(60 * NS_PER_S);
    ask("t", &waiters[0], &v);
    server_says(VERDICT_UNKNOWN, "", 0); /* the next one asks again */
    CU_ASSERT(told == 1 && ask("t", &waiters[0], &v) == 0 && server.asked == 2);
    server_says(VERDICT_INACTIVE, "", 0);
    CU_ASSERT(ask("t", &waiters[0], &v) == 1 && v.is == VERDICT_INACTIVE);
    ask("u", &waiters[0], &v);
    server_says(VERDICT_ACTIVE, "u", NOW); /* has expired since */
    CU_ASSERT(ask("u", &waiters[0], &v) == 0 && server.asked == 4);
    verdicts_free(verdicts);
    begin(0);
    ask("t", &waiters[0], &v);
    server_says(VERDICT_ACTIVE, "t", 0);
    CU_ASSERT(ask("t", &waiters[0], &v) == 0 && server.asked == 2);
    verdicts_free(verdicts);
    begin(NS_PER_MS);
    ask("t", &waiters[0], &v);
    server_says(VERDICT_ACTIVE, "t", 0);
    for (uint64_t until = now_ns() + 2 * NS_PER_MS; now_ns() < until;)
        ;
    CU_ASSERT(ask("t", &waiters[0], &v) == 0 && server.asked == 2);
    verdicts_free(verdicts);
    verdicts_free(NULL);
}

/* How many of n tokens, the first of them being the oldest, are still known. */
static size_t known(enum verdict_is is, size_t n)
{
    char token[32];
    struct verdict v;
    size_t left = 0;
    begin(60 * NS_PER_S);
    for (size_t i = 0; i < n; i++) {
        snprintf(token, sizeof(token), "token %zu", i);
        CU_ASSERT_EQUAL(ask(token, &waiters[0], &v), 0);
        server_says(is, "x", 0);
    }
    for (size_t i = n; i-- > 0;) {
        snprintf(token, sizeof(token), "token %zu", i);
        if (ask(token, &waiters[0], &v) != 1)
            break;
        left++;
    }
    verdicts_free(verdicts);
    return left;
}

static void test_bounded(void)
{
    struct verdict v;
    char token[32];
    CU_ASSERT_EQUAL(known(VERDICT_ACTIVE, VERDICTS_ACTIVE + 500), VERDICTS_ACTIVE);
    CU_ASSERT_EQUAL(known(VERDICT_INACTIVE, VERDICTS_INACTIVE + 500), VERDICTS_INACTIVE);
    begin(60 * NS_PER_S);
    struct verdicts_waiter *many = mem_zalloc(VERDICTS_ASKED + 1, sizeof(*many));
    for (size_t i = 0; i <= VERDICTS_ASKED; i++) {
        snprintf(token, sizeof(token), "token %zu", i);
        CU_ASSERT_EQUAL(ask(token, &many[i], &v), i < VERDICTS_ASKED ? 0 : -SST_ELIMIT);
    }
    CU_ASSERT_EQUAL(ask("token 5", &waiters[0], &v), 0); /* that one is being asked about */
    verdicts_free(verdicts);
    free(many);
    CU_ASSERT(server.under_way == 0);
}

static void test_cancel(void)
{
    struct verdict v;
    begin(60 * NS_PER_S);
    ask("t", &waiters[0], &v);
    ask("t", &waiters[1], &v);
    verdicts_cancel(verdicts, &waiters[0]);
    CU_ASSERT(server.cancelled == 0);
    verdicts_cancel(verdicts, &waiters[1]);
    CU_ASSERT(server.cancelled == 1 && told == 0);
    CU_ASSERT(ask("t", &waiters[0], &v) == 0 && server.asked == 2);
    for (int i = 1; i < 4; i++)
        ask("t", &waiters[i], &v);
    server_says(VERDICT_ACTIVE, "canceller", 0);
    CU_ASSERT(told == 3 && server.cancelled == 1); /* all but the one who was taken away */
    verdicts_free(verdicts);
}

/* ------------------------------------------------------------ calls */

enum { BY_UNIX, BY_TLS };
static struct loop loop = { .epfd = -1, .sigfd = -1 };
static struct resolver *resolver;
static struct who *who;
static struct grpc_server *grpc;
static struct grpc_conn *conn;
static struct tls_ctx *server_tls, *client_tls;
static char path[64], pin[TLS_PIN_TEXT], cert[64], key[64];
static int silent_fd = -1; /* listens, and never says a word */
static uint16_t silent_port;
static struct caller caller;
static unsigned answers, gone;
static struct who_asking *waiting;
static enum grpc_status status;
static char text[400];
static bool ready, over;

static void on_who(void *user, const struct caller *c, enum grpc_status refused, const char *said)
{
    answers++;
    waiting = NULL;
    caller = c ? *c : (struct caller){ .admin = false };
    if (c)
        grpc_finish(user, GRPC_OK, "");
    else
        grpc_finish(user, refused, said);
}

static void on_request(struct grpc_call *c, const uint8_t *data UNUSED, size_t len UNUSED)
{
    struct who_asking *a = who_ask(who, c, on_who, c);
    if (a)
        waiting = a;
}

static void on_gone(struct grpc_call *c UNUSED, enum grpc_status s UNUSED, const char *said UNUSED)
{
    gone++;
    who_cancel(waiting);
    waiting = NULL;
}

static void nothing(struct grpc_call *c UNUSED) {}
static const struct grpc_handlers server_handlers = { .message = on_request, .closed = on_gone };
static const struct grpc_method methods[] = { { "/t/Ask", 1000, &server_handlers, nothing } };

static void on_reply(struct grpc_call *c UNUSED, const uint8_t *data UNUSED, size_t len UNUSED) {}

static void on_closed(struct grpc_call *c UNUSED, enum grpc_status s, const char *said)
{
    status = s;
    over = true;
    str_copy(text, sizeof(text), said);
}

static void on_ready(struct grpc_conn *c UNUSED, void *user UNUSED) { ready = true; }
static void on_lost(struct grpc_conn *c UNUSED, void *user UNUSED, const char *step UNUSED, int rc UNUSED, const char *said)
{
    str_copy(text, sizeof(text), said);
    over = true;
    conn = NULL;
}

#define UNTIL(cond) \
    do { \
        bool came; \
        for (uint64_t give_up = now_ns() + 30 * NS_PER_S; !(came = (cond)) && now_ns() < give_up;) \
            loop_turn(&loop, 10 * NS_PER_MS); \
        CU_ASSERT_FATAL(came); \
    } while (0)

static void use(const char *const *settings)
{
    struct conf *c = conf_new();
    for (; settings && *settings; settings++)
        CU_ASSERT_EQUAL_FATAL(conf_set(c, *settings, why, sizeof(why)), 0);
    struct who_setup *s = who_load(who, c, "gw1", why, sizeof(why));
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    who_use(who, s);
    conf_free(c);
}

static int listen_anywhere(uint16_t *port)
{
    union sockaddr_any at;
    socklen_t len = sizeof(at);
    addr_numeric("127.0.0.1", 0, &at);
    int fd = sock_listen(&at);
    CU_ASSERT_FATAL(fd >= 0 && getsockname(fd, &at.sa, &len) == 0);
    *port = addr_port(&at);
    return fd;
}

static uint16_t serve(int how)
{
    const struct grpc_limits limits = { .connections = 10, .streams = 100, .handshake_ns = 30 * NS_PER_S, .silent_ns = 30 * NS_PER_S };
    uint16_t port = 0;
    loop = (struct loop){ .epfd = -1, .sigfd = -1 };
    CU_ASSERT_EQUAL_FATAL(loop_init(&loop), 0);
    resolver = resolver_new(&loop);
    who = who_new(&loop, resolver);
    grpc = grpc_server_new(&loop, methods, ARRAY_LEN(methods), &limits, NULL);
    snprintf(path, sizeof(path), "%s/sock", dir);
    unlink(path);
    if (how == BY_TLS) {
        unlink(cert);
        unlink(key);
        snprintf(cert, sizeof(cert), "%s/cert", dir);
        snprintf(key, sizeof(key), "%s/key", dir);
        CU_ASSERT_EQUAL_FATAL(tls_make_identity("daq.example.org", cert, key, why, sizeof(why)), 0);
        server_tls = tls_ctx_self_signed("localhost", "h2", why, sizeof(why));
        CU_ASSERT_EQUAL_FATAL(tls_ctx_ask(server_tls, cert, why, sizeof(why)), 0); /* it is its own CA */
        tls_ctx_pin(server_tls, pin);
        char *pins[] = { pin, NULL };
        client_tls = tls_ctx_client(NULL, pins, "h2", why, sizeof(why));
    }
    int fd = how == BY_UNIX ? sock_listen_unix(path, 0600) : listen_anywhere(&port);
    CU_ASSERT_EQUAL_FATAL(grpc_server_listen(grpc, fd, server_tls, "test"), 0);
    silent_fd = listen_anywhere(&silent_port);
    answers = gone = 0;
    return port;
}

static void stop(void)
{
    grpc_hang_up(conn);
    conn = NULL;
    grpc_server_free(grpc);
    who_free(who);
    who_free(NULL);
    resolver_free(resolver);
    loop_fini(&loop);
    tls_ctx_free(server_tls);
    tls_ctx_free(client_tls);
    server_tls = client_tls = NULL;
    close(silent_fd);
}

/* Call with this token; the answer is waited for unless `wait` is false. */
static struct grpc_call *call(uint16_t port, const char *token, bool wait)
{
    static const struct grpc_dialer dialer = { on_ready, on_lost };
    static const struct grpc_handlers handlers = { .message = on_reply, .closed = on_closed };
    struct grpc_target t = { .unix_path = path, .connect_ns = 30 * NS_PER_S, .silent_ns = 30 * NS_PER_S, .authorization = token };
    if (port) {
        t.host = "127.0.0.1";
        t.port = port;
        t.tls = client_tls;
    }
    grpc_hang_up(conn);
    ready = over = false;
    *text = 0;
    conn = grpc_dial(&loop, resolver, &t, &dialer, NULL);
    UNTIL(ready || over);
    struct grpc_call *c = over ? NULL : grpc_call(conn, "/t/Ask", &handlers, 1000, 0, NULL);
    if (c) {
        grpc_send(c, "", 0);
        grpc_half_close(c);
    }
    if (wait)
        UNTIL(over);
    return c;
}

static void test_local(void)
{
    static const char *const asks[] = { "auth.client_ca=x", NULL };
    char name[40];
    serve(BY_UNIX);
    use(asks); /* not of those who come by the local socket */
    call(0, NULL, true);
    snprintf(name, sizeof(name), "local:%u", getuid());
    CU_ASSERT(status == GRPC_OK && answers == 1 && caller.how == CALLER_LOCAL && caller.admin && str_eq(caller.principal, name) && str_starts(caller.from, "unix (uid "));
    stop();
}

static void test_nobody_is_asked(void)
{
    uint16_t port = serve(BY_TLS);
    use(NULL);
    static const char *const tokens[] = { NULL, "INVALID_TOKEN", "Bearer whatever" };
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        call(port, tokens[i], true);
        CU_ASSERT(status == GRPC_OK && caller.how == CALLER_ANONYMOUS && !caller.admin && str_eq(caller.principal, "anonymous") && str_starts(caller.from, "127.0.0.1:"));
    }
    stop();
}

static void test_certificates(void)
{
    uint16_t port = serve(BY_TLS);
    AUTO_FREE char *ca = mem_printf("auth.client_ca=%s", cert);
    const char *const settings[] = { ca, "auth.scope_id=the-scope", NULL };
    use(settings);
    call(port, NULL, true);
    CU_ASSERT(status == GRPC_UNAUTHENTICATED && str_eq(text, "Authentication token is missing for scope the-scope"));
    CU_ASSERT_EQUAL_FATAL(tls_ctx_show(client_tls, cert, key, why, sizeof(why)), 0);
    call(port, "some token that is not looked at", true);
    CU_ASSERT(status == GRPC_OK && caller.how == CALLER_CERTIFICATE && str_eq(caller.principal, "daq.example.org") && caller.expires > time(NULL));
    use(NULL); /* not a word of certificates any more */
    call(port, NULL, true);
    CU_ASSERT(status == GRPC_OK && caller.how == CALLER_ANONYMOUS);
    char stranger[80], stranger_key[80];
    snprintf(stranger, sizeof(stranger), "%s/stranger", dir);
    snprintf(stranger_key, sizeof(stranger_key), "%s/stranger_key", dir);
    CU_ASSERT_EQUAL(tls_make_identity("daq.example.org", stranger, stranger_key, why, sizeof(why)), 0);
    CU_ASSERT_EQUAL_FATAL(tls_ctx_show(client_tls, stranger, stranger_key, why, sizeof(why)), 0);
    unsigned before = answers;
    struct capture c = capture_begin(STDERR_FILENO);
    call(port, NULL, true);
    capture_end(&c, logged, sizeof(logged));
    CU_ASSERT(answers == before && status != GRPC_UNAUTHENTICATED);
    CU_ASSERT_PTR_NOT_NULL(strstr(logged, "TLS: the client's certificate: self-signed certificate"));
    CU_ASSERT(tls_ctx_ask(server_tls, "/nonexistent", why, sizeof(why)) < 0 && strstr(why, "/nonexistent: No such file"));
    CU_ASSERT(tls_ctx_revoke(server_tls, "/nonexistent", why, sizeof(why)) < 0 && strstr(why, "/nonexistent: "));
    CU_ASSERT(tls_ctx_revoke(server_tls, cert, why, sizeof(why)) < 0 && strstr(why, "/cert: "));
    CU_ASSERT(tls_ctx_show(client_tls, "/nonexistent", key, why, sizeof(why)) < 0 && strstr(why, "/nonexistent"));
    CU_ASSERT(tls_ctx_show(client_tls, cert, "/nonexistent", why, sizeof(why)) < 0 && strstr(why, "/nonexistent"));
    unlink(stranger);
    unlink(stranger_key);
    stop();
}

static void test_token_file(void)
{
    uint16_t port = serve(BY_TLS);
    AUTO_FREE char *alice = tokens_line("alice", "secret of alice", 0), *old = tokens_line("old", "secret of old", 1000), *late = tokens_line("late", "secret of late", 4000000000);
    AUTO_FREE char *lines = mem_printf("%s\n%s\n%s\n", alice, old, late);
    AUTO_FREE char *set = mem_printf("auth.token_file=%s", put("tokens", lines, 0600));
    const char *const settings[] = { set, NULL };
    use(settings);
    static const struct { const char *token, *principal, *refused; } all[] = {
        { "secret of alice", "alice", "" }, { "Bearer secret of alice", "alice", "" }, { "bearer  secret of alice", "alice", "" },
        { "secret of late", "late", "" }, { "secret of old", "", "invalid" }, { "secret of", "", "invalid" }, { "INVALID_TOKEN", "", "invalid" },
        { "Bearer", "", "invalid" }, { NULL, "", "missing" }, { "Basic secret of alice", "", "invalid" },
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        call(port, all[i].token, true);
        AUTO_FREE char *refusal = mem_printf("Authentication token is %s for scope gw1", all[i].refused);
        CU_ASSERT_EQUAL(status, *all[i].refused ? GRPC_UNAUTHENTICATED : GRPC_OK);
        CU_ASSERT_STRING_EQUAL(caller.principal, all[i].principal);
        CU_ASSERT_STRING_EQUAL(text, *all[i].refused ? refusal : "");
        CU_ASSERT(*all[i].refused || (caller.how == CALLER_TOKEN && caller.expires == (str_eq(caller.principal, "late") ? 4000000000 : 0)));
    }
    stop();
}

/* ------------------------------------------------------------ calls that wait */

static void introspect_at(uint16_t port, const char *timeout)
{
    AUTO_FREE char *url = mem_printf("auth.introspection_url=https://127.0.0.1:%u/introspect", port);
    AUTO_FREE char *credentials = mem_printf("auth.introspection_credentials_file=%s", put("credentials", "id:secret\n", 0600));
    AUTO_FREE char *time = mem_printf("auth.introspection_timeout=%s", timeout);
    const char *const settings[] = { url, credentials, time, NULL };
    use(settings);
}

static void test_server_down(void)
{
    uint16_t port = serve(BY_TLS);
    close(silent_fd);
    silent_fd = -1;
    introspect_at(silent_port, "10s");
    struct capture c = capture_begin(STDERR_FILENO);
    call(port, "a token", true);
    capture_end(&c, logged, sizeof(logged));
    CU_ASSERT(status == GRPC_UNAVAILABLE && strstr(text, "the introspection service does not answer"));
    CU_ASSERT(strstr(logged, "token introspection: 127.0.0.1: ") && strstr(logged, "nobody is let in") && !strstr(logged, "a token:"));
    CU_ASSERT_EQUAL(answers, 1);
    stop();
}

static void test_server_silent(void)
{
    uint16_t port = serve(BY_TLS);
    introspect_at(silent_port, "100ms");
    struct capture c = capture_begin(STDERR_FILENO);
    call(port, "a token", true);
    capture_end(&c, logged, sizeof(logged));
    CU_ASSERT(status == GRPC_UNAVAILABLE && strstr(logged, "127.0.0.1 does not answer within 100 ms"));
    stop();
}

static void test_call_goes_away(void)
{
    uint16_t port = serve(BY_TLS);
    introspect_at(silent_port, "60s");
    struct grpc_call *c = call(port, "a token", false);
    UNTIL(waiting);
    grpc_cancel(c);
    UNTIL(gone == 1);
    CU_ASSERT(answers == 0 && !waiting);
    call(port, "a token", false); /* and one that is left when all ends */
    UNTIL(waiting);
    stop();
    CU_ASSERT(answers == 0);
}

/* Who waits when the configuration is another one is asked for anew. */
static void test_setup_changes(void)
{
    uint16_t port = serve(BY_TLS);
    introspect_at(silent_port, "60s");
    call(port, "a token", false);
    UNTIL(waiting);
    AUTO_FREE char *line = tokens_line("alice", "a token", 0);
    AUTO_FREE char *set = mem_printf("auth.token_file=%s", put("tokens", line, 0600));
    const char *const settings[] = { set, NULL };
    use(settings);
    CU_ASSERT_EQUAL(answers, 0); /* not from within */
    UNTIL(over);
    CU_ASSERT(status == GRPC_OK && answers == 1 && str_eq(caller.principal, "alice"));
    introspect_at(silent_port, "60s");
    call(port, "a token", false);
    UNTIL(waiting);
    introspect_at(silent_port, "100ms");
    struct capture c = capture_begin(STDERR_FILENO);
    UNTIL(over);
    capture_end(&c, logged, sizeof(logged));
    CU_ASSERT(status == GRPC_UNAVAILABLE && answers == 2);
    stop();
}

static void test_setup_refused(void)
{
    static const char *const all[][4] = {
        { "auth.token_file=/nonexistent", "auth: /nonexistent: " },
        { "auth.introspection_url=https://", "must be like https://", "auth.introspection_credentials_file=/x" },
        { "auth.introspection_url=https://x/", "auth: /nonexistent: ", "auth.introspection_credentials_file=/nonexistent" },
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct conf *c = conf_new();
        CU_ASSERT_EQUAL(conf_set(c, all[i][0], why, sizeof(why)), 0);
        CU_ASSERT(!all[i][2] || conf_set(c, all[i][2], why, sizeof(why)) == 0);
        CU_ASSERT_PTR_NULL(who_load(NULL, c, "gw1", why, sizeof(why)));
        if (!strstr(why, all[i][1]))
            CU_FAIL(why);
        conf_free(c);
    }
    struct conf *c = conf_new();
    AUTO_FREE char *credentials = mem_printf("auth.introspection_credentials_file=%s", put("credentials", "no colon\n", 0600));
    CU_ASSERT(conf_set(c, "auth.introspection_url=https://[::1]:8443/x", why, sizeof(why)) == 0 && conf_set(c, credentials, why, sizeof(why)) == 0);
    CU_ASSERT(!who_load(NULL, c, "gw1", why, sizeof(why)) && strstr(why, "must hold CLIENT_ID:CLIENT_SECRET"));
    put("credentials", "id:se:cret", 0600);
    struct who_setup *s = who_load(NULL, c, "gw1", why, sizeof(why));
    CU_ASSERT_PTR_NOT_NULL(s);
    who_setup_free(s);
    put("credentials", "id:secret", 0604);
    CU_ASSERT(!who_load(NULL, c, "gw1", why, sizeof(why)) && strstr(why, "chmod 600"));
    conf_free(c);
    who_setup_free(NULL);
}

/* ------------------------------------------------------------ audit */

static void test_audit(void)
{
    const struct caller c = { .principal = "alice \xc3\xa9", .how = CALLER_CERTIFICATE, .from = "192.0.2.1:4000" };
    struct capture cap = capture_begin(STDERR_FILENO);
    who_audit(&c, "", "Release", "0123", NULL);
    who_audit(&c, "", "Drain", "x\" allowed=yes\n", "no policy allows \"it\"");
    for (int i = 0; i < 50; i++)
        who_audit(NULL, "192.0.2.9:1", "Watch", "", "Authentication token is missing for scope x");
    for (int i = 0; i < 50; i++)
        who_audit(&(struct caller){ .principal = "anonymous", .from = "192.0.2.9:2" }, "", "Watch", "", "not here");
    capture_end(&cap, logged, sizeof(logged));
    CU_ASSERT_PTR_NOT_NULL(strstr(logged, "audit: principal=\"alice \xc3\xa9\" how=certificate from=\"192.0.2.1:4000\" what=Release uid=\"0123\" allowed=yes why=\"\"\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(logged, "what=Drain uid=\"x\\\" allowed=yes\\n\" allowed=no why=\"no policy allows \\\"it\\\"\"\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(logged, "audit: principal=\"\" how=none from=\"192.0.2.9:1\" what=Watch uid=\"\" allowed=no why=\"Authentication token is missing for scope x\"\n"));
    size_t lines = 0;
    for (const char *p = logged; (p = strchr(p, '\n')); p++)
        lines++;
    CU_ASSERT_EQUAL(lines, 12); /* of strangers ten */
}

static void test_end(void)
{
    AUTO_FREE char *command = mem_printf("rm -rf %s", dir);
    CU_ASSERT_EQUAL(system(command), 0);
}

UNIT_MAIN("who", UNIT(test_begin), UNIT(test_tokens), UNIT(test_token_of_other_tools), UNIT(test_tokens_refused), UNIT(test_token_limit), UNIT(test_answers),
          UNIT(test_answers_that_are_none), UNIT(test_what_answers_must_have), UNIT(test_many_ask_once), UNIT(test_what_is_not_kept), UNIT(test_bounded),
          UNIT(test_cancel), UNIT(test_local), UNIT(test_nobody_is_asked), UNIT(test_certificates), UNIT(test_token_file), UNIT(test_server_down),
          UNIT(test_server_silent), UNIT(test_call_goes_away), UNIT(test_setup_changes), UNIT(test_setup_refused), UNIT(test_audit), UNIT(test_end))
