/* Words between two programs, one a packet, with and without descriptors; and what is no word. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "src/core/util.h"
#include "src/handover.h"
#include "tests/lib/unit.h"

static int end[2];

static void begin(void) { CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, end), 0); }

static void finish(void)
{
    fd_close(&end[0]);
    fd_close(&end[1]);
}

static void test_words(void)
{
    struct handover_word w;
    struct stat a, b;
    begin();
    CU_ASSERT_EQUAL(handover_hear(end[1], &w), -EAGAIN);
    AUTO_FD int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CU_ASSERT_EQUAL(handover_say(end[0], "socket", "listens at 127.0.0.1", null), 0);
    CU_ASSERT_EQUAL(handover_say(end[0], "begin", "", -1), 0);
    CU_ASSERT_EQUAL_FATAL(handover_hear(end[1], &w), 1);
    CU_ASSERT(str_eq(w.word, "socket") && str_eq(w.value, "listens at 127.0.0.1") && w.fd >= 0 && w.fd != null);
    CU_ASSERT(fstat(w.fd, &a) == 0 && fstat(null, &b) == 0 && a.st_rdev == b.st_rdev && fcntl(w.fd, F_GETFD) == FD_CLOEXEC);
    fd_close(&w.fd);
    CU_ASSERT_EQUAL_FATAL(handover_hear(end[1], &w), 1);
    CU_ASSERT(str_eq(w.word, "begin") && str_eq(w.value, "") && w.fd == -1);
    finish();
}

static void test_long(void)
{
    struct handover_word w;
    char text[2 * HANDOVER_VALUE];
    begin();
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = 0;
    CU_ASSERT_EQUAL(handover_say(end[0], "failed", text, -1), 0);
    CU_ASSERT_EQUAL(handover_hear(end[1], &w), 1);
    CU_ASSERT(str_eq(w.word, "failed") && strlen(w.value) == HANDOVER_VALUE - 1);
    CU_ASSERT_EQUAL(send(end[0], text, sizeof(text), 0), sizeof(text)); /* more than is ever said */
    CU_ASSERT_EQUAL(handover_hear(end[1], &w), -EBADMSG);
    CU_ASSERT_EQUAL(send(end[0], text, 16, 0), 16); /* a word too long */
    CU_ASSERT_EQUAL(handover_hear(end[1], &w), -EBADMSG);
    CU_ASSERT_EQUAL(send(end[0], "ready", 5, 0), 5); /* without a value */
    CU_ASSERT(handover_hear(end[1], &w) == 1 && str_eq(w.word, "ready") && str_eq(w.value, ""));
    finish();
}

/* More descriptors than one are nobody's: the kernel has closed those that did not fit. */
static void test_many_descriptors(void)
{
    struct handover_word w;
    union { char buf[CMSG_SPACE(8 * sizeof(int))]; struct cmsghdr align; } c = { { 0 } };
    struct iovec iov = { (char[]){ "socket x" }, 8 };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.buf, .msg_controllen = sizeof(c.buf) };
    int fds[8];
    begin();
    int before = open("/dev/null", O_RDONLY);
    close(before);
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(fds));
    for (int i = 0; i < 8; i++)
        fds[i] = end[0];
    memcpy(CMSG_DATA(h), fds, sizeof(fds));
    CU_ASSERT_EQUAL(sendmsg(end[0], &m, 0), 8);
    CU_ASSERT_EQUAL(handover_hear(end[1], &w), -EBADMSG);
    int after = open("/dev/null", O_RDONLY);
    CU_ASSERT_EQUAL(after, before);
    close(after);
    finish();
}

static void test_ends(void)
{
    struct handover_word w;
    begin();
    CU_ASSERT_EQUAL(handover_say(end[0], "ready", "1", -1), 0);
    fd_close(&end[0]);
    CU_ASSERT_EQUAL(handover_hear(end[1], &w), 1);
    CU_ASSERT_EQUAL(handover_hear(end[1], &w), 0);
    CU_ASSERT_EQUAL(handover_say(end[1], "yours", "1", -1), -EPIPE);
    finish();
}

UNIT_MAIN("handover", UNIT(test_words), UNIT(test_long), UNIT(test_many_descriptors), UNIT(test_ends))
