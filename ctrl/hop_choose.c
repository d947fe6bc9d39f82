/* The transport of a hop that somebody opened here: the best of ours that the offer has and the worker can use; and the next best when the
 * worker finds that it does not reach the peer. What is passed over is noted with its reason. */
#include <stdio.h>

#include "ctrl/hop_priv.h"

static const Scistream__Gateway__V1__TransportOffer *offered(const Offer *o, const char *name)
{
    for (size_t i = 0; i < o->n_transports; i++)
        if (str_eq(o->transports[i]->name, name))
            return o->transports[i];
    return NULL;
}

/* A reason that begins with the name of its transport does not get it twice. */
static void note_passed_over(struct hop *h, const char *name, const char *reason)
{
    size_t n = strlen(h->report.passed_over), k = strlen(name);
    bool named = str_starts(reason, name) && reason[k] == ':';
    snprintf(h->report.passed_over + n, sizeof(h->report.passed_over) - n, "%s%s%s%s", n ? "; " : "", named ? "" : name, named ? "" : ": ", reason);
}

/* The next usable one from `from` on; what is passed over on the way is noted. NULL: there is none. */
static const char *next_usable(struct hop *h, const char *const *from, const struct pool_worker *w)
{
    for (; *from; from++) {
        const char *problem = offered(h->offer, *from) ? pool_transport_problem(w, *from) : "not offered by the client";
        if (!problem)
            return *from;
        note_passed_over(h, *from, problem);
    }
    return NULL;
}

static bool is_ours(const struct hop *h, const char *name)
{
    for (const char *const *t = h->ours; *t; t++)
        if (str_eq(*t, name))
            return true;
    return false;
}

static void say_none(struct hop *h, char *why, size_t why_size)
{
    for (size_t i = 0; i < h->offer->n_transports; i++)
        if (!is_ours(h, h->offer->transports[i]->name))
            note_passed_over(h, h->offer->transports[i]->name, "not accepted by this route");
    snprintf(why, why_size, "no common transport (%s)", h->report.passed_over);
}

const char *hop_choose(struct hop *h, char *const *ours, const struct pool_worker *w, char *why, size_t why_size)
{
    size_t n = 0;
    for (; ours[n] && n < HOP_TRANSPORTS; n++)
        h->ours[n] = ours[n];
    h->ours[n] = NULL;
    h->report.passed_over[0] = 0;
    h->chosen = next_usable(h, h->ours, w);
    if (!h->chosen)
        say_none(h, why, why_size);
    return h->chosen;
}

const char *hop_choose_next(struct hop *h, const char *reason, char *why, size_t why_size)
{
    const char *const *at = h->ours;
    while (*at != h->chosen)
        at++;
    note_passed_over(h, h->chosen, reason);
    h->chosen = next_usable(h, at + 1, h->worker);
    if (!h->chosen)
        say_none(h, why, why_size);
    return h->chosen;
}

/* They come from a stranger: a few are taken, and only those that are numeric, without a scope of his machine. */
size_t hop_peer_addresses(const struct hop *h, char *words[HOP_PEER_ADDRESSES], char **storage)
{
    const Scistream__Gateway__V1__TransportOffer *t = offered(h->offer, h->chosen);
    union sockaddr_any at;
    size_t n = 0;
    *storage = NULL;
    for (size_t i = 0; t && !*storage && i < t->n_parameters; i++)
        if (str_eq(t->parameters[i]->key, "addresses"))
            *storage = mem_strdup(t->parameters[i]->value);
    for (char *rest = *storage, *word; n < HOP_PEER_ADDRESSES && (word = strsep(&rest, " "));)
        if (*word && strlen(word) < INET6_ADDRSTRLEN && !strchr(word, '%') && addr_numeric(word, 0, &at) == 0)
            words[n++] = word;
    return n;
}
