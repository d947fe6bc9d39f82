#!/bin/bash
# SIGTERM: a gateway takes no new streams and lets those that run come to their end; after drain_timeout, or at a second signal, it aborts
# them with the reason at both ends. Then it ends with 0, and nothing of it is left.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
start_gateway_pair detector
mkfifo "$tmp/gate"
make_data 5000000 >"$tmp/in"
stopped() # GATEWAY SECONDS: it ends, and its workers and its socket with it
{
    ends "$1" 0 "$2"
    for w in $workers; do ! kill -0 $w 2>/dev/null || fail "worker $w goes on"; done
    [ ! -e "$tmp/$1/sock" ] || fail "the control socket is left"
    ! said "$1" 'worker . .* was killed|exited with' || fail "a worker did not end well: $(cat "$tmp/$1.err")"
}

for g in A B; do
    step "gateway $g lets a stream finish and refuses others"
    start_recv recv B/detector -o "$tmp/out"
    input=$tmp/gate start_send send A/detector "$tmp/in" -
    exec {gate}<>"$tmp/gate" # until it is closed, the stream goes on
    wait_for 10 flowing B 500000
    workers=$(workers_of $g)
    kill "${pid[$g]}"
    wait_said $g 'Terminated: no new streams; 1 open channel gets 0:01:00 to finish'
    start_send late A/detector "$tmp/in"
    ends late 75 10 "aborted by the other side: gateway $g: it is shutting down"
    exec {gate}>&-
    ends send 0 15
    ends recv 0
    same "$tmp/in" "$tmp/out"
    stopped $g 5
    start_gateway $g
done

step "who waits for a partner is told at once: none can come any more"
start_recv waiting B/detector
wait_said waiting 'waiting for a sender'
workers=$(workers_of B)
kill "${pid[B]}"
ends waiting 75 5 'it is shutting down'
stopped B 5
start_gateway B

step "a stream that takes longer than drain_timeout is aborted"
stop_gateway A
start_gateway A -o drain_timeout=1s
input=<(cat "$tmp/in"; sleep 60) start_send send A/detector
start_recv recv B/detector -o "$tmp/out2"
wait_for 10 flowing B 5000000
workers=$(workers_of A)
begin=$(now_ms)
kill "${pid[A]}"
ends send 75 10 'aborted by the other side: gateway A: it is shutting down'
took=$(($(now_ms) - begin))
[ $took -ge 1000 ] && [ $took -lt $((3000 * slow)) ] || fail "it took $took ms"
ends recv 75 5 'aborted by the other side: gateway A: it is shutting down'
says A '1 channel is still open after drain_timeout: aborted'
stopped A 5
[ ! -e "$tmp/out2" ] || fail "a broken stream has the name of a whole one"

step "a second signal aborts at once"
start_gateway A
input=<(cat "$tmp/in"; sleep 60) start_send send A/detector
start_recv recv B/detector -o "$tmp/out2"
wait_for 10 flowing B 5000000
workers=$(workers_of A)
kill -INT "${pid[A]}"
wait_said A 'Interrupt: no new streams'
kill -INT "${pid[A]}"
ends send 75 3 'it is shutting down'
ends recv 75 3 'it is shutting down'
stopped A 5

step "one that waits for its partner is an open channel, too"
wait_for 10 idle B # the one before may still be on its way out
workers=$(workers_of B)
start_recv recv B/detector
wait_said recv 'waiting for a sender'
kill "${pid[B]}"
wait_said B '1 open channel'
kill "${pid[B]}"
ends recv 75 3 'it is shutting down'
stopped B 5

step "without streams it ends at once"
start_gateway B
workers=$(workers_of B)
kill "${pid[B]}"
stopped B 3
