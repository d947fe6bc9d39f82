/* scistreamctl stream: both gateways, from the place of a user who may be at neither of them. Which of them dials follows from what the applications do:
 *
 *   other side:        attaches                 listens (=HOST:PORT)     connects (=listen)
 *   attaches           --dial, else from dials  that one is dialed       no
 *   listens                                     no                       the one that listens is dialed
 *   connects                                                             no
 */
#include <stdio.h>

#include "src/ctl_arrange.h"
#include "src/ctl_sides.h"

enum { DIAL_AUTO, DIAL_FROM, DIAL_TO };

static int complain(const char *why)
{
    fprintf(stderr, "scistreamctl: stream: %s\n", why);
    return 64;
}

/* ------------------------------------------------------------ who dials */

static const char *check_apps(enum side_app from, enum side_app to)
{
    if (from == APP_LISTENS && to == APP_LISTENS)
        return "both applications listen (=HOST:PORT), so nobody begins: on one side let it connect to the gateway (=listen), or attach";
    if (from == APP_CONNECTS && to == APP_CONNECTS)
        return "both applications connect (=listen), so nobody is there to be connected to: on one side say where it listens (=HOST:PORT)";
    if (from != to && (from == APP_ATTACHES || to == APP_ATTACHES) && (from == APP_CONNECTS || to == APP_CONNECTS))
        return "an application that connects (=listen) needs one that listens (=HOST:PORT) on the other side";
    return NULL;
}

/* NULL: dial is what it has to be, or may be. */
static const char *check_dial(int dial, enum side_app from, enum side_app to)
{
    if (dial == DIAL_FROM && from == APP_LISTENS)
        return "--dial from: the gateway whose application listens (=HOST:PORT) has to be dialed: --dial to, or leave it out";
    if (dial == DIAL_TO && to == APP_LISTENS)
        return "--dial to: the gateway whose application listens (=HOST:PORT) has to be dialed: --dial from, or leave it out";
    return NULL;
}

static bool from_dials(int dial, enum side_app from) { return dial == DIAL_AUTO ? from != APP_LISTENS : dial == DIAL_FROM; }

/* ------------------------------------------------------------ the two sides */

static const char *check_options(const struct ctl_opts *o)
{
    if (*o->gateway || o->socket_given)
        return "it is about two gateways: --from GATEWAY and --to GATEWAY, instead of --gateway and --socket";
    if (o->e.pins[0] || *o->e.tls_name || o->address[0])
        return "of which of the two gateways is it? Write it behind that one: --from GATEWAY,pin=PIN, and so tls-name= and address=";
    if (o->attach || o->listen[0])
        return "write behind the gateway what the application does: nothing when it attaches, =listen[:PORT] or =HOST:PORT";
    return NULL;
}

int sides_parse(struct sides *s, const struct ctl_opts *o)
{
    const char *why = check_options(o);
    if (why)
        return complain(why);
    int code = side_parse(&s->from, o, "--from", o->from);
    if (code == 0)
        code = side_parse(&s->to, o, "--to", o->to);
    if (code)
        return code;
    s->from.attach = SCISTREAM__GATEWAY__V1__ROLE__SEND;
    s->to.attach = SCISTREAM__GATEWAY__V1__ROLE__RECV;
    why = check_apps(s->from.app, s->to.app);
    if (!why)
        why = check_dial(o->dial, s->from.app, s->to.app);
    if (why)
        return complain(why);
    s->dials = from_dials(o->dial, s->from.app) ? &s->from : &s->to;
    s->dialed = s->dials == &s->from ? &s->to : &s->from;
    return 0;
}

void sides_free(struct sides *s)
{
    side_free(&s->from);
    side_free(&s->to);
}

/* ------------------------------------------------------------ a command at both of them */

static int run_there(struct side *s, int (*run)(struct ctl_opts *o, int argc, char **argv), char *uid)
{
    char *none[] = { NULL };
    s->o.from = s->o.to = none;
    if (!s->o.json)
        printf("%s:\n", side_name(s));
    fflush(stdout); /* before what is said on standard error */
    int code = run(&s->o, 1, &uid);
    fflush(stdout);
    return code;
}

bool ctl_at_both(const struct ctl_opts *o, int (*run)(struct ctl_opts *o, int argc, char **argv), char *uid, int *code)
{
    struct sides s = { .dials = NULL };
    if (!o->from[0] && !o->to[0])
        return false;
    *code = sides_parse(&s, o);
    if (*code == 0) {
        int from = run_there(&s.from, run, uid), to = run_there(&s.to, run, uid);
        *code = from ? from : to;
    }
    sides_free(&s);
    return true;
}

/* ------------------------------------------------------------ stream */

static int check_ports(const struct ctl_opts *o, const struct side *s)
{
    size_t channels = o->channels ? (size_t)o->channels : 1;
    if (!s->n_ports || s->n_ports == channels)
        return 0;
    fprintf(stderr, "scistreamctl: stream: listen with %zu port%s, and %zu channel%s (--channels): name one for each, or none\n", s->n_ports,
            s->n_ports == 1 ? "" : "s", channels, channels == 1 ? "" : "s");
    return 64;
}

int ctl_both(struct ctl_opts *o, int argc UNUSED, char **argv UNUSED)
{
    struct sides s = { .dials = NULL };
    int code = sides_parse(&s, o);
    if (code == 0)
        code = check_ports(o, s.dials);
    if (code == 0) {
        struct arrangement a = { .o = o, .dialed = s.dialed, .dials = s.dials };
        code = arrange(&a);
    }
    sides_free(&s);
    return code;
}
