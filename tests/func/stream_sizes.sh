#!/bin/bash
# Streams of every awkward size through two gateways, by ucx and by link: byte-exact, confirmed, and with the digest that another
# program computes.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program xxh128sum
requires_rdma
window=65536

route='window = 64K' start_gateway_pair detector
for transport in $rdma link; do
    for size in 0 1 $((window - 1)) $window $((window + 1)) $((7 * window + 17)); do
        step "$size bytes by $transport"
        make_data $size $size >"$tmp/in.dat"
        stream "$tmp/in.dat" A/detector B/detector --transport $transport --window 64K
        for end in send recv; do
            [ "$(json "$tmp/$end.json" '[d["ok"], d["bytes"], d["transport"], d["xxh128"]]')" = \
              "[True, $size, '$transport', '$(digest_of "$tmp/in.dat")']" ] || fail "report of $end: $(cat "$tmp/$end.json")"
        done
        [ "$(json "$tmp/send.json" 'd["confirmed"]')" = True ] || fail "not confirmed: $(cat "$tmp/send.json")"
    done
done
wait_for 5 idle A
wait_for 5 idle B
stop_gateway A
stop_gateway B
