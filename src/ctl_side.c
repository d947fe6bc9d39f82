#include "src/ctl_side.h"

#include <stdio.h>

#include "src/ctl_ticket_out.h"

static int complain(const char *option, const char *what, const char *why)
{
    fprintf(stderr, "scistreamctl: %s: %s%s%s\n", option, what, *what ? ": " : "", why);
    return 64;
}

static void append(char ***v, const char *text)
{
    size_t n = strv_len(*v);
    char **more = mem_zalloc(n + 2, sizeof(*more));
    for (size_t i = 0; i < n; i++)
        more[i] = (*v)[i];
    more[n] = mem_strdup(text);
    free(*v);
    *v = more;
}

/* ------------------------------------------------------------ the application */

static int check_target(const char *option, const char *text)
{
    char host[ADDR_HOST_MAX + 1], why[200];
    uint16_t port;
    if (addr_parse_hostport(text, 0, host, &port, why, sizeof(why)) < 0)
        return complain(option, "", why);
    return *host ? 0 : complain(option, text, "a host is missing: HOST:PORT, as the gateway reaches the application");
}

int side_targets(struct side *s, const char *option, char *const *words)
{
    int code = 0;
    s->app = APP_LISTENS;
    for (; *words && code == 0; words++) {
        code = check_target(option, *words);
        append(&s->targets, *words);
    }
    return code;
}

int side_ports(struct side *s, const char *option, char *const *words)
{
    uint16_t first, last;
    s->app = APP_CONNECTS;
    for (; *words; words++) {
        if (addr_parse_ports(*words, &first, &last) < 0)
            return complain(option, *words, "must be a port from 1 to 65535, or several, like 5100-5103");
        size_t n = s->n_ports + (size_t)(last - first) + 1;
        uint32_t *more = mem_zalloc(n, sizeof(*more));
        for (size_t i = 0; i < n; i++)
            more[i] = i < s->n_ports ? s->ports[i] : (uint32_t)(first + (i - s->n_ports));
        free(s->ports);
        s->ports = more;
        s->n_ports = n;
    }
    return 0;
}

/* ------------------------------------------------------------ the gateway */

enum { TOKEN_FILE, CERT, KEY, CA, TLS_NAME };

static void set_option(struct side *s, int which, char **field, const char *value)
{
    free(s->option[which]);
    *field = s->option[which] = mem_strdup(value);
}

/* "pin=…": true, and it is taken; false: no option has that name. */
static bool take_option(struct side *s, const char *word)
{
    const struct { const char *name; char **field; } rows[] = {
        [TOKEN_FILE] = { "token-file=", &s->o.token_file }, [CERT] = { "cert=", &s->o.cert }, [KEY] = { "key=", &s->o.key },
        [CA] = { "ca=", &s->o.e.ca },                       [TLS_NAME] = { "tls-name=", &s->o.e.tls_name },
    };
    const char *value = strchr(word, '=') + 1;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_starts(word, rows[i].name)) {
            set_option(s, (int)i, rows[i].field, value);
            return true;
        }
    if (str_starts(word, "pin="))
        append(&s->pins, value);
    else if (str_starts(word, "address="))
        append(&s->address, value);
    else
        return false;
    return true;
}

/* Words behind the first: options, and more places of the application. */
static int sort_words(struct side *s, const char *option, char *const *words, char ***places)
{
    for (; *words; words++) {
        if (!strchr(*words, '='))
            append(places, *words);
        else if (!take_option(s, *words))
            return complain(option, *words, "behind a comma there may be pin=, ca=, tls-name=, token-file=, cert=, key= and address=");
    }
    return 0;
}

/* "listen", "listen:5100" or "HOST:PORT", and what follows it. */
static int take_places(struct side *s, const char *option, char **places)
{
    bool listens = str_eq(places[0], "listen") || str_starts(places[0], "listen:");
    if (!listens)
        return side_targets(s, option, places);
    s->app = APP_CONNECTS;
    if (str_eq(places[0], "listen"))
        return places[1] ? complain(option, places[1], "ports stand behind listen: as in listen:5100,5101") : 0;
    memmove(places[0], places[0] + 7, strlen(places[0] + 7) + 1);
    return side_ports(s, option, places);
}

static int check_gateway(const struct side *s, const char *option)
{
    char host[ADDR_HOST_MAX + 1], why[200];
    uint16_t port;
    if (addr_parse_hostport(s->gateway, ADDR_PORT_DEFAULT, host, &port, why, sizeof(why)) < 0)
        return complain(option, "", why);
    return *host ? ticket_check_addresses(s->o.address) : complain(option, s->gateway, "the gateway is missing: GATEWAY[=HOST:PORT]");
}

int side_parse(struct side *s, const struct ctl_opts *o, const char *option, char *const *words)
{
    char **places = NULL;
    s->o = *o;
    if (!words[0])
        return complain(option, "", "is missing: the gateway of that side, GATEWAY[=HOST:PORT]");
    s->gateway = mem_strdup(words[0]);
    char *equals = strchr(s->gateway, '=');
    if (equals) {
        *equals = 0;
        append(&places, equals + 1);
    }
    s->o.gateway = s->gateway;
    int code = sort_words(s, option, words + 1, &places);
    if (s->pins)
        s->o.e.pins = s->pins;
    if (s->address)
        s->o.address = s->address;
    if (code == 0)
        code = check_gateway(s, option);
    if (code == 0 && places)
        code = equals ? take_places(s, option, places) : complain(option, places[0], "is no place of an application: GATEWAY=HOST:PORT or GATEWAY=listen");
    strv_free(places);
    return code;
}

void side_of_gateway(struct side *s, const struct ctl_opts *o) { s->o = *o; }

void side_free(struct side *s)
{
    if (s->reply)
        grant_reply_wipe(s->reply);
    scistream__gateway__v1__grant_reply__free_unpacked(s->reply, NULL);
    for (size_t i = 0; i < ARRAY_LEN(s->option); i++)
        free(s->option[i]);
    strv_free(s->targets);
    strv_free(s->address);
    strv_free(s->pins);
    free(s->ports);
    free(s->gateway);
}

const char *side_name(const struct side *s) { return *s->o.gateway ? s->o.gateway : s->o.socket; }
