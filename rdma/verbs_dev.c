/* Which ports there are, and by which addresses rdma_cm finds them. A port may be found by several addresses, or by none: then it is
 * shown, but no connection can use it.
 *
 * The addresses are those of the interface that shares the port's GID: on RoCE the GID is the address itself, on iWARP it begins with the
 * interface's hardware address, on InfiniBand the hardware address of an IPoIB interface ends with it. rdma_cm is not asked: it would keep
 * every device open that it was asked about, and some drivers cannot be removed then. A device that cannot be opened (its file in
 * /dev/infiniband is not ours to use) is shown with that state.
 */
#include "rdma/verbs_dev.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <infiniband/verbs.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <stddef.h>
#include <stdio.h>

#include "src/core/addr.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/core/units.h"

#define PORTS_MAX 64     /* of all devices; control takes no more */
#define PLACES_MAX 64
#define GIDS_MAX 256

static const char transport[] = "verbs";

/* An address of this machine, as it may be found in a GID. */
struct place {
    char netdev[IF_NAMESIZE], text[ADDR_TEXT];
    union ibv_gid gid;            /* as RoCE writes it: IPv4 mapped into IPv6 */
    uint8_t hardware[20];         /* of the interface: 6 bytes of Ethernet, 20 of IPoIB */
    unsigned n_hardware;
};

struct places { struct place p[PLACES_MAX]; size_t n; };

/* ------------------------------------------------------------ addresses */

static bool worth_trying(const struct ifaddrs *a)
{
    const union sockaddr_any *at = (const void *)a->ifa_addr;
    if (!at || (a->ifa_flags & IFF_LOOPBACK))
        return false;
    return at->sa.sa_family == AF_INET || (at->sa.sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&at->in6.sin6_addr));
}

static void gid_of(const union sockaddr_any *at, union ibv_gid *gid)
{
    memset(gid, 0, sizeof(*gid));
    if (at->sa.sa_family == AF_INET6) {
        memcpy(gid->raw, &at->in6.sin6_addr, 16);
        return;
    }
    gid->raw[10] = gid->raw[11] = 0xff;
    memcpy(gid->raw + 12, &at->in.sin_addr, 4);
}

static void find_hardware(const struct ifaddrs *addrs, struct place *p)
{
    for (const struct ifaddrs *a = addrs; a; a = a->ifa_next) {
        const struct sockaddr_ll *ll = (const void *)a->ifa_addr;
        if (!ll || ll->sll_family != AF_PACKET || !str_eq(a->ifa_name, p->netdev) || ll->sll_halen > sizeof(p->hardware))
            continue;
        p->n_hardware = ll->sll_halen;
        memcpy(p->hardware, (const uint8_t *)ll + offsetof(struct sockaddr_ll, sll_addr), ll->sll_halen); /* longer than declared on IPoIB */
    }
}

static void find_places(struct places *all)
{
    struct ifaddrs *addrs;
    all->n = 0;
    if (getifaddrs(&addrs) < 0)
        return;
    for (const struct ifaddrs *a = addrs; a && all->n < PLACES_MAX; a = a->ifa_next) {
        if (!worth_trying(a))
            continue;
        struct place *p = &all->p[all->n++];
        *p = (struct place){ .n_hardware = 0 };
        str_copy(p->netdev, sizeof(p->netdev), a->ifa_name);
        addr_format_host((const void *)a->ifa_addr, p->text);
        gid_of((const void *)a->ifa_addr, &p->gid);
        find_hardware(addrs, p);
    }
    freeifaddrs(addrs);
}

/* ------------------------------------------------------------ one port */

struct port {
    struct ibv_context *verbs;
    const char *name;
    unsigned number;
    const struct places *places;
    struct ibv_gid_entry gids[GIDS_MAX];
    size_t n_gids;
};

static bool has_gid(const struct place *at, const union ibv_gid *gid, enum ibv_gid_type type, bool iwarp)
{
    if (iwarp)
        return at->n_hardware == 6 && memcmp(at->hardware, gid->raw, 6) == 0;
    if (type == IBV_GID_TYPE_IB)
        return at->n_hardware == 20 && memcmp(at->hardware + 4, gid->raw, 16) == 0;
    return memcmp(&at->gid, gid, sizeof(*gid)) == 0;
}

static bool is_at(const struct port *p, const struct place *at)
{
    bool iwarp = p->verbs->device->transport_type == IBV_TRANSPORT_IWARP;
    for (size_t i = 0; i < p->n_gids; i++)
        if (has_gid(at, &p->gids[i].gid, (enum ibv_gid_type)p->gids[i].gid_type, iwarp))
            return true;
    return false;
}

static const char *state_name(enum ibv_port_state s)
{
    static const char *const names[] = {
        [IBV_PORT_NOP] = "unknown", [IBV_PORT_DOWN] = "down",     [IBV_PORT_INIT] = "initializing",
        [IBV_PORT_ARMED] = "armed", [IBV_PORT_ACTIVE] = "active", [IBV_PORT_ACTIVE_DEFER] = "deferred",
    };
    return (size_t)s < ARRAY_LEN(names) ? names[s] : "unknown";
}

/* Nominal, as vendors write it on the box: both numbers are bit masks with one bit set. */
static uint64_t rate_of(const struct ibv_port_attr *a)
{
    static const struct { unsigned code; uint64_t mbit; } speeds[] = {
        { 1, 2500 }, { 2, 5000 }, { 4, 10000 }, { 8, 10000 }, { 16, 14000 }, { 32, 25000 }, { 64, 50000 }, { 128, 100000 },
    };
    static const struct { unsigned code, lanes; } widths[] = { { 1, 1 }, { 2, 4 }, { 4, 8 }, { 8, 12 }, { 16, 2 } };
    for (size_t s = 0; s < ARRAY_LEN(speeds); s++)
        for (size_t w = 0; w < ARRAY_LEN(widths); w++)
            if (speeds[s].code == a->active_speed && widths[w].code == a->active_width)
                return speeds[s].mbit * widths[w].lanes * 1000000;
    return 0;
}

static unsigned mtu_bytes(enum ibv_mtu mtu) { return mtu >= IBV_MTU_256 && mtu <= IBV_MTU_4096 ? 128U << mtu : 0; }

int verbs_dev_numa(const struct ibv_device *device)
{
    int node = -1;
    AUTO_FREE char *path = mem_printf("%s/device/numa_node", device->ibdev_path);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%d", &node) != 1)
        node = -1;
    if (f)
        fclose(f);
    return node;
}

static void read_gids(struct port *p)
{
    struct ibv_gid_entry all[GIDS_MAX];
    ssize_t n = ibv_query_gid_table(p->verbs, all, GIDS_MAX, 0);
    p->n_gids = 0;
    for (ssize_t i = 0; i < n; i++)
        if (all[i].port_num == p->number)
            p->gids[p->n_gids++] = all[i];
}

/* That of one of its addresses before another, RoCE v2 before v1, then the first. NULL: it has none. */
static const struct ibv_gid_entry *best_gid(const struct port *p)
{
    const struct ibv_gid_entry *best = NULL;
    int best_worth = -1;
    for (size_t i = 0; i < p->n_gids; i++) {
        int worth = p->gids[i].gid_type == IBV_GID_TYPE_ROCE_V2;
        for (size_t k = 0; k < p->places->n; k++)
            if (has_gid(&p->places->p[k], &p->gids[i].gid, (enum ibv_gid_type)p->gids[i].gid_type, false))
                worth |= 2;
        if (worth > best_worth) {
            best_worth = worth;
            best = &p->gids[i];
        }
    }
    return best;
}

static const char *link_layer(const struct port *p, const struct ibv_port_attr *a, const struct ibv_gid_entry *gid)
{
    if (p->verbs->device->transport_type == IBV_TRANSPORT_IWARP)
        return "iWARP";
    if (a->link_layer != IBV_LINK_LAYER_ETHERNET)
        return "InfiniBand";
    return gid && gid->gid_type == IBV_GID_TYPE_ROCE_V1 ? "RoCE v1" : "RoCE v2";
}

static void set_gid(struct xport_device *d, const struct ibv_gid_entry *gid)
{
    inet_ntop(AF_INET6, gid->gid.raw, d->gid, sizeof(d->gid));
    d->gid_index = (int)gid->gid_index;
}

static void add_addresses(struct xport_device *d, const struct port *p)
{
    for (size_t i = 0; i < p->places->n; i++) {
        const struct place *at = &p->places->p[i];
        size_t n = strlen(d->addresses);
        if (!is_at(p, at) || n + strlen(at->text) + 2 > sizeof(d->addresses))
            continue;
        snprintf(d->addresses + n, sizeof(d->addresses) - n, "%s%s", n ? " " : "", at->text);
        if (!*d->netdev)
            str_copy(d->netdev, sizeof(d->netdev), at->netdev);
    }
}

static void describe(struct xport_device *d, struct port *p, const struct ibv_port_attr *a)
{
    char name[IF_NAMESIZE];
    read_gids(p);
    const struct ibv_gid_entry *gid = best_gid(p);
    add_addresses(d, p);
    str_copy(d->link_layer, sizeof(d->link_layer), link_layer(p, a, gid));
    str_copy(d->state, sizeof(d->state), state_name(a->state));
    d->mtu = mtu_bytes(a->active_mtu);
    d->mtu_max = mtu_bytes(a->max_mtu);
    d->rate = rate_of(a);
    if (gid && !*d->netdev && gid->ndev_ifindex && if_indextoname(gid->ndev_ifindex, name))
        str_copy(d->netdev, sizeof(d->netdev), name);
    if (gid && p->verbs->device->transport_type != IBV_TRANSPORT_IWARP) /* which has no use for one */
        set_gid(d, gid);
}

static struct xport_device *new_row(struct xport_env *env, const struct ibv_device *device, const char *name)
{
    struct xport_device *d = mem_zalloc(1, sizeof(*d));
    d->transport = transport;
    d->gid_index = -1;
    d->numa_node = verbs_dev_numa(device);
    str_copy(d->name, sizeof(d->name), name);
    list_add_tail(&env->devices, &d->node);
    return d;
}

/* How many rows it got, at most max. */
static unsigned scan_device(struct xport_env *env, struct ibv_device *device, const struct places *places, unsigned max)
{
    struct ibv_device_attr attr;
    struct ibv_port_attr port_attr;
    struct port p = { .verbs = ibv_open_device(device), .name = ibv_get_device_name(device), .places = places };
    unsigned n = p.verbs && ibv_query_device(p.verbs, &attr) == 0 ? MIN(attr.phys_port_cnt, max) : 0;
    if (n == 0)
        str_copy(new_row(env, device, p.name)->state, sizeof(((struct xport_device *)0)->state), "no access");
    for (p.number = 1; p.number <= n; p.number++) {
        AUTO_FREE char *name = mem_printf("%s:%u", p.name, p.number);
        struct xport_device *d = new_row(env, device, name);
        memset(&port_attr, 0, sizeof(port_attr));
        if (ibv_query_port(p.verbs, (uint8_t)p.number, &port_attr) == 0)
            describe(d, &p, &port_attr);
        else
            str_copy(d->state, sizeof(d->state), "unknown");
    }
    if (p.verbs)
        ibv_close_device(p.verbs);
    return MAX(n, 1);
}

/* ------------------------------------------------------------ all of them */

#define for_each_row(d, list) \
    list_for_each(d##_, list) \
        for (struct xport_device *d = list_entry(d##_, struct xport_device, node); d; d = NULL)

static void take_old(struct list *rows, struct list *old)
{
    list_init(old);
    list_for_each_safe(n, rows) {
        if (list_entry(n, struct xport_device, node)->transport != transport)
            continue;
        list_del(n);
        list_add_tail(old, n);
    }
}

static bool told_before(const struct list *old, const struct xport_device *d)
{
    for_each_row(o, old)
        if (str_eq(o->name, d->name) && str_eq(o->state, d->state) && str_eq(o->addresses, d->addresses))
            return true;
    return false;
}

static void tell(const struct xport_device *d)
{
    char rate[UNITS_TEXT], node[16] = "unknown", gid[80] = "none";
    if (d->numa_node >= 0)
        snprintf(node, sizeof(node), "%d", d->numa_node);
    if (d->gid_index >= 0)
        snprintf(gid, sizeof(gid), "%d (%s)", d->gid_index, d->gid);
    log_info("RDMA device %s: %s, %s, on %s with %s, %s, MTU %u of %u, GID %s, NUMA node %s", d->name,
             *d->link_layer ? d->link_layer : "unknown link", d->state, *d->netdev ? d->netdev : "no interface", *d->addresses ? d->addresses : "no address",
             units_human_rate(rate, (double)d->rate), d->mtu, d->mtu_max, gid, node);
}

struct xport_device *verbs_dev_find(const struct xport_env *env, const struct rdma_cm_id *id)
{
    AUTO_FREE char *name = id && id->verbs ? mem_printf("%s:%u", ibv_get_device_name(id->verbs->device), id->port_num) : NULL;
    for_each_row(d, &env->devices)
        if (name && d->transport == transport && str_eq(d->name, name))
            return d;
    return NULL;
}

void verbs_dev_scan(struct xport_env *env, const struct rdma_cm_id *listener)
{
    int n = 0;
    unsigned ports = 0;
    struct places places = { .n = 0 };
    struct ibv_device **all = ibv_get_device_list(&n);
    struct list old, *row;
    take_old(&env->devices, &old);
    if (n > 0)
        find_places(&places);
    for (int i = 0; i < n && ports < PORTS_MAX; i++)
        ports += scan_device(env, all[i], &places, PORTS_MAX - ports);
    if (all)
        ibv_free_device_list(all);
    struct xport_device *at = verbs_dev_find(env, listener);
    if (at)
        at->listens = true;
    for_each_row(d, &env->devices)
        if (env->index == 0 && d->transport == transport && !told_before(&old, d))
            tell(d);
    while ((row = list_pop(&old)))
        free(list_entry(row, struct xport_device, node));
}

/* ------------------------------------------------------------ is one of use? */

static bool is_active(const struct xport_device *d) { return str_eq(d->state, "active"); }

static bool any_port(const struct xport_env *env)
{
    for_each_row(d, &env->devices)
        if (d->transport == transport)
            return true;
    return false;
}

static const char *what_lacks(const struct xport_device *d)
{
    if (!is_active(d) || *d->addresses)
        return "";
    return str_eq(d->link_layer, "InfiniBand") ? ", no address: rdma_cm needs an IPoIB address" : ", no address: its interface needs one";
}

int verbs_dev_check(const struct xport_env *env, char *why, size_t size)
{
    size_t at = 0;
    if (!any_port(env)) {
        snprintf(why, size, "this machine has no RDMA device ('rdma link' lists them)");
        return -SST_EDEVICE;
    }
    for_each_row(d, &env->devices) {
        if (d->transport != transport)
            continue;
        if (is_active(d) && *d->addresses)
            return 0;
        if (at < size)
            at += (size_t)snprintf(why + at, size - at, "%s%s (%s%s%s%s)",
                                   at ? ", " : "no RDMA device has an active port with an address; looked at ", d->name, d->link_layer, *d->link_layer ? ", " : "", d->state, what_lacks(d));
    }
    return -SST_EDEVICE;
}
