#include "src/core/conf.h"

#include <confuse.h>
#include <stdarg.h>

#include "src/core/addr.h"
#include "src/core/conf_near.h"
#include "src/core/conf_text.h"
#include "src/core/err.h"

/* ------------------------------------------------------------ the table */

#define ROW_FLAG(f, d, h) { #f, VALUE_FLAG, offsetof(S, f), d, 0, 0, NULL, h },
#define ROW_INT(f, d, min, max, h) { #f, VALUE_INT, offsetof(S, f), d, min, max, NULL, h },
#define ROW_SIZE(f, d, min, max, h) { #f, VALUE_SIZE, offsetof(S, f), d, min, max, NULL, h },
#define ROW_RATE(f, d, min, max, h) { #f, VALUE_RATE, offsetof(S, f), d, min, max, NULL, h },
#define ROW_TIME(f, d, min, max, h) { #f, VALUE_TIME, offsetof(S, f), d, min, max, NULL, h },
#define ROW_ENUM(f, d, choices, h) { #f, VALUE_ENUM, offsetof(S, f), d, 0, 0, choices, h },
#define ROW_STR(f, d, h) { #f, VALUE_STR, offsetof(S, f), d, 0, 0, NULL, h },
#define ROW_LIST(f, d, h) { #f, VALUE_LIST, offsetof(S, f), d, 0, 0, NULL, h },
#define ROWS(T) { T(ROW_FLAG, ROW_INT, ROW_SIZE, ROW_RATE, ROW_TIME, ROW_ENUM, ROW_STR, ROW_LIST) }

#define S struct conf_global
static const struct value_row global_rows[] = ROWS(CONF_GLOBAL);
#undef S
#define S struct conf_ucx
static const struct value_row ucx_rows[] = ROWS(CONF_UCX);
#undef S
#define S struct conf_rdma
static const struct value_row rdma_rows[] = ROWS(CONF_RDMA);
#undef S
#define S struct conf_link
static const struct value_row link_rows[] = ROWS(CONF_LINK);
#undef S
#define S struct conf_auth
static const struct value_row auth_rows[] = ROWS(CONF_AUTH);
#undef S
#define S struct conf_capacity
static const struct value_row capacity_rows[] = ROWS(CONF_CAPACITY);
#undef S
#define S struct conf_scistream
static const struct value_row scistream_rows[] = ROWS(CONF_SCISTREAM);
#undef S
#define S struct conf_route
static const struct value_row route_rows[] = ROWS(CONF_ROUTE);
#undef S
#define S struct conf_policy
static const struct value_row policy_rows[] = ROWS(CONF_POLICY);
#undef S

enum { SEC_GLOBAL, SEC_UCX, SEC_RDMA, SEC_LINK, SEC_AUTH, SEC_CAPACITY, SEC_SCISTREAM, SEC_TITLED, SEC_ROUTE = SEC_TITLED, SEC_POLICY, SEC_COUNT };
static const struct conf_section sections[SEC_COUNT] = {
    [SEC_GLOBAL] = { "", global_rows, ARRAY_LEN(global_rows), false },
    [SEC_UCX] = { "ucx", ucx_rows, ARRAY_LEN(ucx_rows), false },
    [SEC_RDMA] = { "rdma", rdma_rows, ARRAY_LEN(rdma_rows), false },
    [SEC_LINK] = { "link", link_rows, ARRAY_LEN(link_rows), false },
    [SEC_AUTH] = { "auth", auth_rows, ARRAY_LEN(auth_rows), false },
    [SEC_CAPACITY] = { "capacity", capacity_rows, ARRAY_LEN(capacity_rows), false },
    [SEC_SCISTREAM] = { "scistream", scistream_rows, ARRAY_LEN(scistream_rows), false },
    [SEC_ROUTE] = { "route", route_rows, ARRAY_LEN(route_rows), true },
    [SEC_POLICY] = { "policy", policy_rows, ARRAY_LEN(policy_rows), true },
};

const struct conf_section *conf_sections(size_t *n)
{
    *n = SEC_COUNT;
    return sections;
}

static const void *const_section_base(const struct conf *c, int section)
{
    const void *const bases[SEC_COUNT] = { [SEC_GLOBAL] = &c->g, [SEC_UCX] = &c->ucx, [SEC_RDMA] = &c->rdma, [SEC_LINK] = &c->link, [SEC_AUTH] = &c->auth,
                                          [SEC_CAPACITY] = &c->capacity, [SEC_SCISTREAM] = &c->scistream };
    return bases[section];
}

static void *section_base(struct conf *c, int section)
{
    void *const bases[SEC_COUNT] = { [SEC_GLOBAL] = &c->g, [SEC_UCX] = &c->ucx, [SEC_RDMA] = &c->rdma, [SEC_LINK] = &c->link, [SEC_AUTH] = &c->auth,
                                          [SEC_CAPACITY] = &c->capacity, [SEC_SCISTREAM] = &c->scistream };
    return bases[section];
}

static int find_section(const char *name)
{
    int i = 0;
    while (i < SEC_COUNT && !str_eq(sections[i].name, name))
        i++;
    return i;
}

/* ------------------------------------------------------------ life */

/* What a titled section makes begins with its name. */
static void *item_new(int section, const char *name)
{
    void *item = mem_zalloc(1, section == SEC_ROUTE ? sizeof(struct conf_route) : sizeof(struct conf_policy));
    *(char **)item = mem_strdup(name);
    value_defaults(sections[section].rows, sections[section].n, item);
    return item;
}

static void item_free(int section, void *item)
{
    value_free(sections[section].rows, sections[section].n, item);
    free(*(char **)item);
    free(item);
}

static size_t item_count(const struct conf *c, int section) { return section == SEC_ROUTE ? c->n_routes : c->n_policies; }

static void *item_at(const struct conf *c, int section, size_t i)
{
    return section == SEC_ROUTE ? (void *)c->routes[i] : (void *)c->policies[i];
}

static const char *item_name(const void *item) { return *(char *const *)item; }

static void *find_item(const struct conf *c, int section, const char *name)
{
    for (size_t i = 0; i < item_count(c, section); i++)
        if (str_eq(item_name(item_at(c, section, i)), name))
            return item_at(c, section, i);
    return NULL;
}

const struct conf_route *conf_route(const struct conf *c, const char *name) { return find_item(c, SEC_ROUTE, name); }
const struct conf_policy *conf_policy(const struct conf *c, const char *name) { return find_item(c, SEC_POLICY, name); }

static void *grow(void *all, size_t n)
{
    void **grown = mem_zalloc(n + 1, sizeof(*grown));
    if (n)
        memcpy(grown, all, n * sizeof(*grown));
    free(all);
    return grown;
}

/* The route or policy of that name, made when there is none. NULL: it cannot be a name. */
static void *need_item(struct conf *c, int section, const char *name)
{
    void *item = find_item(c, section, name);
    if (item || !addr_route_ok(name))
        return item;
    item = item_new(section, name);
    if (section == SEC_ROUTE) {
        c->routes = grow(c->routes, c->n_routes);
        c->routes[c->n_routes++] = item;
    } else {
        c->policies = grow(c->policies, c->n_policies);
        c->policies[c->n_policies++] = item;
    }
    return item;
}

struct conf *conf_new(void)
{
    struct conf *c = mem_zalloc(1, sizeof(*c));
    for (int i = 0; i < SEC_TITLED; i++)
        value_defaults(sections[i].rows, sections[i].n, section_base(c, i));
    return c;
}

void conf_free(struct conf *c)
{
    if (!c)
        return;
    for (int i = 0; i < SEC_TITLED; i++)
        value_free(sections[i].rows, sections[i].n, section_base(c, i));
    for (int s = SEC_TITLED; s < SEC_COUNT; s++)
        for (size_t i = 0; i < item_count(c, s); i++)
            item_free(s, item_at(c, s, i));
    free(c->routes);
    free(c->policies);
    free(c);
}

/* ------------------------------------------------------------ reading a file */

/* libconfuse hands its callbacks no pointer of ours, and its lexer is global anyway: one reading at a time. */
static struct reading {
    struct conf *c;
    const char *path;
    char *why;
    size_t why_size;
    bool said; /* the first complaint stands */
} *reading;

static void complain(struct reading *r, unsigned line, const char *fmt, ...) PRINTF(3, 4);
static void complain(struct reading *r, unsigned line, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (!r->said && r->why_size)
        snprintf(r->why, r->why_size, "%s:%u: %s", r->path, line, text);
    r->said = true;
}

/* What is given for a configuration may be a file of secrets: a word as long as one is not repeated. */
static void mask_long_word(char *text)
{
    char *open = strchr(text, '\''), *close = open ? strchr(open + 1, '\'') : NULL;
    if (close && close - open > CONF_WORD_SHOWN)
        strcpy(open + 9, "...' (is this a configuration?)"); /* shorter than what it replaces */
}

/* Behind libconfuse's "no such option 'nmae'": what there is instead. */
static void add_near(char *text, size_t size, const cfg_t *cfg)
{
    static const char head[] = "no such option '";
    char name[CONF_WORD_SHOWN] = "";
    size_t n = strlen(text), skip = sizeof(head) - 1;
    int section = find_section(str_eq(cfg->name, "root") ? "" : cfg->name);
    if (!str_starts(text, head) || n < skip + 2 || !str_copy(name, sizeof(name), text + skip) || section == SEC_COUNT)
        return;
    name[strlen(name) - 1] = 0; /* the quote */
    const char *near = find_section(name) < SEC_COUNT ? NULL : conf_near(&sections[section], name); /* else a brace is missing */
    if (near)
        snprintf(text + n, size - n, " (did you mean %s?)", near);
}

static void PRINTF(2, 0) on_error(cfg_t *cfg, const char *fmt, va_list args)
{
    char text[400];
    vsnprintf(text, sizeof(text), fmt, args);
    add_near(text, sizeof(text), cfg);
    mask_long_word(text);
    if (cfg->title)
        complain(reading, (unsigned)cfg->line, "%s, in %s \"%s\"", text, cfg->name, cfg->title);
    else if (str_eq(cfg->name, "root"))
        complain(reading, (unsigned)cfg->line, "%s", text);
    else
        complain(reading, (unsigned)cfg->line, "%s, in section %s", text, cfg->name);
}

static void *titled_item(cfg_t *cfg, const char *section, const char *title)
{
    void *item = need_item(reading->c, find_section(section), title);
    if (!item)
        complain(reading, (unsigned)cfg->line, "%s \"%s\": a name has 1 to %d letters, digits, '.', '_', '-' and begins with a "
                 "letter or digit", section, title, ADDR_ROUTE_MAX);
    return item;
}

/* libconfuse takes "ucx|devices" for an option of another section: then opt is none of cfg's. */
static const struct value_row *row_of(cfg_t *cfg, const cfg_opt_t *opt, int section)
{
    for (cfg_opt_t *own = cfg->opts; own->name; own++)
        if (own == opt)
            return value_find(sections[section].rows, sections[section].n, opt->name);
    complain(reading, (unsigned)cfg->line, "%s: an option of a section must stand within its braces", opt->name);
    return NULL;
}

/* Each value that is no list goes through its row here, where its line is known. */
static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    char why[400];
    int section = find_section(str_eq(cfg->name, "root") ? "" : cfg->name);
    const struct value_row *row = row_of(cfg, opt, section);
    void *base = section >= SEC_TITLED ? titled_item(cfg, cfg->name, cfg->title) : section_base(reading->c, section);
    if (!row || !base)
        return -1;
    *(const char **)result = value;
    if (row->type == VALUE_STR) {
        value_set_string(row, base, value);
    } else if (value_set(row, base, value, why, sizeof(why)) < 0) {
        complain(reading, (unsigned)cfg->line, "%s", why);
        return -1;
    }
    return 0;
}

/* A titled section was closed: what it names exists even when it has no option. */
static int on_titled(cfg_t *cfg, cfg_opt_t *opt)
{
    return titled_item(cfg, opt->name, opt->values[opt->nvalues - 1]->section->title) ? 0 : -1;
}

/* A list starts as what it is now, so that += adds to it. All text is the caller's to free after cfg_init, which copies. */
static cfg_opt_t declare_row(const struct value_row *row, const void *base)
{
    if (row->type == VALUE_LIST)
        return (cfg_opt_t)CFG_STR_LIST(row->name, value_print(row, base), CFGF_NONE);
    return (cfg_opt_t)CFG_STR_CB(row->name, NULL, CFGF_NODEFAULT, on_value);
}

static cfg_opt_t *declare_section(int section, const void *base)
{
    size_t n = sections[section].n;
    cfg_opt_t *opts = mem_zalloc(n + SEC_COUNT + 1, sizeof(*opts));
    for (size_t i = 0; i < n; i++)
        opts[i] = declare_row(&sections[section].rows[i], base);
    opts[n] = (cfg_opt_t)CFG_END();
    return opts;
}

static void undeclare(cfg_opt_t *opts)
{
    for (cfg_opt_t *o = opts; o->name; o++) {
        free(o->def.parsed);
        if (o->subopts)
            undeclare(o->subopts);
    }
    free(opts);
}

static cfg_t *declare_all(const struct conf *c)
{
    cfg_opt_t *opts = declare_section(SEC_GLOBAL, &c->g), *o = opts + sections[SEC_GLOBAL].n;
    for (int i = SEC_UCX; i < SEC_COUNT; i++) {
        bool titled = sections[i].titled;
        void *fresh = titled ? item_new(i, "") : NULL;
        const void *base = titled ? fresh : const_section_base(c, i);
        cfg_flag_t flags = titled ? CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES : CFGF_NONE;
        *o = (cfg_opt_t)CFG_SEC(sections[i].name, declare_section(i, base), flags);
        o->validcb = titled ? on_titled : NULL;
        o++;
        if (titled)
            item_free(i, fresh);
    }
    *o = (cfg_opt_t)CFG_END();
    cfg_t *cfg = cfg_init(opts, CFGF_NONE);
    undeclare(opts);
    if (cfg)
        cfg_set_error_function(cfg, on_error);
    return cfg;
}

static void take_lists(cfg_t *cfg, int section, void *base)
{
    for (size_t i = 0; i < sections[section].n; i++) {
        const struct value_row *row = &sections[section].rows[i];
        cfg_opt_t *opt = row->type == VALUE_LIST ? cfg_getopt(cfg, row->name) : NULL;
        if (!opt || !(opt->flags & CFGF_MODIFIED))
            continue;
        value_list_clear(row, base);
        for (unsigned k = 0; k < cfg_opt_size(opt); k++)
            value_list_add(row, base, cfg_opt_getnstr(opt, k));
    }
}

static void take_all_lists(cfg_t *cfg, struct conf *c)
{
    take_lists(cfg, SEC_GLOBAL, &c->g);
    for (int i = SEC_UCX; i < SEC_TITLED; i++)
        take_lists(cfg_getsec(cfg, sections[i].name), i, section_base(c, i));
    for (int s = SEC_TITLED; s < SEC_COUNT; s++)
        for (unsigned i = 0; i < cfg_size(cfg, sections[s].name); i++) {
            cfg_t *one = cfg_getnsec(cfg, sections[s].name, i);
            take_lists(one, s, find_item(c, s, one->title));
        }
}

static int parse_text(struct reading *r, const char *text)
{
    cfg_t *cfg = declare_all(r->c);
    if (!cfg)
        return -ENOMEM;
    reading = r;
    int parsed = cfg_parse_buf(cfg, text);
    reading = NULL;
    if (parsed == CFG_SUCCESS)
        take_all_lists(cfg, r->c);
    else
        complain(r, (unsigned)cfg->line, "syntax error");
    cfg_free(cfg);
    return parsed == CFG_SUCCESS ? 0 : -SST_ECONF;
}

int conf_read(struct conf *c, const char *path, char *why, size_t why_size)
{
    struct reading r = { .c = c, .path = path, .why = why, .why_size = why_size };
    struct conf_fault fault;
    AUTO_FREE char *text = NULL;
    int rc = conf_text_load(path, &text, &fault);
    if (rc == 0)
        rc = conf_text_clean(text, &fault);
    if (rc == -SST_ECONF)
        complain(&r, fault.line, "%s", fault.what);
    else if (rc < 0 && why_size)
        snprintf(why, why_size, "%s: %s", path, err_text(rc));
    return rc < 0 ? rc : parse_text(&r, text);
}

/* ------------------------------------------------------------ one assignment */

static int refuse(char *why, size_t why_size, const char *fmt, ...) PRINTF(3, 4);
static int refuse(char *why, size_t why_size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (why_size)
        vsnprintf(why, why_size, fmt, args);
    va_end(args);
    return -SST_ECONF;
}

/* Without the space around it, in place. */
static char *trim(char *s)
{
    s += strspn(s, " \t\r\n");
    size_t n = strlen(s);
    while (n > 0 && strchr(" \t\r\n", s[n - 1]))
        n--;
    s[n] = 0;
    return s;
}

/* What "ucx.devices", "route.NAME.window" or "workers" means; key is cut in pieces. A title may have dots itself. */
static const struct value_row *resolve(struct conf *c, char *key, void **base)
{
    char *first = strchr(key, '.'), *last = strrchr(key, '.');
    int section = SEC_GLOBAL;
    if (first) {
        *first = *last = 0;
        section = find_section(key);
    }
    const char *option = last ? last + 1 : key;
    if (section == SEC_COUNT || (first && section == SEC_GLOBAL) || sections[section].titled != (first != last))
        return NULL;
    const struct value_row *row = value_find(sections[section].rows, sections[section].n, option);
    if (row)
        *base = section >= SEC_TITLED ? need_item(c, section, first + 1) : section_base(c, section);
    return row;
}

/* key as it was given; which of its section's options it may have meant. NULL: it looks like none. */
static char *nearest_key(const char *key)
{
    AUTO_FREE char *copy = mem_strdup(key);
    char *first = strchr(copy, '.'), *last = strrchr(copy, '.');
    if (first)
        *first = 0;
    int section = first ? find_section(copy) : SEC_GLOBAL;
    if (section == SEC_COUNT || (first && section == SEC_GLOBAL) || sections[section].titled != (first != last))
        return NULL;
    const char *near = conf_near(&sections[section], last ? last + 1 : copy);
    if (near && !first && find_section(near) < SEC_COUNT)
        return NULL; /* that is nothing to assign to */
    return near ? mem_printf("%.*s%s", last ? (int)(last - copy) + 1 : 0, key, near) : NULL;
}

static int refuse_key(const char *key, char *why, size_t why_size)
{
    AUTO_FREE char *near = nearest_key(key);
    if (near)
        return refuse(why, why_size, "%s: no such option (did you mean %s?)", key, near);
    return refuse(why, why_size, "%s: no such option; others look like workers, ucx.devices, route.NAME.window", key);
}

int conf_set(struct conf *c, const char *assignment, char *why, size_t why_size)
{
    char reason[300];
    void *base = NULL;
    AUTO_FREE char *copy = mem_strdup(assignment);
    char *equal = strchr(copy, '=');
    if (!equal)
        return refuse(why, why_size, "%s: must be OPTION=VALUE", assignment);
    *equal = 0;
    char *key = trim(copy), *text = trim(equal + 1);
    AUTO_FREE char *shown = mem_strdup(key);
    const struct value_row *row = resolve(c, key, &base);
    if (!row)
        return refuse_key(shown, why, why_size);
    if (!base)
        return refuse(why, why_size, "%s: not the name of a %s", shown, str_starts(shown, "route.") ? "route" : "policy");
    if (value_parse(row, base, text, reason, sizeof(reason)) < 0)
        return refuse(why, why_size, "%s = %s: %s", shown, text, reason);
    return base == &c->ucx ? conf_check_ucx(c, why, why_size) : 0;
}

/* ------------------------------------------------------------ printing */

static void print_rows(FILE *out, const struct conf_section *s, const void *base, const char *indent, bool commented)
{
    for (size_t i = 0; i < s->n; i++) {
        AUTO_FREE char *value = value_print(&s->rows[i], base);
        AUTO_FREE char *range = commented ? value_describe(&s->rows[i]) : NULL;
        if (commented)
            fprintf(out, "%s%s# %s (%s)\n", i ? "\n" : "", indent, s->rows[i].help, range);
        fprintf(out, "%s%s = %s\n", indent, s->rows[i].name, value);
    }
}

static void print_titled(FILE *out, int section, const void *item, const char *comment, bool commented)
{
    AUTO_FREE char *indent = mem_printf("%s    ", comment);
    fprintf(out, "\n%s%s \"%s\" {\n", comment, sections[section].name, item_name(item));
    print_rows(out, &sections[section], item, indent, commented);
    fprintf(out, "%s}\n", comment);
}

/* Nothing of that kind to print: show what one would look like. */
static void print_sample(FILE *out, int section)
{
    void *fresh = item_new(section, "NAME");
    print_titled(out, section, fresh, "# ", true);
    item_free(section, fresh);
}

void conf_print(const struct conf *c, FILE *out, bool commented)
{
    print_rows(out, &sections[SEC_GLOBAL], &c->g, "", commented);
    for (int i = SEC_UCX; i < SEC_TITLED; i++) {
        fprintf(out, "\n%s {\n", sections[i].name);
        print_rows(out, &sections[i], const_section_base(c, i), "    ", commented);
        fprintf(out, "}\n");
    }
    for (int s = SEC_TITLED; s < SEC_COUNT; s++) {
        for (size_t i = 0; i < item_count(c, s); i++)
            print_titled(out, s, item_at(c, s, i), "", commented);
        if (commented && item_count(c, s) == 0)
            print_sample(out, s);
    }
}

char **conf_export(const struct conf *c)
{
    size_t n = 0;
    for (int i = 0; i < SEC_TITLED; i++)
        n += sections[i].n;
    char **out = mem_zalloc(n + 1, sizeof(*out)), **next = out;
    for (int i = 0; i < SEC_TITLED; i++) {
        for (size_t k = 0; k < sections[i].n; k++) {
            const struct value_row *row = &sections[i].rows[k];
            AUTO_FREE char *value = value_print(row, const_section_base(c, i));
            *next++ = mem_printf("%s%s%s=%s", sections[i].name, i == SEC_GLOBAL ? "" : ".", row->name, value);
        }
    }
    return out;
}
