/* Shares: what every session may hand on, set on the board (src/core/share.h) some times a second. One that has reserved a rate has that rate, all others
 * have equal parts of what is left, and what one of them does not use goes to the others. A route is a session, too: of all who come by it, but
 * for those to whom sessions of their own were granted on it.
 *
 * How much somebody uses, and whether he would like more, stands in the share itself: nothing is asked of workers. While nothing is limited no clock runs.
 */
#ifndef CTRL_SHARES_H
#define CTRL_SHARES_H

#include "ctrl/capacity.h"
#include "src/core/board.h"
#include "src/core/loop.h"

#define SHARES_LOOK_NS (100 * NS_PER_MS)

struct shares;
/* looked() is called after each look; may be NULL. All must outlive them. */
struct shares_config { struct loop *loop; struct board *board; struct capacity *capacity; void (*looked)(void *user); void *user; };
struct shares *shares_new(const struct shares_config *c);
void shares_free(struct shares *sh); /* null-safe */

/* The number of the share of a session, which uses these segments (bits), to be dropped as often as it is held. 0, which limits nothing: sh is NULL. */
uint32_t shares_hold(struct shares *sh, const char *uid, unsigned segments);
void shares_drop(struct shares *sh, uint32_t number);
/* That of a route, which has it as long as this process lives. */
uint32_t shares_route(struct shares *sh, const char *route, unsigned segments);
/* Something was reserved or given back, or the configuration is another: rates are set at once. */
void shares_changed(struct shares *sh);
/* Of class provisioned? */
bool shares_steady(const struct shares *sh, uint32_t number);
/* What a route has reserved, bit/s; 0: it is best effort. */
uint64_t shares_route_rate(struct shares *sh, const char *route);
/* Class in words, and (provisioned) the rate, bit/s, else 0. */
const char *shares_class(const struct shares *sh, uint32_t number, uint64_t *rate);

/* Divide left among n: nobody has more than he asks for while another asks for more; what is over then is for all alike. */
struct shares_part { uint64_t asks, gets; unsigned who; };
void shares_divide(uint64_t left, struct shares_part *p, size_t n); /* in another order afterwards */

#endif
