#!/bin/bash
# iperf3 (also -R, --bidir, -P 8), curl (downloads, uploads, keep-alive), ZeroMQ PUB/SUB and REQ/REP, unchanged, through one gateway and through two with a
# TLS link between them: all of them succeed, and what arrives is what was sent.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
. "$srcdir/tests/lib/apps.sh"
step "one gateway"
start_tcp_gateway G
all one
stop_gateway G
step "two gateways"
start_tcp_pair
all two
stop_gateway A
stop_gateway B
