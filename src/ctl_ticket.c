/* scistreamctl ticket show: what is in a ticket, without its secret, and whether it may still be used. It asks nobody. */
#include <stdio.h>

#include "src/core/err.h"
#include "src/core/secret.h"
#include "src/ctl_ticket_out.h"

/* ------------------------------------------------------------ its parts as text */

static const char *role_help(enum ticket_role role)
{
    switch (role) {
    case TICKET_SEND: return "its holder sends, by scistream-send";
    case TICKET_RECV: return "its holder receives, by scistream-recv";
    case TICKET_CONS: return "its holder connects to the ports, by scistreamctl outbound";
    default: return "its holder is the producer's side of transparent channels";
    }
}

static const char *class_text(char out[UNITS_TEXT], unsigned class)
{
    static const char *const names[] = { [TICKET_BEST_EFFORT] = "best effort", [TICKET_PROVISIONED] = "provisioned" };
    if (class < ARRAY_LEN(names))
        return names[class];
    snprintf(out, UNITS_TEXT, "unknown (%u)", class);
    return out;
}

/* s seconds; a second at least, since what has just happened is "1 s ago". */
static const char *seconds_text(char out[UNITS_TEXT], uint64_t s)
{
    return units_human_time(out, MIN(MAX(s, 1), TIME_FOREVER / NS_PER_S - 1) * NS_PER_S);
}

/* ------------------------------------------------------------ for people */

/* 5100-5104, 5107 */
static void print_ports(const struct ticket *t)
{
    for (unsigned i = 0, to; i < t->n_ports; i = to) {
        for (to = i + 1; to < t->n_ports && t->port[to] == t->port[to - 1] + 1; to++)
            ;
        printf("%s%u", i ? ", " : "ports      ", t->port[i]);
        if (to - i > 1)
            printf("-%u", t->port[to - 1]);
    }
    if (t->n_ports)
        printf("\n");
}

static void print_peer(const struct ticket *t)
{
    char text[ADDR_TEXT];
    printf("gateway    ");
    for (unsigned i = 0; i < t->n_addresses; i++)
        printf("%s%s", i ? ", else " : "", ticket_address_text(text, t, i));
    printf("\n");
    if (*t->tls_name)
        printf("tls name   %s\n", t->tls_name);
    for (unsigned i = 0; i < t->n_pins; i++)
        printf("pin        %s\n", ticket_pin_text(text, t->pin[i]));
    if (!t->n_pins)
        printf("pin        none: a CA must have signed the certificate of the gateway\n");
}

static void print_text(const struct ticket *t, uint64_t now_s)
{
    char text[UNITS_TEXT], when[TICKET_TIME];
    bool valid = now_s < t->expires_s, begun = now_s >= t->issued_s;
    printf("session    %s\n", t->uid);
    printf("role       %s: %s\n", ticket_role_name(t->role), role_help(t->role));
    print_peer(t);
    printf("channels   %u\n", t->channels);
    print_ports(t);
    printf("class      %s", class_text(text, t->class_));
    if (t->rate)
        printf(", %s", units_human_rate(text, (double)t->rate));
    printf("\nissued     %s, ", ticket_time(when, t->issued_s));
    printf(begun ? "%s ago\n" : "%s from now: the clock here or there is wrong\n", seconds_text(text, begun ? now_s - t->issued_s : t->issued_s - now_s));
    printf("%s    %s, ", valid ? "expires" : "EXPIRED", ticket_time(when, t->expires_s));
    printf(valid ? "in %s\n" : "%s ago\n", seconds_text(text, valid ? t->expires_s - now_s : now_s - t->expires_s));
}

/* ------------------------------------------------------------ for programs */

static void lists_json(const struct ticket *t)
{
    char text[ADDR_TEXT];
    printf("\"addresses\":[");
    for (unsigned i = 0; i < t->n_addresses; i++)
        printf("%s\"%s\"", i ? "," : "", ticket_address_text(text, t, i));
    printf("],\"pins\":[");
    for (unsigned i = 0; i < t->n_pins; i++)
        printf("%s\"%s\"", i ? "," : "", ticket_pin_text(text, t->pin[i]));
    printf("],\"ports\":[");
    for (unsigned i = 0; i < t->n_ports; i++)
        printf("%s%u", i ? "," : "", t->port[i]);
    printf("],");
}

static void print_json(const struct ticket *t, uint64_t now_s)
{
    char text[UNITS_TEXT], when[TICKET_TIME];
    bool valid = now_s < t->expires_s;
    printf("{\"version\":%d,", TICKET_VERSION);
    ctl_json_text("session", t->uid, ",");
    ctl_json_text("role", ticket_role_name(t->role), ",");
    printf("\"channels\":%u,", t->channels);
    lists_json(t);
    ctl_json_text("tls_name", t->tls_name, ",");
    ctl_json_text("class", class_text(text, t->class_), ",");
    printf("\"rate_bit_s\":%llu,\"issued_s\":%llu,\"expires_s\":%llu,", (unsigned long long)t->rate, (unsigned long long)t->issued_s,
           (unsigned long long)t->expires_s);
    ctl_json_text("issued", ticket_time(when, t->issued_s), ",");
    ctl_json_text("expires", ticket_time(when, t->expires_s), ",");
    printf("\"valid\":%s,\"left_s\":%llu}\n", valid ? "true" : "false", valid ? (unsigned long long)(t->expires_s - now_s) : 0ULL);
}

/* ------------------------------------------------------------ where it comes from */

static int complain(int rc, const char *why)
{
    fprintf(stderr, "scistreamctl: %s\n", why);
    return err_exit(rc);
}

/* The ticket itself as an operand: everybody could see it, so it is made to disappear from the list of processes. */
static int from_argument(char *text, struct ticket *out, char *why, size_t why_size)
{
    int rc = ticket_parse(text, out, why, why_size);
    secret_wipe(text, strlen(text));
    fprintf(stderr, "scistreamctl: warning: all users of this machine can see what is on a command line, and shells keep it. Put tickets into a file "
                    "that is yours alone (mode 600), or give them by standard input\n");
    return rc;
}

int ctl_ticket_read(char *operand, struct ticket *out)
{
    char why[400], *file = getenv("SCISTREAM_TICKET_FILE"), *from = operand ? operand : file;
    if (!from || !*from)
        return complain(-SST_EUSAGE, "which ticket? Give FILE (outbound, firewall: --ticket-file FILE), or - for standard input, or set SCISTREAM_TICKET_FILE");
    if (!operand && ticket_resembles(file))
        return complain(-SST_EUSAGE, "SCISTREAM_TICKET_FILE is a ticket, and should be the name of a file with one");
    if (str_eq(from, "-") && isatty(STDIN_FILENO))
        fprintf(stderr, "Paste the ticket, then Enter and Ctrl-D\n");
    int rc = ticket_resembles(from) ? from_argument(from, out, why, sizeof(why)) : ticket_read(from, out, why, sizeof(why));
    return rc < 0 ? complain(-SST_ECONF, why) : 0;
}

static int show(const struct ctl_opts *o, const struct ticket *t)
{
    char why[200];
    uint64_t now_s = (uint64_t)time(NULL);
    (o->json ? print_json : print_text)(t, now_s);
    int rc = ticket_check_time(t, now_s, why, sizeof(why));
    return rc < 0 ? complain(rc, why) : 0;
}

int ctl_ticket(struct ctl_opts *o, int argc, char **argv)
{
    struct ticket t;
    if (!str_eq(argv[0], "show")) {
        fprintf(stderr, "scistreamctl: ticket: unknown '%s'\nTry 'scistreamctl --help'.\n", argv[0]);
        return 64;
    }
    int code = ctl_ticket_read(argc > 1 ? argv[1] : NULL, &t);
    if (code == 0)
        code = show(o, &t);
    ticket_wipe(&t);
    return code;
}
