/* Direct mode: scistream-recv --listen serves the Attach that scistream-send direct://HOST:PORT opens; no gateway between.
 *
 * Happy path: control endpoint with a certificate made now -> prints the sender's command (on every address: with our name when it leads
 * here from elsewhere, else with the first global address) -> Attach with role SEND and a right proof
 * -> the hop of the endpoint serves it like any other. One stream at a time: others are told "busy".
 */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/socket.h>

#include "config.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/endpoint.h"
#include "tcp/resolve.h"
#include "tcp/sock.h"

#define HANDSHAKE_NS (10 * NS_PER_S)
#define SILENT_NS (10 * NS_PER_S)
#define CONNECTIONS_MAX 1024
#define STREAMS_MAX 8

struct visitor { struct hop h; struct endpoint *ep; struct list node; struct defer gone; };

struct listening {
    struct grpc_server *server;
    struct tls_ctx *tls;
    struct list visitors;   /* not yet, or never, the endpoint's own hop */
    bool busy;
    char uid[33];
    uint16_t port;
    char host[ADDR_HOST_MAX + 1]; /* as given; "": all addresses */
    char name[256];         /* of this machine, while question is under way */
    struct resolve *question;
};

static struct endpoint *the_endpoint(struct grpc_call *c) { return grpc_server_user(c); }

/* ------------------------------------------------------------ visitors: attaches that are judged */

static void visitor_gone(struct defer *d)
{
    struct visitor *v = container_of(d, struct visitor, gone);
    list_del(&v->node);
    hop_fini(&v->h);
    free(v);
}

static void send_away(struct visitor *v, int rc, const char *text)
{
    log_warn("attach from %s refused: %s", v->h.at.peer, text);
    hop_abort(&v->h, rc, text);
    loop_defer(&v->ep->loop, &v->gone);
}

static int judge(struct visitor *v, const Offer *o, char *why, size_t size)
{
    struct endpoint *ep = v->ep;
    int rc = hop_check_offer(o, why, size);
    if (rc < 0)
        return rc;
    snprintf(why, size, "%s", err_text(-SST_EAUTH));
    if (!str_eq(o->route, "direct") || !auth_check(&ep->secret, o, "direct", v->h.at.conn))
        return -SST_EAUTH;
    snprintf(why, size, "this end receives: attach with role SEND");
    if (o->role != SCISTREAM__GATEWAY__V1__ROLE__SEND || o->probe)
        return -SST_EDENIED;
    snprintf(why, size, "busy with another stream");
    return ep->listening->busy ? -SST_EBUSY : 0;
}

/* verbs does not encrypt, so nobody gets it who did not ask for it or name a device. */
static bool listens_by(const struct endpoint *ep, const char *transport)
{
    return endpoint_wants(ep, transport) && (endpoint_asked(ep) || !str_eq(transport, "verbs") || ep->o->devices[0]);
}

/* The visitor's conversation becomes the endpoint's hop: everything from here on is as in an attach of our own. */
static void adopt(struct visitor *v, const Offer *o)
{
    struct endpoint *ep = v->ep;
    char why[ATTACH_WHY];
    char *ours[ENDPOINT_TRANSPORTS + 1] = { NULL };
    for (size_t i = 0, n = 0; i < ENDPOINT_TRANSPORTS; i++)
        if (listens_by(ep, endpoint_transport_names[i]))
            ours[n++] = endpoint_transport_names[i];
    bool common = hop_choose(&v->h, ours, &ep->local.w, why, sizeof(why));
    int rc = common ? endpoint_open_channel(ep) : -SST_ENOTRANSPORT;
    if (rc < 0) {
        send_away(v, rc, common ? err_text(rc) : why);
        return;
    }
    ep->listening->busy = true;
    ep->state = EP_OPENING;
    loop_timer_stop(&ep->loop, &ep->patience); /* a sender came; the steps of its attach have limits of their own */
    ep->start_ns = now_ns();
    ep->size_hint = o->size_hint;
    hop_move(&ep->hop, &v->h, endpoint_hop_events(), ep);
    ep->hop.secret = &ep->secret;
    str_copy(ep->hop.give.uid, sizeof(ep->hop.give.uid), ep->listening->uid);
    str_copy(ep->uid, sizeof(ep->uid), ep->listening->uid);
    ep->hop.give.channel = ep->channel_number = ep->served++;
    ep->hop.give.plain = ep->o->plaintext;
    ep->hop.give.low_latency = ep->o->low_latency || o->low_latency;
    ep->hop.give.cipher = "aes-256-gcm";
    ep->hop.give.gateway = "direct";
    ep->hop.give.advertise[0] = 0;
    hop_answer(&ep->hop, &ep->local.w, &ep->pc, SCISTREAM__WORKER__SIDE__SOURCE);
    loop_defer(&ep->loop, &v->gone);
}

static void on_offer(struct hop *h, const Offer *o)
{
    struct visitor *v = container_of(h, struct visitor, h);
    char why[ATTACH_WHY];
    int rc = judge(v, o, why, sizeof(why));
    if (rc < 0)
        send_away(v, rc, why);
    else
        adopt(v, o);
}

static void on_over(struct hop *h, int rc UNUSED, bool by_peer UNUSED, const char *text)
{
    struct visitor *v = container_of(h, struct visitor, h);
    log_debug("attach from %s ended before its OFFER: %s", h->at.peer, text);
    loop_defer(&v->ep->loop, &v->gone);
}

static const struct hop_events visitor_events = { .offer = on_offer, .over = on_over };

static void on_attach(struct grpc_call *c)
{
    struct endpoint *ep = the_endpoint(c);
    struct visitor *v = mem_zalloc(1, sizeof(*v));
    v->ep = ep;
    defer_init(&v->gone, visitor_gone);
    list_add_tail(&ep->listening->visitors, &v->node);
    v->h.step_ns = HANDSHAKE_NS;
    hop_serve(&v->h, &ep->loop, c, &visitor_events, v);
}

static const struct grpc_method methods[] = { { ATTACH_PATH, ATTACH_MESSAGE_MAX, &attach_call_handlers, on_attach } };

/* ------------------------------------------------------------ sockets */

static int open_socket(const char *host, uint16_t port, union sockaddr_any *at)
{
    int rc = addr_numeric(*host ? host : "::", port, at);
    if (rc == 0)
        rc = sock_listen(at);
    return rc;
}

static bool is_global(const struct sockaddr *sa)
{
    const union sockaddr_any *a = (const void *)sa;
    if (sa && sa->sa_family == AF_INET)
        return ntohl(a->in.sin_addr.s_addr) >> 24 != 127 && ntohl(a->in.sin_addr.s_addr) >> 16 != 0xa9fe && a->in.sin_addr.s_addr;
    return sa && sa->sa_family == AF_INET6 && !IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr) && !IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr) &&
           !IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

/* The first address by which others may reach this machine, IPv4 before IPv6. */
static bool first_global(char out[ADDR_TEXT])
{
    static const int families[] = { AF_INET, AF_INET6 };
    struct ifaddrs *all;
    const struct ifaddrs *found = NULL;
    if (getifaddrs(&all) < 0)
        return false;
    for (size_t f = 0; !found && f < ARRAY_LEN(families); f++)
        for (const struct ifaddrs *a = all; !found && a; a = a->ifa_next)
            if (is_global(a->ifa_addr) && a->ifa_addr->sa_family == families[f] && (a->ifa_flags & IFF_UP))
                found = a;
    if (found)
        addr_format_host((const void *)found->ifa_addr, out);
    freeifaddrs(all);
    return found != NULL;
}

static void print_command(const struct endpoint *ep, const char *host)
{
    char pin[TLS_PIN_TEXT];
    bool v6 = strchr(host, ':') != NULL;
    tls_ctx_pin(ep->listening->tls, pin);
    endpoint_say(ep, "listening; on the sending machine, with a copy of this secret file, run:");
    fprintf(stderr, "  scistream-send --secret-file %s --pin %s direct://%s%s%s:%u FILE\n", ep->o->secret_file, pin, v6 ? "[" : "", host,
            v6 ? "]" : "", ep->listening->port);
}

/* Our own name is good for others only when it does not mean "myself", as in many an /etc/hosts. */
static void on_name(void *user, int rc, const union sockaddr_any *addrs, size_t n, const char *why UNUSED)
{
    struct endpoint *ep = user;
    struct listening *ls = ep->listening;
    char address[ADDR_TEXT];
    bool good = rc == 0;
    ls->question = NULL;
    for (size_t i = 0; good && i < n; i++)
        good = is_global(&addrs[i].sa);
    print_command(ep, !good && first_global(address) ? address : ls->name);
}

static bool is_any(const char *host) { return !*host || str_eq(host, "::") || str_eq(host, "0.0.0.0"); }

static void tell_people(struct endpoint *ep)
{
    struct listening *ls = ep->listening;
    if (!is_any(ls->host)) {
        print_command(ep, ls->host);
        return;
    }
    if (gethostname(ls->name, sizeof(ls->name) - 1) < 0 || !*ls->name)
        str_copy(ls->name, sizeof(ls->name), "localhost");
    ls->question = resolve_start(ep->resolver, ls->name, ls->port, on_name, ep);
}

static void set_problem(struct pool_worker *w, const char *transport, const char *problem)
{
    for (size_t i = 0; i < w->n_transports; i++)
        if (str_eq(w->transports[i].name, transport)) {
            free(w->transports[i].problem);
            w->transports[i].problem = mem_strdup(problem);
        }
}

/* What the worker does not know, or tolerates in a gateway, whose port will come back. */
static void on_local_changed(struct local *l)
{
    const struct endpoint *ep = container_of(l, struct endpoint, local);
    Scistream__Worker__Device *const *d;
    if (!ep->o->devices[0] && pool_transport_problem(&l->w, "ucx"))
        set_problem(&l->w, "ucx", "the receiver was started without --device");
    for (size_t i = 0, n = pool_devices(&l->w, &d); i < n; i++)
        if (d[i]->listens && !str_eq(d[i]->state, "active")) {
            AUTO_FREE char *problem = mem_printf("the receiver's RDMA device %s (%s) is %s", d[i]->name, d[i]->link_layer, d[i]->state);
            set_problem(&l->w, d[i]->transport, problem);
        }
}

/* Better now than when a sender comes. */
static bool asked_is_usable(const struct endpoint *ep)
{
    for (char *const *t = endpoint_transport_names; *t; t++)
        if (endpoint_wants(ep, *t) && !pool_transport_problem(&ep->local.w, *t))
            return true;
    return !endpoint_asked(ep);
}

static void on_local_started(struct local *l)
{
    struct endpoint *ep = container_of(l, struct endpoint, local);
    if (!asked_is_usable(ep)) {
        endpoint_finish_unusable(ep);
        return;
    }
    tell_people(ep);
    listen_next(ep);
}

static int serve(struct endpoint *ep, int fd)
{
    struct grpc_limits limits = { .connections = CONNECTIONS_MAX, .streams = STREAMS_MAX, .handshake_ns = HANDSHAKE_NS, .silent_ns = SILENT_NS };
    struct listening *ls = ep->listening;
    ls->server = grpc_server_new(&ep->loop, methods, ARRAY_LEN(methods), &limits, ep);
    return grpc_server_listen(ls->server, fd, ls->tls, "control endpoint");
}

/* Where nothing else was asked for it may turn out that this is no address of an RDMA device: then that is why verbs is passed over. */
static void offer_verbs(struct endpoint *ep, const char *host)
{
    char why[160];
    AUTO_FREE char *setting = mem_printf("rdma.listen=%s", host);
    if (!is_any(host) && listens_by(ep, "verbs"))
        conf_set(ep->conf, setting, why, sizeof(why));
}

/* ADDR:PORT, ADDR, :PORT, and PORT alone as everywhere else. Names are not looked up: which of their addresses would be meant? */
static int parse_listen(const char *text, char host[ADDR_HOST_MAX + 1], uint16_t *port, char *why, size_t why_size)
{
    union sockaddr_any at;
    bool only_port = text[strspn(text, "0123456789")] == 0;
    AUTO_FREE char *full = mem_printf("%s%s", only_port ? ":" : "", text);
    if (addr_parse_hostport(full, ADDR_PORT_DEFAULT, host, port, why, why_size) < 0)
        return -SST_EUSAGE;
    if (addr_numeric(host, *port, &at) == 0)
        return 0;
    snprintf(why, why_size, "--listen %s: '%s' must be a numeric address of this machine", text, host);
    return -SST_EUSAGE;
}

static int check_device(const struct endpoint *ep, const char *host, char *why, size_t why_size)
{
    if (!endpoint_asked(ep) || endpoint_wants(ep, "link"))
        return 0;
    if (endpoint_wants(ep, "ucx") && !ep->o->devices[0])
        snprintf(why, why_size, "with --listen ucx needs --device DEV (ib0, mlx5_0:1, lo)");
    else if (endpoint_wants(ep, "verbs") && is_any(host))
        snprintf(why, why_size, "verbs needs --listen with the address of an RDMA device ('scistreamctl devices' lists them)");
    else
        return 0;
    return -SST_EUSAGE;
}

int listen_start(struct endpoint *ep, char *why, size_t why_size)
{
    char host[ADDR_HOST_MAX + 1];
    uint16_t port, data_port = (uint16_t)ep->o->data_port;
    union sockaddr_any at, data_at;
    uint8_t random[16];
    int rc = parse_listen(ep->o->listen, host, &port, why, why_size);
    if (rc == 0)
        rc = check_device(ep, host, why, why_size);
    if (rc < 0)
        return rc;
    struct listening *ls = ep->listening = mem_zalloc(1, sizeof(*ls));
    list_init(&ls->visitors);
    ls->port = port;
    str_copy(ls->host, sizeof(ls->host), host);
    secret_random(random, sizeof(random));
    secret_hex(ls->uid, random, sizeof(random));
    ls->tls = tls_ctx_self_signed(*host ? host : "scistream", "h2", why, why_size);
    if (!ls->tls)
        return -SST_ETLS;
    int fd = open_socket(host, port, &at), link_fd = fd < 0 ? -1 : open_socket(host, data_port, &data_at);
    if (fd < 0 || link_fd < 0) {
        rc = fd < 0 ? fd : link_fd;
        snprintf(why, why_size, "cannot listen on %s, port %u: %s%s", *host ? host : "::", fd < 0 ? port : data_port, err_text(rc),
                 rc == -EADDRNOTAVAIL ? "; --listen takes an address of this machine" : "");
        fd_close(&fd);
        return rc;
    }
    rc = serve(ep, fd);
    offer_verbs(ep, host);
    ep->local.changed = on_local_changed;
    if (rc == 0)
        rc = local_start(&ep->local, &ep->loop, ep->conf, link_fd, on_local_started);
    if (rc < 0)
        snprintf(why, why_size, "cannot listen: %s", err_text(rc));
    return rc;
}

void listen_next(struct endpoint *ep) { ep->listening->busy = !ep->local.w.started; }

void listen_stop(struct endpoint *ep)
{
    struct listening *ls = ep->listening;
    if (!ls)
        return;
    list_for_each_safe(n, &ls->visitors)
        visitor_gone(&list_entry(n, struct visitor, node)->gone);
    resolve_cancel(ls->question);
    grpc_server_free(ls->server);
    tls_ctx_free(ls->tls);
    free(ls);
    ep->listening = NULL;
}
