#!/bin/bash
# The ring of a channel by verbs is made of memory of the NUMA node that the configuration names.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires "no RDMA devices: run it by tests/vm/run" test -n "${RDMA_HERE:-}"
requires "this machine has one NUMA node" test -d /sys/devices/system/node/node1
rdma_transports='"verbs"'
ucx_section=

# ring_pages NODE: of the rings of A's workers, those on it
ring_pages()
{
    local w
    for w in $(workers_of A); do grep scistream-ring "/proc/$w/numa_maps"; done | grep -o " N$1=[0-9]*" | awk -F= '{ n += $2 } END { print n + 0 }'
}

global="rdma { listen = \"$RDMA_THERE\" }"
new_gateway A
add_route A detector
for node in 0 1; do
    step "node $node"
    start_gateway A -o rdma.numa_node=$node
    start_recv recv A/detector --require verbs --report none
    start_send send A/detector --require verbs --report none --rate 80Mbit /dev/zero
    wait_for 30 flowing A 1000000
    [ "$(ring_pages $node)" -gt 900 ] || fail "$(ring_pages $node) pages of the ring lie on node $node"
    [ "$(ring_pages $((1 - node)))" = 0 ] || fail "$(ring_pages $((1 - node))) pages of the ring lie on the other node"
    kill "${pid[send]}"
    finish send
    finish recv
    stop_gateway A
done
