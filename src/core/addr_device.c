/* Network interfaces and InfiniBand ports to addresses and back. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>

#include "src/core/addr.h"

static bool usable(const struct sockaddr *sa, int family)
{
    if (!sa || sa->sa_family != family)
        return false;
    return family == AF_INET || !IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr);
}

static void take(const struct sockaddr *sa, uint16_t port, union sockaddr_any *out)
{
    memset(out, 0, sizeof(*out));
    memcpy(out, sa, sa->sa_family == AF_INET ? sizeof(out->in) : sizeof(out->in6));
    if (sa->sa_family == AF_INET)
        out->in.sin_port = htons(port);
    else
        out->in6.sin6_port = htons(port);
}

/* ------------------------------------------------------------ the network interfaces of a device */

#define INTERFACES_MAX 16
#define GIDS_MAX 256

struct interfaces { char name[INTERFACES_MAX][IF_NAMESIZE]; unsigned n; };

static void add_interface(struct interfaces *all, const char *name)
{
    for (unsigned i = 0; i < all->n; i++)
        if (str_eq(all->name[i], name))
            return;
    if (*name && all->n < INTERFACES_MAX)
        str_copy(all->name[all->n++], IF_NAMESIZE, name);
}

/* The first word of a file of sysfs; -errno. */
static int read_word(char *path, char *out, size_t size)
{
    AUTO_FREE char *own = path;
    FILE *f = fopen(own, "re");
    if (!f)
        return -errno;
    bool got = fgets(out, (int)size, f) != NULL;
    int rc = got ? 0 : -EINVAL; /* an entry that is not in use */
    fclose(f);
    if (got)
        out[strcspn(out, " \n")] = 0;
    return rc;
}

static unsigned long read_number(char *path)
{
    char text[32];
    return read_word(path, text, sizeof(text)) == 0 ? strtoul(text, NULL, 0) : 0;
}

/* RoCE: each GID of a port belongs to an interface. */
static void add_of_gids(struct interfaces *all, const char *device, size_t n, const char *port)
{
    char name[IF_NAMESIZE];
    int rc = 0;
    for (int i = 0; i < GIDS_MAX && rc != -ENOENT; i++) {
        rc = read_word(mem_printf("/sys/class/infiniband/%.*s/ports/%s/gid_attrs/ndevs/%d", (int)n, device, port, i), name, sizeof(name));
        if (rc == 0)
            add_interface(all, name);
    }
}

/* IPoIB: interfaces of the same PCI function, which know the port they are on. */
static void add_of_function(struct interfaces *all, const char *device, size_t n, const char *port)
{
    AUTO_FREE char *path = mem_printf("/sys/class/infiniband/%.*s/device/net", (int)n, device);
    unsigned long wanted = strtoul(port, NULL, 10);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        unsigned long id = read_number(mem_printf("/sys/class/net/%s/dev_id", e->d_name));
        unsigned long index = read_number(mem_printf("/sys/class/net/%s/dev_port", e->d_name));
        if (MAX(id, index) + 1 == wanted)
            add_interface(all, e->d_name);
    }
    if (d)
        closedir(d);
}

/* "ib0" is one itself, "mlx5_0:1" is an InfiniBand or RoCE port. */
static void interfaces_of(const char *device, struct interfaces *all)
{
    size_t n = strcspn(device, ":");
    all->n = 0;
    if (device[n] == 0) {
        add_interface(all, device);
        return;
    }
    add_of_gids(all, device, n, device + n + 1);
    add_of_function(all, device, n, device + n + 1);
}

static int address_of(const struct ifaddrs *all, const char *name, uint16_t port, union sockaddr_any *out)
{
    static const int families[] = { AF_INET, AF_INET6 };
    for (size_t f = 0; f < ARRAY_LEN(families); f++)
        for (const struct ifaddrs *a = all; a; a = a->ifa_next)
            if (str_eq(a->ifa_name, name) && usable(a->ifa_addr, families[f])) {
                take(a->ifa_addr, port, out);
                return 0;
            }
    return -ENODEV;
}

int addr_of_device(const char *device, uint16_t port, union sockaddr_any *out)
{
    struct interfaces on;
    struct ifaddrs *all;
    int rc = -ENODEV;
    if (getifaddrs(&all) < 0)
        return -ENODEV;
    interfaces_of(device, &on);
    for (unsigned i = 0; rc < 0 && i < on.n; i++)
        rc = address_of(all, on.name[i], port, out);
    freeifaddrs(all);
    return rc;
}

/* ------------------------------------------------------------ the device of an address */

static bool same_host(const struct sockaddr *sa, const union sockaddr_any *b)
{
    union sockaddr_any a;
    if (!sa || sa->sa_family != b->sa.sa_family || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6))
        return false;
    take(sa, 0, &a);
    return a.sa.sa_family == AF_INET ? a.in.sin_addr.s_addr == b->in.sin_addr.s_addr
                                     : IN6_ARE_ADDR_EQUAL(&a.in6.sin6_addr, &b->in6.sin6_addr);
}

/* A socket that listens on "::" reports IPv4 addresses as v4-mapped: ::ffff:10.0.0.5 is 10.0.0.5. */
static union sockaddr_any unmapped(const union sockaddr_any *a)
{
    union sockaddr_any out = *a;
    if (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
        memset(&out, 0, sizeof(out));
        out.in.sin_family = AF_INET;
        memcpy(&out.in.sin_addr, &a->in6.sin6_addr.s6_addr[12], 4);
    }
    return out;
}

int addr_device_of(const union sockaddr_any *a, char *out, size_t size)
{
    union sockaddr_any plain = unmapped(a);
    struct ifaddrs *all;
    int rc = -ENODEV;
    if (getifaddrs(&all) < 0)
        return rc;
    for (const struct ifaddrs *i = all; rc < 0 && i; i = i->ifa_next)
        if (same_host(i->ifa_addr, &plain)) {
            str_copy(out, size, i->ifa_name);
            rc = 0;
        }
    freeifaddrs(all);
    return rc;
}
