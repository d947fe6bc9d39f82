/* What administrators send and are told: ids of connections and places in their list, as a gateway reads them, and events, as scistreamctl shows them.
 * The first byte chooses one, the rest is its input. Two workers have a few connections. */
#include "ctrl/connections.h"
#include "src/ctl_table.h"
#include "tests/fuzz/fuzz.h"

#define WORKERS 2
#define CONNECTIONS 5
#define LINES 12
#define COLUMNS 70

static struct pool_worker worker[WORKERS];
static char name[] = "app";
static struct conf_route settings = { .name = name };
static struct route route = { .c = &settings, .tcp = true };

unsigned pool_size(const struct pool *p UNUSED) { return WORKERS; }
struct pool_worker *pool_at(struct pool *p UNUSED, unsigned i) { return &worker[i]; }
struct board *pool_board(struct pool *p UNUSED) { return NULL; }
size_t doors_count(const struct doors *ds UNUSED) { return 1; }
unsigned doors_places(const struct doors *ds UNUSED) { return BOARD_ROUTE_DOORS; }
const char *doors_uid(const struct doors *ds UNUSED, uint32_t number UNUSED) { return ""; }
struct route *doors_route(const struct doors *ds UNUSED, unsigned number UNUSED) { return &route; }
const char *doors_route_name(const void *ds UNUSED, unsigned number UNUSED) { return name; }
uint64_t doors_reserved(const struct doors *ds UNUSED, const char *of UNUSED) { return 0; }

static uint64_t closed;

static int on_sent(struct pool_worker *w, const ToWorker *m, int fd UNUSED)
{
    FUZZ_CHECK(m->what_case == SCISTREAM__WORKER__TO_WORKER__WHAT_CLOSE && m->close->channel != ALL_RELAYS);
    FUZZ_CHECK(stats_get(&w->stats->relay[m->close->channel % STATS_RELAYS].c.id) == m->close->channel);
    closed++;
    return 0;
}

static void begin(void)
{
    for (unsigned w = 0; w < WORKERS && !worker[w].stats; w++) {
        worker[w] = (struct pool_worker){ .index = w, .send = on_sent, .stats = stats_create(NULL) };
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            stats_set(&worker[w].stats->relay[i].born_ns, i + 1);
            stats_set(&worker[w].stats->relay[i].c.id, ALL_RELAYS | (STATS_RELAYS + i));
        }
        stats_set(&worker[w].stats->relay_high, CONNECTIONS);
    }
}

static void ids(const struct connections *cs, const char *text)
{
    char out[CONNECTION_ID];
    unsigned w = 0, again = 0;
    uint64_t id = 0, id_again = 0, before = closed;
    bool is = connection_parse(text, &w, &id);
    FUZZ_CHECK(!is || (connection_parse(connection_id(out, w, id), &again, &id_again) && again == w && id_again == id));
    FUZZ_CHECK(!is || (w < BOARD_WORKERS && id > ALL_RELAYS));
    FUZZ_CHECK(connections_release(cs, text, "enough") == (closed > before) && (is || closed == before));
}

static void places(const struct connections *cs, const char *text)
{
    const struct connections_query q = { .route = "", .after = text, .max = 3 };
    SessionsReply r = SCISTREAM__GATEWAY__V1__SESSIONS_REPLY__INIT, *heap = mem_zalloc(1, sizeof(*heap));
    *heap = r;
    if (connections_list(cs, &q, heap) == 0) {
        FUZZ_CHECK(heap->n_connections <= 3 && heap->n_connections + heap->more <= (uint64_t)WORKERS * CONNECTIONS);
        FUZZ_CHECK((heap->more > 0) == (*heap->next != 0) && (*text == 0) == (heap->n_routes > 0));
    }
    scistream__gateway__v1__sessions_reply__free_unpacked(heap, NULL);
}

static void show(const char *text, bool lines)
{
    for (; *text; text++)
        FUZZ_CHECK((*text >= 0x20 && *text <= 0x7e) || (lines && *text == '\n'));
}

static void events(const uint8_t *data, size_t size)
{
    WatchEvent *e = scistream__gateway__v1__watch_event__unpack(NULL, size, data);
    struct table t;
    if (!e)
        return;
    AUTO_FREE char *line = e->connections ? table_connections(e) : table_line(e);
    show(line, e->connections);
    table_init(&t);
    for (int i = 0; i < 2; i++) { /* what is there already, too */
        table_take(&t, e);
        AUTO_FREE char *drawn = table_draw(&t, LINES, COLUMNS);
        FUZZ_CHECK(strlen(drawn) <= LINES * (COLUMNS + 1));
        show(drawn, true);
    }
    table_fini(&t);
    scistream__gateway__v1__watch_event__free_unpacked(e, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct connections cs = { .pool = NULL };
    if (size == 0)
        return 0;
    begin();
    AUTO_FREE char *text = fuzz_text(data + 1, size - 1);
    switch (data[0] % 3) {
    case 0:
        ids(&cs, text);
        break;
    case 1:
        places(&cs, text);
        break;
    default:
        events(data + 1, size - 1);
        break;
    }
    return 0;
}
