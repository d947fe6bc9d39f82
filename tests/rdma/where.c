/* Before the libraries of a worker (LD_PRELOAD): where the bytes lie that it gives to system calls on stream sockets and to send queues.
 *
 * A ring is memory that was registered and is a mapping of a ring's memfd: [base, base + 2 cap), both views. Addresses are kept and judged at
 * the end, since a link may fill a ring before the verbs end has registered it. One JSON object, to the file $WHERE.PID at exit:
 *   in, out    recvmsg and the like, sendmsg and the like on TCP sockets: bytes in a ring, elsewhere, and the largest piece elsewhere
 *   write      RDMA WRITEs: the same
 *   sends, send_max     SENDs and the bytes of the largest
 *   rings      bytes registered as rings
 */
#include <dlfcn.h>
#include <infiniband/verbs.h>
#include <pthread.h>
#include <rdma/rdma_cma.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "src/core/util.h"

#undef ibv_reg_mr /* macros of verbs.h */

#define RINGS 64
#define PIECES (1U << 20)

enum way { IN, OUT, WRITE, WAYS };
static struct { uintptr_t base; size_t cap; } rings[RINGS];
static struct { uintptr_t at; uint32_t n; enum way way; } *pieces; /* some MiB of untouched pages */
static unsigned n_rings, n_pieces;
static uint64_t sends, send_max, lost;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* memory is registered by the helper thread */

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

/* ------------------------------------------------------------ what is a ring */

static bool maps_a_ring(const void *at)
{
    char line[512];
    bool yes = false;
    FILE *f = fopen("/proc/self/maps", "re");
    while (f && !yes && fgets(line, sizeof(line), f)) {
        unsigned long from = 0, to = 0;
        yes = sscanf(line, "%lx-%lx", &from, &to) == 2 && (uintptr_t)at >= from && (uintptr_t)at < to && strstr(line, "memfd:scistream-ring");
    }
    if (f)
        fclose(f);
    return yes;
}

static void registered(const void *at, size_t n)
{
    if (!maps_a_ring(at))
        return;
    pthread_mutex_lock(&lock);
    if (n_rings < RINGS) {
        rings[n_rings].base = (uintptr_t)at;
        rings[n_rings++].cap = n;
    }
    pthread_mutex_unlock(&lock);
}

static bool in_ring(uintptr_t at, size_t n)
{
    for (unsigned i = 0; i < n_rings; i++)
        if (at >= rings[i].base && at + n <= rings[i].base + 2 * rings[i].cap)
            return true;
    return false;
}

struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *at, size_t n, int access)
{
    struct ibv_mr *mr = REAL(ibv_reg_mr)(pd, at, n, access);
    if (mr)
        registered(at, n);
    return mr;
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *at, size_t n, uint64_t iova, unsigned int access)
{
    struct ibv_mr *mr = REAL(ibv_reg_mr_iova2)(pd, at, n, iova, access);
    if (mr)
        registered(at, n);
    return mr;
}

/* ------------------------------------------------------------ pieces */

static void piece(enum way way, uintptr_t at, size_t n)
{
    pthread_mutex_lock(&lock);
    if (!pieces)
        pieces = calloc(PIECES, sizeof(*pieces));
    if (!pieces || n_pieces == PIECES || n > UINT32_MAX) {
        lost++;
    } else if (n) {
        pieces[n_pieces].at = at;
        pieces[n_pieces].n = (uint32_t)n;
        pieces[n_pieces++].way = way;
    }
    pthread_mutex_unlock(&lock);
}

static bool tcp(int fd)
{
    int type = 0, domain = 0;
    socklen_t n = sizeof(type), m = sizeof(domain);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &m) == 0 &&
           type == SOCK_STREAM && (domain == AF_INET || domain == AF_INET6);
}

/* What a call has moved. */
static ssize_t moved(enum way way, int fd, const struct iovec *iov, size_t n, ssize_t bytes)
{
    if (bytes <= 0 || !tcp(fd))
        return bytes;
    size_t left = (size_t)bytes;
    for (size_t i = 0; i < n && left; i++) {
        size_t k = MIN(left, iov[i].iov_len);
        piece(way, (uintptr_t)iov[i].iov_base, k);
        left -= k;
    }
    return bytes;
}

static ssize_t moved_one(enum way way, int fd, const void *at, ssize_t bytes)
{
    struct iovec iov = { (void *)(uintptr_t)at, bytes > 0 ? (size_t)bytes : 0 };
    return moved(way, fd, &iov, 1, bytes);
}

/* To look at a byte that stays where it is moves nothing. */
ssize_t recv(int fd, void *p, size_t n, int f)
{
    ssize_t got = REAL(recv)(fd, p, n, f);
    return f & MSG_PEEK ? got : moved_one(IN, fd, p, got);
}

ssize_t send(int fd, const void *p, size_t n, int f) { return moved_one(OUT, fd, p, REAL(send)(fd, p, n, f)); }
ssize_t write(int fd, const void *p, size_t n) { return moved_one(OUT, fd, p, REAL(write)(fd, p, n)); }
ssize_t read(int fd, void *p, size_t n) { return moved_one(IN, fd, p, REAL(read)(fd, p, n)); }
ssize_t writev(int fd, const struct iovec *v, int n) { return moved(OUT, fd, v, (size_t)n, REAL(writev)(fd, v, n)); }
ssize_t readv(int fd, const struct iovec *v, int n) { return moved(IN, fd, v, (size_t)n, REAL(readv)(fd, v, n)); }
ssize_t sendmsg(int fd, const struct msghdr *m, int f) { return moved(OUT, fd, m->msg_iov, m->msg_iovlen, REAL(sendmsg)(fd, m, f)); }
ssize_t recvmsg(int fd, struct msghdr *m, int f) { return moved(IN, fd, m->msg_iov, m->msg_iovlen, REAL(recvmsg)(fd, m, f)); }

/* ------------------------------------------------------------ work requests: ibv_post_send is inline, its function is in the context */

static int (*real_post)(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad);

static int post(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
    for (const struct ibv_send_wr *w = wr; w; w = w->next) {
        uint64_t bytes = 0;
        for (int i = 0; i < w->num_sge; i++) {
            bytes += w->sg_list[i].length;
            if (w->opcode == IBV_WR_RDMA_WRITE || w->opcode == IBV_WR_RDMA_WRITE_WITH_IMM)
                piece(WRITE, (uintptr_t)w->sg_list[i].addr, w->sg_list[i].length);
        }
        if (w->opcode == IBV_WR_SEND) {
            sends++;
            send_max = MAX(send_max, bytes);
        }
    }
    return real_post(qp, wr, bad);
}

static void watch(struct ibv_qp *qp)
{
    if (!qp || qp->context->ops.post_send == post)
        return;
    real_post = qp->context->ops.post_send; /* the devices of a test are of one kind */
    qp->context->ops.post_send = post;
}

struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *a)
{
    struct ibv_qp *qp = REAL(ibv_create_qp)(pd, a);
    watch(qp);
    return qp;
}

int rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *a)
{
    int rc = REAL(rdma_create_qp)(id, pd, a);
    if (rc == 0)
        watch(id->qp);
    return rc;
}

/* ------------------------------------------------------------ the report */

static void __attribute__((destructor)) report(void)
{
    static const char *const names[WAYS] = { "in", "out", "write" };
    const char *path = getenv("WHERE");
    char file[4096];
    if (!path || !n_rings) /* control itself has none */
        return;
    snprintf(file, sizeof(file), "%s.%d", path, (int)getpid());
    FILE *f = fopen(file, "we");
    if (!f)
        return;
    fprintf(f, "{\"sends\": %llu, \"send_max\": %llu, \"lost\": %llu", (unsigned long long)sends, (unsigned long long)send_max, (unsigned long long)lost);
    for (enum way w = 0; w < WAYS; w++) {
        unsigned long long inside = 0, elsewhere = 0, largest = 0;
        for (unsigned i = 0; i < n_pieces; i++) {
            if (pieces[i].way != w)
                continue;
            bool ring = in_ring(pieces[i].at, pieces[i].n);
            *(ring ? &inside : &elsewhere) += pieces[i].n;
            largest = ring ? largest : MAX(largest, pieces[i].n);
        }
        fprintf(f, ", \"%s\": {\"ring\": %llu, \"elsewhere\": %llu, \"largest_elsewhere\": %llu}", names[w], inside, elsewhere, largest);
    }
    unsigned long long all = 0;
    for (unsigned i = 0; i < n_rings; i++)
        all += rings[i].cap;
    fprintf(f, ", \"rings\": %llu}\n", all);
    fclose(f);
}
