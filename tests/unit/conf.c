#include <fcntl.h>
#include <sys/mman.h>

#include "src/core/conf.h"
#include "src/core/err.h"
#include "src/core/units.h"
#include "tests/lib/unit.h"

static struct conf *c;
static char why[1000];

static void fresh(void)
{
    conf_free(c);
    c = conf_new();
}

static void finish(void)
{
    conf_free(c);
    conf_free(NULL);
    c = NULL;
}

/* Read text into c; why is left without the name of the file, which must be there. */
static int read_text(const char *text)
{
    char path[64];
    AUTO_FD int fd = memfd_create("conf", MFD_CLOEXEC);
    CU_ASSERT(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    *why = 0;
    int rc = conf_read(c, path, why, sizeof(why));
    if (rc == 0)
        return 0;
    size_t n = strlen(path);
    CU_ASSERT(str_starts(why, path) && why[n] == ':');
    memmove(why, why + n + 1, strlen(why + n + 1) + 1);
    return rc;
}

static void check_read(const char *text)
{
    fresh();
    CU_ASSERT_EQUAL(read_text(text), 0);
    if (*why)
        printf("\n  %s", why);
}

static void check_refused(const char *text, const char *expect)
{
    fresh();
    CU_ASSERT_EQUAL(read_text(text), -SST_ECONF);
    CU_ASSERT_STRING_EQUAL(why, expect);
    if (!str_eq(why, expect))
        printf("\n  %s", why);
}

static void check_list(char *const *list, const char *expect)
{
    char out[200] = "";
    for (size_t i = 0; list[i]; i++)
        snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s;", list[i]);
    CU_ASSERT_STRING_EQUAL(out, expect);
}

/* ------------------------------------------------------------ the table */

static void test_defaults(void)
{
    fresh();
    CU_ASSERT_STRING_EQUAL(c->g.listen, "[::]:5000");
    CU_ASSERT_EQUAL(c->g.peer_timeout, 10 * NS_PER_S);
    CU_ASSERT_EQUAL(c->g.rendezvous_timeout, 600 * NS_PER_S);
    CU_ASSERT_EQUAL(c->g.log_level, LOG_LEVEL_INFO);
    CU_ASSERT_EQUAL(c->link.chunk, 1 << 20);
    CU_ASSERT_EQUAL(c->n_routes, 0);
    check_list(c->ucx.devices, "");
}

/* The order of these choices is that of the enums in log.h. */
static void test_log_choices(void)
{
    char error[] = "log_level=error", target[] = "log_target=journal", format[] = "log_format=json";
    fresh();
    CU_ASSERT(conf_set(c, error, why, sizeof(why)) == 0 && c->g.log_level == LOG_LEVEL_ERROR);
    CU_ASSERT(conf_set(c, "log_level=debug", why, sizeof(why)) == 0 && c->g.log_level == LOG_LEVEL_DEBUG);
    CU_ASSERT(conf_set(c, target, why, sizeof(why)) == 0 && c->g.log_target == LOG_TARGET_JOURNAL);
    CU_ASSERT(conf_set(c, format, why, sizeof(why)) == 0 && c->g.log_format == LOG_FORMAT_JSON);
}

static void test_sections(void)
{
    size_t n;
    const struct conf_section *s = conf_sections(&n);
    CU_ASSERT_EQUAL(n, 9);
    CU_ASSERT(str_eq(s[0].name, "") && str_eq(s[1].name, "ucx") && str_eq(s[2].name, "rdma") && str_eq(s[3].name, "link") && str_eq(s[4].name, "auth"));
    CU_ASSERT(str_eq(s[5].name, "capacity") && str_eq(s[6].name, "scistream") && !s[6].titled);
    CU_ASSERT(!s[0].titled && s[n - 2].titled && s[n - 1].titled && str_eq(s[n - 2].name, "route") && str_eq(s[n - 1].name, "policy"));
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < s[i].n; k++) {
            const struct value_row *row = &s[i].rows[k];
            size_t len = strlen(row->help);
            CU_ASSERT(len > 5 && row->help[len - 1] != '.');
            CU_ASSERT_PTR_EQUAL(value_find(s[i].rows, s[i].n, row->name), row); /* no name twice */
        }
}

/* ------------------------------------------------------------ files */

static void test_file(void)
{
    check_read("# a comment with \"quotes\" and { braces\n"
               "name = gw1          // bare\n"
               "listen = \"[::1]:6000\" /* quoted */\n"
               "workers = 2\n"
               "peer_timeout = 5s\n"
               "ucx { devices = {lo, \"ib0\"} }\n"
               "route \"detector\" {\n"
               "    accept = { ucx, link }\n"
               "    connect = gateway://gw2:5000/r\n"
               "    window = 4M\n"
               "    plaintext = yes\n"
               "}\n"
               "route bare { deliver = ucx secret_file = '/a b' }\n"
               "route empty { }\n"
               "ucx { port_range = 7000-7010 }\n");
    CU_ASSERT(str_eq(c->g.name, "gw1") && str_eq(c->g.listen, "[::1]:6000") && c->g.workers == 2 &&
              c->g.peer_timeout == 5 * NS_PER_S);
    check_list(c->ucx.devices, "lo;ib0;");
    CU_ASSERT_STRING_EQUAL(c->ucx.port_range, "7000-7010");
    CU_ASSERT_EQUAL_FATAL(c->n_routes, 3);
    const struct conf_route *r = conf_route(c, "detector");
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    check_list(r->accept, "ucx;link;");
    CU_ASSERT(str_eq(r->connect, "gateway://gw2:5000/r") && r->window == 4 << 20 && r->plaintext && r->channels == 0);
    check_list(c->routes[1]->deliver, "ucx;");
    check_list(c->routes[1]->accept, "link;");
    CU_ASSERT_STRING_EQUAL(c->routes[1]->secret_file, "/a b");
    CU_ASSERT_STRING_EQUAL(c->routes[2]->name, "empty");
    CU_ASSERT_PTR_NULL(conf_route(c, "other"));
}

static void test_empty_file(void)
{
    check_read("");
    check_read("\n\n");
    check_read("# only a comment");
    check_read("/* only\n a comment */");
    CU_ASSERT_EQUAL(c->n_routes, 0);
}

static void test_lists(void)
{
    check_read("ucx { devices = {a} devices += {b, c} devices += d }\nroute r { accept += ucx }\nroute s { accept = {} }\n"
               "route t { accept = {} accept += {\"x\"} }");
    check_list(c->ucx.devices, "a;b;c;d;");
    check_list(c->routes[0]->accept, "link;ucx;"); /* added to the default */
    check_list(c->routes[1]->accept, "");
    check_list(c->routes[2]->accept, "x;");
}

static void test_words(void)
{
    setenv("CONF_TEST_USER", "alice", 1);
    check_read("name = \"gw-${CONF_TEST_USER}-${CONF_TEST_NONE:-x}\"\nuser = ${CONF_TEST_USER}\n"
               "certificate = '${CONF_TEST_USER}'\nkey = \"\\${A}\\\"\\\\\\x41\"\ncontrol_socket = a//b/c\n"
               "advertise = \"a#b /*c*/ //d\"\nlink_address = \"x\\\ny\"\n");
    unsetenv("CONF_TEST_USER");
    CU_ASSERT_STRING_EQUAL(c->g.name, "gw-alice-x");
    CU_ASSERT_STRING_EQUAL(c->g.user, "alice");
    CU_ASSERT_STRING_EQUAL(c->g.certificate, "${CONF_TEST_USER}");
    CU_ASSERT_STRING_EQUAL(c->g.key, "${A}\"\\A");
    CU_ASSERT_STRING_EQUAL(c->g.control_socket, "a//b/c");
    CU_ASSERT_STRING_EQUAL(c->g.advertise, "a#b /*c*/ //d");
    CU_ASSERT_STRING_EQUAL(c->g.link_address, "xy");
}

/* A string that looks like a quoted one after libconfuse has taken the quotes off is taken as it is. */
static void test_quotes_once(void)
{
    check_read("name = '\"x\"'\nucx { devices = {'\"y\"'} }");
    CU_ASSERT_STRING_EQUAL(c->g.name, "\"x\"");
    check_list(c->ucx.devices, "\"y\";");
}

/* ------------------------------------------------------------ errors and their lines */

static void test_value_lines(void)
{
    check_refused("workers = 2\nworkers = 300\n", "2: workers = 300: must be 0 to 256");
    check_refused("# one\n// two\n/* three\n * four\n */\n\n\"workers\" = \"x\"\n", "7: workers = x: must be 0 to 256");
    check_refused("ucx {\n# c\n# c\n}\nlink { # x\n   chunk = 1K\n}", "6: chunk = 1K: must be 4K to 64M");
    check_refused("route a {\n window = 1M\n}\n\nroute b {\n window = 1M # ok\n window = 1K\n}\n",
                  "7: window = 1K: must be 64K to 4G");
    check_refused("route a {\n accept = {\n  ucx,\n  link # x\n }\n plaintext = maybe\n}\n",
                  "6: plaintext = maybe: must be yes or no");
    check_refused("name = \"two\nlines\"\nlog_level = loud", "3: log_level = loud: must be one of error|warn|info|debug");
    check_refused("name = 'two\nlines\\\nthree'\nlink { cipher = rc4 }",
                  "4: cipher = rc4: must be one of aes-256-gcm|aes-128-gcm|chacha20-poly1305");
    check_refused("a=1;", "1: no such option 'a'");
}

static void test_unknown_lines(void)
{
    check_refused("\n\nworker = 3\n", "3: no such option 'worker' (did you mean workers?)");
    check_refused("nmae = x\n", "1: no such option 'nmae' (did you mean name?)");
    check_refused("uxc { }\n", "1: no such option 'uxc' (did you mean ucx?)");
    check_refused("ucx { device = lo }\n", "1: no such option 'device' (did you mean devices?), in section ucx");
    check_refused("route x { widnow = 1M }\n", "1: no such option 'widnow' (did you mean window?), in route \"x\"");
    check_refused("bananas = 1\n", "1: no such option 'bananas'");
    check_refused("xy = 1\n", "1: no such option 'xy'");
    check_refused("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", "1: no such option '01234567...' (is this a configuration?)");
    check_refused("ucx {\n\n  window = 1M\n}\n", "3: no such option 'window', in section ucx");
    check_refused("route x {\n  # hm\n  listen = 1\n}\n", "3: no such option 'listen', in route \"x\"");
    check_refused("route x { }\n\nroutes y { }\n", "3: no such option 'routes' (did you mean route?)");
    check_refused("peer-timeout = 5s\n", "1: no such option 'peer-timeout' (did you mean peer_timeout?)");
}

static void test_route_lines(void)
{
    check_refused("route a { }\nroute b { }\nroute a { }\n", "3: found duplicate title 'a'");
    check_refused("\nroute \"a/b\" { window = 1M }\n",
                  "2: route \"a/b\": a name has 1 to 64 letters, digits, '.', '_', '-' and begins with a letter or digit");
    check_refused("\nroute \"\" {\n}\n",
                  "3: route \"\": a name has 1 to 64 letters, digits, '.', '_', '-' and begins with a letter or digit");
    check_refused("route {\n}\n", "1: missing title for section 'route'");
    check_refused("ucx lo {\n}\n", "1: missing opening brace for section 'ucx'");
}

/* libconfuse takes "section|option" for an option elsewhere: it must not end up in the wrong section. */
static void test_paths(void)
{
    check_refused("listen = x\nucx|listen = y\n", "2: listen: an option of a section must stand within its braces");
    check_refused("route a { }\n\"route=a|window\" = 2M\n", "2: window: an option of a section must stand within its braces");
    check_refused("\"route=b|window\" = 2M\n", "1: no sub-section 'b' in 'route'");
    check_refused("| = 1", "1: no such option '|'");
}

static void test_value_of_words(void)
{
    check_refused("workers = 2\npeer_timeout = 5 parsecs\nname = x\n",
                  "2: 'parsecs' after the value of peer_timeout: a value with spaces needs quotes");
    check_refused("peer_timeout = 5 parsecs # far\nucx { }\n",
                  "1: 'parsecs' after the value of peer_timeout: a value with spaces needs quotes");
    check_refused("name = my /* own */ gateway", "1: 'gateway' after the value of name: a value with spaces needs quotes");
    check_refused("route a {\n window = 1 M }", "2: 'M' after the value of window: a value with spaces needs quotes");
    check_refused("name = 'a' b", "1: 'b' after the value of name: a value with spaces needs quotes");
    check_refused("name = a 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                  "1: '01234567...' after the value of name: a value with spaces needs quotes");
    check_refused("name = a nmae\n= b", "1: no such option 'nmae' (did you mean name?)");
    check_read("workers = 2 name = x listen = 'y:1' ucx { devices = {lo} transports = tcp } route a { window = 1M }");
    check_read("workers = 2 route a { window = 1M channels\n= 2 } route \"b\" { accept = {ucx} secret_file = s }");
    check_read("workers = 2 name = x # and so on\nucx\n{ devices += lo listen = '1' }");
    check_read("name = 'my gateway'\npeer_timeout\n=\n5s workers = 1 ucx { }");
    CU_ASSERT(c->g.workers == 1 && c->g.peer_timeout == 5 * NS_PER_S);
}

static void test_syntax_lines(void)
{
    check_refused("workers 2\n", "1: missing equal sign after option 'workers'");
    check_refused("workers = \n", "2: premature end of file");
    check_refused("# c\nworkers = {2}\n", "2: unexpected token '{'");
    check_refused("name += x\n", "1: attempt to append to non-list option 'name'");
    check_refused("ucx {\n devices = {a b}\n}\n", "2: unexpected token 'b', in section ucx");
    check_refused("\nname = \"\\9\"\n", "2: bad escape sequence '\\9'");
    check_refused("= 3", "1: unexpected token '='");
    check_refused("(", "1: unexpected token '('");
}

/* What libconfuse would swallow without a word. */
static void test_text_lines(void)
{
    check_refused("name = x\nroute a {\n window = 1M\n\n", "2: '{' without '}'");
    check_refused("route a {\n window = 1M\n\nroute b { }\n}", "4: no such option 'route', in route \"a\"");
    check_refused("ucx { }\n}\n", "2: '}' without '{'");
    check_refused("\nname = \"abc\n\n", "2: this string is not closed");
    check_refused("\nname = 'abc\n\\", "2: this string is not closed");
    check_refused("\n\n/* abc\n", "3: this comment is not closed");
    check_refused("listen = *:5000", "1: a value with '*' must stand in quotes");
    check_refused("name = a+b", "1: a value with '+' must stand in quotes");
    check_refused("name = \"${HOME\"\n}", "1: '${' without '}'; for the characters themselves write \"\\${\"");
    check_refused("name = ${HOME\n}", "1: '${' without '}'; for the characters themselves write \"\\${\"");
}

static void test_files(void)
{
    char path[64];
    fresh();
    CU_ASSERT_EQUAL(conf_read(c, "/nonexistent/x.conf", why, sizeof(why)), -ENOENT);
    CU_ASSERT_STRING_EQUAL(why, "/nonexistent/x.conf: No such file or directory");
    CU_ASSERT_EQUAL(conf_read(c, "/", why, sizeof(why)), -EISDIR);
    CU_ASSERT_EQUAL(conf_read(c, "/nonexistent/x.conf", NULL, 0), -ENOENT);
    AUTO_FD int fd = memfd_create("conf", MFD_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    CU_ASSERT(write(fd, "\n\nname = a\0b", 12) == 12);
    CU_ASSERT_EQUAL(conf_read(c, path, why, sizeof(why)), -SST_ECONF);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, ":3: a NUL byte"));
    CU_ASSERT(ftruncate(fd, 2 << 20) == 0);
    CU_ASSERT_EQUAL(conf_read(c, path, why, sizeof(why)), -SST_ECONF);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, ":1: a configuration has at most 1 MiB"));
    CU_ASSERT_EQUAL(conf_read(c, path, NULL, 0), -SST_ECONF);
}

/* ------------------------------------------------------------ assignments */

static void check_set(const char *assignment)
{
    *why = 0;
    CU_ASSERT_EQUAL(conf_set(c, assignment, why, sizeof(why)), 0);
    CU_ASSERT_STRING_EQUAL(why, "");
}

static void check_not_set(const char *assignment, const char *expect)
{
    CU_ASSERT_EQUAL(conf_set(c, assignment, why, sizeof(why)), -SST_ECONF);
    CU_ASSERT_STRING_EQUAL(why, expect);
}

static void test_set(void)
{
    fresh();
    check_set("peer_timeout=5s");
    check_set(" workers = 3 ");
    check_set("ucx.devices=lo, ib0");
    check_set("link.chunk=1M");
    check_set("route.detector.window=4M");
    check_set("route.a.b.channels=7");
    check_set("route.detector.connect=gateway://x/y=z");
    check_set("name=");
    CU_ASSERT(c->g.peer_timeout == 5 * NS_PER_S && c->g.workers == 3 && c->link.chunk == 1 << 20);
    check_list(c->ucx.devices, "lo;ib0;");
    CU_ASSERT_EQUAL_FATAL(c->n_routes, 2);
    CU_ASSERT(conf_route(c, "detector")->window == 4 << 20 && conf_route(c, "a.b")->channels == 7);
    CU_ASSERT_STRING_EQUAL(conf_route(c, "detector")->connect, "gateway://x/y=z");
    CU_ASSERT_EQUAL(conf_set(c, "nothing", NULL, 0), -SST_ECONF);
}

static char *printed(bool commented);

static void test_policies(void)
{
    check_read("auth { token_file = /t  scope_id = s }\npolicy users { principals = {\"*@anl.gov\"} roles = {PROD, CONS} targets = {\"10.0.0.0/8:5000-6000\"}\n"
               "    sessions = 3 rate = 10Gbit lifetime = 8h }\npolicy nobody { }\nroute r { deliver = link secret_file = /s }");
    CU_ASSERT(str_eq(c->auth.token_file, "/t") && str_eq(c->auth.principal_field, "username") && conf_auth_asks(&c->auth));
    CU_ASSERT_EQUAL_FATAL(c->n_policies, 2);
    const struct conf_policy *p = conf_policy(c, "users");
    CU_ASSERT(p == c->policies[0] && p->sessions == 3 && p->rate == 10000000000ULL && p->lifetime == 8 * 3600 * NS_PER_S && p->channels == 0);
    check_list(p->principals, "*@anl.gov;");
    check_list(p->roles, "PROD;CONS;");
    check_list(conf_policy(c, "nobody")->classes, "best_effort;");
    CU_ASSERT(conf_policy(c, "r") == NULL && conf_route(c, "users") == NULL);
    check_set("policy.users.rate=1Gbit");
    check_set("policy.late.comer.roles=ADMIN");
    CU_ASSERT(conf_policy(c, "users")->rate == 1000000000 && c->n_policies == 3 && strv_has(conf_policy(c, "late.comer")->roles, "ADMIN"));
    AUTO_FREE char *before = printed(false);
    fresh();
    CU_ASSERT_FALSE(conf_auth_asks(&c->auth));
    check_read(before);
    AUTO_FREE char *after = printed(false);
    CU_ASSERT_STRING_EQUAL(before, after);
    AUTO_FREE char *sample = printed(true);
    CU_ASSERT_PTR_NOT_NULL(strstr(sample, "\npolicy \"users\" {\n    # who: names"));
    CU_ASSERT(conf_set(c, "policy.users.rate=fast", why, sizeof(why)) == -SST_ECONF && strstr(why, "policy.users.rate = fast: must be a rate like"));
    CU_ASSERT(conf_set(c, "policy.a/b.rate=1Gbit", why, sizeof(why)) == -SST_ECONF && strstr(why, "not the name of a policy"));
    CU_ASSERT(conf_set(c, "policy.users.rates=1Gbit", why, sizeof(why)) == -SST_ECONF && strstr(why, "did you mean policy.users.rate?"));
    CU_ASSERT(conf_set(c, "policy.rate=1Gbit", why, sizeof(why)) == -SST_ECONF);
}

static void test_set_refused(void)
{
    static const char *const unknown[] = {
        "bananas", ".workers", "ucx", "ucx.a.devices", "route.window", "routes.a.window", "route", "", ".", "..", "link..chunk",
    };
    fresh();
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        AUTO_FREE char *assignment = mem_printf("%s=1", unknown[i]);
        AUTO_FREE char *expect =
            mem_printf("%s: no such option; others look like workers, ucx.devices, route.NAME.window", unknown[i]);
        check_not_set(assignment, expect);
    }
    check_not_set("worker=1", "worker: no such option (did you mean workers?)");
    check_not_set("ucx.device=lo", "ucx.device: no such option (did you mean ucx.devices?)");
    check_not_set("route.a.b.windows=1M", "route.a.b.windows: no such option (did you mean route.a.b.window?)");
    check_not_set("ucx.devices=all", "ucx.devices = all: name the devices: all would also open ports on networks you did not mean");
    check_not_set("ucx.devices=lo, All", "ucx.devices = All: name the devices: all would also open ports on networks you did not mean");
    fresh();
    check_not_set("workers", "workers: must be OPTION=VALUE");
    check_not_set("workers=x", "workers = x: must be 0 to 256");
    check_not_set("route.a.window=1K", "route.a.window = 1K: must be 64K to 4G");
    check_not_set("route.a/b.window=1M", "route.a/b.window: not the name of a route");
    check_not_set("route..window=1M", "route..window: not the name of a route");
    check_not_set("ucx.devices={a", "ucx.devices = {a: must be a list like a, b or {\"a\", \"b\"}");
}

/* The file first, then -o: routes are found again and keep the rest. */
static void test_set_over_file(void)
{
    check_read("workers = 2\nroute r { window = 2M channels = 5 }");
    check_set("route.r.window=8M");
    CU_ASSERT(c->n_routes == 1 && c->routes[0]->window == 8 << 20 && c->routes[0]->channels == 5);
    CU_ASSERT_EQUAL(read_text("route r { channels = 6 }"), 0); /* another file on top */
    CU_ASSERT(c->n_routes == 1 && c->routes[0]->window == 8 << 20 && c->routes[0]->channels == 6);
    CU_ASSERT_EQUAL(c->g.workers, 2);
}

/* ------------------------------------------------------------ printing */

static char *printed(bool commented)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    conf_print(c, out, commented);
    fclose(out);
    return text;
}

static void check_print_round_trip(void)
{
    AUTO_FREE char *plain = printed(false);
    AUTO_FREE char *commented = printed(true);
    fresh();
    CU_ASSERT_EQUAL(read_text(commented), 0);
    if (*why)
        printf("\n  %s", why);
    AUTO_FREE char *again = printed(false);
    CU_ASSERT_STRING_EQUAL(again, plain);
    fresh();
    CU_ASSERT_EQUAL(read_text(plain), 0);
    AUTO_FREE char *third = printed(true);
    CU_ASSERT_STRING_EQUAL(third, commented);
}

static void test_print(void)
{
    fresh();
    check_print_round_trip();
    check_read("name = \"a\\\"b\\\\c \\${X} # // /* \\n\\t\\x01\"\nlisten = 'x\ny'\nuser=\"\"\nrendezvous_timeout = forever\n"
               "memory_limit = 65537\npeer_timeout = 1500ms\nucx { devices = {\"a b\", 'c,d', '}'} }\nlink { chunk = 4097 }\n"
               "route r1 { accept = {} window = 3M plaintext = on }\nroute r.2 { deliver = {ucx, link} }\n");
    check_print_round_trip();
    CU_ASSERT_STRING_EQUAL(c->g.name, "a\"b\\c ${X} # // /* \n\t\x01");
    CU_ASSERT_EQUAL(c->n_routes, 2);
}

static void test_print_text(void)
{
    fresh();
    AUTO_FREE char *empty = printed(true);
    CU_ASSERT_PTR_NOT_NULL(strstr(empty, "# address of the control endpoint (text, default [::]:5000)\nlisten = \"[::]:5000\"\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(empty, "\nucx {\n    # devices UCX may use"));
    CU_ASSERT_PTR_NOT_NULL(strstr(empty, "\n# route \"NAME\" {\n#     # transports by which senders attach"));
    CU_ASSERT_PTR_NOT_NULL(strstr(empty, "\n#     window = 4M\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(empty, "\n# policy \"NAME\" {\n#     # who: names"));
    check_set("route.r.window=2M");
    AUTO_FREE char *plain = printed(false);
    CU_ASSERT_PTR_NULL(strchr(plain, '#'));
    CU_ASSERT_PTR_NOT_NULL(strstr(plain, "\nroute \"r\" {\n    accept = {\"link\"}\n"));
}

static void test_export(void)
{
    check_read("name = \"a \\\"b\\\" ${X:-$}\\n\"\nworkers = 3\nucx { devices = {lo, 'x y'} ports = 1-2 }\n"
               "link { chunk = 1M }\nroute r { channels = 1 }");
    AUTO_FREE char *before = printed(false);
    char **all = conf_export(c);
    fresh();
    for (char **a = all; *a; a++) {
        check_set(*a);
        free(*a);
    }
    free(all);
    check_set("route.r.channels=1");
    AUTO_FREE char *after = printed(false);
    CU_ASSERT_STRING_EQUAL(before, after);
}

/* ------------------------------------------------------------ what no single row can see */

static const char good[] =
    "ucx { devices = {lo} }\nroute out { accept = {ucx, link} connect = gateway://b:6000/in connect_transports = {link, ucx} "
    "secret_file = /s plaintext = yes }\nroute in { deliver = {ucx, link} secret_file = /s }\n";

static void check_good(const char *assignment)
{
    check_read(good);
    if (assignment)
        check_set(assignment);
    *why = 0;
    CU_ASSERT_EQUAL(conf_check(c, why, sizeof(why)), 0);
    CU_ASSERT_STRING_EQUAL(why, "");
}

static void check_fault(const char *assignment, const char *expect)
{
    check_read(good);
    check_set(assignment);
    CU_ASSERT_EQUAL(conf_check(c, why, sizeof(why)), -SST_ECONF);
    CU_ASSERT_STRING_EQUAL(why, expect);
    if (!str_eq(why, expect))
        printf("\n  %s", why);
}

static void test_check_good(void)
{
    char pin[200];
    fresh();
    CU_ASSERT_EQUAL(conf_check(c, why, sizeof(why)), 0);
    check_good(NULL);
    check_good("listen=192.0.2.1:7000");
    check_good("advertise=2001:db8::1");
    check_good("link_ports=5010");
    check_good("workers=32");
    check_good("control_socket=/run/x.sock");
    check_good("metrics=");
    check_good("metrics=[::]:9501");
    check_good("scistream.data_ports=6000");
    check_good("scistream.plaintext_listen=[::1]:5001");
    check_set("scistream.auth=none");
    check_set("scistream.enable=yes");
    CU_ASSERT_EQUAL(conf_check(c, why, sizeof(why)), 0);
    check_good("records=log");
    check_good("records=/var/log/x");
    check_good("route.in.secret_file=s");
    check_good("ucx.devices=all0, small");
    check_good("ucx.ports=100-131");
    snprintf(pin, sizeof(pin), "route.out.connect_pin=sha256:%064d,sha256:%064d", 1, 2);
    check_good(pin);
}

static void test_check_global(void)
{
    check_fault("listen=::1", "listen: '::1': write an IPv6 address in brackets, like [::1]:5000");
    check_fault("listen=gw.example.org", "listen = gw.example.org: must be a numeric address, like 192.0.2.1 or 2001:db8::1");
    check_fault("advertise=gw.example.org", "advertise = gw.example.org: must be a numeric address, like 192.0.2.1 or 2001:db8::1");
    check_fault("link_address=x", "link_address = x: must be a numeric address, like 192.0.2.1 or 2001:db8::1");
    check_fault("ucx.listen=ib0", "ucx.listen = ib0: must be a numeric address, like 192.0.2.1 or 2001:db8::1");
    check_fault("ucx.advertise=x", "ucx.advertise = x: must be a numeric address, like 192.0.2.1 or 2001:db8::1");
    check_fault("link_ports=0", "link_ports = 0: must be a port or a range like 5010-5041");
    check_fault("workers=33", "link_ports = 5010-5041: 32 ports for workers = 33, one each is needed");
    check_fault("ucx.ports=x", "ucx.ports = x: must be a port or a range like 5010-5041, or 0 for any");
    check_fault("ucx.port_range=9-1", "ucx.port_range = 9-1: must be a port or a range like 5010-5041, or 0 for any");
    check_fault("control_socket=gw.sock", "control_socket = gw.sock: must be an absolute path");
    check_fault("control_socket=./gw.sock", "control_socket = ./gw.sock: must be an absolute path");
    check_fault("metrics=localhost:9500", "metrics = localhost:9500: must be a numeric address and a port, like 127.0.0.1:9500 or [::]:9500, or \"\" for none");
    check_fault("metrics=::1:9500", "metrics: '::1:9500': write an IPv6 address in brackets, like [::1]:5000");
    check_fault("scistream.data_ports=0", "scistream.data_ports = 0: must be a port or a range like 5100-5200");
    check_fault("scistream.data_address=gw", "scistream.data_address = gw: must be a numeric address, like 192.0.2.1 or 2001:db8::1");
    check_fault("scistream.data_advertise=gw", "scistream.data_advertise = gw: must be a numeric address, like 192.0.2.1 or 2001:db8::1");
    check_fault("scistream.plaintext_listen=gw:1", "scistream.plaintext_listen = gw:1: must be a numeric address and a port, like 127.0.0.1:5001 or "
                                                   "[::]:5001, or \"\" for none");
    check_fault("scistream.enable=yes", "scistream.auth is not set: say who may arrange sessions: auth = policy goes by the sections auth and policy, "
                "auth = none lets anybody who reaches the endpoint, to any target");
    check_fault("auth.client_crl=/r", "auth.client_crl = /r without auth.client_ca: name the CAs whose certificates it revokes");
    check_fault("records=x.jsonl", "records = x.jsonl: must be an absolute path, log, or \"\" for none");
    check_fault("key=/k", "key is set and certificate is not: both are needed");
    check_fault("certificate=/c", "certificate is set and key is not: both are needed");
    check_set("key=/k");
    check_set("workers=2");
    check_set("ucx.ports=7000");
    CU_ASSERT_EQUAL(conf_check(c, why, sizeof(why)), -SST_ECONF);
    CU_ASSERT_STRING_EQUAL(why, "ucx.ports = 7000: 1 port for workers = 2, one each is needed");
    CU_ASSERT_EQUAL(conf_check(c, NULL, 0), -SST_ECONF);
    check_read("ucx { devices = {lo, ALL} }");
    CU_ASSERT_EQUAL(conf_check(c, why, sizeof(why)), -SST_ECONF);
    CU_ASSERT_STRING_EQUAL(why, "ucx.devices = ALL: name the devices: all would also open ports on networks you did not mean");
}

static void test_check_transports(void)
{
    check_fault("route.out.accept=rdma", "route \"out\": accept = rdma: no such transport, there are verbs, ucx, link");
    check_fault("route.out.accept=verbs",
                "route \"out\": accept has verbs, but no address is given to it: add listen = ADDRESS of an RDMA device to section rdma");
    check_fault("rdma.listen=ib0", "rdma.listen = ib0: must be a numeric address, like 192.0.2.1 or 2001:db8::1");
    check_fault("route.in.deliver=link, tcp", "route \"in\": deliver = tcp: no such transport, there are verbs, ucx, link");
    check_fault("route.out.accept=", "route \"out\": accept is empty: name at least one of verbs, ucx, link");
    check_fault("route.out.connect_transports={}", "route \"out\": connect_transports is empty: name at least one of verbs, ucx, link");
    check_fault("route.out.accept=link,ucx,link", "route \"out\": accept has link twice");
    check_fault(
        "ucx.devices=",
        "route \"out\": accept has ucx, but no device is given to it: add devices = {\"ib0\"} (or another name) to section ucx");
}

static void test_check_routes(void)
{
    check_fault("route.out.deliver=ucx", "route \"out\": connect and deliver exclude each other: a route ends here or goes on "
                                          "(with dial = recv it comes from there)");
    check_fault("route.in.deliver=",
                "route \"in\": add connect = \"gateway://HOST/ROUTE\" or \"tcp://HOST:PORT\" (it goes on) or deliver = {\"ucx\"} (it ends here)");
    check_fault("route.in.secret_file=", "route \"in\": secret_file is missing: who may attach is known by a shared secret");
    check_fault("route.out.connect=direct://x:1", "route \"out\": connect = direct://x:1: must be gateway://HOST[:PORT]/ROUTE or tcp://HOST:PORT");
    check_fault("route.out.connect=gateway://x",
                "route \"out\": connect: 'gateway://x': a route is missing, write gateway://HOST[:PORT]/ROUTE");
    check_fault("route.out.connect_pin=sha256:00", "route \"out\": connect_pin = sha256:00: must be sha256: and 64 hex digits");
    char pins[400];
    snprintf(pins, sizeof(pins), "route.out.connect_pin=sha256:%064d,sha256:%064d,sha256:%064d", 1, 2, 3);
    check_fault(pins, "route \"out\": connect_pin: 3 pins, at most 2 are allowed (two for a renewal)");
}

static void check_class(const char *capacity, const char *expect)
{
    check_read(good);
    check_set("route.in.class=provisioned");
    check_set("route.in.rate=2Gbit");
    check_set("route.out.class=provisioned");
    check_set("route.out.rate=1Gbit");
    AUTO_FREE char *rest = mem_strdup(capacity);
    for (char *at = rest, *one; (one = strsep(&at, " "));)
        check_set(one);
    *why = 0;
    CU_ASSERT_EQUAL(conf_check(c, why, sizeof(why)), *expect ? -SST_ECONF : 0);
    CU_ASSERT_STRING_EQUAL(why, expect);
    if (!str_eq(why, expect))
        printf("\n  %s", why);
}

static void test_check_class(void)
{
    check_fault("route.in.rate=1Gbit", "route \"in\": rate is for routes with class = provisioned");
    check_fault("route.in.class=provisioned", "route \"in\": class = provisioned needs a rate, like 2Gbit");
    check_class("capacity.wan=10Gbit", "route \"out\": class = provisioned: nothing can be reserved of the rdma segment, which it uses, while capacity.rdma is "
                                       "not set");
    check_class("capacity.wan=3Gbit capacity.rdma=10Gbit", "route \"in\": rate: with it the routes of class provisioned reserve 3Gbit of the wan segment, and "
                                                          "2850Mbit of it can be: raise capacity.wan, or lower rates or capacity.best_effort_percent");
    check_class("capacity.wan=4Gbit capacity.rdma=4Gbit", "");
    check_class("capacity.wan=4Gbit capacity.rdma=4", "capacity.rdma = 4bit is less than 1Mbit: write the unit, like 10Gbit");
    check_class("capacity.wan=4Gbit capacity.rdma=4Gbit route.in.accept=ucx route.in.deliver=ucx", "");
    CU_ASSERT(conf_route_segments(conf_route(c, "in")) == 1U << SEGMENT_RDMA && conf_reservable(c, SEGMENT_WAN) == 3800000000ULL);
    CU_ASSERT_EQUAL(conf_route_promised(conf_route(c, "in")), 1);
    check_set("route.in.channels=7");
    CU_ASSERT_EQUAL(conf_route_promised(conf_route(c, "in")), 7);
}

static void test_check_tcp(void)
{
    check_good("route.out.connect=tcp://peer.example.org:5201");
    check_good("route.out.accept=tcp://[::]:7000,link");
    check_good("route.in.accept=tcp://10.0.0.1:7000");
    check_fault("route.out.accept=tcp://peer:7000",
                "route \"out\": accept = tcp://peer:7000: must have a numeric address of this machine, like tcp://0.0.0.0:7000");
    check_fault("route.out.accept=tcp://10.0.0.1", "route \"out\": accept: '10.0.0.1': a port is missing, write 10.0.0.1:PORT");
    check_fault("route.in.deliver=tcp://10.0.0.1:70",
                "route \"in\": deliver = tcp://10.0.0.1:70: only accept has places for TCP peers; a TCP peer that is connected to is connect = "
                "\"tcp://10.0.0.1:70\"");
    check_fault("route.out.source_address=here",
                "route \"out\": source_address = here: must be a numeric address, like 192.0.2.1 or 2001:db8::1");
    check_fault("route.out.proxy_protocol=yes", "route \"out\": proxy_protocol is for routes with connect = \"tcp://HOST:PORT\"");
    check_fault("route.in.dial=recv", "route \"in\": dial = recv is for routes with connect = \"gateway://HOST/ROUTE\"");
    check_fault("route.out.dial=recv",
                "route \"out\": dial = recv brings a stream from the next gateway: name by deliver how receivers attach here");
}

static void test_same_door(void)
{
    check_read("route a { accept = {\"tcp://[::]:7000\"} connect = \"tcp://x:1\" }\n"
               "route b { accept = {\"tcp://[::]:7001\", \"tcp://[::]:7000\"} connect = \"tcp://y:1\" }");
    CU_ASSERT_EQUAL(conf_check(c, why, sizeof(why)), -SST_ECONF);
    CU_ASSERT_STRING_EQUAL(why, "route \"b\": accept has tcp://[::]:7000, and so has route \"a\": each needs a port of its own");
}

/* Only those between TCP peers need no secret; how many channels 0 is. */
static void test_tcp_routes(void)
{
    static const struct { const char *text; bool attaches; uint32_t channels; } rows[] = {
        { "route r { accept = {\"tcp://0.0.0.0:1\"} connect = \"tcp://b:2\" connections = 7 }", false, 7 },
        { "route r { accept = {\"tcp://0.0.0.0:1\", link} connect = \"tcp://b:2\" connections = 7 }", true, 7 },
        { "route r { accept = {\"tcp://0.0.0.0:1\"} connect = \"gateway://b/r\" connections = 7 }", true, 7 },
        { "route r { accept = {\"tcp://0.0.0.0:1\"} deliver = {ucx} connections = 7 }", true, 1 },
        { "route r { accept = {ucx} connect = \"tcp://b:2\" connections = 7 }", true, 1 },
        { "route r { accept = {ucx} connect = \"tcp://b:2\" channels = 3 }", true, 3 },
        { "route r { accept = {\"tcp://0.0.0.0:1\"} connect = \"gateway://b/r\" channels = 9 connections = 7 }", true, 7 },
        { "route r { deliver = {link} connections = 7 }", true, 1 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_read(rows[i].text);
        CU_ASSERT_EQUAL(conf_route_attaches(c->routes[0]), rows[i].attaches);
        CU_ASSERT_EQUAL(conf_route_channels(c->routes[0]), rows[i].channels);
    }
}

UNIT_MAIN("conf", UNIT(test_defaults), UNIT(test_log_choices), UNIT(test_sections), UNIT(test_file), UNIT(test_empty_file),
          UNIT(test_lists), UNIT(test_words), UNIT(test_quotes_once), UNIT(test_value_lines), UNIT(test_unknown_lines),
          UNIT(test_route_lines), UNIT(test_paths), UNIT(test_value_of_words), UNIT(test_syntax_lines), UNIT(test_text_lines),
          UNIT(test_files), UNIT(test_set), UNIT(test_policies), UNIT(test_set_refused), UNIT(test_set_over_file), UNIT(test_print), UNIT(test_print_text),
          UNIT(test_export), UNIT(test_check_good), UNIT(test_check_global), UNIT(test_check_transports), UNIT(test_check_routes),
          UNIT(test_check_class), UNIT(test_check_tcp), UNIT(test_same_door), UNIT(test_tcp_routes),           UNIT(finish))
