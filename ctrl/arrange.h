/* What an ArrangeRequest asks for, and whether it can be had at all: seen without looking at any session, name or policy. */
#ifndef CTRL_ARRANGE_H
#define CTRL_ARRANGE_H

#include "ctrl/gateway.pb-c.h"
#include "ctrl/policy.h"
#include "ctrl/requests_arranged.h"

#define ARRANGE_TICKET_S (24ULL * 3600)
#define ARRANGE_DIALED 4   /* addresses of the other gateway */

typedef Scistream__Gateway__V1__ArrangeRequest ArrangeRequest;

/* How its two sides are joined here. */
enum arrange_cell {
    ARRANGE_INBOUND,   /* the other gateway dials this one, which connects to targets */
    ARRANGE_OUTBOUND,  /* applications come to listeners here, which lead to those of the other gateway */
    ARRANGE_ATTACHED,  /* an application and the other gateway attach here */
    ARRANGE_ATTACHING, /* an application attaches here, and this gateway at the other */
};

struct arrange {
    enum arrange_cell cell;
    enum policy_role role;  /* of who asks */
    uint32_t channels;
    bool provisioned;
    uint64_t ticket_s, life_s, rate; /* life_s 0: for ever, or as long as the policy says */
    char **names;           /* that are to be looked up: targets, or the other gateway's addresses; heap, NULL-terminated */
    uint16_t ports[REQUEST_LISTENERS_MAX], dial_ports[REQUEST_LISTENERS_MAX]; /* wanted here, and to be dialed */
    unsigned n_ports, n_dial_ports;
};

/* False: no says what is wrong, naming the field. names are the caller's, also then. */
bool arrange_read(const ArrangeRequest *q, uint64_t now_s, struct arrange *out, struct request_refusal *no);

#endif
