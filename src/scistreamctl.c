/* scistreamctl: ask a gateway, tell it, and try one. */
#include <stdio.h>

#include "src/control_socket.h"
#include "src/core/err.h"
#include "src/scistreamctl.h"

#define CTL_ROW(field, long_name, letter_, type_, def_, arg_, help_) \
    { .v = { .name = long_name, .type = type_, .off = offsetof(struct ctl_opts, field), .def = def_, .help = help_ }, .letter = letter_, \
      .arg = arg_ }

static const struct opts_row rows[] = {
    CTL_ROW(socket, "socket", 'S', VALUE_STR, "", "PATH", "local control socket of the gateway; default: that of scistreamd run by this user"),
    CTL_ROW(gateway, "gateway", 'G', VALUE_STR, "", "HOST[:PORT]",
            "ask this gateway by its control endpoint, as who you are by --token-file or --cert, or by login"),
    CTL_ROW(token_file, "token-file", 'T', VALUE_STR, "", "FILE", "with --gateway: file with the token that says who you are; default: that of login"),
    CTL_ROW(cert, "cert", 0, VALUE_STR, "", "FILE", "with --gateway: your certificate (PEM)"),
    CTL_ROW(key, "key", 0, VALUE_STR, "", "FILE", "with --gateway: its private key; default: in the file of --cert"),
    CTL_ROW(json, "json", 'j', VALUE_FLAG, "no", NULL, "JSON instead of text"),
    { .v = { .name = "interval", .type = VALUE_TIME, .off = offsetof(struct ctl_opts, interval), .def = "1s", .min = 20 * NS_PER_MS,
             .max = 60 * NS_PER_S, .help = "watch: between two reports of a channel's progress" }, .arg = "TIME" },
    CTL_ROW(route, "route", 0, VALUE_STR, "", "NAME", "sessions, watch: only of this route; release: all channels and connections of it"),
    CTL_ROW(connections, "connections", 0, VALUE_FLAG, "no", NULL,
            "sessions: also the TCP connections that workers relay, one by one; watch: also the fastest"),
    { .v = { .name = "limit", .type = VALUE_INT, .off = offsetof(struct ctl_opts, limit), .def = "20", .min = 1, .max = 1000000,
             .help = "how many connections; watch: 256 at most" }, .arg = "N" },
    { .v = { .name = "order", .type = VALUE_ENUM, .off = offsetof(struct ctl_opts, order), .def = "newest", .choices = "newest|busiest",
             .help = "sessions: which connections come first" }, .arg = "ORDER" },
    CTL_ROW(reason, "reason", 0, VALUE_STR, "", "TEXT", "release: what both ends are told"),
    CTL_ROW(timeout, "timeout", 0, VALUE_STR, "", "TIME", "drain: what streams get to finish, or forever; default: drain_timeout of the gateway"),
    CTL_ROW(stop, "stop", 0, VALUE_FLAG, "no", NULL, "drain: then stop the gateway"),
    CTL_ROW(resume, "resume", 0, VALUE_FLAG, "no", NULL, "drain: take new streams again"),
    { .v = { .name = "for", .type = VALUE_TIME, .off = offsetof(struct ctl_opts, lifetime), .def = "forever", .min = 1 * NS_PER_S, .max = TIME_FOREVER,
             .help = "token: how long it is good; grant, renew: how long from now the session may be attached to, else 24h; "
                     "inbound, outbound, stream: then the session ends" }, .arg = "TIME" },
    { .v = { .name = "channels", .type = VALUE_INT, .off = offsetof(struct ctl_opts, channels), .def = "0", .min = 0, .max = 65536,
             .help = "grant: channels at once, 0 = as many as the route has; inbound, stream: 0 = one" }, .arg = "N" },
    CTL_ROW(send_file, "send-file", 0, VALUE_STR, "", "FILE", "make this file with the ticket of the sender, instead of printing it"),
    CTL_ROW(recv_file, "recv-file", 0, VALUE_STR, "", "FILE", "the same for the receiver"),
    CTL_ROW(output, "output", 'o', VALUE_STR, "", "FILE", "inbound, renew: the same for outbound at the other gateway"),
    CTL_ROW(address, "address", 0, VALUE_LIST, "", "HOST:PORT", "in tickets: where the gateway is reached; may be repeated; default: what it knows"),
    CTL_ROW(from, "from", 0, VALUE_LIST, "", "GATEWAY[=WHERE]", "stream, firewall, show, revoke: the side that sends; WHERE the application listens (HOST:PORT,...), or listen[:PORT,...]: "
            "connects to the gateway; without it: attaches. Behind it ,pin= ,ca= ,tls-name= ,token-file= ,cert= ,key= ,address= of that gateway"),
    CTL_ROW(to, "to", 0, VALUE_LIST, "", "WHERE", "inbound: HOST:PORT,... where the application listens; else the side that receives, as --from"),
    { .v = { .name = "dial", .type = VALUE_ENUM, .off = offsetof(struct ctl_opts, dial), .def = "auto", .choices = "auto|from|to",
             .help = "stream, firewall: which gateway dials the other; auto: from, unless its application listens" }, .arg = "SIDE" },
    CTL_ROW(listen, "listen", 0, VALUE_LIST, "", "PORT,...", "outbound: ports where applications connect, one for each channel; default: any of data_ports"),
    { .v = { .name = "attach", .type = VALUE_ENUM, .off = offsetof(struct ctl_opts, attach), .def = "none", .choices = "none|send|recv",
             .help = "inbound, outbound: the application attaches, by scistream-send or scistream-recv" }, .arg = "ROLE" },
    CTL_ROW(e.ticket_file, "ticket-file", 0, VALUE_STR, "", "FILE", "outbound, firewall: the ticket that inbound made; - for standard input; default: SCISTREAM_TICKET_FILE"),
    { .v = { .name = "ticket-for", .type = VALUE_TIME, .off = offsetof(struct ctl_opts, ticket_for), .def = "0", .min = 0, .max = 366 * 24 * 3600 * NS_PER_S,
             .help = "inbound, outbound, stream: how long the session may be used anew; 0 = 24h, or as long as the session" }, .arg = "TIME" },
    { .v = { .name = "class", .type = VALUE_ENUM, .off = offsetof(struct ctl_opts, class_), .def = "best-effort", .choices = "best-effort|provisioned",
             .help = "inbound, outbound, stream: provisioned reserves the rate, best-effort shares what is left" }, .arg = "CLASS", .given = offsetof(struct ctl_opts, class_given) },
    { .v = { .name = "rate", .type = VALUE_RATE, .off = offsetof(struct ctl_opts, rate), .def = "0", .help = "what provisioned reserves, as 10Gbit" }, .arg = "RATE" },
    CTL_ROW(abort, "abort", 0, VALUE_FLAG, "no", NULL, "revoke: abort the streams that run"),
    ENDPOINT_ROW(probe_time, "time", 0, VALUE_TIME, "5s", 1 * NS_PER_MS, 3600 * NS_PER_S, NULL, "TIME", NULL, "probe: how long to stream"),
    ENDPOINT_ROWS,
};

static const struct {
    const char *name, *operands, *help;
    int n_min, n_max;
    int (*run)(struct ctl_opts *o, int argc, char **argv);
} commands[] = {
    { "info", "", "version, transports, routes and state of the gateway", 0, 0, ctl_info },
    { "sessions", "[UID | --connections]", "sessions, their channels, and connections: who, by what, how fast, waiting for what", 0, 1, ctl_sessions },
    { "watch", "[UID]", "what happens, and how fast each channel is, until Ctrl-C", 0, 1, ctl_watch },
    { "release", "UID[/CHANNEL] | ID | --route NAME", "end a session, one of its channels, a connection, or all of a route", 0, 1, ctl_release },
    { "drain", "", "take no new streams", 0, 0, ctl_drain },
    { "reload", "", "read the configuration again", 0, 0, ctl_reload },
    { "upgrade", "", "start the program anew and let it take over; streams that run stay with the one of before", 0, 0, ctl_upgrade },
    { "devices", "", "RDMA devices: those that the gateway sees, or those of this machine", 0, 0, ctl_devices },
    { "ticket", "show [FILE | -]", "what is in a ticket, and whether it may still be used; without its secret", 1, 2, ctl_ticket },
    { "grant", "ROUTE", "a session of its own on a route, and tickets for its sender and receiver", 1, 1, ctl_grant },
    { "inbound", "--to HOST:PORT,... | --attach ROLE", "let another gateway connect to an application here: a ticket for it", 0, 0, ctl_inbound },
    { "outbound", "--ticket-file FILE", "connect this gateway to the one of a ticket, for an application here", 0, 0, ctl_outbound },
    { "stream", "--from GATEWAY[=WHERE] --to GATEWAY[=WHERE]", "both at once, all or nothing", 0, 0, ctl_both },
    { "show", "UID", "a session that was granted or arranged: until when, and what it does", 1, 1, ctl_show },
    { "renew", "UID", "a session that was granted or arranged expires later, or sooner; new tickets for it", 1, 1, ctl_renew },
    { "revoke", "UID", "nobody attaches to it any more", 1, 1, ctl_revoke },
    { "grants", "", "granted sessions: until when, and used by whom", 0, 0, ctl_grants },
    { "probe", "gateway://HOST[:PORT]/ROUTE", "try a route from here: name, TLS, proof, round trip, 5 s of data", 1, 1, ctl_probe },
    { "firewall", "--from GATEWAY --to GATEWAY | --ticket-file FILE | --gateway GATEWAY", "what firewalls have to let through", 0, 0, ctl_firewall },
    { "login", "--gateway HOST --token-file FILE", "who you are for a gateway, until when, and what you may; it is remembered", 0, 0, ctl_login },
    { "token", "PRINCIPAL", "make a token, and its line for the gateway's token_file", 1, 1, ctl_token },
};

static const struct opts_command command = {
    .program = "scistreamctl",
    .synopsis = "[options] COMMAND [operands]",
    .about = "Ask a gateway what it does, or tell it, through its local control socket, or from afar; arrange streams between two gateways; look at this machine's devices; or try a route of a gateway from here.",
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
    .tail = "Commands:\n"
            "  info                         version, transports, routes and state of the gateway\n"
            "  sessions [UID]               sessions and their channels: who, by what, how fast; and relayed connections\n"
            "  watch [UID]                  what happens, and how fast each channel and route is, until Ctrl-C\n"
            "  release UID[/CHANNEL] | ID   end a session, one of its channels, a relayed connection; or all of --route NAME\n"
            "  drain                        take no new streams, let those that run finish\n"
            "  reload                       read the configuration, certificates and secrets again\n"
            "  upgrade                      a newer program takes over, streams that run are finished by the one of before\n"
            "  devices                      RDMA devices that the gateway sees; without a gateway, those of this machine\n"
            "  ticket show [FILE | -]       what is in a ticket, without its secret; default: the file in SCISTREAM_TICKET_FILE\n"
            "  grant ROUTE                  a session of its own on a route, and tickets for its sender and receiver\n"
            "  grants                       granted sessions: until when, and used by whom\n"
            "  inbound --to HOST:PORT       let another gateway connect to an application here; prints the ticket for it\n"
            "  outbound --ticket-file FILE  the other half: prints where applications connect here; or with --attach, a ticket\n"
            "  stream --from A --to B       both at once from anywhere, all or nothing: A=HOST:PORT, A=listen, or A to attach\n"
            "  show UID                     a session that was granted or arranged: until when, and what it does\n"
            "  renew UID                    let it expire later, or sooner, and print new tickets\n"
            "  revoke UID                   nobody attaches or connects to it any more; with --abort, its streams end\n"
            "  firewall                     what the firewalls of both sites have to let through, of --from and --to or of a ticket\n"
            "  login --gateway HOST         who you are there, until when, and what you may; remembers --token-file and --pin\n"
            "  probe gateway://HOST/ROUTE   try a route: name, TLS, proof, round trip, 5 s of data\n"
            "  token PRINCIPAL              make a token (standard output) and its line for token_file (standard error)\n"
            "Exit codes as in scistream(7).\n",
};

static int run_command(struct ctl_opts *o, int argc, char **argv)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (!str_eq(commands[i].name, argv[0]))
            continue;
        if (argc - 1 >= commands[i].n_min && argc - 1 <= commands[i].n_max)
            return commands[i].run(o, argc - 1, argv + 1);
        fprintf(stderr, "scistreamctl: usage: scistreamctl %s %s\n", argv[0], commands[i].operands);
        return 64;
    }
    fprintf(stderr, "scistreamctl: unknown command '%s'\nTry 'scistreamctl --help'.\n", argv[0]);
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
