/* The parts of scistreamctl: one function per command. */
#ifndef SRC_SCISTREAMCTL_H
#define SRC_SCISTREAMCTL_H

#include "src/endpoint.h"

struct ctl_opts { struct endpoint_opts e; char *socket; bool socket_given, json; };

/* One unary call on the local socket; done gets the reply (data NULL: failed, and it was said). Exit code. */
typedef int ctl_reply(const struct ctl_opts *o, const uint8_t *data, size_t len);
int ctl_call(const struct ctl_opts *o, const char *path, const ProtobufCMessage *request, ctl_reply *reply);

/* "name":"value" and "name":["value", …] on standard output. */
void ctl_json_text(const char *name, const char *value, const char *after);
void ctl_json_list(const char *name, char *const *v, size_t n);

int ctl_info(struct ctl_opts *o, int argc, char **argv);
int ctl_sessions(struct ctl_opts *o, int argc, char **argv);
int ctl_devices(struct ctl_opts *o, int argc, char **argv);
int ctl_probe(struct ctl_opts *o, int argc, char **argv);

#endif
