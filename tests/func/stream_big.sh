#!/bin/bash
# Two GiB, or as much as six seconds give, from pipe to pipe through two gateways, by ucx and by link: nothing on a disk, and the
# same digest on both sides of it.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program xxh128sum openssl timeout
requires_rdma

start_gateway_pair detector
for transport in $rdma link; do
    to B/detector --transport $transport
    "$builddir/scistream-recv" "${to[@]}" --report none --transport $transport 2>"$tmp/recv.err" | xxh128sum 2>/dev/null >"$tmp/out.sum" &
    to A/detector --transport $transport
    timeout 6 openssl enc -aes-128-ctr -nosalt -K 00 -iv 00 </dev/zero 2>/dev/null | head -c 2G | tee >(xxh128sum >"$tmp/in.sum" 2>/dev/null) |
        "$builddir/scistream-send" "${to[@]}" --report json --transport $transport >"$tmp/send.json" 2>"$tmp/send.err" || fail "send: $(cat "$tmp/send.err")"
    wait $! || fail "recv: $(cat "$tmp/recv.err")"
    wait_until 5 "[ -s '$tmp/in.sum' ]"
    [ "$(cat "$tmp/in.sum")" = "$(cat "$tmp/out.sum")" ] || fail "digests differ: $(cat "$tmp/in.sum" "$tmp/out.sum")"
    [ "$(json "$tmp/send.json" 'd["xxh128"]')" = "$(cut -d ' ' -f 1 "$tmp/in.sum")" ] || fail "scistream-send counts another digest"
    step "$(json "$tmp/send.json" '"%d bytes by %s, %.0f Mbit/s" % (d["bytes"], d["transport"], d["goodput_bit_s"] / 1e6)')"
    [ "$(json "$tmp/send.json" "d['bytes'] > 50e6 / $slow ** 2")" = True ] || fail "that is not much"
done
