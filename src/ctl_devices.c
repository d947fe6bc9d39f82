/* scistreamctl devices: the RDMA devices that a gateway sees, or when none runs here, what a worker of our own finds on this machine. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "ctrl/devices.h"
#include "src/core/err.h"
#include "src/core/log.h"
#include "src/scistreamctl.h"

typedef Scistream__Gateway__V1__Device Device;

/* ------------------------------------------------------------ what is shown */

enum { NAME, NETDEV, LINK, STATE, RATE, MTU, NUMA, GID, ADDRESSES, COLUMNS };
static const char *const heads[COLUMNS] = { "DEVICE", "NETDEV", "LINK", "STATE", "RATE", "MTU", "NUMA", "GID", "ADDRESSES" };

struct row { char cell[COLUMNS][200]; };

static void set(struct row *r, int column, const char *text) { str_copy(r->cell[column], sizeof(r->cell[column]), *text ? text : "-"); }

static void join_addresses(struct row *r, const Device *d)
{
    AUTO_FREE char *all = mem_strdup("");
    for (size_t i = 0; i < d->n_addresses; i++) {
        char *longer = mem_printf("%s%s%s", all, i ? " " : "", d->addresses[i]);
        free(all);
        all = longer;
    }
    AUTO_FREE char *full = mem_printf("%s%s", d->n_addresses ? all : "none", d->listens ? " (peers attach here)" : "");
    set(r, ADDRESSES, full);
}

static void fill_row(struct row *r, const Device *d)
{
    char rate[UNITS_TEXT], text[80];
    set(r, NAME, d->name);
    set(r, NETDEV, d->netdev);
    set(r, LINK, d->link_layer);
    set(r, STATE, d->state);
    set(r, RATE, d->rate ? units_human_rate(rate, (double)d->rate) : "");
    snprintf(text, sizeof(text), "%u/%u", d->mtu, d->mtu_max);
    set(r, MTU, d->mtu ? text : "");
    snprintf(text, sizeof(text), "%d", d->numa_node);
    set(r, NUMA, d->numa_node >= 0 ? text : "");
    snprintf(text, sizeof(text), "%d %.60s", d->gid_index, d->gid);
    set(r, GID, d->gid_index >= 0 ? text : "");
    join_addresses(r, d);
}

static void print_row(const struct row *r, const size_t width[COLUMNS])
{
    for (int c = 0; c < COLUMNS; c++)
        printf(c < COLUMNS - 1 ? "%-*s  " : "%*s\n", c < COLUMNS - 1 ? (int)width[c] : 0, r->cell[c]);
}

static void print_table(const DevicesReply *r)
{
    size_t width[COLUMNS] = { 0 };
    struct row *rows = mem_zalloc(r->n_devices + 1, sizeof(*rows));
    for (int c = 0; c < COLUMNS; c++)
        set(&rows[0], c, heads[c]);
    for (size_t i = 0; i < r->n_devices; i++)
        fill_row(&rows[i + 1], r->devices[i]);
    for (size_t i = 0; i <= r->n_devices; i++)
        for (int c = 0; c < COLUMNS; c++)
            width[c] = MAX(width[c], strlen(rows[i].cell[c]));
    for (size_t i = 0; i <= r->n_devices; i++)
        print_row(&rows[i], width);
    free(rows);
}

static void print_json(const DevicesReply *r, const char *socket)
{
    printf("{");
    ctl_json_text("source", socket ? "gateway" : "machine", ",");
    ctl_json_text("socket", socket, ",\"devices\":[");
    for (size_t i = 0; i < r->n_devices; i++) {
        const Device *d = r->devices[i];
        printf("%s{", i ? "," : "");
        ctl_json_text("transport", d->transport, ",");
        ctl_json_text("name", d->name, ",");
        ctl_json_text("netdev", d->netdev, ",");
        ctl_json_text("link_layer", d->link_layer, ",");
        ctl_json_text("state", d->state, ",");
        ctl_json_list("addresses", d->addresses, d->n_addresses);
        printf(",\"gid_index\":%d,", d->gid_index);
        ctl_json_text("gid", d->gid, ",");
        printf("\"numa_node\":%d,\"mtu\":%u,\"mtu_max\":%u,\"rate_bit_s\":%llu,\"listens\":%s}", d->numa_node, d->mtu, d->mtu_max,
               (unsigned long long)d->rate, d->listens ? "true" : "false");
    }
    printf("]}\n");
}

static void print_none(void)
{
    printf("There is none. An adapter needs its kernel driver (mlx5_ib, irdma, bnxt_re ...; 'rdma link' lists what the kernel has) and the\n"
           "libraries of rdma-core. Without hardware: modprobe rdma_rxe && rdma link add rxe0 type rxe netdev eth0\n");
}

/* socket: of the gateway that was asked; NULL: it is this machine. */
static void print_devices(const struct ctl_opts *o, const DevicesReply *r, const char *socket)
{
    if (o->json) {
        print_json(r, socket);
        return;
    }
    if (socket)
        printf("RDMA devices as the gateway at %s sees them\n", socket);
    else
        printf("RDMA devices of this machine (no gateway answers at %s)\n", o->socket);
    if (r->n_devices)
        print_table(r);
    else
        print_none();
}

/* ------------------------------------------------------------ of a gateway */

static int print_reply(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    DevicesReply *r = scistream__gateway__v1__devices_reply__unpack(NULL, len, data);
    if (r)
        print_devices(o, r, *o->gateway ? o->gateway : o->socket);
    devices_free(r);
    return r ? 0 : 76;
}

/* Nobody listens there, as opposed to one that we may not ask. */
static bool nobody_at(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || !str_copy(a.sun_path, sizeof(a.sun_path), path))
        return false;
    return connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 && (errno == ENOENT || errno == ECONNREFUSED);
}

/* ------------------------------------------------------------ of this machine */

struct look { struct local local; struct loop loop; const struct ctl_opts *o; };

static void on_started(struct local *l)
{
    struct look *k = container_of(l, struct look, local);
    const char *problem = pool_transport_problem(&l->w, "verbs"), *not_built = pool_transport_problem(&l->w, "");
    DevicesReply *r = devices_new();
    devices_add(r, &l->w);
    print_devices(k->o, r, NULL);
    if (problem && !k->o->json && (r->n_devices || problem == not_built))
        printf("verbs cannot be used here: %s\n", problem);
    devices_free(r);
    loop_stop(&k->loop);
}

static int look_here(const struct ctl_opts *o)
{
    struct look k = { .o = o };
    struct conf *conf = conf_new();
    log_setup("scistreamctl", o->e.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, LOG_TARGET_STDERR, LOG_FORMAT_TEXT);
    int rc = loop_init(&k.loop);
    if (rc == 0)
        rc = local_start(&k.local, &k.loop, conf, -1, on_started);
    if (rc == 0)
        loop_run(&k.loop);
    else
        fprintf(stderr, "scistreamctl: cannot look at the devices: %s\n", err_text(rc));
    local_stop(&k.local);
    loop_fini(&k.loop);
    conf_free(conf);
    return err_exit(rc);
}

int ctl_devices(struct ctl_opts *o, int argc UNUSED, char **argv UNUSED)
{
    Scistream__Gateway__V1__DevicesRequest q = SCISTREAM__GATEWAY__V1__DEVICES_REQUEST__INIT;
    if (!o->socket_given && !*o->gateway && nobody_at(o->socket))
        return look_here(o);
    return ctl_call(o, "/scistream.gateway.v1.Gateway/Devices", &q.base, print_reply);
}
