/* What hop.c and hop_choose.c share. */
#ifndef CTRL_HOP_PRIV_H
#define CTRL_HOP_PRIV_H

#include "ctrl/hop.h"

/* The chosen transport cannot be used after all, and reason says why: the next one that can. NULL: none is left, why lists all of them. */
const char *hop_choose_next(struct hop *h, const char *reason, char *why, size_t why_size);
/* What the peer says are addresses of its ports for the chosen transport: numeric ones only. The words lie in *storage, heap. */
size_t hop_peer_addresses(const struct hop *h, char *words[HOP_PEER_ADDRESSES], char **storage);

#endif
