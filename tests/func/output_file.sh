#!/bin/bash
# The file of a receiver: two receivers of one name, a disk that is slow to close, a signal when the file is confirmed already, a FIFO
# without a reader; and descriptors 0 to 2 that are closed.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
send_=$builddir/scistream-send recv_=$builddir/scistream-recv
make_data 3000000 1 >"$tmp/in"
make_data 2000000 2 >"$tmp/other"
take_ports

# listen NAME PORT [OPTIONS]: start a receiver of that name; line[NAME] is what the sender needs
declare -A line=()
listen()
{
    local name=$1 p=$2
    start "$name" ${preload:-} "$recv_" --listen 127.0.0.1:$p --transport link "${@:3}"
    wait_said "$name" 'scistream-send --secret-file .* FILE$'
    line[$name]=$(grep -o -- '--secret-file.*' "$tmp/$name.err" | sed 's/ FILE$//')
}

step "two receivers of one name: the second is refused before it touches what the first has written"
listen one $base -o "$tmp/out"
listen two $((base + 1)) -o "$tmp/out"
mkfifo "$tmp/gate"
start first "$send_" ${line[one]} "$tmp/in" "$tmp/gate"
exec {gate}<>"$tmp/gate"
wait_until 10 "[ \$(stat -c %s '$tmp/out.part') = 3000000 ]"
start second "$send_" ${line[two]} "$tmp/other"
ends two 74 10 'out.part is being written by another receiver'
! said two 'is kept in' || fail "the second says that it kept something"
ends second 76 10 'out.part is being written by another receiver'
[ "$(stat -c %s "$tmp/out.part")" = 3000000 ] || fail "the second has cut the file of the first"
exec {gate}>&-
ends first 0 10
ends one 0 10
same "$tmp/in" "$tmp/out"

step "after the first is done the name is free for the next, which does not write into the file that was renamed"
ln "$tmp/out" "$tmp/kept"
listen two $((base + 1)) -o "$tmp/out"
run second 0 "$send_" ${line[two]} "$tmp/other"
ends two 0
same "$tmp/in" "$tmp/kept"
same "$tmp/other" "$tmp/out"

step "a FIFO without a reader: it is waited for, and SIGTERM ends that"
mkfifo "$tmp/pipe"
listen recv $base -o "$tmp/pipe"
start send "$send_" ${line[recv]} "$tmp/in"
wait_said recv 'waiting for a reader of .*/pipe'
start reader cat "$tmp/pipe"
ends send 0 10
ends recv 0 10
ends reader 0
same "$tmp/in" "$tmp/reader.out"
[ "$(grep -c 'waiting for a reader' "$tmp/recv.err")" = 1 ] || fail "said more than once"
listen recv $base -o "$tmp/pipe"
start send "$send_" ${line[recv]} "$tmp/in"
wait_said recv 'waiting for a reader of .*/pipe'
kill "${pid[recv]}"
ends recv 76 5 'interrupted by SIGTERM'
ends send 76 5 'interrupted by SIGTERM'

step "closed descriptors: nothing of ours gets their numbers, and a stream that would use them is refused"
listen recv $base -o "$tmp/out"
start send bash -c 'exec "$@" >&- 0<&-' - "$send_" ${line[recv]} --report json "$tmp/in"
ends send 0
ends recv 0
same "$tmp/in" "$tmp/out"
run send 74 bash -c 'exec "$@" 0<&-' - "$send_" ${line[recv]}
says send 'standard input is closed'
run send 74 bash -c 'exec "$@" 0<&-' - "$send_" ${line[recv]} "$tmp/in" -
run recv 74 bash -c 'exec "$@" >&-' - "$recv_" --listen 127.0.0.1:$base
says recv 'standard output is closed'
start recv bash -c 'exec "$@" 0<&- >&- 2>&-' - "$recv_" --listen 127.0.0.1:$base --transport link -o "$tmp/out"
wait_until 10 "port_busy $base"
[ "$(readlink "/proc/${pid[recv]}/fd/"{0,1,2} | sort -u)" = /dev/null ] || fail "$(ls -l "/proc/${pid[recv]}/fd")"
kill "${pid[recv]}"
ends recv 76

requires_program cc
cat >"$tmp/slow.c" <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    usleep((useconds_t)atoi(getenv("SLOW_MS")) * 1000);
    return real(fd);
}
END
requires "no shared library can be built" cc -shared -fPIC -o "$tmp/slow.so" "$tmp/slow.c" -ldl
case $(stat -f -c %T "$tmp") in tmpfs | ramfs) skip "$tmp is in memory: nothing is synced there" ;; esac
slow_disk="env ASAN_OPTIONS=verify_asan_link_order=0:${ASAN_OPTIONS:-} LD_PRELOAD=$tmp/slow.so"
calm() # NAME: it does not burn its processor
{
    local before after
    before=$(awk '{ print $14 + $15 }' "/proc/${pid[$1]}/stat")
    sleep 0.5
    after=$(awk '{ print $14 + $15 }' "/proc/${pid[$1]}/stat")
    [ $((after - before)) -lt 20 ] || fail "$1 runs all the time"
}

step "--keep when a file is slow to close: the next stream waits until it is"
preload="$slow_disk SLOW_MS=2800" listen recv $base --keep -o "$tmp/keep-%n"
start send "$send_" ${line[recv]} "$tmp/in"
wait_until 10 "[ \$(stat -c %s '$tmp/keep-0.part') = 3000000 ]"
sleep 0.3 # now fsync runs
kill -9 "${pid[send]}"
ends send 137
wait_said recv 'waiting until the last stream is closed' 10
run busy 75 "$send_" ${line[recv]} "$tmp/other"
run send 0 "$send_" --retry 20s ${line[recv]} "$tmp/other"
same "$tmp/other" "$tmp/keep-1"
calm recv
run send 0 "$send_" --retry 20s ${line[recv]} "$tmp/in"
same "$tmp/in" "$tmp/keep-2"
calm recv
kill "${pid[recv]}"
ends recv 76 3 'interrupted by SIGTERM'

step "SIGTERM while it waits for that"
rm -f "$tmp"/keep-* # what broke has left one of that size
preload="$slow_disk SLOW_MS=8000" listen recv $base --keep -o "$tmp/keep-%n"
start send "$send_" ${line[recv]} "$tmp/in"
wait_until 10 "[ \$(stat -c %s '$tmp/keep-0.part') = 3000000 ]"
sleep 0.3
kill -9 "${pid[send]}"
wait_said recv 'waiting until the last stream is closed' 10
kill "${pid[recv]}"
ends recv 76 2 'interrupted by SIGTERM'

step "SIGTERM when the file has its name and is confirmed: that was a success"
preload="$slow_disk SLOW_MS=700" listen recv $base -o "$tmp/late"
start send "$send_" ${line[recv]} "$tmp/in"
wait_until 10 "[ \$(stat -c %s '$tmp/late.part') = 3000000 ]"
sleep 0.2
kill -STOP "${pid[send]}" # it cannot take the confirmation
wait_until 10 "[ -e '$tmp/late' ]"
sleep 0.1 # the confirmation follows the name at once
kill "${pid[recv]}"
ends recv 0 3
! said recv 'kept in|interrupted' || fail "$(cat "$tmp/recv.err")"
kill -CONT "${pid[send]}"
ends send 0 10
same "$tmp/in" "$tmp/late"
