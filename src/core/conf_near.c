#include "src/core/conf_near.h"

#include "src/core/near.h"

const char *conf_near(const struct conf_section *s, const char *name)
{
    size_t n;
    const struct conf_section *all = conf_sections(&n);
    struct near near = near_begin(name);
    for (size_t i = 0; i < s->n; i++)
        near_look_at(&near, s->rows[i].name);
    for (size_t i = 0; s == all && i < n; i++)
        if (*all[i].name)
            near_look_at(&near, all[i].name);
    return near.best;
}
