#!/bin/bash
# scistreamctl drain: no new streams, those that run go on; the gateway stays until it is resumed, or stops at the end when asked to. After the
# time-out what is left is aborted. Who waits for a partner is told at once.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
start_gateway_pair detector
mkfifo "$tmp/gate"
make_data 5000000 >"$tmp/in"
drain() { run ctl "$1" "$builddir/scistreamctl" -S "$tmp/$2/sock" drain "${@:3}"; }
told() { grep -qE -- "$1" "$tmp/ctl.out" || fail "no '$1' in: $(cat "$tmp/ctl.out" "$tmp/ctl.err")"; }
begin_stream() # until the gate is closed
{
    start_recv recv B/detector -o "$tmp/out"
    input=$tmp/gate start_send send A/detector "$tmp/in" -
    exec {gate}<>"$tmp/gate"
    wait_for 10 flowing B 500000
}
end_stream()
{
    exec {gate}>&-
    ends send 0 15
    ends recv 0
    same "$tmp/in" "$tmp/out"
    rm "$tmp/out"
}

step "the stream that runs goes on, others are refused, who waits is told"
begin_stream
start_recv waiting B/detector
wait_said waiting 'waiting for a sender'
drain 0 B
told '^no new streams; 2 open channels get 0:01:00 to finish$'
log_has B 'asked to drain: no new streams; 2 open channels get 0:01:00 to finish'
ends waiting 75 5 'aborted by the other side: gateway B: it is draining and takes no new streams; try again later'
start_recv late B/detector
ends late 75 5 "aborted by the other side: gateway B: it is draining and takes no new streams; try again later"
start_send late A/detector "$tmp/in" # from the other gateway
ends late 75 5 "gateway B: it is draining and takes no new streams; try again later"
ctl B info | grep -q '^state      draining' || fail "$(ctl B info)"
end_stream
log_has B 'drained: no channel is open'
alive B || fail "the gateway is gone"

step "resumed: all as before; what is open then is not aborted by the time-out of before"
start_recv late B/detector
ends late 75 5 'it is draining'
drain 0 B --resume
told '^new streams are taken$'
drain 0 B --resume # again: nothing is wrong with it
ctl B info | grep -q '^state      serving' || fail "$(ctl B info)"
stream "$tmp/in" A/detector B/detector
rm "$tmp/stream.dat"
begin_stream
drain 0 B --timeout 1s
told 'no new streams; 1 open channel gets 1 s to finish$'
drain 0 B --resume
begin=$(now_ms)
wait_until 5 "[ \$(now_ms) -gt $((begin + 1200)) ]"
flowing B 500000 || fail "the stream was aborted: $(cat "$tmp/send.err")"
end_stream

step "what is left after the time-out is aborted, and the gateway stays"
begin_stream
drain 0 A --timeout 500ms --json
[ "$(json "$tmp/ctl.out" '[d["draining"], d["stopping"], d["channels"], d["timeout_ms"]]')" = "[True, False, 1, 500]" ] || fail "$(cat "$tmp/ctl.out")"
ends send 75 10 'aborted by the other side: gateway A: it is draining, and its time is over'
ends recv 75 10 'gateway A: it is draining, and its time is over'
exec {gate}>&-
wait_said A 'drained: no channel is open'
alive A || fail "the gateway is gone"
drain 0 A --resume
stream "$tmp/in" A/detector B/detector

step "--stop: the gateway ends when the last stream has"
begin_stream
workers=$(workers_of A)
drain 0 A --stop --timeout forever
told '^no new streams; 1 open channel gets all the time it takes to finish, then the gateway stops$'
drain 76 A --resume
says ctl 'the gateway is shutting down, which cannot be taken back'
drain 76 A
says ctl 'the gateway is shutting down already'
start_send late A/detector "$tmp/in"
ends late 75 5 'gateway A: it is shutting down'
end_stream
ends A 0 10
for w in $workers; do ! kill -0 $w 2>/dev/null || fail "worker $w goes on"; done

step "a drain that becomes a stop: SIGTERM"
drain 0 B --timeout forever
kill "${pid[B]}"
ends B 0 10

step "command lines that are wrong"
drain 64 B --timeout soon
drain 64 B --resume --stop
drain 69 B
