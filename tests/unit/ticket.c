#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "src/core/err.h"
#include "src/core/secret.h"
#include "src/core/ticket.h"
#include "src/core/wire.h"
#include "tests/lib/ticket_line.h"
#include "tests/lib/unit.h"

#define UID "0123456789abcdef0123456789abcdef"

static char why[300];

/* ------------------------------------------------------------ tickets */

/* As a gateway would make it: one address, no pin. */
static struct ticket small(void)
{
    struct ticket t = { .uid = UID, .role = TICKET_SEND, .channels = 4, .n_addresses = 1, .issued_s = 1790000000, .expires_s = 1790086400 };
    strcpy(t.address[0].host, "gw.example.org");
    t.address[0].port = 5000;
    for (unsigned i = 0; i < TICKET_KEY; i++)
        t.secret[i] = (uint8_t)(i + 1);
    return t;
}

static void fill(char *host, char c)
{
    for (unsigned i = 0; i < ADDR_HOST_MAX; i++)
        host[i] = i % 64 == 63 ? '.' : c;
    host[ADDR_HOST_MAX] = 0;
}

/* All that it can have, as long as it can be. */
static struct ticket large(void)
{
    struct ticket t = small();
    memset(t.uid, 'u', ADDR_ROUTE_MAX);
    t.role = TICKET_PROD;
    t.channels = t.n_ports = TICKET_PORTS;
    t.n_addresses = TICKET_ADDRESSES;
    t.n_pins = TICKET_PINS;
    for (unsigned i = 0; i < TICKET_ADDRESSES; i++) {
        fill(t.address[i].host, (char)('a' + i));
        t.address[i].port = (uint16_t)(UINT16_MAX - i);
    }
    fill(t.tls_name, 'n');
    memset(t.pin, 0xa5, sizeof(t.pin));
    for (unsigned i = 0; i < TICKET_PORTS; i++)
        t.port[i] = (uint16_t)(60000 + i);
    t.expires_s = 253402300799;
    t.class_ = TICKET_PROVISIONED;
    t.rate = UINT64_MAX;
    return t;
}

static bool same(const struct ticket *a, const struct ticket *b)
{
    bool equal = str_eq(a->uid, b->uid) && a->role == b->role && a->channels == b->channels && str_eq(a->tls_name, b->tls_name);
    equal = equal && a->n_addresses == b->n_addresses && a->n_pins == b->n_pins && a->n_ports == b->n_ports;
    for (unsigned i = 0; equal && i < a->n_addresses; i++)
        equal = str_eq(a->address[i].host, b->address[i].host) && a->address[i].port == b->address[i].port;
    return equal && memcmp(a->pin, b->pin, sizeof(a->pin)) == 0 && memcmp(a->secret, b->secret, TICKET_KEY) == 0 &&
           memcmp(a->port, b->port, sizeof(a->port)) == 0 && a->issued_s == b->issued_s && a->expires_s == b->expires_s &&
           a->class_ == b->class_ && a->rate == b->rate;
}

static void check_round_trip(const struct ticket *t)
{
    struct ticket back;
    char text[TICKET_TEXT];
    CU_ASSERT_EQUAL_FATAL(ticket_print(t, text), 0);
    CU_ASSERT_EQUAL_FATAL(ticket_parse(text, &back, why, sizeof(why)), 0);
    CU_ASSERT_TRUE(same(t, &back));
}

/* text is refused in these words, and nothing comes of it. */
static void check_refused(const char *text, const char *words)
{
    struct ticket t = small(), before = t;
    strcpy(why, "nothing");
    CU_ASSERT_EQUAL(ticket_parse(text, &t, why, sizeof(why)), -EINVAL);
    CU_ASSERT_TRUE(same(&t, &before));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, words));
    if (!strstr(why, words))
        fprintf(stderr, "'%s' lacks '%s'\n", why, words);
}

static void test_round_trip(void)
{
    static const char *const hosts[] = { "gw.example.org", "10.0.0.7", "2001:db8::7", "::1", "a", "a-b_c.d" };
    struct ticket t = small(), l = large();
    check_round_trip(&t);
    check_round_trip(&l);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        strcpy(t.address[0].host, hosts[i]);
        strcpy(t.tls_name, hosts[i]);
        check_round_trip(&t);
    }
    for (t.role = TICKET_SEND; t.role <= TICKET_PROD; t.role++)
        check_round_trip(&t);
    t = small();
    t.channels = TICKET_CHANNELS;
    t.issued_s = 0;
    t.expires_s = 1;
    t.class_ = 200; /* of a later version */
    check_round_trip(&t);
}

static void test_size(void)
{
    struct ticket l = large();
    char text[TICKET_TEXT];
    CU_ASSERT_EQUAL(ticket_print(&l, text), 0);
    CU_ASSERT_EQUAL(strlen(text), 2713); /* what the header says */
}

/* Made from scistream-protocol(7) by tests/lib/make_ticket.py, which knows nothing of this code: what the format is must not change. */
static void test_known(void)
{
    static const char line[] =
        "sst1.AQAIMTIzNC1hYmMCAAEDAwAEAAAAAgQAChPsMTAuMC4wLjcEAA0TiDIwMDE6ZGI4OjpiBQAOZ3cuZXhhbXBsZS5vcmcGACD__________"
        "________________________________wcAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gCAAIAAAAAGqxO4AJAAgAAAAAarKNAAo"
        "ABBQLFA6AAAEBgQAIAAAAAlQL5ADKwzuxy-0g-g";
    struct ticket t, want = small();
    char text[TICKET_TEXT];
    strcpy(want.uid, "1234-abc");
    want.role = TICKET_CONS;
    want.channels = want.n_ports = want.n_addresses = 2;
    strcpy(want.address[0].host, "10.0.0.7");
    want.address[0].port = 5100;
    strcpy(want.address[1].host, "2001:db8::b");
    want.address[1].port = 5000;
    strcpy(want.tls_name, "gw.example.org");
    want.n_pins = 1;
    memset(want.pin[0], 0xff, TICKET_KEY);
    want.port[0] = 5131;
    want.port[1] = 5134;
    want.class_ = TICKET_PROVISIONED;
    want.rate = 10000000000;
    CU_ASSERT_EQUAL_FATAL(ticket_parse(line, &t, why, sizeof(why)), 0);
    CU_ASSERT_TRUE(same(&t, &want));
    CU_ASSERT_EQUAL(ticket_print(&want, text), 0);
    CU_ASSERT_STRING_EQUAL(text, line);
}

/* ------------------------------------------------------------ copying */

static void test_every_change(void)
{
    struct ticket s = small(), t;
    char text[TICKET_TEXT], bad[TICKET_TEXT];
    unsigned unnoticed = 0;
    ticket_print(&s, text);
    for (size_t i = 0; i < strlen(text); i++) {
        strcpy(bad, text);
        for (unsigned c = 0; c < 256; c++) {
            bad[i] = (char)c;
            unnoticed += c != (unsigned char)text[i] && ticket_parse(bad, &t, why, sizeof(why)) != -EINVAL;
        }
    }
    CU_ASSERT_EQUAL(unnoticed, 0);
}

static void test_every_cut(void)
{
    struct ticket s = small(), l = large(), t;
    char text[TICKET_TEXT], bad[TICKET_TEXT];
    const struct ticket *const both[] = { &s, &l };
    for (size_t k = 0; k < ARRAY_LEN(both); k++) {
        ticket_print(both[k], text);
        size_t n = strlen(text);
        unsigned unnoticed = 0;
        for (size_t i = 0; i < n; i++) { /* its end; its beginning; one character within; two that changed places */
            snprintf(bad, sizeof(bad), "%.*s", (int)i, text);
            unnoticed += ticket_parse(bad, &t, why, sizeof(why)) != -EINVAL;
            unnoticed += i > 0 && ticket_parse(text + i, &t, why, sizeof(why)) != -EINVAL;
            snprintf(bad, sizeof(bad), "%.*s%s", (int)i, text, text + i + 1);
            unnoticed += ticket_parse(bad, &t, why, sizeof(why)) != -EINVAL;
            strcpy(bad, text);
            bad[i] = text[(i + 1) % n];
            bad[(i + 1) % n] = text[i];
            unnoticed += !str_eq(bad, text) && ticket_parse(bad, &t, why, sizeof(why)) != -EINVAL;
        }
        CU_ASSERT_EQUAL(unnoticed, 0);
    }
}

static void test_white_space(void)
{
    struct ticket s = small(), t;
    char text[TICKET_TEXT], more[2 * TICKET_TEXT + 10];
    static const char *const around[][2] = { { "", "\n" }, { "", "\r\n" }, { "  ", "" }, { "\n\t ", " \n\n" } };
    ticket_print(&s, text);
    for (size_t i = 0; i < ARRAY_LEN(around); i++) {
        snprintf(more, sizeof(more), "%s%s%s", around[i][0], text, around[i][1]);
        CU_ASSERT_EQUAL(ticket_parse(more, &t, why, sizeof(why)), 0);
        CU_ASSERT_TRUE(same(&s, &t));
    }
    snprintf(more, sizeof(more), "%.80s\n%s", text, text + 80);
    check_refused(more, "wrapped, it has a line break behind character 80");
    snprintf(more, sizeof(more), "%.60s\r\n  %s", text, text + 60);
    check_refused(more, "wrapped, it has a line break behind character 60");
    snprintf(more, sizeof(more), "%.7s %s", text, text + 7);
    check_refused(more, "a space behind character 7");
    snprintf(more, sizeof(more), "%s\n%s\n", text, text);
    check_refused(more, "more than one ticket");
    snprintf(more, sizeof(more), "%s of instrument 7", text);
    check_refused(more, "take it away, or what follows");
    snprintf(more, sizeof(more), "%s.", text);
    check_refused(more, "0x2e");
}

static void test_no_ticket(void)
{
    struct ticket s = small();
    char text[TICKET_TEXT], more[TICKET_TEXT + 10];
    ticket_print(&s, text);
    check_refused("", "there is no ticket");
    check_refused(" \n", "there is no ticket");
    check_refused("sst", "this is no ticket");
    check_refused("sst1", "this is no ticket");
    check_refused("gateway://gw.example.org/detector", "this is no ticket: one begins with sst1.");
    check_refused("sst0.AAAA", "this is no ticket");
    check_refused("sst01.AAAA", "this is no ticket");
    check_refused("sst-1.AAAA", "this is no ticket");
    check_refused("SST1.AAAA", "this is no ticket");
    check_refused("sst1.", "only its beginning");
    check_refused("sst1.AAAA", "only its beginning");
    check_refused("sst1.A", "cut or altered");
    snprintf(more, sizeof(more), "sst2.%s", text + 5);
    check_refused(more, "version 2, and this program knows version 1: use a newer one");
    check_refused("sst9999.?", "version 9999");
    check_refused("sst99999.AAAA", "this is no ticket");
    for (size_t i = 5; i < sizeof(more) - 1; i++)
        more[i] = 'A';
    memcpy(more, "sst1.", 5);
    more[TICKET_TEXT] = 0;
    check_refused(more, "more than 4096 characters");
    more[TICKET_TEXT - 1] = 0;
    check_refused(more, "cut or altered");
    CU_ASSERT_EQUAL(ticket_parse("", &s, NULL, 0), -EINVAL);
    CU_ASSERT_TRUE(ticket_resembles("sst1.x") && ticket_resembles("sst27."));
    CU_ASSERT_FALSE(ticket_resembles("sst.x") || ticket_resembles("./sst1.x") || ticket_resembles("sst1") || ticket_resembles(""));
}

/* ------------------------------------------------------------ fields */

struct fields { uint8_t data[4096]; struct wire w; };

static void add(struct fields *f, uint8_t number, const void *value, size_t n)
{
    wire_put_u8(&f->w, number);
    wire_put_u16(&f->w, (uint16_t)n);
    wire_put_bytes(&f->w, value, n);
}

/* Those that must be there and have numbers from..to. */
static void add_needed(struct fields *f, uint8_t from, uint8_t to)
{
    static const struct { uint8_t number; const char *value; size_t n; } needed[] = {
        { 1, UID, 32 }, { 2, "\2", 1 }, { 3, "\0\0\0\1", 4 }, { 4, "\x13\x88gw", 4 }, { 7, "secret..secret..secret..secret..", 32 },
        { 8, "\0\0\0\0\0\0\0\1", 8 }, { 9, "\0\0\0\0\0\0\0\2", 8 },
    };
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (needed[i].number >= from && needed[i].number <= to)
            add(f, needed[i].number, needed[i].value, needed[i].n);
}

static struct fields *begin(void)
{
    struct fields *f = mem_zalloc(1, sizeof(*f));
    f->w = wire_writer(f->data, sizeof(f->data));
    return f;
}

static char *line_of(struct fields *f)
{
    CU_ASSERT_FALSE(f->w.bad);
    char *line = ticket_line(f->data, (size_t)(f->w.p - f->data));
    free(f);
    return line;
}

/* Field `number`, once, in its place among the others that are needed. */
static char *line_with(uint8_t number, const void *value, size_t n)
{
    struct fields *f = begin();
    add_needed(f, 0, (uint8_t)(MAX(number, 1) - 1));
    add(f, number, value, n);
    add_needed(f, (uint8_t)(number + 1), 255);
    return line_of(f);
}

static void check_field(uint8_t number, const void *value, size_t n, const char *words)
{
    AUTO_FREE char *line = line_with(number, value, n);
    struct ticket t;
    if (words) {
        check_refused(line, words);
        return;
    }
    CU_ASSERT_EQUAL(ticket_parse(line, &t, why, sizeof(why)), 0);
}

static void test_unknown_fields(void)
{
    static const uint8_t later[1000];
    struct ticket t;
    struct fields *f = begin();
    add_needed(f, 0, 255);
    add(f, 130, "what comes later", 16);
    add(f, 130, "", 0);
    add(f, 255, later, sizeof(later));
    AUTO_FREE char *line = line_of(f);
    CU_ASSERT_EQUAL_FATAL(ticket_parse(line, &t, why, sizeof(why)), 0);
    CU_ASSERT_STRING_EQUAL(t.uid, UID);
    CU_ASSERT(t.role == TICKET_RECV && t.channels == 1 && t.expires_s == 2 && t.rate == 0);
    check_field(11, "x", 1, "has field 11, which must be understood");
    check_field(127, "", 0, "has field 127, which must be understood");
    check_field(0, "", 0, "has field 0, which must be understood");
}

static void test_lengths(void)
{
    /* of each field: the shortest and the longest value */
    static const struct { uint8_t number; size_t min, max; } rows[] = { { 2, 1, 1 }, { 3, 4, 4 }, { 7, 32, 32 }, { 8, 8, 8 }, { 9, 8, 8 },
                                                                        { 1, 1, 64 }, { 4, 3, 255 }, { 5, 1, 253 }, { 6, 32, 32 },
                                                                        { 10, 2, 512 }, { 128, 1, 1 }, { 129, 8, 8 } };
    uint8_t value[1000];
    char words[40];
    memset(value, 1, sizeof(value));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(words, sizeof(words), "field %u of the ticket makes no sense", rows[i].number);
        check_field(rows[i].number, value, rows[i].min - 1, words);
        check_field(rows[i].number, value, rows[i].max + 1, words);
        check_field(rows[i].number, value, sizeof(value), words);
        check_field(rows[i].number, value, 0, words);
    }
    check_field(10, value, 3, "field 10 of the ticket makes no sense");
}

static void test_missing(void)
{
    static const uint8_t needed[] = { 1, 2, 3, 4, 7, 8, 9 };
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        char words[40];
        struct fields *f = begin();
        add_needed(f, 0, (uint8_t)(needed[i] - 1));
        add_needed(f, (uint8_t)(needed[i] + 1), 255);
        AUTO_FREE char *line = line_of(f);
        snprintf(words, sizeof(words), "the ticket lacks field %u", needed[i]);
        check_refused(line, words);
    }
    AUTO_FREE char *none = ticket_line(NULL, 0);
    check_refused(none, "the ticket lacks field 1");
}

static void test_too_many(void)
{
    static const struct { uint8_t number; const char *value; size_t n; unsigned most; } rows[] = {
        { 1, UID, 32, 1 }, { 4, "\x13\x88gw", 4, 4 }, { 6, "pin.....pin.....pin.....pin.....", 32, 2 }, { 128, "\1", 1, 1 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (unsigned extra = 0; extra < 2; extra++) {
            struct ticket t;
            struct fields *f = begin();
            add_needed(f, 0, (uint8_t)(rows[i].number - 1));
            for (unsigned k = 0; k < rows[i].most + extra; k++)
                add(f, rows[i].number, rows[i].value, rows[i].n);
            add_needed(f, (uint8_t)(rows[i].number + 1), 255);
            AUTO_FREE char *line = line_of(f);
            if (extra)
                check_refused(line, "makes no sense");
            else
                CU_ASSERT_EQUAL(ticket_parse(line, &t, why, sizeof(why)), 0);
        }
}

static void test_order(void)
{
    struct fields *f = begin();
    add_needed(f, 2, 255);
    add_needed(f, 1, 1);
    AUTO_FREE char *line = line_of(f);
    check_refused(line, "makes no sense behind field 9");
    f = begin();
    add_needed(f, 0, 255);
    f->w.p -= 8 + 1; /* the last field is longer than what is left, by its length */
    AUTO_FREE char *cut = line_of(f);
    check_refused(cut, "makes no sense behind field 8");
    f = begin();
    add_needed(f, 0, 255);
    wire_put_u8(&f->w, 200); /* a number without a length */
    AUTO_FREE char *half = line_of(f);
    check_refused(half, "makes no sense behind field 9");
}

static void test_values(void)
{
    static const uint8_t zero[TICKET_KEY];
    check_field(1, "a/b", 3, "the session in the ticket");
    check_field(1, "-a", 2, "the session in the ticket");
    check_field(1, "a\0b", 3, "field 1 of the ticket");
    check_field(1, "\xc3\xa4", 2, "the session in the ticket");
    check_field(2, "\0", 1, "the role in the ticket");
    check_field(2, "\5", 1, "the role in the ticket");
    check_field(2, "\377", 1, "the role in the ticket");
    check_field(3, "\0\0\0\0", 4, "the number of channels in the ticket");
    check_field(3, "\0\1\0\0", 4, NULL);
    check_field(3, "\0\1\0\1", 4, "the number of channels in the ticket");
    check_field(3, "\377\377\377\377", 4, "the number of channels in the ticket");
    check_field(4, "\0\0gw", 4, "the address in the ticket");
    check_field(4, "\x13\x88g w", 5, "the address in the ticket");
    check_field(4, "\x13\x88g\0w", 5, "field 4 of the ticket");
    check_field(4, "\x13\x88[::1]", 7, "the address in the ticket");
    check_field(4, "\x13\x88::1", 5, NULL);
    check_field(4, "\x13\x88" "fe80::1%1", 11, "the address in the ticket"); /* of this machine only */
    check_field(5, "gw:1", 4, "the name in the certificate in the ticket");
    check_field(5, "gw\n", 3, "the name in the certificate in the ticket");
    check_field(7, zero, sizeof(zero), "the secret in the ticket");
    check_field(8, "\0\0\0\0\0\0\0\2", 8, "the time in the ticket");
    check_field(9, "\0\0\0\0\0\0\0\1", 8, "the time in the ticket");
    check_field(9, "\0\0\0\x3a\xff\xf4\x41\x7f", 8, NULL); /* the last second of 9999 */
    check_field(9, "\0\0\0\x3a\xff\xf4\x41\x80", 8, "the time in the ticket");
    check_field(10, "\x13\x89", 2, "the port in the ticket"); /* of a ticket to attach with */
}

/* Ports are those of transparent channels, one each. */
static void test_ports(void)
{
    struct ticket t = small();
    char text[TICKET_TEXT] = "before";
    t.role = TICKET_CONS;
    t.channels = 2;
    t.n_ports = 2;
    t.port[0] = 5107;
    t.port[1] = 5100;
    check_round_trip(&t);
    t.n_ports = 1;
    CU_ASSERT_EQUAL(ticket_print(&t, text), -EINVAL);
    t.n_ports = 2;
    t.port[1] = 0;
    CU_ASSERT_EQUAL(ticket_print(&t, text), -EINVAL);
    t.port[1] = 5100;
    t.role = TICKET_RECV;
    CU_ASSERT_EQUAL(ticket_print(&t, text), -EINVAL);
    t.role = TICKET_CONS;
    t.channels = t.n_ports = TICKET_PORTS + 1;
    CU_ASSERT_EQUAL(ticket_print(&t, text), -EINVAL);
    CU_ASSERT_STRING_EQUAL(text, "before");
}

/* What could not be read again is not printed. */
static void test_print_refuses(void)
{
    char text[TICKET_TEXT];
    struct ticket t = { .n_addresses = 0 };
    CU_ASSERT_EQUAL(ticket_print(&t, text), -EINVAL);
#define BREAK(change) do { t = small(); change; CU_ASSERT_EQUAL(ticket_print(&t, text), -EINVAL); } while (0)
    BREAK(t.uid[0] = 0);
    BREAK(t.role = 0);
    BREAK(t.role = 5);
    BREAK(t.channels = 0);
    BREAK(t.n_addresses = 0);
    BREAK(t.n_addresses = TICKET_ADDRESSES + 1);
    BREAK(t.n_addresses = 2);
    BREAK(t.address[0].port = 0);
    BREAK(t.n_pins = TICKET_PINS + 1);
    BREAK(memset(t.secret, 0, TICKET_KEY));
    BREAK(t.expires_s = t.issued_s);
    BREAK(strcpy(t.tls_name, "a b"));
#undef BREAK
}

/* ------------------------------------------------------------ files */

static char path[] = "/tmp/unit-ticket-XXXXXX";

static void put_file(const void *data, size_t n, mode_t mode)
{
    AUTO_FD int fd = open(path, O_WRONLY | O_TRUNC);
    CU_ASSERT(write(fd, data, n) == (ssize_t)n);
    CU_ASSERT(fchmod(fd, mode) == 0);
}

static void check_file_refused(const char *from, int rc, const char *words)
{
    struct ticket t = small(), before = t;
    *why = 0;
    CU_ASSERT_EQUAL(ticket_read(from, &t, why, sizeof(why)), rc);
    CU_ASSERT_TRUE(same(&t, &before));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, words));
    CU_ASSERT_TRUE(str_starts(why, str_eq(from, "-") ? "standard input: " : from));
}

static void test_file(void)
{
    struct ticket s = small(), t;
    char text[TICKET_TEXT + 400];
    int made = mkstemp(path);
    CU_ASSERT_FATAL(made >= 0);
    close(made);
    ticket_print(&s, text);
    size_t n = strlen(text);
    put_file(text, n, 0600);
    CU_ASSERT_EQUAL_FATAL(ticket_read(path, &t, why, sizeof(why)), 0);
    CU_ASSERT_TRUE(same(&s, &t));
    strcat(text, "\n");
    put_file(text, n + 1, 0400);
    CU_ASSERT_EQUAL(ticket_read(path, &t, why, sizeof(why)), 0);
    put_file(text, n + 1, 0640);
    check_file_refused(path, -EPERM, "chmod 600");
    put_file(text, n - 9, 0600);
    check_file_refused(path, -EINVAL, "cut or altered");
    put_file(text, n + 2, 0600); /* with a NUL behind it */
    check_file_refused(path, -EINVAL, "it is not text");
    memset(text + n, '\n', sizeof(text) - n);
    put_file(text, sizeof(text), 0600);
    check_file_refused(path, -EINVAL, "too long");
    put_file(text, 0, 0600);
    check_file_refused(path, -EINVAL, "nothing is here");
    unlink(path);
    check_file_refused(path, -ENOENT, "No such file");
    check_file_refused("/tmp", -EINVAL, "regular file");
}

static void test_standard_input(void)
{
    struct ticket s = small(), t;
    char text[TICKET_TEXT];
    int saved = dup(STDIN_FILENO), in = memfd_create("in", MFD_CLOEXEC);
    ticket_print(&s, text);
    CU_ASSERT(write(in, text, strlen(text)) == (ssize_t)strlen(text));
    dup2(in, STDIN_FILENO);
    CU_ASSERT(lseek(in, 0, SEEK_SET) == 0);
    CU_ASSERT_EQUAL_FATAL(ticket_read("-", &t, why, sizeof(why)), 0);
    CU_ASSERT_TRUE(same(&s, &t));
    check_file_refused("-", -EINVAL, "nothing is here"); /* it is at its end */
    close(STDIN_FILENO);
    check_file_refused("-", -EBADF, "Bad file");
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(in);
}

/* ------------------------------------------------------------ time */

static void test_expiry(void)
{
    struct ticket t = small();
    t.expires_s = 1795737000;
    CU_ASSERT_EQUAL(ticket_check_time(&t, 0, why, sizeof(why)), 0);
    CU_ASSERT_EQUAL(ticket_check_time(&t, t.expires_s - 1, why, sizeof(why)), 0);
    CU_ASSERT_EQUAL(ticket_check_time(&t, t.expires_s, why, sizeof(why)), -SST_EDENIED);
    CU_ASSERT_STRING_EQUAL(why, "the ticket expired at 2026-11-26T23:50:00Z: ask for a new one");
    CU_ASSERT_EQUAL(ticket_check_time(&t, UINT64_MAX, NULL, 0), -SST_EDENIED);
}

static void test_time_text(void)
{
    char text[TICKET_TIME];
    CU_ASSERT_STRING_EQUAL(ticket_time(text, 0), "1970-01-01T00:00:00Z");
    CU_ASSERT_STRING_EQUAL(ticket_time(text, 253402300799), "9999-12-31T23:59:59Z");
    CU_ASSERT_STRING_EQUAL(ticket_time(text, UINT64_MAX), "9999-12-31T23:59:59Z");
}

static void test_wipe(void)
{
    static const struct ticket zero;
    struct ticket t;
    memset(&t, 0x5a, sizeof(t));
    ticket_wipe(&t);
    CU_ASSERT_EQUAL(memcmp(&t, &zero, sizeof(t)), 0);
}

static void test_roles(void)
{
    CU_ASSERT_STRING_EQUAL(ticket_role_name(TICKET_SEND), "send");
    CU_ASSERT_STRING_EQUAL(ticket_role_name(TICKET_PROD), "prod");
    CU_ASSERT(ticket_role_name(0) == NULL && ticket_role_name(5) == NULL);
}

UNIT_MAIN("ticket", UNIT(test_round_trip), UNIT(test_size), UNIT(test_known), UNIT(test_every_change), UNIT(test_every_cut),
          UNIT(test_white_space), UNIT(test_no_ticket), UNIT(test_unknown_fields), UNIT(test_lengths), UNIT(test_missing),
          UNIT(test_too_many), UNIT(test_order), UNIT(test_values), UNIT(test_ports), UNIT(test_print_refuses), UNIT(test_file),
          UNIT(test_standard_input), UNIT(test_expiry), UNIT(test_time_text), UNIT(test_wipe), UNIT(test_roles))
