/* The text of a configuration file before libconfuse sees it.
 *
 * libconfuse 3.3 counts a comment as three lines, takes a section that is never closed, drops a bare '*' or '+' without
 * a word, and takes the second word of a value for an option. So comments are blanked here, which keeps every line number right, and the
 * rest is refused with its line.
 */
#ifndef SRC_CORE_CONF_TEXT_H
#define SRC_CORE_CONF_TEXT_H

#include "src/core/util.h"

#define CONF_TEXT_MAX (1UL << 20)
#define CONF_WORD_SHOWN 43 /* in messages: longer than any option, shorter than a secret (44 letters in base64, 64 in hex) */

struct conf_fault { unsigned line; char what[200]; };

/* All of a file, terminated, heap. 0, -errno, or -SST_ECONF with fault set (too long, or a NUL byte). */
int conf_text_load(const char *path, char **out, struct conf_fault *fault);
/* Blank the comments in place. 0, or -SST_ECONF with fault set. */
int conf_text_clean(char *text, struct conf_fault *fault);

#endif
