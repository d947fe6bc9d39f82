/* tests/lib/grpc_echo as a server, for clients that are not ours:
 *   grpc_echo [-u PATH] [-c CERT -k KEY] [-n CONNECTIONS] [-w HANDSHAKE_MS]
 * Plaintext on a free port of 127.0.0.1, the same on a unix socket with -u, TLS on a second port with -c, -k. Prints "plain PORT",
 * "unix PATH", "tls PORT", "ready"; SIGTERM ends it. Each line of its input is answered with "fds N calls N rss KIB". */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>

#include "src/core/err.h"
#include "tcp/sock.h"
#include "tests/lib/grpc_echo.h"

struct program { struct loop loop; struct io in; struct echo_log log; };

static struct program P;

static int die(const char *what, int rc)
{
    fprintf(stderr, "grpc_echo: %s: %s\n", what, err_text(rc));
    return 1;
}

/* Beside the one that opendir uses. */
static unsigned open_fds(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n - 3;
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*d %ld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void on_line(struct io *io, uint32_t events UNUSED)
{
    char buf[256];
    if (read(io->fd, buf, sizeof(buf)) <= 0) {
        loop_stop(&P.loop);
        return;
    }
    printf("fds %u calls %zu rss %ld\n", open_fds(), grpc_server_calls(P.log.server), resident_kib());
    fflush(stdout);
}

static void on_term(struct loop *l, int signo UNUSED) { loop_stop(l); }

/* Prints NAME PORT. */
static int serve_tcp(const char *name, struct tls_ctx *tls)
{
    union sockaddr_any at;
    socklen_t len = sizeof(at);
    addr_numeric("127.0.0.1", 0, &at);
    int fd = sock_listen(&at);
    if (fd < 0)
        return fd;
    getsockname(fd, &at.sa, &len);
    printf("%s %u\n", name, addr_port(&at));
    return grpc_server_listen(P.log.server, fd, tls, name);
}

static int serve_unix(const char *path)
{
    int fd = sock_listen_unix(path, 0600);
    if (fd < 0)
        return fd;
    printf("unix %s\n", path);
    return grpc_server_listen(P.log.server, fd, NULL, "unix");
}

struct options { const char *unix_path, *cert, *key; struct grpc_limits limits; };

static bool parse(struct options *o, int argc, char **argv)
{
    o->limits = (struct grpc_limits){
        .connections = 6000, .streams = 100, .handshake_ns = 60 * NS_PER_S, .silent_ns = 10 * NS_PER_S,
    };
    for (int c; (c = getopt(argc, argv, "u:c:k:n:w:")) != -1;) {
        if (c == 'u')
            o->unix_path = optarg;
        else if (c == 'c')
            o->cert = optarg;
        else if (c == 'k')
            o->key = optarg;
        else if (c == 'n')
            o->limits.connections = (uint32_t)atoi(optarg);
        else if (c == 'w')
            o->limits.handshake_ns = (uint64_t)atoi(optarg) * NS_PER_MS;
        else
            return false;
    }
    return optind == argc && !o->cert == !o->key;
}

static int start(const struct options *o, struct tls_ctx **tls)
{
    char why[300];
    int rc = serve_tcp("plain", NULL);
    if (rc == 0 && o->unix_path)
        rc = serve_unix(o->unix_path);
    if (rc == 0 && o->cert) {
        *tls = tls_ctx_server(o->cert, o->key, "h2", why, sizeof(why));
        if (!*tls)
            fprintf(stderr, "grpc_echo: %s\n", why);
        rc = *tls ? serve_tcp("tls", *tls) : -SST_ETLS;
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct options o = { 0 };
    struct tls_ctx *tls = NULL;
    if (!parse(&o, argc, argv)) {
        fprintf(stderr, "usage: grpc_echo [-u PATH] [-c CERT -k KEY] [-n CONNECTIONS] [-w HANDSHAKE_MS]\n");
        return 64;
    }
    int rc = loop_init(&P.loop);
    if (rc < 0)
        return die("loop", rc);
    P.log.server = grpc_server_new(&P.loop, echo_methods, echo_n_methods, &o.limits, &P.log);
    rc = start(&o, &tls);
    if (rc < 0)
        return die("listen", rc);
    P.in.ready = on_line;
    loop_add(&P.loop, &P.in, STDIN_FILENO, EPOLLIN);
    loop_on_signal(&P.loop, SIGTERM, on_term);
    puts("ready");
    fflush(stdout);
    loop_run(&P.loop);
    grpc_server_free(P.log.server);
    tls_ctx_free(tls);
    loop_fini(&P.loop);
    return 0;
}
