#include "src/control_socket.h"

#include "src/core/util.h"

char *control_socket_default(void)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    if (geteuid() == 0)
        return mem_strdup("/run/scistream/control.sock");
    return run && *run ? mem_printf("%s/scistream/control.sock", run) : mem_printf("/tmp/scistream-%u/control.sock", (unsigned)geteuid());
}
