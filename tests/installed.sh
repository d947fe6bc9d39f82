#!/bin/bash
# The programs as they were installed: scistreamd finds its worker, and a stream goes through it. Usage: installed.sh BINDIR SBINDIR
. "${srcdir:-$(dirname "$0")/..}/tests/lib/functions.sh"
ln -s "$1"/* "$2"/scistreamd "$tmp"
cp config.h "$tmp"
builddir=$tmp
new_gateway G
add_route G stream
start_gateway G
[ "$(readlink "/proc/$(workers_of G | head -n 1)/exe")" != "$PWD/scistream-worker" ] || fail "that is the worker of the build folder"
make_data 100000 >"$tmp/in"
stream "$tmp/in" G/stream G/stream
ctl G info >/dev/null || fail "scistreamctl"
stop_gateway G
echo "installed: a stream went through"
