/* A listening stream socket in the loop. */
#ifndef SRC_CORE_LISTENER_H
#define SRC_CORE_LISTENER_H

#include "src/core/addr.h"
#include "src/core/log.h"
#include "src/core/loop.h"

#define LISTENER_SPARE 8 /* descriptors that are left when it pauses: what was accepted last needs some, too */

/* Accepts in the loop; when descriptors run out it pauses, says so once, and goes on when some are free. */
struct listener {
    struct io io;
    int fd; /* -1: stopped; io.fd is -1 while it pauses, too */
    struct loop *loop;
    struct timer retry;
    bool paused;
    int fd_limit; /* a descriptor of this number or above: few are left, since the kernel gives the lowest */
    struct log_gate said_pause, said_on;
    const char *what; /* for the log: "control endpoint" */
    /* Takes fd (non-blocking, close-on-exec). May stop l, but its storage must stay until the loop's next turn. */
    void (*accepted)(struct listener *l, int fd, const union sockaddr_any *peer);
};

/* Takes fd. 0 or -errno. */
int listener_start(struct listener *l, struct loop *loop, int fd, const char *what,
                   void (*accepted)(struct listener *, int, const union sockaddr_any *));
void listener_stop(struct listener *l); /* closes; may be called twice, and on a zeroed one that was never started */
/* Another program accepts from the same socket, until listener_wake: it leaves the loop and stays open. Both may be called on a stopped one. */
void listener_rest(struct listener *l);
int listener_wake(struct listener *l); /* 0 or -errno */
/* Take it out of the loop but leave the descriptor open. */
int listener_detach(struct listener *l);

#endif
