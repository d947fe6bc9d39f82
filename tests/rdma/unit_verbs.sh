#!/bin/bash
# The unit program of the verbs transport, which needs devices; from the build folder.
[ -x ./unit_verbs ] || { echo "skipped: not built, CUnit is missing"; exit 77; }
./unit_verbs "$@"
