#!/bin/bash
# Streams over real queue pairs: direct, and verbs => gateway => link => gateway => verbs. For a machine with RDMA devices on two addresses,
# $RDMA_HERE and $RDMA_THERE: the guest of tests/vm/run.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires "no RDMA devices: run it by tests/vm/run" test -n "${RDMA_HERE:-}"
rdma_transports='"verbs", "link"'
ucx_section= # its own connection manager does not work over soft-iWARP

# direct FILE [OPTIONS]: by verbs, without a gateway; reports in send.json, recv.json
direct()
{
    local file=$1 pin
    shift
    rm -f "$tmp/direct.dat"
    take_ports
    start recv "$builddir/scistream-recv" --listen "$RDMA_THERE:$base" --require verbs --secret-file "$tmp/secret" --report json -o "$tmp/direct.dat" "$@"
    wait_said recv 'sha256:[0-9a-f]*'
    pin=$(grep -o -m 1 'sha256:[0-9a-f]*' "$tmp/recv.err" | head -n 1)
    start send "$builddir/scistream-send" --require verbs --secret-file "$tmp/secret" --pin "$pin" --report json "$@" "direct://$RDMA_THERE:$base" "$file"
    ends send 0 60
    ends recv 0 15
    same "$file" "$tmp/direct.dat"
}

resources() { rdma resource show 2>/dev/null | sed 's/^[0-9]*: //; s/ctx.*//' | sort; }
openssl rand -hex 32 >"$tmp/secret"
chmod 600 "$tmp/secret"
resources >"$tmp/before"

step "direct, sizes around the window"
for size in 0 1 65535 65536 65537 5000000; do
    make_data $size >"$tmp/in"
    direct "$tmp/in" --window 64K
done
step "direct, 32 MB with the default window"
make_data 32000000 >"$tmp/in"
direct "$tmp/in"
[ "$(json "$tmp/send.out" 'd["transport"]')" = verbs ] || fail "not by verbs: $(cat "$tmp/send.out")"
step "chunks and windows that do not divide each other"
make_data 3000001 >"$tmp/in"
direct "$tmp/in" --window 100K --chunk 7K
direct "$tmp/in" --window 1M --chunk 900K
step "low latency: many small writes into a large ring, and through a small one"
direct "$tmp/in" --low-latency --window 64M --chunk 4K
direct "$tmp/in" --low-latency --window 64K

step "verbs => A => TLS link => B => verbs"
take_ports # one range for both gateways: whose port is taken takes the next
global="rdma { listen = \"$RDMA_THERE\" ports = \"$base-$((base + 15))\" }"
start_gateway_pair detector
make_data 10000000 >"$tmp/in"
stream "$tmp/in" A/detector B/detector --require verbs
grep -q 'by verbs on .* -> .* by link' "$tmp/A.err" || fail "A did not take verbs: $(cat "$tmp/A.err")"
grep -q 'by link .* -> .* by verbs on' "$tmp/B.err" || fail "B did not give verbs"

step "low latency: the small ring of a link before a large one of verbs"
make_data 1000000 >"$tmp/in"
start_recv recv B/detector --require verbs --low-latency --report none -o "$tmp/out"
start_send send B/detector --require link --low-latency --window 64K --report none "$tmp/in"
ends send 0 60
ends recv 0 15
same "$tmp/in" "$tmp/out"

step "four streams at once"
for i in 1 2 3 4; do
    make_data $((1000000 * i)) $i >"$tmp/in$i"
    start_recv recv$i B/detector --require verbs --channel $i --report none -o "$tmp/out$i"
    start_send send$i A/detector --require verbs --channel $i --report none "$tmp/in$i"
done
for i in 1 2 3 4; do ends send$i 0 60; ends recv$i 0 15; same "$tmp/in$i" "$tmp/out$i"; done

step "an end that is killed, one that is interrupted; another stream goes on"
start_recv live B/detector --require verbs --channel 9 --report none -o "$tmp/live.out"
start_send alive A/detector --require verbs --channel 9 --report none --rate 10Mbit "$tmp/in"
wait_until 30 '[ -s "$tmp/live.out.part" ]' || fail "no bytes come"
for how in "KILL send" "KILL recv" "INT send" "INT recv"; do
    start_recv recv B/detector --require verbs --channel 0 --report none
    start_send send A/detector --require verbs --channel 0 --report none /dev/zero
    wait_until 30 '[ "$(stat -c %s "$tmp/recv.out")" -gt 500000 ]' || fail "no bytes come"
    kill "-${how% *}" "${pid[${how#* }]}"
    finish send 20
    [ $status != 0 ] || fail "send exited with 0 after $how"
    finish recv 20
    [ $status != 0 ] || fail "recv exited with 0 after $how"
    : >"$tmp/recv.out"
done
ends alive 0 60
ends live 0 15
same "$tmp/in" "$tmp/live.out"

step "verbs => A => verbs => B => verbs"
stop_gateway A
start_gateway A -o route.detector.connect_transports=verbs
stream "$tmp/in" A/detector B/detector --require verbs
grep -q 'by verbs on .* -> .* by verbs on' "$tmp/A.err" || fail "A did not dial by verbs: $(cat "$tmp/A.err")"

step "nothing is left, and no receiver was ever not ready"
wait_for 10 idle A
wait_for 10 idle B
stop_gateway A
stop_gateway B
wait_until 5 '[ "$(resources)" = "$(cat "$tmp/before")" ]' || fail "left behind: $(resources), before: $(cat "$tmp/before")"
for f in /sys/class/infiniband/*/ports/1/hw_counters/*rnr*; do
    [ ! -e "$f" ] || [ "$(cat "$f")" = 0 ] || fail "$f is $(cat "$f")"
done
