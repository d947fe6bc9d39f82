/* scistreamctl grant, renew and revoke: sessions of their own for those who get a ticket. Files are opened first, so that what cannot be written is not
 * granted either. */
#include <stdio.h>

#include "src/ctl_ticket_out.h"

#define GATEWAY "/scistream.gateway.v1.Gateway/"
#define SEND SCISTREAM__GATEWAY__V1__ROLE__SEND
#define RECV SCISTREAM__GATEWAY__V1__ROLE__RECV

typedef Scistream__Gateway__V1__RevokeReply RevokeReply;

/* A sender here, a receiver here, and the other gateway of a session that was arranged. */
enum { OUT_SEND, OUT_RECV, OUT_WAN, OUTS };

struct granting { struct ctl_opts o; struct ticket_out out[OUTS]; };

static int complain(int code, const char *what, const char *why)
{
    fprintf(stderr, "scistreamctl: %s: %s\n", what, why);
    return code;
}

/* ------------------------------------------------------------ the answer */

static void print_json(const struct granting *g, const GrantReply *r)
{
    char when[TICKET_TIME];
    printf("{");
    ctl_json_text("session", r->uid, ",");
    ctl_json_text("route", r->route, ",");
    printf("\"channels\":%u,\"issued_s\":%llu,\"expires_s\":%llu,", r->channels, (unsigned long long)r->issued_s, (unsigned long long)r->expires_s);
    ctl_json_text("expires", ticket_time(when, r->expires_s), ",");
    printf("\"ends_s\":%llu,", (unsigned long long)r->ends_s);
    ctl_json_text("ends", r->ends_s ? ticket_time(when, r->ends_s) : "", "");
    for (size_t i = 0; i < OUTS; i++)
        ticket_out_json(&g->out[i]);
    printf("}\n");
}

static void print_text(const struct granting *g, const GrantReply *r)
{
    char when[TICKET_TIME];
    bool routed = !str_starts(r->route, "scistream:"); /* else it was arranged */
    printf("session %s%s%s, %u channel%s, until %s\n", r->uid, routed ? ", route " : "", routed ? r->route : "", r->channels, r->channels == 1 ? "" : "s",
           ticket_time(when, r->expires_s));
    for (size_t i = 0; i < OUTS; i++)
        if (*g->out[i].text)
            printf("%s %s%s\n", g->out[i].word, *g->out[i].path ? "ticket is in " : "", *g->out[i].path ? g->out[i].path : g->out[i].text);
    if (r->ends_s && r->expires_s >= r->ends_s)
        fprintf(stderr, "scistreamctl: not for longer: the session itself ends then, which renew does not change\n");
}

/* A file that was asked for stays empty: nobody has that role. */
static void warn_of_nobody(const struct ticket_out *t)
{
    if (*t->path && !*t->text)
        fprintf(stderr, "scistreamctl: %s: not made, the session has no ticket for %s\n", t->path, t->word);
}

static int take_reply(struct granting *g, const GrantReply *r)
{
    const ProtobufCBinaryData *secret[OUTS] = { &r->send_secret, &r->recv_secret, &r->wan_secret };
    int code = 0;
    g->out[OUT_WAN].role = ticket_wan_role(r);
    for (size_t i = 0; i < OUTS && code == 0; i++)
        if (secret[i]->len)
            code = ticket_out_make(&g->out[i], &g->o, r, secret[i]);
    for (size_t i = 0; i < OUTS && code == 0; i++)
        code = ticket_out_write(&g->out[i]);
    for (size_t i = 0; i < OUTS && code == 0; i++)
        warn_of_nobody(&g->out[i]);
    if (code == 0)
        (g->o.json ? print_json : print_text)(g, r);
    else
        fprintf(stderr, "scistreamctl: session %s was granted nevertheless: revoke it (scistreamctl revoke %s)\n", r->uid, r->uid);
    return code;
}

static int on_reply(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    struct granting *g = container_of((struct ctl_opts *)(uintptr_t)o, struct granting, o);
    GrantReply *r = scistream__gateway__v1__grant_reply__unpack(NULL, len, data);
    int code = r ? take_reply(g, r) : 76;
    if (r)
        grant_reply_wipe(r);
    scistream__gateway__v1__grant_reply__free_unpacked(r, NULL);
    return code;
}

/* What is given on the command line is looked at before anything is asked. */
static int check_options(const struct ctl_opts *o)
{
    if (o->lifetime == TIME_FOREVER && o->for_given)
        return complain(64, "--for", "must be a time, 366d at most: no ticket is good for ever");
    if (o->lifetime != TIME_FOREVER && o->lifetime % NS_PER_S)
        return complain(64, "--for", "must be whole seconds");
    if (*o->send_file && str_eq(o->send_file, o->recv_file))
        return complain(64, o->send_file, "cannot take both tickets");
    return ticket_check_addresses(o->address);
}

static int ask(struct ctl_opts *o, const char *path, const ProtobufCMessage *q)
{
    struct granting g = { .o = *o, .out = { [OUT_SEND] = { .word = "send", .path = o->send_file, .role = TICKET_SEND, .fd = -1 },
                                            [OUT_RECV] = { .word = "recv", .path = o->recv_file, .role = TICKET_RECV, .fd = -1 },
                                            [OUT_WAN] = { .word = "outbound", .path = o->output, .fd = -1 } } };
    int code = check_options(o);
    for (size_t i = 0; i < OUTS && code == 0; i++)
        code = ticket_out_open(&g.out[i]);
    if (code == 0)
        code = ctl_call(&g.o, path, q, on_reply);
    for (size_t i = 0; i < OUTS; i++)
        ticket_out_close(&g.out[i]);
    return code;
}

/* [s] 0: not given, the gateway has a default. */
static uint64_t life_of(const struct ctl_opts *o) { return o->lifetime == TIME_FOREVER ? 0 : o->lifetime / NS_PER_S; }

int ctl_grant(struct ctl_opts *o, int argc UNUSED, char **argv)
{
    Scistream__Gateway__V1__GrantRequest q = SCISTREAM__GATEWAY__V1__GRANT_REQUEST__INIT;
    Scistream__Gateway__V1__Role roles[2];
    q.route = argv[0];
    q.channels = (uint32_t)o->channels;
    q.lifetime_s = life_of(o);
    q.roles = roles;
    if (*o->send_file)
        roles[q.n_roles++] = SEND;
    if (*o->recv_file)
        roles[q.n_roles++] = RECV;
    return ask(o, GATEWAY "Grant", &q.base);
}

int ctl_renew(struct ctl_opts *o, int argc UNUSED, char **argv)
{
    Scistream__Gateway__V1__RenewRequest q = SCISTREAM__GATEWAY__V1__RENEW_REQUEST__INIT;
    q.uid = argv[0];
    q.lifetime_s = life_of(o);
    return ask(o, GATEWAY "Renew", &q.base);
}

/* ------------------------------------------------------------ revoke */

/* Channels, or connections. */
static char *streams(unsigned n) { return mem_printf("%u stream%s", n, n == 1 ? "" : "s"); }

static int print_revoke(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    RevokeReply *r = scistream__gateway__v1__revoke_reply__unpack(NULL, len, data);
    AUTO_FREE char *running = r ? streams(r->running) : NULL, *aborted = r ? streams(r->aborted) : NULL;
    if (r && o->json)
        printf("{\"aborted\":%u,\"running\":%u,\"told_pid\":%u}\n", r->aborted, r->running, r->told_pid);
    else if (r && o->abort && r->told_pid)
        printf("revoked, %s aborted, and those that pid %u, from before the upgrade, still has\n", aborted, r->told_pid);
    else if (r && o->abort)
        printf("revoked, %s aborted\n", aborted);
    else if (r && r->running == 0)
        printf("revoked; nothing runs there\n");
    else if (r)
        printf("revoked; %s that run%s may end by %s\n", running, r->running == 1 ? "s" : "", r->running == 1 ? "itself" : "themselves");
    scistream__gateway__v1__revoke_reply__free_unpacked(r, NULL);
    return r ? 0 : 76;
}

int ctl_revoke(struct ctl_opts *o, int argc UNUSED, char **argv)
{
    Scistream__Gateway__V1__RevokeRequest q = SCISTREAM__GATEWAY__V1__REVOKE_REQUEST__INIT;
    int code;
    if (ctl_at_both(o, ctl_revoke, argv[0], &code))
        return code;
    q.uid = argv[0];
    q.abort = o->abort;
    return ctl_call(o, GATEWAY "Revoke", &q.base, print_revoke);
}
