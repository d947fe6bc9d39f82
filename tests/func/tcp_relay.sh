#!/bin/bash
# What a TCP connection through one gateway is like for the two applications: half-close both ways, RST as RST, urgent data left out, nothing
# delayed, both families, source address, PROXY protocol, the limit of the route, and bounded memory before a reader that is slow.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
new_tcp_gateway G
at=$((port[G] + 10))
v4=tcp://127.0.0.1 v6='tcp://[::1]'
add_tcp_route G plain $v4:$at $v4:$((at + 1))
route='source_address = "127.0.0.5"' add_tcp_route G sourced $v4:$((at + 2)) $v4:$((at + 1))
route='proxy_protocol = yes' add_tcp_route G proxied $v4:$((at + 3)) $v4:$((at + 1))
route='connections = 3' add_tcp_route G small $v4:$((at + 4)) $v4:$((at + 1))
six=no
if [ -n "$(cat /proc/net/if_inet6 2>/dev/null)" ]; then
    six=yes
    take_ports
    add_tcp_route G six "$v6:$base" "$v6:$((base + 1))"
    route='proxy_protocol = yes' add_tcp_route G six-proxied "$v6:$((base + 2))" "$v6:$((base + 1))"
    add_tcp_route G six-four "$v6:$((base + 3))" $v4:$((at + 1))
fi
start_gateway G
plain="$v4:$at $v4:$((at + 1))"

relay()
{
    PATIENCE=$((10 * slow)) start case timeout $((60 * slow)) $python "$srcdir/tests/func/tcp_relay.py" "$@"
    ends case 0 60
    step "    $(cat "$tmp/case.out")"
}

relay both_ways $plain
sockets() { local f n=0; for f in /proc/$1/fd/*; do [[ $(readlink $f) != socket:* ]] || ((++n)); done; echo $n; } # pipes are kept for the next
for w in $(workers_of G); do held[$w]=$(sockets $w); done
step "one end, the other, both"
for c in half_close_client half_close_server half_close_is_kept reset_by_client reset_by_server reset_after_half_close reset_with_bytes_on_the_way \
    reset_at_once urgent urgent_among_much no_delay empty silent server_first; do
    relay $c $plain
done
step "much of it"
relay big $plain
sanitized && grows=1000000 || grows=2048 # both views of a ring count as resident, and it has two
relay slow_reader $plain $grows $(workers_of G)
step "options of the route"
relay from_address $v4:$((at + 2)) $v4:$((at + 1)) 127.0.0.5
relay proxied $v4:$((at + 3)) $v4:$((at + 1))
relay limit $v4:$((at + 4)) $v4:$((at + 1)) 3
if [ $six = yes ]; then
    step "IPv6"
    for c in both_ways half_close_client reset_by_server; do relay $c "$v6:$base" "$v6:$((base + 1))"; done
    relay proxied "$v6:$((base + 2))" "$v6:$((base + 1))"
    relay both_ways "$v6:$((base + 3))" $v4:$((at + 1))
fi
for w in "${!held[@]}"; do wait_until 10 "[ \$(sockets $w) -le ${held[$w]} ]"; done
stop_gateway G
