/* Gateway.Whoami: who the caller is for this gateway, until when, and what its policies let him do. Whoever is known may ask.
 *
 * Happy path: message -> who_ask -> reply, at once or when the introspection server has answered. What fails: nobody knows him, and the call ends with what
 * who_ask says; the call goes away meanwhile.
 */
#include "ctrl/service.h"

enum { BEST_EFFORT = 1, PROVISIONED = 2 }; /* policy_row.classes */

typedef Scistream__Gateway__V1__WhoamiReply WhoamiReply;
typedef Scistream__Gateway__V1__Permission Permission;

struct asking_who { struct grpc_call *call; struct who_asking *who; };

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

static void reply_whoami(struct grpc_call *c, const struct caller *who)
{
    const struct service *s = grpc_server_user(c);
    WhoamiReply r = SCISTREAM__GATEWAY__V1__WHOAMI_REPLY__INIT;
    Permission all[ROLE_COUNT], *pointers[ROLE_COUNT];
    r.principal = unconst(who->principal);
    r.how = unconst(caller_how_name(who->how));
    r.expires_s = (uint64_t)MAX(who->expires, 0);
    r.arranges = unconst(arranges(s));
    r.permissions = pointers;
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

static void told(void *user, const struct caller *who, enum grpc_status refused, const char *text)
{
    struct asking_who *a = user;
    a->who = NULL;
    if (who) {
        who_audit(who, "", "Whoami", "", NULL);
        reply_whoami(a->call, who);
    } else {
        who_audit(NULL, grpc_conn_peer(grpc_call_conn(a->call)), "Whoami", "", text);
        grpc_finish(a->call, refused, text);
    }
}

static void on_message(struct grpc_call *c, const uint8_t *data UNUSED, size_t len UNUSED)
{
    const struct service *s = grpc_server_user(c);
    if (grpc_user(c)) {
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "one message is expected");
        return;
    }
    struct asking_who *a = mem_zalloc(1, sizeof(*a));
    a->call = c;
    grpc_set_user(c, a);
    struct who_asking *waits = who_ask(s->who, c, told, a);
    if (waits) /* else a may be gone */
        a->who = waits;
}

static void on_closed(struct grpc_call *c, enum grpc_status status UNUSED, const char *text UNUSED)
{
    struct asking_who *a = grpc_user(c);
    if (a)
        who_cancel(a->who);
    free(a);
}

const struct grpc_handlers service_whoami_handlers = { .message = on_message, .closed = on_closed };
