/* A utility's own worker: the engine in the same process and loop, behind the pool's interface. */
#ifndef SRC_LOCAL_H
#define SRC_LOCAL_H

#include "ctrl/pool.h"
#include "src/engine/worker.h"

struct local {
    struct pool_worker w;
    struct worker *worker;
    bool told;
    void (*changed)(struct local *l); /* whenever it has said what works, also before started(); may be NULL */
    void (*started)(struct local *l); /* once; then pool_transport_problem tells what works */
};

/* conf must outlive it. link_fd: listening socket for lanes (then ucx listens too), or -1; taken. started() follows from the loop.
 * 0 or -errno. */
int local_start(struct local *l, struct loop *loop, struct conf *conf, int link_fd, void (*started)(struct local *));
/* Only when no channel is open. Accepts zeroed memory. */
void local_stop(struct local *l);

#endif
