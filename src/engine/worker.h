/* A data worker: channels and transports behind the messages of ctrl/worker.proto. The same code is a process of its own below
 * scistreamd and a part of the utilities. */
#ifndef SRC_ENGINE_WORKER_H
#define SRC_ENGINE_WORKER_H

#include "ctrl/worker.pb-c.h"
#include "src/engine/relay.h"

typedef Scistream__Worker__ToWorker ToWorker;

struct worker;

/* Messages to control; m is gone afterwards, and fd, which goes with it, or is -1, closed. Called from the loop only, never from inside worker_handle. */
typedef void worker_emit(void *user, const FromWorker *m, int fd);

/* loop and conf must outlive it; conf is completed by Init's settings. NULL and errno. */
struct worker *worker_new(struct loop *loop, struct conf *conf, worker_emit *emit, void *user);
/* Act on one message; m stays the caller's. fds came with it (Init: statistics page, board, link port; Door, Take: a socket) and are taken. */
void worker_handle(struct worker *w, const ToWorker *m, int *fds, size_t n_fds);
/* Wipe the keys in a message that was handled. */
void worker_wipe(ToWorker *m);
/* Init could not be acted on, why was logged, and the loop was stopped: there is nothing to serve anybody with. */
bool worker_broken(const struct worker *w);
/* Abort all channels; idle() is called from the loop when the last is closed. */
void worker_shut(struct worker *w, void (*idle)(void *user));
/* Only when idle. Null-safe. */
void worker_free(struct worker *w);
/* Its page, which ends with it; NULL before Init. */
struct stats_page *worker_stats(const struct worker *w);

#endif
