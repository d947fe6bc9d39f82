/* scistreamctl grant, renew, revoke and grants: sessions of their own for those who get a ticket. The gateway gives uid and secrets, the tickets are
 * made here: into files that nobody else can read, or printed. Files are opened first, so that what cannot be written is not granted either. */
#include <fcntl.h>
#include <stdio.h>

#include "src/core/err.h"
#include "src/core/ticket.h"
#include "src/scistreamctl.h"

#define GATEWAY "/scistream.gateway.v1.Gateway/"
#define SEND SCISTREAM__GATEWAY__V1__ROLE__SEND
#define RECV SCISTREAM__GATEWAY__V1__ROLE__RECV

typedef Scistream__Gateway__V1__GrantReply GrantReply;
typedef Scistream__Gateway__V1__GrantState GrantState;
typedef Scistream__Gateway__V1__GrantsReply GrantsReply;
typedef Scistream__Gateway__V1__RevokeReply RevokeReply;

/* A ticket, and the file that it goes to. */
struct ticket_out { const char *word, *path; enum ticket_role role; int fd; bool given; char text[TICKET_TEXT]; };

struct granting { struct ctl_opts o; struct ticket_out out[2]; };

/* ------------------------------------------------------------ files */

static int complain(int code, const char *what, const char *why)
{
    fprintf(stderr, "scistreamctl: %s: %s\n", what, why);
    return code;
}

static int open_file(struct ticket_out *t)
{
    if (!*t->path)
        return 0;
    t->fd = open(t->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (t->fd >= 0)
        return 0;
    return errno == EEXIST ? complain(64, t->path, "exists already and is not overwritten") : complain(74, t->path, err_text(-errno));
}

/* One that was made for nothing goes away. */
static void close_file(struct ticket_out *t)
{
    if (t->fd >= 0 && !t->given)
        unlink(t->path);
    fd_close(&t->fd);
    secret_wipe(t->text, sizeof(t->text));
}

static int write_file(struct ticket_out *t)
{
    size_t n = strlen(t->text);
    t->text[n] = '\n'; /* there is room for it in any ticket made here */
    ssize_t written = write(t->fd, t->text, n + 1);
    t->text[n] = 0;
    int rc = written == (ssize_t)n + 1 ? 0 : written < 0 ? -errno : -ENOSPC;
    if (rc == 0 && fsync(t->fd) < 0 && errno != EINVAL)
        rc = -errno;
    t->given = rc == 0;
    return rc < 0 ? complain(74, t->path, err_text(rc)) : 0;
}

/* ------------------------------------------------------------ what goes into a ticket */

static int add_address(struct ticket *t, const char *text)
{
    char why[200], host[ADDR_HOST_MAX + 1];
    uint16_t port;
    if (t->n_addresses == TICKET_ADDRESSES)
        return complain(64, text, "a ticket has room for 4 addresses");
    if (addr_parse_hostport(text, ADDR_PORT_DEFAULT, host, &port, why, sizeof(why)) < 0)
        return complain(64, "--address", why);
    if (!*host)
        return complain(64, text, "a host is missing, by which users reach the gateway");
    str_copy(t->address[t->n_addresses].host, sizeof(t->address[0].host), host);
    t->address[t->n_addresses++].port = port;
    return 0;
}

static int add_addresses(struct ticket *t, char *const *text, size_t n)
{
    int code = 0;
    for (size_t i = 0; i < n && code == 0; i++)
        code = add_address(t, text[i]);
    return code;
}

static void add_pins(struct ticket *t, const GrantReply *r)
{
    for (size_t i = 0; i < r->n_pins && t->n_pins < TICKET_PINS; i++)
        if (str_starts(r->pins[i], "sha256:") && secret_unhex(t->pin[t->n_pins], TICKET_KEY, r->pins[i] + 7))
            t->n_pins++;
}

/* Into out->text. */
static int make_ticket(const struct ctl_opts *o, const GrantReply *r, const ProtobufCBinaryData *secret, struct ticket_out *out)
{
    struct ticket t = { .role = out->role, .channels = r->channels, .issued_s = r->issued_s, .expires_s = r->expires_s };
    bool override = o->address[0];
    int code = override ? add_addresses(&t, o->address, strv_len(o->address)) : add_addresses(&t, r->addresses, r->n_addresses);
    str_copy(t.uid, sizeof(t.uid), r->uid);
    memcpy(t.secret, secret->data, MIN(secret->len, sizeof(t.secret)));
    add_pins(&t, r);
    if (code == 0 && t.n_addresses == 0)
        code = complain(78, "grant", "the configuration of the gateway does not say by which address it is reached: give --address HOST:PORT");
    if (code == 0 && ticket_print(&t, out->text) < 0)
        code = complain(76, "grant", "the answer of the gateway makes no ticket: is it of another version?");
    ticket_wipe(&t);
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
    ctl_json_text("expires", ticket_time(when, r->expires_s), "");
    for (size_t i = 0; i < ARRAY_LEN(g->out); i++) {
        const struct ticket_out *t = &g->out[i];
        if (*t->text) { /* "send":"sst1…", or "send_file":"FILE" */
            printf(",");
            AUTO_FREE char *name = mem_printf("%s%s", t->word, *t->path ? "_file" : "");
            if (*t->path)
                ctl_json_text(name, t->path, "");
            else /* longer than that takes, and without anything to escape */
                printf("\"%s\":\"%s\"", name, t->text);
        }
    }
    printf("}\n");
}

static void print_text(const struct granting *g, const GrantReply *r)
{
    char when[TICKET_TIME];
    printf("session %s, route %s, %u channel%s, until %s\n", r->uid, r->route, r->channels, r->channels == 1 ? "" : "s",
           ticket_time(when, r->expires_s));
    for (size_t i = 0; i < ARRAY_LEN(g->out); i++)
        if (*g->out[i].text)
            printf("%s %s%s\n", g->out[i].word, *g->out[i].path ? "ticket is in " : "", *g->out[i].path ? g->out[i].path : g->out[i].text);
}

static int take_reply(struct granting *g, const GrantReply *r)
{
    const ProtobufCBinaryData *secret[] = { &r->send_secret, &r->recv_secret };
    int code = 0;
    for (size_t i = 0; i < ARRAY_LEN(g->out) && code == 0; i++)
        if (secret[i]->len)
            code = make_ticket(&g->o, r, secret[i], &g->out[i]);
    for (size_t i = 0; i < ARRAY_LEN(g->out) && code == 0; i++)
        if (*g->out[i].text && *g->out[i].path)
            code = write_file(&g->out[i]);
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
    if (r) {
        secret_wipe(r->send_secret.data, r->send_secret.len);
        secret_wipe(r->recv_secret.data, r->recv_secret.len);
    }
    scistream__gateway__v1__grant_reply__free_unpacked(r, NULL);
    return code;
}

/* What is given on the command line is looked at before anything is asked. */
static int check_options(const struct ctl_opts *o)
{
    struct ticket t = { .n_addresses = 0 };
    if (o->lifetime != TIME_FOREVER && o->lifetime % NS_PER_S)
        return complain(64, "--for", "must be whole seconds");
    if (*o->send_file && str_eq(o->send_file, o->recv_file))
        return complain(64, o->send_file, "cannot take both tickets");
    return add_addresses(&t, o->address, strv_len(o->address));
}

static int ask(struct ctl_opts *o, const char *path, const ProtobufCMessage *q)
{
    struct granting g = { .o = *o, .out = { { .word = "send", .path = o->send_file, .role = TICKET_SEND, .fd = -1 },
                                            { .word = "recv", .path = o->recv_file, .role = TICKET_RECV, .fd = -1 } } };
    int code = check_options(o);
    for (size_t i = 0; i < ARRAY_LEN(g.out) && code == 0; i++)
        code = open_file(&g.out[i]);
    if (code == 0)
        code = ctl_call(&g.o, path, q, on_reply);
    for (size_t i = 0; i < ARRAY_LEN(g.out); i++)
        close_file(&g.out[i]);
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

static int print_revoke(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    RevokeReply *r = scistream__gateway__v1__revoke_reply__unpack(NULL, len, data);
    AUTO_FREE char *running = r ? units_streams("", r->running, 0) : NULL;
    AUTO_FREE char *aborted = r ? units_streams("", r->aborted, 0) : NULL;
    if (r && o->json)
        printf("{\"aborted\":%u,\"running\":%u,\"told_pid\":%u}\n", r->aborted, r->running, r->told_pid);
    else if (r && o->abort && r->told_pid)
        printf("revoked, %s aborted, and those that pid %u, from before the upgrade, still has\n", aborted, r->told_pid);
    else if (r && o->abort)
        printf("revoked, %s aborted\n", aborted);
    else if (r)
        printf("revoked; %s that run%s may end by %s\n", running, r->running == 1 ? "s" : "", r->running == 1 ? "itself" : "themselves");
    scistream__gateway__v1__revoke_reply__free_unpacked(r, NULL);
    return r ? 0 : 76;
}

int ctl_revoke(struct ctl_opts *o, int argc UNUSED, char **argv)
{
    Scistream__Gateway__V1__RevokeRequest q = SCISTREAM__GATEWAY__V1__REVOKE_REQUEST__INIT;
    q.uid = argv[0];
    q.abort = o->abort;
    return ctl_call(o, GATEWAY "Revoke", &q.base, print_revoke);
}

/* ------------------------------------------------------------ grants */

static bool has_role(const GrantState *s, Scistream__Gateway__V1__Role role)
{
    for (size_t i = 0; i < s->n_roles; i++)
        if (s->roles[i] == role)
            return true;
    return false;
}

static void state_json(const GrantState *s, const char *before)
{
    char when[TICKET_TIME];
    printf("%s{", before);
    ctl_json_text("session", s->uid, ",");
    ctl_json_text("route", s->route, ",");
    printf("\"channels\":%u,\"issued_s\":%llu,\"expires_s\":%llu,", s->channels, (unsigned long long)s->issued_s, (unsigned long long)s->expires_s);
    ctl_json_text("expires", ticket_time(when, s->expires_s), ",");
    printf("\"send\":%s,\"recv\":%s,\"open\":%u,\"senders\":%llu,\"receivers\":%llu,", has_role(s, SEND) ? "true" : "false",
           has_role(s, RECV) ? "true" : "false", s->open, (unsigned long long)s->senders, (unsigned long long)s->receivers);
    ctl_json_text("by", s->by, ",");
    ctl_json_text("from", s->from, "}");
}

static void state_text(const GrantState *s)
{
    char left[UNITS_TEXT], when[TICKET_TIME];
    uint64_t now_s = (uint64_t)time(NULL);
    AUTO_FREE char *open = units_streams("", s->open, 0);
    printf("session %s  route %s, %u channel%s, %s\n", s->uid, s->route, s->channels, s->channels == 1 ? "" : "s",
           !has_role(s, RECV) ? "senders only" : !has_role(s, SEND) ? "receivers only" : "senders and receivers");
    printf("  expires %s, in %s; granted by %s, %s\n", ticket_time(when, s->expires_s),
           units_human_time(left, MAX(s->expires_s > now_s ? s->expires_s - now_s : 0, 1) * NS_PER_S), s->by, s->from);
    printf("  used by %llu sender%s and %llu receiver%s, %s now\n", (unsigned long long)s->senders, s->senders == 1 ? "" : "s",
           (unsigned long long)s->receivers, s->receivers == 1 ? "" : "s", open);
}

static int print_grants(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    GrantsReply *r = scistream__gateway__v1__grants_reply__unpack(NULL, len, data);
    if (!r)
        return 76;
    if (o->json)
        printf("{\"grants\":[");
    else if (r->n_grants == 0)
        printf("no granted sessions\n");
    for (size_t i = 0; i < r->n_grants; i++)
        if (o->json)
            state_json(r->grants[i], i ? "," : "");
        else
            state_text(r->grants[i]);
    if (o->json)
        printf("]}\n");
    scistream__gateway__v1__grants_reply__free_unpacked(r, NULL);
    return 0;
}

int ctl_grants(struct ctl_opts *o, int argc UNUSED, char **argv UNUSED)
{
    Scistream__Gateway__V1__GrantsRequest q = SCISTREAM__GATEWAY__V1__GRANTS_REQUEST__INIT;
    return ctl_call(o, GATEWAY "Grants", &q.base, print_grants);
}
