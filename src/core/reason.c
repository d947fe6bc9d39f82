#include "src/core/reason.h"

#include <stdarg.h>
#include <stdio.h>

int reason_set(const struct reason *why, int rc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (why->size)
        vsnprintf(why->text, why->size, fmt, args);
    va_end(args);
    return rc;
}
