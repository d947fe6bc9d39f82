#include "src/config_file.h"

#include <errno.h>
#include <sys/stat.h>

#include "src/core/util.h"

char *config_file(const char *name)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config && *config)
        return mem_printf("%s/scistream/%s", config, name);
    return mem_printf("%s/.config/scistream/%s", home ? home : "", name);
}

int config_make_folders(const char *path)
{
    AUTO_FREE char *p = mem_strdup(path);
    for (char *slash = strchr(p + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(p, 0700) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return 0;
}
