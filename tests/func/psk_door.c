/* psk_door PORT TO_PORT accept|connect KIND UIDKEY: a worker with one door at 127.0.0.1:PORT, whose relays go to 127.0.0.1:TO_PORT, and TLS by pre-shared
 * key where peers are accepted or where it connects. KIND: ours; legacy, both keys; null, both and null_ciphers; uid, without ours. UIDKEY: 32 hex digits. Says "ready", what
 * ended and what its connections speak, until it is killed. */
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "src/core/board.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/secret.h"
#include "src/engine/worker.h"

const struct xport_ops *const xport_list[] = { &xport_tcp_ops, NULL };

typedef Scistream__Worker__Psk Psk;

static struct worker *worker;

static void hear(void *user UNUSED, const FromWorker *m, int fd UNUSED)
{
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_STARTED)
        printf("ready\n");
    if (m->what_case == SCISTREAM__WORKER__FROM_WORKER__WHAT_RELAYED)
        printf("ended %s %llu %llu backend '%s' %s\n", m->relayed->code ? "badly" : "well", (unsigned long long)m->relayed->forward,
               (unsigned long long)m->relayed->backward, m->relayed->backend, m->relayed->text);
    fflush(stdout);
}

static int listening(uint16_t port)
{
    const int on = 1;
    union sockaddr_any at = { .in = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, &at.sa, addr_len(&at)) < 0 || listen(fd, 64) < 0)
        exit(1);
    return fd;
}

static void tell_init(void)
{
    ToWorker m = SCISTREAM__WORKER__TO_WORKER__INIT;
    Scistream__Worker__Init i = SCISTREAM__WORKER__INIT__INIT;
    int fds[2];
    stats_unmap(stats_create(&fds[0]));
    struct board *board = board_create(&fds[1]);
    if (!board)
        exit(1);
    stats_set(&board->workers, 1);
    stats_set(&board->memory_limit, 1ULL << 40);
    board_unmap(board);
    m.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_INIT;
    m.init = &i;
    worker_handle(worker, &m, fds, 2);
}

static void tell_door(char *const *argv, Psk *psk)
{
    static char host[] = "127.0.0.1", name[] = "route psk";
    char *addresses[] = { host };
    ToWorker m = SCISTREAM__WORKER__TO_WORKER__INIT;
    Scistream__Worker__Door d = SCISTREAM__WORKER__DOOR__INIT;
    Scistream__Worker__TcpPeer to = SCISTREAM__WORKER__TCP_PEER__INIT;
    int fd = listening((uint16_t)atoi(argv[1]));
    to.addresses = addresses;
    to.n_addresses = 1;
    to.port = (uint32_t)atoi(argv[2]);
    to.connect_ns = 10 * NS_PER_S;
    *(str_eq(argv[3], "accept") ? &d.psk : &to.psk) = psk;
    d.number = 1;
    d.connections = 1000;
    d.to = &to;
    d.tell = true;
    d.name = name;
    m.what_case = SCISTREAM__WORKER__TO_WORKER__WHAT_DOOR;
    m.door = &d;
    worker_handle(worker, &m, &fd, 1);
    worker_wipe(&m);
}

/* A connection that is up is told once. */
static void tell_security(void)
{
    static uint64_t told;
    struct stats_page *p = worker_stats(worker);
    for (unsigned i = 0; p && i < stats_get(&p->relay_high); i++) {
        const struct stats_relay *r = &p->relay[i];
        if (!atomic_load(&r->up) || stats_get(&r->c.id) <= told)
            continue;
        told = stats_get(&r->c.id);
        printf("up %s | %s\n", r->security[0], r->security[1]);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    static struct loop loop;
    uint8_t key[PSK_KEY] = "thirty-two bytes of a secret key", uid_key[PSK_UID_KEY];
    char identity[] = "session 7";
    Psk psk = SCISTREAM__WORKER__PSK__INIT;
    if (argc != 6 || !secret_unhex(uid_key, sizeof(uid_key), argv[5]))
        return 64;
    signal(SIGPIPE, SIG_IGN);
    if (!str_eq(argv[4], "uid")) {
        psk.identity = identity;
        psk.key = (ProtobufCBinaryData){ sizeof(key), key };
    }
    psk.legacy = !str_eq(argv[4], "ours");
    psk.null_ciphers = str_eq(argv[4], "null");
    if (psk.legacy)
        psk.uid_key = (ProtobufCBinaryData){ sizeof(uid_key), uid_key };
    if (loop_init(&loop) < 0 || !(worker = worker_new(&loop, conf_new(), hear, NULL)))
        return 1;
    tell_init();
    tell_door(argv, &psk);
    for (;;) {
        loop_turn(&loop, 20 * NS_PER_MS);
        tell_security();
    }
}
