/* scistreamctl inbound and outbound, and what they share with stream: src/ctl_arrange.h. */
#include "src/ctl_arrange.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "src/core/err.h"
#include "src/core/secret.h"

#define GATEWAY "/scistream.gateway.v1.Gateway/"
#define ROLE(r) SCISTREAM__GATEWAY__V1__ROLE__##r
#define DAY_S (24ULL * 3600)

typedef Scistream__Gateway__V1__ArrangeRequest ArrangeRequest;
typedef Scistream__Gateway__V1__Dial Dial;
typedef Scistream__Gateway__V1__Listen Listen;

static int complain(int code, const char *fmt, ...) PRINTF(2, 3);
static int complain(int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("scistreamctl: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return code;
}

/* ------------------------------------------------------------ taking it back */

static int ignore_reply(const struct ctl_opts *o UNUSED, const uint8_t *data UNUSED, size_t len UNUSED) { return 0; }

static void print_option(FILE *f, const char *name, const char *value)
{
    if (*value)
        fprintf(f, " --%s %s", name, value);
}

/* The command that does what could not be done. */
static void print_command(const struct side *s, const char *uid)
{
    fputs("scistreamctl", stderr);
    print_option(stderr, *s->o.gateway ? "gateway" : "socket", side_name(s));
    print_option(stderr, "token-file", s->o.token_file);
    print_option(stderr, "cert", s->o.cert);
    print_option(stderr, "key", s->o.key);
    print_option(stderr, "ca", s->o.e.ca);
    print_option(stderr, "tls-name", s->o.e.tls_name);
    for (char **pin = s->o.e.pins; *pin; pin++)
        print_option(stderr, "pin", *pin);
    fprintf(stderr, " revoke --abort %s\n", uid);
}

/* True: nothing is left at this side. */
static bool take_back(const struct arrangement *a, const struct side *s)
{
    Scistream__Gateway__V1__RevokeRequest q = SCISTREAM__GATEWAY__V1__REVOKE_REQUEST__INIT;
    struct ctl_asked asked = { .reply = ignore_reply };
    const char *uid = a->uid;
    q.uid = (char *)(uintptr_t)uid;
    q.abort = true;
    int code = ctl_ask(&s->o, GATEWAY "Revoke", &q.base, &asked);
    bool never = asked.decided && asked.status == GRPC_NOT_FOUND;
    if (code == 0 || never) {
        fprintf(stderr, "scistreamctl: nothing is left at %s: the session %s there\n", side_name(s), never ? "was not made" : "was revoked");
        return true;
    }
    fprintf(stderr, "scistreamctl: session %s may be left at %s, it could not be revoked: %s. To do it later, run\n    ", uid, side_name(s),
            *asked.why ? asked.why : err_text(-SST_EINTERNAL));
    print_command(s, uid);
    return false;
}

/* code when nothing is left; else one that says that to run the same command again is not enough. */
static int undo(const struct arrangement *a, int code)
{
    const struct side *const sides[] = { a->dials, a->dialed };
    bool clean = true;
    for (size_t i = 0; i < ARRAY_LEN(sides); i++)
        if (sides[i] && (sides[i]->reply || sides[i]->maybe))
            clean = take_back(a, sides[i]) && clean;
    return clean ? code : err_exit(-SST_EABORTED);
}

/* ------------------------------------------------------------ asking a gateway */

static int keep_reply(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    struct side *s = container_of((struct ctl_opts *)(uintptr_t)o, struct side, o);
    s->reply = scistream__gateway__v1__grant_reply__unpack(NULL, len, data);
    return s->reply && *s->reply->uid ? 0 : 76;
}

static int ask_side(struct side *s, const ArrangeRequest *q)
{
    struct ctl_asked asked = { .reply = keep_reply };
    int code = ctl_ask(&s->o, GATEWAY "Arrange", &q->base, &asked);
    if (code == 0)
        return 0;
    s->maybe = asked.sent && (!asked.decided || asked.status == GRPC_OK);
    if (s->reply || (asked.decided && asked.status == GRPC_OK))
        return complain(code, "%s: its answer makes no sense: is it of another version?", side_name(s));
    if (asked.decided && asked.status == GRPC_FAILED_PRECONDITION)
        code = err_exit(-SST_EUSAGE); /* it can never be had there, like this */
    return *asked.why ? complain(code, "%s%s: %s", side_name(s), asked.decided ? " refuses" : "", asked.why) : code;
}

static uint64_t seconds_of(uint64_t ns) { return ns == TIME_FOREVER ? 0 : ns / NS_PER_S; }

/* The ticket of a session that ends before a day is over is good as long as that. */
static uint64_t ticket_s(const struct ctl_opts *o)
{
    uint64_t lives = seconds_of(o->lifetime);
    return o->ticket_for ? o->ticket_for / NS_PER_S : lives && lives < DAY_S ? lives : 0;
}

static void fill_request(ArrangeRequest *q, Listen *listen, const struct side *s)
{
    static char provisioned[] = "provisioned";
    q->lifetime_s = seconds_of(s->o.lifetime);
    q->ticket_s = ticket_s(&s->o);
    q->rate = s->o.rate;
    if (s->o.class_)
        q->class_ = provisioned;
    if (s->app == APP_LISTENS) {
        q->targets = s->targets;
        q->n_targets = strv_len(s->targets);
    } else if (s->app == APP_ATTACHES) {
        q->attach = s->attach;
    } else {
        listen->ports = s->ports;
        listen->n_ports = s->n_ports;
        q->listen = listen;
    }
}

static int ask_dialed(struct arrangement *a)
{
    ArrangeRequest q = SCISTREAM__GATEWAY__V1__ARRANGE_REQUEST__INIT;
    Listen listen = SCISTREAM__GATEWAY__V1__LISTEN__INIT;
    uint8_t random[16];
    secret_random(random, sizeof(random));
    secret_hex(a->uid, random, sizeof(random));
    fill_request(&q, &listen, a->dialed);
    q.uid = a->uid;
    q.channels = (uint32_t)a->o->channels;
    int code = ask_side(a->dialed, &q);
    if (code == 0) {
        str_copy(a->uid, sizeof(a->uid), a->dialed->reply->uid);
        a->ticket.role = ticket_wan_role(a->dialed->reply);
        code = ticket_fill(&a->ticket, &a->dialed->o, a->dialed->reply, &a->dialed->reply->wan_secret);
    }
    return code;
}

/* A ticket as the gateway that dials is told of it. */
struct dial_text { char address[TICKET_ADDRESSES][ADDR_TEXT], pin[TICKET_PINS][TICKET_PIN_TEXT], *addresses[TICKET_ADDRESSES], *pins[TICKET_PINS]; };

static void fill_dial(Dial *d, struct dial_text *text, const struct ticket *t)
{
    for (unsigned i = 0; i < t->n_addresses; i++)
        text->addresses[i] = ticket_address_text(text->address[i], t, i);
    for (unsigned i = 0; i < t->n_pins; i++)
        text->pins[i] = ticket_pin_text(text->pin[i], t->pin[i]);
    d->addresses = text->addresses;
    d->n_addresses = t->n_addresses;
    d->pins = text->pins;
    d->n_pins = t->n_pins;
    d->tls_name = (char *)(uintptr_t)t->tls_name;
    d->secret = (ProtobufCBinaryData){ TICKET_KEY, (uint8_t *)(uintptr_t)t->secret };
    d->expires_s = t->expires_s;
}

static int ask_dials(struct arrangement *a)
{
    const struct ticket *t = &a->ticket;
    ArrangeRequest q = SCISTREAM__GATEWAY__V1__ARRANGE_REQUEST__INIT;
    Listen listen = SCISTREAM__GATEWAY__V1__LISTEN__INIT;
    Dial dial = SCISTREAM__GATEWAY__V1__DIAL__INIT;
    struct dial_text text;
    uint32_t ports[TICKET_PORTS];
    fill_request(&q, &listen, a->dials);
    fill_dial(&dial, &text, t);
    for (unsigned i = 0; i < t->n_ports; i++)
        ports[i] = t->port[i];
    dial.ports = ports;
    dial.n_ports = t->n_ports;
    dial.role = a->dials->app == APP_ATTACHES ? a->dials->attach : ROLE(ROLE_UNSPECIFIED);
    q.dial = &dial;
    q.uid = a->uid;
    q.channels = t->channels;
    return ask_side(a->dials, &q);
}

/* ------------------------------------------------------------ tickets */

static bool has_attached(const struct side *s, Role role) { return s && s->app == APP_ATTACHES && s->attach == role; }

/* The side that this ticket is of; NULL: it is made at none. */
static const struct side *side_of_out(const struct arrangement *a, size_t i)
{
    const Role role = i == OUT_SEND ? ROLE(SEND) : ROLE(RECV);
    if (i == OUT_WAN)
        return a->dials ? NULL : a->dialed;
    return has_attached(a->dialed, role) ? a->dialed : has_attached(a->dials, role) ? a->dials : NULL;
}

static int make_tickets(struct arrangement *a)
{
    int code = 0;
    a->out[OUT_WAN].role = a->ticket.role;
    for (size_t i = 0; i < OUTS && code == 0; i++) {
        const struct side *s = side_of_out(a, i);
        const ProtobufCBinaryData *secret = !s ? NULL : i == OUT_SEND ? &s->reply->send_secret : i == OUT_RECV ? &s->reply->recv_secret : &s->reply->wan_secret;
        if (s)
            code = ticket_out_make(&a->out[i], &s->o, s->reply, secret);
    }
    for (size_t i = 0; i < OUTS && code == 0; i++)
        code = ticket_out_write(&a->out[i]);
    return code;
}

static int open_files(struct arrangement *a)
{
    static const char *const option[OUTS] = { "--send-file", "--recv-file", "--output" };
    static const char *const who[OUTS] = { "a sender", "a receiver", "another gateway" };
    int code = 0;
    for (size_t i = 0; i < OUTS && code == 0; i++) {
        for (size_t k = 0; k < i; k++)
            if (*a->out[i].path && str_eq(a->out[i].path, a->out[k].path))
                return complain(64, "%s cannot take two tickets", a->out[i].path);
        if (*a->out[i].path && !side_of_out(a, i))
            return complain(64, "%s: no ticket for %s is made by this", option[i], who[i]);
        code = ticket_out_open(&a->out[i]);
    }
    return code;
}

/* ------------------------------------------------------------ all of it */

static int check_terms(const struct ctl_opts *o)
{
    if (o->lifetime != TIME_FOREVER && o->lifetime % NS_PER_S)
        return complain(64, "--for: must be whole seconds");
    if (o->ticket_for % NS_PER_S)
        return complain(64, "--ticket-for: must be whole seconds");
    if (o->class_ && !o->rate)
        return complain(64, "--class provisioned: of how much? Give --rate, like 10Gbit");
    if (o->class_ && o->rate < 1000)
        return complain(64, "--rate: is %llu bit/s: write the unit, like 10Gbit", (unsigned long long)o->rate);
    return !o->class_ && o->rate ? complain(64, "--rate: is reserved with --class provisioned only") : 0;
}

static int ask_both(struct arrangement *a)
{
    int code = a->dialed ? ask_dialed(a) : 0;
    return code == 0 && a->dials ? ask_dials(a) : code;
}

static int finish(struct arrangement *a)
{
    int code = make_tickets(a);
    if (code)
        return code;
    arrange_print(a);
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : complain(74, "standard output: %s", err_text(-errno));
}

int arrange(struct arrangement *a)
{
    a->out[OUT_SEND] = (struct ticket_out){ .word = "send", .path = a->o->send_file, .role = TICKET_SEND, .fd = -1 };
    a->out[OUT_RECV] = (struct ticket_out){ .word = "recv", .path = a->o->recv_file, .role = TICKET_RECV, .fd = -1 };
    a->out[OUT_WAN] = (struct ticket_out){ .word = "outbound", .path = a->o->output, .fd = -1 };
    signal(SIGPIPE, SIG_IGN); /* who does not read the answer gets an error, so that it can be taken back */
    int code = check_terms(a->o);
    if (code == 0)
        code = open_files(a);
    if (code == 0)
        code = ask_both(a);
    if (code == 0)
        code = finish(a);
    if (code)
        code = undo(a, code);
    for (size_t i = 0; i < OUTS; i++) {
        a->out[i].given = a->out[i].given && code == 0;
        ticket_out_close(&a->out[i]);
    }
    ticket_wipe(&a->ticket);
    return code;
}

/* ------------------------------------------------------------ inbound */

static int attach_of(const struct ctl_opts *o, struct side *s)
{
    static const Role roles[] = { ROLE(ROLE_UNSPECIFIED), ROLE(SEND), ROLE(RECV) };
    s->app = APP_ATTACHES;
    s->attach = roles[o->attach];
    return 0;
}

int ctl_inbound(struct ctl_opts *o, int argc UNUSED, char **argv UNUSED)
{
    struct side here = { .n_ports = 0 };
    struct arrangement a = { .o = o, .dialed = &here };
    if (!o->to[0] == !o->attach)
        return complain(64, "inbound needs either --to HOST:PORT, where the application listens, or --attach send or recv");
    if (o->listen[0] || *o->e.ticket_file)
        return complain(64, "inbound: --listen and --ticket-file are for outbound, at the gateway where the application connects");
    side_of_gateway(&here, o);
    int code = o->attach ? attach_of(o, &here) : side_targets(&here, "--to", o->to);
    if (code == 0)
        code = ticket_check_addresses(o->address);
    if (code == 0)
        code = arrange(&a);
    side_free(&here);
    return code;
}

/* ------------------------------------------------------------ outbound */

/* Is it one for this? Said before anything is asked. */
static int check_ticket(const struct ticket *t, const struct side *s)
{
    char why[200];
    bool sends = t->role == TICKET_SEND;
    int rc = ticket_check_time(t, (uint64_t)time(NULL), why, sizeof(why));
    if (rc < 0)
        return complain(err_exit(rc), "%s", why);
    if (t->role == TICKET_PROD || (t->role == TICKET_CONS && s->app == APP_CONNECTS && !t->n_ports))
        return complain(78, "the ticket is for another use (%s): outbound takes what scistreamctl inbound has printed", ticket_role_name(t->role));
    if (ticket_is_transparent(t))
        return 0;
    if (s->app == APP_CONNECTS)
        return complain(64, "the application at the other gateway attaches there, by %s, so this one has to attach too: --attach %s",
                        sends ? "scistream-recv" : "scistream-send", sends ? "send" : "recv");
    if ((s->attach == ROLE(SEND)) != sends)
        return complain(78, "the ticket is for one who %s: --attach %s", sends ? "sends" : "receives", sends ? "send" : "recv");
    return 0;
}

/* What was agreed with the other gateway holds here too, unless it is said otherwise. */
static void take_terms(struct ctl_opts *o, const struct ticket *t)
{
    if (t->class_ == TICKET_PROVISIONED && !o->class_given && !o->rate) {
        o->class_ = 1;
        o->rate = t->rate;
    }
}

static int check_outbound(const struct ctl_opts *o, const struct ticket *t, const struct side *s)
{
    int code = check_ticket(t, s);
    if (code)
        return code;
    if (o->channels)
        return complain(64, "--channels is for inbound: the ticket says how many there are (%u)", t->channels);
    if (s->n_ports && s->n_ports != t->channels)
        return complain(64, "--listen: %zu port%s for %u channel%s: name one for each, or none", s->n_ports, s->n_ports == 1 ? "" : "s", t->channels,
                        t->channels == 1 ? "" : "s");
    return ticket_check_addresses(o->address);
}

int ctl_outbound(struct ctl_opts *o, int argc UNUSED, char **argv UNUSED)
{
    struct side here = { .n_ports = 0 };
    struct arrangement a = { .o = o, .dials = &here };
    if (o->attach && o->listen[0])
        return complain(64, "outbound: either --listen, for an application that connects, or --attach");
    if (o->to[0])
        return complain(64, "outbound: --to is for inbound, at the gateway where the application listens");
    int code = ctl_ticket_read(*o->e.ticket_file ? o->e.ticket_file : NULL, &a.ticket);
    if (code)
        return code;
    take_terms(o, &a.ticket);
    side_of_gateway(&here, o);
    code = o->attach ? attach_of(o, &here) : side_ports(&here, "--listen", o->listen);
    if (code == 0)
        code = check_outbound(o, &a.ticket, &here);
    str_copy(a.uid, sizeof(a.uid), a.ticket.uid);
    if (code == 0)
        code = arrange(&a);
    side_free(&here);
    ticket_wipe(&a.ticket);
    return code;
}
