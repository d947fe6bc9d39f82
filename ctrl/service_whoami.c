/* Gateway.Whoami: who the caller is for this gateway, until when, and what its policies let him do. Whoever is known may ask. */
#include "ctrl/service.h"

enum { BEST_EFFORT = 1, PROVISIONED = 2 }; /* policy_row.classes */

typedef Scistream__Gateway__V1__WhoamiReply WhoamiReply;
typedef Scistream__Gateway__V1__Permission Permission;

static char *unconst(const char *s) { return (char *)(uintptr_t)s; } /* protobuf-c's strings are not const */

static void fill_permission(Permission *m, enum policy_role role, const struct policy_row *row)
{
    scistream__gateway__v1__permission__init(m);
    m->role = unconst(policy_role_name(role));
    m->best_effort = !row || row->classes & BEST_EFFORT;
    m->provisioned = !row || row->classes & PROVISIONED;
    if (!row)
        return;
    m->policy = row->name;
    m->sessions = row->sessions;
    m->channels = row->channels;
    m->rate = row->rate;
    m->lifetime_s = row->lifetime_ns == TIME_FOREVER ? 0 : row->lifetime_ns / NS_PER_S;
}

static const char *arranges(const struct service *s)
{
    if (!s->conf->scistream.enable)
        return "";
    return s->conf->scistream.auth == CONF_AUTH_NONE ? "none" : "policy";
}

static void run_whoami(struct grpc_call *c, const struct caller *who, const uint8_t *data UNUSED, size_t len UNUSED)
{
    const struct service *s = grpc_server_user(c);
    WhoamiReply r = SCISTREAM__GATEWAY__V1__WHOAMI_REPLY__INIT;
    Permission all[ROLE_COUNT], *pointers[ROLE_COUNT];
    r.principal = unconst(who->principal);
    r.how = unconst(caller_how_name(who->how));
    r.expires_s = (uint64_t)MAX(who->expires, 0);
    r.arranges = unconst(arranges(s));
    r.permissions = pointers;
    who_audit(who, "", "Whoami", "", NULL);
    for (int role = 0; role < ROLE_COUNT; role++) {
        const struct policy_row *row = policy_row(who_policy(s->who), who, role);
        const struct demand d = { .role = role, .provisioned = row && !(row->classes & BEST_EFFORT) };
        if (policy_judge(who_policy(s->who), who, &d, NULL, 0) < 0)
            continue;
        fill_permission(&all[r.n_permissions], role, row);
        pointers[r.n_permissions] = &all[r.n_permissions];
        r.n_permissions++;
    }
    service_reply(c, &r.base);
}

static void on_whoami(struct grpc_call *c, const uint8_t *data, size_t len)
{
    static const struct service_admin_call what = { .name = "Whoami", .looks = true, .audience = SERVICE_ANYBODY, .run = run_whoami };
    service_allow(c, &what, data, len);
}

const struct grpc_handlers service_whoami_handlers = { .message = on_whoami, .closed = service_gone };
