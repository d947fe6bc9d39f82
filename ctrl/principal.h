/* Who calls scistream.Control. That is found out before anything is looked at that the call names. */
#ifndef CTRL_PRINCIPAL_H
#define CTRL_PRINCIPAL_H

#include "ctrl/grpc.h"
#include "src/core/conf.h"

/* name: who it is; NULL: nobody who may call, and the call is ended with status and text. All of it only while done() runs. */
struct principal_answer { const char *name; enum grpc_status status; const char *text; };
typedef void principal_done(void *user, const struct principal_answer *a);

struct principal_question;
/* By the metadata and the connection of c. done is called once: from here, and then NULL is returned, or later; c must live until then. */
struct principal_question *principal_ask(const struct conf *conf, struct grpc_call *c, principal_done *done, void *user);
/* done will not be called. Null-safe. */
void principal_cancel(struct principal_question *q);

#endif
