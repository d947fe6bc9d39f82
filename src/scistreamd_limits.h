/* What sessions may take of the gateway: capacity, and the shares of all. */
#ifndef SRC_SCISTREAMD_LIMITS_H
#define SRC_SCISTREAMD_LIMITS_H

#include "ctrl/shares.h"

struct daemon;

struct limits { struct capacity capacity; struct shares *shares; };

void limits_start(struct daemon *d); /* the pool and the doors are there */
void limits_reloaded(struct daemon *d);
/* Those that were granted by the program before are here: who had reserved something has it. */
void limits_take_grants(struct daemon *d);
void limits_end(struct daemon *d);

#endif
