/* scistreamctl login: does the gateway know this user, as whom and until when, and what may he do there? What was given to find out is remembered for the
 * commands that come later: a file for each gateway in gateways/ of the user's configuration, of lines "NAME VALUE", without any secret. It decides whom
 * this user trusts, so it is refused, as a secret is, when others could have written it. */
#include "src/ctl_login.h"

#include <limits.h>
#include <stdio.h>

#include "src/config_file.h"
#include "src/core/err.h"
#include "src/core/secret.h"
#include "src/core/ticket.h"

#define FILE_MAX (64U << 10)

typedef Scistream__Gateway__V1__WhoamiReply WhoamiReply;
typedef Scistream__Gateway__V1__Permission Permission;

static int complain(int code, const char *what, const char *why)
{
    fprintf(stderr, "scistreamctl: %s: %s\n", what, why);
    return code;
}

/* ------------------------------------------------------------ what is known */

void ctl_login_free(struct ctl_login *l)
{
    char *const all[] = { l->token_file, l->cert, l->key, l->ca, l->tls_name };
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        free(all[i]);
    strv_free(l->pins);
    *l = (struct ctl_login){ .pins = NULL };
}

static bool says_who(const struct ctl_opts *o) { return *o->token_file || *o->cert; }
static bool says_which(const struct ctl_opts *o) { return o->e.pins[0] || *o->e.ca || *o->e.tls_name; }

static void take_options(struct ctl_login *l, const struct ctl_opts *o)
{
    *l = (struct ctl_login){ .token_file = mem_strdup(o->token_file), .cert = mem_strdup(o->cert), .key = mem_strdup(o->key), .ca = mem_strdup(o->e.ca),
                             .tls_name = mem_strdup(o->e.tls_name), .pins = strv_copy(o->e.pins) };
}

/* The file of the gateway that --gateway names; NULL: that is no address, which is said elsewhere. Heap. */
static char *file_of(const struct ctl_opts *o)
{
    char host[ADDR_HOST_MAX + 1], why[200];
    uint16_t port;
    if (addr_parse_hostport(o->gateway, ADDR_PORT_DEFAULT, host, &port, why, sizeof(why)) < 0 || strchr(host, '/'))
        return NULL;
    AUTO_FREE char *name = mem_printf("gateways/%s:%u", host, port);
    return config_file(name);
}

static void set(char **field, const char *value)
{
    free(*field);
    *field = mem_strdup(value);
}

static void add_pin(struct ctl_login *l, const char *pin)
{
    size_t n = strv_len(l->pins);
    char **more = mem_zalloc(n + 2, sizeof(*more));
    for (size_t i = 0; i < n; i++)
        more[i] = l->pins[i];
    more[n] = mem_strdup(pin);
    free(l->pins);
    l->pins = more;
}

/* One line of the file. Of each group, who and which, all comes from the options or all from here. */
static void take_line(struct ctl_login *l, const struct ctl_opts *o, char *line)
{
    const struct { const char *name; char **field; bool given; } rows[] = {
        { "token-file", &l->token_file, says_who(o) }, { "cert", &l->cert, says_who(o) },          { "key", &l->key, says_who(o) },
        { "ca", &l->ca, says_which(o) },               { "tls-name", &l->tls_name, says_which(o) },
    };
    char *value = strchr(line, ' ');
    if (!value)
        return;
    *value++ = 0;
    if (str_eq(line, "pin") && !says_which(o))
        add_pin(l, value);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_eq(line, rows[i].name) && !rows[i].given)
            set(rows[i].field, value);
}

int ctl_login_find(const struct ctl_opts *o, struct ctl_login *l)
{
    char why[400], *text = NULL;
    take_options(l, o);
    AUTO_FREE char *path = file_of(o);
    if (!path || access(path, F_OK) < 0)
        return 0;
    if (secret_read_text(path, FILE_MAX, &text, why, sizeof(why)) < 0) {
        fprintf(stderr, "scistreamctl: %s\n", why);
        return 78;
    }
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
        take_line(l, o, line);
    free(text);
    return 0;
}

/* ------------------------------------------------------------ remembering it */

static bool writable(const char *value) { return !strchr(value, '\n'); }

static void print_line(FILE *f, const char *name, const char *value)
{
    if (*value)
        fprintf(f, "%s %s\n", name, value);
}

static int write_login(int fd, const struct ctl_login *l)
{
    FILE *f = fdopen(fd, "w");
    if (!f)
        return -errno;
    print_line(f, "token-file", l->token_file);
    print_line(f, "cert", l->cert);
    print_line(f, "key", l->key);
    print_line(f, "ca", l->ca);
    print_line(f, "tls-name", l->tls_name);
    for (char **p = l->pins; *p; p++)
        print_line(f, "pin", *p);
    bool failed = ferror(f) || fflush(f) != 0;
    return fclose(f) == 0 && !failed ? 0 : -EIO;
}

/* A file that is good from any folder, in the place of one that may not be. */
static int make_absolute(char **path)
{
    char whole[PATH_MAX];
    if (!**path)
        return 0;
    if (!realpath(*path, whole) || !writable(whole))
        return complain(78, *path, "cannot be remembered: it has no path");
    set(path, whole);
    return 0;
}

static int make_paths_absolute(struct ctl_login *l)
{
    char **const paths[] = { &l->token_file, &l->cert, &l->key, &l->ca };
    int code = 0;
    for (size_t i = 0; i < ARRAY_LEN(paths) && code == 0; i++)
        code = make_absolute(paths[i]);
    return code;
}

/* All of it or nothing: beside the file, then in its place. */
static int store(const char *path, const struct ctl_login *l)
{
    AUTO_FREE char *fresh = mem_printf("%s.XXXXXX", path);
    int rc = config_make_folders(path);
    int fd = rc < 0 ? -1 : mkstemp(fresh); /* mode 600 */
    if (fd < 0)
        return complain(74, path, err_text(rc < 0 ? rc : -errno));
    rc = write_login(fd, l);
    if (rc == 0 && rename(fresh, path) < 0)
        rc = -errno;
    if (rc < 0)
        unlink(fresh);
    return rc < 0 ? complain(74, path, err_text(rc)) : 0;
}

static int remember(const struct ctl_opts *o)
{
    struct ctl_login l = { .pins = NULL };
    AUTO_FREE char *path = file_of(o);
    int code = ctl_login_find(o, &l);
    if (code == 0)
        code = make_paths_absolute(&l);
    if (code == 0 && path)
        code = store(path, &l);
    ctl_login_free(&l);
    if (code == 0 && path && !o->e.quiet)
        fprintf(stderr, "remembered for later commands with --gateway %s: %s\n", o->gateway, path);
    return code;
}

/* ------------------------------------------------------------ who am I */

static void permission_text(const Permission *p)
{
    char text[UNITS_TEXT];
    printf("may        %s", p->role);
    if (*p->policy)
        printf(", by policy %s", p->policy);
    if (p->sessions)
        printf(", %llu session%s", (unsigned long long)p->sessions, p->sessions == 1 ? "" : "s");
    if (p->channels)
        printf(", %llu channel%s each", (unsigned long long)p->channels, p->channels == 1 ? "" : "s");
    if (p->rate)
        printf(", %s in all", units_human_rate(text, (double)p->rate));
    if (p->lifetime_s)
        printf(", for %s at most", units_human_time(text, p->lifetime_s * NS_PER_S));
    printf("%s\n", p->provisioned ? ", provisioned too" : "");
}

static const char *arranges_text(const char *arranges)
{
    if (str_eq(arranges, "policy"))
        return "whom a policy lets";
    return str_eq(arranges, "none") ? "everybody: the gateway asks nobody who he is" : "nobody: that is not enabled here (scistream.enable)";
}

static void whoami_text(const WhoamiReply *r)
{
    char when[TICKET_TIME], left[UNITS_TEXT];
    uint64_t now_s = (uint64_t)time(NULL);
    if (str_eq(r->how, "anonymous"))
        printf("you are    anonymous: this gateway asks nobody who he is, and looks at no token");
    else
        printf("you are    %s, by %s", r->principal, r->how);
    if (r->expires_s)
        printf(", until %s, in %s", ticket_time(when, r->expires_s), units_human_time(left, MAX(r->expires_s > now_s ? r->expires_s - now_s : 0, 1) * NS_PER_S));
    printf("\n");
    for (size_t i = 0; i < r->n_permissions; i++)
        permission_text(r->permissions[i]);
    if (r->n_permissions == 0 && str_eq(r->arranges, "policy"))
        printf("may        nothing: no policy lets you\n");
    printf("sessions   are arranged by %s\n", arranges_text(r->arranges));
}

static void permission_json(const Permission *p, const char *before)
{
    printf("%s{", before);
    ctl_json_text("role", p->role, ",");
    ctl_json_text("policy", p->policy, ",");
    printf("\"best_effort\":%s,\"provisioned\":%s,\"sessions\":%llu,\"channels\":%llu,\"rate_bit_s\":%llu,\"lifetime_s\":%llu}", p->best_effort ? "true" : "false",
           p->provisioned ? "true" : "false", (unsigned long long)p->sessions, (unsigned long long)p->channels, (unsigned long long)p->rate,
           (unsigned long long)p->lifetime_s);
}

static void whoami_json(const WhoamiReply *r)
{
    char when[TICKET_TIME];
    printf("{");
    ctl_json_text("principal", r->principal, ",");
    ctl_json_text("how", r->how, ",");
    printf("\"expires_s\":%llu,", (unsigned long long)r->expires_s);
    ctl_json_text("expires", r->expires_s ? ticket_time(when, r->expires_s) : "", ",");
    ctl_json_text("arranges", r->arranges, ",");
    printf("\"permissions\":[");
    for (size_t i = 0; i < r->n_permissions; i++)
        permission_json(r->permissions[i], i ? "," : "");
    printf("]}\n");
}

static int print_whoami(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    WhoamiReply *r = scistream__gateway__v1__whoami_reply__unpack(NULL, len, data);
    if (r)
        (o->json ? whoami_json : whoami_text)(r);
    scistream__gateway__v1__whoami_reply__free_unpacked(r, NULL);
    return r ? 0 : 76;
}

int ctl_login(struct ctl_opts *o, int argc UNUSED, char **argv UNUSED)
{
    Scistream__Gateway__V1__WhoamiRequest q = SCISTREAM__GATEWAY__V1__WHOAMI_REQUEST__INIT;
    if (!*o->gateway)
        return complain(64, "login", "to which gateway? Give --gateway HOST[:PORT], with --token-file FILE or --cert FILE");
    int code = ctl_call(o, "/scistream.gateway.v1.Gateway/Whoami", &q.base, print_whoami);
    return code == 0 && (says_who(o) || says_which(o)) ? remember(o) : code;
}
