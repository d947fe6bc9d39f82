#include "ctrl/devices.h"

typedef Scistream__Gateway__V1__Device DeviceMsg;

DevicesReply *devices_new(void)
{
    DevicesReply *r = mem_zalloc(1, sizeof(*r));
    scistream__gateway__v1__devices_reply__init(r);
    return r;
}

static DeviceMsg *find(const DevicesReply *r, const Scistream__Worker__Device *d)
{
    for (size_t i = 0; i < r->n_devices; i++)
        if (str_eq(r->devices[i]->name, d->name) && str_eq(r->devices[i]->transport, d->transport))
            return r->devices[i];
    return NULL;
}

/* The messages of both protocols have the same fields. */
static DeviceMsg *copy(const Scistream__Worker__Device *d)
{
    size_t n = scistream__worker__device__get_packed_size(d);
    AUTO_FREE uint8_t *data = mem_zalloc(1, n + 1);
    scistream__worker__device__pack(d, data);
    return scistream__gateway__v1__device__unpack(NULL, n, data);
}

void devices_add(DevicesReply *r, const struct pool_worker *w)
{
    Scistream__Worker__Device *const *d;
    size_t n = pool_devices(w, &d);
    DeviceMsg **all = mem_zalloc(r->n_devices + n + 1, sizeof(DeviceMsg *));
    for (size_t i = 0; i < r->n_devices; i++)
        all[i] = r->devices[i];
    free(r->devices);
    r->devices = all;
    for (size_t i = 0; i < n; i++) {
        DeviceMsg *known = find(r, d[i]), *m = known ? NULL : copy(d[i]);
        if (known)
            known->listens |= d[i]->listens;
        else if (m)
            r->devices[r->n_devices++] = m;
    }
}

void devices_free(DevicesReply *r) { scistream__gateway__v1__devices_reply__free_unpacked(r, NULL); }
