/* protobuf-c hands strings out without their length: what stands behind a NUL in one would be lost without a word. */
#ifndef CTRL_STRINGS_H
#define CTRL_STRINGS_H

#include "src/core/util.h"

/* Of a packed message whose fields are strings and numbers, no messages: none of the strings has a NUL in it. False, too, when it cannot be read. */
bool strings_whole(const uint8_t *data, size_t len);

#endif
