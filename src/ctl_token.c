/* scistreamctl token: a new token, and the line for the gateway's file of them. */
#include <stdio.h>

#include "ctrl/policy.h"
#include "ctrl/tokens.h"
#include "src/scistreamctl.h"

#define TOKEN_BYTES 32

/* What is asked with one: from a file, which others may not read. */
char *ctl_token_read(const char *path)
{
    char *text = NULL, why[400];
    if (secret_read_text(path, TOKEN_MAX, &text, why, sizeof(why)) < 0) {
        fprintf(stderr, "scistreamctl: %s\n", why);
        return NULL;
    }
    text[strcspn(text, "\r\n")] = 0;
    if (*text)
        return text;
    fprintf(stderr, "scistreamctl: %s: holds no token\n", path);
    free(text);
    return NULL;
}

int ctl_token(struct ctl_opts *o, int argc UNUSED, char **argv)
{
    uint8_t random[TOKEN_BYTES];
    char token[2 * TOKEN_BYTES + 1];
    if (!caller_name_ok(argv[0]) || strpbrk(argv[0], " #")) {
        fprintf(stderr, "scistreamctl: '%s' cannot be a principal: a word without quotes and #, and neither anonymous nor local:...\n", argv[0]);
        return 64;
    }
    secret_random(random, sizeof(random));
    secret_hex(token, random, sizeof(random));
    AUTO_FREE char *line = tokens_line(argv[0], token, o->lifetime == TIME_FOREVER ? 0 : (int64_t)(time(NULL) + (time_t)(o->lifetime / NS_PER_S)));
    if (o->json) {
        printf("{");
        ctl_json_text("token", token, ",");
        ctl_json_text("line", line, "}\n");
    } else {
        printf("%s\n", token);
        fprintf(stderr, "Give the token (standard output) to %s, once and in private: it is kept nowhere. This is the line for token_file of the gateway:\n%s\n", argv[0], line);
    }
    secret_wipe(random, sizeof(random));
    secret_wipe(token, sizeof(token));
    return fflush(stdout) == 0 ? 0 : 74;
}
