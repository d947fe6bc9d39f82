#include "tests/unit/verbs_stage.h"

#include <stdio.h>
#include <unistd.h>

const struct xport_ops *const xport_list[] = { &xport_verbs_ops, &xport_mem_ops, NULL };

#define RESOURCES_NS (20 * NS_PER_S) /* the kernel destroys some of it later */

const char *verbs_there(void) { return getenv("RDMA_THERE"); }

static void set(struct conf *c, const char *assignment)
{
    char why[256];
    if (conf_set(c, assignment, why, sizeof(why)) < 0)
        CU_FAIL_FATAL("a setting is refused");
}

void verbs_stage_open(struct stage *s, uint64_t patience_ns)
{
    char listen[128];
    log_threshold = LOG_LEVEL_WARN; /* devices are told at each start */
    stage_init(s, &xport_verbs_ops, patience_ns);
    snprintf(listen, sizeof(listen), "rdma.listen=%s", verbs_there());
    set(s->rig.conf, listen);
    stage_listen(s);
}

int verbs_try_listen(const char *setting, unsigned index, char why[XPORT_WHY])
{
    char listen[128];
    struct rig rig;
    rig_open(&rig);
    snprintf(listen, sizeof(listen), "rdma.listen=%s", verbs_there());
    set(rig.conf, listen);
    set(rig.conf, setting);
    rig.env[0].accepts = true;
    rig.env[0].index = index;
    why[0] = 0;
    int rc = xport_verbs_ops.listen(&rig.env[0], why, XPORT_WHY);
    xport_verbs_ops.unlisten(&rig.env[0]);
    xport_verbs_ops.unlisten(&rig.env[0]);
    rig_close(&rig);
    return rc;
}

/* ------------------------------------------------------------ what the kernel counts */

char *verbs_resources(void)
{
    char line[256], *all = mem_strdup("");
    FILE *in = popen("rdma resource show", "r");
    while (in && fgets(line, sizeof(line), in)) {
        char *ctx = strstr(line, " ctx"); /* a device that was opened once stays so */
        if (ctx)
            *ctx = 0;
        char *longer = mem_printf("%s%s\n", all, line);
        free(all);
        all = longer;
    }
    CU_ASSERT_FATAL(in && pclose(in) == 0 && *all);
    return all;
}

bool verbs_resources_same(struct stage *s, const char *before)
{
    for (uint64_t until = now_ns() + RESOURCES_NS;;) {
        AUTO_FREE char *now = verbs_resources();
        if (str_eq(now, before))
            return true;
        if (now_ns() > until) {
            printf("\n  before:\n%s  now:\n%s", before, now);
            return false;
        }
        rig_wait(s->on, 50 * NS_PER_MS);
    }
}

/* ------------------------------------------------------------ who says nothing */

void mute_listen(struct mute_listener *m)
{
    union sockaddr_any at;
    CU_ASSERT_EQUAL_FATAL(addr_numeric(verbs_there(), 0, &at), 0);
    m->events = rdma_create_event_channel();
    CU_ASSERT_FATAL(m->events && rdma_create_id(m->events, &m->id, NULL, RDMA_PS_TCP) == 0);
    CU_ASSERT_FATAL(rdma_bind_addr(m->id, &at.sa) == 0 && rdma_listen(m->id, 8) == 0);
    m->port = ntohs(rdma_get_src_port(m->id));
}

void mute_close(struct mute_listener *m)
{
    rdma_destroy_id(m->id);
    rdma_destroy_event_channel(m->events);
}

/* Blocking calls, so in a thread of its own. */
static void *be_mute(void *arg)
{
    struct mute_guest *m = arg;
    uint8_t private[VERBS_PRIVATE];
    char port[8];
    struct verbs_intro intro = { .receives = VERBS_RECEIVES_MIN, .base = 4096, .size = 65536, .rkey = 1, .chunk_max = 4096 };
    struct rdma_conn_param p = { .private_data = private, .private_data_len = VERBS_PRIVATE, .responder_resources = 1,
                                 .initiator_depth = 1, .retry_count = 7 };
    struct ibv_qp_init_attr a = { .cap = { 1, VERBS_RECEIVES_MIN, 1, 1, 0 }, .qp_type = IBV_QPT_RC, .sq_sig_all = 1 };
    struct rdma_addrinfo hints = { .ai_port_space = RDMA_PS_TCP, .ai_qp_type = IBV_QPT_RC }, *to;
    memcpy(intro.cookie, stage_cookie, FRAME_COOKIE);
    verbs_intro_encode(&intro, private);
    snprintf(port, sizeof(port), "%u", m->port);
    m->rc = rdma_getaddrinfo(verbs_there(), port, &hints, &to);
    if (m->rc == 0) {
        m->rc = rdma_create_ep(&m->id, to, NULL, &a);
        rdma_freeaddrinfo(to);
    }
    if (m->rc == 0 && !(m->mr = ibv_reg_mr(m->id->pd, m->room, sizeof(m->room), IBV_ACCESS_LOCAL_WRITE)))
        m->rc = -1;
    for (size_t i = 0; m->rc == 0 && i < VERBS_RECEIVES_MIN; i++) {
        struct ibv_sge sge = { .addr = (uintptr_t)m->room + 64 * i, .length = 64, .lkey = m->mr->lkey };
        struct ibv_recv_wr wr = { .sg_list = &sge, .num_sge = 1 }, *bad;
        m->rc = ibv_post_recv(m->id->qp, &wr, &bad);
    }
    if (m->rc == 0)
        m->rc = rdma_connect(m->id, &p);
    return NULL;
}

void mute_dial(struct mute_guest *m, struct stage *s)
{
    *m = (struct mute_guest){ .port = s->spec.port };
    CU_ASSERT_EQUAL_FATAL(pthread_create(&m->thread, NULL, be_mute, m), 0);
}

void mute_leave(struct mute_guest *m)
{
    pthread_join(m->thread, NULL);
    CU_ASSERT_EQUAL(m->rc, 0);
    if (m->mr)
        ibv_dereg_mr(m->mr);
    if (m->id)
        rdma_destroy_ep(m->id);
}
