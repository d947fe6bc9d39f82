#include "ctrl/tokens.h"

#include <errno.h>
#include <stdio.h>

#include "ctrl/policy.h"
#include "src/core/secret.h"
#include "src/core/units.h"

#define SALT_BYTES 16
#define HEAD "sha256:"

struct tokens { struct token_line *line; size_t n; };

/* ------------------------------------------------------------ reading */

/* The next word of a line, in place; NULL: there is none. */
static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, " \t\r");
    size_t n = strcspn(word, " \t\r");
    *rest = word + n + (word[n] != 0);
    word[n] = 0;
    return n ? word : NULL;
}

static const char *take_hash(struct token_line *l, char *word)
{
    uint8_t salt[SALT_BYTES];
    char *colon = word && str_starts(word, HEAD) ? strchr(word + strlen(HEAD), ':') : NULL;
    if (!colon)
        return "a line is PRINCIPAL sha256:SALT:HEX [expires TIME]: 'scistreamctl token' makes them";
    *colon = 0;
    if (!secret_unhex(salt, sizeof(salt), word + strlen(HEAD)))
        return "the salt must be 32 hex digits";
    if (!secret_unhex(l->hash, sizeof(l->hash), colon + 1))
        return "the hash must be 64 hex digits";
    l->salt = mem_strdup(word + strlen(HEAD));
    return NULL;
}

/* NULL, or what is wrong with the line. */
static const char *take_line(struct token_line *l, char *text)
{
    const char *principal = next_word(&text);
    const char *wrong = take_hash(l, next_word(&text));
    const char *word = wrong ? NULL : next_word(&text), *time = word ? next_word(&text) : NULL;
    if (wrong)
        return wrong;
    if (!caller_name_ok(principal))
        return "this cannot be a principal: 'anonymous' and 'local:...' are ours, and there are no quotes in one";
    if (word && (!str_eq(word, "expires") || !time || units_parse_date(time, &l->expires) < 0 || next_word(&text)))
        return "behind the hash only 'expires' and a time like 2027-01-31T12:00:00Z may stand";
    l->principal = mem_strdup(principal);
    return NULL;
}

static void line_free(struct token_line *l)
{
    free(l->principal);
    free(l->salt);
}

static int take_all(struct tokens *t, char *text, const char *path, char *why, size_t why_size)
{
    unsigned number = 0;
    for (char *line; (line = strsep(&text, "\n"));) {
        const char *first = line + strspn(line, " \t\r"), *wrong;
        struct token_line l = { .expires = 0 };
        number++;
        if (*first == 0 || *first == '#')
            continue;
        wrong = t->n == TOKENS_MAX ? "there are 1000 tokens at most in a file" : take_line(&l, line);
        if (wrong) {
            line_free(&l);
            snprintf(why, why_size, "%s:%u: %s", path, number, wrong);
            return -EINVAL;
        }
        t->line[t->n++] = l;
    }
    return 0;
}

int tokens_load(struct tokens **out, const char *path, char *why, size_t why_size)
{
    AUTO_FREE char *text = NULL;
    int rc = secret_read_text(path, TOKENS_FILE_MAX, &text, why, why_size);
    if (rc < 0)
        return rc;
    struct tokens *t = mem_zalloc(1, sizeof(*t));
    t->line = mem_zalloc(TOKENS_MAX, sizeof(*t->line));
    rc = take_all(t, text, path, why, why_size);
    if (rc == 0)
        *out = t;
    else
        tokens_free(t);
    return rc;
}

void tokens_free(struct tokens *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++)
        line_free(&t->line[i]);
    free(t->line);
    free(t);
}

/* ------------------------------------------------------------ looking */

const struct token_line *tokens_find(const struct tokens *t, const char *token)
{
    const struct token_line *found = NULL;
    for (size_t i = 0; i < t->n; i++) {
        uint8_t hash[TLS_KEY_SIZE];
        tls_sha256(t->line[i].salt, token, hash);
        if (secret_equal(hash, t->line[i].hash, sizeof(hash)))
            found = &t->line[i];
    }
    return found;
}

static bool same_line(const struct token_line *a, const struct token_line *b)
{
    return str_eq(a->principal, b->principal) && str_eq(a->salt, b->salt) && a->expires == b->expires &&
           secret_equal(a->hash, b->hash, sizeof(a->hash));
}

bool tokens_same(const struct tokens *a, const struct tokens *b)
{
    if (!a || !b || a->n != b->n)
        return a == b;
    for (size_t i = 0; i < a->n; i++)
        if (!same_line(&a->line[i], &b->line[i]))
            return false;
    return true;
}

/* ------------------------------------------------------------ making */

char *tokens_line(const char *principal, const char *token, int64_t expires)
{
    uint8_t random[SALT_BYTES], hash[TLS_KEY_SIZE];
    char salt[2 * SALT_BYTES + 1], hex[2 * TLS_KEY_SIZE + 1], date[UNITS_TEXT];
    secret_random(random, sizeof(random));
    secret_hex(salt, random, sizeof(random));
    tls_sha256(salt, token, hash);
    secret_hex(hex, hash, sizeof(hash));
    return mem_printf("%s " HEAD "%s:%s%s%s", principal, salt, hex, expires ? " expires " : "", expires ? units_date(date, expires) : "");
}
