/* A ticket: the input as the line, and as the fields of one whose checksum fits, which no mutation of a line would hit. */
#include "src/core/ticket.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/ticket_line.h"

static void check_same(const struct ticket *a, const struct ticket *b)
{
    FUZZ_CHECK(str_eq(a->uid, b->uid) && a->role == b->role && a->channels == b->channels && str_eq(a->tls_name, b->tls_name));
    FUZZ_CHECK(a->n_addresses == b->n_addresses && a->n_pins == b->n_pins && a->n_ports == b->n_ports);
    for (unsigned i = 0; i < a->n_addresses; i++)
        FUZZ_CHECK(str_eq(a->address[i].host, b->address[i].host) && a->address[i].port == b->address[i].port);
    FUZZ_CHECK(memcmp(a->pin, b->pin, a->n_pins * sizeof(a->pin[0])) == 0 && memcmp(a->secret, b->secret, sizeof(a->secret)) == 0);
    FUZZ_CHECK(memcmp(a->port, b->port, a->n_ports * sizeof(a->port[0])) == 0);
    FUZZ_CHECK(a->issued_s == b->issued_s && a->expires_s == b->expires_s && a->class_ == b->class_ && a->rate == b->rate);
}

static void try_line(const char *line)
{
    struct ticket t, back;
    char why[200] = "", again[TICKET_TEXT];
    if (ticket_parse(line, &t, why, sizeof(why)) < 0) {
        FUZZ_CHECK(*why);
        return;
    }
    FUZZ_CHECK(ticket_print(&t, again) == 0 && strlen(again) < TICKET_TEXT);
    FUZZ_CHECK(ticket_parse(again, &back, why, sizeof(why)) == 0);
    check_same(&t, &back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *text = fuzz_text(data, size);
    AUTO_FREE char *line = ticket_line(data, size);
    try_line(text);
    try_line(line);
    return 0;
}
