#!/bin/bash
# A server that answers an upload without reading it and closes, which its kernel makes a reset: the client reads the whole answer, then the reset;
# through one gateway, and through two. The log tells of the reset all the same.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"

relay()
{
    PATIENCE=$((10 * slow)) start case timeout $((60 * slow)) $python "$srcdir/tests/func/tcp_relay.py" "$1" tcp://127.0.0.1:$door tcp://127.0.0.1:$behind
    ends case 0 60
    step "    $(cat "$tmp/case.out")"
}

step "one gateway"
start_tcp_gateway G
for _ in 1 2 3; do relay refused_upload; done
log_has G 'reset by the peer'
stop_gateway G
step "two gateways"
start_tcp_pair
for _ in 1 2 3; do relay refused_upload; done
log_has B 'reset by the peer'
stop_gateway A
stop_gateway B
