#include "ctrl/lookups.h"

#define AT_ONCE 8 /* each question has sockets and takes its time to be put: who names hundreds has them answered beside others, not before them */

struct one { struct lookups *of; struct resolve *question; char *why, **address; union sockaddr_any *where; };

struct lookups {
    struct resolver *resolver;
    size_t n, asked, left;   /* of words; of questions that were put; of answers that have not come */
    char **words;
    struct one *one;
    struct request_target *target;
    lookups_done *done;
    void *user;
};

static void ask_next(struct lookups *l);

static void on_resolved(void *user, int rc, const union sockaddr_any *found, size_t n, const char *why)
{
    struct one *o = user;
    struct lookups *l = o->of;
    struct request_target *t = &l->target[o - l->one];
    char text[ADDR_TEXT];
    o->question = NULL;
    o->address = mem_zalloc(n + 1, sizeof(*o->address));
    o->where = mem_zalloc(n + 1, sizeof(*o->where));
    for (; rc == 0 && t->n < n; t->n++) {
        o->where[t->n] = found[t->n];
        o->address[t->n] = mem_strdup(addr_format_host(&found[t->n], text));
    }
    t->addresses = o->address;
    t->where = o->where;
    t->why = o->why = rc < 0 ? mem_strdup(why) : NULL;
    if (--l->left == 0)
        l->done(l->user, l->target, l->n);
    else
        ask_next(l);
}

static void ask_next(struct lookups *l)
{
    char host[ADDR_HOST_MAX + 1], why[200];
    if (l->asked == l->n)
        return;
    struct one *o = &l->one[l->asked];
    struct request_target *t = &l->target[l->asked++];
    addr_parse_hostport(t->text, 0, host, &t->port, why, sizeof(why)); /* well-formed */
    o->question = resolve_start(l->resolver, host, t->port, on_resolved, o);
}

struct lookups *lookups_start(struct resolver *r, char *const *words, lookups_done *done, void *user)
{
    struct lookups *l = mem_zalloc(1, sizeof(*l));
    *l = (struct lookups){ .resolver = r, .n = strv_len(words), .words = strv_copy(words), .done = done, .user = user };
    l->left = l->n;
    l->one = mem_zalloc(l->n, sizeof(*l->one));
    l->target = mem_zalloc(l->n, sizeof(*l->target));
    for (size_t i = 0; i < l->n; i++) {
        l->one[i].of = l;
        l->target[i].text = l->words[i];
    }
    for (size_t i = 0; i < AT_ONCE; i++)
        ask_next(l);
    return l;
}

void lookups_drop(struct lookups *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++) {
        resolve_cancel(l->one[i].question);
        strv_free(l->one[i].address);
        free(l->one[i].where);
        free(l->one[i].why);
    }
    strv_free(l->words);
    free(l->one);
    free(l->target);
    free(l);
}
