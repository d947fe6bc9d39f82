#!/bin/bash
# scistreamctl and the TCP connections that workers relay: sessions lists them, watch shows how fast they are, release ends one or those of a route,
# drain counts them; thousands are no burden, and what is left out is told. And the flow back of duplex channels.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
gateway_defaults="workers = 2
records = \"$tmp/records\""
new_tcp_gateway G
at=$((port[G] + 10))
add_tcp_route G app tcp://127.0.0.1:$at tcp://127.0.0.1:$((at + 1))
add_tcp_route G other tcp://127.0.0.1:$((at + 2)) tcp://127.0.0.1:$((at + 1))
start_gateway G

ask() # GATEWAY CASE ARGUMENTS
{
    PATIENCE=$((10 * slow)) start case timeout $((60 * slow)) $python "$srcdir/tests/func/tcp_sessions.py" "$2" "$builddir/scistreamctl" "$tmp/$1/sock" "${@:3}"
    ends case 0 60
    step "    $(tr '\n' ' ' <"$tmp/case.out")"
}
recorded() { [ "$(grep -c "$1" "$tmp/records")" = "$2" ]; }

step "listed"
ask G listed $at $((at + 1)) $((at + 2))
step "released: also the record and the log say so"
: >"$tmp/records"
ask G released $at $((at + 1)) $((at + 2))
wait_for 5 recorded '"code":"ERELEASED"' 5
recorded '"code":"ERELEASED","reason":"released by an administrator: enough"' 1 || fail "$(cat "$tmp/records")"
recorded '"code":"ERELEASED","reason":"released by an administrator"' 4 || fail "$(cat "$tmp/records")"
log_has G 'relay app: 127.0.0.1:[0-9]+ -> 127.0.0.1:[0-9]+ failed: released by an administrator: enough: '
log_has G 'connection r[01]\.[0-9a-f]+ released by unix \(uid [0-9]+\)'
log_has G 'route app: 4 connections released by unix \(uid [0-9]+\)'
step "watched"
ask G watched $at $((at + 1)) $((at + 2))
step "thousands"
[ "$(ulimit -Hn)" -lt 5000 ] || ask G many $at $((at + 1)) 2100
stop_gateway G

step "the flow back of a channel"
start_tcp_pair
ask A duplex $door $behind
ask B duplex $door $behind
