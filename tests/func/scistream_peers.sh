#!/bin/bash
# Peers of sessions of scistream.Control that are nobody's gateway: haproxy on either side of the WAN, in plaintext, where the configuration lets it; and a
# client without TLS as Go's gRPC is one, here nghttp2's own tool.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program haproxy nghttp xxd
. "$srcdir/tests/lib/apps.sh"
. "$srcdir/tests/lib/sessions.sh"
cases=$srcdir/tests/func/scistream.py wan_leg=plaintext

new_tcp_gateway X # its ports are for the test
proxy=$((port[X] + 1)) behind=$((port[X] + 2)) plain=$((port[X] + 3))
section="plaintext_listen = \"127.0.0.1:$plain\"" new_sessions G
start_gateway G

# proxy_to PORT: haproxy takes connections at $proxy for it
proxy_to()
{
    cat >"$tmp/haproxy.cfg" <<END
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen peer
    bind 127.0.0.1:$proxy
    server gateway 127.0.0.1:$1
END
    start haproxy haproxy -db -f "$tmp/haproxy.cfg"
    wait_for 10 listens $proxy
}

no_proxy()
{
    kill "${pid[haproxy]}"
    finish haproxy
    ask released "$tmp/G" "$uid"
}

step "haproxy comes from the WAN"
ask arrange "$tmp/G" PROD 1 127.0.0.1:$behind
read -r uid local <<<"$told"
proxy_to ${local##*:}
door=$proxy
web
zeromq in
no_proxy

step "haproxy is where the WAN leads to"
ask arrange "$tmp/G" CONS 1 127.0.0.1:$proxy
read -r uid local <<<"$told"
proxy_to $behind
door=${local##*:}
web
zeromq out
no_proxy

# message TYPE TEXT: as gRPC frames it, in $tmp/TYPE
message()
{
    protoc -I "$srcdir/ctrl" --encode="scistream.$1" scistream.proto <<<"$2" >"$tmp/bare" || fail "protoc"
    { printf '%010x' "$(wc -c <"$tmp/bare")" | xxd -r -p; cat "$tmp/bare"; } >"$tmp/$1"
}
client() { nghttp -v -t 20 -d "$tmp/$2" -H 'content-type: application/grpc' -H 'te: trailers' "http://127.0.0.1:$plain/$1"; } # METHOD TYPE
call() { message "$3" "$4"; run "$1" 0 client "$2" "$3"; } # NAME METHOD TYPE TEXT: what it answered is in $tmp/NAME.out
answers() { grep -aq "grpc-status: $2" "$tmp/$1.out" || fail "$1: $(cat "$tmp/$1.out")"; }

step "nghttp2's client, without TLS"
call unknown scistream.Control/release Release 'uid: "nobody"'
answers unknown 5
message Request 'uid: "c6e0a8a2-0001" role: "PROD" num_conn: 2'
start req client scistream.Control/req Request
call hello scistream.Control/hello Hello 'uid: "c6e0a8a2-0001" prod_listeners: "127.0.0.1:9" role: "PROD"'
answers hello 0
ends req 0
answers req 0
[ "$(grep -ao '127\.0\.0\.1:[0-9]*' "$tmp/req.out" | sort -u | grep -vc ":$plain$")" = 3 ] || fail "two listeners and the application's: $(cat "$tmp/req.out")"
call update scistream.Control/update UpdateTargets 'uid: "c6e0a8a2-0001" remote_listeners: "127.0.0.1:9" role: "PROD"'
answers update 0
call release scistream.Control/release Release 'uid: "c6e0a8a2-0001"'
answers release 0
call elsewhere scistream.gateway.v1.Gateway/Info Release ''
answers elsewhere 12
