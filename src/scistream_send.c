/* scistream-send: stream files or standard input to a gateway, or straight to scistream-recv --listen. */
#include <stdio.h>
#include <sys/stat.h>

#include "src/core/err.h"
#include "src/endpoint.h"

static const struct opts_row rows[] = {
    ENDPOINT_ROWS,
    ENDPOINT_TICKET_ROW,
    ENDPOINT_ROW(rate, "rate", 0, VALUE_RATE, "0", 0, 0, NULL, "RATE", NULL, "send at most at this rate (10Gbit, 800Mbit); 0 = no limit"),
};

static const struct opts_command command = {
    .program = "scistream-send",
    .synopsis = "[options] DEST [FILE...] | [options] --ticket-file TICKET [FILE...]",
    .about = "Stream files, one after the other, or standard input to DEST: gateway://HOST[:PORT]/ROUTE, /ROUTE of the gateway in "
             "SCISTREAM_GATEWAY, or direct://HOST:PORT where scistream-recv --listen waits. Exits 0 only after the last receiver "
             "confirmed that it has every byte.",
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
    .tail = "Examples:\n"
            "  scistream-send --pin sha256:... gateway://gw.example.org/detector run.h5\n"
            "  detector-daq | scistream-send /detector\n"
            "  scistream-send --ticket-file ticket run.h5\n"
            "Exit codes: 0 confirmed, 64 usage, 65 corrupted, 67 not allowed, 69 unreachable, 74 local input,\n"
            "  75 try again later, 76 aborted or protocol error, 78 configuration. See scistream(7).\n",
};

static char **files;

static void open_file(struct endpoint *ep) { endpoint_open_files(ep, files, -1); }

static void moved(struct endpoint *ep)
{
    if (ep->ended && !ep->told) {
        ep->told = true;
        hop_done(&ep->hop, &ep->mine);
    }
    if (ep->confirmed && ep->state != EP_CLOSING && endpoint_same_total(ep))
        endpoint_finish(ep, 0, "");
}

static const struct endpoint_kind kind = { .program = "scistream-send", .sends = true, .open_file = open_file, .moved = moved };

/* Before anything is asked of a gateway: can every file be read, and how much is there? */
static int look_at_files(struct endpoint *ep)
{
    struct stat st;
    bool known = files[0] != NULL;
    if (fd_was_reserved(STDIN_FILENO) && (!known || strv_has(files, "-")))
        return endpoint_complain(ep, -SST_EIO, "standard input is closed, and the stream would come from there");
    for (char **f = files; *f; f++) {
        if (str_eq(*f, "-")) {
            known = false;
            continue;
        }
        if (access(*f, R_OK) < 0 || stat(*f, &st) < 0)
            return endpoint_complain(ep, -errno, "cannot read %s: %s", *f, strerror(errno));
        if (S_ISDIR(st.st_mode))
            return endpoint_complain(ep, -EISDIR, "cannot read %s: it is a directory; pack it (tar) into a stream", *f);
        known = known && S_ISREG(st.st_mode);
        ep->size_hint += (uint64_t)st.st_size;
    }
    if (!known)
        ep->size_hint = 0;
    return 0;
}

/* operands: NULL-terminated, DEST first unless there is a ticket. */
static int check_use(struct endpoint_opts *o, char **operands)
{
    const char *wrong = NULL;
    bool by_ticket = endpoint_takes_ticket(o, (int)strv_len(operands));
    if (!by_ticket && !*operands)
        wrong = "DEST is missing";
    else if (by_ticket && *operands && strstr(*operands, "://"))
        wrong = "give DEST or a ticket, one of them";
    else if (by_ticket && str_eq(o->ticket_file, "-") && (!*operands || strv_has(operands, "-")))
        wrong = "standard input cannot bring the ticket and the stream";
    if (wrong)
        fprintf(stderr, "scistream-send: %s\nTry 'scistream-send --help'.\n", wrong);
    return wrong ? 64 : 0;
}

int main(int argc, char **argv)
{
    struct endpoint_opts o = { 0 };
    static struct endpoint ep;
    int rest, code;
    fd_reserve_stdio();
    enum opts_outcome parsed = opts_parse(&command, &o, argc, argv, &rest);
    if (parsed != OPTS_RUN)
        return parsed == OPTS_EXIT_OK ? 0 : 64;
    code = check_use(&o, argv + rest);
    files = argv + rest + !o.by_ticket;
    if (code == 0)
        code = endpoint_setup(&ep, &kind, &o, o.by_ticket ? NULL : argv[rest]);
    if (code == 0)
        code = look_at_files(&ep);
    if (code == 0)
        code = endpoint_run(&ep);
    if (ep.o)
        endpoint_cleanup(&ep);
    opts_free(&command, &o);
    return code;
}
