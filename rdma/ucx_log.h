/* What libucx has to say goes to our log, at our levels, and its last complaint into our own messages. */
#ifndef RDMA_UCX_LOG_H
#define RDMA_UCX_LOG_H

/* Once, before ucp_init. */
void ucx_log_take_over(void);
/* The last complaint of the calling thread since ucx_log_forget, as ": text", or "". Good until the next call into UCX. */
const char *ucx_log_last(void);
void ucx_log_forget(void);

#endif
