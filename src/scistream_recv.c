/* scistream-recv: take a stream from a gateway, or from scistream-send direct://, into a file or standard output. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "src/core/err.h"
#include "src/endpoint.h"

static const struct opts_row rows[] = {
    ENDPOINT_ROWS,
    ENDPOINT_TICKET_ROW,
    ENDPOINT_ROW(output, "output", 'o', VALUE_STR, "", 0, 0, NULL, "FILE", NULL,
                 "write FILE.part and rename it when the stream is whole; default: standard output"),
    ENDPOINT_ROW(keep, "keep", 'k', VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL,
                 "serve streams one after the other; %n in FILE is their number, from 0"),
    ENDPOINT_ROW(listen, "listen", 'l', VALUE_STR, "", 0, 0, NULL, "ADDR:PORT", NULL,
                 "wait for scistream-send direct://, without a gateway, as long as --wait says; PORT or :PORT: at any address"),
    ENDPOINT_ROW(data_port, "data-port", 0, VALUE_INT, "0", 0, 65535, NULL, "PORT", NULL,
                 "with --listen: port of link data connections; 0 = any free one"),
    ENDPOINT_ROW(plaintext, "plaintext", 0, VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL, "with --listen: data on a link without TLS"),
    ENDPOINT_ROW(no_sync, "no-sync", 0, VALUE_FLAG, "no", 0, 0, NULL, NULL, NULL, "confirm before the file is on the disk (no fsync)"),
};

static const struct opts_command command = {
    .program = "scistream-recv",
    .synopsis = "[options] SRC | --listen ADDR:PORT | --ticket-file TICKET",
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

#define MISSING_S 60 /* a hop that notices by itself that its path is gone knows more, and has said so by then */
#define READER_NS (100 * NS_PER_MS) /* between two looks for the reader of a FIFO */

static char *final_name, *part_name;
static int part_lock = -1; /* a duplicate of the open .part: it keeps the lock until the file has its name */
static unsigned number;
static struct endpoint receiver;
static void on_missing(struct timer *t);
static struct timer missing_timer = { .fire = on_missing };
static uint64_t missing_from; /* bytes that were there when nothing was under way */
static bool in_place; /* a device or FIFO is written as it is: there is nothing to rename */

/* ------------------------------------------------------------ the file and its name */

static char *expand(const char *pattern, unsigned n)
{
    const char *at = strstr(pattern, "%n");
    return at ? mem_printf("%.*s%u%s", (int)(at - pattern), pattern, n, at + 2) : mem_strdup(pattern);
}

static void forget_names(void)
{
    fd_close(&part_lock);
    free(final_name);
    free(part_name);
    final_name = part_name = NULL;
}

/* What a file system without locks says. */
static bool no_locks(int err) { return err == ENOLCK || err == EOPNOTSUPP || err == ENOSYS || err == EINVAL; }

static bool still_named(int fd, const char *path)
{
    struct stat ours, named;
    return fstat(fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

/* Nothing is truncated before the lock is ours. Whoever held it may have renamed the file meanwhile: then it is a whole one, not ours,
 * and the name is free. -EWOULDBLOCK: another receiver writes it. */
static int open_part(const char *path)
{
    for (;;) {
        AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
        if (fd < 0 || (flock(fd, LOCK_EX | LOCK_NB) < 0 && !no_locks(errno)))
            return -errno;
        if (!still_named(fd, path))
            continue;
        if (ftruncate(fd, 0) < 0 || (part_lock = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0)
            return -errno;
        return fd_take(&fd);
    }
}

static void open_file(struct endpoint *ep);
static void on_reader_time(struct timer *t UNUSED)
{
    if (receiver.state == EP_FLOWING)
        open_file(&receiver);
}
static struct timer reader_timer = { .fire = on_reader_time };

/* A FIFO cannot be opened before its reader has. */
static void wait_for_reader(struct endpoint *ep)
{
    static bool said;
    if (!said)
        endpoint_say(ep, "waiting for a reader of %s", part_name);
    said = true;
    loop_timer(&ep->loop, &reader_timer, READER_NS);
}

static void refuse_file(struct endpoint *ep, int rc)
{
    char text[512];
    if (rc == -EWOULDBLOCK)
        snprintf(text, sizeof(text), "%s is being written by another receiver", part_name);
    else
        snprintf(text, sizeof(text), "cannot write %s: %s", part_name, strerror(-rc));
    endpoint_finish(ep, rc == -EWOULDBLOCK ? -SST_EIO : rc, text);
}

static void open_named(struct endpoint *ep)
{
    forget_names();
    final_name = expand(ep->o->output, number);
    part_name = in_place ? mem_strdup(final_name) : mem_printf("%s.part", final_name);
    int fd = in_place ? open(part_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666) : open_part(part_name);
    char *named[] = { part_name, NULL };
    int rc = fd < 0 && in_place ? -errno : fd;
    if (rc == -ENXIO && in_place)
        wait_for_reader(ep);
    else if (rc < 0)
        refuse_file(ep, rc);
    else
        endpoint_open_files(ep, named, fd);
}

static void open_file(struct endpoint *ep)
{
    static char standard[] = "-";
    char *to_stdout[] = { standard, NULL };
    if (*ep->o->output)
        open_named(ep);
    else
        endpoint_open_files(ep, to_stdout, -1);
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

/* The sender has read its whole input, and our ring is empty, so that nobody on the way waits for us: what is missing must come. An adapter
 * of iWARP counts as sent what its TCP has taken, hence nobody before us may ever notice that the rest was lost. */
static void on_missing(struct timer *t)
{
    struct endpoint *ep = &receiver;
    const struct stats_channel *st = pool_channel_stats(&ep->local.w, &ep->pc);
    char text[192];
    if (ep->state != EP_FLOWING || !ep->told || ep->ended || !st)
        return;
    uint64_t put = stats_get(&st->flow[0].put);
    bool empty = put == stats_get(&st->flow[0].rel);
    if (empty && put == missing_from) {
        snprintf(text, sizeof(text), "%llu of %llu bytes are here without the end of the stream, and nothing has come for %d s: the path to it is gone",
                 (unsigned long long)put, (unsigned long long)ep->theirs.total, MISSING_S);
        endpoint_finish(ep, -SST_ETIMEOUT, text);
        return;
    }
    missing_from = empty ? put : UINT64_MAX;
    loop_timer(&ep->loop, t, MISSING_S * NS_PER_S);
}

/* Only when everything arrived, is written and agrees is the sender told so. */
static void moved(struct endpoint *ep)
{
    if (ep->told && !ep->ended && !timer_pending(&missing_timer)) {
        missing_from = UINT64_MAX;
        loop_timer(&ep->loop, &missing_timer, NS_PER_S);
    }
    if (!ep->ended || !ep->finished || !ep->told || ep->state != EP_FLOWING)
        return;
    if (!endpoint_same_total(ep) || !put_in_place(ep))
        return;
    loop_timer_stop(&ep->loop, &missing_timer);
    ep->state = EP_CONFIRMED;
    ep->confirmed = true;
    hop_confirm(&ep->hop, &ep->mine);
    hop_finish(&ep->hop);
    loop_timer(&ep->loop, &ep->linger, 5 * NS_PER_S);
}

static void failed(struct endpoint *ep)
{
    loop_timer_stop(&ep->loop, &reader_timer);
    loop_timer_stop(&ep->loop, &missing_timer);
    if (part_name && part_lock >= 0)
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
    bool stopped = ep->rc == -SST_EINTERRUPTED || (ep->o->keep && ep->interrupted); /* between two streams, or behind a whole one */
    if (stopped && code != err_exit(-SST_EINTERRUPTED))
        code = endpoint_complain_interrupted(ep);
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
    if (ep->stdout_is_stream && fd_was_reserved(STDOUT_FILENO))
        return endpoint_complain(ep, -SST_EIO, "standard output is closed, and the stream would go there: give -o FILE");
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

static int check_use(struct endpoint_opts *o, int operands)
{
    const char *wrong = NULL;
    bool by_ticket = endpoint_takes_ticket(o, operands);
    if (by_ticket && (operands > 0 || *o->listen))
        wrong = "give SRC, --listen or a ticket, one of them";
    else if (!by_ticket && ((operands == 1) == (*o->listen != 0) || operands > 1))
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
    int rest, code;
    fd_reserve_stdio();
    enum opts_outcome parsed = opts_parse(&command, &o, argc, argv, &rest);
    if (parsed != OPTS_RUN)
        return parsed == OPTS_EXIT_OK ? 0 : 64;
    code = check_use(&o, argc - rest);
    if (code == 0)
        code = endpoint_setup(&receiver, &kind, &o, rest < argc ? argv[rest] : NULL);
    if (code == 0)
        code = look_at_output(&receiver);
    if (code == 0)
        code = receive(&receiver);
    if (receiver.o)
        endpoint_cleanup(&receiver);
    forget_names();
    opts_free(&command, &o);
    return code;
}
