#!/bin/bash
# kill -9 of each process in the middle of a stream: every other one reports it within 2 s (5 on a loaded machine), the utilities exit
# with what it was, the gateways that live serve the next stream, and nothing of it is left in them.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
gateway_defaults='workers = 1' start_gateway_pair detector
make_data 3000000 >"$tmp/in"

# tell_tale GATEWAY: the number of channels it has reported as aborted
tell_tale() { grep -c '^scistreamd: channel .* aborted: ' "$tmp/$1.err"; }
ended() { ! kill -0 "$1" 2>/dev/null; }

# victim NAME PID SEND RECV: begin a stream, kill that process, expect these exit codes (alternatives: 69|76) of the utilities
victim()
{
    local name=$1 send=$3 recv=$4 begin g w rest=()
    input=<(cat "$tmp/in"; sleep 60) start_send send A/detector
    start_recv recv B/detector -o "$tmp/out"
    wait_for 10 flowing B 3000000
    for g in A B; do before[$g]=$(tell_tale $g); done
    local target=${2:-${pid[$name]}} orphans=""
    [ $name != A ] && [ $name != B ] || orphans=$(workers_of $name)
    begin=$(now_ms)
    kill -9 "$target"
    for e in send recv; do
        [ $e = $name ] && continue
        within 5 gone $e || fail "$name killed: $e does not notice"
        rest+=("$e after $(($(now_ms) - begin)) ms")
    done
    for g in A B; do
        [ $g = $name ] && continue
        within 5 eval "[ \$(tell_tale $g) -gt ${before[$g]} ]" || fail "$name killed: gateway $g does not report it"
        rest+=("$g after $(($(now_ms) - begin)) ms")
    done
    for w in $orphans; do within 5 ended $w || fail "$name killed: its worker goes on"; done
    step "$name killed: ${rest[*]}"
    if [ $name != send ]; then
        finish send
        [[ $status =~ ^($send)$ ]] || fail "$name killed: scistream-send exits with $status: $(cat "$tmp/send.err")"
        step "    $(grep -v waiting "$tmp/send.err" | head -n 1)"
    fi
    if [ $name != recv ]; then
        finish recv
        [[ $status =~ ^($recv)$ ]] || fail "$name killed: scistream-recv exits with $status: $(cat "$tmp/recv.err")"
        step "    $(grep -v 'waiting\|kept' "$tmp/recv.err" | head -n 1)"
        [ -e "$tmp/out.part" ] && [ ! -e "$tmp/out" ] || fail "$name killed: a broken stream has the name of a whole one"
    fi
}

# again: the next stream through the same gateways
again()
{
    wait_for 5 idle A
    wait_for 5 idle B
    start_recv recv B/detector --retry 10s -o "$tmp/out"
    start_send send A/detector --retry 10s "$tmp/in"
    ends send 0 20
    ends recv 0
    same "$tmp/in" "$tmp/out"
    rm -f "$tmp/out"*
}

again
declare -A before
victim send '' '-' '69|76'
again
victim recv '' '69|76' '-'
again
victim A-worker "$(workers_of A)" 75 75
log_has A 'aborted: .*was killed by signal 9.*: [1-9][0-9.]* [KMG]iB' # how far it was, though the worker cannot tell any more
log_has A 'worker 0 \(pid [0-9]+\) was killed by signal 9 \(Killed\) .* a new one is started'
again
victim B-worker "$(workers_of B)" 75 75
log_has B 'worker 0 \(pid [0-9]+\) was killed by signal 9 \(Killed\) .* a new one is started'
again
victim A '' '69' '69|76'
start_gateway A
again
victim B '' '69|76' '69'
start_gateway B
again
