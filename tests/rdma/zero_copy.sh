#!/bin/bash
# A gateway between verbs and a plaintext link copies no byte of a stream: what the worker gives to sendmsg, what recvmsg brings, and what its
# RDMA WRITEs take lies in the registered ring, all of it, and elsewhere are only the 32 bytes before each chunk.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires "no RDMA devices: run it by tests/vm/run" test -n "${RDMA_HERE:-}"
requires "not built: configure without verbs" test -s "$builddir/where.so"
sanitized && skip "a sanitizer wants to be the first library itself"
rdma_transports='"verbs", "link"'
ucx_section=
global="rdma { listen = \"$RDMA_THERE\" }"
gateway_defaults='workers = 1'
size=20000000
chunk=65536
make_data $size >"$tmp/in"

# copied PID: bytes that our own code copied, from the second word of the worker's page of counters
copied()
{
    $python - "$1" <<'END'
import re, struct, sys
pid = sys.argv[1]
at = next(int(l.split('-')[0], 16) for l in open(f'/proc/{pid}/maps') if 'memfd:scistream-stats' in l)
with open(f'/proc/{pid}/mem', 'rb') as m:
    m.seek(at)
    print(struct.unpack('QQ', m.read(16))[1])
END
}

# through SENDER RECEIVER: a stream by these transports through one gateway; what its worker did is in $tmp/where.json
through()
{
    rm -f "$tmp"/where.*
    WHERE=$tmp/where LD_PRELOAD=$builddir/where.so start_gateway A -o link.chunk=$chunk
    start_recv recv A/r --require "$2" --report json -o "$tmp/out"
    start_send send A/r --require "$1" --report json --chunk $chunk "$tmp/in"
    ends send 0 60
    ends recv 0 15
    same "$tmp/in" "$tmp/out"
    local worker
    worker=$(workers_of A)
    [ "$(copied "$worker")" = 0 ] || fail "the worker counted $(copied "$worker") copied bytes"
    stop_gateway A
    wait_until 5 '[ -s "$tmp/where.$worker" ]'
    cp "$tmp/where.$worker" "$tmp/where.json"
    cat "$tmp/where.json"
}

# holds EXPRESSION: of that report d
holds() { [ "$(json "$tmp/where.json" "$1")" = True ] || fail "$1 does not hold: $(cat "$tmp/where.json")"; }

new_gateway A
route='plaintext = yes' add_route A r

step "verbs => gateway => plaintext link"
through verbs link
holds "d['lost'] == 0 and d['rings'] >= 65536"
holds "d['out']['ring'] == $size"
holds "d['out']['elsewhere'] % 32 == 0 and d['out']['elsewhere'] >= 32 * $((size / chunk)) and d['out']['largest_elsewhere'] <= 32"
holds "d['in']['ring'] == 0 and d['in']['elsewhere'] % 32 == 0 and d['in']['largest_elsewhere'] <= 32"
holds "d['write']['ring'] == 0 and d['write']['elsewhere'] == 0 and d['send_max'] <= 64"

step "plaintext link => gateway => verbs"
through link verbs
holds "d['lost'] == 0 and d['rings'] >= 65536"
holds "d['in']['ring'] == $size"
holds "d['in']['elsewhere'] % 32 == 0 and d['in']['elsewhere'] >= 32 * $((size / chunk)) and d['in']['largest_elsewhere'] <= 32"
holds "d['write']['ring'] == $size and d['write']['elsewhere'] == 0"
holds "d['out']['ring'] == 0 and d['out']['largest_elsewhere'] <= 32 and 0 < d['sends'] and d['send_max'] <= 64"
