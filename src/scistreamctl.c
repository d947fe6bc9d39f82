/* scistreamctl: ask a gateway, tell it, and try one. */
#include <stdio.h>

#include "src/control_socket.h"
#include "src/core/err.h"
#include "src/scistreamctl.h"

#define CTL_ROW(field, of_, long_name, letter_, type_, def_, arg_, help_) \
    { .v = { .name = long_name, .type = type_, .off = offsetof(struct ctl_opts, field), .def = def_, .help = help_ }, .letter = letter_, \
      .arg = arg_, .of = of_ }

#define ASKING "info sessions watch release drain reload upgrade devices inbound outbound show renew revoke grant grants"
#define ARRANGING "inbound outbound stream"

static const struct opts_row rows[] = {
    CTL_ROW(socket, ASKING " -stream", "socket", 'S', VALUE_STR, "", "PATH", "local control socket of the gateway; default: that of scistreamd run by this user"),
    CTL_ROW(gateway, ASKING " firewall login -stream", "gateway", 'G', VALUE_STR, "", "HOST[:PORT]",
            "ask this gateway by its control endpoint, as who you are by --token-file or --cert, or by login"),
    CTL_ROW(token_file, ASKING " stream firewall login", "token-file", 'T', VALUE_STR, "", "FILE",
            "with --gateway: file with the token that says who you are; default: that of login"),
    CTL_ROW(cert, ASKING " stream firewall login", "cert", 0, VALUE_STR, "", "FILE", "with --gateway: your certificate (PEM)"),
    CTL_ROW(key, ASKING " stream firewall login", "key", 0, VALUE_STR, "", "FILE", "with --gateway: its private key; default: in the file of --cert"),
    ENDPOINT_TRUST_ROWS,
    CTL_ROW(json, NULL, "json", 'j', VALUE_FLAG, "no", NULL, "JSON instead of text"),
    ENDPOINT_SAY_ROWS,
    { .v = { .name = "from", .type = VALUE_LIST, .off = offsetof(struct ctl_opts, from), .def = "",
             .help = "the gateway on the side that sends; WHERE the application listens (HOST:PORT,...), or listen[:PORT,...]: it connects to the gateway; "
                     "without it: it attaches. Behind it ,pin= ,ca= ,tls-name= ,token-file= ,cert= ,key= ,address= of that gateway" },
      .arg = "GATEWAY[=WHERE]", .of = "stream firewall show revoke", .heading = "Options of stream, inbound, outbound, firewall, show and revoke" },
    CTL_ROW(to, "inbound stream firewall show revoke -outbound", "to", 0, VALUE_LIST, "", "WHERE",
            "inbound: HOST:PORT,... where the application listens; else the side that receives, as --from"),
    { .v = { .name = "dial", .type = VALUE_ENUM, .off = offsetof(struct ctl_opts, dial), .def = "auto", .choices = "auto|from|to",
             .help = "stream, firewall: which gateway dials the other; auto: from, unless its application listens" },
      .arg = "SIDE", .of = "stream firewall" },
    CTL_ROW(listen, "outbound -inbound -stream -firewall", "listen", 0, VALUE_LIST, "", "PORT,...",
            "outbound: ports where applications connect, one for each channel; default: any of data_ports"),
    { .v = { .name = "attach", .type = VALUE_ENUM, .off = offsetof(struct ctl_opts, attach), .def = "none", .choices = "none|send|recv",
             .help = "inbound, outbound: the application attaches, by scistream-send or scistream-recv" },
      .arg = "ROLE", .of = "inbound outbound -stream -firewall" },
    CTL_ROW(e.ticket_file, "outbound firewall -inbound", "ticket-file", 0, VALUE_STR, "", "FILE",
            "outbound, firewall: the ticket that inbound made; - for standard input; default: SCISTREAM_TICKET_FILE"),
    { .v = { .name = "ticket-for", .type = VALUE_TIME, .off = offsetof(struct ctl_opts, ticket_for), .def = "0", .min = 0, .max = 366 * 24 * 3600 * NS_PER_S,
             .help = "how long the session may be used anew; 0 = 24h, or as long as the session" }, .arg = "TIME", .of = ARRANGING },
    { .v = { .name = "class", .type = VALUE_ENUM, .off = offsetof(struct ctl_opts, class_), .def = "best-effort", .choices = "best-effort|provisioned",
             .help = "provisioned reserves the rate, best-effort shares what is left" },
      .arg = "CLASS", .of = ARRANGING, .given = offsetof(struct ctl_opts, class_given) },
    { .v = { .name = "rate", .type = VALUE_RATE, .off = offsetof(struct ctl_opts, rate), .def = "0", .help = "what provisioned reserves, as 10Gbit" },
      .arg = "RATE", .of = ARRANGING },
    { .v = { .name = "for", .type = VALUE_TIME, .off = offsetof(struct ctl_opts, lifetime), .def = "forever", .min = 1 * NS_PER_S, .max = TIME_FOREVER,
             .help = "inbound, outbound, stream: then the session ends; grant, renew: how long from now it may be used anew, else 24h; "
                     "token: how long it is good" },
      .arg = "TIME", .of = ARRANGING " grant renew token", .given = offsetof(struct ctl_opts, for_given), .heading = "Options of these, and of grant, renew, revoke and token" },
    { .v = { .name = "channels", .type = VALUE_INT, .off = offsetof(struct ctl_opts, channels), .def = "0", .min = 0, .max = 65536,
             .help = "grant: channels at once, 0 = as many as the route has; inbound, stream: 0 = one" },
      .arg = "N", .of = "inbound stream grant -outbound" },
    CTL_ROW(send_file, ARRANGING " grant renew", "send-file", 0, VALUE_STR, "", "FILE",
            "make this file with the ticket of the sender, instead of printing it"),
    CTL_ROW(recv_file, ARRANGING " grant renew", "recv-file", 0, VALUE_STR, "", "FILE", "the same for the receiver"),
    CTL_ROW(output, "inbound renew", "output", 'o', VALUE_STR, "", "FILE", "inbound, renew: the same for outbound at the other gateway"),
    CTL_ROW(address, ARRANGING " firewall grant renew", "address", 0, VALUE_LIST, "", "HOST:PORT",
            "in tickets: where the gateway is reached; may be repeated; default: what it knows"),
    CTL_ROW(abort, "revoke", "abort", 0, VALUE_FLAG, "no", NULL, "revoke: abort the streams that run"),
    { .v = { .name = "interval", .type = VALUE_TIME, .off = offsetof(struct ctl_opts, interval), .def = "1s", .min = 20 * NS_PER_MS,
             .max = 60 * NS_PER_S, .help = "watch: between two reports of a channel's progress" },
      .arg = "TIME", .of = "watch", .heading = "Options of sessions, watch, release and drain" },
    CTL_ROW(route, "sessions watch release", "route", 0, VALUE_STR, "", "NAME",
            "sessions, watch: only of this route; release: all channels and connections of it"),
    CTL_ROW(connections, "sessions watch", "connections", 0, VALUE_FLAG, "no", NULL,
            "sessions: also the TCP connections that workers relay, one by one; watch: also the fastest"),
    { .v = { .name = "limit", .type = VALUE_INT, .off = offsetof(struct ctl_opts, limit), .def = "20", .min = 1, .max = 1000000,
             .help = "how many connections; watch: 256 at most" }, .arg = "N", .of = "sessions watch" },
    { .v = { .name = "order", .type = VALUE_ENUM, .off = offsetof(struct ctl_opts, order), .def = "newest", .choices = "newest|busiest",
             .help = "sessions: which connections come first" }, .arg = "ORDER", .of = "sessions" },
    CTL_ROW(reason, "release", "reason", 0, VALUE_STR, "", "TEXT", "release: what both ends are told"),
    CTL_ROW(timeout, "drain", "timeout", 0, VALUE_STR, "", "TIME", "drain: what streams get to finish, or forever; default: drain_timeout of the gateway"),
    CTL_ROW(stop, "drain", "stop", 0, VALUE_FLAG, "no", NULL, "drain: then stop the gateway"),
    CTL_ROW(resume, "drain", "resume", 0, VALUE_FLAG, "no", NULL, "drain: take new streams again"),
    { .v = { .name = "time", .type = VALUE_TIME, .off = offsetof(struct ctl_opts, e.probe_time), .def = "5s", .min = 1 * NS_PER_MS, .max = 3600 * NS_PER_S,
             .help = "probe: how long to stream" }, .arg = "TIME", .of = "probe", .heading = "Options of probe" },
    ENDPOINT_ATTACH_ROWS,
    ENDPOINT_STREAM_ROWS,
};

static const struct {
    struct opts_verb v;
    int n_min, n_max; /* operands */
    int (*run)(struct ctl_opts *o, int argc, char **argv);
} commands[] = {
    { { "info", "", "version, transports, routes and state of the gateway" }, 0, 0, ctl_info },
    { { "sessions", "[UID]", "sessions and their channels: who, by what, how fast, waiting for what; and relayed connections" }, 0, 1, ctl_sessions },
    { { "watch", "[UID]", "what happens, and how fast each channel and route is, until Ctrl-C" }, 0, 1, ctl_watch },
    { { "release", "UID[/CHANNEL] | ID | --route NAME", "end a session, one of its channels, a relayed connection, or all of a route" }, 0, 1, ctl_release },
    { { "drain", "", "take no new streams, let those that run finish" }, 0, 0, ctl_drain },
    { { "reload", "", "read the configuration, certificates and secrets again" }, 0, 0, ctl_reload },
    { { "upgrade", "", "a newer program takes over, streams that run are finished by the one of before" }, 0, 0, ctl_upgrade },
    { { "devices", "", "RDMA devices that the gateway sees; without a gateway, those of this machine" }, 0, 0, ctl_devices },
    { { "login", "--gateway HOST", "who you are there, until when, and what you may; remembers --token-file, --cert and --pin" }, 0, 0, ctl_login },
    { { "stream", "--from A[=WHERE] --to B[=WHERE]", "arrange a stream between two gateways, from anywhere, all or nothing: A=HOST:PORT, A=listen, or A to attach" },
      0, 0, ctl_both },
    { { "inbound", "--to HOST:PORT | --attach ROLE", "half a stream: let another gateway connect to an application here; prints the ticket for outbound there" },
      0, 0, ctl_inbound },
    { { "outbound", "--ticket-file FILE", "the other half, by that ticket: prints where applications connect here; or with --attach, a ticket for one" }, 0, 0, ctl_outbound },
    { { "show", "UID", "a session that was granted or arranged: until when, and what it does" }, 1, 1, ctl_show },
    { { "renew", "UID", "let it expire later, or sooner, and print new tickets" }, 1, 1, ctl_renew },
    { { "revoke", "UID", "nobody attaches or connects to it any more; with --abort, its streams end" }, 1, 1, ctl_revoke },
    { { "firewall", "--from A --to B | --ticket-file FILE | --gateway A", "what the firewalls of both sites have to let through" }, 0, 0, ctl_firewall },
    { { "ticket", "show [FILE | -]", "what is in a ticket, without its secret; default: the file in SCISTREAM_TICKET_FILE" }, 1, 2, ctl_ticket },
    { { "grant", "ROUTE", "a session of its own on a route, and tickets for its sender and receiver" }, 1, 1, ctl_grant },
    { { "grants", "", "sessions that were granted or arranged: until when, and used by whom" }, 0, 0, ctl_grants },
    { { "token", "PRINCIPAL", "make a token (standard output) and its line for token_file (standard error)" }, 1, 1, ctl_token },
    { { "probe", "gateway://HOST[:PORT]/ROUTE", "try a route from here: name, TLS, proof, round trip, 5 s of data" }, 1, 1, ctl_probe },
};

static const struct opts_verb *verb(size_t i) { return i < ARRAY_LEN(commands) ? &commands[i].v : NULL; }

static const struct opts_command command = {
    .program = "scistreamctl",
    .synopsis = "[options] COMMAND [operands]",
    .about = "Ask a gateway what it does, or tell it, through its local control socket, or from afar; arrange streams between two gateways; look at this "
             "machine's devices; or try a route of a gateway from here. 'scistreamctl COMMAND --help' has the options of one command.",
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
    .tail = "Exit codes as in scistream(7).\n",
    .verb = verb,
};

/* On the control socket it is the user that counts. */
static bool is_wrong_for_socket(const struct ctl_opts *o, const struct opts_verb *v)
{
    bool remote = *o->gateway || o->from[0] || o->to[0] || str_eq(v->name, "login") || str_eq(v->name, "firewall");
    const char *given = remote ? NULL : *o->token_file ? "token-file" : *o->cert ? "cert" : *o->key ? "key" : NULL;
    if (given)
        fprintf(stderr, "scistreamctl: --%s says who you are to a --gateway, and none is named\n", given);
    return given;
}

static int run_command(struct ctl_opts *o, int argc, char **argv)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (!str_eq(commands[i].v.name, argv[0]))
            continue;
        if (is_wrong_for_socket(o, &commands[i].v))
            return 64;
        if (argc - 1 >= commands[i].n_min && argc - 1 <= commands[i].n_max)
            return commands[i].run(o, argc - 1, argv + 1);
        fprintf(stderr, "scistreamctl: usage: scistreamctl %s %s\n", argv[0], commands[i].v.operands);
        return 64;
    }
    const char *near = NULL;
    opts_find_verb(&command, argv[0], &near);
    fprintf(stderr, "scistreamctl: unknown command '%s'%s%s%s\nTry 'scistreamctl --help'.\n", argv[0], near ? " (did you mean " : "", near ? near : "",
            near ? "?)" : "");
    return 64;
}

/* A ticket that was given as the value of an option is not for the list of processes. */
static void hide_tickets(char **argv, int n)
{
    for (int i = 1; i < n; i++) {
        char *value = str_starts(argv[i], "--") && strchr(argv[i], '=') ? strchr(argv[i], '=') + 1 : argv[i];
        if (ticket_resembles(value))
            secret_wipe(value, strlen(value));
    }
}

int main(int argc, char **argv)
{
    struct ctl_opts o = { .json = false };
    int rest, code;
    fd_reserve_stdio();
    enum opts_outcome parsed = opts_parse(&command, &o, argc, argv, &rest);
    hide_tickets(argv, parsed == OPTS_RUN ? rest : 0);
    if (parsed != OPTS_RUN)
        return parsed == OPTS_EXIT_OK ? 0 : 64;
    o.socket_given = *o.socket;
    if (!o.socket_given) {
        free(o.socket);
        o.socket = control_socket_default();
    }
    if (rest < argc) {
        code = run_command(&o, argc - rest, argv + rest);
    } else {
        fprintf(stderr, "scistreamctl: COMMAND is missing\nTry 'scistreamctl --help'.\n");
        code = 64;
    }
    opts_free(&command, &o);
    return code;
}
