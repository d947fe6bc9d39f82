/* The ports of the RDMA devices of this machine, as env->devices shows them. */
#ifndef RDMA_VERBS_DEV_H
#define RDMA_VERBS_DEV_H

#include <rdma/rdma_cma.h>

#include "src/seam/xport.h"

/* Look at all ports (again): the rows of verbs in env->devices are replaced. listener: where peers attach, or NULL. Each port is logged
 * once, and again when its state or addresses changed, by the first worker. */
void verbs_dev_scan(struct xport_env *env, const struct rdma_cm_id *listener);
/* The row of the port that id is bound to, or NULL. */
struct xport_device *verbs_dev_find(const struct xport_env *env, const struct rdma_cm_id *id);
/* Can verbs be used: is a port active that has an address? 0; or -SST_EDEVICE, and why lists what was looked at. */
int verbs_dev_check(const struct xport_env *env, char *why, size_t size);
/* The NUMA node the kernel tells of it; -1: none. */
int verbs_dev_numa(const struct ibv_device *device);

#endif
