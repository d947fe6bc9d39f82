#include "ctrl/lookups.h"

struct one { struct lookups *of; struct resolve *question; char *why, **address; union sockaddr_any *where; };

struct lookups {
    size_t n, left;          /* of words; of answers that have not come */
    char **words;
    struct one *one;
    struct request_target *target;
    lookups_done *done;
    void *user;
};

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
}

struct lookups *lookups_start(struct resolver *r, char *const *words, lookups_done *done, void *user)
{
    struct lookups *l = mem_zalloc(1, sizeof(*l));
    *l = (struct lookups){ .n = strv_len(words), .words = strv_copy(words), .done = done, .user = user };
    l->left = l->n;
    l->one = mem_zalloc(l->n, sizeof(*l->one));
    l->target = mem_zalloc(l->n, sizeof(*l->target));
    for (size_t i = 0; i < l->n; i++) {
        char host[ADDR_HOST_MAX + 1], why[200];
        struct request_target *t = &l->target[i];
        addr_parse_hostport(l->words[i], 0, host, &t->port, why, sizeof(why)); /* well-formed */
        t->text = l->words[i];
        l->one[i].of = l;
        l->one[i].question = resolve_start(r, host, t->port, on_resolved, &l->one[i]);
    }
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
