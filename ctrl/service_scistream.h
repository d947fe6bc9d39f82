/* What service_scistream.c (the calls) and service_scistream_ops.c (what is done for sessions, and how they are shown) share. */
#ifndef CTRL_SERVICE_SCISTREAM_H
#define CTRL_SERVICE_SCISTREAM_H

#include "ctrl/requests.h"
#include "ctrl/service.h"

/* call: the one that requests were given; it is answered and not theirs any more. */
void scistream_call_answer(void *call, const struct request_answer *a);

#endif
