#include "src/handover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "src/core/process.h"
#include "src/core/util.h"

#define PACKET_MAX (sizeof(((struct handover_word *)0)->word) + HANDOVER_VALUE)

int handover_say(int to, const char *word, const char *value, int fd)
{
    char text[PACKET_MAX];
    snprintf(text, sizeof(text), "%s %s", word, value);
    return packet_send(to, text, strlen(text), &fd, fd >= 0, MSG_DONTWAIT);
}

int handover_hear(int from, struct handover_word *out)
{
    char text[PACKET_MAX];
    struct packet_fds with;
    ssize_t n = packet_recv(from, text, sizeof(text) - 1, 1, &with);
    out->fd = with.n ? with.fd[0] : -1;
    if (n <= 0)
        return n == -ECONNRESET ? 0 : (int)n;
    text[n] = 0;
    const char *space = strchr(text, ' ');
    size_t len = space ? (size_t)(space - text) : (size_t)n;
    if (len >= sizeof(out->word) || with.cut) {
        fd_close(&out->fd);
        return -EBADMSG;
    }
    memcpy(out->word, text, len);
    out->word[len] = 0;
    str_copy(out->value, sizeof(out->value), space ? space + 1 : "");
    return 1;
}
