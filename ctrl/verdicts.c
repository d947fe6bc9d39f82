#include "ctrl/verdicts.h"

#include "src/core/err.h"
#include "tcp/tls.h"

#define BUCKETS 1024

/* One token: being asked about (inquiry), or remembered. */
struct entry {
    struct list bucket, age;
    struct list waiters;
    struct verdicts *v;
    uint8_t digest[TLS_KEY_SIZE];
    void *inquiry;
    struct verdict verdict;
    uint64_t until_ns;
};

struct verdicts {
    struct verdicts_source source;
    uint64_t keep_ns;
    uint8_t key[TLS_KEY_SIZE];
    struct list buckets[BUCKETS];
    struct list asked, active, inactive; /* oldest first */
    size_t n_asked, n_active, n_inactive;
};

/* ------------------------------------------------------------ life */

static void entry_free(struct entry *e)
{
    list_del(&e->bucket);
    list_del(&e->age);
    free(e);
}

struct verdicts *verdicts_new(const struct verdicts_source *s, uint64_t keep_ns)
{
    struct verdicts *v = mem_zalloc(1, sizeof(*v));
    v->source = *s;
    v->keep_ns = keep_ns;
    secret_random(v->key, sizeof(v->key));
    for (size_t i = 0; i < BUCKETS; i++)
        list_init(&v->buckets[i]);
    list_init(&v->asked);
    list_init(&v->active);
    list_init(&v->inactive);
    return v;
}

void verdicts_free(struct verdicts *v)
{
    if (!v)
        return;
    list_for_each_safe(n, &v->asked) {
        struct entry *e = list_entry(n, struct entry, age);
        while (list_pop(&e->waiters))
            ;
        v->source.cancel(e->inquiry);
        entry_free(e);
    }
    list_for_each_safe(n, &v->active)
        entry_free(list_entry(n, struct entry, age));
    list_for_each_safe(n, &v->inactive)
        entry_free(list_entry(n, struct entry, age));
    secret_wipe(v->key, sizeof(v->key));
    free(v);
}

/* ------------------------------------------------------------ remembering */

static void forget(struct entry *e)
{
    (*(e->verdict.is == VERDICT_ACTIVE ? &e->v->n_active : &e->v->n_inactive))--;
    entry_free(e);
}

static void remember(struct entry *e, const struct verdict *verdict)
{
    struct verdicts *v = e->v;
    bool active = verdict->is == VERDICT_ACTIVE;
    struct list *all = active ? &v->active : &v->inactive;
    size_t *n = active ? &v->n_active : &v->n_inactive;
    e->verdict = *verdict;
    e->until_ns = now_ns() + (active ? v->keep_ns : MIN(v->keep_ns, VERDICTS_INACTIVE_NS));
    list_add_tail(all, &e->age);
    if (++*n > (active ? VERDICTS_ACTIVE : VERDICTS_INACTIVE))
        forget(list_entry(all->next, struct entry, age));
}

/* ------------------------------------------------------------ asking */

static void on_answer(void *user, const struct verdict *verdict)
{
    struct entry *e = user;
    struct verdicts *v = e->v;
    struct verdict answer = *verdict;
    struct list told, *n;
    list_init(&told);
    list_splice_tail(&told, &e->waiters);
    list_for_each(k, &told)
        list_entry(k, struct verdicts_waiter, node)->asked = NULL;
    e->inquiry = NULL;
    list_del(&e->age);
    v->n_asked--;
    if (answer.is == VERDICT_UNKNOWN || v->keep_ns == 0) /* the next one may have more luck */
        entry_free(e);
    else
        remember(e, &answer);
    while ((n = list_pop(&told)))
        list_entry(n, struct verdicts_waiter, node)->told(list_entry(n, struct verdicts_waiter, node), &answer);
}

static struct entry *find(struct list *bucket, const uint8_t digest[TLS_KEY_SIZE])
{
    list_for_each(n, bucket) {
        struct entry *e = list_entry(n, struct entry, bucket);
        if (secret_equal(e->digest, digest, sizeof(e->digest)))
            return e;
    }
    return NULL;
}

static struct entry *start(struct verdicts *v, const char *token, struct list *bucket, const uint8_t digest[TLS_KEY_SIZE])
{
    struct entry *e = mem_zalloc(1, sizeof(*e));
    e->v = v;
    memcpy(e->digest, digest, sizeof(e->digest));
    list_init(&e->waiters);
    list_init(&e->bucket);
    list_init(&e->age);
    list_add_tail(bucket, &e->bucket);
    list_add_tail(&v->asked, &e->age);
    v->n_asked++;
    e->inquiry = v->source.start(v->source.of, token, on_answer, e);
    return e;
}

static bool still_holds(const struct entry *e, int64_t now_s)
{
    return now_ns() < e->until_ns && (e->verdict.expires == 0 || now_s < e->verdict.expires);
}

int verdicts_ask(struct verdicts *v, const char *token, int64_t now_s, struct verdicts_waiter *w, struct verdict *out)
{
    uint8_t digest[TLS_KEY_SIZE];
    const struct tls_part part = { token, strlen(token) };
    tls_hmac(v->key, sizeof(v->key), &part, 1, digest);
    struct list *bucket = &v->buckets[(digest[0] << 8 | digest[1]) % BUCKETS];
    struct entry *e = find(bucket, digest);
    if (e && !e->inquiry && still_holds(e, now_s)) {
        *out = e->verdict;
        return 1;
    }
    if (e && !e->inquiry) {
        forget(e);
        e = NULL;
    }
    if (!e && v->n_asked >= VERDICTS_ASKED)
        return -SST_ELIMIT;
    if (!e)
        e = start(v, token, bucket, digest);
    list_init(&w->node);
    list_add_tail(&e->waiters, &w->node);
    w->asked = e;
    return 0;
}

void verdicts_cancel(struct verdicts *v, struct verdicts_waiter *w)
{
    struct entry *e = w->asked;
    list_del(&w->node);
    w->asked = NULL;
    if (!e || !list_empty(&e->waiters)) /* the answer is here, and others are being told; or others still wait */
        return;
    v->source.cancel(e->inquiry);
    v->n_asked--;
    entry_free(e);
}
