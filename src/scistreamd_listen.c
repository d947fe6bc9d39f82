/* The sockets that control opens: control endpoint, link ports, local administration. */
#include <stdio.h>
#include <sys/stat.h>

#include "src/control_socket.h"
#include "src/core/err.h"
#include "src/scistreamd.h"
#include "tcp/sock.h"

static int listen_at(struct daemon *d, const char *option, const char *host, uint16_t port)
{
    union sockaddr_any at;
    char text[ADDR_TEXT];
    if (addr_numeric(host, port, &at) < 0) {
        daemon_fail(d, 0, "%s: '%s' is no numeric address", option, host);
        return -1;
    }
    int fd = sock_listen(&at);
    if (fd < 0)
        daemon_fail(d, 0, "%s: cannot listen on %s: %s%s", option, addr_format(&at, text), err_text(fd),
             fd == -EADDRINUSE ? "; another program has the port (ss -ltnp), or choose another"
             : fd == -EACCES   ? "; ports below 1024 need root"
                               : "");
    return fd;
}

int listen_links(struct daemon *d, int *fds, unsigned n)
{
    uint16_t first, last, listen_port;
    char host[ADDR_HOST_MAX + 1], why[WHY];
    unsigned got = 0;
    addr_parse_ports(d->conf->g.link_ports, &first, &last);
    addr_parse_hostport(d->conf->g.listen, ADDR_PORT_DEFAULT, host, &listen_port, why, sizeof(why));
    const char *at = *d->conf->g.link_address ? d->conf->g.link_address : host;
    for (unsigned port = first; port <= last && got < n; port++) {
        int fd = listen_at(d, "link_ports", at, (uint16_t)port);
        if (fd >= 0)
            fds[got++] = fd;
    }
    if (got == n)
        return 0;
    str_copy(why, sizeof(why), d->why);
    return daemon_fail(d, 78, "link_ports %s: %u workers need a port each, %u were free (%s)%s", d->conf->g.link_ports, n, got, why,
                       d->before.fd >= 0 ? "; the program before this one holds its own until its streams have ended: give it twice as many ports" : "");
}

int listen_tls(struct daemon *d)
{
    char host[ADDR_HOST_MAX + 1], why[WHY];
    uint16_t port;
    addr_parse_hostport(d->conf->g.listen, ADDR_PORT_DEFAULT, host, &port, why, sizeof(why));
    d->endpoint_fd = listen_at(d, "listen", host, port);
    return d->endpoint_fd < 0 ? 78 : 0;
}

int listen_plain(struct daemon *d)
{
    char host[ADDR_HOST_MAX + 1], why[WHY];
    uint16_t port;
    if (!d->plain)
        return 0;
    addr_parse_hostport(d->conf->scistream.plaintext_listen, 0, host, &port, why, sizeof(why));
    d->plain_fd = listen_at(d, "scistream.plaintext_listen", host, port);
    return d->plain_fd < 0 ? 78 : 0;
}

static int make_socket_folder(struct daemon *d)
{
    AUTO_FREE char *folder = mem_strdup(d->socket_path);
    struct stat st;
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return 0;
    *slash = 0;
    d->made_folder = mkdir(folder, 0755) == 0;
    if (!d->made_folder && errno != EEXIST)
        return daemon_fail(d, 78, "control_socket: cannot make %s: %s", folder, strerror(errno));
    if (str_starts(folder, "/tmp/") && (lstat(folder, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()))
        return daemon_fail(d, 78, "control_socket: %s belongs to somebody else: set control_socket", folder);
    return 0;
}

static int open_local(struct daemon *d)
{
    int code = make_socket_folder(d);
    if (code)
        return code;
    int fd = d->local_fd = sock_listen_unix(d->socket_path, 0600);
    return fd >= 0 ? 0
                   : daemon_fail(d, 78, "control_socket %s: %s%s", d->socket_path, err_text(fd),
                                 fd == -EADDRINUSE ? "; another scistreamd uses it: give each its own control_socket" : "");
}

int listen_local(struct daemon *d)
{
    d->socket_path = *d->conf->g.control_socket ? mem_strdup(d->conf->g.control_socket) : control_socket_default();
    int code = open_local(d);
    if (code == 0)
        return 0;
    free(d->socket_path);
    d->socket_path = NULL; /* not ours to unlink: another scistreamd may serve there */
    return code;
}

int listen_serve(struct daemon *d)
{
    int rc = grpc_server_listen(d->server, fd_take(&d->endpoint_fd), d->tls, "control endpoint");
    if (rc == 0)
        rc = grpc_server_listen(d->server, fd_take(&d->local_fd), NULL, "local control socket");
    if (rc == 0 && d->plain)
        rc = grpc_server_listen(d->plain, fd_take(&d->plain_fd), NULL, "scistream.plaintext_listen");
    return rc < 0 ? daemon_fail(d, 71, "cannot serve: %s", err_text(rc)) : 0;
}
