#!/bin/bash
# The ucx transport on queue pairs: UCX_TLS=rc_verbs on Soft-RoCE ports, connected by address; direct, and ucx => gateway => link => gateway
# => ucx. For the guest of tests/vm/run, rxe only: soft-iWARP has no such connections.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires "no RDMA devices: run it by tests/vm/run" test -n "${RDMA_HERE:-}"
requires_ucx
requires "no Soft-RoCE: rc_verbs needs it" test -e /sys/class/infiniband/rxe1
rdma_transports='"ucx", "link"'
resources() { rdma resource show 2>/dev/null | sed 's/ctx.*//'; }
openssl rand -hex 32 >"$tmp/secret"
chmod 600 "$tmp/secret"
resources >"$tmp/before"
make_data 10000000 >"$tmp/in"

by_ucx() { [ "$(json "$tmp/$1.out" 'd["transport"]')" = ucx ] || fail "$1 not by ucx: $(cat "$tmp/$1.out")"; }
moved_by() { cat "/sys/class/infiniband/$1/ports/1/hw_counters/sent_pkts" 2>/dev/null || echo 0; }

step "direct, sizes around the window"
for size in 0 65537 5000000; do
    make_data $size >"$tmp/some"
    rm -f "$tmp/direct.dat"
    take_ports
    start recv "$builddir/scistream-recv" --listen "$RDMA_THERE:$base" --device rxe1:1 --require ucx --secret-file "$tmp/secret" --report json \
        --window 64K -o "$tmp/direct.dat"
    wait_said recv 'sha256:[0-9a-f]*'
    key=$(grep -o -m 1 'sha256:[0-9a-f]*' "$tmp/recv.err" | head -n 1)
    start send "$builddir/scistream-send" --device rxe0:1 --require ucx --secret-file "$tmp/secret" --pin "$key" --report json --window 64K \
        "direct://$RDMA_THERE:$base" "$tmp/some"
    ends send 0 60
    ends recv 0 15
    same "$tmp/some" "$tmp/direct.dat"
    by_ucx send
done

step "a gateway's listener is on the address of the interface that is on its port"
ucx_section='ucx { devices = {"rxe1:1"} transports = "rc_verbs" }'
new_gateway C
add_route C r
start_gateway C
start_recv recv C/r --device rxe0:1 --require ucx --report json -o "$tmp/out"
start_send send C/r --device rxe0:1 --require ucx --report json "$tmp/in"
ends send 0 60
ends recv 0 15
same "$tmp/in" "$tmp/out"
by_ucx send
by_ucx recv
stop_gateway C

step "ucx on rc_verbs => A => TLS link => B => ucx on rc_verbs"
ucx_section="ucx { devices = {\"rxe1:1\"} transports = \"rc_verbs\" listen = \"$RDMA_THERE\" }"
start_gateway_pair detector
sent=$(moved_by rxe0)
stream "$tmp/in" A/detector B/detector --device rxe0:1 --require ucx
grep -q 'by ucx on .* -> .* by link' "$tmp/A.err" || fail "A did not take ucx: $(cat "$tmp/A.err")"
grep -q 'by link .* -> .* by ucx on' "$tmp/B.err" || fail "B did not give ucx"
[ "$(moved_by rxe0)" -gt "$sent" ] || fail "rxe0 has not sent a packet"

step "an end that is killed is noticed, and the next stream is served"
for victim in send recv; do
    start_recv recv B/detector --device rxe0:1 --require ucx --channel 0 --report none
    start_send send A/detector --device rxe0:1 --require ucx --channel 0 --report none /dev/zero
    wait_until 30 '[ "$(stat -c %s "$tmp/recv.out")" -gt 500000 ]' || fail "no bytes come"
    kill -KILL "${pid[$victim]}"
    finish send 30
    [ $status != 0 ] || fail "send exited with 0 after $victim was killed"
    finish recv 30
    [ $status != 0 ] || fail "recv exited with 0 after $victim was killed"
    : >"$tmp/recv.out"
    wait_for 20 idle A
    wait_for 20 idle B
done
stream "$tmp/in" A/detector B/detector --device rxe0:1 --require ucx

step "nothing is left"
wait_for 10 idle A
wait_for 10 idle B
stop_gateway A
stop_gateway B
wait_until 10 '[ "$(resources)" = "$(cat "$tmp/before")" ]' || fail "left behind: $(resources), before: $(cat "$tmp/before")"
