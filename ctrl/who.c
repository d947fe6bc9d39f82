#include "ctrl/who.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "ctrl/tokens.h"
#include "ctrl/verdicts.h"
#include "src/core/err.h"
#include "src/core/log.h"

#define UNREACHABLE "the token cannot be checked now, so it is not accepted: the introspection service does not answer"
#define TOO_MANY "too many tokens are being checked: try again"

struct who_setup {
    struct list node;        /* of those that are to be freed */
    bool asks, certificates;
    char *scope_id;
    struct tokens *tokens;   /* NULL: no file */
    struct introspector *introspector;
    struct verdicts *verdicts;
    struct policy *policy;
};

struct who {
    struct loop *loop;
    struct resolver *resolver;
    struct who_setup *setup;
    struct list asks;        /* who wait */
    size_t n_asks;
    struct list old;         /* setups that somebody on the stack may still use */
    struct defer clean, again;
};

struct who_asking {
    struct list node;
    struct verdicts_waiter waiter;
    struct who *w;
    struct grpc_call *call;
    who_told *told;
    void *user;
};

/* ------------------------------------------------------------ setups */

void who_setup_free(struct who_setup *s)
{
    if (!s)
        return;
    list_del(&s->node);
    verdicts_free(s->verdicts);
    introspector_free(s->introspector);
    tokens_free(s->tokens);
    policy_free(s->policy);
    free(s->scope_id);
    free(s);
}

static void *start_inquiry(void *of, const char *token, introspect_done *done, void *user) { return introspect_start(of, token, done, user); }
static void cancel_inquiry(void *inquiry) { introspect_cancel(inquiry); }

static int load_introspection(struct who_setup *s, const struct who *w, const struct conf_auth *a, char *why, size_t why_size)
{
    s->introspector = introspector_new(w ? w->loop : NULL, w ? w->resolver : NULL, a, why, why_size);
    if (!s->introspector)
        return -SST_ECONF;
    const struct verdicts_source source = { .start = start_inquiry, .cancel = cancel_inquiry, .of = s->introspector };
    s->verdicts = verdicts_new(&source, a->introspection_cache);
    return 0;
}

struct who_setup *who_load(const struct who *w, const struct conf *c, const char *name, char *why, size_t why_size)
{
    char detail[400];
    struct who_setup *s = mem_zalloc(1, sizeof(*s));
    int rc = 0;
    list_init(&s->node);
    s->asks = conf_auth_asks(&c->auth);
    s->certificates = *c->auth.client_ca;
    s->scope_id = mem_strdup(*c->auth.scope_id ? c->auth.scope_id : name);
    s->policy = policy_new(c);
    if (*c->auth.token_file)
        rc = tokens_load(&s->tokens, c->auth.token_file, detail, sizeof(detail));
    if (rc == 0 && *c->auth.introspection_url)
        rc = load_introspection(s, w, &c->auth, detail, sizeof(detail));
    if (rc == 0)
        return s;
    snprintf(why, why_size, "auth: %s", detail);
    who_setup_free(s);
    return NULL;
}

bool who_setup_same_tokens(const struct who_setup *a, const struct who_setup *b) { return tokens_same(a->tokens, b->tokens); }

/* ------------------------------------------------------------ life */

static void on_clean(struct defer *d)
{
    struct who *w = container_of(d, struct who, clean);
    list_for_each_safe(n, &w->old)
        who_setup_free(list_entry(n, struct who_setup, node));
}

static void on_again(struct defer *d);

struct who *who_new(struct loop *l, struct resolver *r)
{
    struct who *w = mem_zalloc(1, sizeof(*w));
    w->loop = l;
    w->resolver = r;
    list_init(&w->asks);
    list_init(&w->old);
    defer_init(&w->clean, on_clean);
    defer_init(&w->again, on_again);
    return w;
}

static void stop_waiting(struct who_asking *a) { verdicts_cancel(a->w->setup->verdicts, &a->waiter); }

static void asking_free(struct who_asking *a)
{
    list_del(&a->node);
    a->w->n_asks--;
    free(a);
}

void who_cancel(struct who_asking *a)
{
    if (!a)
        return;
    if (a->waiter.asked)
        stop_waiting(a);
    asking_free(a);
}

void who_free(struct who *w)
{
    if (!w)
        return;
    list_for_each_safe(n, &w->asks)
        who_cancel(list_entry(n, struct who_asking, node));
    on_clean(&w->clean);
    defer_cancel(&w->clean);
    defer_cancel(&w->again);
    who_setup_free(w->setup);
    free(w);
}

void who_use(struct who *w, struct who_setup *s)
{
    list_for_each(n, &w->asks) {
        struct who_asking *a = list_entry(n, struct who_asking, node);
        if (a->waiter.asked)
            stop_waiting(a);
    }
    if (w->setup)
        list_add_tail(&w->old, &w->setup->node);
    w->setup = s;
    loop_defer(w->loop, &w->clean);
    loop_defer(w->loop, &w->again);
}

const struct who_setup *who_in_use(const struct who *w) { return w->setup; }
const struct policy *who_policy(const struct who *w) { return w->setup->policy; }

/* ------------------------------------------------------------ deciding */

enum outcome { KNOWN, REFUSED, WAITS };

/* What is found out of one call. */
struct finding {
    struct caller caller;
    enum grpc_status status;
    char text[200];
};

static enum outcome refuse(struct finding *f, enum grpc_status status, const char *text)
{
    f->status = status;
    str_copy(f->text, sizeof(f->text), text);
    return REFUSED;
}

/* The two texts that SciStream's client looks for; no others may begin like them. */
static enum outcome refuse_token(struct finding *f, const struct who_setup *s, const char *how)
{
    snprintf(f->text, sizeof(f->text), "Authentication token is %s for scope %.120s", how, s->scope_id);
    f->status = GRPC_UNAUTHENTICATED;
    return REFUSED;
}

static enum outcome is(struct finding *f, enum caller_how how, const char *principal, int64_t expires)
{
    f->caller.how = how;
    f->caller.expires = expires;
    str_copy(f->caller.principal, sizeof(f->caller.principal), principal);
    return KNOWN;
}

static enum outcome is_local(struct finding *f, int64_t uid)
{
    char name[32];
    snprintf(name, sizeof(name), "local:%lld", (long long)uid);
    f->caller.admin = uid == 0 || uid == (int64_t)geteuid();
    return is(f, CALLER_LOCAL, name, 0);
}

/* "Bearer TOKEN" and "TOKEN" alike. NULL: there is none. */
static const char *token_of(struct grpc_call *c)
{
    const char *t = grpc_metadata(c, "authorization");
    if (!t)
        return NULL;
    if (strncasecmp(t, "Bearer ", 7) == 0)
        t += 7;
    t += strspn(t, " ");
    return *t ? t : NULL;
}

static bool by_certificate(struct finding *f, const struct tls *t, enum outcome *out)
{
    struct tls_peer p;
    if (!t || tls_peer_name(t, &p) < 0)
        return false;
    if (!caller_name_ok(p.name))
        *out = refuse(f, GRPC_UNAUTHENTICATED, "the name in your certificate cannot be taken: it is empty, one of ours, or has quotes");
    else if (p.expires <= (int64_t)time(NULL)) /* since the connection was made */
        *out = refuse(f, GRPC_UNAUTHENTICATED, "your certificate has expired");
    else
        *out = is(f, CALLER_CERTIFICATE, p.name, p.expires);
    return true;
}

static enum outcome by_verdict(struct finding *f, const struct who_setup *s, const struct verdict *v)
{
    static struct log_gate gate = LOG_GATE;
    if (v->is == VERDICT_ACTIVE)
        return is(f, CALLER_INTROSPECTION, v->principal, v->expires);
    if (v->is == VERDICT_UNKNOWN) {
        log_gated(&gate, LOG_LEVEL_WARN, "token introspection: %s; nobody is let in by a token that cannot be checked", v->why);
        return refuse(f, GRPC_UNAVAILABLE, UNREACHABLE);
    }
    log_debug("token of %s: %s", f->caller.from, v->why);
    return refuse_token(f, s, "invalid");
}

static enum outcome by_token(struct finding *f, const struct who_setup *s, const char *token, struct verdicts_waiter *waiter)
{
    const struct token_line *l = s->tokens ? tokens_find(s->tokens, token) : NULL;
    int64_t now = (int64_t)time(NULL);
    struct verdict v;
    if (l && l->expires && l->expires <= now)
        return refuse_token(f, s, "invalid");
    if (l)
        return is(f, CALLER_TOKEN, l->principal, l->expires);
    if (!s->verdicts || str_eq(token, "INVALID_TOKEN")) /* what SciStream's client sends who has none */
        return refuse_token(f, s, "invalid");
    int rc = verdicts_ask(s->verdicts, token, now, waiter, &v);
    if (rc < 0)
        return refuse(f, GRPC_RESOURCE_EXHAUSTED, TOO_MANY);
    return rc == 0 ? WAITS : by_verdict(f, s, &v);
}

static void begin(struct finding *f, struct grpc_call *c)
{
    *f = (struct finding){ .status = GRPC_OK };
    str_copy(f->caller.from, sizeof(f->caller.from), grpc_conn_peer(grpc_call_conn(c)));
}

static enum outcome decide(struct finding *f, const struct who_setup *s, struct grpc_call *c, struct verdicts_waiter *waiter)
{
    const struct grpc_conn *conn = grpc_call_conn(c);
    enum outcome out;
    begin(f, c);
    if (grpc_conn_uid(conn) >= 0)
        return is_local(f, grpc_conn_uid(conn));
    if (s->certificates && by_certificate(f, grpc_conn_tls(conn), &out))
        return out;
    if (!s->asks)
        return is(f, CALLER_ANONYMOUS, "anonymous", 0);
    const char *token = token_of(c);
    if (!token)
        return refuse_token(f, s, "missing");
    return by_token(f, s, token, waiter);
}

static void tell(who_told *told, void *user, const struct finding *f)
{
    told(user, f->status == GRPC_OK ? &f->caller : NULL, f->status, f->text);
}

/* ------------------------------------------------------------ asking */

static void answer(struct who_asking *a, const struct finding *f)
{
    who_told *told = a->told;
    void *user = a->user;
    asking_free(a);
    tell(told, user, f);
}

static void on_verdict(struct verdicts_waiter *waiter, const struct verdict *v)
{
    struct who_asking *a = container_of(waiter, struct who_asking, waiter);
    struct finding f;
    begin(&f, a->call);
    by_verdict(&f, a->w->setup, v);
    answer(a, &f);
}

/* Of those who waited when the setup changed; each may make others go away. */
static void on_again(struct defer *d)
{
    struct who *w = container_of(d, struct who, again);
    struct list waiting, *n;
    list_init(&waiting);
    list_splice_tail(&waiting, &w->asks);
    while ((n = list_pop(&waiting))) {
        struct who_asking *a = list_entry(n, struct who_asking, node);
        struct finding f;
        list_add_tail(&w->asks, &a->node);
        if (!a->waiter.asked && decide(&f, w->setup, a->call, &a->waiter) != WAITS)
            answer(a, &f);
    }
}

struct who_asking *who_ask(struct who *w, struct grpc_call *c, who_told *told, void *user)
{
    struct finding f;
    struct who_asking *a = mem_zalloc(1, sizeof(*a));
    *a = (struct who_asking){ .w = w, .call = c, .told = told, .user = user, .waiter.told = on_verdict };
    list_init(&a->node);
    list_init(&a->waiter.node);
    enum outcome o = decide(&f, w->setup, c, &a->waiter);
    if (o == WAITS && w->n_asks < WHO_ASKS) {
        list_add_tail(&w->asks, &a->node);
        w->n_asks++;
        return a;
    }
    if (o == WAITS) {
        stop_waiting(a);
        refuse(&f, GRPC_RESOURCE_EXHAUSTED, TOO_MANY);
    }
    free(a);
    tell(told, user, &f);
    return NULL;
}

/* ------------------------------------------------------------ audit */

void who_audit(const struct caller *c, const char *from, const char *what, const char *uid, const char *why_not)
{
    static struct log_gate gate = LOG_GATE;
    char principal[CALLER_NAME * 2], at[ADDR_TEXT], object[200], why[2 * POLICY_WHY];
    log_json_escape(principal, sizeof(principal), c ? c->principal : "");
    log_json_escape(at, sizeof(at), c ? c->from : from);
    log_json_escape(object, sizeof(object), uid);
    log_json_escape(why, sizeof(why), why_not ? why_not : "");
    const char *how = c ? caller_how_name(c->how) : "none", *allowed = why_not ? "no" : "yes";
#define AUDIT "audit: principal=\"%s\" how=%s from=\"%s\" what=%s uid=\"%s\" allowed=%s why=\"%s\""
    if (c && c->how != CALLER_ANONYMOUS)
        log_info(AUDIT, principal, how, at, what, object, allowed, why);
    else
        log_gated(&gate, LOG_LEVEL_INFO, AUDIT, principal, how, at, what, object, allowed, why);
}
