#!/bin/bash
# --rate holds: not faster, hardly slower, by both transports; and the report says that it was the rate that held the bytes back. So does the rate of a route.
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

step "a route that has reserved a rate: the limits of its gateway hold the sender back"
global="capacity { wan = 1Gbit  rdma = 1Gbit }" new_gateway G
route="class = provisioned  rate = $((20000 / slow))kbit  window = 64K" add_route G detector
start_gateway G
for transport in $rdma link; do
    start_recv recv G/detector --report none
    send 0 G/detector --transport $transport --report json "$tmp/in"
    ends recv 0
    same "$tmp/in" "$tmp/recv.out"
    seconds=$(json "$tmp/send.out" 'd["seconds"]')
    step "    by $transport: $seconds s"
    $python -c "import sys; sys.exit(not 1.8 < $seconds < 2.4 * $slow)" || fail "2 s were expected"
    $python -c "import sys; sys.exit(not $(json "$tmp/send.out" 'd["wait"]["credits"] + d["wait"]["sink"]') > 0.5)" || fail "waits: $(cat "$tmp/send.out")"
done
