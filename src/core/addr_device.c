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

/* The interface that sits on an InfiniBand device: sysfs lists it below device/net. */
static void interface_of(const char *device, char out[IF_NAMESIZE])
{
    size_t n = strcspn(device, ":");
    str_copy(out, IF_NAMESIZE, device);
    if (device[n] == 0)
        return;
    AUTO_FREE char *path = mem_printf("/sys/class/infiniband/%.*s/device/net", (int)n, device);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.')
            str_copy(out, IF_NAMESIZE, e->d_name);
    if (d)
        closedir(d);
}

int addr_of_device(const char *device, uint16_t port, union sockaddr_any *out)
{
    static const int families[] = { AF_INET, AF_INET6 };
    char name[IF_NAMESIZE];
    struct ifaddrs *all;
    int rc = -ENODEV;
    interface_of(device, name);
    if (getifaddrs(&all) < 0)
        return -ENODEV;
    for (size_t f = 0; rc < 0 && f < ARRAY_LEN(families); f++)
        for (const struct ifaddrs *a = all; rc < 0 && a; a = a->ifa_next)
            if (str_eq(a->ifa_name, name) && usable(a->ifa_addr, families[f])) {
                take(a->ifa_addr, port, out);
                rc = 0;
            }
    freeifaddrs(all);
    return rc;
}

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
