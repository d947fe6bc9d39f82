/* Another process of this gateway: started with one end of a SOCK_SEQPACKET pair at PROCESS_FD and nothing else open; and the packets that go over such
 * a pair, some with descriptors. */
#ifndef SRC_CORE_PROCESS_H
#define SRC_CORE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PROCESS_FD 3
#define PACKET_FDS 4 /* at most with one packet */

/* Run path (searched in PATH where it has no slash) in our environment, no signal blocked; their_end is copied and stays ours. 0, or -errno and
 * *pid is 0. */
int process_start(const char *path, char *const argv[], int their_end, pid_t *pid);

/* One packet; fds are copied. flags: of sendmsg(2), MSG_DONTWAIT where it must not wait. 0 or -errno. */
int packet_send(int to, const void *data, size_t len, const int *fds, size_t n_fds, int flags);

/* What came with a packet: the taker's, who closes them. cut: the kernel took some back, as when we have no descriptors left, or len is not all. */
struct packet_fds { int fd[PACKET_FDS]; size_t n; bool cut; };
/* The next packet, without waiting: its length; 0: the other end is closed; -errno. Of its descriptors (close-on-exec) the first max are kept. */
ssize_t packet_recv(int from, void *data, size_t size, size_t max, struct packet_fds *out);

#endif
