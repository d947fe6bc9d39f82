#!/bin/bash
# A gateway tells the receiver, and the next gateway, the smallest ring between it and the sender, which is the grain in which they tell what
# was consumed; a window that nobody can have is refused, from a client as from a gateway. With it, a small ring at the sender is not slow.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_ucx
requires_program protoc
requires_python grpc google.protobuf
unset http_proxy https_proxy
new_gateway G
add_route G here
cat >>"$tmp/G/conf" <<CONF
route "on" { accept = {"link"}  secret_file = "$tmp/G/secret"  channels = 16
    connect = "gateway://127.0.0.1:$((port[G] + 15))/d"  connect_pin = {"${pin[G]}"} }
CONF
start_gateway G
mkdir "$tmp/messages"
protoc -I "$srcdir/ctrl" --python_out="$tmp/messages" gateway.proto || fail "protoc"
run client 0 $python "$srcdir/tests/func/windows.py" "$tmp/messages" "$tmp/G/sock" $((port[G] + 15)) "$tmp/G/gateway.crt" "$tmp/G/gateway.key"
step "$(grep -E '^Ran' "$tmp/client.err")"
stop_gateway G

step "a sender with the smallest ring, through two gateways with large ones: it is as fast as one with a large ring, or nearly"
start_gateway_pair detector
make_data 50000000 >"$tmp/in"
for window in 4M 64K; do # the times are for people: the numbers above are what they come from
    begin=$(now_ms)
    start_recv recv B/detector --transport link -o "$tmp/out"
    start_send send A/detector --transport link --window $window "$tmp/in"
    ends send 0 60
    ends recv 0
    step "$(($(now_ms) - begin)) ms with $window"
    same "$tmp/in" "$tmp/out"
    rm "$tmp/out"
done
