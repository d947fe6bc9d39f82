/* What administrators may ask, and who arranged a session: before anything is looked at, who it is and whether he may.
 *
 * Happy path: service_allow -> who_ask -> policy -> audit -> run. Failures: the call is ended with what who_ask or the policy says. While the
 * introspection server is asked the message is kept; when the call goes away meanwhile service_gone gives all of it back.
 */
#include <stdio.h>

#include "ctrl/service_arrange.h"
#include "src/core/secret.h"

struct asking {
    struct list node;        /* of the service */
    struct grpc_call *call;
    const struct service_admin_call *what;
    struct who_asking *who;  /* NULL: not waiting */
    size_t len;
    uint8_t *data;
};

static struct asking *find(struct service *s, const struct grpc_call *c)
{
    list_for_each(n, &s->asking)
        if (list_entry(n, struct asking, node)->call == c)
            return list_entry(n, struct asking, node);
    return NULL;
}

static void asking_free(struct asking *a)
{
    list_del(&a->node);
    secret_wipe(a->data, a->len); /* of Arrange */
    free(a->data);
    free(a);
}

void service_subject(const uint8_t *data, size_t len, char uid[SERVICE_UID])
{
    Scistream__Gateway__V1__ShowRequest *q = scistream__gateway__v1__show_request__unpack(NULL, len, data); /* of one field, others are let be */
    if (q)
        str_copy(uid, SERVICE_UID, q->uid);
    scistream__gateway__v1__show_request__free_unpacked(q, NULL);
}

static void read_subject(const struct asking *a, char uid[SERVICE_UID])
{
    *uid = 0;
    if (a->what->subject)
        a->what->subject(a->data, a->len, uid);
}

/* What is for anybody is told in the audit by its run(). */
static void judged(const struct asking *a, const struct caller *c, const char *why_not)
{
    char uid[SERVICE_UID];
    if (a->what->audience == SERVICE_ANYBODY || (c->how == CALLER_LOCAL && c->admin && a->what->looks))
        return; /* he may, and there is nothing to remember of it */
    read_subject(a, uid);
    who_audit(c, "", a->what->name, uid, why_not);
}

/* Who is no administrator. Of a session that is not his he learns that there is none, unless somebody else arranged it. */
static enum grpc_status judge_owner(const struct asking *a, const struct caller *c, char *why, size_t size)
{
    char uid[SERVICE_UID];
    const struct service *s = grpc_server_user(a->call);
    if (a->what->audience != SERVICE_OWNERS || !s->conf->scistream.enable)
        return GRPC_PERMISSION_DENIED;
    read_subject(a, uid);
    enum service_owner o = service_owner(s, c, uid);
    if (o != SERVICE_HIS)
        snprintf(why, size, "%s", o == SERVICE_OTHERS ? "the session is somebody else's" : "you have no session with that uid: it is unknown, or has ended");
    else if (a->what->extends)
        return service_still_may(s, c, uid, why, size);
    return o == SERVICE_HIS ? GRPC_OK : o == SERVICE_OTHERS ? GRPC_PERMISSION_DENIED : GRPC_NOT_FOUND;
}

static enum grpc_status judge(const struct asking *a, const struct caller *c, char *why, size_t size)
{
    const struct service *s = grpc_server_user(a->call);
    const struct demand d = { .role = ROLE_ADMIN };
    if (a->what->audience == SERVICE_ANYBODY || policy_judge(who_policy(s->who), c, &d, why, size) == 0)
        return GRPC_OK;
    return judge_owner(a, c, why, size);
}

/* As in scistream.Control: where nobody is asked who he is, a token that nobody knows does not matter. */
static const struct caller *known(const struct asking *a, const struct caller *c, struct caller *anybody)
{
    const struct service *s = grpc_server_user(a->call);
    if (c || a->what->audience == SERVICE_ADMINS || s->conf->scistream.auth != CONF_AUTH_NONE)
        return c;
    *anybody = (struct caller){ .principal = "anonymous", .how = CALLER_ANONYMOUS };
    str_copy(anybody->from, sizeof(anybody->from), grpc_conn_peer(grpc_call_conn(a->call)));
    return anybody;
}

static void told(void *user, const struct caller *found, enum grpc_status refused, const char *text)
{
    struct asking *a = user;
    char why[POLICY_WHY];
    struct caller anybody;
    const struct caller *c = known(a, found, &anybody);
    enum grpc_status s = c ? judge(a, c, why, sizeof(why)) : refused;
    a->who = NULL;
    if (!c) {
        who_audit(NULL, grpc_conn_peer(grpc_call_conn(a->call)), a->what->name, "", text);
        grpc_finish(a->call, refused, text);
    } else if (s != GRPC_OK) {
        judged(a, c, why);
        grpc_finish(a->call, s, why);
    } else {
        judged(a, c, NULL);
        list_del(&a->node); /* it may take a further message from now on */
        a->what->run(a->call, c, a->data, a->len);
    }
    asking_free(a);
}

void service_allow(struct grpc_call *c, const struct service_admin_call *what, const uint8_t *data, size_t len)
{
    struct service *s = grpc_server_user(c);
    if (find(s, c)) {
        grpc_finish(c, GRPC_INVALID_ARGUMENT, "one message is expected");
        return;
    }
    struct asking *a = mem_zalloc(1, sizeof(*a));
    *a = (struct asking){ .call = c, .what = what, .len = len, .data = mem_zalloc(1, len + 1) };
    memcpy(a->data, data, len);
    list_init(&a->node);
    list_add_tail(&s->asking, &a->node);
    struct who_asking *waits = who_ask(s->who, c, told, a);
    if (waits) /* else a is gone */
        a->who = waits;
}

void service_gone(struct grpc_call *c, enum grpc_status status UNUSED, const char *text UNUSED)
{
    struct asking *a = find(grpc_server_user(c), c);
    if (!a || !a->who)
        return;
    who_cancel(a->who);
    asking_free(a);
}

const char *service_name_of(const struct caller *c, char out[SERVICE_NAME])
{
    if (c->how == CALLER_LOCAL)
        str_copy(out, SERVICE_NAME, c->from);
    else
        snprintf(out, SERVICE_NAME, "%s at %s", c->principal, c->from);
    return out;
}
