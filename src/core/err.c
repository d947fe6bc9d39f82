#include "src/core/err.h"

struct sst_row { const char *name, *text; int exit; bool retry; };

#define SST_SLOTS 64
static const struct sst_row sst_rows[SST_SLOTS] = {
#define X(name, n, text, exit, retry) [n] = { #name, text, exit, retry },
    SST_ERRORS(X)
#undef X
};

/* What an errno means to a utility, and the nearest number a peer can be told. Not in the table: local input or output. */
static const struct errno_row { int num, exit; bool retry; int wire; } errno_rows[] = {
    { ECONNREFUSED, 69, true, SST_ELOST },    { ECONNRESET, 69, true, SST_ELOST },  { ECONNABORTED, 69, true, SST_ELOST },
    { ENETUNREACH, 69, true, SST_ELOST },     { ENETDOWN, 69, true, SST_ELOST },    { ENETRESET, 69, true, SST_ELOST },
    { EHOSTUNREACH, 69, true, SST_ELOST },    { EHOSTDOWN, 69, true, SST_ELOST },   { ENOTCONN, 69, true, SST_ELOST },
    { ETIMEDOUT, 69, true, SST_ETIMEOUT },    { ENOMEM, 75, true, SST_ELIMIT },     { EMFILE, 75, true, SST_ELIMIT },
    { ENFILE, 75, true, SST_ELIMIT },         { ENOBUFS, 75, true, SST_ELIMIT },    { EAGAIN, 75, true, SST_ELIMIT },
    { EPROTO, 76, false, SST_EPROTO },        { EINTR, 76, false, SST_EINTERRUPTED },
};
static const struct errno_row local_io = { 0, 74, false, SST_EIO };

static const struct sst_row *find_sst(int num)
{
    if (num <= SST_ERR_BASE || num >= SST_ERR_BASE + SST_SLOTS)
        return NULL;
    const struct sst_row *row = &sst_rows[num - SST_ERR_BASE];
    return row->name ? row : NULL;
}

static const struct errno_row *find_errno(int num)
{
    for (size_t i = 0; i < ARRAY_LEN(errno_rows); i++)
        if (errno_rows[i].num == num)
            return &errno_rows[i];
    return &local_io;
}

/* Callers pass negative numbers; the positive twin means the same. INT_MIN has none. */
static int number(int rc)
{
    return rc < 0 && rc > -INT32_MAX ? -rc : rc;
}

const char *err_text(int rc)
{
    const struct sst_row *row = find_sst(number(rc));
    if (rc == 0)
        return "success";
    const char *text = row ? row->text : strerrordesc_np(number(rc));
    return text ? text : "unknown error";
}

const char *err_name(int rc)
{
    const struct sst_row *row = find_sst(number(rc));
    if (rc == 0)
        return "OK";
    const char *name = row ? row->name : strerrorname_np(number(rc));
    return name ? name : "EUNKNOWN";
}

int err_exit(int rc)
{
    const struct sst_row *row = find_sst(number(rc));
    if (rc == 0)
        return 0;
    return row ? row->exit : find_errno(number(rc))->exit;
}

bool err_retryable(int rc)
{
    const struct sst_row *row = find_sst(number(rc));
    return row ? row->retry : find_errno(number(rc))->retry;
}

uint32_t err_to_wire(int rc)
{
    if (rc == 0)
        return 0;
    int num = find_sst(number(rc)) ? number(rc) : find_errno(number(rc))->wire;
    return (uint32_t)(num - SST_ERR_BASE);
}

int err_from_wire(uint32_t code)
{
    if (code == 0 || code >= SST_SLOTS || !sst_rows[code].name)
        return -SST_EABORTED;
    return -(SST_ERR_BASE + (int)code);
}
