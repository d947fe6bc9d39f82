/* A ticket in the place of address, pin and secret: --ticket-file of scistream-send and scistream-recv. What is wrong with it is said before any
 * connection is made; then its addresses are tried in their order, until one is reached. */
#include "src/core/err.h"
#include "src/endpoint.h"

bool endpoint_takes_ticket(struct endpoint_opts *o, int operands)
{
    bool listens = o->listen && *o->listen;
    o->by_ticket = o->ticket_given || (operands == 0 && !listens && *o->ticket_file);
    return o->by_ticket;
}

static void take_address(struct endpoint *ep, unsigned i)
{
    ep->address = i;
    ep->to.kind = ADDR_GATEWAY;
    str_copy(ep->to.host, sizeof(ep->to.host), ep->ticket.address[i].host);
    ep->to.port = ep->ticket.address[i].port;
}

/* What is on the command line goes before what is in the ticket. */
static void take_trust(struct endpoint_opts *o, const struct ticket *t)
{
    char hex[2 * TICKET_KEY + 1];
    if (!o->pins[0]) {
        strv_free(o->pins);
        o->pins = mem_zalloc(t->n_pins + 1, sizeof(*o->pins));
        for (unsigned i = 0; i < t->n_pins; i++) {
            secret_hex(hex, t->pin[i], TICKET_KEY);
            o->pins[i] = mem_printf("sha256:%s", hex);
        }
    }
    if (!*o->tls_name) {
        free(o->tls_name);
        o->tls_name = mem_strdup(t->tls_name);
    }
}

static int check_use(const struct endpoint *ep)
{
    const struct ticket *t = &ep->ticket;
    char why[200];
    int rc = ticket_check_time(t, (uint64_t)time(NULL), why, sizeof(why));
    if (rc < 0)
        return endpoint_complain(ep, rc, "%s: %s", ep->o->ticket_file, why);
    if (ticket_is_transparent(t))
        return endpoint_complain(ep, -SST_ECONF, "%s: the ticket is for a side of transparent channels (%s), which %s is not: scistreamctl outbound takes it",
                                 ep->o->ticket_file, ticket_role_name(t->role), ep->kind->program);
    if (t->role != (ep->kind->sends ? TICKET_SEND : TICKET_RECV))
        return endpoint_complain(ep, -SST_ECONF, "%s: the ticket is for scistream-%s", ep->o->ticket_file, ticket_role_name(t->role));
    if (ep->o->channel >= (int64_t)t->channels)
        return endpoint_complain(ep, -SST_EUSAGE, "--channel %lld: the ticket is for channels 0 to %u", (long long)ep->o->channel, t->channels - 1);
    return 0;
}

int endpoint_use_ticket(struct endpoint *ep)
{
    char why[400];
    int rc = ticket_resembles(ep->o->ticket_file) ? -SST_EUSAGE : ticket_read(ep->o->ticket_file, &ep->ticket, why, sizeof(why));
    if (rc == -SST_EUSAGE)
        return endpoint_complain(ep, rc, "--ticket-file takes the name of a file, or - for standard input, not the ticket: everybody would see it");
    if (rc < 0)
        return endpoint_complain(ep, -SST_ECONF, "%s", why);
    int code = check_use(ep);
    if (code != 0)
        return code;
    take_address(ep, 0);
    take_trust(ep->o, &ep->ticket);
    ep->secret = (struct secret){ .data = mem_zalloc(1, TICKET_KEY), .len = TICKET_KEY };
    memcpy(ep->secret.data, ep->ticket.secret, TICKET_KEY);
    return 0;
}

bool endpoint_next_address(struct endpoint *ep)
{
    char failed[ADDR_TEXT];
    bool unreachable = ep->rc < 0 && !ep->reached && !ep->interrupted && err_exit(ep->rc) == err_exit(-SST_ELOST);
    if (!ep->o->by_ticket || !unreachable)
        return false;
    unsigned next = ep->address + 1;
    if (next == ep->ticket.n_addresses) { /* the next round begins with the first */
        take_address(ep, 0);
        return false;
    }
    snprintf(failed, sizeof(failed), "%s port %u", ep->to.host, ep->to.port);
    take_address(ep, next);
    endpoint_say(ep, "%s: %s; trying %s port %u", failed, ep->why, ep->to.host, ep->to.port);
    return true;
}
