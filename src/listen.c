/* Direct mode: scistream-recv --listen serves the Attach that scistream-send direct://HOST:PORT opens; no gateway between.
 *
 * Happy path: control endpoint with a certificate made now -> prints the sender's command -> Attach with role SEND and a right proof
 * -> the hop of the endpoint serves it like any other. One stream at a time: others are told "busy".
 */
#include <stdio.h>
#include <sys/socket.h>

#include "config.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/endpoint.h"
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

/* The visitor's conversation becomes the endpoint's hop: everything from here on is as in an attach of our own. */
static void adopt(struct visitor *v, const Offer *o)
{
    struct endpoint *ep = v->ep;
    char why[ATTACH_WHY];
    static char ucx[] = "ucx", link[] = "link";
    char *ours[3];
    size_t n = 0;
    if (endpoint_wants(ep, ucx))
        ours[n++] = ucx;
    if (endpoint_wants(ep, link))
        ours[n++] = link;
    ours[n] = NULL;
    const char *transport = hop_choose(&v->h, o, ours, &ep->local.w, why, sizeof(why));
    int rc = transport ? endpoint_open_channel(ep) : -SST_ENOTRANSPORT;
    if (rc < 0) {
        send_away(v, rc, transport ? err_text(rc) : why);
        return;
    }
    ep->listening->busy = true;
    ep->state = EP_OPENING;
    ep->start_ns = now_ns();
    ep->size_hint = o->size_hint;
    hop_move(&ep->hop, &v->h, endpoint_hop_events(), ep);
    ep->hop.secret = &ep->secret;
    str_copy(ep->hop.give.uid, sizeof(ep->hop.give.uid), ep->listening->uid);
    str_copy(ep->uid, sizeof(ep->uid), ep->listening->uid);
    ep->hop.give.channel = ep->channel_number = ep->served++;
    ep->hop.give.plain = ep->o->plaintext;
    ep->hop.give.cipher = "aes-256-gcm";
    ep->hop.give.gateway = "direct";
    ep->hop.give.advertise = "";
    hop_answer(&ep->hop, &ep->local.w, &ep->pc, SCISTREAM__WORKER__SIDE__SOURCE, transport);
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

static void print_command(const struct endpoint *ep, const char *host, uint16_t port)
{
    char pin[TLS_PIN_TEXT], name[256] = "";
    bool any = !*host || str_eq(host, "::") || str_eq(host, "0.0.0.0");
    if (any)
        gethostname(name, sizeof(name) - 1);
    tls_ctx_pin(ep->listening->tls, pin);
    endpoint_say(ep, "listening; on the sending machine run:");
    fprintf(stderr, "  scistream-send --secret-file %s --pin %s direct://%s%s%s:%u FILE\n", ep->o->secret_file, pin,
            strchr(any ? name : host, ':') ? "[" : "", any ? name : host, strchr(any ? name : host, ':') ? "]" : "", port);
}

static void on_local_started(struct local *l)
{
    struct endpoint *ep = container_of(l, struct endpoint, local);
    listen_next(ep);
}

static int serve(struct endpoint *ep, int fd)
{
    struct grpc_limits limits = { .connections = CONNECTIONS_MAX, .streams = STREAMS_MAX, .handshake_ns = HANDSHAKE_NS, .silent_ns = SILENT_NS };
    struct listening *ls = ep->listening;
    ls->server = grpc_server_new(&ep->loop, methods, ARRAY_LEN(methods), &limits, ep);
    return grpc_server_listen(ls->server, fd, ls->tls, "control endpoint");
}

int listen_start(struct endpoint *ep, char *why, size_t why_size)
{
    char host[ADDR_HOST_MAX + 1];
    uint16_t port, data_port = (uint16_t)ep->o->data_port;
    union sockaddr_any at, data_at;
    uint8_t random[16];
    int rc = addr_parse_hostport(ep->o->listen, ADDR_PORT_DEFAULT, host, &port, why, why_size);
    if (rc < 0)
        return -SST_EUSAGE;
    struct listening *ls = ep->listening = mem_zalloc(1, sizeof(*ls));
    list_init(&ls->visitors);
    secret_random(random, sizeof(random));
    secret_hex(ls->uid, random, sizeof(random));
    ls->tls = tls_ctx_self_signed(*host ? host : "scistream", "h2", why, why_size);
    if (!ls->tls)
        return -SST_ETLS;
    int fd = open_socket(host, port, &at), link_fd = fd < 0 ? -1 : open_socket(host, data_port, &data_at);
    if (fd < 0 || link_fd < 0) {
        rc = fd < 0 ? fd : link_fd;
        rc = rc == -EINVAL ? -SST_EUSAGE : rc;
        snprintf(why, why_size, "cannot listen on %s, port %u: %s; --listen takes a numeric address of this machine", *host ? host : "::",
                 fd < 0 ? port : data_port, err_text(rc));
        fd_close(&fd);
        return rc;
    }
    rc = serve(ep, fd);
    if (rc == 0)
        rc = local_start(&ep->local, &ep->loop, ep->conf, link_fd, on_local_started);
    if (rc < 0)
        snprintf(why, why_size, "cannot listen: %s", err_text(rc));
    else
        print_command(ep, host, port);
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
    grpc_server_free(ls->server);
    tls_ctx_free(ls->tls);
    free(ls);
    ep->listening = NULL;
}
