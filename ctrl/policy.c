#include "ctrl/policy.h"

#include <stdarg.h>
#include <stdio.h>

#include "src/core/err.h"

#define CLASS_BEST_EFFORT 1U
#define CLASS_PROVISIONED 2U

struct policy { struct policy_row *rows; size_t n; };

static const char *const role_words[] = { CONF_ROLES, NULL }, *const class_words[] = { CONF_CLASSES, NULL };

/* ------------------------------------------------------------ names */

const char *caller_how_name(enum caller_how how)
{
    static const char *const names[] = { "anonymous", "local", "certificate", "token", "introspection" };
    return names[how];
}

const char *policy_role_name(enum policy_role r) { return role_words[r]; }

bool caller_name_ok(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n >= CALLER_NAME || name[0] == ' ' || name[n - 1] == ' ' || str_eq(name, "anonymous") || str_starts(name, "local:"))
        return false;
    for (; *name; name++)
        if ((unsigned char)*name < 0x20 || *name == 0x7f || *name == '"' || *name == '\\')
            return false;
    return true;
}

/* The last * that was met takes one character more each time that the rest does not fit: linear in the text for each *. */
bool policy_fits(const char *pattern, const char *text)
{
    const char *star = NULL, *from = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            from = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++from;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == 0;
}

/* ------------------------------------------------------------ rows */

static unsigned bits_of(char *const *list, const char *const *words)
{
    unsigned bits = 0;
    for (unsigned i = 0; words[i]; i++)
        if (strv_has(list, words[i]))
            bits |= 1U << i;
    return bits;
}

static void take_row(struct policy_row *r, const struct conf_policy *c)
{
    char why[POLICY_WHY];
    *r = (struct policy_row){ .name = mem_strdup(c->name), .principals = strv_copy(c->principals), .roles = bits_of(c->roles, role_words),
                              .classes = bits_of(c->classes, class_words), .sessions = (uint64_t)c->sessions, .channels = (uint64_t)c->channels,
                              .rate = c->rate, .window = c->window, .ring_memory = c->ring_memory, .lifetime_ns = c->lifetime };
    r->targets = mem_zalloc(strv_len(c->targets) + 1, sizeof(*r->targets));
    for (char *const *t = c->targets; *t; t++)
        if (addr_net_parse(*t, &r->targets[r->n_targets], why, sizeof(why)) == 0) /* conf_check has seen that it does */
            r->n_targets++;
}

struct policy *policy_new(const struct conf *c)
{
    struct policy *p = mem_zalloc(1, sizeof(*p));
    p->rows = mem_zalloc(c->n_policies + 1, sizeof(*p->rows));
    for (; p->n < c->n_policies; p->n++)
        take_row(&p->rows[p->n], c->policies[p->n]);
    return p;
}

void policy_free(struct policy *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++) {
        free(p->rows[i].name);
        strv_free(p->rows[i].principals);
        free(p->rows[i].targets);
    }
    free(p->rows);
    free(p);
}

static bool row_is_for(const struct policy_row *r, const char *principal)
{
    for (char *const *pattern = r->principals; *pattern; pattern++)
        if (policy_fits(*pattern, principal))
            return true;
    return false;
}

const struct policy_row *policy_row(const struct policy *p, const struct caller *who, enum policy_role role)
{
    for (size_t i = 0; i < p->n; i++)
        if ((p->rows[i].roles & (1U << role)) && row_is_for(&p->rows[i], who->principal))
            return &p->rows[i];
    return NULL;
}

/* ------------------------------------------------------------ judging */

struct answer { const struct policy_row *row; char *why; size_t size; };

static int refuse(const struct answer *a, int rc, const char *fmt, ...) PRINTF(3, 4);
static int refuse(const struct answer *a, int rc, const char *fmt, ...)
{
    char text[POLICY_WHY];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (a->size && a->row)
        snprintf(a->why, a->size, "policy \"%s\": %s", a->row->name, text);
    else if (a->size)
        snprintf(a->why, a->size, "%s", text);
    return rc;
}

static int judge_targets(const struct answer *a, const struct demand *d)
{
    char text[ADDR_TEXT];
    for (size_t i = 0; i < d->n_targets; i++) {
        size_t k = 0;
        while (k < a->row->n_targets && !addr_net_has(&a->row->targets[k], &d->targets[i]))
            k++;
        if (k == a->row->n_targets)
            return refuse(a, -SST_EDENIED, "%.100s is in none of its targets", addr_format(&d->targets[i], text));
    }
    return 0;
}

static const char *number_text(char out[UNITS_TEXT], uint64_t v)
{
    snprintf(out, UNITS_TEXT, "%llu", (unsigned long long)v);
    return out;
}

/* Each limit with its number, in the unit in which it is written. */
static int judge_limits(const struct answer *a, const struct demand *d)
{
    const struct policy_row *r = a->row;
    const struct {
        const char *what;
        uint64_t asked, limit;
        const char *(*text)(char out[UNITS_TEXT], uint64_t v);
    } limits[] = {
        { "sessions at once", d->sessions, r->sessions, number_text },
        { "channels of a session", d->channels, r->channels, number_text },
        { "rate", d->rate, r->rate, units_rate },
        { "window", d->window, r->window, units_size },
        { "ring_memory", d->ring_memory, r->ring_memory, units_size },
        { "lifetime", d->lifetime_ns, r->lifetime_ns == TIME_FOREVER ? 0 : r->lifetime_ns, units_time },
    };
    char asked[UNITS_TEXT], limit[UNITS_TEXT];
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (limits[i].limit && limits[i].asked > limits[i].limit)
            return refuse(a, -SST_ELIMIT, "%s: %s would be more than its limit of %s", limits[i].what, limits[i].text(asked, limits[i].asked),
                          limits[i].text(limit, limits[i].limit));
    return 0;
}

int policy_judge(const struct policy *p, const struct caller *who, const struct demand *d, char *why, size_t why_size)
{
    struct answer a = { .why = why, .size = why_size };
    if (who->how == CALLER_LOCAL && who->admin)
        return 0;
    if (who->how == CALLER_ANONYMOUS && d->role == ROLE_ADMIN)
        return refuse(&a, -SST_EDENIED, "this may be asked on the local control socket only, by the gateway's user or root: over the network nobody is "
                      "asked who he is (section auth)");
    a.row = policy_row(p, who, d->role);
    if (!a.row)
        return refuse(&a, -SST_EDENIED, "no policy allows %.100s the role %s", who->principal, policy_role_name(d->role));
    bool session = d->role != ROLE_ADMIN;
    if (session && !(a.row->classes & (d->provisioned ? CLASS_PROVISIONED : CLASS_BEST_EFFORT)))
        return refuse(&a, -SST_EDENIED, "sessions of class %s are not allowed by it", class_words[d->provisioned]);
    int rc = judge_targets(&a, d);
    return rc == 0 ? judge_limits(&a, d) : rc;
}
