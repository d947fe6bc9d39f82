/* The list of transports this program was built with. */
#include "config.h"

#include "src/seam/xport.h"

const struct xport_ops *const xport_list[] = {
#ifdef WITH_VERBS
    &xport_verbs_ops,
#endif
#ifdef WITH_UCX
    &xport_ucx_ops,
#endif
    &xport_link_ops,
    &xport_tcp_ops,
    &xport_file_ops,
    NULL,
};
