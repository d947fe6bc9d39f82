# Sourced by the tests of sessions, which call gateways by gRPC's own client: $cases is the Python program that does.
requires_program protoc
requires_python grpc google.protobuf
unset http_proxy https_proxy
mkdir "$tmp/messages"
protoc -I "$srcdir/ctrl" --python_out="$tmp/messages" scistream.proto gateway.proto || fail "protoc"

# new_sessions NAME [FIRST LAST]: as new_tcp_gateway, with data_ports, else six of the test's, in $first to $last. $auth, $wan_leg, $section: of its section
# scistream.
new_sessions()
{
    new_tcp_gateway "$1"
    first=${2:-$((port[$1] + 10))} last=${3:-$((port[$1] + 15))}
    cat >>"$tmp/$1/conf" <<END
scistream {
    enable = yes  auth = ${auth:-none}  wan = ${wan_leg:-psk}
    data_ports = "$first-$last"
    ${section:-}
}
END
}

# ask CASE ARGUMENTS...: what it printed is in $told
ask()
{
    PATIENCE=$((10 * slow)) run ask 0 timeout $((180 * slow)) $python "$cases" "$1" "$tmp/messages" "${@:2}"
    told=$(tr '\n' ' ' <"$tmp/ask.out")
}
