/* What scistreamctl inbound, outbound and stream print. On standard output is only what another program is given: tickets and addresses, each behind its
 * word where there is more than one kind. */
#include <stdio.h>

#include "src/ctl_arrange.h"

/* ------------------------------------------------------------ of both sides */

static const struct side *any_side(const struct arrangement *a) { return a->dialed ? a->dialed : a->dials; }

static uint64_t earliest(uint64_t a, uint64_t b) { return !a ? b : !b ? a : MIN(a, b); }

static uint64_t ends_s(const struct arrangement *a)
{
    return earliest(a->dialed ? a->dialed->reply->ends_s : 0, a->dials ? a->dials->reply->ends_s : 0);
}

static uint64_t expires_s(const struct arrangement *a)
{
    return earliest(earliest(a->dialed ? a->dialed->reply->expires_s : 0, a->dials ? a->dials->reply->expires_s : 0), ends_s(a));
}

static const char *security(const struct arrangement *a)
{
    const struct side *s = a->dialed && *a->dialed->reply->security ? a->dialed : any_side(a);
    return s->reply->security;
}

static const char *class_of(const GrantReply *r) { return *r->class_ ? r->class_ : "best effort"; }

/* ------------------------------------------------------------ words */

static void words(const char *before, char *const *w, size_t n)
{
    fputs(before, stderr);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "%s%s", i ? ", " : "", w[i]);
}

/* " at ports 5100-5103, 5107" */
static void ports(const uint32_t *port, size_t n)
{
    fprintf(stderr, " at port%s", n == 1 ? "" : "s");
    for (size_t i = 0, to; i < n; i = to) {
        for (to = i + 1; to < n && port[to] == port[to - 1] + 1; to++)
            ;
        fprintf(stderr, "%s%u", i ? ", " : " ", port[i]);
        if (to - i > 1)
            fprintf(stderr, "-%u", port[to - 1]);
    }
}

static void application(const struct side *s)
{
    bool sends = s->attach == SCISTREAM__GATEWAY__V1__ROLE__SEND;
    if (s->app == APP_LISTENS)
        words(", and connects to ", s->targets, strv_len(s->targets));
    else if (s->app == APP_CONNECTS)
        words("; applications connect to ", s->reply->listeners, s->reply->n_listeners);
    else
        fprintf(stderr, "; %s attaches, by its ticket", sends ? "scistream-send" : "scistream-recv");
}

static void dialed_text(const struct side *s)
{
    fprintf(stderr, "  %s is dialed by the other gateway", side_name(s));
    if (s->reply->n_ports)
        ports(s->reply->ports, s->reply->n_ports);
    application(s);
    fputc('\n', stderr);
}

static void dials_text(const struct arrangement *a)
{
    const struct ticket *t = &a->ticket;
    fprintf(stderr, "  %s dials %s", side_name(a->dials), t->address[0].host);
    application(a->dials);
    fputc('\n', stderr);
}

static void times_text(const struct arrangement *a)
{
    char when[TICKET_TIME], left[UNITS_TEXT];
    uint64_t now_s = (uint64_t)time(NULL), until_s = expires_s(a);
    fprintf(stderr, "  may be used until %s, for %s", ticket_time(when, until_s),
            units_human_time(left, MAX(until_s > now_s ? until_s - now_s : 0, 1) * NS_PER_S));
    if (ends_s(a))
        fprintf(stderr, "; ends at %s, whatever runs", ticket_time(when, ends_s(a)));
    fputc('\n', stderr);
}

static unsigned count_printed(const struct arrangement *a)
{
    unsigned n = 0;
    for (size_t i = 0; i < OUTS; i++)
        n += *a->out[i].text && !*a->out[i].path;
    return n;
}

/* What the other one has to do. */
static void next_text(const struct arrangement *a)
{
    const struct side *s = a->dialed;
    const char *file = a->out[OUT_WAN].path, *where = *file ? " in " : count_printed(a) > 1 ? " behind the word outbound" : " that is printed";
    const char *attach = s->app != APP_ATTACHES ? "" : s->attach == SCISTREAM__GATEWAY__V1__ROLE__SEND ? " --attach recv" : " --attach send";
    fprintf(stderr, "  next, with the ticket%s%s, at the other gateway: scistreamctl outbound --gateway GATEWAY --ticket-file FILE%s\n", where, file, attach);
}

static void describe(const struct arrangement *a)
{
    char text[UNITS_TEXT];
    const GrantReply *r = any_side(a)->reply;
    fprintf(stderr, "session %s, %u channel%s, %s", r->uid, r->channels, r->channels == 1 ? "" : "s", class_of(r));
    if (r->rate)
        fprintf(stderr, ", %s", units_human_rate(text, (double)r->rate));
    fprintf(stderr, *security(a) ? ", WAN %s\n" : "\n", security(a));
    if (a->dialed)
        dialed_text(a->dialed);
    if (a->dials)
        dials_text(a);
    times_text(a);
    if (!a->dials)
        next_text(a);
}

/* ------------------------------------------------------------ what programs take */

static void print_plain(const struct arrangement *a)
{
    const GrantReply *r = a->dials ? a->dials->reply : NULL;
    bool many = count_printed(a) > 1;
    for (size_t i = 0; i < OUTS; i++)
        if (*a->out[i].text && !*a->out[i].path)
            printf("%s%s%s\n", many ? a->out[i].word : "", many ? " " : "", a->out[i].text);
    for (size_t i = 0; r && i < r->n_listeners; i++)
        printf("%s\n", r->listeners[i]);
}

static void print_time(const char *name, uint64_t s)
{
    char when[TICKET_TIME];
    printf("\"%s_s\":%llu,", name, (unsigned long long)s);
    ctl_json_text(name, s ? ticket_time(when, s) : "", ",");
}

static void print_json(const struct arrangement *a)
{
    const GrantReply *r = any_side(a)->reply, *l = a->dialed ? a->dialed->reply : NULL, *d = a->dials ? a->dials->reply : NULL;
    printf("{");
    ctl_json_text("session", r->uid, ",");
    printf("\"channels\":%u,", r->channels);
    ctl_json_text("class", class_of(r), ",");
    printf("\"rate_bit_s\":%llu,", (unsigned long long)r->rate);
    ctl_json_text("security", security(a), ",");
    print_time("issued", r->issued_s);
    print_time("expires", expires_s(a));
    print_time("ends", ends_s(a));
    ctl_json_text("dialed", a->dialed ? side_name(a->dialed) : a->ticket.address[0].host, ",");
    ctl_json_text("dials", a->dials ? side_name(a->dials) : "", ",");
    printf("\"ports\":[");
    for (size_t i = 0; l && i < l->n_ports; i++)
        printf("%s%u", i ? "," : "", l->ports[i]);
    printf("],");
    ctl_json_list("listeners", d ? d->listeners : NULL, d ? d->n_listeners : 0);
    for (size_t i = 0; i < OUTS; i++)
        ticket_out_json(&a->out[i]);
    printf("}\n");
}

void arrange_print(const struct arrangement *a)
{
    if (!a->o->e.quiet)
        describe(a);
    (a->o->json ? print_json : print_plain)(a);
}
