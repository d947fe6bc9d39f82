/* What is kept of a channel that has ended: a line of the log, a record, the tally. */
#include "ctrl/session_priv.h"
#include "src/core/log.h"

static struct record_end record_end(const struct schannel *c, unsigned side)
{
    const struct shop *sh = c->hop[side];
    if (c->plain[side].here)
        return (struct record_end){ .peer = c->plain[side].peer, .transport = "tcp", .device = "tcp", .security = "plaintext" };
    if (!sh)
        return (struct record_end){ .peer = NULL };
    const struct hop_report *r = &sh->h.report;
    return (struct record_end){ .peer = sh->h.at.peer, .principal = sh->principal, .transport = r->transport, .device = r->device,
                                .security = r->security };
}

static void log_end(const struct schannel *c, const struct record *e)
{
    char size[UNITS_TEXT], rate[UNITS_TEXT];
    log_info("channel %s/%u (%s) %s: %s, %.3f s, %s%s%s", e->uid, e->channel, e->route, c->reason, units_human_size(size, e->moved.bytes[0]),
             (double)e->ns / 1e9, units_human_rate(rate, e->ns ? (double)e->moved.bytes[0] * 8e9 / (double)e->ns : 0),
             *e->digest ? ", xxh128 " : "", e->digest);
}

void schannel_note_end(struct schannel *c, int rc)
{
    char digest[2 * DIGEST_SIZE + 1] = "";
    if (c->counted)
        return;
    struct record e = { .uid = c->s->uid, .route = c->route->c->name, .channel = c->number, .source = record_end(c, SOURCE_SIDE),
                        .sink = record_end(c, SINK_SIDE), .ns = c->flowing_ns ? now_ns() - c->flowing_ns : 0, .digest = digest,
                        .outcome = tally_outcome_name(c->outcome), .rc = c->outcome == TALLY_ABORTED ? rc : 0,
                        .reason = c->reason + (str_starts(c->reason, ABORTED) ? strlen(ABORTED) : 0) };
    if (c->w)
        pool_channel_sum(c->w, &c->pc, &e.moved);
    if (c->total.has_digest)
        secret_hex(digest, c->total.digest, DIGEST_SIZE);
    c->counted = true;
    log_end(c, &e);
    records_write(c->ss->c.records, &e);
    tally_ended(c->ss->c.tally, e.route, c->outcome, e.rc, &e.moved);
}
