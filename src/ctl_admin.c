/* scistreamctl release, drain, reload and upgrade. */
#include <stdio.h>

#include "src/scistreamctl.h"

#define GATEWAY "/scistream.gateway.v1.Gateway/"
#define UPGRADE_NS (90 * NS_PER_S) /* a gateway gives the new program a minute */

typedef Scistream__Gateway__V1__DrainReply DrainReply;
typedef Scistream__Gateway__V1__ReloadReply ReloadReply;
typedef Scistream__Gateway__V1__UpgradeReply UpgradeReply;

/* ------------------------------------------------------------ release */

static int print_release(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    Scistream__Gateway__V1__ReleaseReply *r = scistream__gateway__v1__release_reply__unpack(NULL, len, data);
    AUTO_FREE char *what = r ? units_streams("", r->channels, r->connections) : NULL;
    if (r && o->json && r->sessions)
        printf("{\"sessions\":%u}\n", r->sessions);
    else if (r && o->json)
        printf("{\"channels\":%u,\"connections\":%llu}\n", r->channels, (unsigned long long)r->connections);
    else if (r && r->sessions)
        printf("%u session%s released\n", r->sessions, r->sessions == 1 ? "" : "s");
    else if (r)
        printf("%s released\n", what);
    scistream__gateway__v1__release_reply__free_unpacked(r, NULL);
    return r ? 0 : 76;
}

/* "r0.1f2e", also when it is cut; uids of channels have hex digits only, and those that SciStream's client chooses do not look like that. */
static bool is_connection(const char *s)
{
    if (*s++ != 'r')
        return false;
    s += strspn(s, "0123456789");
    return !*s || (*s == '.' && !s[1 + strspn(s + 1, "0123456789abcdef")]);
}

int ctl_release(struct ctl_opts *o, int argc, char **argv)
{
    Scistream__Gateway__V1__ReleaseRequest q = SCISTREAM__GATEWAY__V1__RELEASE_REQUEST__INIT;
    AUTO_FREE char *uid = mem_strdup(argc ? argv[0] : "");
    char *slash = strchr(uid, '/'), *end;
    q.reason = o->reason;
    q.route = o->route;
    if ((argc > 0) + (*o->route != 0) != 1) {
        fprintf(stderr, "scistreamctl: release needs either what 'scistreamctl sessions' shows (UID, UID/CHANNEL, or ID of a connection) or --route NAME\n");
        return 64;
    }
    if (is_connection(uid))
        q.connection = uid;
    else
        q.uid = uid;
    if (slash) {
        *slash = 0;
        unsigned long channel = strtoul(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end || channel > UINT32_MAX) {
            fprintf(stderr, "scistreamctl: %s: must be UID or UID/CHANNEL, as 'scistreamctl sessions' shows them\n", argv[0]);
            return 64;
        }
        q.pick_case = SCISTREAM__GATEWAY__V1__RELEASE_REQUEST__PICK_CHANNEL;
        q.channel = (uint32_t)channel;
    }
    return ctl_call(o, GATEWAY "Release", &q.base, print_release);
}

/* ------------------------------------------------------------ drain */

static void drain_text(const struct ctl_opts *o, const DrainReply *r)
{
    char time[UNITS_TEXT];
    AUTO_FREE char *open = units_streams("open ", r->channels, r->connections);
    if (o->resume)
        printf("new streams are taken\n");
    else
        printf("no new streams; %s %s %s to finish%s\n", open, r->channels + r->connections == 1 ? "gets" : "get",
               r->timeout_ms == UINT64_MAX ? "all the time it takes" : units_human_time(time, r->timeout_ms * NS_PER_MS),
               o->stop ? ", then the gateway stops" : "");
}

static int print_drain(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    DrainReply *r = scistream__gateway__v1__drain_reply__unpack(NULL, len, data);
    bool forever = r && r->timeout_ms == UINT64_MAX;
    if (r && o->json)
        printf("{\"draining\":%s,\"stopping\":%s,\"channels\":%u,\"connections\":%llu,\"timeout_ms\":%lld}\n", o->resume ? "false" : "true",
               o->stop ? "true" : "false", r->channels, (unsigned long long)r->connections, forever ? -1LL : (long long)r->timeout_ms);
    else if (r)
        drain_text(o, r);
    scistream__gateway__v1__drain_reply__free_unpacked(r, NULL);
    return r ? 0 : 76;
}

int ctl_drain(struct ctl_opts *o, int argc UNUSED, char **argv UNUSED)
{
    Scistream__Gateway__V1__DrainRequest q = SCISTREAM__GATEWAY__V1__DRAIN_REQUEST__INIT;
    uint64_t ns;
    if (*o->timeout) {
        if (units_parse_time(o->timeout, &ns) < 0) {
            fprintf(stderr, "scistreamctl: --timeout %s: must be a time like 30s, 5m or forever\n", o->timeout);
            return 64;
        }
        q.limit_case = SCISTREAM__GATEWAY__V1__DRAIN_REQUEST__LIMIT_TIMEOUT_MS;
        q.timeout_ms = ns == TIME_FOREVER ? UINT64_MAX : ns / NS_PER_MS;
    }
    q.stop = o->stop;
    q.resume = o->resume;
    if (q.resume && (q.stop || *o->timeout)) {
        fprintf(stderr, "scistreamctl: --resume goes with neither --stop nor --timeout\n");
        return 64;
    }
    return ctl_call(o, GATEWAY "Drain", &q.base, print_drain);
}

/* ------------------------------------------------------------ reload */

static void reload_json(const ReloadReply *r)
{
    printf("{\"ok\":%s,", *r->problem ? "false" : "true");
    ctl_json_text("problem", r->problem, ",");
    ctl_json_list("changed", r->changed, r->n_changed);
    printf(",");
    ctl_json_list("after_restart", r->after_restart, r->n_after_restart);
    printf(",");
    ctl_json_list("routes_added", r->routes_added, r->n_routes_added);
    printf(",");
    ctl_json_list("routes_removed", r->routes_removed, r->n_routes_removed);
    printf(",");
    ctl_json_list("routes_changed", r->routes_changed, r->n_routes_changed);
    printf("}\n");
}

static int print_reload(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    ReloadReply *r = scistream__gateway__v1__reload_reply__unpack(NULL, len, data);
    int code = !r ? 76 : *r->problem ? 78 : 0;
    if (r && o->json)
        reload_json(r);
    else if (code == 0)
        printf("%s\n", r->text);
    if (code == 78)
        fprintf(stderr, "scistreamctl: %s\n", r->text);
    scistream__gateway__v1__reload_reply__free_unpacked(r, NULL);
    return code;
}

int ctl_reload(struct ctl_opts *o, int argc UNUSED, char **argv UNUSED)
{
    Scistream__Gateway__V1__ReloadRequest q = SCISTREAM__GATEWAY__V1__RELOAD_REQUEST__INIT;
    return ctl_call(o, GATEWAY "Reload", &q.base, print_reload);
}

/* ------------------------------------------------------------ upgrade */

static void upgrade_json(const UpgradeReply *r)
{
    printf("{\"ok\":%s,", *r->problem ? "false" : "true");
    ctl_json_text("problem", r->problem, ",");
    printf("\"pid\":%u,", r->pid);
    ctl_json_text("version", r->version, ",");
    printf("\"channels\":%llu,\"timeout_ms\":%lld}\n", (unsigned long long)r->channels, r->timeout_ms == UINT64_MAX ? -1LL : (long long)r->timeout_ms);
}

static int print_upgrade(const struct ctl_opts *o, const uint8_t *data, size_t len)
{
    UpgradeReply *r = scistream__gateway__v1__upgrade_reply__unpack(NULL, len, data);
    int code = !r ? 76 : *r->problem ? 78 : 0;
    if (r && o->json)
        upgrade_json(r);
    else if (code == 0)
        printf("%s\n", r->text);
    if (code == 78)
        fprintf(stderr, "scistreamctl: %s\n", r->text);
    scistream__gateway__v1__upgrade_reply__free_unpacked(r, NULL);
    return code;
}

int ctl_upgrade(struct ctl_opts *o, int argc UNUSED, char **argv UNUSED)
{
    Scistream__Gateway__V1__UpgradeRequest q = SCISTREAM__GATEWAY__V1__UPGRADE_REQUEST__INIT;
    return ctl_call_within(o, GATEWAY "Upgrade", &q.base, print_upgrade, UPGRADE_NS);
}
