#!/bin/bash
# --rate holds: not faster, hardly slower, by both transports; and it is the source that then waits, not a gateway.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_ucx
start_gateway_pair detector
make_data 5000000 >"$tmp/in"

for transport in ucx link; do
    start_recv recv B/detector --report none
    send 0 A/detector --rate 20Mbit --transport $transport --report json "$tmp/in"
    ends recv 0
    same "$tmp/in" "$tmp/recv.out"
    seconds=$(json "$tmp/send.out" 'd["seconds"]')
    step "5 MB at 20 Mbit/s by $transport: $seconds s"
    $python -c "import sys; sys.exit(not 1.85 < $seconds < 2.4 * $slow)" || fail "2 s were expected"
done

step "a rate that is none"
send 64 A/detector --rate 20bananas "$tmp/in"
says send 'rate'
