/* The attacks, a table for each kind of end. What a gateway has to say about each stands in attacks.sh. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/rdma/attacker.h"

static void message(struct evil *e, struct frame f, uint64_t rq_total)
{
    uint8_t bytes[VERBS_MESSAGE];
    verbs_message_encode(&f, rq_total, bytes);
    raw_send(&e->r, bytes, sizeof(bytes));
}

static void vanish(struct evil *e)
{
    evil_say(e, "gone");
    _exit(3);
}

static void vanish_after_hello(struct evil *e)
{
    if (evil_hello(e))
        vanish(e);
}

static void silent(struct evil *e)
{
    evil_say(e, "silent");
    evil_aftermath(e);
}

/* ------------------------------------------------------------ before and with HELLO */

static void early_data(struct evil *e)
{
    evil_tell(e, evil_data(0, 100));
    evil_aftermath(e);
}

static void hello_version(struct evil *e)
{
    struct frame f = frame_hello(e->cookie);
    f.a = 9ULL << 32;
    evil_tell(e, f);
    evil_aftermath(e);
}

static void hello_cookie(struct evil *e)
{
    uint8_t cookie[FRAME_COOKIE] = { 1 };
    evil_tell(e, frame_hello(cookie));
    evil_aftermath(e);
}

static void hello_twice(struct evil *e)
{
    if (evil_hello(e))
        evil_tell(e, frame_hello(e->cookie));
    evil_aftermath(e);
}

/* ------------------------------------------------------------ messages that are none */

static void send_bytes(struct evil *e, const void *bytes, size_t n)
{
    if (evil_hello(e))
        raw_send(&e->r, bytes, n);
    evil_aftermath(e);
}

static uint8_t garbage_bytes[4096];

static void short_message(struct evil *e)
{
    uint8_t bytes[VERBS_MESSAGE];
    struct frame f = evil_data(0, 1);
    verbs_message_encode(&f, RAW_RECEIVES, bytes);
    send_bytes(e, bytes, sizeof(bytes) - 1);
}

static void empty_message(struct evil *e) { send_bytes(e, garbage_bytes, 0); }
static void large_message(struct evil *e) { send_bytes(e, garbage_bytes, sizeof(garbage_bytes)); }

static void garbage(struct evil *e)
{
    memset(garbage_bytes, 0xa5, sizeof(garbage_bytes));
    send_bytes(e, garbage_bytes, VERBS_MESSAGE);
}

static void unknown_type(struct evil *e)
{
    if (evil_hello(e))
        evil_tell(e, (struct frame){ .type = 77, .a = 1 });
    evil_aftermath(e);
}

static void wrong_flow(struct evil *e)
{
    if (evil_hello(e))
        evil_tell(e, (struct frame){ .type = FRAME_EOS, .flow = 1 });
    evil_aftermath(e);
}

static void fewer_receives(struct evil *e)
{
    if (evil_hello(e))
        message(e, evil_data(0, 1), RAW_RECEIVES - 1);
    evil_aftermath(e);
}

static void absurd_receives(struct evil *e)
{
    if (evil_hello(e))
        message(e, evil_data(0, 1), UINT64_MAX);
    evil_aftermath(e);
}

/* ------------------------------------------------------------ what a sender may not say */

static void beyond_limit(struct evil *e)
{
    if (evil_hello(e))
        evil_tell(e, evil_data(e->limit - 10, 11));
    evil_aftermath(e);
}

static void wrapping_offset(struct evil *e)
{
    if (evil_hello(e))
        evil_tell(e, evil_data(UINT64_MAX - 5, 100));
    evil_aftermath(e);
}

static void large_chunk(struct evil *e)
{
    if (evil_hello(e))
        evil_tell(e, evil_data(0, UINT32_MAX));
    evil_aftermath(e);
}

static void overlap(struct evil *e)
{
    if (evil_hello(e) && evil_tell(e, evil_data(0, 100)) == 0)
        evil_tell(e, evil_data(50, 100));
    evil_aftermath(e);
}

static void end_twice(struct evil *e)
{
    struct frame end = { .type = FRAME_EOS, .a = 1000 };
    if (evil_hello(e) && evil_tell(e, end) == 0)
        evil_tell(e, end);
    evil_aftermath(e);
}

static void data_after_end(struct evil *e)
{
    if (evil_hello(e) && evil_tell(e, (struct frame){ .type = FRAME_EOS, .a = 1000 }) == 0)
        evil_tell(e, evil_data(990, 11));
    evil_aftermath(e);
}

/* More than the peer has receives for, as fast as can be: all of it is right but the number. */
static void flood(struct evil *e)
{
    uint8_t bytes[VERBS_MESSAGE];
    uint64_t off = 0;
    if (!evil_hello(e))
        return;
    for (int round = 0; round < 8; round++) {
        int failed = 0;
        for (unsigned i = 0; i < RAW_SENDS - 1 && !failed; i++) {
            struct frame f = evil_data(off++, 1);
            verbs_message_encode(&f, RAW_RECEIVES, bytes);
            failed = raw_post(&e->r, bytes, sizeof(bytes));
        }
        if (failed || raw_wait(&e->r) != 0)
            break;
    }
    evil_say(e, "%llu messages, %s", (unsigned long long)off, ibv_wc_status_str(e->r.bad));
    vanish(e); /* what found no receive never came: the peer has nothing to complain of */
}

static void vanish_after_data(struct evil *e)
{
    if (evil_hello(e) && raw_rdma(&e->r, IBV_WR_RDMA_WRITE, &e->peer, 0, 1000) == 0 && evil_tell(e, evil_data(0, 1000)) == 0)
        vanish(e);
}

/* ------------------------------------------------------------ memory of others */

static void touch(struct evil *e, enum ibv_wr_opcode opcode, const struct verbs_intro *ring, uint64_t at)
{
    struct frame f;
    if (evil_hello(e)) {
        int status = raw_rdma(&e->r, opcode, ring, at, 4096);
        while (raw_take(&e->r, &f, 3000)) /* on iWARP a WRITE is done when TCP has it, and the connection ends when it is refused */
            ;
        evil_say(e, "%s: %s, %s", opcode == IBV_WR_RDMA_READ ? "READ" : "WRITE", status == 0 ? "DONE" : ibv_wc_status_str(status),
                 e->r.over ? "disconnected" : "connected");
    }
    vanish(e); /* Soft-RoCE refuses it without a word to the owner of the memory */
}

static void write_beyond(struct evil *e) { touch(e, IBV_WR_RDMA_WRITE, &e->peer, e->peer.size - 1000); }
static void write_before(struct evil *e) { touch(e, IBV_WR_RDMA_WRITE, &e->peer, (uint64_t)-100); }
static void read_ring(struct evil *e) { touch(e, IBV_WR_RDMA_READ, &e->peer, 0); }

static void write_rkey(struct evil *e)
{
    struct verbs_intro ring = e->peer;
    ring.rkey ^= 0x7fff00;
    touch(e, IBV_WR_RDMA_WRITE, &ring, 0);
}

/* The ring of the channel whose sender wrote down what it was told. */
static void touch_other(struct evil *e, enum ibv_wr_opcode opcode)
{
    uint8_t told[VERBS_PRIVATE];
    struct verbs_intro ring;
    FILE *f = fopen(getenv("ATTACK_FILE"), "r");
    if (!f || fread(told, sizeof(told), 1, f) != 1 || verbs_intro_decode(told, sizeof(told), &ring) < 0) {
        evil_say(e, "no intro in $ATTACK_FILE");
        return;
    }
    fclose(f);
    evil_say(e, "ring of %llu bytes, rkey %#x, mine is %#x", (unsigned long long)ring.size, ring.rkey, e->peer.rkey);
    touch(e, opcode, &ring, 0);
}

static void write_other(struct evil *e) { touch_other(e, IBV_WR_RDMA_WRITE); }
static void read_other(struct evil *e) { touch_other(e, IBV_WR_RDMA_READ); }

const struct attack attacks_send[] = {
    { .name = "silent", .act = silent }, { .name = "early-data", .act = early_data }, { .name = "hello-version", .act = hello_version },
    { .name = "hello-cookie", .act = hello_cookie }, { .name = "hello-twice", .act = hello_twice }, { .name = "short-message", .act = short_message },
    { .name = "empty-message", .act = empty_message }, { .name = "large-message", .act = large_message }, { .name = "garbage", .act = garbage },
    { .name = "unknown-type", .act = unknown_type }, { .name = "wrong-flow", .act = wrong_flow }, { .name = "fewer-receives", .act = fewer_receives },
    { .name = "absurd-receives", .act = absurd_receives }, { .name = "beyond-limit", .act = beyond_limit },
    { .name = "wrapping-offset", .act = wrapping_offset }, { .name = "large-chunk", .act = large_chunk }, { .name = "overlap", .act = overlap },
    { .name = "end-twice", .act = end_twice }, { .name = "data-after-end", .act = data_after_end }, { .name = "flood", .act = flood },
    { .name = "write-beyond", .act = write_beyond }, { .name = "write-before", .act = write_before }, { .name = "write-rkey", .act = write_rkey },
    { .name = "write-other", .act = write_other }, { .name = "read-other", .act = read_other }, { .name = "read", .act = read_ring },
    { .name = "vanish-request", .act = vanish, .early = true }, { .name = "vanish-connected", .act = vanish },
    { .name = "vanish-hello", .act = vanish_after_hello }, { .name = "vanish-data", .act = vanish_after_data }, { 0 },
};

/* ------------------------------------------------------------ what a receiver may not say */

static void size_0(struct verbs_intro *i) { i->size = 0; }
static void size_1(struct verbs_intro *i) { i->size = 1; }
static void size_small(struct verbs_intro *i) { i->size = 5000; }
static void size_huge(struct verbs_intro *i) { i->size = 1ULL << 40; }
static void size_wraps(struct verbs_intro *i) { i->size = UINT64_MAX; }
static void chunk_0(struct verbs_intro *i) { i->chunk_max = 0; }
static void chunk_1(struct verbs_intro *i) { i->chunk_max = 1; }
static void wrong_rkey(struct verbs_intro *i) { i->rkey ^= 0x7fff00; }
static void wrong_base(struct verbs_intro *i) { i->base += RAW_MEMORY; }

static struct frame limit(uint64_t upto, uint64_t consumed) { return (struct frame){ .type = FRAME_LIMIT, .a = upto, .b = consumed }; }

/* Invite what the spoiled intro makes impossible. */
static void invite(struct evil *e)
{
    if (evil_hello(e))
        evil_tell(e, limit(1 << 18, 0));
    evil_aftermath(e);
}

static void invite_much(struct evil *e)
{
    if (evil_hello(e))
        evil_tell(e, limit(UINT64_MAX, 0));
    evil_aftermath(e);
}

static void limit_shrinks(struct evil *e)
{
    if (evil_hello(e) && evil_tell(e, limit(10000, 0)) == 0)
        evil_tell(e, limit(9999, 0));
    evil_aftermath(e);
}

static void limit_absurd(struct evil *e)
{
    if (evil_hello(e) && evil_tell(e, limit(UINT64_MAX, 0)) == 0) {
        poll(NULL, 0, 500); /* bytes pour into our ring, again and again */
        evil_tell(e, limit(1, 0));
    }
    evil_aftermath(e);
}

static void consumed_absurd(struct evil *e)
{
    if (evil_hello(e))
        evil_tell(e, limit(UINT64_MAX, UINT64_MAX));
    evil_aftermath(e);
}

static void data_from_receiver(struct evil *e)
{
    if (evil_hello(e))
        evil_tell(e, evil_data(0, 100));
    evil_aftermath(e);
}

/* Receives are told that were never posted: theirs is the work request that fails. */
static void lying_receives(struct evil *e)
{
    if (evil_hello(e))
        message(e, limit(1ULL << 40, 0), 10000);
    evil_aftermath(e);
}

const struct attack attacks_recv[] = {
    { .name = "silent", .act = silent }, { .name = "size-0", .spoil = size_0 }, { .name = "size-1", .act = invite, .spoil = size_1 },
    { .name = "size-small", .act = limit_absurd, .spoil = size_small }, { .name = "size-huge", .act = invite_much, .spoil = size_huge },
    { .name = "size-wraps", .spoil = size_wraps }, { .name = "chunk-0", .spoil = chunk_0 }, { .name = "chunk-1", .act = limit_shrinks, .spoil = chunk_1 },
    { .name = "wrong-rkey", .act = invite, .spoil = wrong_rkey }, { .name = "wrong-base", .act = invite, .spoil = wrong_base },
    { .name = "limit-shrinks", .act = limit_shrinks }, { .name = "limit-absurd", .act = limit_absurd },
    { .name = "consumed-absurd", .act = consumed_absurd }, { .name = "data", .act = data_from_receiver },
    { .name = "fewer-receives", .act = fewer_receives }, { .name = "lying-receives", .act = lying_receives },
    { .name = "vanish-hello", .act = vanish_after_hello }, { 0 },
};

/* ------------------------------------------------------------ where a sender connects */

static void refuse(struct evil *e)
{
    raw_reject(&e->r, garbage_bytes, 8);
    evil_say(e, "refused");
}

static void unanswered(struct evil *e)
{
    evil_say(e, "left unanswered");
    poll(NULL, 0, RAW_WAIT_MS);
}

const struct attack attacks_accept[] = {
    { .name = "elsewhere" }, { .name = "refuse", .act = refuse, .early = true }, { .name = "unanswered", .act = unanswered, .early = true },
    { .name = "vanish-request", .act = vanish, .early = true }, { .name = "silent", .act = silent },
    { .name = "magic", .at = 0, .value = 'X' }, { .name = "version", .at = 4, .value = 9 }, { .name = "mtu", .at = 5, .value = 9 },
    { .name = "few-receives", .at = 7, .value = 63 }, { .name = "cookie", .at = 8, .value = 1 },
    { .name = "size-0", .spoil = size_0 }, { .name = "size-1", .act = invite, .spoil = size_1 }, { .name = "size-wraps", .spoil = size_wraps },
    { .name = "wrong-rkey", .act = invite, .spoil = wrong_rkey }, { .name = "limit-shrinks", .act = limit_shrinks },
    { .name = "vanish-connected", .act = vanish }, { .name = "vanish-hello", .act = vanish_after_hello }, { 0 },
};
