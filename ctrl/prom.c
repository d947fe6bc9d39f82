#include "ctrl/prom.h"

#include <stdarg.h>

bool prom_begin(struct prom *p)
{
    *p = (struct prom){ .text = NULL };
    p->out = open_memstream(&p->text, &p->len);
    return p->out != NULL;
}

char *prom_end(struct prom *p, size_t *len)
{
    bool bad = ferror(p->out);
    if (fclose(p->out) == 0 && !bad) {
        *len = p->len;
        return p->text;
    }
    free(p->text);
    return NULL;
}

static void put_escaped(FILE *out, const char *s, bool quoted)
{
    for (; *s; s++)
        if (*s == '\\' || (quoted && *s == '"'))
            fprintf(out, "\\%c", *s);
        else if (*s == '\n')
            fputs("\\n", out);
        else
            fputc(*s, out);
}

void prom_family(struct prom *p, const char *name, const char *type, const char *help)
{
    p->name = name;
    fprintf(p->out, "# HELP %s ", name);
    put_escaped(p->out, help, false);
    fprintf(p->out, "\n# TYPE %s %s\n", name, type);
}

static void put_labels(struct prom *p, va_list args)
{
    const char *label, *before = "{";
    fputs(p->name, p->out);
    while ((label = va_arg(args, const char *))) {
        fprintf(p->out, "%s%s=\"", before, label);
        put_escaped(p->out, va_arg(args, const char *), true);
        fputc('"', p->out);
        before = ",";
    }
    fputs(*before == ',' ? "} " : " ", p->out);
}

void prom_number(struct prom *p, uint64_t value, ...)
{
    va_list args;
    va_start(args, value);
    put_labels(p, args);
    va_end(args);
    fprintf(p->out, "%llu\n", (unsigned long long)value);
}

void prom_seconds(struct prom *p, uint64_t ns, ...)
{
    va_list args;
    va_start(args, ns);
    put_labels(p, args);
    va_end(args);
    fprintf(p->out, "%llu.%09llu\n", (unsigned long long)(ns / NS_PER_S), (unsigned long long)(ns % NS_PER_S));
}
