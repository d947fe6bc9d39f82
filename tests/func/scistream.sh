#!/bin/bash
# scistream.Control: SciStream's own client, whose calls Python's gRPC makes in its order, arranges sessions of two gateways, and unchanged applications
# go through both: iperf3, curl, ZeroMQ, a half-closed connection. Requests that overlap, thousands of them, too few ports, callers that vanish, bad
# input: each is answered clearly and nothing is lost. scistreamctl shows and ends them, drain and the death of a worker do as with routes.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program protoc iperf3 curl
requires_python grpc google.protobuf zmq
unset http_proxy https_proxy
mkdir "$tmp/messages"
protoc -I "$srcdir/ctrl" --python_out="$tmp/messages" scistream.proto || fail "protoc"

# take_range N: so many ports above the ephemeral range, in $first to $last
take_range()
{
    local try
    for ((try = 0; try < 200; try++)); do
        first=$((61000 + RANDOM % (4500 - $1))) last=$((first + $1 - 1))
        port_busy $(seq $first $last) || return 0
    done
    fail "no range of $1 free ports"
}

# new_scistream NAME [PORTS]: as new_tcp_gateway; PORTS of data_ports, else those of the test. $section: further options of it.
new_scistream()
{
    new_tcp_gateway "$1"
    first=$((port[$1] + 10)) last=$((port[$1] + 15))
    [ -z "${2:-}" ] || take_range "$2"
    cat >>"$tmp/$1/conf" <<END
scistream {
    enable = yes  auth = none  wan = plaintext
    data_ports = "$first-$last"
    ${section:-}
}
END
}

# ask CASE ARGUMENTS...: what it printed is in $told
ask()
{
    PATIENCE=$((10 * slow)) run ask 0 timeout $((180 * slow)) $python "$srcdir/tests/func/scistream.py" "$1" "$tmp/messages" "${@:2}"
    told=$(tr '\n' ' ' <"$tmp/ask.out")
}

# through N RECEIVER...: a session at P and one at C; sets uid_p, uid_c and the array local: where the application connects
through() { ask arranged "$tmp/P" "$tmp/C" "$@"; read -r uid_p uid_c local <<<"$told"; local=($local); door=${local[0]##*:}; }
let_go() { ask released "$tmp/P" "$uid_p"; ask released "$tmp/C" "$uid_c"; }
listens() { port_busy "$1"; }

step "one gateway: orders of calls, bad input, callers that vanish"
gateway_defaults="workers = 2
records = \"$tmp/records\""
section='plaintext_listen = "127.0.0.1:'
new_tcp_gateway X
plain=$((port[X] + 10))
section="plaintext_listen = \"127.0.0.1:$plain\"" new_scistream G
start_gateway G
ask cases "$tmp/G"
step "    $told"
ask plain "$tmp/G" $plain
ask case again "$tmp/G" $((sanitized && 0 || 30))
