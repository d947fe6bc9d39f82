/* Where the local administration socket of scistreamd lies when nobody says otherwise. */
#ifndef SRC_CONTROL_SOCKET_H
#define SRC_CONTROL_SOCKET_H

/* /run/scistream/control.sock for root, else below XDG_RUNTIME_DIR, else below /tmp. Heap, the caller's. */
char *control_socket_default(void);

#endif
