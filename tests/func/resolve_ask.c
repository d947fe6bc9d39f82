/* Our resolver as a program: resolve_ask NAME… [-- NAME…] asks all at once and prints, as answers come, "NAME ADDRESS…" or "NAME WHY". Those behind -- it
 * asks, too, and drops when all others are answered. */
#include <stdio.h>

#include "tcp/resolve.h"

struct ask { struct loop loop; int left; };
struct question { struct ask *a; const char *name; struct resolve *dropped; };

static void on_done(void *user, int rc, const union sockaddr_any *addrs, size_t n, const char *why)
{
    struct question *q = user;
    char text[ADDR_TEXT];
    printf("%s", q->name);
    for (size_t i = 0; i < n; i++)
        printf(" %s", addr_format(&addrs[i], text));
    printf(rc < 0 ? " %s\n" : "\n", why);
    bool wanted = !q->dropped;
    q->dropped = NULL;
    if (wanted && --q->a->left == 0)
        loop_stop(&q->a->loop);
}

int main(int argc, char **argv)
{
    struct ask a = { .left = 0 };
    struct question *q = mem_zalloc((size_t)argc, sizeof(*q));
    if (argc < 2 || loop_init(&a.loop) < 0)
        return 64;
    struct resolver *r = resolver_new(&a.loop);
    for (int i = 1, behind = 0; i < argc; i++) {
        behind |= str_eq(argv[i], "--");
        if (str_eq(argv[i], "--"))
            continue;
        q[i] = (struct question){ .a = &a, .name = argv[i] };
        struct resolve *asked = resolve_start(r, argv[i], 80, on_done, &q[i]);
        q[i].dropped = behind ? asked : NULL;
        a.left += !behind;
    }
    loop_run(&a.loop);
    for (int i = 1; i < argc; i++)
        resolve_cancel(q[i].dropped);
    loop_turn(&a.loop, 0);
    resolver_free(r);
    loop_fini(&a.loop);
    free(q);
    return 0;
}
