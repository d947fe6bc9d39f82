#include "src/core/ticket.h"

#include <errno.h>
#include <stdio.h>

#include "src/core/base64url.h"
#include "src/core/digest.h"
#include "src/core/err.h"
#include "src/core/reason.h"
#include "src/core/secret.h"
#include "src/core/units.h"
#include "src/core/wire.h"

#define HEAD "sst1." /* TICKET_VERSION */
#define HEAD_LEN (sizeof(HEAD) - 1)
#define BODY_MAX BASE64URL_BYTES(TICKET_TEXT - 1 - HEAD_LEN)
#define SUM 8
#define OPTIONAL 128          /* fields from here on are skipped by who does not know them */
#define CONTENT_MAX (TICKET_TEXT + 256) /* of a file: some white space */
#define TIME_MAX_S 253402300799 /* the end of 9999 */
#define SPACE " \t\r\n"

#define refuse(why, ...) reason_set(why, -EINVAL, __VA_ARGS__)

void ticket_wipe(struct ticket *t) { secret_wipe(t, sizeof(*t)); }

const char *ticket_role_name(enum ticket_role role)
{
    static const char *const names[] = { [TICKET_SEND] = "send", [TICKET_RECV] = "recv", [TICKET_CONS] = "cons", [TICKET_PROD] = "prod" };
    return (size_t)role < ARRAY_LEN(names) ? names[role] : NULL;
}

/* ------------------------------------------------------------ what can be in one */

/* A name or an address that means the same on every machine. */
static bool host_ok(const char *host)
{
    char text[ADDR_HOST_MAX + 16], back[ADDR_HOST_MAX + 1], why[8];
    uint16_t port;
    snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:1" : "%s:1", host);
    return *host && !strchr(host, '%') && addr_parse_hostport(text, 0, back, &port, why, sizeof(why)) == 0 && str_eq(back, host);
}

static bool addresses_ok(const struct ticket *t)
{
    for (unsigned i = 0; i < MIN(t->n_addresses, TICKET_ADDRESSES); i++)
        if (!t->address[i].port || !host_ok(t->address[i].host))
            return false;
    return t->n_addresses >= 1 && t->n_addresses <= TICKET_ADDRESSES;
}

static bool ports_ok(const struct ticket *t)
{
    if (t->n_ports == 0)
        return true;
    for (unsigned i = 0; i < MIN(t->n_ports, TICKET_PORTS); i++)
        if (!t->port[i])
            return false;
    return ticket_is_transparent(t) && t->n_ports == t->channels && t->n_ports <= TICKET_PORTS;
}

/* What is wrong with it, NULL: nothing. */
static const char *find_fault(const struct ticket *t)
{
    static const uint8_t zero[TICKET_KEY];
    if (!addr_route_ok(t->uid))
        return "session";
    if (!ticket_role_name(t->role))
        return "role";
    if (t->channels < 1 || t->channels > TICKET_CHANNELS)
        return "number of channels";
    if (!addresses_ok(t))
        return "address";
    if (*t->tls_name && !host_ok(t->tls_name))
        return "name in the certificate";
    if (secret_equal(t->secret, zero, sizeof(zero)))
        return "secret";
    if (t->issued_s >= t->expires_s || t->expires_s > TIME_MAX_S)
        return "time";
    if (t->n_pins > TICKET_PINS)
        return "pin";
    return ports_ok(t) ? NULL : "port";
}

/* ------------------------------------------------------------ fields */

/* All of the value. Text has no NUL in it; bounds of its length are those of the row. */
static bool take_text(struct wire *v, char *to)
{
    size_t n = wire_left(v);
    wire_bytes(v, to, n);
    to[n] = 0;
    return strlen(to) == n;
}

static bool take_uid(struct wire *v, struct ticket *t) { return take_text(v, t->uid); }
static bool take_name(struct wire *v, struct ticket *t) { return take_text(v, t->tls_name); }

static bool take_role(struct wire *v, struct ticket *t)
{
    t->role = wire_u8(v);
    return true;
}

static bool take_channels(struct wire *v, struct ticket *t)
{
    t->channels = wire_u32(v);
    return true;
}

static bool take_address(struct wire *v, struct ticket *t)
{
    t->address[t->n_addresses].port = wire_u16(v);
    return take_text(v, t->address[t->n_addresses++].host);
}

static bool take_pin(struct wire *v, struct ticket *t)
{
    wire_bytes(v, t->pin[t->n_pins++], TICKET_KEY);
    return true;
}

static bool take_secret(struct wire *v, struct ticket *t)
{
    wire_bytes(v, t->secret, TICKET_KEY);
    return true;
}

static bool take_issued(struct wire *v, struct ticket *t)
{
    t->issued_s = wire_u64(v);
    return true;
}

static bool take_expires(struct wire *v, struct ticket *t)
{
    t->expires_s = wire_u64(v);
    return true;
}

static bool take_ports(struct wire *v, struct ticket *t)
{
    while (wire_left(v) >= 2)
        t->port[t->n_ports++] = wire_u16(v);
    return wire_left(v) == 0;
}

static bool take_class(struct wire *v, struct ticket *t)
{
    t->class_ = wire_u8(v);
    return true;
}

static bool take_rate(struct wire *v, struct ticket *t)
{
    t->rate = wire_u64(v);
    return true;
}

enum { SESSION = 1, ROLE, CHANNELS, ADDRESS, NAME, PIN, SECRET, ISSUED, EXPIRES, PORTS, CLASS = OPTIONAL, RATE };

/* Length of the value, and how often the field is there. */
static const struct field {
    uint8_t number;
    uint16_t len_min, len_max;
    uint8_t least, most;
    bool (*take)(struct wire *v, struct ticket *t);
} fields[] = {
    { SESSION, 1, ADDR_ROUTE_MAX, 1, 1, take_uid },
    { ROLE, 1, 1, 1, 1, take_role },
    { CHANNELS, 4, 4, 1, 1, take_channels },
    { ADDRESS, 3, 2 + ADDR_HOST_MAX, 1, TICKET_ADDRESSES, take_address },
    { NAME, 1, ADDR_HOST_MAX, 0, 1, take_name },
    { PIN, TICKET_KEY, TICKET_KEY, 0, TICKET_PINS, take_pin },
    { SECRET, TICKET_KEY, TICKET_KEY, 1, 1, take_secret },
    { ISSUED, 8, 8, 1, 1, take_issued },
    { EXPIRES, 8, 8, 1, 1, take_expires },
    { PORTS, 2, 2 * TICKET_PORTS, 0, 1, take_ports },
    { CLASS, 1, 1, 0, 1, take_class },
    { RATE, 8, 8, 0, 1, take_rate },
};

static const struct field *find_field(uint8_t number)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].number == number)
            return &fields[i];
    return NULL;
}

/* ------------------------------------------------------------ from text */

static int take_field(const struct field *f, struct wire *v, unsigned *count, struct ticket *t, const struct reason *why)
{
    if (wire_left(v) < f->len_min || wire_left(v) > f->len_max || *count == f->most || !f->take(v, t))
        return refuse(why, "field %u of the ticket makes no sense: it was made by a program at fault", f->number);
    ++*count;
    return 0;
}

static int take_fields(struct wire *w, struct ticket *t, const struct reason *why)
{
    unsigned count[ARRAY_LEN(fields)] = { 0 };
    uint8_t last = 0;
    int rc = 0;
    while (rc == 0 && wire_left(w) > 0) {
        uint8_t number = wire_u8(w);
        uint16_t len = wire_u16(w);
        const uint8_t *value = wire_take(w, len);
        const struct field *f = find_field(number);
        if (!value || number < last)
            return refuse(why, "the ticket makes no sense behind field %u: it was made by a program at fault", last);
        if (!f && number < OPTIONAL)
            return refuse(why, "the ticket has field %u, which must be understood, and this version does not know it: use a newer one", number);
        struct wire v = wire_reader(value, len);
        rc = f ? take_field(f, &v, &count[f - fields], t, why) : 0;
        last = number;
    }
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(fields); i++)
        if (count[i] < fields[i].least)
            rc = refuse(why, "the ticket lacks field %u: it was made by a program at fault", fields[i].number);
    return rc;
}

static void make_sum(const uint8_t *data, size_t n, uint8_t sum[SUM])
{
    uint8_t all[DIGEST_SIZE];
    struct digest *d = digest_new();
    digest_add(d, data, n);
    digest_get(d, all);
    digest_free(d);
    memcpy(sum, all, SUM);
}

static int take_body(const uint8_t *body, size_t n, struct ticket *out, const struct reason *why)
{
    uint8_t sum[SUM];
    if (n < SUM)
        return refuse(why, "the ticket is cut: only its beginning is here");
    make_sum(body, n - SUM, sum);
    if (memcmp(sum, body + n - SUM, SUM) != 0)
        return refuse(why, "the ticket is cut or altered, its checksum does not fit: copy all of the line again");
    struct wire w = wire_reader(body, n - SUM);
    struct ticket t = { .n_addresses = 0 };
    int rc = take_fields(&w, &t, why);
    const char *fault = rc == 0 ? find_fault(&t) : NULL;
    if (fault)
        rc = refuse(why, "the %s in the ticket makes no sense: it was made by a newer program, or by one at fault", fault);
    if (rc == 0)
        *out = t;
    ticket_wipe(&t);
    return rc;
}

/* "sst12." -> 12; 0: text does not begin like that. */
static unsigned version_of(const char *text)
{
    size_t digits = str_starts(text, "sst") ? strspn(text + 3, "0123456789") : 0;
    if (digits < 1 || digits > 4 || text[3] == '0' || text[3 + digits] != '.')
        return 0;
    return (unsigned)strtoul(text + 3, NULL, 10);
}

bool ticket_resembles(const char *text) { return version_of(text) > 0; }

/* n characters that begin as they should. What is no character of a ticket is no part of its secret: it may be shown. */
static int check_characters(const char *text, size_t n, const struct reason *why)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t good = HEAD_LEN + strspn(text + HEAD_LEN, alphabet);
    unsigned char bad = (unsigned char)text[good];
    if (good >= n)
        return 0;
    if (ticket_resembles(text + good + strspn(text + good, SPACE)))
        return refuse(why, "there is more than one ticket: give one");
    if (bad == '\n' || bad == '\r')
        return refuse(why, "the ticket was wrapped, it has a line break behind character %zu: join its lines to one, without spaces", good);
    if (bad == ' ' || bad == '\t')
        return refuse(why, "the ticket has a space behind character %zu: take it away, or what follows", good);
    return refuse(why, "the ticket has a character that it cannot have, 0x%02x, behind character %zu: copy all of the line again", bad, good);
}

int ticket_parse(const char *text, struct ticket *out, char *why, size_t why_size)
{
    const struct reason reason = { why, why_size };
    uint8_t body[BODY_MAX];
    text += strspn(text, SPACE);
    size_t n = strlen(text);
    while (n > 0 && strchr(SPACE, text[n - 1]))
        n--;
    unsigned version = version_of(text);
    if (version == 0)
        return refuse(&reason, n ? "this is no ticket: one begins with " HEAD : "there is no ticket, nothing is here");
    if (version != TICKET_VERSION)
        return refuse(&reason, "the ticket is of version %u, and this program knows version %d: use a newer one", version, TICKET_VERSION);
    if (check_characters(text, n, &reason) < 0)
        return -EINVAL;
    if (n >= TICKET_TEXT)
        return refuse(&reason, "this is no ticket: it has more than %d characters", TICKET_TEXT - 1);
    ssize_t len = base64url_decode(body, sizeof(body), text + HEAD_LEN, n - HEAD_LEN);
    int rc = len < 0 ? refuse(&reason, "the ticket is cut or altered at its end: copy all of the line again")
                     : take_body(body, (size_t)len, out, &reason);
    secret_wipe(body, sizeof(body));
    return rc;
}

/* ------------------------------------------------------------ to text */

static void put_head(struct wire *w, uint8_t number, size_t n)
{
    wire_put_u8(w, number);
    wire_put_u16(w, (uint16_t)n);
}

static void put_bytes(struct wire *w, uint8_t number, const void *data, size_t n)
{
    put_head(w, number, n);
    wire_put_bytes(w, data, n);
}

static void put_text(struct wire *w, uint8_t number, const char *text)
{
    if (*text)
        put_bytes(w, number, text, strlen(text));
}

/* A number of `size` bytes, 8 at most. */
static void put_number(struct wire *w, uint8_t number, size_t size, uint64_t v)
{
    uint8_t all[8];
    struct wire to = wire_writer(all, sizeof(all));
    wire_put_u64(&to, v);
    put_bytes(w, number, all + sizeof(all) - size, size);
}

static void put_fields(struct wire *w, const struct ticket *t)
{
    put_text(w, SESSION, t->uid);
    put_number(w, ROLE, 1, t->role);
    put_number(w, CHANNELS, 4, t->channels);
    for (unsigned i = 0; i < t->n_addresses; i++) {
        put_head(w, ADDRESS, 2 + strlen(t->address[i].host));
        wire_put_u16(w, t->address[i].port);
        wire_put_bytes(w, t->address[i].host, strlen(t->address[i].host));
    }
    put_text(w, NAME, t->tls_name);
    for (unsigned i = 0; i < t->n_pins; i++)
        put_bytes(w, PIN, t->pin[i], TICKET_KEY);
    put_bytes(w, SECRET, t->secret, TICKET_KEY);
    put_number(w, ISSUED, 8, t->issued_s);
    put_number(w, EXPIRES, 8, t->expires_s);
    if (t->n_ports)
        put_head(w, PORTS, 2 * t->n_ports);
    for (unsigned i = 0; i < t->n_ports; i++)
        wire_put_u16(w, t->port[i]);
    if (t->class_)
        put_number(w, CLASS, 1, t->class_);
    if (t->rate)
        put_number(w, RATE, 8, t->rate);
}

int ticket_print(const struct ticket *t, char out[TICKET_TEXT])
{
    uint8_t body[BODY_MAX], sum[SUM];
    if (find_fault(t))
        return -EINVAL;
    struct wire w = wire_writer(body, sizeof(body));
    put_fields(&w, t);
    make_sum(body, (size_t)(w.p - body), sum);
    wire_put_bytes(&w, sum, SUM);
    memcpy(out, HEAD, HEAD_LEN);
    base64url_encode(out + HEAD_LEN, body, (size_t)(w.p - body));
    secret_wipe(body, sizeof(body));
    return 0;
}

/* ------------------------------------------------------------ from a file */

static int take_content(int fd, const char *name, struct ticket *out, const struct reason *why)
{
    char content[CONTENT_MAX + 1], text[200];
    ssize_t n = secret_read_all(fd, content, CONTENT_MAX);
    int rc = n < 0 ? (int)n : -EINVAL;
    content[MAX(n, 0)] = 0;
    if (n < 0)
        refuse(why, "%s: %s", name, err_text(rc));
    else if (n == CONTENT_MAX || strlen(content) < (size_t)n)
        refuse(why, "%s: this is no ticket: %s", name, n == CONTENT_MAX ? "it is too long for one" : "it is not text");
    else if ((rc = ticket_parse(content, out, text, sizeof(text))) < 0)
        refuse(why, "%s: %s", name, text);
    secret_wipe(content, sizeof(content));
    return rc;
}

int ticket_read(const char *path, struct ticket *out, char *why, size_t why_size)
{
    const struct reason reason = { why, why_size };
    if (str_eq(path, "-"))
        return take_content(STDIN_FILENO, "standard input", out, &reason);
    AUTO_FD int fd = secret_open(path, why, why_size);
    return fd < 0 ? fd : take_content(fd, path, out, &reason);
}

/* ------------------------------------------------------------ time */

const char *ticket_time(char out[TICKET_TIME], uint64_t s)
{
    time_t at = (time_t)MIN(s, (uint64_t)TIME_MAX_S);
    struct tm tm;
    gmtime_r(&at, &tm);
    strftime(out, TICKET_TIME, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return out;
}

int ticket_check_time(const struct ticket *t, uint64_t now_s, char *why, size_t why_size)
{
    char when[TICKET_TIME];
    if (now_s < t->expires_s)
        return 0;
    if (why_size)
        snprintf(why, why_size, "the ticket expired at %s: ask for a new one", ticket_time(when, t->expires_s));
    return -SST_EDENIED;
}
