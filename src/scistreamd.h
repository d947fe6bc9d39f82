/* The parts of scistreamd. */
#ifndef SRC_SCISTREAMD_H
#define SRC_SCISTREAMD_H

/* scistreamd --init: make DIR with key, certificate, secret and configuration, and print what a client needs. name: "" = this host. Exit code. */
int init_folder(const char *dir, const char *name);

#endif
