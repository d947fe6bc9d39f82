#include "src/core/ring.h"

#include <errno.h>
#include <linux/memfd.h>
#include <sys/mman.h>

#include "src/core/err.h"

#define MIB2 (2UL << 20)

/* [start, end) is claimed by owner; [start, done) has arrived. owner NULL: whole, and waits for a hole before it to close. */
struct ring_extent { uint64_t start, end, done; const void *owner; };

/* ------------------------------------------------------------ memory */

static size_t round_cap(size_t cap)
{
    size_t unit = cap >= MIB2 ? MIB2 : (size_t)sysconf(_SC_PAGESIZE);
    return (cap + unit - 1) / unit * unit;
}

static int make_memfd(size_t cap, bool huge)
{
    int fd = memfd_create("scistream-ring", MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)cap) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

/* Reserve room for both views and the alignment, then lay the two views over it. */
static int map_twice(struct ring *r, int fd)
{
    size_t len = 2 * r->cap + MIB2;
    uint8_t *map = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return -errno;
    r->map = map;
    r->map_len = len;
    r->base = map + (MIB2 - (uintptr_t)map % MIB2) % MIB2;
    for (int view = 0; view < 2; view++)
        if (mmap(r->base + (size_t)view * r->cap, r->cap, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
            return -errno;
    if (r->cap >= MIB2 && !r->huge)
        madvise(r->base, 2 * r->cap, MADV_HUGEPAGE); /* a wish: shmem huge pages are the administrator's choice */
    return 0;
}

/* Mapping 2 MiB pages reserves them, so that touching them later cannot fail. */
static int ring_make(struct ring *r, size_t cap, bool huge)
{
    *r = (struct ring){ .gate = UINT64_MAX, .total = RING_NO_TOTAL, .cap = round_cap(cap), .huge = huge };
    int fd = make_memfd(r->cap, huge);
    if (fd < 0)
        return fd;
    int rc = map_twice(r, fd);
    close(fd);
    if (rc < 0)
        ring_fini(r);
    return rc;
}

int ring_init(struct ring *r, size_t cap, enum ring_pages pages)
{
    *r = (struct ring){ .gate = UINT64_MAX, .total = RING_NO_TOTAL };
    if (cap < RING_CAP_MIN || cap > RING_CAP_MAX)
        return -EINVAL;
    bool fits = round_cap(cap) >= MIB2;
    int rc = fits && pages != RING_PAGES_SMALL ? ring_make(r, cap, true) : -EAGAIN;
    return rc == 0 || (fits && pages == RING_PAGES_HUGE) ? rc : ring_make(r, cap, false);
}

void ring_fini(struct ring *r)
{
    if (r->map)
        munmap(r->map, r->map_len);
    free(r->ext);
    *r = (struct ring){ .gate = UINT64_MAX, .total = RING_NO_TOTAL };
}

/* ------------------------------------------------------------ claims */

int ring_end(struct ring *r, uint64_t total)
{
    uint64_t reached = r->n_ext ? r->ext[r->n_ext - 1].end : r->put;
    if (total == RING_NO_TOTAL || total < reached || (r->total != RING_NO_TOTAL && r->total != total))
        return -SST_EPROTO;
    r->total = total;
    return 0;
}

/* Index of the first extent whose end lies beyond off. Claims mostly come in order: look from the back. */
static unsigned find_extent(const struct ring *r, uint64_t off)
{
    unsigned i = r->n_ext;
    while (i > 0 && r->ext[i - 1].end > off)
        i--;
    return i;
}

static int make_room(struct ring *r)
{
    if (r->n_ext < r->room_ext)
        return 0;
    if (r->n_ext >= RING_EXTENTS_MAX)
        return -ENOSPC;
    unsigned room = r->room_ext ? 2 * r->room_ext : 8;
    struct ring_extent *grown = realloc(r->ext, room * sizeof(*grown));
    if (!grown)
        return -ENOSPC;
    r->ext = grown;
    r->room_ext = room;
    return 0;
}

static void remove_extents(struct ring *r, unsigned i, unsigned n)
{
    memmove(&r->ext[i], &r->ext[i + n], (r->n_ext - i - n) * sizeof(*r->ext));
    r->n_ext -= n;
}

int ring_claim(struct ring *r, uint64_t off, size_t len, const void *owner)
{
    uint64_t end = off + len;
    if (len == 0 || end < off || off < r->put || end > r->rel + r->cap || end > r->total)
        return -SST_EPROTO;
    unsigned i = find_extent(r, off);
    if (i < r->n_ext && r->ext[i].start < end)
        return -SST_EPROTO;
    int rc = make_room(r);
    if (rc < 0)
        return rc;
    memmove(&r->ext[i + 1], &r->ext[i], (r->n_ext - i) * sizeof(*r->ext));
    r->ext[i] = (struct ring_extent){ .start = off, .end = end, .done = off, .owner = owner };
    r->n_ext++;
    return 0;
}

/* Move put over everything at the front that has arrived. */
static void advance_put(struct ring *r)
{
    unsigned whole = 0;
    for (; whole < r->n_ext && r->ext[whole].start <= r->put; whole++) {
        struct ring_extent *e = &r->ext[whole];
        r->put = MAX(r->put, e->done);
        if (e->done < e->end)
            break;
    }
    if (whole)
        remove_extents(r, 0, whole);
}

int ring_fill(struct ring *r, uint64_t off, size_t n, const void *owner)
{
    for (unsigned i = 0; i < r->n_ext; i++) {
        struct ring_extent *e = &r->ext[i];
        if (e->start != off || e->owner != owner)
            continue;
        if (n > e->end - e->done)
            return -EINVAL;
        e->done += n;
        if (e->done == e->end)
            e->owner = NULL;
        advance_put(r);
        return 0;
    }
    return -EINVAL;
}

void ring_unclaim(struct ring *r, const void *owner)
{
    for (unsigned i = 0; i < r->n_ext;) {
        struct ring_extent *e = &r->ext[i];
        if (e->owner != owner || e->done == e->end) {
            i++;
        } else if (e->done == e->start || e->done <= r->put) {
            remove_extents(r, i, 1);
        } else {
            e->end = e->done; /* keep what arrived behind the hole */
            e->owner = NULL;
            i++;
        }
    }
}
