/* Tickets that scistreamctl gives out: each into a new file that nobody else can read, or on standard output. */
#ifndef SRC_CTL_TICKET_OUT_H
#define SRC_CTL_TICKET_OUT_H

#include "src/core/ticket.h"
#include "src/scistreamctl.h"

typedef Scistream__Gateway__V1__GrantReply GrantReply;

struct ticket_out {
    const char *word;      /* before it where several are printed, and its name in JSON */
    const char *path;      /* of its file; "": it is printed */
    enum ticket_role role;
    int fd;                /* -1 to begin with */
    bool given;
    char text[TICKET_TEXT]; /* "": there is none */
};

/* Make its file, if it is to have one: before anything is asked, so that what cannot be written is not granted either. 0, or exit code, and it was said. */
int ticket_out_open(struct ticket_out *t);
/* The ticket with this secret for what a gateway has granted. The addresses are those of --address, else what the gateway says of itself. Same returns. */
int ticket_out_make(struct ticket_out *t, const struct ctl_opts *o, const GrantReply *r, const ProtobufCBinaryData *secret);
/* Into its file, if it has one. Same returns. */
int ticket_out_write(struct ticket_out *t);
/* A file that got no ticket, or one that is worth nothing (given is false), goes away; the text is wiped. */
void ticket_out_close(struct ticket_out *t);
/* ,"send":"sst1…" or ,"send_file":"FILE" */
void ticket_out_json(const struct ticket_out *t);

#define TICKET_PIN_TEXT (sizeof("sha256:") + 2 * TICKET_KEY)
/* "gw.example.org:5000", "sha256:4be1…". Return out. */
char *ticket_address_text(char out[ADDR_TEXT], const struct ticket *t, unsigned i);
char *ticket_pin_text(char out[TICKET_PIN_TEXT], const uint8_t pin[TICKET_KEY]);

/* The parts of a ticket that a gateway tells. 0, or exit code, and it was said. */
int ticket_fill(struct ticket *t, const struct ctl_opts *o, const GrantReply *r, const ProtobufCBinaryData *secret);
/* Are there at most as many addresses as a ticket has room for, and each HOST[:PORT]? Same returns. */
int ticket_check_addresses(char *const *text);
/* What becomes who has the ticket for the other gateway. */
enum ticket_role ticket_wan_role(const GrantReply *r);
void grant_reply_wipe(GrantReply *r); /* its secrets */

#endif
