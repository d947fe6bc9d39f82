#include "rdma/ucx_log.h"

#include <stdarg.h>
#include <stdio.h>
#include <ucs/debug/log_def.h>

#include "src/core/log.h"

static _Thread_local char last[200]; /* UCX has a thread of its own, which complains too */

/* An error of UCX is mostly one peer that left, which our own line tells better: only what kills the process is shown at once. */
static ucs_log_func_rc_t on_log(const char *file UNUSED, unsigned line UNUSED, const char *function UNUSED, ucs_log_level_t level,
                                const ucs_log_component_config_t *comp UNUSED, const char *message, va_list ap)
{
    char text[sizeof(last) - 2];
    if (level > UCS_LOG_LEVEL_WARN)
        return UCS_LOG_FUNC_RC_CONTINUE;
    vsnprintf(text, sizeof(text), message, ap);
    snprintf(last, sizeof(last), ": %s", text);
    if (level == UCS_LOG_LEVEL_FATAL)
        log_error("libucx: %s", text);
    else
        log_debug("libucx: %s", text);
    return UCS_LOG_FUNC_RC_STOP;
}

void ucx_log_take_over(void)
{
    if (ucs_log_num_handlers() == 1) /* its own */
        ucs_log_push_handler(on_log);
}

const char *ucx_log_last(void) { return last; }
void ucx_log_forget(void) { last[0] = 0; }
