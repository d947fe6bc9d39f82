/* Somebody without an attach at a verbs listener: stranger HOST PORT KIND.... Says what became of each connection, on standard output. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/rdma/raw.h"

/* One byte of a private data that is right but for its cookie; or fewer bytes, or others. */
static const struct kind { const char *name; uint8_t at, value; uint8_t n; bool random; } kinds[] = {
    { "cookie", 8, 1, VERBS_PRIVATE, false }, { "magic", 0, 'X', VERBS_PRIVATE, false }, { "version", 4, 9, VERBS_PRIVATE, false },
    { "mtu", 5, 9, VERBS_PRIVATE, false },    { "few", 7, 63, VERBS_PRIVATE, false },    { "short", 8, 1, 40, false },
    { "none", 8, 1, 0, false },               { "garbage", 0, 0xa5, 56, true },          { "large", 8, 1, 56, false },
};

static const struct kind *kind_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_eq(kinds[i].name, name))
            return &kinds[i];
    fprintf(stderr, "stranger: no kind '%s'\n", name);
    exit(64);
}

static void meet(const char *host, uint16_t port, const struct kind *k)
{
    struct raw r = { 0 };
    struct verbs_intro intro = { .receives = RAW_RECEIVES, .base = 4096, .size = 1 << 20, .rkey = 1, .chunk_max = 1 << 18 };
    uint8_t private[64] = { 0 };
    verbs_intro_encode(&intro, private);
    if (k->random)
        memset(private, k->value, sizeof(private));
    private[k->at] = k->value;
    const char *why = raw_resolve(&r, host, port);
    printf("%s: %s\n", k->name, *why || *(why = raw_connect(&r, private, k->n)) ? why : "CONNECTED");
    fflush(stdout);
    raw_close(&r);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 64;
    for (int i = 3; i < argc; i++)
        meet(argv[1], (uint16_t)atoi(argv[2]), kind_of(argv[i]));
    return 0;
}
