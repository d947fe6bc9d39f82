#!/bin/bash
# A utility of ours at one end and a plain TCP application at the other, through one gateway and through two: the bytes are the same, the sender is
# told that a plain TCP end confirms nothing, and an end that breaks is an end that breaks at the other side, too.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
requires_program curl
cat >"$tmp/plain.py" <<'END'
"""plain.py take PORT | give PORT FILE | reset-take PORT N | reset-give PORT FILE: an application; reset: in the middle."""
import sys
sys.path.insert(0, sys.argv[1])
from tcp_ends import accept, check, dial, listen, outcome, read_all, read_exactly, reset
what, port = sys.argv[2:4]
if what == "take":
    sys.stdout.buffer.write(read_all(accept(listen(port))[0]))
elif what == "reset-take":
    s, _ = accept(listen(port))
    read_exactly(s, int(sys.argv[4]))
    reset(s)
else:
    s = dial(port)
    try:
        with open(sys.argv[4], "rb", 0) as f:
            while data := f.read(1 << 16):
                s.sendall(data)
    except ConnectionError as e:
        sys.exit(f"sending: {e}")
    if what == "reset-give":
        reset(s)
    else:
        s.shutdown(1)
        print(outcome(s))
END
plain() { PATIENCE=$((20 * slow)) start "$1" $python "$tmp/plain.py" "$srcdir/tests/lib" "${@:2}"; }
# breaks NAME PATTERN: it ends as a stream that broke, and says so
breaks()
{
    finish "$1"
    [[ $status =~ ^(69|76)$ ]] && said "$1" "$2" || fail "$1 exits with $status and says: $(cat "$tmp/$1.err")"
}
listens() { port_busy "$1"; }
make_data 20000000 >"$tmp/in"

new_gateway B
new_gateway A
behind=$((port[A] + 15)) p=$((port[A] + 10))
add_tcp_route A out "$rdma link" tcp://127.0.0.1:$behind
add_tcp_route A in tcp://127.0.0.1:$p -
add_tcp_route B far-out link tcp://127.0.0.1:$behind
add_tcp_route A far-out "$rdma link" B
add_tcp_route B far-in link -
add_tcp_route A far-in tcp://127.0.0.1:$((p + 1)) B
route='proxy_protocol = yes' add_tcp_route A named "$rdma link" tcp://127.0.0.1:$behind
add_tcp_route A only tcp://127.0.0.1:$((p + 2)) tcp://127.0.0.1:$behind
route='plaintext = yes' add_tcp_route B bare link tcp://127.0.0.1:$behind
route='plaintext = yes' add_tcp_route A bare tcp://127.0.0.1:$((p + 3)) B
start_gateway B
start_gateway A

# go_out ROUTE TRANSPORT: scistream-send to a plain listener; one time it says so in words, the other in JSON
go_out()
{
    step "$2 in, tcp out: route $1"
    for report in text json; do
        plain taker take $behind
        wait_for 10 listens $behind
        start_send send "A/$1" --transport "$2" --report $report "$tmp/in"
        ends send 0 30
        ends taker 0
        same "$tmp/in" "$tmp/taker.out"
        cat "$tmp/send.out" "$tmp/send.err" >"$tmp/told"
        grep -q 'handed to TCP peer, not confirmed' "$tmp/told" || fail "scistream-send does not say that nobody has confirmed: $(cat "$tmp/told")"
    done
    grep -q '"confirmed":false' "$tmp/send.out" || fail "this stream is confirmed: $(cat "$tmp/send.out")"
}

# come_in ROUTE DOOR AT TRANSPORT FIRST: a plain sender to scistream-recv, who comes first or second
come_in()
{
    step "tcp in, $4 out: route $1, first comes the $5"
    rm -f "$tmp/out"
    [ "$5" = sender ] || { start_recv recv "$3/$1" --transport "$4" -o "$tmp/out"; wait_said recv waiting; }
    plain giver give "$2" "$tmp/in"
    [ "$5" = receiver ] || start_recv recv "$3/$1" --transport "$4" -o "$tmp/out"
    ends recv 0 30
    ends giver 0
    [ "$(cat "$tmp/giver.out")" = end ] || fail "the sender saw: $(cat "$tmp/giver.out")"
    same "$tmp/in" "$tmp/out"
}

for transport in $rdma link; do
    go_out out $transport
    come_in in $p A $transport receiver
done
come_in in $p A $rdma sender
go_out far-out $rdma
come_in far-in $((p + 1)) B $rdma receiver
come_in far-in $((p + 1)) B link sender

step "plain at both ends, and a plaintext link between: much of it goes by pipes of the kernel's"
plain taker take $behind
wait_for 10 listens $behind
plain giver give $((p + 3)) "$tmp/in"
ends giver 0
ends taker 0
same "$tmp/in" "$tmp/taker.out"
for g in A B; do
    scrape $g >"$tmp/metrics"
    [ "$(metric "$tmp/metrics" scistream_pipe_bytes)" -gt 0 ] || fail "$g has used no pipe"
done

step "a PROXY header for a sender who attached names nobody"
plain taker take $behind
wait_for 10 listens $behind
send 0 A/named "$tmp/in"
ends taker 0
{ printf '\r\n\r\n\0\r\nQUIT\n\x20\0\0\0'; cat "$tmp/in"; } | cmp - "$tmp/taker.out" || fail "it is: $(head -c 32 "$tmp/taker.out" | od -c)"

step "nobody attaches to a route between plain peers alone"
send 67 A/only "$tmp/in"
step "who connects and leaves while he waits holds no place"
$python -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()' $p
wait_said A 'the TCP peer left while it waited'
come_in in $p A $rdma sender

step "the plain receiver resets"
for route in out far-out; do
    plain taker reset-take $behind 1000000
    wait_for 10 listens $behind
    input=<(cat "$tmp/in"; sleep 30) start_send send "A/$route" --transport $rdma
    breaks send reset
    ends taker 0
done
step "the plain sender resets"
for i in "in $p A" "far-in $((p + 1)) B"; do
    read -r route door g <<<"$i"
    start_recv recv "$g/$route" --transport $rdma -o "$tmp/broken"
    wait_said recv waiting
    plain giver reset-give "$door" "$tmp/in"
    ends giver 0
    breaks recv reset
    [ ! -e "$tmp/broken" ] || fail "a broken stream has the name of a whole one"
done
step "the receiver is killed"
input=/dev/null start_recv recv A/in --transport $rdma -o "$tmp/broken"
wait_said recv waiting
# a trickle that does not end, so that the sender writes when the stream has broken: all of a file may be under way before that
trickle() { for _ in {1..3000}; do head -c 100000 "$tmp/in" || return; sleep 0.01; done; }
plain giver give $p <(trickle)
wait_for 10 flowing A 1000
kill -9 "${pid[recv]}"
finish giver 20
[ $status != 0 ] || [ "$(cat "$tmp/giver.out")" = reset ] || fail "the sender of a stream that broke saw: $(cat "$tmp/giver.out")"
step "the worker dies while a plain sender waits for its receiver"
waits() { ctl A sessions 2>/dev/null | grep -q waiting; }
plain giver give $p "$tmp/in"
wait_for 10 waits
kill -9 $(workers_of A)
finish giver 20
[ "$(cat "$tmp/giver.out")" != end ] || fail "a sender whose gateway lost it read an end of file"
wait_for 10 idle A
come_in in $p A $rdma sender
step "nobody listens"
start_send send A/out --transport $rdma "$tmp/in"
breaks send refused
for g in A B; do
    wait_for 10 idle $g
    stop_gateway $g
done
