#!/bin/bash
# /metrics and records of TCP connections that the workers relay: open and ended ones, refused ones, those of a worker that is killed.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program curl
requires_python socket
global="records = \"$tmp/records\"" new_tcp_gateway G
at=$((port[G] + 10)) page=$tmp/page
add_tcp_route G app tcp://127.0.0.1:$at tcp://127.0.0.1:$((at + 1))
route='connections = 2' add_tcp_route G small tcp://127.0.0.1:$((at + 2)) tcp://127.0.0.1:$((at + 1))
add_tcp_route G dead tcp://127.0.0.1:$((at + 3)) tcp://127.0.0.1:$((at + 4))

cat >"$tmp/peers.py" <<'END'
# echo PORT: a server that sends back what comes. hold PORT N BYTES: N connections that send and get back so much, and stay until a line comes; then
# every second one is reset.
import socket, struct, sys, threading
def pump(s):
    try:
        while data := s.recv(65536):
            s.sendall(data)
    except OSError:
        pass
    s.close()
if sys.argv[1] == "echo":
    server = socket.create_server(("127.0.0.1", int(sys.argv[2])), backlog=128)
    print("listens", flush=True)
    while True:
        threading.Thread(target=pump, args=(server.accept()[0],), daemon=True).start()
count, size, held = int(sys.argv[3]), int(sys.argv[4]), []
for i in range(count):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    s.settimeout(60)
    held.append(s)
    try:
        left = size
        while left:
            s.sendall(b"x" * min(left, 50000))
            back = min(left, 50000)
            while back:
                n = len(s.recv(back))
                if n == 0:
                    raise OSError("closed")
                back -= n
            left -= min(left, 50000)
    except OSError as e:
        print("lost", e, flush=True)
print("here", flush=True)
sys.stdin.readline()
for i, s in enumerate(held):
    if i % 2:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
END
hold() { mkfifo "$tmp/$1.go"; exec {go}<>"$tmp/$1.go"; input=$tmp/$1.go start "$1" $python "$tmp/peers.py" hold "${@:2}"; wait_until 30 "grep -q here '$tmp/$1.out'"; }
release() { echo >"$tmp/$1.go"; ends "$1" 0; }
value() { metric "$page" "$@"; }
has() { scrape G >"$page" && [ "$(metric "$page" "${@:1:2}")" = "$3" ]; }
shows() { within 10 has "$@" || fail "$1{$2} is not $3 but: $(grep -F "$1" "$page")"; }

start echo $python "$tmp/peers.py" echo $((at + 1))
wait_until 10 "grep -q listens '$tmp/echo.out'"
start_gateway G
start watch $python "$srcdir/tests/func/metrics_watch.py" "http://127.0.0.1:$((port[G] + 9))/metrics"

step "open connections, and what they have moved so far"
shows scistream_connections 'route="app"' 0
hold first $at 10 200000
shows scistream_connections 'route="app"' 10
shows scistream_connections_accepted_total 'route="app"' 10
shows scistream_stream_bytes_total 'route="app",direction="forward"' 2000000
shows scistream_stream_bytes_total 'route="app",direction="backward"' 2000000
shows scistream_flows_waiting 'route="app",for="source"' 20
admitted=$(value scistream_window_admitted_bytes)
[ "$admitted" -gt 0 ] || fail "ten connections have no memory"
[ ! -s "$tmp/records" ] || fail "records of connections that are open"

step "ended ones: five cleanly, five by a reset; their records"
release first
shows scistream_connections 'route="app"' 0
shows scistream_connections_failed_total 'route="app"' 5
shows scistream_stream_bytes_total 'route="app",direction="forward"' 2000000
shows scistream_window_admitted_bytes '' 0
wait_until 5 "[ \$(wc -l <'$tmp/records') = 10 ]"
$python -ISc 'import json,sys
all = [json.loads(x) for x in open(sys.argv[1])]
assert sorted(r["outcome"] for r in all) == ["aborted"] * 5 + ["relayed"] * 5
for r in all:
    assert r["gateway"] == "G" and r["route"] == "app" and r["bytes"] == r["bytes_backward"] == 200000 and r["seconds"] > 0, r
    assert r["source"]["peer"].startswith("127.0.0.1:") and r["sink"]["peer"] == "127.0.0.1:" + sys.argv[2] and r["source"]["transport"] == "tcp", r
    assert (r["code"] == "OK") == (r["outcome"] == "relayed") and (r["code"] in ("OK", "ERESET")), r
    assert r["slow"] == "source" and r["wait_seconds"]["source"] > 0, r' "$tmp/records" $((at + 1)) || fail "records: $(cat "$tmp/records")"

step "refused by a limit, and a backend that is not there"
hold some $((at + 2)) 4 1000
shows scistream_connections_refused_total 'route="small"' 2
shows scistream_connections_accepted_total 'route="small"' 4
shows scistream_connections 'route="small"' 2
release some
hold dead $((at + 3)) 3 1000
shows scistream_connections_failed_total 'route="dead"' 3
release dead

step "a worker is killed under its connections: they have failed, and nothing it has counted is lost"
hold many $at 20 100000
shows scistream_connections 'route="app"' 20
shows scistream_stream_bytes_total 'route="app",direction="backward"' 4000000
for w in $(workers_of G); do kill -9 "$w"; done
shows scistream_worker_deaths_total 'cause="signal"' 2
shows scistream_connections 'route="app"' 0
shows scistream_connections_failed_total 'route="app"' 25
shows scistream_stream_bytes_total 'route="app",direction="backward"' 4000000
release many
wait_until 5 "[ \$(grep -c '\"code\":\"EWORKER\"' '$tmp/records') = 20 ]" # each has a record, too
[ "$(grep '"code":"EWORKER"' "$tmp/records" | grep -c '"bytes":100000,"bytes_backward":100000,')" = 20 ] || fail "records: $(tail -n 20 "$tmp/records")"
within 10 eval 'scrape G >"$page"; [ "$(grep -c "^scistream_worker_up.* 1" "$page")" = 2 ]' || fail "workers: $(grep worker_up "$page")"
hold last $at 4 1000
shows scistream_connections_accepted_total 'route="app"' 34
shows scistream_stream_bytes_total 'route="app",direction="forward"' 4004000
release last
alive watch || fail "$(cat "$tmp/watch.err")"
