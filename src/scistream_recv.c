/* scistream-recv: take a stream from a gateway, or from scistream-send direct://, into a file or standard output. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "src/core/err.h"
#include "src/endpoint.h"

static const struct opts_row rows[] = {
    ENDPOINT_ROWS,
    ENDPOINT_ROW(output, "output", 'o', VALUE_STR, "", 0, 0, NULL, "FILE", NULL,
                 "write FILE.part and rename it when the stream is whole; default: standard output"),
    ENDPOINT_ROW(keep, "keep", 'k', VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL,
                 "serve streams one after the other; %n in FILE is their number, from 0"),
    ENDPOINT_ROW(listen, "listen", 'l', VALUE_STR, "", 0, 0, NULL, "ADDR:PORT", NULL, "wait for scistream-send direct://, without a gateway"),
    ENDPOINT_ROW(data_port, "data-port", 0, VALUE_INT, "0", 0, 65535, NULL, "PORT", NULL,
                 "with --listen: port of link data connections; 0 = any free one"),
    ENDPOINT_ROW(plaintext, "plaintext", 0, VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL, "with --listen: data on a link without TLS"),
    ENDPOINT_ROW(no_sync, "no-sync", 0, VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL, "confirm before the file is on the disk (no fsync)"),
};

static const struct opts_command command = {
    .program = "scistream-recv",
    .synopsis = "[options] SRC | --listen ADDR:PORT",
    .about = "Take a stream from SRC (gateway://HOST[:PORT]/ROUTE, or /ROUTE of the gateway in SCISTREAM_GATEWAY), or with --listen from "
             "a scistream-send that dials here. The file has its name only when every byte and the digest are right, and only then is "
             "the sender told so.",
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
    .tail = "Examples:\n"
            "  scistream-recv --pin sha256:... gateway://gw.example.org/detector -o run.h5\n"
            "  scistream-recv --listen 10.0.0.5:5000 --keep -o run-%n.h5\n"
            "Exit codes: 0 complete, 64 usage, 65 corrupted, 67 not allowed, 69 unreachable, 74 local output,\n"
            "  75 try again later, 76 aborted or protocol error, 78 configuration. See scistream(7).\n",
};

static char *final_name, *part_name;
static unsigned number;
static bool in_place; /* a device or FIFO is written as it is: there is nothing to rename */

/* ------------------------------------------------------------ the file and its name */

static char *expand(const char *pattern, unsigned n)
{
    const char *at = strstr(pattern, "%n");
    return at ? mem_printf("%.*s%u%s", (int)(at - pattern), pattern, n, at + 2) : mem_strdup(pattern);
}

static void forget_names(void)
{
    free(final_name);
    free(part_name);
    final_name = part_name = NULL;
}

static void open_file(struct endpoint *ep)
{
    static char standard[] = "-";
    char *to_stdout[] = { standard, NULL }, text[512];
    if (!*ep->o->output) {
        endpoint_open_files(ep, to_stdout, -1);
        return;
    }
    forget_names();
    final_name = expand(ep->o->output, number);
    part_name = in_place ? mem_strdup(final_name) : mem_printf("%s.part", final_name);
    int fd = open(part_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd >= 0) {
        char *named[] = { part_name, NULL };
        endpoint_open_files(ep, named, fd);
        return;
    }
    int rc = -errno;
    snprintf(text, sizeof(text), "cannot write %s: %s", part_name, strerror(-rc));
    endpoint_finish(ep, rc, text);
}

/* The name becomes durable with its folder. */
static int sync_folder(const char *path)
{
    AUTO_FREE char *folder = mem_strdup(path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    AUTO_FD int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || (fsync(fd) < 0 && errno != EINVAL) ? -errno : 0;
}

static bool put_in_place(struct endpoint *ep)
{
    char text[512];
    if (!final_name || in_place)
        return true;
    int rc = rename(part_name, final_name) < 0 ? -errno : 0;
    if (rc == 0 && !ep->o->no_sync)
        rc = sync_folder(final_name);
    if (rc == 0)
        return true;
    snprintf(text, sizeof(text), "cannot rename %s to %s: %s", part_name, final_name, strerror(-rc));
    endpoint_finish(ep, rc, text);
    return false;
}

/* ------------------------------------------------------------ the stream */

/* Only when everything arrived, is written and agrees is the sender told so. */
static void moved(struct endpoint *ep)
{
    if (!ep->ended || !ep->finished || !ep->told || ep->state != EP_FLOWING)
        return;
    if (!endpoint_same_total(ep) || !put_in_place(ep))
        return;
    ep->state = EP_CONFIRMED;
    ep->confirmed = true;
    hop_confirm(&ep->hop, &ep->mine);
    hop_finish(&ep->hop);
    loop_timer(&ep->loop, &ep->linger, 5 * NS_PER_S);
}

static void failed(struct endpoint *ep)
{
    if (part_name && ep->flow_ns && !in_place)
        endpoint_say(ep, "what arrived is kept in %s", part_name);
}

static const struct endpoint_kind kind = { .program = "scistream-recv", .open_file = open_file, .moved = moved, .failed = failed };

static int receive(struct endpoint *ep)
{
    char why[512];
    int code = 0;
    if (*ep->o->listen) {
        int rc = listen_start(ep, why, sizeof(why));
        if (rc < 0)
            return endpoint_complain(ep, rc, "%s", why);
    }
    do {
        code = endpoint_run(ep);
        forget_names();
        number += ep->flow_ns != 0; /* a number is used up once a file was begun */
    } while (ep->o->keep && endpoint_go_on(ep));
    return code;
}

/* Where the bytes go must be writable before anybody sends some. */
static int look_at_output(struct endpoint *ep)
{
    struct stat st;
    char *name = ep->o->output;
    if (str_eq(name, "-"))
        *name = 0;
    ep->stdout_is_stream = !*name;
    AUTO_FREE char *first = expand(name, 0), *folder = mem_strdup(first);
    if (*name && stat(first, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return endpoint_complain(ep, -EISDIR, "cannot write %s: it is a directory", first);
        in_place = !S_ISREG(st.st_mode);
    }
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    if (*name && !in_place && access(slash ? folder : ".", W_OK | X_OK) < 0)
        return endpoint_complain(ep, -errno, "cannot write into %s: %s", slash ? folder : "this folder", strerror(errno));
    return 0;
}

static int check_use(const struct endpoint_opts *o, int operands)
{
    const char *wrong = NULL;
    if ((operands == 1) == (*o->listen != 0) || operands > 1)
        wrong = "give one SRC, or --listen and no SRC";
    else if (o->keep && *o->output && !strstr(o->output, "%n"))
        wrong = "--keep needs %n in the name of the output, or each stream would replace the one before";
    if (wrong)
        fprintf(stderr, "scistream-recv: %s\nTry 'scistream-recv --help'.\n", wrong);
    return wrong ? 64 : 0;
}

int main(int argc, char **argv)
{
    struct endpoint_opts o = { 0 };
    static struct endpoint ep;
    int rest, code;
    enum opts_outcome parsed = opts_parse(&command, &o, argc, argv, &rest);
    if (parsed != OPTS_RUN)
        return parsed == OPTS_EXIT_OK ? 0 : 64;
    code = check_use(&o, argc - rest);
    if (code == 0)
        code = endpoint_setup(&ep, &kind, &o, rest < argc ? argv[rest] : NULL);
    if (code == 0)
        code = look_at_output(&ep);
    if (code == 0)
        code = receive(&ep);
    if (ep.o)
        endpoint_cleanup(&ep);
    forget_names();
    opts_free(&command, &o);
    return code;
}
