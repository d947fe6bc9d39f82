/* By what scistreamctl knows a gateway, and by what that knows this user: given by options, or remembered from "scistreamctl login". */
#ifndef SRC_CTL_LOGIN_H
#define SRC_CTL_LOGIN_H

#include "src/scistreamctl.h"

/* All heap. "", and pins without an element: not given. No secret is in it, but the names of files that hold some. */
struct ctl_login { char *token_file, *cert, *key, *ca, *tls_name, **pins; };

/* For --gateway: who this user is (token, certificate) as the options say, else as remembered; whether it is the right gateway (pins, CA, name) likewise.
 * 0, or exit code, and it was said; *l is to be freed in any case. */
int ctl_login_find(const struct ctl_opts *o, struct ctl_login *l);
void ctl_login_free(struct ctl_login *l); /* also one of zeros */

#endif
