/* What somebody may have meant by a name that does not exist. */
#ifndef SRC_CORE_CONF_NEAR_H
#define SRC_CORE_CONF_NEAR_H

#include "src/core/conf.h"

/* The option of s, or for the global part also the section, whose name is at most two letters away from name. NULL: none is near. */
const char *conf_near(const struct conf_section *s, const char *name);

#endif
