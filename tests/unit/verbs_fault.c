/* Calls of libibverbs and librdmacm that fail on demand; the linker's --wrap puts them before the real ones. */
#include <errno.h>
#include <stdatomic.h>

#include "tests/unit/verbs_stage.h"

static struct { _Atomic bool armed, fired; _Atomic unsigned left; const char *call; } fault; /* memory is registered by another thread */

bool fault_arm(unsigned n)
{
    fault.call = "none";
    fault.left = n;
    fault.fired = false;
    fault.armed = true;
    return true;
}

bool fault_fired(const char **call)
{
    fault.armed = false;
    if (call)
        *call = fault.call;
    return fault.fired;
}

static bool fails(const char *call)
{
    if (!fault.armed || atomic_fetch_sub(&fault.left, 1) != 0)
        return false;
    fault.call = call;
    fault.armed = false;
    fault.fired = true;
    errno = ENOMEM;
    return true;
}

#undef ibv_reg_mr /* macros of verbs.h */

#define WRAP(type, name, declared, given, failed) \
    type __real_##name declared; \
    type __wrap_##name declared; \
    type __wrap_##name declared { return fails(#name) ? (failed) : __real_##name given; }

WRAP(struct ibv_pd *, ibv_alloc_pd, (struct ibv_context *v), (v), NULL)
WRAP(struct ibv_comp_channel *, ibv_create_comp_channel, (struct ibv_context *v), (v), NULL)
WRAP(struct ibv_cq *, ibv_create_cq, (struct ibv_context *v, int n, void *p, struct ibv_comp_channel *c, int k), (v, n, p, c, k), NULL)
WRAP(struct ibv_mr *, ibv_reg_mr, (struct ibv_pd *p, void *a, size_t n, int f), (p, a, n, f), NULL)
WRAP(struct ibv_mr *, ibv_reg_mr_iova2, (struct ibv_pd *p, void *a, size_t n, uint64_t i, unsigned f), (p, a, n, i, f), NULL)
WRAP(struct ibv_qp *, ibv_create_qp, (struct ibv_pd *p, struct ibv_qp_init_attr *a), (p, a), NULL)
WRAP(int, ibv_modify_qp, (struct ibv_qp *q, struct ibv_qp_attr *a, int m), (q, a, m), ENOMEM)
WRAP(int, rdma_create_qp, (struct rdma_cm_id *i, struct ibv_pd *p, struct ibv_qp_init_attr *a), (i, p, a), -1)
WRAP(int, rdma_init_qp_attr, (struct rdma_cm_id *i, struct ibv_qp_attr *a, int *m), (i, a, m), -1)
WRAP(int, rdma_create_id, (struct rdma_event_channel *c, struct rdma_cm_id **i, void *x, enum rdma_port_space s), (c, i, x, s), -1)
WRAP(int, rdma_resolve_addr, (struct rdma_cm_id *i, struct sockaddr *a, struct sockaddr *b, int ms), (i, a, b, ms), -1)
WRAP(int, rdma_resolve_route, (struct rdma_cm_id *i, int ms), (i, ms), -1)
WRAP(int, rdma_connect, (struct rdma_cm_id *i, struct rdma_conn_param *p), (i, p), -1)
WRAP(int, rdma_accept, (struct rdma_cm_id *i, struct rdma_conn_param *p), (i, p), -1)
WRAP(int, rdma_establish, (struct rdma_cm_id *i), (i), -1)
WRAP(int, rdma_set_option, (struct rdma_cm_id *i, int l, int o, void *v, size_t n), (i, l, o, v, n), -1)
