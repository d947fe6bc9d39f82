/* Admission: what a new channel may take. Memory of the rings is bounded by memory_limit; a refusal says which limit and how to raise it. */
#ifndef CTRL_ADMISSION_H
#define CTRL_ADMISSION_H

#include "src/core/board.h"
#include "src/core/conf.h"

/* board: where workers tell what they promised to relays, and are told of used. */
struct admission { uint64_t limit, used, kept; struct board *board; };

/* memory_limit, or what it is by default. Bytes. */
uint64_t admission_limit(const struct conf *c);
void admission_init(struct admission *a, const struct conf *c, struct board *board);
/* Another memory_limit; what is taken stays taken, even above it. */
void admission_set_limit(struct admission *a, const struct conf *c);
/* Is there so much? 0; -SST_ELIMIT and why. */
int admission_fits(const struct admission *a, uint64_t bytes, char *why, size_t why_size);
/* Reserve a ring. The same returns. */
int admission_take(struct admission *a, uint64_t bytes, char *why, size_t why_size);
void admission_give(struct admission *a, uint64_t bytes);
/* So much is kept for sessions of class provisioned, beside what workers count of it: nobody else has it. */
void admission_keep(struct admission *a, uint64_t bytes);
/* Before the start: can what the configuration promises be had at all (locked memory for rings on RDMA devices)?
 * 0, or -SST_ECONF with what to change. */
int admission_check_limits(const struct conf *c, char *why, size_t why_size);

#endif
