#include "ctrl/introspect.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

#include "src/core/secret.h"

#define ANSWER_MAX (64U << 10)   /* bytes of its body, and of its headers */
#define CREDENTIALS_MAX 4096
#define CONNECTIONS_MAX 8L       /* at once to the server; further questions wait for one */

struct introspector {
    struct loop *loop;
    struct resolver *resolver;
    char *url, *host, *ca, *user, *password;
    struct conf_auth rules;      /* of the answer: only principal_field, required_scope, required_audience */
    uint16_t port;
    uint64_t timeout_ns;
    CURLM *multi;
    struct timer due;            /* when libcurl wants to run without an event */
    struct list inquiries, watched;
};

struct watched { struct list node; struct io io; struct introspector *x; };

struct inquiry {
    struct list node;
    struct introspector *x;
    introspect_done *done;
    void *user;
    char *form;                  /* what is posted: holds the token */
    struct resolve *question;
    struct curl_slist *addresses;
    CURL *easy;
    struct timer patience;
    char *body;
    size_t len, head;            /* bytes of the body, of the headers */
    char error[CURL_ERROR_SIZE];
};

/* ------------------------------------------------------------ what an answer says */

static void say(struct verdict *v, enum verdict_is is, const char *fmt, ...) PRINTF(3, 4);
static void say(struct verdict *v, enum verdict_is is, const char *fmt, ...)
{
    va_list args;
    *v = (struct verdict){ .is = is };
    va_start(args, fmt);
    vsnprintf(v->why, sizeof(v->why), fmt, args);
    va_end(args);
}

/* Is word one of the words of text, which spaces part? */
static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (; text && *text; text += strcspn(text, " "), text += strspn(text, " "))
        if (strcspn(text, " ") == n && strncmp(text, word, n) == 0)
            return true;
    return false;
}

/* One text, or a list of which one is it. */
static bool has_text(const json_t *v, const char *text)
{
    if (json_is_string(v))
        return str_eq(json_string_value(v), text);
    for (size_t i = 0; i < json_array_size(v); i++)
        if (json_is_string(json_array_get(v, i)) && str_eq(json_string_value(json_array_get(v, i)), text))
            return true;
    return false;
}

static bool is_time(const json_t *v) { return !v || (json_is_number(v) && json_number_value(v) >= 0 && json_number_value(v) < 1e15); }

static void read_active(const struct conf_auth *c, const json_t *o, int64_t now, struct verdict *v)
{
    const char *name = json_string_value(json_object_get(o, c->principal_field));
    const json_t *exp = json_object_get(o, "exp"), *nbf = json_object_get(o, "nbf");
    if (!is_time(exp) || !is_time(nbf))
        say(v, VERDICT_UNKNOWN, "exp or nbf of the answer is no time");
    else if (exp && (int64_t)json_number_value(exp) <= now)
        say(v, VERDICT_INACTIVE, "the token has expired");
    else if (nbf && (int64_t)json_number_value(nbf) > now)
        say(v, VERDICT_INACTIVE, "the token is not valid yet");
    else if (*c->required_scope && !has_word(json_string_value(json_object_get(o, "scope")), c->required_scope))
        say(v, VERDICT_INACTIVE, "the token lacks the scope %.100s", c->required_scope);
    else if (*c->required_audience && !has_text(json_object_get(o, "aud"), c->required_audience))
        say(v, VERDICT_INACTIVE, "the token is not for the audience %.100s", c->required_audience);
    else if (!name || !caller_name_ok(name))
        say(v, VERDICT_INACTIVE, "the answer has no name that can be taken as a principal in its field %.100s", c->principal_field);
    else {
        *v = (struct verdict){ .is = VERDICT_ACTIVE, .expires = exp ? (int64_t)json_number_value(exp) : 0 };
        str_copy(v->principal, sizeof(v->principal), name);
    }
}

void introspect_read(const struct conf_auth *c, const char *json, size_t len, int64_t now, struct verdict *out)
{
    json_error_t wrong;
    json_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, &wrong);
    const json_t *active = o ? json_object_get(o, "active") : NULL;
    if (!json_is_boolean(active))
        say(out, VERDICT_UNKNOWN, o ? "the answer does not say whether the token is active" : "the answer is no JSON");
    else if (json_is_true(active))
        read_active(c, o, now, out);
    else
        say(out, VERDICT_INACTIVE, "the token is not active");
    json_decref(o);
}

/* ------------------------------------------------------------ one inquiry */

static void inquiry_free(struct inquiry *q)
{
    list_del(&q->node);
    resolve_cancel(q->question);
    loop_timer_stop(q->x->loop, &q->patience);
    if (q->easy) {
        curl_multi_remove_handle(q->x->multi, q->easy);
        curl_easy_cleanup(q->easy);
    }
    curl_slist_free_all(q->addresses);
    secret_wipe(q->form, strlen(q->form));
    free(q->form);
    free(q->body);
    free(q);
}

void introspect_cancel(struct inquiry *q)
{
    if (q)
        inquiry_free(q);
}

static void finish(struct inquiry *q, const struct verdict *v)
{
    struct verdict answer = *v;
    introspect_done *done = q->done;
    void *user = q->user;
    inquiry_free(q);
    done(user, &answer);
}

static void PRINTF(2, 3) fail(struct inquiry *q, const char *fmt, ...)
{
    struct verdict v = { .is = VERDICT_UNKNOWN };
    va_list args;
    va_start(args, fmt);
    vsnprintf(v.why, sizeof(v.why), fmt, args);
    va_end(args);
    finish(q, &v);
}

static void on_patience(struct timer *t)
{
    struct inquiry *q = container_of(t, struct inquiry, patience);
    char time[UNITS_TEXT];
    fail(q, "%.80s does not answer within %s", q->x->host, units_human_time(time, q->x->timeout_ns));
}

/* Less than it was given: libcurl ends the transfer. */
static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    struct inquiry *q = user;
    if (q->len + size * n > ANSWER_MAX)
        return 0;
    if (!q->body)
        q->body = mem_zalloc(1, ANSWER_MAX);
    memcpy(q->body + q->len, data, size * n);
    q->len += size * n;
    return size * n;
}

static size_t on_header(char *data UNUSED, size_t size, size_t n, void *user)
{
    struct inquiry *q = user;
    q->head += size * n;
    return q->head > ANSWER_MAX ? 0 : size * n;
}

static void on_transferred(struct inquiry *q, CURLcode code)
{
    struct verdict v;
    long status = 0;
    curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_WRITE_ERROR)
        fail(q, "the answer of %.80s is longer than %u bytes", q->x->host, ANSWER_MAX);
    else if (code != CURLE_OK)
        fail(q, "%.80s: %.100s", q->x->host, *q->error ? q->error : curl_easy_strerror(code));
    else if (status == 401 || status == 403)
        fail(q, "%.80s refuses the credentials of the gateway (HTTP status %ld): see introspection_credentials_file", q->x->host, status);
    else if (status != 200)
        fail(q, "%.80s answers with HTTP status %ld", q->x->host, status);
    else {
        introspect_read(&q->x->rules, q->body ? q->body : "", q->len, (int64_t)time(NULL), &v);
        finish(q, &v);
    }
}

/* ------------------------------------------------------------ libcurl in our loop */

static void take_results(struct introspector *x)
{
    const CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(x->multi, &left))) {
        char *user = NULL;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &user);
        on_transferred((struct inquiry *)(void *)user, code);
    }
}

static void act(struct introspector *x, curl_socket_t fd, int events)
{
    int running;
    curl_multi_socket_action(x->multi, fd, events, &running);
    take_results(x);
}

static void on_socket(struct io *io, uint32_t events)
{
    const struct watched *w = container_of(io, struct watched, io);
    int mask = (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
    act(w->x, io->fd, mask);
}

static void on_due(struct timer *t) { act(container_of(t, struct introspector, due), CURL_SOCKET_TIMEOUT, 0); }

static int on_timer(CURLM *multi UNUSED, long ms, void *user)
{
    struct introspector *x = user;
    if (ms < 0)
        loop_timer_stop(x->loop, &x->due);
    else
        loop_timer(x->loop, &x->due, (uint64_t)ms * NS_PER_MS);
    return 0;
}

static void unwatch(struct watched *w)
{
    loop_del(w->x->loop, &w->io);
    list_del(&w->node);
    free(w);
}

static int on_interest(CURL *easy UNUSED, curl_socket_t fd, int what, void *user, void *of_socket)
{
    struct introspector *x = user;
    struct watched *w = of_socket;
    uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0U) | (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0U);
    if (what == CURL_POLL_REMOVE) {
        if (w)
            unwatch(w);
        curl_multi_assign(x->multi, fd, NULL);
    } else if (w) {
        loop_change(x->loop, &w->io, events);
    } else {
        w = mem_zalloc(1, sizeof(*w));
        w->io = (struct io){ .fd = -1, .ready = on_socket };
        w->x = x;
        list_add_tail(&x->watched, &w->node);
        loop_add(x->loop, &w->io, fd, events);
        curl_multi_assign(x->multi, fd, w);
    }
    return 0;
}

/* ------------------------------------------------------------ asking */

/* libcurl would look names up in a thread of its own, for which it may wait when it is told to stop. */
static void give_addresses(struct inquiry *q, const union sockaddr_any *addrs, size_t n)
{
    char host[ADDR_TEXT];
    union sockaddr_any numeric;
    if (addr_numeric(q->x->host, q->x->port, &numeric) == 0)
        return;
    char *all = mem_printf("%s:%u:", q->x->host, q->x->port);
    for (size_t i = 0; i < n; i++) {
        bool v6 = strchr(addr_format_host(&addrs[i], host), ':') != NULL;
        char *longer = mem_printf("%s%s%s%s%s", all, i ? "," : "", v6 ? "[" : "", host, v6 ? "]" : "");
        free(all);
        all = longer;
    }
    AUTO_FREE char *before = mem_printf("-%s:%u", q->x->host, q->x->port); /* what it was the last time */
    q->addresses = curl_slist_append(curl_slist_append(NULL, before), all);
    free(all);
}

static void set_up(struct inquiry *q)
{
    const struct introspector *x = q->x;
    CURL *e = q->easy;
    curl_easy_setopt(e, CURLOPT_URL, x->url);
    curl_easy_setopt(e, CURLOPT_RESOLVE, q->addresses);
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, q->form);
    curl_easy_setopt(e, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    curl_easy_setopt(e, CURLOPT_USERNAME, x->user);
    curl_easy_setopt(e, CURLOPT_PASSWORD, x->password);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "scistreamd");
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https");
#else
    curl_easy_setopt(e, CURLOPT_PROTOCOLS, CURLPROTO_HTTPS);
#endif
    if (*x->ca)
        curl_easy_setopt(e, CURLOPT_CAINFO, x->ca);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, q);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, q);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, q->error);
    curl_easy_setopt(e, CURLOPT_PRIVATE, q);
}

static void on_resolved(void *user, int rc, const union sockaddr_any *addrs, size_t n, const char *why)
{
    struct inquiry *q = user;
    q->question = NULL;
    if (rc < 0) {
        fail(q, "%.150s", why);
        return;
    }
    give_addresses(q, addrs, n);
    q->easy = curl_easy_init();
    if (!q->easy) {
        fail(q, "libcurl has no memory");
        return;
    }
    set_up(q);
    curl_multi_add_handle(q->x->multi, q->easy); /* sets the timer, from which it goes on */
}

struct inquiry *introspect_start(struct introspector *x, const char *token, introspect_done *done, void *user)
{
    struct inquiry *q = mem_zalloc(1, sizeof(*q));
    char *escaped = curl_easy_escape(NULL, token, 0);
    q->x = x;
    q->done = done;
    q->user = user;
    q->form = mem_printf("token=%s&token_type_hint=access_token", escaped ? escaped : "");
    if (escaped)
        secret_wipe(escaped, strlen(escaped));
    curl_free(escaped);
    q->patience.fire = on_patience;
    list_add_tail(&x->inquiries, &q->node);
    loop_timer(x->loop, &q->patience, x->timeout_ns);
    q->question = resolve_start(x->resolver, x->host, x->port, on_resolved, q);
    return q;
}

/* ------------------------------------------------------------ life */

static int take_url(struct introspector *x, char *why, size_t why_size)
{
    CURLU *u = curl_url();
    char *host = NULL, *port = NULL;
    CURLUcode rc = u ? curl_url_set(u, CURLUPART_URL, x->url, 0) : CURLUE_OUT_OF_MEMORY;
    if (rc == CURLUE_OK)
        rc = curl_url_get(u, CURLUPART_HOST, &host, 0);
    if (rc == CURLUE_OK)
        rc = curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (rc == CURLUE_OK) {
        bool v6 = *host == '[';
        x->host = mem_printf("%.*s", (int)strlen(host) - 2 * v6, host + v6);
        x->port = (uint16_t)atoi(port);
    } else {
        snprintf(why, why_size, "auth.introspection_url = %s: must be like https://HOST[:PORT]/PATH", x->url);
    }
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    return rc == CURLUE_OK ? 0 : -1;
}

static int take_credentials(struct introspector *x, const char *path, char *why, size_t why_size)
{
    char *text = NULL;
    if (secret_read_text(path, CREDENTIALS_MAX, &text, why, why_size) < 0)
        return -1;
    text[strcspn(text, "\r\n")] = 0;
    char *colon = strchr(text, ':');
    if (colon && colon > text && colon[1]) {
        *colon = 0;
        x->user = mem_strdup(text);
        x->password = mem_strdup(colon + 1);
        secret_wipe(colon + 1, strlen(colon + 1));
    } else {
        snprintf(why, why_size, "%s: must hold CLIENT_ID:CLIENT_SECRET in one line", path);
    }
    free(text);
    return x->user ? 0 : -1;
}

static int start_multi(struct introspector *x, char *why, size_t why_size)
{
    x->multi = curl_multi_init();
    if (!x->multi) {
        snprintf(why, why_size, "auth: libcurl cannot start");
        return -1;
    }
    curl_multi_setopt(x->multi, CURLMOPT_SOCKETFUNCTION, on_interest);
    curl_multi_setopt(x->multi, CURLMOPT_SOCKETDATA, x);
    curl_multi_setopt(x->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(x->multi, CURLMOPT_TIMERDATA, x);
    curl_multi_setopt(x->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, CONNECTIONS_MAX);
    return 0;
}

struct introspector *introspector_new(struct loop *l, struct resolver *r, const struct conf_auth *c, char *why, size_t why_size)
{
    struct introspector *x = mem_zalloc(1, sizeof(*x));
    curl_global_init(CURL_GLOBAL_DEFAULT);
    x->loop = l;
    x->resolver = r;
    x->url = mem_strdup(c->introspection_url);
    x->ca = mem_strdup(c->introspection_ca);
    x->rules.principal_field = mem_strdup(c->principal_field);
    x->rules.required_scope = mem_strdup(c->required_scope);
    x->rules.required_audience = mem_strdup(c->required_audience);
    x->timeout_ns = c->introspection_timeout;
    x->due.fire = on_due;
    list_init(&x->inquiries);
    list_init(&x->watched);
    if (take_url(x, why, why_size) == 0 && take_credentials(x, c->introspection_credentials_file, why, why_size) == 0 &&
        start_multi(x, why, why_size) == 0)
        return x;
    introspector_free(x);
    return NULL;
}

void introspector_free(struct introspector *x)
{
    if (!x)
        return;
    while (!list_empty(&x->inquiries))
        inquiry_free(list_entry(x->inquiries.next, struct inquiry, node));
    if (x->multi)
        curl_multi_cleanup(x->multi);
    list_for_each_safe(n, &x->watched)
        unwatch(list_entry(n, struct watched, node));
    if (x->loop)
        loop_timer_stop(x->loop, &x->due);
    if (x->password)
        secret_wipe(x->password, strlen(x->password));
    char *const all[] = { x->url, x->host, x->ca, x->user, x->password, x->rules.principal_field, x->rules.required_scope,
                          x->rules.required_audience };
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        free(all[i]);
    free(x);
    curl_global_cleanup();
}
