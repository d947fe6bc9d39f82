#!/bin/bash
# --rate holds: not faster, hardly slower, by both transports; and the report says that it was the rate that held the bytes back.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
start_gateway_pair detector
make_data $((5000000 / slow)) >"$tmp/in" # 2 s

for transport in $rdma link; do
    start_recv recv B/detector --report none
    send 0 A/detector --rate $((20000 / slow))kbit --transport $transport --report json "$tmp/in"
    ends recv 0
    same "$tmp/in" "$tmp/recv.out"
    seconds=$(json "$tmp/send.out" 'd["seconds"]')
    step "$((5000000 / slow)) bytes at $((20000 / slow)) kbit/s by $transport: $seconds s"
    $python -c "import sys; sys.exit(not 1.85 < $seconds < 2.4 * $slow)" || fail "2 s were expected"
    $python -c "import sys; sys.exit(not $(json "$tmp/send.out" 'd["wait"]["rate"]') > 0.5 > $(json "$tmp/send.out" 'd["wait"]["credits"]'))" ||
        fail "waits: $(cat "$tmp/send.out")"
done

step "the text report names it, without --rate it does not"
for rate in 800Mbit 0; do
    start_recv recv B/detector --report none
    send 0 A/detector --rate $rate "$tmp/in"
    ends recv 0
    [ $rate != 0 ] || ! said send ', rate [0-9]+ %' || fail "$(cat "$tmp/send.err")"
    [ $rate = 0 ] || says send 'sink [0-9]+ %, rate [0-9]+ % of the time'
done

step "a rate that is none"
send 64 A/detector --rate 20bananas "$tmp/in"
says send 'rate'
