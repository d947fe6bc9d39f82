#!/bin/bash
# Thousands of sessions of scistream.Control are set up and released one after the other, by several clients at once, at a gateway that has just the ports
# for those at once: each is promised, so none is ever lost, and neither is a descriptor. Nothing is said of them but that they came and went.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"

new_tcp_gateway G
cat >>"$tmp/G/conf" <<END
scistream { enable = yes  auth = none  data_ports = "$((port[G] + 10))-$((port[G] + 15))" }
END
start_gateway G

# sessions NAME OPTIONS: by calls of the gateway
sessions() { run "$1" 0 timeout $((120 * slow)) "$builddir/ctlload" calls --gateway "${port[G]}:$tmp/G/gateway.crt" "${@:2}"; }
descriptors() { local n=0 p; for p in "${pid[G]}" $(workers_of G); do n=$((n + $(fd_count $p))); done; echo $n; }
as_before() { [ "$(descriptors)" -le $before ]; }

sessions first --sessions 6 --clients 3 --ports 2
before=$(descriptors)
step "$before descriptors; 2000 sessions by three clients, six ports"
sessions many --sessions 2000 --clients 3 --ports 2
[ "$(json "$tmp/many.out" "d['sessions'], d['release']['count']")" = "(2000, 2000)" ] || fail "$(cat "$tmp/many.out")"
step "    $(json "$tmp/many.out" "'%.0f sessions/s' % d['per_s']")"
wait_for 10 as_before
sessions all --sessions 1 --ports 6 --hold
[ "$(ctl G sessions --json | grep -o '"listeners":\[[^]]*\]' | grep -o '127.0.0.1' | wc -l)" = 6 ] || fail "not all ports"
! grep -E 'ERROR|WARN|error:|warning:' "$tmp/G.err" || fail "complaints"
stop_gateway G
