#!/bin/bash
# After two hundred streams, good ones and bad ones, a gateway has the descriptors, the memory and the mappings it had before them.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
start_gateway_pair detector
make_data 200000 >"$tmp/in"
rounds=$((20 / slow))

# Ten streams, four at a time: seven good ones by both transports, and senders that are killed, interrupted, or not allowed.
ten()
{
    local i transport
    for i in 0 1 2 3 4 5 6; do
        [ $((i % 2)) = 0 ] && transport=$rdma || transport=link
        start_recv recv$i B/detector --transport $transport --report none
        start_send send$i A/detector --transport $transport --report none "$tmp/in"
        [ $((i % 4)) != 3 ] || for j in 0 1 2 3; do ends send$j 0; ends recv$j 0; done
    done
    for i in 4 5 6; do ends send$i 0; ends recv$i 0; done
    start_recv recv7 B/detector --report none
    input=<(cat "$tmp/in"; sleep 20) start_send send7 A/detector --report none
    wait_for 10 flowing B 1000
    kill -9 "${pid[send7]}"
    finish send7
    finish recv7
    start_recv recv8 B/detector --report none
    wait_said recv8 'waiting for a sender'
    kill "${pid[recv8]}"
    ends recv8 76
    send 67 A/nowhere "$tmp/in"
    wait_for 5 idle A
    wait_for 5 idle B
}

sizes() # of all processes of the gateways: descriptors, mappings, resident KiB
{
    for p in ${pid[A]} $(workers_of A) ${pid[B]} $(workers_of B); do echo "$p $(fd_count $p) $(wc -l <"/proc/$p/maps") $(rss_kib $p)"; done
}

for ((i = 0; i < 2; i++)); do ten; done # what is made once and kept
sizes >"$tmp/before"
for ((i = 0; i < rounds; i++)); do ten; done
sizes >"$tmp/after"
while read -r p fds maps rss && read -r p2 fds2 maps2 rss2 <&3; do
    step "process $p $(cat /proc/$p/comm): $fds2 descriptors after $fds, $maps2 mappings after $maps, resident $rss2 KiB after $rss"
    [ $p = $p2 ] || fail "a process was replaced"
    [ $fds2 -le $fds ] || fail "descriptors leak: $(ls -l /proc/$p/fd)"
    sanitized && continue # it keeps what was freed for a while
    [ $maps2 -le $((maps + 8)) ] || fail "mappings leak"
    [ $rss2 -le $((rss + 2048)) ] || fail "memory leaks"
done <"$tmp/before" 3<"$tmp/after"
