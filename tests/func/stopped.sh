#!/bin/bash
# SIGSTOP of each process in the middle of a stream: its kernel still answers, it does not. The others notice within peer_timeout (2 s
# here for the gateways; the utilities have their own 10 s), tell each other, and go on.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
gateway_defaults='workers = 1
peer_timeout = 2s'
start_gateway_pair detector
make_data 3000000 >"$tmp/in"

begin_stream()
{
    input=<(cat "$tmp/in"; sleep 60) start_send send A/detector
    start_recv recv B/detector -o "$tmp/out"
    wait_for 10 flowing B 3000000
    begin=$(now_ms)
}

# told NAME CODES LIMIT_MS PATTERN: the utility ends with one of these codes within that time and says so
told()
{
    finish "$1" 20
    local took=$(($(now_ms) - begin))
    [[ $status =~ ^($2)$ ]] || fail "$1 exits with $status: $(cat "$tmp/$1.err")"
    said "$1" "$4" || fail "$1 says: $(cat "$tmp/$1.err")"
    [ $took -le $(($3 * slow)) ] || fail "$1 has noticed only after $took ms"
    step "    $1 after $took ms: $(grep -v 'waiting\|kept' "$tmp/$1.err" | head -n 1)"
}
let_go() { kill -CONT "$1" && kill -9 "$1" && wait "$1"; } 2>/dev/null

again()
{
    wait_for 10 idle A
    wait_for 10 idle B
    start_recv recv B/detector --retry 10s -o "$tmp/out"
    start_send send A/detector --retry 10s "$tmp/in"
    ends send 0 20
    ends recv 0
    same "$tmp/in" "$tmp/out"
    rm -f "$tmp/out"*
}

step "scistream-send is stopped"
begin_stream
kill -STOP "${pid[send]}"
told recv '69|76' 4500 'gateway A: sender .*: (peer|.*silent|.*answer)'
let_go "${pid[send]}"
again

step "scistream-recv is stopped"
begin_stream
kill -STOP "${pid[recv]}"
told send '69|76' 4500 'gateway B: receiver .*: (peer|.*silent|.*answer)'
let_go "${pid[recv]}"
again

for g in A B; do
    step "the worker of $g is stopped: it is killed and replaced"
    begin_stream
    kill -STOP "$(workers_of $g)"
    told send 75 4500 "gateway $g: gateway worker 0 was killed because it does not answer"
    told recv 75 4500 "gateway $g: gateway worker 0 was killed because it does not answer"
    log_has $g 'worker 0 \(pid [0-9]+\) was killed because it does not answer .* a new one is started'
    again
done
