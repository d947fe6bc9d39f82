/* Arranged sessions that are attached to, as the gRPC services see them. */
#ifndef CTRL_SERVICE_ARRANGED_H
#define CTRL_SERVICE_ARRANGED_H

#include "ctrl/arranged.h"
#include "ctrl/service.h"

/* What a reply, or a state (on the heap), of g says more when it was arranged. Strings of a reply stay the grant's. */
void service_reply_arranged(Scistream__Gateway__V1__GrantReply *m, const struct grant *g);
void service_show_arranged(Scistream__Gateway__V1__GrantState *m, const struct grant *g);
/* Abort what runs in it, also in the program before this one, and forget it. How many channels there were here. */
unsigned service_arranged_end(const struct service *s, const char *uid, const char *text);
/* All sessions have come that the program before had: what was to stand beside one that ended there meanwhile lets nobody in any more. */
void service_arranged_alone(const struct service *s);

#endif
