/* One of the two gateways that a stream is arranged between, and what the application does there. */
#ifndef SRC_CTL_SIDE_H
#define SRC_CTL_SIDE_H

#include "src/scistreamctl.h"

typedef Scistream__Gateway__V1__GrantReply GrantReply;
typedef Scistream__Gateway__V1__Role Role;

enum side_app {
    APP_ATTACHES, /* scistream-send or -recv, by a ticket */
    APP_LISTENS,  /* at HOST:PORT, where the gateway connects */
    APP_CONNECTS, /* to listeners of the gateway */
};

struct side {
    struct ctl_opts o;        /* as everywhere, with the gateway of this side, and how to know it */
    enum side_app app;
    Role attach;              /* of the application */
    char **targets;           /* where it listens */
    uint32_t *ports;          /* to be its listeners; none: any */
    size_t n_ports;
    GrantReply *reply;        /* NULL: nothing is arranged here, as far as is known */
    bool maybe;               /* something may be: an answer did not come */
    char *gateway, **address, **pins; /* what o has of our own; or NULL */
    char *option[5];
};

/* "--from A=HOST:PORT,pin=…": word by word, as commas have split it. 0, or exit code, and it was said. */
int side_parse(struct side *s, const struct ctl_opts *o, const char *option, char *const *words);
/* That of --gateway, or of the local socket. */
void side_of_gateway(struct side *s, const struct ctl_opts *o);
/* "5100,5101-5103" of --listen, word by word. Same returns. */
int side_ports(struct side *s, const char *option, char *const *words);
/* HOST:PORT each. Same returns. */
int side_targets(struct side *s, const char *option, char *const *words);
void side_free(struct side *s); /* also one of zeros; secrets are wiped */
/* As it is called in messages. */
const char *side_name(const struct side *s);

#endif
