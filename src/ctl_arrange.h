/* A session that scistreamctl arranges at one gateway, or at both: all of it or nothing.
 *
 * Happy path: files of tickets are opened -> the gateway that is dialed is asked -> the one that dials -> tickets are written -> all is printed.
 * What fails takes back what was arranged before, and what may have been when an answer did not come: so the uid is drawn here. What cannot be taken back
 * is told, with the command that does it.
 */
#ifndef SRC_CTL_ARRANGE_H
#define SRC_CTL_ARRANGE_H

#include "src/ctl_side.h"
#include "src/ctl_ticket_out.h"

enum { OUT_SEND, OUT_RECV, OUT_WAN, OUTS };

struct arrangement {
    const struct ctl_opts *o;
    struct side *dialed, *dials;  /* NULL: somebody else asks it */
    struct ticket ticket;         /* by which the one gets to the other */
    struct ticket_out out[OUTS];  /* for a sender, a receiver, and who asks the other gateway */
    char uid[ADDR_ROUTE_MAX + 1];
};

/* All of it, when the sides are known, and the ticket where nobody is dialed. Exit code. */
int arrange(struct arrangement *a);
/* src/ctl_arrange_print.c: what there is now; tickets and listeners on standard output, words on standard error. */
void arrange_print(const struct arrangement *a);

#endif
