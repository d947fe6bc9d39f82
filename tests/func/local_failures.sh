#!/bin/bash
# What goes wrong at one end is told at the other, with the reason: a signal, a reader that goes away, a source that breaks, a file that
# cannot be put in place. Nothing broken gets the name of something whole.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
start_gateway_pair detector
make_data 3000000 >"$tmp/in"
host=$(hostname)

begin_stream() # [OPTIONS of the receiver]
{
    rm -f "$tmp/out"*
    input=<(cat "$tmp/in"; sleep 60) start_send send A/detector --report json
    start_recv recv B/detector --report json "$@"
    wait_for 10 flowing B 3000000
}

for signal in INT TERM HUP; do
    step "SIG$signal to scistream-send"
    begin_stream -o "$tmp/out"
    kill -$signal "${pid[send]}"
    ends send 76 5 "interrupted by SIG$signal"
    ends recv 76 5 "aborted by the other side: scistream-send on $host: interrupted by SIG$signal"
    says recv 'what arrived is kept in .*/out.part'
    [ "$(stat -c %s "$tmp/out.part")" = 3000000 ] && [ ! -e "$tmp/out" ] || fail "$(ls -l "$tmp")"

    step "SIG$signal to scistream-recv"
    begin_stream -o "$tmp/out"
    kill -$signal "${pid[recv]}"
    ends recv 76 5 "interrupted by SIG$signal"
    ends send 76 5 "aborted by the other side: scistream-recv on $host: interrupted by SIG$signal"
    [ -e "$tmp/out.part" ] && [ ! -e "$tmp/out" ] || fail "$(ls -l "$tmp")"
done

step "EPIPE: who reads the receiver's standard output goes away"
to B/detector
start recv bash -c '"$@" 2>"$0"; echo $? >"$0.status"' "$tmp/recv2.err" bash -c '"$@" | head -c 100000 >/dev/null; exit ${PIPESTATUS[0]}' - \
    "$builddir/scistream-recv" "${to[@]}" --report none
input=<(cat "$tmp/in" "$tmp/in"; sleep 60) start_send send A/detector
ends send 76 10 "aborted by the other side: scistream-recv on $host: cannot write standard output: Broken pipe"
ends recv 0 10
[ "$(cat "$tmp/recv2.err.status")" = 74 ] || fail "scistream-recv exits with $(cat "$tmp/recv2.err.status")"
grep -q 'cannot write standard output: Broken pipe' "$tmp/recv2.err" || fail "it says: $(cat "$tmp/recv2.err")"

step "a source that cannot be read on: the file is gone when its turn comes"
rm -f "$tmp/out"*
cp "$tmp/in" "$tmp/second"
mkfifo "$tmp/gate"
start_send send A/detector "$tmp/in" "$tmp/gate" "$tmp/second"
start_recv recv B/detector -o "$tmp/out"
exec {gate}>"$tmp/gate"
wait_for 10 flowing B 3000000
rm "$tmp/second"
exec {gate}>&-
ends send 74 5 'cannot open .*/second: No such file'
ends recv 76 5 "aborted by the other side: scistream-send on $host: cannot open .*/second: No such file"
[ -e "$tmp/out.part" ] && [ ! -e "$tmp/out" ] || fail "$(ls -l "$tmp")"

step "a name that cannot be taken in the end: nothing is confirmed"
start_send send A/detector "$tmp/in" "$tmp/gate"
start_recv recv B/detector -o "$tmp/out"
exec {gate}>"$tmp/gate"
wait_for 10 flowing B 3000000
mkdir "$tmp/out"
touch "$tmp/out/full"
exec {gate}>&-
ends recv 74 10 'cannot rename .*/out.part to .*/out: '
ends send 76 10 "aborted by the other side: scistream-recv on $host: cannot rename"
rm -r "$tmp/out"

wait_for 5 idle A
wait_for 5 idle B
stream "$tmp/in" A/detector B/detector
