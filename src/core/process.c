#include "src/core/process.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>

#include "src/core/util.h"

extern char **environ;

union control { char buf[CMSG_SPACE(PACKET_FDS * sizeof(int))]; struct cmsghdr align; };

int process_start(const char *path, char *const argv[], int their_end, pid_t *pid)
{
    posix_spawn_file_actions_t a;
    posix_spawnattr_t attr;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_adddup2(&a, their_end, PROCESS_FD);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attr, &none);
    int rc = posix_spawnp(pid, path, &a, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&a);
    if (rc)
        *pid = 0;
    return -rc;
}

int packet_send(int to, const void *data, size_t len, const int *fds, size_t n_fds, int flags)
{
    union control c = { { 0 } };
    struct iovec iov = { (void *)(uintptr_t)data, len };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (n_fds) {
        m.msg_control = c.buf;
        m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        *CMSG_FIRSTHDR(&m) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n_fds * sizeof(int)) };
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), fds, n_fds * sizeof(int));
    }
    return sendmsg(to, &m, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void take_fds(struct msghdr *m, size_t max, struct packet_fds *out)
{
    const struct cmsghdr *h = CMSG_FIRSTHDR(m);
    size_t n = h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS ? (h->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
    for (size_t i = 0; i < n; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
        if (out->n < max)
            out->fd[out->n++] = fd;
        else
            close(fd);
    }
}

ssize_t packet_recv(int from, void *data, size_t size, size_t max, struct packet_fds *out)
{
    union control c;
    struct iovec iov = { data, size };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.buf, .msg_controllen = sizeof(c.buf) };
    *out = (struct packet_fds){ .n = 0 };
    ssize_t n = recvmsg(from, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    take_fds(&m, MIN(max, PACKET_FDS), out);
    out->cut = m.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
    return n;
}
