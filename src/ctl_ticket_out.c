/* Tickets that are given out. The gateway gives uid and secrets, the tickets are made here. */
#include "src/ctl_ticket_out.h"

#include <fcntl.h>
#include <stdio.h>

#include "src/core/err.h"

static int complain(int code, const char *what, const char *why)
{
    fprintf(stderr, "scistreamctl: %s: %s\n", what, why);
    return code;
}

/* ------------------------------------------------------------ parts as text */

char *ticket_address_text(char out[ADDR_TEXT], const struct ticket *t, unsigned i)
{
    const char *host = t->address[i].host;
    snprintf(out, ADDR_TEXT, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, t->address[i].port);
    return out;
}

char *ticket_pin_text(char out[TICKET_PIN_TEXT], const uint8_t pin[TICKET_KEY])
{
    memcpy(out, "sha256:", 7);
    secret_hex(out + 7, pin, TICKET_KEY);
    return out;
}

/* ------------------------------------------------------------ files */

int ticket_out_open(struct ticket_out *t)
{
    if (!*t->path)
        return 0;
    t->fd = open(t->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (t->fd >= 0)
        return 0;
    return errno == EEXIST ? complain(64, t->path, "exists already and is not overwritten") : complain(74, t->path, err_text(-errno));
}

void ticket_out_close(struct ticket_out *t)
{
    if (t->fd >= 0 && !t->given)
        unlink(t->path);
    fd_close(&t->fd);
    secret_wipe(t->text, sizeof(t->text));
}

int ticket_out_write(struct ticket_out *t)
{
    size_t n = strlen(t->text);
    if (t->fd < 0 || n == 0)
        return 0;
    t->text[n] = '\n'; /* there is room for it in any ticket made here */
    ssize_t written = write(t->fd, t->text, n + 1);
    t->text[n] = 0;
    int rc = written == (ssize_t)n + 1 ? 0 : written < 0 ? -errno : -ENOSPC;
    if (rc == 0 && fsync(t->fd) < 0 && errno != EINVAL)
        rc = -errno;
    t->given = rc == 0;
    return rc < 0 ? complain(74, t->path, err_text(rc)) : 0;
}

void ticket_out_json(const struct ticket_out *t)
{
    AUTO_FREE char *name = mem_printf("%s%s", t->word, *t->path ? "_file" : "");
    if (!*t->text)
        return;
    printf(",");
    if (*t->path)
        ctl_json_text(name, t->path, "");
    else /* longer than that takes, and without anything to escape */
        printf("\"%s\":\"%s\"", name, t->text);
}

/* ------------------------------------------------------------ what goes into one */

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

int ticket_check_addresses(char *const *text)
{
    struct ticket t = { .n_addresses = 0 };
    return add_addresses(&t, text, strv_len(text));
}

static void add_pins(struct ticket *t, const GrantReply *r)
{
    for (size_t i = 0; i < r->n_pins && t->n_pins < TICKET_PINS; i++)
        if (str_starts(r->pins[i], "sha256:") && secret_unhex(t->pin[t->n_pins], TICKET_KEY, r->pins[i] + 7))
            t->n_pins++;
}

static void add_ports(struct ticket *t, const GrantReply *r)
{
    if (!ticket_is_transparent(t))
        return;
    for (size_t i = 0; i < r->n_ports && t->n_ports < TICKET_PORTS; i++)
        t->port[t->n_ports++] = (uint16_t)r->ports[i];
}

int ticket_fill(struct ticket *t, const struct ctl_opts *o, const GrantReply *r, const ProtobufCBinaryData *secret)
{
    bool override = o->address[0];
    t->channels = r->channels;
    t->issued_s = r->issued_s;
    t->expires_s = r->ends_s ? MIN(r->expires_s, r->ends_s) : r->expires_s; /* nothing is there then to be used */
    t->class_ = str_eq(r->class_, "provisioned") ? TICKET_PROVISIONED : TICKET_BEST_EFFORT;
    t->rate = r->rate;
    str_copy(t->uid, sizeof(t->uid), r->uid);
    memcpy(t->secret, secret->data, MIN(secret->len, sizeof(t->secret)));
    add_pins(t, r);
    add_ports(t, r);
    int code = override ? add_addresses(t, o->address, strv_len(o->address)) : add_addresses(t, r->addresses, r->n_addresses);
    if (code == 0 && t->n_addresses == 0)
        code = complain(78, "ticket", "the configuration of the gateway does not say by which address it is reached: give --address HOST:PORT");
    return code;
}

int ticket_out_make(struct ticket_out *out, const struct ctl_opts *o, const GrantReply *r, const ProtobufCBinaryData *secret)
{
    struct ticket t = { .role = out->role };
    int code = ticket_fill(&t, o, r, secret);
    if (code == 0 && ticket_print(&t, out->text) < 0)
        code = complain(76, "ticket", "the answer of the gateway makes no ticket: is it of another version?");
    ticket_wipe(&t);
    return code;
}

enum ticket_role ticket_wan_role(const GrantReply *r)
{
    switch (r->wan_role) {
    case SCISTREAM__GATEWAY__V1__ROLE__SEND: return TICKET_SEND;
    case SCISTREAM__GATEWAY__V1__ROLE__RECV: return TICKET_RECV;
    default: return TICKET_CONS;
    }
}

void grant_reply_wipe(GrantReply *r)
{
    ProtobufCBinaryData *const secret[] = { &r->send_secret, &r->recv_secret, &r->wan_secret };
    for (size_t i = 0; i < ARRAY_LEN(secret); i++)
        secret_wipe(secret[i]->data, secret[i]->len);
}
