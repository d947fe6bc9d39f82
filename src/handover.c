#include "src/handover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "src/core/util.h"

union control { char buf[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; };

int handover_say(int to, const char *word, const char *value, int fd)
{
    char text[sizeof(((struct handover_word *)0)->word) + HANDOVER_VALUE];
    union control c = { { 0 } };
    snprintf(text, sizeof(text), "%s %s", word, value);
    struct iovec iov = { text, strlen(text) };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (fd >= 0) {
        m.msg_control = c.buf;
        m.msg_controllen = sizeof(c.buf);
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &fd, sizeof(int));
    }
    return sendmsg(to, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* The buffer has room for two, alignment sees to that. */
static int take_fd(struct msghdr *m)
{
    const struct cmsghdr *h = CMSG_FIRSTHDR(m);
    int fd = -1;
    size_t n = h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS ? (h->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
    for (size_t i = 0; i < n; i++) {
        fd_close(&fd);
        memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
    }
    return fd;
}

int handover_hear(int from, struct handover_word *out)
{
    char text[sizeof(out->word) + HANDOVER_VALUE];
    union control c;
    struct iovec iov = { text, sizeof(text) - 1 };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.buf, .msg_controllen = sizeof(c.buf) };
    ssize_t n = recvmsg(from, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == ECONNRESET ? 0 : -errno;
    out->fd = take_fd(&m);
    text[n] = 0;
    const char *space = strchr(text, ' ');
    size_t len = space ? (size_t)(space - text) : (size_t)n;
    if (n == 0)
        return 0;
    if (len >= sizeof(out->word) || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        fd_close(&out->fd);
        return -EBADMSG;
    }
    memcpy(out->word, text, len);
    out->word[len] = 0;
    str_copy(out->value, sizeof(out->value), space ? space + 1 : "");
    return 1;
}
