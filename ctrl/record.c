#include "ctrl/record.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "src/core/err.h"
#include "src/core/log.h"

/* ------------------------------------------------------------ the line */

static void put_text(FILE *f, const char *key, const char *text)
{
    size_t size = 6 * strlen(text ? text : "") + 1; /* \u00xx for each byte */
    AUTO_FREE char *escaped = mem_zalloc(1, size);
    log_json_escape(escaped, size, text ? text : "");
    fprintf(f, "\"%s\":\"%s\"", key, escaped);
}

static void put_time(FILE *f)
{
    char text[32];
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    fprintf(f, "{\"time\":\"%s.%03dZ\",", text, (int)(t.tv_nsec / 1000000));
}

static void put_end(FILE *f, const char *key, const struct record_end *e)
{
    const struct { const char *key, *text; } rows[] = { { "peer", e->peer }, { "principal", e->principal }, { "transport", e->transport },
                                                        { "device", e->device }, { "security", e->security } };
    fprintf(f, "\"%s\":{", key);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        put_text(f, rows[i].key, rows[i].text);
        fputc(i + 1 < ARRAY_LEN(rows) ? ',' : '}', f);
    }
    fputc(',', f);
}

static void put_waits(FILE *f, const char *key, const uint64_t ns[WAIT_KINDS])
{
    fprintf(f, "\"%s\":{", key);
    for (unsigned w = 0; w < WAIT_KINDS; w++)
        fprintf(f, "%s\"%s\":%.6f", w ? "," : "", stats_wait_name(w), (double)ns[w] / 1e9);
    fputs("},", f);
}

/* For what the forward flow waited longest. */
static const char *who_was_slow(const uint64_t ns[WAIT_KINDS])
{
    unsigned most = 0;
    for (unsigned w = 1; w < WAIT_KINDS; w++)
        if (ns[w] > ns[most])
            most = w;
    return ns[most] ? stats_wait_name(most) : "";
}

static void put_record(FILE *f, const struct record *e, const char *gateway)
{
    const struct { const char *key, *text; } ids[] = { { "gateway", gateway }, { "uid", e->uid }, { "route", e->route },
                                                       { "principal", e->source.principal ? e->source.principal : e->sink.principal } };
    put_time(f);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        put_text(f, ids[i].key, ids[i].text);
        fputc(',', f);
    }
    fprintf(f, "\"channel\":%u,", e->channel);
    put_end(f, "source", &e->source);
    put_end(f, "sink", &e->sink);
    fprintf(f, "\"bytes\":%llu,\"bytes_backward\":%llu,\"seconds\":%.6f,\"gbit_s\":%.6f,", (unsigned long long)e->moved.bytes[0],
            (unsigned long long)e->moved.bytes[1], (double)e->ns / 1e9, e->ns ? (double)e->moved.bytes[0] * 8 / (double)e->ns : 0);
    put_text(f, "digest", e->digest);
    fputc(',', f);
    put_waits(f, "wait_seconds", e->moved.wait_ns[0]);
    put_waits(f, "wait_seconds_backward", e->moved.wait_ns[1]);
    put_text(f, "slow", who_was_slow(e->moved.wait_ns[0]));
    fputc(',', f);
    put_text(f, "outcome", e->outcome);
    fputc(',', f);
    put_text(f, "code", err_name(e->rc));
    fputc(',', f);
    put_text(f, "reason", e->reason);
    fputc('}', f);
}

char *record_text(const struct record *e, const char *gateway)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return NULL;
    put_record(f, e, gateway);
    if (fclose(f) == 0)
        return text;
    free(text);
    return NULL;
}

/* ------------------------------------------------------------ the file */

/* O_NONBLOCK: a FIFO that nobody reads must not stop the gateway. */
static int open_file(struct records *r)
{
    r->fd = open(r->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    return r->fd < 0 ? -errno : 0;
}

static bool was_moved(const struct records *r)
{
    struct stat now, ours;
    return stat(r->path, &now) < 0 || fstat(r->fd, &ours) < 0 || now.st_ino != ours.st_ino || now.st_dev != ours.st_dev;
}

/* Without a file to go on with, the one that was moved away is still better than none. */
static int reopen(struct records *r)
{
    int old = r->fd, rc;
    if (old >= 0 && !was_moved(r))
        return 0;
    rc = open_file(r);
    if (rc < 0)
        r->fd = old;
    else if (old >= 0)
        close(old);
    if (rc == 0)
        r->torn = false;
    return r->fd < 0 ? rc : 0;
}

/* One write. What a full disk cut off is closed by a newline before the next line, so that only that one cannot be read. */
static int append(struct records *r, const char *line)
{
    AUTO_FREE char *whole = mem_printf("%s%s\n", r->torn ? "\n" : "", line);
    size_t len = strlen(whole);
    int rc = reopen(r);
    if (rc < 0)
        return rc;
    ssize_t n = write(r->fd, whole, len);
    if (n < 0)
        return -errno;
    r->torn = (size_t)n < len && !(n == 1 && r->torn);
    return (size_t)n < len ? -ENOSPC : 0;
}

static void account(struct records *r, int rc)
{
    *(rc < 0 ? &r->lost : &r->written) += 1;
    if (rc < 0 && !r->complained)
        log_error("records %s: %s: they are lost until it can be written; scistream_records_lost_total counts them", r->path, strerror(-rc));
    else if (rc == 0 && r->complained)
        log_warn("records %s: are written again, %llu were lost so far", r->path, (unsigned long long)r->lost);
    r->complained = rc < 0;
}

void records_write(struct records *r, const struct record *e)
{
    if (!r->to_log && !r->path)
        return;
    AUTO_FREE char *line = record_text(e, r->gateway);
    if (r->to_log && line) {
        log_info("record %s", line);
        r->written++;
    } else if (!r->to_log) {
        account(r, line ? append(r, line) : -ENOMEM);
    }
}

int records_open(struct records *r, const char *where, const char *gateway, char *why, size_t why_size)
{
    *r = (struct records){ .gateway = gateway, .to_log = str_eq(where, "log"), .fd = -1 };
    if (r->to_log || !*where)
        return 0;
    r->path = mem_strdup(where);
    int rc = open_file(r);
    if (rc == 0)
        return 0;
    snprintf(why, why_size, "records = %s: cannot be opened: %s; it must be a file that the gateway's user may append to", where, strerror(-rc));
    records_close(r);
    return rc;
}

void records_close(struct records *r)
{
    if (r->path)
        fd_close(&r->fd);
    free(r->path);
    *r = (struct records){ .fd = -1 };
}
