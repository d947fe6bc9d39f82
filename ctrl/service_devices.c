/* Gateway.Devices, and the counters of the workers for Gateway.Info: what only administrators are shown of the machine. */
#include "ctrl/devices.h"
#include "ctrl/service.h"

typedef Scistream__Gateway__V1__WorkerState WorkerMsg;

static void reply_devices(struct grpc_call *c)
{
    const struct service *s = grpc_server_user(c);
    DevicesReply *r = devices_new();
    for (unsigned i = 0; i < pool_size(s->pool); i++)
        if (pool_at(s->pool, i)->started)
            devices_add(r, pool_at(s->pool, i));
    service_reply(c, &r->base);
    devices_free(r);
}

static void run_devices(struct grpc_call *c, const struct caller *who UNUSED, const uint8_t *data, size_t len)
{
    Scistream__Gateway__V1__DevicesRequest *q = scistream__gateway__v1__devices_request__unpack(NULL, len, data);
    if (!q)
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "DevicesRequest cannot be read");
    else
        reply_devices(c);
    scistream__gateway__v1__devices_request__free_unpacked(q, NULL);
}

static void on_devices(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Devices", .looks = true, .run = run_devices };
    service_allow(c, &what, data, len);
}

const struct grpc_handlers service_devices_handlers = { .message = on_devices, .closed = service_gone };

/* ------------------------------------------------------------ counters of the workers */

static WorkerMsg *worker_message(const struct pool_worker *w)
{
    WorkerMsg *m = mem_zalloc(1, sizeof(*m));
    scistream__gateway__v1__worker_state__init(m);
    m->index = w->index;
    m->channels = stats_get(&w->stats->channels);
    m->turns = stats_get(&w->stats->turns);
    m->copied_bytes = stats_get(&w->stats->copied_bytes);
    m->work_requests = stats_get(&w->stats->work_requests);
    m->posts = stats_get(&w->stats->posts);
    m->completions = stats_get(&w->stats->completions);
    m->completion_events = stats_get(&w->stats->completion_events);
    return m;
}

void service_add_workers(Scistream__Gateway__V1__InfoReply *r, struct pool *p)
{
    r->worker_states = mem_zalloc(pool_size(p), sizeof(*r->worker_states));
    for (unsigned i = 0; i < pool_size(p); i++)
        if (pool_at(p, i)->started)
            r->worker_states[r->n_worker_states++] = worker_message(pool_at(p, i));
}

void service_free_workers(Scistream__Gateway__V1__InfoReply *r)
{
    for (size_t i = 0; i < r->n_worker_states; i++)
        free(r->worker_states[i]);
    free(r->worker_states);
}
