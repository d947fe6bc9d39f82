#!/bin/bash
# Python's gRPC client calls Info, Sessions, Devices and Health of a real gateway with a stream in it, over the unix socket and over TLS; what
# only local administrators may see is refused there.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_ucx
requires_program protoc
requires_python grpc google.protobuf
unset http_proxy https_proxy
start_gateway_pair detector
mkdir "$tmp/messages"
protoc -I "$srcdir/ctrl" --python_out="$tmp/messages" gateway.proto health.proto || fail "protoc"

mkfifo "$tmp/source" "$tmp/commands"
input=$tmp/source start_send send A/detector
start_recv recv B/detector --report none
exec {source}>"$tmp/source"
make_data 3000000 >&$source
wait_for 10 flowing B 3000000
input=$tmp/commands start client $python "$srcdir/tests/func/gateway_api.py" "$tmp/messages" "$tmp/A/sock" ${port[A]} "$tmp/A/gateway.crt"
exec {commands}>"$tmp/commands"
wait_until 60 "grep -q called '$tmp/client.out' || gone client"
alive client || fail "$(cat "$tmp/client.err")"
step "$(grep -E '^Ran' "$tmp/client.err")"

step "a watcher of its health hears of the stop"
echo go >&$commands
wait_until 20 "grep -q watching '$tmp/client.out'"
kill "${pid[A]}"
wait_until 20 "grep -q told '$tmp/client.out'"
ends client 0
exec {source}>&-
ends send 0
ends recv 0
ends A 0
make_data 3000000 | cmp - "$tmp/recv.out" || fail "the stream"
