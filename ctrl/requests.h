/* Sessions that SciStream's own client arranges (scistream.Control): req, hello, update, release, in a table of states. Knows neither gRPC's calls nor
 * sockets: who calls is a pointer, listeners are numbers of the owner's. Those that users arrange with tickets stand in the same table: requests_arranged.h.
 *
 *   Idle       nothing but a hello that came before its req, held for a moment
 *   Reserving  its listeners are bound, req waits for the hello
 *   Listening  req is answered; where connections go is told by update, then they are taken
 *   Updating   names of targets are looked up
 *   Closing    arranged with a ticket, which has expired or was revoked: nobody comes any more, it is over when those that are there have gone
 *   Releasing  on its way out
 *
 * What ends one beside release: no hello within hello_timeout, or no update within the same time; its req's caller went away before the hello; an
 * administrator. Everything that is decided is one line of the log.
 */
#ifndef CTRL_REQUESTS_H
#define CTRL_REQUESTS_H

#include "ctrl/grpc.h"
#include "ctrl/lookups.h"
#include "src/core/conf.h"
#include "src/core/list.h"

#define REQUEST_UID_MAX 255       /* bytes */
#define REQUEST_LISTENERS_MAX 256 /* num_conn, and the listeners that a peer may name */
#define REQUEST_HELD_MAX 16       /* hellos that wait for one req */

enum request_state { REQUEST_IDLE, REQUEST_RESERVING, REQUEST_LISTENING, REQUEST_UPDATING, REQUEST_CLOSING, REQUEST_RELEASING,
                     REQUEST_STATES };
const char *request_state_name(enum request_state s);

/* What a caller asks for; all of it is his, until the function returns. */
struct request_ask {
    void *call;                 /* answered once, unless requests_gone comes first */
    const char *principal, *from; /* who he is, and where he calls from */
    const char *uid, *role;
    int32_t num_conn;           /* of req */
    char *const *listeners;     /* of update: targets; of hello: those of the application */
    size_t n_listeners;
    const char *address;        /* numeric: at which our listeners are told to be */
};

struct request_answer {
    enum grpc_status status;
    const char *text;           /* why not */
    char *const *listeners, *const *prod; /* NULL-terminated; NULL: none */
};

struct request {
    struct list node;
    struct requests *rq;
    char *uid, *principal, *from;
    enum request_state state;
    bool cons;                  /* role CONS: the application comes to our listeners, the WAN is where we connect to; PROD: the other way round */
    bool aimed;                 /* connections are taken */
    unsigned n;                 /* of listeners */
    uint32_t *number;           /* what the owner calls them */
    char **listeners, **prod, **targets; /* "192.0.2.1:5100"; NULL: not known yet */
    struct list held;           /* hellos that came first */
    struct lookups *lookups;    /* of targets, */
    char *asked_from;           /* and where he calls from who named them */
    struct request_ticket *ticket; /* NULL: SciStream's own client arranged it */
    void *call;                 /* of the req or update that waits */
    struct timer patience, life;
    uint64_t born_ns, since_ns; /* since_ns: when it came to this state */
};

/* What is done for them; nobody may call back into requests from here, but of answer. */
struct requests_ops {
    /* May he have what his req asks for? OK, or the status and why. lifetime_ns: after which the session ends, TIME_FOREVER unless set,
     * also where he may not. */
    enum grpc_status (*allows)(void *user, const struct request_ask *a, uint64_t *lifetime_ns, char *why, size_t size);
    /* May connections of r go there? */
    enum grpc_status (*allows_target)(void *user, const struct request *r, const struct request_target *t, char *why, size_t size);
    /* Bind r->n listeners: r->number, and their ports, which are 0, or those that are wanted. 0; -errno or -SST_E* and why. */
    int (*reserve)(void *user, struct request *r, uint16_t *ports, char *why, size_t size);
    void (*aim)(void *user, struct request *r, unsigned listener, const struct request_target *to);
    /* Give its listeners back and reset what came by them; what there was is told in words (heap). */
    char *(*give_back)(void *user, struct request *r, int rc, const char *text);
    /* Nobody is let in any more, or is again. */
    void (*shut)(void *user, const struct request *r, bool shut);
    /* Is there a connection that came by its listeners and has not ended? */
    bool (*busy)(void *user, const struct request *r);
    void (*answer)(void *user, void *call, const struct request_answer *a);
    /* r has become something else; what: a word of ours. */
    void (*changed)(void *user, const struct request *r, const char *what, const char *text);
};

struct requests;
/* All of it must outlive them. */
struct requests *requests_new(struct loop *l, const struct conf *conf, struct resolver *r, const struct requests_ops *ops, void *user);
/* Without a word to anybody, and no op is called. Null-safe. */
void requests_free(struct requests *rq);

void requests_req(struct requests *rq, const struct request_ask *a);
void requests_hello(struct requests *rq, const struct request_ask *a);
void requests_update(struct requests *rq, const struct request_ask *a);
void requests_release(struct requests *rq, const struct request_ask *a);
/* The caller has gone, or cannot be answered any more. */
void requests_gone(struct requests *rq, void *call);

/* End one for an administrator: 0; -ENOENT: there is none of that uid. */
int requests_end(struct requests *rq, const char *uid, const char *text);
/* All of them; how many. */
unsigned requests_end_all(struct requests *rq, int rc, const char *text);
/* One that another program had, with listeners that are the owner's by now: numbers are taken (heap), the rest is copied. False: its uid is in use,
 * or something of it is malformed. */
struct request_given {
    const char *uid, *principal;
    bool cons;
    uint32_t *numbers;
    unsigned n;
    char *const *listeners, *const *prod, *const *targets;
    uint64_t age_ns; /* of its lifetime that much is over */
};
bool requests_adopt(struct requests *rq, const struct request_given *g);
/* Another program has them from now on: every call is answered UNAVAILABLE, text must live on, also those that wait. */
void requests_moved(struct requests *rq, const char *text);
/* No new ones: req is answered UNAVAILABLE, text must live on; those that wait for a hello end. NULL: take them again. */
void requests_drain(struct requests *rq, const char *text);
/* Those that have listeners. */
unsigned requests_count(const struct requests *rq);
const struct request *requests_find(const struct requests *rq, const char *uid);
void requests_each(const struct requests *rq, void (*each)(void *user, const struct request *r), void *user);
/* "waits for hello", "takes connections" … */
const char *request_waits_for(const struct request *r);

extern uint64_t requests_held_ns; /* how long a hello waits for its req; a variable for the tests */

#endif
